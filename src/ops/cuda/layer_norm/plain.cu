/* Layer normalisation (Ba, Kiros, Hinton 2016) of one stream, or of two side by side, of any width
 * (fast.cu has the usual case): a warp a row, a lane four neighbours at a time. A row is read from
 * memory once (three times from cache) and written once; the backward recomputes mean and deviation
 * instead of storing them between the passes.
 *
 * Backward: the same warps write x_gradient and each row's moments to scratch [rows, 2]; then
 * gradients of gain and bias are column sums (column_sum.cuh), which read x and y_gradient again.
 */
#include "ops/cuda/layer_norm/fast.cuh"

namespace
{

/* One stream, or its part of a row, with what stands beside it. T: float, or int32_t with unit =
 * 2^-fraction_bits; Y: y's type, or y_gradient's; X: x_gradient's. */
template <typename T, typename X> struct stream_part {
    const T *x; /* [rows, width] */
    int64_t width;
    int64_t origin; /* of its columns in gain, bias, y */
    X *x_gradient;
};

template <typename T, typename Y, typename X> struct norm_call {
    stream_part<T, X> parts[2]; /* the second has width 0 where there is one stream */
    int64_t rows, width;        /* of y */
    float unit, epsilon;
    const float *gain, *bias; /* [width] */
    const Y *y_gradient;      /* [rows, width] */
    Y *y;                     /* [rows, width] */
    float *moments;           /* [rows, 2] */
    bool write;               /* x_gradient, instead of adding to it */
    bool aligned;
    rf_cuda_dropout_call dropout; /* of y */
};

/* mean, and 1 / sqrt(variance + epsilon) */
struct moments {
    float mean, inverse;
};

/* Calls visit(part, column in the part, the column's quad of x as floats) for this lane's columns
 * of the row. Values beyond the part are 0; `inside` tells how many of the four count. */
template <typename T, typename Y, typename X, typename Visit>
__device__ __forceinline__ void each_quad(const norm_call<T, Y, X> &call, int64_t row, Visit visit)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int p = 0; p < 2; p++) {
        const stream_part<T, X> &part = call.parts[p];
        for (int64_t c = 4 * lane; c < part.width; c += 4 * rf_cuda_warp) {
            const rf_cuda_quad<T> quad =
                rf_cuda_load_quad(part.x + row * part.width, c, part.width, call.aligned);
            const int inside = static_cast<int>(part.width - c < 4 ? part.width - c : 4);
            float values[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                values[j] = rf_cuda_load(quad.v[j], call.unit);
            }
            visit(part, c, values, inside);
        }
    }
}

template <typename T, typename Y, typename X>
__device__ __forceinline__ moments moments_of(const norm_call<T, Y, X> &call, int64_t row)
{
    const float count = static_cast<float>(call.width);
    float sum = 0.0F;
    each_quad(call, row, [&](const stream_part<T, X> &, int64_t, const float *values, int) {
        sum += (values[0] + values[1]) + (values[2] + values[3]);
    });
    const float mean = rf_cuda_warp_sum(sum) / count;
    float squares = 0.0F;
    each_quad(call, row, [&](const stream_part<T, X> &, int64_t, const float *values, int inside) {
        for (int j = 0; j < 4; j++) {
            const float centred = j < inside ? values[j] - mean : 0.0F;
            squares += centred * centred;
        }
    });
    const float variance = rf_cuda_warp_sum(squares) / count;
    return {mean, 1.0F / sqrtf(variance + call.epsilon)};
}

