/* `bench collisions`: how often two vectors at an angle get the same bucket, counted with the
 * operation that models hash with, for both hashes, several numbers of buckets and of rounds,
 * beside what theory says (tools/collisions.h).
 *
 * One reference vector and one at each angle are hashed with as many independent rotations as
 * there are draws, 1,024 rounds a call; n rounds are groups of n draws, of which one collision is
 * enough. Cost: drawing draws x width x columns normals for each number of buckets. */
#include "base/memory.h"
#include "io/json.h"
#include "model/model.h"
#include "reformer/bench.h"
#include "tools/collisions.h"
#include "tools/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ANGLES = 12,
    TOKENS = 1 + ANGLES, /* the first is the reference */
    SIZES = 5,
    HASHES = 2,
    COUNTS = 4, /* of rounds */
    CALL = 1024 /* draws */
};

static const double wanted_degrees[ANGLES] = {5, 10, 15, 20, 30, 40, 50, 60, 75, 90, 120, 150};
static const int64_t sizes[SIZES] = {2, 4, 16, 64, 256};
static const int64_t round_counts[COUNTS] = {1, 2, 4, 8};

/* One hash with one number of buckets. */
typedef struct curve {
    double measured[COUNTS][ANGLES], expected[COUNTS][ANGLES], sigmas[COUNTS][ANGLES];
} curve;

typedef struct bench {
    const rf_bench_collisions_options *options;
    rf_model model; /* its device and type of numbers alone */
    rf_device dry;
    rf_workspace workspace;
    rf_context context;
    rf_tensor query, buckets; /* [1, TOKENS, 1, width], [1, 1, CALL, TOKENS] i32 */
    int32_t *host_buckets;
    double degrees[ANGLES]; /* as rounded vectors have them */
    curve curves[HASHES][SIZES];
    double largest_sigmas;
} bench;

/* ---- vectors ----------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, int64_t width)
{
    double sum = 0.0;
    for (int64_t i = 0; i < width; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Two random directions at a right angle: u, v [width]. */
static void draw_directions(const bench *b, double *u, double *v)
{
    const rf_random_key key = {.seed = b->options->seed, .purpose = RF_PURPOSE_TEST};
    const int64_t width = b->options->width;
    for (int64_t i = 0; i < width; i++) {
        u[i] = (double)rf_random_normal(&key, (uint64_t)i);
        v[i] = (double)rf_random_normal(&key, (uint64_t)(width + i));
    }
    const double along = dot(u, v, width) / dot(u, u, width);
    for (int64_t i = 0; i < width; i++) {
        v[i] -= along * u[i];
    }
    const double lengths[2] = {sqrt(dot(u, u, width)), sqrt(dot(v, v, width))};
    for (int64_t i = 0; i < width; i++) {
        u[i] /= lengths[0];
        v[i] /= lengths[1];
    }
}

/* A number as the query holds it; to: where its bytes go. */
static double round_number(double x, rf_dtype dtype, void *to)
{
    const float single = (float)x;
    const uint16_t half = rf_f32_to_bf16(single);
    if (dtype == RF_BF16) {
        memcpy(to, &half, sizeof half);
        return (double)rf_bf16_to_f32(half);
    }
    memcpy(to, &single, sizeof single);
    return (double)single;
}

/* The query's tokens: u, then one at each angle to it. memory: [5 * width] doubles. */
static rf_status place_vectors(bench *b, double *memory, rf_error *error)
{
    const int64_t width = b->options->width;
    const size_t size = rf_dtype_size(b->query.dtype);
    double *u = memory;
    double *v = memory + width;
    double *reference = memory + 2 * width;
    double *rounded = memory + 3 * width;
    char *bytes = (char *)(memory + 4 * width);
    draw_directions(b, u, v);
    for (int token = 0; token < TOKENS; token++) {
        const double angle =
            token == 0 ? 0.0 : wanted_degrees[token - 1] * 3.14159265358979323846 / 180.0;
        for (int64_t i = 0; i < width; i++) {
            rounded[i] = round_number(cos(angle) * u[i] + sin(angle) * v[i], b->query.dtype,
                                      bytes + (size_t)i * size);
        }
        if (token == 0) {
            memcpy(reference, rounded, (size_t)width * sizeof *reference);
        } else {
            const double cosine =
                dot(reference, rounded, width) /
                sqrt(dot(reference, reference, width) * dot(rounded, rounded, width));
            b->degrees[token - 1] = acos(cosine) * 180.0 / 3.14159265358979323846;
        }
        RF_TRY(rf_device_upload(b->model.device,
                                (char *)b->query.data + (size_t)(token * width) * size, bytes,
                                (size_t)width * size, error));
    }
    return RF_OK;
}

