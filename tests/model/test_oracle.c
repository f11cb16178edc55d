/* The whole model against its double oracle, and the oracle against the reference vectors: three
 * independent computations of one function. Gradients are compared along random directions with
 * central differences of the oracle. */
#include "support.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/pass.h"
#include "oracle/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 16 };

typedef struct subject {
    rf_model *model;
    rf_safetensors *file; /* NULL: no reference */
    int64_t batch, length, rows;
    int32_t *ids, *segments; /* the latter NULL until they are asked for */
    double *wide_segments;
    double *block, *rotations;
    double *buckets[MAX_LAYERS];
    oracle_model oracle;
} subject;

static double *doubles(int64_t count)
{
    double *values = calloc((size_t)count, sizeof(double));
    assert_non_null(values);
    return values;
}

static void read_ids(subject *s)
{
    const rf_safetensors_entry *entry = rf_safetensors_find(s->file, "input_ids");
    assert_non_null(entry);
    s->batch = entry->tensor.shape[0];
    s->length = entry->tensor.shape[1];
    s->rows = s->batch * s->length;
    int64_t *wide = calloc((size_t)s->rows, sizeof *wide);
    s->ids = calloc((size_t)s->rows, sizeof *s->ids);
    assert_true(wide != NULL && s->ids != NULL);
    assert_ok(rf_safetensors_read_i64(entry, wide, s->rows, error));
    for (int64_t i = 0; i < s->rows; i++) {
        s->ids[i] = (int32_t)wide[i];
    }
    free(wide);
}

static void prepare_oracle(subject *s)
{
    const rf_config *config = &s->model->config;
    const rf_parameters *parameters = &s->model->parameters;
    s->block = doubles(parameters->block_count);
    for (int64_t i = 0; i < parameters->block_count; i++) {
        s->block[i] = (double)s->model->values[i];
    }
    int64_t count = config->heads * config->head_width * config->rounds *
                    (config->bucket_factors > 0 ? rf_config_rotation_columns(config) : 0);
    s->rotations = doubles(count + 1);
    float *drawn = calloc((size_t)count + 1, sizeof *drawn);
    assert_non_null(drawn);
    if (count > 0) {
        rf_plan_lsh_seeded_rotations(config, config->rounds, drawn);
    }
    for (int64_t i = 0; i < count; i++) {
        s->rotations[i] = (double)drawn[i];
    }
    free(drawn);
    assert_true(config->layers <= MAX_LAYERS);
    for (int64_t i = 0; i < config->layers; i++) {
        s->buckets[i] = doubles(config->heads * config->rounds * s->rows);
    }
    s->oracle = (oracle_model){.config = config,
                               .parameters = parameters,
                               .block = s->block,
                               .batch = s->batch,
                               .length = s->length,
                               .rounds = config->rounds,
                               .ids = s->ids,
                               .rotations = s->rotations,
                               .hashed = s->buckets};
}

/* *s must stay where it is: its oracle points into it. */
static void open_subject(const char *name, subject *s)
{
    *s = (subject){0};
    char folder[4096];
    char path[4200];
    (void)snprintf(folder, sizeof folder, "%s/tests/vectors/%s", RF_SOURCE_FOLDER, name);
    (void)snprintf(path, sizeof path, "%s/io.safetensors", folder);
    rf_model_options options = {.device = "cpu", .stream = "float32", .lm_head_bias = "off"};
    assert_ok(rf_model_load(folder, &options, &s->model, error));
    assert_ok(rf_safetensors_open(path, &s->file, error));
    read_ids(s);
    prepare_oracle(s);
}

static void close_subject(subject *s)
{
    for (int i = 0; i < MAX_LAYERS; i++) {
        free(s->buckets[i]);
    }
    free(s->ids);
    free(s->segments);
    free(s->wide_segments);
    free(s->block);
    free(s->rotations);
    rf_safetensors_close(s->file);
    rf_model_destroy(s->model);
}

static double largest(const double *a, const float *b, int64_t count)
{
    double most = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs(a[i] - (double)b[i]);
        most = d > most || isnan(d) ? d : most;
    }
    return most;
}

static void check_forward(const char *name)
{
    subject s;
    open_subject(name, &s);
    int64_t count = s.rows * s.model->config.vocabulary;
    double *logits = doubles(count);
    float *reference = calloc((size_t)count, sizeof *reference);
    float *ours = calloc((size_t)count, sizeof *ours);
    assert_true(reference != NULL && ours != NULL);
    double loss = oracle_model_forward(&s.oracle, logits);
    assert_ok(
        rf_safetensors_read_f32(rf_safetensors_find(s.file, "logits"), reference, count, error));
    assert_ok(rf_model_logits(s.model, s.ids, NULL, s.batch, s.length, 0, s.length, ours, error));
    assert_true(largest(logits, reference, count) < 5e-5);
    assert_true(largest(logits, ours, count) < 5e-5);
    const rf_safetensors_entry *entry = rf_safetensors_find(s.file, "loss");
    if (entry != NULL) {
        float expected = 0.0F;
        assert_ok(rf_safetensors_read_f32(entry, &expected, 1, error));
        assert_true(fabs(loss - (double)expected) < 1e-5);
    }
    free(logits);
    free(reference);
    free(ours);
    close_subject(&s);
}

static void test_forward(void **state)
{
    (void)state;
    static const char *const names[] = {"lm_eval", "lm_eval_unaligned", "lm_eval_short", "lm_train",
                                        "lm_train_local_only"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_forward(names[i]);
    }
}

