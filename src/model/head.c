/* What the heads share: which class has which, and the norm over both streams side by side, with
 * the dropout behind it. */
#include "model/head.h"

static rf_status no_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    (void)pass;
    (void)streams;
    (void)error;
    return RF_OK;
}

static const rf_head bare = {no_forward, NULL};

const rf_head *rf_head_of(const rf_config *config)
{
    if (config->model_class == RF_CLASS_MASKED_LM && config->next_sentence != RF_UNIT_NONE) {
        return &rf_head_both;
    }
    switch (config->model_class) {
    case RF_CLASS_CLASSIFIER:
        return &rf_head_classify;
    case RF_CLASS_ANSWERER:
        return &rf_head_answer;
    case RF_CLASS_BARE:
        return &bare;
    default:
        return &rf_head_lm;
    }
}

bool rf_head_wants_values(const rf_config *config)
{
    return config->model_class == RF_CLASS_CLASSIFIER &&
           rf_config_problem(config) != RF_PROBLEM_SINGLE;
}

int64_t rf_head_losses(const rf_config *config, int64_t batch, int64_t length)
{
    if (config->model_class == RF_CLASS_CLASSIFIER) {
        return rf_head_wants_values(config) ? batch * config->labels : batch;
    }
    return config->model_class == RF_CLASS_ANSWERER ? 2 * batch : batch * length;
}

/* Rows of the second of two, which a model of one stream has not. */
static rf_tensor second_rows(const rf_pass *pass, const rf_tensor both[2], rf_row_slice slice)
{
    return pass->config->standard_residual ? (rf_tensor){0}
                                           : rf_tensor_rows(&both[1], slice.first, slice.count);
}

/* Of the dropout behind the norm. */
static float probability_of(const rf_pass *pass)
{
    return rf_pass_drops(pass) ? (float)pass->config->hidden_dropout : 0.0F;
}

static int64_t first_row_of(const rf_pass *pass, rf_row_slice slice)
{
    return pass->first_sample * pass->length + slice.first;
}

rf_status rf_head_join(rf_pass *pass, const rf_tensor streams[2], rf_row_slice slice,
                       const rf_tensor *y, rf_error *error)
{
    return rf_op_layer_norm(
        &pass->context,
        &(rf_layer_norm){.x = rf_tensor_rows(&streams[0], slice.first, slice.count),
                         .x2 = second_rows(pass, streams, slice),
                         .fraction_bits = pass->config->fraction_bits,
                         .gain = rf_pass_value(pass, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0),
                         .bias = rf_pass_value(pass, RF_PARAMETER_FINAL_NORM_BIAS, -1, 0),
                         .epsilon = (float)pass->config->layer_norm_epsilon,
                         .y = *y,
                         .probability = probability_of(pass),
                         .key = rf_pass_key(pass, RF_PURPOSE_FINAL_DROPOUT, -1),
                         .first_row = first_row_of(pass, slice)},
        error);
}

rf_status rf_head_join_backward(rf_pass *pass, const rf_tensor streams[2], rf_row_slice slice,
                                const rf_tensor *y_gradient, const rf_tensor gradients[2],
                                rf_error *error)
{
    return rf_op_layer_norm_backward(
        &pass->context,
        &(rf_layer_norm_backward){
            .x = rf_tensor_rows(&streams[0], slice.first, slice.count),
            .x2 = second_rows(pass, streams, slice),
            .fraction_bits = pass->config->fraction_bits,
            .gain = rf_pass_value(pass, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0),
            .epsilon = (float)pass->config->layer_norm_epsilon,
            .y_gradient = *y_gradient,
            .x_gradient = rf_tensor_rows(&gradients[0], slice.first, slice.count),
            .x2_gradient = second_rows(pass, gradients, slice),
            .write = !pass->adds_gradients,
            .gain_gradient = rf_pass_gradient(pass, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0),
            .bias_gradient = rf_pass_gradient(pass, RF_PARAMETER_FINAL_NORM_BIAS, -1, 0),
            .probability = probability_of(pass),
            .key = rf_pass_key(pass, RF_PURPOSE_FINAL_DROPOUT, -1),
            .first_row = first_row_of(pass, slice)},
        error);
}

rf_status rf_head_show_output(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    if (pass->hooks->output == NULL) {
        return RF_OK;
    }
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        rf_tensor y;
        RF_TRY(rf_pass_take_f32(pass, "joined streams", slice.count,
                                rf_config_output_width(pass->config), &y, error));
        RF_TRY(rf_head_join(pass, streams, slice, &y, error));
        if (!pass->context.device->dry) {
            RF_TRY(pass->hooks->output(pass->hooks->user, slice.first, &y, error));
        }
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}
