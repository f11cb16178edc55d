/* rf_score against a session that reads the text token by token, where both define the same. */
#include "collector.h"

#include <math.h>
#include <string.h>

static const char text[] = "Not far from the town, in a hut of two rooms.";
enum { TOKENS = sizeof text - 1 };

typedef struct scores {
    double values[TOKENS];
    rf_likely_token best[TOKENS];
    int64_t count, stop_at;
} scores;

static int on_token(void *user, const rf_generated_token *token)
{
    scores *to = user;
    assert_int_equal(token->number, to->count);
    assert_int_equal(token->id, (uint8_t)text[to->count] + 2);
    assert_int_equal(token->size, 1);
    assert_int_equal(token->likeliest_count, to->count == 0 ? 0 : 2);
    to->values[to->count] = token->log_probability;
    if (token->likeliest_count > 0) {
        to->best[to->count] = token->likeliest[0];
        assert_true(token->likeliest[0].log_probability >= token->likeliest[1].log_probability);
    }
    return to->count++ == to->stop_at;
}

static rf_score_options options_for(scores *to)
{
    *to = (scores){.stop_at = -1};
    return (rf_score_options){.text = (const uint8_t *)text,
                              .size = TOKENS,
                              .likeliest = 2,
                              .token = on_token,
                              .user = to};
}

static void test_sum(void **state)
{
    (void)state;
    scores got;
    rf_score_result result;
    rf_session *session = NULL;
    rf_model *model = create_byte_model("[\"local\", \"local\"]");
    rf_score_options options = options_for(&got);
    double sum = 0.0;
    assert_ok(rf_score(model, &options, &result, error));
    assert_int_equal(got.count, TOKENS);
    assert_true(isnan(got.values[0]));
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = TOKENS}, &session, error));
    for (int i = 0; i + 1 < TOKENS; i++) {
        int32_t id = (uint8_t)text[i] + 2;
        int32_t next = (uint8_t)text[i + 1] + 2;
        double total = 0.0;
        assert_ok(rf_session_append(session, &id, NULL, 1, error));
        const float *logits = rf_session_logits(session, 0);
        for (int j = 0; j < 258; j++) {
            total += exp((double)logits[j] - (double)logits[next]);
        }
        assert_true(fabs(got.values[i + 1] + log(total)) < 1e-3);
        assert_true(got.best[i + 1].log_probability >= got.values[i + 1]);
        sum += got.values[i + 1];
    }
    assert_int_equal(result.tokens, TOKENS);
    assert_int_equal(result.scored_tokens, TOKENS - 1);
    assert_int_equal(result.scored_bytes, TOKENS - 1);
    assert_true(fabs(result.log_probability - sum) < 1e-9);
    assert_true(fabs(result.bits_per_byte + sum / log(2.0) / (TOKENS - 1)) < 1e-9);
    assert_true(result.bits_per_token == result.bits_per_byte);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_ends(void **state)
{
    (void)state;
    scores got;
    rf_score_result result;
    rf_error fault = {0};
    rf_model *model = create_byte_model("[\"lsh\"]");
    rf_score_options options = options_for(&got);
    got.stop_at = 7;
    assert_int_equal(rf_score(model, &options, &result, &fault), RF_ERR_CANCELLED);
    assert_int_equal(got.count, 8);
    options = options_for(&got);
    options.size = 1;
    assert_ok(rf_score(model, &options, &result, error));
    assert_true(result.tokens == 1 && result.scored_tokens == 0 && isnan(result.bits_per_byte));
    options.likeliest = -1;
    assert_int_equal(rf_score(model, &options, &result, &fault), RF_ERR_ARGUMENT);
    options.likeliest = 0;
    options.size = 0;
    assert_int_equal(rf_score(model, &options, &result, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "has 0 tokens; expected 1 to the model's 256"));
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sum), cmocka_unit_test(test_ends)};
    return run_on_devices("score", tests, sizeof tests / sizeof tests[0]);
}
