/* The bottom of the model: x = dropout(word[ids] + type[types]) + positions, into both streams (or
 * the only one), in slices of rows; and its backward, for which the streams' gradients are added
 * (both streams start as x). Token types (Devlin et al. 2018, section 3) only where the model has a
 * table of them. Positions: axial tables with whole-digit dropout as Hugging Face's training has
 * it, one learned table with ordinary dropout, or sinusoids. */
#include "model/pass.h"

static rf_position position_arguments(const rf_pass *pass, rf_row_slice slice)
{
    const rf_config *config = pass->config;
    rf_position arguments = {
        .kind = RF_POSITION_SINUSOIDAL, .first_row = slice.first, .length = pass->length};
    if (config->positions == RF_POSITIONS_SINUSOIDAL) {
        return arguments;
    }
    arguments.kind = RF_POSITION_TABLES;
    arguments.axes = config->positions == RF_POSITIONS_AXIAL ? config->axes : 1;
    for (int axis = 0; axis < arguments.axes; axis++) {
        rf_tensor table = rf_pass_value(pass, RF_PARAMETER_POSITION, -1, axis);
        int64_t width = table.shape[table.rank - 1];
        arguments.tables[axis] =
            rf_tensor_reshape_2(&table, rf_tensor_count(&table) / width, width);
    }
    if (pass->dropout && config->positions == RF_POSITIONS_AXIAL) {
        arguments.first_sample = pass->first_sample;
        arguments.probability = (float)config->hidden_dropout;
        arguments.key = rf_pass_key(pass, RF_PURPOSE_POSITION_DROPOUT, -1);
    }
    return arguments;
}

/* Ordinary dropout of positions, which axial tables have not. */
static bool drops_positions(const rf_pass *pass)
{
    return rf_pass_drops(pass) && pass->config->positions == RF_POSITIONS_LEARNED;
}

/* x += type[types]; spare is like x. */
static rf_status add_token_types(rf_pass *pass, rf_row_slice slice, const rf_tensor *x,
                                 const rf_tensor *spare, rf_error *error)
{
    if (rf_tensor_is_absent(&pass->token_types)) {
        return RF_OK;
    }
    rf_embedding types = {.ids = rf_tensor_rows(&pass->token_types, slice.first, slice.count),
                          .table = rf_pass_value(pass, RF_PARAMETER_TOKEN_TYPE, -1, 0),
                          .y = *spare};
    RF_TRY(rf_op_embedding(&pass->context, &types, error));
    return rf_op_add(&pass->context, &(rf_add){.a = *x, .b = *spare, .y = *x, .factor = 1.0F},
                     error);
}

/* x += positions, a learned table's behind dropout; spare is like x. */
static rf_status add_positions(rf_pass *pass, rf_row_slice slice, const rf_tensor *x,
                               const rf_tensor *spare, rf_error *error)
{
    rf_position position = position_arguments(pass, slice);
    if (!drops_positions(pass)) {
        position.y = *x;
        position.add = true;
        return rf_op_position(&pass->context, &position, error);
    }
    position.y = *spare;
    RF_TRY(rf_op_position(&pass->context, &position, error));
    RF_TRY(rf_pass_dropout(pass, spare, RF_PURPOSE_POSITION_DROPOUT, -1, slice.first, error));
    return rf_op_add(&pass->context, &(rf_add){.a = *x, .b = *spare, .y = *x, .factor = 1.0F},
                     error);
}

static rf_status embed_slice(rf_pass *pass, rf_row_slice slice, const rf_tensor streams[2],
                             rf_error *error)
{
    rf_tensor x;
    rf_tensor spare = {0};
    RF_TRY(rf_pass_take_f32(pass, "embeddings", slice.count, pass->config->hidden, &x, error));
    if (drops_positions(pass) || !rf_tensor_is_absent(&pass->token_types)) {
        RF_TRY(
            rf_pass_take_f32(pass, "positions", slice.count, pass->config->hidden, &spare, error));
    }
    RF_TRY(
        rf_op_embedding(&pass->context,
                        &(rf_embedding){.ids = rf_tensor_rows(&pass->ids, slice.first, slice.count),
                                        .table = rf_pass_value(pass, RF_PARAMETER_WORD, -1, 0),
                                        .y = x},
                        error));
    RF_TRY(add_token_types(pass, slice, &x, &spare, error));
    RF_TRY(rf_pass_dropout(pass, &x, RF_PURPOSE_EMBEDDING_DROPOUT, -1, slice.first, error));
    RF_TRY(add_positions(pass, slice, &x, &spare, error));
    RF_TRY(rf_pass_start(pass, &streams[0], slice, &x, error));
    return pass->config->standard_residual ? RF_OK
                                           : rf_pass_start(pass, &streams[1], slice, &x, error);
}

