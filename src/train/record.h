/* What a run leaves to be looked at: metrics.jsonl, TensorBoard event files, samples, and a chart
 * of the loss at the end (docs/training.md, "Records"). */
#ifndef RF_TRAIN_RECORD_H
#define RF_TRAIN_RECORD_H

#include "reformer/train.h"

typedef struct rf_recorder rf_recorder;

typedef struct rf_recorder_options {
    const char *output;
    int64_t step;      /* lines of later steps, left by a run that was killed, are removed */
    int64_t evaluated; /* the same for evaluations */
    bool tensorboard;  /* where this build cannot write event files, that is said in the log */
    rf_log log;
} rf_recorder_options;

/* Start or continue the records of a run. */
RF_MUST_CHECK rf_status rf_recorder_open(const rf_recorder_options *options, rf_recorder **recorder,
                                         rf_error *error);
/* Remove lines of steps after `step`, and of evaluations after that of step `evaluated`. */
RF_MUST_CHECK rf_status rf_recorder_rewind(rf_recorder *recorder, int64_t step, int64_t evaluated,
                                           rf_error *error);
void rf_recorder_close(rf_recorder *recorder); /* NULL allowed */

/* One line, on the disk's side of our buffers when the call returns. Nothing of ours is allocated.
 */
RF_MUST_CHECK rf_status rf_recorder_step(rf_recorder *recorder, const rf_train_progress *progress,
                                         rf_error *error);
RF_MUST_CHECK rf_status rf_recorder_evaluation(rf_recorder *recorder,
                                               const rf_train_progress *progress, int64_t tokens,
                                               rf_error *error);
/* Something out of the ordinary, in words: `event` is one of our own names. */
RF_MUST_CHECK rf_status rf_recorder_event(rf_recorder *recorder, int64_t step, const char *event,
                                          const char *text, rf_error *error);
/* OUTPUT/samples/step-N.txt, any bytes. */
RF_MUST_CHECK rf_status rf_recorder_sample(rf_recorder *recorder, int64_t step,
                                           const uint8_t *bytes, size_t size, rf_error *error);
/* loss.svg, and loss.png where this build can, from the lines of metrics.jsonl. Nothing where there
 * are none. */
RF_MUST_CHECK rf_status rf_recorder_chart(rf_recorder *recorder, rf_error *error);

#endif
