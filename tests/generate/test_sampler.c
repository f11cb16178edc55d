/* Options of sampling: what is refused, and what the operation is told. */
#include "generate/sampler.h"

#include "support.h"

#include <math.h>
#include <string.h>

static rf_sampling options_with(double temperature)
{
    rf_sampling options;
    rf_sampling_default(&options);
    options.temperature = temperature;
    options.seed = 11;
    return options;
}

static void test_arguments(void **state)
{
    (void)state;
    rf_sampling options = {.temperature = 0.5,
                           .top_k = 7,
                           .top_p = 0.9,
                           .min_p = 0.1,
                           .repetition_penalty = 1.5,
                           .seed = 12};
    rf_sample sample;
    assert_ok(rf_sampler_arguments(&options, &sample, error));
    assert_true(sample.temperature == 0.5 && sample.top_k == 7 && sample.top_p == 0.9);
    assert_true(sample.min_p == 0.1 && sample.repetition_penalty == 1.5 && sample.seed == 12);
    assert_true(rf_tensor_is_absent(&sample.seen));
}

/* So small a temperature is none: dividing by it would leave the range of a float. */
static void test_the_least_temperatures_are_greedy(void **state)
{
    (void)state;
    rf_sample sample;
    rf_sampling options = options_with(1e-21);
    assert_ok(rf_sampler_arguments(&options, &sample, error));
    assert_true(sample.temperature == 0.0);
    options = options_with(1e-20);
    assert_ok(rf_sampler_arguments(&options, &sample, error));
    assert_true(sample.temperature == 1e-20);
}

static void expect_refusal(rf_sampling options, const char *words)
{
    rf_sample sample;
    rf_error error = {0};
    assert_int_equal(rf_sampler_arguments(&options, &sample, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, words));
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
    options.presence_penalty = -1e300;
    expect_refusal(options, "presence penalty is -1e+300");
    options = options_with(1.0);
    options.repetition_penalty = 1e300;
    expect_refusal(options, "repetition penalty is 1e+300");
    options.repetition_penalty = 0.0;
    expect_refusal(options, "repetition penalty is 0");
    options = options_with(1.0);
    options.presence_penalty = (double)INFINITY;
    expect_refusal(options, "presence penalty is inf");
    options = options_with(1.0);
    options.no_repeat_ngram = -3;
    expect_refusal(options, "n-grams of -3 tokens");
}

static void test_bad_biases_are_named(void **state)
{
    (void)state;
    const rf_logit_bias biases[] = {{3, 1.0F}, {10, -2.0F}};
    rf_sampling options = options_with(1.0);
    rf_error fault = {0};
    options.bias = biases;
    options.bias_count = 2;
    assert_ok(rf_sampler_check_bias(&options, 11, error));
    assert_int_equal(rf_sampler_check_bias(&options, 10, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "bias of -2 for token 10"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_the_least_temperatures_are_greedy),
        cmocka_unit_test(test_bad_options_are_named),
        cmocka_unit_test(test_bad_biases_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
