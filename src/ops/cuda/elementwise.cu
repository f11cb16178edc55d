/* Activations, their derivatives, and scaled addition: a thread takes four neighbours at a time;
 * one read and one write of memory (two reads for derivatives and sums). Formulas as in PyTorch and
 * Hugging Face's table of activations (Hendrycks, Gimpel 2016 for GELU; Misra 2019 for mish), the
 * same as in ops/cpu/elementwise.c with CUDA's own exp, tanh and erfc. */
#include "ops/cuda/column_sum.cuh"

namespace
{

/* ---- formulas ---- */

__device__ constexpr float root_2_over_pi = 0.797884560802865F;
__device__ constexpr float root_half = 0.707106781186548F;
__device__ constexpr float gelu_cubic = 0.044715F;
/* Beyond this GELU is 0 or x in float, and its slope 0 or 1; powers of what is clamped there cannot
 * overflow. */
__device__ constexpr float gelu_saturated = 16.0F;

__device__ __forceinline__ float clamp(float x, float bound)
{
    x = x > bound ? bound : x;
    return x < -bound ? -bound : x;
}

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0F / (1.0F + expf(-x));
}

struct relu {
    static __device__ float of(float x)
    {
        return x < 0.0F ? 0.0F : x; /* keeps NaN */
    }
    static __device__ float slope(float x)
    {
        return x > 0.0F ? 1.0F : 0.0F;
    }
};

struct gelu {
    /* The normal distribution's share below x. */
    static __device__ float share(float x)
    {
        return 0.5F * erfcf(-root_half * x);
    }
    static __device__ float of(float x)
    {
        return x * share(clamp(x, gelu_saturated));
    }
    static __device__ float slope(float x)
    {
        const float density_0 = 0.398942280401433F; /* 1 / sqrt(2 pi) */
        const float near = clamp(x, gelu_saturated);
        return share(near) + near * (density_0 * expf(-0.5F * near * near));
    }
};

/* (1 + tanh(u)) / 2 = sigmoid(2 u) */
struct gelu_new {
    static __device__ float inner(float near)
    {
        return root_2_over_pi * near * (1.0F + gelu_cubic * near * near);
    }
    static __device__ float of(float x)
    {
        return x * sigmoid(2.0F * inner(clamp(x, gelu_saturated)));
    }
    static __device__ float slope(float x)
    {
        const float near = clamp(x, gelu_saturated);
        const float inner_slope = root_2_over_pi * (1.0F + 3.0F * gelu_cubic * near * near);
        const float s = sigmoid(2.0F * inner(near));
        return s + near * s * (1.0F - s) * 2.0F * inner_slope;
    }
};

struct silu {
    static __device__ float of(float x)
    {
        return x * sigmoid(x);
    }
    static __device__ float slope(float x)
    {
        const float s = sigmoid(x);
        return s * (1.0F + x * (1.0F - s));
    }
};

struct quick_gelu {
    static __device__ float of(float x)
    {
        return x * sigmoid(1.702F * x);
    }
    static __device__ float slope(float x)
    {
        const float s = sigmoid(1.702F * x);
        return s * (1.0F + x * (1.702F * (1.0F - s)));
    }
};

struct relu2 {
    static __device__ float of(float x)
    {
        return relu::of(x) * relu::of(x);
    }
    static __device__ float slope(float x)
    {
        return 2.0F * relu::of(x);
    }
};

struct relu6 {
    static __device__ float of(float x)
    {
        const float positive = relu::of(x);
        return positive > 6.0F ? 6.0F : positive;
    }
    static __device__ float slope(float x)
    {
        return x > 0.0F && x < 6.0F ? 1.0F : 0.0F;
    }
};

struct hyperbolic {
    static __device__ float of(float x)
    {
        return tanhf(x);
    }
    static __device__ float slope(float x)
    {
        const float t = tanhf(x);
        return 1.0F - t * t;
    }
};

struct logistic {
    static __device__ float of(float x)
    {
        return sigmoid(x);
    }
    static __device__ float slope(float x)
    {
        const float s = sigmoid(x);
        return s * (1.0F - s);
    }
};

struct linear {
    static __device__ float of(float x)
    {
        return x;
    }
    static __device__ float slope(float)
    {
        return 1.0F;
    }
};

