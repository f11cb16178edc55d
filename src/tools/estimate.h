/* How much work a step is, and how long it will take. */
#ifndef RF_TOOLS_ESTIMATE_H
#define RF_TOOLS_ESTIMATE_H

#include "model/model.h"
#include "train/optimizer.h"

/* Work of one pass of such a runner, forward and backward with what it computes again: counted, not
 * computed. */
RF_MUST_CHECK rf_status rf_count_work(rf_model *model, const rf_runner_options *options,
                                      rf_op_times *work, rf_error *error);
double rf_sum_flops(const rf_op_times *work);
double rf_sum_bytes(const rf_op_times *work);

/* Seconds of a step of `options`, from two steps of the same model with few tokens on its device:
 * each operation's time grows with its work. The model's weights are changed. optimizer NULL: no
 * update. */
RF_MUST_CHECK rf_status rf_estimate_step(rf_model *model, const rf_runner_options *options,
                                         const rf_optimizer_options *optimizer, double *seconds,
                                         rf_error *error);

#endif
