/* Activations, their derivatives, and scaled addition: one read and one write of memory. Formulas
 * as in PyTorch and Hugging Face's table of activations (Hendrycks, Gimpel 2016 for GELU; Misra
 * 2019 for mish). Each formula is a function of one number that is inlined into one loop per kind,
 * so that gcc can make vectors of it (all but tanh, which calls libm). */
#include "ops/cpu/real.h"

#include <math.h>

enum { BLOCK = 16384 };

static const float root_2_over_pi = 0.797884560802865F;
static const float root_half = 0.707106781186548F;
static const float gelu_cubic = 0.044715F;
/* Beyond this GELU is 0 or x in float, and its slope 0 or 1; powers of what is clamped there cannot
 * overflow. */
static const float gelu_saturated = 16.0F;

/* ---- formulas ---------------------------------------------------------------------------- */

RF_INLINE float clamp(float x, float bound)
{
    x = x > bound ? bound : x;
    return x < -bound ? -bound : x;
}

RF_INLINE float sigmoid_of(float x)
{
    return 1.0F / (1.0F + rf_cpu_exp(-x));
}

RF_INLINE float relu_of(float x)
{
    return x < 0.0F ? 0.0F : x; /* keeps NaN */
}

RF_INLINE float relu_slope(float x)
{
    return x > 0.0F ? 1.0F : 0.0F;
}

/* The normal distribution's share below -|x|, to 1e-7 of it near 0 (the rounding of x^2 / 2 costs
 * more further out, where the share is small): erfc(z) = exp(-z^2) p(t) / (z + 2.2) with t = (z
 * - 2.2) / (z + 2.2), and p our polynomial through the Chebyshev points, 5e-8 off at most.
 * `density` is exp(-x^2 / 2). */
RF_INLINE float normal_tail(float x, float *density)
{
    float z = fabsf(clamp(x, gelu_saturated)) * root_half; /* the tail is 0 from there */
    float inverse = 1.0F / (z + 2.2F);
    float t = (z - 2.2F) * inverse;
    float p = 1.8603834e-4F;
    p = p * t - 1.0114611e-5F;
    p = p * t - 1.5684122e-3F;
    p = p * t + 4.9354450e-5F;
    p = p * t + 1.1185463e-2F;
    p = p * t - 8.4097574e-3F;
    p = p * t - 8.7647561e-2F;
    p = p * t + 3.5385620e-1F;
    p = p * t - 7.4006068e-1F;
    p = p * t + 1.0366091F;
    *density = rf_cpu_exp(-z * z);
    return 0.5F * *density * p * inverse;
}

RF_INLINE float gelu_of(float x)
{
    float density;
    float tail = normal_tail(x, &density);
    return x * (x < 0.0F ? tail : 1.0F - tail);
}

RF_INLINE float gelu_slope(float x)
{
    const float density_0 = 0.398942280401433F; /* 1 / sqrt(2 pi) */
    float density;
    float tail = normal_tail(x, &density);
    return (x < 0.0F ? tail : 1.0F - tail) + clamp(x, gelu_saturated) * (density_0 * density);
}

/* (1 + tanh(u)) / 2 = sigmoid(2 u) */
RF_INLINE float gelu_new_of(float x)
{
    float near = clamp(x, gelu_saturated);
    float u = root_2_over_pi * near * (1.0F + gelu_cubic * near * near);
    return x * sigmoid_of(2.0F * u);
}

RF_INLINE float gelu_new_slope(float x)
{
    float near = clamp(x, gelu_saturated);
    float u = root_2_over_pi * near * (1.0F + gelu_cubic * near * near);
    float u_slope = root_2_over_pi * (1.0F + 3.0F * gelu_cubic * near * near);
    float s = sigmoid_of(2.0F * u);
    return s + near * s * (1.0F - s) * 2.0F * u_slope;
}

RF_INLINE float silu_of(float x)
{
    return x * sigmoid_of(x);
}

RF_INLINE float silu_slope(float x)
{
    float s = sigmoid_of(x);
    return s * (1.0F + x * (1.0F - s));
}

RF_INLINE float quick_gelu_of(float x)
{
    return x * sigmoid_of(1.702F * x);
}

RF_INLINE float quick_gelu_slope(float x)
{
    float s = sigmoid_of(1.702F * x);
    return s * (1.0F + x * (1.702F * (1.0F - s)));
}

RF_INLINE float relu2_of(float x)
{
    float positive = relu_of(x);
    return positive * positive;
}

RF_INLINE float relu2_slope(float x)
{
    return 2.0F * relu_of(x);
}

RF_INLINE float relu6_of(float x)
{
    float positive = relu_of(x);
    return positive > 6.0F ? 6.0F : positive;
}

RF_INLINE float relu6_slope(float x)
{
    return x > 0.0F && x < 6.0F ? 1.0F : 0.0F;
}

