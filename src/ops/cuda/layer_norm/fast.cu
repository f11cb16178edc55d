/* Layer normalisation (Ba, Kiros, Hinton 2016) of one stream, or of two side by side, of up to 1024
 * columns in all: a warp a row, which stays in registers, a lane four neighbours of every 128
 * columns.
 *
 * Forward: one read of x, one write of y. Backward: one read of x, of y_gradient and of x_gradient,
 * one write of x_gradient, and of y where it is wanted again; a block takes a chunk of rows, keeps
 * the chunk's sums of the gradients of gain and bias in registers, a lane its own columns, and
 * leaves them in scratch for column_sum.cuh's second kernel. */
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
    const T *x[2]; /* [rows, split], [rows, width - split] */
    int64_t rows;
    int width, split; /* one stream: split is the width */
    float unit, epsilon;
    const float *gain, *bias;     /* [width] */
    Y *y;                         /* [rows, width]; backward: or NULL */
    const Y *y_gradient;          /* [rows, width] */
    X *x_gradient[2];             /* as x */
    bool write;                   /* x_gradient, instead of adding to it */
    int64_t chunk;                /* rows of a block, backward */
    float *partial;               /* [chunks, 2, width] */
    rf_cuda_dropout_call dropout; /* of y */
};

/* This lane's first column of quad q. */
__device__ __forceinline__ int column_of(int q)
{
    return 4 * (static_cast<int>(threadIdx.x) % rf_cuda_warp) + columns_of_quads * q;
}

/* A row of one array, or the places of one in both streams. */
template <typename T> struct one_row {
    T *row;
    __device__ __forceinline__ T *at(int column) const
    {
        return row + column;
    }
};

/* `second` is where column 0 would stand if its columns went on before `split`. */
template <typename T> struct two_rows {
    T *first, *second;
    int split;
    __device__ __forceinline__ T *at(int column) const
    {
        return (column < split ? first : second) + column;
    }
};

template <bool Two, typename T, typename Call>
__device__ __forceinline__ auto stream_row(T *const (&streams)[2], const Call &call, int64_t row)
{
    if constexpr (Two) {
        const int64_t second = row * (call.width - call.split) - call.split;
        return two_rows<T>{streams[0] + row * call.split, streams[1] + second, call.split};
    } else {
        return one_row<T>{streams[0] + row * call.width};
    }
}

/* A row's part of this lane; 0 beyond the width. */
template <int Quads, typename Row>
__device__ __forceinline__ void load_row(const Row &row, int width, float unit,
                                         float (&values)[Quads][4])
{
    typedef std::remove_cv_t<std::remove_pointer_t<decltype(row.at(0))>> number;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = column_of(q);
        rf_cuda_quad<number> quad = {};
        if (c < width) {
            quad = *reinterpret_cast<const rf_cuda_quad<number> *>(row.at(c));
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

/* Columns c ... c + 3 of y's row from the normalised x. */
template <typename Call>
__device__ __forceinline__ void write_quad(const Call &call, int64_t row, int c,
                                           const float (&x)[4])
{
    const rf_cuda_quad<float> gain = rf_cuda_load_quad(call.gain, c, call.width, true);
    const rf_cuda_quad<float> bias = rf_cuda_load_quad(call.bias, c, call.width, true);
    rf_cuda_quad<float> out;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        out.v[j] = x[j] * gain.v[j] + bias.v[j];
    }
    typedef std::remove_pointer_t<decltype(call.y)> number;
    rf_norm_drop<number, true>(out, row * call.width + c, call.dropout);
    rf_cuda_store_reals(call.y + row * call.width, c, call.width, true, out);
}

template <typename T, typename Y, int Quads, bool Two>
__global__ void forward_kernel(const norm_call<T, Y, float> call)
{
    const int64_t row = rf_cuda_first() / rf_cuda_warp;
    if (row >= call.rows) {
        return;
    }
    float x[Quads][4];
    load_row(stream_row<Two>(call.x, call, row), call.width, call.unit, x);
    (void)normalise(x, call.width, call.epsilon);
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = column_of(q);
        if (c < call.width) {
            write_quad(call, row, c, x[q]);
        }
    }
}

/* ---- backward: Warps warps a row, so that all that a row needs is asked for at once and two
 * blocks find room on a multiprocessor ---- */

constexpr int backward_quads = 4; /* of a lane, at most */
constexpr int few_quads =
    2; /* the same where there are two streams, y is written or y has a dropout */

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

