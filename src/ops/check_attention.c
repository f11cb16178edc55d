/* The shape rules of hashing, sorting and attention (attention.h says them in words). */
#include "ops/check.h"

/* The number of buckets, the extra one for masked tokens included, must fit an int32. */
rf_status rf_check_factors(const rf_check_scope *scope, const rf_bucket_hash *hash)
{
    RF_TRY(rf_check_range(scope, "factor_count", hash->factor_count, 1, RF_MAX_BUCKET_FACTORS));
    RF_TRY(rf_check_range(scope, "kind", (int64_t)hash->kind, 0, RF_HASH_HYPERPLANE));
    int64_t product = 1;
    for (int i = 0; i < hash->factor_count; i++) {
        RF_TRY(rf_check_range(scope, "a bucket factor", hash->factors[i], 2,
                              (INT32_MAX - 1) / product));
        if (hash->factors[i] % 2 != 0) {
            return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                                "%s: bucket factor %lld is odd; an even one is needed", scope->op,
                                (long long)hash->factors[i]);
        }
        if (hash->kind == RF_HASH_HYPERPLANE && (hash->factors[i] & (hash->factors[i] - 1)) != 0) {
            return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                                "%s: bucket factor %lld is no power of 2; hyperplanes need one",
                                scope->op, (long long)hash->factors[i]);
        }
        product *= hash->factors[i];
    }
    return RF_OK;
}

rf_status rf_check_bucket_hash(const rf_check_scope *scope, const void *arguments)
{
    const rf_bucket_hash *hash = arguments;
    const rf_tensor *query = &hash->query;
    RF_TRY(rf_check_factors(scope, hash));
    const int64_t columns = rf_hash_columns(hash->kind, hash->factors, hash->factor_count);
    RF_TRY(rf_check_free(scope, "query", query, RF_CHECK_REAL, 4));
    RF_TRY(rf_check_range(scope, "rounds", hash->rounds, 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "first_head", hash->first_head, 0, INT32_MAX));
    int64_t batch = query->shape[0];
    int64_t length = query->shape[1];
    int64_t heads = query->shape[2];
    if (!rf_tensor_is_absent(&hash->rotations)) {
        RF_TRY(rf_check_free(scope, "rotations", &hash->rotations, RF_CHECK_F32, 4));
        int64_t all_heads = hash->rotations.shape[0];
        RF_TRY(rf_check_range(scope, "first_head + heads", hash->first_head + heads, 0, all_heads));
        RF_TRY(rf_check_like(
            scope, "rotations", &hash->rotations,
            rf_tensor_4(NULL, RF_F32, all_heads, query->shape[3], hash->rounds, columns), "query",
            query));
    }
    RF_TRY(rf_check_optional(scope, "key_mask", &hash->key_mask,
                             rf_tensor_2(NULL, RF_U8, batch, length), "query", query));
    RF_TRY(rf_check_probability(scope, (double)hash->probability));
    if (hash->probability > 0.0F) {
        RF_TRY(rf_check_range(scope, "first_sample", hash->first_sample, 0, INT64_MAX));
        RF_TRY(rf_check_range(scope, "first_head + heads", hash->first_head + heads, 0,
                              hash->all_heads));
    }
    return rf_check_like(scope, "buckets", &hash->buckets,
                         rf_tensor_4(NULL, RF_I32, batch, heads, hash->rounds, length), "query",
                         query);
}

rf_status rf_check_bucket_sort(const rf_check_scope *scope, const void *arguments)
{
    const rf_bucket_sort *sort = arguments;
    const rf_tensor *buckets = &sort->buckets;
    RF_TRY(rf_check_free(scope, "buckets", buckets, RF_CHECK_I32, 4));
    RF_TRY(rf_check_free(scope, "order", &sort->order, RF_CHECK_I32, 4));
    RF_TRY(rf_check_range(scope, "bucket_count", sort->bucket_count, 1, INT32_MAX));
    int64_t slots = sort->order.shape[3];
    RF_TRY(rf_check_range(scope, "slots", slots, buckets->shape[3], INT32_MAX));
    rf_tensor needed = *buckets;
    needed.shape[3] = slots;
    RF_TRY(rf_check_like(scope, "order", &sort->order, needed, "buckets", buckets));
    if (!rf_tensor_is_absent(&sort->segments)) {
        RF_TRY(rf_check_range(scope, "segment_count", sort->segment_count, 1, INT32_MAX));
    }
    RF_TRY(rf_check_optional(scope, "segments", &sort->segments,
                             rf_tensor_2(NULL, RF_I32, buckets->shape[0], buckets->shape[3]),
                             "buckets", buckets));
    return rf_check_optional(scope, "inverse", &sort->inverse, *buckets, "buckets", buckets);
}

