/* Operations that a layer is made of besides its attention: products, elementwise passes,
 * embedding, norm, and what goes back into the residual streams. The rules for all are in
 * ops/ops.h. */
#ifndef RF_OPS_LAYERS_H
#define RF_OPS_LAYERS_H

#include "base/random.h"
#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

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
/* y[r] = embedding of position offset + (first_row + r) mod length. y [rows, width] f32, written,
 * or with `add` added to, behind the rounding of the product with the dropout's scale.
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
    bool add; /* to y, instead of writing it */
} rf_position;
/* table_gradients[k][digit] += y_gradient's columns of axis k, rows in order; accumulates. Same
 * dropout. TABLES only. */
typedef struct rf_position_backward {
    rf_position forward; /* y and add are unused */
    rf_tensor y_gradient;
    rf_tensor table_gradients[RF_MAX_RANK];
} rf_position_backward;

/* ---- layer norm ----------------------------------------------------------------------------- */

/* y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last dimension, biased variance
 * computed as mean((x - mean)^2). x [rows, width] f32 or fixed32; the optional second stream makes
 * the row the concatenation of x and x2 (width W = sum of both). gain, bias [W] f32; y [rows, W]
 * real, behind rf_dropout's of `probability` (as if called on y: rounded to its type in between).
 * */
typedef struct rf_layer_norm {
    rf_tensor x, x2;
    int fraction_bits;
    rf_tensor gain, bias;
    float epsilon;
    rf_tensor y;
    float probability; /* 0 <= probability < 1 */
    rf_random_key key;
    int64_t first_row; /* of y, for the mask */
} rf_layer_norm;
/* Recomputes mean and deviation from x. y_gradient is real. x_gradient and x2_gradient (real, of
 * one type) accumulate, or are written if `write`; gain_gradient and bias_gradient accumulate. y is
 * optional, of y_gradient's type: rf_layer_norm's y once more, which then needs the bias; it may
 * not be y_gradient. Dropout as in rf_layer_norm: y_gradient is of what comes behind it. */
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
    float probability;
    rf_random_key key;
    int64_t first_row;
} rf_layer_norm_backward;

/* ---- project: matrix products between two states of a stream ----------------------------- */

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
    rf_layer_norm norm; /* optional: it has a gain. One stream, no dropout. y [rows, k] is z, or
                           absent where z is not kept */
    int count;
    rf_product products[RF_MAX_PROJECTIONS]; /* y absent with a residual */
    bool relu;
    float probability; /* of y's dropout, as in rf_dropout; 0 with several products, and with a
                          residual, which has its own */
    rf_random_key key;
    int64_t first_row;
    rf_residual residual; /* optional: it has a stream [rows, n]; count 1, no relu; value unused */
} rf_project;

#ifdef __cplusplus
}
#endif
#endif
