/* `bench step`: real training steps, or forward passes, on random tokens, timed one by one. Memory
 * is the allocator's high-water mark, of the host or of a GPU, and the process's peak resident set.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "tools/estimate.h"
#include "tools/open_model.h"
#include "tools/peak.h"
#include "tools/plan.h"
#include "tools/random_batch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct bench {
    const rf_bench_options *options;
    rf_model *model;
    rf_runner *runner;
    rf_optimizer optimizer;
    rf_step_plan plan;
    size_t rss_before;
    int64_t updates;
    rf_random_batch random;
    rf_outcome outcome; /* of the last step */
    rf_op_times times;  /* of the operations of one step */
    double flops;       /* of the products of a step */
    double peak; /* floating-point operations a second of a large product; 0: no memory for it */
} bench;

static rf_runner_options runner_options(const bench *b)
{
    const rf_bench_options *options = b->options;
    bool bf16 = options->gradient_stream != NULL && strcmp(options->gradient_stream, "bf16") == 0;
    return (rf_runner_options){
        .batch = options->batch,
        .length = options->length,
        .training = !options->forward_only,
        .bf16_gradient_stream = bf16,
        .slices = {.rows = options->rows_at_a_time, .heads = options->heads_at_a_time}};
}

static rf_status step(bench *b, int64_t number, rf_error *error)
{
    const rf_batch *batch = &b->random.batch;
    if (b->options->forward_only) {
        RF_TRY(rf_runner_forward(b->runner, batch, 0, number, &b->outcome, error));
    } else {
        double norm = 0.0;
        RF_TRY(rf_runner_zero_gradients(b->runner, error));
        RF_TRY(rf_runner_train(b->runner, batch, 0, number, b->random.factor, &b->outcome, error));
        RF_TRY(rf_optimizer_norm(&b->optimizer, rf_runner_gradients(b->runner), &norm, error));
        RF_TRY(rf_optimizer_update(&b->optimizer, b->model->values, b->model->rounded,
                                   rf_runner_gradients(b->runner), 1e-4,
                                   rf_optimizer_clip_factor(norm, 1.0), ++b->updates, error));
    }
    return rf_device_sync(b->model->device, error);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t peak_resident(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

/* {"gemm": {"seconds": s, "calls": n}, ...} of the operations that a step calls. */
static json_t *operations_of(const bench *b)
{
    json_t *object = json_object();
    for (int op = 0; op < RF_OP_COUNT; op++) {
        if (b->times.calls[op] > 0) {
            (void)json_object_set_new(object, rf_op_name((rf_op)op),
                                      json_pack("{s:f, s:I}", "seconds", b->times.seconds[op],
                                                "calls", (json_int_t)b->times.calls[op]));
        }
    }
    return object;
}

/* null where nothing is scored. */
static json_t *loss_of(const bench *b)
{
    const rf_outcome *outcome = &b->outcome;
    return outcome->scored > 0 ? json_real(outcome->nll_sum / (double)outcome->scored)
                               : json_null();
}

static rf_status report_of(const bench *b, double *seconds, int64_t repeats, size_t peak,
                           char **report, rf_error *error)
{
    const rf_runner_options shape = runner_options(b);
    json_t *list = json_array();
    for (int64_t i = 0; i < repeats; i++) {
        (void)json_array_append_new(list, json_real(seconds[i]));
    }
    qsort(seconds, (size_t)repeats, sizeof seconds[0], compare_doubles);
    double median = repeats % 2 == 1 ? seconds[repeats / 2]
                                     : 0.5 * (seconds[repeats / 2 - 1] + seconds[repeats / 2]);
    json_t *object =
        json_pack("{s:I, s:I, s:o, s:f, s:f, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "batch",
                  (json_int_t)b->options->batch, "length", (json_int_t)b->options->length,
                  "seconds", list, "median_seconds", median, "tokens_per_second",
                  (double)(b->options->batch * b->options->length) / median, "planned_bytes",
                  (json_int_t)b->plan.peak, "peak_bytes", (json_int_t)peak, "peak_rss_bytes",
                  (json_int_t)peak_resident(), "rss_before_bytes", (json_int_t)b->rss_before,
                  "loss", loss_of(b), "parameter_count", (json_int_t)b->model->parameters.total,
                  "plan", rf_plan_to_json(b->model, &shape, &b->plan));
    (void)json_object_set_new(object, "flops", json_real(b->flops));
    if (b->peak > 0.0) {
        (void)json_object_set_new(object, "matrix_peak_flops_per_second", json_real(b->peak));
        (void)json_object_set_new(object, "share_of_matrix_peak",
                                  json_real(b->flops / median / b->peak));
    }
    if (b->options->by_operation) {
        (void)json_object_set_new(object, "operations", operations_of(b));
    }
    rf_status status = rf_json_text(object, true, report, error);
    json_decref(object);
    return status;
}

/* A step of a runner of its own, since waiting around each operation is not for those that are
 * timed whole. */
static rf_status measure_operations(bench *b, rf_error *error)
{
    rf_runner_options options = runner_options(b);
    options.slices = b->plan.slices;
    rf_outcome outcome;
    options.times = &b->times;
    rf_runner_destroy(b->runner);
    b->runner = NULL;
    RF_TRY(rf_runner_create(b->model, &options, &b->runner, error));
    for (int i = 0; i < 2; i++) { /* the first chooses algorithms */
        b->times = (rf_op_times){0};
        if (b->options->forward_only) {
            RF_TRY(rf_runner_forward(b->runner, &b->random.batch, 0, 0, &outcome, error));
        } else {
            RF_TRY(rf_runner_train(b->runner, &b->random.batch, 0, 0, b->random.factor, &outcome,
                                   error));
        }
    }
    return RF_OK;
}

static rf_optimizer_options optimizer_options(const rf_bench_options *options)
{
    return (rf_optimizer_options){
        .beta1 = 0.9,
        .beta2 = 0.98,
        .epsilon = 1e-9,
        .adafactor = {.relative_step = true, .clip = 1.0, .beta1 = options->adafactor_beta1}};
}

/* Before anything but the weights is taken. */
static rf_status plan(bench *b, rf_runner_options *runner, const rf_optimizer_options *optimizer,
                      rf_error *error)
{
    const rf_bench_options *options = b->options;
    rf_plan_request request = {.runner = runner,
                               .optimizer = options->forward_only ? NULL : optimizer,
                               .beside = (size_t)options->batch * (size_t)options->length *
                                         sizeof(int32_t),
                               .limit = options->memory_limit};
    RF_TRY(rf_plan_step(b->model, &request, &b->plan, error));
    size_t loaded = b->plan.memory.parameters + b->plan.memory.rounded_parameters + b->plan.other;
    RF_TRY(rf_plan_check_step(b->model, &request, &b->plan, loaded, error));
    runner->slices = b->plan.slices;
    return RF_OK;
}

static rf_status count_flops(bench *b, rf_error *error)
{
    rf_runner_options options = runner_options(b);
    rf_op_times work;
    options.slices = b->plan.slices;
    RF_TRY(rf_count_work(b->model, &options, &work, error));
    b->flops = rf_sum_flops(&work);
    return RF_OK;
}

/* The runner's memory is given back first; where even then there is none, there is no comparison.
 */
static rf_status measure_peak(bench *b, rf_error *error)
{
    rf_runner_destroy(b->runner);
    b->runner = NULL;
    rf_status status = rf_measure_matrix_peak(b->model->device, b->model->compute, &b->peak, error);
    if (status == RF_ERR_MEMORY) {
        b->peak = 0.0;
        return RF_OK;
    }
    return status;
}

static rf_status prepare(bench *b, rf_error *error)
{
    const rf_bench_options *options = b->options;
    rf_model_options model_options = {.device = options->device,
                                      .precision = options->precision,
                                      .kernels = options->kernels,
                                      .threads = options->threads,
                                      .stream = options->stream,
                                      .log = options->log};
    rf_runner_options runner = runner_options(b);
    rf_optimizer_options optimizer = optimizer_options(options);
    RF_TRY(rf_optimizer_parse(options->optimizer, &optimizer.kind, error));
    RF_TRY(rf_open_model(options->model, options->model_config, &model_options, &b->model, error));
    RF_TRY(plan(b, &runner, &optimizer, error));
    RF_TRY(rf_runner_create(b->model, &runner, &b->runner, error));
    if (!options->forward_only) {
        RF_TRY(rf_optimizer_create(b->model->device, &b->model->parameters, &optimizer,
                                   &b->optimizer, error));
    }
    return rf_random_batch_make(&b->model->config, options->batch, options->length, &b->random,
                                error);
}

rf_status rf_bench_step(const rf_bench_options *options, char **report, rf_error *error)
{
    bench b = {.options = options, .rss_before = peak_resident()};
    rf_status status = RF_OK;
    void *memory = NULL;
    *report = NULL;
    rf_memory_reset_peak();
    size_t before = rf_memory_in_use();
    if (options->repeats < 1 || options->repeats > 1 << 20 || options->warmup < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "repeats is %lld and warmup %lld, expected 1 to 1048576 and at least 0",
                            (long long)options->repeats, (long long)options->warmup);
    }
    RF_TRY_DONE(prepare(&b, error));
    RF_TRY_DONE(rf_allocate((size_t)options->repeats * sizeof(double), "times", &memory, error));
    double *seconds = memory;
    for (int64_t i = -options->warmup; i < options->repeats; i++) {
        double start = rf_clock_seconds();
        RF_TRY_DONE(step(&b, i + options->warmup, error));
        if (i >= 0) {
            seconds[i] = rf_clock_seconds() - start;
        }
    }
    const rf_device *device = b.model->device;
    size_t peak = device->table->peak(device) - (device->table->host_readable ? before : 0);
    if (options->by_operation) {
        RF_TRY_DONE(measure_operations(&b, error));
    }
    RF_TRY_DONE(count_flops(&b, error));
    RF_TRY_DONE(measure_peak(&b, error));
    RF_TRY_DONE(report_of(&b, seconds, options->repeats, peak, report, error));
done:
    rf_release(memory);
    rf_random_batch_clear(&b.random);
    rf_optimizer_clear(&b.optimizer);
    rf_runner_destroy(b.runner);
    rf_model_destroy(b.model);
    return status;
}
