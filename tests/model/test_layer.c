/* A layer by itself against the oracle in double, its gradients against differences of the oracle
 * with the buckets held, and what it refuses. */
#include "devices.h"
#include "no_memory.h"

#include "base/memory.h"
#include "model/layer.h"
#include "oracle/attention.h"
#include "oracle/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, MOST_LENGTH = 96, HIDDEN = 20, HEADS = 3, WIDTH = 4 };
enum { MOST = BATCH * MOST_LENGTH * HIDDEN };

typedef struct sample {
    const char *name;
    rf_layer_options options;
    int64_t length;
    bool masked; /* row 1 from two thirds on */
} sample;

static const sample samples[] = {
    {"lsh", {.chunk = 8, .before = 1, .causal = true, .rounds = 2, .buckets = 6}, 50, false},
    {"both sides", {.chunk = 8, .before = 1, .after = 1, .rounds = 3}, 96, true},
    {"local", {.kind = "local", .chunk = 16, .before = 1, .causal = true}, 70, false},
    {"local, masked", {.kind = "local", .chunk = 8, .before = 1, .after = 2}, 64, true},
    {"full", {.kind = "full", .causal = true}, 40, true},
    {"full, shared", {.kind = "full_shared"}, 33, false},
    {"short", {.chunk = 64, .before = 1, .causal = true}, 9, false},
};

typedef struct arrays {
    float x[MOST], y[MOST], y_gradient[MOST], x_gradient[MOST];
    uint8_t mask[BATCH * MOST_LENGTH];
} arrays;

static rf_layer *open_layer(const sample *s)
{
    rf_layer_options options = s->options;
    rf_layer *layer = NULL;
    options.hidden = HIDDEN;
    options.heads = HEADS;
    options.head_width = WIDTH;
    options.seed = 11;
    options.threads = 1;
    options.device = test_device();
    options.precision = "f32";
    assert_ok(rf_layer_create(&options, &layer, error));
    return layer;
}

static void fill(float *values, int64_t count, uint64_t layer, float factor)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST, .step = layer};
    for (int64_t i = 0; i < count; i++) {
        values[i] = factor * rf_random_normal(&key, (uint64_t)i);
    }
}

/* Weights of an order of magnitude that makes scores differ. */
static void set_weights(rf_layer *layer)
{
    float values[HIDDEN * HEADS * WIDTH];
    for (int w = 0; w < RF_LAYER_WEIGHTS; w++) {
        int64_t count = rf_layer_weight_size(layer, (rf_layer_weight)w);
        fill(values, count, 100 + (uint64_t)w, 0.4F);
        if (count > 0) {
            assert_ok(rf_layer_set_weight(layer, (rf_layer_weight)w, values, error));
        }
    }
}

static arrays *fill_arrays(const sample *s)
{
    static arrays a;
    fill(a.x, MOST, 1, 1.0F);
    fill(a.y_gradient, MOST, 2, 1.0F);
    for (int64_t i = 0; i < BATCH * s->length; i++) {
        a.mask[i] = i < s->length + s->length * 2 / 3;
    }
    return &a;
}

/* ---- the oracle -------------------------------------------------------------------------- */

typedef struct judge {
    oracle_model model;
    double *block, *mask, *rotations, *x;
    double *buckets[1];
} judge;

static void download_block(const rf_model *model, double *block)
{
    int64_t count = model->parameters.block_count;
    float *values = test_calloc((size_t)count, sizeof *values);
    assert_ok(rf_device_download(model->device, values, model->values,
                                 (size_t)count * sizeof *values, error));
    for (int64_t i = 0; i < count; i++) {
        block[i] = (double)values[i];
    }
    test_free(values);
}

static judge open_judge(const rf_layer *layer, const sample *s, const arrays *a)
{
    const rf_model *model = layer->model;
    const rf_config *config = &model->config;
    int64_t rows = BATCH * s->length;
    int64_t rotations = HEADS * WIDTH * config->rounds * rf_config_rotation_columns(config);
    const rf_random_key key = {.seed = 11, .layer = 1, .purpose = RF_PURPOSE_ROTATION};
    judge j = {.block = oracle_fresh(model->parameters.block_count),
               .mask = oracle_fresh(rows),
               .rotations = oracle_fresh(rotations + 1),
               .x = oracle_fresh(rows * HIDDEN)};
    j.buckets[0] = oracle_fresh(BATCH * HEADS * config->rounds * s->length);
    download_block(model, j.block);
    for (int64_t i = 0; i < rotations; i++) {
        j.rotations[i] = (double)rf_random_normal(&key, (uint64_t)i);
    }
    for (int64_t i = 0; i < rows * HIDDEN; i++) {
        j.x[i] = (double)a->x[i];
        j.mask[i / HIDDEN] = (double)a->mask[i / HIDDEN];
    }
    j.model = (oracle_model){.config = config,
                             .parameters = &model->parameters,
                             .block = j.block,
                             .batch = BATCH,
                             .length = s->length,
                             .rounds = config->rounds,
                             .mask = s->masked ? j.mask : NULL,
                             .rotations = j.rotations};
    return j;
}

