/* Rows of a session change places, as a beam search asks: row i becomes what row sources[i] was. In
 * place, with the memory of one row beside: a row is overwritten when nobody reads it any more, and
 * a ring of rows that read each other is opened by putting one of them aside. Of an LSH layer only
 * tokens that the rows do not have in common are copied, and the bucket lists whole; of a local
 * layer its ring. O(copied rows x what they hold); the copies are the device's own. */
#include "generate/session.h"

#include "base/memory.h"

enum { SPARE = -1 };

typedef struct move {
    int64_t from, to; /* rows, or SPARE */
} move;

typedef struct reorder {
    rf_session *session;
    int64_t alike;
    move *moves; /* [2 batch], owned */
    int64_t count;
    rf_session_row *rows; /* [batch], owned: what they will be */
} reorder;

/* ---- what to copy ------------------------------------------------------------------------ */

static int64_t readers_of(const int64_t *pending, int64_t batch, int64_t row)
{
    int64_t readers = 0;
    for (int64_t i = 0; i < batch; i++) {
        readers += pending[i] == row && i != row;
    }
    return readers;
}

/* pending [batch]: what each row has still to become; itself where it is done. Returns whether a
 * row was found that may be overwritten. */
static bool move_one(reorder *of, int64_t *pending)
{
    int64_t batch = of->session->batch;
    for (int64_t row = 0; row < batch; row++) {
        if (pending[row] != row && readers_of(pending, batch, row) == 0) {
            of->moves[of->count++] = (move){.from = pending[row], .to = row};
            pending[row] = row;
            return true;
        }
    }
    return false;
}

/* Rings only are left: put the first row of one aside. */
static bool open_ring(reorder *of, int64_t *pending)
{
    int64_t batch = of->session->batch;
    for (int64_t row = 0; row < batch; row++) {
        if (pending[row] == row) {
            continue;
        }
        of->moves[of->count++] = (move){.from = row, .to = SPARE};
        for (int64_t reader = 0; reader < batch; reader++) {
            pending[reader] = pending[reader] == row ? SPARE : pending[reader];
        }
        return true;
    }
    return false;
}

static rf_status plan(reorder *of, const int32_t *sources, rf_error *error)
{
    rf_session *session = of->session;
    size_t batch = (size_t)session->batch;
    void *memory = NULL;
    RF_TRY(rf_allocate(2 * batch * sizeof *of->moves, "moves of rows", &memory, error));
    of->moves = memory;
    RF_TRY(rf_allocate(batch * sizeof *of->rows, "rows", &memory, error));
    of->rows = memory;
    RF_TRY(rf_allocate(batch * sizeof(int64_t), "sources of rows", &memory, error));
    int64_t *pending = memory;
    for (int64_t row = 0; row < session->batch; row++) {
        pending[row] = sources[row];
        of->rows[row] = session->rows[sources[row]];
    }
    while (move_one(of, pending) || open_ring(of, pending)) {
    }
    rf_release(memory);
    return RF_OK;
}

/* ---- copies ------------------------------------------------------------------------------ */

static size_t row_size(const rf_tensor *tensor)
{
    rf_tensor row = rf_tensor_rows(tensor, 0, 1);
    return rf_tensor_size(&row);
}

/* Bytes [offset, offset + size) of a row of the tensor. */
static rf_status copy_part(const reorder *of, const rf_tensor *tensor, move row, size_t offset,
                           size_t size, rf_error *error)
{
    size_t stride = row_size(tensor);
    char *spare = of->session->spare.memory;
    char *from = row.from == SPARE ? spare : (char *)tensor->data + (size_t)row.from * stride;
    char *to = row.to == SPARE ? spare : (char *)tensor->data + (size_t)row.to * stride;
    return rf_device_copy(of->session->model->device, to + offset, from + offset, size, error);
}

/* What a row has of tokens, [heads, places, numbers of a place]: where each token has a
 * place of its own, only what is there and not alike; else the whole ring. */
