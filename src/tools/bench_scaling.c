/* `bench scaling`: one attention layer against length, the tokens of a pass fixed, as in figure 5
 * of Kitaev et al. 2020: a flat curve is attention whose time is in proportion to the length, a
 * rising one is quadratic. A kind's curve ends where memory or time do. With a model also what the
 * plan of its training step says of memory against layers and length. Cost: the measurements. */
#include "base/clock.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/tools.h"
#include "tools/deepen.h"
#include "tools/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHORTEST = 1024, MOST_POINTS = 21, MOST_BESIDE = 7, PLAN_LENGTH = 2048, MOST_LAYERS = 64 };

static const double gib_bytes = 1073741824.0;

typedef struct kind {
    const char *name, *kind;
    int64_t rounds;
} kind;

static const kind kinds[] = {{"lsh-1", "lsh", 1},   {"lsh-2", "lsh", 2},
                             {"lsh-4", "lsh", 4},   {"lsh-8", "lsh", 8},
                             {"local", "local", 1}, {"full, shared keys", "full_shared", 1},
                             {"full", "full", 1}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* A curve while it grows. */
typedef struct curve {
    double lengths[MOST_POINTS];
    double milliseconds[MOST_POINTS], bytes[MOST_POINTS], gib[MOST_POINTS];
    double sequence[MOST_POINTS]; /* milliseconds of one of the batch */
    double taken[2];              /* seconds of the last two measurements, the last first */
    size_t count;
    const char *ended_by;
} curve;

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* One point; what stands in the error where there is no memory for it ends the curve. */
static rf_status measure(const rf_bench_scaling_options *options, const kind *of, int64_t length,
                         curve *c, rf_error *error)
{
    const int64_t fitting = options->tokens / length;
    const rf_bench_attention_options bench = {.kind = of->kind,
                                              .length = length,
                                              .batch = fitting > 1 ? fitting : 1,
                                              .heads = options->heads,
                                              .head_width = options->head_width,
                                              .hidden = options->hidden,
                                              .chunk = options->chunk,
                                              .rounds = of->rounds,
                                              .before = 1,
                                              .after = options->causal ? 0 : 1,
                                              .causal = options->causal,
                                              .forward_only = options->forward_only,
                                              .heads_at_a_time = options->memory_limit > 0 ? 1 : 0,
                                              .memory_limit = options->memory_limit,
                                              .repeats = options->repeats,
                                              .warmup = options->warmup,
                                              .device = options->device,
                                              .precision = options->precision,
                                              .kernels = options->kernels,
                                              .threads = options->threads};
    char *text = NULL;
    json_t *report = NULL;
    const double start = rf_clock_seconds();
    RF_TRY(rf_bench_attention(&bench, &text, error));
    rf_status status = rf_json_parse_object("report", text, strlen(text), &report, error);
    rf_release(text);
    RF_TRY(status);
    const char *key = options->forward_only ? "forward_ms" : "forward_backward_ms";
    c->lengths[c->count] = (double)length;
    c->milliseconds[c->count] = number_of(json_object_get(report, key), "median");
    c->sequence[c->count] = c->milliseconds[c->count] / (double)bench.batch;
    c->bytes[c->count] = number_of(report, "peak_bytes");
    c->gib[c->count] = c->bytes[c->count] / gib_bytes;
    c->count++;
    c->taken[1] = c->taken[0];
    c->taken[0] = rf_clock_seconds() - start;
    json_decref(report);
    return RF_OK;
}

/* Would twice the length take longer than it may? It grows at least as it did last. */
static bool is_too_slow(const rf_bench_scaling_options *options, const curve *c)
{
    double growth = c->count > 1 && c->taken[1] > 0.0 ? fmax(1.0, c->taken[0] / c->taken[1]) : 1.0;
    return options->time_limit_seconds > 0.0 && c->taken[0] * growth > options->time_limit_seconds;
}

static rf_status follow(const rf_bench_scaling_options *options, const kind *of, curve *c,
                        rf_error *error)
{
    *c = (curve){.ended_by = "length"};
    for (int64_t length = SHORTEST; length <= options->longest && c->count < MOST_POINTS;
         length *= 2) {
        rf_error reason = {0};
        if (is_too_slow(options, c)) {
            c->ended_by = "time";
            break;
        }
        rf_log_write(&options->log, RF_LOG_NOTICE, "scaling: %s, %lld tokens", of->name,
                     (long long)length);
        rf_status status = measure(options, of, length, c, &reason);
        if (status == RF_ERR_MEMORY) {
            c->ended_by = "memory";
            break;
        }
        if (status != RF_OK) {
            return rf_error_set(error, status, "%s", reason.message);
        }
    }
    return RF_OK;
}

/* The slope of log(y) against log(x) by least squares. */
static double slope(const double *x, const double *y, size_t count)
{
    double mean[2] = {0.0, 0.0};
    double both = 0.0;
    double square = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean[0] += log(x[i]) / (double)count;
        mean[1] += log(y[i]) / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        both += (log(x[i]) - mean[0]) * (log(y[i]) - mean[1]);
        square += (log(x[i]) - mean[0]) * (log(x[i]) - mean[0]);
    }
    return both / square;
}

