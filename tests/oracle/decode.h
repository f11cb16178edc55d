/* Naive oracles of decoding: bucket lists by their definition, the attention of one new token. */
#ifndef TESTS_ORACLE_DECODE_H
#define TESTS_ORACLE_DECODE_H

#include "ops/bucket_lists.h"
#include "ops/ops.h"

/* words [layout->words]: made anew from buckets [length]; those >= layout->buckets are left out.
 * Words that hold nothing stay as they are. */
void oracle_lists_build(const rf_lists_layout *layout, const double *buckets, int64_t length,
                        double *words);
/* One more token at the end of its bucket. */
void oracle_lists_append(const rf_lists_layout *layout, int64_t bucket, int64_t token,
                         double *words);

/* The new token of one row and head. */
typedef struct oracle_step {
    const rf_layer_cache *cache; /* its numbers; data are not read */
    int64_t token;               /* the new one */
    bool listed;
    const double *kept;    /* [token + 1] */
    const double *buckets; /* [rounds, token + 1], or NULL; >= bucket_count: masked */
    const double *rows;    /* [places, 2, width] */
    const double *query;   /* [width] */
    double scale;
} oracle_step;
/* Tokens of the window in order, into tokens [most]; gives how many. */
int64_t oracle_step_window(const oracle_step *step, int64_t round, int64_t *tokens);
/* output [width] */
void oracle_step_attend(const oracle_step *step, double *output);
/* y [width] = x * rsqrt(mean(x^2) + 1e-6) / sqrt(width) */
void oracle_normalise_key(int64_t width, const double *x, double *y);

#endif
