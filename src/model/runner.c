/* A runner: plans one shape of batch by a dry run, takes its memory once, then runs forward and
 * backward passes without another allocation. What lives for the whole pass (streams, their
 * gradients, the gradient block, ids) is in one persistent block; what a slice or a head group
 * needs is in the workspace, used like a stack. */
#include "model/runner.h"
#include "model/slices.h"

#include "base/memory.h"

static bool is_fixed(const rf_config *config, const rf_runner_options *options)
{
    return options->fixed_stream || (config->fixed_stream && !options->float_stream);
}

/* ---- memory ------------------------------------------------------------------------------ */

rf_status rf_runner_take(rf_runner *runner, const char *what, rf_dtype dtype, int64_t count,
                         size_t *bytes, rf_tensor *tensor, rf_error *error)
{
    size_t before = runner->persistent.used;
    RF_TRY(rf_workspace_take_1(&runner->persistent, what, dtype, count, tensor, error));
    *bytes += runner->persistent.used - before;
    return RF_OK;
}

/* Places for `count` streams side by side, of what stack->stored is. */
static rf_status take_stored(rf_runner *runner, int64_t count, size_t *bytes, rf_error *error)
{
    const rf_pass *pass = &runner->pass;
    const int64_t each = pass->rows * pass->config->hidden;
    const rf_dtype dtype = pass->fixed ? RF_FIXED32 : RF_F32;
    rf_tensor *stored = &runner->stack.stored;
    RF_TRY(rf_runner_take(runner, "stored activations", dtype, count * each, bytes, stored, error));
    *stored = rf_tensor_2(stored->data, dtype, count, each);
    return RF_OK;
}

/* The two streams; or the only one, and what half residuals read: all, or where no backward follows
 * each in turn. */
static rf_status take_stack(rf_runner *runner, rf_error *error)
{
    const rf_pass *pass = &runner->pass;
    const bool standard = pass->config->standard_residual;
    const int64_t halves = 2 * pass->config->layers;
    const rf_dtype dtype = pass->fixed ? RF_FIXED32 : RF_F32;
    rf_memory_plan *plan = &runner->plan;
    for (int i = 0; i < (standard ? 1 : 2); i++) {
        rf_tensor *stream = &runner->stack.streams[i];
        RF_TRY(rf_runner_take(runner, "stream", dtype, pass->rows * pass->config->hidden,
                              &plan->streams, stream, error));
        *stream = rf_tensor_2(stream->data, dtype, pass->rows, pass->config->hidden);
    }
    if (standard) {
        runner->stack.streams[1] = runner->stack.streams[0];
        return runner->options.gradients
                   ? take_stored(runner, halves, &plan->stored_activations, error)
                   : take_stored(runner, 1, &plan->streams, error);
    }
    return runner->options.gradients && runner->options.store_activations
               ? take_stored(runner, halves, &plan->stored_activations, error)
               : RF_OK;
}

static rf_status take_streams(rf_runner *runner, rf_error *error)
{
    const rf_pass *pass = &runner->pass;
    int64_t hidden = pass->config->hidden;
    int64_t halves = 2 * pass->config->layers;
    rf_memory_plan *plan = &runner->plan;
    RF_TRY(take_stack(runner, error));
    if (!runner->options.gradients) {
        return RF_OK;
    }
    for (int i = 0; i < 2; i++) {
        rf_tensor *gradient = &runner->stack.gradients[i];
        rf_dtype type = runner->options.bf16_gradient_stream ? RF_BF16 : RF_F32;
        RF_TRY(rf_runner_take(runner, "stream gradient", type, pass->rows * hidden,
                              &plan->stream_gradients, gradient, error));
        *gradient = rf_tensor_2(gradient->data, type, pass->rows, hidden);
    }
    if (runner->options.verify_reversal) {
        rf_tensor *sums = &runner->stack.checksums;
        RF_TRY(rf_runner_take(runner, "checksums", RF_I64, 2 * halves, &plan->batch_data, sums,
                              error));
        *sums = rf_tensor_2(sums->data, RF_I64, 2, halves);
    }
    return RF_OK;
}

