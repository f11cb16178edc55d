/* The shape rules of the operations of decoding (decode.h says them in words). */
#include "ops/bucket_lists.h"
#include "ops/check.h"

/* ---- the step ---------------------------------------------------------------------------- */

static rf_status check_state(const rf_check_scope *scope, const rf_tensor *state,
                             const rf_tensor *like)
{
    return rf_check_like(scope, "state", state,
                         rf_tensor_2(NULL, RF_I32, like->shape[0], RF_STEP_WORDS), "the batch",
                         like);
}

static rf_status check_step_position(const rf_check_scope *scope, const rf_position *position,
                                     int64_t width)
{
    RF_TRY(rf_check_range(scope, "kind", (int64_t)position->kind, 0, RF_POSITION_SINUSOIDAL));
    if (position->kind == RF_POSITION_SINUSOIDAL) {
        return RF_OK;
    }
    RF_TRY(rf_check_range(scope, "axes", position->axes, 1, RF_MAX_RANK));
    int64_t sum = 0;
    for (int axis = 0; axis < position->axes; axis++) {
        RF_TRY(rf_check_free(scope, "tables", &position->tables[axis], RF_CHECK_F32, 2));
        sum += position->tables[axis].shape[1];
    }
    return rf_check_range(scope, "the sum of the tables' widths", sum, width, width);
}

rf_status rf_check_step_begin(const rf_check_scope *scope, const void *arguments)
{
    const rf_step_begin *begin = arguments;
    RF_TRY(rf_check_free(scope, "ids", &begin->ids, RF_CHECK_I32, 1));
    RF_TRY(check_state(scope, &begin->state, &begin->ids));
    RF_TRY(rf_check_free(scope, "kept", &begin->kept, RF_CHECK_U8, 2));
    RF_TRY(rf_check_free(scope, "table", &begin->table, RF_CHECK_F32, 2));
    RF_TRY(rf_check_range(scope, "listed_from", begin->listed_from, 1, INT64_MAX));
    int64_t batch = begin->ids.shape[0];
    int64_t width = begin->table.shape[1];
    RF_TRY(rf_check_like(scope, "kept", &begin->kept,
                         rf_tensor_2(NULL, RF_U8, batch, begin->kept.shape[1]), "ids",
                         &begin->ids));
    RF_TRY(rf_check_like(scope, "y", &begin->y, rf_tensor_2(NULL, RF_F32, batch, width), "table",
                         &begin->table));
    return check_step_position(scope, &begin->position, width);
}

/* The input; *k is the width of what is multiplied. */
static rf_status check_projected(const rf_check_scope *scope, const rf_layer_norm *norm, int64_t *k)
{
    const rf_tensor *x = &norm->x;
    *k = 0;
    if (rf_tensor_is_absent(&norm->gain)) {
        RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_F32, 2));
        *k = x->shape[1];
        return RF_OK;
    }
    RF_TRY(rf_check_free(scope, "x", x, RF_CHECK_F32 | RF_CHECK_FIXED32, 2));
    RF_TRY(rf_check_range(scope, "fraction_bits", norm->fraction_bits, 0, 30));
    RF_TRY(rf_check_norm_keeps(scope, norm));
    *k = x->shape[1];
    if (!rf_tensor_is_absent(&norm->x2)) {
        RF_TRY(rf_check_free(scope, "x2", &norm->x2, 1U << x->dtype, 2));
        RF_TRY(rf_check_like(scope, "x2", &norm->x2,
                             rf_tensor_2(NULL, x->dtype, x->shape[0], norm->x2.shape[1]), "x", x));
        *k += norm->x2.shape[1];
    }
    RF_TRY(rf_check_like(scope, "gain", &norm->gain, rf_tensor_1(NULL, RF_F32, *k), "x", x));
    return rf_check_like(scope, "bias", &norm->bias, rf_tensor_1(NULL, RF_F32, *k), "x", x);
}

