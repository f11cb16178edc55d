/* A session: the caches of a model's layers, the rotations of its hashes, and the memory of one
 * step, all taken when it is created. */
#include "generate/session.h"

#include "base/memory.h"

#include <string.h>

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
    if (!model->device->table->host_readable) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "generation runs on the CPU and the model is on device \"%s\"; load it "
                            "with device \"cpu\"",
                            model->device->table->name);
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
            .query = weight_of(model, RF_PARAMETER_QUERY, layer),
            .key = weight_of(model, RF_PARAMETER_KEY, layer),
            .value = weight_of(model, RF_PARAMETER_VALUE, layer),
            .attention_output = weight_of(model, RF_PARAMETER_ATTENTION_OUTPUT, layer),
            .feed_forward_gain = weight_of(model, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer),
            .feed_forward_bias = weight_of(model, RF_PARAMETER_FEED_FORWARD_NORM_BIAS, layer),
            .inner_weight = weight_of(model, RF_PARAMETER_INNER_WEIGHT, layer),
            .inner_bias = weight_of(model, RF_PARAMETER_INNER_BIAS, layer),
            .outer_weight = weight_of(model, RF_PARAMETER_OUTER_WEIGHT, layer),
            .outer_bias = weight_of(model, RF_PARAMETER_OUTER_BIAS, layer),
        };
    }
    return RF_OK;
}

static rf_status create_caches(rf_session *session, rf_error *error)
{
    const rf_config *config = &session->model->config;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)config->layers * sizeof *session->caches, "caches of layers",
                              &memory, error));
    session->caches = memory;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        bool hashes = config->kinds[layer] == RF_LAYER_LSH;
        const rf_window_config *window = hashes ? &config->lsh : &config->local;
        rf_cache cache = {
            .hashes = hashes,
            .batch = session->batch,
            .heads = config->heads,
            .width = config->head_width,
            .rounds = hashes ? config->rounds : 1,
            .bucket_count =
                hashes && config->bucket_factors > 0 ? rf_config_bucket_count(config) : 0,
            .window = {window->chunk_length, window->chunks_before, window->chunks_after}};
        RF_TRY(rf_cache_create(&cache, session->capacity, error));
        session->caches[layer] = cache;
    }
    return RF_OK;
}

/* One set of rotations for the life of the session. With a hash_seed every layer has the same ones,
 * PyTorch's. */
static rf_status create_rotations(rf_session *session, rf_error *error)
{
    const rf_config *config = &session->model->config;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed((size_t)config->layers * sizeof *session->rotations, "rotations",
                              &memory, error));
    session->rotations = memory;
    int64_t columns = rf_config_rotation_columns(config);
    int64_t sets = config->has_hash_seed ? 1 : rf_config_lsh_layers(config);
    if (config->bucket_factors == 0 || sets == 0) {
        return RF_OK;
    }
    size_t count = (size_t)(config->heads * config->head_width * config->rounds * columns);
    RF_TRY(rf_allocate((size_t)sets * count * sizeof(float), "rotations", &memory, error));
    session->rotation_values = memory;
    if (config->has_hash_seed) {
        rf_torch_generator generator;
        rf_torch_seed(&generator, (uint64_t)config->hash_seed);
        rf_torch_normals(&generator, session->rotation_values, count);
    }
    float *values = session->rotation_values;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        if (config->kinds[layer] != RF_LAYER_LSH) {
            continue;
        }
        session->rotations[layer] =
            rf_tensor_4(values, RF_F32, config->heads, config->head_width, config->rounds, columns);
        if (!config->has_hash_seed) {
            rf_random_key key = {
                .seed = session->seed, .layer = (uint32_t)layer, .purpose = RF_PURPOSE_ROTATION};
            rf_random_normals(&key, 0, values, count);
            values += count;
        }
    }
    return RF_OK;
}

static rf_status create_buffers(rf_session *session, rf_error *error)
{
    size_t batch = (size_t)session->batch;
    size_t size = 0;
    void *memory = NULL;
    if (!rf_size_multiply(batch, (size_t)session->capacity, &size)) {
        return rf_error_set(
            error, RF_ERR_MEMORY,
            "a session of %zu sequences of %lld tokens is more than any memory holds", batch,
            (long long)session->capacity);
    }
    RF_TRY(rf_allocate(size, "mask", &memory, error));
    session->kept = memory;
    if (!rf_size_multiply(batch, (size_t)session->model->config.vocabulary * sizeof(float),
                          &size)) {
        return rf_error_set(error, RF_ERR_MEMORY,
                            "the scores of %zu sequences are more than any memory holds", batch);
    }
    RF_TRY(rf_allocate(size, "scores", &memory, error));
    session->logits = memory;
    RF_TRY(rf_allocate(batch * sizeof *session->step_ids, "ids of a step", &memory, error));
    session->step_ids = memory;
    int64_t longest = 1;
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        int64_t window = rf_cache_longest_window(&session->caches[layer]);
        longest = window > longest ? window : longest;
    }
    RF_TRY(rf_allocate((size_t)longest * sizeof *session->attended, "a window", &memory, error));
    session->attended = memory;
    return RF_OK;
}

