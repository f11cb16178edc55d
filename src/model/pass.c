/* The steps that the parts of the model share: row slices, parameters by role, dropout by key,
 * norms and residuals. */
#include "model/pass.h"

bool rf_pass_is_sample(const rf_pass *pass)
{
    return pass->context.device->dry && pass->context.times == NULL;
}

bool rf_row_slice_next(const rf_pass *pass, rf_row_slice *slice, int64_t rows, int64_t step)
{
    slice->first += slice->count;
    if (rf_pass_is_sample(pass) && slice->first > 0 && slice->first < rows) {
        slice->first = (rows - 1) / step * step;
    }
    int64_t left = rows - slice->first;
    slice->count = left < step ? left : step;
    return slice->count > 0;
}

static rf_tensor parameter_in(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis,
                              void *block, rf_dtype dtype)
{
    const rf_parameter *parameter = rf_parameters_find(pass->parameters, role, layer, axis);
    if (parameter == NULL) {
        return (rf_tensor){0};
    }
    return rf_parameter_tensor_as(parameter, block, dtype);
}

rf_tensor rf_pass_value(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis)
{
    return parameter_in(pass, role, layer, axis, pass->values, RF_F32);
}

rf_tensor rf_pass_weight(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis)
{
    return parameter_in(pass, role, layer, axis, pass->weights, pass->compute);
}

rf_tensor rf_pass_gradient(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis)
{
    return parameter_in(pass, role, layer, axis, pass->gradients, RF_F32);
}

rf_random_key rf_pass_key(const rf_pass *pass, rf_purpose purpose, int64_t layer)
{
    return (rf_random_key){.seed = pass->seed,
                           .step = (uint64_t)pass->step,
                           .layer = (uint32_t)(layer + 1),
                           .purpose = (uint32_t)purpose};
}

rf_status rf_pass_take(rf_pass *pass, const char *what, int64_t rows, int64_t columns,
                       rf_tensor *tensor, rf_error *error)
{
    return rf_workspace_take_2(pass->context.workspace, what, pass->compute, rows, columns, tensor,
                               error);
}

rf_status rf_pass_take_f32(rf_pass *pass, const char *what, int64_t rows, int64_t columns,
                           rf_tensor *tensor, rf_error *error)
{
    return rf_workspace_take_2(pass->context.workspace, what, RF_F32, rows, columns, tensor, error);
}

bool rf_pass_drops(const rf_pass *pass)
{
    return pass->dropout && pass->config->hidden_dropout > 0.0;
}

static rf_dropout dropout_of(const rf_pass *pass, const rf_tensor *x, rf_purpose purpose,
                             int64_t layer, int64_t first_row)
{
    return (rf_dropout){.x = *x,
                        .y = *x,
                        .probability = (float)pass->config->hidden_dropout,
                        .key = rf_pass_key(pass, purpose, layer),
                        .first_row = pass->first_sample * pass->length + first_row};
}

rf_status rf_pass_dropout(rf_pass *pass, const rf_tensor *x, rf_purpose purpose, int64_t layer,
                          int64_t first_row, rf_error *error)
{
    if (!rf_pass_drops(pass)) {
        return RF_OK;
    }
    const rf_dropout dropout = dropout_of(pass, x, purpose, layer, first_row);
    return rf_op_dropout(&pass->context, &dropout, error);
}

rf_status rf_pass_sum_columns(rf_pass *pass, const rf_tensor *x, rf_tensor bias_gradient,
                              rf_error *error)
{
    return rf_op_reduce(&pass->context,
                        &(rf_reduce){.kind = RF_REDUCE_COLUMN_SUM, .x = *x, .y = bias_gradient},
                        error);
}

/* incoming = rows, in the type of activations: a view of them where that is theirs. */
static rf_status as_activations(rf_pass *pass, const rf_tensor *rows, rf_tensor *incoming,
                                rf_error *error)
{
    if (rows->dtype == pass->compute) {
        *incoming = *rows;
        return RF_OK;
    }
    RF_TRY(rf_pass_take(pass, "branch gradient", rows->shape[0], rows->shape[1], incoming, error));
    return rf_op_cast(&pass->context, &(rf_cast){.x = *rows, .y = *incoming}, error);
}

