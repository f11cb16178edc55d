/* From scores to a token: repetition penalty, temperature, top-k, top-p, min-p, in that order
 * (Hugging Face's). */
#ifndef RF_GENERATE_SAMPLER_H
#define RF_GENERATE_SAMPLER_H

#include "base/status.h"
#include "reformer/generate.h"

/* Work space for one vocabulary; the draws are a function of (seed, sample, token number) and
 * nothing else. */
typedef struct rf_sampler {
    rf_sampling options;
    int64_t vocabulary;
    float *scores;       /* [vocabulary], owned: after penalty and temperature */
    double *weights;     /* [vocabulary], owned: of candidates, not normalised */
    int32_t *candidates; /* [vocabulary], owned */
} rf_sampler;

/* RF_ERR_ARGUMENT naming the option that is out of range. */
RF_MUST_CHECK rf_status rf_sampler_init(rf_sampler *sampler, const rf_sampling *options,
                                        int64_t vocabulary, rf_error *error);
void rf_sampler_clear(rf_sampler *sampler);
/* The next token.
 *   logits  [vocabulary]
 *   seen    [vocabulary], 1 where the token stands in the context; read only with a repetition
 * penalty sample, number   which sample, and the how manieth of its new tokens: they key the draw
 * RF_ERR_NUMERIC if a score is not finite. */
RF_MUST_CHECK rf_status rf_sampler_next(rf_sampler *sampler, const float *logits,
                                        const uint8_t *seen, int64_t sample, int64_t number,
                                        int32_t *token, rf_error *error);

#endif
