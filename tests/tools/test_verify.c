/* `verify` on the vectors that travel with the project, on all of them where REFORMER_FIXTURES
 * names their folder, and on files that are wrong: a comparison that cannot fail would prove
 * nothing. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "reformer/model.h"
#include "reformer/tools.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const streams[] = {"fixed32", "float32"};

static json_t *verify(const rf_verify_options *options, rf_status *status, rf_error *error)
{
    char *report = NULL;
    *status = rf_verify(options, &report, error);
    json_t *object = report != NULL ? json_loads(report, 0, NULL) : NULL;
    rf_text_release(report);
    return object;
}

static void check_folder(const char *folder)
{
    char reference[4200];
    (void)snprintf(reference, sizeof reference, "%s/io.safetensors", folder);
    for (int i = 0; i < 2; i++) {
        rf_status status;
        rf_error error = {0};
        rf_verify_options options = {.model = folder, .reference = reference, .stream = streams[i]};
        json_t *report = verify(&options, &status, &error);
        if (status != RF_OK) {
            fail_msg("%s with %s streams: %s", folder, streams[i], error.message);
        }
        assert_true(json_is_true(json_object_get(report, "passed")));
        assert_true(json_array_size(json_object_get(report, "tensors")) > 0);
        json_decref(report);
    }
}

static void vector_folder(char *folder, size_t size, const char *name)
{
    (void)snprintf(folder, size, "%s/tests/vectors/%s", RF_SOURCE_FOLDER, name);
}

static void test_shipped_vectors(void **state)
{
    (void)state;
    static const char *const names[] = {"lm_eval", "lm_eval_unaligned", "lm_eval_short", "lm_train",
                                        "lm_train_local_only"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char folder[4096];
        vector_folder(folder, sizeof folder, names[i]);
        check_folder(folder);
    }
}

static void test_all_vectors(void **state)
{
    (void)state;
    const char *fixtures = test_fixtures();
    if (fixtures == NULL) {
        skip();
    }
    char path[4096];
    char **names = NULL;
    size_t count = 0;
    size_t checked = 0;
    (void)snprintf(path, sizeof path, "%s/hf", fixtures);
    assert_ok(rf_folder_list(path, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        char folder[8192];
        bool is_model =
            strcmp(names[i], "torch_cpu_generator") != 0 && strncmp(names[i], "generate", 8) != 0;
        if (is_model) {
            (void)snprintf(folder, sizeof folder, "%s/%s", path, names[i]);
            check_folder(folder);
            checked++;
        }
    }
    rf_names_release(names, count);
    assert_true(checked >= 34);
}

/* A trained model at 16,384 tokens: the loss to seven digits, hardly a bucket that differs. */
static void test_trained_model(void **state)
{
    (void)state;
    const char *fixtures = test_fixtures();
    if (fixtures == NULL) {
        skip();
    }
    char folder[4096];
    char reference[4200];
    (void)snprintf(folder, sizeof folder, "%s/hf-trained-bible", fixtures);
    (void)snprintf(reference, sizeof reference, "%s/io.safetensors", folder);
    for (int i = 0; i < 4; i++) { /* with the file's buckets, and with our own throughout */
        rf_status status;
        rf_error error = {0};
        rf_verify_options options = {.model = folder,
                                     .reference = reference,
                                     .stream = streams[i % 2],
                                     .own_buckets = i >= 2};
        json_t *report = verify(&options, &status, &error);
        if (i < 2 && status != RF_OK) {
            fail_msg("%s streams: %s", streams[i % 2], error.message);
        }
        size_t index;
        json_t *row;
        json_array_foreach(json_object_get(report, "tensors"), index, row)
        {
            if (strcmp(json_string_value(json_object_get(row, "name")), "loss") == 0) {
                assert_true(json_number_value(json_object_get(row, "max_error")) <= 1e-4);
            }
        }
        json_decref(report);
    }
}

