/* The top of a model: the norm over both streams side by side, then what its class has there, and
 * its loss. */
#ifndef RF_MODEL_HEAD_H
#define RF_MODEL_HEAD_H

#include "model/pass.h"

typedef struct rf_head {
    /* Final norm, head, loss; hooks see logits and nll. Fills pass->nll and pass->prediction where
     * there are targets. */
    rf_status (*forward)(rf_pass *pass, const rf_tensor streams[2], rf_error *error);
    /* The same with the backward fused: writes the streams' gradients of factor * sum of nll. NULL:
     * the class has no loss. */
    rf_status (*train)(rf_pass *pass, const rf_tensor streams[2], const rf_tensor gradients[2],
                       float factor, rf_error *error);
} rf_head;
extern const rf_head rf_head_lm;       /* causal and masked */
extern const rf_head rf_head_classify; /* sequence classification */
extern const rf_head rf_head_both;     /* a language model's and a classifier's */
extern const rf_head rf_head_answer;   /* question answering */
const rf_head *rf_head_of(const rf_config *config);

/* How many losses a batch has: tokens, sequences, labels, or starts and ends. */
int64_t rf_head_losses(const rf_config *config, int64_t batch, int64_t length);
/* Whether the targets are numbers (pass->wanted). */
bool rf_head_wants_values(const rf_config *config);

/* y [count, 2 hidden] (real) = norm of rows of both streams side by side, behind the final dropout.
 */
RF_MUST_CHECK rf_status rf_head_join(rf_pass *pass, const rf_tensor streams[2], rf_row_slice slice,
                                     const rf_tensor *y, rf_error *error);
/* Its backward: y_gradient is overwritten, rows of the streams' gradients are written (or added to,
 * pass->adds_gradients), the norm's own gradients added. */
RF_MUST_CHECK rf_status rf_head_join_backward(rf_pass *pass, const rf_tensor streams[2],
                                              rf_row_slice slice, const rf_tensor *y_gradient,
                                              const rf_tensor gradients[2], rf_error *error);
/* Show the output hook all rows, slice by slice. */
RF_MUST_CHECK rf_status rf_head_show_output(rf_pass *pass, const rf_tensor streams[2],
                                            rf_error *error);

#endif
