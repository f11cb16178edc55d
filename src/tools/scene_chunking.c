/* Scene `chunking`: what the chunk of a feed-forward layer saves and costs (Kitaev et al. 2020,
 * section 3). Bytes are counted by a dry run of the layer's own code, as the planner does it; times
 * are of the layer in a real pass, the median of a few; and the streams behind all layers are
 * compared with those of the largest chunk. */
#include "base/clock.h"
#include "base/memory.h"
#include "model/runner.h"
#include "tools/scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1024, SIZES = 5, REPEATS = 5, BAR_X = 96, BAR_WIDTH = 310, ROW_HEIGHT = 52 };

typedef struct sizes {
    int64_t length, layer;
    int count;
    int64_t rows[SIZES];   /* of a chunk */
    size_t bytes[SIZES];   /* of the layer's workspace */
    double seconds[SIZES]; /* of the layer; 0: not measured */
    double difference;     /* the largest */
    int32_t *whole[2];     /* the streams with one chunk, [length * hidden] each */
} sizes;

/* Chunks of the whole length, and of a quarter, a sixteenth, ... of it. */
static void choose_sizes(const rf_scene_context *context, sizes *s)
{
    int64_t most = rf_model_max_length(context->model);
    s->length = most < LONGEST ? most : LONGEST;
    for (int64_t rows = s->length; rows >= 1 && s->count < SIZES; rows /= 4) {
        s->rows[s->count++] = rows;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The layer's feed-forward over the streams as they are. */
static rf_status feed_forward(rf_pass *pass, const rf_reversible *stack, int64_t layer,
                              rf_error *error)
{
    return rf_half_feed_forward.forward(pass, layer, &stack->streams[1], &stack->streams[0], error);
}

static rf_status count_bytes(rf_runner *runner, const sizes *s, size_t *bytes, rf_error *error)
{
    rf_device dry = *runner->model->device;
    rf_workspace workspace;
    rf_pass pass = runner->pass;
    dry.dry = true;
    rf_workspace_init(&workspace, &dry);
    pass.context.device = &dry;
    pass.context.workspace = &workspace;
    RF_TRY(feed_forward(&pass, &runner->stack, s->layer, error));
    *bytes = workspace.high;
    return RF_OK;
}

static rf_status measure(rf_runner *runner, const sizes *s, double *seconds, rf_error *error)
{
    double times[REPEATS];
    for (int i = -1; i < REPEATS; i++) { /* the first warms up */
        double start = rf_clock_seconds();
        RF_TRY(feed_forward(&runner->pass, &runner->stack, s->layer, error));
        times[i < 0 ? 0 : i] = rf_clock_seconds() - start;
    }
    qsort(times, REPEATS, sizeof times[0], compare_doubles);
    *seconds = times[REPEATS / 2];
    return RF_OK;
}

/* The first streams are kept, later ones compared with them. */
static void compare(const rf_runner *runner, sizes *s, int size)
{
    const rf_config *config = &runner->model->config;
    const size_t count = (size_t)(s->length * config->hidden);
    for (int stream = 0; stream < 2; stream++) {
        const int32_t *values = runner->stack.streams[stream].data;
        if (size == 0) {
            memcpy(s->whole[stream], values, count * sizeof *values);
        }
        for (size_t i = 0; i < count; i++) {
            double difference = (double)values[i] - (double)s->whole[stream][i];
            s->difference = fmax(s->difference, ldexp(fabs(difference), -config->fraction_bits));
        }
    }
}

/* ids [length] */
static rf_status try_size(const rf_scene_context *context, sizes *s, int size, const int32_t *ids,
                          rf_error *error)
{
    const rf_runner_options options = {
        .batch = 1, .length = s->length, .fixed_stream = true, .slices = {.rows = s->length}};
    const rf_batch batch = {.batch = 1, .length = s->length, .ids = ids};
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    context->model->config.feed_forward_rows = s->rows[size];
    RF_TRY(rf_runner_create(context->model, &options, &runner, error));
    RF_TRY_DONE(rf_runner_forward(runner, &batch, context->options->seed, 0, &outcome, error));
    compare(runner, s, size);
    RF_TRY_DONE(count_bytes(runner, s, &s->bytes[size], error));
    if (context->options->timing) {
        RF_TRY_DONE(measure(runner, s, &s->seconds[size], error));
    }
done:
    rf_runner_destroy(runner);
    return status;
}

/* The text over and over; the configuration is as it was in the end. */
static rf_status try_sizes(const rf_scene_context *context, sizes *s, rf_error *error)
{
    int64_t configured = context->model->config.feed_forward_rows;
    const size_t stream = (size_t)(s->length * context->model->config.hidden);
    void *memory = NULL;
    void *streams = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_allocate((size_t)s->length * sizeof(int32_t), "tokens", &memory, error));
    RF_TRY_DONE(rf_allocate(2 * stream * sizeof(int32_t), "streams", &streams, error));
    int32_t *ids = memory;
    s->whole[0] = streams;
    s->whole[1] = s->whole[0] + stream;
    for (int64_t i = 0; i < s->length; i++) {
        ids[i] = context->tokens.ids[i % context->tokens.count];
    }
    for (int i = 0; i < s->count; i++) {
        RF_TRY_DONE(try_size(context, s, i, ids, error));
    }
done:
    context->model->config.feed_forward_rows = configured;
    rf_release(streams);
    rf_release(memory);
    return status;
}

/* ---- the picture ------------------------------------------------------------------------- */

static rf_status draw_row(rf_drawing *drawing, const sizes *s, int i, rf_error *error)
{
    double most_bytes = 0.0;
    double most_seconds = 0.0;
    for (int k = 0; k < s->count; k++) {
        most_bytes = fmax(most_bytes, (double)s->bytes[k]);
        most_seconds = fmax(most_seconds, s->seconds[k]);
    }
    double y = 84.0 + ROW_HEIGHT * i;
    double width = BAR_WIDTH * (double)s->bytes[i] / most_bytes;
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.anchor = RF_ANCHOR_END, .size = 15.0},
                            BAR_X - 12.0, y + 20.0, error, "%lld", (long long)s->rows[i]));
    RF_TRY(rf_drawing_data(drawing, "rows", (double)s->rows[i], error));
    RF_TRY(rf_drawing_data(drawing, "bytes", (double)s->bytes[i], error));
    RF_TRY(rf_drawing_box(drawing, &(rf_look){.classes = "dot s0"}, BAR_X, y, width, 18.0, error));
    RF_TRY(rf_drawing_print(drawing, &(rf_look){0}, BAR_X + width + 7.0, y + 14.0, error,
                            "%.0f KiB", (double)s->bytes[i] / 1024.0));
    if (s->seconds[i] <= 0.0) {
        return RF_OK;
    }
    width = BAR_WIDTH * s->seconds[i] / most_seconds;
    RF_TRY(rf_drawing_data(drawing, "rows", (double)s->rows[i], error));
    RF_TRY(rf_drawing_data(drawing, "seconds", s->seconds[i], error));
    RF_TRY(rf_drawing_box(drawing, &(rf_look){.classes = "dot s1"}, BAR_X, y + 20.0, width, 18.0,
                          error));
    return rf_drawing_print(drawing, &(rf_look){0}, BAR_X + width + 7.0, y + 34.0, error, "%.3g ms",
                            1000.0 * s->seconds[i]);
}

