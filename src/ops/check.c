/* The shape rule of every operation (the headers say them in words). A rule first takes the tensor
 * that fixes the sizes, then compares each other tensor with the shape that the first one needs. */
#include "ops/check.h"

/* ---- tensors ----------------------------------------------------------------------------- */

/* First of all: a shape with more dimensions than there are numbers cannot even be described. */
static rf_status check_rank(const rf_check_scope *scope, const char *name, const rf_tensor *tensor)
{
    if (tensor->rank < 0 || tensor->rank > RF_MAX_RANK) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: %s has %d dimensions; 1 to %d are possible", scope->op, name,
                            tensor->rank, RF_MAX_RANK);
    }
    return RF_OK;
}

static rf_status check_data(const rf_check_scope *scope, const char *name, const rf_tensor *tensor)
{
    if (!scope->dry && tensor->data == NULL && rf_tensor_count(tensor) > 0) {
        char text[RF_CHECK_TEXT_BYTES];
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s %s has no data", scope->op, name,
                            rf_tensor_describe(tensor, text, sizeof text));
    }
    return RF_OK;
}

rf_status rf_check_free(const rf_check_scope *scope, const char *name, const rf_tensor *tensor,
                        unsigned dtypes, int rank)
{
    if (rf_tensor_is_absent(tensor)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s is missing", scope->op, name);
    }
    RF_TRY(check_rank(scope, name, tensor));
    char text[RF_CHECK_TEXT_BYTES];
    if ((unsigned)tensor->dtype >= RF_DTYPE_COUNT || (dtypes & (1U << tensor->dtype)) == 0U) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: %s is %s, a type this operation does not take", scope->op, name,
                            rf_tensor_describe(tensor, text, sizeof text));
    }
    if (tensor->rank < 1 || (rank > 0 && tensor->rank != rank)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: %s is %s, but %d dimensions are needed", scope->op, name,
                            rf_tensor_describe(tensor, text, sizeof text), rank > 0 ? rank : 1);
    }
    for (int axis = 0; axis < tensor->rank; axis++) {
        if (tensor->shape[axis] < 0) {
            return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s is %s: a size is negative",
                                scope->op, name, rf_tensor_describe(tensor, text, sizeof text));
        }
    }
    return check_data(scope, name, tensor);
}

rf_status rf_check_like(const rf_check_scope *scope, const char *name, const rf_tensor *tensor,
                        rf_tensor needed, const char *source_name, const rf_tensor *source)
{
    char found[RF_CHECK_TEXT_BYTES];
    char expected[RF_CHECK_TEXT_BYTES];
    char cause[RF_CHECK_TEXT_BYTES];
    if (rf_tensor_is_absent(tensor)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s is missing; %s %s needs %s",
                            scope->op, name, source_name,
                            rf_tensor_describe(source, cause, sizeof cause),
                            rf_tensor_describe(&needed, expected, sizeof expected));
    }
    RF_TRY(check_rank(scope, name, tensor));
    if (tensor->dtype != needed.dtype || !rf_tensor_same_shape(tensor, &needed)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s is %s, but %s %s needs %s",
                            scope->op, name, rf_tensor_describe(tensor, found, sizeof found),
                            source_name, rf_tensor_describe(source, cause, sizeof cause),
                            rf_tensor_describe(&needed, expected, sizeof expected));
    }
    return check_data(scope, name, tensor);
}

rf_status rf_check_optional(const rf_check_scope *scope, const char *name, const rf_tensor *tensor,
                            rf_tensor needed, const char *source_name, const rf_tensor *source)
{
    if (rf_tensor_is_absent(tensor)) {
        return RF_OK;
    }
    return rf_check_like(scope, name, tensor, needed, source_name, source);
}

rf_status rf_check_shape(const rf_check_scope *scope, const char *name, const rf_tensor *tensor,
                         unsigned dtypes, rf_tensor like, const char *source_name,
                         const rf_tensor *source)
{
    like.dtype = (unsigned)tensor->dtype < RF_DTYPE_COUNT && (dtypes & (1U << tensor->dtype)) != 0U
                     ? tensor->dtype
                     : RF_F32;
    return rf_check_like(scope, name, tensor, like, source_name, source);
}

/* The same shape in another type. */
static rf_tensor as_type(const rf_tensor *tensor, rf_dtype dtype)
{
    rf_tensor needed = *tensor;
    needed.dtype = dtype;
    return needed;
}

