/* AdamW (Loshchilov, Hutter 2019, algorithm 2) with bias correction: three streams read and
 * written, one read; the optional rounded copy is made of a block while it is in cache. Factors
 * that do not depend on the element are computed in double and rounded once. */
#include "ops/cpu/real.h"

#include <math.h>

enum { BLOCK = 16384 };

typedef struct factor_set {
    float gradient_factor, beta1, rest1, beta2, rest2;
    float decay;                    /* 1 - rate * weight_decay */
    float rate;                     /* rate / (1 - beta1^update) */
    float root_correction, epsilon; /* 1 / sqrt(1 - beta2^update) */
} factor_set;

RF_VECTOR_CLONES static void update_block(const factor_set *factors, float *value,
                                          const float *gradient, float *first, float *second,
                                          int64_t count)
{
    const factor_set f = *factors;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] * f.gradient_factor;
        float m = f.beta1 * first[i] + f.rest1 * g;
        float v = f.beta2 * second[i] + f.rest2 * (g * g);
        first[i] = m;
        second[i] = v;
        float deviation = sqrtf(v) * f.root_correction + f.epsilon;
        value[i] = value[i] * f.decay - f.rate * m / deviation;
    }
}

static factor_set factors_of(const rf_adamw *adamw)
{
    double correction1 = 1.0 - pow(adamw->beta1, (double)adamw->update);
    double correction2 = 1.0 - pow(adamw->beta2, (double)adamw->update);
    return (factor_set){
        .gradient_factor = (float)adamw->gradient_factor,
        .beta1 = (float)adamw->beta1,
        .rest1 = (float)(1.0 - adamw->beta1),
        .beta2 = (float)adamw->beta2,
        .rest2 = (float)(1.0 - adamw->beta2),
        .decay = (float)(1.0 - adamw->rate * adamw->weight_decay),
        .rate = (float)(adamw->rate / correction1),
        .root_correction = (float)(1.0 / sqrt(correction2)),
        .epsilon = (float)adamw->epsilon,
    };
}

rf_status rf_cpu_adamw(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_adamw *adamw = arguments;
    (void)scratch;
    (void)error;
    factor_set factors = factors_of(adamw);
    float *value = adamw->value.data;
    const float *gradient = adamw->gradient.data;
    float *first = adamw->first_moment.data;
    float *second = adamw->second_moment.data;
    uint16_t *rounded = rf_tensor_is_absent(&adamw->rounded) ? NULL : adamw->rounded.data;
    int64_t count = rf_tensor_count(&adamw->value);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = b * BLOCK;
        int64_t length = rf_cpu_block_length(count, BLOCK, b);
        update_block(&factors, value + at, gradient + at, first + at, second + at, length);
        if (rounded != NULL) {
            rf_cpu_round(value + at, rounded + at, length);
        }
    }
    return RF_OK;
}
