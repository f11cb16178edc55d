/* What follows from a configuration: padded and longest lengths, bucket counts, the automatic rule.
 */
#include "config_support.h"

#include <stdio.h>
#include <string.h>

/* ---- lengths ----------------------------------------------------------------------------- */

static void test_padded_length(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        int64_t length, padded;
    } cases[] = {
        {"{}", 5, 5},
        {"{}", 16, 16},
        {"{}", 17, 32},
        {"{}", 96, 96},
        {"{}", 97, 112},
        {"{}", 120, 128},
        {"{}", 128, 128},
        {"{\"lsh_attn_chunk_length\": 8}", 8, 8},
        {"{\"lsh_attn_chunk_length\": 8}", 9, 16},
        {"{\"lsh_attn_chunk_length\": 8}", 24, 32},
        {"{\"lsh_attn_chunk_length\": 24}", 16, 16},
        {"{\"lsh_attn_chunk_length\": 24}", 17, 48},
        {"{\"lsh_attn_chunk_length\": 24}", 49, 96},
        {"{\"attn_layers\": [\"lsh\"], \"lsh_attn_chunk_length\": 24}", 25, 48},
        {"{\"attn_layers\": [\"lsh\"], \"lsh_attn_chunk_length\": 24}", 17, 17},
        {"{\"attn_layers\": [\"local\"], \"lsh_attn_chunk_length\": null}", 33, 48},
        {"{\"attn_layers\": [\"lsh\"], \"local_attn_chunk_length\": null}", 33, 48},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = make_config(cases[i].change);
        assert_int_equal(rf_config_padded_length(&config, cases[i].length), cases[i].padded);
        rf_config_clear(&config);
    }
}

static void test_max_length(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        int64_t most;
        const char *word;
    } cases[] = {
        {"{}", 128, "axial_pos_shape [8, 16] has 128"},
        {"{\"axial_pos_shape\": [4, 4]}", 16, "axial_pos_shape [4, 4] has 16"},
        {"{\"axial_pos_embds\": false}", 128, "max_position_embeddings is 128"},
        {"{\"axial_pos_shape\": [65536, 65536]}", 2147483647, "axial_pos_shape [65536, 65536]"},
        {"{\"model_type\": \"(absent)\", \"reformer_c\": {\"position_kind\": \"sinusoidal\"}}",
         2147483647, "2147483647"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_error error = {0};
        rf_config config = make_config(cases[i].change);
        assert_int_equal(rf_config_max_length(&config), cases[i].most);
        assert_int_equal(rf_config_check_length(&config, cases[i].most, NULL), RF_OK);
        assert_int_equal(rf_config_check_length(&config, 0, NULL), RF_ERR_CONFIG);
        assert_int_equal(rf_config_check_length(&config, cases[i].most + 1, &error), RF_ERR_CONFIG);
        assert_non_null(strstr(error.message, cases[i].word));
        rf_config_clear(&config);
    }
}

/* ---- buckets ----------------------------------------------------------------------------- */

