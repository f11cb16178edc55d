/* The step of one token: the model's forward pass for one position of every row, with the layers'
 * caches in place of the sequence. Operations on device memory only, whose arguments are the same
 * in every step: what changes (position, ids, lists) they read there. Time: every weight is read
 * once, and per layer, head and round one window; nothing depends on the length of the context.
 * Memory: the session's workspace. Kitaev et al. 2020 for the layers; docs/generation.md for what
 * is attended to. */
#include "generate/session.h"

#include <math.h>

/* What a step carries from layer to layer. */
typedef struct step {
    rf_session *session;
    const rf_config *config;
    rf_context *context;
    rf_tensor first, second; /* [batch, hidden] the two streams, as the model stores them; a
                               model of one stream has it twice */
} step;

static rf_status take_2(step *at, const char *what, rf_dtype dtype, int64_t columns,
                        rf_tensor *tensor, rf_error *error)
{
    return rf_workspace_take_2(at->context->workspace, what, dtype, at->session->batch, columns,
                               tensor, error);
}

/* The norm of a stream as a product's input. */
static rf_layer_norm norm_of(const step *at, const rf_tensor *stream, const rf_tensor *gain,
                             const rf_tensor *bias)
{
    return (rf_layer_norm){.x = *stream,
                           .fraction_bits = at->config->fraction_bits,
                           .gain = *gain,
                           .bias = *bias,
                           .epsilon = (float)at->config->layer_norm_epsilon};
}