static json_t *kind_report(const rf_bench_scaling_options *options, const kind *of, const curve *c)
{
    json_t *points = json_array();
    for (size_t i = 0; i < c->count; i++) {
        int64_t fitting = options->tokens / (int64_t)c->lengths[i];
        (void)json_array_append_new(
            points, json_pack("{s:I, s:I, s:f, s:I}", "length", (json_int_t)c->lengths[i], "batch",
                              (json_int_t)(fitting > 1 ? fitting : 1), "milliseconds",
                              c->milliseconds[i], "peak_bytes", (json_int_t)c->bytes[i]));
    }
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:s}", "name", of->name, "kind", of->kind, "rounds",
                     (json_int_t)of->rounds, "points", points, "exponent",
                     c->count > 1 ? json_real(slope(c->lengths, c->sequence, c->count))
                                  : json_null(),
                     "ended_by", c->ended_by);
}

/* ---- what was measured elsewhere --------------------------------------------------------- */

/* Curves of other programs, from a file. */
typedef struct neighbours {
    json_t *list; /* owned; NULL: none */
    curve curves[MOST_BESIDE];
    const char *names[MOST_BESIDE]; /* the list's */
    size_t count;
} neighbours;

static rf_status read_point(const char *path, const json_t *point, curve *c, rf_error *error)
{
    const double length = number_of(point, "length");
    const double milliseconds = number_of(point, "milliseconds");
    if (!(length >= 1.0) || !(milliseconds > 0.0)) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: a point with length %g and milliseconds %g; expected a length of "
                            "at least 1 and a time above 0",
                            path, length, milliseconds);
    }
    c->lengths[c->count] = length;
    c->milliseconds[c->count] = milliseconds;
    const json_t *bytes = json_object_get(point, "peak_bytes");
    c->gib[c->count++] = json_is_number(bytes) ? json_number_value(bytes) / gib_bytes : (double)NAN;
    return RF_OK;
}

static rf_status read_neighbour(const char *path, const json_t *from, neighbours *found,
                                rf_error *error)
{
    const json_t *points = json_object_get(from, "points");
    const char *name = json_string_value(json_object_get(from, "name"));
    if (name == NULL || !json_is_array(points) || json_array_size(points) > MOST_POINTS ||
        found->count == MOST_BESIDE) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: expected {\"curves\": [{\"name\", \"points\": [{\"length\", "
                            "\"milliseconds\"}]}]}, at most %d curves of %d points",
                            path, MOST_BESIDE, MOST_POINTS);
    }
    curve *c = &found->curves[found->count];
    found->names[found->count++] = name;
    for (size_t i = 0; i < json_array_size(points); i++) {
        RF_TRY(read_point(path, json_array_get(points, i), c, error));
    }
    return RF_OK;
}

static rf_status read_neighbours(const char *path, neighbours *found, rf_error *error)
{
    json_t *object = NULL;
    RF_TRY(rf_json_read_object(path, &object, error));
    json_t *list = json_object_get(object, "curves");
    found->list = json_incref(list);
    json_decref(object);
    if (!json_is_array(list)) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: has no array \"curves\"", path);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        RF_TRY(read_neighbour(path, json_array_get(list, i), found, error));
    }
    return RF_OK;
}

/* ---- plans ------------------------------------------------------------------------------- */

