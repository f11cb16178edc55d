/* Several prompts, windows, the best of several, log-probabilities, rules: each text is the one
 * that is written alone, whatever stands beside it. */
#include "collector.h"

#include "generate/session.h"

#include <math.h>
#include <string.h>

enum { PROMPTS = 6 };

/* Of lengths on both sides of a chunk, of which LSH layers take note. */
static const char *const words[PROMPTS] = {
    "a",
    "In the beginning, something that is longer than two of the chunks it is cut into.",
    "Once",
    "",
    "There was a time of",
    "exactly sixteen."};

static void fill_prompts(rf_prompt_text *prompts)
{
    for (int i = 0; i < PROMPTS; i++) {
        prompts[i] = (rf_prompt_text){(const uint8_t *)words[i], strlen(words[i])};
    }
}

/* All prompts together equal each alone. */
static void check_together(rf_model *model, rf_generate_options options, int64_t batch)
{
    static collector all;
    static collector alone;
    rf_prompt_text prompts[PROMPTS];
    int64_t texts = options.samples > 0 ? options.samples : 1;
    rf_generate_options together = options;
    fill_prompts(prompts);
    memset(&all, 0, sizeof all);
    together.prompts = prompts;
    together.prompt_count = PROMPTS;
    together.batch = batch;
    together.user = &all;
    assert_ok(rf_generate(model, &together, NULL, error));
    for (int i = 0; i < PROMPTS; i++) {
        memset(&alone, 0, sizeof alone);
        options.prompt = (const uint8_t *)words[i];
        options.prompt_size = strlen(words[i]);
        options.user = &alone;
        assert_ok(rf_generate(model, &options, NULL, error));
        for (int64_t text = 0; text < texts; text++) {
            assert_same_text(&all.texts[i * texts + text], &alone.texts[text]);
        }
    }
}

static void test_prompts_of_different_lengths(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, 2, 4, 0};
    static collector to;
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        rf_generate_options options = collecting(&to, "", 40);
        options.sampling.temperature = 0.0;
        check_together(model, options, batches[i]);
        options = collecting(&to, "", 30);
        options.samples = 3;
        options.sampling.top_k = 30;
        options.sampling.repetition_penalty = 1.3;
        check_together(model, options, batches[i]);
    }
    rf_model_destroy(model);
}

/* Texts that end early leave their rows to others, and rows without work go on unread. */
static void test_early_ends(void **state)
{
    (void)state;
    static collector to;
    rf_model *model = create_byte_model("[\"lsh\", \"local\"]");
    for (int64_t batch = 1; batch < 5; batch++) {
        rf_generate_options options = collecting(&to, "", 150);
        for (int i = 0; i < 8; i++) {
            options.end_tokens[i] = 20 + 30 * i;
        }
        options.end_token_count = 8;
        options.samples = 2;
        check_together(model, options, batch);
    }
    rf_model_destroy(model);
}

static void test_rules_with_many(void **state)
{
    (void)state;
    static collector to;
    static const rf_logit_bias bias[] = {{34, 1.5F}, {7, -3.0F}};
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    rf_generate_options options = collecting(&to, "", 25);
    options.samples = 2;
    options.log_probabilities = true;
    options.sampling.no_repeat_ngram = 2;
    options.sampling.presence_penalty = 0.4;
    options.sampling.frequency_penalty = 0.3;
    options.sampling.bias = bias;
    options.sampling.bias_count = 2;
    check_together(model, options, 5);
    rf_model_destroy(model);
}

