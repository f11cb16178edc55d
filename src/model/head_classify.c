/* The top of a sequence classifier: one row a sequence is pooled from the normed streams (position
 * 0 as in Hugging Face's, or the last kept position, or the mean over the kept ones), then dropout,
 * a dense layer with tanh, dropout, and the labels' weights. All of it in f32 whatever activations
 * are: it works on as many rows as there are sequences. Pooling one position norms that row alone.
 * Source: spec of the Hugging Face implementation, 3.4 and 8. */
#include "model/head.h"

typedef struct stack_buffers { /* f32; b sequences, d hidden, n labels */
    rf_tensor pooled;          /* [b, 2 d], behind its dropout */
    rf_tensor dense;           /* [b, d], before tanh */
    rf_tensor features;        /* [b, d], behind tanh and dropout */
    rf_tensor logits;          /* [b, n] */
} stack_buffers;

/* ---- pooling ----------------------------------------------------------------------------- */

static int64_t place_of(const rf_pass *pass, int64_t sequence)
{
    return pass->places != NULL ? pass->places[sequence] : 0;
}

/* row = factor * row. row [1, width]; zeros the same. */
static rf_status scale(rf_pass *pass, const rf_tensor *row, const rf_tensor *zeros, float factor,
                       rf_error *error)
{
    return rf_op_add(&pass->context, &(rf_add){.a = *zeros, .b = *row, .y = *row, .factor = factor},
                     error);
}

static rf_status take_zeros(rf_pass *pass, rf_tensor *zeros, rf_error *error)
{
    RF_TRY(rf_pass_take_f32(pass, "zeros", 1, rf_config_output_width(pass->config), zeros, error));
    return rf_device_zero(pass->context.device, zeros->data, rf_tensor_size(zeros), error);
}

/* Which of a slice's rows are kept, as a column of ones and zeros. */
static rf_matrix kept_rows(const rf_pass *pass, rf_row_slice slice)
{
    rf_tensor rows = rf_tensor_rows(&pass->kept, slice.first, slice.count);
    return (rf_matrix){rows.data, RF_F32, slice.count, 1, 1};
}

/* The next slice of one sequence, in rows of the batch. */
static bool next_of(const rf_pass *pass, int64_t sequence, rf_row_slice *within,
                    rf_row_slice *slice)
{
    bool more = rf_row_slice_next(pass, within, pass->length, pass->slices.rows);
    *slice = (rf_row_slice){sequence * pass->length + within->first, within->count};
    return more;
}

static float mean_factor(const rf_pass *pass, int64_t sequence)
{
    int64_t count = place_of(pass, sequence);
    return count > 0 ? 1.0F / (float)count : 1.0F;
}

