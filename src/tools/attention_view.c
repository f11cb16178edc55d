/* What the scenes of attention draw from: rows of weights, worked out one at a time, and the places
 * of their keys in one round. Memory: that of the head, and one row; bins of long texts take rows
 * of a few thousand tokens, whatever the length. */
#include "tools/attention_view.h"

#include "base/memory.h"
#include "tools/attend.h"

#include <string.h>

/* ---- opening ----------------------------------------------------------------------------- */

static bool is_of(const rf_config *config, int64_t layer, const char *kind)
{
    return layer >= 0 && layer < config->layers &&
           strcmp(rf_layer_kind_name(config->kinds[layer]), kind) == 0;
}

int64_t rf_view_layer(const rf_scene_context *context, const char *kind)
{
    const rf_config *config = &context->model->config;
    int64_t wanted = context->options->layer;
    if (kind == NULL) {
        return wanted >= 0 ? wanted : rf_first_hashed_layer(context->model);
    }
    if (is_of(config, wanted, kind)) {
        return wanted;
    }
    for (int64_t i = 0; i < config->layers; i++) {
        if (is_of(config, i, kind)) {
            return i;
        }
    }
    return -1;
}

static rf_status take_rows(rf_attention_view *view, rf_error *error)
{
    const rf_attention_info *info = &view->info;
    void *memory = NULL;
    view->most_pairs = (info->before + 1 + info->after) * info->chunk;
    RF_TRY(rf_allocate((size_t)view->most_pairs * sizeof *view->pairs, "what a token sees", &memory,
                       error));
    view->pairs = memory;
    RF_TRY(rf_allocate_zeroed((size_t)view->length * sizeof *view->copies, "places of tokens",
                              &memory, error));
    view->copies = memory;
    return RF_OK;
}

rf_status rf_view_open(rf_attention_view *view, const rf_scene_context *context, int64_t layer,
                       int64_t length, rf_error *error)
{
    const rf_illustrate_options *options = context->options;
    rf_model *model = view->model != NULL ? view->model : context->model;
    rf_attention_place place = {0};
    view->context = context;
    view->length = length > 0 && length < context->tokens.count ? length : context->tokens.count;
    RF_TRY(rf_scene_choose("layer", layer, 0, rf_model_layers(model), &place.layer, error));
    RF_TRY(rf_scene_choose("head", view->model != NULL ? 0 : options->head, 0,
                           rf_model_heads(model), &place.head, error));
    RF_TRY(rf_model_attention(model, context->tokens.ids, NULL, view->length, &place, 1,
                              &view->attention, error));
    view->info = rf_attention_describe(view->attention);
    RF_TRY(rf_scene_choose("round", view->info.buckets > 0 ? options->round : 0, 0,
                           view->info.rounds, &view->round, error));
    bool outside = view->model != NULL && options->position >= view->length;
    RF_TRY(rf_scene_choose("position", outside ? -1 : options->position, view->length - 1,
                           view->length, &view->query, error));
    return take_rows(view, error);
}

void rf_view_close(rf_attention_view *view)
{
    rf_attention_row_clear(&view->row);
    rf_attention_destroy(view->attention);
    rf_release(view->pairs);
    rf_release(view->copies);
    rf_model_destroy(view->model);
    *view = (rf_attention_view){0};
}

/* ---- places ------------------------------------------------------------------------------ */

int64_t rf_view_slot(const rf_attention_view *view, int64_t token)
{
    const int32_t *slots = view->attention->slots;
    return slots != NULL ? slots[view->round * view->info.length + token] : token;
}

int64_t rf_view_bucket(const rf_attention_view *view, int64_t token)
{
    const int32_t *buckets = rf_attention_buckets(view->attention, view->round);
    return buckets != NULL ? buckets[token] : -1;
}

static int64_t token_at(const rf_attention_view *view, int64_t round, int64_t slot)
{
    const int32_t *order = rf_attention_order(view->attention, round);
    return order != NULL ? order[slot] : slot < view->info.length ? slot : -1;
}

int64_t rf_view_token(const rf_attention_view *view, int64_t slot)
{
    return token_at(view, view->round, slot);
}

/* ---- a row ------------------------------------------------------------------------------- */

/* Index of a position in the row, -1: it is not attended to. */
static int64_t find(const rf_attention_row *row, int64_t position)
{
    int64_t low = 0;
    for (int64_t high = row->count; low < high;) {
        int64_t middle = low + (high - low) / 2;
        low = row->positions[middle] < position ? middle + 1 : low;
        high = row->positions[middle] < position ? high : middle;
    }
    return low < row->count && row->positions[low] == position ? low : -1;
}

bool rf_view_chunk(const rf_attention_view *view, int64_t chunk, int64_t shift, int64_t *round,
                   int64_t *number)
{
    const rf_attention_info *info = &view->info;
    int64_t chunks = info->slots / info->chunk;
    bool across = strcmp(info->wrap, "rounds") == 0;
    int64_t ring = across ? chunks * info->rounds : chunks;
    int64_t from = across ? view->round * chunks + chunk : chunk;
    int64_t to = from + shift;
    if (strcmp(info->wrap, "none") == 0) {
        *round = view->round;
        *number = to;
        return to >= 0 && to < chunks;
    }
    for (int64_t earlier = -info->before; earlier < shift; earlier++) {
        bool turns = earlier > -ring && earlier < ring;
        if ((to - from - (turns ? earlier : 0)) % ring == 0) {
            return false;
        }
    }
    to = shift > -ring && shift < ring ? (to + ring) % ring : from;
    *round = across ? to / chunks : view->round;
    *number = to % chunks;
    return true;
}

