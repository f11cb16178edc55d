/* The stack of a step's temporaries: a high-water mark while measuring, a bump pointer after. No
 * allocation in a step. */
#include "tensor/workspace.h"

enum { ALIGNMENT = 256 };

void rf_workspace_init(rf_workspace *workspace, rf_device *device)
{
    *workspace = (rf_workspace){.device = device};
}

rf_status rf_workspace_allocate(rf_workspace *workspace, size_t capacity, rf_error *error)
{
    rf_device *device = workspace->device;
    RF_ASSERT(!device->dry && workspace->memory == NULL);
    RF_TRY(device->table->allocate(device, capacity, "the workspace of a step", &workspace->memory,
                                   error));
    workspace->capacity = capacity;
    workspace->used = 0;
    workspace->high = 0;
    return RF_OK;
}

void rf_workspace_clear(rf_workspace *workspace)
{
    if (workspace->memory != NULL) {
        workspace->device->table->release(workspace->device, workspace->memory);
    }
    *workspace = (rf_workspace){.device = workspace->device};
}

size_t rf_workspace_mark(const rf_workspace *workspace)
{
    return workspace->used;
}

void rf_workspace_release(rf_workspace *workspace, size_t mark)
{
    RF_ASSERT(mark <= workspace->used);
    workspace->used = mark;
}

/* Bytes of the tensor, rounded up; RF_ERR_MEMORY where that leaves size_t. */
static rf_status padded_size(const rf_tensor *tensor, const char *what, size_t *size,
                             rf_error *error)
{
    uint64_t bytes = rf_dtype_size(tensor->dtype);
    for (int i = 0; i < tensor->rank; i++) {
        uint64_t extent = (uint64_t)tensor->shape[i];
        RF_ASSERT(tensor->shape[i] >= 0);
        if (extent != 0 && bytes > (uint64_t)(INT64_MAX - ALIGNMENT) / extent) {
            char text[256];
            return rf_error_set(error, RF_ERR_MEMORY, "%s: %s is more than any memory holds", what,
                                rf_tensor_describe(tensor, text, sizeof text));
        }
        bytes *= extent;
    }
    *size = (size_t)((bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return RF_OK;
}

rf_status rf_workspace_take(rf_workspace *workspace, const char *what, rf_dtype dtype, int rank,
                            const int64_t *shape, rf_tensor *tensor, rf_error *error)
{
    RF_ASSERT(rank >= 0 && rank <= RF_MAX_RANK);
    rf_tensor taken = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) {
        taken.shape[i] = shape[i];
    }
    *tensor = (rf_tensor){0};
    size_t size = 0;
    RF_TRY(padded_size(&taken, what, &size, error));
    if (size > SIZE_MAX / 2 - workspace->used) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: the plan is more than any memory holds",
                            what);
    }
    if (!workspace->device->dry) {
        if (workspace->memory == NULL || size > workspace->capacity - workspace->used) {
            return rf_error_set(error, RF_ERR_MEMORY,
                                "%s: %zu bytes wanted, %zu of %zu in use; the step does not follow "
                                "its plan, which is a fault of this library, please report it",
                                what, size, workspace->used, workspace->capacity);
        }
        taken.data = (char *)workspace->memory + workspace->used;
    }
    workspace->used += size;
    if (workspace->used > workspace->high) {
        workspace->high = workspace->used;
    }
    *tensor = taken;
    return RF_OK;
}

rf_status rf_workspace_take_1(rf_workspace *workspace, const char *what, rf_dtype dtype, int64_t a,
                              rf_tensor *tensor, rf_error *error)
{
    const int64_t shape[] = {a};
    return rf_workspace_take(workspace, what, dtype, 1, shape, tensor, error);
}

rf_status rf_workspace_take_2(rf_workspace *workspace, const char *what, rf_dtype dtype, int64_t a,
                              int64_t b, rf_tensor *tensor, rf_error *error)
{
    const int64_t shape[] = {a, b};
    return rf_workspace_take(workspace, what, dtype, 2, shape, tensor, error);
}
