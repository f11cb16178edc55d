/* What an evaluation counts beside the loss. A classifier's and a question answerer's scores are
 * seen through a hook of the runner, which costs training nothing: the judge listens while it is
 * asked to. */
#ifndef RF_TRAIN_JUDGE_H
#define RF_TRAIN_JUDGE_H

#include "train/metrics.h"
#include "train/source.h"

typedef struct rf_judge {
    const rf_model *model; /* borrowed, as all that follow */
    rf_source *source;
    const rf_examples *examples;   /* question answering */
    const rf_tokenizer *tokenizer; /* the same */
    double bytes_per_token;        /* language models */
    bool listens;
    const int64_t *ends; /* [ends_count] ascending, of bands of positions whose losses are told one
                            by one, of a causal model without packed documents; NULL: none */
    int64_t ends_count;
    float *nll;                                /* [batch, length], where there are bands */
    rf_position_band bands[RF_POSITION_BANDS]; /* loss: a sum until it is told */
    float *scores;  /* of a batch: [batch, labels], or [2 * batch, length] */
    size_t room;    /* numbers in it */
    int64_t *order; /* [examples]: those that may share a batch beside each other; NULL: a text */
    rf_metrics metrics;
} rf_judge;

/* model, source (open), and where needed examples, tokenizer, bytes_per_token and ends are set by
 * then.
 * Clear after any outcome. */
RF_MUST_CHECK rf_status rf_judge_open(rf_judge *judge, rf_error *error);
void rf_judge_clear(rf_judge *judge);
/* For the runner's options; the judge may be opened later, but not moved; ends are set by then. */
rf_hooks rf_judge_hooks(rf_judge *judge, rf_model_class task);

/* Before an evaluation of the first `rows` rows, which settles in which order examples are read.
 * Then in turn: how many rows from `first` on may share a batch (none changes what another gives);
 * before that batch; after it. */
RF_MUST_CHECK rf_status rf_judge_begin(rf_judge *judge, int64_t rows, rf_error *error);
int64_t rf_judge_mates(const rf_judge *judge, int64_t first, int64_t rows);
void rf_judge_listen(rf_judge *judge);
RF_MUST_CHECK rf_status rf_judge_batch(rf_judge *judge, const rf_batch *batch, int64_t first,
                                       rf_error *error);
/* Whether bits a byte are a figure: of causal language models, on texts. */
bool rf_judge_has_bytes(const rf_judge *judge);
/* All figures of the model's task, the loss first. */
RF_MUST_CHECK rf_status rf_judge_figures(const rf_judge *judge, const rf_outcome *outcome,
                                         rf_figures *figures, rf_error *error);

/* Means of bands [RF_POSITION_BANDS] of positions; returns how many there are. */
int64_t rf_judge_bands(const rf_judge *judge, rf_position_band *bands);

/* NaN where there is no such figure. */
double rf_figures_value(const rf_figures *figures, const char *name);
/* RF_ERR_ARGUMENT, with the names that the task has, where `name` is none of them. */
RF_MUST_CHECK rf_status rf_judge_check_name(const rf_judge *judge, const char *name,
                                            rf_error *error);
/* Whether a value of this figure is better than another; a NaN never is. */
bool rf_figure_is_better(const char *name, double value, double than);

#endif
