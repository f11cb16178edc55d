/* The plan against what a real step takes, and what the plan promises: memory that grows with
 * length, not with depth. */
#include "support.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <jansson.h>
#include <math.h>
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
    assert_true(two <= planned[0] && two > 0.99 * planned[0]);
    assert_true(twelve <= planned[1] && twelve > 0.99 * planned[1]);
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

/* The purposes make up the peak. */
static void test_the_peak_is_a_sum(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "parameters",       "gradients",          "optimizer", "streams",    "buckets",
        "stream_gradients", "stored_activations", "workspace", "batch_data", "other"};
    json_t *object = plan(2, 512, true);
    double sum = 0.0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        sum += number(object, parts[i]);
    }
    assert_true(sum == number(object, "peak_bytes"));
    json_decref(object);
}

static rf_plan_options options_of(char *text, size_t size)
{
    config_text(text, size, 2);
    return (rf_plan_options){.model_config = text, .batch = 1, .length = 2048, .training = true};
}

/* What fits does, and one token more does not; a limit cuts the work finer. */
static void test_the_longest_length_that_fits(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    rf_error fault = {0};
    rf_plan_options options = options_of(text, sizeof text);
    assert_ok(rf_plan(&options, &report, error));
    json_t *free_plan = parse(report);
    options.fit = 6 << 20;
    assert_ok(rf_plan(&options, &report, error));
    json_t *found = parse(report);
    assert_string_equal(json_string_value(json_object_get(found, "limited_by")), "memory");
    assert_true(number(found, "peak_bytes") <= (double)options.fit);
    options.memory_limit = options.fit;
    options.fit = 0;
    options.length = (int64_t)number(found, "length");
    assert_true(options.length > 100 && options.length < 4096);
    assert_ok(rf_plan(&options, &report, error));
    json_t *same = parse(report);
    assert_true(number(same, "peak_bytes") == number(found, "peak_bytes"));
    assert_true(json_equal(json_object_get(same, "slices"), json_object_get(found, "slices")));
    assert_false(json_equal(json_object_get(same, "slices"), json_object_get(free_plan, "slices")));
    options.length++;
    assert_int_equal(rf_plan(&options, &report, &fault), RF_ERR_MEMORY);
    assert_non_null(strstr(fault.message, "even with 1 head"));
    json_decref(free_plan);
    json_decref(found);
    json_decref(same);
}

static void test_the_largest_batch_and_the_end_of_positions(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    rf_error fault = {0};
    rf_plan_options options = options_of(text, sizeof text);
    options.fit = (uint64_t)64 << 20;
    assert_ok(rf_plan(&options, &report, error));
    json_t *all = parse(report);
    assert_true(number(all, "length") == 4096.0);
    assert_string_equal(json_string_value(json_object_get(all, "limited_by")), "positions");
    options.maximize = "batch";
    options.length = 512;
    assert_ok(rf_plan(&options, &report, error));
    json_t *batch = parse(report);
    assert_true(number(batch, "batch") > 8.0 && number(batch, "length") == 512.0);
    options.fit = 0;
    options.maximize = NULL;
    options.memory_limit = (uint64_t)64 << 20;
    options.batch = (int64_t)number(batch, "batch") + 1;
    assert_int_equal(rf_plan(&options, &report, &fault), RF_ERR_MEMORY);
    assert_non_null(strstr(fault.message, "smaller batch"));
    options.memory_limit = 0;
    options.fit = 1000;
    assert_int_equal(rf_plan(&options, &report, &fault), RF_ERR_MEMORY);
    options.maximize = "depth";
    assert_int_equal(rf_plan(&options, &report, &fault), RF_ERR_ARGUMENT);
    json_decref(all);
    json_decref(batch);
}

/* Adafactor's state is a few numbers a row, with a first moment one a weight more. */
static void test_the_optimizer_is_planned(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    rf_error fault = {0};
    rf_plan_options options = options_of(text, sizeof text);
    double bytes[3];
    for (int i = 0; i < 3; i++) {
        options.optimizer = i == 0 ? "adamw" : "adafactor";
        options.adafactor_beta1 = i == 2 ? 0.9 : 0.0;
        assert_ok(rf_plan(&options, &report, error));
        json_t *object = parse(report);
        bytes[i] = number(object, "optimizer");
        assert_true(i != 0 || bytes[0] >= 8.0 * number(object, "parameter_count"));
        json_decref(object);
    }
    assert_true(bytes[1] < 0.2 * bytes[0]);
    assert_true(bytes[2] < 0.7 * bytes[0] && bytes[2] > 0.5 * bytes[0]);
    options.optimizer = "sgd";
    assert_int_equal(rf_plan(&options, &report, &fault), RF_ERR_ARGUMENT);
}

