/* The arithmetic of base/random.h as inline functions, for the host and for CUDA kernels:
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; 2011) and
 * normals by inversion (Wichura: Algorithm AS 241, 1988, PPND7). Counter-based: about 40
 * multiplications for four numbers, no state.
 *
 * Counter layout, which checkpoints rely on:
 *
 *     word 0   bits 0-31 of index / 4
 *     word 1   bits 32-47 of index / 4 (low half), bits 32-47 of step (high half)
 *     word 2   bits 0-31 of step
 *     word 3   layer (24 bits), purpose (high 8 bits)
 *     key      seed, low word first
 *
 * and index mod 4 chooses the word of the result.
 *
 * Same bits everywhere: only + - x / sqrt, each rounded once, and fmaf. No product outside fmaf
 * feeds a sum, so that a compiler which contracts products and sums (nvcc does) finds nothing to
 * contract. */
#ifndef RF_BASE_RANDOM_CORE_H
#define RF_BASE_RANDOM_CORE_H

#include "base/random.h"

#include <math.h>
#include <string.h>

#ifdef __CUDACC__
#define RF_CORE static __host__ __device__ __forceinline__
#else
#define RF_CORE static inline
#endif

/* Ten rounds in place. */
RF_CORE void rf_core_philox(uint32_t counter[4], uint64_t seed)
{
    uint32_t key0 = (uint32_t)seed;
    uint32_t key1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < 10; i++) {
        uint64_t product0 = (uint64_t)0xD2511F53U * counter[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57U * counter[2];
        counter[0] = (uint32_t)(product1 >> 32) ^ counter[1] ^ key0;
        counter[1] = (uint32_t)product1;
        counter[2] = (uint32_t)(product0 >> 32) ^ counter[3] ^ key1;
        counter[3] = (uint32_t)product0;
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
    }
}

/* rf_random_block */
RF_CORE void rf_core_random_block(const rf_random_key *key, uint64_t index, uint32_t bits[4])
{
    uint64_t block = index / 4;
    bits[0] = (uint32_t)block;
    bits[1] = ((uint32_t)(block >> 32) & 0xFFFFU) | (uint32_t)(key->step >> 32) << 16;
    bits[2] = (uint32_t)key->step;
    bits[3] = (key->layer & 0xFFFFFFU) | key->purpose << 24;
    rf_core_philox(bits, key->seed);
}

/* rf_random_bits */
RF_CORE uint32_t rf_core_random_bits(const rf_random_key *key, uint64_t index)
{
    uint32_t bits[4];
    rf_core_random_block(key, index, bits);
    /* Not bits[index % 4]: a run-time index would put the array in a kernel's local memory. */
    const uint32_t low = index % 2 != 0 ? bits[1] : bits[0];
    const uint32_t high = index % 2 != 0 ? bits[3] : bits[2];
    return index % 4 >= 2 ? high : low;
}

/* Natural logarithm of a positive normal number, to about one ulp: x = m 2^e with m in [sqrt(1/2),
 * sqrt(2)), then log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172, whose series is cut after
 * s^9 (relative error 2e-9). ln 2 is split in two so that e times its first part is exact. */
RF_CORE float rf_core_log(float x)
{
    const uint32_t half_root_bits = 0x3F3504F3U; /* sqrt(1/2) */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (int32_t)((bits - half_root_bits + (127U << 23)) >> 23) - 127;
    bits -= (uint32_t)exponent << 23;
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1.0F) / (m + 1.0F);
    float square = s * s;
    float series = fmaf(square, 2.0F / 9.0F, 2.0F / 7.0F);
    series = fmaf(series, square, 2.0F / 5.0F);
    series = fmaf(series, square, 2.0F / 3.0F);
    float log_m = fmaf(series * square, s, 2.0F * s);
    float low = fmaf((float)exponent, -2.12194440e-4F, log_m);
    return fmaf((float)exponent, 0.693359375F, low);
}

/* p = (bits + 1/2) / 2^32 is taken as its distance from 1/2, or from 0 or 1 in the tails, both
 * exact before one rounding; so the result is odd in p - 1/2 to the bit. The branch of AS 241 for p
 * < e^-25 cannot be reached: p >= 2^-33. */
RF_CORE float rf_core_normal_from_bits(uint32_t bits)
{
    uint32_t above = bits >= 0x80000000U;
    uint32_t middle = above ? bits - 0x80000000U : 0x7FFFFFFFU - bits;
    float sign = above ? 1.0F : -1.0F;
    float q = (float)(2U * middle + 1U) * 0x1p-33F; /* |p - 1/2| */
    if (q <= 0.425F) {
        float r = fmaf(-q, q, 0.180625F);
        float over = fmaf(r, 5.9109374720e+1F, 1.5929113202e+2F);
        over = fmaf(over, r, 5.0434271938e+1F);
        over = fmaf(over, r, 3.3871327179e+0F);
        float under = fmaf(r, 6.7187563600e+1F, 7.8757757664e+1F);
        under = fmaf(under, r, 1.7895169469e+1F);
        under = fmaf(under, r, 1.0F);
        return sign * (q * over / under);
    }
    float tail = (float)(2U * (0x7FFFFFFFU - middle) + 1U) * 0x1p-33F; /* min(p, 1 - p) */
    float r = sqrtf(-rf_core_log(tail)) - 1.6F;
    float over = fmaf(r, 1.7023821103e-1F, 1.3067284816e+0F);
    over = fmaf(over, r, 2.7568153900e+0F);
    over = fmaf(over, r, 1.4234372777e+0F);
    float under = fmaf(r, 1.2021132975e-1F, 7.3700164250e-1F);
    under = fmaf(under, r, 1.0F);
    return sign * (over / under);
}

/* The smallest 24-bit integer whose uniform, integer / 2^24 (exact in float), is not below the
 * probability: rf_random_uniform(...) >= probability iff (bits >> 8) >= this. */
RF_CORE uint32_t rf_core_keep_from(float probability)
{
    double scaled = (double)probability * 0x1p24;
    uint32_t whole = (uint32_t)scaled;
    return (double)whole < scaled ? whole + 1U : whole;
}

#endif
