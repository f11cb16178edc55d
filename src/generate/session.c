/* A session: the caches of a model's layers, the rotations of its hashes, and the memory of one
 * step, all taken when it is created. */
#include "generate/session.h"

#include "base/memory.h"

/* ---- creation ---------------------------------------------------------------------------- */

static rf_status check_model(const rf_model *model, rf_error *error)
{
    if (!model->config.causal) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "this model is not causal (is_decoder is false): every token sees the "
                            "later ones, so it can not write "
                            "text; generate with a model whose is_decoder is true");
    }
    if (model->config.model_class != RF_CLASS_CAUSAL_LM) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "a %s has no scores of next tokens, so it can not write text; generate "
                            "with a ReformerModelWithLMHead",
                            rf_class_name(model->config.model_class));
    }
    return RF_OK;
}

static rf_status check_options(const rf_model *model, const rf_session_options *options,
                               rf_error *error)
{
    int64_t positions = rf_config_max_length(&model->config);
    if (options == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a session needs options: how many tokens it is to hold (capacity)");
    }
    if (options->batch < 0 || options->batch > INT32_MAX) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a session of %lld sequences; expected 1 or more (0 = 1)",
                            (long long)options->batch);
    }
    if (options->capacity < 1) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a session with a capacity of %lld tokens; expected at least 1",
                            (long long)options->capacity);
    }
    if (options->capacity > positions) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a session with a capacity of %lld tokens, but the model has %lld "
                            "positions; ask for at most %lld",
                            (long long)options->capacity, (long long)positions,
                            (long long)positions);
    }
    return RF_OK;
}

/* num_buckets null: the automatic rule, from the length that the model was trained at, else from
 * the capacity. */
static rf_status resolve_buckets(rf_model *model, const rf_session_options *options,
                                 rf_error *error)
{
    rf_config *config = &model->config;
    const rf_log *log = options->log.write != NULL ? &options->log : &model->log;
    if (config->training_length > 0) {
        RF_TRY(rf_config_resolve_buckets(config, config->training_length, log, error));
    }
    return rf_config_resolve_buckets(config, options->capacity, log, error);
}

static rf_tensor weight_of(const rf_model *model, rf_parameter_role role, int64_t layer)
{
    const rf_parameter *parameter = rf_parameters_find(&model->parameters, role, layer, 0);
    return parameter == NULL ? (rf_tensor){0} : rf_parameter_tensor(parameter, model->values);
}

/* A weight of a product: the copy in bf16 where the model computes in that. */
rf_tensor rf_session_weight(const rf_model *model, rf_parameter_role role, int64_t layer)
{
    const rf_parameter *parameter = rf_parameters_find(&model->parameters, role, layer, 0);
    bool is_rounded = parameter != NULL && model->compute == RF_BF16;
    return is_rounded ? rf_parameter_tensor_as(parameter, model->rounded, RF_BF16)
                      : weight_of(model, role, layer);
}

static rf_status find_weights(rf_session *session, rf_error *error)
{
    const rf_model *model = session->model;
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)model->config.layers * sizeof *session->weights, "weights of layers",
                       &memory, error));
    session->weights = memory;
    for (int64_t layer = 0; layer < model->config.layers; layer++) {
        session->weights[layer] = (rf_layer_weights){
            .attention_gain = weight_of(model, RF_PARAMETER_ATTENTION_NORM_GAIN, layer),
            .attention_bias = weight_of(model, RF_PARAMETER_ATTENTION_NORM_BIAS, layer),
            .query = rf_session_weight(model, RF_PARAMETER_QUERY, layer),
            .key = rf_session_weight(model, RF_PARAMETER_KEY, layer),
            .value = rf_session_weight(model, RF_PARAMETER_VALUE, layer),
            .attention_output = rf_session_weight(model, RF_PARAMETER_ATTENTION_OUTPUT, layer),
            .feed_forward_gain = weight_of(model, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer),
            .feed_forward_bias = weight_of(model, RF_PARAMETER_FEED_FORWARD_NORM_BIAS, layer),
            .inner_weight = rf_session_weight(model, RF_PARAMETER_INNER_WEIGHT, layer),
            .inner_bias = weight_of(model, RF_PARAMETER_INNER_BIAS, layer),
            .outer_weight = rf_session_weight(model, RF_PARAMETER_OUTER_WEIGHT, layer),
            .outer_bias = weight_of(model, RF_PARAMETER_OUTER_BIAS, layer),
        };
    }
    return RF_OK;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* With a hash_seed every layer has the same rotations. */
