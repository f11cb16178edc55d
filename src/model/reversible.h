/* The stack of layers: a list of half residuals over streams. Reversible: two streams, inverted in
 * the backward instead of stored (reversible.c). Standard: one stream, stored (standard.c). */
#ifndef RF_MODEL_REVERSIBLE_H
#define RF_MODEL_REVERSIBLE_H

#include "model/pass.h"

typedef struct rf_reversible {
    rf_tensor streams[2];   /* [rows, hidden]: the first is attention's accumulator, the second its
                               context; standard: the same one twice */
    rf_tensor gradients[2]; /* f32, training only */
    rf_tensor checksums; /* [2, half residuals] i64: of each accumulator before its half residual,
                            forward and backward; absent: not asked */
    rf_tensor stored;    /* like the streams. Standard: what each half residual reads, [half
                            residuals, rows * hidden], or [1, rows * hidden] where no backward
                            follows. Reversible, in tests only: accumulators used instead of the
                            inverse */
} rf_reversible;

/* Run all layers; the hidden hook sees the second stream before each layer and after the last. */
RF_MUST_CHECK rf_status rf_reversible_forward(rf_pass *pass, const rf_reversible *stack,
                                              rf_error *error);
/* From the streams and their gradients at the top to those at the bottom. */
RF_MUST_CHECK rf_status rf_reversible_backward(rf_pass *pass, const rf_reversible *stack,
                                               rf_error *error);

/* ---- standard.c -------------------------------------------------------------------------- */

/* The same for one stream. The backward leaves the stream as it is at the top, and its gradient at
 * the bottom in gradients[0]. */
RF_MUST_CHECK rf_status rf_standard_forward(rf_pass *pass, const rf_reversible *stack,
                                            rf_error *error);
RF_MUST_CHECK rf_status rf_standard_backward(rf_pass *pass, const rf_reversible *stack,
                                             rf_error *error);

/* ---- what both have ---------------------------------------------------------------------- */

/* Attention, feed-forward. */
extern const rf_half_residual *const rf_halves[2];
/* The hooks that see streams. */
RF_MUST_CHECK rf_status rf_stack_show(rf_pass *pass, const rf_reversible *stack, int64_t layer,
                                      rf_error *error);
/* In a dry run one layer of each kind tells what all of them take: whether this one is told. */
bool rf_stack_is_told(const rf_pass *pass, int64_t layer);

#endif