/* A copy of a vector with one number changed in one tensor. */
static void write_changed(const char *from, const char *to, const char *name, float by)
{
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_open(from, &file, error));
    size_t count = rf_safetensors_count(file);
    rf_safetensors_item *items = calloc(count, sizeof *items);
    float *changed = NULL;
    assert_non_null(items);
    for (size_t i = 0; i < count; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        items[i] = (rf_safetensors_item){.name = entry->name, .tensor = entry->tensor};
        if (strcmp(entry->name, name) == 0) {
            int64_t n = rf_tensor_count(&entry->tensor);
            changed = calloc((size_t)n, sizeof *changed);
            assert_non_null(changed);
            assert_ok(rf_safetensors_read_f32(entry, changed, n, error));
            changed[n / 2] += by;
            items[i].tensor.data = changed;
        }
    }
    assert_non_null(changed);
    assert_ok(rf_safetensors_write(to, items, count, NULL, 0, error));
    free(changed);
    free(items);
    rf_safetensors_close(file);
}

static void test_differences_are_found(void **state)
{
    (void)state;
    static const char *const tensors[] = {
        "logits", "grad.reformer.encoder.layers.0.attention.layer_norm.weight", "loss"};
    char folder[4096];
    char from[4200];
    char to[4200];
    vector_folder(folder, sizeof folder, "lm_train");
    (void)snprintf(from, sizeof from, "%s/io.safetensors", folder);
    (void)snprintf(to, sizeof to, "%s/changed.safetensors", test_folder());
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        rf_status status;
        rf_error error = {0};
        write_changed(from, to, tensors[i], 0.01F);
        rf_verify_options options = {.model = folder, .reference = to};
        json_t *report = verify(&options, &status, &error);
        assert_int_equal(status, RF_ERR_MISMATCH);
        size_t index;
        size_t failed = 0;
        json_t *row;
        json_array_foreach(json_object_get(report, "tensors"), index, row)
        {
            bool passed = json_is_true(json_object_get(row, "passed"));
            failed += passed ? 0 : 1;
            assert_true(passed ||
                        strcmp(json_string_value(json_object_get(row, "name")), tensors[i]) == 0);
        }
        assert_int_equal(failed, 1);
        json_decref(report);
        options.tolerance = 100.0;
        report = verify(&options, &status, &error);
        assert_int_equal(status, RF_OK);
        json_decref(report);
    }
}

static void expect_refused(const rf_verify_options *options, rf_status expected, const char *words)
{
    rf_status status;
    rf_error error = {0};
    json_t *report = verify(options, &status, &error);
    assert_null(report);
    assert_int_equal(status, expected);
    if (strstr(error.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    }
}

static void test_bad_requests(void **state)
{
    (void)state;
    char folder[4096];
    char reference[4200];
    char weights[4200];
    vector_folder(folder, sizeof folder, "lm_eval");
    (void)snprintf(reference, sizeof reference, "%s/io.safetensors", folder);
    (void)snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    expect_refused(&(rf_verify_options){.model = folder, .reference = weights}, RF_ERR_FORMAT,
                   "input_ids");
    expect_refused(&(rf_verify_options){.model = folder, .reference = "nowhere.safetensors"},
                   RF_ERR_FILE, "nowhere");
    expect_refused(&(rf_verify_options){.model = folder, .reference = reference, .labels = "some"},
                   RF_ERR_ARGUMENT, "labels is \"some\"");
    expect_refused(
        &(rf_verify_options){.model = folder, .reference = reference, .stream = "float16"},
        RF_ERR_ARGUMENT, "fixed32 or float32");
    vector_folder(folder, sizeof folder,
                  "lm_train_local_only"); /* another model: other ids, other sizes */
    char other[4200];
    (void)snprintf(other, sizeof other, "%s/tests/vectors/lm_eval/io.safetensors",
                   RF_SOURCE_FOLDER);
    rf_status status;
    rf_error error = {0};
    json_t *report =
        verify(&(rf_verify_options){.model = folder, .reference = other}, &status, &error);
    assert_int_equal(status, RF_ERR_MISMATCH);
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_vectors), cmocka_unit_test(test_all_vectors),
        cmocka_unit_test(test_trained_model),   cmocka_unit_test(test_differences_are_found),
        cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