/* Appends the places of a chunk whose tokens the query attends to. */
static void add_chunk(rf_attention_view *view, int64_t query, int64_t shift, int64_t round,
                      int64_t chunk)
{
    const rf_attention_info *info = &view->info;
    int64_t bucket = rf_view_bucket(view, query);
    for (int64_t i = 0; i < info->chunk; i++) {
        int64_t slot = chunk * info->chunk + i;
        int64_t key = token_at(view, round, slot);
        bool may = key >= 0 && !(info->causal && key > query) &&
                   (!info->same_bucket || rf_view_bucket(view, key) == bucket);
        int64_t at = may ? find(&view->row, key) : -1;
        if (at >= 0) {
            view->copies[key]++;
            view->pairs[view->pair_count++] = (rf_view_pair){
                key, round, slot, shift, view->row.parts[at * view->row.rounds + view->round]};
        }
    }
}

rf_status rf_view_look(rf_attention_view *view, int64_t query, rf_error *error)
{
    int64_t chunk = rf_view_slot(view, query) / view->info.chunk;
    rf_attention_row_clear(&view->row);
    RF_TRY(rf_attention_weights(view->attention, query, &view->row, error));
    view->pair_count = 0;
    for (int64_t shift = -view->info.before; shift <= view->info.after; shift++) {
        int64_t round = 0;
        int64_t number = 0;
        if (rf_view_chunk(view, chunk, shift, &round, &number)) {
            add_chunk(view, query, shift, round, number);
        }
    }
    for (int64_t i = 0; i < view->pair_count; i++) {
        view->pairs[i].weight /= view->copies[view->pairs[i].key];
    }
    for (int64_t i = 0; i < view->pair_count; i++) {
        view->copies[view->pairs[i].key] = 0;
    }
    return RF_OK;
}

/* ---- bins -------------------------------------------------------------------------------- */

rf_status rf_view_bins(rf_attention_view *view, double *by_position, double *by_slot,
                       int64_t *samples, rf_error *error)
{
    const int64_t cells = RF_VIEW_CELLS;
    int64_t slots = view->info.slots;
    int64_t count = view->length < RF_VIEW_SAMPLES ? view->length : RF_VIEW_SAMPLES;
    int64_t rows[2][RF_VIEW_CELLS] = {{0}};
    memset(by_position, 0, (size_t)(cells * cells) * sizeof *by_position);
    memset(by_slot, 0, (size_t)(cells * cells) * sizeof *by_slot);
    *samples = count;
    for (int64_t i = 0; i < count; i++) {
        int64_t query = i * view->length / count;
        int64_t row = query * cells / view->length;
        int64_t slot_row = rf_view_slot(view, query) * cells / slots;
        RF_TRY(rf_view_look(view, query, error));
        rows[0][row]++;
        rows[1][slot_row]++;
        for (int64_t p = 0; p < view->pair_count; p++) {
            const rf_view_pair *pair = &view->pairs[p];
            by_position[row * cells + pair->key * cells / view->length] += pair->weight;
            if (pair->round == view->round) {
                by_slot[slot_row * cells + pair->slot * cells / slots] += pair->weight;
            }
        }
    }
    for (int64_t i = 0; i < cells * cells; i++) {
        by_position[i] /= rows[0][i / cells] > 0 ? (double)rows[0][i / cells] : 1.0;
        by_slot[i] /= rows[1][i / cells] > 0 ? (double)rows[1][i / cells] : 1.0;
    }
    return RF_OK;
}

/* ---- numbers ----------------------------------------------------------------------------- */

json_t *rf_view_bins_json(const double *values, int64_t rows, int64_t columns)
{
    json_t *list = json_array();
    for (int64_t r = 0; r < rows; r++) {
        json_t *row = json_array();
        for (int64_t c = 0; c < columns; c++) {
            (void)json_array_append_new(row, json_real(values[r * columns + c]));
        }
        (void)json_array_append_new(list, row);
    }
    return list;
}

rf_status rf_view_numbers(const rf_attention_view *view, json_t *numbers, rf_error *error)
{
    const rf_attention_info *i = &view->info;
    json_t *about = json_pack(
        "{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:b}", "layer",
        (json_int_t)i->place.layer, "head", (json_int_t)i->place.head, "kind", i->kind, "length",
        (json_int_t)i->length, "rounds", (json_int_t)i->rounds, "round", (json_int_t)view->round,
        "query", (json_int_t)view->query, "buckets", (json_int_t)i->buckets, "slots",
        (json_int_t)i->slots, "chunk", (json_int_t)i->chunk, "before", (json_int_t)i->before,
        "after", (json_int_t)i->after, "wrap", i->wrap, "causal", (int)i->causal, "same_bucket",
        (int)i->same_bucket, "whole_buckets", (int)i->whole_buckets);
    int failed = about == NULL || json_object_update(numbers, about) != 0;
    json_decref(about);
    return failed ? rf_error_set(error, RF_ERR_MEMORY, "no memory for the numbers") : RF_OK;
}
