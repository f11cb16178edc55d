/* Caches of one layer: sizes, and windows for inspection; see the header. */
#include "generate/cache.h"

#include "ops/cpu/layer_cache.h"

static rf_status take_lists(rf_layer_cache *cache, rf_workspace *block, rf_error *error)
{
    rf_lists_layout layout;
    const int64_t *rows = cache->rows.shape;
    if (!rf_lists_layout_of(cache->bucket_count, cache->capacity, &layout)) {
        return rf_error_set(
            error, RF_ERR_MEMORY,
            "bucket lists for %lld buckets and %lld tokens are more than this library counts",
            (long long)cache->bucket_count, (long long)cache->capacity);
    }
    const int64_t shape[] = {rows[0], rows[1], cache->rounds, layout.words};
    const int64_t tokens[] = {rows[0], rows[1], cache->capacity, cache->rounds};
    RF_TRY(rf_workspace_take(block, "bucket lists", RF_I32, 4, shape, &cache->lists, error));
    return cache->duplicates == RF_DUPLICATES_CORRECTED
               ? rf_workspace_take(block, "buckets of tokens", RF_I32, 4, tokens, &cache->buckets,
                                   error)
               : RF_OK;
}

/* The options of LSH attention, as block_attention has them from the model (model/plan_lsh.c). */
static void set_options(rf_layer_cache *cache, const rf_lsh_options *options)
{
    cache->same_bucket = options->same_bucket;
    cache->whole_buckets = options->whole_buckets;
    cache->is_clipped = !options->across_rounds;
    cache->duplicates = options->corrected ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED;
    cache->rounding = options->paper ? RF_ROUNDING_EXACT : RF_ROUNDING_REFERENCE;
}

rf_status rf_cache_take(rf_layer_cache *cache, const rf_config *config, int64_t layer,
                        int64_t batch, int64_t capacity, rf_workspace *block, rf_error *error)
{
    bool is_lsh = rf_config_shares_query_key(config, layer);
    bool hashes = config->kinds[layer] == RF_LAYER_LSH;
    bool is_full = !hashes && config->kinds[layer] != RF_LAYER_LOCAL;
    const rf_window_config all = {.chunk_length = capacity};
    const rf_window_config *window = is_full ? &all : hashes ? &config->lsh : &config->local;
    bool has_lists = hashes && config->bucket_factors > 0;
    *cache = (rf_layer_cache){.bucket_count = has_lists ? rf_config_bucket_count(config) : 0,
                              .capacity = capacity,
                              .rounds = hashes ? config->rounds : 1,
                              .chunk = window->chunk_length,
                              .before = window->chunks_before,
                              .after = window->chunks_after,
                              .is_lsh = is_lsh};
    if (hashes) {
        set_options(cache, &config->lsh_options);
    }
    int64_t ring = (cache->before + 1) * cache->chunk;
    const int64_t shape[] = {batch, config->heads, hashes || ring > capacity ? capacity : ring, 2,
                             config->head_width};
    RF_TRY(rf_workspace_take(block,
                             hashes    ? "keys and values of an LSH layer"
                             : is_full ? "keys and values of a full layer"
                                       : "keys and values of a local layer",
                             RF_F32, 5, shape, &cache->rows, error));
    return has_lists ? take_lists(cache, block, error) : RF_OK;
}

rf_layer_cache rf_cache_rows(const rf_layer_cache *cache, int64_t first, int64_t count)
{
    rf_layer_cache view = *cache;
    view.rows = rf_tensor_rows(&cache->rows, first, count);
    if (!rf_tensor_is_absent(&cache->lists)) {
        view.lists = rf_tensor_rows(&cache->lists, first, count);
    }
    if (!rf_tensor_is_absent(&cache->buckets)) {
        view.buckets = rf_tensor_rows(&cache->buckets, first, count);
    }
    return view;
}

int64_t rf_cache_listed_from(const rf_config *config)
{
    const int64_t chunk = config->lsh.chunk_length;
    int64_t tokens = chunk;
    if (rf_config_lsh_layers(config) == 0) {
        return INT64_MAX;
    }
    if (!rf_lsh_options_are_plain(&config->lsh_options)) {
        while (tokens > 0 && rf_config_padded_length(config, tokens) > chunk) {
            tokens--;
        }
    }
    return tokens;
}

bool rf_cache_lists_prompt(const rf_config *config, int64_t tokens)
{
    const bool is_plain = rf_lsh_options_are_plain(&config->lsh_options);
    if (rf_config_lsh_layers(config) == 0) {
        return false;
    }
    return is_plain ? rf_config_padded_length(config, tokens) > config->lsh.chunk_length
                    : tokens >= rf_cache_listed_from(config);
}

int64_t rf_cache_longest_window(const rf_layer_cache *cache)
{
    return rf_cpu_cache_longest_window(cache);
}

int64_t rf_cache_list_words(const rf_layer_cache *cache)
{
    return rf_tensor_is_absent(&cache->lists) ? 0 : cache->lists.shape[3];
}

int64_t rf_cache_window(const rf_window_source *source, int64_t token, int32_t *tokens)
{
    rf_cpu_lists lists = {0};
    bool is_listed = source->lists != NULL;
    if (is_listed) {
        rf_lists_layout layout = {0};
        (void)rf_lists_layout_of(source->cache->bucket_count, source->cache->capacity, &layout);
        lists = rf_cpu_lists_of(&layout, source->lists);
    }
    return rf_cpu_cache_window(source->cache, is_listed ? &lists : NULL, token, source->kept,
                               tokens);
}
