/* What is done with a session: prompts, tokens one by one, draws, and a look at what was attended
 * to. */
#include "generate/sampler.h"
#include "generate/session.h"

static rf_status run_step(void *user, rf_error *error)
{
    return rf_session_step(user, error);
}

static rf_status run_step_and_draw(void *user, rf_error *error)
{
    rf_session *session = user;
    RF_TRY(rf_session_step(session, error));
    return rf_op_sample(&session->context, &session->sample, error);
}

/* ---- checks ------------------------------------------------------------------------------ */

static rf_status check_unbroken(const rf_session *session, rf_error *error)
{
    return session->is_broken
               ? rf_error_set(
                     error, RF_ERR_ARGUMENT,
                     "an earlier append to this session failed half way; create a new session")
               : RF_OK;
}

/* Room for `count` more tokens in a row that holds `length`. */
static rf_status check_room(const rf_session *session, int64_t length, int64_t count,
                            rf_error *error)
{
    if (count < 1) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "an append of %lld tokens; expected at least 1 (an empty prompt has nothing to "
            "go on from)",
            (long long)count);
    }
    if (count > session->capacity - length) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld tokens do not fit: the session holds %lld of at most %lld; "
                            "create it with a larger capacity "
                            "(the model has %lld positions)",
                            (long long)count, (long long)length, (long long)session->capacity,
                            (long long)rf_config_max_length(&session->model->config));
    }
    return RF_OK;
}

/* Every row has begun and has room for `count` more tokens. */
static rf_status check_rows(const rf_session *session, int64_t count, rf_error *error)
{
    RF_TRY(check_unbroken(session, error));
    for (int64_t row = 0; row < session->batch; row++) {
        if (session->rows[row].length == 0) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "sequence %lld of the session has no prompt yet; give it one",
                                (long long)row);
        }
        RF_TRY(check_room(session, session->rows[row].length, count, error));
    }
    return RF_OK;
}

static rf_status check_ids(const rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    int64_t vocabulary = session->model->config.vocabulary;
    int64_t rows = prompt->shared ? 1 : prompt->rows;
    for (int64_t i = 0; i < rows * prompt->count; i++) {
        if (prompt->ids[i] < 0 || prompt->ids[i] >= vocabulary) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "id %ld at token %lld of sequence %lld; the model has ids 0 to %lld",
                (long)prompt->ids[i], (long long)(i % prompt->count),
                (long long)(prompt->first_row + i / prompt->count), (long long)(vocabulary - 1));
        }
    }
    return RF_OK;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* A row has got one more token. */
static void note_token(rf_session *session, int64_t row)
{
    rf_session_row *at = &session->rows[row];
    session->host_kept[row * session->capacity + at->length] = 1;
    at->has_stepped = true;
    at->used_lists = at->uses_lists;
    at->length++;
    at->uses_lists = at->uses_lists || at->length >= session->listed_from;
}

/* One token for every row by `work`, which steps. */
static rf_status step_once(rf_session *session, rf_replay *replay, rf_work work, rf_error *error)
{
    rf_device *device = session->model->device;
    session->is_broken = true;
    RF_TRY(rf_replay_run(replay, device, work, session, error));
    RF_TRY(rf_device_download(device, session->host_report, session->report.data,
                              rf_tensor_size(&session->report), error));
    if (session->host_report[0] != 0) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "token %lld: a stream left the range of its numbers; load the model "
                            "with stream float32, or check its weights",
                            (long long)rf_session_length(session));
    }
    session->is_broken = false;
    for (int64_t row = 0; row < session->batch; row++) {
        note_token(session, row);
    }
    return RF_OK;
}