static rf_status check_stream(const rf_check_scope *scope, const rf_residual *residual,
                              rf_tensor needed, const rf_tensor *weight)
{
    const rf_tensor *stream = &residual->stream;
    RF_TRY(rf_check_shape(scope, "stream", stream, RF_CHECK_F32 | RF_CHECK_FIXED32, needed,
                          "weight", weight));
    RF_TRY(rf_check_like(scope, "overflow", &residual->overflow, rf_tensor_1(NULL, RF_I32, 1),
                         "stream", stream));
    RF_TRY(rf_check_range(scope, "mode", (int64_t)residual->mode, 0, RF_RESIDUAL_SET));
    return rf_check_range(scope, "fraction_bits", residual->fraction_bits, 0, 30);
}

rf_status rf_check_step_project(const rf_check_scope *scope, const void *arguments)
{
    const rf_step_project *project = arguments;
    bool has_stream = !rf_tensor_is_absent(&project->residual.stream);
    int64_t k = 0;
    RF_TRY(check_projected(scope, &project->norm, &k));
    RF_TRY(rf_check_range(scope, "count", project->count, 1, has_stream ? 1 : RF_MAX_PROJECTIONS));
    RF_TRY(rf_check_range(scope, "activation", (int64_t)project->activation, 0,
                          RF_ACTIVATION_COUNT - 1));
    if (has_stream && project->activation != RF_ACTIVATION_LINEAR) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: an activation and a residual do not go together", scope->op);
    }
    for (int i = 0; i < project->count; i++) {
        const rf_projection *one = &project->projections[i];
        unsigned dtypes = i == 0 ? RF_CHECK_REAL : 1U << project->projections[0].weight.dtype;
        RF_TRY(rf_check_free(scope, "weight", &one->weight, dtypes, 2));
        int64_t n = one->weight.shape[0];
        rf_tensor y = rf_tensor_2(NULL, RF_F32, project->norm.x.shape[0], n);
        RF_TRY(rf_check_like(scope, "weight", &one->weight,
                             rf_tensor_2(NULL, one->weight.dtype, n, k), "x", &project->norm.x));
        RF_TRY(rf_check_optional(scope, "bias", &one->bias, rf_tensor_1(NULL, RF_F32, n), "weight",
                                 &one->weight));
        RF_TRY(has_stream ? check_stream(scope, &project->residual, y, &one->weight)
                          : rf_check_like(scope, "y", &one->y, y, "weight", &one->weight));
    }
    return RF_OK;
}

/* ---- caches ------------------------------------------------------------------------------ */

/* What of a cache says how windows are read. */
static rf_status check_switches(const rf_check_scope *scope, const rf_layer_cache *cache)
{
    const int64_t *shape = cache->rows.shape;
    const bool is_corrected = cache->duplicates == RF_DUPLICATES_CORRECTED;
    RF_TRY(rf_check_range(scope, "duplicates", (int64_t)cache->duplicates, 0,
                          RF_DUPLICATES_CORRECTED));
    RF_TRY(rf_check_range(scope, "rounding", (int64_t)cache->rounding, 0, RF_ROUNDING_EXACT));
    if (cache->whole_buckets && !(cache->same_bucket && cache->is_clipped)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: whole_buckets go with same_bucket and is_clipped", scope->op);
    }
    if (!is_corrected || rf_tensor_is_absent(&cache->lists)) {
        return RF_OK;
    }
    return rf_check_like(
        scope, "buckets", &cache->buckets,
        rf_tensor_4(NULL, RF_I32, shape[0], shape[1], cache->capacity, cache->rounds), "rows",
        &cache->rows);
}