/* Where the host chooses, it draws what the device draws. */
static void test_host_draws_as_the_device(void **state)
{
    (void)state;
    static collector device;
    static collector host;
    static const double temperatures[] = {0.0, 0.8};
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    for (int i = 0; i < 2; i++) {
        rf_generate_options options = collecting(&device, "Once upon a time", 60);
        options.samples = 3;
        options.sampling.temperature = temperatures[i];
        options.sampling.top_p = 0.9;
        options.sampling.repetition_penalty = 1.2;
        assert_ok(rf_generate(model, &options, NULL, error));
        memset(&host, 0, sizeof host);
        options.user = &host;
        options.log_probabilities = true;
        assert_ok(rf_generate(model, &options, NULL, error));
        for (int text = 0; text < 3; text++) {
            assert_int_equal(device.texts[text].count, 60);
            assert_memory_equal(device.texts[text].ids, host.texts[text].ids, 60 * sizeof(int32_t));
        }
    }
    rf_model_destroy(model);
}

/* No two tokens twice in a row of the same two, and no biased one. */
static void test_rules_hold(void **state)
{
    (void)state;
    static collector to;
    const rf_logit_bias bias[] = {{196, -1000.0F}};
    rf_model *model = create_byte_model("[\"local\"]");
    rf_generate_options options = collecting(&to, "abcabc", 200);
    options.sampling.temperature = 0.5;
    options.sampling.no_repeat_ngram = 2;
    options.sampling.bias = bias;
    options.sampling.bias_count = 1;
    assert_ok(rf_generate(model, &options, NULL, error));
    for (int i = 0; i + 1 < 200; i++) {
        assert_int_not_equal(to.texts[0].ids[i], 196);
        for (int j = 0; j < i; j++) {
            assert_true(memcmp(to.texts[0].ids + i, to.texts[0].ids + j, 2 * sizeof(int32_t)) != 0);
        }
    }
    rf_model_destroy(model);
}

static void test_log_probabilities(void **state)
{
    (void)state;
    static collector to;
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    rf_generate_options options = collecting(&to, "Once upon a time", 30);
    options.likeliest = COLLECTED_LIKELIEST;
    options.sampling.temperature = 0.0;
    assert_ok(rf_generate(model, &options, NULL, error));
    const collected_text *text = &to.texts[0];
    double sum = 0.0;
    for (int64_t i = 0; i < text->count; i++) {
        assert_int_equal(text->likeliest[i][0].id, text->ids[i]);
        assert_true(text->likeliest[i][0].log_probability == text->log_probabilities[i]);
        for (int j = 1; j < COLLECTED_LIKELIEST; j++) {
            assert_true(text->likeliest[i][j].log_probability <=
                        text->likeliest[i][j - 1].log_probability);
        }
        sum += text->log_probabilities[i];
    }
    assert_true(fabs(sum - text->end.log_probability) < 1e-9 && sum < 0.0);
    rf_model_destroy(model);
}

static double mean(const collected_text *text)
{
    return text->end.log_probability / (double)text->count;
}

static void test_best_of(void **state)
{
    (void)state;
    static collector all;
    static collector best;
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    rf_generate_options options = collecting(&all, "Once", 30);
    options.samples = 7;
    options.log_probabilities = true;
    assert_ok(rf_generate(model, &options, NULL, error));
    memset(&best, 0, sizeof best);
    options.user = &best;
    options.samples = 2;
    options.best_of = 7;
    options.batch = 3;
    assert_ok(rf_generate(model, &options, NULL, error));
    int first = 0;
    for (int i = 1; i < 7; i++) {
        first = mean(&all.texts[i]) > mean(&all.texts[first]) ? i : first;
    }
    int second = first == 0 ? 1 : 0;
    for (int i = 0; i < 7; i++) {
        bool is_better = i != first && mean(&all.texts[i]) > mean(&all.texts[second]);
        second = is_better ? i : second;
    }
    assert_same_text(&best.texts[0], &all.texts[first]);
    assert_same_text(&best.texts[1], &all.texts[second]);
    options.samples = 8;
    rf_error fault = {0};
    assert_int_equal(rf_generate(model, &options, NULL, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "best 8 of 7"));
    rf_model_destroy(model);
}

