/* Work is counted by a dry run of the code that runs. Time is measured: a step of the same model
 * with a few thousand tokens, once whole and once operation by operation; the time of an operation
 * grows with its work (that of products where it has any, else its bytes), and the share that
 * waiting around operations adds is taken off. The update of the weights does not grow with tokens.
 * Small work is slower for its size than large work, so estimates err to the long side. */
#include "tools/estimate.h"

#include "base/clock.h"
#include "tools/random_batch.h"

enum { CPU_TOKENS = 2048, GPU_TOKENS = 32768, REPEATS = 3 };

rf_status rf_count_work(rf_model *model, const rf_runner_options *options, rf_op_times *work,
                        rf_error *error)
{
    rf_runner_options counted = *options;
    rf_memory_plan memory;
    rf_slices slices;
    *work = (rf_op_times){0};
    counted.times = work;
    return rf_runner_plan(model, &counted, &memory, &slices, error);
}

static double sum(const double values[RF_OP_COUNT])
{
    double all = 0.0;
    for (int op = 0; op < RF_OP_COUNT; op++) {
        all += values[op];
    }
    return all;
}

double rf_sum_flops(const rf_op_times *work)
{
    return sum(work->flops);
}

double rf_sum_bytes(const rf_op_times *work)
{
    return sum(work->bytes);
}

/* A model and the few tokens that it is timed with. */
typedef struct trial {
    rf_model *model;
    rf_runner_options options;
    rf_random_batch random;
} trial;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Fewer tokens than asked for, yet enough that layers hash. */
static rf_status prepare(trial *t, rf_error *error)
{
    const rf_config *config = &t->model->config;
    const bool on_cpu = t->model->device->table->host_readable;
    int64_t tokens = on_cpu ? CPU_TOKENS : GPU_TOKENS;
    int64_t chunk = config->lsh.chunk_length > config->local.chunk_length
                        ? config->lsh.chunk_length
                        : config->local.chunk_length;
    tokens = tokens > 4 * chunk ? tokens : 4 * chunk;
    t->options.length = least(t->options.length, tokens);
    t->options.batch = least(t->options.batch, 1 + (tokens - 1) / t->options.length);
    t->options.memory_budget = 0;
    return rf_random_batch_make(config, t->options.batch, t->options.length, &t->random, error);
}

static rf_status pass_once(const trial *t, rf_runner *runner, int64_t number, rf_error *error)
{
    rf_outcome outcome;
    if (t->options.training) {
        RF_TRY(rf_runner_zero_gradients(runner, error));
        RF_TRY(rf_runner_train(runner, &t->random.batch, 0, number, t->random.factor, &outcome,
                               error));
    } else {
        RF_TRY(rf_runner_forward(runner, &t->random.batch, 0, number, &outcome, error));
    }
    return rf_device_sync(t->model->device, error);
}

/* The shortest of a few passes after one that warms up. */
static rf_status time_passes(const trial *t, rf_runner *runner, rf_op_times *times, double *seconds,
                             rf_error *error)
{
    *seconds = 0.0;
    for (int i = 0; i <= REPEATS; i++) {
        if (times != NULL) {
            *times = (rf_op_times){0};
        }
        double start = rf_clock_seconds();
        RF_TRY(pass_once(t, runner, i, error));
        double took = rf_clock_seconds() - start;
        *seconds = i == 1 || took < *seconds ? took : *seconds;
    }
    return RF_OK;
}

/* Seconds of a pass whole, and of its operations. */
static rf_status time_trial(const trial *t, rf_op_times *times, double *whole, rf_error *error)
{
    rf_runner *runner = NULL;
    rf_runner_options options = t->options;
    rf_status status = RF_OK;
    double ignored = 0.0;
    RF_TRY(rf_runner_create(t->model, &options, &runner, error));
    RF_TRY_DONE(time_passes(t, runner, NULL, whole, error));
    rf_runner_destroy(runner);
    runner = NULL;
    options.times = times;
    RF_TRY_DONE(rf_runner_create(t->model, &options, &runner, error));
    RF_TRY_DONE(time_passes(t, runner, times, &ignored, error));
done:
    rf_runner_destroy(runner);
    return status;
}

static rf_status time_update(const trial *t, const rf_optimizer_options *options, double *seconds,
                             rf_error *error)
{
    rf_optimizer optimizer = {0};
    rf_runner *runner = NULL;
    rf_runner_options shape = t->options;
    rf_model *model = t->model;
    rf_status status = RF_OK;
    double norm = 0.0;
    RF_TRY(rf_runner_create(model, &shape, &runner, error));
    RF_TRY_DONE(rf_optimizer_create(model->device, &model->parameters, options, &optimizer, error));
    RF_TRY_DONE(rf_runner_zero_gradients(runner, error));
    for (int i = 0; i <= REPEATS; i++) {
        double start = rf_clock_seconds();
        float *gradients = rf_runner_gradients(runner);
        RF_TRY_DONE(rf_optimizer_norm(&optimizer, gradients, &norm, error));
        RF_TRY_DONE(rf_optimizer_update(&optimizer, model->values, model->rounded, gradients, 0.0,
                                        1.0, i + 1, error));
        RF_TRY_DONE(rf_device_sync(model->device, error));
        double took = rf_clock_seconds() - start;
        *seconds = i == 1 || took < *seconds ? took : *seconds;
    }
done:
    rf_optimizer_clear(&optimizer);
    rf_runner_destroy(runner);
    return status;
}

/* Seconds of `work`, of which a part took as long as `times` says. */
static double scaled(const rf_op_times *times, const rf_op_times *work)
{
    double seconds = 0.0;
    for (int op = 0; op < RF_OP_COUNT; op++) {
        double part = times->flops[op] > 0.0 ? times->flops[op] : times->bytes[op];
        double all = times->flops[op] > 0.0 ? work->flops[op] : work->bytes[op];
        seconds += part > 0.0 ? times->seconds[op] * (all / part) : 0.0;
    }
    return seconds;
}

rf_status rf_estimate_step(rf_model *model, const rf_runner_options *options,
                           const rf_optimizer_options *optimizer, double *seconds, rf_error *error)
{
    trial t = {.model = model, .options = *options};
    rf_op_times work;
    rf_op_times times;
    double whole = 0.0;
    double update = 0.0;
    rf_status status = RF_OK;
    RF_TRY(rf_count_work(model, options, &work, error));
    RF_TRY_DONE(prepare(&t, error));
    RF_TRY_DONE(time_trial(&t, &times, &whole, error));
    if (optimizer != NULL) {
        RF_TRY_DONE(time_update(&t, optimizer, &update, error));
    }
    double apart = sum(times.seconds);
    double waiting = apart > whole && apart > 0.0 ? whole / apart : 1.0;
    *seconds = scaled(&times, &work) * waiting + update;
done:
    rf_random_batch_clear(&t.random);
    return status;
}