static rf_status draw_sizes(rf_drawing *drawing, const sizes *s, bool timing, rf_error *error)
{
    const rf_look words = {.size = 14.0};
    drawing->width = RF_SCENE_WIDTH;
    drawing->height = 84.0 + ROW_HEIGHT * s->count + 30.0;
    RF_TRY(
        rf_drawing_box(drawing, &(rf_look){.classes = "dot s0"}, BAR_X, 12.0, 14.0, 14.0, error));
    RF_TRY(rf_drawing_words(drawing, &words, BAR_X + 22.0, 24.0,
                            "working memory of the feed-forward layer, planned", error));
    if (timing) {
        RF_TRY(rf_drawing_box(drawing, &(rf_look){.classes = "dot s1"}, BAR_X, 34.0, 14.0, 14.0,
                              error));
        RF_TRY(rf_drawing_print(drawing, &words, BAR_X + 22.0, 46.0, error,
                                "its time here, median of %d", REPEATS));
    }
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.classes = "muted"}, 12.0, 72.0, error,
                            "tokens of a chunk, of %lld", (long long)s->length));
    for (int i = 0; i < s->count; i++) {
        RF_TRY(draw_row(drawing, s, i, error));
    }
    RF_TRY(rf_drawing_data(drawing, "difference", s->difference, error));
    return rf_drawing_print(drawing, &(rf_look){.classes = "bold"}, 12.0, drawing->height - 12.0,
                            error, "largest difference behind all layers: %.2g", s->difference);
}

static rf_status draw_chunking(const rf_scene_context *context, rf_drawing *drawing,
                               json_t *numbers, rf_error *error)
{
    sizes s = {0};
    choose_sizes(context, &s);
    RF_TRY(rf_scene_choose("layer", context->options->layer, 0, context->model->config.layers,
                           &s.layer, error));
    RF_TRY(try_sizes(context, &s, error));
    RF_TRY(draw_sizes(drawing, &s, context->options->timing, error));
    json_t *list = json_array();
    for (int i = 0; i < s.count; i++) {
        json_t *item =
            json_pack("{s:I, s:I}", "rows", (json_int_t)s.rows[i], "bytes", (json_int_t)s.bytes[i]);
        if (context->options->timing) {
            (void)json_object_set_new(item, "seconds", json_real(s.seconds[i]));
        }
        (void)json_array_append_new(list, item);
    }
    RF_TRY(rf_json_set(numbers, "chunks", list, error));
    RF_TRY(rf_json_set(numbers, "length", json_integer(s.length), error));
    RF_TRY(rf_json_set(numbers, "layer", json_integer(s.layer), error));
    return rf_json_set(numbers, "largest_difference", json_real(s.difference), error);
}

const rf_scene rf_scene_chunking = {
    .name = "chunking",
    .title = "Chunks of a feed-forward layer: less memory, the same function",
    .summary =
        "A feed-forward layer is wider inside than the streams, and treats every token by itself. "
        "So it need not hold all tokens at once: computed chunk after chunk, only the inside of "
        "one "
        "chunk takes memory. Very small chunks take longer, since small products are computed less "
        "well; the numbers are the same but for the order of their rounding.",
    .draw = draw_chunking};
