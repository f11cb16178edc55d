/* Conversions between f32 and bf16, f16 and fixed32: a thread moves four neighbours at a time. One
 * read and one write of memory. */
#include "ops/cuda/cuda.cuh"

namespace
{

__device__ __forceinline__ float to_f32(float value, float)
{
    return value;
}
__device__ __forceinline__ float to_f32(__nv_bfloat16 value, float)
{
    return __bfloat162float(value);
}
__device__ __forceinline__ float to_f32(__half value, float)
{
    return __half2float(value);
}
__device__ __forceinline__ float to_f32(int32_t value, float unit)
{
    return static_cast<float>(value) * unit;
}

template <typename T> __device__ __forceinline__ T from_f32(float value, float scale);
template <> __device__ __forceinline__ float from_f32<float>(float value, float)
{
    return value;
}
template <> __device__ __forceinline__ __nv_bfloat16 from_f32<__nv_bfloat16>(float value, float)
{
    return __float2bfloat16_rn(value);
}
template <> __device__ __forceinline__ __half from_f32<__half>(float value, float)
{
    return __float2half_rn(value);
}
/* Saturating; not a number becomes 0. Scaling by a power of two is exact, and 2^31 - 1 is no float.
 */
template <> __device__ __forceinline__ int32_t from_f32<int32_t>(float value, float scale)
{
    const float scaled = value * scale;
    if (scaled >= 0x1p31F) {
        return INT32_MAX;
    }
    if (scaled < -0x1p31F) {
        return INT32_MIN;
    }
    return scaled == scaled ? __float2int_rn(scaled) : 0;
}

template <typename From, typename To>
__global__ void cast_kernel(const From *__restrict__ x, To *__restrict__ y, int64_t count,
                            float unit, float scale, bool aligned)
{
    for (int64_t i = 4 * rf_cuda_first(); i < count; i += 4 * rf_cuda_stride()) {
        const rf_cuda_quad<From> in = rf_cuda_load_quad(x, i, count, aligned);
        rf_cuda_quad<To> out;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            out.v[j] = from_f32<To>(to_f32(in.v[j], unit), scale);
        }
        rf_cuda_store_quad(y, i, count, aligned, out);
    }
}

template <typename From, typename To> void launch(const rf_device *device, const rf_cast *cast)
{
    const int64_t count = rf_tensor_count(&cast->x);
    const From *x = rf_cuda_data<const From>(&cast->x);
    To *y = rf_cuda_data<To>(&cast->y);
    const bool aligned = rf_cuda_is_aligned(x, 4) && rf_cuda_is_aligned(y, 4);
    const float scale = static_cast<float>(static_cast<int64_t>(1) << cast->fraction_bits);
    cast_kernel<From, To><<<rf_cuda_grid(device, count, 4 * rf_cuda_threads), rf_cuda_threads, 0,
                            rf_cuda_stream(device)>>>(x, y, count, 1.0F / scale, scale, aligned);
}

} // namespace

/* One side is f32, as the shape rule says. */
rf_status rf_cuda_cast(rf_device *device, const void *arguments, void *, rf_error *error)
{
    rf_cast cast = *static_cast<const rf_cast *>(arguments);
    const bool from_f32 = cast.x.dtype == RF_F32;
    const bool is_fixed = cast.x.dtype == RF_FIXED32 || cast.y.dtype == RF_FIXED32;
    cast.fraction_bits = is_fixed ? cast.fraction_bits : 0;
    if (rf_tensor_count(&cast.x) == 0) {
        return RF_OK;
    }
    switch (from_f32 ? cast.y.dtype : cast.x.dtype) {
    case RF_BF16:
        (from_f32 ? launch<float, __nv_bfloat16> : launch<__nv_bfloat16, float>)(device, &cast);
        break;
    case RF_F16:
        (from_f32 ? launch<float, __half> : launch<__half, float>)(device, &cast);
        break;
    case RF_FIXED32:
        (from_f32 ? launch<float, int32_t> : launch<int32_t, float>)(device, &cast);
        break;
    default:
        launch<float, float>(device, &cast);
        break;
    }
    return rf_cuda_launched(device, "cast", error);
}
