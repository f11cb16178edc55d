/* rf_generate end to end on a small model of bytes: what comes out, when it stops, what is refused.
 */
#include "small_model.h"

#include "base/memory.h"
#include "reformer/generate.h"
#include "support.h"

#include <math.h>
#include <string.h>

enum { MOST_SAMPLES = 4, TEXT_BYTES = 2048 };

typedef struct collected {
    uint8_t text[MOST_SAMPLES][TEXT_BYTES];
    size_t size[MOST_SAMPLES];
    int64_t calls, refuse_at; /* the write that is refused, < 0: none */
    int64_t asked, stop_at;   /* the question that is answered with stop */
} collected;

static int collect(void *user, int64_t sample, const uint8_t *bytes, size_t size)
{
    collected *to = user;
    assert_in_range(sample, 0, MOST_SAMPLES - 1);
    assert_true(to->size[sample] + size <= TEXT_BYTES);
    memcpy(to->text[sample] + to->size[sample], bytes, size);
    to->size[sample] += size;
    return to->calls++ == to->refuse_at;
}

static int answer(void *user)
{
    collected *to = user;
    return to->asked++ == to->stop_at;
}

static rf_model *create_fixed_byte_model(const char *layers)
{
    small_model shape = {layers, 16, 1, "8", "null", 2, 258, NULL, NULL};
    return create_small_model(&shape, "fixed32", 1);
}

static rf_generate_options options_for(const char *prompt, int64_t tokens, collected *to)
{
    *to = (collected){.refuse_at = -1, .stop_at = -1};
    rf_generate_options options = {.prompt = (const uint8_t *)prompt,
                                   .prompt_size = strlen(prompt),
                                   .max_new_tokens = tokens,
                                   .write = collect,
                                   .should_stop = answer,
                                   .user = to};
    rf_sampling_default(&options.sampling);
    options.sampling.seed = 4;
    return options;
}

static void test_greedy_text_is_that_of_a_session(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    collected to;
    rf_generate_options options = options_for("In the beginning", 60, &to);
    options.sampling.temperature = 0.0;
    rf_generate_result result;
    assert_ok(rf_generate(model, &options, &result, error));
    assert_int_equal(result.prompt_tokens, 16);
    assert_int_equal(result.new_tokens, 60);
    rf_session *session = NULL;
    assert_ok(rf_session_create(model, &(rf_session_options){.capacity = 76, .seed = 4}, &session,
                                error));
    int32_t ids[16];
    for (int i = 0; i < 16; i++) {
        ids[i] = options.prompt[i] + 2;
    }
    assert_ok(rf_session_append(session, ids, NULL, 16, error));
    size_t written = 0;
    for (int i = 0; i < 60; i++) {
        const float *logits = rf_session_logits(session, 0);
        int32_t best = 0;
        for (int32_t id = 1; id < 258; id++) {
            best = logits[id] > logits[best] ? id : best;
        }
        if (best >= 2) { /* ids 0 and 1 stand for no byte */
            assert_int_equal(to.text[0][written], best - 2);
            written++;
        }
        assert_ok(rf_session_append(session, &best, NULL, 1, error));
    }
    assert_int_equal(to.size[0], written);
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void test_samples_are_repeatable_and_differ(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    collected three;
    collected again;
    collected one;
    rf_generate_options options = options_for("Once", 50, &three);
    options.samples = 3;
    options.sampling.top_k = 40;
    options.sampling.repetition_penalty = 1.2;
    assert_ok(rf_generate(model, &options, NULL, error));
    again = (collected){.refuse_at = -1, .stop_at = -1};
    options.user = &again;
    assert_ok(rf_generate(model, &options, NULL, error));
    one = (collected){.refuse_at = -1, .stop_at = -1};
    options.user = &one;
    options.samples = 0;
    assert_ok(rf_generate(model, &options, NULL, error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(three.size[i], again.size[i]);
        assert_memory_equal(three.text[i], again.text[i], three.size[i]);
    }
    assert_memory_not_equal(three.text[0], three.text[1], 20);
    assert_memory_not_equal(three.text[1], three.text[2], 20);
    assert_int_equal(one.size[0], three.size[0]); /* how many others there are does not matter */
    assert_memory_equal(one.text[0], three.text[0], one.size[0]);
    rf_model_destroy(model);
}

static void test_empty_prompt_is_a_newline(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\"]");
    collected empty;
    collected newline;
    rf_generate_options options = options_for("", 20, &empty);
    assert_ok(rf_generate(model, &options, NULL, error));
    options = options_for("\n", 20, &newline);
    assert_ok(rf_generate(model, &options, NULL, error));
    assert_int_equal(empty.size[0], newline.size[0]);
    assert_memory_equal(empty.text[0], newline.text[0], empty.size[0]);
    rf_model_destroy(model);
}

/* A stop string taken from the text itself ends it before its first appearance. */
static void test_stop_strings(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    collected all;
    collected cut;
    rf_generate_options options = options_for("Alpha", 80, &all);
    rf_generate_result result;
    assert_ok(rf_generate(model, &options, NULL, error));
    char stop[4] = {0};
    memcpy(stop, all.text[0] + 30, 3);
    assert_int_equal(strlen(stop), 3); /* with a NUL it would be no stop string */
    const char *strings[] = {"@@@never@@@", stop};
    options = options_for("Alpha", 80, &cut);
    options.stop = strings;
    options.stop_count = 2;
    assert_ok(rf_generate(model, &options, &result, error));
    size_t first = 0;
    while (memcmp(all.text[0] + first, stop, strlen(stop)) != 0) {
        first++;
    }
    assert_true(first <= 30);
    assert_int_equal(cut.size[0], first);
    assert_memory_equal(cut.text[0], all.text[0], first);
    assert_true(result.new_tokens < 80);
    rf_model_destroy(model);
}

static void test_whole_characters(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\"]");
    collected to;
    rf_generate_options options = options_for("x", 200, &to);
    options.whole_characters = true;
    assert_ok(rf_generate(model, &options, NULL, error));
    const uint8_t *text = to.text[0];
    size_t size = to.size[0];
    size_t replaced = 0;
    for (size_t i = 0;
         i < size;) { /* random bytes: every non-ASCII one is part of a whole character */
        size_t length = text[i] < 0x80 ? 1 : text[i] < 0xE0 ? 2 : text[i] < 0xF0 ? 3 : 4;
        assert_true(i + length <= size);
        for (size_t j = 1; j < length; j++) {
            assert_int_equal(text[i + j] & 0xC0, 0x80);
        }
        replaced += length == 3 && memcmp(text + i, "\xEF\xBF\xBD", 3) == 0;
        i += length;
    }
    assert_true(replaced > 0);
    rf_model_destroy(model);
}

