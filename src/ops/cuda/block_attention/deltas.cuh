/* What the gradient of each score is lowered by: output gradient . output, of bf16 rows. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_DELTAS_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_DELTAS_CUH

#include "ops/cuda/block_attention/tile.cuh"

#include <cuda_bf16.h>

/* deltas = output gradient . output; one warp a row.
 *   output, output_gradient [batch, length, heads, width], deltas [batch, heads, length] */
static __global__ void rf_fast_find_deltas(const rf_attention_cut cut,
                                           const __nv_bfloat16 *__restrict__ output,
                                           const __nv_bfloat16 *__restrict__ output_gradient,
                                           float *__restrict__ deltas)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t rows = cut.batch * cut.length * cut.heads;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < rows;
         row += rf_cuda_stride() / rf_cuda_warp) {
        float sum = 0.0F;
        for (int column = 2 * lane; column < cut.width; column += 2 * rf_cuda_warp) {
            const int64_t at = row * cut.width + column;
            const uint32_t gradient = *reinterpret_cast<const uint32_t *>(output_gradient + at);
            const uint32_t value = *reinterpret_cast<const uint32_t *>(output + at);
            sum += __uint_as_float(gradient << 16) * __uint_as_float(value << 16);
            sum += __uint_as_float(gradient & 0xFFFF0000U) * __uint_as_float(value & 0xFFFF0000U);
        }
        sum = rf_cuda_warp_sum(sum);
        if (lane == 0) {
            const int64_t batch = row / cut.heads / cut.length;
            deltas[(batch * cut.heads + row % cut.heads) * cut.length +
                   row / cut.heads % cut.length] = sum;
        }
    }
}

#endif
