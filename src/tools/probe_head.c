/* What one head attends to against exact attention over the same queries, keys and values. A group
 * of sampled queries meets every key in one product [queries, length], so that memory is linear in
 * the length; the weights that the model itself gives come row by row from rf_attention_weights, so
 * that whatever decides who meets whom is decided there. Scores are f32, softmax and sums double.
 * Time 4 x queries x length x width a head. Results do not depend on the number of threads: each
 * query is worked out by itself, and sums run over queries in order. */
#include "tools/probe.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int rf_probe_nearest[RF_PROBE_NEAREST] = {32, 64};
enum { MOST_NEAREST = 64 };

/* Of one query. */
typedef struct rf_probe_result {
    rf_status status;
    rf_error error;
    int64_t query;
    double captured, keys, overlap, error_square, exact_square;
    double nearest[RF_PROBE_NEAREST];
    double by_rounds[RF_PROBE_MOST_ROUNDS];
} rf_probe_result;

/* ---- memory ------------------------------------------------------------------------------ */

static rf_status take_floats(const char *what, int64_t count, float **to, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof **to, what, &memory, error));
    *to = memory;
    return RF_OK;
}

rf_status rf_probe_bench_open(rf_probe_bench *bench, const rf_model *model, int threads,
                              rf_error *error)
{
    const int64_t width = model->config.head_width;
    void *memory = NULL;
    bench->config = &model->config;
    bench->width = width;
    RF_TRY(rf_device_create("cpu", threads, &bench->device, error));
    RF_TRY(take_floats("keys", bench->length * width, &bench->keys, error));
    RF_TRY(take_floats("sampled queries", bench->count * width, &bench->picked, error));
    RF_TRY(take_floats("scores", bench->count * bench->length, &bench->scores, error));
    RF_TRY(take_floats("exact outputs", bench->count * width, &bench->outputs, error));
    RF_TRY(rf_allocate((size_t)bench->count * sizeof *bench->results, "figures of queries", &memory,
                       error));
    bench->results = memory;
    return RF_OK;
}

void rf_probe_bench_close(rf_probe_bench *bench)
{
    rf_release(bench->keys);
    rf_release(bench->picked);
    rf_release(bench->scores);
    rf_release(bench->outputs);
    rf_release(bench->results);
    rf_device_destroy(bench->device);
    *bench = (rf_probe_bench){0};
}

/* ---- exact attention --------------------------------------------------------------------- */

