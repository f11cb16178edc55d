/* How much memory a run takes, and the refusal before it starts. */
#ifndef RF_TRAIN_PLAN_H
#define RF_TRAIN_PLAN_H

#include "model/model.h"

/* Bytes of everything a runner holds, the parameters included. */
size_t rf_plan_total(const rf_memory_plan *plan);
/* RF_ERR_MEMORY if `planned` bytes exceed `limit` (bytes; 0: what the device has free now), in GiB
 * and with what to change. */
RF_MUST_CHECK rf_status rf_plan_check(rf_device *device, size_t planned, uint64_t limit,
                                      const rf_runner_options *options, rf_error *error);
/* The same for evaluating a model that is loaded already. */
RF_MUST_CHECK rf_status rf_plan_check_evaluation(rf_model *model, const rf_runner_options *options,
                                                 rf_error *error);

#endif
