/* The reversible stack: a list of half residuals over two streams, inverted in the backward instead
 * of stored. */
#ifndef RF_MODEL_REVERSIBLE_H
#define RF_MODEL_REVERSIBLE_H

#include "model/pass.h"

typedef struct rf_reversible {
    rf_tensor streams[2];   /* [rows, hidden]: the first is attention's accumulator, the second its
                               context */
    rf_tensor gradients[2]; /* f32, training only */
    rf_tensor checksums; /* [2, half residuals] i64: of each accumulator before its half residual,
                            forward and backward; absent: not asked */
    rf_tensor stored;    /* [half residuals, rows, hidden] like the streams; test only: accumulators
                            used instead of the inverse */
} rf_reversible;

/* Run all layers; the hidden hook sees the second stream before each layer and after the last. */
RF_MUST_CHECK rf_status rf_reversible_forward(rf_pass *pass, const rf_reversible *stack,
                                              rf_error *error);
/* From the streams and their gradients at the top to those at the bottom. */
RF_MUST_CHECK rf_status rf_reversible_backward(rf_pass *pass, const rf_reversible *stack,
                                               rf_error *error);

#endif
