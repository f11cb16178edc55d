/* One attention layer by itself: a bare model of one layer, of which only the attention half is
 * run, over the caller's arrays instead of embeddings. Each call is measured by a dry run of the
 * same code, as a runner's is; its memory is kept for the next. */
#include "model/layer.h"

#include "base/memory.h"
#include "model/pass.h"
#include "model/slices.h"

#include <stdio.h>
#include <string.h>

/* ---- making ------------------------------------------------------------------------------ */

static rf_status config_text(const rf_layer_options *o, const char *kind, char **text,
                             rf_error *error)
{
    char buckets[32] = "null";
    const char *window = strcmp(kind, "lsh") == 0 ? "lsh" : "local";
    bool full = strncmp(kind, "full", 4) == 0;
    int64_t width = o->head_width == 0 && o->heads > 0 ? o->hidden / o->heads : o->head_width;
    if (o->buckets != 0) {
        (void)snprintf(buckets, sizeof buckets, "%lld", (long long)o->buckets);
    }
    return rf_string_format(
        text, error,
        "{\"attn_layers\": [\"%s\"], \"hidden_size\": %lld, \"num_attention_heads\": %lld, "
        "\"attention_head_size\": %lld, \"%s_attn_chunk_length\": %lld, "
        "\"%s_num_chunks_before\": %lld, \"%s_num_chunks_after\": %lld, \"num_hashes\": %lld, "
        "\"num_buckets\": %s, \"is_decoder\": %s, \"feed_forward_size\": 1, \"vocab_size\": 3, "
        "\"eos_token_id\": 2, \"axial_pos_embds\": false, \"reformer_c\": {\"position_kind\": "
        "\"sinusoidal\", \"stream\": \"float32\"}}",
        kind, (long long)o->hidden, (long long)o->heads, (long long)width, window,
        (long long)(full ? 1 : o->chunk), window, (long long)o->before, window, (long long)o->after,
        (long long)(o->rounds == 0 ? 1 : o->rounds), buckets, o->causal ? "true" : "false");
}

/* The options become a configuration, but a wrong one is the caller's argument. */
static rf_status as_argument(rf_status status, rf_error *error)
{
    if (status != RF_ERR_FORMAT && status != RF_ERR_CONFIG) {
        return status;
    }
    if (error != NULL) {
        error->code = RF_ERR_ARGUMENT;
    }
    rf_error_prefix(error, "options of a layer, as a configuration");
    return RF_ERR_ARGUMENT;
}

rf_status rf_layer_create(const rf_layer_options *options, rf_layer **result, rf_error *error)
{
    const char *kind = options->kind != NULL ? options->kind : "lsh";
    rf_model_options how = {.device = options->device,
                            .precision = options->precision,
                            .kernels = options->kernels,
                            .threads = options->threads,
                            .task = "embed"};
    rf_layer *layer = NULL;
    rf_layer_kind known = RF_LAYER_LSH;
    char *text = NULL;
    void *memory = NULL;
    rf_status status = RF_OK;
    *result = NULL;
    if (!rf_layer_kind_parse(kind, &known)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "kind is \"%.40s\", expected lsh, local, full or full_shared", kind);
    }
    RF_TRY_DONE(rf_allocate_zeroed(sizeof *layer, "layer", &memory, error));
    layer = memory;
    layer->seed = options->seed;
    RF_TRY_DONE(config_text(options, kind, &text, error));
    RF_TRY_DONE(as_argument(
        rf_model_create(text, options->seed, "reformer", &how, &layer->model, error), error));
    rf_workspace_init(&layer->workspace, layer->model->device);
done:
    rf_release(text);
    if (status != RF_OK) {
        rf_layer_destroy(layer);
        layer = NULL;
    }
    *result = layer;
    return status;
}

void rf_layer_destroy(rf_layer *layer)
{
    if (layer == NULL) {
        return;
    }
    if (layer->workspace.memory != NULL) {
        rf_workspace_clear(&layer->workspace);
    }
    if (layer->gradients != NULL) {
        layer->model->device->table->release(layer->model->device, layer->gradients);
    }
    rf_model_destroy(layer->model);
    rf_release(layer);
}

/* ---- weights ----------------------------------------------------------------------------- */

/* NULL: the layer has none. */
static const rf_parameter *find(const rf_layer *layer, rf_layer_weight weight)
{
    static const rf_parameter_role roles[RF_LAYER_WEIGHTS] = {
        [RF_LAYER_NORM_GAIN] = RF_PARAMETER_ATTENTION_NORM_GAIN,
        [RF_LAYER_NORM_BIAS] = RF_PARAMETER_ATTENTION_NORM_BIAS,
        [RF_LAYER_QUERY] = RF_PARAMETER_QUERY,
        [RF_LAYER_KEY] = RF_PARAMETER_KEY,
        [RF_LAYER_VALUE] = RF_PARAMETER_VALUE,
        [RF_LAYER_OUTPUT] = RF_PARAMETER_ATTENTION_OUTPUT};
    if ((int)weight < 0 || (int)weight >= RF_LAYER_WEIGHTS) {
        return NULL;
    }
    return rf_parameters_find(&layer->model->parameters, roles[weight], 0, 0);
}

