/* The best of five products c = a b^T of square matrices: 8192 on a GPU, 1024 on a CPU. */
#include "tools/peak.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"

enum { CPU_SIDE = 1024, GPU_SIDE = 8192, REPEATS = 5, PATTERN = 1 << 20 };

static rf_status measure(rf_context *context, rf_tensor matrices[3], double *best, rf_error *error)
{
    const rf_gemm gemm = {.a = rf_matrix_of(&matrices[0]),
                          .b = rf_matrix_of(&matrices[1]),
                          .c = rf_matrix_of(&matrices[2]),
                          .transpose_b = true};
    const double flops = rf_op_flops(RF_OP_GEMM, &gemm);
    *best = 0.0;
    for (int i = 0; i <= REPEATS; i++) { /* the first is not timed: it chooses an algorithm */
        RF_TRY(rf_device_sync(context->device, error));
        double start = rf_clock_seconds();
        RF_TRY(rf_op_gemm(context, &gemm, error));
        RF_TRY(rf_device_sync(context->device, error));
        double speed = flops / (rf_clock_seconds() - start);
        *best = i > 0 && speed > *best ? speed : *best;
    }
    return RF_OK;
}

static rf_status take(rf_workspace *workspace, rf_dtype dtype, rf_tensor matrices[3],
                      rf_error *error)
{
    const int64_t side = workspace->device->table->host_readable ? CPU_SIDE : GPU_SIDE;
    for (int i = 0; i < 3; i++) {
        RF_TRY(rf_workspace_take_2(workspace, "a matrix to measure with", dtype, side, side,
                                   &matrices[i], error));
    }
    return RF_OK;
}

/* Uniform numbers, since a processor that multiplies zeros runs cooler and faster; the same ones
 * over and over. */
static rf_status fill(rf_device *device, const rf_tensor matrices[2], rf_error *error)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    const size_t size = PATTERN * rf_dtype_size(matrices[0].dtype);
    rf_status status = RF_OK;
    void *memory = NULL;
    RF_TRY(rf_allocate(PATTERN * sizeof(float), "random numbers", &memory, error));
    for (uint64_t i = 0; i < PATTERN; i++) {
        float number = rf_random_uniform(&key, i) - 0.5F;
        if (matrices[0].dtype == RF_BF16) {
            ((uint16_t *)memory)[i] = rf_f32_to_bf16(number);
        } else {
            ((float *)memory)[i] = number;
        }
    }
    for (int m = 0; m < 2; m++) {
        for (size_t at = 0; at < rf_tensor_size(&matrices[m]); at += size) {
            RF_TRY_DONE(
                rf_device_upload(device, (char *)matrices[m].data + at, memory, size, error));
        }
    }
done:
    rf_release(memory);
    return status;
}

/* A dry run of both tells how much they take. */
static rf_status size_of(rf_device *device, rf_dtype dtype, size_t *size, rf_error *error)
{
    rf_device dry = *device;
    rf_workspace workspace;
    rf_tensor matrices[3];
    double speed = 0.0;
    dry.dry = true;
    rf_workspace_init(&workspace, &dry);
    rf_context context = {.device = &dry, .workspace = &workspace};
    RF_TRY(take(&workspace, dtype, matrices, error));
    RF_TRY(measure(&context, matrices, &speed, error));
    *size = workspace.high;
    return RF_OK;
}

rf_status rf_measure_matrix_peak(rf_device *device, rf_dtype dtype, double *flops_per_second,
                                 rf_error *error)
{
    rf_workspace workspace;
    rf_tensor matrices[3];
    rf_status status = RF_OK;
    size_t size = 0;
    RF_TRY(size_of(device, dtype, &size, error));
    rf_workspace_init(&workspace, device);
    RF_TRY(rf_workspace_allocate(&workspace, size, error));
    rf_context context = {.device = device, .workspace = &workspace};
    RF_TRY_DONE(take(&workspace, dtype, matrices, error));
    RF_TRY_DONE(fill(device, matrices, error));
    RF_TRY_DONE(measure(&context, matrices, flops_per_second, error));
done:
    rf_workspace_clear(&workspace);
    return status;
}
