/* The attended set by brute force; see the header. O(length) hashes and a sort per head and round.
 * Keys and rotations are brought to the host first. */
#include "attended.h"

#include "base/memory.h"
#include "support.h"

#include <string.h>

typedef struct expectation {
    const rf_session *session;
    int64_t row, layer, head, round;
    int64_t token;                  /* the new one */
    int64_t width, rounds, columns; /* of rotations */
    const float *rows;              /* [batch, heads, places, 2, width] of the layer */
    const float *rotations;         /* [heads, width, rounds, columns] of the layer */
    int32_t *buckets;               /* [token + 1], -1 where masked */
    int64_t *order;                 /* [token + 1] */
    int64_t *tokens;                /* [longest window] */
} expectation;

static double projection(const expectation *at, int64_t token, int64_t column)
{
    const int64_t *shape = at->session->caches[at->layer].rows.shape;
    const float *key =
        at->rows + (((at->row * shape[1] + at->head) * shape[2] + token) * 2) * at->width;
    const float *matrix = at->rotations + at->head * at->width * at->rounds * at->columns;
    double sum = 0.0;
    for (int64_t i = 0; i < at->width; i++) {
        int64_t index = (i * at->rounds + at->round) * at->columns + column;
        sum += (double)key[i] * (double)matrix[index];
    }
    return sum;
}

/* Argmax over (p, -p) of half a factor's columns. */
static int64_t digit_of(const expectation *at, int64_t token, int64_t first, int64_t half)
{
    double best = -1e300;
    int64_t digit = 0;
    for (int64_t i = 0; i < 2 * half; i++) {
        double p = projection(at, token, first + i % half);
        p = i < half ? p : -p;
        if (p > best) {
            best = p;
            digit = i;
        }
    }
    return digit;
}

/* A bit for each plane that the token lies below; a factor 2^n has n of them. */
static int64_t planes_below(const expectation *at, int64_t token, int64_t first, int64_t factor,
                            int64_t *columns)
{
    int64_t digit = 0;
    for (*columns = 0; (INT64_C(1) << *columns) < factor; (*columns)++) {
        digit += projection(at, token, first + *columns) < 0.0 ? INT64_C(1) << *columns : 0;
    }
    return digit;
}

static int32_t bucket_of(const expectation *at, int64_t token)
{
    const rf_config *config = &at->session->model->config;
    int64_t bucket = 0;
    int64_t scale = 1;
    int64_t first = 0;
    for (int i = 0; i < config->bucket_factors; i++) {
        int64_t columns = config->buckets[i] / 2;
        const int64_t digit = config->hash_kind == RF_HASH_ANGULAR
                                  ? digit_of(at, token, first, columns)
                                  : planes_below(at, token, first, config->buckets[i], &columns);
        bucket += scale * digit;
        scale *= config->buckets[i];
        first += columns;
    }
    return (int32_t)bucket;
}

static const uint8_t *kept_row(const expectation *at)
{
    return at->session->host_kept + at->row * at->session->capacity;
}

/* Kept tokens from `first` on. */
static int64_t expect_all(const expectation *at, int64_t first)
{
    int64_t count = 0;
    for (int64_t token = first > 0 ? first : 0; token <= at->token; token++) {
        if (kept_row(at)[token] != 0) {
            at->tokens[count++] = token;
        }
    }
    return count;
}

static int64_t expect_window(const expectation *at, const rf_window_config *config)
{
    int64_t count = 0;
    int64_t buckets = rf_config_bucket_count(&at->session->model->config);
    for (int64_t bucket = 0; bucket < buckets; bucket++) {
        for (int64_t token = 0; token <= at->token; token++) {
            if (at->buckets[token] == bucket) {
                at->order[count++] = token;
            }
        }
    }
    int64_t slot = 0;
    while (at->order[slot] != at->token) {
        slot++;
    }
    const rf_lsh_options *options = &at->session->model->config.lsh_options;
    int64_t chunk = config->chunk_length;
    int64_t length = chunk * (config->chunks_before + 1 + config->chunks_after);
    int64_t start = (slot / chunk - config->chunks_before) * chunk;
    int64_t found = 0;
    if (options->whole_buckets) {
        start = 0;
        length = count;
    }
    for (int64_t i = start; i < start + length; i++) {
        const int64_t token = at->order[(i % count + count) % count];
        const bool is_there = options->across_rounds || (i >= 0 && i < count);
        if (is_there && (!options->same_bucket || at->buckets[token] == at->buckets[at->token])) {
            at->tokens[found++] = token;
        }
    }
    return found;
}

