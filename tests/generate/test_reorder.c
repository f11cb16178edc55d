/* Rows that change places go on as what they have become, in every layer; with rows of their own
 * lengths, and rows begun anew. */
#include "collector.h"

#include "base/memory.h"
#include "generate/session.h"

#include <math.h>
#include <string.h>

enum { ROWS = 5, PROMPT = 40, STEPS = 30, TOTAL = PROMPT + STEPS };

static const char *const layers[] = {"[\"local\", \"local\"]", "[\"lsh\", \"lsh\"]",
                                     "[\"local\", \"lsh\", \"local\"]", "[\"full\", \"lsh\"]"};

/* Who each row becomes, one line after the other: rings, copies, both, nothing. */
static const int32_t orders[][ROWS] = {{1, 2, 3, 4, 0}, {0, 0, 0, 0, 0}, {1, 0, 3, 2, 4},
                                       {4, 4, 1, 2, 3}, {0, 1, 2, 3, 4}, {2, 0, 0, 1, 3},
                                       {3, 4, 0, 1, 2}, {1, 2, 0, 0, 4}};

static double largest_difference(const float *a, const float *b)
{
    double largest = 0.0;
    for (int i = 0; i < 258; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    }
    return largest;
}

/* The scores behind a text that is read from its beginning. */
static void check_alone(rf_model *model, const int32_t *ids, int64_t count, const float *scores)
{
    rf_session *session = NULL;
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = TOTAL, .seed = 3},
                                &session, error));
    assert_ok(rf_session_append(session, ids, NULL, PROMPT, error));
    for (int64_t i = PROMPT; i < count; i++) {
        assert_ok(rf_session_append(session, ids + i, NULL, 1, error));
    }
    assert_true(largest_difference(rf_session_logits(session, 0), scores) < 1e-3);
    rf_session_destroy(session);
}

static void check_layers(const char *kinds)
{
    static int32_t texts[ROWS][TOTAL];
    static int32_t before[ROWS][TOTAL];
    rf_session *session = NULL;
    rf_model *model = create_byte_model(kinds);
    rf_session_options options = {.batch = ROWS, .capacity = TOTAL, .seed = 3};
    int32_t next[ROWS];
    fill_ids(texts[0], PROMPT, 258, 1);
    assert_ok(rf_session_create(model, &options, &session, error));
    rf_prompt prompt = {.ids = texts[0], .count = PROMPT, .rows = ROWS, .shared = true};
    for (int row = 1; row < ROWS; row++) {
        memcpy(texts[row], texts[0], sizeof texts[0]);
    }
    assert_ok(rf_session_start(session, &prompt, error));
    for (int64_t step = 0; step < STEPS; step++) {
        const int32_t *order = orders[(size_t)step % (sizeof orders / sizeof orders[0])];
        size_t in_use = rf_memory_in_use();
        assert_ok(rf_session_reorder(session, order, PROMPT, error));
        assert_true(step == 0 || rf_memory_in_use() == in_use);
        memcpy(before, texts, sizeof texts);
        fill_ids(next, ROWS, 258, (uint64_t)(100 + step));
        for (int row = 0; row < ROWS; row++) {
            memcpy(texts[row], before[order[row]], sizeof texts[row]);
            texts[row][PROMPT + step] = next[row];
        }
        assert_ok(rf_session_append(session, next, NULL, 1, error));
    }
    for (int row = 0; row < ROWS; row++) {
        check_alone(model, texts[row], TOTAL, rf_session_logits(session, row));
    }
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_reorder(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        check_layers(layers[i]);
    }
}

/* One row begins anew in the middle, shorter, and does not disturb the others. */
static void test_rows_of_their_own(void **state)
{
    (void)state;
    static int32_t texts[3][TOTAL];
    rf_session *session = NULL;
    rf_session *alone = NULL;
    rf_error fault = {0};
    int32_t next[3];
    rf_model *model = create_byte_model("[\"local\", \"lsh\", \"full\"]");
    rf_session_options options = {.batch = 3, .capacity = TOTAL, .seed = 3};
    assert_ok(rf_session_create(model, &options, &session, error));
    for (int row = 0; row < 3; row++) {
        fill_ids(texts[row], TOTAL, 258, (uint64_t)row);
    }
    assert_ok(rf_session_start_row(session, 0, texts[0], PROMPT, error));
    assert_ok(rf_session_start_row(session, 1, texts[2], 3, error));
    assert_int_equal(rf_session_append(session, texts[0], NULL, 1, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "sequence 2 of the session has no prompt"));
    assert_ok(rf_session_start_row(session, 2, texts[2], 9, error));
    for (int step = 0; step < 20; step++) {
        if (step == 6) {
            assert_ok(rf_session_start_row(session, 1, texts[1], 11, error));
        }
        next[0] = texts[0][PROMPT + step];
        next[1] = step < 6 ? texts[2][3 + step] : texts[1][11 + step - 6];
        next[2] = texts[2][9 + step];
        assert_ok(rf_session_append(session, next, NULL, 1, error));
    }
    assert_int_equal(rf_session_length(session), PROMPT + 20);
    options.batch = 1;
    assert_ok(rf_session_create(model, &options, &alone, error));
    assert_ok(rf_session_append(alone, texts[1], NULL, 11, error));
    for (int i = 11; i < 25; i++) {
        assert_ok(rf_session_append(alone, texts[1] + i, NULL, 1, error));
    }
    assert_true(largest_difference(rf_session_logits(alone, 0), rf_session_logits(session, 1)) <
                1e-3);
    check_alone(model, texts[0], PROMPT + 20, rf_session_logits(session, 0));
    rf_session_destroy(alone);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reorder),
                                       cmocka_unit_test(test_rows_of_their_own)};
    return run_on_devices("reorder", tests, sizeof tests / sizeof tests[0]);
}