static rf_status check_plan_numbers(const rf_check_scope *scope, const rf_attention_plan *plan)
{
    RF_TRY(rf_check_range(scope, "batch", plan->batch, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "heads", plan->heads, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "parts", plan->parts, 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "length", plan->length, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "slots", plan->slots, plan->length, INT32_MAX));
    RF_TRY(rf_check_range(scope, "block", plan->block, 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "before", plan->before, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "after", plan->after, 0, INT32_MAX));
    RF_TRY(rf_check_range(scope, "wrap", (int64_t)plan->wrap, 0, RF_WRAP_ALL_PARTS));
    RF_TRY(rf_check_range(scope, "self", (int64_t)plan->self, 0, RF_SELF_LAST_RESORT));
    if (plan->slots % plan->block != 0) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: %lld slots are not a multiple of the block, %lld", scope->op,
                            (long long)plan->slots, (long long)plan->block);
    }
    RF_TRY(rf_check_probability(scope, (double)plan->probability));
    if (plan->probability > 0.0F) {
        RF_TRY(rf_check_range(scope, "first_head + heads", plan->first_head + plan->heads, 0,
                              plan->all_heads));
    }
    return RF_OK;
}

static rf_status refuse(const rf_check_scope *scope, const char *why)
{
    return rf_error_set(scope->error, RF_ERR_ARGUMENT, "%s: %s", scope->op, why);
}

/* Which of the paper's options go together. */
static rf_status check_options(const rf_check_scope *scope, const rf_attention_plan *plan)
{
    RF_TRY(
        rf_check_range(scope, "duplicates", (int64_t)plan->duplicates, 0, RF_DUPLICATES_CORRECTED));
    RF_TRY(rf_check_range(scope, "empty_row", (int64_t)plan->empty_row, 0, RF_EMPTY_ROW_ZERO));
    RF_TRY(rf_check_range(scope, "rounding", (int64_t)plan->rounding, 0, RF_ROUNDING_EXACT));
    if (plan->rounding == RF_ROUNDING_EXACT &&
        (plan->wrap != RF_WRAP_NONE || plan->empty_row != RF_EMPTY_ROW_ZERO)) {
        return refuse(scope,
                      "exact rounding needs a plan that does not wrap, with empty rows of 0");
    }
    if (plan->same_bucket == rf_tensor_is_absent(&plan->bucket)) {
        return refuse(scope, "`bucket` is needed with same_bucket, and only there");
    }
    const bool is_one_block = plan->block == plan->slots && plan->before == 0 && plan->after == 0 &&
                              plan->wrap == RF_WRAP_NONE;
    if (plan->whole_buckets && !(plan->same_bucket && is_one_block)) {
        return refuse(scope, "whole_buckets needs same_bucket, and one block of all slots");
    }
    if (plan->whole_buckets && rf_tensor_is_absent(&plan->order)) {
        return refuse(scope, "whole_buckets needs an order");
    }
    const bool looks_up = plan->duplicates == RF_DUPLICATES_CORRECTED && !plan->whole_buckets &&
                          !rf_tensor_is_absent(&plan->order);
    if (looks_up && rf_tensor_is_absent(&plan->inverse)) {
        return refuse(scope, "duplicates are to be corrected, which needs `inverse`");
    }
    return RF_OK;
}