/* Those of use are others only where the rounds are. */
static rf_status take_rotations(rf_runner *runner, rf_error *error)
{
    const rf_config *config = runner->pass.config;
    const int64_t columns = rf_config_rotation_columns(config);
    for (int mode = 0; mode < RF_RUNNER_MODES; mode++) {
        const int64_t rounds = runner->rounds[mode];
        rf_tensor *own = &runner->rotations[mode];
        if (mode == RF_RUNNER_IN_USE && rounds == runner->rounds[RF_RUNNER_TRAINS]) {
            *own = runner->rotations[RF_RUNNER_TRAINS];
            continue;
        }
        const int64_t count = config->heads * config->head_width * rounds * columns;
        RF_TRY(rf_runner_take(runner, "rotations", RF_F32, count, &runner->plan.batch_data, own,
                              error));
        *own = rf_tensor_4(own->data, RF_F32, config->heads, config->head_width, rounds, columns);
    }
    return RF_OK;
}

static rf_status take_lsh(rf_runner *runner, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    const rf_config *config = pass->config;
    int64_t layers = rf_config_lsh_layers(config);
    bool hashes =
        layers > 0 && rf_config_padded_length(config, pass->length) > config->lsh.chunk_length;
    if (!hashes) {
        return RF_OK;
    }
    if (config->has_hash_seed) {
        RF_TRY(take_rotations(runner, error));
    }
    if (runner->options.gradients && (config->standard_residual || !pass->fixed)) {
        int64_t each = config->heads * runner->rounds[RF_RUNNER_TRAINS] * pass->rows;
        RF_TRY(rf_runner_take(runner, "buckets", RF_I32, layers * each, &runner->plan.buckets,
                              &runner->buckets, error));
        runner->buckets = rf_tensor_2(runner->buckets.data, RF_I32, layers, each);
    }
    return RF_OK;
}

/* Bytes on the host, whatever the device: targets and predictions, overflow flags, checksums. */
static size_t host_size(const rf_runner *runner)
{
    size_t halves = 2 * (size_t)runner->pass.config->layers;
    return rf_runner_batch_host_size(runner) + (halves + 1) * sizeof(int32_t) +
           2 * halves * sizeof(int64_t);
}

static bool takes_class_weights(const rf_runner *runner)
{
    return runner->options.class_weights != NULL && !rf_head_wants_values(runner->pass.config) &&
           runner->pass.config->model_class == RF_CLASS_CLASSIFIER;
}

static rf_status take_persistent(rf_runner *runner, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    size_t *data = &runner->plan.batch_data;
    RF_TRY(take_streams(runner, error));
    RF_TRY(take_lsh(runner, error));
    if (runner->options.gradients) {
        RF_TRY(rf_runner_take(runner, "gradients", RF_F32, pass->parameters->block_count,
                              &runner->plan.gradients, &runner->gradients, error));
    }
    RF_TRY(rf_runner_take_batch(runner, error));
    if (takes_class_weights(runner)) {
        RF_TRY(rf_runner_take(runner, "class weights", RF_F32, pass->config->labels, data,
                              &pass->class_weights, error));
    }
    RF_TRY(rf_runner_take(runner, "overflow flags", RF_I32, 2 * pass->config->layers + 1, data,
                          &pass->overflow, error));
    runner->plan.host = host_size(runner);
    *data += runner->plan.host;
    return rf_runner_take(runner, "loss", RF_F64, 1, data, &runner->loss_sum, error);
}

/* ---- a pass ------------------------------------------------------------------------------ */

static rf_tensor first_rows(const rf_tensor *tensor, int64_t count)
{
    return rf_tensor_rows(tensor, 0, count);
}

/* The stack over the batch's rows only: a last, smaller batch uses the first part of each block. */
static rf_reversible batch_stack(const rf_runner *runner)
{
    rf_reversible stack = runner->stack;
    for (int i = 0; i < 2; i++) {
        stack.streams[i] = first_rows(&runner->stack.streams[i], runner->pass.rows);
        if (!rf_tensor_is_absent(&stack.gradients[i])) {
            stack.gradients[i] = first_rows(&runner->stack.gradients[i], runner->pass.rows);
        }
    }
    return stack;
}

/* Buckets are kept for a backward only. */
static void set_mode(rf_runner *runner, rf_runner_mode mode)
{
    runner->pass.rounds = runner->rounds[mode];
    runner->pass.rotations = runner->rotations[mode];
    runner->pass.buckets = mode == RF_RUNNER_TRAINS ? runner->buckets : (rf_tensor){0};
}

static rf_status run_forward(rf_runner *runner, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    rf_reversible stack = batch_stack(runner);
    RF_TRY(rf_device_zero(pass->context.device, pass->overflow.data,
                          rf_tensor_size(&pass->overflow), error));
    RF_TRY(rf_embed_forward(pass, stack.streams, error));
    return pass->config->standard_residual ? rf_standard_forward(pass, &stack, error)
                                           : rf_reversible_forward(pass, &stack, error);
}