/* tanh(log(1 + e^x)) = w / (w + 2) with w = e^x (e^x + 2); at 20 it is 1 in float. */
struct mish {
    static __device__ float of(float x)
    {
        const float e = expf(x > 20.0F ? 20.0F : x);
        const float w = e * (e + 2.0F);
        return x * (w / (w + 2.0F));
    }
    static __device__ float slope(float x)
    {
        const float near = x > 20.0F ? 20.0F : x;
        const float e = expf(near);
        const float w = e * (e + 2.0F);
        const float t = w / (w + 2.0F);
        const float t_slope = 4.0F * (w + 1.0F) / ((w + 2.0F) * (w + 2.0F)) * (e / (1.0F + e));
        return t + near * t_slope;
    }
};

/* ---- kernels ---- */

/* x, y [count]; y may be x. */
template <typename Formula, typename T>
__global__ void forward_kernel(const T *x, T *y, int64_t count, bool aligned)
{
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        rf_cuda_quad<float> quad = rf_cuda_load_reals(x, i, count, aligned);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            quad.v[j] = Formula::of(quad.v[j]);
        }
        rf_cuda_store_reals(y, i, count, aligned, quad);
    }
}

/* x, y_gradient, x_gradient [count]; the last two may be one. Two quads of a thread are on their
 * way at once. */
template <typename Formula, typename T>
__global__ void backward_kernel(const T *x, const T *y_gradient, T *x_gradient, float factor,
                                int64_t count, bool aligned)
{
    const int64_t apart = 4 * rf_cuda_stride();
    for (int64_t first = 4 * rf_cuda_first(); first < count; first += 2 * apart) {
        rf_cuda_quad<float> at[2];
        rf_cuda_quad<float> quads[2];
#pragma unroll
        for (int q = 0; q < 2; q++) {
            at[q] = rf_cuda_load_reals(x, first + q * apart, count, aligned);
            quads[q] = rf_cuda_load_reals(y_gradient, first + q * apart, count, aligned);
        }
#pragma unroll
        for (int q = 0; q < 2; q++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                quads[q].v[j] = quads[q].v[j] * Formula::slope(at[q].v[j]) * factor;
            }
            rf_cuda_store_reals(x_gradient, first + q * apart, count, aligned, quads[q]);
        }
    }
}

/* The same over rows of `width`, for column_sum.cuh. */
template <typename Formula, typename T> struct backward_pass {
    const T *x, *y_gradient; /* [rows, width] */
    T *x_gradient;           /* [rows, width], may be y_gradient */
    int64_t width;
    float factor;
    bool aligned;

    struct input {
        rf_cuda_quad<T> at, upper;
    };

    __device__ __forceinline__ input load(int64_t row, int64_t column) const
    {
        return {rf_cuda_load_quad(x + row * width, column, width, aligned),
                rf_cuda_load_quad(y_gradient + row * width, column, width, aligned)};
    }

    __device__ __forceinline__ rf_cuda_quad<float> write(const input &in, int64_t row,
                                                         int64_t column) const
    {
        rf_cuda_quad<float> out;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            out.v[j] = rf_cuda_load(in.upper.v[j], 1.0F) *
                       Formula::slope(rf_cuda_load(in.at.v[j], 1.0F)) * factor;
        }
        return rf_cuda_store_rounded(x_gradient + row * width, column, width, aligned, out);
    }
};

/* y = a + factor * b; y may be a or b. */
__global__ void add_kernel(const float *a, const float *b, float factor, float *y, int64_t count,
                           bool aligned)
{
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        rf_cuda_quad<float> quad = rf_cuda_load_quad(a, i, count, aligned);
        const rf_cuda_quad<float> other = rf_cuda_load_quad(b, i, count, aligned);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            quad.v[j] = __fadd_rn(quad.v[j], __fmul_rn(factor, other.v[j]));
        }
        rf_cuda_store_quad(y, i, count, aligned, quad);
    }
}

/* ---- the kinds ---- */

template <typename Formula>
void forward(const rf_device *device, const rf_activate *activate, int64_t count)
{
    rf_cuda_by_real(activate->x.dtype, [&](auto number) {
        typedef decltype(number) real;
        const real *x = rf_cuda_data<const real>(&activate->x);
        real *y = rf_cuda_data<real>(&activate->y);
        const bool aligned = rf_cuda_is_aligned(x, 4) && rf_cuda_is_aligned(y, 4);
        forward_kernel<Formula, real>
            <<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0,
               rf_cuda_stream(device)>>>(x, y, count, aligned);
    });
}

