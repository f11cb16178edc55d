/* Beam search and the rules of scores against what transformers 5.23 writes with the same model:
 * ids recorded from generate(num_beams, length_penalty, early_stopping, eos_token_id,
 * repetition_penalty, no_repeat_ngram_size). The model has local layers only, where its cache and
 * ours define the same. LSH layers: a beam's score is that of its text when it is written alone. */
#include "collector.h"

#include "generate/session.h"

#include <math.h>
#include <string.h>

enum { MOST_TOKENS = 24, MOST_TEXTS = 3 };

static const char prompt[] = "In the beginning, something.";
static const int32_t ends[] = {5, 17, 60, 100, 130, 200, 222, 250};

typedef struct expected_text {
    int64_t count;
    double score;
    int32_t ids[MOST_TOKENS];
} expected_text;

typedef struct beam_case {
    int64_t beams, texts, tokens;
    double length_penalty;
    rf_early_stopping early;
    bool has_ends, has_rules;
    expected_text expected[MOST_TEXTS];
} beam_case;

#define SEVEN 196, 196, 143, 196, 143, 23, 143
#define LONG SEVEN, 119, 143, 23, 167, 239, 119, 166, 212, 119, 243, 95, 119
#define FIRST_END SEVEN, 119, 143, 55, 124, 185, 119, 250
#define SECOND_END SEVEN, 119, 143, 23, 167, 43, 119, 250

static const beam_case cases[] = {
    {4, 1, 20, 1.0, RF_EARLY_STOPPING_OFF, false, false, {{20, -1.40877, {LONG, 143}}}},
    {4,
     3,
     20,
     0.3,
     RF_EARLY_STOPPING_OFF,
     false,
     false,
     {{20, -11.46997, {LONG, 143}}, {20, -11.53674, {LONG, 196}}, {20, -11.85865, {LONG, 243}}}},
    {3, 1, 24, 1.0, RF_EARLY_STOPPING_OFF, false, true, {{24, -1.68933, {196, 167, 143, 196, 143,
                                                                         23,  143, 119, 143, 55,
                                                                         80,  239, 119, 166, 212,
                                                                         119, 243, 95,  119, 196,
                                                                         119, 104, 239, 167}}}},
    {3,
     3,
     24,
     0.0,
     RF_EARLY_STOPPING_OFF,
     true,
     false,
     {{1, -2.69928, {17}}, {14, -20.36427, {FIRST_END}}, {14, -20.5129, {SECOND_END}}}},
    {3,
     3,
     24,
     1.0,
     RF_EARLY_STOPPING_OFF,
     true,
     false,
     {{14, -1.45459, {FIRST_END}},
      {14, -1.46521, {SECOND_END}},
      {24, -1.46536, {LONG, 196, 119, 104, 239, 167}}}},
    {3,
     3,
     24,
     2.0,
     RF_EARLY_STOPPING_NEVER,
     true,
     false,
     {{24, -0.0610566, {LONG, 196, 119, 104, 239, 167}},
      {24, -0.0611830, {LONG, 143, 119, 99, 218, 167}},
      {24, -0.0612708, {LONG, 196, 119, 104, 239, 239}}}},
    {3,
     3,
     24,
     1.0,
     RF_EARLY_STOPPING_ON,
     true,
     false,
     {{14, -1.45459, {FIRST_END}}, {14, -1.46521, {SECOND_END}}, {1, -2.69928, {17}}}},
    {3,
     3,
     24,
     -1.0,
     RF_EARLY_STOPPING_NEVER,
     true,
     false,
     {{1, -2.69928, {17}}, {14, -285.0997, {FIRST_END}}, {14, -287.1805, {SECOND_END}}}},
};

static void check_case(rf_model *model, const beam_case *test)
{
    static collector got;
    rf_generate_options options = collecting(&got, prompt, test->tokens);
    options.beams = test->beams;
    options.samples = test->texts;
    options.length_penalty = test->length_penalty;
    options.early_stopping = test->early;
    options.log_probabilities = true;
    options.end_tokens[0] = 0;
    options.end_token_count = 1;
    if (test->has_ends) {
        options.end_token_count = sizeof ends / sizeof ends[0];
        memcpy(options.end_tokens, ends, sizeof ends);
    }
    if (test->has_rules) {
        options.sampling.repetition_penalty = 1.4;
        options.sampling.no_repeat_ngram = 2;
    }
    assert_ok(rf_generate(model, &options, NULL, error));
    for (int64_t i = 0; i < test->texts; i++) {
        const expected_text *text = &test->expected[i];
        assert_int_equal(got.texts[i].count, text->count);
        assert_memory_equal(got.texts[i].ids, text->ids, (size_t)text->count * sizeof(int32_t));
        assert_true(fabs(got.texts[i].end.score - text->score) < 2e-4 * fabs(text->score));
        assert_int_equal(got.texts[i].end.end,
                         text->count < test->tokens ? RF_TEXT_END_TOKEN : RF_TEXT_END_LENGTH);
    }
}