static rf_status run_train(rf_runner *runner, float factor, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    RF_TRY(run_forward(runner, error));
    rf_reversible stack = batch_stack(runner);
    RF_TRY(rf_head_of(pass->config)->train(pass, stack.streams, stack.gradients, factor, error));
    RF_TRY(pass->config->standard_residual ? rf_standard_backward(pass, &stack, error)
                                           : rf_reversible_backward(pass, &stack, error));
    return rf_embed_backward(pass, stack.gradients, error);
}

static rf_status run_dry(rf_runner *runner, rf_error *error)
{
    rf_runner_set_batch(runner, runner->options.batch, runner->options.length, true, true);
    if (runner->options.gradients) {
        set_mode(runner, RF_RUNNER_TRAINS);
        RF_TRY(run_train(runner, 1.0F, error));
    }
    if (!runner->options.gradients ||
        runner->rounds[RF_RUNNER_IN_USE] > runner->rounds[RF_RUNNER_TRAINS]) {
        set_mode(runner, RF_RUNNER_IN_USE);
        RF_TRY(run_forward(runner, error));
        RF_TRY(
            rf_head_of(runner->pass.config)->forward(&runner->pass, runner->stack.streams, error));
    }
    return rf_head_show_output(&runner->pass, runner->stack.streams, error);
}

/* ---- planning and creation --------------------------------------------------------------- */

static void init(rf_runner *runner, rf_model *model, const rf_runner_options *options,
                 rf_device *device)
{
    *runner = (rf_runner){.model = model, .options = *options};
    runner->options.gradients = options->gradients || options->training;
    rf_pass *pass = &runner->pass;
    rf_workspace_init(&runner->persistent, device);
    rf_workspace_init(&pass->workspace, device);
    pass->context =
        (rf_context){.device = device, .workspace = &pass->workspace, .times = options->times};
    pass->config = &model->config;
    pass->parameters = &model->parameters;
    pass->values = model->values;
    pass->compute = model->compute;
    pass->weights = model->compute == RF_F32 ? (void *)model->values : model->rounded;
    pass->batch = options->batch;
    pass->length = options->length;
    pass->rows = options->batch * options->length;
    runner->rounds[RF_RUNNER_TRAINS] = options->rounds > 0 ? options->rounds : model->config.rounds;
    runner->rounds[RF_RUNNER_IN_USE] =
        options->use_rounds > 0 ? options->use_rounds : runner->rounds[RF_RUNNER_TRAINS];
    pass->slices = rf_slices_wished(model, options);
    pass->dropout = options->training;
    pass->smoothing = options->label_smoothing;
    pass->fixed = is_fixed(&model->config, options);
    pass->head_bias = model->applies_head_bias;
    pass->head_bias_trained =
        model->trains_head_bias || (options->gradients && model->applies_head_bias);
    pass->hooks = &runner->options.hooks;
    pass->left_out = options->left_out;
    size_t count = (size_t)model->parameters.block_count;
    runner->plan.parameters = count * sizeof(float);
    runner->plan.rounded_parameters = model->compute == RF_F32 ? 0 : count * sizeof(uint16_t);
}

static rf_status check_shape(rf_model *model, const rf_runner_options *options, rf_error *error)
{
    if (options->batch <= 0 || options->length <= 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a batch of %lld sequences of %lld tokens: both must be at least 1",
                            (long long)options->batch, (long long)options->length);
    }
    const int64_t most = INT64_C(1) << 40;
    if (options->batch > most / options->length / model->config.hidden) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "a batch of %lld x %lld tokens of width %lld is beyond 2^40 numbers; make it smaller",
            (long long)options->batch, (long long)options->length, (long long)model->config.hidden);
    }
    if ((options->training || options->gradients) && rf_head_of(&model->config)->train == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a bare ReformerModel has no loss and cannot be trained; give it the "
                            "head of a task");
    }
    if ((options->training || options->gradients) && options->left_out != NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "attention can be left out of forward passes only, not of training");
    }
    if (options->verify_reversal && model->config.standard_residual) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "verify_reversal: the model's residuals are standard, so that its "
                            "activations are stored and nothing is reversed; leave it out");
    }
    RF_TRY(rf_config_check_length(&model->config, options->length, error));
    return rf_config_resolve_buckets(&model->config,
                                     rf_config_padded_length(&model->config, options->length),
                                     &model->log, error);
}

