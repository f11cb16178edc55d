/* The step of one token: the model's forward pass for one position of every row, with the layers'
 * caches in place of the sequence. Time: every weight is read once, and per layer, head and round
 * one window; nothing depends on the length of the context. Memory: the session's workspace. Kitaev
 * et al. 2020 for the layers; docs/generation.md for what is attended to. */
#include "generate/attend.h"
#include "generate/session.h"

#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* What a step carries from layer to layer. */
typedef struct step {
    rf_session *session;
    const rf_config *config;
    rf_context *context;
    rf_tensor first, second; /* [batch, hidden] the two streams, as the model stores them */
    rf_tensor normed;        /* [batch, hidden] f32 */
    rf_tensor branch;        /* [batch, hidden] f32: what is added to a stream */
    rf_tensor overflow;      /* [1] i32 */
} step;

static rf_status take_2(step *at, const char *what, rf_dtype dtype, int64_t columns,
                        rf_tensor *tensor, rf_error *error)
{
    return rf_workspace_take_2(at->context->workspace, what, dtype, at->session->batch, columns,
                               tensor, error);
}

/* y = x weight^T (+ bias). x [rows, in], weight [out, in], y [rows, out]. */
static rf_status project(const step *at, const rf_tensor *x, const rf_tensor *weight,
                         const rf_tensor *bias, const rf_tensor *y, rf_error *error)
{
    rf_gemm gemm = {
        .a = rf_matrix_of(x), .b = rf_matrix_of(weight), .c = rf_matrix_of(y), .transpose_b = true};
    if (bias != NULL) {
        gemm.bias = *bias;
    }
    return rf_op_gemm(at->context, &gemm, error);
}

static rf_status normalise(const step *at, const rf_tensor *stream, const rf_tensor *gain,
                           const rf_tensor *bias, rf_error *error)
{
    return rf_op_layer_norm(at->context,
                            &(rf_layer_norm){.x = *stream,
                                             .fraction_bits = at->config->fraction_bits,
                                             .gain = *gain,
                                             .bias = *bias,
                                             .epsilon = (float)at->config->layer_norm_epsilon,
                                             .y = at->normed},
                            error);
}

static rf_status add_to_stream(const step *at, const rf_tensor *stream, rf_residual_mode mode,
                               rf_error *error)
{
    return rf_op_residual(at->context,
                          &(rf_residual){.stream = *stream,
                                         .value = at->branch,
                                         .overflow = at->overflow,
                                         .mode = mode,
                                         .fraction_bits = at->config->fraction_bits},
                          error);
}

/* Table k of the positions, as [rows, width]: Hugging Face stores it with an axis of ones for every
 * other table. */
static rf_tensor position_table(const rf_model *model, int axis)
{
    const rf_parameter *parameter =
        rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, axis);
    int64_t width = parameter->shape[parameter->rank - 1];
    rf_tensor tensor = rf_parameter_tensor(parameter, model->values);
    return rf_tensor_2(tensor.data, RF_F32, parameter->count / width, width);
}

/* Word and position embedding into at->branch. */
static rf_status embed(const step *at, const int32_t *ids, rf_error *error)
{
    const rf_session *session = at->session;
    rf_tensor tokens;
    RF_TRY(
        rf_workspace_take_1(at->context->workspace, "ids", RF_I32, session->batch, &tokens, error));
    RF_TRY(rf_device_upload(at->context->device, tokens.data, ids,
                            (size_t)session->batch * sizeof *ids, error));
    const rf_parameter *words =
        rf_parameters_find(&session->model->parameters, RF_PARAMETER_WORD, -1, 0);
    rf_embedding embedding = {.ids = tokens,
                              .table = rf_parameter_tensor(words, session->model->values),
                              .y = at->branch};
    RF_TRY(rf_op_embedding(at->context, &embedding, error));
    rf_position position = {
        .kind = RF_POSITION_SINUSOIDAL, .length = 1, .offset = session->length, .y = at->normed};
    if (at->config->positions != RF_POSITIONS_SINUSOIDAL) {
        position.kind = RF_POSITION_TABLES;
        position.axes = at->config->positions == RF_POSITIONS_AXIAL ? at->config->axes : 1;
        for (int axis = 0; axis < position.axes; axis++) {
            position.tables[axis] = position_table(session->model, axis);
        }
    }
    RF_TRY(rf_op_position(at->context, &position, error));
    return rf_op_add(at->context,
                     &(rf_add){.a = at->branch, .b = at->normed, .y = at->branch, .factor = 1.0F},
                     error);
}