/* ---- numbers ----------------------------------------------------------------------------- */

rf_status rf_check_range(const rf_check_scope *scope, const char *name, int64_t value, int64_t low,
                         int64_t high)
{
    if (value < low || value > high) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s is %lld, outside [%lld, %lld]",
                            scope->op, name, (long long)value, (long long)low, (long long)high);
    }
    return RF_OK;
}

rf_status rf_check_probability(const rf_check_scope *scope, double probability)
{
    if (!(probability >= 0.0 && probability < 1.0)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: probability is %g, outside [0, 1)",
                            scope->op, probability);
    }
    return RF_OK;
}

static rf_status check_fraction_bits(const rf_check_scope *scope, rf_dtype dtype, int bits)
{
    return dtype == RF_FIXED32 ? rf_check_range(scope, "fraction_bits", bits, 0, 30) : RF_OK;
}

/* ---- gemm -------------------------------------------------------------------------------- */

static rf_tensor matrix_as_tensor(const rf_matrix *matrix)
{
    return rf_tensor_2(matrix->data, matrix->dtype, matrix->rows, matrix->columns);
}

static rf_status check_matrix(const rf_check_scope *scope, const char *name,
                              const rf_matrix *matrix, unsigned dtypes)
{
    rf_tensor tensor = matrix_as_tensor(matrix);
    RF_TRY(rf_check_free(scope, name, &tensor, dtypes, 2));
    if (matrix->leading < matrix->columns) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: the leading dimension of %s is %lld, less than its %lld columns",
                            scope->op, name, (long long)matrix->leading,
                            (long long)matrix->columns);
    }
    return RF_OK;
}

static rf_status check_gemm(const rf_check_scope *scope, const void *arguments)
{
    const rf_gemm *gemm = arguments;
    RF_TRY(check_matrix(scope, "a", &gemm->a, RF_CHECK_REAL));
    RF_TRY(check_matrix(scope, "b", &gemm->b, 1U << gemm->a.dtype));
    RF_TRY(check_matrix(scope, "c", &gemm->c, RF_CHECK_F32 | (1U << gemm->a.dtype)));
    if (gemm->relu && gemm->accumulate) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: relu and accumulate do not go together", scope->op);
    }
    if (gemm->transpose_a && gemm->transpose_b) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: a and b cannot both be transposed; swap the operands", scope->op);
    }
    int64_t m = gemm->transpose_a ? gemm->a.columns : gemm->a.rows;
    int64_t k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    int64_t b_k = gemm->transpose_b ? gemm->b.columns : gemm->b.rows;
    int64_t n = gemm->transpose_b ? gemm->b.rows : gemm->b.columns;
    if (k != b_k || gemm->c.rows != m || gemm->c.columns != n) {
        return rf_error_set(
            scope->error, RF_ERR_ARGUMENT,
            "%s: op(a) is [%lld, %lld], op(b) [%lld, %lld] and c [%lld, %lld]; [m, k], [k, n] "
            "and [m, n] are needed",
            scope->op, (long long)m, (long long)k, (long long)b_k, (long long)n,
            (long long)gemm->c.rows, (long long)gemm->c.columns);
    }
    rf_tensor c = matrix_as_tensor(&gemm->c);
    return rf_check_optional(scope, "bias", &gemm->bias, rf_tensor_1(NULL, c.dtype, n), "c", &c);
}

/* ---- cast, elementwise, dropout, residual ------------------------------------------------ */

static rf_status check_cast(const rf_check_scope *scope, const void *arguments)
{
    const rf_cast *cast = arguments;
    RF_TRY(rf_check_free(scope, "x", &cast->x,
                         RF_CHECK_F32 | RF_CHECK_BF16 | RF_CHECK_F16 | RF_CHECK_FIXED32, 0));
    RF_TRY(rf_check_free(scope, "y", &cast->y,
                         RF_CHECK_F32 | RF_CHECK_BF16 | RF_CHECK_F16 | RF_CHECK_FIXED32, 0));
    char x[RF_CHECK_TEXT_BYTES];
    char y[RF_CHECK_TEXT_BYTES];
    if (rf_tensor_count(&cast->x) != rf_tensor_count(&cast->y) ||
        (cast->x.dtype != RF_F32 && cast->y.dtype != RF_F32)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: x is %s and y %s; as many elements and f32 on one side are needed",
                            scope->op, rf_tensor_describe(&cast->x, x, sizeof x),
                            rf_tensor_describe(&cast->y, y, sizeof y));
    }
    RF_TRY(check_fraction_bits(scope, cast->x.dtype, cast->fraction_bits));
    return check_fraction_bits(scope, cast->y.dtype, cast->fraction_bits);
}