/* Make each row of three documents, of borders that no chunk has. */
static void pack(subject *s)
{
    s->segments = calloc((size_t)s->rows, sizeof *s->segments);
    s->wide_segments = doubles(s->rows);
    assert_non_null(s->segments);
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t place = i % s->length;
        int64_t first = s->length / 3 + i / s->length;
        s->segments[i] = place < first ? 0 : place < 2 * first + 1 ? 1 : 2;
        s->wide_segments[i] = s->segments[i];
    }
    s->oracle.segments = s->wide_segments;
}

/* Slope of the oracle's loss along a direction, its buckets held fixed. */
static double slope(subject *s, const double *direction, double *logits)
{
    const double reach = 1e-6;
    const rf_parameters *parameters = &s->model->parameters;
    double losses[2];
    oracle_model fixed = s->oracle;
    fixed.exact = true;
    fixed.buckets = (const double *const *)s->buckets;
    fixed.hashed = NULL;
    double *moved = doubles(parameters->block_count);
    fixed.block = moved;
    for (int side = 0; side < 2; side++) {
        double step = side == 0 ? reach : -reach;
        for (int64_t i = 0; i < parameters->block_count; i++) {
            moved[i] = s->block[i] + step * direction[i];
        }
        losses[side] = oracle_model_forward(&fixed, logits);
    }
    free(moved);
    return (losses[0] - losses[1]) / (2.0 * reach);
}

static rf_status give_buckets(void *user, int64_t layer, int64_t first_head,
                              const rf_tensor *buckets, rf_error *error)
{
    (void)error;
    const subject *s = user;
    int64_t heads = s->model->config.heads;
    int64_t each = buckets->shape[2] * buckets->shape[3];
    int32_t *to = buckets->data;
    for (int64_t b = 0; b < buckets->shape[0]; b++) {
        for (int64_t h = 0; h < buckets->shape[1]; h++) {
            const double *from = s->buckets[layer] + (b * heads + first_head + h) * each;
            for (int64_t i = 0; i < each; i++) {
                to[(b * buckets->shape[1] + h) * each + i] = (int32_t)from[i];
            }
        }
    }
    return RF_OK;
}

/* Our gradients and the file's, each along random directions against the oracle's slope. */
static void check_gradient(const char *name, bool fixed_stream, bool packed, double limit)
{
    subject s;
    open_subject(name, &s);
    if (packed) {
        pack(&s);
    }
    const rf_parameters *parameters = &s.model->parameters;
    double *logits = doubles(s.rows * s.model->config.vocabulary);
    double *direction = doubles(parameters->block_count);
    double loss = oracle_model_forward(&s.oracle, logits);
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {.batch = s.batch,
                                 .length = s.length,
                                 .gradients = true,
                                 .segments = packed,
                                 .fixed_stream = fixed_stream,
                                 .hooks = {.user = &s, .buckets = give_buckets}};
    rf_batch batch = {.batch = s.batch,
                      .length = s.length,
                      .ids = s.ids,
                      .labels = s.ids,
                      .segments = s.segments};
    assert_ok(rf_runner_create(s.model, &options, &runner, error));
    float factor = 1.0F / (float)rf_batch_scored(&batch);
    assert_ok(rf_runner_train(runner, &batch, 0, 0, factor, &outcome, error));
    assert_int_equal(outcome.scored, s.batch * (s.length - (packed ? 3 : 1)));
    assert_true(fabs(loss - outcome.nll_sum / (double)outcome.scored) < 1e-5);
    const float *gradients = rf_runner_gradients(runner);
    double norm = 0.0;
    for (int64_t i = 0; i < parameters->block_count; i++) {
        norm += (double)gradients[i] * (double)gradients[i];
    }
    for (uint64_t n = 0; n < 3;
         n++) { /* a random direction; its share of the gradient is about norm */
        const rf_random_key key = {.seed = n, .purpose = RF_PURPOSE_TEST};
        double ours = 0.0;
        for (int64_t i = 0; i < parameters->block_count; i++) {
            direction[i] = (double)rf_random_normal(&key, (uint64_t)i);
            ours += direction[i] * (double)gradients[i];
        }
        double expected = slope(&s, direction, logits);
        assert_true(fabs(ours - expected) < limit * sqrt(norm));
    }
    rf_runner_destroy(runner);
    free(logits);
    free(direction);
    close_subject(&s);
}

static void test_gradient(void **state)
{
    (void)state;
    /* A row of an LSH layer that sees only itself weighs its value 0.998 in float and 1 in exact
     * arithmetic: that is the rest. */
    check_gradient("lm_train", false, false, 5e-4);
    check_gradient("lm_train", true, false, 5e-4);
    check_gradient("lm_eval_unaligned", true, false, 5e-4);
    check_gradient("lm_train_local_only", false, false, 5e-6);
    check_gradient("lm_train_local_only", true, false, 5e-6);
}

/* Rows of several documents: loss and gradients. More rows see only themselves: each document has a
 * first token, and tokens that share a chunk with none before them. */
static void test_segments(void **state)
{
    (void)state;
    check_gradient("lm_train", false, true, 5e-3);
    check_gradient("lm_train", true, true, 5e-3);
    check_gradient("lm_eval_unaligned", true, true, 5e-3);
    check_gradient("lm_eval_short", true, true, 5e-3);
    check_gradient("lm_train_local_only", true, true, 5e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward),
                                       cmocka_unit_test(test_gradient),
                                       cmocka_unit_test(test_segments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
