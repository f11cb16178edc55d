/* Sums. Scalars: blocks of 8192 numbers give partial sums in double (the checksum: integers modulo
 * 2^64) in scratch, which one block adds in order. Column sums: column_sum.cuh. One read of memory.
 */
#include "ops/cuda/column_sum.cuh"

namespace
{

constexpr int64_t chunk_size = 8192;

struct sum_of_numbers {
    typedef float input;
    typedef double output;
    static __device__ __forceinline__ double term(float x, int64_t)
    {
        return static_cast<double>(x);
    }
};

struct sum_of_squares {
    typedef float input;
    typedef double output;
    static __device__ __forceinline__ double term(float x, int64_t)
    {
        return static_cast<double>(x) * static_cast<double>(x);
    }
};

struct checksum {
    typedef uint32_t input;
    typedef unsigned long long output;
    static __device__ __forceinline__ unsigned long long term(uint32_t word, int64_t i)
    {
        return static_cast<unsigned long long>(word) *
               (2ULL * static_cast<unsigned long long>(i) + 1ULL);
    }
};

/* Block b: numbers [b, b + 1) * chunk_size of x [count] into partial[b]. */
template <typename Kind>
__global__ void partial_kernel(const typename Kind::input *__restrict__ x, int64_t count,
                               typename Kind::output *__restrict__ partial)
{
    __shared__ typename Kind::output shared[rf_cuda_threads / rf_cuda_warp];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * chunk_size;
    const int64_t end = first + chunk_size < count ? first + chunk_size : count;
    typename Kind::output sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += rf_cuda_threads) {
        sum += Kind::term(x[i], i);
    }
    sum = rf_cuda_block_sum<rf_cuda_threads>(sum, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

/* One block; partial [chunks], y [1]. */
template <typename Sum>
__global__ void finish_kernel(const Sum *__restrict__ partial, int64_t chunks, Sum *__restrict__ y)
{
    __shared__ Sum shared[rf_cuda_threads / rf_cuda_warp];
    Sum sum = 0;
    for (int64_t i = threadIdx.x; i < chunks; i += rf_cuda_threads) {
        sum += partial[i];
    }
    sum = rf_cuda_block_sum<rf_cuda_threads>(sum, shared);
    if (threadIdx.x == 0) {
        y[0] = sum;
    }
}

template <typename Kind>
void scalar(const rf_device *device, const rf_reduce *reduce, void *scratch)
{
    typedef typename Kind::output sum;
    const int64_t count = rf_tensor_count(&reduce->x);
    const int64_t chunks = rf_cuda_blocks(count, chunk_size);
    const cudaStream_t stream = rf_cuda_stream(device);
    sum *partial = static_cast<sum *>(scratch);
    if (chunks > 0) {
        partial_kernel<Kind><<<static_cast<unsigned>(chunks), rf_cuda_threads, 0, stream>>>(
            rf_cuda_data<const typename Kind::input>(&reduce->x), count, partial);
    }
    finish_kernel<sum>
        <<<1, rf_cuda_threads, 0, stream>>>(partial, chunks, rf_cuda_data<sum>(&reduce->y));
}

template <typename T> struct matrix_terms {
    const T *x; /* [rows, width] */
    int64_t width;
    __device__ __forceinline__ void operator()(int64_t row, int64_t column,
                                               float (&values)[1]) const
    {
        values[0] = rf_cuda_load(x[row * width + column], 1.0F);
    }
};

void columns(const rf_device *device, const rf_reduce *reduce, void *scratch)
{
    const rf_cuda_column_cut cut = rf_cuda_cut_columns(reduce->x.shape[0], reduce->x.shape[1]);
    float *const results[1] = {rf_cuda_data<float>(&reduce->y)};
    rf_cuda_by_real(reduce->x.dtype, [&](auto number) {
        typedef decltype(number) real;
        const matrix_terms<real> terms = {rf_cuda_data<const real>(&reduce->x), cut.width};
        rf_cuda_add_columns<1>(rf_cuda_stream(device), terms, cut, static_cast<float *>(scratch),
                               results);
    });
}

} // namespace

size_t rf_cuda_reduce_scratch_size(const rf_device *, const void *arguments)
{
    const rf_reduce *reduce = static_cast<const rf_reduce *>(arguments);
    if (reduce->kind == RF_REDUCE_COLUMN_SUM) {
        return rf_cuda_column_scratch(rf_cuda_cut_columns(reduce->x.shape[0], reduce->x.shape[1]),
                                      1);
    }
    return static_cast<size_t>(rf_cuda_blocks(rf_tensor_count(&reduce->x), chunk_size)) *
           sizeof(double);
}

rf_status rf_cuda_reduce(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_reduce *reduce = static_cast<const rf_reduce *>(arguments);
    switch (reduce->kind) {
    case RF_REDUCE_SUM:
        scalar<sum_of_numbers>(device, reduce, scratch);
        break;
    case RF_REDUCE_SUM_SQUARES:
        scalar<sum_of_squares>(device, reduce, scratch);
        break;
    case RF_REDUCE_CHECKSUM:
        scalar<checksum>(device, reduce, scratch);
        break;
    default:
        columns(device, reduce, scratch);
        break;
    }
    return rf_cuda_launched(device, "reduce", error);
}
