/* Batches of windows. */
#include "train/source.h"

#include "base/memory.h"

#include <string.h>

enum { MADE_TOKENS = 1 << 18 };

size_t rf_source_size(int64_t batch, int64_t length)
{
    return 2 * (size_t)(batch * length) * sizeof(int32_t);
}

rf_status rf_source_check_task(rf_model_class task, rf_error *error)
{
    if (task != RF_CLASS_BARE) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "a bare ReformerModel predicts nothing, so there is nothing to learn or to "
                        "judge; name a task: lm, masked-lm, next-sentence, classify or answer");
}

/* The token id for what is missing: as asked for, or as the model records it, or the tokenizer's
 * "mask", or 1 where tokens are bytes. */
static rf_status find_mask_token(int64_t asked, const rf_config *config,
                                 const rf_tokenizer *tokenizer, int64_t *token, rf_error *error)
{
    *token = asked >= 0 ? asked : config->mask_token;
    if (*token < 0) {
        *token = rf_tokenizer_special(tokenizer, "mask");
    }
    if (*token < 0 && rf_tokenizer_is_bytes(tokenizer) && config->vocabulary >= 258) {
        *token = 1; /* no byte has it */
    }
    if (*token < 0 || *token >= config->vocabulary) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "which token stands for a missing one is not known: the tokenizer has "
                            "no \"mask\"; say it (mask_token), from 0 to %lld",
                            (long long)config->vocabulary - 1);
    }
    return RF_OK;
}

size_t rf_source_packing_size(const rf_tokens *tokens, int64_t batch, int64_t length)
{
    size_t documents = (size_t)tokens->documents;
    size_t windows = (size_t)(tokens->count / (length - 1)) + 1;
    size_t cells = (size_t)(batch * length);
    return documents == 0 ? 0
                          : (3 * documents + windows) * sizeof(int64_t) + cells * sizeof(int32_t);
}

static rf_status open_packing(rf_source *source, const rf_source_text *text, rf_error *error)
{
    size_t cells = (size_t)(source->batch * source->length);
    void *memory = NULL;
    source->packing = (rf_packing){.tokens = text->tokens,
                                   .length = source->length,
                                   .overlaps = source->task == RF_CLASS_CAUSAL_LM,
                                   .sequential = source->windows.sequential,
                                   .seed = text->seed};
    RF_TRY(rf_allocate(cells * sizeof *source->segments, "segments of a batch", &memory, error));
    source->segments = memory;
    return rf_packing_open(&source->packing, error);
}

static rf_status open_corruption(rf_source *source, const rf_source_text *text, rf_error *error)
{
    int64_t token = -1;
    RF_TRY(find_mask_token(text->mask_token, text->config, text->tokenizer, &token, error));
    source->corruption = (rf_corruption){.seed = text->seed,
                                         .stream = text->judges ? 1 : 0,
                                         .rate = text->mask_rate,
                                         .mask_token = (int32_t)token,
                                         .vocabulary = text->config->vocabulary};
    if (!text->config->mask_whole_words) {
        return RF_OK;
    }
    if (!rf_tokenizer_knows_words(text->tokenizer)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "whole words are to be masked, but no piece of the tokenizer begins "
                            "with the mark of a word (U+2581)");
    }
    source->words = text->tokenizer;
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)source->length, "parts of words", &memory, error));
    source->parts = memory;
    return RF_OK;
}

rf_status rf_source_open(rf_source *source, const rf_source_text *text, rf_error *error)
{
    void *memory = NULL;
    source->task = text->config->model_class;
    source->tokens = text->tokens;
    source->windows = (rf_windows){.seed = text->seed,
                                   .tokens = text->tokens->count,
                                   .length = source->length,
                                   .sequential = text->sequential || text->judges};
    if (source->task == RF_CLASS_MASKED_LM) {
        RF_TRY(open_corruption(source, text, error));
    }
    RF_TRY(rf_allocate(rf_source_size(source->batch, source->length), "a batch of token ids",
                       &memory, error));
    source->ids = memory;
    source->labels = source->ids + source->batch * source->length;
    if (text->config->next_sentence != RF_UNIT_NONE) {
        return rf_source_open_pairs(source, text, error);
    }
    return text->tokens->documents > 0 ? open_packing(source, text, error) : RF_OK;
}

bool rf_source_is_made(const rf_source *source)
{
    return source->drill.drill != RF_DRILL_NONE;
}

rf_status rf_source_check_drill(const rf_config *config, const char *model, const char *data,
                                rf_error *error)
{
    const rf_drill drill = rf_drill_named(data);
    if (drill == RF_DRILL_NONE) {
        return RF_OK;
    }
    if (config->model_class != RF_CLASS_CAUSAL_LM ||
        config->vocabulary != rf_drill_vocabulary(drill)) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: %s is for causal language models of %lld ids, but its task is %s "
                            "and vocab_size %lld",
                            model, data, (long long)rf_drill_vocabulary(drill),
                            rf_config_task(config), (long long)config->vocabulary);
    }
    return RF_OK;
}