/* Buckets are there once the prompt was longer than a chunk, or an earlier step reached a chunk's
 * length; with the paper's options where the uncached forward pass has them. */
static bool has_buckets(const rf_config *config, int64_t token, int64_t prompt)
{
    int64_t chunk = config->lsh.chunk_length;
    if (!rf_lsh_options_are_plain(&config->lsh_options)) {
        return rf_config_padded_length(config, token + 1) > chunk;
    }
    return rf_config_padded_length(config, prompt) > chunk || (token > prompt && token >= chunk);
}

static void check_one(const expectation *at, int64_t prompt)
{
    const rf_config *config = &at->session->model->config;
    int64_t expected = 0;
    if (config->kinds[at->layer] == RF_LAYER_LOCAL) {
        int64_t chunk = config->local.chunk_length;
        expected = expect_all(at, (at->token / chunk - config->local.chunks_before) * chunk);
    } else if (!has_buckets(config, at->token, prompt)) {
        expected = expect_all(at, 0);
    } else {
        for (int64_t token = 0; token <= at->token; token++) {
            at->buckets[token] = kept_row(at)[token] != 0 ? bucket_of(at, token) : -1;
        }
        expected = expect_window(at, &config->lsh);
    }
    int64_t longest = rf_cache_longest_window(&at->session->caches[at->layer]);
    int64_t *found = at->tokens + longest;
    int64_t count =
        rf_session_attended(at->session, at->row, at->layer, at->head, at->round, found, longest);
    assert_int_equal(count, expected);
    for (int64_t i = 0; i < count; i++) {
        if (found[i] != at->tokens[i]) {
            fail_msg("token %lld, row %lld, layer %lld, head %lld, round %lld: entry %lld is token "
                     "%lld, expected %lld",
                     (long long)at->token, (long long)at->row, (long long)at->layer,
                     (long long)at->head, (long long)at->round, (long long)i, (long long)found[i],
                     (long long)at->tokens[i]);
        }
    }
}

/* A tensor's numbers on the host, in fresh memory. */
static float *bring(const rf_session *session, const rf_tensor *tensor)
{
    void *memory = NULL;
    size_t size = rf_tensor_size(tensor);
    assert_ok(rf_allocate(size, "test", &memory, error));
    assert_ok(rf_device_download(session->model->device, memory, tensor->data, size, error));
    return memory;
}

static void check_layer(expectation *at, int64_t prompt)
{
    const rf_session *session = at->session;
    const rf_layer_cache *cache = &session->caches[at->layer];
    const rf_tensor *rotations = &session->rotations[at->layer];
    float *rows = bring(session, &cache->rows);
    float *values = rf_tensor_is_absent(rotations) ? NULL : bring(session, rotations);
    at->rows = rows;
    at->rotations = values;
    at->width = cache->rows.shape[4];
    at->rounds = cache->rounds;
    at->columns = rotations->shape[3];
    for (at->row = 0; at->row < session->batch; at->row++) {
        for (at->head = 0; at->head < cache->rows.shape[1]; at->head++) {
            for (at->round = 0; at->round < cache->rounds; at->round++) {
                check_one(at, prompt);
            }
        }
    }
    rf_release(rows);
    rf_release(values);
}

void check_attended(const rf_session *session, int64_t prompt)
{
    int64_t longest = 1;
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        int64_t window = rf_cache_longest_window(&session->caches[layer]);
        longest = window > longest ? window : longest;
    }
    void *memory = NULL;
    size_t length = (size_t)rf_session_length(session);
    assert_ok(
        rf_allocate((3 * length + 2 * (size_t)longest) * sizeof(int64_t), "test", &memory, error));
    expectation at = {.session = session, .token = rf_session_length(session) - 1, .order = memory};
    at.tokens = at.order + length;
    at.buckets = (int32_t *)(at.tokens + 2 * longest);
    for (at.layer = 0; at.layer < session->model->config.layers; at.layer++) {
        check_layer(&at, prompt);
    }
    rf_release(memory);
}
