/* Operations of attention: hashing, sorting, the plan that says who sees whom, and the softmax over
 * it. The rules for all are in ops/ops.h. */
#ifndef RF_OPS_ATTENTION_H
#define RF_OPS_ATTENTION_H

#include "base/random.h"
#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- hashing and sorting ----------------------------------------------------------------- */

enum { RF_MAX_BUCKET_FACTORS = 16 };

typedef enum rf_hash_kind { RF_HASH_ANGULAR, RF_HASH_HYPERPLANE } rf_hash_kind;
/* Columns of the rotations of one round: the sum over the factors of n / 2, or of log2(n). */
int64_t rf_hash_columns(rf_hash_kind kind, const int64_t *factors, int count);

/* Locality-sensitive hashing (Kitaev et al. 2020, section 2), with factorised buckets.
 *   query      [batch, length, heads, width] real
 *   rotations  [all_heads, width, rounds, columns] f32, columns = rf_hash_columns; absent: element
 *              (h, i, r, j) is rf_random_normal(key, ((h * width + i) * rounds + r) * columns + j),
 *              h counted over all heads of the layer
 *   key_mask   optional [batch, length] u8: where 0, the bucket is the product of the factors
 *   buckets    [batch, heads, rounds, length] i32, written
 * A factor n has a digit of its own columns' products p = query . rotation:
 *   ANGULAR (Andoni et al. 2015)  argmax over concat(p, -p) of n / 2 products, lowest index of ties
 *   HYPERPLANE (Charikar 2002)    n = 2^b: the sum of 2^j over those of b products where p_j < 0
 * and the bucket is the mixed-radix number of the digits, the first factor's the least significant.
 * Products are summed in f32. With a bf16 query a back end may round the rotations to bf16 too.
 * With a probability above 0 component i of head h (of all) of token t of row b is hashed as 0
 * unless rf_random_uniform(dropout_key, (((first_sample + b) * length + t) * all_heads + h) * width
 * + i) >= probability. What is kept is not scaled: a bucket does not depend on a query's length. */
typedef struct rf_bucket_hash {
    rf_tensor query, rotations, key_mask;
    rf_random_key key;
    int64_t first_head; /* of this group within the layer */
    int64_t rounds;
    int factor_count;
    int64_t factors[RF_MAX_BUCKET_FACTORS]; /* each even; HYPERPLANE: powers of 2 */
    rf_tensor buckets;
    rf_hash_kind kind;
    float probability; /* of dropout: 0 <= probability < 1 */
    rf_random_key dropout_key;
    int64_t first_sample, all_heads; /* of the layer; with dropout only */
} rf_bucket_hash;

/* Stable counting sort of the tokens of each (batch, head, round) by bucket, or by (segment,
 * bucket).
 *   buckets  [batch, heads, rounds, length] i32, each in [0, bucket_count)
 *   segments optional [batch, length] i32, each in [0, segment_count)
 *   order    [batch, heads, rounds, slots] i32: slot -> token; slots >= length; from length on -1
 *            (empty)
 *   inverse  optional [batch, heads, rounds, length] i32: token -> slot */
typedef struct rf_bucket_sort {
    rf_tensor buckets, segments;
    int64_t bucket_count, segment_count; /* the latter with segments only */
    rf_tensor order, inverse;
} rf_bucket_sort;

/* ---- attention ------------------------------------------------------------------------------ */

