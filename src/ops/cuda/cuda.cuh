/* The CUDA back end: what table.cu lists, and what its files share.
 *
 * Every operation is launched on the device's one stream and returns at once. Sums run in an order
 * that the shape alone decides: lanes of a warp pairwise, warps in order, blocks through partial
 * sums in scratch that a second kernel adds in order; never atomics on floating-point numbers.
 * Kernels that work element by element are grid-stride loops with 64-bit indices; those that sum
 * are cut by the shape, not by the number of multiprocessors. */
#ifndef RF_OPS_CUDA_CUDA_CUH
#define RF_OPS_CUDA_CUDA_CUH

#include "base/random_core.h"
#include "ops/ops.h"
#include "tensor/device_cuda.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" {

#define RF_CUDA_RUN(NAME, name)                                                                    \
    rf_status rf_cuda_##name(rf_device *device, const void *arguments, void *scratch,              \
                             rf_error *error);
RF_OPERATIONS(RF_CUDA_RUN)
#undef RF_CUDA_RUN

#define RF_CUDA_SCRATCH_SIZE(NAME, name)                                                           \
    size_t rf_cuda_##name##_scratch_size(const rf_device *device, const void *arguments);
RF_OPERATIONS(RF_CUDA_SCRATCH_SIZE)
#undef RF_CUDA_SCRATCH_SIZE
}

/* ---- host: launching
 * ----------------------------------------------------------------------------------------------------
 */

constexpr int rf_cuda_threads = 256; /* of a block, where nothing speaks for another number */
constexpr int rf_cuda_warp = 32;

/* The number of blocks of `size` that cover `count`. */
__host__ __device__ constexpr int64_t rf_cuda_blocks(int64_t count, int64_t size)
{
    return count / size + (count % size != 0 ? 1 : 0);
}

/* `offset` rounded up so that what follows in scratch is aligned as scratch is. */
__host__ __device__ constexpr size_t rf_cuda_align(size_t offset)
{
    return (offset + 255) / 256 * 256;
}

/* The device's stream; also makes the device current in the calling thread, as launches need it. */
static inline cudaStream_t rf_cuda_stream(const rf_device *device)
{
    const rf_cuda_state *state = rf_cuda_state_of(device);
    (void)cudaSetDevice(state->index);
    return state->stream;
}

/* Blocks for a grid-stride loop over `count` elements (or rows, with `threads` 1): enough to fill
 * the device several times. At least 1; a launcher returns before it launches nothing. */
static inline unsigned rf_cuda_grid(const rf_device *device, int64_t count, int64_t threads)
{
    const int64_t needed = rf_cuda_blocks(count, threads);
    const int64_t most = static_cast<int64_t>(rf_cuda_state_of(device)->multiprocessors) * 32;
    const int64_t blocks = needed < most ? needed : most;
    return static_cast<unsigned>(blocks > 1 ? blocks : 1);
}

/* To be called after the launches of an operation: notes it for messages, and reports a launch that
 * was refused. */
RF_MUST_CHECK static inline rf_status rf_cuda_launched(const rf_device *device,
                                                       const char *operation, rf_error *error)
{
    rf_cuda_state_of(device)->operation = operation;
    return rf_cuda_status(device, cudaGetLastError(), operation, error);
}

/* Data of a tensor, NULL where it is absent. */
template <typename T> static inline T *rf_cuda_data(const rf_tensor *tensor)
{
    return rf_tensor_is_absent(tensor) ? nullptr : static_cast<T *>(tensor->data);
}

/* call(number of a real tensor's type): the launch for f32 or for bf16. */
template <typename Call> static inline void rf_cuda_by_real(rf_dtype dtype, const Call &call)
{
    if (dtype == RF_BF16) {
        call(__nv_bfloat16());
    } else {
        call(float());
    }
}

/* Can quads of T (see below) be moved whole, in each row of `width` elements that starts at
 * `pointer`? NULL can. */
template <typename T> static inline bool rf_cuda_is_aligned(const T *pointer, int64_t width)
{
    return reinterpret_cast<uintptr_t>(pointer) % (4 * sizeof(T)) == 0 && width % 4 == 0;
}

/* ---- device: indices
 * -----------------------------------------------------------------------------------------------------
 */

