/* The whole model against its double oracle, and the oracle against the reference vectors: three
 * independent computations of one function. Gradients are compared along random directions with
 * central differences of the oracle. */
#include "support.h"
#include "twin.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    rf_model *model;
    rf_safetensors *file; /* NULL: no reference */
    int64_t batch, length, rows;
    int32_t *ids, *segments; /* the latter NULL until they are asked for */
    double *wide_segments;
    twin twin;
} subject;

static void read_ids(subject *s)
{
    const rf_safetensors_entry *entry = rf_safetensors_find(s->file, "input_ids");
    assert_non_null(entry);
    s->batch = entry->tensor.shape[0];
    s->length = entry->tensor.shape[1];
    s->rows = s->batch * s->length;
    void *memory = NULL;
    assert_ok(rf_allocate((size_t)s->rows * sizeof *s->ids, "token ids", &memory, error));
    s->ids = memory;
    int64_t *wide = calloc((size_t)s->rows, sizeof *wide);
    assert_non_null(wide);
    assert_ok(rf_safetensors_read_i64(entry, wide, s->rows, error));
    for (int64_t i = 0; i < s->rows; i++) {
        s->ids[i] = (int32_t)wide[i];
    }
    free(wide);
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
    twin_open(&s->twin, s->model, s->batch, s->length, s->ids);
}

static void close_subject(subject *s)
{
    twin_close(&s->twin);
    rf_release(s->ids);
    free(s->segments);
    free(s->wide_segments);
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
    const double *logits = s.twin.logits;
    float *reference = calloc((size_t)count, sizeof *reference);
    float *ours = calloc((size_t)count, sizeof *ours);
    assert_true(reference != NULL && ours != NULL);
    double loss = twin_forward(&s.twin);
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
    s->wide_segments = oracle_fresh(s->rows);
    assert_non_null(s->segments);
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t place = i % s->length;
        int64_t first = s->length / 3 + i / s->length;
        s->segments[i] = place < first ? 0 : place < 2 * first + 1 ? 1 : 2;
        s->wide_segments[i] = s->segments[i];
    }
    s->twin.oracle.segments = s->wide_segments;
}

/* Our gradients along random directions against the oracle's slope. */
static void check_gradient(const char *name, bool fixed_stream, bool packed, double limit)
{
    subject s;
    open_subject(name, &s);
    if (packed) {
        pack(&s);
    }
    double loss = twin_forward(&s.twin);
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {.batch = s.batch,
                                 .length = s.length,
                                 .gradients = true,
                                 .segments = packed,
                                 .fixed_stream = fixed_stream,
                                 .hooks = {.user = &s.twin, .buckets = twin_give_buckets}};
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
    for (uint64_t n = 0; n < 3; n++) {
        assert_true(twin_gradient_error(&s.twin, rf_runner_gradients(runner), n) < limit);
    }
    rf_runner_destroy(runner);
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
