/* The whole model of any class in double, written from the definition on top of the oracles of
 * the operations: two streams (or one), no slices, no head groups, no recomputation, no dropout. */
#ifndef TESTS_ORACLE_MODEL_H
#define TESTS_ORACLE_MODEL_H

#include "model/parameters.h"

typedef struct oracle_model {
    const rf_config *config;
    const rf_parameters *parameters;
    const double *block; /* parameters in the layout of a block */
    int64_t batch, length, rounds;
    const int32_t *ids;         /* [batch, length] */
    const int32_t *token_types; /* [batch, length], or NULL: 0 */
    const double *mask;         /* [batch, length], 0 = masked; NULL: nothing is */
    const double *segments;     /* [batch, length], below the length; NULL: one */
    const double *targets; /* what the loss is against, -100 = ignored. Causal models: unused, the
                              ids are; masked: [batch, length]; classifiers: [batch], or numbers
                              [batch, labels]; question answering: [2, batch], starts and ends */
    const double *pair_targets; /* [batch], of a model with two heads: its classifier's */
    const double *const
        *buckets; /* one a layer: [batch, heads, rounds, length], or NULL: hash with `rotations` */
    const double
        *rotations; /* [heads, head width, rounds, columns], for every layer that has no buckets */
    double smoothing;            /* of labels */
    const double *class_weights; /* [labels] or NULL */
    bool exact; /* normalisers in double, to be differentiated; else rounded to float where the
                   reference rounds them */
    double *
        *hashed; /* one a layer, or NULL: where a layer's buckets are to be kept, like `buckets` */
} oracle_model;

/* logits [batch * length, vocabulary], of a classifier [batch, labels], of question answering [2,
 * batch, length]; returns the loss as Hugging Face defines it. */
double oracle_model_forward(const oracle_model *model, double *logits);

/* ---- shared by the files of the oracle ---- */

double *oracle_fresh(int64_t count); /* zeros, released with free */
const double *oracle_parameter(const oracle_model *m, rf_parameter_role role, int64_t layer,
                               int axis);
/* accumulator += attend(norm(context)) Wo, both [batch * length, hidden]. */
void oracle_attention_half(const oracle_model *m, int64_t layer, const double *context,
                           double *accumulator);
/* y [rows, out] = x [rows, in] W^T + bias; bias may be NULL. */
void oracle_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *weight,
                   const double *bias, double *y);
/* Width of the normed output: both streams side by side, or the only one. */
int64_t oracle_output_width(const oracle_model *model);
/* What stands on top: joined [batch * length, output width] is the normed output. */
double oracle_head(const oracle_model *model, const double *joined, double *logits);

#endif
