/* Contract: arithmetic. The only place, with tensor/device.h, where the model meets a back end.
 *
 * An operation is an argument struct, a shape rule (checked once, in ops.c, for every back end),
 * and a forward; where it is differentiable, a second operation NAME_backward. A back end fills one
 * constant table of RF_OP_COUNT entries; an entry without `run` is unsupported there, which the
 * caller learns as a status.
 *
 *     RF_TRY(rf_op_layer_norm(context, &(rf_layer_norm){.x = x, .gain = g, .bias = b, .epsilon =
 * 1e-12F, .y = y}, error));
 *
 * Rules for all: tensors are contiguous, outermost dimension first; outputs may not overlap inputs
 * unless said; gradients named X_gradient are ADDED to what is there where the comment says
 * "accumulates", else written; the same bits on every run, whatever the number of threads; NULL
 * data only on a dry device. "real" is f32 or bf16: arithmetic is f32 all the same, and a bf16
 * result is its rounding to nearest even, made once. Rows are [rows, width]; "rows" of a batch run
 * over batch x length. Scratch is taken from the context's workspace by the wrapper, so model code
 * never sees it.
 *
 * Same-bits rule for CPU code: work is cut by a function of the shape only, and sums run in a fixed
 * order. */
#ifndef RF_OPS_OPS_H
#define RF_OPS_OPS_H

#include "base/random.h"
#include "tensor/workspace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_op_times rf_op_times; /* at the end: what was called */

/* What every call works in. */
typedef struct rf_context {
    rf_device *device;
    rf_workspace *workspace;
    rf_op_times *times; /* NULL: nobody asks, and nothing is waited for */
} rf_context;

/* ---- gemm: c = op(a) op(b) (+ c) (+ bias in every row) ----------------------------------- */

/* A two-dimensional operand; the only thing with a leading dimension (elements from one row to the
 * next, >= columns). */
typedef struct rf_matrix {
    void *data;
    rf_dtype dtype;
    int64_t rows, columns, leading;
} rf_matrix;
rf_matrix
rf_matrix_of(const rf_tensor *tensor); /* rank >= 1: rows = product of all but the last dimension */
/* Columns [first, first + count) of a matrix: a view. */
rf_matrix rf_matrix_columns(const rf_matrix *matrix, int64_t first, int64_t count);

typedef struct rf_gemm {
    rf_matrix a, b, c; /* a and b real, of one type; c f32, or bf16 as they are; c is [m, n], op(a)
                          [m, k], op(b) [k, n]; sums are f32 */
    bool transpose_a, transpose_b; /* both at once is refused */
    bool accumulate;               /* add to c instead of writing it; the product may be rounded to
                                      bf16 before it is added to a bf16 c */
    rf_tensor bias;                /* optional [n], of c's type */
    bool relu;                     /* c = max(c, 0) after the bias; not with accumulate */
} rf_gemm;

/* ---- cast, elementwise, dropout ---------------------------------------------------------- */

/* f32 <-> bf16, f16, fixed32 (fraction_bits; round to nearest even, saturating). Same count. */
typedef struct rf_cast {
    rf_tensor x, y;
    int fraction_bits;
} rf_cast;

typedef enum rf_activation {
    RF_ACTIVATION_RELU,
    RF_ACTIVATION_GELU,
    RF_ACTIVATION_GELU_NEW,
    RF_ACTIVATION_SILU,
    RF_ACTIVATION_GELU_FAST,
    RF_ACTIVATION_QUICK_GELU,
    RF_ACTIVATION_RELU2,
    RF_ACTIVATION_RELU6,
    RF_ACTIVATION_TANH,
    RF_ACTIVATION_SIGMOID,
    RF_ACTIVATION_LINEAR,
    RF_ACTIVATION_MISH,
    RF_ACTIVATION_COUNT
} rf_activation;

