/* Log-probabilities and the likeliest tokens of given scores. */
#include "generate/scores.h"

#include "support.h"

#include <math.h>

static void test_log_sum(void **state)
{
    (void)state;
    const float scores[] = {1.0F, 2.0F, 3.0F};
    const float high[] = {1000.0F, 1000.0F};
    assert_true(fabs(rf_log_sum(scores, 3) - 3.4076059644443806) < 1e-12);
    assert_true(fabs(rf_log_sum(high, 2) - (1000.0 + log(2.0))) < 1e-9);
    assert_true(isnan(rf_log_sum((const float[]){1.0F, NAN}, 2)));
}

static void test_likeliest(void **state)
{
    (void)state;
    const float scores[] = {0.0F, 3.0F, 1.0F, 3.0F, -2.0F, 2.0F};
    const int32_t order[] = {1, 3, 5, 2, 0, 4};
    rf_likely_token found[8];
    for (int64_t limit = 1; limit <= 6; limit++) {
        rf_likeliest(scores, 6, 10.0, limit, found);
        for (int64_t i = 0; i < limit; i++) {
            assert_int_equal(found[i].id, order[i]);
            assert_true(found[i].log_probability == (double)scores[order[i]] - 10.0);
        }
    }
    found[6].id = 77;
    rf_likeliest(scores, 6, 0.0, 8, found);
    assert_int_equal(found[5].id, 4);
    assert_int_equal(found[6].id, 77); /* there are no more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_log_sum),
                                       cmocka_unit_test(test_likeliest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