/* Keys as they are, or made of the queries. */
static void prepare_keys(const rf_probe_bench *bench, const rf_attention *a)
{
    const int64_t width = bench->width;
    if (!a->plan.normalise_keys) {
        memcpy(bench->keys, a->key, (size_t)(bench->length * width) * sizeof *bench->keys);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(bench->device->threads)
    for (int64_t token = 0; token < bench->length; token++) {
        const float *from = a->query + token * width;
        float *to = bench->keys + token * width;
        double squares = 0.0;
        for (int64_t i = 0; i < width; i++) {
            squares += (double)from[i] * (double)from[i];
        }
        const double factor = 1.0 / sqrt((squares / (double)width + 1e-6) * (double)width);
        for (int64_t i = 0; i < width; i++) {
            to[i] = (float)((double)from[i] * factor);
        }
    }
}

static rf_status score(const rf_probe_bench *bench, const rf_attention *a, const int64_t *queries,
                       rf_error *error)
{
    for (int64_t i = 0; i < bench->count; i++) {
        for (int64_t k = 0; k < bench->width; k++) {
            bench->picked[i * bench->width + k] =
                a->plan.scale * a->query[queries[i] * bench->width + k];
        }
    }
    rf_tensor from = rf_tensor_2(bench->picked, RF_F32, bench->count, bench->width);
    rf_tensor keys = rf_tensor_2(bench->keys, RF_F32, bench->length, bench->width);
    rf_tensor to = rf_tensor_2(bench->scores, RF_F32, bench->count, bench->length);
    rf_gemm product = {.a = rf_matrix_of(&from),
                       .b = rf_matrix_of(&keys),
                       .c = rf_matrix_of(&to),
                       .transpose_b = true};
    return rf_op_run_alone(bench->device, RF_OP_GEMM, &product, error);
}

/* May the query see this token, another than itself where itself is the last resort? */
static bool sees(const rf_attention *a, int64_t query, int64_t token)
{
    return !(a->plan.causal && token > query) && (a->mask == NULL || a->mask[token] != 0) &&
           !(a->plan.self == RF_SELF_LAST_RESORT && token == query);
}

/* A query's scores [length] become its exact weights: softmax over all that it may see, and itself
 * where that is nothing. */
static void weigh(const rf_attention *a, int64_t query, float *scores)
{
    const int64_t length = a->plan.length;
    double most = -HUGE_VAL;
    double sum = 0.0;
    for (int64_t i = 0; i < length; i++) {
        if (sees(a, query, i) && (double)scores[i] > most) {
            most = (double)scores[i];
        }
    }
    for (int64_t i = 0; i < length; i++) {
        const double weight = sees(a, query, i) ? exp((double)scores[i] - most) : 0.0;
        scores[i] = (float)weight;
        sum += weight;
    }
    for (int64_t i = 0; i < length && sum > 0.0; i++) {
        scores[i] = (float)((double)scores[i] / sum);
    }
    if (!(sum > 0.0)) {
        scores[query] = 1.0F;
    }
}

/* What the largest weights sum to. */
static void sum_nearest(const float *weights, int64_t length, double sums[RF_PROBE_NEAREST])
{
    float largest[MOST_NEAREST] = {0.0F}; /* descending */
    for (int64_t i = 0; i < length; i++) {
        int place = MOST_NEAREST;
        while (place > 0 && weights[i] > largest[place - 1]) {
            place--;
        }
        if (place < MOST_NEAREST) {
            memmove(largest + place + 1, largest + place,
                    (size_t)(MOST_NEAREST - 1 - place) * sizeof *largest);
            largest[place] = weights[i];
        }
    }
    for (int k = 0; k < RF_PROBE_NEAREST; k++) {
        sums[k] = 0.0;
        for (int i = 0; i < rf_probe_nearest[k]; i++) {
            sums[k] += (double)largest[i];
        }
    }
}

static rf_status attend_exactly(const rf_probe_bench *bench, const rf_attention *a,
                                const int64_t *queries, rf_error *error)
{
    RF_TRY(score(bench, a, queries, error));
#pragma omp parallel for schedule(static) num_threads(bench->device->threads)
    for (int64_t i = 0; i < bench->count; i++) {
        float *row = bench->scores + i * bench->length;
        weigh(a, queries[i], row);
        bench->results[i] = (rf_probe_result){.query = queries[i]};
        sum_nearest(row, bench->length, bench->results[i].nearest);
    }
    rf_tensor weights = rf_tensor_2(bench->scores, RF_F32, bench->count, bench->length);
    rf_tensor values = rf_tensor_2(a->value, RF_F32, bench->length, bench->width);
    rf_tensor outputs = rf_tensor_2(bench->outputs, RF_F32, bench->count, bench->width);
    rf_gemm product = {
        .a = rf_matrix_of(&weights), .b = rf_matrix_of(&values), .c = rf_matrix_of(&outputs)};
    return rf_op_run_alone(bench->device, RF_OP_GEMM, &product, error);
}

/* ---- what the model attends to ----------------------------------------------------------- */

/* Keys that both of two rounds see, as a share of those that either does; the mean over all pairs
 * of rounds. */
static double overlap_of(const rf_attention_row *row)
{
    double sum = 0.0;
    int64_t pairs = 0;
    for (int64_t r = 0; r < row->rounds; r++) {
        for (int64_t s = r + 1; s < row->rounds; s++, pairs++) {
            int64_t both = 0;
            int64_t either = 0;
            for (int64_t i = 0; i < row->count; i++) {
                const bool in_r = row->parts[i * row->rounds + r] > 0.0;
                const bool in_s = row->parts[i * row->rounds + s] > 0.0;
                both += in_r && in_s ? 1 : 0;
                either += in_r || in_s ? 1 : 0;
            }
            sum += either > 0 ? (double)both / (double)either : 1.0;
        }
    }
    return pairs > 0 ? sum / (double)pairs : 0.0;
}

/* exact [length], output [width]: of the exact attention. */
static void compare(const rf_attention *a, const rf_attention_row *row, const float *exact,
                    const float *output, rf_probe_result *result)
{
    for (int64_t i = 0; i < row->count; i++) {
        if (row->weights[i] > 0.0) {
            result->captured += (double)exact[row->positions[i]];
            result->keys += 1.0;
        }
    }
    result->overlap = overlap_of(row);
    for (int64_t k = 0; k < a->width; k++) {
        double own = 0.0;
        for (int64_t i = 0; i < row->count; i++) {
            own += row->weights[i] * (double)a->value[row->positions[i] * a->width + k];
        }
        const double difference = own - (double)output[k];
        result->error_square += difference * difference;
        result->exact_square += (double)output[k] * (double)output[k];
    }
}

/* What the first 1, 2, ... rounds see of the exact attention. */
static void follow_rounds(const rf_attention_row *row, const float *exact, rf_probe_result *result)
{
    for (int64_t i = 0; i < row->count; i++) {
        int64_t first = 0;
        while (first < row->rounds && !(row->parts[i * row->rounds + first] > 0.0)) {
            first++;
        }
        if (first < row->rounds) {
            result->by_rounds[first] += (double)exact[row->positions[i]];
        }
    }
    for (int64_t r = 1; r < row->rounds; r++) {
        result->by_rounds[r] += result->by_rounds[r - 1];
    }
}

/* Every query's row of the attention as it is now, either compared or followed. */
static rf_status read_rows(const rf_probe_bench *bench, const rf_attention *a, bool follows,
                           rf_error *error)
{
#pragma omp parallel for schedule(static) num_threads(bench->device->threads)
    for (int64_t i = 0; i < bench->count; i++) {
        rf_probe_result *result = &bench->results[i];
        const float *exact = bench->scores + i * bench->length;
        rf_attention_row row = {0};
        result->status = rf_attention_weights(a, result->query, &row, &result->error);
        if (result->status == RF_OK && follows) {
            follow_rounds(&row, exact, result);
        } else if (result->status == RF_OK) {
            compare(a, &row, exact, bench->outputs + i * bench->width, result);
        }
        rf_attention_row_clear(&row);
    }
    for (int64_t i = 0; i < bench->count; i++) {
        if (bench->results[i].status != RF_OK) {
            return rf_error_set(error, bench->results[i].status, "%s",
                                bench->results[i].error.message);
        }
    }
    return RF_OK;
}

/* ---- buckets ----------------------------------------------------------------------------- */

static int class_of(int64_t load)
{
    int class = 0;
    for (int64_t left = load; left > 0; left /= 2) {
        class ++;
    }
    return class;
}

/* counts [bucket_count] of one round. */
static void add_loads(const int64_t *counts, int64_t buckets, int64_t tokens, rf_probe_sums *sums)
{
    for (int64_t b = 0; b < buckets; b++) {
        const int64_t load = counts[b];
        const double share = (double)load / (double)tokens;
        sums->load_buckets[class_of(load)]++;
        sums->load_tokens[class_of(load)] += load;
        sums->empty += load == 0 ? 1 : 0;
        sums->largest = load > sums->largest ? load : sums->largest;
        sums->entropy -= load > 0 ? share * log2(share) : 0.0;
    }
    sums->rounds++;
    sums->buckets += buckets;
    sums->tokens += tokens;
    sums->entropy_most += log2((double)buckets);
}

static rf_status count_loads(const rf_attention *a, rf_probe_sums *sums, rf_error *error)
{
    const size_t size = (size_t)a->bucket_count * sizeof(int64_t);
    void *memory = NULL;
    RF_TRY(rf_allocate(size, "loads of buckets", &memory, error));
    int64_t *counts = memory;
    for (int64_t r = 0; r < a->plan.parts; r++) {
        memset(counts, 0, size);
        for (int64_t i = 0; i < a->plan.length; i++) {
            counts[a->buckets[r * a->plan.length + i]]++;
        }
        add_loads(counts, a->bucket_count, a->plan.length, sums);
    }
    rf_release(memory);
    return RF_OK;
}

/* ---- the whole --------------------------------------------------------------------------- */

void rf_probe_add(rf_probe_sums *to, const rf_probe_sums *from)
{
    to->parts = from->parts > to->parts ? from->parts : to->parts;
    to->queries += from->queries;
    to->hashed += from->hashed;
    to->captured += from->captured;
    to->keys += from->keys;
    to->error_square += from->error_square;
    to->exact_square += from->exact_square;
    to->paired += from->paired;
    to->overlap += from->overlap;
    to->rounds += from->rounds;
    to->buckets += from->buckets;
    to->tokens += from->tokens;
    to->largest = from->largest > to->largest ? from->largest : to->largest;
    to->empty += from->empty;
    to->entropy += from->entropy;
    to->entropy_most += from->entropy_most;
    for (int k = 0; k < RF_PROBE_NEAREST; k++) {
        to->nearest[k] += from->nearest[k];
    }
    for (int r = 0; r < RF_PROBE_MOST_ROUNDS; r++) {
        to->by_rounds[r] += from->by_rounds[r];
    }
    for (int i = 0; i < RF_PROBE_LOADS; i++) {
        to->load_buckets[i] += from->load_buckets[i];
        to->load_tokens[i] += from->load_tokens[i];
    }
}

static void add_result(const rf_probe_result *result, int64_t parts, bool hashes,
                       rf_probe_sums *sums)
{
    const bool paired = parts > 1;
    rf_probe_sums one = {.parts = parts,
                         .queries = 1,
                         .hashed = hashes ? 1 : 0,
                         .captured = result->captured,
                         .keys = result->keys,
                         .error_square = result->error_square,
                         .exact_square = result->exact_square,
                         .paired = paired ? 1 : 0,
                         .overlap = paired ? result->overlap : 0.0};
    memcpy(one.nearest, result->nearest, sizeof one.nearest);
    memcpy(one.by_rounds, result->by_rounds, sizeof one.by_rounds);
    rf_probe_add(sums, &one);
}

rf_status rf_probe_head(rf_probe_bench *bench, rf_attention *attention, const int64_t *queries,
                        rf_probe_sums *sums, rf_error *error)
{
    const bool hashes = attention->buckets != NULL;
    const int64_t parts = attention->plan.parts;
    RF_ASSERT(attention->width == bench->width && attention->plan.length == bench->length);
    prepare_keys(bench, attention);
    RF_TRY(attend_exactly(bench, attention, queries, error));
    RF_TRY(read_rows(bench, attention, false, error));
    if (hashes) {
        RF_TRY(count_loads(attention, sums, error));
        RF_TRY(rf_attention_rehash(attention, bench->config, bench->device, bench->seed,
                                   bench->most_rounds, error));
        RF_TRY(read_rows(bench, attention, true, error));
    }
    for (int64_t i = 0; i < bench->count; i++) {
        add_result(&bench->results[i], parts, hashes, sums);
    }
    return RF_OK;
}
