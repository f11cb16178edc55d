/* Scene `local`: sixteen tokens in chunks of four, each seeing its own chunk and the one before;
 * the first chunk's is the last one, as windows go round (Hugging Face's local attention). Below it
 * the local layer of a model that was given. The small layer's weights are random. */
#include "base/memory.h"
#include "tools/attention_view.h"

#include <math.h>
#include <stdio.h>

enum { TOKENS = 16, LEFT = 6, SIDE = 288, WORDS_LEFT = 308, CONFIG_BYTES = 700, ARC_TOP = 34 };

typedef struct local_scene {
    rf_attention_view view;
    rf_drawing *drawing;
    double y;
    rf_strip strip;
    rf_grid grid;
} local_scene;

/* ---- the small layer --------------------------------------------------------------------- */

static rf_status create_layer(const rf_scene_context *context, rf_model **model, rf_error *error)
{
    char config[CONFIG_BYTES];
    const rf_model_options how = {.device = "cpu",
                                  .threads = context->options->threads,
                                  .task = context->model->config.causal ? "lm" : "embed"};
    (void)snprintf(config, sizeof config,
                   "{\"attention_head_size\": 16, \"attn_layers\": [\"local\"], "
                   "\"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [4, 4], "
                   "\"feed_forward_size\": 16, \"hidden_size\": 16, \"is_decoder\": %s, "
                   "\"local_attn_chunk_length\": 4, \"max_position_embeddings\": 16, "
                   "\"num_attention_heads\": 1, \"vocab_size\": %lld, \"initializer_range\": 0.3, "
                   "\"axial_norm_std\": 1.0}",
                   context->model->config.causal ? "true" : "false",
                   (long long)rf_model_vocabulary(context->model));
    return rf_model_create(config, context->options->seed, "huggingface", &how, model, error);
}

/* ---- chunks ------------------------------------------------------------------------------ */

static double chunk_middle(const local_scene *s, int64_t chunk)
{
    int64_t size = s->view.info.chunk;
    double last = rf_strip_x(&s->strip, (chunk + 1) * size - 1) + s->strip.cell;
    return (rf_strip_x(&s->strip, chunk * size) + last) / 2.0;
}

/* From a chunk over to one that it sees. */
static rf_status draw_arc(local_scene *s, int64_t from, int64_t to, rf_error *error)
{
    char path[120];
    bool round = to > from; /* the first chunk's goes round */
    long start = lround(chunk_middle(s, from) - (round ? 10.0 : 8.0));
    long end = lround(chunk_middle(s, to) + (round ? 10.0 : 8.0));
    long base = lround(s->strip.top - 3.0);
    long top = base - (round ? 52 : 30);
    const rf_look look = {.classes = round ? "line s1" : "line s0", .step = 1.0 + (double)from};
    (void)snprintf(path, sizeof path, "M%ld %ld C%ld %ld %ld %ld %ld %ld m-4 -8 l4 8 l%d -5", start,
                   base, start, top, end, top, end, base, round ? -9 : 9);
    RF_TRY(rf_drawing_data(s->drawing, "from-chunk", (double)from, error));
    RF_TRY(rf_drawing_data(s->drawing, "to-chunk", (double)to, error));
    RF_TRY(rf_drawing_note(s->drawing, error, "chunk %lld sees chunk %lld", (long long)from,
                           (long long)to));
    return rf_drawing_path(s->drawing, &look, path, error);
}

static rf_status draw_chunks(local_scene *s, rf_error *error)
{
    const rf_attention_info *info = &s->view.info;
    int64_t chunks = info->slots / info->chunk;
    RF_TRY(rf_strip_make(&s->view, info->slots, info->chunk, &s->strip, error));
    double gaps = (double)(chunks - 1) * s->strip.gap;
    double most = ((double)RF_SCENE_WIDTH - 2.0 * s->strip.left - gaps) / (double)info->slots;
    s->strip.per_row = info->slots; /* in one row, however long the tokens are */
    s->strip.cell = fmin(s->strip.cell, floor(most));
    s->strip.top = s->y + ARC_TOP;
    for (int64_t slot = 0; slot < info->slots; slot++) {
        const rf_look look = {.classes = rf_view_colour(slot / info->chunk), .opacity = 0.35};
        if (slot < s->view.length) {
            RF_TRY(rf_strip_token(s->drawing, &s->view, &s->strip, slot, slot, &look, error));
        }
    }
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const rf_look label = {.classes = "muted", .size = 12.0, .anchor = RF_ANCHOR_MIDDLE};
        RF_TRY(rf_drawing_print(s->drawing, &label, chunk_middle(s, chunk),
                                s->strip.top + s->strip.height + 15.0, error, "chunk %lld",
                                (long long)chunk));
        for (int64_t shift = -info->before; shift <= info->after; shift++) {
            int64_t round = 0;
            int64_t to = 0;
            if (rf_view_chunk(&s->view, chunk, shift, &round, &to) && to != chunk) {
                RF_TRY(draw_arc(s, chunk, to, error));
            }
        }
    }
    s->y = s->strip.top + s->strip.height + 30.0;
    return RF_OK;
}

