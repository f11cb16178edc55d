/* A prompt's bucket lists, from its tokens sorted by bucket. O(tokens + buckets) a list. */
#include "ops/cpu/layer_cache.h"

/* The buckets [length] of one of [batch, heads, rounds], where the cache keeps them. */
static void keep_buckets(const rf_layer_cache *cache, int64_t index, const int32_t *buckets,
                         int64_t length)
{
    int32_t *to = rf_cpu_cache_buckets(cache, index / cache->rounds, 0);
    for (int64_t token = 0; token < length && to != NULL; token++) {
        to[token * cache->rounds + index % cache->rounds] = buckets[token];
    }
}

rf_status rf_cpu_lists_fill(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    (void)scratch;
    (void)error;
    const rf_lists_fill *fill = arguments;
    const rf_layer_cache *cache = &fill->cache;
    const int64_t *shape = fill->buckets.shape; /* [rows, heads, rounds, length] */
    const int32_t *buckets = fill->buckets.data;
    const int32_t *order = fill->order.data;
    int64_t items = cache->rows.shape[0] * shape[1] * shape[2];
    int threads = rf_cpu_threads(device, items, shape[3] + cache->bucket_count);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < items; item++) {
        int64_t row = item / shape[2] / shape[1];
        int64_t head = item / shape[2] % shape[1];
        int64_t round = item % shape[2];
        int64_t from =
            (((shape[0] == 1 ? 0 : row) * shape[1] + head) * shape[2] + round) * shape[3];
        int64_t to = (row * cache->rows.shape[1] + fill->first_head + head) * shape[2] + round;
        rf_cpu_lists lists = rf_cpu_cache_lists(cache, to);
        rf_cpu_lists_build(&lists, buckets + from, order + from, shape[3]);
        keep_buckets(cache, to, buckets + from, shape[3]);
    }
    return RF_OK;
}