/* ids [batch, count], column `column`. */
static rf_status append_one(rf_session *session, const rf_prompt *prompt, int64_t column,
                            rf_error *error)
{
    int32_t *ids = session->host_report + 1;
    for (int64_t row = 0; row < session->batch; row++) {
        ids[row] = prompt->ids[row * prompt->count + column];
    }
    RF_TRY(rf_device_upload(session->model->device, session->ids.data, ids,
                            rf_tensor_size(&session->ids), error));
    return step_once(session, &session->step, run_step, error);
}

rf_status rf_session_start(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    RF_TRY(check_unbroken(session, error));
    if (prompt->first_row < 0 || prompt->rows < 1 ||
        prompt->first_row > session->batch - prompt->rows) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "sequences %lld to %lld were asked for; the session has 0 to %lld",
                            (long long)prompt->first_row,
                            (long long)(prompt->first_row + prompt->rows - 1),
                            (long long)(session->batch - 1));
    }
    RF_TRY(check_room(session, 0, prompt->count, error));
    RF_TRY(check_ids(session, prompt, error));
    return rf_session_prefill(session, prompt, error);
}

rf_status rf_session_start_row(rf_session *session, int64_t row, const int32_t *ids, int64_t count,
                               rf_error *error)
{
    rf_prompt prompt = {.ids = ids, .count = count, .first_row = row, .rows = 1};
    RF_TRY(rf_session_start(session, &prompt, error));
    return rf_session_fetch_logits(session, error);
}

rf_status rf_session_fetch_logits(rf_session *session, rf_error *error)
{
    rf_device *device = session->model->device;
    return device->table->host_readable
               ? RF_OK
               : rf_device_download(device, session->host_logits, session->logits.data,
                                    rf_tensor_size(&session->logits), error);
}

static bool is_empty(const rf_session *session)
{
    return rf_session_length(session) == 0;
}

rf_status rf_session_append(rf_session *session, const int32_t *ids, const uint8_t *mask,
                            int64_t count, rf_error *error)
{
    rf_prompt prompt = {.ids = ids, .mask = mask, .count = count, .rows = session->batch};
    if (is_empty(session)) {
        RF_TRY(rf_session_start(session, &prompt, error));
        return rf_session_fetch_logits(session, error);
    }
    if (mask != NULL) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "a mask can only come with the first append, and the session holds %lld tokens",
            (long long)rf_session_length(session));
    }
    RF_TRY(check_rows(session, count, error));
    RF_TRY(check_ids(session, &prompt, error));
    for (int64_t column = 0; column < count; column++) {
        RF_TRY(append_one(session, &prompt, column, error));
    }
    return rf_session_fetch_logits(session, error);
}

/* ---- draws ------------------------------------------------------------------------------- */

rf_status rf_session_set_sampling(rf_session *session, const rf_sampling *options, rf_error *error)
{
    rf_sample sample;
    RF_TRY(rf_sampler_arguments(options, &sample, error));
    sample.logits = session->logits;
    sample.state = session->state;
    sample.tokens = session->ids;
    if (options->repetition_penalty != 1.0) {
        sample.seen = session->seen;
    }
    rf_replay_clear(&session->step_and_draw, session->model->device);
    session->sample = sample;
    return RF_OK;
}

rf_status rf_session_set_seen(rf_session *session, int64_t row, const uint8_t *seen,
                              rf_error *error)
{
    rf_tensor to = rf_tensor_rows(&session->seen, row, 1);
    return rf_device_upload(session->model->device, to.data, seen, rf_tensor_size(&to), error);
}

rf_status rf_session_set_stream(rf_session *session, int64_t row, int64_t stream, int64_t number,
                                rf_error *error)
{
    int64_t first = session->rows[row].length - 1 - number;
    const int32_t words[] = {(int32_t)first, (int32_t)stream};
    int32_t *to = (int32_t *)session->state.data + row * RF_STEP_WORDS + RF_STEP_FIRST;
    return rf_device_upload(session->model->device, to, words, sizeof words, error);
}

