/* The top of a question answerer: every position has a score as the start of the answer and one as
 * its end; the loss is the mean of two cross entropies over the positions of a sequence. The scores
 * of a whole batch stand in memory, eight bytes a token; the norms below them come in slices and
 * are made again for the backward. In f32 whatever activations are: two columns cost nothing.
 * Source: spec of the Hugging Face implementation, 3.4 and 8. */
#include "model/head.h"

enum { SIDES = 2 }; /* start, end */

/* Scores of one side at rows of the batch, as a column. logits [2 * batch, length] f32. */
static rf_matrix column(const rf_pass *pass, const rf_tensor *logits, int side, rf_row_slice slice)
{
    rf_tensor flat = rf_tensor_reshape_2(logits, rf_tensor_count(logits), 1);
    rf_tensor rows = rf_tensor_rows(&flat, side * pass->rows + slice.first, slice.count);
    return rf_matrix_of(&rows);
}

static rf_tensor side_of(rf_tensor tensor, int side)
{
    return rf_tensor_rows(&tensor, side, 1);
}

static rf_status take_joined(rf_pass *pass, const rf_tensor streams[2], rf_row_slice slice,
                             rf_tensor *x, rf_error *error)
{
    RF_TRY(rf_pass_take_f32(pass, "joined streams", slice.count,
                            rf_config_output_width(pass->config), x, error));
    return rf_head_join(pass, streams, slice, x, error);
}

/* All scores, and the hook that sees them. */
static rf_status scores(rf_pass *pass, const rf_tensor streams[2], rf_tensor *logits,
                        rf_error *error)
{
    rf_tensor weight = rf_pass_value(pass, RF_PARAMETER_SPAN_WEIGHT, -1, 0);
    rf_tensor bias = rf_pass_value(pass, RF_PARAMETER_SPAN_BIAS, -1, 0);
    RF_TRY(rf_pass_take_f32(pass, "span scores", SIDES * pass->batch, pass->length, logits, error));
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        rf_tensor x;
        RF_TRY(take_joined(pass, streams, slice, &x, error));
        for (int side = 0; side < SIDES; side++) {
            rf_tensor row = side_of(weight, side);
            RF_TRY(rf_op_gemm(&pass->context,
                              &(rf_gemm){.a = rf_matrix_of(&x),
                                         .b = rf_matrix_of(&row),
                                         .c = column(pass, logits, side, slice),
                                         .transpose_b = true,
                                         .bias = side_of(bias, side)},
                              error));
        }
        rf_workspace_release(pass->context.workspace, mark);
    }
    if (pass->hooks->logits != NULL && !pass->context.device->dry) {
        return pass->hooks->logits(pass->hooks->user, 0, logits, error);
    }
    return RF_OK;
}

/* In place: the scores become their gradients. */
static rf_status loss(rf_pass *pass, const rf_tensor *logits, bool gradient, float factor,
                      rf_error *error)
{
    for (int side = 0; side < SIDES; side++) {
        int64_t first = side * pass->batch;
        rf_cross_entropy arguments = {.logits = rf_tensor_rows(logits, first, pass->batch),
                                      .targets = rf_tensor_rows(&pass->targets, first, pass->batch),
                                      .nll = rf_tensor_rows(&pass->nll, first, pass->batch),
                                      .prediction =
                                          rf_tensor_rows(&pass->prediction, first, pass->batch),
                                      .factor = factor * (float)pass->span_weights[side]};
        if (gradient) {
            arguments.logits_gradient = arguments.logits;
            arguments.smoothing = pass->smoothing;
        }
        RF_TRY(rf_op_cross_entropy(&pass->context, &arguments, error));
    }
    return RF_OK;
}

static rf_status answer_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    rf_tensor logits;
    bool scored = !rf_tensor_is_absent(&pass->targets);
    if (!scored && pass->hooks->logits == NULL) {
        return RF_OK;
    }
    size_t mark = rf_workspace_mark(pass->context.workspace);
    RF_TRY(scores(pass, streams, &logits, error));
    if (scored) {
        RF_TRY(loss(pass, &logits, false, 0.0F, error));
    }
    rf_workspace_release(pass->context.workspace, mark);
    return RF_OK;
}

/* Weight and bias gradients of one side. x [count, 2 hidden] */
static rf_status side_gradients(rf_pass *pass, const rf_tensor *x, const rf_matrix *incoming,
                                int side, rf_error *error)
{
    rf_tensor weight = side_of(rf_pass_gradient(pass, RF_PARAMETER_SPAN_WEIGHT, -1, 0), side);
    rf_tensor bias = side_of(rf_pass_gradient(pass, RF_PARAMETER_SPAN_BIAS, -1, 0), side);
    RF_TRY(rf_op_gemm(&pass->context,
                      &(rf_gemm){.a = *incoming,
                                 .b = rf_matrix_of(x),
                                 .c = rf_matrix_of(&weight),
                                 .transpose_a = true,
                                 .accumulate = true},
                      error));
    return rf_op_reduce(&pass->context,
                        &(rf_reduce){.kind = RF_REDUCE_COLUMN_SUM,
                                     .x = rf_tensor_2(incoming->data, RF_F32, incoming->rows, 1),
                                     .y = bias},
                        error);
}

static rf_status backward_slice(rf_pass *pass, rf_row_slice slice, const rf_tensor streams[2],
                                const rf_tensor *logits_gradient, const rf_tensor gradients[2],
                                rf_error *error)
{
    rf_tensor weight = rf_pass_value(pass, RF_PARAMETER_SPAN_WEIGHT, -1, 0);
    rf_matrix incoming[SIDES];
    rf_tensor x;
    RF_TRY(take_joined(pass, streams, slice, &x, error));
    for (int side = 0; side < SIDES; side++) {
        incoming[side] = column(pass, logits_gradient, side, slice);
        RF_TRY(side_gradients(pass, &x, &incoming[side], side, error));
    }
    for (int side = 0; side < SIDES; side++) {
        rf_tensor row = side_of(weight, side);
        RF_TRY(rf_op_gemm(&pass->context,
                          &(rf_gemm){.a = incoming[side],
                                     .b = rf_matrix_of(&row),
                                     .c = rf_matrix_of(&x),
                                     .accumulate = side > 0},
                          error));
    }
    return rf_head_join_backward(pass, streams, slice, &x, gradients, error);
}

static rf_status answer_train(rf_pass *pass, const rf_tensor streams[2],
                              const rf_tensor gradients[2], float factor, rf_error *error)
{
    rf_tensor logits;
    size_t start = rf_workspace_mark(pass->context.workspace);
    RF_TRY(scores(pass, streams, &logits, error));
    RF_TRY(loss(pass, &logits, true, factor, error));
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        RF_TRY(backward_slice(pass, slice, streams, &logits, gradients, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    rf_workspace_release(pass->context.workspace, start);
    return RF_OK;
}

const rf_head rf_head_answer = {answer_forward, answer_train};