/* The plan with the slices of the options. */
static rf_status plan_cut(rf_runner *runner, rf_model *model, const rf_runner_options *options,
                          rf_error *error)
{
    init(runner, model, options, NULL);
    runner->dry = *model->device;
    runner->dry.dry = true;
    rf_workspace_init(&runner->persistent, &runner->dry);
    rf_workspace_init(&runner->pass.workspace, &runner->dry);
    runner->pass.context = (rf_context){
        .device = &runner->dry, .workspace = &runner->pass.workspace, .times = options->times};
    runner->pass.values = NULL;
    runner->pass.weights = NULL;
    RF_TRY(take_persistent(runner, error));
    RF_TRY(run_dry(runner, error));
    runner->plan.workspace = runner->pass.workspace.high;
    return RF_OK;
}

/* What rf_slices_fit tries slices with. */
typedef struct trial {
    rf_runner *runner;
    rf_model *model;
    rf_runner_options options;
} trial;

static rf_status measure(void *user, const rf_slices *slices, size_t *bytes, rf_error *error)
{
    trial *with = user;
    with->options.slices = *slices;
    RF_TRY(plan_cut(with->runner, with->model, &with->options, error));
    *bytes = rf_plan_on_device(&with->runner->plan, with->model->device);
    return RF_OK;
}

/* The plan, within the memory budget if any slices are. */
static rf_status plan(rf_runner *runner, rf_model *model, const rf_runner_options *options,
                      rf_error *error)
{
    trial with = {.runner = runner, .model = model, .options = *options};
    RF_TRY(check_shape(model, options, error));
    if (options->memory_budget > 0) {
        rf_slices wished = rf_slices_wished(model, options);
        rf_slices least = rf_slices_least(model, options);
        rf_slices chosen = wished;
        RF_TRY(
            rf_slices_fit(wished, least, options->memory_budget, measure, &with, &chosen, error));
        with.options.slices = chosen;
    }
    return plan_cut(runner, model, &with.options, error);
}

rf_status rf_runner_plan(rf_model *model, const rf_runner_options *options, rf_memory_plan *memory,
                         rf_slices *slices, rf_error *error)
{
    void *block = NULL;
    RF_TRY(rf_allocate(sizeof(rf_runner), "plan", &block, error));
    rf_runner *runner = block;
    rf_status status = plan(runner, model, options, error);
    if (status == RF_OK) {
        *memory = runner->plan;
        *slices = runner->pass.slices;
    }
    rf_release(block);
    return status;
}

static rf_status allocate_host(rf_runner *runner, rf_error *error)
{
    size_t halves = 2 * (size_t)runner->pass.config->layers;
    void *memory = NULL;
    RF_TRY(rf_runner_allocate_batch(runner, error));
    RF_TRY(rf_allocate((halves + 1) * sizeof(int32_t), "overflow flags", &memory, error));
    runner->host_overflow = memory;
    RF_TRY(rf_allocate(2 * halves * sizeof(int64_t), "checksums", &memory, error));
    runner->host_checksums = memory;
    return RF_OK;
}

static rf_status upload_rotations(rf_runner *runner, rf_error *error)
{
    rf_status status = RF_OK;
    for (int mode = 0; mode < RF_RUNNER_MODES && status == RF_OK; mode++) {
        const rf_tensor *rotations = &runner->rotations[mode];
        const size_t size = rf_tensor_size(rotations);
        void *host = NULL;
        if (rf_tensor_is_absent(rotations)) {
            continue;
        }
        RF_TRY(rf_allocate(size, "rotations", &host, error));
        rf_plan_lsh_seeded_rotations(runner->pass.config, runner->rounds[mode], host);
        status = rf_device_upload(runner->pass.context.device, rotations->data, host, size, error);
        rf_release(host);
    }
    return status;
}

rf_status rf_runner_create(rf_model *model, const rf_runner_options *options, rf_runner **result,
                           rf_error *error)
{
    *result = NULL;
    void *block = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_runner), "runner", &block, error));
    rf_runner *runner = block;
    RF_TRY_DONE(plan(runner, model, options, error));
    size_t persistent = runner->persistent.high;
    size_t workspace = runner->pass.workspace.high;
    rf_runner_options cut = *options;
    cut.slices = runner->pass.slices;
    init(runner, model, &cut, model->device);
    RF_TRY_DONE(rf_workspace_allocate(&runner->persistent, persistent, error));
    RF_TRY_DONE(rf_workspace_allocate(&runner->pass.workspace, workspace, error));
    RF_TRY_DONE(take_persistent(runner, error));
    runner->plan.workspace = workspace;
    runner->pass.gradients = runner->gradients.data;
    RF_TRY_DONE(allocate_host(runner, error));
    RF_TRY_DONE(upload_rotations(runner, error));
    if (takes_class_weights(runner)) {
        RF_TRY_DONE(rf_device_upload(model->device, runner->pass.class_weights.data,
                                     options->class_weights,
                                     rf_tensor_size(&runner->pass.class_weights), error));
    }
    if (runner->options.gradients) {
        RF_TRY_DONE(rf_runner_zero_gradients(runner, error));
    }
