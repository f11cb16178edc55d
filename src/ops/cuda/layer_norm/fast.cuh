/* The layer norm of one stream whose rows fit the registers of a warp, which plain.cu hands on to.
 */
#ifndef RF_OPS_CUDA_LAYER_NORM_FAST_CUH
#define RF_OPS_CUDA_LAYER_NORM_FAST_CUH

#include "ops/cuda/column_sum.cuh"
#include "ops/cuda/residual.cuh"

/* The mask of a norm's dropout, or of its backward's. */
template <typename Norm>
static inline rf_cuda_dropout_call rf_norm_dropout(const Norm *norm, const rf_tensor *y)
{
    return rf_cuda_dropout_of(norm->probability, norm->key, norm->first_row, y->shape[1]);
}

/* Dropout of four neighbours, the first of them element i, as rf_dropout has it of numbers stored
 * as Y: rounded before and after. Without a dropout the scale is 0. Whole: i and the mask's origin
 * are multiples of 4. */
template <typename Y, bool Whole = false>
static __device__ __forceinline__ void rf_norm_drop(rf_cuda_quad<float> &values, int64_t i,
                                                    const rf_cuda_dropout_call &dropout)
{
    if (dropout.scale == 0.0F) {
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        values.v[j] = rf_cuda_load(rf_cuda_store<Y>(values.v[j]), 1.0F);
    }
    if (Whole) {
        uint32_t bits[4];
        rf_cuda_random_block(dropout, (dropout.origin + static_cast<uint64_t>(i)) / 4, bits);
        rf_cuda_mask(values, bits, dropout);
    } else {
        rf_cuda_drop(values, i, dropout);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        values.v[j] = rf_cuda_load(rf_cuda_store<Y>(values.v[j]), 1.0F);
    }
}

/* Can the fast kernels take this call? */
bool rf_fast_takes_norm(const rf_device *device, const rf_layer_norm *norm);
bool rf_fast_takes_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm);
void rf_fast_norm(const rf_device *device, const rf_layer_norm *norm);
void rf_fast_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm,
                           float *scratch);
size_t rf_fast_norm_backward_scratch_size(const rf_layer_norm_backward *norm);

#endif