static rf_status plan(const rf_bench_scaling_options *options, const char *config_text,
                      int64_t length, json_t **report, rf_error *error)
{
    const rf_plan_options wanted = {.model_config = config_text,
                                    .batch = 1,
                                    .length = length,
                                    .training = true,
                                    .extend_positions = length,
                                    .device = options->device,
                                    .precision = options->precision,
                                    .kernels = options->kernels,
                                    .threads = options->threads};
    char *text = NULL;
    RF_TRY(rf_plan(&wanted, &text, error));
    rf_status status = rf_json_parse_object("plan", text, strlen(text), report, error);
    rf_release(text);
    return status;
}

static rf_status plan_layers(const rf_bench_scaling_options *options, json_t *list, rf_error *error)
{
    for (int64_t layers = 1; layers <= MOST_LAYERS; layers *= 2) {
        char *text = NULL;
        json_t *report = NULL;
        RF_TRY(rf_deepen(options->model_config, layers, PLAN_LENGTH, false, &text, error));
        rf_status status = plan(options, text, PLAN_LENGTH, &report, error);
        rf_release(text);
        RF_TRY(status);
        const double weights = number_of(report, "parameters") + number_of(report, "gradients") +
                               number_of(report, "optimizer");
        const double peak = number_of(report, "peak_bytes");
        (void)json_array_append_new(
            list, json_pack("{s:I, s:O, s:I, s:O}", "layers", (json_int_t)layers, "peak_bytes",
                            json_object_get(report, "peak_bytes"), "activation_bytes",
                            (json_int_t)(peak - weights), "stored_bytes",
                            json_object_get(report, "full_attention_stored_bytes")));
        json_decref(report);
    }
    return RF_OK;
}

static rf_status plan_lengths(const rf_bench_scaling_options *options, json_t *list,
                              rf_error *error)
{
    for (int64_t length = SHORTEST; length <= options->longest; length *= 2) {
        json_t *report = NULL;
        RF_TRY(plan(options, options->model_config, length, &report, error));
        (void)json_array_append_new(list, report);
    }
    return RF_OK;
}

/* ---- pictures ---------------------------------------------------------------------------- */

static rf_status draw_curves(const rf_bench_scaling_options *options, const curve curves[KINDS],
                             const neighbours *beside, rf_error *error)
{
    rf_chart_series times[KINDS + MOST_BESIDE];
    rf_chart_series memory[KINDS + MOST_BESIDE];
    char title[80];
    for (size_t i = 0; i < KINDS + beside->count; i++) {
        const curve *c = i < KINDS ? &curves[i] : &beside->curves[i - KINDS];
        const char *name = i < KINDS ? kinds[i].name : beside->names[i - KINDS];
        times[i] = (rf_chart_series){name, c->lengths, c->milliseconds, c->count};
        memory[i] = (rf_chart_series){name, c->lengths, c->gib, c->count};
    }
    (void)snprintf(title, sizeof title, "One attention layer, %lld tokens a pass",
                   (long long)options->tokens);
    rf_chart chart = {.title = options->tokens > 0 ? title : "One attention layer, one sequence",
                      .x_label = "length of a sequence",
                      .y_label = options->forward_only ? "milliseconds, forward"
                                                       : "milliseconds, forward and backward",
                      .x_log = true,
                      .y_log = true,
                      .series = times,
                      .series_count = KINDS + beside->count};
    RF_TRY(rf_draw_chart(&chart, options->output, "scaling-time", error));
    chart.series = memory;
    chart.y_label = "GiB";
    return rf_draw_chart(&chart, options->output, "scaling-memory", error);
}

static rf_status draw_layers(const json_t *list, const char *folder, rf_error *error)
{
    double layers[MOST_POINTS];
    double values[3][MOST_POINTS];
    const size_t count = json_array_size(list) < MOST_POINTS ? json_array_size(list) : MOST_POINTS;
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, i);
        layers[i] = number_of(row, "layers");
        values[0][i] = number_of(row, "peak_bytes") / gib_bytes;
        values[1][i] = number_of(row, "activation_bytes") / gib_bytes;
        values[2][i] = number_of(row, "stored_bytes") / gib_bytes;
    }
    const rf_chart_series series[3] = {
        {"reversible", layers, values[0], count},
        {"the same without weights", layers, values[1], count},
        {"full, all stored", layers, values[2], count},
    };
    const rf_chart chart = {.title = "Memory of a training step by depth, 2,048 tokens, as planned",
                            .x_label = "layers",
                            .y_label = "GiB",
                            .x_log = true,
                            .y_log = true,
                            .series = series,
                            .series_count = 3};
    return rf_draw_chart(&chart, folder, "memory-by-layers", error);
}

