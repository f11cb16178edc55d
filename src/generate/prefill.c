/* The prompt of some rows of a session: one forward pass of the training kernels, whose attention
 * inputs fill the caches on the way, on the device. Time and memory are those of the forward pass;
 * its memory is given back at the end. */
#include "generate/session.h"

#include "model/pass.h"

#include <string.h>

typedef struct prefill {
    rf_session *session;
    const rf_prompt *prompt;
    rf_device dry; /* the device while memory is measured */
    rf_workspace workspace;
    rf_context context;
    rf_tensor mask; /* [rows, count] u8 on the device, absent where nothing is masked */
} prefill;

static int64_t prompt_rows(const prefill *of)
{
    return of->prompt->shared ? 1 : of->prompt->rows;
}

/* What the prompt's rows keep of a layer. */
static rf_layer_cache cache_of(const prefill *of, int64_t layer)
{
    return rf_cache_rows(&of->session->caches[layer], of->prompt->first_row, of->prompt->rows);
}

/* First token that a later token of a local layer may see. */
static int64_t first_seen(const rf_layer_cache *cache, int64_t count)
{
    int64_t first = (count / cache->chunk - cache->before) * cache->chunk;
    return cache->is_lsh || first < 0 ? 0 : first;
}

/* Buckets of all tokens of a group of heads, with the session's rotations. */
static rf_status hash(prefill *of, int64_t layer, int64_t first_head, const rf_tensor *query,
                      rf_tensor *buckets, rf_error *error)
{
    const rf_config *config = &of->session->model->config;
    const int64_t shape[] = {query->shape[0], query->shape[2], config->rounds, query->shape[1]};
    RF_TRY(rf_workspace_take(&of->workspace, "buckets", RF_I32, 4, shape, buckets, error));
    rf_bucket_hash arguments = {.query = *query,
                                .rotations = of->session->rotations[layer],
                                .key_mask = of->mask,
                                .first_head = first_head,
                                .rounds = config->rounds,
                                .buckets = *buckets};
    rf_config_fill_hash(config, &arguments);
    return rf_op_bucket_hash(&of->context, &arguments, error);
}

/* Lists of a group of heads. A short prompt is not hashed by the model (`given` is absent): its
 * tokens' buckets are needed when the context gets longer. */
static rf_status keep_lists(prefill *of, int64_t layer, int64_t first_head, const rf_tensor *query,
                            const rf_tensor *given, rf_error *error)
{
    const rf_layer_cache cache = cache_of(of, layer);
    size_t mark = rf_workspace_mark(&of->workspace);
    rf_tensor buckets = *given;
    if (rf_tensor_is_absent(given)) {
        RF_TRY(hash(of, layer, first_head, query, &buckets, error));
    }
    bool is_masked = !rf_tensor_is_absent(&of->mask);
    rf_bucket_sort sort = {.buckets = buckets,
                           .bucket_count = cache.bucket_count + (is_masked ? 1 : 0)};
    RF_TRY(
        rf_workspace_take(&of->workspace, "order", RF_I32, 4, buckets.shape, &sort.order, error));
    RF_TRY(rf_op_bucket_sort(&of->context, &sort, error));
    RF_TRY(rf_op_lists_fill(
        &of->context,
        &(rf_lists_fill){
            .cache = cache, .buckets = buckets, .order = sort.order, .first_head = first_head},
        error));
    rf_workspace_release(&of->workspace, mark);
    return RF_OK;
}

static rf_status capture_attention(void *user, int64_t layer, int64_t first_head,
                                   const rf_tensor *query, const rf_tensor *key,
                                   const rf_tensor *value, const rf_tensor *buckets,
                                   rf_error *error)
{
    prefill *of = user;
    const rf_layer_cache cache = cache_of(of, layer);
    RF_TRY(rf_op_cache_fill(&of->context,
                            &(rf_cache_fill){.cache = cache,
                                             .key = cache.is_lsh ? *query : *key,
                                             .value = *value,
                                             .first_head = first_head,
                                             .first_token = first_seen(&cache, of->prompt->count)},
                            error));
    if (rf_tensor_is_absent(&cache.lists)) {
        return RF_OK;
    }
    return keep_lists(of, layer, first_head, query, buckets, error);
}

/* Keep the scores after the last token of each row. */
static rf_status capture_logits(void *user, int64_t first_row, const rf_tensor *logits,
                                rf_error *error)
{
    const prefill *of = user;
    const rf_session *session = of->session;
    int64_t count = of->prompt->count;
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        int64_t row = of->prompt->first_row + (first_row + i) / count;
        if ((first_row + i) % count != count - 1) {
            continue;
        }
        rf_tensor from = rf_tensor_rows(logits, i, 1);
        int64_t copies = of->prompt->shared ? of->prompt->rows : 1;
        for (int64_t copy = 0; copy < copies; copy++) {
            rf_tensor to = rf_tensor_rows(&session->logits, row + copy, 1);
            RF_TRY(rf_device_copy(session->model->device, to.data, from.data, rf_tensor_size(&to),
                                  error));
        }
    }
    return RF_OK;
}

static rf_tensor give_rotations(void *user, int64_t layer)
{
    const prefill *of = user;
    return of->session->rotations[layer];
}

/* ---- memory of the hooks ----------------------------------------------------------------- */

/* The mask, and what keep_lists takes for all heads at once, which is no less than for a group. */
static rf_status take_all(prefill *of, rf_error *error)
{
    const rf_session *session = of->session;
    const rf_config *config = &session->model->config;
    int64_t rows = prompt_rows(of);
    int64_t count = of->prompt->count;
    if (of->prompt->mask != NULL) {
        RF_TRY(rf_workspace_take_2(&of->workspace, "mask", RF_U8, rows, count, &of->mask, error));
    }
    const bool fills = of->context.device->dry;
    for (int64_t layer = 0; layer < config->layers && fills; layer++) {
        if (!rf_tensor_is_absent(&session->caches[layer].lists)) {
            rf_tensor query = rf_tensor_4(NULL, session->model->compute, rows, count, config->heads,
                                          config->head_width);
            return keep_lists(of, layer, 0, &query, &(rf_tensor){0}, error);
        }
    }
    return RF_OK;
}