rf_status rf_embed_forward(rf_pass *pass, const rf_tensor streams[2], rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        RF_TRY(embed_slice(pass, slice, streams, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}

static rf_status positions_backward(rf_pass *pass, rf_row_slice slice, const rf_tensor *x_gradient,
                                    const rf_tensor *spare, rf_error *error)
{
    if (pass->config->positions == RF_POSITIONS_SINUSOIDAL) {
        return RF_OK;
    }
    rf_position_backward arguments = {.forward = position_arguments(pass, slice),
                                      .y_gradient = *x_gradient};
    for (int axis = 0; axis < arguments.forward.axes; axis++) {
        rf_tensor table = rf_pass_gradient(pass, RF_PARAMETER_POSITION, -1, axis);
        int64_t width = table.shape[table.rank - 1];
        arguments.table_gradients[axis] =
            rf_tensor_reshape_2(&table, rf_tensor_count(&table) / width, width);
    }
    if (drops_positions(pass)) {
        RF_TRY(rf_device_copy(pass->context.device, spare->data, x_gradient->data,
                              rf_tensor_size(x_gradient), error));
        RF_TRY(rf_pass_dropout(pass, spare, RF_PURPOSE_POSITION_DROPOUT, -1, slice.first, error));
        arguments.y_gradient = *spare;
    }
    return rf_op_position_backward(&pass->context, &arguments, error);
}

/* sum = both streams' gradients (or the only one's) in f32; spare [count, hidden] f32. */
static rf_status add_streams(rf_pass *pass, rf_row_slice slice, const rf_tensor gradients[2],
                             const rf_tensor *sum, const rf_tensor *spare, rf_error *error)
{
    rf_tensor a = rf_tensor_rows(&gradients[0], slice.first, slice.count);
    if (pass->config->standard_residual) {
        return a.dtype == RF_F32 ? rf_device_copy(pass->context.device, sum->data, a.data,
                                                  rf_tensor_size(&a), error)
                                 : rf_op_cast(&pass->context, &(rf_cast){.x = a, .y = *sum}, error);
    }
    rf_tensor b = rf_tensor_rows(&gradients[1], slice.first, slice.count);
    if (a.dtype != RF_F32) {
        RF_TRY(rf_op_cast(&pass->context, &(rf_cast){.x = a, .y = *sum}, error));
        RF_TRY(rf_op_cast(&pass->context, &(rf_cast){.x = b, .y = *spare}, error));
        a = *sum;
        b = *spare;
    }
    return rf_op_add(&pass->context, &(rf_add){.a = a, .b = b, .y = *sum, .factor = 1.0F}, error);
}

/* The gradient of what was looked up, words and token types, is one. */
static rf_status tables_backward(rf_pass *pass, rf_row_slice slice, const rf_tensor *x_gradient,
                                 rf_error *error)
{
    rf_embedding_backward words = {.ids = rf_tensor_rows(&pass->ids, slice.first, slice.count),
                                   .y_gradient = *x_gradient,
                                   .table_gradient =
                                       rf_pass_gradient(pass, RF_PARAMETER_WORD, -1, 0)};
    RF_TRY(rf_op_embedding_backward(&pass->context, &words, error));
    if (rf_tensor_is_absent(&pass->token_types)) {
        return RF_OK;
    }
    rf_embedding_backward types = words;
    types.ids = rf_tensor_rows(&pass->token_types, slice.first, slice.count);
    types.table_gradient = rf_pass_gradient(pass, RF_PARAMETER_TOKEN_TYPE, -1, 0);
    return rf_op_embedding_backward(&pass->context, &types, error);
}

rf_status rf_embed_backward(rf_pass *pass, const rf_tensor gradients[2], rf_error *error)
{
    size_t mark = rf_workspace_mark(pass->context.workspace);
    for (rf_row_slice slice = {0};
         rf_row_slice_next(pass, &slice, pass->rows, pass->slices.rows);) {
        rf_tensor sum;
        rf_tensor spare;
        RF_TRY(rf_pass_take_f32(pass, "embedding gradient", slice.count, pass->config->hidden, &sum,
                                error));
        RF_TRY(rf_pass_take_f32(pass, "position gradient", slice.count, pass->config->hidden,
                                &spare, error));
        RF_TRY(add_streams(pass, slice, gradients, &sum, &spare, error));
        RF_TRY(positions_backward(pass, slice, &sum, &spare, error));
        RF_TRY(rf_pass_dropout(pass, &sum, RF_PURPOSE_EMBEDDING_DROPOUT, -1, slice.first, error));
        RF_TRY(tables_backward(pass, slice, &sum, error));
        rf_workspace_release(pass->context.workspace, mark);
    }
    return RF_OK;
}
