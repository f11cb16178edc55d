/* One query a head over a window of a cache, and the rounds as one softmax. The rows of a window
 * lie anywhere in a large cache, so they are asked for some places ahead of their use. Time 4 x
 * window x width a head and round, and rounds x window where duplicates are corrected. Windows:
 * docs/generation.md, "What a new token attends to". */
#include "ops/cpu/block_attention_rows.h"
#include "ops/cpu/layer_cache.h"

enum { AHEAD = 12, LINE_FLOATS = 16, NO_PLACE = -2 };

/* ---- one window -------------------------------------------------------------------------- */

typedef struct window_attention {
    const float *query;    /* [width] */
    const float *rows;     /* [places, 2, width]: the key and the value of each place */
    const int32_t *places; /* [count], count > 0; a place that comes twice counts twice */
    int64_t count, width;
    int32_t self;    /* the place that scores exactly -1e5, or NO_PLACE */
    float scale;     /* of all other scores, */
    float *biases;   /* [count], which these are added to; NULL: none */
    bool is_exact;   /* weights are divided by their sum */
    float *scores;   /* [count], scratch */
    float *output;   /* [width], written */
    float *log_norm; /* [1], written */
} window_attention;

/* Ask for one half, key or value, of a place's row. */
RF_INLINE void ask_for(const float *row, int64_t width)
{
    for (int64_t i = 0; i < width; i += LINE_FLOATS) {
        __builtin_prefetch(row + i);
    }
}

RF_VECTOR_CLONES static void score_places(const window_attention *in)
{
    int64_t width = in->width;
    for (int64_t i = 0; i < in->count; i++) {
        if (i + AHEAD < in->count) {
            ask_for(in->rows + in->places[i + AHEAD] * 2 * width, 2 * width);
        }
        in->scores[i] = rf_cpu_product_of(in->query, in->rows + in->places[i] * 2 * width, width);
    }
}

RF_VECTOR_CLONES static void add_values(const window_attention *in, float factor)
{
    int64_t width = in->width;
    float *output = in->output;
    for (int64_t j = 0; j < width; j++) {
        output[j] = 0.0F;
    }
    for (int64_t i = 0; i < in->count; i++) {
        float weight = in->scores[i];
        const float *value = in->rows + (in->places[i] * 2 + 1) * width;
        for (int64_t j = 0; j < width; j++) {
            output[j] += weight * value[j];
        }
    }
    for (int64_t j = 0; j < width; j++) {
        output[j] *= factor;
    }
}

/* Rounded as Hugging Face's: log_norm = (float)(m + log l), output = (sum of exp(s - m) v) * exp(m
 * - log_norm); or exactly: / l. */
static void attend_window(const window_attention *attention)
{
    score_places(attention);
    float maximum = 0.0F;
    float sum = 0.0F;
    rf_attention_columns columns = {.positions = attention->places,
                                    .tokens = attention->places,
                                    .biases = attention->biases,
                                    .count = attention->count};
    rf_attention_rule rule = {
        .scale = attention->scale, .limit = INT32_MAX - 1, .self = attention->self};
    rf_cpu_attention_softmax(attention->scores, &columns, &rule, &maximum, &sum);
    float log_norm = maximum + logf(sum);
    add_values(attention, attention->is_exact ? 1.0F / sum : expf(maximum - log_norm));
    *attention->log_norm = log_norm;
}

/* ---- which window ------------------------------------------------------------------------ */

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

int64_t rf_cpu_cache_window(const rf_layer_cache *cache, const rf_cpu_lists *lists, int64_t token,
                            const uint8_t *kept, int32_t *tokens)
{
    if (lists != NULL) {
        return rf_cpu_lists_window(lists, rf_cpu_cache_chunks(cache), tokens);
    }
    int64_t first = cache->is_lsh ? 0 : (token / cache->chunk - cache->before) * cache->chunk;
    return list_kept(kept, first > 0 ? first : 0, token, tokens);
}