static rf_status check_activate(const rf_check_scope *scope, const void *arguments)
{
    const rf_activate *activate = arguments;
    RF_TRY(rf_check_free(scope, "x", &activate->x, RF_CHECK_REAL, 0));
    RF_TRY(rf_check_like(scope, "y", &activate->y, activate->x, "x", &activate->x));
    return rf_check_range(scope, "kind", (int64_t)activate->kind, 0, RF_ACTIVATION_COUNT - 1);
}

/* The optional column sums of what is like x. */
static rf_status check_bias_gradient(const rf_check_scope *scope, const rf_tensor *bias_gradient,
                                     const rf_tensor *x)
{
    if (rf_tensor_is_absent(bias_gradient)) {
        return RF_OK;
    }
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_REAL, 2));
    return rf_check_like(scope, "bias_gradient", bias_gradient,
                         rf_tensor_1(NULL, RF_F32, x->shape[1]), "x", x);
}

static rf_status check_activate_backward(const rf_check_scope *scope, const void *arguments)
{
    const rf_activate_backward *backward = arguments;
    const rf_tensor *x = &backward->x;
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_REAL, 0));
    RF_TRY(rf_check_like(scope, "y_gradient", &backward->y_gradient, *x, "x", x));
    RF_TRY(rf_check_like(scope, "x_gradient", &backward->x_gradient, *x, "x", x));
    RF_TRY(check_bias_gradient(scope, &backward->bias_gradient, x));
    return rf_check_range(scope, "kind", (int64_t)backward->kind, 0, RF_ACTIVATION_COUNT - 1);
}

static rf_status check_add(const rf_check_scope *scope, const void *arguments)
{
    const rf_add *add = arguments;
    RF_TRY(rf_check_free(scope, "a", &add->a, RF_CHECK_F32, 0));
    RF_TRY(rf_check_like(scope, "b", &add->b, add->a, "a", &add->a));
    return rf_check_like(scope, "y", &add->y, add->a, "a", &add->a);
}

static rf_status check_dropout(const rf_check_scope *scope, const void *arguments)
{
    const rf_dropout *dropout = arguments;
    RF_TRY(rf_check_free(scope, "x", &dropout->x, RF_CHECK_REAL, 2));
    RF_TRY(rf_check_shape(scope, "y", &dropout->y, RF_CHECK_REAL, dropout->x, "x", &dropout->x));
    RF_TRY(check_bias_gradient(scope, &dropout->bias_gradient, &dropout->x));
    RF_TRY(rf_check_range(scope, "first_row", dropout->first_row, 0, INT64_MAX));
    return rf_check_probability(scope, (double)dropout->probability);
}

rf_status rf_check_norm_keeps(const rf_check_scope *scope, const rf_layer_norm *norm)
{
    return norm->probability == 0.0F ? RF_OK
                                     : rf_error_set(scope->error, RF_ERR_ARGUMENT,
                                                    "%s: the norm has a dropout", scope->op);
}

static rf_status check_residual(const rf_check_scope *scope, const void *arguments)
{
    const rf_residual *residual = arguments;
    const rf_tensor *stream = &residual->stream;
    RF_TRY(rf_check_free(scope, "stream", stream, RF_CHECK_F32 | RF_CHECK_FIXED32, 0));
    RF_TRY(
        rf_check_shape(scope, "value", &residual->value, RF_CHECK_REAL, *stream, "stream", stream));
    RF_TRY(rf_check_like(scope, "overflow", &residual->overflow, rf_tensor_1(NULL, RF_I32, 1),
                         "stream", stream));
    RF_TRY(rf_check_range(scope, "mode", (int64_t)residual->mode, 0, RF_RESIDUAL_SET));
    RF_TRY(rf_check_probability(scope, (double)residual->probability));
    RF_TRY(rf_check_range(scope, "first_row", residual->first_row, 0, INT64_MAX));
    return check_fraction_bits(scope, stream->dtype, residual->fraction_bits);
}

/* ---- embedding, position ----------------------------------------------------------------- */