/* y = activation(x); y may be x. Both real, of one type. */
typedef struct rf_activate {
    rf_tensor x, y;
    rf_activation kind;
} rf_activate;
/* x_gradient = y_gradient * activation'(x) * factor, from the input x; x_gradient may be
 * y_gradient. relu'(0) = 0, so that relu's output may stand in for its input. All real, of one
 * type. */
typedef struct rf_activate_backward {
    rf_tensor x, y_gradient, x_gradient;
    rf_activation kind;
    float factor;            /* 1, or of a dropout whose mask the output x shows */
    rf_tensor bias_gradient; /* optional [width] f32: column sums of x_gradient [rows, width] as
                                written; accumulates */
} rf_activate_backward;

/* y = a + factor * b, elementwise; y may be a or b. f32. */
typedef struct rf_add {
    rf_tensor a, b, y;
    float factor;
} rf_add;

/* y[r, c] = x[r, c] * keep / (1 - probability); y may be x, or of another type; both real. Element
 * (r, c) is kept iff rf_random_uniform(key, (first_row + r) * width + c) >= probability, so slices
 * and recomputation draw the same mask. Its own adjoint: the backward is the same call on
 * gradients. probability 0 copies. x, y [rows, width]. */
typedef struct rf_dropout {
    rf_tensor x, y;
    float probability; /* 0 <= probability < 1 */
    rf_random_key key;
    int64_t first_row;
    rf_tensor bias_gradient; /* optional [width] f32: column sums of y as written; accumulates */
} rf_dropout;

/* ---- residual: the two reversible streams ------------------------------------------------ */

typedef enum rf_residual_mode {
    RF_RESIDUAL_ADD,
    RF_RESIDUAL_SUBTRACT,
    RF_RESIDUAL_SET
} rf_residual_mode;
/* stream (+= | -= | =) value, behind dropout (as rf_dropout draws it, not rounded in between) where
 * `probability` is above 0. value real; stream [rows, width] f32, or fixed32 with value rounded
 * to nearest even at `fraction_bits`: integer addition, so that SUBTRACT undoes ADD exactly.
 * `overflow` [1] i32 is set to 1 (never cleared) when a value or a result leaves the range of int32
 * or is not finite; results then wrap modulo 2^32 (a non-finite value counts as 0), so that a later
 * SUBTRACT of the same value still restores the stream. For f32 streams overflow is set when a
 * value is not finite. */
typedef struct rf_residual {
    rf_tensor stream, value, overflow;
    rf_residual_mode mode;
    int fraction_bits;
    float probability; /* 0 <= probability < 1 */
    rf_random_key key;
    int64_t first_row; /* of value, for the mask */
} rf_residual;

/* ---- embedding, position ----------------------------------------------------------------- */

/* y[r] = table[ids[r]]. ids [rows] i32 in [0, vocabulary) (the caller has checked them), table
 * [vocabulary, width] f32. */
typedef struct rf_embedding {
    rf_tensor ids, table, y;
} rf_embedding;
/* table_gradient[ids[r]] += y_gradient[r], in the order of r for every table row; accumulates. */
typedef struct rf_embedding_backward {
    rf_tensor ids, y_gradient, table_gradient;
} rf_embedding_backward;

typedef enum rf_position_kind { RF_POSITION_TABLES, RF_POSITION_SINUSOIDAL } rf_position_kind;
/* y[r] = embedding of position offset + (first_row + r) mod length. y [rows, width] f32, written.
 * TABLES: position p has row-major mixed-radix digits over the axes (table k has n_k rows; the last
 * axis runs fastest); y is the concatenation of one row of each table (spec of Hugging Face's axial
 * embeddings; one axis = a learned table). Positions must be < the product of the n_k.
 * channel_dropout: HF's axial dropout in training: all positions of one batch row (b = (first_row
 * + r) div length + first_sample) that share the digit d of axis 1 (of axis 0 if there is one axis
 * only) are kept or dropped together, by rf_random_uniform(key, b * n_axis + d) >= probability;
 * kept ones are scaled by 1 / (1 - probability). SINUSOIDAL: interleaved, y[2i] = sin(p / 10000^(2i
 * / width)), y[2i + 1] = cos(the same), to 1e-6 of the formula in double up to position 10^6; no
 * tables. */