typedef enum rf_wrap {
    RF_WRAP_NONE,     /* blocks before the first and after the last do not exist */
    RF_WRAP_PART,     /* modulo the blocks of the part (local) */
    RF_WRAP_ALL_PARTS /* modulo the blocks of all parts (Hugging Face's lsh) */
} rf_wrap;
typedef enum rf_self_rule {
    RF_SELF_ORDINARY,
    RF_SELF_LAST_RESORT /* the pair (i, i) scores exactly -1e5, whatever else holds */
} rf_self_rule;
typedef enum rf_duplicates {
    RF_DUPLICATES_COUNTED,  /* a pair that is met in several places counts in each */
    RF_DUPLICATES_CORRECTED /* it counts once: its score is lowered by log N */
} rf_duplicates;
typedef enum rf_empty_row {
    RF_EMPTY_ROW_UNIFORM, /* pairs that are not allowed score -1e9: alone they share the weight */
    RF_EMPTY_ROW_ZERO     /* they do not exist: a row without any pair gives 0, its norm is -inf */
} rf_empty_row;
typedef enum rf_rounding {
    RF_ROUNDING_REFERENCE, /* x exp(m - log_norm): what Hugging Face's float32 gives */
    RF_ROUNDING_EXACT /* divided by the sum: weights sum to 1 in every row; with RF_WRAP_NONE and
                         RF_EMPTY_ROW_ZERO only */
} rf_rounding;

/* A softmax attention as data: in which order the tokens stand, how long a block is, which blocks a
 * query block sees, and which pairs are allowed, judged on original positions. See docs/design.md,
 * "The attention plan".
 *
 * A part is one hash round. Slot s of a part holds token order[s] (or token s where order is
 * absent); slots that hold no token (order -1, or s >= length) are masked keys and never queries.
 * `slots` is a multiple of `block`; a query block c of part p sees the key blocks c - before ... c
 * + after, in that order, as a LIST: with wrap a block may appear twice and then counts twice. A
 * shift of at least the number of blocks that wrap runs over (per part, or all parts) acts as shift
 * 0 (Hugging Face's slicing). Scores: s = scale * q . k; then pairs that are not allowed score -1e9
 * (causal: key token > query token; key_mask 0; empty slot); then RF_SELF_LAST_RESORT.
 *
 * With segments (documents that share a window) a pair of tokens of two segments does not exist,
 * and neither does a pair with an empty slot: it weighs exactly 0, even where nothing else is
 * allowed. A query always meets itself.
 *
 * The paper's own attention (Kitaev et al. 2020, section 2 and appendix A), each by itself or all
 * at once; a plan that is zero there is Hugging Face's:
 *
 * same_bucket: a pair that stands in the window of a query's slot in part p exists iff both tokens'
 * `bucket` in part p is the same one (of the query's part, also where the key's slot is another
 * part's, through RF_WRAP_ALL_PARTS); a pair with an empty slot does not exist.
 *
 * RF_DUPLICATES_CORRECTED: an allowed pair scores s - log N, where N counts the columns, over the
 * windows of the query's slots in all parts, that hold the key (with same_bucket: of those parts in
 * which both are of one bucket). N does not depend on the part, and no gradient goes through it.
 * Pairs that are not allowed and the last resort keep -1e9 and -1e5. So the merge of all parts is
 * the softmax over the union of their pairs, each once. For a kernel, with slots from `inverse` and
 * p running over the parts (no wrap): N = number of p with -before <= slot_p(key) / block -
 * slot_p(query) / block <= after [and bucket_p(key) == bucket_p(query)].
 *
 * whole_buckets: no chunks. The plan is one block of all slots (block = slots, before = after = 0,
 * no wrap) with same_bucket, and `whole_buckets` is the promise that slots stand in the order of
 * bucket_sort: ascending by (segment, bucket), tokens of one (segment, bucket) ascending, empty
 * slots last. It changes no result: it lets a kernel walk, for a tile of slots, only the slots of
 * the tile's buckets (one range, found by searching the order; causal: up to the tile's end), tile
 * by tile, however long. N is then the number of parts in which the buckets are the same.
 *
 * RF_EMPTY_ROW_ZERO: pairs that are not allowed, and pairs with empty slots, do not exist. A row
 * (of a part) without pairs has output 0 and log_norm -inf, and no gradients; rf_combine_rounds
 * takes such norms.
 *
 * RF_ROUNDING_EXACT: per part output = sum exp(s - m) v / l; combine_rounds with the same rounding
 * divides by the sum of its weights. Backward: P = exp(s - norm) as ever, but where the norm is
 * below -5e4 the row sees only itself, in every part, and the last resort's P is exactly 1 / parts
 * (elsewhere exactly 0), since float32 near -1e5 is too coarse for the difference. */
