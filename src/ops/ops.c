/* Calling an operation: check, take scratch, run on the device's back end. Also the views that
 * gemm's operands are. */
#include "ops/ops.h"

#include "base/clock.h"
#include "ops/check.h"

static const char *const names[RF_OP_COUNT] = {
#define RF_OP_NAME(NAME, name) [RF_OP_##NAME] = #name,
    RF_OPERATIONS(RF_OP_NAME)
#undef RF_OP_NAME
};

const char *rf_op_name(rf_op op)
{
    return (unsigned)op < RF_OP_COUNT ? names[op] : "unknown operation";
}

int64_t rf_hash_columns(rf_hash_kind kind, const int64_t *factors, int count)
{
    int64_t columns = 0;
    for (int i = 0; i < count; i++) {
        columns += kind == RF_HASH_ANGULAR ? factors[i] / 2 : 0;
        for (int64_t n = factors[i]; kind == RF_HASH_HYPERPLANE && n > 1; n /= 2) {
            columns++;
        }
    }
    return columns;
}

static rf_status run_timed(rf_context *context, rf_op op, const void *arguments, void *scratch,
                           rf_error *error)
{
    rf_op_times *times = context->times;
    rf_device *device = context->device;
    if (times == NULL) {
        return device->ops[op].run(device, arguments, scratch, error);
    }
    RF_TRY(rf_device_sync(device, error));
    double start = rf_clock_seconds();
    RF_TRY(device->ops[op].run(device, arguments, scratch, error));
    RF_TRY(rf_device_sync(device, error));
    times->seconds[op] += rf_clock_seconds() - start;
    return RF_OK;
}

static rf_status run_with_scratch(rf_context *context, rf_op op, const void *arguments,
                                  rf_error *error)
{
    const rf_op_entry *entry = &context->device->ops[op];
    size_t mark = rf_workspace_mark(context->workspace);
    rf_tensor scratch = {0};
    rf_status status = RF_OK;
    size_t size = entry->scratch_size != NULL ? entry->scratch_size(context->device, arguments) : 0;
    if (size > 0) {
        RF_TRY_DONE(rf_workspace_take_1(context->workspace, names[op], RF_U8, (int64_t)size,
                                        &scratch, error));
    }
    if (context->times != NULL) {
        context->times->calls[op]++;
        context->times->flops[op] += rf_op_flops(op, arguments);
        context->times->bytes[op] += rf_op_bytes(op, arguments);
    }
    if (!context->device->dry) {
        RF_TRY_DONE(run_timed(context, op, arguments, scratch.data, error));
    }
done:
    rf_workspace_release(context->workspace, mark);
    return status;
}

rf_status rf_op_run(rf_context *context, rf_op op, const void *arguments, rf_error *error)
{
    const rf_device *device = context->device;
    if ((unsigned)op >= RF_OP_COUNT || device->ops == NULL || device->ops[op].run == NULL) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED, "%s: not available on device %s",
                            rf_op_name(op), device->table->name);
    }
    RF_TRY(rf_op_check(op, arguments, device->dry, error));
    return run_with_scratch(context, op, arguments, error);
}

rf_status rf_op_run_alone(rf_device *device, rf_op op, const void *arguments, rf_error *error)
{
    rf_device dry = *device;
    rf_workspace workspace;
    rf_status status = RF_OK;
    dry.dry = true;
    rf_workspace_init(&workspace, &dry);
    RF_TRY(rf_op_run(&(rf_context){.device = &dry, .workspace = &workspace}, op, arguments, error));
    size_t size = workspace.high;
    rf_workspace_init(&workspace, device);
    if (size > 0) {
        RF_TRY(rf_workspace_allocate(&workspace, size, error));
    }
    rf_context context = {.device = device, .workspace = &workspace};
    RF_TRY_DONE(rf_op_run(&context, op, arguments, error));
    RF_TRY_DONE(rf_device_sync(device, error));
done:
    if (workspace.memory != NULL) {
        rf_workspace_clear(&workspace);
    }
    return status;
}

rf_matrix rf_matrix_of(const rf_tensor *tensor)
{
    RF_ASSERT(tensor->rank >= 1);
    int64_t rows = 1;
    for (int axis = 0; axis < tensor->rank - 1; axis++) {
        rows *= tensor->shape[axis];
    }
    int64_t columns = tensor->shape[tensor->rank - 1];
    return (rf_matrix){.data = tensor->data,
                       .dtype = tensor->dtype,
                       .rows = rows,
                       .columns = columns,
                       .leading = columns};
}

rf_matrix rf_matrix_columns(const rf_matrix *matrix, int64_t first, int64_t count)
{
    RF_ASSERT(first >= 0 && count >= 0 && first + count <= matrix->columns);
    rf_matrix view = *matrix;
    view.columns = count;
    if (matrix->data != NULL) {
        view.data = (char *)matrix->data + (size_t)first * rf_dtype_size(matrix->dtype);
    }
    return view;
}