/* stream += x weight^T + bias. x [batch, k] f32; bias may be absent. */
static rf_status add_product(const step *at, const rf_tensor *x, const rf_tensor *weight,
                             const rf_tensor *bias, const rf_tensor *stream, rf_error *error)
{
    rf_step_project project = {.norm = {.x = *x},
                               .count = 1,
                               .projections = {{.weight = *weight}},
                               .activation = RF_ACTIVATION_LINEAR,
                               .residual = {.stream = *stream,
                                            .overflow = at->session->overflow,
                                            .mode = RF_RESIDUAL_ADD,
                                            .fraction_bits = at->config->fraction_bits}};
    if (bias != NULL) {
        project.projections[0].bias = *bias;
    }
    return rf_op_step_project(at->context, &project, error);
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

/* What is written is of one text: y [batch, hidden] += the first row of the table of token types.
 */
static rf_status add_token_type(const step *at, const rf_tensor *y, rf_error *error)
{
    const rf_model *model = at->session->model;
    const rf_parameter *types =
        rf_parameters_find(&model->parameters, RF_PARAMETER_TOKEN_TYPE, -1, 0);
    if (types == NULL) {
        return RF_OK;
    }
    rf_tensor table = rf_parameter_tensor(types, model->values);
    for (int64_t row = 0; row < at->session->batch; row++) {
        rf_add add = {.a = rf_tensor_rows(y, row, 1),
                      .b = rf_tensor_rows(&table, 0, 1),
                      .y = rf_tensor_rows(y, row, 1),
                      .factor = 1.0F};
        RF_TRY(rf_op_add(at->context, &add, error));
    }
    return RF_OK;
}

/* The next token's embedding, into both streams or the only one. */
static rf_status begin(step *at, rf_error *error)
{
    const rf_session *session = at->session;
    const rf_config *config = at->config;
    const rf_parameter *words =
        rf_parameters_find(&session->model->parameters, RF_PARAMETER_WORD, -1, 0);
    rf_dtype dtype = config->fixed_stream ? RF_FIXED32 : RF_F32;
    rf_step_begin arguments = {.state = session->state,
                               .kept = session->kept,
                               .listed_from = session->listed_from,
                               .ids = session->ids,
                               .table = rf_parameter_tensor(words, session->model->values),
                               .position = {.kind = RF_POSITION_SINUSOIDAL}};
    if (config->positions != RF_POSITIONS_SINUSOIDAL) {
        arguments.position.kind = RF_POSITION_TABLES;
        arguments.position.axes = config->positions == RF_POSITIONS_AXIAL ? config->axes : 1;
        for (int axis = 0; axis < arguments.position.axes; axis++) {
            arguments.position.tables[axis] = position_table(session->model, axis);
        }
    }
    RF_TRY(take_2(at, "first stream", dtype, config->hidden, &at->first, error));
    at->second = at->first;
    if (!config->standard_residual) {
        RF_TRY(take_2(at, "second stream", dtype, config->hidden, &at->second, error));
    }
    RF_TRY(take_2(at, "embedding", RF_F32, config->hidden, &arguments.y, error));
    RF_TRY(rf_op_step_begin(at->context, &arguments, error));
    RF_TRY(add_token_type(at, &arguments.y, error));
    rf_residual set = {.stream = at->first,
                       .value = arguments.y,
                       .overflow = session->overflow,
                       .mode = RF_RESIDUAL_SET,
                       .fraction_bits = config->fraction_bits};
    RF_TRY(rf_op_residual(at->context, &set, error));
    set.stream = at->second;
    return config->standard_residual ? RF_OK : rf_op_residual(at->context, &set, error);
}

static rf_status attend(const step *at, int64_t layer, const rf_cache_append *append,
                        const rf_tensor *merged, rf_error *error)
{
    const rf_session *session = at->session;
    const rf_layer_cache *cache = &session->caches[layer];
    float width = (float)at->config->head_width;
    RF_TRY(rf_op_cache_append(at->context, append, error));
    return rf_op_cache_attend(
        at->context,
        &(rf_cache_attend){.cache = *cache,
                           .state = session->state,
                           .kept = session->kept,
                           .query = append->query,
                           .scale = cache->is_lsh ? 1.0F : 1.0F / sqrtf(width),
                           .output = *merged},
        error);
}

/* first += attention(norm(second)) */
static rf_status step_attention(step *at, int64_t layer, rf_error *error)
{
    const rf_session *session = at->session;
    const rf_config *config = at->config;
    const rf_layer_weights *weights = &session->weights[layer];
    const rf_layer_cache *cache = &session->caches[layer];
    int64_t width = config->heads * config->head_width;
    rf_tensor merged;
    rf_cache_append append = {
        .cache = *cache,
        .state = session->state,
        .hash = {.rotations = session->rotations[layer], .rounds = config->rounds}};
    rf_config_fill_hash(config, &append.hash);
    RF_TRY(take_2(at, "query", RF_F32, width, &append.query, error));
    RF_TRY(take_2(at, "value", RF_F32, width, &append.value, error));
    RF_TRY(take_2(at, "attention", RF_F32, width, &merged, error));
    rf_step_project project = {
        .norm = norm_of(at, &at->second, &weights->attention_gain, &weights->attention_bias),
        .count = 2,
        .projections = {{.weight = weights->query, .y = append.query},
                        {.weight = weights->value, .y = append.value}},
        .activation = RF_ACTIVATION_LINEAR};
    if (!cache->is_lsh) {
        RF_TRY(take_2(at, "key", RF_F32, width, &append.key, error));
        project.count = 3;
        project.projections[2] = (rf_projection){.weight = weights->key, .y = append.key};
    }
    RF_TRY(rf_op_step_project(at->context, &project, error));
    RF_TRY(attend(at, layer, &append, &merged, error));
    return add_product(at, &merged, &weights->attention_output, NULL, &at->first, error);
}

/* second += feed_forward(norm(first)) */
static rf_status step_feed_forward(step *at, int64_t layer, rf_error *error)
{
    const rf_layer_weights *weights = &at->session->weights[layer];
    rf_tensor inner;
    RF_TRY(take_2(at, "inner", RF_F32, at->config->feed_forward, &inner, error));
    rf_step_project project = {
        .norm = norm_of(at, &at->first, &weights->feed_forward_gain, &weights->feed_forward_bias),
        .count = 1,
        .projections = {{weights->inner_weight, weights->inner_bias, inner}},
        .activation = at->config->activation};
    RF_TRY(rf_op_step_project(at->context, &project, error));
    return add_product(at, &inner, &weights->outer_weight, &weights->outer_bias, &at->second,
                       error);
}

static rf_tensor head_tensor(const rf_model *model, rf_parameter_role role)
{
    return rf_parameter_tensor(rf_parameters_find(&model->parameters, role, -1, 0), model->values);
}

/* Both streams, normalised as one row, or the only one, to scores. */
static rf_status step_head(step *at, rf_error *error)
{
    const rf_model *model = at->session->model;
    rf_tensor gain = head_tensor(model, RF_PARAMETER_FINAL_NORM_GAIN);
    rf_tensor bias = head_tensor(model, RF_PARAMETER_FINAL_NORM_BIAS);
    rf_step_project project = {
        .norm = norm_of(at, &at->first, &gain, &bias),
        .count = 1,
        .projections = {{.weight = rf_session_weight(model, RF_PARAMETER_HEAD_WEIGHT, -1),
                         .y = at->session->logits}},
        .activation = RF_ACTIVATION_LINEAR};
    if (!at->config->standard_residual) {
        project.norm.x2 = at->second;
    }
    if (model->applies_head_bias) {
        project.projections[0].bias = head_tensor(model, RF_PARAMETER_HEAD_BIAS);
    }
    return rf_op_step_project(at->context, &project, error);
}

rf_status rf_session_step(rf_session *session, rf_error *error)
{
    step at = {.session = session, .config = &session->model->config, .context = &session->context};
    size_t start = rf_workspace_mark(&session->workspace);
    RF_TRY(begin(&at, error));
    size_t mark = rf_workspace_mark(&session->workspace);
    for (int64_t layer = 0; layer < at.config->layers; layer++) {
        RF_TRY(step_attention(&at, layer, error));
        rf_workspace_release(&session->workspace, mark);
        RF_TRY(step_feed_forward(&at, layer, error));
        rf_workspace_release(&session->workspace, mark);
    }
    RF_TRY(step_head(&at, error));
    rf_workspace_release(&session->workspace, start);
    return RF_OK;
}
