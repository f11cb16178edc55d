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

/* A context of random tokens, and what its last STEPS tokens take. */
typedef struct context {
    rf_session *session;
    int32_t *ids; /* [length] */
    int64_t length;
    double seconds[STEPS];
} context;

static void open_context(rf_model *model, int64_t length, context *opened)
{
    void *memory = NULL;
    *opened = (context){.length = length};
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = length}, &opened->session,
                                error));
    assert_ok(rf_allocate((size_t)length * sizeof(int32_t), "test", &memory, error));
    opened->ids = memory;
    fill_ids(opened->ids, length, TOKENS, 5);
    double start = rf_clock_seconds();
    assert_ok(rf_session_append(opened->session, opened->ids, NULL, length - STEPS, error));
    print_message("context %lld: prefill of %lld tokens took %.2f s\n", (long long)length,
                  (long long)(length - STEPS), rf_clock_seconds() - start);
}

static void append_one(context *to, int64_t step)
{
    double start = rf_clock_seconds();
    assert_ok(rf_session_append(to->session, to->ids + to->length - STEPS + step, NULL, 1, error));
    to->seconds[step] = rf_clock_seconds() - start;
}

static double close_context(context *opened)
{
    qsort(opened->seconds, STEPS, sizeof opened->seconds[0], compare_doubles);
    rf_session_destroy(opened->session);
    rf_release(opened->ids);
    return opened->seconds[STEPS / 2] * 1e3;
}

/* The two take turns, so that whatever else the machine does hits both. */
static void test_cost_of_a_token(void **state)
{
    (void)state;
    const char *mode = getenv("REFORMER_DECODE_COST");
    bool is_full = mode != NULL && strcmp(mode, "full") == 0;
    rf_model *model = NULL;
    context near;
    context far;
    assert_ok(rf_model_create(medium_shape, 1, "reformer", &(rf_model_options){.device = "cpu"},
                              &model, error));
    open_context(model, is_full ? 1024 : 384, &near);
    open_context(model, is_full ? 262144 : 2048, &far);
    for (int64_t step = 0; step < STEPS; step++) {
        append_one(&near, step);
        append_one(&far, step);
    }
    double cost_near = close_context(&near);
    double cost_far = close_context(&far);
    print_message("median of %d tokens: %.3f ms at context %lld, %.3f ms at %lld: ratio %.2f\n",
                  STEPS, cost_near, (long long)near.length, cost_far, (long long)far.length,
                  cost_far / cost_near);
    assert_true(cost_near > 0.0);
    if (is_full) {
        assert_true(cost_far <= 1.3 * cost_near);
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