/* Hashing a prompt that is no longer than a chunk. */
static rf_status measure_short_prompt(rf_session *session, rf_error *error)
{
    const rf_config *config = &session->model->config;
    int64_t length =
        config->lsh.chunk_length < session->capacity ? config->lsh.chunk_length : session->capacity;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        if (session->caches[layer].bucket_count > 0) {
            rf_tensor query = rf_tensor_4(NULL, RF_F32, session->batch, length, config->heads,
                                          config->head_width);
            rf_tensor buckets;
            RF_TRY(rf_session_hash(session, layer, 0, &query, &buckets, error));
            rf_workspace_release(&session->workspace, 0);
            return RF_OK;
        }
    }
    return RF_OK;
}

/* Run a step dry to learn what memory it needs, then take that. */
static rf_status create_workspace(rf_session *session, rf_error *error)
{
    session->dry = *session->model->device;
    session->dry.dry = true;
    rf_workspace_init(&session->workspace, &session->dry);
    session->context = (rf_context){.device = &session->dry, .workspace = &session->workspace};
    RF_TRY(rf_session_step(session, NULL, error));
    RF_TRY(measure_short_prompt(session, error));
    size_t needed = session->workspace.high;
    rf_workspace_init(&session->workspace, session->model->device);
    session->context.device = session->model->device;
    return rf_workspace_allocate(&session->workspace, needed, error);
}

static rf_status fill_session(rf_session *session, rf_error *error)
{
    RF_TRY(find_weights(session, error));
    RF_TRY(create_caches(session, error));
    RF_TRY(create_rotations(session, error));
    RF_TRY(create_buffers(session, error));
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
    for (int64_t layer = 0; session->caches != NULL && layer < session->model->config.layers;
         layer++) {
        rf_cache_destroy(&session->caches[layer]);
    }
    rf_release(session->caches);
    rf_release(session->weights);
    rf_release(session->rotations);
    rf_release(session->rotation_values);
    rf_release(session->kept);
    rf_release(session->logits);
    rf_release(session->step_ids);
    rf_release(session->attended);
    if (session->workspace.device != NULL) {
        rf_workspace_clear(&session->workspace);
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

/* ids [batch, count], column `column`. */
static rf_status append_one(rf_session *session, const rf_prompt *prompt, int64_t column,
                            rf_error *error)
{
    const rf_config *config = &session->model->config;
    for (int64_t row = 0; row < session->batch; row++) {
        session->step_ids[row] = prompt->ids[row * prompt->count + column];
    }
    session->is_broken = true;
    RF_TRY(rf_session_step(session, session->step_ids, error));
    session->is_broken = false;
    session->has_stepped = true;
    session->used_lists = session->uses_lists;
    session->length++;
    if (rf_config_lsh_layers(config) > 0 && session->length >= config->lsh.chunk_length) {
        session->uses_lists = true;
    }
    return RF_OK;
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

rf_status rf_session_append(rf_session *session, const int32_t *ids, const uint8_t *mask,
                            int64_t count, rf_error *error)
{
    return rf_session_append_prompt(session, &(rf_prompt){.ids = ids, .mask = mask, .count = count},
                                    error);
}

const float *rf_session_logits(const rf_session *session, int64_t row)
{
    bool is_there = session->length > 0 && row >= 0 && row < session->batch;
    return is_there ? session->logits + row * session->model->config.vocabulary : NULL;
}

int64_t rf_session_length(const rf_session *session)
{
    return session->length;
}

int64_t rf_session_attended(const rf_session *session, int64_t row, int64_t layer, int64_t head,
                            int64_t round, int64_t *tokens, int64_t limit)
{
    if (!session->has_stepped || layer < 0 || layer >= session->model->config.layers || row < 0 ||
        row >= session->batch) {
        return -1;
    }
    const rf_cache *cache = &session->caches[layer];
    if (head < 0 || head >= cache->heads || round < 0 || round >= cache->rounds) {
        return -1;
    }
    int64_t count = rf_cache_window(cache, (rf_cache_part){row, head, round}, session->length - 1,
                                    session->kept + row * session->capacity, session->used_lists,
                                    session->attended);
    for (int64_t i = 0; i < count && i < limit; i++) {
        tokens[i] = session->attended[i];
    }
    return count;
}
