/* Batches of examples: each row a text (or a question and its context) of its own length, padded to
 * the longest of its batch behind a mask. source_order.c says which. Memory: all tokens, four bytes
 * each. */
#include "base/memory.h"
#include "train/source.h"

#include <string.h>

/* ---- encoding ---------------------------------------------------------------------------- */

typedef struct encoder {
    rf_source *source;
    const rf_source_examples *from;
    int64_t room; /* tokens in source->pieces */
    int64_t cut, unanswered;
} encoder;

static const char *text_of(const json_t *row, const char *key, size_t *size)
{
    const json_t *text = json_object_get(row, key);
    *size = json_string_length(text);
    return json_string_value(text);
}

static rf_status grow(encoder *e, int64_t needed, rf_error *error)
{
    void *memory = NULL;
    if (needed <= e->room) {
        return RF_OK;
    }
    int64_t room = e->room * 2 > needed ? e->room * 2 : needed + 4096;
    RF_TRY(rf_allocate((size_t)room * sizeof(int32_t), "tokens of examples", &memory, error));
    if (e->source->pieces != NULL) {
        memcpy(memory, e->source->pieces, (size_t)e->room * sizeof(int32_t));
        rf_release(e->source->pieces);
    }
    e->source->pieces = memory;
    e->room = room;
    return RF_OK;
}

/* The first token that reaches beyond `begin`, the last that starts before `end`, of those from
 * `first` on. */
static void find_span(const rf_encoding *encoding, int64_t first, int64_t begin, int64_t end,
                      int32_t span[2])
{
    int64_t start = first;
    int64_t last = encoding->count - 1;
    while (start < last && encoding->ends[start] <= begin) {
        start++;
    }
    while (last > start && encoding->begins[last] >= end) {
        last--;
    }
    span[0] = (int32_t)start;
    span[1] = (int32_t)last;
}

static void set_span(encoder *e, int64_t number, const json_t *row, const rf_encoding *encoding,
                     int64_t first)
{
    int32_t *span = e->source->targets + 2 * number;
    int64_t start = json_integer_value(json_object_get(row, "start"));
    int64_t size = (int64_t)json_string_length(json_object_get(row, "answer"));
    span[0] = -100;
    span[1] = -100;
    if (start >= 0 && encoding->count > first) {
        find_span(encoding, first, start, start + size, span);
    }
    if (start < 0 || span[1] >= e->source->length) { /* cut off, or there is none */
        span[0] = -100;
        span[1] = -100;
        e->unanswered++;
    }
}

static int64_t label_index(const rf_config *config, const char *name)
{
    int64_t i = 0;
    while (i < config->labels && strcmp(rf_config_label(config, i), name) != 0) {
        i++;
    }
    return i < config->labels ? i : -1;
}

static rf_status set_label(encoder *e, int64_t number, const json_t *label, rf_error *error)
{
    const rf_config *config = e->from->config;
    rf_source *source = e->source;
    size_t items = json_is_array(label) ? json_array_size(label) : 1;
    if (json_is_number(label)) {
        source->wanted[number] = (float)json_number_value(label);
        return RF_OK;
    }
    for (size_t i = 0; i < items; i++) {
        const char *name =
            json_string_value(json_is_array(label) ? json_array_get(label, i) : label);
        int64_t index = label_index(config, name);
        if (index < 0) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: row %lld: the model has no label \"%.80s\"",
                                e->from->examples->name, (long long)number + 1, name);
        }
        if (json_is_array(label)) {
            source->wanted[number * config->labels + index] = 1.0F;
        } else {
            source->targets[number] = (int32_t)index;
        }
    }
    return RF_OK;
}