/* ids [rows], table [vocabulary, width], y [rows, width] */
static rf_status check_lookup(const rf_check_scope *scope, const rf_tensor *ids,
                              const rf_tensor *table, const char *table_name, const rf_tensor *y,
                              const char *y_name)
{
    RF_TRY(rf_check_free(scope, "ids", ids, RF_CHECK_I32, 1));
    RF_TRY(rf_check_free(scope, table_name, table, RF_CHECK_F32, 2));
    return rf_check_like(scope, y_name, y,
                         rf_tensor_2(NULL, RF_F32, ids->shape[0], table->shape[1]), table_name,
                         table);
}

static rf_status check_embedding(const rf_check_scope *scope, const void *arguments)
{
    const rf_embedding *embedding = arguments;
    return check_lookup(scope, &embedding->ids, &embedding->table, "table", &embedding->y, "y");
}

static rf_status check_embedding_backward(const rf_check_scope *scope, const void *arguments)
{
    const rf_embedding_backward *backward = arguments;
    return check_lookup(scope, &backward->ids, &backward->table_gradient, "table_gradient",
                        &backward->y_gradient, "y_gradient");
}

/* One past the highest position that `rows` rows use. */
static int64_t position_end(const rf_position *position, int64_t rows)
{
    if (rows == 0) {
        return 0;
    }
    int64_t start = position->first_row % position->length;
    return position->offset + (rows >= position->length - start ? position->length : start + rows);
}

static rf_status check_position_tables(const rf_check_scope *scope, const rf_position *position,
                                       const char *y_name, const rf_tensor *y)
{
    RF_TRY(rf_check_range(scope, "axes", position->axes, 1, RF_MAX_RANK));
    int64_t width = 0;
    int64_t positions = 1;
    for (int axis = 0; axis < position->axes; axis++) {
        const rf_tensor *table = &position->tables[axis];
        RF_TRY(rf_check_free(scope, "tables", table, RF_CHECK_F32, 2));
        width += table->shape[1];
        if (table->shape[0] == 0 || positions <= INT64_MAX / table->shape[0]) {
            positions *= table->shape[0];
        }
    }
    char text[RF_CHECK_TEXT_BYTES];
    if (width != y->shape[1]) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: the tables' widths sum to %lld, but %s is %s", scope->op,
                            (long long)width, y_name, rf_tensor_describe(y, text, sizeof text));
    }
    int64_t end = position_end(position, y->shape[0]);
    if (end > positions) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: the tables cover %lld positions, but position %lld is asked for",
                            scope->op, (long long)positions, (long long)(end - 1));
    }
    return RF_OK;
}

/* Everything but y's place in the struct, which the backward does not use. */
static rf_status check_position_of(const rf_check_scope *scope, const rf_position *position,
                                   const char *y_name, const rf_tensor *y)
{
    RF_TRY(rf_check_free(scope, y_name, y, RF_CHECK_F32, 2));
    RF_TRY(rf_check_range(scope, "kind", (int64_t)position->kind, 0, RF_POSITION_SINUSOIDAL));
    RF_TRY(rf_check_range(scope, "length", position->length, 1, INT64_MAX));
    RF_TRY(rf_check_range(scope, "first_row", position->first_row, 0, INT64_MAX));
    RF_TRY(rf_check_range(scope, "offset", position->offset, 0, INT64_MAX - position->length));
    RF_TRY(rf_check_probability(scope, (double)position->probability));
    return position->kind == RF_POSITION_TABLES ? check_position_tables(scope, position, y_name, y)
                                                : RF_OK;
}

static rf_status check_position(const rf_check_scope *scope, const void *arguments)
{
    const rf_position *position = arguments;
    return check_position_of(scope, position, "y", &position->y);
}

static rf_status check_position_backward(const rf_check_scope *scope, const void *arguments)
{
    const rf_position_backward *backward = arguments;
    const rf_position *position = &backward->forward;
    RF_TRY(rf_check_range(scope, "kind", (int64_t)position->kind, 0, RF_POSITION_TABLES));
    RF_TRY(check_position_of(scope, position, "y_gradient", &backward->y_gradient));
    for (int axis = 0; axis < position->axes; axis++) {
        const rf_tensor *table = &position->tables[axis];
        RF_TRY(rf_check_like(scope, "table_gradients", &backward->table_gradients[axis], *table,
                             "tables", table));
    }
    return RF_OK;
}

/* ---- layer norm -------------------------------------------------------------------------- */

