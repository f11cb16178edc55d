/* How well a model predicts a text, by the protocol of docs/training.md, "Evaluation". */
#ifndef RF_TRAIN_EVALUATE_H
#define RF_TRAIN_EVALUATE_H

#include "model/model.h"
#include "reformer/train.h"
#include "train/judge.h"

typedef struct rf_scoring {
    rf_source *source; /* open, borrowed */
    rf_judge *judge;   /* the same */
    int64_t windows;
    uint64_t seed;
    int (*should_stop)(void *user);                                    /* may be NULL */
    void (*progress)(void *user, int64_t tokens_done, int64_t tokens); /* may be NULL */
    void *user;
} rf_scoring;

/* Windows 0 ... windows - 1, in order, batch at a time. A sum over all of them in *outcome; it
 * stops at a batch with an overflow (outcome says so). RF_ERR_CANCELLED if should_stop is not 0
 * between batches; RF_ERR_NUMERIC is not raised: a loss that is not finite is the caller's to
 * judge. */
RF_MUST_CHECK rf_status rf_score_windows(rf_runner *runner, const rf_scoring *scoring,
                                         rf_outcome *outcome, rf_error *error);

#endif