static rf_status encode(encoder *e, const json_t *row, rf_encoding *encoding, int64_t *second,
                        rf_error *error)
{
    bool answers = e->source->task == RF_CLASS_ANSWERER;
    size_t sizes[2] = {0, 0};
    const char *first = text_of(row, answers ? "question" : "text", &sizes[0]);
    const char *pair = text_of(row, answers ? "context" : "pair", &sizes[1]);
    *second = INT64_MAX;
    if (pair == NULL) {
        return rf_tokenizer_tokenize(e->from->tokenizer, (const uint8_t *)first, sizes[0], encoding,
                                     error);
    }
    return rf_tokenizer_tokenize_pair(e->from->tokenizer, (const uint8_t *)first, sizes[0],
                                      (const uint8_t *)pair, sizes[1], encoding, second, error);
}

static rf_status add_row(encoder *e, int64_t number, const json_t *row, rf_error *error)
{
    rf_source *source = e->source;
    rf_encoding encoding = {0};
    int64_t second = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(encode(e, row, &encoding, &second, error));
    if (encoding.count == 0) {
        RF_TRY_DONE(rf_error_set(error, RF_ERR_FORMAT, "%s: row %lld has no token",
                                 e->from->examples->name, (long long)number + 1));
    }
    int64_t start = source->starts[number];
    int64_t count = encoding.count < source->length ? encoding.count : source->length;
    e->cut += count < encoding.count ? 1 : 0;
    RF_TRY_DONE(grow(e, start + count, error));
    memcpy(source->pieces + start, encoding.ids, (size_t)count * sizeof *encoding.ids);
    source->starts[number + 1] = start + count;
    source->seconds[number] = second < count ? second : count;
    if (source->task == RF_CLASS_ANSWERER) {
        set_span(e, number, row, &encoding, second);
    } else {
        RF_TRY_DONE(set_label(e, number, json_object_get(row, "label"), error));
    }
done:
    rf_encoding_clear(&encoding);
    return status;
}

static void tell(const encoder *e)
{
    const char *name = e->from->examples->name;
    if (e->cut > 0) {
        rf_log_write(e->from->log, RF_LOG_NOTICE, "%s: %lld of %lld rows are cut to %lld tokens",
                     name, (long long)e->cut, (long long)e->source->examples,
                     (long long)e->source->length);
    }
    if (e->unanswered > 0) {
        rf_log_write(e->from->log, RF_LOG_NOTICE,
                     "%s: %lld of %lld questions have no answer within the tokens that are read; "
                     "they are not learned from",
                     name, (long long)e->unanswered, (long long)e->source->examples);
    }
}

/* ---- opening ----------------------------------------------------------------------------- */

/* The labels are of the kind that the model's are. */
static rf_status check_labels(const rf_source_examples *from, rf_error *error)
{
    static const char *const kinds[] = {[RF_PROBLEM_REGRESSION] = "numbers",
                                        [RF_PROBLEM_SINGLE] = "one of many (texts or integers)",
                                        [RF_PROBLEM_MULTIPLE] = "lists of texts"};
    const rf_config *config = from->config;
    if (config->model_class != RF_CLASS_CLASSIFIER) {
        return RF_OK;
    }
    rf_problem problem = rf_config_problem(config);
    if (problem != from->examples->problem) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: its labels are %s, but the model's are %s",
                            from->examples->name, kinds[from->examples->problem], kinds[problem]);
    }
    if (problem == RF_PROBLEM_REGRESSION && config->labels != 1) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "%s: a row has one number, but the model gives %lld",
                            from->examples->name, (long long)config->labels);
    }
    return RF_OK;
}

