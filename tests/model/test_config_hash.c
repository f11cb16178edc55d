/* What only we have about hashing: read, refused in words, written back. */
#include "config_support.h"

#include <string.h>

static const struct refused {
    const char *change;
    rf_status status;
    const char *words[2];
} refused[] = {
    {"{\"reformer_c\": {\"lsh_hash\": \"cosine\"}}",
     RF_ERR_FORMAT,
     {"reformer_c.lsh_hash is \"cosine\"", "\"angular\" or \"hyperplane\""}},
    {"{\"reformer_c\": {\"lsh_hash\": 1}}", RF_ERR_FORMAT, {"lsh_hash is 1"}},
    {"{\"reformer_c\": {\"lsh_hash\": \"hyperplane\"}}",
     RF_ERR_CONFIG,
     {"model_type is \"reformer\"", "\"hyperplane\""}},
    {"{\"model_type\": \"reformer_c\", \"num_buckets\": [4, 6], \"reformer_c\": {\"lsh_hash\": "
     "\"hyperplane\"}}",
     RF_ERR_CONFIG,
     {"num_buckets [4, 6] has the factor 6", "use 4 or 8"}},
    {"{\"reformer_c\": {\"lsh_hash_dropout\": 1}}", RF_ERR_FORMAT, {"lsh_hash_dropout is 1"}},
    {"{\"reformer_c\": {\"lsh_hash_dropout\": -0.5}}", RF_ERR_FORMAT, {"lsh_hash_dropout is -0.5"}},
    {"{\"reformer_c\": {\"lsh_rotations\": \"new\"}}",
     RF_ERR_FORMAT,
     {"lsh_rotations is \"new\"", "\"fresh\" or \"fixed\""}},
    {"{\"hash_seed\": 3, \"reformer_c\": {\"lsh_rotations\": \"fixed\"}}",
     RF_ERR_CONFIG,
     {"hash_seed is 3", "lsh_rotations is \"fixed\""}},
    {"{\"hash_seed\": null, \"reformer_c\": {\"lsh_rotations_seed\": 3}}",
     RF_ERR_CONFIG,
     {"lsh_rotations_seed", "\"fixed\""}},
    {"{\"hash_seed\": null, \"reformer_c\": {\"lsh_rotations\": \"fixed\", "
     "\"lsh_rotations_seed\": -1}}",
     RF_ERR_FORMAT,
     {"lsh_rotations_seed is -1"}},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused *test = &refused[i];
        rf_config config;
        rf_error error = {0};
        rf_status status =
            parse_changed_config(test->change, RF_CONFIG_OURS, NULL, &config, &error);
        if (status != test->status) {
            fail_msg("%s: status %d, message: %s", test->change, (int)status, error.message);
        }
        for (int w = 0; w < 2 && test->words[w] != NULL; w++) {
            if (strstr(error.message, test->words[w]) == NULL) {
                fail_msg("%s: \"%s\" is not in: %s", test->change, test->words[w], error.message);
            }
        }
    }
}

static void test_defaults(void **state)
{
    (void)state;
    rf_config config = make_config("{}");
    json_t *object = NULL;
    assert_int_equal(config.hash_kind, RF_HASH_ANGULAR);
    assert_true(config.hash_dropout == 0.0);
    assert_false(config.fixed_rotations);
    assert_ok(rf_config_to_json(&config, &object, error));
    const json_t *ours = json_object_get(object, "reformer_c");
    assert_null(json_object_get(ours, "lsh_hash"));
    assert_null(json_object_get(ours, "lsh_hash_dropout"));
    assert_null(json_object_get(ours, "lsh_rotations"));
    json_decref(object);
    rf_config_clear(&config);
}

static void test_written_back(void **state)
{
    (void)state;
    rf_config config = make_config(
        "{\"model_type\": \"reformer_c\", \"num_buckets\": [4, 8], \"hash_seed\": null, "
        "\"reformer_c\": {\"lsh_hash\": \"hyperplane\", \"lsh_hash_dropout\": 0.125, "
        "\"lsh_rotations\": \"fixed\", \"lsh_rotations_seed\": 12}}");
    json_t *object = NULL;
    assert_int_equal(rf_config_rotation_columns(&config), 5);
    assert_int_equal(rf_config_bucket_count(&config), 32);
    assert_int_equal(rf_config_set_buckets(&config, "12", NULL), RF_ERR_CONFIG);
    assert_ok(rf_config_set_buckets(&config, "16", error));
    assert_ok(rf_config_to_json(&config, &object, error));
    assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer_c");
    rf_config_clear(&config);
    assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &config, error));
    assert_int_equal(config.hash_kind, RF_HASH_HYPERPLANE);
    assert_true(config.hash_dropout == 0.125);
    assert_true(config.fixed_rotations);
    assert_int_equal(config.rotations_seed, 12);
    assert_int_equal(rf_config_rotation_columns(&config), 4);
    json_decref(object);
    rf_config_clear(&config);
}

/* Dropout and rotations are of training: the files are read by transformers all the same. */
static void test_model_type(void **state)
{
    (void)state;
    rf_config config =
        make_config("{\"hash_seed\": null, \"reformer_c\": {\"lsh_hash_dropout\": 0.1, "
                    "\"lsh_rotations\": \"fixed\"}}");
    json_t *object = NULL;
    assert_ok(rf_config_to_json(&config, &object, error));
    assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer");
    json_decref(object);
    rf_config_clear(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_written_back),
        cmocka_unit_test(test_model_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
