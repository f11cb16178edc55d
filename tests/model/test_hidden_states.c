/* Hidden states against the reference's and against each other; rows of the embedding table. */
#include "devices.h"

#include "io/safetensors.h"
#include "model/model.h"
#include "reformer/inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_IDS = 512, MOST_VALUES = 1 << 17 };

static const char *folder_of_vectors(void)
{
    static char folder[4096];
    const char *source = getenv("REFORMER_SOURCE"); /* set where the sources have been moved */
    (void)snprintf(folder, sizeof folder, "%s/tests/vectors/lm_eval",
                   source != NULL ? source : RF_SOURCE_FOLDER);
    return folder;
}

typedef struct reference {
    rf_safetensors *file;
    rf_model *model;
    int64_t batch, length, layers, hidden;
    int32_t ids[MOST_IDS];
} reference;

static reference open_reference(void)
{
    reference r = {0};
    int64_t wide[MOST_IDS];
    char path[4200];
    rf_model_options options = {
        .device = test_device(), .precision = "f32", .threads = 1, .stream = "float32"};
    (void)snprintf(path, sizeof path, "%s/io.safetensors", folder_of_vectors());
    assert_ok(rf_safetensors_open(path, &r.file, error));
    assert_ok(rf_model_load(folder_of_vectors(), &options, &r.model, error));
    const rf_safetensors_entry *entry = rf_safetensors_find(r.file, "input_ids");
    assert_non_null(entry);
    r.batch = entry->tensor.shape[0];
    r.length = entry->tensor.shape[1];
    r.layers = rf_model_layers(r.model);
    r.hidden = rf_model_hidden(r.model);
    assert_true(r.batch * r.length <= MOST_IDS);
    assert_ok(rf_safetensors_read_i64(entry, wide, r.batch * r.length, error));
    for (int64_t i = 0; i < r.batch * r.length; i++) {
        r.ids[i] = (int32_t)wide[i];
    }
    return r;
}

static void close_reference(reference *r)
{
    rf_safetensors_close(r->file);
    rf_model_destroy(r->model);
}

static void test_reference(void **state)
{
    (void)state;
    static float ours[MOST_VALUES];
    static float theirs[MOST_VALUES];
    reference r = open_reference();
    for (int64_t depth = 0; depth <= r.layers; depth++) {
        char name[64];
        (void)snprintf(name, sizeof name, "hidden_states.%lld", (long long)depth);
        const rf_safetensors_entry *entry = rf_safetensors_find(r.file, name);
        assert_non_null(entry);
        int64_t padded = entry->tensor.shape[1];
        int64_t count = rf_tensor_count(&entry->tensor);
        assert_true(count <= MOST_VALUES);
        assert_ok(rf_safetensors_read_f32(entry, theirs, count, error));
        rf_state_choice choice = {.depths = &depth, .count = 1};
        assert_ok(
            rf_model_hidden_states(r.model, r.ids, NULL, r.batch, r.length, &choice, ours, error));
        for (int64_t i = 0; i < r.batch * r.length * r.hidden; i++) {
            int64_t row = i / r.hidden;
            int64_t at = (row / r.length * padded + row % r.length) * r.hidden + i % r.hidden;
            assert_true(fabs((double)ours[i] - (double)theirs[at]) < 1e-4);
        }
    }
    close_reference(&r);
}

/* All choices of streams in one pass and in several; fixed32 beside float32. */
static void test_choices(void **state)
{
    (void)state;
    enum { LENGTH = 40 };
    static float values[4][3 * LENGTH * 128];
    reference r = open_reference();
    const int64_t depths[3] = {r.layers, 0, 1};
    rf_model *fixed = NULL;
    rf_model_options options = {
        .device = test_device(), .precision = "f32", .threads = 1, .stream = "fixed32"};
    assert_ok(rf_model_load(folder_of_vectors(), &options, &fixed, error));
    assert_true(2 * r.hidden <= 128);
    for (int s = 0; s < 4; s++) {
        rf_state_choice choice = {depths, 3, (rf_stream_choice)s};
        assert_int_equal(rf_model_state_width(fixed, choice.streams),
                         s == RF_STREAM_BOTH ? 2 * r.hidden : r.hidden);
        assert_ok(rf_model_hidden_states(fixed, r.ids, NULL, 1, LENGTH, &choice, values[s], error));
    }
    double difference = 0.0;
    for (int64_t i = 0; i < 3 * LENGTH * r.hidden; i++) {
        int64_t joined = i / r.hidden * 2 * r.hidden + i % r.hidden;
        float second = values[RF_STREAM_SECOND][i];
        float first = values[RF_STREAM_FIRST][i];
        assert_true(values[RF_STREAM_BOTH][joined] == first);
        assert_true(values[RF_STREAM_BOTH][joined + r.hidden] == second);
        assert_true(values[RF_STREAM_MEAN][i] == 0.5F * first + 0.5F * second);
        bool embeddings = i / (LENGTH * r.hidden) == 1;
        assert_true(!embeddings || first == second);
        difference += fabs((double)first - (double)second);
    }
    assert_true(difference > 1.0);
    rf_state_choice choice = {depths, 3, RF_STREAM_SECOND};
    assert_ok(rf_model_hidden_states(r.model, r.ids, NULL, 1, LENGTH, &choice, values[1], error));
    for (int64_t i = 0; i < 3 * LENGTH * r.hidden; i++) {
        assert_true(fabs((double)values[0][i] - (double)values[1][i]) < 1e-4);
    }
    rf_model_destroy(fixed);
    close_reference(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    float values[1];
    rf_error error = {0};
    reference r = open_reference();
    int64_t depth = r.layers + 1;
    rf_state_choice choice = {.depths = &depth, .count = 1};
    assert_int_equal(rf_model_hidden_states(r.model, r.ids, NULL, 1, 8, &choice, values, &error),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "states of depth"));
    close_reference(&r);
}

static void test_token_vectors(void **state)
{
    (void)state;
    reference r = open_reference();
    static float table[MOST_VALUES];
    float vectors[2 * 128];
    const rf_safetensors_entry *entry = NULL;
    rf_safetensors *file = NULL;
    char path[4200];
    rf_error failure = {0};
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder_of_vectors());
    assert_ok(rf_safetensors_open(path, &file, error));
    entry = rf_safetensors_find(file, "reformer.embeddings.word_embeddings.weight");
    assert_non_null(entry);
    assert_ok(rf_safetensors_read_f32(entry, table, rf_tensor_count(&entry->tensor), error));
    const int32_t ids[2] = {7, 0};
    assert_ok(rf_model_token_vectors(r.model, ids, 2, vectors, error));
    assert_memory_equal(vectors, table + 7 * r.hidden, (size_t)r.hidden * sizeof(float));
    assert_memory_equal(vectors + r.hidden, table, (size_t)r.hidden * sizeof(float));
    const int32_t wrong = (int32_t)rf_model_vocabulary(r.model);
    assert_int_equal(rf_model_token_vectors(r.model, &wrong, 1, vectors, &failure),
                     RF_ERR_ARGUMENT);
    rf_safetensors_close(file);
    close_reference(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_token_vectors),
    };
    return run_on_devices("hidden_states", tests, sizeof tests / sizeof tests[0]);
}
