/* The sampler: who may be drawn, how often, and what is refused. */
#include "generate/sampler.h"

#include "support.h"

#include <math.h>
#include <string.h>

enum { VOCABULARY = 6, DRAWS = 20000 };

static const float scores[VOCABULARY] = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F, -3.0F};
static const uint8_t nothing_seen[VOCABULARY] = {0};

static rf_sampling options_with(double temperature)
{
    rf_sampling options;
    rf_sampling_default(&options);
    options.temperature = temperature;
    options.seed = 11;
    return options;
}

static void count_draws(const rf_sampling *options, const uint8_t *seen, int64_t counts[VOCABULARY])
{
    rf_sampler sampler;
    assert_ok(rf_sampler_init(&sampler, options, VOCABULARY, error));
    memset(counts, 0, VOCABULARY * sizeof *counts);
    for (int64_t number = 0; number < DRAWS; number++) {
        int32_t token = -1;
        assert_ok(rf_sampler_next(&sampler, scores, seen, 0, number, &token, error));
        assert_in_range(token, 0, VOCABULARY - 1);
        counts[token]++;
    }
    rf_sampler_clear(&sampler);
}

/* Draws must look like softmax(scores / temperature) over the kept tokens: within five standard
 * deviations each. */
static void check_distribution(const rf_sampling *options, const uint8_t *seen,
                               const float *expected_scores, unsigned kept)
{
    int64_t counts[VOCABULARY];
    count_draws(options, seen, counts);
    double total = 0.0;
    for (int i = 0; i < VOCABULARY; i++) {
        total +=
            (kept >> i & 1U) != 0 ? exp((double)expected_scores[i] / options->temperature) : 0.0;
    }
    for (int i = 0; i < VOCABULARY; i++) {
        double p = (kept >> i & 1U) != 0
                       ? exp((double)expected_scores[i] / options->temperature) / total
                       : 0.0;
        double deviation = sqrt(p * (1.0 - p) * DRAWS);
        assert_true(fabs((double)counts[i] - p * DRAWS) <= 5.0 * deviation);
    }
}

static void test_temperature(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0);
    check_distribution(&options, nothing_seen, scores, 0x3F);
    options.temperature = 0.5;
    check_distribution(&options, nothing_seen, scores, 0x3F);
    options.temperature = 3.0;
    check_distribution(&options, nothing_seen, scores, 0x3F);
}

static void test_zero_temperature_takes_the_lowest_of_the_best(void **state)
{
    (void)state;
    rf_sampling options = options_with(0.0);
    int64_t counts[VOCABULARY];
    count_draws(&options, nothing_seen, counts);
    assert_int_equal(counts[1], DRAWS);
}

static void test_top_k(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0);
    options.top_k = 3;
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.top_k = 1; /* 1 and 3 are equal: the lower one */
    check_distribution(&options, nothing_seen, scores, 0x02);
    options.top_k = 100;
    check_distribution(&options, nothing_seen, scores, 0x3F);
}

static void test_top_p(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0); /* falling: 0.378 0.378 0.139 0.084 0.019 0.003 */
    options.top_p = 0.7;
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.top_p = 0.8;
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.top_p = 0.97;
    check_distribution(&options, nothing_seen, scores, 0x1B);
    options.top_p = 1e-9;
    check_distribution(&options, nothing_seen, scores, 0x02);
}

static void test_top_p_counts_what_top_k_left(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0);
    options.top_k = 3;
    options.top_p = 0.84; /* 0.4224 + 0.4224 of the three that are left */
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.top_p = 0.85;
    check_distribution(&options, nothing_seen, scores, 0x1A);
}

static void test_min_p(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0);
    options.min_p = 0.3; /* exp(1 - 2) = 0.368, exp(0.5 - 2) = 0.223 */
    check_distribution(&options, nothing_seen, scores, 0x1A);
    options.min_p = 1.0;
    check_distribution(&options, nothing_seen, scores, 0x0A);
    options.temperature = 10.0;
    options.min_p = 0.7; /* exp(-3 / 10) = 0.74, exp(-5 / 10) = 0.61 */
    check_distribution(&options, nothing_seen, scores, 0x1F);
}