RF_INLINE float tanh_of(float x)
{
    return tanhf(x);
}

RF_INLINE float tanh_slope(float x)
{
    float t = tanhf(x);
    return 1.0F - t * t;
}

RF_INLINE float sigmoid_slope(float x)
{
    float s = sigmoid_of(x);
    return s * (1.0F - s);
}

RF_INLINE float linear_of(float x)
{
    return x;
}

RF_INLINE float linear_slope(float x)
{
    (void)x;
    return 1.0F;
}

/* tanh(log(1 + e^x)) = w / (w + 2) with w = e^x (e^x + 2); at 20 it is 1 in float. */
RF_INLINE float mish_of(float x)
{
    float e = rf_cpu_exp(x > 20.0F ? 20.0F : x);
    float w = e * (e + 2.0F);
    return x * (w / (w + 2.0F));
}

RF_INLINE float mish_slope(float x)
{
    float near = x > 20.0F ? 20.0F : x;
    float e = rf_cpu_exp(near);
    float w = e * (e + 2.0F);
    float t = w / (w + 2.0F);
    float t_slope = 4.0F * (w + 1.0F) / ((w + 2.0F) * (w + 2.0F)) * (e / (1.0F + e));
    return t + near * t_slope;
}

/* ---- loops ------------------------------------------------------------------------------- */

/* The directive says that y may be x itself, though not shifted. */
RF_INLINE void apply(float (*formula)(float), const float *x, float *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = formula(x[i]);
    }
}

RF_INLINE void apply_slope(float (*slope)(float), const float *x, const float *y_gradient,
                           float *x_gradient, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        x_gradient[i] = y_gradient[i] * slope(x[i]);
    }
}

RF_VECTOR_CLONES static void relu_forward(const float *x, float *y, int64_t count)
{
    apply(relu_of, x, y, count);
}

RF_VECTOR_CLONES static void gelu_forward(const float *x, float *y, int64_t count)
{
    apply(gelu_of, x, y, count);
}

RF_VECTOR_CLONES static void gelu_new_forward(const float *x, float *y, int64_t count)
{
    apply(gelu_new_of, x, y, count);
}

RF_VECTOR_CLONES static void silu_forward(const float *x, float *y, int64_t count)
{
    apply(silu_of, x, y, count);
}

RF_VECTOR_CLONES static void quick_gelu_forward(const float *x, float *y, int64_t count)
{
    apply(quick_gelu_of, x, y, count);
}

RF_VECTOR_CLONES static void relu2_forward(const float *x, float *y, int64_t count)
{
    apply(relu2_of, x, y, count);
}

RF_VECTOR_CLONES static void relu6_forward(const float *x, float *y, int64_t count)
{
    apply(relu6_of, x, y, count);
}

static void tanh_forward(const float *x, float *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] = tanh_of(x[i]);
    }
}

RF_VECTOR_CLONES static void sigmoid_forward(const float *x, float *y, int64_t count)
{
    apply(sigmoid_of, x, y, count);
}

RF_VECTOR_CLONES static void linear_forward(const float *x, float *y, int64_t count)
{
    apply(linear_of, x, y, count);
}

RF_VECTOR_CLONES static void mish_forward(const float *x, float *y, int64_t count)
{
    apply(mish_of, x, y, count);
}

