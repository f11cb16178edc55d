/* The order of windows: uniform over every start, in order where asked, and a function of the
 * window's number alone. */
#include "support.h"

#include "data/sampler.h"

enum { STARTS = 37, DRAWS = 37 * 400 };

static void random_windows_start_everywhere_equally_often(void **state)
{
    (void)state;
    rf_windows windows = {.seed = 5, .tokens = 100, .length = 100 - STARTS + 1};
    int64_t counts[STARTS] = {0};
    double chi_square = 0.0;
    for (int64_t i = 0; i < DRAWS; i++) {
        int64_t start = rf_windows_start(&windows, i);
        assert_in_range(start, 0, STARTS - 1);
        counts[start]++;
    }
    for (int i = 0; i < STARTS; i++) {
        double off = (double)counts[i] - 400.0;
        chi_square += off * off / 400.0;
    }
    /* 36 degrees of freedom: 99.9 % of samples are below 68, 99.9 % above 12. */
    assert_true(chi_square < 68.0);
    assert_true(chi_square > 12.0);
}

static void a_window_depends_on_seed_and_number_only(void **state)
{
    (void)state;
    rf_windows windows = {.seed = 1, .tokens = 100000, .length = 64};
    rf_windows other = {.seed = 2, .tokens = 100000, .length = 64};
    int same_as_other_seed = 0;
    int same_as_next = 0;
    for (int64_t i = 0; i < 200; i++) {
        int64_t start = rf_windows_start(&windows, i);
        assert_int_equal(start, rf_windows_start(&windows, i));
        same_as_other_seed += start == rf_windows_start(&other, i) ? 1 : 0;
        same_as_next += start == rf_windows_start(&windows, i + 1) ? 1 : 0;
    }
    assert_true(same_as_other_seed < 3);
    assert_true(same_as_next < 3);
}

static void a_text_of_one_window_has_one_start(void **state)
{
    (void)state;
    rf_windows windows = {.seed = 9, .tokens = 64, .length = 64};
    for (int64_t i = 0; i < 10; i++) {
        assert_int_equal(rf_windows_start(&windows, i), 0);
        windows.sequential = !windows.sequential;
    }
}

static void sequential_windows_follow_each_other_and_wrap(void **state)
{
    (void)state;
    rf_windows windows = {.seed = 9, .tokens = 35, .length = 10, .sequential = true};
    static const int64_t expected[] = {0, 10, 20, 0, 10, 20, 0};
    for (int64_t i = 0; i < 7; i++) {
        assert_int_equal(rf_windows_start(&windows, i), expected[i]);
    }
}

static void very_long_texts_are_reached_to_their_end(void **state)
{
    (void)state;
    int64_t tokens = INT64_C(1) << 40;
    rf_windows windows = {.seed = 3, .tokens = tokens, .length = 16};
    int64_t highest = 0;
    for (int64_t i = 0; i < 1000; i++) {
        int64_t start = rf_windows_start(&windows, i);
        assert_true(start >= 0 && start <= tokens - 16);
        highest = start > highest ? start : highest;
    }
    assert_true(highest > tokens / 100 * 98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_windows_start_everywhere_equally_often),
        cmocka_unit_test(a_window_depends_on_seed_and_number_only),
        cmocka_unit_test(a_text_of_one_window_has_one_start),
        cmocka_unit_test(sequential_windows_follow_each_other_and_wrap),
        cmocka_unit_test(very_long_texts_are_reached_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