template <typename T, typename Y> __global__ void forward_kernel(const norm_call<T, Y, float> call)
{
    const int64_t warps = rf_cuda_stride() / rf_cuda_warp;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < call.rows; row += warps) {
        const moments m = moments_of(call, row);
        each_quad(call, row,
                  [&](const stream_part<T, float> &part, int64_t c, const float *values, int) {
                      const rf_cuda_quad<float> gain =
                          rf_cuda_load_quad(call.gain + part.origin, c, part.width, call.aligned);
                      const rf_cuda_quad<float> bias =
                          rf_cuda_load_quad(call.bias + part.origin, c, part.width, call.aligned);
                      rf_cuda_quad<float> out;
                      for (int j = 0; j < 4; j++) {
                          out.v[j] = (values[j] - m.mean) * m.inverse * gain.v[j] + bias.v[j];
                      }
                      const int64_t at = row * call.width + part.origin;
                      rf_norm_drop<Y>(out, at + c, call.dropout);
                      rf_cuda_store_reals(call.y + at, c, part.width, call.aligned, out);
                  });
    }
}

/* Column c ... c + 3 of a part of y_gradient's row, before dropout. */
template <typename T, typename Y, typename X>
__device__ __forceinline__ rf_cuda_quad<float>
upper_quad(const norm_call<T, Y, X> &call, int64_t row, const stream_part<T, X> &part, int64_t c)
{
    const int64_t at = row * call.width + part.origin;
    rf_cuda_quad<float> upper =
        rf_cuda_load_reals(call.y_gradient + at, c, part.width, call.aligned);
    rf_norm_drop<Y>(upper, at + c, call.dropout);
    return upper;
}

/* With x' the normalised x and g = gain * y_gradient: x_gradient = inverse * (g - mean(g) - x' *
 * mean(g x')). Columns beyond a part have gain 0. */
template <typename T, typename Y, typename X>
__device__ __forceinline__ void differentiate(const norm_call<T, Y, X> &call, int64_t row,
                                              moments m)
{
    float sum = 0.0F;
    float product = 0.0F;
    each_quad(call, row, [&](const stream_part<T, X> &part, int64_t c, const float *values, int) {
        const rf_cuda_quad<float> gain =
            rf_cuda_load_quad(call.gain + part.origin, c, part.width, call.aligned);
        const rf_cuda_quad<float> upper = upper_quad(call, row, part, c);
        for (int j = 0; j < 4; j++) {
            const float g = __fmul_rn(gain.v[j], upper.v[j]);
            sum += g;
            product += g * ((values[j] - m.mean) * m.inverse);
        }
    });
    const float mean = rf_cuda_warp_sum(sum) / static_cast<float>(call.width);
    const float mean_product = rf_cuda_warp_sum(product) / static_cast<float>(call.width);
    each_quad(call, row, [&](const stream_part<T, X> &part, int64_t c, const float *values, int) {
        const rf_cuda_quad<float> gain =
            rf_cuda_load_quad(call.gain + part.origin, c, part.width, call.aligned);
        const rf_cuda_quad<float> upper = upper_quad(call, row, part, c);
        X *to = part.x_gradient + row * part.width;
        rf_cuda_quad<float> out = {};
        if (!call.write) {
            out = rf_cuda_load_reals(to, c, part.width, call.aligned);
        }
        for (int j = 0; j < 4; j++) {
            const float normal = (values[j] - m.mean) * m.inverse;
            /* Rounded before the mean is taken off, as the mean's own terms were: fused, a row of
             * equal values would keep the rounding times 1 / sqrt(epsilon). */
            const float g = __fmul_rn(gain.v[j], upper.v[j]);
            out.v[j] += m.inverse * (g - mean - normal * mean_product);
        }
        rf_cuda_store_reals(to, c, part.width, call.aligned, out);
    });
}

template <typename T, typename Y, typename X>
__global__ void backward_kernel(const norm_call<T, Y, X> call)
{
    const int64_t warps = rf_cuda_stride() / rf_cuda_warp;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < call.rows; row += warps) {
        const moments m = moments_of(call, row);
        if (threadIdx.x % rf_cuda_warp == 0) {
            call.moments[2 * row] = m.mean;
            call.moments[2 * row + 1] = m.inverse;
        }
        differentiate(call, row, m);
    }
}

