/* `attend`: what chosen tokens of a text look at, in one head of one layer. One pass of the model
 * keeps that head's queries, keys and order; a row of weights is worked out for each chosen token
 * and written out before the next, so memory grows with the length and never with its square. */
#include "tools/attend.h"
#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "model/attention_weights.h"
#include "reformer/tools.h"
#include "tools/token_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT_TEXT = 256 };

typedef struct attending {
    const rf_attend_options *options;
    rf_model *model;
    rf_tokenizer *tokenizer;
    rf_encoding tokens;
    rf_attention *attention;
    rf_attention_info info;
    int64_t *queries; /* [query_count] */
    int64_t query_count;
    rf_text shown; /* of one token, used again and again */
    rf_atomic_file *csv;
    rf_attend_picture picture;
    json_t *report;
    char *text; /* of the report */
} attending;

/* ---- what is asked for ------------------------------------------------------------------- */

static rf_status open_model(attending *a, rf_error *error)
{
    const rf_attend_options *o = a->options;
    rf_model_options load = {.device = o->device,
                             .precision = o->precision,
                             .kernels = o->kernels,
                             .stream = o->stream,
                             .threads = o->threads,
                             .num_hashes = o->num_hashes,
                             .attention = o->attention,
                             .extend_positions = o->extend_positions,
                             .log = o->log};
    RF_TRY(rf_model_load(o->model, &load, &a->model, error));
    RF_TRY(rf_tokenizer_load(o->model, &a->tokenizer, error));
    RF_TRY(rf_tokenizer_tokenize(a->tokenizer, (const uint8_t *)o->text, o->text_size, &a->tokens,
                                 error));
    int64_t most = rf_model_max_length(a->model);
    if (a->tokens.count == 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "the text has no token; give one that has");
    }
    if (a->tokens.count > most) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the text has %lld tokens, but the model has %lld positions; shorten "
                            "it, or extend the positions",
                            (long long)a->tokens.count, (long long)most);
    }
    return RF_OK;
}

static void choose(attending *a, bool *chosen, int64_t position)
{
    if (!chosen[position]) {
        chosen[position] = true;
        a->queries[a->query_count++] = position;
    }
}

/* The tokens of every place where options->token stands. */
static rf_status choose_by_text(attending *a, bool *chosen, rf_error *error)
{
    const rf_attend_options *o = a->options;
    size_t size = strlen(o->token);
    bool found = false;
    for (size_t at = 0; size > 0 && at + size <= o->text_size; at++) {
        if (memcmp(o->text + at, o->token, size) != 0) {
            continue;
        }
        int64_t low = 0;
        found = true;
        for (int64_t high = a->tokens.count; low < high;) { /* the first that ends behind `at` */
            int64_t middle = low + (high - low) / 2;
            low = a->tokens.ends[middle] <= (int64_t)at ? middle + 1 : low;
            high = a->tokens.ends[middle] <= (int64_t)at ? high : middle;
        }
        for (; low < a->tokens.count && a->tokens.begins[low] < (int64_t)(at + size); low++) {
            choose(a, chosen, low);
        }
    }
    if (!found || a->query_count == 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "'%.100s' does not stand in the text",
                            o->token);
    }
    return RF_OK;
}

static rf_status choose_queries(attending *a, rf_error *error)
{
    const rf_attend_options *o = a->options;
    int64_t length = a->tokens.count;
    void *memory = NULL;
    bool *chosen = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate((size_t)length * sizeof *a->queries, "chosen tokens", &memory, error));
    a->queries = memory;
    RF_TRY(rf_allocate_zeroed((size_t)length, "chosen tokens", &memory, error));
    chosen = memory;
    for (size_t i = 0; i < o->position_count; i++) {
        int64_t at = o->positions[i];
        if (at < -length || at >= length) {
            RF_TRY_DONE(rf_error_set(error, RF_ERR_ARGUMENT,
                                     "position %lld is outside the text of %lld tokens, expected "
                                     "-%lld to %lld",
                                     (long long)at, (long long)length, (long long)length,
                                     (long long)length - 1));
        }
        choose(a, chosen, at < 0 ? at + length : at);
    }
    if (o->token != NULL) {
        RF_TRY_DONE(choose_by_text(a, chosen, error));
    } else if (o->position_count == 0) {
        choose(a, chosen, length - 1);
    }
done:
    rf_release(chosen);
    return status;
}