typedef struct rf_position {
    rf_position_kind kind;
    int axes;
    rf_tensor tables[RF_MAX_RANK]; /* [n_k, d_k] f32 */
    int64_t first_row, first_sample, length, offset;
    float probability;
    rf_random_key key;
    rf_tensor y;
} rf_position;
/* table_gradients[k][digit] += y_gradient's columns of axis k, rows in order; accumulates. Same
 * dropout. TABLES only. */
typedef struct rf_position_backward {
    rf_position forward; /* y is unused */
    rf_tensor y_gradient;
    rf_tensor table_gradients[RF_MAX_RANK];
} rf_position_backward;

/* ---- layer norm ------------------------------------------------------------------------ */

/* y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last dimension, biased variance
 * computed as mean((x - mean)^2). x [rows, width] f32 or fixed32; the optional second stream makes
 * the row the concatenation of x and x2 (width W = sum of both). gain, bias [W] f32; y [rows, W]
 * real. */
typedef struct rf_layer_norm {
    rf_tensor x, x2;
    int fraction_bits;
    rf_tensor gain, bias;
    float epsilon;
    rf_tensor y;
} rf_layer_norm;
/* Recomputes mean and deviation from x. y_gradient is real. x_gradient and x2_gradient (real, of
 * one type) accumulate, or are written if `write`; gain_gradient and bias_gradient accumulate. y is
 * optional, of y_gradient's type: rf_layer_norm's y once more, which then needs the bias; it may
 * not be y_gradient. */
typedef struct rf_layer_norm_backward {
    rf_tensor x, x2;
    int fraction_bits;
    rf_tensor gain;
    float epsilon;
    rf_tensor y_gradient;
    rf_tensor x_gradient, x2_gradient;
    bool write;
    rf_tensor gain_gradient, bias_gradient;
    rf_tensor bias, y;
} rf_layer_norm_backward;

/* ---- project: from a state of a stream through matrix products, or through one back into a stream
 * ---- */

enum { RF_MAX_PROJECTIONS = 3 };

typedef struct rf_product {
    rf_matrix weight; /* [n, k] real, one type for all */
    rf_tensor bias;   /* optional [n] of the weight's type */
    rf_tensor y;      /* [rows, n] of the weight's type */
} rf_product;

/* Norm, products, dropout and residual of many rows as one operation, so that a back end may keep
 * between them what would go to memory and come back. With z = the norm's result, or x:
 *   y_i = dropout(max(z weight_i^T + bias_i, 0)), the maximum with `relu` only; or with a residual
 *   stream (+= | -= | =) dropout(z weight^T + bias).
 * Arithmetic is f32; z is rounded to the weights' type, and sums may be before what follows them.
 */
typedef struct rf_project {
    rf_tensor x;        /* [rows, k] of the weights' type; unused with a norm */
    rf_layer_norm norm; /* optional: it has a gain. One stream. y [rows, k] is z, or absent where z
                           is not kept */
    int count;
    rf_product products[RF_MAX_PROJECTIONS]; /* y absent with a residual */
    bool relu;
    float probability; /* of y's dropout, as in rf_dropout; 0 with several products, and with a
                          residual, which has its own */
    rf_random_key key;
    int64_t first_row;
    rf_residual residual; /* optional: it has a stream [rows, n]; count 1, no relu; value unused */
} rf_project;

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
 *   order    [batch, heads, rounds, slots] i32: slot -> token; slots >= length; slots from length
 * on are -1 (empty) inverse  optional [batch, heads, rounds, length] i32: token -> slot */
