/* Sessions of models whose LSH layers have the paper's options: the new token's scores are those of
 * the uncached forward pass wherever what earlier tokens left is the same, which it is in one layer
 * of chunks and in any number of layers of whole buckets; what is attended to; rows that change
 * places; draws. */
#include "attended.h"
#include "small_model.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { VOCABULARY = 40, TOKENS = 60, BATCH = 2 };

#define OPTION(text) ", \"reformer_c\": {" text "}"

static const char paper[] = OPTION("\"lsh_semantics\": \"paper\"");
static const char whole[] = OPTION("\"lsh_semantics\": \"paper\", \"lsh_whole_buckets\": true");
static const char whole_counted[] = OPTION("\"lsh_whole_buckets\": true");

/* All whose rounds do not look at each other. */
static const char *const options[] = {
    paper,
    whole,
    whole_counted,
    OPTION("\"lsh_across_rounds\": false"),
    OPTION("\"lsh_across_rounds\": false, \"lsh_same_bucket\": true"),
    OPTION("\"lsh_across_rounds\": false, \"lsh_duplicates\": \"corrected\""),
    OPTION("\"lsh_semantics\": \"paper\", \"lsh_same_bucket\": false"),
    OPTION("\"lsh_semantics\": \"paper\", \"lsh_duplicates\": \"counted\""),
    OPTION("\"lsh_semantics\": \"paper\", \"lsh_hash\": \"hyperplane\"")};
/* Those that do: their windows go round, as in Hugging Face's decoding. */
static const char *const going_round[] = {
    OPTION("\"lsh_duplicates\": \"corrected\""), OPTION("\"lsh_same_bucket\": true"),
    OPTION("\"lsh_semantics\": \"paper\", \"lsh_across_rounds\": true")};
enum {
    OPTIONS = sizeof options / sizeof options[0],
    GOING_ROUND = sizeof going_round / sizeof going_round[0]
};

typedef struct run {
    const char *layers, *more, *buckets;
    int chunk, before;
    int64_t prompt;
    const uint8_t *mask; /* [BATCH, TOKENS] */
} run;

static rf_model *create(const run *of)
{
    const small_model shape = {of->layers, of->chunk,  of->before, of->buckets, "5",
                               4,          VOCABULARY, of->more,   NULL};
    return create_small_model(&shape, "fixed32", 2);
}

static rf_session *open_session(rf_model *model, const int32_t *ids, const run *of)
{
    rf_session *session = NULL;
    int32_t prompt[BATCH * TOKENS];
    uint8_t kept[BATCH * TOKENS];
    for (int row = 0; row < BATCH; row++) {
        memcpy(prompt + row * of->prompt, ids + row * TOKENS, (size_t)of->prompt * sizeof *ids);
        if (of->mask != NULL) {
            memcpy(kept + row * of->prompt, of->mask + row * TOKENS, (size_t)of->prompt);
        }
    }
    assert_ok(rf_session_create(
        model, &(rf_session_options){.batch = BATCH, .capacity = TOKENS, .seed = 3}, &session,
        error));
    assert_ok(
        rf_session_append(session, prompt, of->mask == NULL ? NULL : kept, of->prompt, error));
    return session;
}

/* The session's scores of a row against a forward pass of its text. mask [length] or NULL */
static void check_row(const rf_session *session, int64_t row, const int32_t *text,
                      const uint8_t *mask, int64_t length)
{
    float logits[VOCABULARY];
    const float *found = rf_session_logits(session, row);
    assert_ok(rf_model_logits(session->model, text, mask, 1, length, length - 1, 1, logits, error));
    for (int i = 0; i < VOCABULARY; i++) {
        if (!(fabsf(found[i] - logits[i]) < 2e-4F)) {
            fail_msg("length %lld, row %lld, token %d: %g, uncached %g", (long long)length,
                     (long long)row, i, (double)found[i], (double)logits[i]);
        }
    }
}

/* Token after token; scores against the uncached pass where `is_equal`, and what was attended to.
 */
