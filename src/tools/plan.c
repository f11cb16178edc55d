/* `plan`: the bytes of a run by purpose, from a dry run of the same code that would run, and beside
 * them what the same layers would need with full attention and every activation stored. */
#include "train/plan.h"
#include "model/model.h"
#include "reformer/tools.h"
#include "tools/open_model.h"
#include "train/optimizer.h"

/* One training step of an ordinary Transformer of these sizes, everything kept for the backward, in
 * f32: per layer two score matrices (before and after softmax) a head, queries, keys, values,
 * attention output, two norms, two residual sums, the inner width before and after the activation;
 * then the joined output, the logits and their gradient; parameters with gradient and two moments.
 * docs/numerics.md, "Memory". */
static double full_attention_bytes(const rf_config *config, int64_t parameters, int64_t batch,
                                   int64_t length, bool training)
{
    double rows = (double)batch * (double)length;
    double scores = 2.0 * (double)config->heads * (double)length;
    double attention = 4.0 * (double)(config->heads * config->head_width);
    double widths = 4.0 * (double)config->hidden + 2.0 * (double)config->feed_forward;
    double kept = training ? (double)config->layers : 1.0;
    double floats = rows * (kept * (scores + attention + widths) + 2.0 * (double)config->hidden +
                            2.0 * (double)config->vocabulary);
    return 4.0 * (floats + (training ? 4.0 : 1.0) * (double)parameters);
}

static json_t *report_of(const rf_plan_options *options, const rf_model *model,
                         const rf_memory_plan *plan, size_t optimizer, const rf_slices *slices)
{
    size_t peak = rf_plan_total(plan) + optimizer;
    double full = full_attention_bytes(&model->config, model->parameters.total, options->batch,
                                       options->length, options->training);
    return json_pack(
        "{s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:{s:I, s:I, s:I}}",
        "batch", (json_int_t)options->batch, "length", (json_int_t)options->length, "training",
        options->training ? 1 : 0, "parameters",
        (json_int_t)(plan->parameters + plan->rounded_parameters), "gradients",
        (json_int_t)plan->gradients, "optimizer", (json_int_t)optimizer, "streams",
        (json_int_t)plan->streams, "stream_gradients", (json_int_t)plan->stream_gradients,
        "buckets", (json_int_t)plan->buckets, "workspace", (json_int_t)plan->workspace,
        "batch_data", (json_int_t)plan->batch_data, "peak_bytes", (json_int_t)peak,
        "full_attention_stored_bytes", full, "parameter_count", (json_int_t)model->parameters.total,
        "slices", "rows", (json_int_t)slices->rows, "heads", (json_int_t)slices->heads, "head_rows",
        (json_int_t)slices->head_rows);
}

rf_status rf_plan(const rf_plan_options *options, char **report, rf_error *error)
{
    rf_model *model = NULL;
    json_t *object = NULL;
    rf_memory_plan plan = {0};
    rf_slices slices = {0};
    rf_status status = RF_OK;
    *report = NULL;
    rf_model_options model_options = {.stream = options->stream, .threads = options->threads};
    rf_optimizer_options optimizer = {.adafactor = {.beta1 = options->adafactor_beta1}};
    size_t optimizer_size = 0;
    RF_TRY_DONE(rf_optimizer_parse(options->optimizer, &optimizer.kind, error));
    RF_TRY_DONE(
        rf_open_model_shape(options->model, options->model_config, &model_options, &model, error));
    rf_runner_options runner = {
        .batch = options->batch, .length = options->length, .training = options->training};
    RF_TRY_DONE(rf_runner_plan(model, &runner, &plan, &slices, error));
    if (options->training) {
        RF_TRY_DONE(rf_optimizer_size(model->device, &model->parameters, &optimizer,
                                      &optimizer_size, error));
    }
    object = report_of(options, model, &plan, optimizer_size, &slices);
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    rf_model_destroy(model);
    return status;
}