typedef struct rf_bucket_sort {
    rf_tensor buckets, segments;
    int64_t bucket_count, segment_count; /* the latter with segments only */
    rf_tensor order, inverse;
} rf_bucket_sort;

/* ---- attention
 * -------------------------------------------------------------------------------------------------------
 */

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
 * without dropout. query, key, value [batch, length, heads, width] f32, or all bf16 (no key with
 * normalise_keys) output            [batch, parts, length, heads, width] f32, or bf16 as query,
 * original order log_norm          [batch, heads, parts, length] f32 With bf16 a back end may also
 * round to bf16 the weights that multiply values and, backward, output_gradient, P and dS; scores,
 * sums and everything else are f32. */
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

/* ---- loss, reductions, optimizer --------------------------------------------------------- */

/* Per row: nll = logsumexp(logits) - logits[target], 0 where target is -100 (ignored); with
 * smoothing s (Szegedy et al. 2016) or weights, as torch's cross_entropy sums it,
 *   nll = sum over j of a_j (logsumexp(logits) - logits[j])
 *   a_j = (1 - s) w_j [j = target] + s / vocabulary w_j
 *   logits [rows, vocabulary] f32, targets [rows] i32, nll [rows] f32
 *   weights optional [vocabulary] f32: w, not negative; else 1
 *   prediction optional [rows] i32: argmax, lowest index wins
 *   logits_gradient optional, like logits but real: (softmax * sum(a) - a) * factor, 0 for ignored
 *   rows; it may be the logits where it is f32, a bf16 one must not overlap them */
typedef struct rf_cross_entropy {
    rf_tensor logits, targets, nll, prediction, logits_gradient, weights;
    float factor;
    double smoothing; /* 0 <= s < 1 */
} rf_cross_entropy;

typedef enum rf_value_loss_kind {
    RF_VALUE_LOSS_SQUARED, /* (x - t)^2 */
    RF_VALUE_LOSS_BINARY   /* log(1 + exp(x)) - t x: of a yes with log-odds x, t in [0, 1] */
} rf_value_loss_kind;
/* Per element: loss(x, target), and optionally x_gradient = its derivative by x, times factor. All
 * f32 of one shape; x_gradient may be x. With smoothing s (binary only) t (1 - s) + s / 2 stands
 * for a target t. */
typedef struct rf_value_loss {
    rf_value_loss_kind kind;
    rf_tensor x, targets, loss, x_gradient;
    float factor;
    double smoothing; /* 0 <= s < 1 */
} rf_value_loss;

typedef enum rf_reduce_kind {
    RF_REDUCE_SUM,         /* f32 -> f64 */
    RF_REDUCE_SUM_SQUARES, /* f32 -> f64 */
    RF_REDUCE_COLUMN_SUM,  /* real [rows, n] -> f32 [n]; accumulates (bias gradients) */
    RF_REDUCE_CHECKSUM /* any 4-byte type -> i64: order-dependent 64-bit mix of the words (the sum
                          over i of word_i * (2 i + 1) modulo 2^64), so that any changed bit shows
                        */
} rf_reduce_kind;
/* y: [1] for the scalar kinds, written. */
typedef struct rf_reduce {
    rf_reduce_kind kind;
    rf_tensor x, y;
} rf_reduce;

/* AdamW (Loshchilov, Hutter 2019) with bias correction; `update` counts from 1:
 *   g = gradient * gradient_factor;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *   value = value * (1 - rate * weight_decay) - rate * (m / (1 - b1^update)) / (sqrt(v / (1 -
 * b2^update)) + epsilon) All [n] f32; `rounded` (optional, [n] bf16, written) is the new value's
 * copy for products. */
typedef struct rf_adamw {
    rf_tensor value, gradient, first_moment, second_moment, rounded;
    double rate, beta1, beta2, epsilon, weight_decay, gradient_factor;
    int64_t update;
} rf_adamw;