/* Hand the new token's keys and values [batch, heads * width] to the cache. */
static void store(const rf_session *session, rf_cache *cache, const rf_tensor *key,
                  const rf_tensor *value)
{
    const float *keys = key->data;
    const float *values = value->data;
    for (int64_t row = 0; row < session->batch; row++) {
        for (int64_t head = 0; head < cache->heads; head++) {
            int64_t offset = (row * cache->heads + head) * cache->width;
            rf_cache_store(cache, row, head, session->length, keys + offset, values + offset);
        }
    }
}

rf_status rf_session_hash(rf_session *session, int64_t layer, int64_t first_head,
                          const rf_tensor *query, rf_tensor *buckets, rf_error *error)
{
    const rf_config *config = &session->model->config;
    const int64_t shape[] = {query->shape[0], query->shape[2], config->rounds, query->shape[1]};
    RF_TRY(rf_workspace_take(&session->workspace, "buckets", RF_I32, 4, shape, buckets, error));
    rf_bucket_hash hash = {.query = *query,
                           .rotations = session->rotations[layer],
                           .first_head = first_head,
                           .rounds = config->rounds,
                           .factor_count = config->bucket_factors,
                           .buckets = *buckets};
    memcpy(hash.factors, config->buckets, sizeof hash.factors);
    return rf_op_bucket_hash(&session->context, &hash, error);
}

/* Hash the new token of every row and head, and put it into the lists. query [batch, heads *
 * width]. */
static rf_status hash_token(const step *at, int64_t layer, const rf_tensor *query, rf_error *error)
{
    rf_session *session = at->session;
    rf_cache *cache = &session->caches[layer];
    rf_tensor queries =
        rf_tensor_4(query->data, RF_F32, session->batch, 1, cache->heads, cache->width);
    rf_tensor buckets;
    RF_TRY(rf_session_hash(session, layer, 0, &queries, &buckets, error));
    if (at->context->device->dry) {
        return RF_OK;
    }
    const int32_t *bucket = buckets.data;
    for (int64_t row = 0; row < session->batch; row++) {
        for (int64_t head = 0; head < cache->heads; head++) {
            for (int64_t round = 0; round < cache->rounds; round++) {
                rf_cache_hash(cache, (rf_cache_part){row, head, round}, session->length, *bucket++);
            }
        }
    }
    return RF_OK;
}

/* What the windows of one layer are worked out in. */
typedef struct windows {
    const rf_cache *cache;
    int64_t parts;            /* rounds, or 1 where there are no buckets yet */
    int64_t longest;          /* entries of a window, at most */
    rf_tensor query;          /* [batch, heads * width] */
    rf_tensor tokens, scores; /* [batch * heads * parts, longest] i32 and f32 */
    rf_tensor output;         /* [batch, parts, 1, heads, width] */
    rf_tensor log_norm;       /* [batch, heads, parts, 1] */
} windows;

static void attend_part(const rf_session *session, const windows *in, int64_t index)
{
    const rf_cache *cache = in->cache;
    rf_cache_part part = {index / in->parts / cache->heads, index / in->parts % cache->heads,
                          index % in->parts};
    int32_t *tokens = (int32_t *)in->tokens.data + index * in->longest;
    int64_t count =
        rf_cache_window(cache, part, session->length, session->kept + part.row * session->capacity,
                        session->uses_lists, tokens);
    for (int64_t i = 0; i < count && !cache->hashes; i++) {
        tokens[i] = (int32_t)(tokens[i] % cache->places);
    }
    int64_t row_head = part.row * cache->heads + part.head;
    rf_window_attention attention = {
        .query = (const float *)in->query.data + row_head * cache->width,
        .rows = rf_cache_rows(cache, part.row, part.head),
        .places = tokens,
        .count = count,
        .width = cache->width,
        .self = cache->hashes ? (int32_t)session->length : RF_NO_PLACE,
        .scale = cache->hashes ? 1.0F : 1.0F / sqrtf((float)cache->width),
        .scores = (float *)in->scores.data + index * in->longest,
        .output = (float *)in->output.data +
                  ((part.row * in->parts + part.round) * cache->heads + part.head) * cache->width,
        .log_norm = (float *)in->log_norm.data + index,
    };
    rf_attend_window(&attention);
}

