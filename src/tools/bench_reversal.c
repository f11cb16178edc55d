/* `bench reversal`: what comes back when the reversible stack is inverted, by depth. After a
 * forward and a backward pass the two streams at the bottom should be what they were (Kitaev et al.
 * 2020, section 3); with floating point they are not quite, and the gradients suffer, which are
 * compared with those from stored activations of the same pass. The bf16 streams are float32 ones
 * that are rounded to bf16 between layers, which is all that storing them so would do to the
 * forward pass.
 *
 * A stack that stores everything computes no layer twice: its time is taken as that of a step less
 * one forward pass of the layers. Measured beside it is one with standard residuals, which stores
 * what its half residuals read. */
#include "base/clock.h"
#include "base/memory.h"
#include "model/model.h"
#include "reformer/tools.h"
#include "tools/deepen.h"
#include "tools/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 3, SHALLOWEST = 6, MOST_DEPTHS = 10, MOST_REPEATS = 1000 };
static const char *const kind_names[KINDS] = {"fixed32", "float32", "bf16"};

/* Of one depth and one kind of stream. */
typedef struct drift {
    double largest, rms; /* of the streams that came back, less the true ones */
    double gradient;     /* norm of the gradients' error, over that of the true gradients */
} drift;

typedef struct bench {
    const rf_bench_reversal_options *options;
    rf_model *model;
    rf_batch batch;
    int64_t count;       /* numbers of a stream */
    int32_t *ids;        /* [batch, length] */
    int32_t *truth[2];   /* [count] f32 or fixed32, as stored */
    int32_t *back;       /* [count] */
    float *gradients;    /* [block] from stored activations */
    float *spare;        /* [block] */
    bool rounds;         /* the streams to bf16, between layers */
    rf_tensor rounded;   /* [count] bf16, device */
    double step, layers; /* seconds */
    double standard;     /* of a step with standard residuals */
    drift drifts[KINDS];
} bench;

static rf_status round_stream(const bench *b, const rf_tensor *stream, rf_error *error)
{
    rf_workspace none;
    rf_workspace_init(&none, b->model->device);
    rf_context context = {.device = b->model->device, .workspace = &none};
    const rf_tensor flat = rf_tensor_1(stream->data, RF_F32, b->count);
    RF_TRY(rf_op_cast(&context, &(rf_cast){.x = flat, .y = b->rounded}, error));
    return rf_op_cast(&context, &(rf_cast){.x = b->rounded, .y = flat}, error);
}

/* Between layers of the forward pass: rounds, and remembers what stands at the bottom. */
static rf_status see_streams(void *user, int64_t layer, const rf_tensor streams[2], rf_error *error)
{
    const bench *b = user;
    for (int i = 0; i < 2; i++) {
        if (b->rounds) {
            RF_TRY(round_stream(b, &streams[i], error));
        }
        if (layer == 0) {
            RF_TRY(rf_device_download(b->model->device, b->truth[i], streams[i].data,
                                      rf_tensor_size(&streams[i]), error));
        }
    }
    return RF_OK;
}

static double stream_number(int32_t word, bool fixed, double unit)
{
    float number = 0.0F;
    memcpy(&number, &word, sizeof number);
    return fixed ? (double)word * unit : (double)number;
}

static rf_status compare_streams(bench *b, const rf_runner *runner, bool fixed, drift *found,
                                 rf_error *error)
{
    const double unit = ldexp(1.0, -b->model->config.fraction_bits);
    double sum = 0.0;
    *found = (drift){0};
    for (int i = 0; i < 2; i++) {
        const rf_tensor *stream = &rf_runner_streams(runner)[i];
        RF_TRY(rf_device_download(b->model->device, b->back, stream->data, rf_tensor_size(stream),
                                  error));
        for (int64_t j = 0; j < b->count; j++) {
            double difference = fabs(stream_number(b->back[j], fixed, unit) -
                                     stream_number(b->truth[i][j], fixed, unit));
            found->largest = fmax(found->largest, difference);
            sum += difference * difference;
        }
    }
    found->rms = sqrt(sum / (2.0 * (double)b->count));
    return RF_OK;
}

