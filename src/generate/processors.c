/* Repetition penalty: Keskar et al. 2019; presence and frequency penalties: those of OpenAI's
 * interface; no-repeat n-grams: Paulus et al. 2017, section 2.5. In single precision and in the
 * order of Hugging Face's, where it has them. */
#include "generate/processors.h"

#include <math.h>
#include <string.h>

bool rf_processors_need_host(const rf_sampling *sampling)
{
    return sampling->presence_penalty != 0.0 || sampling->frequency_penalty != 0.0 ||
           sampling->no_repeat_ngram > 0 || sampling->bias_count > 0;
}

static void add_bias(const rf_sampling *sampling, float *scores)
{
    for (size_t i = 0; i < sampling->bias_count; i++) {
        scores[sampling->bias[i].token] += sampling->bias[i].value;
    }
}

static void count_tokens(const rf_context_tokens *context, int64_t first, int64_t vocabulary,
                         int32_t *counts)
{
    memset(counts, 0, (size_t)vocabulary * sizeof *counts);
    for (int64_t i = first; i < context->count; i++) {
        counts[context->ids[i]]++;
    }
}

static void penalise_repetition(const rf_sampling *sampling, int64_t vocabulary, float *scores,
                                const int32_t *counts)
{
    float penalty = (float)sampling->repetition_penalty;
    for (int64_t i = 0; i < vocabulary; i++) {
        if (counts[i] > 0) {
            scores[i] = scores[i] < 0.0F ? scores[i] * penalty : scores[i] / penalty;
        }
    }
}

static void penalise_new(const rf_sampling *sampling, int64_t vocabulary, float *scores,
                         const int32_t *counts)
{
    float presence = (float)sampling->presence_penalty;
    float frequency = (float)sampling->frequency_penalty;
    for (int64_t i = 0; i < vocabulary; i++) {
        if (counts[i] > 0) {
            scores[i] -= presence + frequency * (float)counts[i];
        }
    }
}

/* What has followed the last n - 1 tokens before must not follow them again. */
static void forbid_repeats(int64_t n, const rf_context_tokens *context, float *scores)
{
    const int32_t *last = context->ids + context->count - (n - 1);
    for (int64_t i = 0; i + n <= context->count; i++) {
        if (memcmp(context->ids + i, last, (size_t)(n - 1) * sizeof *last) == 0) {
            scores[context->ids[i + n - 1]] = -INFINITY;
        }
    }
}

void rf_processors_apply(const rf_sampling *sampling, const rf_context_tokens *context,
                         int64_t vocabulary, float *scores, int32_t *counts)
{
    add_bias(sampling, scores);
    if (sampling->repetition_penalty != 1.0) {
        count_tokens(context, 0, vocabulary, counts);
        penalise_repetition(sampling, vocabulary, scores, counts);
    }
    if (sampling->presence_penalty != 0.0 || sampling->frequency_penalty != 0.0) {
        count_tokens(context, context->prompt_count, vocabulary, counts);
        penalise_new(sampling, vocabulary, scores, counts);
    }
    if (sampling->no_repeat_ngram > 0) {
        forbid_repeats(sampling->no_repeat_ngram, context, scores);
    }
}
