/* Accuracy, F1, Matthews' and Pearson's and Spearman's coefficients. Labels are only counted, three
 * numbers each, which is enough for all of them (Gorodkin 2004 for the coefficient of many labels);
 * of a regression every pair is kept, for its ranks. */
#include "train/metrics.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

rf_status rf_metrics_init(rf_metrics *metrics, rf_problem problem, int64_t labels, int64_t rows,
                          rf_error *error)
{
    void *memory = NULL;
    *metrics = (rf_metrics){.problem = problem, .labels = labels};
    if (problem == RF_PROBLEM_REGRESSION) {
        RF_TRY(
            rf_allocate(2 * (size_t)rows * sizeof(double), "numbers to correlate", &memory, error));
        metrics->predicted = memory;
        metrics->true_values = metrics->predicted + rows;
        metrics->room = rows;
    } else if (problem != RF_PROBLEM_OPEN) {
        RF_TRY(rf_allocate_zeroed(3 * (size_t)labels * sizeof(int64_t), "counts of labels", &memory,
                                  error));
        metrics->right = memory;
        metrics->told = metrics->right + labels;
        metrics->wanted = metrics->told + labels;
    }
    return RF_OK;
}

void rf_metrics_clear(rf_metrics *metrics)
{
    rf_release(metrics->right); /* the others lie in the same blocks */
    rf_release(metrics->predicted);
    *metrics = (rf_metrics){0};
}

void rf_metrics_reset(rf_metrics *metrics)
{
    metrics->rows = 0;
    metrics->whole = 0;
    metrics->exact = 0.0;
    metrics->f1 = 0.0;
    if (metrics->right != NULL) {
        memset(metrics->right, 0, 3 * (size_t)metrics->labels * sizeof(int64_t));
    }
}

/* ---- gathering --------------------------------------------------------------------------- */

void rf_metrics_add_label(rf_metrics *metrics, const float *scores, int64_t label)
{
    int64_t best = 0;
    for (int64_t i = 1; i < metrics->labels; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    metrics->rows++;
    metrics->told[best]++;
    metrics->wanted[label]++;
    metrics->right[best] += best == label ? 1 : 0;
    metrics->whole += best == label ? 1 : 0;
}

void rf_metrics_add_values(rf_metrics *metrics, const float *scores, const float *values)
{
    bool whole = true;
    if (metrics->problem == RF_PROBLEM_REGRESSION) {
        RF_ASSERT(metrics->rows < metrics->room);
        metrics->predicted[metrics->rows] = (double)scores[0];
        metrics->true_values[metrics->rows] = (double)values[0];
        metrics->rows++;
        return;
    }
    for (int64_t i = 0; i < metrics->labels; i++) {
        bool tells = scores[i] >= 0.0F; /* a probability of at least 0.5 */
        bool wants = values[i] >= 0.5F;
        metrics->told[i] += tells ? 1 : 0;
        metrics->wanted[i] += wants ? 1 : 0;
        metrics->right[i] += tells && wants ? 1 : 0;
        whole = whole && tells == wants;
    }
    metrics->rows++;
    metrics->whole += whole ? 1 : 0;
}

void rf_metrics_add_answer(rf_metrics *metrics, const rf_answer_score *score)
{
    metrics->rows++;
    metrics->exact += score->exact;
    metrics->f1 += score->f1;
}

/* ---- labels ------------------------------------------------------------------------------ */

static double f1(int64_t right, int64_t told, int64_t wanted)
{
    return told + wanted > 0 ? 2.0 * (double)right / (double)(told + wanted) : 0.0;
}

/* Of one label of many, a label that is neither told nor wanted does not count; where labels stand
 * for themselves it counts as 0. */
double rf_metrics_macro_f1(const rf_metrics *metrics)
{
    double sum = 0.0;
    int64_t count = 0;
    for (int64_t i = 0; i < metrics->labels; i++) {
        bool occurs = metrics->told[i] + metrics->wanted[i] > 0;
        sum += f1(metrics->right[i], metrics->told[i], metrics->wanted[i]);
        count += occurs || metrics->problem == RF_PROBLEM_MULTIPLE ? 1 : 0;
    }
    return count > 0 ? sum / (double)count : (double)NAN;
}

double rf_metrics_micro_f1(const rf_metrics *metrics)
{
    int64_t right = 0;
    int64_t told = 0;
    int64_t wanted = 0;
    for (int64_t i = 0; i < metrics->labels; i++) {
        right += metrics->right[i];
        told += metrics->told[i];
        wanted += metrics->wanted[i];
    }
    return f1(right, told, wanted);
}

/* 0 where only one label is told, or only one wanted. */
double rf_metrics_matthews(const rf_metrics *metrics)
{
    double all = (double)metrics->rows;
    double both = 0.0;
    double told = 0.0;
    double wanted = 0.0;
    for (int64_t i = 0; i < metrics->labels; i++) {
        both += (double)metrics->told[i] * (double)metrics->wanted[i];
        told += (double)metrics->told[i] * (double)metrics->told[i];
        wanted += (double)metrics->wanted[i] * (double)metrics->wanted[i];
    }
    double under = (all * all - told) * (all * all - wanted);
    return under > 0.0 ? ((double)metrics->whole * all - both) / sqrt(under) : 0.0;
}

/* ---- numbers ----------------------------------------------------------------------------- */

static double mean_of(const double *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i];
    }
    return sum / (double)count;
}