static rf_status copy_tokens(const reorder *of, const rf_tensor *tensor, move row, rf_error *error)
{
    const int64_t heads = tensor->shape[1];
    const int64_t places = tensor->shape[2];
    size_t place = row_size(tensor) / (size_t)(heads * places);
    int64_t tokens = rf_session_length(of->session) - of->alike;
    if (places < of->session->capacity) {
        return copy_part(of, tensor, row, 0, row_size(tensor), error);
    }
    for (int64_t head = 0; head < heads && tokens > 0; head++) {
        size_t first = (size_t)(head * places + of->alike);
        RF_TRY(copy_part(of, tensor, row, first * place, (size_t)tokens * place, error));
    }
    return RF_OK;
}

static rf_status move_layer(const reorder *of, const rf_layer_cache *cache, rf_error *error)
{
    for (int64_t i = 0; i < of->count; i++) {
        RF_TRY(copy_tokens(of, &cache->rows, of->moves[i], error));
    }
    for (int64_t i = 0; i < of->count && !rf_tensor_is_absent(&cache->buckets); i++) {
        RF_TRY(copy_tokens(of, &cache->buckets, of->moves[i], error));
    }
    for (int64_t i = 0; i < of->count && !rf_tensor_is_absent(&cache->lists); i++) {
        RF_TRY(copy_part(of, &cache->lists, of->moves[i], 0, row_size(&cache->lists), error));
    }
    return RF_OK;
}

static rf_status move_whole(const reorder *of, const rf_tensor *tensor, rf_error *error)
{
    for (int64_t i = 0; i < of->count; i++) {
        RF_TRY(copy_part(of, tensor, of->moves[i], 0, row_size(tensor), error));
    }
    return RF_OK;
}

/* The host's copy of the mask where it is not the device's own memory. */
static rf_status fetch_kept(const rf_session *session, rf_error *error)
{
    return session->host_kept == session->kept.data
               ? RF_OK
               : rf_device_download(session->model->device, session->host_kept, session->kept.data,
                                    rf_tensor_size(&session->kept), error);
}

static rf_status move_rows(const reorder *of, rf_error *error)
{
    rf_session *session = of->session;
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        RF_TRY(move_layer(of, &session->caches[layer], error));
    }
    RF_TRY(move_whole(of, &session->state, error));
    RF_TRY(move_whole(of, &session->kept, error));
    RF_TRY(fetch_kept(session, error));
    for (int64_t row = 0; row < session->batch; row++) {
        session->rows[row] = of->rows[row];
    }
    return RF_OK;
}

/* ---- memory ------------------------------------------------------------------------------ */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static rf_status take_spare(rf_session *session, rf_error *error)
{
    size_t size = larger(row_size(&session->kept), row_size(&session->state));
    if (session->spare.device != NULL) {
        return RF_OK;
    }
    for (int64_t layer = 0; layer < session->model->config.layers; layer++) {
        const rf_layer_cache *cache = &session->caches[layer];
        size = larger(size, row_size(&cache->rows));
        if (!rf_tensor_is_absent(&cache->lists)) {
            size = larger(size, row_size(&cache->lists));
        }
        if (!rf_tensor_is_absent(&cache->buckets)) {
            size = larger(size, row_size(&cache->buckets));
        }
    }
    rf_workspace_init(&session->spare, session->model->device);
    return rf_workspace_allocate(&session->spare, size, error);
}

rf_status rf_session_reorder(rf_session *session, const int32_t *sources, int64_t alike,
                             rf_error *error)
{
    reorder of = {.session = session, .alike = alike};
    rf_status status = take_spare(session, error);
    if (status == RF_OK) {
        status = plan(&of, sources, error);
    }
    if (status == RF_OK && of.count > 0) {
        session->is_broken = true;
        status = move_rows(&of, error);
        session->is_broken = status != RF_OK;
    }
    rf_release(of.moves);
    rf_release(of.rows);
    return status;
}
