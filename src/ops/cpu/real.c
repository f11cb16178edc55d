/* Widening bf16 and rounding to it, and the runs of real.h. One read and one write of memory. */
#include "ops/cpu/real.h"

RF_VECTOR_CLONES static void widen(const uint16_t *x, float *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = rf_cpu_widen_one(x[i]);
    }
}

RF_VECTOR_CLONES static void round_all(const float *x, uint16_t *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = rf_cpu_round_one(x[i]);
    }
}

void rf_cpu_widen(const uint16_t *x, float *y, int64_t count)
{
    widen(x, y, count);
}

void rf_cpu_round(const float *x, uint16_t *y, int64_t count)
{
    round_all(x, y, count);
}

const float *rf_cpu_real_read(const rf_tensor *x, int64_t first, int64_t count, float *run)
{
    if (x->dtype == RF_F32) {
        return (const float *)x->data + first;
    }
    rf_cpu_widen((const uint16_t *)x->data + first, run, count);
    return run;
}

float *rf_cpu_real_target(const rf_tensor *y, int64_t first, float *run)
{
    return y->dtype == RF_F32 ? (float *)y->data + first : run;
}

void rf_cpu_real_store(const rf_tensor *y, int64_t first, int64_t count, const float *target)
{
    if (y->dtype == RF_BF16) {
        rf_cpu_round(target, (uint16_t *)y->data + first, count);
    }
}