static void test_repetition_penalty(void **state)
{
    (void)state;
    const uint8_t seen[VOCABULARY] = {0, 1, 1, 0, 0, 0};
    const float punished[VOCABULARY] = {0.5F, 1.0F, -2.0F, 2.0F, 1.0F, -3.0F};
    rf_sampling options = options_with(1.0);
    options.repetition_penalty = 2.0;
    check_distribution(&options, seen, punished, 0x3F);
    options.temperature = 0.0;
    int64_t counts[VOCABULARY];
    count_draws(&options, seen, counts);
    assert_int_equal(counts[3], DRAWS);
}

static void test_draws_depend_on_seed_sample_and_number_only(void **state)
{
    (void)state;
    rf_sampling options = options_with(1.0);
    rf_sampler sampler;
    assert_ok(rf_sampler_init(&sampler, &options, VOCABULARY, error));
    int32_t first[64];
    int same_sample = 0;
    for (int64_t i = 0; i < 64; i++) {
        assert_ok(rf_sampler_next(&sampler, scores, nothing_seen, 1, i, &first[i], error));
    }
    for (int64_t i = 63; i >= 0; i--) {
        int32_t again = -1;
        int32_t other = -1;
        assert_ok(rf_sampler_next(&sampler, scores, nothing_seen, 1, i, &again, error));
        assert_ok(rf_sampler_next(&sampler, scores, nothing_seen, 2, i, &other, error));
        assert_int_equal(again, first[i]);
        same_sample += other == first[i];
    }
    assert_true(same_sample < 48);
    rf_sampler_clear(&sampler);
}

static void expect_refusal(rf_sampling options, const char *words)
{
    rf_sampler sampler;
    rf_error error = {0};
    assert_int_equal(rf_sampler_init(&sampler, &options, VOCABULARY, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, words));
    rf_sampler_clear(&sampler);
}

static void test_bad_options_are_named(void **state)
{
    (void)state;
    rf_sampling options = options_with(-1.0);
    expect_refusal(options, "temperature is -1");
    expect_refusal(options_with((double)NAN), "temperature is nan");
    options = options_with(1.0);
    options.top_k = -2;
    expect_refusal(options, "top-k is -2");
    options = options_with(1.0);
    options.top_p = 0.0;
    expect_refusal(options, "top-p is 0");
    options.top_p = 1.5;
    expect_refusal(options, "top-p is 1.5");
    options = options_with(1.0);
    options.min_p = 1.5;
    expect_refusal(options, "min-p is 1.5");
    options = options_with(1.0);
    options.repetition_penalty = 0.0;
    expect_refusal(options, "repetition penalty is 0");
}

static void test_scores_that_are_not_numbers(void **state)
{
    (void)state;
    rf_sampling options = options_with(0.0);
    rf_sampler sampler;
    assert_ok(rf_sampler_init(&sampler, &options, 3, error));
    const float broken[3] = {0.0F, 1.0F, NAN};
    rf_error error = {0};
    int32_t token = -1;
    assert_int_equal(rf_sampler_next(&sampler, broken, nothing_seen, 0, 0, &token, &error),
                     RF_ERR_NUMERIC);
    assert_non_null(strstr(error.message, "token 2"));
    rf_sampler_clear(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_zero_temperature_takes_the_lowest_of_the_best),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p),
        cmocka_unit_test(test_top_p_counts_what_top_k_left),
        cmocka_unit_test(test_min_p),
        cmocka_unit_test(test_repetition_penalty),
        cmocka_unit_test(test_draws_depend_on_seed_sample_and_number_only),
        cmocka_unit_test(test_bad_options_are_named),
        cmocka_unit_test(test_scores_that_are_not_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