static rf_status attend(attending *a, rf_error *error)
{
    const rf_attend_options *o = a->options;
    rf_attention_place place = {.layer = o->layer, .head = o->head};
    if (place.layer == -1) {
        place.layer = rf_first_hashed_layer(a->model);
    }
    RF_TRY(rf_model_attention(a->model, a->tokens.ids, NULL, a->tokens.count, &place, 1,
                              &a->attention, error));
    a->info = rf_attention_describe(a->attention);
    return RF_OK;
}

int64_t rf_first_hashed_layer(const rf_model *model)
{
    for (int64_t i = 0; i < model->config.layers; i++) {
        if (model->config.kinds[i] == RF_LAYER_LSH) {
            return i;
        }
    }
    return 0;
}

/* ---- the report -------------------------------------------------------------------------- */

static rf_status no_memory(rf_error *error)
{
    return rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
}

static rf_status append(json_t *list, json_t *item, rf_error *error)
{
    return json_array_append_new(list, item) == 0 ? RF_OK : no_memory(error);
}

static rf_status show_token(attending *a, int64_t position, rf_error *error)
{
    a->shown.size = 0;
    return rf_token_text(a->tokenizer, a->tokens.ids[position], &a->shown, error);
}

/* {"position", "id", "text"} */
static rf_status token_json(attending *a, int64_t position, json_t **item, rf_error *error)
{
    RF_TRY(show_token(a, position, error));
    *item = json_pack("{s:I, s:i, s:s}", "position", (json_int_t)position, "id",
                      (int)a->tokens.ids[position], "text", a->shown.bytes);
    return *item != NULL ? RF_OK : no_memory(error);
}

static json_t *numbers_json(const double *values, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_real(values[i]));
    }
    return list;
}

/* Where a query stands in each round, and what each weighs. */
static json_t *places_json(const attending *a, int64_t query, const rf_attention_row *row)
{
    json_t *list = json_array();
    for (int64_t r = 0; r < a->info.rounds; r++) {
        const int32_t *buckets = rf_attention_buckets(a->attention, r);
        const int32_t *slots = a->attention->slots;
        int64_t slot = slots != NULL ? slots[r * a->info.length + query] : query;
        json_t *item = json_pack("{s:I, s:I, s:f}", "slot", (json_int_t)slot, "chunk",
                                 (json_int_t)(slot / a->info.chunk), "share", row->shares[r]);
        if (buckets != NULL) {
            (void)json_object_set_new(item, "bucket", json_integer(buckets[query]));
        }
        (void)json_array_append_new(list, item);
    }
    return list;
}

typedef struct ranked {
    int64_t index;
    double weight;
} ranked;

static int by_weight(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->weight != b->weight) {
        return a->weight > b->weight ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The heaviest, and of equal ones the first. */
static rf_status attended_json(attending *a, const rf_attention_row *row, json_t *list,
                               rf_error *error)
{
    int64_t top = a->options->top;
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate((size_t)row->count * sizeof(ranked), "weights in order", &memory, error));
    ranked *order = memory;
    for (int64_t i = 0; i < row->count; i++) {
        order[i] = (ranked){i, row->weights[i]};
    }
    qsort(order, (size_t)row->count, sizeof *order, by_weight);
    for (int64_t i = 0; i < row->count && (top == 0 || i < top); i++) {
        int64_t at = order[i].index;
        json_t *item = NULL;
        RF_TRY_DONE(token_json(a, row->positions[at], &item, error));
        RF_TRY_DONE(append(list, item, error));
        RF_TRY_DONE(rf_json_set(item, "weight", json_real(row->weights[at]), error));
        RF_TRY_DONE(rf_json_set(item, "parts",
                                numbers_json(row->parts + at * row->rounds, row->rounds), error));
    }
done:
    rf_release(memory);
    return status;
}

