/* `plan`: the bytes of a run by purpose, from a dry run of the same code that would run, and beside
 * them what the same layers would need with full attention and every activation stored. The longest
 * length, or the largest batch, that fits in so many bytes is searched by halving, a dry run a
 * trial, with the finest slices; then the coarsest that fit are chosen. */
#include "tools/plan.h"

#include "base/text.h"
#include "generate/cache.h"
#include "model/slices.h"
#include "tools/estimate.h"
#include "tools/open_model.h"

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
    double floats =
        rows * (kept * (scores + attention + widths) + (double)rf_config_output_width(config) +
                2.0 * (double)config->vocabulary);
    return 4.0 * (floats + (training ? 4.0 : 1.0) * (double)parameters);
}

json_t *rf_plan_to_json(const rf_model *model, const rf_runner_options *runner,
                        const rf_step_plan *plan)
{
    const rf_memory_plan *memory = &plan->memory;
    double full = full_attention_bytes(&model->config, model->parameters.total, runner->batch,
                                       runner->length, runner->training);
    size_t weights = memory->parameters + memory->rounded_parameters;
    size_t batch_data = memory->batch_data;
    batch_data -= model->device->table->host_readable ? 0 : memory->host;
    return json_pack(
        "{s:I, s:I, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, "
        "s:{s:I, "
        "s:I, s:I}}",
        "batch", (json_int_t)runner->batch, "length", (json_int_t)runner->length, "training",
        runner->training ? 1 : 0, "device", model->device->table->name, "parameters",
        (json_int_t)weights, "gradients", (json_int_t)memory->gradients, "optimizer",
        (json_int_t)plan->optimizer, "streams", (json_int_t)memory->streams, "stream_gradients",
        (json_int_t)memory->stream_gradients, "stored_activations",
        (json_int_t)memory->stored_activations, "buckets", (json_int_t)memory->buckets, "workspace",
        (json_int_t)memory->workspace, "batch_data", (json_int_t)batch_data, "other",
        (json_int_t)plan->other, "peak_bytes", (json_int_t)plan->peak,
        "full_attention_stored_bytes", full, "parameter_count", (json_int_t)model->parameters.total,
        "slices", "rows", (json_int_t)plan->slices.rows, "heads", (json_int_t)plan->slices.heads,
        "head_rows", (json_int_t)plan->slices.head_rows);
}

/* ---- one plan, or a search --------------------------------------------------------------- */

/* A model whose shape is known, and what is asked about it. */
typedef struct planner {
    rf_model *model;
    rf_runner_options runner;
    rf_optimizer_options optimizer;
    uint64_t limit;
    bool search_batch; /* else the length */
} planner;

/* The number of token ids is what a training step holds beside the library. The model is planned as
 * a copy, since a length may settle its number of buckets. */
static rf_status plan_once(const planner *p, const rf_slices *slices, uint64_t limit,
                           rf_step_plan *plan, rf_error *error)
{
    rf_model copy = *p->model;
    rf_runner_options runner = p->runner;
    rf_plan_request request = {.runner = &runner,
                               .optimizer = runner.training ? &p->optimizer : NULL,
                               .beside =
                                   (size_t)runner.batch * (size_t)runner.length * sizeof(int32_t),
                               .limit = limit};
    runner.slices = *slices;
    RF_TRY(rf_config_copy(&p->model->config, &copy.config, error));
    rf_status status = rf_plan_step(&copy, &request, plan, error);
    rf_config_clear(&copy.config);
    return status;
}

/* Does it fit with the finest slices? */
static rf_status fits(planner *p, int64_t number, bool *yes, rf_step_plan *plan, rf_error *error)
{
    *(p->search_batch ? &p->runner.batch : &p->runner.length) = number;
    rf_slices least = rf_slices_least(p->model, &p->runner);
    RF_TRY(plan_once(p, &least, 0, plan, error));
    *yes = plan->peak <= p->limit;
    return RF_OK;
}

