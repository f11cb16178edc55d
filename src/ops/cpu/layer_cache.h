/* A layer's cache on the host: where a token's key and value stand, and its lists. */
#ifndef RF_OPS_CPU_LAYER_CACHE_H
#define RF_OPS_CPU_LAYER_CACHE_H

#include "ops/cpu/bucket_lists.h"
#include "ops/cpu/cpu.h"

#include <math.h>

/* A size rounded up, so that what follows in scratch is aligned as scratch is. */
RF_INLINE size_t rf_cpu_aligned(size_t size)
{
    return (size + 255U) & ~(size_t)255U;
}

/* The sum of a[i] * b[i], i < width, in a fixed order. */
RF_INLINE float rf_cpu_product_of(const float *a, const float *b, int64_t width)
{
    float lanes[RF_LANES] = {0};
    int64_t j = 0;
    for (; j + RF_LANES <= width; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            lanes[i] += a[j + i] * b[j + i];
        }
    }
    for (int i = 0; j < width; i++, j++) {
        lanes[i] += a[j] * b[j];
    }
    return rf_cpu_sum_lanes(lanes);
}

/* key = query * rsqrt(mean(query^2) + 1e-6) / sqrt(width): the key of a shared query and key.
 * query, key [width]. */
RF_INLINE void rf_cpu_normalise_key(const float *query, int64_t width, float *key)
{
    float mean = rf_cpu_product_of(query, query, width) / (float)width;
    float factor = 1.0F / sqrtf(mean + 1e-6F) / sqrtf((float)width);
    for (int64_t j = 0; j < width; j++) {
        key[j] = query[j] * factor;
    }
}

/* The rows of one sequence and head: [places, 2, width]. */
static inline float *rf_cpu_cache_rows(const rf_layer_cache *cache, int64_t row, int64_t head)
{
    const int64_t *shape = cache->rows.shape;
    return (float *)cache->rows.data + (row * shape[1] + head) * shape[2] * 2 * shape[4];
}

/* Lists number `index` of [batch, heads, rounds]. */
static inline rf_cpu_lists rf_cpu_cache_lists(const rf_layer_cache *cache, int64_t index)
{
    rf_lists_layout layout = {0};
    (void)rf_lists_layout_of(cache->bucket_count, cache->capacity, &layout);
    return rf_cpu_lists_of(&layout, (int32_t *)cache->lists.data + index * layout.words);
}

/* Buckets [rounds] of a token of number `row_head` of [batch, heads]; NULL: the cache keeps none.
 */
static inline int32_t *rf_cpu_cache_buckets(const rf_layer_cache *cache, int64_t row_head,
                                            int64_t token)
{
    return rf_tensor_is_absent(&cache->buckets)
               ? NULL
               : (int32_t *)cache->buckets.data +
                     (row_head * cache->capacity + token) * cache->rounds;
}

/* How windows are read from the cache's lists. */
static inline rf_chunk_window rf_cpu_cache_chunks(const rf_layer_cache *cache)
{
    return (rf_chunk_window){.chunk = cache->chunk,
                             .before = cache->before,
                             .after = cache->after,
                             .same_bucket = cache->same_bucket,
                             .whole_buckets = cache->whole_buckets,
                             .is_clipped = cache->is_clipped};
}

/* Keep a token's key (LSH: query) and value, [width] each, in rows [places, 2, width]. */
void rf_cpu_cache_store(const rf_layer_cache *cache, float *rows, int64_t token, const float *key,
                        const float *value);

/* Most tokens in a window of this cache. */
int64_t rf_cpu_cache_longest_window(const rf_layer_cache *cache);
/* Tokens that `token`, the last one stored, attends to, in window order; returns how many.
 *   lists   LSH: of its row, head and round; NULL: a local layer, or all kept tokens
 *   kept    [tokens], 1 where a token of this row may be attended to
 *   tokens  [rf_cpu_cache_longest_window], written */
int64_t rf_cpu_cache_window(const rf_layer_cache *cache, const rf_cpu_lists *lists, int64_t token,
                            const uint8_t *kept, int32_t *tokens);

#endif
