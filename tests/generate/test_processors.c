/* Rules on scores against numbers worked out by hand, and their definitions in transformers. */
#include "generate/processors.h"

#include "support.h"

#include <math.h>

enum { VOCABULARY = 6 };

static const int32_t text[] = {1, 2, 3, 1, 2, 4, 1, 2}; /* the first five are the prompt's */
static const rf_context_tokens context = {text, 8, 5};
static const float start[VOCABULARY] = {1.0F, 2.0F, -3.0F, 0.5F, -1.0F, 4.0F};

static rf_sampling nothing(void)
{
    rf_sampling sampling;
    rf_sampling_default(&sampling);
    return sampling;
}

static void check(const rf_sampling *sampling, const float expected[VOCABULARY])
{
    float scores[VOCABULARY];
    int32_t counts[VOCABULARY];
    for (int i = 0; i < VOCABULARY; i++) {
        scores[i] = start[i];
    }
    rf_processors_apply(sampling, &context, VOCABULARY, scores, counts);
    for (int i = 0; i < VOCABULARY; i++) {
        bool is_same = scores[i] == expected[i] || fabsf(scores[i] - expected[i]) < 1e-6F;
        if (!is_same) {
            fail_msg("score %d is %g, expected %g", i, (double)scores[i], (double)expected[i]);
        }
    }
}

static void test_nothing_changes_nothing(void **state)
{
    (void)state;
    rf_sampling sampling = nothing();
    assert_false(rf_processors_need_host(&sampling));
    check(&sampling, start);
}

/* Everything in the context counts, once. */
static void test_repetition(void **state)
{
    (void)state;
    rf_sampling sampling = nothing();
    sampling.repetition_penalty = 2.0;
    assert_false(rf_processors_need_host(&sampling)); /* the device has that one */
    check(&sampling, (const float[]){1.0F, 1.0F, -6.0F, 0.25F, -2.0F, 4.0F});
}

/* New tokens are 4, 1, 2: the prompt's do not count. */
static void test_presence_and_frequency(void **state)
{
    (void)state;
    const int32_t again[] = {1, 2, 3, 1, 2, 4, 1, 1};
    rf_sampling sampling = nothing();
    float scores[VOCABULARY] = {0};
    int32_t counts[VOCABULARY];
    sampling.presence_penalty = 0.5;
    assert_true(rf_processors_need_host(&sampling));
    check(&sampling, (const float[]){1.0F, 1.5F, -3.5F, 0.5F, -1.5F, 4.0F});
    sampling.frequency_penalty = 0.25;
    check(&sampling, (const float[]){1.0F, 1.25F, -3.75F, 0.5F, -1.75F, 4.0F});
    rf_processors_apply(&sampling, &(rf_context_tokens){again, 8, 5}, VOCABULARY, scores, counts);
    assert_true(scores[1] == -1.0F && scores[4] == -0.75F && scores[2] == 0.0F);
}

static void test_no_repeat(void **state)
{
    (void)state;
    rf_sampling sampling = nothing();
    sampling.no_repeat_ngram = 3; /* 1 2 came before 3 and before 4 */
    assert_true(rf_processors_need_host(&sampling));
    check(&sampling, (const float[]){1.0F, 2.0F, -3.0F, -INFINITY, -INFINITY, 4.0F});
    sampling.no_repeat_ngram = 4; /* 4 1 2 has not come before */
    check(&sampling, start);
    sampling.no_repeat_ngram = 1; /* no token twice */
    check(&sampling, (const float[]){1.0F, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 4.0F});
    sampling.no_repeat_ngram = 9; /* longer than the text */
    check(&sampling, start);
    sampling.no_repeat_ngram = 8; /* as long */
    check(&sampling, start);
}

/* Bias first: the penalty divides what it has become. */
static void test_bias_and_order(void **state)
{
    (void)state;
    const rf_logit_bias bias[] = {{1, 6.0F}, {0, -2.5F}, {1, -4.0F}, {3, -1.0F}};
    rf_sampling sampling = nothing();
    sampling.bias = bias;
    sampling.bias_count = 4;
    assert_true(rf_processors_need_host(&sampling));
    check(&sampling, (const float[]){-1.5F, 4.0F, -3.0F, -0.5F, -1.0F, 4.0F});
    sampling.repetition_penalty = 2.0;
    sampling.presence_penalty = 0.5;
    check(&sampling, (const float[]){-1.5F, 1.5F, -6.5F, -1.0F, -2.5F, 4.0F});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_changes_nothing), cmocka_unit_test(test_repetition),
        cmocka_unit_test(test_presence_and_frequency),  cmocka_unit_test(test_no_repeat),
        cmocka_unit_test(test_bias_and_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