int64_t rf_cpu_cache_longest_window(const rf_layer_cache *cache)
{
    int64_t listed = rf_cpu_longest_window(rf_cpu_cache_chunks(cache), cache->capacity);
    return listed > cache->chunk + 1 ? listed : cache->chunk + 1;
}

/* Minus the logarithm of how often each token stands in the windows of all rounds. biases [count],
 * written; tokens [count], of number `row_head` of [batch, heads]. O(rounds x count). */
static void correct(const rf_layer_cache *cache, int64_t row_head, const int32_t *tokens,
                    int64_t count, float *biases)
{
    memset(biases, 0, (size_t)count * sizeof *biases);
    for (int64_t round = 0; round < cache->rounds; round++) {
        const rf_cpu_lists lists = rf_cpu_cache_lists(cache, row_head * cache->rounds + round);
        const rf_window_test test = rf_cpu_lists_test(&lists, rf_cpu_cache_chunks(cache));
        for (int64_t i = 0; i < count; i++) {
            const int32_t bucket = rf_cpu_cache_buckets(cache, row_head, tokens[i])[round];
            biases[i] += (float)rf_cpu_window_copies(&test, bucket, tokens[i]);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        biases[i] = -logf(biases[i]);
    }
}

/* ---- the operation ----------------------------------------------------------------------- */

/* What the windows are worked out in. */
typedef struct windows {
    const rf_cache_attend *call;
    int64_t parts;   /* rounds, of which a row with one window for all has the first only */
    int64_t longest; /* entries of a window, at most */
    int32_t *tokens; /* [batch x heads x parts, longest] */
    float *scores;   /* the same */
    float *biases;   /* the same, or nothing */
    float *output;   /* [batch, parts, 1, heads, width] */
    float *log_norm; /* [batch, heads x parts]: of a row [heads, its parts, 1] */
    float *norm;     /* [batch, heads, 1] */
    size_t size;     /* bytes of all */
} windows;

enum { PLACES = 6 };

/* Lay them out in scratch, or only count the bytes. */
static windows windows_of(const rf_cache_attend *call, char *scratch)
{
    const int64_t *shape = call->cache.rows.shape;
    windows in = {.call = call,
                  .parts = call->cache.rounds,
                  .longest = rf_cpu_cache_longest_window(&call->cache)};
    const int64_t items = shape[0] * shape[1] * in.parts;
    const bool is_corrected = !rf_tensor_is_absent(&call->cache.buckets);
    const int64_t counts[PLACES] = {items * in.longest,
                                    items * in.longest,
                                    is_corrected ? items * in.longest : 0,
                                    items * shape[4],
                                    items,
                                    shape[0] * shape[1]};
    void *places[PLACES] = {0};
    for (int i = 0; i < PLACES; i++) {
        places[i] = scratch == NULL ? NULL : scratch + in.size;
        in.size += rf_cpu_aligned((size_t)counts[i] * sizeof(float));
    }
    in.tokens = places[0];
    in.scores = places[1];
    in.biases = is_corrected ? places[2] : NULL;
    in.output = places[3];
    in.log_norm = places[4];
    in.norm = places[5];
    return in;
}

size_t rf_cpu_cache_attend_scratch_size(const rf_device *device, const void *arguments)
{
    (void)device;
    const rf_cache_attend *call = arguments;
    return windows_of(call, NULL).size;
}

/* Whether the windows of a row come from its lists; else there is one for all rounds. */
static bool is_listed(const rf_cache_attend *call, int64_t row)
{
    const int32_t *state = (const int32_t *)call->state.data + row * RF_STEP_WORDS;
    return state[RF_STEP_LISTED] != 0 && !rf_tensor_is_absent(&call->cache.lists);
}

/* Of the new token of a row. */
static int32_t position_of(const rf_cache_attend *call, int64_t row)
{
    return ((const int32_t *)call->state.data)[row * RF_STEP_WORDS + RF_STEP_POSITION];
}

static int64_t parts_of(const windows *in, int64_t row)
{
    return is_listed(in->call, row) ? in->parts : 1;
}

/* The window of number `index` of [batch, heads, rounds] as places of the cache, and the biases of
 * its scores. */
static void find_window(const windows *in, int64_t index, window_attention *attention)
{
    const rf_layer_cache *cache = &in->call->cache;
    const int64_t *shape = cache->rows.shape; /* [batch, heads, places, 2, width] */
    const int64_t row = index / in->parts / shape[1];
    const bool has_lists = is_listed(in->call, row);
    int32_t *tokens = in->tokens + index * in->longest;
    rf_cpu_lists lists = {0};
    if (has_lists) {
        lists = rf_cpu_cache_lists(cache, index);
    }
    attention->count = rf_cpu_cache_window(
        cache, has_lists ? &lists : NULL, position_of(in->call, row),
        (const uint8_t *)in->call->kept.data + row * in->call->kept.shape[1], tokens);
    attention->places = tokens;
    if (has_lists && in->biases != NULL) {
        attention->biases = in->biases + index * in->longest;
        correct(cache, index / in->parts, tokens, attention->count, attention->biases);
    }
    for (int64_t i = 0; i < attention->count && !cache->is_lsh; i++) {
        tokens[i] = (int32_t)(tokens[i] % shape[2]);
    }
}

static void attend_part(const windows *in, int64_t index)
{
    const rf_cache_attend *call = in->call;
    const rf_layer_cache *cache = &call->cache;
    const int64_t *shape = cache->rows.shape; /* [batch, heads, places, 2, width] */
    int64_t row_head = index / in->parts;
    int64_t round = index % in->parts;
    int64_t row = row_head / shape[1];
    int64_t head = row_head % shape[1];
    if (round >= parts_of(in, row)) {
        return;
    }
    window_attention attention = {
        .query = (const float *)call->query.data + row_head * shape[4],
        .rows = rf_cpu_cache_rows(cache, row, head),
        .width = shape[4],
        .self = cache->is_lsh ? position_of(call, row) : NO_PLACE,
        .scale = call->scale,
        .is_exact = cache->rounding == RF_ROUNDING_EXACT,
        .scores = in->scores + index * in->longest,
        .output = in->output + ((row * in->parts + round) * shape[1] + head) * shape[4],
        .log_norm = in->log_norm + row * shape[1] * in->parts + head * parts_of(in, row) + round,
    };
    find_window(in, index, &attention);
    attend_window(&attention);
}

static rf_status combine_row(rf_device *device, const windows *in, int64_t row, rf_error *error)
{
    const int64_t *shape = in->call->cache.rows.shape;
    int64_t parts = parts_of(in, row);
    int64_t width = shape[1] * shape[4];
    rf_combine_rounds combine = {
        .output = rf_tensor_5(in->output + row * in->parts * width, RF_F32, 1, parts, 1, shape[1],
                              shape[4]),
        .log_norm =
            rf_tensor_4(in->log_norm + row * shape[1] * in->parts, RF_F32, 1, shape[1], parts, 1),
        .merged = rf_tensor_4((float *)in->call->output.data + row * width, RF_F32, 1, 1, shape[1],
                              shape[4]),
        .norm = rf_tensor_3(in->norm + row * shape[1], RF_F32, 1, shape[1], 1),
        .rounding = in->call->cache.rounding};
    return rf_cpu_combine_rounds(device, &combine, NULL, error);
}

rf_status rf_cpu_cache_attend(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_cache_attend *call = arguments;
    const int64_t *shape = call->cache.rows.shape;
    windows in = windows_of(call, scratch);
    int64_t items = shape[0] * shape[1] * in.parts;
    int threads = rf_cpu_threads(device, items, in.longest * shape[4]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t index = 0; index < items; index++) {
        attend_part(&in, index);
    }
    for (int64_t row = 0; row < shape[0]; row++) {
        RF_TRY(combine_row(device, &in, row, error));
    }
    return RF_OK;
}