/* ---- a matrix, token by token ------------------------------------------------------------ */

/* All that the chunks hold, seen or not. */
static rf_status draw_window(local_scene *s, int64_t query, rf_error *error)
{
    const rf_attention_info *info = &s->view.info;
    double width = s->grid.side / (double)s->grid.columns;
    for (int64_t shift = -info->before; shift <= info->after; shift++) {
        int64_t round = 0;
        int64_t chunk = 0;
        if (!rf_view_chunk(&s->view, query / info->chunk, shift, &round, &chunk)) {
            continue;
        }
        int64_t first = chunk * info->chunk;
        int64_t end = first + info->chunk < s->view.length ? first + info->chunk : s->view.length;
        RF_TRY(rf_drawing_data(s->drawing, "window", (double)query, error));
        RF_TRY(rf_drawing_data(s->drawing, "first", (double)first, error));
        RF_TRY(rf_drawing_data(s->drawing, "count", (double)(end - first), error));
        RF_TRY(rf_drawing_box(s->drawing, &(rf_look){.classes = "faint", .step = 6.0},
                              rf_grid_x(&s->grid, first), rf_grid_y(&s->grid, query),
                              width * (double)(end - first), s->grid.side / (double)s->grid.rows,
                              error));
    }
    return RF_OK;
}

static rf_status draw_row(local_scene *s, int64_t query, json_t *pairs, rf_error *error)
{
    RF_TRY(rf_view_look(&s->view, query, error));
    for (int64_t i = 0; i < s->view.row.count; i++) {
        int64_t key = s->view.row.positions[i];
        double weight = s->view.row.weights[i];
        char shown[32];
        rf_view_weight(weight, shown);
        RF_TRY(rf_drawing_data(s->drawing, "query", (double)query, error));
        RF_TRY(rf_drawing_data(s->drawing, "key", (double)key, error));
        RF_TRY(rf_drawing_data(s->drawing, "weight", weight, error));
        if (s->view.length <= TOKENS) {
            RF_TRY(rf_drawing_note(s->drawing, error, "%lld looks at %lld: %s", (long long)query,
                                   (long long)key, shown));
        }
        RF_TRY(rf_grid_cell(s->drawing, &s->grid, query, key, weight,
                            &(rf_look){.classes = "dot s0", .step = 8.0}, error));
        if (json_array_append_new(
                pairs, json_pack("[I, I, f]", (json_int_t)query, (json_int_t)key, weight)) != 0) {
            return rf_error_set(error, RF_ERR_MEMORY, "no memory for the numbers");
        }
    }
    return RF_OK;
}

static rf_status draw_borders(local_scene *s, rf_error *error)
{
    const rf_look faint = {.classes = "axis", .opacity = 0.35};
    const rf_grid *grid = &s->grid;
    for (int64_t at = s->view.info.chunk; at < s->view.length; at += s->view.info.chunk) {
        double x = rf_grid_x(grid, at);
        double y = rf_grid_y(grid, at);
        RF_TRY(rf_drawing_line(s->drawing, &faint, x, grid->top, x, grid->top + grid->side, error));
        RF_TRY(
            rf_drawing_line(s->drawing, &faint, grid->left, y, grid->left + grid->side, y, error));
    }
    return rf_grid_frame(s->drawing, grid, error);
}

static rf_status draw_matrix(local_scene *s, json_t *numbers, rf_error *error)
{
    json_t *pairs = json_array();
    RF_TRY(rf_json_set(numbers, "pairs", pairs, error));
    s->grid = (rf_grid){.left = LEFT,
                        .top = s->y + 8.0,
                        .side = SIDE,
                        .rows = s->view.length,
                        .columns = s->view.length,
                        .most = 1.0};
    for (int64_t query = 0; query < s->view.length; query++) {
        RF_TRY(draw_window(s, query, error));
    }
    for (int64_t query = 0; query < s->view.length; query++) {
        RF_TRY(draw_row(s, query, pairs, error));
    }
    s->y = s->grid.top + s->grid.side + 12.0;
    return draw_borders(s, error);
}

static rf_status draw_words(const local_scene *s, const char *const *lines, size_t count,
                            rf_error *error)
{
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_drawing_words(s->drawing, &(rf_look){.size = 13.0}, WORDS_LEFT,
                                s->grid.top + 16.0 + 19.0 * (double)i, lines[i], error));
    }
    return RF_OK;
}