/* x and the optional x2: the same rows and type; *width is the sum of both widths. */
static rf_status check_streams(const rf_check_scope *scope, const rf_tensor *x, const rf_tensor *x2,
                               int bits, int64_t *width)
{
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_F32 | RF_CHECK_FIXED32, 2));
    RF_TRY(check_fraction_bits(scope, x->dtype, bits));
    *width = x->shape[1];
    if (!rf_tensor_is_absent(x2)) {
        RF_TRY(rf_check_free(scope, "x2", x2, RF_CHECK_F32 | RF_CHECK_FIXED32, 2));
        RF_TRY(rf_check_like(scope, "x2", x2,
                             rf_tensor_2(NULL, x->dtype, x->shape[0], x2->shape[1]), "x", x));
        *width += x2->shape[1];
    }
    return RF_OK;
}

static rf_status check_layer_norm(const rf_check_scope *scope, const void *arguments)
{
    const rf_layer_norm *norm = arguments;
    const rf_tensor *x = &norm->x;
    int64_t width = 0;
    RF_TRY(check_streams(scope, x, &norm->x2, norm->fraction_bits, &width));
    RF_TRY(rf_check_like(scope, "gain", &norm->gain, rf_tensor_1(NULL, RF_F32, width), "x", x));
    RF_TRY(rf_check_like(scope, "bias", &norm->bias, rf_tensor_1(NULL, RF_F32, width), "x", x));
    RF_TRY(rf_check_probability(scope, (double)norm->probability));
    RF_TRY(rf_check_range(scope, "first_row", norm->first_row, 0, INT64_MAX));
    return rf_check_shape(scope, "y", &norm->y, RF_CHECK_REAL,
                          rf_tensor_2(NULL, RF_F32, x->shape[0], width), "x", x);
}

static rf_status check_layer_norm_backward(const rf_check_scope *scope, const void *arguments)
{
    const rf_layer_norm_backward *back = arguments;
    const rf_tensor *x = &back->x;
    const rf_tensor *x2 = &back->x2;
    int64_t width = 0;
    RF_TRY(check_streams(scope, x, x2, back->fraction_bits, &width));
    rf_tensor columns = rf_tensor_1(NULL, RF_F32, width);
    RF_TRY(rf_check_like(scope, "gain", &back->gain, columns, "x", x));
    RF_TRY(rf_check_like(scope, "gain_gradient", &back->gain_gradient, columns, "x", x));
    RF_TRY(rf_check_like(scope, "bias_gradient", &back->bias_gradient, columns, "x", x));
    RF_TRY(rf_check_shape(scope, "y_gradient", &back->y_gradient, RF_CHECK_REAL,
                          rf_tensor_2(NULL, RF_F32, x->shape[0], width), "x", x));
    RF_TRY(rf_check_shape(scope, "x_gradient", &back->x_gradient, RF_CHECK_REAL, *x, "x", x));
    RF_TRY(rf_check_probability(scope, (double)back->probability));
    RF_TRY(rf_check_range(scope, "first_row", back->first_row, 0, INT64_MAX));
    if (!rf_tensor_is_absent(&back->y)) {
        RF_TRY(rf_check_like(scope, "bias", &back->bias, columns, "x", x));
        RF_TRY(
            rf_check_like(scope, "y", &back->y, back->y_gradient, "y_gradient", &back->y_gradient));
    }
    if (rf_tensor_is_absent(x2)) {
        return RF_OK;
    }
    return rf_check_like(scope, "x2_gradient", &back->x2_gradient,
                         as_type(x2, back->x_gradient.dtype), "x_gradient", &back->x_gradient);
}

/* ---- loss, reductions, optimizer --------------------------------------------------------- */

static rf_status check_cross_entropy(const rf_check_scope *scope, const void *arguments)
{
    const rf_cross_entropy *loss = arguments;
    const rf_tensor *logits = &loss->logits;
    RF_TRY(rf_check_free(scope, "logits", logits, RF_CHECK_F32, 2));
    int64_t rows = logits->shape[0];
    RF_TRY(rf_check_range(scope, "vocabulary", logits->shape[1], 1, INT32_MAX));
    rf_tensor integers = rf_tensor_1(NULL, RF_I32, rows);
    RF_TRY(rf_check_like(scope, "targets", &loss->targets, integers, "logits", logits));
    RF_TRY(
        rf_check_like(scope, "nll", &loss->nll, rf_tensor_1(NULL, RF_F32, rows), "logits", logits));
    RF_TRY(rf_check_optional(scope, "prediction", &loss->prediction, integers, "logits", logits));
    RF_TRY(rf_check_optional(scope, "weights", &loss->weights,
                             rf_tensor_1(NULL, RF_F32, logits->shape[1]), "logits", logits));
    RF_TRY(rf_check_probability(scope, loss->smoothing));
    if (rf_tensor_is_absent(&loss->logits_gradient)) {
        return RF_OK;
    }
    return rf_check_shape(scope, "logits_gradient", &loss->logits_gradient, RF_CHECK_REAL, *logits,
                          "logits", logits);
}

