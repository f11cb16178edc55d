/* A window at a time, of the same length whatever the batch, so that even what a model settles once
 * (automatic buckets, by the first text that hashes) does not depend on --batch. Memory: the tokens
 * and results of a window. */
#include "batches.h"

#include "message.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 256 };

typedef struct window {
    rf_task *task;
    const rf_batching *how;
    int64_t batch, repeat;
    rf_item items[WINDOW];
    rf_item *sorted[WINDOW];
    int64_t count;
} window;

rf_status rf_item_encode(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    (void)user;
    rf_status status = rf_task_tokens(task, item->text, item->size, &item->encoding, error);
    item->ids = item->encoding.ids;
    item->count = item->encoding.count;
    item->second = item->count;
    return status;
}

static void clear_items(window *w)
{
    for (int64_t i = 0; i < w->count; i++) {
        rf_encoding_clear(&w->items[i].encoding);
        rf_bytes_clear(&w->items[i].own);
        rf_bytes_clear(&w->items[i].result);
    }
    w->count = 0;
}

/* ---- batches ----------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b)
{
    const rf_item *const *x = a;
    const rf_item *const *y = b;
    if ((*x)->count != (*y)->count) {
        return (*x)->count > (*y)->count ? -1 : 1; /* long ones first */
    }
    return *x < *y ? -1 : *x > *y ? 1 : 0;
}

static int64_t layout_of(const window *w, int64_t place)
{
    return rf_model_layout(w->task->model, w->sorted[place]->count);
}

/* The rows, each padded to the first, which is the longest. */
static rf_status compute(window *w, int64_t first, int64_t rows, rf_error *error)
{
    rf_bytes ids = {0};
    rf_bytes mask = {0};
    rf_item_batch batch = {
        .items = w->sorted + first, .batch = rows, .length = w->sorted[first]->count};
    rf_status status = rf_task_space(&ids, rows * batch.length, sizeof(int32_t), error);
    if (status == RF_OK) {
        status = rf_task_space(&mask, rows * batch.length, 1, error);
    }
    for (int64_t row = 0; row < rows && status == RF_OK; row++) {
        const rf_item *item = batch.items[row];
        size_t at = (size_t)(row * batch.length);
        memcpy(ids.data + at * sizeof(int32_t), item->ids, (size_t)item->count * sizeof(int32_t));
        memset(mask.data + at, 1, (size_t)item->count);
    }
    const void *memory = ids.data; /* as an allocator gives it */
    bool padded = batch.items[rows - 1]->count < batch.length;
    batch.ids = memory;
    batch.mask = padded ? (const uint8_t *)mask.data : NULL;
    if (status == RF_OK) {
        status = w->how->compute(w->task, &batch, w->how->user, error);
    }
    rf_bytes_clear(&ids);
    rf_bytes_clear(&mask);
    return status;
}

static rf_status flush(window *w, rf_error *error)
{
    rf_status status = RF_OK;
    for (int64_t i = 0; i < w->count; i++) {
        w->sorted[i] = &w->items[i];
    }
    qsort(w->sorted, (size_t)w->count, sizeof w->sorted[0], by_length);
    for (int64_t first = 0; first < w->count && status == RF_OK;) {
        int64_t rows = 1;
        while (rows < w->batch && first + rows < w->count &&
               layout_of(w, first + rows) == layout_of(w, first)) {
            rows++;
        }
        status = compute(w, first, rows, error);
        first += rows;
    }
    for (int64_t i = 0; i < w->count && status == RF_OK; i++) {
        status = w->how->show(w->task, &w->items[i], w->how->user, error);
    }
    clear_items(w);
    return status;
}

/* ---- the input --------------------------------------------------------------------------- */

static rf_status take_text(rf_task *task, int64_t number, const char *text, size_t size, void *user,
                           rf_error *error)
{
    window *w = user;
    rf_item *item = &w->items[w->count];
    *item = (rf_item){.number = number, .repeat = w->repeat, .text = text, .size = size};
    rf_status status = w->how->encode(task, item, w->how->user, error);
    if (status != RF_OK) {
        rf_error first = {0}; /* of what came before: it comes first */
        rf_status before = flush(w, &first);
        rf_encoding_clear(&item->encoding);
        rf_bytes_clear(&item->own);
        if (before != RF_OK) {
            *error = first;
        }
        return before != RF_OK ? before : status;
    }
    w->count++;
    return w->count == WINDOW ? flush(w, error) : RF_OK;
}

rf_status rf_task_batches(rf_task *task, const rf_batching *how, rf_error *error)
{
    rf_bytes space = {0};
    rf_status status = rf_task_space(&space, 1, sizeof(window), error);
    if (status != RF_OK) {
        return status;
    }
    void *memory = space.data; /* as an allocator gives it */
    window *w = memory;
    w->task = task;
    w->how = how;
    w->batch = rf_settings_integer(task->settings, "batch");
    for (; w->repeat < how->repeats && status == RF_OK; w->repeat++) {
        status = rf_task_each(task, take_text, w, error);
    }
    status = status == RF_OK ? flush(w, error) : status;
    clear_items(w);
    rf_bytes_clear(&space);
    return status;
}