/* ---- hashing ----------------------------------------------------------------------------- */

static rf_bucket_hash hash_of(const bench *b, rf_hash_kind kind, int size, int64_t call)
{
    return (rf_bucket_hash){.query = b->query,
                            .key = {.seed = b->options->seed,
                                    .layer = (uint32_t)(1 + (int)kind * SIZES + size),
                                    .purpose = RF_PURPOSE_ROTATION},
                            .first_head = call,
                            .rounds = CALL,
                            .factor_count = 1,
                            .factors = {sizes[size]},
                            .buckets = b->buckets,
                            .kind = kind};
}

static rf_status take(bench *b, rf_error *error)
{
    const int64_t query[4] = {1, TOKENS, 1, b->options->width};
    const int64_t buckets[4] = {1, 1, CALL, TOKENS};
    RF_TRY(
        rf_workspace_take(&b->workspace, "queries", b->model.compute, 4, query, &b->query, error));
    return rf_workspace_take(&b->workspace, "buckets", RF_I32, 4, buckets, &b->buckets, error);
}

static rf_status prepare(bench *b, rf_error *error)
{
    const rf_bench_collisions_options *options = b->options;
    void *memory = NULL;
    RF_TRY(rf_model_open_device(&b->model,
                                &(rf_model_options){.device = options->device,
                                                    .threads = options->threads,
                                                    .precision = options->precision,
                                                    .kernels = options->kernels},
                                error));
    b->dry = *b->model.device;
    b->dry.dry = true;
    rf_workspace_init(&b->workspace, &b->dry);
    b->context = (rf_context){.device = &b->dry, .workspace = &b->workspace};
    RF_TRY(take(b, error));
    for (int kind = 0; kind < HASHES; kind++) {
        const rf_bucket_hash largest = hash_of(b, (rf_hash_kind)kind, SIZES - 1, 0);
        RF_TRY(rf_op_bucket_hash(&b->context, &largest, error));
    }
    const size_t needed = b->workspace.high;
    rf_workspace_init(&b->workspace, b->model.device);
    b->context.device = b->model.device;
    RF_TRY(rf_workspace_allocate(&b->workspace, needed, error));
    RF_TRY(take(b, error));
    RF_TRY(rf_allocate(rf_tensor_size(&b->buckets), "buckets", &memory, error));
    b->host_buckets = memory;
    RF_TRY(rf_allocate(5 * (size_t)options->width * sizeof(double), "vectors", &memory, error));
    rf_status status = place_vectors(b, memory, error);
    rf_release(memory);
    return status;
}

/* Collisions of one call, added to counts [COUNTS][ANGLES]. */
static void count_call(const bench *b, int64_t counts[COUNTS][ANGLES])
{
    for (int n = 0; n < COUNTS; n++) {
        for (int angle = 0; angle < ANGLES; angle++) {
            bool any = false;
            for (int64_t draw = 0; draw < CALL; draw++) {
                const int32_t *row = b->host_buckets + draw * TOKENS;
                any = any || row[0] == row[1 + angle];
                if ((draw + 1) % round_counts[n] == 0) {
                    counts[n][angle] += any ? 1 : 0;
                    any = false;
                }
            }
        }
    }
}

