/* The plan of a run against what there is: nothing of the model's size is taken before this has
 * said yes. */
#include "train/plan.h"

static const double gib = 1073741824.0;

size_t rf_plan_total(const rf_memory_plan *plan)
{
    return plan->parameters + plan->rounded_parameters + plan->gradients + plan->streams +
           plan->stream_gradients + plan->buckets + plan->batch_data + plan->stored_activations +
           plan->workspace;
}

rf_status rf_plan_check(rf_device *device, size_t planned, uint64_t limit,
                        const rf_runner_options *options, rf_error *error)
{
    size_t available = 0;
    size_t total = 0;
    if (limit == 0) {
        RF_TRY(rf_device_memory(device, &available, &total, error));
    }
    if (planned <= (limit != 0 ? limit : available)) {
        return RF_OK;
    }
    return rf_error_set(
        error, RF_ERR_MEMORY,
        "batch %lld of length %lld needs %.2f GiB of memory, but %s %.2f GiB%s; use a "
        "smaller batch (with accumulation the result is the same), a smaller length "
        "or a smaller model",
        (long long)options->batch, (long long)options->length, (double)planned / gib,
        limit != 0 ? "the limit is" : "the machine has",
        (double)(limit != 0 ? limit : available) / gib, limit != 0 ? "" : " free");
}

rf_status rf_plan_check_evaluation(rf_model *model, const rf_runner_options *options,
                                   rf_error *error)
{
    rf_memory_plan plan = {0};
    rf_slices slices = {0};
    RF_TRY(rf_runner_plan(model, options, &plan, &slices, error));
    return rf_plan_check(model->device,
                         rf_plan_total(&plan) - plan.parameters - plan.rounded_parameters, 0,
                         options, error);
}