static void close_judge(judge *j)
{
    free(j->block);
    free(j->mask);
    free(j->rotations);
    free(j->x);
    free(j->buckets[0]);
}

/* y . y_gradient, with the buckets of the first call. */
static double weighted(judge *j, const arrays *a)
{
    int64_t count = BATCH * j->model.length * HIDDEN;
    double *y = oracle_fresh(count);
    const double *const kept[1] = {j->buckets[0]};
    double sum = 0.0;
    j->model.exact = true;
    j->model.buckets = kept;
    oracle_attention_half(&j->model, 0, j->x, y);
    for (int64_t i = 0; i < count; i++) {
        sum += y[i] * (double)a->y_gradient[i];
    }
    free(y);
    return sum;
}

static void check_forward(judge *j, const arrays *a, const sample *s)
{
    int64_t count = BATCH * s->length * HIDDEN;
    double *y = oracle_fresh(count);
    double *hashed[1] = {j->buckets[0]};
    j->model.hashed = hashed;
    oracle_attention_half(&j->model, 0, j->x, y);
    j->model.hashed = NULL;
    double size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        if (fabs(y[i] - (double)a->y[i]) > 2e-5) {
            fail_msg("%s: y[%lld] is %.9g, the oracle says %.9g", s->name, (long long)i,
                     (double)a->y[i], y[i]);
        }
        size += fabs(y[i]);
    }
    assert_true(size / (double)count > 0.05);
    free(y);
}

/* The derivative along a random direction of `count` numbers, against gradient . direction. */
static void check_direction(judge *j, const arrays *a, double *values, const float *gradient,
                            int64_t count, const char *name)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST, .step = 77};
    const double step = 1e-5;
    double expected = 0.0;
    double found = 0.0;
    double scale = 0.0;
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (int64_t i = 0; i < count; i++) {
            values[i] += sign * step * (double)rf_random_normal(&key, (uint64_t)i);
        }
        expected += sign * weighted(j, a) / (2.0 * step);
        for (int64_t i = 0; i < count; i++) {
            values[i] -= sign * step * (double)rf_random_normal(&key, (uint64_t)i);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        found += (double)gradient[i] * (double)rf_random_normal(&key, (uint64_t)i);
        scale += (double)gradient[i] * (double)gradient[i];
    }
    assert_true(scale > 0.0);
    /* Rows that see themselves alone are not what is differentiated: docs/numerics.md. */
    bool rounds_self = rf_config_shares_query_key(j->model.config, 0) &&
                       (j->model.config->causal || j->model.mask != NULL);
    if (fabs(found - expected) > (rounds_self ? 1e-2 : 1e-3) * sqrt(scale)) {
        fail_msg("%s: the gradient (of length %g) says %.9g, differences say %.9g", name,
                 sqrt(scale), found, expected);
    }
}

static void check_backward(judge *j, const rf_layer *layer, arrays *a, const sample *s)
{
    static const rf_parameter_role roles[RF_LAYER_WEIGHTS] = {RF_PARAMETER_ATTENTION_NORM_GAIN,
                                                              RF_PARAMETER_ATTENTION_NORM_BIAS,
                                                              RF_PARAMETER_QUERY,
                                                              RF_PARAMETER_KEY,
                                                              RF_PARAMETER_VALUE,
                                                              RF_PARAMETER_ATTENTION_OUTPUT};
    float gradient[HIDDEN * HEADS * WIDTH];
    check_direction(j, a, j->x, a->x_gradient, BATCH * s->length * HIDDEN, s->name);
    for (int w = 0; w < RF_LAYER_WEIGHTS; w++) {
        int64_t count = rf_layer_weight_size(layer, (rf_layer_weight)w);
        if (count == 0) {
            assert_int_equal(w, RF_LAYER_KEY);
            continue;
        }
        const rf_parameter *p = rf_parameters_find(j->model.parameters, roles[w], 0, 0);
        assert_ok(rf_layer_gradient(layer, (rf_layer_weight)w, gradient, error));
        check_direction(j, a, j->block + p->offset, gradient, count, p->name);
    }
}

static void check_sample(const sample *s)
{
    rf_layer *layer = open_layer(s);
    arrays *a = fill_arrays(s);
    const uint8_t *mask = s->masked ? a->mask : NULL;
    set_weights(layer);
    assert_ok(rf_layer_forward(layer, a->x, mask, BATCH, s->length, a->y, error));
    assert_ok(rf_layer_backward(layer, a->x, mask, BATCH, s->length, a->y_gradient, a->x_gradient,
                                error));
    judge j = open_judge(layer, s, a);
    check_forward(&j, a, s);
    check_backward(&j, layer, a, s);
    close_judge(&j);
    rf_layer_destroy(layer);
}

static void test_oracle(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        check_sample(&samples[i]);
    }
}

