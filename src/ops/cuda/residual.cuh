/* What changes a stream, for the operations that do: dropout of a value and its addition, in
 * integers or in f32. The integers are those of ops/cpu/residual.c, bit for bit. */
#ifndef RF_OPS_CUDA_RESIDUAL_CUH
#define RF_OPS_CUDA_RESIDUAL_CUH

#include "ops/cuda/cuda.cuh"

/* value * scale rounded to nearest even, modulo 2^32; not finite: 0. `scale` is a power of two from
 * 1, so the product is exact, or infinite where it would be a multiple of 2^32. From 2^55 on a
 * float is a multiple of 2^32 (24 bits of mantissa). *bad is set where the integer does not fit; no
 * float lies between 2^31 - 128 and 2^31. */
static __device__ __forceinline__ uint32_t rf_cuda_fixed_of(float value, float scale, bool *bad)
{
    const float scaled = value * scale;
    if (scaled >= -0x1p31F && scaled < 0x1p31F) {
        return static_cast<uint32_t>(__float2int_rn(scaled));
    }
    *bad = true;
    return fabsf(scaled) < 0x1p55F
               ? static_cast<uint32_t>(static_cast<uint64_t>(__float2ll_rn(scaled)))
               : 0U;
}

template <rf_residual_mode Mode>
static __device__ __forceinline__ void rf_cuda_change(uint32_t *stream, float value, float scale,
                                                      bool *bad)
{
    const uint32_t step = rf_cuda_fixed_of(value, scale, bad);
    const uint32_t before = *stream;
    if (Mode == RF_RESIDUAL_SET) {
        *stream = step;
        return;
    }
    const uint32_t after = Mode == RF_RESIDUAL_ADD ? before + step : before - step;
    /* Overflow: both have one sign (in a subtraction: different ones) and the result has the other
     * than `before`. */
    const uint32_t alike = Mode == RF_RESIDUAL_ADD ? ~(before ^ step) : before ^ step;
    *bad = *bad || ((alike & (before ^ after)) >> 31) != 0;
    *stream = after;
}

template <rf_residual_mode Mode>
static __device__ __forceinline__ void rf_cuda_change(float *stream, float value, float, bool *bad)
{
    *bad = *bad || !isfinite(value);
    *stream = Mode == RF_RESIDUAL_SET   ? value
              : Mode == RF_RESIDUAL_ADD ? *stream + value
                                        : *stream - value;
}

/* Four neighbours of a stream; those that all fit, as they nearly always do, without a branch each.
 */
template <rf_residual_mode Mode>
static __device__ __forceinline__ void rf_cuda_change_quad(rf_cuda_quad<uint32_t> &stream,
                                                           const rf_cuda_quad<float> &value,
                                                           float scale, bool *bad)
{
    float most = 0.0F;
    bool is_number = true;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        most = fmaxf(most, fabsf(value.v[j] * scale));
        is_number = is_number && value.v[j] == value.v[j];
    }
    if (most < 0x1p31F && is_number) {
        uint32_t leaves = 0; /* its sign bit: as in rf_cuda_change */
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const uint32_t step = static_cast<uint32_t>(__float2int_rn(value.v[j] * scale));
            const uint32_t before = stream.v[j];
            const uint32_t after = Mode == RF_RESIDUAL_ADD ? before + step : before - step;
            const uint32_t alike = Mode == RF_RESIDUAL_ADD ? ~(before ^ step) : before ^ step;
            leaves |= alike & (before ^ after);
            stream.v[j] = after;
        }
        *bad = *bad || leaves >> 31 != 0;
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        rf_cuda_change<Mode>(&stream.v[j], value.v[j], scale, bad);
    }
}

template <rf_residual_mode Mode>
static __device__ __forceinline__ void rf_cuda_change_quad(rf_cuda_quad<float> &stream,
                                                           const rf_cuda_quad<float> &value,
                                                           float scale, bool *bad)
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        rf_cuda_change<Mode>(&stream.v[j], value.v[j], scale, bad);
    }
}

