/* Caches of one layer. One more token costs O(width) to store, O(log buckets) a round to hash, and
 * O(window) to look at, whatever the length of the context. Windows: Hugging Face's cached
 * decoding, with the window of local layers clamped at the first token (docs/generation.md). */
#include "generate/cache.h"

#include "base/memory.h"
#include "generate/attend.h"

#include <string.h>

static rf_status allocate_product(const char *what, const int64_t *factors, int count,
                                  void **memory, rf_error *error)
{
    size_t size = 1;
    for (int i = 0; i < count; i++) {
        if (!rf_size_multiply(size, (size_t)factors[i], &size)) {
            return rf_error_set(error, RF_ERR_MEMORY,
                                "%s: the size of the cache is more than any memory holds", what);
        }
    }
    return rf_allocate(size, what, memory, error);
}

static rf_status create_lists(rf_cache *cache, int64_t capacity, rf_error *error)
{
    size_t words = 0;
    if (!rf_bucket_lists_words(cache->bucket_count, capacity, &words)) {
        return rf_error_set(
            error, RF_ERR_MEMORY,
            "bucket lists for %lld buckets and %lld tokens are more than this library counts",
            (long long)cache->bucket_count, (long long)capacity);
    }
    int64_t parts = cache->batch * cache->heads * cache->rounds;
    const int64_t list_size[] = {parts, (int64_t)sizeof *cache->lists};
    const int64_t word_size[] = {parts, (int64_t)words, (int64_t)sizeof *cache->list_words};
    const int64_t bucket_size[] = {parts, (int64_t)sizeof *cache->last_buckets};
    void *memory = NULL;
    RF_TRY(allocate_product("bucket lists", list_size, 2, &memory, error));
    cache->lists = memory;
    RF_TRY(allocate_product("bucket lists", word_size, 3, &memory, error));
    cache->list_words = memory;
    RF_TRY(allocate_product("last buckets", bucket_size, 2, &memory, error));
    cache->last_buckets = memory;
    for (int64_t i = 0; i < parts; i++) {
        rf_bucket_lists_init(&cache->lists[i], cache->bucket_count, capacity,
                             cache->list_words + (size_t)i * words);
    }
    return RF_OK;
}

rf_status rf_cache_create(rf_cache *cache, int64_t capacity, rf_error *error)
{
    int64_t ring = (cache->window.before + 1) * cache->window.chunk;
    cache->places = cache->hashes || ring > capacity ? capacity : ring;
    const int64_t size[] = {cache->batch, cache->heads,          cache->places, 2,
                            cache->width, (int64_t)sizeof(float)};
    void *memory = NULL;
    RF_TRY(allocate_product(cache->hashes ? "keys and values of an LSH layer"
                                          : "keys and values of a local layer",
                            size, 6, &memory, error));
    cache->rows = memory;
    rf_status status = cache->bucket_count > 0 ? create_lists(cache, capacity, error) : RF_OK;
    if (status != RF_OK) {
        rf_cache_destroy(cache);
    }
    return status;
}

void rf_cache_destroy(rf_cache *cache)
{
    rf_release(cache->rows);
    rf_release(cache->lists);
    rf_release(cache->list_words);
    rf_release(cache->last_buckets);
    *cache = (rf_cache){0};
}

float *rf_cache_rows(const rf_cache *cache, int64_t row, int64_t head)
{
    return cache->rows + (row * cache->heads + head) * cache->places * 2 * cache->width;
}

static int64_t part_index(const rf_cache *cache, rf_cache_part part)
{
    return (part.row * cache->heads + part.head) * cache->rounds + part.round;
}

rf_bucket_lists *rf_cache_lists(const rf_cache *cache, rf_cache_part part)
{
    return &cache->lists[part_index(cache, part)];
}

void rf_cache_store(rf_cache *cache, int64_t row, int64_t head, int64_t token, const float *key,
                    const float *value)
{
    float *to = rf_cache_rows(cache, row, head) + token % cache->places * 2 * cache->width;
    size_t size = (size_t)cache->width * sizeof(float);
    if (cache->hashes) {
        rf_normalise_key(key, cache->width, to);
    } else {
        memcpy(to, key, size);
    }
    memcpy(to + cache->width, value, size);
}

void rf_cache_hash(rf_cache *cache, rf_cache_part part, int64_t token, int32_t bucket)
{
    rf_bucket_lists_append(rf_cache_lists(cache, part), bucket, (int32_t)token);
    cache->last_buckets[part_index(cache, part)] = bucket;
}

int64_t rf_cache_longest_window(const rf_cache *cache)
{
    const rf_chunk_window *window = &cache->window;
    int64_t listed = (window->before + 1 + window->after) * window->chunk;
    return listed > window->chunk + 1 ? listed : window->chunk + 1;
}

/* Kept tokens of [first, last], in order. */
static int64_t list_kept(const uint8_t *kept, int64_t first, int64_t last, int32_t *tokens)
{
    int64_t count = 0;
    for (int64_t token = first; token <= last; token++) {
        if (kept[token] != 0) {
            tokens[count++] = (int32_t)token;
        }
    }
    return count;
}

int64_t rf_cache_window(const rf_cache *cache, rf_cache_part part, int64_t token,
                        const uint8_t *kept, bool listed, int32_t *tokens)
{
    const rf_chunk_window *window = &cache->window;
    if (!cache->hashes) {
        int64_t first = (token / window->chunk - window->before) * window->chunk;
        return list_kept(kept, first > 0 ? first : 0, token, tokens);
    }
    if (!listed) {
        return list_kept(kept, 0, token, tokens);
    }
    int64_t index = part_index(cache, part);
    rf_bucket_lists_window(&cache->lists[index], cache->last_buckets[index], *window, tokens);
    return (window->before + 1 + window->after) * window->chunk;
}