/* ---- both parts -------------------------------------------------------------------------- */

static rf_status draw_small(local_scene *s, const rf_scene_context *context, json_t *numbers,
                            rf_error *error)
{
    static const char *const causal[] = {
        "A row is the token that",    "looks, a column the token",
        "looked at; the stronger,",   "the more weight. Grey is",
        "what the window holds but",  "the mask hides: what is",
        "later in the text.",         "",
        "So the first chunk's other", "half, the last chunk, is in",
        "its window and never seen."};
    static const char *const both[] = {"A row is the token that",
                                       "looks, a column the token",
                                       "looked at; the stronger,",
                                       "the more weight.",
                                       "",
                                       "The chunk before the first",
                                       "is the last: its window",
                                       "goes round."};
    bool is_causal = context->model->config.causal;
    RF_TRY(create_layer(context, &s->view.model, error));
    RF_TRY(rf_view_open(&s->view, context, 0, TOKENS, error));
    RF_TRY(rf_view_numbers(&s->view, numbers, error));
    s->y = 22.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.classes = "bold"}, LEFT, s->y, error,
                            "%lld tokens in chunks of %lld (a layer with random weights)",
                            (long long)s->view.length, (long long)s->view.info.chunk));
    s->y += 26.0;
    RF_TRY(draw_chunks(s, error));
    RF_TRY(draw_matrix(s, numbers, error));
    return draw_words(s, is_causal ? causal : both,
                      is_causal ? sizeof causal / sizeof causal[0] : sizeof both / sizeof both[0],
                      error);
}

static rf_status draw_bins(local_scene *s, json_t *numbers, rf_error *error)
{
    double values[2][RF_VIEW_CELLS * RF_VIEW_CELLS];
    int64_t samples = 0;
    s->grid = (rf_grid){.left = LEFT,
                        .top = s->y + 26.0,
                        .side = SIDE,
                        .rows = RF_VIEW_CELLS,
                        .columns = RF_VIEW_CELLS};
    RF_TRY(rf_view_bins(&s->view, values[0], values[1], &samples, error));
    RF_TRY(rf_json_set(numbers, "samples", json_integer((json_int_t)samples), error));
    RF_TRY(rf_json_set(numbers, "weights_by_position",
                       rf_view_bins_json(values[0], RF_VIEW_CELLS, RF_VIEW_CELLS), error));
    RF_TRY(rf_view_draw_bins(s->drawing, &s->grid, values[0], "mean weights of stretches", 0.0,
                             error));
    s->y = s->grid.top + s->grid.side + 12.0;
    return RF_OK;
}

static rf_status draw_models(local_scene *s, const rf_scene_context *context, int64_t layer,
                             json_t *numbers, rf_error *error)
{
    RF_TRY(rf_view_open(&s->view, context, layer, 0, error));
    RF_TRY(rf_view_numbers(&s->view, numbers, error));
    const rf_attention_info *info = &s->view.info;
    s->y += 20.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.classes = "bold"}, LEFT, s->y, error,
                            "The model's layer %lld, head %lld", (long long)info->place.layer,
                            (long long)info->place.head));
    s->y += 19.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.size = 13.0}, LEFT, s->y, error,
                            "%lld tokens in chunks of %lld", (long long)info->length,
                            (long long)info->chunk));
    return s->view.length > RF_VIEW_MOST ? draw_bins(s, numbers, error)
                                         : draw_matrix(s, numbers, error);
}

static rf_status draw(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                      rf_error *error)
{
    local_scene s = {.drawing = drawing};
    int64_t layer = rf_view_layer(context, "local");
    json_t *parts[2] = {json_object(), NULL};
    rf_status status = RF_OK;
    drawing->width = RF_SCENE_WIDTH;
    RF_TRY_DONE(rf_json_set(numbers, "example", parts[0], error));
    RF_TRY_DONE(draw_small(&s, context, parts[0], error));
    if (!context->is_random && layer >= 0) {
        rf_view_close(&s.view);
        parts[1] = json_object();
        RF_TRY_DONE(rf_json_set(numbers, "model", parts[1], error));
        RF_TRY_DONE(draw_models(&s, context, layer, parts[1], error));
    }
    drawing->height = s.y;
done:
    rf_view_close(&s.view);
    return status;
}

const rf_scene rf_scene_local = {
    .name = "local",
    .title = "Local attention: chunks of neighbours",
    .summary = "A local layer cuts the text as it stands into chunks; a token looks into its own "
               "chunk and the one before. The window of the first chunk goes round to the last.",
    .draw = draw,
};