static rf_status draw_plans(const json_t *list, const char *folder, rf_error *error)
{
    static const char *const keys[] = {"parameters", "gradients",        "optimizer",
                                       "streams",    "stream_gradients", "stored_activations",
                                       "buckets",    "workspace",        "batch_data"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    double lengths[MOST_POINTS];
    double values[KEYS][MOST_POINTS];
    rf_chart_series series[KEYS];
    const size_t count = json_array_size(list) < MOST_POINTS ? json_array_size(list) : MOST_POINTS;
    for (size_t key = 0; key < KEYS; key++) {
        for (size_t i = 0; i < count; i++) {
            const json_t *report = json_array_get(list, i);
            lengths[i] = number_of(report, "length");
            values[key][i] = number_of(report, keys[key]) / 1048576.0;
        }
        series[key] = (rf_chart_series){keys[key], lengths, values[key], count};
    }
    const rf_chart chart = {.title = "Memory of a training step by length, as planned",
                            .x_label = "length of a sequence",
                            .y_label = "MiB",
                            .x_log = true,
                            .bars = true,
                            .series = series,
                            .series_count = KEYS};
    return rf_draw_chart(&chart, folder, "memory-by-length", error);
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status add_plans(const rf_bench_scaling_options *options, json_t *object, rf_error *error)
{
    json_t *layers = json_array();
    json_t *lengths = json_array();
    RF_TRY(rf_json_set(object, "by_layers", layers, error));
    RF_TRY(rf_json_set(object, "by_length", lengths, error));
    RF_TRY(plan_layers(options, layers, error));
    RF_TRY(plan_lengths(options, lengths, error));
    if (options->output == NULL) {
        return RF_OK;
    }
    RF_TRY(draw_layers(layers, options->output, error));
    return draw_plans(lengths, options->output, error);
}

static rf_status write_report(const rf_bench_scaling_options *options, const json_t *object,
                              char **report, rf_error *error)
{
    if (options->output != NULL) {
        char *path = NULL;
        RF_TRY(rf_string_format(&path, error, "%s/scaling.json", options->output));
        rf_status status = rf_json_write(path, object, error);
        rf_release(path);
        RF_TRY(status);
    }
    return rf_json_text(object, true, report, error);
}

static rf_status check_options(const rf_bench_scaling_options *options, rf_error *error)
{
    if (options->tokens < 0 || options->longest < SHORTEST ||
        options->longest > (int64_t)SHORTEST << (MOST_POINTS - 1) ||
        !(options->time_limit_seconds >= 0.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "tokens %lld, longest %lld, time_limit %g; expected none negative, and "
                            "lengths of %d to %lld",
                            (long long)options->tokens, (long long)options->longest,
                            options->time_limit_seconds, SHORTEST,
                            (long long)SHORTEST << (MOST_POINTS - 1));
    }
    return RF_OK;
}

rf_status rf_bench_scaling(const rf_bench_scaling_options *options, char **report, rf_error *error)
{
    curve curves[KINDS];
    neighbours beside = {0};
    json_t *list = json_array();
    json_t *object = json_pack("{s:I, s:s, s:o}", "tokens", (json_int_t)options->tokens, "device",
                               options->device != NULL ? options->device : "cpu", "kinds", list);
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(check_options(options, error));
    if (options->beside != NULL) {
        RF_TRY_DONE(read_neighbours(options->beside, &beside, error));
        (void)json_object_set(object, "beside", beside.list);
    }
    for (size_t i = 0; i < KINDS; i++) {
        RF_TRY_DONE(follow(options, &kinds[i], &curves[i], error));
        (void)json_array_append_new(list, kind_report(options, &kinds[i], &curves[i]));
    }
    if (options->output != NULL) {
        RF_TRY_DONE(draw_curves(options, curves, &beside, error));
    }
    if (options->model_config != NULL) {
        RF_TRY_DONE(add_plans(options, object, error));
    }
    RF_TRY_DONE(write_report(options, object, report, error));
done:
    json_decref(object);
    json_decref(beside.list);
    return status;
}
