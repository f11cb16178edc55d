/* Sessions of models whose LSH layers have the paper's options: scores are those of the uncached
 * forward pass, token by token; rows that change places; draws; and what is said of it. */
#include "small_model.h"

#include "generate/recompute.h"

#include <math.h>
#include <string.h>

enum { VOCABULARY = 40, TOKENS = 60, PROMPT = 21, BATCH = 2 };

static const char *const options[] = {
    ", \"reformer_c\": {\"lsh_semantics\": \"paper\"}",
    ", \"reformer_c\": {\"lsh_semantics\": \"paper\", \"lsh_whole_buckets\": true}",
    ", \"reformer_c\": {\"lsh_duplicates\": \"corrected\"}"};
enum { OPTIONS = sizeof options / sizeof options[0] };

static rf_model *create(const char *more)
{
    const small_model shape = {
        "[\"local\", \"lsh\", \"lsh\"]", 16, 1, "4", "5", 2, VOCABULARY, more, NULL};
    return create_small_model(&shape, "fixed32", 2);
}

static rf_session *open_session(rf_model *model, const int32_t *ids)
{
    rf_session *session = NULL;
    int32_t prompt[BATCH * PROMPT];
    for (int row = 0; row < BATCH; row++) {
        memcpy(prompt + row * PROMPT, ids + row * TOKENS, PROMPT * sizeof *ids);
    }
    assert_ok(rf_session_create(
        model, &(rf_session_options){.batch = BATCH, .capacity = TOKENS, .seed = 3}, &session,
        error));
    assert_ok(rf_session_append(session, prompt, NULL, PROMPT, error));
    return session;
}

/* The session's scores of a row against a forward pass of its text. */
static void check_row(const rf_session *session, int64_t row, const int32_t *text, int64_t length)
{
    float logits[VOCABULARY];
    const float *found = rf_session_logits(session, row);
    assert_ok(rf_model_logits(session->model, text, NULL, 1, length, length - 1, 1, logits, error));
    for (int i = 0; i < VOCABULARY; i++) {
        if (!(fabsf(found[i] - logits[i]) < 1e-5F)) {
            fail_msg("length %lld, row %lld, token %d: %g, uncached %g", (long long)length,
                     (long long)row, i, (double)found[i], (double)logits[i]);
        }
    }
}

static void test_equals_uncached(void **state)
{
    (void)state;
    int32_t ids[BATCH * TOKENS];
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 1);
    for (int i = 0; i < OPTIONS; i++) {
        rf_model *model = create(options[i]);
        rf_session *session = open_session(model, ids);
        assert_true(session->recomputes);
        for (int64_t length = PROMPT; length < TOKENS; length++) {
            for (int64_t row = 0; row < BATCH; row++) {
                check_row(session, row, ids + row * TOKENS, length);
            }
            const int32_t next[BATCH] = {ids[length], ids[TOKENS + length]};
            assert_ok(rf_session_append(session, next, NULL, 1, error));
        }
        assert_int_equal(rf_session_length(session), TOKENS);
        assert_int_equal(rf_session_attended(session, 0, 1, 0, 0, NULL, 0), -1);
        rf_session_destroy(session);
        rf_model_destroy(model);
    }
}

/* Rows change places, and go on as what they have become. */
static void test_reordered(void **state)
{
    (void)state;
    int32_t ids[BATCH * TOKENS];
    const int32_t sources[BATCH] = {1, 0};
    const int32_t next[BATCH] = {3, 4};
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 2);
    rf_model *model = create(options[0]);
    rf_session *session = open_session(model, ids);
    assert_ok(rf_session_reorder(session, sources, 0, error));
    assert_ok(rf_session_append(session, next, NULL, 1, error));
    for (int64_t row = 0; row < BATCH; row++) {
        int32_t *text = ids + sources[row] * TOKENS;
        text[PROMPT] = next[row];
        check_row(session, row, text, PROMPT + 1);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* Tokens drawn on the device are the ones that the text goes on with. */
static void test_draws(void **state)
{
    (void)state;
    int32_t ids[BATCH * TOKENS];
    int32_t tokens[BATCH];
    rf_sampling sampling;
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 3);
    rf_sampling_default(&sampling);
    rf_model *model = create(options[1]);
    rf_session *session = open_session(model, ids);
    assert_ok(rf_session_set_sampling(session, &sampling, error));
    assert_ok(rf_session_draw(session, 0, BATCH, tokens, error));
    for (int64_t length = PROMPT; length < PROMPT + 6; length++) {
        for (int64_t row = 0; row < BATCH; row++) {
            ids[row * TOKENS + length] = tokens[row];
        }
        assert_ok(rf_session_advance(session, tokens, error));
    }
    assert_ok(rf_session_fetch_logits(session, error));
    for (int64_t row = 0; row < BATCH; row++) {
        check_row(session, row, ids + row * TOKENS, PROMPT + 6);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_only_where_needed(void **state)
{
    (void)state;
    rf_model *model = create(", \"reformer_c\": {\"lsh_semantics\": \"hf\"}");
    assert_false(rf_recompute_is_needed(&model->config));
    rf_model_destroy(model);
    const small_model local = {
        "[\"local\", \"local\"]", 16, 1, "4", "5", 2, VOCABULARY, options[0], NULL};
    model = create_small_model(&local, "fixed32", 1);
    assert_false(rf_recompute_is_needed(&model->config));
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_uncached), cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_draws), cmocka_unit_test(test_only_where_needed)};
    return run_on_devices("recompute", tests, sizeof tests / sizeof tests[0]);
}