/* The terms of gain_gradient and bias_gradient. */
template <typename T, typename Y, typename X> struct gradient_terms {
    norm_call<T, Y, X> call;
    __device__ __forceinline__ void operator()(int64_t row, int64_t column,
                                               float (&values)[2]) const
    {
        const stream_part<T, X> &part = call.parts[column < call.parts[0].width ? 0 : 1];
        const T x = part.x[row * part.width + column - part.origin];
        const int64_t at = row * call.width + column;
        rf_cuda_quad<float> quad = {rf_cuda_load(call.y_gradient[at], 1.0F)};
        rf_norm_drop<Y>(quad, at, call.dropout);
        const float upper = quad.v[0];
        const float normal =
            (rf_cuda_load(x, call.unit) - call.moments[2 * row]) * call.moments[2 * row + 1];
        values[0] = upper * normal;
        values[1] = upper;
    }
};

/* ---- launching ---- */

template <typename T, typename X>
stream_part<T, X> part_of(const rf_tensor *x, const rf_tensor *x_gradient, int64_t origin)
{
    if (rf_tensor_is_absent(x)) {
        return {nullptr, 0, origin, nullptr};
    }
    return {rf_cuda_data<const T>(x), x->shape[1], origin,
            x_gradient != nullptr ? rf_cuda_data<X>(x_gradient) : nullptr};
}

/* Every array that is moved in quads; the second stream's columns begin where the first one's end.
 */
template <typename T, typename Y, typename X> bool is_aligned(const norm_call<T, Y, X> &call)
{
    bool aligned =
        rf_cuda_is_aligned(call.gain, call.width) && rf_cuda_is_aligned(call.bias, call.width) &&
        rf_cuda_is_aligned(call.y, call.width) && rf_cuda_is_aligned(call.y_gradient, call.width);
    for (const stream_part<T, X> &part : call.parts) {
        aligned = aligned && rf_cuda_is_aligned(part.x, part.width) &&
                  rf_cuda_is_aligned(part.x_gradient, part.width);
    }
    return aligned;
}

template <typename T, typename Y> norm_call<T, Y, float> forward_call(const rf_layer_norm *norm)
{
    norm_call<T, Y, float> call = {};
    call.parts[0] = part_of<T, float>(&norm->x, nullptr, 0);
    call.parts[1] = part_of<T, float>(&norm->x2, nullptr, norm->x.shape[1]);
    call.rows = norm->y.shape[0];
    call.width = norm->y.shape[1];
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.bias = rf_cuda_data<const float>(&norm->bias);
    call.y = rf_cuda_data<Y>(&norm->y);
    call.dropout = rf_norm_dropout(norm, &norm->y);
    call.aligned = is_aligned(call);
    return call;
}

template <typename T, typename Y, typename X>
norm_call<T, Y, X> backward_call(const rf_layer_norm_backward *norm, float *moments)
{
    norm_call<T, Y, X> call = {};
    call.parts[0] = part_of<T, X>(&norm->x, &norm->x_gradient, 0);
    call.parts[1] = part_of<T, X>(&norm->x2, &norm->x2_gradient, norm->x.shape[1]);
    call.rows = norm->y_gradient.shape[0];
    call.width = norm->y_gradient.shape[1];
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.y_gradient = rf_cuda_data<const Y>(&norm->y_gradient);
    call.moments = moments;
    call.dropout = rf_norm_dropout(norm, &norm->y_gradient);
    call.write = norm->write;
    call.aligned = is_aligned(call);
    return call;
}

template <typename T, typename Y> void forward(const rf_device *device, const rf_layer_norm *norm)
{
    const norm_call<T, Y, float> call = forward_call<T, Y>(norm);
    const unsigned grid = rf_cuda_grid(device, call.rows, rf_cuda_threads / rf_cuda_warp);
    forward_kernel<T, Y><<<grid, rf_cuda_threads, 0, rf_cuda_stream(device)>>>(call);
}