template <int Quads, int Warps, typename Row>
__device__ __forceinline__ void load_part(const Row &row, int width, float unit, bool is_there,
                                          float (&values)[Quads][4])
{
    typedef std::remove_cv_t<std::remove_pointer_t<decltype(row.at(0))>> number;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        const int c = row_place<Quads, Warps>::column(q);
        rf_cuda_quad<number> quad = {};
        if (is_there && c < width) {
            quad = *reinterpret_cast<const rf_cuda_quad<number> *>(row.at(c));
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            values[q][j] = rf_cuda_load(quad.v[j], unit);
        }
    }
}

/* y_gradient's part, before dropout. */
template <int Quads, int Warps, typename Call>
__device__ __forceinline__ void drop_part(const Call &call, int64_t row, float (&values)[Quads][4])
{
    typedef std::remove_pointer_t<decltype(call.y)> number;
    if (call.dropout.scale == 0.0F) {
        return;
    }
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        rf_cuda_quad<float> quad = {values[q][0], values[q][1], values[q][2], values[q][3]};
        const int c = row_place<Quads, Warps>::column(q);
        rf_norm_drop<number, true>(quad, row * call.width + c, call.dropout);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            values[q][j] = quad.v[j]; /* 0 stays 0: also beyond the row and the rows */
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

template <typename T, typename Y, typename X, int Quads, int Warps, bool Two>
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
        const auto to = stream_row<Two>(call.x_gradient, call, row);
        const one_row<const Y> from = {call.y_gradient + row * width};
        load_part<Quads, Warps>(stream_row<Two>(call.x, call, row), width, call.unit, is_there, x);
        load_part<Quads, Warps>(from, width, 1.0F, is_there, upper);
        load_part<Quads, Warps>(to, width, 1.0F, is_there && !call.write, sum);
        load_part<Quads, Warps>(one_row<const float>{call.gain}, width, 1.0F, true, gain);
        if (Quads <= few_quads) {
            drop_part<Quads, Warps>(call, row, upper);
        }
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
                rf_cuda_store_reals(to.at(c), 0, 4, true, out);
            }
        }
        if (Quads <= few_quads && call.y != nullptr) {
#pragma unroll
            for (int q = 0; q < Quads; q++) {
                const int c = place::column(q);
                if (is_there && c < width) {
                    write_quad(call, row, c, x[q]);
                }
            }
        }
    }
    float *partial = call.partial + 2 * static_cast<int64_t>(blockIdx.x) * width;
    add_rows<Quads, Warps>(gain_sums, width, partial);
    add_rows<Quads, Warps>(bias_sums, width, partial + width);
}

/* ---- launching ---- */

/* Few enough chunks for the second kernel, enough blocks to fill a device. */
rf_cuda_column_cut cut_of(const rf_layer_norm_backward *norm)
{
    return rf_cuda_cut_columns(norm->y_gradient.shape[0], norm->y_gradient.shape[1], 512,
                               4 * warps);
}

template <typename T, typename Y, int Quads>
void forward(const rf_device *device, const rf_layer_norm *norm)
{
    norm_call<T, Y, float> call = {};
    call.x[0] = rf_cuda_data<const T>(&norm->x);
    call.x[1] = rf_cuda_data<const T>(&norm->x2);
    call.rows = norm->y.shape[0];
    call.width = static_cast<int>(norm->y.shape[1]);
    call.split = static_cast<int>(norm->x.shape[1]);
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.bias = rf_cuda_data<const float>(&norm->bias);
    call.y = rf_cuda_data<Y>(&norm->y);
    call.dropout = rf_norm_dropout(norm, &norm->y);
    const auto kernel = call.split < call.width ? forward_kernel<T, Y, Quads, true>
                                                : forward_kernel<T, Y, Quads, false>;
    kernel<<<static_cast<unsigned>(rf_cuda_blocks(call.rows, warps)), rf_cuda_threads, 0,
             rf_cuda_stream(device)>>>(call);
}

