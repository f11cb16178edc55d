/* A batch of random tokens, with something to learn for a model of any class. */
#ifndef RF_TOOLS_RANDOM_BATCH_H
#define RF_TOOLS_RANDOM_BATCH_H

#include "model/model.h"

typedef struct rf_random_batch {
    rf_batch batch;
    float factor; /* for rf_runner_train: 1 / what is scored, where that is language */
    int32_t *ids, *labels;
    float *values;
} rf_random_batch;

/* Cleared by rf_random_batch_clear, also after an error. A bare model has no labels. */
RF_MUST_CHECK rf_status rf_random_batch_make(const rf_config *config, int64_t batch, int64_t length,
                                             rf_random_batch *random, rf_error *error);
void rf_random_batch_clear(rf_random_batch *random);

#endif
