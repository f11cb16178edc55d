/* See the header. */
#include "collector.h"

#include <math.h>
#include <string.h>

static int on_bytes(void *user, int64_t sample, const uint8_t *bytes, size_t size)
{
    collected_text *text = &((collector *)user)->texts[sample];
    assert_in_range(sample, 0, COLLECTED_TEXTS - 1);
    assert_true(text->size + size <= sizeof text->bytes);
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    return 0;
}

static int on_token(void *user, const rf_generated_token *token)
{
    collected_text *text = &((collector *)user)->texts[token->sample];
    assert_int_equal(token->number, text->count);
    assert_true(text->count < COLLECTED_TOKENS && text->ended == 0);
    text->ids[text->count] = token->id;
    text->log_probabilities[text->count] = token->log_probability;
    for (int64_t i = 0; i < token->likeliest_count; i++) {
        text->likeliest[text->count][i] = token->likeliest[i];
    }
    text->count++;
    return 0;
}

static int on_end(void *user, const rf_generated_text *end)
{
    collected_text *text = &((collector *)user)->texts[end->sample];
    assert_int_equal(end->new_tokens, text->count);
    text->ended++;
    text->end = *end;
    return 0;
}

rf_generate_options collecting(collector *to, const char *prompt, int64_t tokens)
{
    memset(to, 0, sizeof *to);
    rf_generate_options options = {.prompt = (const uint8_t *)prompt,
                                   .prompt_size = strlen(prompt),
                                   .max_new_tokens = tokens,
                                   .length_penalty = 1.0,
                                   .write = on_bytes,
                                   .token = on_token,
                                   .finished = on_end,
                                   .user = to};
    rf_sampling_default(&options.sampling);
    options.sampling.seed = 4;
    return options;
}

void assert_same_text(const collected_text *one, const collected_text *other)
{
    assert_int_equal(one->ended, 1);
    assert_int_equal(other->ended, 1);
    assert_int_equal(one->count, other->count);
    assert_memory_equal(one->ids, other->ids, (size_t)one->count * sizeof *one->ids);
    assert_int_equal(one->size, other->size);
    assert_memory_equal(one->bytes, other->bytes, one->size);
    assert_int_equal(one->end.end, other->end.end);
    for (int64_t i = 0; i < one->count; i++) {
        assert_true(fabs(one->log_probabilities[i] - other->log_probabilities[i]) < 1e-4);
    }
}

rf_model *create_byte_model(const char *layers)
{
    small_model shape = {layers, 16, 1, "8", "null", 2, 258, NULL, NULL};
    return create_small_model(&shape, "float32", 1);
}