/* The mask of dropout, and its scale: see dropout.cu. What of the generator is the same for all
 * elements stands in the kernel's constant bank: `base` are words 1 to 3 of the counter, `keys` the
 * keys of its rounds. */
struct rf_cuda_dropout_call {
    uint64_t origin; /* of element 0 */
    uint32_t base[3];
    uint32_t keys[10][2];
    uint32_t keep_from; /* of 32 bits */
    float scale;
};

/* The number of a mask's first element in a call whose rows of `width` begin at first_row. */
static inline rf_cuda_dropout_call rf_cuda_dropout_of(float probability, const rf_random_key &key,
                                                      int64_t first_row, int64_t width)
{
    rf_cuda_dropout_call call = {};
    if (probability > 0.0F) {
        call.base[0] = static_cast<uint32_t>(key.step >> 32) << 16;
        call.base[1] = static_cast<uint32_t>(key.step);
        call.base[2] = (key.layer & 0xFFFFFFU) | key.purpose << 24;
        for (uint32_t i = 0; i < 10; i++) {
            call.keys[i][0] = static_cast<uint32_t>(key.seed) + i * 0x9E3779B9U;
            call.keys[i][1] = static_cast<uint32_t>(key.seed >> 32) + i * 0xBB67AE85U;
        }
        call.origin = static_cast<uint64_t>(first_row * width);
        call.keep_from = rf_core_keep_from(probability) << 8; /* below 2^24 before */
        call.scale = 1.0F / (1.0F - probability);
    }
    return call;
}

/* rf_core_random_block of the call's key, index = 4 block, to the bit. */
static __device__ __forceinline__ void rf_cuda_random_block(const rf_cuda_dropout_call &call,
                                                            uint64_t block, uint32_t (&bits)[4])
{
    bits[0] = static_cast<uint32_t>(block);
    bits[1] = (static_cast<uint32_t>(block >> 32) & 0xFFFFU) | call.base[0];
    bits[2] = call.base[1];
    bits[3] = call.base[2];
#pragma unroll
    for (int i = 0; i < 10; i++) {
        const uint64_t product0 = static_cast<uint64_t>(0xD2511F53U) * bits[0];
        const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57U) * bits[2];
        bits[0] = static_cast<uint32_t>(product1 >> 32) ^ bits[1] ^ call.keys[i][0];
        bits[1] = static_cast<uint32_t>(product1);
        bits[2] = static_cast<uint32_t>(product0 >> 32) ^ bits[3] ^ call.keys[i][1];
        bits[3] = static_cast<uint32_t>(product0);
    }
}

/* Drop or keep four elements by their random bits. */
static __device__ __forceinline__ void
rf_cuda_mask(rf_cuda_quad<float> &in, const uint32_t (&bits)[4], const rf_cuda_dropout_call &call)
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float kept = in.v[j] * call.scale;
        in.v[j] = bits[j] >= call.keep_from ? kept : 0.0F;
    }
}

/* Elements i ... i + 3. */
static __device__ __forceinline__ void rf_cuda_drop(rf_cuda_quad<float> &in, int64_t i,
                                                    const rf_cuda_dropout_call &call)
{
    const uint64_t first = call.origin + static_cast<uint64_t>(i);
    uint32_t bits[4];
    rf_cuda_random_block(call, first / 4, bits);
    const int skip = static_cast<int>(first % 4);
    if (skip != 0) { /* the four lie in two blocks of the generator */
        uint32_t next[4];
        rf_cuda_random_block(call, first / 4 + 1, next);
        const uint32_t both[6] = {bits[1], bits[2], bits[3], next[0], next[1], next[2]};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bits[j] = skip == 1 ? both[j] : skip == 2 ? both[j + 1] : both[j + 2];
        }
    }
    rf_cuda_mask(in, bits, call);
}

#endif