/* The same, with a message. */
static const rf_parameter *locate(const rf_layer *layer, rf_layer_weight weight, rf_error *error)
{
    const rf_parameter *found = find(layer, weight);
    if (found == NULL) {
        (void)rf_error_set(
            error, RF_ERR_ARGUMENT,
            "weight %d: the layer has none (keys of an LSH or full_shared layer are its queries)",
            (int)weight);
    }
    return found;
}

int64_t rf_layer_weight_size(const rf_layer *layer, rf_layer_weight weight)
{
    const rf_parameter *found = find(layer, weight);
    return found != NULL ? found->count : 0;
}

rf_status rf_layer_get_weight(const rf_layer *layer, rf_layer_weight weight, float *values,
                              rf_error *error)
{
    const rf_parameter *found = locate(layer, weight, error);
    if (found == NULL) {
        return RF_ERR_ARGUMENT;
    }
    return rf_device_download(layer->model->device, values, layer->model->values + found->offset,
                              (size_t)found->count * sizeof *values, error);
}

rf_status rf_layer_set_weight(rf_layer *layer, rf_layer_weight weight, const float *values,
                              rf_error *error)
{
    const rf_parameter *found = locate(layer, weight, error);
    if (found == NULL) {
        return RF_ERR_ARGUMENT;
    }
    RF_TRY(rf_device_upload(layer->model->device, layer->model->values + found->offset, values,
                            (size_t)found->count * sizeof *values, error));
    return rf_model_round(layer->model, error);
}

rf_status rf_layer_gradient(const rf_layer *layer, rf_layer_weight weight, float *values,
                            rf_error *error)
{
    const rf_parameter *found = locate(layer, weight, error);
    if (found == NULL) {
        return RF_ERR_ARGUMENT;
    }
    size_t size = (size_t)found->count * sizeof *values;
    if (layer->gradients == NULL) {
        memset(values, 0, size);
        return RF_OK;
    }
    return rf_device_download(layer->model->device, values, layer->gradients + found->offset, size,
                              error);
}

static size_t block_size(const rf_layer *layer)
{
    return (size_t)layer->model->parameters.block_count * sizeof(float);
}

rf_status rf_layer_forget_gradients(rf_layer *layer, rf_error *error)
{
    return layer->gradients == NULL
               ? RF_OK
               : rf_device_zero(layer->model->device, layer->gradients, block_size(layer), error);
}

static rf_status take_gradients(rf_layer *layer, rf_error *error)
{
    rf_device *device = layer->model->device;
    void *memory = NULL;
    if (layer->gradients != NULL) {
        return RF_OK;
    }
    RF_TRY(device->table->allocate(device, block_size(layer), "gradients", &memory, error));
    layer->gradients = memory;
    return rf_layer_forget_gradients(layer, error);
}

/* ---- a call ------------------------------------------------------------------------------ */

/* What a call is given and gives: host arrays [batch, length, hidden], mask [batch, length]. */
typedef struct call {
    rf_layer *layer;
    int64_t batch, length;
    const float *x, *y_gradient; /* y_gradient NULL: a forward */
    const uint8_t *mask;
    float *y, *x_gradient;
} call;

static const rf_hooks no_hooks = {0};

static void start_pass(const call *c, rf_device *device, rf_workspace *workspace, rf_pass *pass)
{
    rf_model *model = c->layer->model;
    rf_runner_options like = {
        .batch = c->batch, .length = c->length, .gradients = c->y_gradient != NULL};
    *pass = (rf_pass){
        .context = {.device = device, .workspace = workspace},
        .config = &model->config,
        .parameters = &model->parameters,
        .values = model->values,
        .compute = model->compute,
        .weights = model->compute == RF_F32 ? (void *)model->values : model->rounded,
        .gradients = c->layer->gradients,
        .batch = c->batch,
        .length = c->length,
        .rows = c->batch * c->length,
        .rounds = model->config.rounds,
        .slices = rf_slices_wished(model, &like),
        .seed = c->layer->seed,
        .hooks = &no_hooks,
    };
}

/* A stream's memory, from the host's array, or zeros. */
static rf_status bring(rf_pass *pass, const char *what, const float *from, rf_tensor *tensor,
                       rf_error *error)
{
    RF_TRY(rf_pass_take_f32(pass, what, pass->rows, pass->config->hidden, tensor, error));
    rf_device *device = pass->context.device;
    return from == NULL
               ? rf_device_zero(device, tensor->data, rf_tensor_size(tensor), error)
               : rf_device_upload(device, tensor->data, from, rf_tensor_size(tensor), error);
}