static double gradient_error(const bench *b)
{
    double sum = 0.0;
    double difference = 0.0;
    for (int64_t i = 0; i < b->model->parameters.block_count; i++) {
        double d = (double)b->spare[i] - (double)b->gradients[i];
        sum += (double)b->gradients[i] * (double)b->gradients[i];
        difference += d * d;
    }
    return sum > 0.0 ? sqrt(difference / sum) : 0.0;
}

/* A pass; its gradients into `gradients`. */
static rf_status run_once(bench *b, int kind, bool store, float *gradients, rf_error *error)
{
    const rf_runner_options options = {.batch = b->options->batch,
                                       .length = b->options->length,
                                       .gradients = true,
                                       .fixed_stream = kind == 0,
                                       .float_stream = kind != 0,
                                       .store_activations = store,
                                       .hooks = {.user = b, .streams = see_streams}};
    rf_runner *runner = NULL;
    rf_outcome outcome;
    const float factor = 1.0F / (float)rf_batch_scored(&b->batch);
    rf_status status = RF_OK;
    b->rounds = kind == 2;
    RF_TRY(rf_runner_create(b->model, &options, &runner, error));
    RF_TRY_DONE(rf_runner_train(runner, &b->batch, 0, 0, factor, &outcome, error));
    if (outcome.overflow) {
        status =
            rf_error_set(error, RF_ERR_NUMERIC, "a fixed32 stream left its range in layer %lld",
                         (long long)outcome.overflow_layer);
        goto done;
    }
    RF_TRY_DONE(rf_device_download(b->model->device, gradients, rf_runner_gradients(runner),
                                   (size_t)b->model->parameters.block_count * sizeof(float),
                                   error));
    if (!store) {
        RF_TRY_DONE(compare_streams(b, runner, kind == 0, &b->drifts[kind], error));
        b->drifts[kind].gradient = gradient_error(b);
    }
done:
    rf_runner_destroy(runner);
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The configuration with so many layers, and random weights. */
static rf_status make_model(const bench *b, const char *config_text, int64_t layers, bool standard,
                            rf_model **model, rf_error *error)
{
    const rf_bench_reversal_options *options = b->options;
    const rf_model_options where = {.device = options->device,
                                    .precision = options->precision,
                                    .kernels = options->kernels,
                                    .threads = options->threads};
    char *text = NULL;
    RF_TRY(rf_deepen(config_text, layers, options->length, standard, &text, error));
    rf_status status = rf_model_create(text, 0, NULL, &where, model, error);
    rf_release(text);
    return status;
}

/* Medians of a training pass and of a forward pass without a head, in turn. */
static rf_status measure_time(bench *b, rf_error *error)
{
    const int64_t repeats = b->options->repeats;
    const rf_runner_options options = {.batch = b->options->batch,
                                       .length = b->options->length,
                                       .gradients = true,
                                       .fixed_stream = true};
    rf_batch unscored = b->batch;
    double steps[MOST_REPEATS];
    double forwards[MOST_REPEATS];
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    unscored.labels = NULL;
    RF_TRY(rf_runner_create(b->model, &options, &runner, error));
    for (int64_t i = -1; i < repeats; i++) { /* the first warms up */
        double start = rf_clock_seconds();
        RF_TRY_DONE(rf_runner_train(runner, &b->batch, 0, i + 1, 1.0F, &outcome, error));
        double between = rf_clock_seconds();
        RF_TRY_DONE(rf_runner_forward(runner, &unscored, 0, i + 1, &outcome, error));
        steps[i < 0 ? 0 : i] = between - start;
        forwards[i < 0 ? 0 : i] = rf_clock_seconds() - between;
    }
    qsort(steps, (size_t)repeats, sizeof steps[0], compare_doubles);
    qsort(forwards, (size_t)repeats, sizeof forwards[0], compare_doubles);
    b->step = steps[repeats / 2];
    b->layers = forwards[repeats / 2];
done:
    rf_runner_destroy(runner);
    return status;
}

/* The median of a training pass of the same layers with standard residuals. */
static rf_status measure_standard(bench *b, const char *config_text, int64_t layers,
                                  rf_error *error)
{
    const int64_t repeats = b->options->repeats;
    const rf_runner_options options = {.batch = b->options->batch,
                                       .length = b->options->length,
                                       .gradients = true,
                                       .fixed_stream = true};
    double steps[MOST_REPEATS];
    rf_model *model = NULL;
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    RF_TRY_DONE(make_model(b, config_text, layers, true, &model, error));
    RF_TRY_DONE(rf_runner_create(model, &options, &runner, error));
    for (int64_t i = -1; i < repeats; i++) { /* the first warms up */
        double start = rf_clock_seconds();
        RF_TRY_DONE(rf_runner_train(runner, &b->batch, 0, i + 1, 1.0F, &outcome, error));
        steps[i < 0 ? 0 : i] = rf_clock_seconds() - start;
    }
    qsort(steps, (size_t)repeats, sizeof steps[0], compare_doubles);
    b->standard = steps[repeats / 2];
done:
    rf_runner_destroy(runner);
    rf_model_destroy(model);
    return status;
}

/* ---- memory ------------------------------------------------------------------------------ */

static rf_status take(size_t count, const char *what, void *memory, rf_error *error)
{
    void *block = NULL;
    RF_TRY(rf_allocate_zeroed(count * sizeof(int32_t), what, &block, error));
    memcpy(memory, &block, sizeof block);
    return RF_OK;
}

static rf_status prepare(bench *b, const char *config_text, int64_t layers, rf_error *error)
{
    const rf_bench_reversal_options *options = b->options;
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    RF_TRY(make_model(b, config_text, layers, false, &b->model, error));
    if (b->model->config.standard_residual) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "bench reversal needs a model with reversible residuals: this one's "
                            "are standard, so that nothing is reversed");
    }
    const size_t tokens = (size_t)options->batch * (size_t)options->length;
    const size_t block = (size_t)b->model->parameters.block_count;
    b->count = (int64_t)tokens * b->model->config.hidden;
    RF_TRY(rf_model_check_batch(b->model, options->batch, options->length, error));
    RF_TRY(take(tokens, "tokens", (void *)&b->ids, error));
    RF_TRY(take((size_t)b->count, "a stream", (void *)&b->truth[0], error));
    RF_TRY(take((size_t)b->count, "a stream", (void *)&b->truth[1], error));
    RF_TRY(take((size_t)b->count, "a stream", (void *)&b->back, error));
    RF_TRY(take(block, "gradients", (void *)&b->gradients, error));
    RF_TRY(take(block, "gradients", (void *)&b->spare, error));
    rf_device *device = b->model->device;
    RF_TRY(device->table->allocate(device, (size_t)b->count * sizeof(uint16_t), "a rounded stream",
                                   &b->rounded.data, error));
    b->rounded = rf_tensor_1(b->rounded.data, RF_BF16, b->count);
    for (size_t i = 0; i < tokens; i++) {
        b->ids[i] = (int32_t)rf_random_below(&key, i, (uint64_t)b->model->config.vocabulary);
    }
    b->batch = (rf_batch){
        .batch = options->batch, .length = options->length, .ids = b->ids, .labels = b->ids};
    return RF_OK;
}

