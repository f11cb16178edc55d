/* A prompt's keys and values into a cache: each is read once and written once. */
#include "ops/cpu/layer_cache.h"

enum { TOKENS = 64 }; /* that one thread takes at a time */

RF_VECTOR_CLONES static void normalise(const float *query, int64_t width, float *key)
{
    rf_cpu_normalise_key(query, width, key);
}

void rf_cpu_cache_store(const rf_layer_cache *cache, float *rows, int64_t token, const float *key,
                        const float *value)
{
    const int64_t *shape = cache->rows.shape;
    float *to = rows + token % shape[2] * 2 * shape[4];
    size_t size = (size_t)shape[4] * sizeof(float);
    if (cache->is_lsh) {
        normalise(key, shape[4], to);
    } else {
        memcpy(to, key, size);
    }
    memcpy(to + shape[4], value, size);
}

/* Element `offset` of a tensor. */
static const void *element(const rf_tensor *tensor, int64_t offset)
{
    return (const char *)tensor->data + (size_t)offset * rf_dtype_size(tensor->dtype);
}

/* bf16 keys and values: they are written as they are, and the key is normalised in place. */
static void store_rounded(const rf_layer_cache *cache, float *rows, int64_t token,
                          const uint16_t *key, const uint16_t *value)
{
    const int64_t *shape = cache->rows.shape;
    int64_t width = shape[4];
    float *to = rows + token % shape[2] * 2 * width;
    for (int64_t i = 0; i < width; i++) {
        to[i] = rf_bf16_to_f32(key[i]);
        to[width + i] = rf_bf16_to_f32(value[i]);
    }
    if (cache->is_lsh) {
        normalise(to, width, to);
    }
}

/* Tokens first ... first + count - 1 of one sequence and one head of the group. */
static void fill_tokens(const rf_cache_fill *fill, int64_t row, int64_t head, int64_t first,
                        int64_t count)
{
    const int64_t *shape = fill->value.shape; /* [rows, length, heads, width] */
    float *rows = rf_cpu_cache_rows(&fill->cache, row, fill->first_head + head);
    int64_t from = shape[0] == 1 ? 0 : row;
    for (int64_t token = first; token < first + count; token++) {
        int64_t offset = ((from * shape[1] + token) * shape[2] + head) * shape[3];
        const void *key = element(&fill->key, offset);
        const void *value = element(&fill->value, offset);
        if (fill->value.dtype == RF_F32) {
            rf_cpu_cache_store(&fill->cache, rows, token, key, value);
        } else {
            store_rounded(&fill->cache, rows, token, key, value);
        }
    }
}

rf_status rf_cpu_cache_fill(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    (void)scratch;
    (void)error;
    const rf_cache_fill *fill = arguments;
    const int64_t *shape = fill->value.shape;
    int64_t tokens = shape[1] - fill->first_token;
    int64_t pieces = rf_cpu_blocks(tokens, TOKENS);
    int64_t items = fill->cache.rows.shape[0] * shape[2] * pieces;
    int threads = rf_cpu_threads(device, items, TOKENS * shape[3]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < items; item++) {
        int64_t piece = item % pieces;
        fill_tokens(fill, item / pieces / shape[2], item / pieces % shape[2],
                    fill->first_token + piece * TOKENS, rf_cpu_block_length(tokens, TOKENS, piece));
    }
    return RF_OK;
}
