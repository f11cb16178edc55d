/* Scene `reversible`: a layer there and back (Gomez et al. 2017; Kitaev et al. 2020, section 3).
 * The streams are copied on the way of a real pass, before and behind the layer; then the layer's
 * own backward, with gradients of zeros, takes back what it added, and they are copied again. */
#include "base/memory.h"
#include "model/runner.h"
#include "tools/scene.h"

#include <math.h>
#include <string.h>

enum {
    MOST_TOKENS = 256,
    CHANNELS = 3,
    ROW_HEIGHT = 27,
    LABEL_X = 34,
    FIRST_X = 290,
    COLUMN = 110
};

/* What was copied, each of both streams: [2][tokens * hidden] words of 32 bits. */
typedef enum moment { BEFORE, BEHIND, RESTORED, MOMENTS } moment;

typedef struct passage {
    int64_t layer;
    int64_t count; /* numbers of a stream */
    uint32_t *words[MOMENTS][2];
} passage;

static void copy(passage *p, moment when, const rf_tensor streams[2])
{
    for (int s = 0; s < 2; s++) {
        memcpy(p->words[when][s], streams[s].data, (size_t)p->count * sizeof(uint32_t));
    }
}

static rf_status see_streams(void *user, int64_t layer, const rf_tensor streams[2], rf_error *error)
{
    passage *p = user;
    (void)error;
    if (layer == p->layer || layer == p->layer + 1) {
        copy(p, layer == p->layer ? BEFORE : BEHIND, streams);
    }
    return RF_OK;
}

/* The streams are put back to where they were behind the layer, which is then undone. */
static rf_status go_back(rf_runner *runner, passage *p, rf_error *error)
{
    const rf_reversible *stack = &runner->stack;
    for (int s = 0; s < 2; s++) {
        memcpy(stack->streams[s].data, p->words[BEHIND][s], (size_t)p->count * sizeof(uint32_t));
        RF_TRY(rf_device_zero(runner->model->device, stack->gradients[s].data,
                              rf_tensor_size(&stack->gradients[s]), error));
    }
    for (int a = 1; a >= 0; a--) { /* feed-forward, then attention */
        int c = 1 - a;
        RF_TRY(rf_halves[a]->backward(&runner->pass, p->layer, &stack->streams[a],
                                      &stack->streams[c], &stack->gradients[a],
                                      &stack->gradients[c], error));
    }
    copy(p, RESTORED, stack->streams);
    return RF_OK;
}

static rf_status run(const rf_scene_context *context, passage *p, bool fixed, int64_t length,
                     rf_error *error)
{
    const rf_runner_options options = {.batch = 1,
                                       .length = length,
                                       .gradients = true,
                                       .fixed_stream = fixed,
                                       .float_stream = !fixed,
                                       .hooks = {.user = p, .streams = see_streams}};
    const rf_batch batch = {.batch = 1, .length = length, .ids = context->tokens.ids};
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    RF_TRY(rf_runner_create(context->model, &options, &runner, error));
    RF_TRY_DONE(rf_runner_forward(runner, &batch, context->options->seed, 0, &outcome, error));
    RF_TRY_DONE(go_back(runner, p, error));
done:
    rf_runner_destroy(runner);
    return status;
}

/* ---- what came of it --------------------------------------------------------------------- */

static int64_t fixed_difference(const passage *p)
{
    int64_t largest = 0;
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < p->count; i++) {
            int64_t difference = (int64_t)(int32_t)p->words[RESTORED][s][i] -
                                 (int64_t)(int32_t)p->words[BEFORE][s][i];
            difference = difference < 0 ? -difference : difference;
            largest = difference > largest ? difference : largest;
        }
    }
    return largest;
}

static float float_of(uint32_t word)
{
    float value = 0.0F;
    memcpy(&value, &word, sizeof value);
    return value;
}

static double float_difference(const passage *p)
{
    double largest = 0.0;
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < p->count; i++) {
            largest = fmax(largest, fabs((double)float_of(p->words[RESTORED][s][i]) -
                                         (double)float_of(p->words[BEFORE][s][i])));
        }
    }
    return largest;
}

typedef struct findings {
    int64_t layer, position, first; /* first: of the numbers that are shown, in a stream */
    const char *kind;
    int64_t fixed;
    double floating;
} findings;

/* ---- the picture ------------------------------------------------------------------------- */

/* A row of the sum: a stream at a moment, or what was added between two. */
typedef struct line {
    const char *label;
    int stream;
    moment value, less; /* shown: value, or value - less where they differ */
    bool is_result;
} line;