static rf_status take_rotations(rf_session *session, rf_error *error)
{
    const rf_config *config = &session->model->config;
    const int64_t shape[] = {config->heads, config->head_width, config->rounds,
                             rf_config_rotation_columns(config)};
    rf_tensor shared = {0};
    for (int64_t layer = 0; layer < config->layers; layer++) {
        rf_tensor *own = &session->rotations[layer];
        if (rf_tensor_is_absent(&session->caches[layer].lists)) {
            continue;
        }
        if (config->has_hash_seed && !rf_tensor_is_absent(&shared)) {
            *own = shared;
            continue;
        }
        RF_TRY(rf_workspace_take(&session->block, "rotations", RF_F32, 4, shape, own, error));
        shared = *own;
    }
    return RF_OK;
}

/* Words [first, first + count) of the report: a view. */
static rf_tensor part_of_report(const rf_session *session, int64_t first, int64_t count)
{
    return rf_tensor_rows(&session->report, first, count);
}

/* Everything that lives as long as the session; while it is measured, only counted. */
static rf_status take_block(rf_session *session, rf_error *error)
{
    const rf_config *config = &session->model->config;
    rf_workspace *block = &session->block;
    int64_t batch = session->batch;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        RF_TRY(rf_cache_take(&session->caches[layer], config, layer, batch, session->capacity,
                             block, error));
    }
    RF_TRY(take_rotations(session, error));
    RF_TRY(
        rf_workspace_take_2(block, "state", RF_I32, batch, RF_STEP_WORDS, &session->state, error));
    RF_TRY(
        rf_workspace_take_2(block, "mask", RF_U8, batch, session->capacity, &session->kept, error));
    RF_TRY(rf_workspace_take_1(block, "report", RF_I32, 1 + batch, &session->report, error));
    session->overflow = part_of_report(session, 0, 1);
    session->ids = part_of_report(session, 1, batch);
    RF_TRY(rf_workspace_take_2(block, "scores", RF_F32, batch, config->vocabulary, &session->logits,
                               error));
    return rf_workspace_take_2(block, "seen tokens", RF_U8, batch, config->vocabulary,
                               &session->seen, error);
}

static rf_status create_block(rf_session *session, rf_error *error)
{
    size_t layers = (size_t)session->model->config.layers;
    rf_device *device = session->model->device;
    void *memory = NULL;
    RF_TRY(
        rf_allocate_zeroed(layers * sizeof *session->caches, "caches of layers", &memory, error));
    session->caches = memory;
    RF_TRY(rf_allocate_zeroed(layers * sizeof *session->rotations, "rotations", &memory, error));
    session->rotations = memory;
    rf_workspace_init(&session->block, &session->dry);
    RF_TRY(take_block(session, error));
    size_t needed = session->block.high;
    if (device->dry) { /* a session that is only planned */
        return RF_OK;
    }
    rf_workspace_init(&session->block, device);
    RF_TRY(rf_workspace_allocate(&session->block, needed, error));
    RF_TRY(take_block(session, error));
    return rf_device_zero(device, session->report.data, rf_tensor_size(&session->report), error);
}

/* One set of rotations for the life of the session. With a hash_seed they are PyTorch's. */
static rf_status draw_rotations(rf_session *session, float *values, rf_error *error)
{
    const rf_config *config = &session->model->config;
    const void *last = NULL;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        const rf_tensor *rotations = &session->rotations[layer];
        if (rf_tensor_is_absent(rotations) || rotations->data == last) {
            continue;
        }
        last = rotations->data;
        const rf_random_key own = {
            .seed = session->seed, .layer = (uint32_t)layer, .purpose = RF_PURPOSE_ROTATION};
        const rf_random_key key = rf_config_rotation_key(config, own, layer);
        size_t count = (size_t)rf_tensor_count(rotations);
        if (config->has_hash_seed) {
            rf_torch_generator generator;
            rf_torch_seed(&generator, (uint64_t)config->hash_seed);
            rf_torch_normals(&generator, values, count);
        } else {
            rf_random_normals(&key, 0, values, count);
        }
        RF_TRY(rf_device_upload(session->model->device, rotations->data, values,
                                rf_tensor_size(rotations), error));
    }
    return RF_OK;
}

static rf_status create_rotations(rf_session *session, rf_error *error)
{
    size_t size = 0;
    void *memory = NULL;
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        if (!rf_tensor_is_absent(&session->rotations[layer])) {
            size = rf_tensor_size(&session->rotations[layer]);
        }
    }
    if (size == 0) {
        return RF_OK;
    }
    RF_TRY(rf_allocate(size, "rotations", &memory, error));
    rf_status status = draw_rotations(session, memory, error);
    rf_release(memory);
    return status;
}

/* Copies for a host that can not read the device's memory. */
static rf_status create_copies(rf_session *session, int64_t list_words, rf_error *error)
{
    void *memory = NULL;
    if (session->model->device->table->host_readable) {
        session->host_kept = session->kept.data;
        session->host_logits = session->logits.data;
        return RF_OK;
    }
    RF_TRY(rf_allocate(rf_tensor_size(&session->kept), "mask", &memory, error));
    session->host_kept = memory;
    RF_TRY(rf_allocate(rf_tensor_size(&session->logits), "scores", &memory, error));
    session->host_logits = memory;
    RF_TRY(rf_allocate((size_t)list_words * sizeof(int32_t), "bucket lists", &memory, error));
    session->host_lists = memory;
    return RF_OK;
}

