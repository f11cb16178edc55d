/* The whole causal language model in double, written from the definition on top of the oracles of
 * the operations: two streams, no slices, no head groups, no recomputation, no dropout. */
#ifndef TESTS_ORACLE_MODEL_H
#define TESTS_ORACLE_MODEL_H

#include "model/parameters.h"

typedef struct oracle_model {
    const rf_config *config;
    const rf_parameters *parameters;
    const double *block; /* parameters in the layout of a block */
    int64_t batch, length, rounds;
    const int32_t *ids; /* [batch, length] */
    const double *const
        *buckets; /* one a layer: [batch, heads, rounds, length], or NULL: hash with `rotations` */
    const double
        *rotations; /* [heads, head width, rounds, columns], for every layer that has no buckets */
    bool exact;     /* normalisers in double, to be differentiated; else rounded to float where the
                       reference rounds them */
    double *
        *hashed; /* one a layer, or NULL: where a layer's buckets are to be kept, like `buckets` */
} oracle_model;

/* logits [batch * length, vocabulary]; returns the mean negative log-likelihood of every token but
 * the first of a sequence. */
double oracle_model_forward(const oracle_model *model, double *logits);

#endif
