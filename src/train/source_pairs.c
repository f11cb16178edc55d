/* Batches of pairs of spans, padded to the longest of the batch behind a mask; beside a masked
 * language model both spans are corrupted, the separator is not. */
#include "base/memory.h"
#include "train/source.h"

#include <string.h>

static rf_status take(rf_source *source, rf_error *error)
{
    void *memory = NULL;
    size_t cells = (size_t)(source->batch * source->length);
    RF_TRY(rf_allocate_zeroed(cells * sizeof *source->token_types, "token types of a batch",
                              &memory, error));
    source->token_types = memory;
    RF_TRY(rf_allocate_zeroed(cells, "mask of a batch", &memory, error));
    source->mask = memory;
    RF_TRY(rf_allocate_zeroed((size_t)source->length, "parts of words", &memory, error));
    rf_release(source->parts);
    source->parts = memory;
    RF_TRY(rf_allocate_zeroed((size_t)source->batch * sizeof *source->pair_labels,
                              "labels of a batch", &memory, error));
    source->pair_labels = memory;
    RF_TRY(rf_allocate_zeroed((size_t)source->batch * sizeof *source->picked, "pairs of a batch",
                              &memory, error));
    source->picked = memory;
    return RF_OK;
}

rf_status rf_source_open_pairs(rf_source *source, const rf_source_text *text, rf_error *error)
{
    source->pairs = (rf_pairs){
        .seed = text->seed,
        .stream = text->judges ? 1 : 0,
        .sequential = source->windows.sequential,
        .length = source->length,
        .separator = (int32_t)rf_tokenizer_special(text->tokenizer, "sep"),
    };
    RF_TRY(take(source, error));
    return rf_pairs_open(&source->pairs, text->tokenizer, text->tokens, text->config->next_sentence,
                         error);
}

size_t rf_source_pairs_size(const rf_source *source)
{
    const rf_pairs *pairs = &source->pairs;
    size_t tokens = pairs->tokens.pieces != NULL ? (size_t)pairs->tokens.count : 0;
    return tokens * sizeof(int32_t) + (size_t)pairs->units.count * 2 * sizeof(int64_t) +
           (size_t)pairs->count * sizeof(int64_t);
}

/* One row's tokens, some of them to be told. ids, labels [length] */
static void corrupt(const rf_source *source, int64_t number, const rf_pair *pair, int32_t *ids,
                    int32_t *labels)
{
    int64_t count = rf_pair_length(&source->pairs, pair);
    if (source->words != NULL) {
        rf_tokenizer_find_words(source->words, ids, count, source->parts);
    } else {
        memset(source->parts, RF_PART_BEGINS, (size_t)count);
    }
    if (source->pairs.separator >= 0) {
        source->parts[pair->first_count] = RF_PART_KEPT;
    } else if (pair->second_count > 0) { /* a word ends with its text */
        source->parts[pair->first_count] = RF_PART_BEGINS;
    }
    rf_corrupt(&source->corruption, number, count, source->parts, ids, labels);
}

static void put_row(rf_source *source, int64_t number, int64_t row, int64_t length)
{
    const rf_pair *pair = &source->picked[row];
    int64_t count = rf_pair_length(&source->pairs, pair);
    size_t padding = (size_t)(length - count);
    int32_t *ids = source->ids + row * length;
    int32_t *types = source->token_types + row * length;
    rf_pair_read(&source->pairs, pair, ids, types);
    memset(ids + count, 0, padding * sizeof *ids);
    memset(types + count, 0, padding * sizeof *types);
    memset(source->mask + row * length, 1, (size_t)count);
    memset(source->mask + row * length + count, 0, padding);
    source->pair_labels[row] = pair->is_next ? 0 : 1;
    if (source->task == RF_CLASS_MASKED_LM) {
        int32_t *labels = source->labels + row * length;
        corrupt(source, number, pair, ids, labels);
        for (int64_t i = count; i < length; i++) {
            labels[i] = -100;
        }
    }
}

rf_batch rf_source_read_pairs(rf_source *source, int64_t first, int64_t rows)
{
    bool beside = source->task == RF_CLASS_MASKED_LM;
    int64_t length = 1;
    for (int64_t row = 0; row < rows; row++) {
        source->picked[row] = rf_pairs_pick(&source->pairs, first + row);
        int64_t count = rf_pair_length(&source->pairs, &source->picked[row]);
        length = count > length ? count : length;
    }
    for (int64_t row = 0; row < rows; row++) {
        put_row(source, first + row, row, length);
    }
    return (rf_batch){.batch = rows,
                      .length = length,
                      .ids = source->ids,
                      .mask = source->mask,
                      .token_types = source->token_types,
                      .labels = beside ? source->labels : source->pair_labels,
                      .pair_labels = beside ? source->pair_labels : NULL};
}