static void test_automatic_buckets(void **state)
{
    (void)state;
    static const struct {
        int64_t length, chunk, most, first, second;
    } cases[] = {
        {128, 64, 4096, 4, 0},      {192, 64, 4096, 4, 0},          {320, 64, 4096, 8, 0},
        {4096, 64, 4096, 128, 0},   {8192, 64, 8192, 16, 16},       {16384, 64, 16384, 16, 32},
        {65536, 64, 65536, 32, 64}, {524288, 64, 524288, 128, 128}, {65536, 256, 65536, 512, 0},
        {32, 4, 32, 4, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char change[256];
        heard said = {0};
        rf_log log = {.write = hear, .user = &said};
        (void)snprintf(
            change, sizeof change,
            "{\"attn_layers\": [\"lsh\"], \"num_buckets\": null, \"lsh_attn_chunk_length\": %d,"
            " \"max_position_embeddings\": %d}",
            (int)cases[i].chunk, (int)cases[i].most);
        rf_config config = make_config(change);
        assert_ok(rf_config_resolve_buckets(&config, cases[i].length, &log, error));
        assert_int_equal(config.bucket_factors, cases[i].second > 0 ? 2 : 1);
        assert_int_equal(config.buckets[0], cases[i].first);
        assert_int_equal(config.buckets[1], cases[i].second);
        assert_int_equal(said.lines, 1);
        assert_non_null(strstr(said.text, "num_buckets"));
        assert_true(config.buckets_automatic);
        int64_t second = cases[i].second;
        assert_int_equal(rf_config_bucket_count(&config),
                         cases[i].first * (second > 0 ? second : 1));
        assert_int_equal(rf_config_rotation_columns(&config), (cases[i].first + second) / 2);
        /* once: another length changes nothing */
        assert_ok(rf_config_resolve_buckets(&config, 64 * cases[i].length, &log, error));
        assert_int_equal(config.buckets[0], cases[i].first);
        assert_int_equal(said.lines, 1);
        rf_config_clear(&config);
    }
}

static void test_buckets_left_alone(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        int64_t length;
        int factors;
    } cases[] = {
        {"{\"num_buckets\": null}", 16, 0}, /* one chunk: nothing is hashed */
        {"{\"num_buckets\": null, \"lsh_attn_chunk_length\": 24}", 16,
         0}, /* shorter than every chunk */
        {"{\"num_buckets\": null, \"attn_layers\": [\"local\"]}", 128, 0},
        {"{\"num_buckets\": null}", 17, 1}, /* padded to 32: two chunks */
        {"{\"num_buckets\": [4, 2]}", 128, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = make_config(cases[i].change);
        assert_ok(rf_config_resolve_buckets(&config, cases[i].length, NULL, error));
        assert_int_equal(config.bucket_factors, cases[i].factors);
        rf_config_clear(&config);
    }
}

/* Chosen at the training length, written, read again and used at other lengths. */
static void test_buckets_are_kept(void **state)
{
    (void)state;
    rf_config config = make_config(
        "{\"num_buckets\": null, \"lsh_attn_chunk_length\": 64, \"local_attn_chunk_length\": 64,"
        " \"max_position_embeddings\": 16384, \"axial_pos_shape\": [128, 128]}");
    json_t *object = NULL;
    assert_ok(rf_config_resolve_buckets(&config, 4096, NULL, error));
    config.training_length = 4096;
    assert_ok(rf_config_to_json(&config, &object, error));
    rf_config_clear(&config);
    assert_int_equal(json_integer_value(json_object_get(object, "num_buckets")), 128);
    for (int64_t length = 200; length <= 16384; length += 16184) {
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &config, error));
        assert_ok(rf_config_resolve_buckets(&config, length, NULL, error));
        assert_int_equal(rf_config_bucket_count(&config), 128);
        assert_int_equal(config.training_length, 4096);
        assert_true(config.buckets_automatic);
        rf_config_clear(&config);
    }
    json_decref(object);
}

static void test_set_buckets(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "seven",
                                        "8,",
                                        ",8",
                                        "8 ",
                                        "-8",
                                        "8,,8",
                                        "99999999999999999999",
                                        "2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2"};
    rf_config config = make_config("{}");
    assert_ok(rf_config_set_buckets(&config, "64,128", error));
    assert_int_equal(rf_config_bucket_count(&config), 8192);
    assert_ok(rf_config_set_buckets(&config, "64", error));
    assert_int_equal(rf_config_bucket_count(&config), 64);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(rf_config_set_buckets(&config, wrong[i], NULL), RF_ERR_ARGUMENT);
    }
    assert_int_equal(rf_config_set_buckets(&config, "6,7", NULL), RF_ERR_CONFIG);
    assert_int_equal(rf_config_set_buckets(&config, "0", NULL), RF_ERR_CONFIG);
    assert_int_equal(rf_config_bucket_count(&config), 64);
    assert_ok(rf_config_set_buckets(&config, "auto", error));
    assert_int_equal(config.bucket_factors, 0);
    rf_config_clear(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padded_length),     cmocka_unit_test(test_max_length),
        cmocka_unit_test(test_automatic_buckets), cmocka_unit_test(test_buckets_left_alone),
        cmocka_unit_test(test_buckets_are_kept),  cmocka_unit_test(test_set_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