/* Weights come back as they went in; gradients add up until they are forgotten; shapes may change
 * from call to call. */
static void test_use(void **state)
{
    (void)state;
    const sample *s = &samples[0];
    rf_layer *layer = open_layer(s);
    arrays *a = fill_arrays(s);
    float in[HIDDEN * HEADS * WIDTH];
    float out[HIDDEN * HEADS * WIDTH];
    float twice[HIDDEN * HEADS * WIDTH];
    fill(in, HIDDEN * HEADS * WIDTH, 3, 0.3F);
    assert_int_equal(rf_layer_weight_size(layer, RF_LAYER_QUERY), HIDDEN * HEADS * WIDTH);
    assert_int_equal(rf_layer_weight_size(layer, RF_LAYER_NORM_BIAS), HIDDEN);
    assert_int_equal(rf_layer_weight_size(layer, RF_LAYER_KEY), 0);
    assert_ok(rf_layer_set_weight(layer, RF_LAYER_QUERY, in, error));
    assert_ok(rf_layer_get_weight(layer, RF_LAYER_QUERY, out, error));
    assert_memory_equal(in, out, sizeof in);
    assert_ok(rf_layer_gradient(layer, RF_LAYER_VALUE, out, error));
    assert_true(out[0] == 0.0F);
    for (int i = 0; i < 2; i++) {
        assert_ok(rf_layer_backward(layer, a->x, NULL, BATCH, s->length, a->y_gradient,
                                    a->x_gradient, error));
        assert_ok(rf_layer_gradient(layer, RF_LAYER_VALUE, i == 0 ? out : twice, error));
    }
    for (int i = 0; i < HIDDEN * HEADS * WIDTH; i++) {
        assert_true(fabsf(twice[i] - 2.0F * out[i]) <= 1e-4F * (1.0F + fabsf(twice[i])));
    }
    assert_ok(rf_layer_forget_gradients(layer, error));
    assert_ok(rf_layer_gradient(layer, RF_LAYER_VALUE, out, error));
    assert_true(out[7] == 0.0F);
    static float first[MOST];
    assert_ok(rf_layer_forward(layer, a->x, NULL, 1, 20, first, error));
    assert_ok(rf_layer_forward(layer, a->x, NULL, BATCH, 90, a->y, error));
    assert_ok(rf_layer_forward(layer, a->x, NULL, 1, 20, a->y, error));
    assert_memory_equal(first, a->y, (size_t)(20 * HIDDEN) * sizeof(float));
    rf_layer_destroy(layer);
}

static void test_refusals(void **state)
{
    (void)state;
    rf_layer *layer = NULL;
    rf_error failure = {0};
    rf_layer_options options = {
        .kind = "global", .hidden = 8, .heads = 2, .chunk = 4, .device = test_device()};
    assert_int_equal(rf_layer_create(&options, &layer, &failure), RF_ERR_ARGUMENT);
    assert_null(layer);
    options.kind = "lsh";
    options.buckets = 5;
    assert_int_equal(rf_layer_create(&options, &layer, &failure), RF_ERR_ARGUMENT);
    assert_non_null(strstr(failure.message, "num_buckets"));
    options.buckets = 0;
    options.heads = 0;
    assert_int_equal(rf_layer_create(&options, &layer, &failure), RF_ERR_ARGUMENT);
    options.heads = 2;
    assert_ok(rf_layer_create(&options, &layer, error));
    float x[12 * 8] = {NAN};
    float y[12 * 8];
    assert_int_equal(rf_layer_forward(layer, x, NULL, 1, 12, y, &failure), RF_ERR_NUMERIC);
    assert_int_equal(rf_layer_forward(layer, x, NULL, 1, 0, y, &failure), RF_ERR_ARGUMENT);
    assert_int_equal(rf_layer_get_weight(layer, RF_LAYER_KEY, y, &failure), RF_ERR_ARGUMENT);
    rf_layer_destroy(layer);
}

static void test_memory(void **state)
{
    (void)state;
    arrays *a = fill_arrays(&samples[0]);
    rf_layer_options options = {
        .hidden = 8, .heads = 2, .chunk = 4, .device = test_device(), .threads = 1};
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    for (int n = 0; status != RF_OK; n++) {
        int left = n;
        rf_layer *layer = NULL;
        assert_true(n < 1000);
        rf_memory_set_hook(fail_after, &left);
        status = rf_layer_create(&options, &layer, NULL);
        if (status == RF_OK) {
            status = rf_layer_forward(layer, a->x, NULL, 1, 30, a->y, NULL);
        }
        if (status == RF_OK) {
            status =
                rf_layer_backward(layer, a->x, NULL, 1, 30, a->y_gradient, a->x_gradient, NULL);
        }
        rf_memory_set_hook(NULL, NULL);
        rf_layer_destroy(layer);
        assert_true(rf_memory_in_use() == before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_use),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return run_on_devices("layer", tests, sizeof tests / sizeof tests[0]);
}
