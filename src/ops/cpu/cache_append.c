/* One more token into a cache: O(width) to store, O(log buckets) a round to put into its bucket,
 * whatever the length of the context. */
#include "ops/cpu/layer_cache.h"

/* The hash of the new token, whose buckets [batch, heads, rounds, 1] go to `buckets`. */
static rf_bucket_hash hash_of(const rf_cache_append *append, void *buckets)
{
    const int64_t *shape = append->cache.rows.shape;
    rf_bucket_hash hash = append->hash;
    hash.query = rf_tensor_4(append->query.data, RF_F32, shape[0], 1, shape[1], shape[4]);
    hash.key_mask = (rf_tensor){0};
    hash.first_head = 0;
    hash.buckets = rf_tensor_4(buckets, RF_I32, shape[0], shape[1], append->cache.rounds, 1);
    return hash;
}

size_t rf_cpu_cache_append_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_cache_append *append = arguments;
    if (rf_tensor_is_absent(&append->cache.lists)) {
        return 0;
    }
    rf_bucket_hash hash = hash_of(append, NULL);
    return rf_cpu_aligned(rf_tensor_size(&hash.buckets)) +
           rf_cpu_bucket_hash_scratch_size(device, &hash);
}

/* Position of the new token of a row. */
static int32_t token_of(const rf_cache_append *append, int64_t row)
{
    return ((const int32_t *)append->state.data)[row * RF_STEP_WORDS + RF_STEP_POSITION];
}

static rf_status list_token(rf_device *device, const rf_cache_append *append, void *scratch,
                            rf_error *error)
{
    int64_t lists_of_row = append->cache.rows.shape[1] * append->cache.rounds;
    rf_bucket_hash hash = hash_of(append, scratch);
    const int32_t *buckets = scratch;
    RF_TRY(rf_cpu_bucket_hash(
        device, &hash, (char *)scratch + rf_cpu_aligned(rf_tensor_size(&hash.buckets)), error));
    for (int64_t index = 0; index < rf_tensor_count(&hash.buckets); index++) {
        const int32_t token = token_of(append, index / lists_of_row);
        rf_cpu_lists lists = rf_cpu_cache_lists(&append->cache, index);
        int32_t *kept = rf_cpu_cache_buckets(&append->cache, index / append->cache.rounds, token);
        rf_cpu_lists_append(&lists, buckets[index], token);
        if (kept != NULL) {
            kept[index % append->cache.rounds] = buckets[index];
        }
    }
    return RF_OK;
}

rf_status rf_cpu_cache_append(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_cache_append *append = arguments;
    const rf_layer_cache *cache = &append->cache;
    const int64_t *shape = cache->rows.shape; /* [batch, heads, places, 2, width] */
    const float *key = cache->is_lsh ? append->query.data : append->key.data;
    const float *value = append->value.data;
    for (int64_t index = 0; index < shape[0] * shape[1]; index++) {
        rf_cpu_cache_store(cache, rf_cpu_cache_rows(cache, index / shape[1], index % shape[1]),
                           token_of(append, index / shape[1]), key + index * shape[4],
                           value + index * shape[4]);
    }
    return rf_tensor_is_absent(&cache->lists) ? RF_OK : list_token(device, append, scratch, error);
}
