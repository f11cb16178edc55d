/* See the header. Buckets are random, skewed so that lists have several levels. */
#include "decode_cases.h"

#include <string.h>

int64_t decode_buckets(const decode_shape *shape)
{
    return shape->factors[0] * (shape->factors[1] > 0 ? shape->factors[1] : 1);
}

int64_t decode_token(const decode_shape *shape, int64_t row)
{
    return shape->token - row * shape->lag;
}

bool decode_listed(const decode_shape *shape, int64_t row)
{
    return shape->listed && (shape->lag == 0 || decode_token(shape, row) >= shape->chunk);
}

static rf_lists_layout layout_of(const decode_shape *shape)
{
    rf_lists_layout layout = {0};
    assert_true(rf_lists_layout_of(decode_buckets(shape), shape->capacity, &layout));
    return layout;
}

rf_layer_cache decode_cache(const decode_shape *shape)
{
    bool is_lsh = shape->factors[0] > 0;
    int64_t ring = (shape->before + 1) * shape->chunk;
    int64_t places = is_lsh || ring > shape->capacity ? shape->capacity : ring;
    rf_layer_cache cache = {
        .rows = rf_tensor_5(NULL, RF_F32, shape->batch, shape->heads, places, 2, shape->width),
        .capacity = shape->capacity,
        .rounds = is_lsh ? shape->rounds : 1,
        .chunk = shape->chunk,
        .before = shape->before,
        .after = shape->after,
        .is_lsh = is_lsh,
        .same_bucket = (shape->options & DECODE_SAME_BUCKET) != 0,
        .whole_buckets = (shape->options & DECODE_WHOLE) != 0,
        .is_clipped = (shape->options & DECODE_CLIPPED) != 0,
        .duplicates = (shape->options & DECODE_CORRECTED) != 0 ? RF_DUPLICATES_CORRECTED
                                                               : RF_DUPLICATES_COUNTED,
        .rounding =
            (shape->options & DECODE_EXACT) != 0 ? RF_ROUNDING_EXACT : RF_ROUNDING_REFERENCE};
    if (cache.duplicates == RF_DUPLICATES_CORRECTED) {
        cache.buckets =
            rf_tensor_4(NULL, RF_I32, shape->batch, shape->heads, shape->capacity, cache.rounds);
    }
    if (is_lsh) {
        rf_lists_layout layout = layout_of(shape);
        cache.bucket_count = layout.buckets;
        cache.lists =
            rf_tensor_4(NULL, RF_I32, shape->batch, shape->heads, cache.rounds, layout.words);
    }
    return cache;
}

bool decode_is_kept(const decode_shape *shape, uint64_t seed, int64_t row, int64_t token)
{
    rf_random_key key = {seed, 2, (uint32_t)row, RF_PURPOSE_TEST};
    uint64_t range = (uint64_t)(shape->masked_one_in > 0 ? shape->masked_one_in : 1);
    return shape->masked_one_in == 0 || token >= decode_token(shape, row) ||
           rf_random_below(&key, (uint64_t)token, range) > 0;
}

int64_t decode_row(const decode_shape *shape, int64_t list)
{
    return list / shape->rounds / shape->heads;
}

int64_t decode_bucket(const decode_shape *shape, uint64_t seed, int64_t list, int64_t token)
{
    rf_random_key key = {seed, 3, (uint32_t)list, RF_PURPOSE_TEST};
    uint64_t buckets = (uint64_t)decode_buckets(shape);
    if (!decode_is_kept(shape, seed, decode_row(shape, list), token)) {
        return (int64_t)buckets;
    }
    uint64_t one = rf_random_below(&key, 2 * (uint64_t)token, buckets);
    uint64_t other = rf_random_below(&key, 2 * (uint64_t)token + 1, buckets);
    return (int64_t)(one < other ? one : other);
}

check_buffer decode_rows(const decode_shape *shape, check_role role)
{
    rf_layer_cache cache = decode_cache(shape);
    check_buffer buffer = {
        .name = "rows", .role = role, .dtype = RF_F32, .rank = 5, .low = -1, .high = 1};
    memcpy(buffer.shape, cache.rows.shape, sizeof buffer.shape);
    return buffer;
}