static rf_status query_json(attending *a, int64_t query, const rf_attention_row *row,
                            rf_error *error)
{
    json_t *attended = json_array();
    json_t *item = NULL;
    double sum = row->lost;
    for (int64_t i = 0; i < row->count; i++) {
        sum += row->weights[i];
    }
    rf_status status = RF_OK;
    RF_TRY_DONE(attended != NULL ? RF_OK : no_memory(error));
    RF_TRY_DONE(token_json(a, query, &item, error));
    RF_TRY_DONE(append(json_object_get(a->report, "queries"), item, error));
    RF_TRY_DONE(rf_json_set(item, "count", json_integer((json_int_t)row->count), error));
    RF_TRY_DONE(rf_json_set(item, "sum", json_real(sum), error));
    RF_TRY_DONE(rf_json_set(item, "lost", json_real(row->lost), error));
    RF_TRY_DONE(rf_json_set(item, "log_norm", json_real((double)row->log_norm), error));
    RF_TRY_DONE(rf_json_set(item, "rounds", places_json(a, query, row), error));
    RF_TRY_DONE(rf_json_set(item, "attended", json_incref(attended), error));
    RF_TRY_DONE(attended_json(a, row, attended, error));
done:
    json_decref(attended);
    return status;
}

static json_t *buckets_json(const attending *a, int64_t position)
{
    json_t *list = json_array();
    for (int64_t r = 0; r < a->info.rounds; r++) {
        const int32_t *buckets = rf_attention_buckets(a->attention, r);
        (void)json_array_append_new(list, json_integer(buckets[position]));
    }
    return list;
}

/* Every token's buckets, chunk borders, and the order of each round. */
static rf_status list_tokens(attending *a, rf_error *error)
{
    json_t *tokens = json_array();
    json_t *borders = json_array();
    json_t *orders = NULL;
    bool hashed = a->info.buckets > 0;
    RF_TRY(rf_json_set(a->report, "tokens", tokens, error));
    RF_TRY(rf_json_set(a->report, "borders", borders, error));
    for (int64_t i = 0; i < a->info.length; i++) {
        json_t *item = NULL;
        RF_TRY(token_json(a, i, &item, error));
        RF_TRY(append(tokens, item, error));
        if (hashed) {
            RF_TRY(rf_json_set(item, "buckets", buckets_json(a, i), error));
        }
    }
    for (int64_t slot = 0; slot < a->info.slots; slot += a->info.chunk) {
        RF_TRY(append(borders, json_integer((json_int_t)slot), error));
    }
    if (!hashed) {
        return RF_OK;
    }
    orders = json_array();
    RF_TRY(rf_json_set(a->report, "orders", orders, error));
    for (int64_t r = 0; r < a->info.rounds; r++) {
        const int32_t *order = rf_attention_order(a->attention, r);
        json_t *list = json_array();
        for (int64_t slot = 0; slot < a->info.slots; slot++) {
            (void)json_array_append_new(list, json_integer(order[slot]));
        }
        RF_TRY(append(orders, list, error));
    }
    return RF_OK;
}

static rf_status start_report(attending *a, rf_error *error)
{
    const rf_attention_info *i = &a->info;
    a->report =
        json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:b, s:[]}",
                  "layer", (json_int_t)i->place.layer, "head", (json_int_t)i->place.head, "kind",
                  i->kind, "length", (json_int_t)i->length, "rounds", (json_int_t)i->rounds,
                  "buckets", (json_int_t)i->buckets, "slots", (json_int_t)i->slots, "chunk",
                  (json_int_t)i->chunk, "before", (json_int_t)i->before, "after",
                  (json_int_t)i->after, "wrap", i->wrap, "causal", (int)i->causal, "same_bucket",
                  (int)i->same_bucket, "whole_buckets", (int)i->whole_buckets, "queries");
    return a->report != NULL ? RF_OK : no_memory(error);
}

/* ---- CSV --------------------------------------------------------------------------------- */

static rf_status add_number(rf_text *line, double value, rf_error *error)
{
    char number[64];
    (void)snprintf(number, sizeof number, "%.17g", value);
    rf_text_fix_number(number);
    return rf_text_format(line, error, ",%s", number);
}

static rf_status csv_head(attending *a, rf_error *error)
{
    rf_text line = {0};
    rf_status status = RF_OK;
    RF_TRY(rf_atomic_open(a->options->csv, &a->csv, error));
    RF_TRY_DONE(rf_text_format(&line, error, "query,position,id,text,weight"));
    for (int64_t r = 0; r < a->info.rounds; r++) {
        RF_TRY_DONE(rf_text_format(&line, error, ",round_%lld", (long long)r));
    }
    RF_TRY_DONE(rf_text_append(&line, "\n", 1, error));
    RF_TRY_DONE(rf_atomic_write(a->csv, line.bytes, line.size, error));
done:
    rf_release(line.bytes);
    return status;
}

