/* The feed-forward half residual: f(x) = dropout(W2 act(dropout(W1 norm(x) + b1)) + b2), in slices
 * of rows, so that the inner width costs memory for one slice only (Kitaev et al. 2020, section 3,
 * "Chunking"; dropout before the activation as in Hugging Face).
 *
 * Relu is taken in the first product's epilogue: it commutes with dropout, whose scale is positive,
 * and its derivative can be told from its output, so that only the activated values are kept. */
#include "model/pass.h"

static bool is_relu(const rf_pass *pass)
{
    return pass->config->activation == RF_ACTIVATION_RELU;
}

/* What is dropped is 0 behind relu, so that its slope is the mask too; the scale of dropout is
 * left.
 */
static float backward_factor(const rf_pass *pass)
{
    bool drops = pass->dropout && is_relu(pass);
    return drops ? 1.0F / (1.0F - (float)pass->config->hidden_dropout) : 1.0F;
}

/* u [count, feed_forward]: before the activation, or after it if that is relu. x: optional
 * [count, hidden], the norm of the context's rows. */
static rf_status inner(rf_pass *pass, int64_t layer, rf_row_slice slice, const rf_tensor *context,
                       const rf_tensor *x, const rf_tensor *u, rf_error *error)
{
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_INNER_WEIGHT, layer, 0);
    rf_project project = {
        .norm = rf_pass_norm(pass, context, slice, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer),
        .count = 1,
        .products = {{.weight = rf_matrix_of(&weight),
                      .bias = rf_pass_weight(pass, RF_PARAMETER_INNER_BIAS, layer, 0),
                      .y = *u}},
        .relu = is_relu(pass),
        .probability = pass->dropout ? (float)pass->config->hidden_dropout : 0.0F,
        .key = rf_pass_key(pass, RF_PURPOSE_FEED_FORWARD_INNER_DROPOUT, layer),
        .first_row = pass->first_sample * pass->length + slice.first};
    if (x != NULL) {
        project.norm.y = *x;
    }
    return rf_op_project(&pass->context, &project, error);
}

/* y = activation(u), where `inner` has not done so; y may be u, and is if that is relu. */
static rf_status activate(rf_pass *pass, const rf_tensor *u, const rf_tensor *y, rf_error *error)
{
    if (is_relu(pass)) {
        return RF_OK;
    }
    return rf_op_activate(
        &pass->context, &(rf_activate){.x = *u, .y = *y, .kind = pass->config->activation}, error);
}

/* The branch from its activated values, into rows of the accumulator. */
static rf_status outer(rf_pass *pass, int64_t layer, rf_row_slice slice, const rf_tensor *activated,
                       const rf_tensor *accumulator, rf_residual_mode mode, rf_error *error)
{
    rf_tensor weight = rf_pass_weight(pass, RF_PARAMETER_OUTER_WEIGHT, layer, 0);
    return rf_op_project(
        &pass->context,
        &(rf_project){
            .x = *activated,
            .count = 1,
            .products = {{.weight = rf_matrix_of(&weight),
                          .bias = rf_pass_weight(pass, RF_PARAMETER_OUTER_BIAS, layer, 0)}},
            .residual = rf_pass_residual(pass, accumulator, slice, mode, 2 * layer + 1,
                                         RF_PURPOSE_FEED_FORWARD_OUTPUT_DROPOUT)},
        error);
}

static int64_t rows_at_a_time(const rf_pass *pass)
{
    int64_t configured = pass->config->feed_forward_rows;
    return configured > 0 && configured < pass->slices.rows ? configured : pass->slices.rows;
}

static rf_status forward_slice(rf_pass *pass, int64_t layer, rf_row_slice slice,
                               const rf_tensor *accumulator, const rf_tensor *context,
                               rf_error *error)
{
    rf_tensor u;
    RF_TRY(rf_pass_take(pass, "feed-forward inner", slice.count, pass->config->feed_forward, &u,
                        error));
    RF_TRY(inner(pass, layer, slice, context, NULL, &u, error));
    RF_TRY(activate(pass, &u, &u, error));
    return outer(pass, layer, slice, &u, accumulator, RF_RESIDUAL_ADD, error);
}