/* Tokens [rows] of the report. */
static rf_status hand_out(const rf_session *session, int64_t first_row, int64_t rows,
                          int32_t *tokens, rf_error *error)
{
    for (int64_t i = 0; i < rows; i++) {
        tokens[i] = session->host_report[1 + first_row + i];
        if (tokens[i] < 0) {
            return rf_error_set(
                error, RF_ERR_NUMERIC,
                "the score of token %ld is not finite; the model's weights are damaged",
                -1L - (long)tokens[i]);
        }
    }
    return RF_OK;
}

rf_status rf_session_draw(rf_session *session, int64_t first_row, int64_t rows, int32_t *tokens,
                          rf_error *error)
{
    rf_sample sample = session->sample;
    sample.logits = rf_tensor_rows(&session->logits, first_row, rows);
    sample.state = rf_tensor_rows(&session->state, first_row, rows);
    sample.tokens = rf_tensor_rows(&session->ids, first_row, rows);
    if (!rf_tensor_is_absent(&sample.seen)) {
        sample.seen = rf_tensor_rows(&session->seen, first_row, rows);
    }
    RF_TRY(rf_op_sample(&session->context, &sample, error));
    RF_TRY(rf_device_download(session->model->device, session->host_report, session->report.data,
                              rf_tensor_size(&session->report), error));
    return hand_out(session, first_row, rows, tokens, error);
}

rf_status rf_session_advance(rf_session *session, int32_t *tokens, rf_error *error)
{
    RF_TRY(check_rows(session, 1, error));
    RF_TRY(step_once(session, &session->step_and_draw, run_step_and_draw, error));
    return hand_out(session, 0, session->batch, tokens, error);
}

/* ---- what there is ----------------------------------------------------------------------- */

const float *rf_session_logits(const rf_session *session, int64_t row)
{
    bool is_there = row >= 0 && row < session->batch && session->rows[row].length > 0;
    return is_there ? session->host_logits + row * session->model->config.vocabulary : NULL;
}

int64_t rf_session_length(const rf_session *session)
{
    int64_t longest = 0;
    for (int64_t row = 0; row < session->batch; row++) {
        longest = session->rows[row].length > longest ? session->rows[row].length : longest;
    }
    return longest;
}

/* The lists of a part, where the host can read them; NULL if they can not be had. */
static int32_t *lists_of(const rf_session *session, const rf_layer_cache *cache, rf_cache_part part)
{
    rf_device *device = session->model->device;
    size_t words = (size_t)rf_cache_list_words(cache);
    int64_t index = (part.row * cache->rows.shape[1] + part.head) * cache->rounds + part.round;
    int32_t *lists = (int32_t *)cache->lists.data + (size_t)index * words;
    if (device->table->host_readable) {
        return lists;
    }
    rf_status status =
        rf_device_download(device, session->host_lists, lists, words * sizeof *lists, NULL);
    return status == RF_OK ? session->host_lists : NULL;
}

int64_t rf_session_attended(const rf_session *session, int64_t row, int64_t layer, int64_t head,
                            int64_t round, int64_t *tokens, int64_t limit)
{
    if (layer < 0 || layer >= session->model->config.layers || row < 0 || row >= session->batch ||
        !session->rows[row].has_stepped) {
        return -1;
    }
    const rf_layer_cache *cache = &session->caches[layer];
    if (head < 0 || head >= cache->rows.shape[1] || round < 0 || round >= cache->rounds) {
        return -1;
    }
    rf_window_source source = {.cache = cache,
                               .kept = session->host_kept + row * session->capacity};
    if (session->rows[row].used_lists && rf_cache_list_words(cache) > 0) {
        source.lists = lists_of(session, cache, (rf_cache_part){row, head, round});
        if (source.lists == NULL) {
            return -1;
        }
    }
    int64_t count = rf_cache_window(&source, session->rows[row].length - 1, session->attended);
    for (int64_t i = 0; i < count && i < limit; i++) {
        tokens[i] = session->attended[i];
    }
    return count;
}
