/* How much memory a run takes, and the refusal before it starts. */
#ifndef RF_TRAIN_PLAN_H
#define RF_TRAIN_PLAN_H

#include "model/model.h"
#include "train/optimizer.h"

/* What a training step or an evaluation is planned for. */
typedef struct rf_plan_request {
    const rf_runner_options *runner;       /* its memory_budget is not read */
    const rf_optimizer_options *optimizer; /* NULL: no updates */
    size_t beside;    /* bytes that the caller takes on the host: text, token ids */
    size_t meanwhile; /* bytes on the device that the caller takes while all else is there */
    uint64_t limit;   /* bytes; the work is cut finer to stay within; 0: none */
} rf_plan_request;

typedef struct rf_step_plan { /* bytes */
    rf_memory_plan memory;
    rf_slices slices;
    size_t optimizer;
    size_t other; /* the device's own, or on the host: what the caller takes, and tables */
    size_t peak;  /* in all, on the device */
} rf_step_plan;

/* Plan only. With a limit that cannot be met the plan is the smallest there is, and exceeds it. */
RF_MUST_CHECK rf_status rf_plan_step(rf_model *model, const rf_plan_request *request,
                                     rf_step_plan *plan, rf_error *error);
/* RF_ERR_MEMORY if the plan exceeds the limit, or without one what the device, which must be open,
 * has free beside what is taken `already`: in GiB and with what to change. */
RF_MUST_CHECK rf_status rf_plan_check_step(rf_model *model, const rf_plan_request *request,
                                           const rf_step_plan *plan, size_t already,
                                           rf_error *error);
/* The same for evaluating a model that is loaded already. */
RF_MUST_CHECK rf_status rf_plan_check_evaluation(rf_model *model, const rf_runner_options *options,
                                                 rf_error *error);

#endif
