/* Figures of an evaluation beyond the loss: counted over labels, collected over numbers or answers,
 * then named. docs/tasks.md, "Figures", says what each is. */
#ifndef RF_TRAIN_METRICS_H
#define RF_TRAIN_METRICS_H

#include "model/config.h"
#include "reformer/train.h"
#include "train/answer_score.h"

typedef struct rf_metrics {
    rf_problem problem;
    int64_t labels;
    int64_t rows;                    /* judged so far */
    int64_t whole;                   /* of these, right in every label */
    int64_t *right, *told, *wanted;  /* [labels] each: told and wanted, told, wanted; one block */
    double *predicted, *true_values; /* [room]: of a regression; one block */
    int64_t room;
    double exact, f1; /* sums over answers */
} rf_metrics;

/* Of a classifier, for at most `rows` rows; or of a question answerer (problem RF_PROBLEM_OPEN,
 * labels 0). Clear after any outcome. */
RF_MUST_CHECK rf_status rf_metrics_init(rf_metrics *metrics, rf_problem problem, int64_t labels,
                                        int64_t rows, rf_error *error);
void rf_metrics_clear(rf_metrics *metrics);
void rf_metrics_reset(rf_metrics *metrics); /* as after init */

/* One row. scores [labels]: the head's. */
void rf_metrics_add_label(rf_metrics *metrics, const float *scores, int64_t label);
/* values [labels]: 0 or 1, or the number of a regression. */
void rf_metrics_add_values(rf_metrics *metrics, const float *scores, const float *values);
void rf_metrics_add_answer(rf_metrics *metrics, const rf_answer_score *score);

/* Of one label of many. */
double rf_metrics_macro_f1(const rf_metrics *metrics);
double rf_metrics_micro_f1(const rf_metrics *metrics);
double rf_metrics_matthews(const rf_metrics *metrics);
/* x, y [count]; NaN where one of them does not vary. */
double rf_metrics_pearson(const double *x, const double *y, int64_t count);
/* Pearson's of the ranks, equal numbers sharing their mean rank. */
RF_MUST_CHECK rf_status rf_metrics_spearman(const double *x, const double *y, int64_t count,
                                            double *result, rf_error *error);

/* Append a figure. */
void rf_figures_add(rf_figures *figures, const char *name, double value, bool is_share);
/* Append what was gathered. */
RF_MUST_CHECK rf_status rf_metrics_figures(const rf_metrics *metrics, rf_figures *figures,
                                           rf_error *error);

#endif
