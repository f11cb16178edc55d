/* The two reversible streams: adding a value, taking it back, setting it. In fixed point the
 * addition is one of integers, so that taking back is exact (Gomez et al. 2017 made reversible
 * layers; integers remove their rounding). A thread takes four neighbours; one read of the value,
 * one read and write of the stream. The integers are those of ops/cpu/residual.c, bit for bit. */
#include "ops/cuda/cuda.cuh"

namespace
{

/* value * scale rounded to nearest even, modulo 2^32; not finite: 0. `scale` is a power of two from
 * 1, so the product is exact, or infinite where it would be a multiple of 2^32. From 2^55 on a
 * float is a multiple of 2^32 (24 bits of mantissa). *bad is set where the integer does not fit; no
 * float lies between 2^31 - 128 and 2^31. */
__device__ __forceinline__ uint32_t fixed_of(float value, float scale, bool *bad)
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
__device__ __forceinline__ void change(uint32_t *stream, float value, float scale, bool *bad)
{
    const uint32_t step = fixed_of(value, scale, bad);
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
__device__ __forceinline__ void change(float *stream, float value, float, bool *bad)
{
    *bad = *bad || !isfinite(value);
    *stream = Mode == RF_RESIDUAL_SET   ? value
              : Mode == RF_RESIDUAL_ADD ? *stream + value
                                        : *stream - value;
}

/* The mask of dropout on the value: see dropout.cu. */
struct dropout_call {
    rf_random_key key;
    uint64_t origin; /* of element 0 */
    uint32_t keep_from;
    float scale;
};

__device__ __forceinline__ void drop(rf_cuda_quad<float> &in, int64_t i, const dropout_call &call)
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
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float kept = in.v[j] * call.scale;
        in.v[j] = (bits[j] >> 8) >= call.keep_from ? kept : 0.0F;
    }
}

/* stream, value [count]; overflow [1]: every thread that sees one writes the same number. */
template <rf_residual_mode Mode, bool Drops, typename T, typename Value>
__global__ void residual_kernel(T *__restrict__ stream, const Value *__restrict__ value,
                                const dropout_call dropout, int64_t count, float scale,
                                bool aligned, int32_t *__restrict__ overflow)
{
    bool bad = false;
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        rf_cuda_quad<float> in = rf_cuda_load_reals(value, i, count, aligned);
        if (Drops) {
            drop(in, i, dropout);
        }
        rf_cuda_quad<T> out = {};
        if (Mode != RF_RESIDUAL_SET) {
            out = rf_cuda_load_quad(stream, i, count, aligned);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            change<Mode>(&out.v[j], in.v[j], scale, &bad);
        }
        rf_cuda_store_quad(stream, i, count, aligned, out);
    }
    if (bad) {
        *overflow = 1;
    }
}

template <rf_residual_mode Mode, typename T, typename Value>
void launch(const rf_device *device, const rf_residual *residual)
{
    const int64_t count = rf_tensor_count(&residual->stream);
    T *stream = rf_cuda_data<T>(&residual->stream);
    const Value *value = rf_cuda_data<const Value>(&residual->value);
    const bool aligned = rf_cuda_is_aligned(stream, 4) && rf_cuda_is_aligned(value, 4);
    const bool fixed = residual->stream.dtype == RF_FIXED32;
    const float scale =
        fixed ? static_cast<float>(static_cast<int64_t>(1) << residual->fraction_bits) : 1.0F;
    const unsigned grid = rf_cuda_grid(device, count, 4 * rf_cuda_threads);
    dropout_call dropout = {};
    if (residual->probability > 0.0F) {
        dropout.key = residual->key;
        dropout.origin = static_cast<uint64_t>(residual->first_row * residual->value.shape[1]);
        dropout.keep_from = rf_core_keep_from(residual->probability);
        dropout.scale = 1.0F / (1.0F - residual->probability);
    }
    const auto kernel = residual->probability > 0.0F ? residual_kernel<Mode, true, T, Value>
                                                     : residual_kernel<Mode, false, T, Value>;
    kernel<<<grid, rf_cuda_threads, 0, rf_cuda_stream(device)>>>(
        stream, value, dropout, count, scale, aligned, rf_cuda_data<int32_t>(&residual->overflow));
}

template <typename T, typename Value>
void launch_mode(const rf_device *device, const rf_residual *residual)
{
    switch (residual->mode) {
    case RF_RESIDUAL_ADD:
        launch<RF_RESIDUAL_ADD, T, Value>(device, residual);
        break;
    case RF_RESIDUAL_SUBTRACT:
        launch<RF_RESIDUAL_SUBTRACT, T, Value>(device, residual);
        break;
    default:
        launch<RF_RESIDUAL_SET, T, Value>(device, residual);
        break;
    }
}

} // namespace

rf_status rf_cuda_residual(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_residual *residual = static_cast<const rf_residual *>(arguments);
    if (rf_tensor_count(&residual->stream) == 0) {
        return RF_OK;
    }
    const bool fixed = residual->stream.dtype == RF_FIXED32;
    rf_cuda_by_real(residual->value.dtype, [&](auto number) {
        typedef decltype(number) real;
        (fixed ? launch_mode<uint32_t, real> : launch_mode<float, real>)(device, residual);
    });
    return rf_cuda_launched(device, "residual", error);
}
