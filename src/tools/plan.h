/* A plan as a report, for `plan` and for `bench`, which sets it beside what was measured. */
#ifndef RF_TOOLS_PLAN_H
#define RF_TOOLS_PLAN_H

#include "io/json.h"
#include "reformer/tools.h"
#include "train/plan.h"

/* The object of rf_plan. A fresh reference. */
json_t *rf_plan_to_json(const rf_model *model, const rf_runner_options *runner,
                        const rf_step_plan *plan);

#endif
