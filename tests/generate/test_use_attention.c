/* Full attention in the place of LSH and back, with the same weights: what is computed, generated
 * and saved. */
#include "small_model.h"

#include "model/config_keys.h"
#include "reformer/generate.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

enum { TOKENS = 96, VOCABULARY = 61 };

static small_model model_of(const char *layers)
{
    return (small_model){.layers = layers,
                         .buckets = "4",
                         .hash_seed = "null",
                         .vocabulary = VOCABULARY,
                         .chunk = 8,
                         .rounds = 2,
                         .before = 1};
}

static const char lsh_layers[] = "[\"local\", \"lsh\", \"full\", \"lsh\"]";
static const char full_layers[] = "[\"local\", \"full_shared\", \"full\", \"full_shared\"]";

/* Logits of the last position, [VOCABULARY]. */
static void last_logits(rf_model *model, float *logits)
{
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS, VOCABULARY, 31);
    assert_ok(rf_model_logits(model, ids, NULL, 1, TOKENS, TOKENS - 1, 1, logits, error));
}

/* Scores of a session that gets half of the tokens one by one, [VOCABULARY]. */
static void session_logits(rf_model *model, float *logits)
{
    int32_t ids[TOKENS];
    rf_session *session = NULL;
    const rf_session_options options = {.capacity = TOKENS};
    fill_ids(ids, TOKENS, VOCABULARY, 31);
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_ok(rf_session_append(session, ids, NULL, TOKENS / 2, error));
    for (int i = TOKENS / 2; i < TOKENS; i++) {
        assert_ok(rf_session_append(session, &ids[i], NULL, 1, error));
    }
    memcpy(logits, rf_session_logits(session, 0), VOCABULARY * sizeof *logits);
    rf_session_destroy(session);
}

static void assert_same_logits(const float *a, const float *b)
{
    assert_memory_equal(a, b, VOCABULARY * sizeof *a);
}

static bool differ(const float *a, const float *b)
{
    for (int i = 0; i < VOCABULARY; i++) {
        if (a[i] != b[i]) {
            return true;
        }
    }
    return false;
}

static void check_both_ways(void (*logits_of)(rf_model *model, float *logits))
{
    const small_model lsh_shape = model_of(lsh_layers);
    const small_model full_shape = model_of(full_layers);
    rf_model *lsh = create_small_model(&lsh_shape, "fixed32", 1);
    rf_model *full = create_small_model(&full_shape, "fixed32", 1);
    float of_lsh[VOCABULARY];
    float of_full[VOCABULARY];
    float got[VOCABULARY];
    logits_of(lsh, of_lsh);
    logits_of(full, of_full);
    assert_true(differ(of_lsh, of_full));
    assert_ok(rf_model_use_attention(lsh, "full", 0, error));
    logits_of(lsh, got);
    assert_same_logits(got, of_full);
    assert_ok(rf_model_use_attention(full, "lsh", 0, error));
    logits_of(full, got);
    assert_same_logits(got, of_lsh);
    assert_ok(rf_model_use_attention(full, "lsh", 4, error));
    logits_of(full, got);
    assert_true(differ(got, of_lsh) && differ(got, of_full));
    assert_ok(rf_model_use_attention(lsh, NULL, 4, error));
    logits_of(lsh, of_full);
    assert_same_logits(got, of_full);
    assert_ok(rf_model_use_attention(lsh, "as-is", 2, error));
    logits_of(lsh, got);
    assert_same_logits(got, of_lsh);
    rf_model_destroy(lsh);
    rf_model_destroy(full);
}

static void test_a_pass_is_that_of_a_model_of_such_layers(void **state)
{
    (void)state;
    check_both_ways(last_logits);
}

static void test_so_is_a_session(void **state)
{
    (void)state;
    check_both_ways(session_logits);
}

static void test_what_is_saved_is_what_was_written(void **state)
{
    (void)state;
    const small_model shape = model_of("[\"local\", \"lsh\"]");
    char folder[512];
    float got[VOCABULARY];
    float of_full[VOCABULARY];
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    rf_model *again = NULL;
    assert_ok(rf_model_use_attention(model, "full", 0, error));
    last_logits(model, of_full);
    (void)snprintf(folder, sizeof folder, "%s/used", test_folder());
    assert_ok(rf_model_save(model, folder, NULL, error));
    rf_model_destroy(model);
    assert_ok(rf_model_load(folder, NULL, &again, error));
    assert_int_equal(again->config.kinds[1], RF_LAYER_LSH);
    assert_true(rf_config_is_huggingface(&again->config));
    rf_model_destroy(again);
    assert_ok(rf_model_load(
        folder,
        &(rf_model_options){.attention = "full", .device = test_device(), .precision = "f32"},
        &again, error));
    last_logits(again, got);
    assert_same_logits(got, of_full);
    rf_model_destroy(again);
}

static void assert_refused(rf_model *model, const char *attention, int64_t rounds, rf_status status,
                           const char *words)
{
    rf_error problem = {0};
    assert_int_equal(rf_model_use_attention(model, attention, rounds, &problem), status);
    assert_non_null(strstr(problem.message, words));
}

static void test_refusals(void **state)
{
    (void)state;
    small_model shape = model_of("[\"local\", \"full\"]");
    rf_model *model = create_small_model(&shape, "fixed32", 1);
    assert_refused(model, "full", 0, RF_ERR_ARGUMENT, "this model has none");
    assert_refused(model, "whole", 0, RF_ERR_ARGUMENT, "attention is \"whole\"");
    assert_refused(model, NULL, 1025, RF_ERR_ARGUMENT, "num_hashes is 1025");
    assert_ok(rf_model_use_attention(model, NULL, 0, error));
    rf_model_destroy(model);
    shape = model_of("[\"full_shared\"]");
    shape.more = ", \"lsh_num_chunks_after\": 1";
    model = create_small_model(&shape, "fixed32", 1);
    assert_refused(model, "lsh", 0, RF_ERR_CONFIG, "lsh_num_chunks_after is 1");
    assert_int_equal(model->config.kinds[0], RF_LAYER_FULL_SHARED);
    rf_model_destroy(model);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pass_is_that_of_a_model_of_such_layers),
        cmocka_unit_test(test_so_is_a_session),
        cmocka_unit_test(test_what_is_saved_is_what_was_written),
        cmocka_unit_test(test_refusals),
    };
    return run_on_devices("attention in use", tests, sizeof tests / sizeof tests[0]);
}
