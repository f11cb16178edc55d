/* Numbers stored as f32 or bf16 and worked on as f32, a run at a time: what stands in f32 is used
 * where it is, what stands in bf16 is widened into a small buffer and rounded back from it.
 *
 *     float run[RF_REAL_RUN];
 *     const float *from = rf_cpu_real_read(&x, first, count, run);
 *     float *to = rf_cpu_real_target(&y, first, run);
 *     ... to[i] from from[i], for i < count ...
 *     rf_cpu_real_store(&y, first, count, to);
 */
#ifndef RF_OPS_CPU_REAL_H
#define RF_OPS_CPU_REAL_H

#include "ops/cpu/cpu.h"

enum { RF_REAL_RUN = 1024 }; /* elements of a buffer: 4 KiB stay in the first cache */

RF_INLINE float rf_cpu_widen_one(uint16_t value)
{
    return rf_cpu_float((uint32_t)value << 16);
}

/* rf_f32_to_bf16 without a branch: to nearest even, NaN stays NaN. */
RF_INLINE uint16_t rf_cpu_round_one(float value)
{
    uint32_t bits = rf_cpu_bits(value);
    uint32_t nearest = bits + 0x7FFFU + (bits >> 16 & 1U);
    uint32_t quiet = bits | 0x400000U; /* of a NaN: rounding could make it infinite */
    return (uint16_t)(((bits & 0x7FFFFFFFU) > 0x7F800000U ? quiet : nearest) >> 16);
}

/* x bf16, y f32 [count] */
void rf_cpu_widen(const uint16_t *x, float *y, int64_t count);
/* x f32, y bf16 [count] */
void rf_cpu_round(const float *x, uint16_t *y, int64_t count);

/* Elements [first, first + count) of a real tensor: where they are, or in `run` [count]. */
const float *rf_cpu_real_read(const rf_tensor *x, int64_t first, int64_t count, float *run);
/* Where to write elements from `first` on: in place, or to `run`. */
float *rf_cpu_real_target(const rf_tensor *y, int64_t first, float *run);
/* Put away what was written to that target. */
void rf_cpu_real_store(const rf_tensor *y, int64_t first, int64_t count, const float *target);

/* Dropout of x [count] into y, which may be x: element i has random number origin + i. In
 * dropout.c. */
void rf_cpu_drop(const rf_random_key *key, float probability, uint64_t origin, const float *x,
                 float *y, int64_t count);

#endif