rf_status rf_pass_incoming(rf_pass *pass, const rf_tensor *stream_gradient, rf_row_slice slice,
                           rf_purpose purpose, int64_t layer, rf_tensor bias_gradient,
                           rf_tensor *incoming, rf_error *error)
{
    rf_tensor rows = rf_tensor_rows(stream_gradient, slice.first, slice.count);
    if (!rf_pass_drops(pass)) {
        RF_TRY(as_activations(pass, &rows, incoming, error));
        return rf_tensor_is_absent(&bias_gradient)
                   ? RF_OK
                   : rf_pass_sum_columns(pass, incoming, bias_gradient, error);
    }
    RF_TRY(
        rf_pass_take(pass, "branch gradient", slice.count, pass->config->hidden, incoming, error));
    rf_dropout dropout = dropout_of(pass, &rows, purpose, layer, slice.first);
    dropout.y = *incoming;
    dropout.bias_gradient = bias_gradient;
    return rf_op_dropout(&pass->context, &dropout, error);
}

/* The bias of a norm is declared right after its gain. */
static rf_parameter_role bias_of(rf_parameter_role gain)
{
    return (rf_parameter_role)((int)gain + 1);
}

rf_layer_norm rf_pass_norm(const rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                           rf_parameter_role gain, int64_t layer)
{
    return (rf_layer_norm){.x = rf_tensor_rows(stream, slice.first, slice.count),
                           .fraction_bits = pass->config->fraction_bits,
                           .gain = rf_pass_value(pass, gain, layer, 0),
                           .bias = rf_pass_value(pass, bias_of(gain), layer, 0),
                           .epsilon = (float)pass->config->layer_norm_epsilon};
}

rf_layer_norm_backward rf_pass_norm_backward(const rf_pass *pass, const rf_tensor *stream,
                                             rf_row_slice slice, rf_parameter_role gain,
                                             int64_t layer, const rf_tensor *stream_gradient)
{
    return (rf_layer_norm_backward){
        .x = rf_tensor_rows(stream, slice.first, slice.count),
        .fraction_bits = pass->config->fraction_bits,
        .gain = rf_pass_value(pass, gain, layer, 0),
        .epsilon = (float)pass->config->layer_norm_epsilon,
        .x_gradient = rf_tensor_rows(stream_gradient, slice.first, slice.count),
        .gain_gradient = rf_pass_gradient(pass, gain, layer, 0),
        .bias_gradient = rf_pass_gradient(pass, bias_of(gain), layer, 0),
        .bias = rf_pass_value(pass, bias_of(gain), layer, 0)};
}

static rf_residual residual_of(const rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                               rf_residual_mode mode, int64_t flag)
{
    return (rf_residual){.stream = rf_tensor_rows(stream, slice.first, slice.count),
                         .overflow = rf_tensor_rows(&pass->overflow, flag, 1),
                         .mode = mode,
                         .fraction_bits = pass->config->fraction_bits};
}

rf_status rf_pass_start(rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                        const rf_tensor *value, rf_error *error)
{
    rf_residual residual =
        residual_of(pass, stream, slice, RF_RESIDUAL_SET, 2 * pass->config->layers);
    residual.value = *value;
    return rf_op_residual(&pass->context, &residual, error);
}

rf_residual rf_pass_residual(const rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                             rf_residual_mode mode, int64_t half, rf_purpose purpose)
{
    rf_residual residual = residual_of(pass, stream, slice, mode, half);
    if (pass->dropout) {
        residual.probability = (float)pass->config->hidden_dropout;
        residual.key = rf_pass_key(pass, purpose, half / 2);
        residual.first_row = pass->first_sample * pass->length + slice.first;
    }
    return residual;
}
