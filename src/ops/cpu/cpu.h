/* The CPU back end: what table.c lists, and what its files share.
 *
 * Hot loops are compiled for several instruction sets (RF_VECTOR_CLONES). Nothing is contracted and
 * no loop calls fmaf, so that every clone gives the same bits. */
#ifndef RF_OPS_CPU_CPU_H
#define RF_OPS_CPU_CPU_H

#include "ops/ops.h"

#include <string.h>

/* Compile a static function for AVX-512, AVX2 and the base set, chosen when the program starts.
 * Left out where the compiler lacks it, and under sanitizers, whose runtime is not up yet when the
 * choice is made. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__) &&   \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RF_VECTOR_CLONES                                                                           \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RF_VECTOR_CLONES
#endif
/* For helpers of such loops, so that each clone has its own. */
#define RF_INLINE static inline __attribute__((always_inline))

enum { RF_LANES = 16 }; /* independent sums of a reduction, added up in a fixed order at its end */

#define RF_CPU_RUN(NAME, name)                                                                     \
    rf_status rf_cpu_##name(rf_device *device, const void *arguments, void *scratch,               \
                            rf_error *error);
RF_OPERATIONS(RF_CPU_RUN)
#undef RF_CPU_RUN

#define RF_CPU_SCRATCH_SIZE(NAME, name)                                                            \
    size_t rf_cpu_##name##_scratch_size(const rf_device *device, const void *arguments);
RF_OPERATIONS(RF_CPU_SCRATCH_SIZE)
#undef RF_CPU_SCRATCH_SIZE

/* bits[i] = rf_random_bits(key, first + i) for i < count. */
void rf_cpu_random_bits(const rf_random_key *key, uint64_t first, int64_t count, uint32_t *bits);
/* rf_random_uniform(...) >= probability holds iff (bits >> 8) >= rf_cpu_keep_from(probability). */
uint32_t rf_cpu_keep_from(float probability);

/* The number of blocks of `size` that cover `count`. */
RF_INLINE int64_t rf_cpu_blocks(int64_t count, int64_t size)
{
    return count / size + (count % size != 0 ? 1 : 0);
}

/* The length of block `index` of those. */
RF_INLINE int64_t rf_cpu_block_length(int64_t count, int64_t size, int64_t index)
{
    int64_t left = count - index * size;
    return left < size ? left : size;
}

/* Threads for `blocks` pieces of work of `size` elements each: one where starting a team costs more
 * than the work. */
RF_INLINE int rf_cpu_threads(const rf_device *device, int64_t blocks, int64_t size)
{
    bool small = blocks < 2 || blocks * size < 16384;
    return small || device->threads < 1 ? 1 : device->threads;
}

RF_INLINE uint32_t rf_cpu_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

RF_INLINE float rf_cpu_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The sum of the lanes, pairwise. */
RF_INLINE float rf_cpu_sum_lanes(const float lanes[RF_LANES])
{
    float sums[RF_LANES / 2];
    for (int i = 0; i < RF_LANES / 2; i++) {
        sums[i] = lanes[i] + lanes[i + RF_LANES / 2];
    }
    for (int i = 0; i < RF_LANES / 4; i++) {
        sums[i] += sums[i + RF_LANES / 4];
    }
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/* e^x to 1.01 ulp (measured on every 37th float), 0 and infinity outside the range, NaN kept. Cody
 * and Waite's reduction to |r| <= ln 2 / 2, then a polynomial; 2^n is applied in two factors, so
 * that denormals come out. Branch-free, so that gcc makes vectors of a loop over it. */
RF_INLINE float rf_cpu_exp(float x)
{
    const float shift =
        0x1.8p23F; /* adding it rounds to an integer, which stands in the low bits */
    x = x > 89.0F ? 89.0F : x;
    x = x < -104.0F ? -104.0F : x;
    float shifted = x * 0x1.715476p+0F + shift;
    uint32_t n = rf_cpu_bits(shifted) - rf_cpu_bits(shift);
    float whole = shifted - shift;
    /* ln 2 in two parts: the first has so few bits that its product with an integer below 2^8 is
     * exact. */
    float r = x - whole * 0x1.62e400p-1F;
    r = r - whole * 0x1.7f7d1cp-20F;
    float p = 0x1.a01a02p-13F; /* 1/5040 */
    p = p * r + 0x1.6c16c2p-10F;
    p = p * r + 0x1.111112p-7F;
    p = p * r + 0x1.555556p-5F;
    p = p * r + 0x1.555556p-3F;
    p = p * r + 0.5F;
    p = p * (r * r) + r + 1.0F;
    uint32_t half = (uint32_t)((int32_t)n >> 1);
    float first = rf_cpu_float((half + 127U) << 23);
    float second = rf_cpu_float((n - half + 127U) << 23);
    return p * first * second;
}

/* to [width] f32 += the column sums of x [rows, width], real; nothing where it is absent. In
 * reduce.c. */
void rf_cpu_add_columns(const rf_device *device, const rf_tensor *x, const rf_tensor *to);
/* Lanes added in order, and the sum of squares of x [count] by lanes; in reduce.c. */
double rf_cpu_sum_doubles(const double lanes[RF_LANES]);
double rf_cpu_sum_squares(const float *x, int64_t count);

#endif