/* All rows, heads and rounds of a layer: merged [batch, heads * width] is written. */
static rf_status attend(const step *at, const rf_cache *cache, const rf_tensor *query,
                        const rf_tensor *merged, rf_error *error)
{
    rf_session *session = at->session;
    rf_workspace *workspace = at->context->workspace;
    bool is_dry = at->context->device->dry;
    int64_t parts = cache->hashes && (session->uses_lists || is_dry) ? cache->rounds : 1;
    int64_t items = session->batch * cache->heads * parts;
    windows in = {
        .cache = cache, .parts = parts, .longest = rf_cache_longest_window(cache), .query = *query};
    const int64_t output[] = {session->batch, parts, 1, cache->heads, cache->width};
    const int64_t log_norm[] = {session->batch, cache->heads, parts, 1};
    RF_TRY(rf_workspace_take_2(workspace, "windows", RF_I32, items, in.longest, &in.tokens, error));
    RF_TRY(rf_workspace_take_2(workspace, "scores", RF_F32, items, in.longest, &in.scores, error));
    RF_TRY(rf_workspace_take(workspace, "outputs of rounds", RF_F32, 5, output, &in.output, error));
    RF_TRY(rf_workspace_take(workspace, "normalisers of rounds", RF_F32, 4, log_norm, &in.log_norm,
                             error));
    int threads = rf_cpu_threads(at->context->device, items, in.longest * cache->width);
    if (!is_dry) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t index = 0; index < items; index++) {
            attend_part(session, &in, index);
        }
    }
    rf_tensor norm;
    const int64_t norm_shape[] = {session->batch, cache->heads, 1};
    RF_TRY(rf_workspace_take(workspace, "normalisers", RF_F32, 3, norm_shape, &norm, error));
    rf_combine_rounds combine = {
        .output = in.output,
        .log_norm = in.log_norm,
        .merged = rf_tensor_4(merged->data, RF_F32, session->batch, 1, cache->heads, cache->width),
        .norm = norm};
    return rf_op_combine_rounds(at->context, &combine, error);
}

/* first += attention(norm(second)) */
static rf_status step_attention(step *at, int64_t layer, rf_error *error)
{
    rf_session *session = at->session;
    const rf_layer_weights *weights = &session->weights[layer];
    rf_cache *cache = &session->caches[layer];
    int64_t width = cache->heads * cache->width;
    rf_tensor query;
    rf_tensor key = {0};
    rf_tensor value;
    rf_tensor merged;
    RF_TRY(normalise(at, &at->second, &weights->attention_gain, &weights->attention_bias, error));
    RF_TRY(take_2(at, "query", RF_F32, width, &query, error));
    RF_TRY(take_2(at, "value", RF_F32, width, &value, error));
    RF_TRY(take_2(at, "attention", RF_F32, width, &merged, error));
    RF_TRY(project(at, &at->normed, &weights->query, NULL, &query, error));
    RF_TRY(project(at, &at->normed, &weights->value, NULL, &value, error));
    if (!cache->hashes) {
        RF_TRY(take_2(at, "key", RF_F32, width, &key, error));
        RF_TRY(project(at, &at->normed, &weights->key, NULL, &key, error));
    }
    if (!at->context->device->dry) {
        store(session, cache, cache->hashes ? &query : &key, &value);
    }
    if (cache->bucket_count > 0) {
        RF_TRY(hash_token(at, layer, &query, error));
    }
    RF_TRY(attend(at, cache, &query, &merged, error));
    RF_TRY(project(at, &merged, &weights->attention_output, NULL, &at->branch, error));
    return add_to_stream(at, &at->first, RF_RESIDUAL_ADD, error);
}

/* second += feed_forward(norm(first)) */
static rf_status step_feed_forward(step *at, int64_t layer, rf_error *error)
{
    const rf_layer_weights *weights = &at->session->weights[layer];
    rf_tensor inner;
    RF_TRY(
        normalise(at, &at->first, &weights->feed_forward_gain, &weights->feed_forward_bias, error));
    RF_TRY(take_2(at, "inner", RF_F32, at->config->feed_forward, &inner, error));
    RF_TRY(project(at, &at->normed, &weights->inner_weight, &weights->inner_bias, &inner, error));
    RF_TRY(rf_op_activate(at->context,
                          &(rf_activate){.x = inner, .y = inner, .kind = at->config->activation},
                          error));
    RF_TRY(project(at, &inner, &weights->outer_weight, &weights->outer_bias, &at->branch, error));
    return add_to_stream(at, &at->second, RF_RESIDUAL_ADD, error);
}

