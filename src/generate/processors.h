/* Rules that change scores by what stands in the context. */
#ifndef RF_GENERATE_PROCESSORS_H
#define RF_GENERATE_PROCESSORS_H

#include "reformer/generate.h"

/* Tokens of a context: the prompt's, then the new ones. */
typedef struct rf_context_tokens {
    const int32_t *ids;          /* [count] */
    int64_t count, prompt_count; /* all, and how many of them are the prompt's */
} rf_context_tokens;

/* Whether there is a rule that sampling on the device does not have. */
bool rf_processors_need_host(const rf_sampling *sampling);
/* In this order: bias, repetition penalty, presence and frequency penalty, no-repeat n-grams, which
 * make a score minus infinity. scores [vocabulary], changed; counts [vocabulary], overwritten.
 * O(vocabulary + tokens x n). */
void rf_processors_apply(const rf_sampling *sampling, const rf_context_tokens *context,
                         int64_t vocabulary, float *scores, int32_t *counts);

#endif