/* Bytes of the moments, before the partial sums in scratch. */
size_t moments_size(const rf_layer_norm_backward *norm)
{
    return rf_cuda_align(static_cast<size_t>(2 * norm->y_gradient.shape[0]) * sizeof(float));
}

template <typename T, typename Y, typename X>
void backward(const rf_device *device, const rf_layer_norm_backward *norm, char *scratch)
{
    const norm_call<T, Y, X> call =
        backward_call<T, Y, X>(norm, reinterpret_cast<float *>(scratch));
    float *partial = reinterpret_cast<float *>(scratch + moments_size(norm));
    const cudaStream_t stream = rf_cuda_stream(device);
    const unsigned grid = rf_cuda_grid(device, call.rows, rf_cuda_threads / rf_cuda_warp);
    backward_kernel<T, Y, X><<<grid, rf_cuda_threads, 0, stream>>>(call);
    float *const results[2] = {rf_cuda_data<float>(&norm->gain_gradient),
                               rf_cuda_data<float>(&norm->bias_gradient)};
    rf_cuda_add_columns<2>(stream, gradient_terms<T, Y, X>{call},
                           rf_cuda_cut_columns(call.rows, call.width), partial, results);
}

} // namespace

rf_status rf_cuda_layer_norm(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_layer_norm *norm = static_cast<const rf_layer_norm *>(arguments);
    if (rf_tensor_count(&norm->y) == 0) {
        return RF_OK;
    }
    if (rf_fast_takes_norm(device, norm)) {
        rf_fast_norm(device, norm);
        return rf_cuda_launched(device, "layer_norm", error);
    }
    const bool fixed = norm->x.dtype == RF_FIXED32;
    rf_cuda_by_real(norm->y.dtype, [&](auto number) {
        typedef decltype(number) real;
        (fixed ? forward<int32_t, real> : forward<float, real>)(device, norm);
    });
    return rf_cuda_launched(device, "layer_norm", error);
}

size_t rf_cuda_layer_norm_backward_scratch_size(const rf_device *, const void *arguments)
{
    const rf_layer_norm_backward *norm = static_cast<const rf_layer_norm_backward *>(arguments);
    const rf_cuda_column_cut cut =
        rf_cuda_cut_columns(norm->y_gradient.shape[0], norm->y_gradient.shape[1]);
    const size_t plain = moments_size(norm) + rf_cuda_column_scratch(cut, 2);
    const size_t fast = rf_fast_norm_backward_scratch_size(norm);
    return plain > fast ? plain : fast;
}

rf_status rf_cuda_layer_norm_backward(rf_device *device, const void *arguments, void *scratch,
                                      rf_error *error)
{
    const rf_layer_norm_backward *norm = static_cast<const rf_layer_norm_backward *>(arguments);
    if (rf_tensor_count(&norm->y_gradient) == 0) {
        return RF_OK;
    }
    if (rf_fast_takes_norm_backward(device, norm)) {
        rf_fast_norm_backward(device, norm, static_cast<float *>(scratch));
        return rf_cuda_launched(device, "layer_norm_backward", error);
    }
    if (!rf_tensor_is_absent(&norm->y)) {
        const rf_layer_norm again = {
            norm->x,       norm->x2, norm->fraction_bits, norm->gain, norm->bias,
            norm->epsilon, norm->y,  norm->probability,   norm->key,  norm->first_row};
        RF_TRY(rf_cuda_layer_norm(device, &again, nullptr, error));
    }
    const bool fixed = norm->x.dtype == RF_FIXED32;
    rf_cuda_by_real(norm->y_gradient.dtype, [&](auto upper) {
        rf_cuda_by_real(norm->x_gradient.dtype, [&](auto lower) {
            typedef decltype(upper) y_real;
            typedef decltype(lower) x_real;
            (fixed ? backward<int32_t, y_real, x_real>
                   : backward<float, y_real, x_real>)(device, norm, static_cast<char *>(scratch));
        });
    });
    return rf_cuda_launched(device, "layer_norm_backward", error);
}
