/* Texts through a model several at a time: a window of the input is encoded, sorted so that those
 * whose layouts agree stand together, computed batch by batch, and shown in the order of the input.
 * What a text gives does not depend on its batch mates. */
#ifndef RF_CLI_BATCHES_H
#define RF_CLI_BATCHES_H

#include "task.h"

typedef struct rf_item {
    int64_t number; /* of the text in the input */
    int64_t repeat; /* how many times the input was gone through before */
    const char *text;
    size_t size;
    /* encode fills these in */
    rf_encoding encoding;
    rf_bytes own;       /* ids that are not the encoding's, int32_t */
    const int32_t *ids; /* [count], in one of the two */
    int64_t count;
    int64_t second; /* where a second text begins; count without one */
    /* compute fills this in */
    rf_bytes result;
} rf_item;

typedef struct rf_item_batch {
    rf_item **items;     /* [batch] */
    const int32_t *ids;  /* [batch, length], padded with 0 */
    const uint8_t *mask; /* [batch, length]; NULL: there is no padding */
    int64_t batch, length;
} rf_item_batch;

typedef struct rf_batching {
    int64_t repeats; /* times that the input is gone through */
    rf_status (*encode)(rf_task *task, rf_item *item, void *user, rf_error *error);
    rf_status (*compute)(rf_task *task, const rf_item_batch *batch, void *user, rf_error *error);
    rf_status (*show)(rf_task *task, rf_item *item, void *user, rf_error *error);
    void *user;
} rf_batching;

/* All texts of the task, --batch at a time. Where one cannot be encoded those before it are shown
 * first. */
RF_MUST_CHECK rf_status rf_task_batches(rf_task *task, const rf_batching *how, rf_error *error);
/* An encode for one text as it is. */
RF_MUST_CHECK rf_status rf_item_encode(rf_task *task, rf_item *item, void *user, rf_error *error);

#endif