/* A build without CUDA says so; one with it plans for a GPU that need not be there. */
static void test_a_gpu_is_planned_without_one(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    rf_error fault = {0};
    rf_plan_options options = options_of(text, sizeof text);
    options.device = "cuda";
    rf_status status = rf_plan(&options, &report, &fault);
    if (status == RF_ERR_UNSUPPORTED) {
        assert_non_null(strstr(fault.message, "no CUDA back end"));
        return;
    }
    assert_int_equal(status, RF_OK);
    json_t *object = parse(report);
    assert_string_equal(json_string_value(json_object_get(object, "device")), "cuda");
    assert_true(number(object, "other") >= 0x1p25); /* of the matrix products */
    json_decref(object);
}

/* A step within a limit: measured as planned. */
static void test_a_limit_is_kept(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    config_text(text, sizeof text, 2);
    rf_bench_options options = {.model_config = text,
                                .batch = 1,
                                .length = 2048,
                                .repeats = 1,
                                .optimizer = "adafactor",
                                .memory_limit = 7 << 20};
    assert_ok(rf_bench_step(&options, &report, error));
    json_t *object = parse(report);
    assert_true(number(object, "peak_bytes") <= number(object, "planned_bytes"));
    assert_true(number(object, "peak_bytes") > 0.99 * number(object, "planned_bytes"));
    assert_true(number(object, "planned_bytes") <= (double)options.memory_limit);
    json_decref(object);
    rf_error fault = {0};
    options.memory_limit = 1 << 20;
    assert_int_equal(rf_bench_step(&options, &report, &fault), RF_ERR_MEMORY);
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

/* Work grows with the length; caches hold every token of an LSH layer; each alternative takes less;
 * and the time that a step is said to take is near that of a step. */
static void test_what_stands_beside_the_bytes(void **state)
{
    (void)state;
    json_t *half = plan(2, 2048, true);
    json_t *whole = plan(2, 4096, true);
    double flops = number(whole, "flops") / number(half, "flops");
    double moved = number(whole, "bytes_moved") / number(half, "bytes_moved");
    assert_true(flops > 1.9 && flops < 2.2);
    assert_true(moved > 1.5 && moved < 2.2);
    assert_true(number(whole, "generation_cache") >= 4096.0 * 2 * 2 * 32 * sizeof(float));
    const json_t *list = json_object_get(whole, "alternatives");
    assert_true(json_array_size(list) >= 3);
    for (size_t i = 0; i < json_array_size(list); i++) {
        assert_true(number(json_array_get(list, i), "peak_bytes") < number(whole, "peak_bytes"));
    }
    assert_null(json_object_get(whole, "estimated_seconds"));
    json_decref(half);
    json_decref(whole);
}

static void test_estimated_time(void **state)
{
    (void)state;
    char text[4096];
    char *report = NULL;
    config_text(text, sizeof text, 2);
    rf_plan_options options = {
        .model_config = text, .batch = 1, .length = 4096, .training = true, .estimate = true};
    assert_ok(rf_plan(&options, &report, error));
    json_t *planned = parse(report);
    rf_bench_options real = {.model_config = text, .batch = 1, .length = 4096, .repeats = 3};
    assert_ok(rf_bench_step(&real, &report, error));
    json_t *taken = parse(report);
    double ratio = number(planned, "estimated_seconds") / number(taken, "median_seconds");
    assert_true(ratio > 0.2 && ratio < 5.0); /* a busy machine may change its pace in between */
    assert_true(fabs(number(planned, "flops") / number(taken, "flops") - 1.0) < 0.05);
    json_decref(planned);
    json_decref(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_costs_parameters_only),
        cmocka_unit_test(test_what_stands_beside_the_bytes),
        cmocka_unit_test(test_estimated_time),
        cmocka_unit_test(test_measured_depth_costs_parameters_only),
        cmocka_unit_test(test_memory_is_linear_in_length),
        cmocka_unit_test(test_the_peak_is_a_sum),
        cmocka_unit_test(test_the_longest_length_that_fits),
        cmocka_unit_test(test_the_largest_batch_and_the_end_of_positions),
        cmocka_unit_test(test_the_optimizer_is_planned),
        cmocka_unit_test(test_a_gpu_is_planned_without_one),
        cmocka_unit_test(test_a_limit_is_kept),
        cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