static void test_callbacks_end_it(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\"]");
    collected to;
    rf_error fault = {0};
    rf_generate_options options = options_for("stop", 50, &to);
    to.stop_at = 5;
    rf_generate_result result;
    assert_int_equal(rf_generate(model, &options, &result, &fault), RF_ERR_CANCELLED);
    assert_int_equal(result.new_tokens, 5);
    options = options_for("stop", 50, &to);
    to.refuse_at = 3;
    assert_int_equal(rf_generate(model, &options, &result, &fault), RF_ERR_CANCELLED);
    assert_int_equal(to.calls, 4);
    assert_true(result.new_tokens < 50);
    rf_model_destroy(model);
}

static void expect_refusal(rf_model *model, const rf_generate_options *options, rf_status status,
                           const char *words)
{
    rf_error fault = {0};
    size_t before = rf_memory_in_use();
    assert_int_equal(rf_generate(model, options, NULL, &fault), status);
    if (strstr(fault.message, words) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", words, fault.message);
    }
    assert_int_equal(rf_memory_in_use(), before);
}

static void test_refusals(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    collected to;
    char prompt[301];
    memset(prompt, 'a', 300);
    prompt[300] = '\0';
    rf_generate_options options = options_for(prompt, 1, &to);
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "300 tokens and the model has 256 positions");
    prompt[250] = '\0';
    options = options_for(prompt, 20, &to);
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "at most 7 new tokens");
    options.max_new_tokens = -1;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "-1 new tokens");
    options = options_for("a", 5, &to);
    options.samples = -2;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "-2 samples");
    options = options_for("a", 5, &to);
    options.sampling.top_p = 2.0;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "top-p is 2");
    options = options_for("a", 5, &to);
    options.max_length = -1;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "max_length): -1");
    options = options_for("a", 5, &to);
    options.beams = 2;
    options.length_penalty = (double)NAN;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "length penalty is nan");
    const char *empty[] = {""};
    options = options_for("a", 5, &to);
    options.stop = empty;
    options.stop_count = 1;
    expect_refusal(model, &options, RF_ERR_ARGUMENT, "stop string 1 is empty");
    assert_int_equal(to.calls, 0);
    rf_model_destroy(model);
}

/* Biases that add up beyond all scores, at any temperature, take their token. */
static void test_the_largest_biases(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    const rf_logit_bias bias[] = {{'q' + 2, 1e12F}, {'q' + 2, 1e12F}, {'y' + 2, -1e12F}};
    static const double temperatures[] = {0.0, 1e-20, 0.1, 1.0};
    for (size_t i = 0; i < sizeof temperatures / sizeof temperatures[0]; i++) {
        collected to;
        rf_generate_options options = options_for("a", 3, &to);
        options.sampling.temperature = temperatures[i];
        options.sampling.bias = bias;
        options.sampling.bias_count = 3;
        assert_ok(rf_generate(model, &options, NULL, error));
        assert_int_equal(to.size[0], 3);
        assert_memory_equal(to.text[0], "qqq", 3);
    }
    rf_model_destroy(model);
}

static void test_up_to_the_last_position(void **state)
{
    (void)state;
    rf_model *model = create_fixed_byte_model("[\"local\", \"lsh\"]");
    collected to;
    rf_generate_options options = options_for("abcdef", 251, &to);
    rf_generate_result result;
    assert_ok(rf_generate(model, &options, &result, error));
    assert_int_equal(result.new_tokens, 251);
    options = options_for("abcdef", 0, &to);
    assert_ok(rf_generate(model, &options, &result, error));
    assert_int_equal(result.new_tokens, 0);
    assert_int_equal(to.calls, 0);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_text_is_that_of_a_session),
        cmocka_unit_test(test_samples_are_repeatable_and_differ),
        cmocka_unit_test(test_empty_prompt_is_a_newline),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_whole_characters),
        cmocka_unit_test(test_callbacks_end_it),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_largest_biases),
        cmocka_unit_test(test_up_to_the_last_position),
    };
    return run_on_devices("generate", tests, sizeof tests / sizeof tests[0]);
}