static rf_status create_buffers(rf_session *session, rf_error *error)
{
    void *memory = NULL;
    int64_t longest = 1;
    int64_t list_words = 1;
    RF_TRY(rf_allocate(rf_tensor_size(&session->report), "report of a step", &memory, error));
    session->host_report = memory;
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        int64_t window = rf_cache_longest_window(&session->caches[layer]);
        int64_t words = rf_cache_list_words(&session->caches[layer]);
        longest = window > longest ? window : longest;
        list_words = words > list_words ? words : list_words;
    }
    RF_TRY(rf_allocate((size_t)longest * sizeof *session->attended, "a window", &memory, error));
    session->attended = memory;
    return create_copies(session, list_words, error);
}

static rf_status create_rows(rf_session *session, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)session->batch * sizeof *session->rows,
                              "sequences of a session", &memory, error));
    session->rows = memory;
    return RF_OK;
}

/* Run a step dry to learn what memory it needs, then take that. */
static rf_status create_workspace(rf_session *session, rf_error *error)
{
    rf_workspace_init(&session->workspace, &session->dry);
    session->context = (rf_context){.device = &session->dry, .workspace = &session->workspace};
    RF_TRY(rf_session_step(session, error));
    RF_TRY(rf_op_sample(&session->context, &session->sample, error));
    size_t needed = session->workspace.high;
    if (session->model->device->dry) {
        return RF_OK;
    }
    rf_workspace_init(&session->workspace, session->model->device);
    session->context.device = session->model->device;
    return rf_workspace_allocate(&session->workspace, needed, error);
}

static rf_status fill_session(rf_session *session, rf_error *error)
{
    rf_sampling sampling;
    session->dry = *session->model->device;
    session->dry.dry = true;
    RF_TRY(create_rows(session, error));
    RF_TRY(find_weights(session, error));
    RF_TRY(create_block(session, error));
    RF_TRY(create_rotations(session, error));
    RF_TRY(create_buffers(session, error));
    rf_sampling_default(&sampling);
    RF_TRY(rf_session_set_sampling(session, &sampling, error));
    return create_workspace(session, error);
}

rf_status rf_session_create(rf_model *model, const rf_session_options *options,
                            rf_session **session, rf_error *error)
{
    *session = NULL;
    RF_TRY(check_model(model, error));
    RF_TRY(check_options(model, options, error));
    RF_TRY(resolve_buckets(model, options, error));
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof **session, "session", &memory, error));
    rf_session *created = memory;
    created->model = model;
    created->batch = options->batch > 0 ? options->batch : 1;
    created->capacity = options->capacity;
    created->seed = options->seed;
    created->listed_from = rf_cache_listed_from(&model->config);
    rf_status status = fill_session(created, error);
    if (status != RF_OK) {
        rf_session_destroy(created);
        return status;
    }
    *session = created;
    return RF_OK;
}

void rf_session_destroy(rf_session *session)
{
    if (session == NULL) {
        return;
    }
    rf_device *device = session->model->device;
    rf_replay_clear(&session->step, device);
    rf_replay_clear(&session->step_and_draw, device);
    if (!device->table->host_readable) {
        rf_release(session->host_kept);
        rf_release(session->host_logits);
    }
    rf_release(session->host_lists);
    rf_release(session->host_report);
    rf_release(session->attended);
    rf_release(session->rows);
    rf_release(session->rotations);
    rf_release(session->caches);
    rf_release(session->weights);
    if (session->workspace.device != NULL) {
        rf_workspace_clear(&session->workspace);
    }
    if (session->block.device != NULL) {
        rf_workspace_clear(&session->block);
    }
    if (session->spare.device != NULL) {
        rf_workspace_clear(&session->spare);
    }
    rf_release(session);
}

rf_status rf_session_plan(const rf_model *model, int64_t prompt, int64_t capacity, size_t *bytes,
                          rf_error *error)
{
    enum { TABLES = 16384 }; /* objects whose size does not depend on the text */
    rf_device dry = *model->device;
    rf_model planned = *model;
    rf_session *session = NULL;
    size_t pass = 0;
    dry.dry = true;
    planned.device = &dry;
    *bytes = 0;
    RF_TRY(
        rf_session_create(&planned, &(rf_session_options){.capacity = capacity}, &session, error));
    rf_status status = rf_session_plan_text(session, prompt, &pass, error);
    *bytes = session->block.high + session->workspace.high + pass;
    if (model->device->table->host_readable) { /* texts, and scores as they are drawn from */
        *bytes += TABLES + (size_t)(16 * (capacity + model->config.vocabulary));
    }
    rf_session_destroy(session);
    return status;
}
