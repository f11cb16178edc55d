/* A prompt's keys and values into a cache: a warp a (sequence, head, token), each number read once
 * and written once (an LSH key's query is read twice, the second time from cache). */
#include "ops/cuda/cuda.cuh"

namespace
{

template <typename T> struct filling {
    const T *key, *value; /* [rows, length, heads, width] */
    float *to;            /* [batch, all_heads, places, 2, width] */
    int64_t batch, rows, length, heads, width;
    int64_t all_heads, places, first_head, first_token;
    bool is_lsh;
};

/* The factor of an LSH key: 1 / sqrt(mean square) / sqrt(width). */
template <typename T> __device__ float key_factor(const T *key, int64_t width, int lane)
{
    float sum = 0.0F;
    for (int64_t i = lane; i < width; i += rf_cuda_warp) {
        const float x = rf_cuda_load(key[i], 1.0F);
        sum += x * x;
    }
    const float mean = rf_cuda_warp_sum(sum) / static_cast<float>(width);
    return 1.0F / sqrtf(mean + 1e-6F) / sqrtf(static_cast<float>(width));
}

template <typename T> __global__ void fill(const filling<T> call)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t tokens = call.length - call.first_token;
    const int64_t items = call.batch * call.heads * tokens;
    for (int64_t item = rf_cuda_first() / rf_cuda_warp; item < items;
         item += rf_cuda_stride() / rf_cuda_warp) {
        const int64_t head = item % call.heads; /* neighbours in memory */
        const int64_t token = item / call.heads % tokens + call.first_token;
        const int64_t row = item / call.heads / tokens;
        const int64_t from_row = call.rows == 1 ? 0 : row;
        const int64_t from = ((from_row * call.length + token) * call.heads + head) * call.width;
        const int64_t list = row * call.all_heads + call.first_head + head;
        float *to = call.to + (list * call.places + token % call.places) * 2 * call.width;
        const float factor = call.is_lsh ? key_factor(call.key + from, call.width, lane) : 1.0F;
        for (int64_t i = lane; i < call.width; i += rf_cuda_warp) {
            to[i] = rf_cuda_load(call.key[from + i], 1.0F) * factor;
            to[call.width + i] = rf_cuda_load(call.value[from + i], 1.0F);
        }
    }
}

template <typename T> void launch(const rf_device *device, const rf_cache_fill *arguments)
{
    const int64_t *shape = arguments->value.shape;
    const int64_t *rows = arguments->cache.rows.shape;
    filling<T> call = {};
    call.key = static_cast<const T *>(arguments->key.data);
    call.value = static_cast<const T *>(arguments->value.data);
    call.to = static_cast<float *>(arguments->cache.rows.data);
    call.batch = rows[0];
    call.rows = shape[0];
    call.length = shape[1];
    call.heads = shape[2];
    call.width = shape[3];
    call.all_heads = rows[1];
    call.places = rows[2];
    call.first_head = arguments->first_head;
    call.first_token = arguments->first_token;
    call.is_lsh = arguments->cache.is_lsh;
    const int64_t items = call.batch * call.heads * (call.length - call.first_token);
    if (items > 0) {
        fill<T><<<rf_cuda_grid(device, items * rf_cuda_warp, rf_cuda_threads), rf_cuda_threads, 0,
                  rf_cuda_stream(device)>>>(call);
    }
}

} // namespace

rf_status rf_cuda_cache_fill(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_cache_fill *fill = static_cast<const rf_cache_fill *>(arguments);
    (fill->value.dtype == RF_F32 ? launch<float> : launch<__nv_bfloat16>)(device, fill);
    return rf_cuda_launched(device, "cache_fill", error);
}
