/* The shape rule of rf_project (layers.h says it in words). */
#include "ops/check.h"

/* The input [rows, k], which is the norm's where there is one. */
static rf_status check_input(const rf_check_scope *scope, const rf_project *project, rf_dtype dtype,
                             const rf_tensor **input)
{
    const rf_layer_norm *norm = &project->norm;
    *input = &project->x;
    if (rf_tensor_is_absent(&norm->gain)) {
        return rf_check_free(scope, "x", &project->x, 1U << dtype, 2);
    }
    const rf_tensor *x = &norm->x;
    *input = x;
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_F32 | RF_CHECK_FIXED32, 2));
    RF_TRY(rf_check_range(scope, "fraction_bits", norm->fraction_bits, 0, 30));
    RF_TRY(rf_check_norm_keeps(scope, norm));
    if (!rf_tensor_is_absent(&norm->x2)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: the norm is of one stream",
                            scope->op);
    }
    const rf_tensor width = rf_tensor_1(NULL, RF_F32, x->shape[1]);
    RF_TRY(rf_check_like(scope, "gain", &norm->gain, width, "x", x));
    RF_TRY(rf_check_like(scope, "bias", &norm->bias, width, "x", x));
    return rf_check_optional(scope, "z", &norm->y,
                             rf_tensor_2(NULL, dtype, x->shape[0], x->shape[1]), "x", x);
}

static rf_status check_product(const rf_check_scope *scope, const rf_project *project, int index,
                               const rf_tensor *input)
{
    const rf_product *product = &project->products[index];
    const rf_dtype dtype = project->products[0].weight.dtype;
    const rf_matrix *matrix = &product->weight;
    const int64_t n = matrix->rows;
    const rf_tensor weight = rf_tensor_2(matrix->data, matrix->dtype, n, matrix->columns);
    const rf_tensor y = rf_tensor_2(NULL, dtype, input->shape[0], n);
    RF_TRY(rf_check_free(scope, "weight", &weight, 1U << dtype, 2));
    RF_TRY(rf_check_like(scope, "weight", &weight, rf_tensor_2(NULL, dtype, n, input->shape[1]),
                         "x", input));
    RF_TRY(rf_check_range(scope, "the leading dimension of weight", matrix->leading,
                          matrix->columns, INT64_MAX));
    RF_TRY(rf_check_optional(scope, "bias", &product->bias, rf_tensor_1(NULL, dtype, n), "weight",
                             &weight));
    const rf_residual *residual = &project->residual;
    if (rf_tensor_is_absent(&residual->stream)) {
        return rf_check_like(scope, "y", &product->y, y, "weight", &weight);
    }
    RF_TRY(rf_check_shape(scope, "stream", &residual->stream, RF_CHECK_F32 | RF_CHECK_FIXED32, y,
                          "weight", &weight));
    return rf_check_like(scope, "overflow", &residual->overflow, rf_tensor_1(NULL, RF_I32, 1),
                         "stream", &residual->stream);
}

static rf_status check_residual_part(const rf_check_scope *scope, const rf_project *project)
{
    const rf_residual *residual = &project->residual;
    if (project->relu || project->probability > 0.0F) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: relu or a dropout of y does not go with a residual", scope->op);
    }
    RF_TRY(rf_check_range(scope, "mode", (int64_t)residual->mode, 0, RF_RESIDUAL_SET));
    RF_TRY(rf_check_range(scope, "fraction_bits", residual->fraction_bits, 0, 30));
    RF_TRY(rf_check_range(scope, "first_row of the residual", residual->first_row, 0, INT64_MAX));
    return rf_check_probability(scope, (double)residual->probability);
}

rf_status rf_check_project(const rf_check_scope *scope, const void *arguments)
{
    const rf_project *project = arguments;
    const bool has_stream = !rf_tensor_is_absent(&project->residual.stream);
    const rf_dtype dtype = project->products[0].weight.dtype;
    RF_TRY(rf_check_range(scope, "count", project->count, 1, has_stream ? 1 : RF_MAX_PROJECTIONS));
    if (dtype != RF_F32 && dtype != RF_BF16) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: weight is %s; f32 or bf16 is needed", scope->op,
                            rf_dtype_name(dtype));
    }
    const rf_tensor *input = NULL;
    RF_TRY(check_input(scope, project, dtype, &input));
    for (int i = 0; i < project->count; i++) {
        RF_TRY(check_product(scope, project, i, input));
    }
    if (has_stream) {
        RF_TRY(check_residual_part(scope, project));
    }
    RF_TRY(rf_check_range(scope, "count of products with a dropout", project->count, 1,
                          project->probability > 0.0F ? 1 : RF_MAX_PROJECTIONS));
    RF_TRY(rf_check_range(scope, "first_row", project->first_row, 0, INT64_MAX));
    return rf_check_probability(scope, (double)project->probability);
}