template <typename T, typename Y, typename X, int Quads>
void backward(const rf_device *device, const rf_layer_norm_backward *norm, float *scratch)
{
    const rf_cuda_column_cut cut = cut_of(norm);
    const cudaStream_t stream = rf_cuda_stream(device);
    norm_call<T, Y, X> call = {};
    call.x[0] = rf_cuda_data<const T>(&norm->x);
    call.x[1] = rf_cuda_data<const T>(&norm->x2);
    call.rows = cut.rows;
    call.width = static_cast<int>(cut.width);
    call.split = static_cast<int>(norm->x.shape[1]);
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.y_gradient = rf_cuda_data<const Y>(&norm->y_gradient);
    call.bias = rf_cuda_data<const float>(&norm->bias);
    call.y = rf_cuda_data<Y>(&norm->y);
    call.x_gradient[0] = rf_cuda_data<X>(&norm->x_gradient);
    call.x_gradient[1] = rf_cuda_data<X>(&norm->x2_gradient);
    call.write = norm->write;
    call.chunk = cut.chunk;
    call.partial = scratch;
    call.dropout = rf_norm_dropout(norm, &norm->y_gradient);
    constexpr int usual = Quads > backward_quads ? Quads / backward_quads : 1; /* warps a row */
    constexpr int more = Quads > few_quads ? Quads / few_quads : 1;
    const auto kernel = call.split < call.width ? backward_kernel<T, Y, X, Quads / more, more, true>
                        : call.y != nullptr || norm->probability > 0.0F
                            ? backward_kernel<T, Y, X, Quads / more, more, false>
                            : backward_kernel<T, Y, X, Quads / usual, usual, false>;
    kernel<<<static_cast<unsigned>(cut.chunks), rf_cuda_threads, 0, stream>>>(call);
    float *const results[2] = {rf_cuda_data<float>(&norm->gain_gradient),
                               rf_cuda_data<float>(&norm->bias_gradient)};
    rf_cuda_finish_columns<2>(stream, cut, scratch, results);
}

/* call(a number of T, a value whose type says Quads) */
template <typename Call> void by_width(rf_dtype dtype, int64_t width, const Call &call)
{
    const bool fixed = dtype == RF_FIXED32;
    const auto choose = [&](auto number) {
        if (width <= columns_of_quads) {
            call(number, std::integral_constant<int, 1>());
        } else if (width <= 2 * columns_of_quads) {
            call(number, std::integral_constant<int, 2>());
        } else if (width <= 4 * columns_of_quads) {
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

/* Rows of whole quads. */
bool is_whole(const rf_tensor *tensor)
{
    const size_t quad = 4 * rf_dtype_size(tensor->dtype);
    return rf_tensor_is_absent(tensor) || (reinterpret_cast<uintptr_t>(tensor->data) % quad == 0 &&
                                           tensor->shape[tensor->rank - 1] % 4 == 0);
}

bool takes(const rf_device *device, int64_t width, std::initializer_list<const rf_tensor *> tensors)
{
    bool takes = !device->plain_kernels && width <= int64_t{most_quads} * columns_of_quads;
    for (const rf_tensor *tensor : tensors) {
        takes = takes && is_whole(tensor);
    }
    return takes;
}

} // namespace

bool rf_fast_takes_norm(const rf_device *device, const rf_layer_norm *norm)
{
    return takes(device, norm->y.shape[1],
                 {&norm->x, &norm->x2, &norm->gain, &norm->bias, &norm->y});
}

bool rf_fast_takes_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm)
{
    return takes(device, norm->y_gradient.shape[1],
                 {&norm->x, &norm->x2, &norm->gain, &norm->bias, &norm->y_gradient,
                  &norm->x_gradient, &norm->x2_gradient, &norm->y});
}

void rf_fast_norm(const rf_device *device, const rf_layer_norm *norm)
{
    by_width(norm->x.dtype, norm->y.shape[1], [&](auto number, auto quads) {
        rf_cuda_by_real(norm->y.dtype, [&](auto real) {
            forward<decltype(number), decltype(real), decltype(quads)::value>(device, norm);
        });
    });
}

size_t rf_fast_norm_backward_scratch_size(const rf_layer_norm_backward *norm)
{
    return rf_cuda_column_scratch(cut_of(norm), 2);
}

void rf_fast_norm_backward(const rf_device *device, const rf_layer_norm_backward *norm,
                           float *scratch)
{
    by_width(norm->x.dtype, norm->y_gradient.shape[1], [&](auto number, auto quads) {
        rf_cuda_by_real(norm->y_gradient.dtype, [&](auto upper) {
            rf_cuda_by_real(norm->x_gradient.dtype, [&](auto lower) {
                backward<decltype(number), decltype(upper), decltype(lower),
                         decltype(quads)::value>(device, norm, scratch);
            });
        });
    });
}
