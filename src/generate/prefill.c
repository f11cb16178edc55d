/* The prompt of an empty session: one forward pass of the training kernels, whose attention inputs
 * fill the caches on the way. Time and memory are those of the forward pass; its memory is given
 * back at the end. */
#include "generate/session.h"

#include "ops/cpu/cpu.h"

#include <string.h>

typedef struct prefill {
    rf_session *session;
    const rf_prompt *prompt;
} prefill;

/* What the hook of one layer and group of heads was given. */
typedef struct capture {
    const prefill *of;
    rf_cache *cache;
    int64_t first_head, heads; /* of the group */
    int64_t first_token;       /* earlier ones are outside every later window */
    const float *key, *value;  /* [prompt rows, count, heads, width] */
    const int32_t *buckets;    /* [prompt rows, heads, rounds, count], or NULL */
} capture;

static bool is_kept(const rf_prompt *prompt, int64_t row, int64_t token)
{
    return prompt->mask == NULL || prompt->mask[row * prompt->count + token] != 0;
}

/* All tokens of one row and head of the group. */
static void capture_head(const capture *in, int64_t row, int64_t head)
{
    const rf_prompt *prompt = in->of->prompt;
    rf_cache *cache = in->cache;
    int64_t from = prompt->shared ? 0 : row;
    for (int64_t token = in->first_token; token < prompt->count; token++) {
        int64_t offset = ((from * prompt->count + token) * in->heads + head) * cache->width;
        rf_cache_store(cache, row, in->first_head + head, token, in->key + offset,
                       in->value + offset);
    }
    for (int64_t round = 0; in->buckets != NULL && round < cache->rounds; round++) {
        const int32_t *buckets =
            in->buckets + ((from * in->heads + head) * cache->rounds + round) * prompt->count;
        for (int64_t token = 0; token < prompt->count; token++) {
            if (is_kept(prompt, from, token)) {
                rf_cache_hash(cache, (rf_cache_part){row, in->first_head + head, round}, token,
                              buckets[token]);
            }
        }
    }
}

static void capture_heads(const capture *in)
{
    const rf_session *session = in->of->session;
    int64_t items = session->batch * in->heads;
    int threads =
        rf_cpu_threads(session->model->device, items, in->of->prompt->count * in->cache->width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < items; item++) {
        capture_head(in, item / in->heads, item % in->heads);
    }
}

/* First token that a later token of a local layer may see. */
static int64_t first_seen(const rf_cache *cache, int64_t count)
{
    int64_t first = (count / cache->window.chunk - cache->window.before) * cache->window.chunk;
    return cache->hashes || first < 0 ? 0 : first;
}

/* A short prompt is not hashed by the model; its tokens' buckets are needed when the context gets
 * longer. */
static rf_status capture_attention(void *user, int64_t layer, int64_t first_head,
                                   const rf_tensor *query, const rf_tensor *key,
                                   const rf_tensor *value, const rf_tensor *buckets,
                                   rf_error *error)
{
    const prefill *of = user;
    rf_session *session = of->session;
    rf_cache *cache = &session->caches[layer];
    size_t mark = rf_workspace_mark(&session->workspace);
    rf_tensor found = {0};
    if (cache->bucket_count > 0) {
        if (buckets != NULL && !rf_tensor_is_absent(buckets)) {
            found = *buckets;
        } else {
            RF_TRY(rf_session_hash(session, layer, first_head, query, &found, error));
        }
    }
    capture_heads(&(capture){.of = of,
                             .cache = cache,
                             .first_head = first_head,
                             .heads = query->shape[2],
                             .first_token = first_seen(cache, of->prompt->count),
                             .key = cache->hashes ? query->data : key->data,
                             .value = value->data,
                             .buckets = found.data});
    rf_workspace_release(&session->workspace, mark);
    return RF_OK;
}

/* Keep the scores after the last token of each row. */
static rf_status capture_logits(void *user, int64_t first_row, const rf_tensor *logits,
                                rf_error *error)
{
    (void)error;
    const prefill *of = user;
    const rf_session *session = of->session;
    int64_t count = of->prompt->count;
    int64_t vocabulary = logits->shape[1];
    const float *scores = logits->data;
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        int64_t row = (first_row + i) / count;
        if ((first_row + i) % count != count - 1) {
            continue;
        }
        int64_t copies = of->prompt->shared ? session->batch : 1;
        for (int64_t copy = 0; copy < copies; copy++) {
            memcpy(session->logits + (row + copy) * vocabulary, scores + i * vocabulary,
                   (size_t)vocabulary * sizeof *scores);
        }
    }
    return RF_OK;
}

static rf_tensor give_rotations(void *user, int64_t layer)
{
    const prefill *of = user;
    return of->session->rotations[layer];
}

static void note_mask(rf_session *session, const rf_prompt *prompt)
{
    for (int64_t row = 0; row < session->batch; row++) {
        int64_t from = prompt->shared ? 0 : row;
        for (int64_t token = 0; token < prompt->count; token++) {
            session->kept[row * session->capacity + token] = is_kept(prompt, from, token) ? 1 : 0;
        }
    }
}

rf_status rf_session_prefill(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    const rf_config *config = &session->model->config;
    prefill of = {session, prompt};
    rf_runner_options options = {.batch = prompt->shared ? 1 : session->batch,
                                 .length = prompt->count};
    options.hooks = (rf_hooks){.user = &of,
                               .logits_first = prompt->count - 1,
                               .logits_count = 1,
                               .attention = capture_attention,
                               .logits = capture_logits,
                               .rotations = give_rotations};
    rf_batch batch = {
        .batch = options.batch, .length = prompt->count, .ids = prompt->ids, .mask = prompt->mask};
    rf_outcome outcome = {0};
    rf_runner *runner = NULL;
    note_mask(session, prompt);
    RF_TRY(rf_runner_create(session->model, &options, &runner, error));
    session->is_broken = true;
    rf_status status = rf_runner_forward(runner, &batch, session->seed, 0, &outcome, error);
    rf_runner_destroy(runner);
    RF_TRY(status);
    if (outcome.overflow) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "the prompt: a stream left the range of its numbers in layer %lld; "
                            "load the model with stream "
                            "float32, or check its weights",
                            (long long)outcome.overflow_layer);
    }
    session->is_broken = false;
    session->length = prompt->count;
    session->uses_lists = rf_config_lsh_layers(config) > 0 &&
                          rf_config_padded_length(config, prompt->count) > config->lsh.chunk_length;
    return RF_OK;
}