static void test_beams_of_transformers(void **state)
{
    (void)state;
    rf_model *model = create_byte_model("[\"local\", \"local\"]");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(model, &cases[i]);
    }
    rf_model_destroy(model);
}

static void test_greedy_of_transformers(void **state)
{
    (void)state;
    static const int32_t plain[] = {196, 167, 143, 196, 143, 23,  143, 119, 143, 55,  80,  239,
                                    119, 143, 119, 212, 104, 104, 199, 119, 119, 236, 239, 167};
    static const int32_t ruled[] = {196, 167, 143, 8,   119, 23, 166, 97,  212, 239, 80, 43,
                                    210, 250, 53,  120, 104, 95, 119, 196, 129, 236, 13, 218};
    static collector got;
    rf_model *model = create_byte_model("[\"local\", \"local\"]");
    rf_generate_options options = collecting(&got, prompt, 24);
    options.sampling.temperature = 0.0;
    assert_ok(rf_generate(model, &options, NULL, error));
    assert_memory_equal(got.texts[0].ids, plain, sizeof plain);
    options = collecting(&got, prompt, 24);
    options.sampling.temperature = 0.0;
    options.sampling.repetition_penalty = 1.4;
    options.sampling.no_repeat_ngram = 2;
    assert_ok(rf_generate(model, &options, NULL, error));
    assert_memory_equal(got.texts[0].ids, ruled, sizeof ruled);
    rf_model_destroy(model);
}

/* The log-probability of a text that is fed to a session token by token. */
static double score_alone(rf_model *model, const collected_text *text)
{
    rf_session *session = NULL;
    int32_t ids[64];
    double sum = 0.0;
    int64_t count = (int64_t)strlen(prompt);
    rf_session_options options = {.capacity = count + text->count, .seed = 4};
    for (int64_t i = 0; i < count; i++) {
        ids[i] = (uint8_t)prompt[i] + 2;
    }
    assert_ok(rf_session_create(model, &options, &session, error));
    assert_ok(rf_session_append(session, ids, NULL, count, error));
    for (int64_t i = 0; i < text->count; i++) {
        const float *scores = rf_session_logits(session, 0);
        double total = 0.0;
        for (int j = 0; j < 258; j++) {
            total += exp((double)scores[j] - (double)scores[text->ids[i]]);
        }
        assert_true(fabs(text->log_probabilities[i] + log(total)) < 1e-3);
        sum -= log(total);
        assert_ok(rf_session_append(session, &text->ids[i], NULL, 1, error));
    }
    rf_session_destroy(session);
    return sum;
}

/* Rows change places in almost every step, with keys, values, lists and buckets. */
static void check_lsh_layers(rf_lsh_options lsh_options)
{
    static collector got;
    rf_model *model = create_byte_model("[\"lsh\", \"local\", \"lsh\"]");
    model->config.lsh_options = lsh_options;
    rf_generate_options options = collecting(&got, prompt, 40);
    options.beams = 5;
    options.samples = 5;
    options.length_penalty = 0.0;
    options.log_probabilities = true;
    assert_ok(rf_generate(model, &options, NULL, error));
    for (int i = 0; i < 5; i++) {
        double alone = score_alone(model, &got.texts[i]);
        assert_true(fabs(got.texts[i].end.score - alone) < 1e-2);
        assert_true(fabs(got.texts[i].end.log_probability - alone) < 1e-2);
        assert_true(i == 0 || got.texts[i].end.score <= got.texts[i - 1].end.score);
    }
    rf_model_destroy(model);
}

static void test_beams_of_lsh_layers_keep_their_past(void **state)
{
    (void)state;
    check_lsh_layers((rf_lsh_options){.across_rounds = true});
    check_lsh_layers((rf_lsh_options){.paper = true, .same_bucket = true, .corrected = true});
}

static void expect_refusal(rf_model *model, const rf_generate_options *options, const char *words)
{
    rf_error fault = {0};
    assert_int_equal(rf_generate(model, options, NULL, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, words));
}

static void test_refusals(void **state)
{
    (void)state;
    static collector got;
    rf_model *model = create_byte_model("[\"local\"]");
    rf_generate_options options = collecting(&got, prompt, 4);
    options.beams = 2;
    options.samples = 3;
    expect_refusal(model, &options, "3 texts of 2 beams");
    options.samples = 1;
    options.likeliest = 2;
    expect_refusal(model, &options, "likeliest");
    options.likeliest = 0;
    options.window = 20;
    expect_refusal(model, &options, "a window");
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beams_of_transformers),
        cmocka_unit_test(test_greedy_of_transformers),
        cmocka_unit_test(test_beams_of_lsh_layers_keep_their_past),
        cmocka_unit_test(test_refusals),
    };
    return run_on_devices("beam", tests, sizeof tests / sizeof tests[0]);
}