/* A session that is begun anew with the last `window` tokens whenever it is full. */
static void write_with_window(rf_model *model, int64_t window, int32_t *ids, int64_t count,
                              int64_t total)
{
    rf_session *session = NULL;
    rf_session_options options = {.capacity = 256, .seed = 4};
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_ok(rf_session_append(session, ids, NULL, count, error));
    for (;;) {
        const float *scores = rf_session_logits(session, 0);
        int32_t best = 0;
        for (int32_t i = 1; i < 258; i++) {
            best = scores[i] > scores[best] ? i : best;
        }
        ids[count++] = best;
        if (count == total) {
            break;
        }
        if (rf_session_length(session) == 256) {
            assert_ok(rf_session_start_row(session, 0, ids + count - 1 - window, window, error));
        }
        assert_ok(rf_session_append(session, &best, NULL, 1, error));
    }
    rf_session_destroy(session);
}

static void test_window(void **state)
{
    (void)state;
    static collector to;
    static int32_t ids[COLLECTED_TOKENS];
    rf_model *model = create_byte_model("[\"local\", \"lsh\"]");
    for (int i = 0; i < 20; i++) {
        ids[i] = 'a' + i % 7 + 2;
    }
    write_with_window(model, 100, ids, 20, 520);
    rf_generate_options options = collecting(&to, "abcdefgabcdefgabcdef", 500);
    options.sampling.temperature = 0.0;
    options.window = 100;
    assert_ok(rf_generate(model, &options, NULL, error));
    assert_int_equal(to.texts[0].count, 500);
    assert_memory_equal(to.texts[0].ids, ids + 20, 500 * sizeof *ids);
    options.sampling.temperature = 1.0;
    options.max_new_tokens = 300;
    options.samples = 2;
    options.sampling.repetition_penalty = 1.1;
    check_together(model, options, 5);
    rf_model_destroy(model);
}

/* Rows whose texts are over become full while others write on. */
static void test_window_with_idle_rows(void **state)
{
    (void)state;
    static collector to;
    rf_model *model = create_byte_model("[\"lsh\", \"local\"]");
    rf_generate_options options = collecting(&to, "", 500);
    options.window = 60;
    options.end_tokens[0] = 100;
    options.end_token_count = 1;
    check_together(model, options, 6);
    rf_model_destroy(model);
}

static void expect_refusal(rf_model *model, const rf_generate_options *options, const char *said)
{
    rf_error fault = {0};
    assert_int_equal(rf_generate(model, options, NULL, &fault), RF_ERR_ARGUMENT);
    if (strstr(fault.message, said) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", said, fault.message);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static collector to;
    rf_prompt_text prompts[PROMPTS];
    rf_model *model = create_byte_model("[\"local\"]");
    rf_generate_options options = collecting(&to, "x", 300);
    fill_prompts(prompts);
    options.prompts = prompts;
    options.prompt_count = PROMPTS;
    expect_refusal(model, &options, "prompt 1 of 1 tokens and 300 new ones");
    options.window = 256;
    expect_refusal(model, &options, "expected 1 to 255");
    options.window = 0;
    options.max_length = 50;
    expect_refusal(model, &options, "prompt 2 has 81 tokens, and at most 50");
    options.max_length = 0;
    options.likeliest = 5000;
    expect_refusal(model, &options, "likeliest tokens: 5000");
    rf_model_destroy(model);
}

static void test_max_length(void **state)
{
    (void)state;
    static collector to;
    rf_model *model = create_byte_model("[\"local\"]");
    rf_generate_options options = collecting(&to, "0123456789", 300);
    options.max_length = 35;
    assert_ok(rf_generate(model, &options, NULL, error));
    assert_int_equal(to.texts[0].count, 25);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_of_different_lengths),
        cmocka_unit_test(test_early_ends),
        cmocka_unit_test(test_rules_with_many),
        cmocka_unit_test(test_host_draws_as_the_device),
        cmocka_unit_test(test_rules_hold),
        cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_best_of),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_with_idle_rows),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_max_length),
    };
    return run_on_devices("texts", tests, sizeof tests / sizeof tests[0]);
}