static void check_run(const run *of, bool is_equal)
{
    int32_t ids[BATCH * TOKENS];
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 1);
    rf_model *model = create(of);
    rf_session *session = open_session(model, ids, of);
    for (int64_t length = of->prompt; length < TOKENS; length++) {
        const int32_t next[BATCH] = {ids[length], ids[TOKENS + length]};
        for (int64_t row = 0; row < BATCH && is_equal; row++) {
            check_row(session, row, ids + row * TOKENS,
                      of->mask == NULL ? NULL : of->mask + row * TOKENS, length);
        }
        assert_ok(rf_session_append(session, next, NULL, 1, error));
        check_attended(session, of->prompt);
    }
    assert_int_equal(rf_session_length(session), TOKENS);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_one_layer_equals_the_uncached_forward(void **state)
{
    (void)state;
    for (int i = 0; i < OPTIONS; i++) {
        check_run(&(run){"[\"lsh\"]", options[i], "4", 8, 1, 21, NULL}, true);
        check_run(&(run){"[\"lsh\"]", options[i], "[2, 4]", 16, 1, 3, NULL}, true);
        check_run(&(run){"[\"lsh\"]", options[i], "4", 16, 2, 16, NULL}, true);
    }
}

static void test_left_padding(void **state)
{
    (void)state;
    uint8_t mask[BATCH * TOKENS];
    memset(mask, 1, sizeof mask);
    memset(mask, 0, 9);
    memset(mask + TOKENS, 0, 2);
    for (int i = 0; i < OPTIONS; i++) {
        check_run(&(run){"[\"lsh\"]", options[i], "4", 8, 1, 13, mask}, true);
    }
}

/* Nothing that comes later changes what an earlier token attends to. */
static void test_whole_buckets_equal_the_uncached_forward(void **state)
{
    (void)state;
    check_run(&(run){"[\"lsh\", \"local\", \"lsh\"]", whole, "4", 8, 1, 21, NULL}, true);
    check_run(&(run){"[\"lsh\", \"lsh\", \"lsh\"]", whole_counted, "4", 8, 1, 9, NULL}, true);
}

static void test_attended_sets(void **state)
{
    (void)state;
    static const char layers[] = "[\"local\", \"lsh\", \"lsh\"]";
    for (int i = 0; i < OPTIONS; i++) {
        check_run(&(run){layers, options[i], "4", 8, 1, 21, NULL}, false);
    }
    for (int i = 0; i < GOING_ROUND; i++) {
        check_run(&(run){layers, going_round[i], "4", 8, 1, 21, NULL}, false);
        check_run(&(run){layers, going_round[i], "4", 16, 2, 16, NULL}, false);
    }
}

static const run plain_run = {"[\"lsh\"]", paper, "4", 8, 1, 21, NULL};

