/* What LSH layers may hash by: hyperplanes, fixed rotations, queries behind dropout; in a pass, in
 * training and in a session. */
#include "small_model.h"

#include "base/memory.h"
#include "reformer/generate.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

enum { TOKENS = 96, VOCABULARY = 61, BATCH = 2 };

static rf_model *model_of(const char *buckets, const char *keys, const char *stream)
{
    const small_model shape = {.layers = "[\"local\", \"lsh\", \"lsh\"]",
                               .buckets = buckets,
                               .hash_seed = "null",
                               .vocabulary = VOCABULARY,
                               .chunk = 8,
                               .rounds = 2,
                               .before = 1,
                               .more = keys};
    return create_small_model(&shape, stream, 2);
}

/* Logits of the last position in a pass with these rotations, and those of a session after half of
 * the tokens came one by one: [2][VOCABULARY]. */
static void all_logits(rf_model *model, uint64_t seed, float logits[2][VOCABULARY])
{
    int32_t ids[TOKENS];
    rf_session *session = NULL;
    const rf_session_options options = {.capacity = TOKENS, .seed = seed};
    fill_ids(ids, TOKENS, VOCABULARY, 31);
    assert_ok(rf_model_logits(model, ids, NULL, 1, TOKENS, TOKENS - 1, 1, logits[0], error));
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_ok(rf_session_append(session, ids, NULL, TOKENS / 2, error));
    for (int i = TOKENS / 2; i < TOKENS; i++) {
        assert_ok(rf_session_append(session, &ids[i], NULL, 1, error));
    }
    memcpy(logits[1], rf_session_logits(session, 0), sizeof logits[1]);
    rf_session_destroy(session);
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

/* A bit a plane is a factor of two a direction. */
static void test_hyperplanes_are_factors_of_two(void **state)
{
    (void)state;
    static const char planes[] = ", \"reformer_c\": {\"lsh_hash\": \"hyperplane\"}";
    rf_model *angular = model_of("[2, 2, 2]", NULL, "fixed32");
    rf_model *hyperplane = model_of("8", planes, "fixed32");
    rf_model *cut = model_of("[4, 2]", planes, "fixed32");
    rf_model *other = model_of("8", NULL, "fixed32");
    float expected[2][VOCABULARY];
    float found[2][VOCABULARY];
    all_logits(angular, 3, expected);
    all_logits(hyperplane, 3, found);
    assert_memory_equal(expected, found, sizeof found);
    all_logits(cut, 3, found);
    assert_memory_equal(expected, found, sizeof found);
    all_logits(other, 3, found);
    assert_true(differ(expected[0], found[0]) && differ(expected[1], found[1]));
    rf_model_destroy(angular);
    rf_model_destroy(hyperplane);
    rf_model_destroy(cut);
    rf_model_destroy(other);
}

/* Mean nll of two passes with other seeds and steps. */
static void two_losses(rf_model *model, double losses[2])
{
    int32_t ids[TOKENS];
    rf_runner *runner = NULL;
    rf_outcome outcome;
    const rf_runner_options options = {.batch = 1, .length = TOKENS};
    fill_ids(ids, TOKENS, VOCABULARY, 32);
    const rf_batch batch = {.batch = 1, .length = TOKENS, .ids = ids, .labels = ids};
    assert_ok(rf_runner_create(model, &options, &runner, error));
    for (int i = 0; i < 2; i++) {
        assert_ok(rf_runner_forward(runner, &batch, (uint64_t)i, 5 * i, &outcome, error));
        losses[i] = rf_outcome_loss(&outcome);
    }
    rf_runner_destroy(runner);
}

static void test_fixed_rotations_are_the_same_everywhere(void **state)
{
    (void)state;
    rf_model *fresh = model_of("8", NULL, "fixed32");
    rf_model *fixed = model_of("8", ", \"reformer_c\": {\"lsh_rotations\": \"fixed\"}", "fixed32");
    rf_model *other =
        model_of("8", ", \"reformer_c\": {\"lsh_rotations\": \"fixed\", \"lsh_rotations_seed\": 9}",
                 "fixed32");
    double losses[3][2];
    float one[2][VOCABULARY];
    float two[2][VOCABULARY];
    two_losses(fresh, losses[0]);
    two_losses(fixed, losses[1]);
    two_losses(other, losses[2]);
    assert_true(losses[0][0] != losses[0][1]);
    assert_true(losses[1][0] == losses[1][1]);
    assert_true(losses[2][0] == losses[2][1] && losses[2][0] != losses[1][0]);
    all_logits(fixed, 1, one);
    all_logits(fixed, 2, two);
    assert_memory_equal(one, two, sizeof two);
    all_logits(fresh, 1, one);
    all_logits(fresh, 2, two);
    assert_false(differ(one[0], two[0])); /* passes of the model's own are of seed 0 */
    assert_true(differ(one[1], two[1]));
    rf_model_destroy(fresh);
    rf_model_destroy(fixed);
    rf_model_destroy(other);
}

/* ---- dropout of what is hashed ---- */

enum { LSH_LAYERS = 2, HEADS = 2, ROUNDS = 2, EACH = BATCH * ROUNDS * TOKENS };

/* Buckets by layer and head, of the first call that brings them and of the last. */
typedef struct seen {
    rf_device *device;
    int calls[LSH_LAYERS][HEADS];
    int32_t first[LSH_LAYERS][HEADS][EACH], last[LSH_LAYERS][HEADS][EACH];
} seen;

static rf_status look(void *user, int64_t layer, int64_t first_head, const rf_tensor *buckets,
                      rf_error *error)
{
    enum { PART = ROUNDS * TOKENS };
    static int32_t all[HEADS * EACH];
    seen *of = user;
    const int64_t heads = buckets->shape[1];
    RF_TRY(rf_device_download(of->device, all, buckets->data, rf_tensor_size(buckets), error));
    for (int64_t head = 0; head < heads; head++) {
        const int64_t h = first_head + head;
        for (int64_t row = 0; row < BATCH; row++) {
            memcpy(of->last[layer - 1][h] + row * PART, all + (row * heads + head) * PART,
                   PART * sizeof all[0]);
        }
        if (of->calls[layer - 1][h]++ == 0) {
            memcpy(of->first[layer - 1][h], of->last[layer - 1][h], sizeof of->last[0][0]);
        }
    }
    return RF_OK;
}

/* One training pass, `heads` at a time: its loss, and its buckets in *found. */
static double train_once(rf_model *model, int64_t heads, seen *found)
{
    int32_t ids[BATCH * TOKENS];
    rf_runner *runner = NULL;
    rf_outcome outcome;
    memset(found, 0, sizeof *found);
    found->device = model->device;
    const rf_runner_options options = {.batch = BATCH,
                                       .length = TOKENS,
                                       .training = true,
                                       .verify_reversal = true,
                                       .slices = {.heads = heads},
                                       .hooks = {.user = found, .buckets = look}};
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 33);
    const rf_batch batch = {
        .batch = BATCH, .length = TOKENS, .ids = ids, .labels = ids, .first_sample = 4};
    assert_ok(rf_runner_create(model, &options, &runner, error));
    assert_ok(rf_runner_train(runner, &batch, 7, 3, 1e-3F, &outcome, error));
    rf_runner_destroy(runner);
    return rf_outcome_loss(&outcome);
}

