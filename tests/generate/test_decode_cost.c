/* What one decoded token costs at two lengths of context, for the shape of the bible-medium model
 * with random weights.
 *
 * By default the contexts are short, so that the test is quick, and only the flow is checked.
 * scripts/decode-cost sets REFORMER_DECODE_COST=full: contexts of 1,024 and 262,144 tokens,
 * prefilled in earnest, and the ratio must not exceed 1.3. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "reformer/generate.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 258, STEPS = 200 };

static const char *const medium_shape =
    "{\"model_type\": \"reformer\", \"is_decoder\": true, \"hidden_size\": 256, "
    "\"num_attention_heads\": 2,"
    " \"attention_head_size\": 64, \"feed_forward_size\": 512, \"vocab_size\": 258, "
    "\"axial_pos_embds\": true,"
    " \"axial_pos_shape\": [512, 512], \"axial_pos_embds_dim\": [64, 192], "
    "\"max_position_embeddings\": 262144,"
    " \"attn_layers\": [\"local\", \"lsh\", \"local\", \"lsh\", \"local\", \"lsh\"], "
    "\"num_buckets\": [16, 32],"
    " \"num_hashes\": 2, \"lsh_attn_chunk_length\": 64, \"local_attn_chunk_length\": 64, "
    "\"hidden_act\": \"relu\","
    " \"hidden_dropout_prob\": 0.0, \"local_attention_probs_dropout_prob\": 0.0,"
    " \"lsh_attention_probs_dropout_prob\": 0.0}";

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median milliseconds of the last STEPS tokens of a context of `length`. */
static double cost_at(rf_model *model, int64_t length, double *prefill)
{
    rf_session *session = NULL;
    void *memory = NULL;
    double times[STEPS];
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = length}, &session, error));
    assert_ok(rf_allocate((size_t)length * sizeof(int32_t), "test", &memory, error));
    int32_t *ids = memory;
    rf_random_key key = {.seed = 5, .purpose = RF_PURPOSE_TEST};
    for (int64_t i = 0; i < length; i++) {
        ids[i] = (int32_t)rf_random_below(&key, (uint64_t)i, TOKENS);
    }
    double start = rf_clock_seconds();
    assert_ok(rf_session_append(session, ids, NULL, length - STEPS, error));
    *prefill = rf_clock_seconds() - start;
    for (int64_t i = 0; i < STEPS; i++) {
        start = rf_clock_seconds();
        assert_ok(rf_session_append(session, ids + length - STEPS + i, NULL, 1, error));
        times[i] = rf_clock_seconds() - start;
    }
    qsort(times, STEPS, sizeof times[0], compare_doubles);
    rf_session_destroy(session);
    rf_release(memory);
    return times[STEPS / 2] * 1e3;
}

static void test_cost_of_a_token(void **state)
{
    (void)state;
    const char *mode = getenv("REFORMER_DECODE_COST");
    bool is_full = mode != NULL && strcmp(mode, "full") == 0;
    rf_model *model = NULL;
    assert_ok(rf_model_create(medium_shape, 1, "reformer", &(rf_model_options){.device = "cpu"},
                              &model, error));
    const int64_t lengths[2] = {is_full ? 1024 : 256, is_full ? 262144 : 2048};
    double costs[2];
    for (int i = 0; i < 2; i++) {
        double prefill = 0.0;
        costs[i] = cost_at(model, lengths[i], &prefill);
        print_message("context %7lld: prefill %8.2f s, %.3f ms a token\n", (long long)lengths[i],
                      prefill, costs[i]);
        assert_true(costs[i] > 0.0);
    }
    print_message("ratio %.2f\n", costs[1] / costs[0]);
    if (is_full) {
        assert_true(costs[1] <= 1.3 * costs[0]);
    }
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
