/* Where batches come from, for training and for evaluation, whatever the task: windows of a text,
 * as they are or corrupted. A batch is a pure function of the source and of the number of its first
 * row. */
#ifndef RF_TRAIN_SOURCE_H
#define RF_TRAIN_SOURCE_H

#include "data/corruption.h"
#include "data/sampler.h"
#include "data/text.h"
#include "model/model.h"

typedef struct rf_source {
    rf_model_class task;
    const rf_tokens *tokens; /* borrowed */
    rf_windows windows;
    rf_corruption corruption; /* masked language models */
    int64_t batch, length;    /* the most that is read at once */
    int32_t *ids, *labels;    /* [batch, length] */
} rf_source;

/* What a source of windows is made from. */
typedef struct rf_source_text {
    const rf_tokens *tokens;       /* borrowed for as long as the source */
    const rf_config *config;       /* of the model */
    const rf_tokenizer *tokenizer; /* this and the others for the call */
    uint64_t seed;
    double mask_rate;
    int64_t mask_token; /* -1: as found out */
    bool sequential;
    bool judges; /* for evaluation: in order, with a corruption of its own */
} rf_source_text;
/* batch and length are set by then. Clear after any outcome. */
RF_MUST_CHECK rf_status rf_source_open(rf_source *source, const rf_source_text *text,
                                       rf_error *error);
void rf_source_clear(rf_source *source);
size_t rf_source_size(int64_t batch, int64_t length); /* bytes that it takes */
/* Rows first ... first + rows - 1, in memory of the source until the next call. */
rf_batch rf_source_read(rf_source *source, int64_t first, int64_t rows);
/* RF_ERR_UNSUPPORTED for a task that no source has batches for. */
RF_MUST_CHECK rf_status rf_source_check_task(rf_model_class task, rf_error *error);

#endif
