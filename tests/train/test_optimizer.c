/* AdamW over a block of two parts, the norm, and clipping, against the formulas in double. */
#include "support.h"

#include "train/optimizer.h"

#include <math.h>

enum { COUNT = 192, DECAYING = 128 };

static double value_at(int i)
{
    return 0.5 * sin(1.0 + (double)i);
}

static double gradient_at(int i, int update)
{
    return cos(0.3 * (double)i + (double)update);
}

static void five_updates_follow_the_formula(void **state)
{
    (void)state;
    const rf_optimizer_options options = {
        .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9};
    const double rate = 1e-2;
    const double factor = 0.5;
    rf_parameters parameters = {.block_count = COUNT, .decay_count = DECAYING};
    rf_device *device = NULL;
    rf_optimizer optimizer;
    float values[COUNT];
    float gradients[COUNT];
    double expected[COUNT];
    double first[COUNT] = {0.0};
    double second[COUNT] = {0.0};
    assert_ok(rf_device_create("cpu", 1, &device, error));
    assert_ok(rf_optimizer_create(device, &parameters, &options, &optimizer, error));
    for (int i = 0; i < COUNT; i++) {
        expected[i] = value_at(i);
        values[i] = (float)expected[i];
    }
    for (int update = 1; update <= 5; update++) {
        for (int i = 0; i < COUNT; i++) {
            double g = factor * gradient_at(i, update);
            gradients[i] = (float)gradient_at(i, update);
            first[i] = 0.9 * first[i] + 0.1 * g;
            second[i] = 0.98 * second[i] + 0.02 * g * g;
            double step = first[i] / (1.0 - pow(0.9, update)) /
                          (sqrt(second[i] / (1.0 - pow(0.98, update))) + 1e-9);
            expected[i] *= i < DECAYING ? 1.0 - rate * 0.1 : 1.0;
            expected[i] -= rate * step;
        }
        assert_ok(
            rf_optimizer_update(&optimizer, values, NULL, gradients, rate, factor, update, error));
    }
    for (int i = 0; i < COUNT; i++) {
        if (fabs((double)values[i] - expected[i]) > 1e-6) {
            fail_msg("value %d is %g, expected %g", i, (double)values[i], expected[i]);
        }
    }
    rf_optimizer_clear(&optimizer);
    rf_device_destroy(device);
}

static void the_norm_is_over_the_whole_block(void **state)
{
    (void)state;
    const rf_optimizer_options options = {.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9};
    rf_parameters parameters = {.block_count = COUNT, .decay_count = 0};
    rf_device *device = NULL;
    rf_optimizer optimizer;
    float block[COUNT];
    double sum = 0.0;
    double norm = 0.0;
    assert_ok(rf_device_create("cpu", 1, &device, error));
    assert_ok(rf_optimizer_create(device, &parameters, &options, &optimizer, error));
    for (int i = 0; i < COUNT; i++) {
        block[i] = (float)value_at(i);
        sum += (double)block[i] * (double)block[i];
    }
    assert_ok(rf_optimizer_norm(&optimizer, block, &norm, error));
    assert_true(fabs(norm - sqrt(sum)) < 1e-12);
    block[COUNT - 1] = INFINITY;
    assert_ok(rf_optimizer_norm(&optimizer, block, &norm, error));
    assert_true(isfinite(norm) == 0);
    block[COUNT - 1] = NAN;
    assert_ok(rf_optimizer_norm(&optimizer, block, &norm, error));
    assert_true(isfinite(norm) == 0);
    rf_optimizer_clear(&optimizer);
    rf_device_destroy(device);
}

static void gradients_are_scaled_down_only(void **state)
{
    (void)state;
    assert_true(rf_optimizer_clip_factor(0.5, 1.0) == 1.0);
    assert_true(fabs(rf_optimizer_clip_factor(4.0, 1.0) - 0.25) < 1e-6);
    assert_true(rf_optimizer_clip_factor(4.0, 0.0) == 1.0);
    assert_true(rf_optimizer_clip_factor(0.0, 1.0) == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_updates_follow_the_formula),
        cmocka_unit_test(the_norm_is_over_the_whole_block),
        cmocka_unit_test(gradients_are_scaled_down_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