static rf_status check_value_loss(const rf_check_scope *scope, const void *arguments)
{
    const rf_value_loss *loss = arguments;
    const rf_tensor *x = &loss->x;
    RF_TRY(rf_check_range(scope, "kind", (int64_t)loss->kind, 0, RF_VALUE_LOSS_BINARY));
    RF_TRY(rf_check_probability(scope, loss->smoothing));
    if (loss->smoothing > 0.0) {
        RF_TRY(rf_check_range(scope, "kind with smoothing", (int64_t)loss->kind,
                              RF_VALUE_LOSS_BINARY, RF_VALUE_LOSS_BINARY));
    }
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_F32, 0));
    RF_TRY(rf_check_like(scope, "targets", &loss->targets, as_type(x, RF_F32), "x", x));
    RF_TRY(rf_check_like(scope, "loss", &loss->loss, as_type(x, RF_F32), "x", x));
    return rf_check_optional(scope, "x_gradient", &loss->x_gradient, as_type(x, RF_F32), "x", x);
}

static rf_status check_reduce(const rf_check_scope *scope, const void *arguments)
{
    const rf_reduce *reduce = arguments;
    const rf_tensor *x = &reduce->x;
    RF_TRY(rf_check_range(scope, "kind", (int64_t)reduce->kind, 0, RF_REDUCE_CHECKSUM));
    if (reduce->kind == RF_REDUCE_COLUMN_SUM) {
        RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_REAL, 2));
        return rf_check_like(scope, "y", &reduce->y, rf_tensor_1(NULL, RF_F32, x->shape[1]), "x",
                             x);
    }
    bool checksum = reduce->kind == RF_REDUCE_CHECKSUM;
    RF_TRY(rf_check_free(scope, "x", x,
                         checksum ? RF_CHECK_F32 | RF_CHECK_I32 | RF_CHECK_FIXED32 : RF_CHECK_F32,
                         0));
    return rf_check_like(scope, "y", &reduce->y, rf_tensor_1(NULL, checksum ? RF_I64 : RF_F64, 1),
                         "x", x);
}

static rf_status check_adamw(const rf_check_scope *scope, const void *arguments)
{
    const rf_adamw *adamw = arguments;
    const rf_tensor *value = &adamw->value;
    RF_TRY(rf_check_free(scope, "value", value, RF_CHECK_F32, 0));
    RF_TRY(rf_check_like(scope, "gradient", &adamw->gradient, *value, "value", value));
    RF_TRY(rf_check_like(scope, "first_moment", &adamw->first_moment, *value, "value", value));
    RF_TRY(rf_check_like(scope, "second_moment", &adamw->second_moment, *value, "value", value));
    RF_TRY(rf_check_optional(scope, "rounded", &adamw->rounded, as_type(value, RF_BF16), "value",
                             value));
    RF_TRY(rf_check_range(scope, "update", adamw->update, 1, INT64_MAX));
    if (!(adamw->beta1 >= 0.0 && adamw->beta1 < 1.0 && adamw->beta2 >= 0.0 && adamw->beta2 < 1.0 &&
          adamw->epsilon >= 0.0)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: beta1 %g and beta2 %g must be in [0, 1), epsilon %g at least 0",
                            scope->op, adamw->beta1, adamw->beta2, adamw->epsilon);
    }
    return RF_OK;
}

static rf_status check_adafactor_numbers(const rf_check_scope *scope, const rf_adafactor *adafactor)
{
    RF_TRY(rf_check_range(scope, "kind", (int64_t)adafactor->kind, 0, RF_ADAFACTOR_TRAX));
    RF_TRY(rf_check_range(scope, "update", adafactor->update, 1, INT64_MAX));
    if (!(adafactor->beta1 >= 0.0 && adafactor->beta1 < 1.0 && adafactor->decay > 0.0 &&
          adafactor->decay <= 1.0 && adafactor->epsilon >= 0.0 && adafactor->clip >= 0.0)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: beta1 %g must be in [0, 1), decay %g in (0, 1], epsilon %g and "
                            "clip %g at least 0",
                            scope->op, adafactor->beta1, adafactor->decay, adafactor->epsilon,
                            adafactor->clip);
    }
    return RF_OK;
}