static rf_status measure(bench *b, rf_hash_kind kind, int size, rf_error *error)
{
    int64_t counts[COUNTS][ANGLES] = {{0}};
    curve *c = &b->curves[kind][size];
    for (int64_t call = 0; call < b->options->draws / CALL; call++) {
        const rf_bucket_hash hash = hash_of(b, kind, size, call);
        RF_TRY(rf_op_bucket_hash(&b->context, &hash, error));
        RF_TRY(rf_device_download(b->model.device, b->host_buckets, b->buckets.data,
                                  rf_tensor_size(&b->buckets), error));
        count_call(b, counts);
    }
    for (int n = 0; n < COUNTS; n++) {
        for (int angle = 0; angle < ANGLES; angle++) {
            c->measured[n][angle] =
                (double)counts[n][angle] * (double)round_counts[n] / (double)b->options->draws;
        }
    }
    return RF_OK;
}

/* ---- theory ------------------------------------------------------------------------------ */

/* Measured less expected in standard deviations of the count, whose variance is not taken below
 * that of one collision. */
static double sigmas_of(double measured, double expected, double groups)
{
    const double variance = fmax(expected * (1.0 - expected), 1.0 / groups) / groups;
    return (measured - expected) / sqrt(variance);
}

static void compare(bench *b)
{
    for (int angle = 0; angle < ANGLES; angle++) {
        const double radians = b->degrees[angle] * 3.14159265358979323846 / 180.0;
        double angular[SIZES];
        rf_collision_angular(radians, sizes, SIZES, angular);
        for (int i = 0; i < HASHES * SIZES * COUNTS; i++) {
            const int n = i % COUNTS;
            const int size = i / COUNTS % SIZES;
            curve *c = &b->curves[i / COUNTS / SIZES][size];
            const double once = i / COUNTS / SIZES == (int)RF_HASH_ANGULAR
                                    ? angular[size]
                                    : rf_collision_hyperplane(radians, sizes[size]);
            c->expected[n][angle] = rf_collision_rounds(once, round_counts[n]);
            c->sigmas[n][angle] = sigmas_of(c->measured[n][angle], c->expected[n][angle],
                                            (double)b->options->draws / (double)round_counts[n]);
            b->largest_sigmas = fmax(b->largest_sigmas, fabs(c->sigmas[n][angle]));
        }
    }
}

/* ---- report and pictures ----------------------------------------------------------------- */

static json_t *curve_report(const bench *b, int kind, int size)
{
    const curve *c = &b->curves[kind][size];
    json_t *points = json_array();
    for (int angle = 0; angle < ANGLES; angle++) {
        json_t *rounds = json_array();
        for (int n = 0; n < COUNTS; n++) {
            (void)json_array_append_new(
                rounds, json_pack("{s:I, s:f, s:f, s:f}", "rounds", (json_int_t)round_counts[n],
                                  "measured", c->measured[n][angle], "expected",
                                  c->expected[n][angle], "sigmas", c->sigmas[n][angle]));
        }
        (void)json_array_append_new(
            points, json_pack("{s:f, s:o}", "degrees", b->degrees[angle], "collisions", rounds));
    }
    return json_pack("{s:s, s:I, s:o}", "hash", rf_hash_kind_name((rf_hash_kind)kind), "buckets",
                     (json_int_t)sizes[size], "points", points);
}

/* One hash in one round, a line for each number of buckets. */
static rf_status draw_sizes(const bench *b, int kind, rf_error *error)
{
    static const char *const names[SIZES] = {"2 buckets", "4 buckets", "16 buckets", "64 buckets",
                                             "256 buckets"};
    rf_chart_series series[SIZES];
    char title[96];
    char file[64];
    const char *name = rf_hash_kind_name((rf_hash_kind)kind);
    for (int size = 0; size < SIZES; size++) {
        series[size] =
            (rf_chart_series){names[size], b->degrees, b->curves[kind][size].measured[0], ANGLES};
    }
    (void)snprintf(title, sizeof title, "Same bucket in one round, %s hash", name);
    (void)snprintf(file, sizeof file, "collisions-%s", name);
    const rf_chart chart = {.title = title,
                            .x_label = "angle, degrees",
                            .y_label = "share of draws",
                            .series = series,
                            .series_count = SIZES};
    return rf_draw_chart(&chart, b->options->output, file, error);
}

