/* From scores to log-probabilities. */
#ifndef RF_GENERATE_SCORES_H
#define RF_GENERATE_SCORES_H

#include "reformer/generate.h"

/* log of the sum of exp(scores[i]), i < count: log-probability i is scores[i] minus that. */
double rf_log_sum(const float *scores, int64_t count);
/* The `limit` tokens of the highest scores (of equal ones the lower id first), with their
 * log-probabilities; fewer where the vocabulary is smaller. likeliest [limit], written */
void rf_likeliest(const float *scores, int64_t vocabulary, double log_sum, int64_t limit,
                  rf_likely_token *likeliest);
int64_t rf_least(int64_t a, int64_t b);

#endif