typedef struct rf_attention_plan {
    int64_t batch, heads, parts, length, slots, block, before, after;
    rf_wrap wrap;
    rf_tensor order;    /* optional [batch, heads, parts, slots] i32 */
    rf_tensor key_mask; /* optional [batch, length] u8, 1 = keep */
    rf_tensor segments; /* optional [batch, length] i32, each at least 0 */
    rf_tensor bucket;   /* [batch, heads, parts, length] i32, as bucket_hash gives them: with
                           same_bucket, else absent */
    rf_tensor inverse; /* [batch, heads, parts, length] i32: token -> slot, as bucket_sort gives it:
                          with RF_DUPLICATES_CORRECTED and an order, unless whole_buckets */
    bool causal;
    rf_self_rule self;
    bool same_bucket, whole_buckets;
    rf_duplicates duplicates;
    rf_empty_row empty_row;
    rf_rounding rounding;
    bool normalise_keys; /* keys are query * rsqrt(mean(query^2) + 1e-6) / sqrt(width); `key` is
                            absent */
    float scale;         /* 1 with normalise_keys; 1 / sqrt(width) otherwise */
    float probability; /* dropout of probabilities; P[pair] kept iff rf_random_uniform(dropout_key,
                          index) >= probability with index =
                          ((((first_sample + b) * all_heads + first_head + h) * parts + part) *
                          length + query token)
                          * (before + 1 + after) * block + window column */
    rf_random_key dropout_key;
    int64_t first_sample, first_head, all_heads;
} rf_attention_plan;

/* Per part: m = max s, l = sum exp(s - m), log_norm = (float)(m + log l),
 * output = (sum exp(s - m) v) * exp(m - log_norm): never a division by l, since Hugging Face's
 * rounding of a self-only row depends on it (but with RF_ROUNDING_EXACT). log_norm is computed
 * without dropout.
 *   query, key, value [batch, length, heads, width] f32, or all bf16 (no key with normalise_keys)
 *   output            [batch, parts, length, heads, width] f32, or bf16 as query, original order
 *   log_norm          [batch, heads, parts, length] f32
 * With bf16 a back end may also round to bf16 the weights that multiply values and, backward,
 * output_gradient, P and dS; scores, sums and everything else are f32. */
typedef struct rf_block_attention {
    rf_attention_plan plan;
    rf_tensor query, key, value, output, log_norm;
} rf_block_attention;

/* All parts collapse to one softmax: P = exp(s - norm), dS = P * (keep-scaled g . v - g . o), no
 * gradient through masked or last-resort pairs' scores. Needs only the merged output and norm
 * (rf_combine_rounds) and the plan.
 *   query, key, value as above; norm f32; the others all f32, or all bf16 as query
 *   output [batch, length, heads, width], norm [batch, heads, length], output_gradient like output
 *   query_gradient, key_gradient, value_gradient like output; written; query_gradient may be
 *   output itself
 * With normalise_keys key_gradient is absent and query_gradient holds both roles' gradients. */
typedef struct rf_block_attention_backward {
    rf_attention_plan plan;
    rf_tensor query, key, value, output, norm, output_gradient;
    rf_tensor query_gradient, key_gradient, value_gradient;
} rf_block_attention_backward;

/* M = max_r log_norm_r; norm = (float)(M + log sum_r exp(log_norm_r - M)), rounded once; merged =
 * sum_r exp(log_norm_r - norm) * output_r; with RF_ROUNDING_EXACT merged = sum_r w_r output_r /
 * sum_r w_r, w_r = exp(log_norm_r - M), and where M is -inf merged is 0 and norm -inf. One part: a
 * copy. output, log_norm as block_attention gives them; merged [batch, length, heads, width] of
 * output's type, norm [batch, heads, length] f32. */
typedef struct rf_combine_rounds {
    rf_tensor output, log_norm, merged, norm;
    rf_rounding rounding;
} rf_combine_rounds;

#ifdef __cplusplus
}
#endif
#endif