static rf_status check_cache(const rf_check_scope *scope, const rf_layer_cache *cache)
{
    const rf_tensor *rows = &cache->rows;
    RF_TRY(rf_check_free(scope, "rows", rows, RF_CHECK_F32, 5));
    const int64_t *shape = rows->shape;
    RF_TRY(rf_check_range(scope, "keys and values of a place", shape[3], 2, 2));
    RF_TRY(rf_check_range(scope, "places", shape[2], 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "width", shape[4], 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "chunk", cache->chunk, 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "before", cache->before, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "after", cache->after, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "window", (cache->before + 1 + cache->after), 1,
                          INT32_MAX / cache->chunk));
    RF_TRY(rf_check_range(scope, "rounds", cache->rounds, 1, cache->is_lsh ? INT32_MAX : 1));
    RF_TRY(check_switches(scope, cache));
    if (rf_tensor_is_absent(&cache->lists)) {
        return RF_OK;
    }
    rf_lists_layout layout;
    if (!rf_lists_layout_of(cache->bucket_count, cache->capacity, &layout)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: there are no lists of %lld buckets and %lld tokens", scope->op,
                            (long long)cache->bucket_count, (long long)cache->capacity);
    }
    return rf_check_like(scope, "lists", &cache->lists,
                         rf_tensor_4(NULL, RF_I32, shape[0], shape[1], cache->rounds, layout.words),
                         "rows", rows);
}

/* Rows of a prompt: the batch, or one for all; heads inside the cache's. */
static rf_status check_group(const rf_check_scope *scope, const rf_layer_cache *cache, int64_t rows,
                             int64_t first_head, int64_t heads)
{
    int64_t batch = cache->rows.shape[0];
    RF_TRY(rf_check_range(scope, "rows of the prompt", rows, rows == 1 ? 1 : batch, batch));
    return rf_check_range(scope, "first_head", first_head, 0, cache->rows.shape[1] - heads);
}

rf_status rf_check_cache_fill(const rf_check_scope *scope, const void *arguments)
{
    const rf_cache_fill *fill = arguments;
    const rf_tensor *value = &fill->value;
    RF_TRY(check_cache(scope, &fill->cache));
    RF_TRY(rf_check_free(scope, "value", value, RF_CHECK_REAL, 4));
    int64_t length = value->shape[1];
    rf_tensor needed = *value;
    needed.shape[3] = fill->cache.rows.shape[4];
    RF_TRY(rf_check_like(scope, "value", value, needed, "rows", &fill->cache.rows));
    RF_TRY(rf_check_like(scope, "key", &fill->key, *value, "value", value));
    RF_TRY(check_group(scope, &fill->cache, value->shape[0], fill->first_head, value->shape[2]));
    RF_TRY(rf_check_range(scope, "first_token", fill->first_token, 0, length));
    return rf_check_range(scope, "tokens", length - fill->first_token, 0,
                          fill->cache.rows.shape[2]);
}

rf_status rf_check_lists_fill(const rf_check_scope *scope, const void *arguments)
{
    const rf_lists_fill *fill = arguments;
    const rf_tensor *buckets = &fill->buckets;
    RF_TRY(check_cache(scope, &fill->cache));
    RF_TRY(rf_check_free(scope, "lists", &fill->cache.lists, RF_CHECK_I32, 4));
    RF_TRY(rf_check_free(scope, "buckets", buckets, RF_CHECK_I32, 4));
    rf_tensor needed = *buckets;
    needed.shape[2] = fill->cache.rounds;
    RF_TRY(rf_check_like(scope, "buckets", buckets, needed, "lists", &fill->cache.lists));
    RF_TRY(rf_check_like(scope, "order", &fill->order, *buckets, "buckets", buckets));
    RF_TRY(rf_check_range(scope, "length", buckets->shape[3], 0, fill->cache.capacity));
    return check_group(scope, &fill->cache, buckets->shape[0], fill->first_head, buckets->shape[1]);
}

/* [batch, heads x width] f32 */
static rf_tensor token_rows(const rf_layer_cache *cache)
{
    const int64_t *shape = cache->rows.shape;
    return rf_tensor_2(NULL, RF_F32, shape[0], shape[1] * shape[4]);
}

