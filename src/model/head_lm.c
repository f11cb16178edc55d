/* The top of a language model, causal or masked: norm over both streams side by side, a linear map
 * to the vocabulary, cross-entropy; in slices of rows, so that the logits of the whole sequence
 * never stand in memory. In training the backward of a slice follows its forward at once: a row's
 * loss needs no other row. */
#include "model/head.h"

typedef struct slice_buffers {
    rf_tensor x;      /* norm of the joined streams, then its gradient, [count, 2 hidden] */
    rf_tensor logits; /* f32, [count, vocabulary] */
    rf_tensor logits_gradient; /* the same place where activations are f32 */
} slice_buffers;

static rf_status scores(rf_pass *pass, rf_row_slice slice, const rf_tensor streams[2],
                        slice_buffers *b, rf_error *error)
{
    const rf_config *config = pass->config;
    RF_TRY(rf_pass_take(pass, "joined streams", slice.count, rf_config_output_width(config), &b->x,
                        error));
    RF_TRY(rf_pass_take_f32(pass, "logits", slice.count, config->vocabulary, &b->logits, error));
    RF_TRY(rf_head_join(pass, streams, slice, &b->x, error));
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_HEAD_WEIGHT, -1, 0);
    rf_gemm product = {.a = rf_matrix_of(&b->x),
                       .b = rf_matrix_of(&weight),
                       .c = rf_matrix_of(&b->logits),
                       .transpose_b = true};
    if (pass->head_bias) {
        product.bias = rf_pass_value(pass, RF_PARAMETER_HEAD_BIAS, -1, 0);
    }
    return rf_op_gemm(&pass->context, &product, error);
}

static rf_status loss(rf_pass *pass, rf_row_slice slice, slice_buffers *b, bool gradient,
                      float factor, rf_error *error)
{
    rf_cross_entropy arguments = {
        .logits = b->logits,
        .targets = rf_tensor_rows(&pass->targets, slice.first, slice.count),
        .nll = rf_tensor_rows(&pass->nll, slice.first, slice.count),
        .prediction = rf_tensor_rows(&pass->prediction, slice.first, slice.count),
        .factor = factor};
    if (gradient) {
        arguments.logits_gradient = b->logits_gradient;
        arguments.smoothing = pass->smoothing;
    }
    return rf_op_cross_entropy(&pass->context, &arguments, error);
}

static int64_t rows_at_a_time(const rf_pass *pass)
{
    int64_t configured = pass->config->head_rows;
    return configured > 0 && configured < pass->slices.head_rows ? configured
                                                                 : pass->slices.head_rows;
}

static rf_status evaluate_slice(rf_pass *pass, rf_row_slice slice, const rf_tensor streams[2],
                                rf_error *error)
{
    slice_buffers b;
    bool shows = !pass->context.device->dry;
    RF_TRY(scores(pass, slice, streams, &b, error));
    if (pass->hooks->logits != NULL && shows) {
        RF_TRY(pass->hooks->logits(pass->hooks->user, slice.first, &b.logits, error));
    }
    if (rf_tensor_is_absent(&pass->targets)) {
        return RF_OK;
    }
    RF_TRY(loss(pass, slice, &b, false, 0.0F, error));
    if (pass->hooks->nll != NULL && shows) {
        rf_tensor nll = rf_tensor_rows(&pass->nll, slice.first, slice.count);
        RF_TRY(pass->hooks->nll(pass->hooks->user, slice.first, &nll, error));
    }
    return RF_OK;
}

/* Rows [first, first + count) of the whole batch, slice by slice. */
static rf_status evaluate_rows(rf_pass *pass, int64_t first, int64_t count,
                               const rf_tensor streams[2], rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0}; rf_row_slice_next(pass, &slice, count, rows_at_a_time(pass));) {
        rf_row_slice absolute = {first + slice.first, slice.count};
        RF_TRY(evaluate_slice(pass, absolute, streams, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

static rf_status lm_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    const rf_hooks *hooks = pass->hooks;
    bool scored = !rf_tensor_is_absent(&pass->targets);
    if (!scored && hooks->logits == NULL) {
        return RF_OK;
    }
    if (scored || hooks->logits_count == 0) {
        return evaluate_rows(pass, 0, pass->rows, streams, error);
    }
    for (int64_t row = 0; row < pass->batch; row++) {
        RF_TRY(evaluate_rows(pass, row * pass->length + hooks->logits_first, hooks->logits_count,
                             streams, error));
    }
    return RF_OK;
}

static rf_status backward_slice(rf_pass *pass, rf_row_slice slice, const rf_tensor streams[2],
                                slice_buffers *b, const rf_tensor gradients[2], rf_error *error)
{
    rf_context *ops = &pass->context;
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_HEAD_WEIGHT, -1, 0);
    rf_tensor weight_gradient = rf_pass_gradient(pass, RF_PARAMETER_HEAD_WEIGHT, -1, 0);
    RF_TRY(rf_op_gemm(ops,
                      &(rf_gemm){.a = rf_matrix_of(&b->logits_gradient),
                                 .b = rf_matrix_of(&b->x),
                                 .c = rf_matrix_of(&weight_gradient),
                                 .transpose_a = true,
                                 .accumulate = true},
                      error));
    if (pass->head_bias_trained) {
        rf_tensor bias_gradient = rf_pass_gradient(pass, RF_PARAMETER_HEAD_BIAS, -1, 0);
        RF_TRY(rf_op_reduce(
            ops,
            &(rf_reduce){.kind = RF_REDUCE_COLUMN_SUM, .x = b->logits_gradient, .y = bias_gradient},
            error));
    }
    RF_TRY(rf_op_gemm(ops,
                      &(rf_gemm){.a = rf_matrix_of(&b->logits_gradient),
                                 .b = rf_matrix_of(&weight),
                                 .c = rf_matrix_of(&b->x)},
                      error));
    return rf_head_join_backward(pass, streams, slice, &b->x, gradients, error);
}

static rf_status lm_train(rf_pass *pass, const rf_tensor streams[2], const rf_tensor gradients[2],
                          float factor, rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, rows_at_a_time(pass));) {
        slice_buffers b;
        RF_TRY(scores(pass, slice, streams, &b, error));
        if (pass->hooks->logits != NULL && !pass->context.device->dry) {
            RF_TRY(pass->hooks->logits(pass->hooks->user, slice.first, &b.logits, error));
        }
        b.logits_gradient = b.logits;
        if (pass->compute != RF_F32) {
            RF_TRY(rf_pass_take(pass, "logits gradient", slice.count, pass->config->vocabulary,
                                &b.logits_gradient, error));
        }
        RF_TRY(loss(pass, slice, &b, true, factor, error));
        RF_TRY(backward_slice(pass, slice, streams, &b, gradients, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

const rf_head rf_head_lm = {lm_forward, lm_train};
