/* `bench attention` on the CPU: what its report holds, that its memory is as small as groups of
 * heads make it, and what it refuses. The times are a clock's; only their order is looked at. */
#include "support.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <jansson.h>
#include <string.h>

static const rf_bench_attention_options small = {.length = 200,
                                                 .batch = 2,
                                                 .heads = 4,
                                                 .head_width = 16,
                                                 .hidden = 24,
                                                 .chunk = 16,
                                                 .rounds = 3,
                                                 .before = 1,
                                                 .causal = true,
                                                 .repeats = 3,
                                                 .warmup = 1,
                                                 .device = "cpu",
                                                 .threads = 1};

static json_t *run(const rf_bench_attention_options *options)
{
    char *text = NULL;
    assert_ok(rf_bench_attention(options, &text, error));
    json_t *report = json_loads(text, 0, NULL);
    assert_non_null(report);
    rf_text_release(text);
    return report;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void assert_spread(const json_t *report, const char *key)
{
    const json_t *spread = json_object_get(report, key);
    assert_true(number(spread, "min") > 0.0);
    assert_true(number(spread, "min") <= number(spread, "median"));
    assert_true(number(spread, "median") <= number(spread, "max"));
}

/* Every semantics runs, forward and backward, and says which it is. */
static void test_semantics(void **state)
{
    static const char *const names[] = {"hf", "exact", "same-bucket", "paper", "whole-buckets"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        rf_bench_attention_options options = small;
        options.semantics = names[i];
        options.dropout = i % 2 == 0 ? 0.0 : 0.25;
        json_t *report = run(&options);
        assert_string_equal(json_string_value(json_object_get(report, "semantics")), names[i]);
        assert_true(number(json_object_get(report, "stages_ms"), "attention_backward") > 0.0);
        json_decref(report);
    }
}

static void test_lsh(void **state)
{
    static const char *const stages[] = {"projections",         "hash",    "sort",
                                         "attention",           "combine", "attention_backward",
                                         "projections_backward"};
    (void)state;
    json_t *report = run(&small);
    assert_string_equal(json_string_value(json_object_get(report, "kind")), "lsh");
    assert_string_equal(json_string_value(json_object_get(report, "precision")), "f32");
    assert_true(number(report, "rounds") == 3.0);
    assert_true(number(report, "buckets") == 16.0); /* of 13 chunks */
    assert_spread(report, "forward_ms");
    assert_spread(report, "forward_backward_ms");
    const json_t *times = json_object_get(report, "stages_ms");
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        assert_true(number(times, stages[i]) > 0.0);
    }
    json_decref(report);
}

static void test_local_forward(void **state)
{
    (void)state;
    rf_bench_attention_options options = small;
    options.kind = "local";
    options.precision = "bf16";
    options.forward_only = true;
    json_t *report = run(&options);
    assert_string_equal(json_string_value(json_object_get(report, "precision")), "bf16");
    assert_null(json_object_get(report, "forward_backward_ms"));
    assert_null(json_object_get(report, "rounds"));
    const json_t *times = json_object_get(report, "stages_ms");
    assert_null(json_object_get(times, "hash"));
    assert_null(json_object_get(times, "attention_backward"));
    assert_true(number(times, "attention") > 0.0);
    json_decref(report);
}

/* Groups of heads, of which the last may be smaller, take less memory than all heads at once. */
static void test_groups_take_less(void **state)
{
    (void)state;
    rf_bench_attention_options options = small;
    json_t *all = run(&options);
    options.heads_at_a_time = 3;
    json_t *some = run(&options);
    options.heads_at_a_time = 1;
    json_t *one = run(&options);
    /* Four heads of 16 of 400 tokens: the outputs of three rounds alone are 400 x 64 x 3 floats. */
    assert_true(number(all, "peak_bytes") > 400.0 * 64.0 * 3.0 * 4.0);
    assert_true(number(some, "peak_bytes") < number(all, "peak_bytes"));
    assert_true(number(one, "peak_bytes") < number(some, "peak_bytes"));
    json_decref(all);
    json_decref(some);
    json_decref(one);
}

static void test_refusals(void **state)
{
    (void)state;
    char *report = NULL;
    rf_error error = {0};
    rf_bench_attention_options options = small;
    options.length = 16;
    assert_int_equal(rf_bench_attention(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "length is 16, expected 17"));
    options = small;
    options.heads_at_a_time = 5;
    assert_int_equal(rf_bench_attention(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "heads_at_a_time"));
    options = small;
    options.kind = "global";
    assert_int_equal(rf_bench_attention(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "expected lsh, local, full or full_shared"));
    options = small;
    options.semantics = "trax";
    assert_int_equal(rf_bench_attention(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "expected hf, exact, same-bucket, paper"));
    options = small;
    options.dropout = 1.0;
    assert_int_equal(rf_bench_attention(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "dropout is 1"));
    assert_null(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lsh),           cmocka_unit_test(test_semantics),
        cmocka_unit_test(test_local_forward), cmocka_unit_test(test_groups_take_less),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