static void clear(bench *b)
{
    if (b->model != NULL && b->rounded.data != NULL) {
        b->model->device->table->release(b->model->device, b->rounded.data);
    }
    rf_release(b->ids);
    rf_release(b->truth[0]);
    rf_release(b->truth[1]);
    rf_release(b->back);
    rf_release(b->gradients);
    rf_release(b->spare);
    rf_model_destroy(b->model);
    *b = (bench){.options = b->options};
}

/* ---- the report -------------------------------------------------------------------------- */

static json_t *row_of(const bench *b, int64_t layers)
{
    json_t *streams = json_object();
    const double stored = b->step - b->layers;
    for (int kind = 0; kind < KINDS; kind++) {
        const drift *d = &b->drifts[kind];
        (void)json_object_set_new(streams, kind_names[kind],
                                  json_pack("{s:f, s:f, s:f}", "largest", d->largest, "rms", d->rms,
                                            "gradient_error", d->gradient));
    }
    return json_pack("{s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "layers", (json_int_t)layers,
                     "streams", streams, "step_seconds", b->step, "forward_seconds", b->layers,
                     "stored_seconds", stored, "ratio", stored > 0.0 ? b->step / stored : 0.0,
                     "standard_seconds", b->standard, "standard_ratio",
                     b->standard > 0.0 ? b->step / b->standard : 0.0);
}

