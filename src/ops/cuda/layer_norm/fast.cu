/* Layer normalisation (Ba, Kiros, Hinton 2016) of one stream of up to 1024 columns: a warp a row,
 * which stays in registers, a lane four neighbours of every 128 columns.
 *
 * Forward: one read of x, one write of y. Backward: one read of x, of y_gradient and of x_gradient,
 * one write of x_gradient; a block takes a chunk of rows, keeps the chunk's sums of the gradients
 * of gain and bias in registers, a lane its own columns, and leaves them in scratch for
 * column_sum.cuh's second kernel. */
#include "ops/cuda/layer_norm/fast.cuh"

#include <initializer_list>
#include <type_traits>

namespace
{

constexpr int columns_of_quads = 4 * rf_cuda_warp;
constexpr int most_quads = 8;
constexpr int warps = rf_cuda_threads / rf_cuda_warp;

/* T: float, or int32_t with unit = 2^-fraction_bits; Y: y's type, or y_gradient's; X: x_gradient's.
 */
template <typename T, typename Y, typename X> struct norm_call {
    const T *x; /* [rows, width] */
    int64_t rows;
    int width;
    float unit, epsilon;
    const float *gain, *bias; /* [width] */
    Y *y;                     /* [rows, width] */
    const Y *y_gradient;      /* [rows, width] */
    X *x_gradient;            /* [rows, width] */
    bool write;               /* x_gradient, instead of adding to it */
    int64_t chunk;            /* rows of a block, backward */
    float *partial;           /* [chunks, 2, width] */
};

/* This lane's first column of quad q. */
__device__ __forceinline__ int column_of(int q)
{
    return 4 * (static_cast<int>(threadIdx.x) % rf_cuda_warp) + columns_of_quads * q;
}

/* A row's part of this lane; 0 beyond the width. */
template <int Quads, typename T>
__device__ __forceinline__ void load_row(const T *row, int width, float unit,
                                         float (&values)[Quads][4])
{
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = column_of(q);
        rf_cuda_quad<T> quad = {};
        if (c < width) {
            quad = *reinterpret_cast<const rf_cuda_quad<T> *>(row + c);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            values[q][j] = rf_cuda_load(quad.v[j], unit);
        }
    }
}

/* x becomes (x - mean) / deviation; gives 1 / deviation. Beyond the width it stays 0. */
template <int Quads>
__device__ __forceinline__ float normalise(float (&x)[Quads][4], int width, float epsilon)
{
    const float count = static_cast<float>(width);
    float sum = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        sum += (x[q][0] + x[q][1]) + (x[q][2] + x[q][3]);
    }
    const float mean = rf_cuda_warp_sum(sum) / count;
    float squares = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const bool inside = column_of(q) < width;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] = inside ? x[q][j] - mean : 0.0F;
            squares += x[q][j] * x[q][j];
        }
    }
    const float inverse = 1.0F / sqrtf(rf_cuda_warp_sum(squares) / count + epsilon);
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] *= inverse;
        }
    }
    return inverse;
}

template <typename T, typename Y, int Quads>
__global__ void forward_kernel(const norm_call<T, Y, float> call)
{
    const int64_t row = rf_cuda_first() / rf_cuda_warp;
    if (row >= call.rows) {
        return;
    }
    float x[Quads][4];
    load_row(call.x + row * call.width, call.width, call.unit, x);
    (void)normalise(x, call.width, call.epsilon);
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = column_of(q);
        if (c < call.width) {
            const rf_cuda_quad<float> gain = rf_cuda_load_quad(call.gain, c, call.width, true);
            const rf_cuda_quad<float> bias = rf_cuda_load_quad(call.bias, c, call.width, true);
            rf_cuda_quad<float> out;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                out.v[j] = x[q][j] * gain.v[j] + bias.v[j];
            }
            rf_cuda_store_reals(call.y + row * call.width, c, call.width, true, out);
        }
    }
}

/* ---- backward: Warps warps a row, so that all that a row needs is asked for at once and two
 * blocks find room on a multiprocessor ---- */