static rf_status check_adafactor(const rf_check_scope *scope, const void *arguments)
{
    const rf_adafactor *adafactor = arguments;
    const rf_tensor *value = &adafactor->value;
    RF_TRY(rf_check_free(scope, "value", value, RF_CHECK_F32, 0));
    RF_TRY(rf_check_range(scope, "value's dimensions", value->rank, 1, 2));
    RF_TRY(rf_check_like(scope, "gradient", &adafactor->gradient, *value, "value", value));
    if (value->rank == 2) {
        rf_tensor rows = rf_tensor_1(NULL, RF_F32, value->shape[0]);
        rf_tensor columns = rf_tensor_1(NULL, RF_F32, value->shape[1]);
        RF_TRY(rf_check_like(scope, "row_moment", &adafactor->row_moment, rows, "value", value));
        RF_TRY(rf_check_like(scope, "column_moment", &adafactor->column_moment, columns, "value",
                             value));
    } else {
        RF_TRY(rf_check_like(scope, "second_moment", &adafactor->second_moment, *value, "value",
                             value));
    }
    RF_TRY(
        rf_check_optional(scope, "first_moment", &adafactor->first_moment, *value, "value", value));
    RF_TRY(rf_check_optional(scope, "rounded", &adafactor->rounded, as_type(value, RF_BF16),
                             "value", value));
    return check_adafactor_numbers(scope, adafactor);
}

/* ---- the table --------------------------------------------------------------------------- */

typedef rf_status (*rule)(const rf_check_scope *scope, const void *arguments);

static const rule rules[RF_OP_COUNT] = {
    [RF_OP_GEMM] = check_gemm,
    [RF_OP_CAST] = check_cast,
    [RF_OP_ACTIVATE] = check_activate,
    [RF_OP_ACTIVATE_BACKWARD] = check_activate_backward,
    [RF_OP_ADD] = check_add,
    [RF_OP_DROPOUT] = check_dropout,
    [RF_OP_RESIDUAL] = check_residual,
    [RF_OP_EMBEDDING] = check_embedding,
    [RF_OP_EMBEDDING_BACKWARD] = check_embedding_backward,
    [RF_OP_POSITION] = check_position,
    [RF_OP_POSITION_BACKWARD] = check_position_backward,
    [RF_OP_LAYER_NORM] = check_layer_norm,
    [RF_OP_LAYER_NORM_BACKWARD] = check_layer_norm_backward,
    [RF_OP_BUCKET_HASH] = rf_check_bucket_hash,
    [RF_OP_BUCKET_SORT] = rf_check_bucket_sort,
    [RF_OP_BLOCK_ATTENTION] = rf_check_block_attention,
    [RF_OP_BLOCK_ATTENTION_BACKWARD] = rf_check_block_attention_backward,
    [RF_OP_COMBINE_ROUNDS] = rf_check_combine_rounds,
    [RF_OP_CROSS_ENTROPY] = check_cross_entropy,
    [RF_OP_REDUCE] = check_reduce,
    [RF_OP_ADAMW] = check_adamw,
    [RF_OP_ADAFACTOR] = check_adafactor,
    [RF_OP_STEP_BEGIN] = rf_check_step_begin,
    [RF_OP_STEP_PROJECT] = rf_check_step_project,
    [RF_OP_CACHE_FILL] = rf_check_cache_fill,
    [RF_OP_LISTS_FILL] = rf_check_lists_fill,
    [RF_OP_CACHE_APPEND] = rf_check_cache_append,
    [RF_OP_CACHE_ATTEND] = rf_check_cache_attend,
    [RF_OP_SAMPLE] = rf_check_sample,
    [RF_OP_VALUE_LOSS] = check_value_loss,
    [RF_OP_PROJECT] = rf_check_project,
};

rf_status rf_op_check(rf_op op, const void *arguments, bool dry, rf_error *error)
{
    rf_check_scope scope = {.op = rf_op_name(op), .dry = dry, .error = error};
    return rules[op](&scope, arguments);
}