rf_status rf_source_open_drill(rf_source *source, const rf_drill_rows *rows, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_drill_check(rows, error));
    source->task = RF_CLASS_CAUSAL_LM;
    source->drill = *rows;
    RF_TRY(rf_allocate(rf_source_size(source->batch, source->length), "a batch of token ids",
                       &memory, error));
    source->ids = memory;
    source->labels = source->ids + source->batch * source->length;
    return RF_OK;
}

/* A step asks for a batch again, to count what is scored. */
static rf_batch read_made(rf_source *source, int64_t first, int64_t rows)
{
    if (first != source->made_first || rows > source->made_rows) {
        for (int64_t row = 0; row < rows; row++) {
            rf_drill_write(&source->drill, first + row, source->ids + row * source->length,
                           source->labels + row * source->length);
        }
        source->made_first = first;
        source->made_rows = rows;
    }
    return (rf_batch){
        .batch = rows, .length = source->length, .ids = source->ids, .labels = source->labels};
}

void rf_source_clear(rf_source *source)
{
    void *const blocks[] = {
        source->ids,   source->pieces,  source->starts,      source->targets,  source->wanted,
        source->order, source->mask,    source->values,      source->segments, source->pool,
        source->parts, source->seconds, source->token_types, source->picked,   source->pair_labels};
    rf_packing_clear(&source->packing);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        rf_release(blocks[i]); /* labels are in the block of ids */
    }
    rf_pairs_clear(&source->pairs);
    *source = (rf_source){0};
}

int64_t rf_source_rows(const rf_source *source, int64_t most_tokens)
{
    int64_t windows = source->examples > 0 ? source->examples : source->pairs.count;
    if (rf_source_is_made(source)) {
        windows = most_tokens > 0 ? INT64_MAX : MADE_TOKENS / source->length;
        windows = windows > 0 ? windows : 1;
    } else if (windows == 0) {
        windows = source->segments != NULL ? source->packing.windows
                                           : source->tokens->count / source->length;
    }
    int64_t most = most_tokens / source->length > 0 ? most_tokens / source->length : 1;
    return most_tokens > 0 && windows > most ? most : windows;
}

/* Which tokens are told together, NULL: each for itself. A word ends where its document does.
 * segments [length], or NULL: one */
static const uint8_t *find_parts(rf_source *source, const int32_t *ids, const int32_t *segments,
                                 int64_t length)
{
    if (source->words == NULL) {
        return NULL;
    }
    for (int64_t first = 0, end = 0; first < length; first = end) {
        end = segments == NULL ? length : first + 1;
        while (end < length && segments[end] == segments[first]) {
            end++;
        }
        rf_tokenizer_find_words(source->words, ids + first, end - first, source->parts + first);
    }
    return source->parts;
}

/* Labels are what stands there, or what was hidden; none of what only fills the last window. */
static rf_batch read_packed(rf_source *source, int64_t first, int64_t rows)
{
    int64_t length = source->length;
    for (int64_t row = 0; row < rows; row++) {
        int32_t *ids = source->ids + row * length;
        int32_t *labels = source->labels + row * length;
        int32_t *segments = source->segments + row * length;
        int64_t count = rf_packing_read(&source->packing, first + row, ids, segments);
        if (source->task == RF_CLASS_MASKED_LM) {
            rf_corrupt(&source->corruption, first + row, count,
                       find_parts(source, ids, segments, count), ids, labels);
        } else {
            memcpy(labels, ids, (size_t)count * sizeof *ids);
        }
        for (int64_t i = count; i < length; i++) {
            labels[i] = -100;
        }
    }
    return (rf_batch){.batch = rows,
                      .length = length,
                      .ids = source->ids,
                      .labels = source->labels,
                      .segments = source->segments};
}

rf_batch rf_source_read(rf_source *source, int64_t first, int64_t rows)
{
    if (rf_source_is_made(source)) {
        return read_made(source, first, rows);
    }
    if (source->segments != NULL) {
        return read_packed(source, first, rows);
    }
    if (source->examples > 0) {
        return rf_source_read_examples(source, first, rows);
    }
    if (source->pairs.count > 0) {
        return rf_source_read_pairs(source, first, rows);
    }
    bool masked = source->task == RF_CLASS_MASKED_LM;
    for (int64_t row = 0; row < rows; row++) {
        int32_t *ids = source->ids + row * source->length;
        int64_t number = first + row;
        rf_tokens_read(source->tokens, rf_windows_start(&source->windows, number), source->length,
                       ids);
        if (masked) {
            rf_corrupt(&source->corruption, number, source->length,
                       find_parts(source, ids, NULL, source->length), ids,
                       source->labels + row * source->length);
        }
    }
    return (rf_batch){.batch = rows,
                      .length = source->length,
                      .ids = source->ids,
                      .labels = masked ? source->labels : source->ids};
}
