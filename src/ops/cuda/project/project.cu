/* Norm, products, dropout and residual: one kernel where it can be (fast.cu), else one after the
 * other. */
#include "ops/cuda/project/fast.cuh"
#include "ops/project.h"

/* What the parts need, always: a plan is made without pointers, and it is they that may be in the
 * way of the one kernel. */
size_t rf_cuda_project_scratch_size(const rf_device *device, const void *arguments)
{
    return rf_project_in_parts_scratch_size(device, arguments);
}

rf_status rf_cuda_project(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_project *project = static_cast<const rf_project *>(arguments);
    if (rf_fast_takes_project(device, project)) {
        return rf_fast_project(device, project, error);
    }
    return rf_project_in_parts(device, arguments, scratch, error);
}
