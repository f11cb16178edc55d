/* What stands on top of the model in each class, and its loss (spec of the Hugging Face
 * implementation, 3.4 and 8). */
#include "oracle/model.h"

#include "oracle/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The mean over rows that are not ignored, by their weights. */
static double mean_cross_entropy(const oracle_model *m, int64_t rows, int64_t classes,
                                 const double *logits, const double *targets)
{
    double *nll = oracle_fresh(rows);
    double *prediction = oracle_fresh(rows);
    double sum = 0.0;
    double scored = 0.0;
    oracle_cross_entropy(rows, classes, logits, targets, m->smoothing, m->class_weights, nll,
                         prediction);
    for (int64_t i = 0; i < rows; i++) {
        double weight = 1.0;
        if (m->class_weights != NULL && targets[i] >= 0.0) {
            weight = m->class_weights[(int64_t)targets[i]];
        }
        sum += nll[i];
        scored += targets[i] >= 0.0 ? weight : 0.0;
    }
    free(nll);
    free(prediction);
    return sum / scored;
}

static double language_model(const oracle_model *m, const double *joined, double *logits)
{
    const rf_config *config = m->config;
    int64_t rows = m->batch * m->length;
    oracle_linear(rows, oracle_output_width(m), config->vocabulary, joined,
                  oracle_parameter(m, RF_PARAMETER_HEAD_WEIGHT, -1, 0), NULL, logits);
    if (config->model_class == RF_CLASS_MASKED_LM) {
        return mean_cross_entropy(m, rows, config->vocabulary, logits, m->targets);
    }
    double *next = oracle_fresh(rows);
    for (int64_t i = 0; i < rows; i++) {
        bool goes_on = i % m->length + 1 < m->length &&
                       (m->segments == NULL || m->segments[i] == m->segments[i + 1]);
        next[i] = goes_on ? m->ids[i + 1] : -100.0;
    }
    double loss = mean_cross_entropy(m, rows, config->vocabulary, logits, next);
    free(next);
    return loss;
}

/* pooled [output width] of one sequence */
static void pool(const oracle_model *m, int64_t sequence, const double *joined, double *pooled)
{
    int64_t width = oracle_output_width(m);
    double count = 0.0;
    for (int64_t t = 0; t < m->length; t++) {
        int64_t row = sequence * m->length + t;
        bool keeps = m->mask == NULL || m->mask[row] > 0.0;
        bool mean = m->config->pooling == RF_POOLING_MEAN;
        bool taken = m->config->pooling == RF_POOLING_FIRST ? t == 0 : keeps;
        if (taken && !mean) { /* the last one stays */
            memcpy(pooled, joined + row * width, (size_t)width * sizeof *pooled);
        }
        count += taken ? 1.0 : 0.0;
        for (int64_t i = 0; i < width && taken && mean; i++) {
            pooled[i] += joined[row * width + i];
        }
    }
    for (int64_t i = 0; i < width && m->config->pooling == RF_POOLING_MEAN; i++) {
        pooled[i] /= count;
    }
}

static double classifier(const oracle_model *m, const double *joined, double *logits)
{
    const rf_config *config = m->config;
    int64_t hidden = config->hidden;
    int64_t count = m->batch * config->labels;
    double *pooled = oracle_fresh(m->batch * oracle_output_width(m));
    double *dense = oracle_fresh(m->batch * hidden);
    for (int64_t b = 0; b < m->batch; b++) {
        pool(m, b, joined, pooled + b * oracle_output_width(m));
    }
    oracle_linear(m->batch, oracle_output_width(m), hidden, pooled,
                  oracle_parameter(m, RF_PARAMETER_CLASSIFIER_WEIGHT, -1, 0),
                  oracle_parameter(m, RF_PARAMETER_CLASSIFIER_BIAS, -1, 0), dense);
    for (int64_t i = 0; i < m->batch * hidden; i++) {
        dense[i] = tanh(dense[i]);
    }
    oracle_linear(m->batch, hidden, config->labels, dense,
                  oracle_parameter(m, RF_PARAMETER_LABEL_WEIGHT, -1, 0),
                  oracle_parameter(m, RF_PARAMETER_LABEL_BIAS, -1, 0), logits);
    free(pooled);
    free(dense);
    if (config->problem == RF_PROBLEM_SINGLE) {
        return mean_cross_entropy(m, m->batch, config->labels, logits, m->targets);
    }
    double *losses = oracle_fresh(count);
    double sum = 0.0;
    bool regression = config->problem == RF_PROBLEM_REGRESSION;
    double smoothing = regression ? 0.0 : m->smoothing;
    double *targets = oracle_fresh(count);
    for (int64_t i = 0; i < count; i++) {
        targets[i] = m->targets[i] * (1.0 - smoothing) + 0.5 * smoothing;
    }
    oracle_value_loss(regression ? RF_VALUE_LOSS_SQUARED : RF_VALUE_LOSS_BINARY, count, logits,
                      targets, losses);
    free(targets);
    for (int64_t i = 0; i < count; i++) {
        sum += losses[i];
    }
    free(losses);
    return sum / (double)count;
}

static double answerer(const oracle_model *m, const double *joined, double *logits)
{
    int64_t rows = m->batch * m->length;
    double *both = oracle_fresh(2 * rows);
    oracle_linear(rows, oracle_output_width(m), 2, joined,
                  oracle_parameter(m, RF_PARAMETER_SPAN_WEIGHT, -1, 0),
                  oracle_parameter(m, RF_PARAMETER_SPAN_BIAS, -1, 0), both);
    for (int64_t i = 0; i < 2 * rows; i++) {
        logits[i] = both[i % rows * 2 + i / rows];
    }
    free(both);
    return 0.5 * (mean_cross_entropy(m, m->batch, m->length, logits, m->targets) +
                  mean_cross_entropy(m, m->batch, m->length, logits + rows, m->targets + m->batch));
}

/* Both losses, added; the logits are the language model's. */
static double both(const oracle_model *m, const double *joined, double *logits)
{
    oracle_model second = *m;
    double *labels = oracle_fresh(m->batch * m->config->labels);
    second.targets = m->pair_targets;
    double loss = language_model(m, joined, logits) + classifier(&second, joined, labels);
    free(labels);
    return loss;
}

double oracle_head(const oracle_model *m, const double *joined, double *logits)
{
    switch (m->config->model_class) {
    case RF_CLASS_CLASSIFIER:
        return classifier(m, joined, logits);
    case RF_CLASS_ANSWERER:
        return answerer(m, joined, logits);
    case RF_CLASS_BARE:
        memcpy(logits, joined,
               (size_t)(m->batch * m->length * oracle_output_width(m)) * sizeof *logits);
        return 0.0;
    default:
        return m->config->next_sentence != RF_UNIT_NONE ? both(m, joined, logits)
                                                        : language_model(m, joined, logits);
    }
}
