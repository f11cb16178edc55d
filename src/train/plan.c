/* The plan of a run against what there is: nothing of the model's size is taken before this has
 * said yes. */
#include "train/plan.h"

#include "base/text.h"

#include <stdio.h>

/* Objects whose size does not depend on the batch: a table of parameters, lists of tensors. */
enum { TABLES = 16384, TABLE_ROW = sizeof(rf_parameter) + 2 * sizeof(rf_optimizer_tensor) + 96 };

static size_t other_bytes(const rf_model *model, const rf_plan_request *request)
{
    const rf_device_table *table = model->device->table;
    size_t tables = TABLES + (size_t)model->parameters.items_count * TABLE_ROW;
    return table->own_size + request->meanwhile +
           (table->host_readable ? request->beside + tables : 0);
}

rf_status rf_plan_step(rf_model *model, const rf_plan_request *request, rf_step_plan *plan,
                       rf_error *error)
{
    rf_runner_options runner = *request->runner;
    *plan = (rf_step_plan){.other = other_bytes(model, request)};
    if (request->optimizer != NULL) {
        RF_TRY(rf_optimizer_size(model->device, &model->parameters, request->optimizer,
                                 &plan->optimizer, error));
    }
    size_t taken = plan->optimizer + plan->other;
    runner.memory_budget = 0;
    if (request->limit > 0) {
        runner.memory_budget = request->limit > taken ? (size_t)request->limit - taken : 1;
    }
    RF_TRY(rf_runner_plan(model, &runner, &plan->memory, &plan->slices, error));
    plan->peak = taken + rf_plan_on_device(&plan->memory, model->device);
    return RF_OK;
}

/* ---- refusals ---------------------------------------------------------------------------- */

/* What would help, in order of what it costs, into text[size]. */
static void advise(rf_model *model, const rf_plan_request *request, const rf_step_plan *plan,
                   size_t available, char *text, size_t size)
{
    rf_step_plan finer;
    rf_plan_request asked = *request;
    char adafactor[96] = "";
    char gradients[96] = "";
    char limit[RF_SIZE_TEXT_BYTES];
    char amount[RF_SIZE_TEXT_BYTES];
    asked.limit = available / 100 * 99;
    if (request->limit == 0 && rf_plan_step(model, &asked, &finer, NULL) == RF_OK &&
        finer.peak <= asked.limit) {
        (void)snprintf(text, size,
                       "give a memory limit of %s, with which the work is cut finer and takes %s",
                       rf_text_of_size((double)asked.limit, limit),
                       rf_text_of_size((double)finer.peak, amount));
        return;
    }
    if (request->optimizer != NULL && request->optimizer->kind == RF_OPTIMIZER_ADAMW) {
        rf_optimizer_options other = {.kind = RF_OPTIMIZER_ADAFACTOR};
        size_t bytes = 0;
        if (rf_optimizer_size(model->device, &model->parameters, &other, &bytes, NULL) == RF_OK) {
            (void)snprintf(adafactor, sizeof adafactor, "the optimizer adafactor (%s less), ",
                           rf_text_of_size((double)(plan->optimizer - bytes), amount));
        }
    }
    if (request->runner->training && !request->runner->bf16_gradient_stream) {
        (void)snprintf(gradients, sizeof gradients, "bf16 gradients of the streams (%s less), ",
                       rf_text_of_size((double)plan->memory.stream_gradients / 2.0, amount));
    }
    (void)snprintf(text, size, "use %s%s%sa smaller length or a smaller model",
                   request->runner->batch > 1
                       ? "a smaller batch (with accumulation the result is the same), "
                       : "",
                   adafactor, gradients);
}

rf_status rf_plan_check_step(rf_model *model, const rf_plan_request *request,
                             const rf_step_plan *plan, size_t already, rf_error *error)
{
    const rf_runner_options *runner = request->runner;
    size_t available = (size_t)request->limit;
    size_t total = 0;
    char finest[64] = "";
    char advice[400];
    char needed[RF_SIZE_TEXT_BYTES];
    char there[RF_SIZE_TEXT_BYTES];
    if (request->limit == 0) {
        RF_TRY(rf_device_memory(model->device, &available, &total, error));
        available += already;
    } else {
        (void)snprintf(finest, sizeof finest, " even with %lld head%s and %lld rows at a time",
                       (long long)plan->slices.heads, plan->slices.heads == 1 ? "" : "s",
                       (long long)plan->slices.rows);
    }
    if (plan->peak <= available) {
        return RF_OK;
    }
    advise(model, request, plan, available, advice, sizeof advice);
    return rf_error_set(
        error, RF_ERR_MEMORY, "batch %lld of length %lld needs %s of memory%s, but %s %s%s; %s",
        (long long)runner->batch, (long long)runner->length,
        rf_text_of_size((double)plan->peak, needed), finest,
        request->limit != 0                   ? "the limit is"
        : model->device->table->host_readable ? "the machine has"
                                              : "the device has",
        rf_text_of_size((double)available, there), request->limit != 0 ? "" : " free", advice);
}

rf_status rf_plan_check_evaluation(rf_model *model, const rf_runner_options *options,
                                   rf_error *error)
{
    rf_step_plan plan;
    rf_plan_request request = {.runner = options};
    RF_TRY(rf_plan_step(model, &request, &plan, error));
    size_t loaded = plan.memory.parameters + plan.memory.rounded_parameters + plan.other;
    return rf_plan_check_step(model, &request, &plan, loaded, error);
}