/* Adafactor (Shazeer, Stern 2018) for one parameter: value [rows, columns], whose mean square
 * gradient is kept as its row and column means, or value [n], kept whole. `update` counts from 1.
 *   USUAL (the paper, transformers): beta2 = 1 - update^-decay, epsilon is added to g^2
 *   TRAX:                     beta2 = 1 - (update + 1)^-decay, epsilon is added to the moments used
 *   g = gradient * gradient_factor
 *   matrix: r = beta2 r + (1 - beta2) mean of g^2 over the columns, c the same over the rows,
 *           u = g * sqrt(mean(r) / r) / sqrt(c)
 *   vector: v = beta2 v + (1 - beta2) g^2,  u = g / sqrt(v)
 *   size = rate, or with `relative` rate * max(least_scale, rms(value) before the update)
 *   step = size * u / max(1, rms(u) / clip)     (clip 0: no limit)
 *   with first_moment m: m = beta1 m + (1 - beta1) step, and m is the step
 *   value = value * (1 - weight_decay * size) - step;  TRAX: value * (1 - weight_decay) - step
 * All f32: row_moment [rows] and column_moment [columns], or second_moment [n]; first_moment
 * (optional, like value); `rounded` (optional, bf16 like value, written) as in rf_adamw. */
typedef enum rf_adafactor_kind { RF_ADAFACTOR_USUAL, RF_ADAFACTOR_TRAX } rf_adafactor_kind;
typedef struct rf_adafactor {
    rf_tensor value, gradient, row_moment, column_moment, second_moment, first_moment, rounded;
    rf_adafactor_kind kind;
    bool relative;
    double rate, decay, beta1, epsilon, least_scale, clip, weight_decay, gradient_factor;
    int64_t update;
} rf_adafactor;

/* ---- decoding: one more token for each of a few sequences -------------------------------- */

/* What a step knows of its sequences, each by itself, in device memory, so that recorded work can
 * be replayed: i32 [batch, RF_STEP_WORDS]. A step begins by counting its own token, so that before
 * the first one POSITION is that of the last token of the prompt. */
enum {
    RF_STEP_POSITION,    /* of the token of this step */
    RF_STEP_LISTED,      /* 1: LSH windows come from bucket lists; 0: they hold all tokens */
    RF_STEP_LISTED_NEXT, /* what the next step's LISTED will be */
    RF_STEP_FIRST,       /* POSITION at which draw number 0 was made; may be negative */
    RF_STEP_STREAM,      /* which stream of draws is this sequence's */
    RF_STEP_WORDS
};

/* Begins a step, for each row: position += 1; listed = listed_next; listed_next = 1 if position + 1
 * >= listed_from; kept[row, position] = 1; y[row] = table[ids[row]] + the embedding of the
 * position. The caller has checked that position + 1 is below the capacity. A negative id reads row
 * 0. */
typedef struct rf_step_begin {
    rf_tensor state; /* [batch, RF_STEP_WORDS] i32 */
    rf_tensor kept;  /* [batch, capacity] u8 */
    int64_t listed_from;
    rf_tensor ids;        /* [batch] i32, below the vocabulary */
    rf_tensor table;      /* [vocabulary, width] f32 */
    rf_position position; /* kind, axes and tables; all else is unused */
    rf_tensor y;          /* [batch, width] f32 */
} rf_step_begin;

typedef struct rf_projection {
    rf_tensor weight; /* [n, k] real, one type for all */
    rf_tensor bias;   /* optional [n] */
    rf_tensor y;      /* [rows, n] f32 */
} rf_projection;

/* What lies between two states of a stream where rows are few: layer norm, matrix products,
 * activation, and back into a stream. With z the norm's result, or its x where it has no gain:
 * y_i = activation(z weight_i^T + bias_i); with a residual the one result goes there instead. With
 * bf16 weights z is rounded to bf16; sums and all else are f32. */