__device__ __forceinline__ int64_t rf_cuda_first()
{
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t rf_cuda_stride()
{
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

/* ---- device: numbers
 * -----------------------------------------------------------------------------------------------------
 */

/* Storage types to f32 and back, rounded to nearest even; fixed point has `unit` =
 * 2^-fraction_bits. */
__device__ __forceinline__ float rf_cuda_load(float value, float)
{
    return value;
}
__device__ __forceinline__ float rf_cuda_load(__nv_bfloat16 value, float)
{
    return __bfloat162float(value);
}
__device__ __forceinline__ float rf_cuda_load(int32_t value, float unit)
{
    return __fmul_rn(static_cast<float>(value), unit);
}
template <typename T> __device__ __forceinline__ T rf_cuda_store(float value);
template <> __device__ __forceinline__ float rf_cuda_store<float>(float value)
{
    return value;
}
template <> __device__ __forceinline__ __nv_bfloat16 rf_cuda_store<__nv_bfloat16>(float value)
{
    return __float2bfloat16_rn(value);
}

/* Four neighbours, moved by one instruction where `aligned` says that the array starts at a
 * multiple of their size. `i` is a multiple of 4; elements from `count` on are neither read (they
 * are 0) nor written. */
template <typename T> struct alignas(4 * sizeof(T)) rf_cuda_quad {
    T v[4];
};

template <typename T>
__device__ __forceinline__ rf_cuda_quad<T> rf_cuda_load_quad(const T *x, int64_t i, int64_t count,
                                                             bool aligned)
{
    if (aligned && i + 4 <= count) {
        return *reinterpret_cast<const rf_cuda_quad<T> *>(x + i);
    }
    rf_cuda_quad<T> quad = {};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (i + j < count) {
            quad.v[j] = x[i + j];
        }
    }
    return quad;
}

template <typename T>
__device__ __forceinline__ void rf_cuda_store_quad(T *y, int64_t i, int64_t count, bool aligned,
                                                   const rf_cuda_quad<T> &quad)
{
    if (aligned && i + 4 <= count) {
        *reinterpret_cast<rf_cuda_quad<T> *>(y + i) = quad;
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (i + j < count) {
            y[i + j] = quad.v[j];
        }
    }
}

/* The same for real tensors (f32 or bf16), as floats. */
template <typename T>
__device__ __forceinline__ rf_cuda_quad<float> rf_cuda_load_reals(const T *x, int64_t i,
                                                                  int64_t count, bool aligned)
{
    const rf_cuda_quad<T> stored = rf_cuda_load_quad(x, i, count, aligned);
    rf_cuda_quad<float> quad;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        quad.v[j] = rf_cuda_load(stored.v[j], 1.0F);
    }
    return quad;
}

template <typename T>
__device__ __forceinline__ void rf_cuda_store_reals(T *y, int64_t i, int64_t count, bool aligned,
                                                    const rf_cuda_quad<float> &quad)
{
    rf_cuda_quad<T> stored;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        stored.v[j] = rf_cuda_store<T>(quad.v[j]);
    }
    rf_cuda_store_quad(y, i, count, aligned, stored);
}

/* The same, giving the floats that were stored. */
template <typename T>
__device__ __forceinline__ rf_cuda_quad<float>
rf_cuda_store_rounded(T *y, int64_t i, int64_t count, bool aligned, rf_cuda_quad<float> quad)
{
    rf_cuda_quad<T> stored;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        stored.v[j] = rf_cuda_store<T>(quad.v[j]);
        quad.v[j] = rf_cuda_load(stored.v[j], 1.0F);
    }
    rf_cuda_store_quad(y, i, count, aligned, stored);
    return quad;
}

/* 2^-bits for fixed point, 1 for other types. */
static inline float rf_cuda_unit(rf_dtype dtype, int fraction_bits)
{
    return dtype == RF_FIXED32 ? 1.0F / static_cast<float>(static_cast<int64_t>(1) << fraction_bits)
                               : 1.0F;
}

/* ---- device: randomness
 * ---------------------------------------------------------------------------------------------------
 */

/* rf_random_uniform(key, index) >= probability, given keep_from = rf_core_keep_from(probability).
 */
__device__ __forceinline__ bool rf_cuda_keeps(const rf_random_key &key, uint64_t index,
                                              uint32_t keep_from)
{
    return (rf_core_random_bits(&key, index) >> 8) >= keep_from;
}

/* rf_random_normal(key, index), the same bits. */
__device__ __forceinline__ float rf_cuda_normal(const rf_random_key &key, uint64_t index)
{
    return rf_core_normal_from_bits(rf_core_random_bits(&key, index));
}

/* ---- device: reductions in fixed order
 * -------------------------------------------------------------------------------------- */

/* Every lane gets the sum, the same bits in each: in every exchange both partners add the same two
 * numbers. All lanes of the warp (or of its aligned parts of `Lanes` lanes) call. */
template <int Lanes = rf_cuda_warp, typename T>
__device__ __forceinline__ T rf_cuda_warp_sum(T value)
{
#pragma unroll
    for (int distance = Lanes / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
    }
    return value;
}

template <int Lanes = rf_cuda_warp, typename T>
__device__ __forceinline__ T rf_cuda_warp_max(T value)
{
#pragma unroll
    for (int distance = Lanes / 2; distance > 0; distance /= 2) {
        const T other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

/* Every thread of a block of `Threads` gets the sum: warps first, then the warps' sums in order.
 * shared [Threads / 32], which may be used again at once. All threads call. */
template <int Threads, typename T>
__device__ __forceinline__ T rf_cuda_block_sum(T value, T *shared)
{
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    value = rf_cuda_warp_sum(value);
    __syncthreads(); /* the call before may still be read */
    if (lane == 0) {
        shared[warp] = value;
    }
    __syncthreads();
    T total = shared[0];
    for (int i = 1; i < Threads / rf_cuda_warp; i++) {
        total += shared[i];
    }
    return total;
}

/* The same for the greatest. */
template <int Threads, typename T>
__device__ __forceinline__ T rf_cuda_block_max(T value, T *shared)
{
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    value = rf_cuda_warp_max(value);
    __syncthreads();
    if (lane == 0) {
        shared[warp] = value;
    }
    __syncthreads();
    T greatest = shared[0];
    for (int i = 1; i < Threads / rf_cuda_warp; i++) {
        greatest = shared[i] > greatest ? shared[i] : greatest;
    }
    return greatest;
}

#endif