constexpr int backward_quads = 4; /* of a lane, at most */

/* A lane's place: its row within the block's, and its first column of quad q. */
template <int Quads, int Warps> struct row_place {
    static constexpr int rows = warps / Warps; /* of a block, at a time */
    static __device__ __forceinline__ int row()
    {
        return static_cast<int>(threadIdx.x) / rf_cuda_warp / Warps;
    }
    static __device__ __forceinline__ int column(int q)
    {
        const int part = static_cast<int>(threadIdx.x) / rf_cuda_warp % Warps;
        return column_of(q) + part * Quads * columns_of_quads;
    }
};

template <int Quads, int Warps, typename T>
__device__ __forceinline__ void load_part(const T *row, int width, float unit, bool is_there,
                                          float (&values)[Quads][4])
{
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = row_place<Quads, Warps>::column(q);
        rf_cuda_quad<T> quad = {};
        if (is_there && c < width) {
            quad = *reinterpret_cast<const rf_cuda_quad<T> *>(row + c);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            values[q][j] = rf_cuda_load(quad.v[j], unit);
        }
    }
}

/* The sum over a row's warps, in order; shared [warps] is not used again before another barrier. */
template <int Warps> __device__ __forceinline__ float row_sum(float value, float *shared)
{
    value = rf_cuda_warp_sum(value);
    if (Warps == 1) {
        return value;
    }
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    if (threadIdx.x % rf_cuda_warp == 0) {
        shared[warp] = value;
    }
    __syncthreads();
    float total = shared[warp / Warps * Warps];
#pragma unroll
    for (int i = 1; i < Warps; i++) {
        total += shared[warp / Warps * Warps + i];
    }
    return total;
}

/* x becomes (x - mean) / deviation; gives 1 / deviation. Beyond the width it stays 0. */
template <int Quads, int Warps>
__device__ __forceinline__ float normalise_part(float (&x)[Quads][4], int width, float epsilon,
                                                float (*shared)[warps])
{
    const float count = static_cast<float>(width);
    float sum = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        sum += (x[q][0] + x[q][1]) + (x[q][2] + x[q][3]);
    }
    const float mean = row_sum<Warps>(sum, shared[0]) / count;
    float squares = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const bool inside = row_place<Quads, Warps>::column(q) < width;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] = inside ? x[q][j] - mean : 0.0F;
            squares += x[q][j] * x[q][j];
        }
    }
    const float inverse = 1.0F / sqrtf(row_sum<Warps>(squares, shared[1]) / count + epsilon);
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] *= inverse;
        }
    }
    return inverse;
}

/* before += inverse * (g - mean(g) - x * mean(g x)) with g = gain * upper and x normalised; g is
 * written over `gain`. */
template <int Quads, int Warps>
__device__ __forceinline__ void
differentiate(const float (&x)[Quads][4], const float (&upper)[Quads][4], float (&gain)[Quads][4],
              float inverse, int width, float (*shared)[warps], float (&before)[Quads][4])
{
    float sum = 0.0F;
    float product = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            /* Rounded before the mean is taken off, as the mean's own terms are: see plain.cu. */
            gain[q][j] = __fmul_rn(gain[q][j], upper[q][j]);
            sum += gain[q][j];
            product += gain[q][j] * x[q][j];
        }
    }
    const float count = static_cast<float>(width);
    const float mean = row_sum<Warps>(sum, shared[2]) / count;
    const float mean_product = row_sum<Warps>(product, shared[3]) / count;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            before[q][j] += inverse * (gain[q][j] - mean - x[q][j] * mean_product);
        }
    }
}

/* The sums of the block's rows at a time added in order, [width] to `to`. */
template <int Quads, int Warps>
__device__ __forceinline__ void add_rows(const float (&sums)[Quads][4], int width, float *to)
{
    __shared__ float shared[columns_of_quads * Quads * Warps];
    typedef row_place<Quads, Warps> place;
    for (int turn = 0; turn < place::rows; turn++) {
        if (place::row() == turn) {
#pragma unroll
            for (int q = 0; q < Quads; q++) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const int c = place::column(q) + j;
                    shared[c] = turn == 0 ? sums[q][j] : shared[c] + sums[q][j];
                }
            }
        }
        __syncthreads();
    }
    for (int c = static_cast<int>(threadIdx.x); c < width; c += rf_cuda_threads) {
        to[c] = shared[c];
    }
    __syncthreads(); /* it will be used again */
}