static rf_status take(rf_source *source, int64_t labels, rf_error *error)
{
    void *memory = NULL;
    size_t count = (size_t)source->examples;
    size_t cells = (size_t)(source->batch * source->length);
    bool values = source->wants_values;
    RF_TRY(rf_allocate_zeroed((count + 1) * sizeof *source->starts, "examples", &memory, error));
    source->starts = memory;
    RF_TRY(rf_allocate_zeroed(count * sizeof *source->seconds, "examples", &memory, error));
    source->seconds = memory;
    RF_TRY(rf_allocate_zeroed(2 * count * sizeof *source->targets, "labels", &memory, error));
    source->targets = memory;
    RF_TRY(rf_allocate_zeroed((values ? count * (size_t)labels : 1) * sizeof *source->wanted,
                              "labels", &memory, error));
    source->wanted = memory;
    RF_TRY(rf_allocate_zeroed(rf_source_size(source->batch, source->length), "a batch of token ids",
                              &memory, error));
    source->ids = memory;
    source->labels = source->ids + cells;
    RF_TRY(rf_allocate_zeroed(cells, "mask of a batch", &memory, error));
    source->mask = memory;
    RF_TRY(rf_allocate_zeroed(cells * sizeof *source->token_types, "token types of a batch",
                              &memory, error));
    source->token_types = memory;
    RF_TRY(rf_allocate_zeroed((size_t)(source->batch * labels) * sizeof *source->values,
                              "labels of a batch", &memory, error));
    source->values = memory;
    return RF_OK;
}

rf_status rf_source_open_examples(rf_source *source, const rf_source_examples *from,
                                  rf_error *error)
{
    encoder e = {.source = source, .from = from};
    RF_TRY(check_labels(from, error));
    source->task = from->config->model_class;
    source->examples = rf_examples_count(from->examples);
    source->windows = (rf_windows){.seed = from->seed, .sequential = from->sequential};
    source->step_rows = from->step_rows;
    source->label_count = from->config->labels;
    source->wants_values =
        source->task == RF_CLASS_CLASSIFIER && rf_config_problem(from->config) != RF_PROBLEM_SINGLE;
    RF_TRY(take(source, source->label_count, error));
    RF_TRY(rf_source_take_order(source, error));
    for (int64_t i = 0; i < source->examples; i++) {
        RF_TRY(add_row(&e, i, json_array_get(from->examples->rows, (size_t)i), error));
    }
    tell(&e);
    return RF_OK;
}

/* ---- reading ----------------------------------------------------------------------------- */

static void put_row(rf_source *source, int64_t row, int64_t example, int64_t length)
{
    int64_t start = source->starts[example];
    int64_t count = source->starts[example + 1] - start;
    int32_t *ids = source->ids + row * length;
    memcpy(ids, source->pieces + start, (size_t)count * sizeof *ids);
    memset(ids + count, 0, (size_t)(length - count) * sizeof *ids);
    for (int64_t i = 0; i < length; i++) {
        source->token_types[row * length + i] = i >= source->seconds[example] && i < count ? 1 : 0;
    }
    memset(source->mask + row * length, 1, (size_t)count);
    memset(source->mask + row * length + count, 0, (size_t)(length - count));
    if (source->wants_values) {
        memcpy(source->values + row * source->label_count,
               source->wanted + example * source->label_count,
               (size_t)source->label_count * sizeof *source->values);
    } else if (source->task == RF_CLASS_ANSWERER) {
        memcpy(source->labels + 2 * row, source->targets + 2 * example, 2 * sizeof *ids);
    } else {
        source->labels[row] = source->targets[example];
    }
}

rf_batch rf_source_read_examples(rf_source *source, int64_t first, int64_t rows)
{
    int64_t length = 1;
    for (int64_t row = 0; row < rows; row++) {
        int64_t example = rf_source_example(source, first + row);
        int64_t count = source->starts[example + 1] - source->starts[example];
        length = count > length ? count : length;
    }
    for (int64_t row = 0; row < rows; row++) {
        put_row(source, row, rf_source_example(source, first + row), length);
    }
    return (rf_batch){.batch = rows,
                      .length = length,
                      .ids = source->ids,
                      .mask = source->mask,
                      .token_types = source->token_types,
                      .labels = source->wants_values ? NULL : source->labels,
                      .values = source->wants_values ? source->values : NULL};
}