static const line lines[] = {
    {"X\xE2\x82\x81", 0, BEFORE, BEFORE, false},
    {"+ attention(X\xE2\x82\x82)", 0, BEHIND, BEFORE, false},
    {"= Y\xE2\x82\x81", 0, BEHIND, BEHIND, true},
    {"X\xE2\x82\x82", 1, BEFORE, BEFORE, false},
    {"+ feed-forward(Y\xE2\x82\x81)", 1, BEHIND, BEFORE, false},
    {"= Y\xE2\x82\x82", 1, BEHIND, BEHIND, true},
    {"Y\xE2\x82\x82", 1, BEHIND, BEHIND, false},
    {"\xE2\x88\x92 feed-forward(Y\xE2\x82\x81)", 1, RESTORED, BEHIND, false},
    {"= X\xE2\x82\x82", 1, RESTORED, RESTORED, true},
    {"Y\xE2\x82\x81", 0, BEHIND, BEHIND, false},
    {"\xE2\x88\x92 attention(X\xE2\x82\x82)", 0, RESTORED, BEHIND, false},
    {"= X\xE2\x82\x81", 0, RESTORED, RESTORED, true},
};
enum { LINES = sizeof lines / sizeof lines[0], LINES_THERE = 6 };

static int64_t number_of(const passage *p, const line *of, int64_t index)
{
    int64_t value = (int32_t)p->words[of->value][of->stream][index];
    return of->value == of->less ? value
                                 : value - (int64_t)(int32_t)p->words[of->less][of->stream][index];
}

static rf_status draw_line(rf_drawing *drawing, const passage *p, const findings *f, int i,
                           rf_error *error)
{
    const line *of = &lines[i];
    double y = 62.0 + ROW_HEIGHT * i + (i >= LINES_THERE ? 40.0 : 0.0);
    double step = i + 1.0 + (i >= LINES_THERE ? 1.0 : 0.0);
    const rf_look mark = {.classes = of->stream == 0 ? "dot s0" : "dot s1"};
    const rf_look label = {.classes = of->is_result ? "bold" : NULL};
    const rf_look number = {.classes = of->is_result ? "mono bold" : "mono",
                            .anchor = RF_ANCHOR_END};
    RF_TRY(rf_drawing_open_group(drawing, &(rf_look){.step = step}, error));
    RF_TRY(rf_drawing_box(drawing, &mark, 12.0, y - 12.0, 12.0, 12.0, error));
    RF_TRY(rf_drawing_words(drawing, &label, LABEL_X, y, of->label, error));
    for (int c = 0; c < CHANNELS; c++) {
        int64_t value = number_of(p, of, f->first + c);
        RF_TRY(rf_drawing_data(drawing, "value", (double)value, error));
        RF_TRY(rf_drawing_print(drawing, &number, FIRST_X + COLUMN * c, y, error,
                                of->value != of->less ? "%+lld" : "%lld", (long long)value));
    }
    if (of->is_result) {
        RF_TRY(rf_drawing_line(drawing, &(rf_look){.classes = "axis"}, LABEL_X, y - 18.0, 510.0,
                               y - 18.0, error));
    }
    return rf_drawing_close_group(drawing, error);
}

static rf_status draw_findings(rf_drawing *drawing, const passage *p, const findings *f,
                               rf_error *error)
{
    const double y = 62.0 + ROW_HEIGHT * LINES + 62.0;
    const rf_look strong = {.classes = "bold", .size = 15.0, .step = LINES + 2.0};
    RF_TRY(rf_drawing_data(drawing, "difference", (double)f->fixed, error));
    RF_TRY(rf_drawing_print(drawing, &strong, 12.0, y, error,
                            "largest difference in all %lld numbers: %lld",
                            (long long)(2 * p->count), (long long)f->fixed));
    RF_TRY(rf_drawing_data(drawing, "difference", f->floating, error));
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.step = LINES + 2.0}, 12.0, y + 24.0, error,
                            "the same with streams of float32: %.2g", f->floating));
    drawing->width = RF_SCENE_WIDTH;
    drawing->height = y + 38.0;
    return RF_OK;
}

static rf_status draw_picture(rf_drawing *drawing, const passage *p, const findings *f,
                              rf_error *error)
{
    const rf_look head = {.classes = "bold", .size = 15.0};
    const double back = 62.0 + ROW_HEIGHT * LINES_THERE + 12.0;
    RF_TRY(rf_drawing_print(drawing, &head, 12.0, 22.0, error, "Forward through layer %lld (%s)",
                            (long long)f->layer, f->kind));
    for (int i = 0; i < LINES; i++) {
        if (i == LINES_THERE) {
            RF_TRY(rf_drawing_words(drawing, &head, 12.0, back, "Back again", error));
        }
        RF_TRY(draw_line(drawing, p, f, i, error));
    }
    return draw_findings(drawing, p, f, error);
}