static rf_status check_rotations(const rf_check_scope *scope, const rf_cache_append *append)
{
    const rf_bucket_hash *hash = &append->hash;
    const int64_t *shape = append->cache.rows.shape;
    int64_t buckets = 1;
    RF_TRY(rf_check_factors(scope, hash));
    RF_TRY(
        rf_check_range(scope, "rounds", hash->rounds, append->cache.rounds, append->cache.rounds));
    for (int i = 0; i < hash->factor_count; i++) {
        buckets *= hash->factors[i];
    }
    RF_TRY(rf_check_range(scope, "the product of the factors", buckets, append->cache.bucket_count,
                          append->cache.bucket_count));
    const int64_t columns = rf_hash_columns(hash->kind, hash->factors, hash->factor_count);
    return rf_check_like(scope, "rotations", &hash->rotations,
                         rf_tensor_4(NULL, RF_F32, shape[1], shape[4], hash->rounds, columns),
                         "rows", &append->cache.rows);
}

rf_status rf_check_cache_append(const rf_check_scope *scope, const void *arguments)
{
    const rf_cache_append *append = arguments;
    const rf_layer_cache *cache = &append->cache;
    RF_TRY(check_cache(scope, cache));
    RF_TRY(check_state(scope, &append->state, &cache->rows));
    rf_tensor needed = token_rows(cache);
    RF_TRY(rf_check_like(scope, cache->is_lsh ? "query" : "key",
                         cache->is_lsh ? &append->query : &append->key, needed, "rows",
                         &cache->rows));
    RF_TRY(rf_check_like(scope, "value", &append->value, needed, "rows", &cache->rows));
    return rf_tensor_is_absent(&cache->lists) ? RF_OK : check_rotations(scope, append);
}

rf_status rf_check_cache_attend(const rf_check_scope *scope, const void *arguments)
{
    const rf_cache_attend *attend = arguments;
    const rf_layer_cache *cache = &attend->cache;
    RF_TRY(check_cache(scope, cache));
    RF_TRY(check_state(scope, &attend->state, &cache->rows));
    RF_TRY(rf_check_free(scope, "kept", &attend->kept, RF_CHECK_U8, 2));
    RF_TRY(rf_check_like(scope, "kept", &attend->kept,
                         rf_tensor_2(NULL, RF_U8, cache->rows.shape[0], attend->kept.shape[1]),
                         "rows", &cache->rows));
    rf_tensor needed = token_rows(cache);
    RF_TRY(rf_check_like(scope, "query", &attend->query, needed, "rows", &cache->rows));
    return rf_check_like(scope, "output", &attend->output, needed, "rows", &cache->rows);
}

/* ---- sampling ---------------------------------------------------------------------------- */

rf_status rf_check_sample(const rf_check_scope *scope, const void *arguments)
{
    const rf_sample *sample = arguments;
    const rf_tensor *logits = &sample->logits;
    RF_TRY(rf_check_free(scope, "logits", logits, RF_CHECK_F32, 2));
    RF_TRY(rf_check_range(scope, "vocabulary", logits->shape[1], 1, INT32_MAX / 4));
    RF_TRY(check_state(scope, &sample->state, logits));
    rf_tensor seen = rf_tensor_2(NULL, RF_U8, logits->shape[0], logits->shape[1]);
    RF_TRY(sample->repetition_penalty != 1.0
               ? rf_check_like(scope, "seen", &sample->seen, seen, "logits", logits)
               : rf_check_optional(scope, "seen", &sample->seen, seen, "logits", logits));
    RF_TRY(rf_check_range(scope, "top_k", sample->top_k, 0, INT64_MAX));
    return rf_check_like(scope, "tokens", &sample->tokens,
                         rf_tensor_1(NULL, RF_I32, logits->shape[0]), "logits", logits);
}
