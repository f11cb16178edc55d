/* The layer norm of one stream whose rows fit the registers of a warp, which plain.cu hands on to.
 */
#ifndef RF_OPS_CUDA_LAYER_NORM_FAST_CUH
#define RF_OPS_CUDA_LAYER_NORM_FAST_CUH

#include "ops/cuda/column_sum.cuh"

/* Can the fast kernels take this call? */
bool rf_fast_takes_norm(const rf_device *device, const rf_layer_norm *norm);
bool rf_fast_takes_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm);
void rf_fast_norm(const rf_device *device, const rf_layer_norm *norm);
void rf_fast_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm,
                           float *scratch);
size_t rf_fast_norm_backward_scratch_size(const rf_layer_norm_backward *norm);

#endif