/* The largest number from `low` to `most` that fits into p->runner. */
static rf_status search(planner *p, int64_t low, int64_t most, rf_error *error)
{
    rf_step_plan plan;
    bool yes = false;
    char needed[RF_SIZE_TEXT_BYTES];
    char limit[RF_SIZE_TEXT_BYTES];
    int64_t good = low;
    RF_TRY(fits(p, low, &yes, &plan, error));
    if (!yes) {
        return rf_error_set(
            error, RF_ERR_MEMORY,
            "batch %lld of length %lld needs %s with the finest slices, which is more than %s",
            (long long)p->runner.batch, (long long)p->runner.length,
            rf_text_of_size((double)plan.peak, needed), rf_text_of_size((double)p->limit, limit));
    }
    int64_t bad = low;
    while (yes && good < most) {
        bad = good > most / 2 ? most : 2 * good;
        RF_TRY(fits(p, bad, &yes, &plan, error));
        good = yes ? bad : good;
    }
    while (!yes && bad - good > 1) {
        int64_t middle = good + (bad - good) / 2;
        bool fit = false;
        RF_TRY(fits(p, middle, &fit, &plan, error));
        good = fit ? middle : good;
        bad = fit ? bad : middle;
    }
    *(p->search_batch ? &p->runner.batch : &p->runner.length) = good;
    return RF_OK;
}

static rf_status find_largest(planner *p, const char **limited_by, rf_error *error)
{
    enum { MOST_BATCH = 1 << 20, LEAST_LENGTH = 2 };
    int64_t most = p->search_batch ? MOST_BATCH : rf_config_max_length(&p->model->config);
    most = most < INT32_MAX ? most : INT32_MAX;
    RF_TRY(search(p, p->search_batch ? 1 : LEAST_LENGTH, most, error));
    int64_t found = p->search_batch ? p->runner.batch : p->runner.length;
    *limited_by = found < most ? "memory" : p->search_batch ? "batch" : "positions";
    return RF_OK;
}

static rf_status check_options(const rf_plan_options *options, rf_error *error)
{
    const char *maximize = options->maximize;
    if (maximize != NULL && strcmp(maximize, "length") != 0 && strcmp(maximize, "batch") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "maximize is \"%s\", expected \"length\" or \"batch\"", maximize);
    }
    if (maximize != NULL && options->fit == 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "maximize needs the bytes that are to be fitted into (fit)");
    }
    if (options->fit > 0 && options->memory_limit > 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "fit and memory_limit are two limits; give one");
    }
    return RF_OK;
}

static rf_status open_planner(const rf_plan_options *options, planner *p, rf_error *error)
{
    rf_model_options model = {.stream = options->stream,
                              .threads = options->threads,
                              .extend_positions = options->extend_positions,
                              .device = options->device,
                              .precision = options->precision,
                              .kernels = options->kernels};
    RF_TRY(check_options(options, error));
    p->runner =
        (rf_runner_options){.batch = options->batch,
                            .length = options->length,
                            .training = options->training,
                            .bf16_gradient_stream = options->gradient_stream != NULL &&
                                                    strcmp(options->gradient_stream, "bf16") == 0};
    p->optimizer.adafactor.beta1 = options->adafactor_beta1;
    p->limit = options->fit > 0 ? options->fit : options->memory_limit;
    p->search_batch = options->maximize != NULL && strcmp(options->maximize, "batch") == 0;
    RF_TRY(rf_optimizer_parse(options->optimizer, &p->optimizer.kind, error));
    return rf_open_model_shape(options->model, options->model_config, &model, &p->model, error);
}

/* ---- beside the bytes -------------------------------------------------------------------- */

/* What is kept of one sequence of this length when text is generated. */
static rf_status add_caches(const planner *p, json_t *object, rf_error *error)
{
    const rf_config *config = &p->model->config;
    rf_device dry = *p->model->device;
    rf_workspace block;
    rf_status status = RF_OK;
    dry.dry = true;
    rf_workspace_init(&block, &dry);
    for (int64_t layer = 0; layer < config->layers; layer++) {
        rf_layer_cache cache;
        RF_TRY_DONE(rf_cache_take(&cache, config, layer, 1, p->runner.length, &block, error));
    }
    status = rf_json_set(object, "generation_cache",
                         json_integer((json_int_t)rf_workspace_mark(&block)), error);
done:
    rf_workspace_clear(&block);
    return status;
}

static rf_status add_work(planner *p, const rf_step_plan *plan, json_t *object, rf_error *error)
{
    rf_op_times work;
    rf_runner_options runner = p->runner;
    runner.slices = plan->slices;
    RF_TRY(rf_count_work(p->model, &runner, &work, error));
    RF_TRY(rf_json_set(object, "flops", json_real(rf_sum_flops(&work)), error));
    return rf_json_set(object, "bytes_moved", json_real(rf_sum_bytes(&work)), error);
}