done:
    if (status != RF_OK) {
        rf_runner_destroy(runner);
        runner = NULL;
    }
    *result = runner;
    return status;
}

void rf_runner_destroy(rf_runner *runner)
{
    if (runner == NULL) {
        return;
    }
    if (runner->persistent.memory != NULL) {
        rf_workspace_clear(&runner->persistent);
    }
    if (runner->pass.workspace.memory != NULL) {
        rf_workspace_clear(&runner->pass.workspace);
    }
    rf_runner_release_batch(runner);
    rf_release(runner->host_overflow);
    rf_release(runner->host_checksums);
    rf_release(runner);
}

const rf_memory_plan *rf_runner_memory(const rf_runner *runner)
{
    return &runner->plan;
}

rf_slices rf_runner_slices(const rf_runner *runner)
{
    return runner->pass.slices;
}

float *rf_runner_gradients(rf_runner *runner)
{
    return runner->gradients.data;
}

const rf_tensor *rf_runner_streams(const rf_runner *runner)
{
    return runner->stack.streams;
}

rf_status rf_runner_zero_gradients(rf_runner *runner, rf_error *error)
{
    return rf_device_zero(runner->pass.context.device, runner->gradients.data,
                          rf_tensor_size(&runner->gradients), error);
}

/* ---- running ----------------------------------------------------------------------------- */

static rf_status read_flags(rf_runner *runner, bool backward, rf_outcome *outcome, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    rf_device *device = pass->context.device;
    int64_t halves = 2 * pass->config->layers;
    RF_TRY(rf_device_download(device, runner->host_overflow, pass->overflow.data,
                              rf_tensor_size(&pass->overflow), error));
    for (int64_t i = 0; pass->fixed && i <= halves && !outcome->overflow; i++) {
        outcome->overflow = runner->host_overflow[i] != 0;
        outcome->overflow_layer = i < halves ? i / 2 : -1;
    }
    const rf_tensor *sums = &runner->stack.checksums;
    if (rf_tensor_is_absent(sums) || !backward) {
        return RF_OK;
    }
    RF_TRY(rf_device_download(device, runner->host_checksums, sums->data, rf_tensor_size(sums),
                              error));
    for (int64_t i = 0; i < halves; i++) {
        outcome->checksum_mismatches +=
            runner->host_checksums[i] != runner->host_checksums[halves + i] ? 1 : 0;
    }
    return RF_OK;
}

rf_status rf_runner_forward(rf_runner *runner, const rf_batch *batch, uint64_t seed, int64_t step,
                            rf_outcome *outcome, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    *outcome = (rf_outcome){0};
    RF_TRY(rf_runner_load_batch(runner, batch, error));
    pass->seed = seed;
    pass->step = step;
    pass->dropout = false;
    set_mode(runner, RF_RUNNER_IN_USE);
    RF_TRY(run_forward(runner, error));
    rf_reversible stack = batch_stack(runner);
    RF_TRY(rf_head_of(pass->config)->forward(pass, stack.streams, error));
    RF_TRY(rf_head_show_output(pass, stack.streams, error));
    if (batch->labels != NULL || batch->values != NULL) {
        RF_TRY(rf_runner_read_scores(runner, outcome, error));
    }
    RF_TRY(rf_device_sync(pass->context.device, error));
    return read_flags(runner, false, outcome, error);
}

rf_status rf_runner_train(rf_runner *runner, const rf_batch *batch, uint64_t seed, int64_t step,
                          float factor, rf_outcome *outcome, rf_error *error)
{
    rf_pass *pass = &runner->pass;
    *outcome = (rf_outcome){0};
    if ((batch->labels == NULL && batch->values == NULL) || !runner->options.gradients) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "training needs labels and a runner planned with gradients");
    }
    RF_TRY(rf_runner_load_batch(runner, batch, error));
    pass->seed = seed;
    pass->step = step;
    pass->dropout = runner->options.training;
    set_mode(runner, RF_RUNNER_TRAINS);
    RF_TRY(run_train(runner, factor, error));
    RF_TRY(rf_runner_read_scores(runner, outcome, error));
    RF_TRY(rf_device_sync(pass->context.device, error));
    return read_flags(runner, true, outcome, error);
}
