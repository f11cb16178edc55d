/* Naive oracles in double of hashing, sorting and attention: no tiles, one number at a time. Shapes
 * as in ops/attention.h; integers and masks come as doubles too. */
#ifndef TESTS_ORACLE_ATTENTION_H
#define TESTS_ORACLE_ATTENTION_H

#include "ops/ops.h"

enum { ORACLE_MAX_WIDTH = 256, ORACLE_MAX_LENGTH = 2048 }; /* length: corrected duplicates */

/* op(a) op(b): the sizes and leading dimensions of `gemm`, whose data is not read. c in and out;
 * bias may be NULL. */
void oracle_gemm(const rf_gemm *gemm, const double *a, const double *b, const double *bias,
                 double *c);

/* rotations NULL: drawn from the key. key_mask may be NULL. */
void oracle_bucket_hash(const rf_bucket_hash *hash, const double *query, const double *rotations,
                        const double *key_mask, double *buckets);

/* segments and inverse may be NULL. */
void oracle_bucket_sort(const rf_bucket_sort *sort, const double *buckets, const double *segments,
                        double *order, double *inverse);

/* The tensors of the plan are not read: order, key_mask, segments, bucket and, with normalised
 * keys, key may be NULL. */
typedef struct oracle_attention {
    const rf_attention_plan *plan;
    int64_t width;
    const double *order, *key_mask, *segments, *bucket, *query, *key, *value;
} oracle_attention;

/* Per part; log_norm rounded to float, as the operation must. */
void oracle_block_attention(const oracle_attention *in, double *output, double *log_norm);
/* All parts as one exact softmax, nothing rounded: what the backward differentiates. norm = M + log
 * L. */
void oracle_merged_attention(const oracle_attention *in, double *merged, double *norm);

/* norm rounded once to float. Sizes from combine->output.shape. */
void oracle_combine_rounds(const rf_combine_rounds *combine, const double *output,
                           const double *log_norm, double *merged, double *norm);

#endif