static rf_status measure_depth(bench *b, const char *config_text, int64_t layers, json_t *rows,
                               rf_error *error)
{
    rf_status status = RF_OK;
    RF_TRY_DONE(prepare(b, config_text, layers, error));
    for (int kind = 0; kind < KINDS; kind++) {
        RF_TRY_DONE(run_once(b, kind, true, b->gradients, error));
        RF_TRY_DONE(run_once(b, kind, false, b->spare, error));
    }
    RF_TRY_DONE(measure_time(b, error));
    RF_TRY_DONE(measure_standard(b, config_text, layers, error));
    (void)json_array_append_new(rows, row_of(b, layers));
done:
    clear(b);
    return status;
}

/* Drift and gradient error of each kind against depth; what is exactly 0 has no place on the axis
 * and is told in the title. */
static rf_status draw(const json_t *rows, const char *folder, rf_error *error)
{
    static const char *const keys[2] = {"rms", "gradient_error"};
    static const char *const names[2][KINDS] = {
        {"fixed32, streams", "float32, streams", "bf16, streams"},
        {"fixed32, gradients", "float32, gradients", "bf16, gradients"}};
    double depths[MOST_DEPTHS];
    double values[2 * KINDS][MOST_DEPTHS];
    rf_chart_series series[2 * KINDS];
    const size_t count = json_array_size(rows);
    double fixed = 0.0;
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *streams = json_object_get(row, "streams");
        depths[i] = json_number_value(json_object_get(row, "layers"));
        for (size_t line = 0; line < 2 * (size_t)KINDS; line++) {
            const json_t *one = json_object_get(streams, kind_names[line % KINDS]);
            values[line][i] = json_number_value(json_object_get(one, keys[line / KINDS]));
            fixed = line % KINDS == 0 ? fmax(fixed, values[line][i]) : fixed;
        }
    }
    for (size_t line = 0; line < 2 * (size_t)KINDS; line++) {
        series[line] =
            (rf_chart_series){names[line / KINDS][line % KINDS], depths, values[line], count};
    }
    const rf_chart chart = {.title = fixed > 0.0 ? "What reversal loses"
                                                 : "What reversal loses (fixed32: exactly 0)",
                            .x_label = "layers",
                            .y_label = "rms of streams, relative error of gradients",
                            .x_log = true,
                            .y_log = true,
                            .series = series,
                            .series_count = 2 * (size_t)KINDS};
    return rf_draw_chart(&chart, folder, "reversal", error);
}

static rf_status check_options(const rf_bench_reversal_options *options, rf_error *error)
{
    if (options->model_config == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "a configuration of a model is needed");
    }
    if (options->batch < 1 || options->length < 2 || options->repeats < 1 ||
        options->repeats > MOST_REPEATS || options->deepest < SHALLOWEST ||
        options->deepest > SHALLOWEST << (MOST_DEPTHS - 1)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "batch %lld, length %lld, repeats %lld, deepest %lld; expected at "
                            "least 1, at least 2, 1 to %d, and %d to %d",
                            (long long)options->batch, (long long)options->length,
                            (long long)options->repeats, (long long)options->deepest, MOST_REPEATS,
                            SHALLOWEST, SHALLOWEST << (MOST_DEPTHS - 1));
    }
    return RF_OK;
}

rf_status rf_bench_reversal(const rf_bench_reversal_options *options, char **report,
                            rf_error *error)
{
    bench b = {.options = options};
    json_t *rows = json_array();
    json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "device",
                               options->device != NULL ? options->device : "cpu", "precision",
                               options->precision != NULL ? options->precision : "auto", "batch",
                               (json_int_t)options->batch, "length", (json_int_t)options->length,
                               "repeats", (json_int_t)options->repeats, "depths", rows);
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(check_options(options, error));
    for (int64_t layers = SHALLOWEST; layers <= options->deepest; layers *= 2) {
        rf_log_write(&options->log, RF_LOG_NOTICE, "reversal: %lld layers", (long long)layers);
        RF_TRY_DONE(measure_depth(&b, options->model_config, layers, rows, error));
    }
    if (options->output != NULL) {
        RF_TRY_DONE(draw(rows, options->output, error));
    }
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    return status;
}