/* Both hashes with 64 buckets, a line for each number of rounds. */
static rf_status draw_rounds(const bench *b, rf_error *error)
{
    enum { SHOWN = 3 };
    static const char *const names[HASHES][COUNTS] = {
        {"angular, 1 round", "angular, 2", "angular, 4", "angular, 8"},
        {"hyperplane, 1 round", "hyperplane, 2", "hyperplane, 4", "hyperplane, 8"}};
    rf_chart_series series[HASHES * COUNTS];
    for (int i = 0; i < HASHES * COUNTS; i++) {
        const int kind = i / COUNTS;
        series[i] = (rf_chart_series){names[kind][i % COUNTS], b->degrees,
                                      b->curves[kind][SHOWN].measured[i % COUNTS], ANGLES};
    }
    const rf_chart chart = {.title = "Same bucket in any of several rounds, 64 buckets",
                            .x_label = "angle, degrees",
                            .y_label = "share of draws",
                            .series = series,
                            .series_count = HASHES * COUNTS};
    return rf_draw_chart(&chart, b->options->output, "collisions-rounds", error);
}

static rf_status show(const bench *b, char **report, rf_error *error)
{
    const rf_bench_collisions_options *options = b->options;
    json_t *list = json_array();
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:s, s:s, s:f, s:o}", "draws", (json_int_t)options->draws,
                  "width", (json_int_t)options->width, "seed", (json_int_t)options->seed, "device",
                  options->device != NULL ? options->device : "cpu", "numbers",
                  b->model.compute == RF_BF16 ? "bf16" : "f32", "largest_sigmas", b->largest_sigmas,
                  "hashes", list);
    rf_status status = RF_OK;
    for (int i = 0; i < HASHES * SIZES; i++) {
        (void)json_array_append_new(list, curve_report(b, i / SIZES, i % SIZES));
    }
    if (options->output != NULL) {
        char *path = NULL;
        RF_TRY_DONE(draw_sizes(b, RF_HASH_ANGULAR, error));
        RF_TRY_DONE(draw_sizes(b, RF_HASH_HYPERPLANE, error));
        RF_TRY_DONE(draw_rounds(b, error));
        RF_TRY_DONE(rf_string_format(&path, error, "%s/collisions.json", options->output));
        status = rf_json_write(path, object, error);
        rf_release(path);
        RF_TRY_DONE(status);
    }
    status = rf_json_text(object, true, report, error);
done:
    json_decref(object);
    return status;
}

static rf_status check_options(const rf_bench_collisions_options *options, rf_error *error)
{
    if (options->draws < CALL || options->draws % CALL != 0 || options->draws > INT64_C(1) << 40 ||
        options->width < 2 || options->width > 4096) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "draws %lld, width %lld; expected draws in whole %d, and a width of 2 "
                            "to 4096",
                            (long long)options->draws, (long long)options->width, CALL);
    }
    return RF_OK;
}

rf_status rf_bench_collisions(const rf_bench_collisions_options *options, char **report,
                              rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY(check_options(options, error));
    RF_TRY(rf_allocate_zeroed(sizeof(bench), "collisions", &memory, error));
    bench *b = memory;
    b->options = options;
    RF_TRY_DONE(prepare(b, error));
    for (int i = 0; i < HASHES * SIZES; i++) {
        rf_log_write(&options->log, RF_LOG_NOTICE, "collisions: %s, %lld buckets",
                     rf_hash_kind_name((rf_hash_kind)(i / SIZES)), (long long)sizes[i % SIZES]);
        RF_TRY_DONE(measure(b, (rf_hash_kind)(i / SIZES), i % SIZES, error));
    }
    compare(b);
    RF_TRY_DONE(show(b, report, error));
done:
    if (b->workspace.memory != NULL) {
        rf_workspace_clear(&b->workspace);
    }
    rf_release(b->host_buckets);
    rf_device_destroy(b->model.device);
    rf_release(b);
    return status;
}