/* Both streams, normalised as one row, to scores. */
static rf_status step_head(step *at, rf_error *error)
{
    const rf_model *model = at->session->model;
    const rf_parameters *parameters = &model->parameters;
    const rf_parameter *gain = rf_parameters_find(parameters, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0);
    const rf_parameter *bias = rf_parameters_find(parameters, RF_PARAMETER_FINAL_NORM_BIAS, -1, 0);
    const rf_parameter *weight = rf_parameters_find(parameters, RF_PARAMETER_HEAD_WEIGHT, -1, 0);
    rf_tensor joined;
    RF_TRY(take_2(at, "joined streams", RF_F32, 2 * at->config->hidden, &joined, error));
    rf_layer_norm norm = {.x = at->first,
                          .x2 = at->second,
                          .fraction_bits = at->config->fraction_bits,
                          .gain = rf_parameter_tensor(gain, model->values),
                          .bias = rf_parameter_tensor(bias, model->values),
                          .epsilon = (float)at->config->layer_norm_epsilon,
                          .y = joined};
    RF_TRY(rf_op_layer_norm(at->context, &norm, error));
    rf_tensor weights = rf_parameter_tensor(weight, model->values);
    rf_tensor logits =
        rf_tensor_2(at->session->logits, RF_F32, at->session->batch, at->config->vocabulary);
    if (!model->applies_head_bias) {
        return project(at, &joined, &weights, NULL, &logits, error);
    }
    const rf_parameter *head_bias = rf_parameters_find(parameters, RF_PARAMETER_HEAD_BIAS, -1, 0);
    rf_tensor biases = rf_parameter_tensor(head_bias, model->values);
    return project(at, &joined, &weights, &biases, &logits, error);
}

static rf_status begin_streams(step *at, const int32_t *ids, rf_error *error)
{
    int64_t hidden = at->config->hidden;
    rf_dtype dtype = at->config->fixed_stream ? RF_FIXED32 : RF_F32;
    RF_TRY(take_2(at, "first stream", dtype, hidden, &at->first, error));
    RF_TRY(take_2(at, "second stream", dtype, hidden, &at->second, error));
    RF_TRY(take_2(at, "normalised stream", RF_F32, hidden, &at->normed, error));
    RF_TRY(take_2(at, "branch", RF_F32, hidden, &at->branch, error));
    RF_TRY(
        rf_workspace_take_1(at->context->workspace, "overflow", RF_I32, 1, &at->overflow, error));
    RF_TRY(rf_device_zero(at->context->device, at->overflow.data, sizeof(int32_t), error));
    RF_TRY(embed(at, ids, error));
    RF_TRY(add_to_stream(at, &at->first, RF_RESIDUAL_SET, error));
    return add_to_stream(at, &at->second, RF_RESIDUAL_SET, error);
}

static rf_status check_overflow(const step *at, rf_error *error)
{
    int32_t overflow = 0;
    RF_TRY(rf_device_download(at->context->device, &overflow, at->overflow.data, sizeof overflow,
                              error));
    if (overflow == 0) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_RANGE,
                        "token %lld: a stream left the range of its numbers; load the model with "
                        "stream float32, or check its weights",
                        (long long)at->session->length);
}

static rf_status run_layers(step *at, rf_error *error)
{
    for (int64_t layer = 0; layer < at->config->layers; layer++) {
        size_t mark = rf_workspace_mark(at->context->workspace);
        RF_TRY(step_attention(at, layer, error));
        rf_workspace_release(at->context->workspace, mark);
        RF_TRY(step_feed_forward(at, layer, error));
        rf_workspace_release(at->context->workspace, mark);
    }
    return RF_OK;
}

rf_status rf_session_step(rf_session *session, const int32_t *ids, rf_error *error)
{
    step at = {.session = session, .config = &session->model->config, .context = &session->context};
    size_t mark = rf_workspace_mark(&session->workspace);
    for (int64_t row = 0; row < session->batch && !session->context.device->dry; row++) {
        session->kept[row * session->capacity + session->length] = 1;
    }
    RF_TRY(begin_streams(&at, ids, error));
    RF_TRY(run_layers(&at, error));
    RF_TRY(step_head(&at, error));
    RF_TRY(check_overflow(&at, error));
    rf_workspace_release(&session->workspace, mark);
    return RF_OK;
}