static rf_status bring_mask(const call *c, rf_pass *pass, rf_error *error)
{
    if (c->mask == NULL) {
        return RF_OK;
    }
    RF_TRY(rf_workspace_take_2(pass->context.workspace, "mask", RF_U8, c->batch, c->length,
                               &pass->mask, error));
    return rf_device_upload(pass->context.device, pass->mask.data, c->mask, (size_t)pass->rows,
                            error);
}

static rf_status check_finite(const rf_pass *pass, rf_error *error)
{
    int32_t flag = 0;
    RF_TRY(
        rf_device_download(pass->context.device, &flag, pass->overflow.data, sizeof flag, error));
    return flag == 0 ? RF_OK
                     : rf_error_set(error, RF_ERR_NUMERIC,
                                    "the layer's result is not finite; look for NaN or very large "
                                    "numbers in x and in the weights");
}

/* On a dry device nothing but the workspace's mark moves. */
static rf_status run(const call *c, rf_device *device, rf_workspace *workspace, rf_error *error)
{
    rf_pass pass;
    rf_tensor x;
    rf_tensor y;
    rf_tensor x_gradient;
    rf_tensor y_gradient;
    start_pass(c, device, workspace, &pass);
    RF_TRY(bring_mask(c, &pass, error));
    RF_TRY(rf_workspace_take_1(workspace, "overflow flags", RF_I32, 2 * pass.config->layers + 1,
                               &pass.overflow, error));
    RF_TRY(rf_device_zero(device, pass.overflow.data, rf_tensor_size(&pass.overflow), error));
    RF_TRY(bring(&pass, "x", c->x, &x, error));
    RF_TRY(bring(&pass, "y", NULL, &y, error));
    if (c->y_gradient == NULL) {
        RF_TRY(rf_half_attention.forward(&pass, 0, &y, &x, error));
        RF_TRY(rf_device_download(device, c->y, y.data, rf_tensor_size(&y), error));
        return check_finite(&pass, error);
    }
    RF_TRY(bring(&pass, "gradient of y", c->y_gradient, &y_gradient, error));
    RF_TRY(bring(&pass, "gradient of x", NULL, &x_gradient, error));
    RF_TRY(rf_half_attention.backward(&pass, 0, &y, &x, &y_gradient, &x_gradient, error));
    RF_TRY(rf_device_download(device, c->x_gradient, x_gradient.data, rf_tensor_size(&x_gradient),
                              error));
    return check_finite(&pass, error);
}

static rf_status measure(const call *c, size_t *bytes, rf_error *error)
{
    rf_device dry = *c->layer->model->device;
    rf_workspace workspace;
    dry.dry = true;
    rf_workspace_init(&workspace, &dry);
    RF_TRY(run(c, &dry, &workspace, error));
    *bytes = workspace.high;
    return RF_OK;
}

static rf_status call_layer(const call *c, rf_error *error)
{
    rf_layer *layer = c->layer;
    rf_config *config = &layer->model->config;
    size_t bytes = 0;
    RF_TRY(rf_model_check_batch(layer->model, c->batch, c->length, error));
    RF_TRY(rf_config_resolve_buckets(config, rf_config_padded_length(config, c->length),
                                     &layer->model->log, error));
    RF_TRY(measure(c, &bytes, error));
    if (bytes > layer->workspace.capacity) {
        if (layer->workspace.memory != NULL) {
            rf_workspace_clear(&layer->workspace);
        }
        rf_workspace_init(&layer->workspace, layer->model->device);
        RF_TRY(rf_workspace_allocate(&layer->workspace, bytes, error));
    }
    size_t mark = rf_workspace_mark(&layer->workspace);
    rf_status status = run(c, layer->model->device, &layer->workspace, error);
    rf_workspace_release(&layer->workspace, mark);
    return status;
}

rf_status rf_layer_forward(rf_layer *layer, const float *x, const uint8_t *mask, int64_t batch,
                           int64_t length, float *y, rf_error *error)
{
    return call_layer(
        &(call){.layer = layer, .batch = batch, .length = length, .x = x, .mask = mask, .y = y},
        error);
}

rf_status rf_layer_backward(rf_layer *layer, const float *x, const uint8_t *mask, int64_t batch,
                            int64_t length, const float *y_gradient, float *x_gradient,
                            rf_error *error)
{
    RF_TRY(take_gradients(layer, error));
    return call_layer(&(call){.layer = layer,
                              .batch = batch,
                              .length = length,
                              .x = x,
                              .mask = mask,
                              .y_gradient = y_gradient,
                              .x_gradient = x_gradient},
                      error);
}