/* Each list holds the tokens before the new one; where it is an input, that one too. */
static void fill_lists(const check_state *check, double *values, int64_t count)
{
    const decode_shape *shape = check->which->parameters;
    rf_lists_layout layout = layout_of(shape);
    double buckets[4096];
    for (int64_t list = 0; list < count / layout.words; list++) {
        double *words = values + list * layout.words;
        int64_t last = decode_token(shape, decode_row(shape, list));
        for (int64_t token = 0; token <= last; token++) {
            buckets[token] = (double)decode_bucket(shape, check->seed, list, token);
        }
        oracle_lists_build(&layout, buckets, last, words);
        for (int i = 0; i < check->count; i++) {
            if (check->buffers[i].fill == fill_lists && check->buffers[i].role == CHECK_INPUT) {
                oracle_lists_append(&layout, (int64_t)buckets[last], last, words);
            }
        }
    }
}

check_buffer decode_lists(const decode_shape *shape, check_role role)
{
    rf_layer_cache cache = decode_cache(shape);
    check_buffer buffer = {.name = "lists",
                           .role = role,
                           .dtype = RF_I32,
                           .rank = 4,
                           .low = 0,
                           .high = 9,
                           .fill = fill_lists};
    memcpy(buffer.shape, cache.lists.shape, sizeof buffer.shape);
    return buffer;
}

static void fill_token_buckets(const check_state *check, double *values, int64_t count)
{
    const decode_shape *shape = check->which->parameters;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row_head = i / shape->rounds / shape->capacity;
        const int64_t token = i / shape->rounds % shape->capacity;
        const int64_t list = row_head * shape->rounds + i % shape->rounds;
        if (token <= decode_token(shape, row_head / shape->heads)) {
            values[i] = (double)decode_bucket(shape, check->seed, list, token);
        }
    }
}

check_buffer decode_token_buckets(const decode_shape *shape, check_role role)
{
    const rf_layer_cache cache = decode_cache(shape);
    check_buffer buffer = {.name = "buckets",
                           .role = role,
                           .dtype = RF_I32,
                           .rank = 4,
                           .low = 0,
                           .high = 9,
                           .fill = role == CHECK_INPUT ? fill_token_buckets : NULL};
    memcpy(buffer.shape, cache.buckets.shape, sizeof buffer.shape);
    return buffer;
}

static void fill_state(const check_state *check, double *values, int64_t count)
{
    const decode_shape *shape = check->which->parameters;
    for (int64_t row = 0; row < count / RF_STEP_WORDS; row++) {
        double *words = values + row * RF_STEP_WORDS;
        words[RF_STEP_POSITION] = (double)decode_token(shape, row);
        words[RF_STEP_LISTED] = decode_listed(shape, row) ? 1.0 : 0.0;
        words[RF_STEP_LISTED_NEXT] = 1.0;
    }
}

check_buffer decode_state(const decode_shape *shape)
{
    check_buffer buffer = check_matrix("state", CHECK_INPUT, shape->batch, RF_STEP_WORDS, 0, 0);
    buffer.dtype = RF_I32;
    buffer.fill = fill_state;
    return buffer;
}

static void fill_kept(const check_state *check, double *values, int64_t count)
{
    const decode_shape *shape = check->which->parameters;
    for (int64_t i = 0; i < count; i++) {
        bool kept = decode_is_kept(shape, check->seed, i / shape->capacity, i % shape->capacity);
        values[i] = kept ? 1.0 : 0.0;
    }
}

check_buffer decode_kept(const decode_shape *shape)
{
    check_buffer buffer = check_matrix("kept", CHECK_INPUT, shape->batch, shape->capacity, 0, 0);
    buffer.dtype = RF_U8;
    buffer.fill = fill_kept;
    return buffer;
}

check_buffer decode_tokens(const decode_shape *shape, const char *name, check_role role)
{
    double spread = shape->spread > 0.0 ? shape->spread : 1.0;
    return check_matrix(name, role, shape->batch, shape->heads * shape->width, -spread, spread);
}