RF_VECTOR_CLONES static void relu_backward(const float *x, const float *y_gradient,
                                           float *x_gradient, int64_t count)
{
    apply_slope(relu_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void gelu_backward(const float *x, const float *y_gradient,
                                           float *x_gradient, int64_t count)
{
    apply_slope(gelu_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void gelu_new_backward(const float *x, const float *y_gradient,
                                               float *x_gradient, int64_t count)
{
    apply_slope(gelu_new_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void silu_backward(const float *x, const float *y_gradient,
                                           float *x_gradient, int64_t count)
{
    apply_slope(silu_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void quick_gelu_backward(const float *x, const float *y_gradient,
                                                 float *x_gradient, int64_t count)
{
    apply_slope(quick_gelu_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void relu2_backward(const float *x, const float *y_gradient,
                                            float *x_gradient, int64_t count)
{
    apply_slope(relu2_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void relu6_backward(const float *x, const float *y_gradient,
                                            float *x_gradient, int64_t count)
{
    apply_slope(relu6_slope, x, y_gradient, x_gradient, count);
}

static void tanh_backward(const float *x, const float *y_gradient, float *x_gradient, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        x_gradient[i] = y_gradient[i] * tanh_slope(x[i]);
    }
}

RF_VECTOR_CLONES static void sigmoid_backward(const float *x, const float *y_gradient,
                                              float *x_gradient, int64_t count)
{
    apply_slope(sigmoid_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void linear_backward(const float *x, const float *y_gradient,
                                             float *x_gradient, int64_t count)
{
    apply_slope(linear_slope, x, y_gradient, x_gradient, count);
}

RF_VECTOR_CLONES static void mish_backward(const float *x, const float *y_gradient,
                                           float *x_gradient, int64_t count)
{
    apply_slope(mish_slope, x, y_gradient, x_gradient, count);
}

/* ---- the kinds --------------------------------------------------------------------------- */

typedef struct activation {
    void (*forward)(const float *x, float *y, int64_t count);
    void (*backward)(const float *x, const float *y_gradient, float *x_gradient, int64_t count);
} activation;

/* gelu_fast is gelu_new with the constant written out. */
static const activation activations[RF_ACTIVATION_COUNT] = {
    [RF_ACTIVATION_RELU] = {relu_forward, relu_backward},
    [RF_ACTIVATION_GELU] = {gelu_forward, gelu_backward},
    [RF_ACTIVATION_GELU_NEW] = {gelu_new_forward, gelu_new_backward},
    [RF_ACTIVATION_SILU] = {silu_forward, silu_backward},
    [RF_ACTIVATION_GELU_FAST] = {gelu_new_forward, gelu_new_backward},
    [RF_ACTIVATION_QUICK_GELU] = {quick_gelu_forward, quick_gelu_backward},
    [RF_ACTIVATION_RELU2] = {relu2_forward, relu2_backward},
    [RF_ACTIVATION_RELU6] = {relu6_forward, relu6_backward},
    [RF_ACTIVATION_TANH] = {tanh_forward, tanh_backward},
    [RF_ACTIVATION_SIGMOID] = {sigmoid_forward, sigmoid_backward},
    [RF_ACTIVATION_LINEAR] = {linear_forward, linear_backward},
    [RF_ACTIVATION_MISH] = {mish_forward, mish_backward},
};

static void activate_block(const rf_activate *activate, int64_t first, int64_t end)
{
    float run[RF_REAL_RUN];
    for (int64_t at = first; at < end; at += RF_REAL_RUN) {
        int64_t count = end - at < RF_REAL_RUN ? end - at : RF_REAL_RUN;
        const float *x = rf_cpu_real_read(&activate->x, at, count, run);
        float *y = rf_cpu_real_target(&activate->y, at, run);
        activations[activate->kind].forward(x, y, count);
        rf_cpu_real_store(&activate->y, at, count, y);
    }
}

rf_status rf_cpu_activate(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_activate *activate = arguments;
    (void)scratch;
    (void)error;
    int64_t count = rf_tensor_count(&activate->x);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        activate_block(activate, b * BLOCK, b * BLOCK + rf_cpu_block_length(count, BLOCK, b));
    }
    return RF_OK;
}

RF_VECTOR_CLONES static void scale_run(float *x, float factor, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        x[i] *= factor;
    }
}

static void differentiate_block(const rf_activate_backward *backward, int64_t first, int64_t end)
{
    float runs[2][RF_REAL_RUN];
    for (int64_t at = first; at < end; at += RF_REAL_RUN) {
        int64_t count = end - at < RF_REAL_RUN ? end - at : RF_REAL_RUN;
        const float *x = rf_cpu_real_read(&backward->x, at, count, runs[0]);
        const float *y_gradient = rf_cpu_real_read(&backward->y_gradient, at, count, runs[1]);
        float *x_gradient = rf_cpu_real_target(&backward->x_gradient, at, runs[1]);
        activations[backward->kind].backward(x, y_gradient, x_gradient, count);
        if (backward->factor != 1.0F) {
            scale_run(x_gradient, backward->factor, count);
        }
        rf_cpu_real_store(&backward->x_gradient, at, count, x_gradient);
    }
}

rf_status rf_cpu_activate_backward(rf_device *device, const void *arguments, void *scratch,
                                   rf_error *error)
{
    const rf_activate_backward *backward = arguments;
    (void)scratch;
    (void)error;
    int64_t count = rf_tensor_count(&backward->x);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        differentiate_block(backward, b * BLOCK, b * BLOCK + rf_cpu_block_length(count, BLOCK, b));
    }
    rf_cpu_add_columns(device, &backward->x_gradient, &backward->bias_gradient);
    return RF_OK;
}

/* ---- addition ---------------------------------------------------------------------------- */

RF_VECTOR_CLONES static void add_block(const float *a, const float *b, float factor, float *y,
                                       int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = a[i] + factor * b[i];
    }
}

rf_status rf_cpu_add(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_add *add = arguments;
    (void)scratch;
    (void)error;
    const float *a = add->a.data;
    const float *b = add->b.data;
    float *y = add->y.data;
    int64_t count = rf_tensor_count(&add->y);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t i = 0; i < blocks; i++) {
        int64_t first = i * BLOCK;
        add_block(a + first, b + first, add->factor, y + first,
                  rf_cpu_block_length(count, BLOCK, i));
    }
    return RF_OK;
}
