/* The plan against what a real step takes, and what the plan promises: memory that grows with
 * length, not with depth. */
#include "support.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void config_text(char *text, size_t size, int layers)
{
    char list[1024] = "";
    for (int i = 0; i < layers; i++) {
        (void)strncat(list, i % 2 == 0 ? (i > 0 ? ", \"local\"" : "\"local\"") : ", \"lsh\"",
                      sizeof list - strlen(list) - 1);
    }
    (void)snprintf(
        text, size,
        "{\"model_type\": \"reformer\", \"is_decoder\": true, \"attn_layers\": [%s], "
        "\"hidden_size\": 64, "
        "\"num_attention_heads\": 2, \"attention_head_size\": 32, \"feed_forward_size\": 128, "
        "\"vocab_size\": 258, "
        "\"num_hashes\": 2, \"axial_pos_shape\": [64, 64], \"axial_pos_embds_dim\": [32, 32], "
        "\"num_buckets\": [8, 8]}",
        list);
}

static json_t *parse(char *report)
{
    json_t *object = json_loads(report, 0, NULL);
    assert_non_null(object);
    rf_text_release(report);
    return object;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static json_t *plan(int layers, int64_t length, bool training)
{
    char text[4096];
    char *report = NULL;
    config_text(text, sizeof text, layers);
    rf_plan_options options = {
        .model_config = text, .batch = 1, .length = length, .training = training};
    assert_ok(rf_plan(&options, &report, error));
    return parse(report);
}

/* Twelve layers against two: the difference is the parameters, gradients and moments of ten, to one
 * per cent. */
static void test_depth_costs_parameters_only(void **state)
{
    (void)state;
    json_t *two = plan(2, 4096, true);
    json_t *twelve = plan(12, 4096, true);
    double peaks = number(twelve, "peak_bytes") - number(two, "peak_bytes");
    double parameters = 16.0 * (number(twelve, "parameter_count") - number(two, "parameter_count"));
    assert_true(peaks > 0.99 * parameters && peaks < 1.01 * parameters);
    json_decref(two);
    json_decref(twelve);
}

/* What a step of either depth really takes, by the allocator's high-water mark. */
static double measured_peak(int layers, double *planned)
{
    char text[4096];
    char *report = NULL;
    config_text(text, sizeof text, layers);
    rf_bench_options options = {.model_config = text, .batch = 1, .length = 2048, .repeats = 1};
    assert_ok(rf_bench_step(&options, &report, error));
    json_t *object = parse(report);
    double peak = number(object, "peak_bytes");
    *planned = number(object, "planned_bytes");
    json_decref(object);
    return peak;
}

static void test_measured_depth_costs_parameters_only(void **state)
{
    (void)state;
    double planned[2];
    double two = measured_peak(2, &planned[0]);
    double twelve = measured_peak(12, &planned[1]);
    json_t *small = plan(2, 2048, true);
    json_t *deep = plan(12, 2048, true);
    double parameters = 16.0 * (number(deep, "parameter_count") - number(small, "parameter_count"));
    assert_true(twelve - two > 0.99 * parameters && twelve - two < 1.01 * parameters);
    assert_true(two < 1.02 * planned[0] && two > 0.98 * planned[0]);
    assert_true(twelve < 1.02 * planned[1] && twelve > 0.98 * planned[1]);
    json_decref(small);
    json_decref(deep);
}

static void test_memory_is_linear_in_length(void **state)
{
    (void)state;
    json_t *one = plan(2, 2048, true);
    json_t *two = plan(2, 4096, true);
    assert_true(number(two, "streams") == 2.0 * number(one, "streams"));
    assert_true(number(two, "workspace") < 2.1 * number(one, "workspace"));
    assert_true(number(two, "full_attention_stored_bytes") >
                3.0 * number(one, "full_attention_stored_bytes"));
    json_decref(one);
    json_decref(two);
    json_t *evaluation = plan(2, 4096, false);
    assert_true(number(evaluation, "gradients") == 0.0 && number(evaluation, "optimizer") == 0.0);
    json_decref(evaluation);
}

static void test_bad_requests(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    rf_error error = {0};
    config_text(text, sizeof text, 2);
    rf_plan_options options = {.model_config = text, .batch = 1, .length = 4097, .training = true};
    assert_int_equal(rf_plan(&options, &report, &error), RF_ERR_CONFIG);
    assert_non_null(strstr(error.message, "4096"));
    options.length = 0;
    assert_int_equal(rf_plan(&options, &report, &error), RF_ERR_ARGUMENT);
    options.model = "a folder as well";
    assert_int_equal(rf_plan(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "not both"));
    assert_null(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_costs_parameters_only),
        cmocka_unit_test(test_measured_depth_costs_parameters_only),
        cmocka_unit_test(test_memory_is_linear_in_length),
        cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