static rf_status feed_forward_forward(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                                      const rf_tensor *context, rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, rows_at_a_time(pass));) {
        RF_TRY(forward_slice(pass, layer, slice, accumulator, context, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

/* weight_gradient += y_gradient^T x */
static rf_status weight_gradient(rf_pass *pass, const rf_tensor *y_gradient, const rf_tensor *x,
                                 rf_tensor gradient, rf_error *error)
{
    return rf_op_gemm(&pass->context,
                      &(rf_gemm){.a = rf_matrix_of(y_gradient),
                                 .b = rf_matrix_of(x),
                                 .c = rf_matrix_of(&gradient),
                                 .transpose_a = true,
                                 .accumulate = true},
                      error);
}

/* x_gradient = y_gradient W */
static rf_status linear_input_gradient(rf_pass *pass, const rf_tensor *y_gradient, rf_tensor weight,
                                       const rf_tensor *x_gradient, rf_error *error)
{
    return rf_op_gemm(&pass->context,
                      &(rf_gemm){.a = rf_matrix_of(y_gradient),
                                 .b = rf_matrix_of(&weight),
                                 .c = rf_matrix_of(x_gradient)},
                      error);
}

typedef struct buffers {
    rf_tensor x;         /* norm of the context, [count, hidden] */
    rf_tensor u;         /* before the activation, [count, feed_forward]; relu: activated */
    rf_tensor activated; /* [count, feed_forward] */
    rf_tensor g;         /* gradient of u, [count, feed_forward] */
} buffers;

static rf_status undo_slice(rf_pass *pass, int64_t layer, rf_row_slice slice,
                            const rf_tensor *accumulator, const rf_tensor *context, buffers *b,
                            rf_error *error)
{
    RF_TRY(
        rf_pass_take(pass, "feed-forward input", slice.count, pass->config->hidden, &b->x, error));
    RF_TRY(rf_pass_take(pass, "feed-forward inner", slice.count, pass->config->feed_forward, &b->u,
                        error));
    RF_TRY(rf_pass_take(pass, "feed-forward activated", slice.count, pass->config->feed_forward,
                        &b->activated, error));
    b->g = b->activated;
    b->activated = is_relu(pass) ? b->u : b->activated;
    RF_TRY(inner(pass, layer, slice, context, &b->x, &b->u, error));
    RF_TRY(activate(pass, &b->u, &b->activated, error));
    return accumulator == NULL
               ? RF_OK
               : outer(pass, layer, slice, &b->activated, accumulator, RF_RESIDUAL_SUBTRACT, error);
}

/* The gradient of u from that of the activated values, both in g, and that of the inner bias. */
static rf_status activation_backward(rf_pass *pass, int64_t layer, rf_row_slice slice,
                                     const buffers *b, rf_error *error)
{
    const rf_tensor bias_gradient = rf_pass_gradient(pass, RF_PARAMETER_INNER_BIAS, layer, 0);
    const bool drops = rf_pass_drops(pass) && !is_relu(pass); /* in a pass of its own */
    RF_TRY(rf_op_activate_backward(
        &pass->context,
        &(rf_activate_backward){.x = b->u,
                                .y_gradient = b->g,
                                .x_gradient = b->g,
                                .kind = pass->config->activation,
                                .factor = backward_factor(pass),
                                .bias_gradient = drops ? (rf_tensor){0} : bias_gradient},
        error));
    if (!drops) {
        return RF_OK;
    }
    RF_TRY(rf_pass_dropout(pass, &b->g, RF_PURPOSE_FEED_FORWARD_INNER_DROPOUT, layer, slice.first,
                           error));
    return rf_pass_sum_columns(pass, &b->g, bias_gradient, error);
}

static rf_status backward_slice(rf_pass *pass, int64_t layer, rf_row_slice slice, buffers *b,
                                const rf_tensor *context, const rf_tensor *accumulator_gradient,
                                const rf_tensor *context_gradient, rf_error *error)
{
    rf_tensor incoming;
    RF_TRY(rf_pass_incoming(
        pass, accumulator_gradient, slice, RF_PURPOSE_FEED_FORWARD_OUTPUT_DROPOUT, layer,
        rf_pass_gradient(pass, RF_PARAMETER_OUTER_BIAS, layer, 0), &incoming, error));
    RF_TRY(weight_gradient(pass, &incoming, &b->activated,
                           rf_pass_gradient(pass, RF_PARAMETER_OUTER_WEIGHT, layer, 0), error));
    RF_TRY(linear_input_gradient(
        pass, &incoming, rf_pass_weight(pass, RF_PARAMETER_OUTER_WEIGHT, layer, 0), &b->g, error));
    RF_TRY(activation_backward(pass, layer, slice, b, error));
    RF_TRY(weight_gradient(pass, &b->g, &b->x,
                           rf_pass_gradient(pass, RF_PARAMETER_INNER_WEIGHT, layer, 0), error));
    RF_TRY(linear_input_gradient(
        pass, &b->g, rf_pass_weight(pass, RF_PARAMETER_INNER_WEIGHT, layer, 0), &b->x, error));
    rf_layer_norm_backward norm = rf_pass_norm_backward(
        pass, context, slice, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer, context_gradient);
    norm.y_gradient = b->x;
    return rf_op_layer_norm_backward(&pass->context, &norm, error);
}

static rf_status feed_forward_backward(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                                       const rf_tensor *context,
                                       const rf_tensor *accumulator_gradient,
                                       const rf_tensor *context_gradient, rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, rows_at_a_time(pass));) {
        buffers b;
        RF_TRY(undo_slice(pass, layer, slice, accumulator, context, &b, error));
        RF_TRY(backward_slice(pass, layer, slice, &b, context, accumulator_gradient,
                              context_gradient, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

const rf_half_residual rf_half_feed_forward = {feed_forward_forward, feed_forward_backward};
