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

/* The mask of dropout, and its scale: see dropout.cu. */
struct rf_cuda_dropout_call {
    rf_random_key key;
    uint64_t origin; /* of element 0 */
    uint32_t keep_from;
    float scale;
};

/* The number of a mask's first element in a call whose rows of `width` begin at first_row. */
static inline rf_cuda_dropout_call rf_cuda_dropout_of(float probability, const rf_random_key &key,
                                                      int64_t first_row, int64_t width)
{
    rf_cuda_dropout_call call = {};
    if (probability > 0.0F) {
        call.key = key;
        call.origin = static_cast<uint64_t>(first_row * width);
        call.keep_from = rf_core_keep_from(probability);
        call.scale = 1.0F / (1.0F - probability);
    }
    return call;
}

/* Drop or keep four elements by their random bits. */
static __device__ __forceinline__ void
rf_cuda_mask(rf_cuda_quad<float> &in, const uint32_t (&bits)[4], const rf_cuda_dropout_call &call)
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float kept = in.v[j] * call.scale;
        in.v[j] = (bits[j] >> 8) >= call.keep_from ? kept : 0.0F;
    }
}

/* Elements i ... i + 3. */
static __device__ __forceinline__ void rf_cuda_drop(rf_cuda_quad<float> &in, int64_t i,
                                                    const rf_cuda_dropout_call &call)
{
    const uint64_t first = call.origin + static_cast<uint64_t>(i);
    uint32_t bits[4];
    if (first % 4 == 0) {
        rf_core_random_block(&call.key, first, bits);
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bits[j] = rf_core_random_bits(&call.key, first + static_cast<uint64_t>(j));
        }
    }
    rf_cuda_mask(in, bits, call);
}

#endif
