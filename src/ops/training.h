/* Operations of training: losses, reductions, and the updates of AdamW and Adafactor. The rules for
 * all are in ops/ops.h. */
#ifndef RF_OPS_TRAINING_H
#define RF_OPS_TRAINING_H

#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 *   value = value * (1 - rate * weight_decay)
 *           - rate * (m / (1 - b1^update)) / (sqrt(v / (1 - b2^update)) + epsilon)
 * All [n] f32; `rounded` (optional, [n] bf16, written) is the new value's copy for products. */
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

#ifdef __cplusplus
}
#endif
#endif