static json_t *numbers_of(const passage *p, moment when, int64_t first)
{
    json_t *array = json_array();
    for (int s = 0; s < 2; s++) {
        int32_t values[CHANNELS];
        memcpy(values, p->words[when][s] + first, sizeof values);
        (void)json_array_append_new(array, rf_scene_integers(values, CHANNELS));
    }
    return array;
}

static rf_status report(const passage *p, const findings *f, int fraction_bits, json_t *numbers,
                        rf_error *error)
{
    static const char *const names[MOMENTS] = {"before", "behind", "restored"};
    for (int when = 0; when < MOMENTS; when++) {
        RF_TRY(rf_json_set(numbers, names[when], numbers_of(p, (moment)when, f->first), error));
    }
    RF_TRY(rf_json_set(numbers, "layer", json_integer(f->layer), error));
    RF_TRY(rf_json_set(numbers, "position", json_integer(f->position), error));
    RF_TRY(rf_json_set(numbers, "fraction_bits", json_integer(fraction_bits), error));
    RF_TRY(rf_json_set(numbers, "compared", json_integer(2 * p->count), error));
    RF_TRY(rf_json_set(numbers, "largest_difference", json_integer(f->fixed), error));
    return rf_json_set(numbers, "float32_largest_difference", json_real(f->floating), error);
}

static rf_status take_words(passage *p, rf_error *error)
{
    for (int i = 0; i < 2 * MOMENTS; i++) {
        void *memory = NULL;
        RF_TRY(rf_allocate_zeroed((size_t)p->count * sizeof(uint32_t), "a stream", &memory, error));
        p->words[i / 2][i % 2] = memory;
    }
    return RF_OK;
}

static rf_status check(const rf_config *config, rf_error *error)
{
    if (config->standard_residual) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "the model has standard residuals, which are not reversed");
    }
    if (config->model_class == RF_CLASS_BARE) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "a bare model has no loss, so that no backward is planned");
    }
    if (config->hidden < CHANNELS) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED, "the model's streams are narrower than %d",
                            CHANNELS);
    }
    return RF_OK;
}

static rf_status draw_reversible(const rf_scene_context *context, rf_drawing *drawing,
                                 json_t *numbers, rf_error *error)
{
    const rf_illustrate_options *options = context->options;
    const rf_config *config = &context->model->config;
    int64_t length = context->tokens.count < MOST_TOKENS ? context->tokens.count : MOST_TOKENS;
    passage p = {.count = length * config->hidden};
    findings f = {0};
    rf_status status = RF_OK;
    RF_TRY(check(config, error));
    RF_TRY(rf_scene_choose("layer", options->layer, config->layers > 1 ? 1 : 0, config->layers,
                           &f.layer, error));
    RF_TRY(rf_scene_choose("position", options->position, length / 2, length, &f.position, error));
    p.layer = f.layer;
    f.first = f.position * config->hidden;
    f.kind = rf_layer_kind_name(config->kinds[f.layer]);
    RF_TRY_DONE(take_words(&p, error));
    RF_TRY_DONE(run(context, &p, false, length, error));
    f.floating = float_difference(&p);
    RF_TRY_DONE(run(context, &p, true, length, error));
    f.fixed = fixed_difference(&p);
    RF_TRY_DONE(report(&p, &f, config->fraction_bits, numbers, error));
    RF_TRY_DONE(draw_picture(drawing, &p, &f, error));
done:
    for (int i = 0; i < 2 * MOMENTS; i++) {
        rf_release(p.words[i / 2][i % 2]);
    }
    return status;
}

const rf_scene rf_scene_reversible = {
    .name = "reversible",
    .title = "Reversible layers: there and back",
    .summary =
        "A layer has two streams. Attention reads the second and adds to the first, then "
        "feed-forward reads the first and adds to the second. So nothing that went in needs to be "
        "kept for training: behind the layer both can be computed once more and taken away again. "
        "The streams are whole numbers (of 2 to the power of minus so many bits as the numbers "
        "below say), whose sums are exact, so that what comes back is what went in, bit for bit. "
        "Three numbers of one token are shown, all of them are compared.",
    .draw = draw_reversible};