typedef struct rf_step_project {
    rf_layer_norm norm; /* y is unused; without gain only x is read, [rows, k] f32 */
    int count;
    rf_projection projections[RF_MAX_PROJECTIONS]; /* y absent with a residual */
    rf_activation activation; /* RF_ACTIVATION_LINEAR: none; the only one with a residual */
    rf_residual residual;     /* optional, with count 1: stream, overflow, mode, fraction_bits */
} rf_step_project;

/* What a layer keeps of the tokens so far. Token t stands in place t mod places. */
typedef struct rf_layer_cache {
    rf_tensor rows;  /* [batch, heads, places, 2, width] f32: key and value */
    rf_tensor lists; /* optional, LSH: [batch, heads, rounds, words] i32: see ops/bucket_lists.h */
    int64_t bucket_count, capacity; /* of the lists; capacity: the most tokens of a sequence */
    int64_t rounds;                 /* 1 in local layers */
    int64_t chunk, before, after;   /* the window */
    bool is_lsh; /* keys are normalised queries, and a token itself is a last resort */
} rf_layer_cache;

/* Keep a prompt's keys and values (LSH: queries, which are normalised) from first_token on.
 *   key, value  [rows, length, heads of the group, width] real, both alike; rows: the batch, or 1
 * for all alike. Of the tokens that share a place none but the last may be given. */
typedef struct rf_cache_fill {
    rf_layer_cache cache;
    rf_tensor key, value;
    int64_t first_head, first_token;
} rf_cache_fill;

/* Bucket lists of a prompt; what they held is gone. Tokens whose bucket is bucket_count (masked)
 * are left out.
 *   buckets, order  [rows, heads of the group, rounds, length] i32, as bucket_hash and bucket_sort
 * give them; rows as above */
typedef struct rf_lists_fill {
    rf_layer_cache cache;
    rf_tensor buckets, order;
    int64_t first_head;
} rf_lists_fill;

/* Keep the step's token: its key (LSH: query) and value, and with lists its buckets.
 *   query (LSH), key (else), value  [batch, heads x width] f32 */
typedef struct rf_cache_append {
    rf_layer_cache cache;
    rf_tensor state;
    rf_tensor query, key, value;
    rf_bucket_hash hash; /* with lists: kind, rotations, rounds, factors; the rest is unused */
} rf_cache_append;

/* Attend from the step's token, which has been appended: over the tokens that docs/generation.md
 * tells, with the arithmetic of block_attention and combine_rounds.
 *   kept   [batch, capacity] u8     query, output  [batch, heads x width] f32 */
typedef struct rf_cache_attend {
    rf_layer_cache cache;
    rf_tensor state, kept, query;
    float scale; /* of scores; LSH: 1, since the keys hold it */
    rf_tensor output;
} rf_cache_attend;

/* The next token of each row: repetition penalty, temperature (0: the best), top-k, top-p, min-p,
 * in that order (Hugging Face's), then a draw with the uniform of index 0 at (seed, step = POSITION
 * - FIRST, layer = STREAM, RF_PURPOSE_SAMPLE), words of the row's state. logits  [batch,
 * vocabulary] f32 seen    optional [batch, vocabulary] u8: 1 where the token stands in the context;
 * the drawn one is marked; needed with a penalty tokens  [batch] i32, written; -1 - i: the score of
 * token i is not finite (the lowest such i) */
typedef struct rf_sample {
    rf_tensor logits, seen, state;
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k;
    uint64_t seed;
    rf_tensor tokens;
} rf_sample;

/* ---- the table ------------------------------------------------------------------------- */

