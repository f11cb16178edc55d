/* Curves against depth and length: what reversal loses, how attention grows, and where a curve
 * ends.
 */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/tools.h"
#include "tools/deepen.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char config[] =
    "{\"is_decoder\": true, \"attn_layers\": [\"local\", \"lsh\"], \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"attention_head_size\": 8, \"feed_forward_size\": 24, "
    "\"vocab_size\": 61, \"local_attn_chunk_length\": 16, \"lsh_attn_chunk_length\": 16, "
    "\"num_buckets\": 8, \"axial_pos_shape\": [4, 16], \"axial_pos_embds_dim\": [8, 8], "
    "\"max_position_embeddings\": 64}";

static json_t *parse(char *text)
{
    json_t *report = NULL;
    assert_ok(rf_json_parse_object("report", text, strlen(text), &report, error));
    rf_release(text);
    return report;
}

static double number_at(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static void assert_file(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    if (!rf_file_exists(path)) {
        fail_msg("there is no %s", path);
    }
    rf_release(path);
}

/* Layers go round, positions reach the length, nothing else changes. */
static void test_deepen(void **state)
{
    (void)state;
    char *text = NULL;
    assert_ok(rf_deepen(config, 5, 100, false, &text, error));
    json_t *deep = parse(text);
    const json_t *layers = json_object_get(deep, "attn_layers");
    assert_int_equal(json_array_size(layers), 5);
    assert_string_equal(json_string_value(json_array_get(layers, 3)), "lsh");
    assert_string_equal(json_string_value(json_array_get(layers, 4)), "local");
    assert_int_equal(json_integer_value(json_object_get(deep, "num_hidden_layers")), 5);
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(deep, "axial_pos_shape"), 0)), 7);
    assert_int_equal(json_integer_value(json_object_get(deep, "hidden_size")), 16);
    assert_null(json_object_get(json_object_get(deep, "reformer_c"), "residual"));
    json_decref(deep);
    assert_ok(rf_deepen(config, 2, 100, true, &text, error));
    deep = parse(text);
    const json_t *ours = json_object_get(deep, "reformer_c");
    assert_string_equal(json_string_value(json_object_get(ours, "residual")), "standard");
    assert_string_equal(json_string_value(json_object_get(deep, "model_type")), "reformer_c");
    json_decref(deep);
}

/* Nothing of fixed32, little of float32, more of bf16; and the more layers the more. */
static void test_reversal(void **state)
{
    (void)state;
    const rf_bench_reversal_options options = {.model_config = config,
                                               .batch = 1,
                                               .length = 90,
                                               .deepest = 24,
                                               .repeats = 1,
                                               .threads = 2,
                                               .output = test_folder()};
    char *text = NULL;
    assert_ok(rf_bench_reversal(&options, &text, error));
    json_t *report = parse(text);
    const json_t *depths = json_object_get(report, "depths");
    assert_int_equal(json_array_size(depths), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(depths, i);
        const json_t *streams = json_object_get(row, "streams");
        const json_t *fixed = json_object_get(streams, "fixed32");
        const json_t *single = json_object_get(streams, "float32");
        const json_t *half = json_object_get(streams, "bf16");
        assert_int_equal(json_integer_value(json_object_get(row, "layers")), 6 << i);
        assert_true(number_at(fixed, "largest") == 0.0);
        assert_true(number_at(fixed, "gradient_error") == 0.0);
        assert_true(number_at(single, "rms") > 0.0 && number_at(single, "rms") < 1e-4);
        assert_true(number_at(single, "largest") >= number_at(single, "rms"));
        assert_true(number_at(single, "gradient_error") > 0.0);
        assert_true(number_at(half, "rms") > 10.0 * number_at(single, "rms"));
        assert_true(number_at(half, "gradient_error") > number_at(single, "gradient_error"));
        assert_true(number_at(row, "step_seconds") > number_at(row, "forward_seconds"));
        assert_true(number_at(row, "standard_seconds") > 0.0);
        assert_true(fabs(number_at(row, "standard_ratio") * number_at(row, "standard_seconds") -
                         number_at(row, "step_seconds")) < 1e-9);
    }
    json_decref(report);
    assert_file("reversal.svg");
}

static const rf_bench_scaling_options small = {.tokens = 4096,
                                               .longest = 4096,
                                               .heads = 1,
                                               .head_width = 8,
                                               .hidden = 8,
                                               .chunk = 64,
                                               .causal = true,
                                               .repeats = 1,
                                               .threads = 2};

static json_t *scaling(const rf_bench_scaling_options *options)
{
    char *text = NULL;
    assert_ok(rf_bench_scaling(options, &text, error));
    return parse(text);
}

