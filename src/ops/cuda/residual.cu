/* The two reversible streams: adding a value, taking it back, setting it. In fixed point the
 * addition is one of integers, so that taking back is exact (Gomez et al. 2017 made reversible
 * layers; integers remove their rounding). A thread takes four neighbours; one read of the value,
 * one read and write of the stream. The integers are those of ops/cpu/residual.c, bit for bit. */
#include "ops/cuda/residual.cuh"

namespace
{

/* stream, value [count]; overflow [1]: every thread that sees one writes the same number. */
template <rf_residual_mode Mode, bool Drops, typename T, typename Value>
__global__ void residual_kernel(T *__restrict__ stream, const Value *__restrict__ value,
                                const rf_cuda_dropout_call dropout, int64_t count, float scale,
                                bool aligned, int32_t *__restrict__ overflow)
{
    bool bad = false;
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        rf_cuda_quad<float> in = rf_cuda_load_reals(value, i, count, aligned);
        if (Drops) {
            rf_cuda_drop(in, i, dropout);
        }
        rf_cuda_quad<T> out = {};
        if (Mode != RF_RESIDUAL_SET) {
            out = rf_cuda_load_quad(stream, i, count, aligned);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            rf_cuda_change<Mode>(&out.v[j], in.v[j], scale, &bad);
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
    const rf_cuda_dropout_call dropout = rf_cuda_dropout_of(
        residual->probability, residual->key, residual->first_row, residual->value.shape[1]);
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