double rf_metrics_pearson(const double *x, const double *y, int64_t count)
{
    double x_mean = mean_of(x, count);
    double y_mean = mean_of(y, count);
    double xx = 0.0;
    double yy = 0.0;
    double xy = 0.0;
    for (int64_t i = 0; i < count; i++) {
        xx += (x[i] - x_mean) * (x[i] - x_mean);
        yy += (y[i] - y_mean) * (y[i] - y_mean);
        xy += (x[i] - x_mean) * (y[i] - y_mean);
    }
    return xx > 0.0 && yy > 0.0 ? xy / sqrt(xx) / sqrt(yy) : (double)NAN;
}

typedef struct place {
    double value;
    int64_t index;
} place;

static int by_value(const void *a, const void *b)
{
    const place *x = a;
    const place *y = b;
    return x->value < y->value ? -1 : x->value > y->value ? 1 : 0;
}

/* ranks [count], places [count] scratch */
static void rank(const double *x, int64_t count, place *places, double *ranks)
{
    for (int64_t i = 0; i < count; i++) {
        places[i] = (place){x[i], i};
    }
    qsort(places, (size_t)count, sizeof *places, by_value);
    for (int64_t i = 0; i < count;) {
        int64_t end = i + 1;
        while (end < count && by_value(&places[i], &places[end]) == 0) {
            end++;
        }
        for (int64_t j = i; j < end; j++) {
            ranks[places[j].index] = 0.5 * (double)(i + end - 1);
        }
        i = end;
    }
}

rf_status rf_metrics_spearman(const double *x, const double *y, int64_t count, double *result,
                              rf_error *error)
{
    void *memory = NULL;
    void *ranks = NULL;
    rf_status status = RF_OK;
    *result = (double)NAN;
    if (count == 0) {
        return RF_OK;
    }
    RF_TRY_DONE(rf_allocate((size_t)count * sizeof(place), "numbers to sort", &memory, error));
    RF_TRY_DONE(rf_allocate(2 * (size_t)count * sizeof(double), "ranks", &ranks, error));
    double *first = ranks;
    rank(x, count, memory, first);
    rank(y, count, memory, first + count);
    *result = rf_metrics_pearson(first, first + count, count);
done:
    rf_release(memory);
    rf_release(ranks);
    return status;
}

static double mean_square(const rf_metrics *metrics)
{
    double sum = 0.0;
    for (int64_t i = 0; i < metrics->rows; i++) {
        double difference = metrics->predicted[i] - metrics->true_values[i];
        sum += difference * difference;
    }
    return metrics->rows > 0 ? sum / (double)metrics->rows : (double)NAN;
}

/* ---- figures ----------------------------------------------------------------------------- */

void rf_figures_add(rf_figures *figures, const char *name, double value, bool is_share)
{
    RF_ASSERT(figures->count < RF_FIGURES);
    figures->items[figures->count++] = (rf_figure){name, value, is_share};
}

static double share(double part, int64_t whole)
{
    return whole > 0 ? part / (double)whole : (double)NAN;
}

rf_status rf_metrics_figures(const rf_metrics *metrics, rf_figures *figures, rf_error *error)
{
    double spearman = 0.0;
    switch (metrics->problem) {
    case RF_PROBLEM_SINGLE:
        rf_figures_add(figures, "accuracy", share((double)metrics->whole, metrics->rows), true);
        rf_figures_add(figures, "macro_f1", rf_metrics_macro_f1(metrics), true);
        rf_figures_add(figures, "matthews", rf_metrics_matthews(metrics), false);
        return RF_OK;
    case RF_PROBLEM_MULTIPLE:
        rf_figures_add(figures, "subset_accuracy", share((double)metrics->whole, metrics->rows),
                       true);
        rf_figures_add(figures, "micro_f1", rf_metrics_micro_f1(metrics), true);
        rf_figures_add(figures, "macro_f1", rf_metrics_macro_f1(metrics), true);
        return RF_OK;
    case RF_PROBLEM_REGRESSION:
        RF_TRY(rf_metrics_spearman(metrics->predicted, metrics->true_values, metrics->rows,
                                   &spearman, error));
        rf_figures_add(figures, "mean_squared_error", mean_square(metrics), false);
        rf_figures_add(figures, "pearson",
                       rf_metrics_pearson(metrics->predicted, metrics->true_values, metrics->rows),
                       false);
        rf_figures_add(figures, "spearman", spearman, false);
        return RF_OK;
    default:
        rf_figures_add(figures, "exact_match", share(metrics->exact, metrics->rows), true);
        rf_figures_add(figures, "f1", share(metrics->f1, metrics->rows), true);
        return RF_OK;
    }
}
