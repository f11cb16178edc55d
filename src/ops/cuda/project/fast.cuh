/* rf_project where the input's rows fit shared memory, which project.cu hands on to. */
#ifndef RF_OPS_CUDA_PROJECT_FAST_CUH
#define RF_OPS_CUDA_PROJECT_FAST_CUH

#include "ops/cuda/cuda.cuh"

/* Can the fast kernels take this call? It is the shapes, types and pointers that decide, not the
 * number of rows. */
bool rf_fast_takes_project(const rf_device *device, const rf_project *project);
RF_MUST_CHECK rf_status rf_fast_project(const rf_device *device, const rf_project *project,
                                        rf_error *error);

#endif