static rf_status csv_line(attending *a, int64_t query, const rf_attention_row *row, int64_t index,
                          rf_text *line, rf_error *error)
{
    int64_t position = row->positions[index];
    RF_TRY(show_token(a, position, error));
    RF_TRY(rf_text_format(line, error, "%lld,%lld,%ld,\"", (long long)query, (long long)position,
                          (long)a->tokens.ids[position]));
    for (const char *c = a->shown.bytes; *c != '\0'; c++) {
        RF_TRY(rf_text_append(line, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1, error));
    }
    RF_TRY(rf_text_append(line, "\"", 1, error));
    RF_TRY(add_number(line, row->weights[index], error));
    for (int64_t r = 0; r < row->rounds; r++) {
        RF_TRY(add_number(line, row->parts[index * row->rounds + r], error));
    }
    return rf_text_append(line, "\n", 1, error);
}

static rf_status csv_row(attending *a, int64_t query, const rf_attention_row *row, rf_error *error)
{
    rf_text lines = {0};
    rf_status status = RF_OK;
    for (int64_t i = 0; i < row->count; i++) {
        RF_TRY_DONE(csv_line(a, query, row, i, &lines, error));
    }
    RF_TRY_DONE(rf_atomic_write(a->csv, lines.bytes, lines.size, error));
done:
    rf_release(lines.bytes);
    return status;
}

static rf_status csv_end(attending *a, rf_error *error)
{
    rf_atomic_file *file = a->csv;
    a->csv = NULL;
    return rf_atomic_commit(file, error);
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status show_query(attending *a, int64_t query, rf_error *error)
{
    rf_attention_row row = {0};
    rf_status status = RF_OK;
    RF_TRY(rf_attention_weights(a->attention, query, &row, error));
    RF_TRY_DONE(query_json(a, query, &row, error));
    if (a->csv != NULL) {
        RF_TRY_DONE(csv_row(a, query, &row, error));
    }
    if (a->options->picture != NULL) {
        RF_TRY_DONE(show_token(a, query, error));
        RF_TRY_DONE(rf_attend_picture_add(&a->picture, query, a->shown.bytes, &row, error));
    }
done:
    rf_attention_row_clear(&row);
    return status;
}

static rf_status check(const rf_attend_options *o, rf_error *error)
{
    if (o->top < 0 || o->layer < -1) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT, "%s is %lld, expected %s", o->top < 0 ? "top" : "layer",
            (long long)(o->top < 0 ? o->top : o->layer), o->top < 0 ? "0 or more" : "-1 or more");
    }
    return o->picture != NULL ? rf_attend_picture_check(o->picture, error) : RF_OK;
}

static rf_status compute(attending *a, rf_error *error)
{
    const rf_attend_options *o = a->options;
    RF_TRY(open_model(a, error));
    RF_TRY(choose_queries(a, error));
    if (o->picture != NULL && a->query_count > RF_ATTEND_MOST_LINES) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a picture shows what at most %d tokens look at, but %lld are chosen",
                            RF_ATTEND_MOST_LINES, (long long)a->query_count);
    }
    RF_TRY(attend(a, error));
    RF_TRY(start_report(a, error));
    if (o->csv != NULL) {
        RF_TRY(csv_head(a, error));
    }
    for (int64_t i = 0; i < a->query_count; i++) {
        RF_TRY(show_query(a, a->queries[i], error));
    }
    if (o->tokens || a->tokens.count <= SHORT_TEXT) {
        RF_TRY(list_tokens(a, error));
    }
    RF_TRY(rf_json_text(a->report, true, &a->text, error));
    if (o->picture != NULL) { /* files come last, when all else has succeeded */
        RF_TRY(rf_attend_picture_write(&a->picture, &a->info, o->picture, error));
    }
    return o->csv != NULL ? csv_end(a, error) : RF_OK;
}

rf_status rf_attend(const rf_attend_options *options, char **report, rf_error *error)
{
    attending a = {.options = options};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY(check(options, error));
    RF_TRY_DONE(compute(&a, error));
    *report = a.text;
    a.text = NULL;
done:
    rf_release(a.text);
    json_decref(a.report);
    rf_atomic_abandon(a.csv);
    rf_attend_picture_clear(&a.picture);
    rf_attention_destroy(a.attention);
    rf_release(a.queries);
    rf_release(a.shown.bytes);
    rf_encoding_clear(&a.tokens);
    rf_tokenizer_destroy(a.tokenizer);
    rf_model_destroy(a.model);
    return status;
}
