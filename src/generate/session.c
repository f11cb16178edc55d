/* A session: the caches of a model's layers, the rotations of its hashes, and the memory of one
 * step, all taken when it is created. */
#include "generate/session.h"

#include "base/memory.h"
#include "generate/sampler.h"

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
    RF_TRY(rf_workspace_take_1(block, "state", RF_I32, RF_STEP_WORDS, &session->state, error));
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
        rf_random_key key = {
            .seed = session->seed, .layer = (uint32_t)layer, .purpose = RF_PURPOSE_ROTATION};
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

static rf_status run_step(void *user, rf_error *error)
{
    return rf_session_step(user, error);
}

static rf_status run_draw(void *user, rf_error *error)
{
    rf_session *session = user;
    return rf_op_sample(&session->context, &session->sample, error);
}

static rf_status run_step_and_draw(void *user, rf_error *error)
{
    RF_TRY(run_step(user, error));
    return run_draw(user, error);
}

/* Run a step dry to learn what memory it needs, then take that. */
static rf_status create_workspace(rf_session *session, rf_error *error)
{
    rf_workspace_init(&session->workspace, &session->dry);
    session->context = (rf_context){.device = &session->dry, .workspace = &session->workspace};
    RF_TRY(run_step_and_draw(session, error));
    size_t needed = session->workspace.high;
    rf_workspace_init(&session->workspace, session->model->device);
    session->context.device = session->model->device;
    return rf_workspace_allocate(&session->workspace, needed, error);
}

static rf_status fill_session(rf_session *session, rf_error *error)
{
    rf_sampling sampling;
    session->dry = *session->model->device;
    session->dry.dry = true;
    RF_TRY(find_weights(session, error));
    RF_TRY(create_block(session, error));
    RF_TRY(create_rotations(session, error));
    RF_TRY(create_buffers(session, error));
    rf_sampling_default(&sampling);
    RF_TRY(rf_session_set_sampling(session, &sampling, NULL, error));
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
    rf_release(session->rotations);
    rf_release(session->caches);
    rf_release(session->weights);
    if (session->workspace.device != NULL) {
        rf_workspace_clear(&session->workspace);
    }
    if (session->block.device != NULL) {
        rf_workspace_clear(&session->block);
    }
    rf_release(session);
}

/* ---- use --------------------------------------------------------------------------------- */

static rf_status check_state(const rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    if (session->is_broken) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "an earlier append to this session failed half way; create a new session");
    }
    if (prompt->count < 1) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "an append of %lld tokens; expected at least 1 (an empty prompt has nothing to "
            "go on from)",
            (long long)prompt->count);
    }
    if (prompt->count > session->capacity - session->length) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld tokens do not fit: the session holds %lld of at most %lld; "
                            "create it with a larger capacity "
                            "(the model has %lld positions)",
                            (long long)prompt->count, (long long)session->length,
                            (long long)session->capacity,
                            (long long)rf_config_max_length(&session->model->config));
    }
    if (prompt->mask != NULL && session->length > 0) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "a mask can only come with the first append, and the session holds %lld tokens",
            (long long)session->length);
    }
    return RF_OK;
}

static rf_status check_ids(const rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    int64_t vocabulary = session->model->config.vocabulary;
    int64_t rows = prompt->shared ? 1 : session->batch;
    for (int64_t i = 0; i < rows * prompt->count; i++) {
        if (prompt->ids[i] < 0 || prompt->ids[i] >= vocabulary) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "id %ld at token %lld of sequence %lld; the model has ids 0 to %lld",
                (long)prompt->ids[i], (long long)(i % prompt->count),
                (long long)(i / prompt->count), (long long)(vocabulary - 1));
        }
    }
    return RF_OK;
}

/* One token for every row by `work`, which steps. */
static rf_status step_once(rf_session *session, rf_replay *replay, rf_work work, rf_error *error)
{
    const rf_config *config = &session->model->config;
    rf_device *device = session->model->device;
    session->is_broken = true;
    RF_TRY(rf_replay_run(replay, device, work, session, error));
    RF_TRY(rf_device_download(device, session->host_report, session->report.data,
                              rf_tensor_size(&session->report), error));
    if (session->host_report[0] != 0) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "token %lld: a stream left the range of its numbers; load the model "
                            "with stream float32, or check its weights",
                            (long long)session->length);
    }
    for (int64_t row = 0; row < session->batch; row++) {
        session->host_kept[row * session->capacity + session->length] = 1;
    }
    session->is_broken = false;
    session->has_stepped = true;
    session->used_lists = session->uses_lists;
    session->length++;
    if (rf_config_lsh_layers(config) > 0 && session->length >= config->lsh.chunk_length) {
        session->uses_lists = true;
    }
    return RF_OK;
}

/* ids [batch, count], column `column`. */
static rf_status append_one(rf_session *session, const rf_prompt *prompt, int64_t column,
                            rf_error *error)
{
    int32_t *ids = session->host_report + 1;
    for (int64_t row = 0; row < session->batch; row++) {
        ids[row] = prompt->ids[row * prompt->count + column];
    }
    RF_TRY(rf_device_upload(session->model->device, session->ids.data, ids,
                            rf_tensor_size(&session->ids), error));
    return step_once(session, &session->step, run_step, error);
}