static void test_scaling(void **state)
{
    (void)state;
    rf_bench_scaling_options options = small;
    options.output = test_folder();
    options.model_config = config;
    json_t *report = scaling(&options);
    const json_t *kinds = json_object_get(report, "kinds");
    assert_int_equal(json_array_size(kinds), 7);
    for (size_t i = 0; i < 7; i++) {
        const json_t *kind = json_array_get(kinds, i);
        const json_t *points = json_object_get(kind, "points");
        assert_int_equal(json_array_size(points), 3);
        assert_true(number_at(json_array_get(points, 1), "length") == 2048.0);
        assert_true(number_at(json_array_get(points, 1), "batch") == 2.0);
        assert_true(number_at(json_array_get(points, 1), "milliseconds") > 0.0);
        assert_true(number_at(json_array_get(points, 2), "peak_bytes") > 4096.0 * 8.0);
        assert_true(json_is_real(json_object_get(kind, "exponent")));
        assert_string_equal(json_string_value(json_object_get(kind, "ended_by")), "length");
    }
    const json_t *layers = json_object_get(report, "by_layers");
    const json_t *shallow = json_array_get(layers, 1);
    const json_t *deep = json_array_get(layers, 6);
    assert_true(number_at(deep, "layers") == 64.0);
    assert_true(number_at(deep, "activation_bytes") < 2.0 * number_at(shallow, "activation_bytes"));
    assert_true(number_at(deep, "stored_bytes") > 8.0 * number_at(shallow, "stored_bytes"));
    assert_int_equal(json_array_size(json_object_get(report, "by_length")), 3);
    json_decref(report);
    static const char *const files[] = {"scaling.json", "scaling-time.svg", "scaling-memory.svg",
                                        "memory-by-layers.svg", "memory-by-length.svg"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_file(files[i]);
    }
}

static void write_curves(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A curve from elsewhere stands in the report and by its name in the picture; nonsense is refused.
 */
static void test_beside(void **state)
{
    (void)state;
    rf_bench_scaling_options options = small;
    char path[512];
    options.output = test_folder();
    options.longest = 1024;
    (void)snprintf(path, sizeof path, "%s/curves.json", options.output);
    options.beside = path;
    write_curves(path, "{\"curves\": [{\"name\": \"another program\", \"points\": [{\"length\": "
                       "1024, \"milliseconds\": 5.5}, {\"length\": 2048, \"milliseconds\": 11, "
                       "\"peak_bytes\": 4096}]}]}");
    json_t *report = scaling(&options);
    const json_t *curve = json_array_get(json_object_get(report, "beside"), 0);
    assert_int_equal(json_array_size(json_object_get(curve, "points")), 2);
    json_decref(report);
    char picture[512];
    char *svg = NULL;
    size_t size = 0;
    (void)snprintf(picture, sizeof picture, "%s/scaling-time.svg", options.output);
    assert_ok(rf_file_read(picture, 1 << 20, &svg, &size, error));
    assert_non_null(strstr(svg, "another program"));
    rf_release(svg);
    static const char *const wrong[] = {
        "{}", "{\"curves\": [{\"name\": \"a\"}]}",
        "{\"curves\": [{\"name\": \"a\", \"points\": [{\"length\": 0, \"milliseconds\": 1}]}]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rf_error reason = {0};
        char *text = NULL;
        write_curves(path, wrong[i]);
        assert_int_equal(rf_bench_scaling(&options, &text, &reason), RF_ERR_FORMAT);
        assert_non_null(strstr(reason.message, "curves.json"));
    }
}

/* What there is no memory or no time for ends the curve. */
static void test_limits(void **state)
{
    (void)state;
    rf_bench_scaling_options options = small;
    options.tokens = 0;
    options.memory_limit = 1000;
    json_t *report = scaling(&options);
    const json_t *kind = json_array_get(json_object_get(report, "kinds"), 0);
    assert_int_equal(json_array_size(json_object_get(kind, "points")), 0);
    assert_true(json_is_null(json_object_get(kind, "exponent")));
    assert_string_equal(json_string_value(json_object_get(kind, "ended_by")), "memory");
    json_decref(report);
    options.memory_limit = 0;
    options.time_limit_seconds = 1e-9;
    report = scaling(&options);
    kind = json_array_get(json_object_get(report, "kinds"), 6);
    assert_int_equal(json_array_size(json_object_get(kind, "points")), 1);
    assert_string_equal(json_string_value(json_object_get(kind, "ended_by")), "time");
    json_decref(report);
}

static void test_refusals(void **state)
{
    (void)state;
    rf_error reason = {0};
    char *text = NULL;
    rf_bench_scaling_options scaling_options = small;
    scaling_options.longest = 512;
    assert_int_equal(rf_bench_scaling(&scaling_options, &text, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "longest 512"));
    rf_bench_reversal_options options = {.batch = 1, .length = 32, .deepest = 6, .repeats = 1};
    assert_int_equal(rf_bench_reversal(&options, &text, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "configuration"));
    options.model_config = config;
    options.deepest = 5;
    assert_int_equal(rf_bench_reversal(&options, &text, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "deepest 5"));
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deepen),   cmocka_unit_test(test_reversal),
        cmocka_unit_test(test_scaling),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
