/* Dropout (Srivastava et al. 2014) as a function of a key: the mask is drawn again where it is
 * needed and never stored. A thread takes four neighbours, where rows are whole quads the four of
 * one block of the generator, ten rounds of Philox; one read and one write of memory, in which
 * column sums of what is written can be taken too. */
#include "ops/cuda/column_sum.cuh"
#include "ops/cuda/residual.cuh"

namespace
{

/* x, y [count], y may be x, of other type if it is not. Without Drops everything is kept. Two quads
 * of a thread are on their way at once. */
template <bool Drops, typename T, typename Y>
__global__ void dropout_kernel(const T *x, Y *y, int64_t count,
                               const __grid_constant__ rf_cuda_dropout_call dropout, bool aligned)
{
    const int64_t apart = 4 * rf_cuda_stride();
    for (int64_t first = 4 * rf_cuda_first(); first < count; first += 2 * apart) {
        rf_cuda_quad<float> quads[2];
#pragma unroll
        for (int q = 0; q < 2; q++) {
            quads[q] = rf_cuda_load_reals(x, first + q * apart, count, aligned);
        }
#pragma unroll
        for (int q = 0; q < 2; q++) {
            const int64_t i = first + q * apart;
            if (Drops) {
                rf_cuda_drop(quads[q], i, dropout);
            }
            rf_cuda_store_reals(y, i, count, aligned, quads[q]);
        }
    }
}

/* The same over rows of `width`, for column_sum.cuh. */
template <bool Drops, typename T, typename Y> struct dropout_pass {
    const T *x; /* [rows, width] */
    Y *y;       /* [rows, width], may be x */
    int64_t width;
    bool aligned;
    rf_cuda_dropout_call dropout;

    typedef rf_cuda_quad<T> input;

    __device__ __forceinline__ input load(int64_t row, int64_t column) const
    {
        return rf_cuda_load_quad(x + row * width, column, width, aligned);
    }

    __device__ __forceinline__ rf_cuda_quad<float> write(const input &in, int64_t row,
                                                         int64_t column) const
    {
        rf_cuda_quad<float> out;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            out.v[j] = rf_cuda_load(in.v[j], 1.0F);
        }
        if (Drops) {
            rf_cuda_drop(out, row * width + column, dropout);
        }
        return rf_cuda_store_rounded(y + row * width, column, width, aligned, out);
    }
};

template <bool Drops, typename T, typename Y>
void launch(const rf_device *device, const rf_dropout *call, void *scratch)
{
    const int64_t count = rf_tensor_count(&call->x);
    const int64_t width = call->x.shape[1];
    const T *x = rf_cuda_data<const T>(&call->x);
    Y *y = rf_cuda_data<Y>(&call->y);
    const rf_cuda_dropout_call dropout =
        rf_cuda_dropout_of(call->probability, call->key, call->first_row, width);
    const bool aligned = rf_cuda_is_aligned(x, 4) && rf_cuda_is_aligned(y, 4);
    const cudaStream_t stream = rf_cuda_stream(device);
    if (!rf_tensor_is_absent(&call->bias_gradient)) {
        const dropout_pass<Drops, T, Y> pass = {x, y, width, aligned && width % 4 == 0, dropout};
        rf_cuda_write_and_sum(stream, pass, &call->y, &call->bias_gradient, scratch);
        return;
    }
    dropout_kernel<Drops, T, Y>
        <<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
            x, y, count, dropout, aligned);
}

} // namespace

size_t rf_cuda_dropout_scratch_size(const rf_device *, const void *arguments)
{
    const rf_dropout *dropout = static_cast<const rf_dropout *>(arguments);
    return rf_cuda_written_scratch(&dropout->y, &dropout->bias_gradient);
}

rf_status rf_cuda_dropout(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_dropout *dropout = static_cast<const rf_dropout *>(arguments);
    const void *x = dropout->x.data;
    void *y = dropout->y.data;
    const bool drops = dropout->probability > 0.0F;
    const bool sums = !rf_tensor_is_absent(&dropout->bias_gradient);
    if (rf_tensor_count(&dropout->x) == 0 || (!drops && !sums && x == y)) {
        return RF_OK;
    }
    if (!drops && !sums && dropout->x.dtype == dropout->y.dtype) {
        const size_t size = rf_tensor_size(&dropout->x);
        return rf_cuda_status(
            device, cudaMemcpyAsync(y, x, size, cudaMemcpyDeviceToDevice, rf_cuda_stream(device)),
            "dropout", error);
    }
    rf_cuda_by_real(dropout->x.dtype, [&](auto from) {
        rf_cuda_by_real(dropout->y.dtype, [&](auto to) {
            typedef decltype(from) in;
            typedef decltype(to) out;
            (drops ? launch<true, in, out> : launch<false, in, out>)(device, dropout, scratch);
        });
    });
    return rf_cuda_launched(device, "dropout", error);
}