template <typename T, typename Y, typename X, int Quads, int Warps>
__global__ void __launch_bounds__(rf_cuda_threads, 2) backward_kernel(const norm_call<T, Y, X> call)
{
    __shared__ float shared[4][warps];
    typedef row_place<Quads, Warps> place;
    const int width = call.width;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * call.chunk;
    const int64_t end = first + call.chunk < call.rows ? first + call.chunk : call.rows;
    float gain_sums[Quads][4] = {};
    float bias_sums[Quads][4] = {};
    for (int64_t base = first; base < end; base += place::rows) { /* every thread of the block */
        const int64_t row = base + place::row();
        const bool is_there = row < end;
        float x[Quads][4];
        float upper[Quads][4];
        float gain[Quads][4];
        float sum[Quads][4]; /* x_gradient */
        load_part<Quads, Warps>(call.x + row * width, width, call.unit, is_there, x);
        load_part<Quads, Warps>(call.y_gradient + row * width, width, 1.0F, is_there, upper);
        load_part<Quads, Warps>(call.x_gradient + row * width, width, 1.0F, is_there && !call.write,
                                sum);
        load_part<Quads, Warps>(call.gain, width, 1.0F, true, gain);
        const float inverse = normalise_part<Quads, Warps>(x, width, call.epsilon, shared);
#pragma unroll
        for (int q = 0; q < Quads; q++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                gain_sums[q][j] += upper[q][j] * x[q][j];
                bias_sums[q][j] += upper[q][j];
            }
        }
        differentiate<Quads, Warps>(x, upper, gain, inverse, width, shared, sum);
#pragma unroll
        for (int q = 0; q < Quads; q++) {
            const int c = place::column(q);
            if (is_there && c < width) {
                const rf_cuda_quad<float> out = {sum[q][0], sum[q][1], sum[q][2], sum[q][3]};
                rf_cuda_store_reals(call.x_gradient + row * width, c, width, true, out);
            }
        }
    }
    float *partial = call.partial + 2 * static_cast<int64_t>(blockIdx.x) * width;
    add_rows<Quads, Warps>(gain_sums, width, partial);
    add_rows<Quads, Warps>(bias_sums, width, partial + width);
}

/* ---- launching ---- */

/* Few enough chunks for the second kernel, enough blocks to fill a device. */
rf_cuda_column_cut cut_rows(int64_t rows, int64_t width)
{
    const int64_t most_chunks = 512;
    const int64_t least_rows = 4 * warps;
    int64_t chunk = rf_cuda_blocks(rows, most_chunks);
    chunk = chunk > least_rows ? chunk : least_rows;
    return {rows, width, chunk, rf_cuda_blocks(rows, chunk)};
}

template <typename T, typename Y, int Quads>
void forward(const rf_device *device, const rf_layer_norm *norm)
{
    norm_call<T, Y, float> call = {};
    call.x = rf_cuda_data<const T>(&norm->x);
    call.rows = norm->y.shape[0];
    call.width = static_cast<int>(norm->y.shape[1]);
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.bias = rf_cuda_data<const float>(&norm->bias);
    call.y = rf_cuda_data<Y>(&norm->y);
    forward_kernel<T, Y, Quads><<<static_cast<unsigned>(rf_cuda_blocks(call.rows, warps)),
                                  rf_cuda_threads, 0, rf_cuda_stream(device)>>>(call);
}