/* The plan, and query, key and value against it. */
static rf_status check_plan(const rf_check_scope *scope, const rf_attention_plan *plan,
                            const rf_tensor *query, const rf_tensor *key, const rf_tensor *value)
{
    RF_TRY(check_plan_numbers(scope, plan));
    RF_TRY(check_options(scope, plan));
    RF_TRY(rf_check_free(scope, "query", query, RF_CHECK_REAL, 4));
    rf_tensor needed =
        rf_tensor_4(NULL, query->dtype, plan->batch, plan->length, plan->heads, query->shape[3]);
    RF_TRY(rf_check_like(scope, "query", query, needed, "the plan for", &needed));
    if (!plan->normalise_keys) {
        RF_TRY(rf_check_like(scope, "key", key, *query, "query", query));
    } else if (!rf_tensor_is_absent(key)) {
        return rf_error_set(scope->error, RF_ERR_ARGUMENT,
                            "%s: key is given, but the plan makes the keys from the queries",
                            scope->op);
    }
    RF_TRY(rf_check_like(scope, "value", value, *query, "query", query));
    RF_TRY(rf_check_optional(
        scope, "order", &plan->order,
        rf_tensor_4(NULL, RF_I32, plan->batch, plan->heads, plan->parts, plan->slots), "query",
        query));
    const rf_tensor of_tokens =
        rf_tensor_4(NULL, RF_I32, plan->batch, plan->heads, plan->parts, plan->length);
    RF_TRY(rf_check_optional(scope, "bucket", &plan->bucket, of_tokens, "query", query));
    RF_TRY(rf_check_optional(scope, "inverse", &plan->inverse, of_tokens, "query", query));
    RF_TRY(rf_check_optional(scope, "segments", &plan->segments,
                             rf_tensor_2(NULL, RF_I32, plan->batch, plan->length), "query", query));
    return rf_check_optional(scope, "key_mask", &plan->key_mask,
                             rf_tensor_2(NULL, RF_U8, plan->batch, plan->length), "query", query);
}

rf_status rf_check_block_attention(const rf_check_scope *scope, const void *arguments)
{
    const rf_block_attention *attention = arguments;
    const rf_attention_plan *plan = &attention->plan;
    const rf_tensor *query = &attention->query;
    RF_TRY(check_plan(scope, plan, query, &attention->key, &attention->value));
    RF_TRY(rf_check_shape(scope, "output", &attention->output, RF_CHECK_F32 | (1U << query->dtype),
                          rf_tensor_5(NULL, RF_F32, plan->batch, plan->parts, plan->length,
                                      plan->heads, query->shape[3]),
                          "query", query));
    return rf_check_like(
        scope, "log_norm", &attention->log_norm,
        rf_tensor_4(NULL, RF_F32, plan->batch, plan->heads, plan->parts, plan->length), "query",
        query);
}

rf_status rf_check_block_attention_backward(const rf_check_scope *scope, const void *arguments)
{
    const rf_block_attention_backward *backward = arguments;
    const rf_attention_plan *plan = &backward->plan;
    const rf_tensor *query = &backward->query;
    RF_TRY(check_plan(scope, plan, query, &backward->key, &backward->value));
    RF_TRY(rf_check_shape(scope, "output", &backward->output, RF_CHECK_F32 | (1U << query->dtype),
                          *query, "query", query));
    rf_tensor like_query = *query;
    like_query.dtype = backward->output.dtype;
    RF_TRY(rf_check_like(scope, "norm", &backward->norm,
                         rf_tensor_3(NULL, RF_F32, plan->batch, plan->heads, plan->length), "query",
                         query));
    RF_TRY(rf_check_like(scope, "output_gradient", &backward->output_gradient, like_query, "query",
                         query));
    RF_TRY(rf_check_like(scope, "query_gradient", &backward->query_gradient, like_query, "query",
                         query));
    if (!plan->normalise_keys) {
        RF_TRY(rf_check_like(scope, "key_gradient", &backward->key_gradient, like_query, "query",
                             query));
    }
    return rf_check_like(scope, "value_gradient", &backward->value_gradient, like_query, "query",
                         query);
}

rf_status rf_check_combine_rounds(const rf_check_scope *scope, const void *arguments)
{
    const rf_combine_rounds *combine = arguments;
    const rf_tensor *output = &combine->output;
    RF_TRY(rf_check_free(scope, "output", output, RF_CHECK_REAL, 5));
    RF_TRY(rf_check_range(scope, "parts", output->shape[1], 1, INT32_MAX));
    RF_TRY(rf_check_range(scope, "rounding", (int64_t)combine->rounding, 0, RF_ROUNDING_EXACT));
    int64_t batch = output->shape[0];
    int64_t length = output->shape[2];
    int64_t heads = output->shape[3];
    RF_TRY(rf_check_like(scope, "log_norm", &combine->log_norm,
                         rf_tensor_4(NULL, RF_F32, batch, heads, output->shape[1], length),
                         "output", output));
    RF_TRY(rf_check_like(scope, "merged", &combine->merged,
                         rf_tensor_4(NULL, output->dtype, batch, length, heads, output->shape[4]),
                         "output", output));
    return rf_check_like(scope, "norm", &combine->norm,
                         rf_tensor_3(NULL, RF_F32, batch, heads, length), "output", output);
}