template <typename Formula>
void backward(const rf_device *device, const rf_activate_backward *call, void *scratch)
{
    const int64_t count = rf_tensor_count(&call->x);
    rf_cuda_by_real(call->x.dtype, [&](auto number) {
        typedef decltype(number) real;
        const real *x = rf_cuda_data<const real>(&call->x);
        const real *y_gradient = rf_cuda_data<const real>(&call->y_gradient);
        real *x_gradient = rf_cuda_data<real>(&call->x_gradient);
        const bool aligned = rf_cuda_is_aligned(x, 4) && rf_cuda_is_aligned(y_gradient, 4) &&
                             rf_cuda_is_aligned(x_gradient, 4);
        if (!rf_tensor_is_absent(&call->bias_gradient)) {
            const int64_t width = call->x.shape[1];
            const backward_pass<Formula, real> pass = {
                x, y_gradient, x_gradient, width, call->factor, aligned && width % 4 == 0};
            rf_cuda_write_and_sum(rf_cuda_stream(device), pass, &call->x_gradient,
                                  &call->bias_gradient, scratch);
            return;
        }
        backward_kernel<Formula, real>
            <<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0,
               rf_cuda_stream(device)>>>(x, y_gradient, x_gradient, call->factor, count, aligned);
    });
}

struct activation {
    void (*forward)(const rf_device *device, const rf_activate *activate, int64_t count);
    void (*backward)(const rf_device *device, const rf_activate_backward *call, void *scratch);
};

template <typename Formula> constexpr activation activation_of()
{
    return {forward<Formula>, backward<Formula>};
}

/* In the order of rf_activation; gelu_fast is gelu_new with the constant written out. */
const activation activations[] = {
    activation_of<relu>(),     activation_of<gelu>(),     activation_of<gelu_new>(),
    activation_of<silu>(),     activation_of<gelu_new>(), activation_of<quick_gelu>(),
    activation_of<relu2>(),    activation_of<relu6>(),    activation_of<hyperbolic>(),
    activation_of<logistic>(), activation_of<linear>(),   activation_of<mish>(),
};
static_assert(sizeof activations / sizeof activations[0] == RF_ACTIVATION_COUNT &&
                  RF_ACTIVATION_GELU_FAST == 4 && RF_ACTIVATION_TANH == 8 &&
                  RF_ACTIVATION_MISH == 11,
              "one activation a kind");

} // namespace

rf_status rf_cuda_activate(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_activate *activate = static_cast<const rf_activate *>(arguments);
    const int64_t count = rf_tensor_count(&activate->x);
    if (count == 0) {
        return RF_OK;
    }
    activations[activate->kind].forward(device, activate, count);
    return rf_cuda_launched(device, "activate", error);
}

size_t rf_cuda_activate_backward_scratch_size(const rf_device *, const void *arguments)
{
    const rf_activate_backward *call = static_cast<const rf_activate_backward *>(arguments);
    return rf_cuda_written_scratch(&call->x_gradient, &call->bias_gradient);
}

rf_status rf_cuda_activate_backward(rf_device *device, const void *arguments, void *scratch,
                                    rf_error *error)
{
    const rf_activate_backward *call = static_cast<const rf_activate_backward *>(arguments);
    if (rf_tensor_count(&call->x) == 0) {
        return RF_OK;
    }
    activations[call->kind].backward(device, call, scratch);
    return rf_cuda_launched(device, "activate_backward", error);
}

rf_status rf_cuda_add(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_add *add = static_cast<const rf_add *>(arguments);
    const int64_t count = rf_tensor_count(&add->y);
    const float *a = rf_cuda_data<const float>(&add->a);
    const float *b = rf_cuda_data<const float>(&add->b);
    float *y = rf_cuda_data<float>(&add->y);
    if (count == 0) {
        return RF_OK;
    }
    const bool aligned =
        rf_cuda_is_aligned(a, 4) && rf_cuda_is_aligned(b, 4) && rf_cuda_is_aligned(y, 4);
    add_kernel<<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0,
                 rf_cuda_stream(device)>>>(a, b, add->factor, y, count, aligned);
    return rf_cuda_launched(device, "add", error);
}