/* Rows change places, and go on as what they have become. */
static void check_reordered(int64_t alike)
{
    int32_t ids[BATCH * TOKENS];
    const int32_t sources[BATCH] = {1, 0};
    const int64_t prompt = plain_run.prompt;
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 2);
    memcpy(ids + TOKENS, ids, (size_t)alike * sizeof *ids);
    rf_model *model = create(&plain_run);
    rf_session *session = open_session(model, ids, &plain_run);
    for (int64_t length = prompt; length < TOKENS; length++) {
        int32_t swapped[TOKENS];
        const int32_t next[BATCH] = {ids[length], ids[TOKENS + length]};
        assert_ok(rf_session_reorder(session, sources, alike, error));
        memcpy(swapped, ids, (size_t)length * sizeof *ids);
        memcpy(ids, ids + TOKENS, (size_t)length * sizeof *ids);
        memcpy(ids + TOKENS, swapped, (size_t)length * sizeof *ids);
        assert_ok(rf_session_append(session, next, NULL, 1, error));
        for (int64_t row = 0; row < BATCH; row++) {
            check_row(session, row, ids + row * TOKENS, NULL, length + 1);
        }
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_reordered(void **state)
{
    (void)state;
    check_reordered(0);
    check_reordered(plain_run.prompt);
}

/* Tokens drawn on the device are the ones that the text goes on with. */
static void test_draws(void **state)
{
    (void)state;
    int32_t ids[BATCH * TOKENS];
    int32_t tokens[BATCH];
    rf_sampling sampling;
    const int64_t prompt = plain_run.prompt;
    fill_ids(ids, BATCH * TOKENS, VOCABULARY, 3);
    rf_sampling_default(&sampling);
    rf_model *model = create(&plain_run);
    rf_session *session = open_session(model, ids, &plain_run);
    assert_ok(rf_session_set_sampling(session, &sampling, error));
    assert_ok(rf_session_draw(session, 0, BATCH, tokens, error));
    for (int64_t length = prompt; length < prompt + 6; length++) {
        for (int64_t row = 0; row < BATCH; row++) {
            ids[row * TOKENS + length] = tokens[row];
        }
        assert_ok(rf_session_advance(session, tokens, error));
    }
    assert_ok(rf_session_fetch_logits(session, error));
    for (int64_t row = 0; row < BATCH; row++) {
        check_row(session, row, ids + row * TOKENS, NULL, prompt + 6);
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

/* Where chunks of two lengths make a short text a padded one, the forward pass hashes before a
 * chunk is full; so does the step. */
static void test_listed_from(void **state)
{
    (void)state;
    rf_model *model = create(&plain_run);
    rf_config *config = &model->config;
    assert_int_equal(rf_cache_listed_from(config), 8);
    assert_false(rf_cache_lists_prompt(config, 7));
    assert_true(rf_cache_lists_prompt(config, 8));
    config->kinds[0] = RF_LAYER_LOCAL;
    assert_true(rf_cache_listed_from(config) == INT64_MAX);
    assert_false(rf_cache_lists_prompt(config, 100));
    rf_model_destroy(model);
    model = create(&(run){"[\"lsh\", \"local\"]", paper, "4", 8, 1, 21, NULL});
    model->config.local.chunk_length = 6;
    assert_int_equal(rf_config_padded_length(&model->config, 7), 24);
    assert_int_equal(rf_cache_listed_from(&model->config), 6);
    assert_true(rf_cache_lists_prompt(&model->config, 6));
    model->config.lsh_options = (rf_lsh_options){.across_rounds = true};
    assert_int_equal(rf_cache_listed_from(&model->config), 8);
    assert_false(rf_cache_lists_prompt(&model->config, 6));
    assert_true(rf_cache_lists_prompt(&model->config, 7));
    rf_model_destroy(model);
}

/* What is planned holds: session, prompt and every step; on a GPU of the host's part alone. */
static void test_plan(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS, VOCABULARY, 4);
    for (int i = 0; i < 3; i++) {
        size_t planned = 0;
        rf_session *session = NULL;
        rf_model *model = create(&(run){"[\"lsh\", \"lsh\"]", options[i], "4", 8, 1, 21, NULL});
        assert_ok(rf_session_plan(model, 40, TOKENS, &planned, error));
        const size_t before = rf_memory_in_use();
        rf_memory_reset_peak();
        assert_ok(rf_session_create(model, &(rf_session_options){.capacity = TOKENS, .seed = 3},
                                    &session, error));
        assert_ok(rf_session_append(session, ids, NULL, 40, error));
        assert_ok(rf_session_append(session, ids + 40, NULL, TOKENS - 40, error));
        assert_true(rf_memory_peak() - before <= planned);
        rf_session_destroy(session);
        rf_model_destroy(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_layer_equals_the_uncached_forward),
        cmocka_unit_test(test_left_padding),
        cmocka_unit_test(test_whole_buckets_equal_the_uncached_forward),
        cmocka_unit_test(test_attended_sets),
        cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_listed_from),
        cmocka_unit_test(test_plan)};
    return run_on_devices("lsh options", tests, sizeof tests / sizeof tests[0]);
}
