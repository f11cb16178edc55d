/* Learning rates against their formulas, written down once more from the recipes. */
#include "support.h"

#include "train/options.h"

#include <math.h>
#include <string.h>

static void assert_close(double actual, double expected)
{
    if (!(fabs(actual - expected) <= 1e-15 + 1e-12 * fabs(expected))) {
        fail_msg("%.17g, expected %.17g", actual, expected);
    }
}

static void cosine_is_the_reference_recipe(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_COSINE, 3e-3, 0.0, 100, 1000, 0.0};
    for (int64_t s = 0; s < 1000; s++) {
        double warm = fmin(1.0, (double)(s + 1) / 100.0);
        double p = fmax(0.0, (double)(s - 100)) / 900.0;
        assert_close(rf_schedule_rate(&schedule, s, 0.0),
                     3e-3 * warm * 0.5 * (1.0 + cos(acos(-1.0) * p)));
    }
    assert_close(rf_schedule_rate(&schedule, 0, 0.0), 3e-5);
    assert_close(rf_schedule_rate(&schedule, 99, 0.0), 3e-3);
    assert_close(rf_schedule_rate(&schedule, 550, 0.0), 1.5e-3);
    assert_true(rf_schedule_rate(&schedule, 1000, 0.0) < 1e-17);
    assert_true(rf_schedule_rate(&schedule, 5000, 0.0) < 1e-17);
}

static void linear_ends_at_the_final_rate(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_LINEAR, 2.0, 0.1, 10, 110, 0.0};
    assert_close(rf_schedule_rate(&schedule, 4, 0.0), 1.0);
    assert_close(rf_schedule_rate(&schedule, 10, 0.0), 2.0);
    assert_close(rf_schedule_rate(&schedule, 60, 0.0), 2.0 * (1.0 - 0.9 * 0.5));
    assert_close(rf_schedule_rate(&schedule, 110, 0.0), 0.2);
    assert_close(rf_schedule_rate(&schedule, 1000, 0.0), 0.2);
    schedule.kind = RF_SCHEDULE_COSINE;
    assert_close(rf_schedule_rate(&schedule, 110, 0.0), 0.2);
}

static void constant_stays(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_CONSTANT, 0.5, 0.0, 0, 10, 0.0};
    assert_close(rf_schedule_rate(&schedule, 0, 0.0), 0.5);
    assert_close(rf_schedule_rate(&schedule, 9, 0.9), 0.5);
}

static void inverse_square_root_has_its_peak_after_the_warm_up(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_INVERSE_SQUARE_ROOT, 1.0, 0.0, 100, 1000, 0.0};
    assert_close(rf_schedule_rate(&schedule, 0, 0.0), 0.01);
    assert_close(rf_schedule_rate(&schedule, 99, 0.0), 1.0);
    assert_close(rf_schedule_rate(&schedule, 399, 0.0), 0.5);
    schedule.warmup = 0;
    assert_close(rf_schedule_rate(&schedule, 3, 0.0), 0.5);
}

static void wsd_stays_and_falls_in_its_last_part(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_WSD, 2.0, 0.1, 10, 110, 0.25};
    assert_close(rf_schedule_rate(&schedule, 4, 0.0), 1.0);
    assert_close(rf_schedule_rate(&schedule, 10, 0.0), 2.0);
    assert_close(rf_schedule_rate(&schedule, 85, 0.0), 2.0);
    assert_close(rf_schedule_rate(&schedule, 97, 0.0), 2.0 - 1.8 * 12.0 / 25.0);
    assert_close(rf_schedule_rate(&schedule, 110, 0.0), 0.2);
    assert_close(rf_schedule_rate(&schedule, 20, 0.95), 2.0 - 1.8 * 0.2 / 0.25);
    schedule.decay = 0.0;
    assert_close(rf_schedule_rate(&schedule, 109, 0.0), 2.0);
    schedule.decay = 1.0;
    assert_close(rf_schedule_rate(&schedule, 60, 0.0), 1.1);
}

/* So many last updates, or a part of those after the warm-up. */
static void wsd_is_told_its_decay_in_two_ways(void **state)
{
    (void)state;
    rf_train_options options;
    rf_schedule schedule;
    rf_train_options_default(&options);
    options.schedule = "wsd";
    options.steps = 110;
    options.warmup = 10;
    assert_ok(rf_train_options_schedule(&options, &schedule, error));
    assert_close(schedule.decay, 0.2);
    options.decay_steps = 40;
    assert_ok(rf_train_options_schedule(&options, &schedule, error));
    assert_close(schedule.decay, 0.4);
    options.decay_steps = 200;
    assert_ok(rf_train_options_schedule(&options, &schedule, error));
    assert_close(schedule.decay, 1.0);
}

static void time_used_counts_where_it_is_further_than_the_steps(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_LINEAR, 1.0, 0.0, 0, 100, 0.0};
    assert_close(rf_schedule_rate(&schedule, 10, 0.05), 0.9);
    assert_close(rf_schedule_rate(&schedule, 10, 0.75), 0.25);
    assert_close(rf_schedule_rate(&schedule, 10, 1.0), 0.0);
}

static void fewer_steps_than_warm_up_are_no_division_by_zero(void **state)
{
    (void)state;
    rf_schedule schedule = {RF_SCHEDULE_COSINE, 1.0, 0.0, 100, 50, 0.0};
    assert_close(rf_schedule_rate(&schedule, 49, 0.0), 0.5);
    schedule.warmup = 50;
    assert_close(rf_schedule_rate(&schedule, 49, 0.0), 1.0);
}

static void names_are_told_apart(void **state)
{
    (void)state;
    rf_schedule_kind kind;
    rf_error reason = {0};
    assert_ok(rf_schedule_parse("inverse-square-root", &kind, error));
    assert_int_equal(kind, RF_SCHEDULE_INVERSE_SQUARE_ROOT);
    assert_ok(rf_schedule_parse("constant", &kind, error));
    assert_int_equal(kind, RF_SCHEDULE_CONSTANT);
    assert_int_equal(rf_schedule_parse("cosin", &kind, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "cosin"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosine_is_the_reference_recipe),
        cmocka_unit_test(linear_ends_at_the_final_rate),
        cmocka_unit_test(constant_stays),
        cmocka_unit_test(inverse_square_root_has_its_peak_after_the_warm_up),
        cmocka_unit_test(wsd_stays_and_falls_in_its_last_part),
        cmocka_unit_test(wsd_is_told_its_decay_in_two_ways),
        cmocka_unit_test(time_used_counts_where_it_is_further_than_the_steps),
        cmocka_unit_test(fewer_steps_than_warm_up_are_no_division_by_zero),
        cmocka_unit_test(names_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
