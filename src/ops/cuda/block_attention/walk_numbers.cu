/* The numbers of each token and head that the backward of block attention needs for a pair
 * (walk.cuh): its normaliser, output . output gradient, what a rule's score weighs, and what makes
 * a key of a query. Memory traffic: 4 x width bytes a token and head, 6 x width where queries make
 * keys. */
#include "ops/cuda/block_attention/walk.cuh"

namespace
{

/* sum of the eight products of two pieces of 16 bytes. */
__device__ __forceinline__ float dot(uint4 a, uint4 b)
{
    const uint32_t x[4] = {a.x, a.y, a.z, a.w};
    const uint32_t y[4] = {b.x, b.y, b.z, b.w};
    float sum = 0.0F;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum += __uint_as_float(x[i] << 16) * __uint_as_float(y[i] << 16);
        sum += __uint_as_float(x[i] & 0xFFFF0000U) * __uint_as_float(y[i] & 0xFFFF0000U);
    }
    return sum;
}

/* The numbers of each token and head; `Lanes` threads a row, each 16 bytes of it. */
template <int Lanes>
__global__ void find_numbers(const rf_attention_cut cut, const __nv_bfloat16 *__restrict__ query,
                             const __nv_bfloat16 *__restrict__ output,
                             const __nv_bfloat16 *__restrict__ output_gradient,
                             const float *__restrict__ norms, rf_walk_numbers *__restrict__ numbers)
{
    const int64_t rows = cut.batch * cut.length * cut.heads;
    const int column = static_cast<int>(threadIdx.x) % Lanes * 8;
    const bool is_there = column < cut.width;
    const int64_t first = (rf_cuda_first() - threadIdx.x) / Lanes; /* the thread block's rows */
    for (int64_t start = first; start < rows; start += rf_cuda_stride() / Lanes) {
        const int64_t row = start + threadIdx.x / Lanes;
        const int64_t at = row * cut.width + column;
        float delta = 0.0F;
        float squares = 0.0F;
        if (is_there && row < rows) {
            delta = dot(*reinterpret_cast<const uint4 *>(output + at),
                        *reinterpret_cast<const uint4 *>(output_gradient + at));
            if (cut.normalise) {
                const uint4 eight = *reinterpret_cast<const uint4 *>(query + at);
                squares = dot(eight, eight);
            }
        }
        delta = rf_cuda_warp_sum<Lanes>(delta);
        squares = rf_cuda_warp_sum<Lanes>(squares);
        if (column == 0 && row < rows) {
            const int64_t batch = row / cut.heads / cut.length;
            const int64_t to =
                (batch * cut.heads + row % cut.heads) * cut.length + row / cut.heads % cut.length;
            const float width = static_cast<float>(cut.width);
            const float norm = norms[to];
            const float factor =
                cut.normalise ? 1.0F / sqrtf(squares / width + 1e-6F) / sqrtf(width) : 1.0F;
            numbers[to] = {-norm * rf_mma_log2_e, delta, rf_paper_set_weight(cut, norm), factor};
        }
    }
}

} // namespace

void rf_walk_find_numbers(rf_device *device, const rf_block_attention_backward *backward,
                          const rf_attention_cut *cut, rf_walk_numbers *numbers)
{
    const cudaStream_t stream = rf_cuda_stream(device);
    const __nv_bfloat16 *query = static_cast<const __nv_bfloat16 *>(backward->query.data);
    const __nv_bfloat16 *output = static_cast<const __nv_bfloat16 *>(backward->output.data);
    const __nv_bfloat16 *gradient =
        static_cast<const __nv_bfloat16 *>(backward->output_gradient.data);
    const float *norms = static_cast<const float *>(backward->norm.data);
    const int64_t rows = cut->batch * cut->length * cut->heads;
    if (cut->width <= 64) {
        find_numbers<8>
            <<<rf_cuda_grid(device, rows * 8, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
                *cut, query, output, gradient, norms, numbers);
    } else {
        find_numbers<16>
            <<<rf_cuda_grid(device, rows * 16, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
                *cut, query, output, gradient, norms, numbers);
    }
}