/* pooled [1, 2 hidden] = mean of the kept rows of a sequence */
static rf_status pool_mean(rf_pass *pass, const rf_tensor streams[2], int64_t sequence,
                           const rf_tensor *pooled, rf_error *error)
{
    rf_row_slice within = {0};
    rf_row_slice slice;
    rf_tensor zeros;
    size_t start = rf_workspace_mark(pass->context.workspace);
    RF_TRY(take_zeros(pass, &zeros, error));
    RF_TRY(rf_device_zero(pass->context.device, pooled->data, rf_tensor_size(pooled), error));
    size_t mark = rf_workspace_mark(pass->context.workspace);
    while (next_of(pass, sequence, &within, &slice)) {
        rf_tensor x;
        RF_TRY(rf_pass_take_f32(pass, "joined streams", slice.count,
                                rf_config_output_width(pass->config), &x, error));
        RF_TRY(rf_head_join(pass, streams, slice, &x, error));
        RF_TRY(rf_op_gemm(&pass->context,
                          &(rf_gemm){.a = kept_rows(pass, slice),
                                     .b = rf_matrix_of(&x),
                                     .c = rf_matrix_of(pooled),
                                     .transpose_a = true,
                                     .accumulate = true},
                          error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    RF_TRY(scale(pass, pooled, &zeros, mean_factor(pass, sequence), error));
    rf_workspace_release(pass->context.workspace, start);
    return RF_OK;
}

static rf_status pool(rf_pass *pass, const rf_tensor streams[2], const rf_tensor *pooled,
                      rf_error *error)
{
    for (int64_t sequence = 0; sequence < pass->batch; sequence++) {
        rf_tensor row = rf_tensor_rows(pooled, sequence, 1);
        rf_row_slice one = {sequence * pass->length + place_of(pass, sequence), 1};
        RF_TRY(pass->config->pooling == RF_POOLING_MEAN
                   ? pool_mean(pass, streams, sequence, &row, error)
                   : rf_head_join(pass, streams, one, &row, error));
    }
    return RF_OK;
}

/* Backward of pool_mean; incoming [1, 2 hidden] is overwritten. */
static rf_status spread_mean(rf_pass *pass, const rf_tensor streams[2], int64_t sequence,
                             const rf_tensor *incoming, const rf_tensor gradients[2],
                             rf_error *error)
{
    rf_row_slice within = {0};
    rf_row_slice slice;
    rf_tensor zeros;
    size_t start = rf_workspace_mark(pass->context.workspace);
    RF_TRY(take_zeros(pass, &zeros, error));
    RF_TRY(scale(pass, incoming, &zeros, mean_factor(pass, sequence), error));
    size_t mark = rf_workspace_mark(pass->context.workspace);
    while (next_of(pass, sequence, &within, &slice)) {
        rf_tensor x;
        RF_TRY(rf_pass_take_f32(pass, "joined gradient", slice.count,
                                rf_config_output_width(pass->config), &x, error));
        RF_TRY(rf_op_gemm(&pass->context,
                          &(rf_gemm){.a = kept_rows(pass, slice),
                                     .b = rf_matrix_of(incoming),
                                     .c = rf_matrix_of(&x)},
                          error));
        RF_TRY(rf_head_join_backward(pass, streams, slice, &x, gradients, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    rf_workspace_release(pass->context.workspace, start);
    return RF_OK;
}

static rf_status spread(rf_pass *pass, const rf_tensor streams[2], const rf_tensor *incoming,
                        const rf_tensor gradients[2], rf_error *error)
{
    bool mean = pass->config->pooling == RF_POOLING_MEAN;
    const int count = pass->config->standard_residual ? 1 : 2;
    for (int i = 0; i < count && !mean && !pass->adds_gradients; i++) {
        rf_tensor rows = rf_tensor_rows(&gradients[i], 0, pass->rows);
        RF_TRY(rf_device_zero(pass->context.device, rows.data, rf_tensor_size(&rows), error));
    }
    for (int64_t sequence = 0; sequence < pass->batch; sequence++) {
        rf_tensor row = rf_tensor_rows(incoming, sequence, 1);
        rf_row_slice one = {sequence * pass->length + place_of(pass, sequence), 1};
        RF_TRY(mean ? spread_mean(pass, streams, sequence, &row, gradients, error)
                    : rf_head_join_backward(pass, streams, one, &row, gradients, error));
    }
    return RF_OK;
}

/* ---- the layers above -------------------------------------------------------------------- */

/* In place; layer 0 is before the dense layer, 1 behind it. */
static rf_status drop(rf_pass *pass, const rf_tensor *x, int64_t layer, rf_error *error)
{
    const rf_config *config = pass->config;
    double probability =
        config->classifier_dropout >= 0.0 ? config->classifier_dropout : config->hidden_dropout;
    if (!pass->dropout || probability <= 0.0) {
        return RF_OK;
    }
    return rf_op_dropout(
        &pass->context,
        &(rf_dropout){.x = *x,
                      .y = *x,
                      .probability = (float)probability,
                      .key = rf_pass_key(pass, RF_PURPOSE_CLASSIFIER_DROPOUT, layer),
                      .first_row = pass->first_sample},
        error);
}

/* y = x W^T + bias; the bias is declared right after its weight. */
static rf_status linear(rf_pass *pass, rf_parameter_role weight_role, const rf_tensor *x,
                        const rf_tensor *y, rf_error *error)
{
    rf_tensor weight = rf_pass_value(pass, weight_role, -1, 0);
    return rf_op_gemm(
        &pass->context,
        &(rf_gemm){.a = rf_matrix_of(x),
                   .b = rf_matrix_of(&weight),
                   .c = rf_matrix_of(y),
                   .transpose_b = true,
                   .bias = rf_pass_value(pass, (rf_parameter_role)((int)weight_role + 1), -1, 0)},
        error);
}

/* Gradients of weight and bias, and x_gradient = y_gradient W. */
static rf_status linear_backward(rf_pass *pass, rf_parameter_role weight_role, const rf_tensor *x,
                                 const rf_tensor *y_gradient, const rf_tensor *x_gradient,
                                 rf_error *error)
{
    rf_parameter_role bias_role = (rf_parameter_role)((int)weight_role + 1);
    rf_tensor weight = rf_pass_value(pass, weight_role, -1, 0);
    rf_tensor weight_gradient = rf_pass_gradient(pass, weight_role, -1, 0);
    RF_TRY(rf_op_gemm(&pass->context,
                      &(rf_gemm){.a = rf_matrix_of(y_gradient),
                                 .b = rf_matrix_of(x),
                                 .c = rf_matrix_of(&weight_gradient),
                                 .transpose_a = true,
                                 .accumulate = true},
                      error));
    RF_TRY(rf_op_reduce(&pass->context,
                        &(rf_reduce){.kind = RF_REDUCE_COLUMN_SUM,
                                     .x = *y_gradient,
                                     .y = rf_pass_gradient(pass, bias_role, -1, 0)},
                        error));
    return rf_op_gemm(&pass->context,
                      &(rf_gemm){.a = rf_matrix_of(y_gradient),
                                 .b = rf_matrix_of(&weight),
                                 .c = rf_matrix_of(x_gradient)},
                      error);
}

static rf_status scores(rf_pass *pass, const rf_tensor streams[2], stack_buffers *b,
                        rf_error *error)
{
    int64_t hidden = pass->config->hidden;
    RF_TRY(rf_pass_take_f32(pass, "pooled", pass->batch, rf_config_output_width(pass->config),
                            &b->pooled, error));
    RF_TRY(rf_pass_take_f32(pass, "dense", pass->batch, hidden, &b->dense, error));
    RF_TRY(rf_pass_take_f32(pass, "features", pass->batch, hidden, &b->features, error));
    RF_TRY(rf_pass_take_f32(pass, "label scores", pass->batch, pass->config->labels, &b->logits,
                            error));
    RF_TRY(pool(pass, streams, &b->pooled, error));
    RF_TRY(drop(pass, &b->pooled, 0, error));
    RF_TRY(linear(pass, RF_PARAMETER_CLASSIFIER_WEIGHT, &b->pooled, &b->dense, error));
    RF_TRY(rf_op_activate(
        &pass->context, &(rf_activate){.x = b->dense, .y = b->features, .kind = RF_ACTIVATION_TANH},
        error));
    RF_TRY(drop(pass, &b->features, 1, error));
    RF_TRY(linear(pass, RF_PARAMETER_LABEL_WEIGHT, &b->features, &b->logits, error));
    if (pass->hooks->logits != NULL && !pass->context.device->dry) {
        return pass->hooks->logits(pass->hooks->user, 0, &b->logits, error);
    }
    return RF_OK;
}

/* With a gradient it takes the place of the logits. */
static rf_status loss(rf_pass *pass, const stack_buffers *b, bool gradient, float factor,
                      rf_error *error)
{
    if (!rf_head_wants_values(pass->config)) {
        rf_cross_entropy single = {.logits = b->logits,
                                   .targets = pass->targets,
                                   .nll = pass->nll,
                                   .prediction = pass->prediction,
                                   .factor = factor};
        if (gradient) {
            single.logits_gradient = b->logits;
            single.smoothing = pass->smoothing;
            single.weights = pass->class_weights;
        }
        return rf_op_cross_entropy(&pass->context, &single, error);
    }
    bool regression = rf_config_problem(pass->config) == RF_PROBLEM_REGRESSION;
    rf_value_loss values = {.kind = regression ? RF_VALUE_LOSS_SQUARED : RF_VALUE_LOSS_BINARY,
                            .x = b->logits,
                            .targets = pass->wanted,
                            .loss =
                                rf_tensor_reshape_2(&pass->nll, pass->batch, pass->config->labels),
                            .factor = factor};
    if (gradient) {
        values.x_gradient = b->logits;
        values.smoothing = regression ? 0.0 : pass->smoothing;
    }
    return rf_op_value_loss(&pass->context, &values, error);
}

static rf_status classify_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    stack_buffers b;
    bool scored = !rf_tensor_is_absent(&pass->targets) || !rf_tensor_is_absent(&pass->wanted);
    if (!scored && pass->hooks->logits == NULL) {
        return RF_OK;
    }
    size_t mark = rf_workspace_mark(pass->context.workspace);
    RF_TRY(scores(pass, streams, &b, error));
    if (scored) {
        RF_TRY(loss(pass, &b, false, 0.0F, error));
    }
    rf_workspace_release(pass->context.workspace, mark);
    return RF_OK;
}

static rf_status classify_train(rf_pass *pass, const rf_tensor streams[2],
                                const rf_tensor gradients[2], float factor, rf_error *error)
{
    stack_buffers b;
    rf_tensor incoming; /* of the dense layer's output, then of its tanh */
    size_t mark = rf_workspace_mark(pass->context.workspace);
    RF_TRY(scores(pass, streams, &b, error));
    RF_TRY(loss(pass, &b, true, factor, error));
    RF_TRY(rf_pass_take_f32(pass, "features gradient", pass->batch, pass->config->hidden, &incoming,
                            error));
    RF_TRY(
        linear_backward(pass, RF_PARAMETER_LABEL_WEIGHT, &b.features, &b.logits, &incoming, error));
    RF_TRY(drop(pass, &incoming, 1, error));
    RF_TRY(rf_op_activate_backward(&pass->context,
                                   &(rf_activate_backward){.x = b.dense,
                                                           .y_gradient = incoming,
                                                           .x_gradient = incoming,
                                                           .kind = RF_ACTIVATION_TANH,
                                                           .factor = 1.0F},
                                   error));
    rf_tensor pooled_gradient;
    RF_TRY(rf_pass_take_f32(pass, "pooled gradient", pass->batch,
                            rf_config_output_width(pass->config), &pooled_gradient, error));
    RF_TRY(linear_backward(pass, RF_PARAMETER_CLASSIFIER_WEIGHT, &b.pooled, &incoming,
                           &pooled_gradient, error));
    RF_TRY(drop(pass, &pooled_gradient, 0, error));
    RF_TRY(spread(pass, streams, &pooled_gradient, gradients, error));
    rf_workspace_release(pass->context.workspace, mark);
    return RF_OK;
}

const rf_head rf_head_classify = {classify_forward, classify_train};
