/* What generation_config.json says: read as defaults, refused where it makes no sense, kept where
 * the model is saved. */
#include "collector.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/reformer-defaults-XXXXXX";

static void path_of(const char *name, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
}

/* A model whose folder has this generation_config.json. */
static rf_model *load_with(const char *text)
{
    char path[128];
    rf_model *model = NULL;
    path_of("generation_config.json", path);
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    assert_ok(rf_model_load(folder, &(rf_model_options){.device = "cpu", .precision = "f32"},
                            &model, error));
    return model;
}

static rf_generate_options defaults_of(const char *text)
{
    rf_generate_options options;
    rf_model *model = load_with(text);
    assert_ok(rf_generate_defaults(model, &options, error));
    rf_model_destroy(model);
    return options;
}

static void test_nothing_said(void **state)
{
    (void)state;
    rf_generate_options options = defaults_of("{\"use_cache\": true, \"num_beams\": null}");
    assert_int_equal(options.max_new_tokens, 256);
    assert_int_equal(options.max_length, 0);
    assert_true(options.sampling.temperature == 1.0 && options.sampling.top_p == 1.0);
    assert_int_equal(options.sampling.top_k, 0);
    assert_true(options.beams == 1 && options.samples == 1 && options.length_penalty == 1.0);
    assert_int_equal(options.end_token_count, 0);
}

static void test_everything_said(void **state)
{
    (void)state;
    rf_generate_options options = defaults_of(
        "{\"do_sample\": true, \"temperature\": 0.7, \"top_k\": 12, \"top_p\": 0.9, \"min_p\": "
        "0.05, \"repetition_penalty\": 1.2, \"no_repeat_ngram_size\": 3, \"max_new_tokens\": 40, "
        "\"max_length\": 7, \"num_beams\": 4, \"num_return_sequences\": 2, \"length_penalty\": "
        "-0.5, \"early_stopping\": \"never\", \"eos_token_id\": [0, 1, 300], \"pad_token_id\": 0, "
        "\"of_another_program\": {}}");
    assert_true(options.sampling.temperature == 0.7 && options.sampling.top_p == 0.9);
    assert_true(options.sampling.min_p == 0.05 && options.sampling.repetition_penalty == 1.2);
    assert_true(options.sampling.top_k == 12 && options.sampling.no_repeat_ngram == 3);
    assert_true(options.max_new_tokens == 40 && options.max_length == 0);
    assert_true(options.beams == 4 && options.samples == 2 && options.length_penalty == -0.5);
    assert_int_equal(options.early_stopping, RF_EARLY_STOPPING_NEVER);
    assert_int_equal(options.end_token_count, 2); /* the model has no token 300 */
    assert_true(options.end_tokens[0] == 0 && options.end_tokens[1] == 1);
}

static void test_meanings(void **state)
{
    (void)state;
    rf_generate_options options =
        defaults_of("{\"do_sample\": false, \"temperature\": 0.7, \"top_k\": 12}");
    assert_true(options.sampling.temperature == 0.0 && options.sampling.top_k == 0);
    options = defaults_of("{\"do_sample\": true}");
    assert_true(options.sampling.temperature == 1.0 && options.sampling.top_k == 50);
    options = defaults_of("{\"max_length\": 30, \"early_stopping\": true}");
    assert_true(options.max_length == 30 && options.max_new_tokens == 30);
    assert_int_equal(options.early_stopping, RF_EARLY_STOPPING_ON);
    options = defaults_of("{\"eos_token_id\": 35}"); /* an ordinary byte of this model */
    assert_int_equal(options.end_token_count, 0);
    options = defaults_of("{\"eos_token_id\": 1}");
    assert_true(options.end_token_count == 1 && options.end_tokens[0] == 1);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"{\"temperature\": -1}", "temperature"},
        {"{\"top_k\": 1.5}", "top_k"},
        {"{\"do_sample\": \"yes\"}", "do_sample"},
        {"{\"num_beams\": 0}", "num_beams"},
        {"{\"eos_token_id\": \"</s>\"}", "eos_token_id"},
        {"{\"eos_token_id\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "17 ids"},
        {"{\"early_stopping\": \"soon\"}", "early_stopping"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rf_generate_options options;
        rf_error fault = {0};
        rf_model *model = load_with(bad[i].text);
        assert_int_equal(rf_generate_defaults(model, &options, &fault), RF_ERR_FORMAT);
        assert_non_null(strstr(fault.message, "generation_config.json"));
        assert_non_null(strstr(fault.message, bad[i].said));
        rf_model_destroy(model);
    }
}

/* Saved with everything in it, what we do not read too. */
static void test_kept(void **state)
{
    (void)state;
    char path[128];
    json_t *saved = NULL;
    rf_model *model = load_with("{\"temperature\": 0.25, \"penalty_alpha\": 0.6}");
    path_of("generation_config.json", path);
    assert_int_equal(unlink(path), 0);
    assert_ok(rf_model_save(model, folder, NULL, error));
    assert_ok(rf_json_read_object(path, &saved, error));
    assert_int_equal(json_object_size(saved), 2);
    assert_true(json_number_value(json_object_get(saved, "temperature")) == 0.25);
    assert_true(json_number_value(json_object_get(saved, "penalty_alpha")) == 0.6);
    json_decref(saved);
    rf_model_destroy(model);
}

static int create_folder(void **state)
{
    (void)state;
    rf_model *model = create_byte_model("[\"local\"]");
    assert_non_null(mkdtemp(folder));
    assert_ok(rf_model_save(model, folder, NULL, error));
    rf_model_destroy(model);
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"config.json", "generation_config.json",
                                        "model.safetensors"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(names[i], path);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_said), cmocka_unit_test(test_everything_said),
        cmocka_unit_test(test_meanings),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, create_folder, remove_folder);
}