template <typename T, typename Y, typename X, int Quads>
void backward(const rf_device *device, const rf_layer_norm_backward *norm, float *scratch)
{
    const rf_cuda_column_cut cut = cut_rows(norm->x.shape[0], norm->x.shape[1]);
    const cudaStream_t stream = rf_cuda_stream(device);
    norm_call<T, Y, X> call = {};
    call.x = rf_cuda_data<const T>(&norm->x);
    call.rows = cut.rows;
    call.width = static_cast<int>(cut.width);
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.y_gradient = rf_cuda_data<const Y>(&norm->y_gradient);
    call.x_gradient = rf_cuda_data<X>(&norm->x_gradient);
    call.write = norm->write;
    call.chunk = cut.chunk;
    call.partial = scratch;
    constexpr int row_warps = Quads > backward_quads ? Quads / backward_quads : 1;
    backward_kernel<T, Y, X, Quads / row_warps, row_warps>
        <<<static_cast<unsigned>(cut.chunks), rf_cuda_threads, 0, stream>>>(call);
    float *const results[2] = {rf_cuda_data<float>(&norm->gain_gradient),
                               rf_cuda_data<float>(&norm->bias_gradient)};
    rf_cuda_finish_columns<2>(stream, cut, scratch, results);
}

/* call(a number of T, a value whose type says Quads) */
template <typename Call> void by_width(const rf_tensor *x, const Call &call)
{
    const bool fixed = x->dtype == RF_FIXED32;
    const auto choose = [&](auto number) {
        if (x->shape[1] <= columns_of_quads) {
            call(number, std::integral_constant<int, 1>());
        } else if (x->shape[1] <= 2 * columns_of_quads) {
            call(number, std::integral_constant<int, 2>());
        } else if (x->shape[1] <= 4 * columns_of_quads) {
            call(number, std::integral_constant<int, 4>());
        } else {
            call(number, std::integral_constant<int, most_quads>());
        }
    };
    if (fixed) {
        choose(int32_t());
    } else {
        choose(float());
    }
}

bool is_whole(const rf_tensor *tensor, int64_t width)
{
    const size_t quad = 4 * rf_dtype_size(tensor->dtype);
    return rf_tensor_is_absent(tensor) ||
           (reinterpret_cast<uintptr_t>(tensor->data) % quad == 0 && width % 4 == 0);
}

bool takes(const rf_device *device, const rf_tensor *x, const rf_tensor *x2)
{
    const bool is_one = rf_tensor_is_absent(x2) || x2->shape[1] == 0;
    return !device->plain_kernels && is_one &&
           x->shape[1] <= static_cast<int64_t>(most_quads) * columns_of_quads;
}

} // namespace

bool rf_fast_takes_norm(const rf_device *device, const rf_layer_norm *norm)
{
    bool whole = takes(device, &norm->x, &norm->x2);
    for (const rf_tensor *tensor : {&norm->x, &norm->gain, &norm->bias, &norm->y}) {
        whole = whole && is_whole(tensor, norm->x.shape[1]);
    }
    return whole;
}

bool rf_fast_takes_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm)
{
    bool whole = takes(device, &norm->x, &norm->x2);
    for (const rf_tensor *tensor : {&norm->x, &norm->gain, &norm->y_gradient, &norm->x_gradient}) {
        whole = whole && is_whole(tensor, norm->x.shape[1]);
    }
    return whole;
}

void rf_fast_norm(const rf_device *device, const rf_layer_norm *norm)
{
    by_width(&norm->x, [&](auto number, auto quads) {
        rf_cuda_by_real(norm->y.dtype, [&](auto real) {
            forward<decltype(number), decltype(real), decltype(quads)::value>(device, norm);
        });
    });
}

size_t rf_fast_norm_backward_scratch_size(const rf_layer_norm_backward *norm)
{
    return rf_cuda_column_scratch(cut_rows(norm->x.shape[0], norm->x.shape[1]), 2);
}

void rf_fast_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm,
                           float *scratch)
{
    by_width(&norm->x, [&](auto number, auto quads) {
        rf_cuda_by_real(norm->y_gradient.dtype, [&](auto upper) {
            rf_cuda_by_real(norm->x_gradient.dtype, [&](auto lower) {
                backward<decltype(number), decltype(upper), decltype(lower),
                         decltype(quads)::value>(device, norm, scratch);
            });
        });
    });
}
