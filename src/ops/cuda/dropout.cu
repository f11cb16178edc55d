/* Dropout (Srivastava et al. 2014) as a function of a key: the mask is drawn again where it is
 * needed and never stored. A thread takes the four elements of one block of the generator, ten
 * rounds of Philox; one read and one write of memory. */
#include "ops/cuda/cuda.cuh"

namespace
{

/* x, y [count], y may be x; element i has random number origin + i. Block b of the generator covers
 * elements 4 b - skip ... + 3, with skip = origin mod 4. */
template <typename T, typename Y>
__global__ void dropout_kernel(const T *x, Y *y, int64_t count, uint64_t origin, rf_random_key key,
                               uint32_t keep_from, float scale)
{
    const int64_t skip = static_cast<int64_t>(origin % 4);
    for (int64_t b = rf_cuda_first(); 4 * b - skip < count; b += rf_cuda_stride()) {
        uint32_t bits[4];
        rf_core_random_block(
            &key, origin - static_cast<uint64_t>(skip) + 4 * static_cast<uint64_t>(b), bits);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int64_t i = 4 * b - skip + j;
            if (i >= 0 && i < count) {
                const float kept = rf_cuda_load(x[i], 1.0F) * scale;
                y[i] = rf_cuda_store<Y>((bits[j] >> 8) >= keep_from ? kept : 0.0F);
            }
        }
    }
}

/* The usual case: skip is 0 and everything is aligned. Two quads of a thread are on their way at
 * once. */
template <typename T, typename Y>
__global__ void dropout_quads_kernel(const T *x, Y *y, int64_t count, uint64_t origin,
                                     rf_random_key key, uint32_t keep_from, float scale)
{
    const int64_t apart = 4 * rf_cuda_stride();
    for (int64_t first = 4 * rf_cuda_first(); first < count; first += 2 * apart) {
        rf_cuda_quad<float> quads[2];
#pragma unroll
        for (int q = 0; q < 2; q++) {
            quads[q] = rf_cuda_load_reals(x, first + q * apart, count, true);
        }
#pragma unroll
        for (int q = 0; q < 2; q++) {
            const int64_t i = first + q * apart;
            uint32_t bits[4];
            rf_core_random_block(&key, origin + static_cast<uint64_t>(i), bits);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float kept = quads[q].v[j] * scale;
                quads[q].v[j] = (bits[j] >> 8) >= keep_from ? kept : 0.0F;
            }
            rf_cuda_store_reals(y, i, count, true, quads[q]);
        }
    }
}

/* probability is above 0. */
template <typename T, typename Y> void launch(const rf_device *device, const rf_dropout *dropout)
{
    const int64_t count = rf_tensor_count(&dropout->x);
    const T *x = rf_cuda_data<const T>(&dropout->x);
    Y *y = rf_cuda_data<Y>(&dropout->y);
    const uint64_t origin = static_cast<uint64_t>(dropout->first_row * dropout->x.shape[1]);
    const uint32_t keep_from = rf_core_keep_from(dropout->probability);
    const float scale = 1.0F / (1.0F - dropout->probability);
    const bool aligned = origin % 4 == 0 && rf_cuda_is_aligned(x, 4) && rf_cuda_is_aligned(y, 4);
    const unsigned grid = rf_cuda_grid(device, count + 3, 4 * rf_cuda_threads);
    (aligned ? dropout_quads_kernel<T, Y>
             : dropout_kernel<T, Y>)<<<grid, rf_cuda_threads, 0, rf_cuda_stream(device)>>>(
        x, y, count, origin, dropout->key, keep_from, scale);
}

} // namespace

rf_status rf_cuda_dropout(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_dropout *dropout = static_cast<const rf_dropout *>(arguments);
    const int64_t count = rf_tensor_count(&dropout->x);
    const void *x = dropout->x.data;
    void *y = dropout->y.data;
    if (count == 0 || (dropout->probability == 0.0F && x == y)) {
        return RF_OK;
    }
    if (dropout->probability == 0.0F && dropout->x.dtype == dropout->y.dtype) {
        const size_t size = rf_tensor_size(&dropout->x);
        return rf_cuda_status(
            device, cudaMemcpyAsync(y, x, size, cudaMemcpyDeviceToDevice, rf_cuda_stream(device)),
            "dropout", error);
    }
    rf_cuda_by_real(dropout->x.dtype, [&](auto from) {
        rf_cuda_by_real(dropout->y.dtype,
                        [&](auto to) { launch<decltype(from), decltype(to)>(device, dropout); });
    });
    return rf_cuda_launched(device, "dropout", error);
}