static rf_status create_workspace(prefill *of, rf_error *error)
{
    rf_device *device = of->session->model->device;
    of->dry = *device;
    of->dry.dry = true;
    rf_workspace_init(&of->workspace, &of->dry);
    of->context = (rf_context){.device = &of->dry, .workspace = &of->workspace};
    RF_TRY(take_all(of, error));
    size_t needed = of->workspace.high;
    if (device->dry) {
        return RF_OK;
    }
    rf_workspace_init(&of->workspace, device);
    of->context.device = device;
    RF_TRY(rf_workspace_allocate(&of->workspace, needed, error));
    RF_TRY(take_all(of, error));
    return rf_tensor_is_absent(&of->mask)
               ? RF_OK
               : rf_device_upload(device, of->mask.data, of->prompt->mask,
                                  rf_tensor_size(&of->mask), error);
}

/* ---- the session's side ------------------------------------------------------------------ */

static rf_status note_mask(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    rf_tensor rows = rf_tensor_rows(&session->kept, prompt->first_row, prompt->rows);
    uint8_t *host = session->host_kept + prompt->first_row * session->capacity;
    for (int64_t row = 0; row < prompt->rows; row++) {
        uint8_t *kept = host + row * session->capacity;
        int64_t from = prompt->shared ? 0 : row;
        memset(kept, 0, (size_t)session->capacity);
        for (int64_t token = 0; token < prompt->count; token++) {
            bool is_masked =
                prompt->mask != NULL && prompt->mask[from * prompt->count + token] == 0;
            kept[token] = is_masked ? 0 : 1;
        }
    }
    if (session->host_kept == session->kept.data) {
        return RF_OK;
    }
    return rf_device_upload(session->model->device, rows.data, host, rf_tensor_size(&rows), error);
}

/* Where the first step begins. */
static rf_status set_state(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    const rf_config *config = &session->model->config;
    int64_t count = prompt->count;
    bool uses_lists = rf_cache_lists_prompt(config, count);
    for (int64_t row = prompt->first_row; row < prompt->first_row + prompt->rows; row++) {
        const int32_t words[RF_STEP_WORDS] = {[RF_STEP_POSITION] = (int32_t)(count - 1),
                                              [RF_STEP_LISTED_NEXT] = uses_lists ? 1 : 0,
                                              [RF_STEP_FIRST] = (int32_t)(count - 1),
                                              [RF_STEP_STREAM] = (int32_t)row};
        rf_tensor to = rf_tensor_rows(&session->state, row, 1);
        session->rows[row] = (rf_session_row){.length = count, .uses_lists = uses_lists};
        RF_TRY(rf_device_upload(session->model->device, to.data, words, sizeof words, error));
    }
    return RF_OK;
}

static rf_runner_options runner_options(prefill *of)
{
    const rf_prompt *prompt = of->prompt;
    return (rf_runner_options){.batch = prompt_rows(of),
                               .length = prompt->count,
                               .hooks = {.user = of,
                                         .logits_first = prompt->count - 1,
                                         .logits_count = 1,
                                         .attention = capture_attention,
                                         .logits = capture_logits,
                                         .rotations = give_rotations}};
}

rf_status rf_session_plan_text(rf_session *session, int64_t count, size_t *bytes, rf_error *error)
{
    const rf_prompt prompt = {.count = count, .rows = 1, .shared = true};
    prefill of = {.session = session, .prompt = &prompt};
    const rf_runner_options options = runner_options(&of);
    rf_memory_plan plan;
    rf_slices slices;
    RF_TRY(create_workspace(&of, error));
    RF_TRY(rf_runner_plan(session->model, &options, &plan, &slices, error));
    plan.parameters = 0;
    plan.rounded_parameters = 0;
    *bytes = of.workspace.high + rf_plan_on_device(&plan, session->model->device);
    return RF_OK;
}

static rf_status forward(prefill *of, rf_outcome *outcome, rf_error *error)
{
    rf_session *session = of->session;
    const rf_prompt *prompt = of->prompt;
    rf_runner *runner = NULL;
    const rf_runner_options options = runner_options(of);
    rf_batch batch = {
        .batch = options.batch, .length = prompt->count, .ids = prompt->ids, .mask = prompt->mask};
    RF_TRY(rf_runner_create(session->model, &options, &runner, error));
    session->is_broken = true;
    rf_status status = rf_runner_forward(runner, &batch, session->seed, 0, outcome, error);
    rf_runner_destroy(runner);
    return status;
}

/* Run a prompt, whose hooks fill the caches and keep the scores. */
static rf_status run_text(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    prefill of = {.session = session, .prompt = prompt};
    rf_outcome outcome = {0};
    rf_status status = create_workspace(&of, error);
    if (status == RF_OK) {
        status = forward(&of, &outcome, error);
    }
    rf_workspace_clear(&of.workspace);
    RF_TRY(status);
    if (outcome.overflow) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "the prompt: a stream left the range of its numbers in layer %lld; "
                            "load the model with stream "
                            "float32, or check its weights",
                            (long long)outcome.overflow_layer);
    }
    session->is_broken = false;
    return RF_OK;
}

rf_status rf_session_prefill(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    RF_TRY(run_text(session, prompt, error));
    RF_TRY(note_mask(session, prompt, error));
    return set_state(session, prompt, error);
}