rf_status rf_session_append_prompt(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    RF_TRY(check_state(session, prompt, error));
    RF_TRY(check_ids(session, prompt, error));
    if (session->length == 0) {
        return rf_session_prefill(session, prompt, error);
    }
    for (int64_t column = 0; column < prompt->count; column++) {
        RF_TRY(append_one(session, prompt, column, error));
    }
    return RF_OK;
}

rf_status rf_session_fetch_logits(rf_session *session, rf_error *error)
{
    rf_device *device = session->model->device;
    return device->table->host_readable
               ? RF_OK
               : rf_device_download(device, session->host_logits, session->logits.data,
                                    rf_tensor_size(&session->logits), error);
}

rf_status rf_session_append(rf_session *session, const int32_t *ids, const uint8_t *mask,
                            int64_t count, rf_error *error)
{
    RF_TRY(rf_session_append_prompt(session, &(rf_prompt){.ids = ids, .mask = mask, .count = count},
                                    error));
    return rf_session_fetch_logits(session, error);
}

rf_status rf_session_set_sampling(rf_session *session, const rf_sampling *options,
                                  const uint8_t *seen, rf_error *error)
{
    rf_device *device = session->model->device;
    size_t vocabulary = (size_t)session->model->config.vocabulary;
    rf_sample sample;
    RF_TRY(rf_sampler_arguments(options, &sample, error));
    sample.logits = session->logits;
    sample.state = session->state;
    sample.tokens = session->ids;
    sample.first_position = session->length - 1;
    if (options->repetition_penalty != 1.0) {
        sample.seen = session->seen;
        for (size_t row = 0; row < (size_t)session->batch; row++) {
            RF_TRY(rf_device_upload(device, (char *)session->seen.data + row * vocabulary, seen,
                                    vocabulary, error));
        }
    }
    rf_replay_clear(&session->step_and_draw, device);
    session->sample = sample;
    return RF_OK;
}

/* The tokens that stand in host_report. */
static rf_status hand_out(const rf_session *session, int32_t *tokens, rf_error *error)
{
    for (int64_t row = 0; row < session->batch; row++) {
        tokens[row] = session->host_report[1 + row];
        if (tokens[row] < 0) {
            return rf_error_set(
                error, RF_ERR_NUMERIC,
                "the score of token %ld is not finite; the model's weights are damaged",
                -1L - (long)tokens[row]);
        }
    }
    return RF_OK;
}

rf_status rf_session_draw(rf_session *session, int32_t *tokens, rf_error *error)
{
    RF_TRY(run_draw(session, error));
    RF_TRY(rf_device_download(session->model->device, session->host_report, session->report.data,
                              rf_tensor_size(&session->report), error));
    return hand_out(session, tokens, error);
}

rf_status rf_session_advance(rf_session *session, int32_t *tokens, rf_error *error)
{
    RF_TRY(check_state(session, &(rf_prompt){.count = 1}, error));
    RF_TRY(step_once(session, &session->step_and_draw, run_step_and_draw, error));
    return hand_out(session, tokens, error);
}

const float *rf_session_logits(const rf_session *session, int64_t row)
{
    bool is_there = session->length > 0 && row >= 0 && row < session->batch;
    return is_there ? session->host_logits + row * session->model->config.vocabulary : NULL;
}

int64_t rf_session_length(const rf_session *session)
{
    return session->length;
}

/* The lists of a part, where the host can read them; NULL if they can not be had. */
static int32_t *lists_of(const rf_session *session, const rf_layer_cache *cache, rf_cache_part part)
{
    rf_device *device = session->model->device;
    size_t words = (size_t)rf_cache_list_words(cache);
    int64_t index = (part.row * cache->rows.shape[1] + part.head) * cache->rounds + part.round;
    int32_t *lists = (int32_t *)cache->lists.data + (size_t)index * words;
    if (device->table->host_readable) {
        return lists;
    }
    rf_status status =
        rf_device_download(device, session->host_lists, lists, words * sizeof *lists, NULL);
    return status == RF_OK ? session->host_lists : NULL;
}

int64_t rf_session_attended(const rf_session *session, int64_t row, int64_t layer, int64_t head,
                            int64_t round, int64_t *tokens, int64_t limit)
{
    if (!session->has_stepped || layer < 0 || layer >= session->model->config.layers || row < 0 ||
        row >= session->batch) {
        return -1;
    }
    const rf_layer_cache *cache = &session->caches[layer];
    if (head < 0 || head >= cache->rows.shape[1] || round < 0 || round >= cache->rounds) {
        return -1;
    }
    rf_window_source source = {.cache = cache,
                               .kept = session->host_kept + row * session->capacity};
    if (session->used_lists && rf_cache_list_words(cache) > 0) {
        source.lists = lists_of(session, cache, (rf_cache_part){row, head, round});
        if (source.lists == NULL) {
            return -1;
        }
    }
    int64_t count = rf_cache_window(&source, session->length - 1, session->attended);
    for (int64_t i = 0; i < count && i < limit; i++) {
        tokens[i] = session->attended[i];
    }
    return count;
}