static void check_dropout(const char *stream, const char *hash)
{
    static seen kept;
    static seen dropped;
    static seen by_head;
    char keys[256];
    double losses[2];
    double uses[2];
    double plain_uses[2];
    (void)snprintf(keys, sizeof keys,
                   ", \"hidden_dropout_prob\": 0, \"reformer_c\": "
                   "{\"lsh_hash\": \"%s\", \"lsh_hash_dropout\": 0.2}",
                   hash);
    rf_model *model = model_of("8", keys, stream);
    const bool recomputes = strcmp(stream, "fixed32") == 0;
    losses[0] = train_once(model, HEADS, &dropped);
    (void)train_once(model, 1, &by_head);
    two_losses(model, uses);
    model->config.hash_dropout = 0.0;
    losses[1] = train_once(model, HEADS, &kept);
    two_losses(model, plain_uses);
    for (int layer = 0; layer < LSH_LAYERS; layer++) {
        for (int head = 0; head < HEADS; head++) {
            assert_int_equal(dropped.calls[layer][head], recomputes ? 2 : 1);
            assert_memory_equal(dropped.first[layer][head], dropped.last[layer][head],
                                sizeof dropped.last[0][0]);
        }
    }
    assert_memory_equal(dropped.first[0], by_head.first[0], sizeof dropped.first[0]);
    assert_memory_not_equal(dropped.first, kept.first, sizeof dropped.first);
    assert_true(losses[0] != losses[1]);
    assert_true(uses[0] == plain_uses[0] && uses[1] == plain_uses[1]); /* in training only */
    rf_model_destroy(model);
}

static void test_dropout_is_drawn_again(void **state)
{
    (void)state;
    check_dropout("fixed32", "angular");
    check_dropout("fixed32", "hyperplane");
    check_dropout("float32", "angular");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hyperplanes_are_factors_of_two),
        cmocka_unit_test(test_fixed_rotations_are_the_same_everywhere),
        cmocka_unit_test(test_dropout_is_drawn_again),
    };
    return run_on_devices("hash options", tests, sizeof tests / sizeof tests[0]);
}