#define RF_OPERATIONS(X)                                                                           \
    X(GEMM, gemm)                                                                                  \
    X(CAST, cast)                                                                                  \
    X(ACTIVATE, activate)                                                                          \
    X(ACTIVATE_BACKWARD, activate_backward)                                                        \
    X(ADD, add)                                                                                    \
    X(DROPOUT, dropout)                                                                            \
    X(RESIDUAL, residual)                                                                          \
    X(EMBEDDING, embedding)                                                                        \
    X(EMBEDDING_BACKWARD, embedding_backward)                                                      \
    X(POSITION, position)                                                                          \
    X(POSITION_BACKWARD, position_backward)                                                        \
    X(LAYER_NORM, layer_norm)                                                                      \
    X(LAYER_NORM_BACKWARD, layer_norm_backward)                                                    \
    X(BUCKET_HASH, bucket_hash)                                                                    \
    X(BUCKET_SORT, bucket_sort)                                                                    \
    X(BLOCK_ATTENTION, block_attention)                                                            \
    X(BLOCK_ATTENTION_BACKWARD, block_attention_backward)                                          \
    X(COMBINE_ROUNDS, combine_rounds)                                                              \
    X(CROSS_ENTROPY, cross_entropy)                                                                \
    X(REDUCE, reduce)                                                                              \
    X(ADAMW, adamw)                                                                                \
    X(ADAFACTOR, adafactor)                                                                        \
    X(STEP_BEGIN, step_begin)                                                                      \
    X(STEP_PROJECT, step_project)                                                                  \
    X(CACHE_FILL, cache_fill)                                                                      \
    X(LISTS_FILL, lists_fill)                                                                      \
    X(CACHE_APPEND, cache_append)                                                                  \
    X(CACHE_ATTEND, cache_attend)                                                                  \
    X(SAMPLE, sample)                                                                              \
    X(VALUE_LOSS, value_loss)                                                                      \
    X(PROJECT, project)

typedef enum rf_op {
#define RF_OP_ENUMERATOR(NAME, name) RF_OP_##NAME,
    RF_OPERATIONS(RF_OP_ENUMERATOR)
#undef RF_OP_ENUMERATOR
        RF_OP_COUNT
} rf_op;

/* A back end's entry: tensor/device.h has it, because a device points at its table. */
typedef struct rf_op_entry rf_op_entry;

extern const rf_op_entry rf_ops_cpu[RF_OP_COUNT];
extern const rf_op_entry rf_ops_cuda[RF_OP_COUNT]; /* all NULL in a build without CUDA */

/* Check shapes, take scratch, run (not on a dry device). RF_ERR_ARGUMENT: shapes disagree, the
 * message names both; RF_ERR_UNSUPPORTED: not on this device. Use the typed calls below. */
RF_MUST_CHECK rf_status rf_op_run(rf_context *context, rf_op op, const void *arguments,
                                  rf_error *error);
/* The same with scratch that is taken for this call and given back. */
RF_MUST_CHECK rf_status rf_op_run_alone(rf_device *device, rf_op op, const void *arguments,
                                        rf_error *error);
const char *rf_op_name(rf_op op);
/* Calls of each operation, their seconds, and their work as rf_op_flops and rf_op_bytes count it.
 * The device is waited for around every call; on a dry device nothing takes time. */
struct rf_op_times {
    int64_t calls[RF_OP_COUNT];
    double seconds[RF_OP_COUNT], flops[RF_OP_COUNT], bytes[RF_OP_COUNT];
};
/* Floating-point operations of the products of a call, which has been checked. */
double rf_op_flops(rf_op op, const void *arguments);
/* Bytes of its operands, each once. */
double rf_op_bytes(rf_op op, const void *arguments);

#define RF_OP_CALL(NAME, name)                                                                     \
    RF_MUST_CHECK static inline rf_status rf_op_##name(                                            \
        rf_context *context, const rf_##name *arguments, rf_error *error)                          \
    {                                                                                              \
        return rf_op_run(context, RF_OP_##NAME, arguments, error);                                 \
    }
RF_OPERATIONS(RF_OP_CALL)
#undef RF_OP_CALL

#ifdef __cplusplus
}
#endif
#endif