/* One change and the peak that it leads to, if that is less. */
static rf_status add_alternative(const planner *changed, const rf_slices *slices, const char *what,
                                 size_t peak, json_t *list, rf_error *error)
{
    rf_step_plan plan;
    RF_TRY(plan_once(changed, slices, 0, &plan, error));
    if (plan.peak < peak) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I}", "change", what, "peak_bytes", (json_int_t)plan.peak));
    }
    return RF_OK;
}

/* What takes less memory, each change alone, in order of what it costs: time first, then rounding,
 * then another optimizer. */
static rf_status add_alternatives(const planner *p, const rf_step_plan *plan, json_t *object,
                                  rf_error *error)
{
    const rf_slices automatic = {0};
    const rf_slices finest = rf_slices_least(p->model, &p->runner);
    json_t *list = json_array();
    planner changed = *p;
    RF_TRY(rf_json_set(object, "alternatives", list, error)); /* which owns the list */
    RF_TRY(add_alternative(&changed, &finest, "finest slices (--memory-limit)", plan->peak, list,
                           error));
    if (p->runner.batch > 1) {
        changed.runner.batch = 1;
        RF_TRY(add_alternative(&changed, &automatic, "one sequence at a time (--accumulate)",
                               plan->peak, list, error));
    }
    if (!p->runner.training) {
        return RF_OK;
    }
    changed = *p;
    changed.runner.bf16_gradient_stream = true;
    RF_TRY(
        add_alternative(&changed, &automatic, "--gradient-stream bf16", plan->peak, list, error));
    changed = *p;
    changed.optimizer.kind = RF_OPTIMIZER_ADAFACTOR;
    return add_alternative(&changed, &automatic, "--optimizer adafactor", plan->peak, list, error);
}

/* From steps of the model itself, with random weights, on the device, which must be there. */
static rf_status add_estimate(const rf_plan_options *options, const planner *p,
                              const rf_step_plan *plan, json_t *object, rf_error *error)
{
    const rf_model_options choice = {.stream = options->stream,
                                     .threads = options->threads,
                                     .extend_positions = options->extend_positions,
                                     .device = options->device,
                                     .precision = options->precision,
                                     .kernels = options->kernels};
    rf_runner_options runner = p->runner;
    rf_model *model = NULL;
    double seconds = 0.0;
    runner.slices = plan->slices;
    RF_TRY(rf_open_model(options->model, options->model_config, &choice, &model, error));
    rf_status status =
        rf_estimate_step(model, &runner, runner.training ? &p->optimizer : NULL, &seconds, error);
    rf_model_destroy(model);
    RF_TRY(status);
    return rf_json_set(object, "estimated_seconds", json_real(seconds), error);
}

rf_status rf_plan(const rf_plan_options *options, char **report, rf_error *error)
{
    planner p = {0};
    rf_step_plan plan;
    json_t *object = NULL;
    const char *limited_by = NULL;
    const rf_slices automatic = {0};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(open_planner(options, &p, error));
    if (options->fit > 0) {
        RF_TRY_DONE(find_largest(&p, &limited_by, error));
    }
    RF_TRY_DONE(plan_once(&p, &automatic, p.limit, &plan, error));
    if (options->memory_limit > 0) {
        rf_plan_request request = {.runner = &p.runner,
                                   .optimizer = options->training ? &p.optimizer : NULL,
                                   .limit = p.limit};
        RF_TRY_DONE(rf_plan_check_step(p.model, &request, &plan, 0, error));
    }
    object = rf_plan_to_json(p.model, &p.runner, &plan);
    if (limited_by != NULL) {
        (void)json_object_set_new(object, "fit_bytes", json_integer((json_int_t)options->fit));
        (void)json_object_set_new(object, "limited_by", json_string(limited_by));
    }
    RF_TRY_DONE(add_work(&p, &plan, object, error));
    RF_TRY_DONE(add_caches(&p, object, error));
    RF_TRY_DONE(add_alternatives(&p, &plan, object, error));
    if (options->estimate) {
        RF_TRY_DONE(add_estimate(options, &p, &plan, object, error));
    }
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    rf_model_destroy(p.model);
    return status;
}
