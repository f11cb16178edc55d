/* Where batches come from, for training and for evaluation, whatever the task: windows of a text or
 * of packed documents, as they are or corrupted, pairs of a text's spans, examples, or rows that
 * are made. A batch is a pure function of the source and of the number of its first row. */
#ifndef RF_TRAIN_SOURCE_H
#define RF_TRAIN_SOURCE_H

#include "data/corruption.h"
#include "data/drill.h"
#include "data/examples.h"
#include "data/packing.h"
#include "data/pairs.h"
#include "data/sampler.h"
#include "data/text.h"
#include "model/model.h"

typedef struct rf_source {
    rf_model_class task;
    const rf_tokens *tokens; /* borrowed */
    rf_windows windows;
    rf_packing packing;        /* where the tokens are documents; then windows are not used */
    int32_t *segments;         /* [batch, length], of packed documents */
    rf_corruption corruption;  /* masked language models */
    const rf_tokenizer *words; /* borrowed; which tokens are told together, NULL: each for itself */
    uint8_t *parts;            /* [length] */
    int64_t batch, length;     /* the most that is read at once */
    int32_t *ids, *labels;     /* [batch, length] */
    rf_pairs pairs;            /* next-sentence prediction; else without units */
    rf_pair *picked;           /* [batch] */
    int32_t *pair_labels;      /* [batch] */
    rf_drill_rows drill;       /* rows that are made; else of no drill */
    int64_t made_first, made_rows; /* those of them that ids and labels hold */
    int64_t examples;              /* how many; 0: windows of a text */
    int32_t *pieces;               /* tokens of all examples */
    int64_t *starts;               /* [examples + 1], in pieces */
    int64_t *seconds;              /* [examples]: tokens before the second text, all without one */
    int32_t *targets;              /* [examples] labels, or [examples, 2] spans */
    float *wanted;                 /* [examples, label_count] instead, where wants_values */
    int64_t *order;                /* [examples], of `epoch` */
    const int64_t *judged; /* [examples], NULL: the order in which an evaluation takes them */
    int64_t epoch, label_count;
    int64_t step_rows; /* rows of a step, which are to be of like length; 0: as they come */
    struct rf_length_place *pool; /* to sort them in */
    bool wants_values;
    uint8_t *mask;        /* [batch, length] */
    int32_t *token_types; /* [batch, length] */
    float *values;        /* [batch, label_count] */
} rf_source;

/* What a source of windows is made from. */
typedef struct rf_source_text {
    const rf_tokens *tokens;       /* borrowed for as long as the source */
    const rf_tokenizer *tokenizer; /* this too */
    const rf_config *config;       /* of the model; this and the others for the call */
    uint64_t seed;
    double mask_rate;
    int64_t mask_token; /* -1: as found out */
    bool sequential;
    bool judges; /* for evaluation: in order, with a corruption of its own */
} rf_source_text;
/* batch and length are set by then. Clear after any outcome. */
RF_MUST_CHECK rf_status rf_source_open(rf_source *source, const rf_source_text *text,
                                       rf_error *error);
/* source_pairs.c, called by rf_source_open: its part of a source of pairs. */
RF_MUST_CHECK rf_status rf_source_open_pairs(rf_source *source, const rf_source_text *text,
                                             rf_error *error);
size_t rf_source_pairs_size(const rf_source *source); /* bytes of what pairs are drawn from */
/* What a source of examples is made from. */
typedef struct rf_source_examples {
    const rf_examples *examples; /* all for the call */
    const rf_config *config;
    const rf_tokenizer *tokenizer;
    uint64_t seed;
    bool sequential;   /* in the order of the file */
    int64_t step_rows; /* examples of like length share a step of so many rows; 0: as they come */
    const rf_log *log;
} rf_source_examples;
/* batch and length are set by then; longer rows are cut, which is said in the log. */
RF_MUST_CHECK rf_status rf_source_open_examples(rf_source *source, const rf_source_examples *from,
                                                rf_error *error);
/* Rows of a drill, without end. batch and length are set by then. */
RF_MUST_CHECK rf_status rf_source_open_drill(rf_source *source, const rf_drill_rows *rows,
                                             rf_error *error);
/* Rows of the drill called `data` need a causal language model (`model` is its name) of as many
 * ids; no drill of that name: RF_OK. */
RF_MUST_CHECK rf_status rf_source_check_drill(const rf_config *config, const char *model,
                                              const char *data, rf_error *error);
bool rf_source_is_made(const rf_source *source);
void rf_source_clear(rf_source *source);
size_t rf_source_size(int64_t batch, int64_t length); /* bytes that it takes */
/* Beside those: what packing takes. */
size_t rf_source_packing_size(const rf_tokens *tokens, int64_t batch, int64_t length);
/* Rows first ... first + rows - 1, in memory of the source until the next call. */
rf_batch rf_source_read(rf_source *source, int64_t first, int64_t rows);
rf_batch rf_source_read_examples(rf_source *source, int64_t first, int64_t rows);
rf_batch rf_source_read_pairs(rf_source *source, int64_t first, int64_t rows);
/* source_order.c: the example that a row is: one stands at each place, counted over all epochs, or
 * where an evaluation takes it. */
int64_t rf_source_example(rf_source *source, int64_t number);
RF_MUST_CHECK rf_status rf_source_take_order(rf_source *source, rf_error *error);
/* Rows of one evaluation: whole windows, as many as hold most_tokens (0: all), or all examples or
 * pairs; of rows that are made, which have no end, those of 2^18 tokens where it is 0. */
int64_t rf_source_rows(const rf_source *source, int64_t most_tokens);
/* RF_ERR_UNSUPPORTED for a task that no source has batches for. */
RF_MUST_CHECK rf_status rf_source_check_task(rf_model_class task, rf_error *error);

#endif
