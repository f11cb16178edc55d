/* AdamW (Loshchilov, Hutter 2019, algorithm 2) with bias correction: a thread takes four
 * neighbours; three streams read and written, one read, and the rounded copy written where there is
 * one. Factors that do not depend on the element are computed in double and rounded once, as in
 * ops/cpu/adamw.c. */
#include "ops/cuda/cuda.cuh"

#include <math.h>

namespace
{

struct factor_set {
    float gradient_factor, beta1, rest1, beta2, rest2;
    float decay;                    /* 1 - rate * weight_decay */
    float rate;                     /* rate / (1 - beta1^update) */
    float root_correction, epsilon; /* 1 / sqrt(1 - beta2^update) */
};

/* All [count]. */
__global__ void adamw_kernel(const factor_set f, float *__restrict__ value,
                             const float *__restrict__ gradient, float *__restrict__ first,
                             float *__restrict__ second, __nv_bfloat16 *__restrict__ rounded,
                             int64_t count, bool aligned)
{
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        const rf_cuda_quad<float> g4 = rf_cuda_load_quad(gradient, i, count, aligned);
        rf_cuda_quad<float> value4 = rf_cuda_load_quad(value, i, count, aligned);
        rf_cuda_quad<float> first4 = rf_cuda_load_quad(first, i, count, aligned);
        rf_cuda_quad<float> second4 = rf_cuda_load_quad(second, i, count, aligned);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float g = g4.v[j] * f.gradient_factor;
            const float m = f.beta1 * first4.v[j] + f.rest1 * g;
            const float v = f.beta2 * second4.v[j] + f.rest2 * (g * g);
            const float deviation = sqrtf(v) * f.root_correction + f.epsilon;
            first4.v[j] = m;
            second4.v[j] = v;
            value4.v[j] = value4.v[j] * f.decay - f.rate * m / deviation;
        }
        rf_cuda_store_quad(value, i, count, aligned, value4);
        rf_cuda_store_quad(first, i, count, aligned, first4);
        rf_cuda_store_quad(second, i, count, aligned, second4);
        if (rounded != nullptr) {
            rf_cuda_store_reals(rounded, i, count, aligned, value4);
        }
    }
}

factor_set factors_of(const rf_adamw *adamw)
{
    const double correction1 = 1.0 - pow(adamw->beta1, static_cast<double>(adamw->update));
    const double correction2 = 1.0 - pow(adamw->beta2, static_cast<double>(adamw->update));
    factor_set f;
    f.gradient_factor = static_cast<float>(adamw->gradient_factor);
    f.beta1 = static_cast<float>(adamw->beta1);
    f.rest1 = static_cast<float>(1.0 - adamw->beta1);
    f.beta2 = static_cast<float>(adamw->beta2);
    f.rest2 = static_cast<float>(1.0 - adamw->beta2);
    f.decay = static_cast<float>(1.0 - adamw->rate * adamw->weight_decay);
    f.rate = static_cast<float>(adamw->rate / correction1);
    f.root_correction = static_cast<float>(1.0 / sqrt(correction2));
    f.epsilon = static_cast<float>(adamw->epsilon);
    return f;
}

} // namespace

rf_status rf_cuda_adamw(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_adamw *adamw = static_cast<const rf_adamw *>(arguments);
    const int64_t count = rf_tensor_count(&adamw->value);
    float *value = rf_cuda_data<float>(&adamw->value);
    const float *gradient = rf_cuda_data<const float>(&adamw->gradient);
    float *first = rf_cuda_data<float>(&adamw->first_moment);
    float *second = rf_cuda_data<float>(&adamw->second_moment);
    __nv_bfloat16 *rounded = rf_cuda_data<__nv_bfloat16>(&adamw->rounded);
    if (count == 0) {
        return RF_OK;
    }
    const bool aligned = rf_cuda_is_aligned(value, 4) && rf_cuda_is_aligned(gradient, 4) &&
                         rf_cuda_is_aligned(first, 4) && rf_cuda_is_aligned(second, 4) &&
                         rf_cuda_is_aligned(rounded, 4);
    adamw_kernel<<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0,
                   rf_cuda_stream(device)>>>(factors_of(adamw), value, gradient, first, second,
                                             rounded, count, aligned);
    return rf_cuda_launched(device, "adamw", error);
}
