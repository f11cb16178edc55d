/* The shape rule of every operation, checked once for all back ends, and what the rules are written
 * with. */
#ifndef RF_OPS_CHECK_H
#define RF_OPS_CHECK_H

#include "ops/ops.h"

/* RF_OK, or RF_ERR_ARGUMENT with a message that names the operation, the tensor and both shapes.
 * With `dry` tensors may lack data. `op` is below RF_OP_COUNT. */
RF_MUST_CHECK rf_status rf_op_check(rf_op op, const void *arguments, bool dry, rf_error *error);

/* ---- for the rules ---- */

/* Which call is being checked. */
typedef struct rf_check_scope {
    const char *op;
    bool dry;
    rf_error *error;
} rf_check_scope;

enum { RF_CHECK_TEXT_BYTES = 160 }; /* for rf_tensor_describe */

/* Sets of types. */
#define RF_CHECK_F32 (1U << RF_F32)
#define RF_CHECK_BF16 (1U << RF_BF16)
#define RF_CHECK_F16 (1U << RF_F16)
#define RF_CHECK_I32 (1U << RF_I32)
#define RF_CHECK_U8 (1U << RF_U8)
#define RF_CHECK_REAL (RF_CHECK_F32 | RF_CHECK_BF16)
#define RF_CHECK_FIXED32 (1U << RF_FIXED32)

/* A tensor that fixes sizes for others: one of the types, and `rank` dimensions (0: any number from
 * 1). */
RF_MUST_CHECK rf_status rf_check_free(const rf_check_scope *scope, const char *name,
                                      const rf_tensor *tensor, unsigned dtypes, int rank);
/* A tensor whose type and shape must be those of `needed`, because of `source`. */
RF_MUST_CHECK rf_status rf_check_like(const rf_check_scope *scope, const char *name,
                                      const rf_tensor *tensor, rf_tensor needed,
                                      const char *source_name, const rf_tensor *source);
/* The same, or absent. */
RF_MUST_CHECK rf_status rf_check_optional(const rf_check_scope *scope, const char *name,
                                          const rf_tensor *tensor, rf_tensor needed,
                                          const char *source_name, const rf_tensor *source);
/* The shape of `like` in any of the types. */
RF_MUST_CHECK rf_status rf_check_shape(const rf_check_scope *scope, const char *name,
                                       const rf_tensor *tensor, unsigned dtypes, rf_tensor like,
                                       const char *source_name, const rf_tensor *source);
/* low <= value <= high */
RF_MUST_CHECK rf_status rf_check_range(const rf_check_scope *scope, const char *name, int64_t value,
                                       int64_t low, int64_t high);
/* 0 <= probability < 1 */
RF_MUST_CHECK rf_status rf_check_probability(const rf_check_scope *scope, double probability);
/* A norm that is part of another operation has no dropout. */
rf_status rf_check_norm_keeps(const rf_check_scope *scope, const rf_layer_norm *norm);

/* rf_project (check_project.c): the input's width is the products' inner size; what goes with what.
 */
RF_MUST_CHECK rf_status rf_check_project(const rf_check_scope *scope, const void *arguments);

/* ---- the rules of attention (check_attention.c); `arguments` is the struct of that name ---- */

/* Of a hash: how many, each even (hyperplanes: a power of 2), and their product. */
RF_MUST_CHECK rf_status rf_check_factors(const rf_check_scope *scope, const rf_bucket_hash *hash);
/* rf_bucket_hash: factors are even and their product, plus one, fits an int32. */
RF_MUST_CHECK rf_status rf_check_bucket_hash(const rf_check_scope *scope, const void *arguments);
/* rf_bucket_sort: there are at least as many slots as tokens. */
RF_MUST_CHECK rf_status rf_check_bucket_sort(const rf_check_scope *scope, const void *arguments);
/* rf_block_attention: the plan's numbers, then every tensor against them. */
RF_MUST_CHECK rf_status rf_check_block_attention(const rf_check_scope *scope,
                                                 const void *arguments);
/* rf_block_attention_backward: the same. */
RF_MUST_CHECK rf_status rf_check_block_attention_backward(const rf_check_scope *scope,
                                                          const void *arguments);
/* rf_combine_rounds: the parts of `output` give all other shapes. */
RF_MUST_CHECK rf_status rf_check_combine_rounds(const rf_check_scope *scope, const void *arguments);

/* ---- the rules of decoding (check_decode.c) ---- */

/* rf_step_begin: positions fill the width of the embedding. */
RF_MUST_CHECK rf_status rf_check_step_begin(const rf_check_scope *scope, const void *arguments);
/* rf_step_project: the norm gives the products' inner size; what goes with what. */
RF_MUST_CHECK rf_status rf_check_step_project(const rf_check_scope *scope, const void *arguments);
/* rf_cache_fill: no more tokens than places; the group is inside the cache. */
RF_MUST_CHECK rf_status rf_check_cache_fill(const rf_check_scope *scope, const void *arguments);
/* rf_lists_fill: the prompt fits the lists. */
RF_MUST_CHECK rf_status rf_check_lists_fill(const rf_check_scope *scope, const void *arguments);
/* rf_cache_append: the factors give the number of buckets. */
RF_MUST_CHECK rf_status rf_check_cache_append(const rf_check_scope *scope, const void *arguments);
/* rf_cache_attend: a row a sequence. */
RF_MUST_CHECK rf_status rf_check_cache_attend(const rf_check_scope *scope, const void *arguments);
/* rf_sample: a penalty needs to know what was seen. */
RF_MUST_CHECK rf_status rf_check_sample(const rf_check_scope *scope, const void *arguments);

#endif
