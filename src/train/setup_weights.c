/* How the loss that is trained on differs from the one that is judged by: smoothed labels, and a
 * weight for each class of a classifier. "auto" is inverse frequency: rows / (classes * rows of the
 * class), so that the weights of all rows have the mean 1; a class without a row has weight 1. */
#include "base/memory.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void weigh_by_frequency(const rf_source *source, int64_t labels, float *weights)
{
    for (int64_t label = 0; label < labels; label++) {
        int64_t count = 0;
        for (int64_t i = 0; i < source->examples; i++) {
            count += source->targets[i] == label ? 1 : 0;
        }
        double weight = (double)source->examples / ((double)labels * (double)count);
        weights[label] = count > 0 ? (float)weight : 1.0F;
    }
}

static rf_status parse_weights(const char *text, int64_t labels, float *weights, rf_error *error)
{
    const char *at = text;
    double sum = 0.0;
    for (int64_t label = 0; label < labels; label++) {
        char *end = NULL;
        double weight = strtod(at, &end);
        bool ends = label + 1 < labels ? *end == ',' : *end == '\0';
        if (end == at || !ends || !(weight >= 0.0) || !isfinite(weight)) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "class_weights is \"%.100s\", expected auto or %lld numbers that "
                                "are not negative, with commas between them, one a label",
                                text, (long long)labels);
        }
        weights[label] = (float)weight;
        sum += weight;
        at = end + 1;
    }
    return sum > 0.0 ? RF_OK
                     : rf_error_set(error, RF_ERR_ARGUMENT,
                                    "class_weights are all 0, so there is nothing to learn");
}

static void tell_weights(const rf_trainer *trainer)
{
    char text[400];
    size_t used = 0;
    for (int64_t i = 0; i < trainer->config.labels && used < sizeof text; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.40s %.4g", i > 0 ? ", " : "",
                                 rf_config_label(&trainer->config, i),
                                 (double)trainer->class_weights[i]);
    }
    rf_log_write(&trainer->options.log, RF_LOG_NOTICE, "class weights: %s%s", text,
                 used < sizeof text ? "" : "...");
}

rf_status rf_trainer_settle_weights(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_config *config = &trainer->config;
    const char *wanted = options->class_weights;
    bool classifies = config->model_class == RF_CLASS_CLASSIFIER;
    void *memory = NULL;
    if (options->label_smoothing > 0.0 && classifies &&
        rf_config_problem(config) == RF_PROBLEM_REGRESSION) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "label_smoothing is %g, but the labels are numbers (a regression), "
                            "which it says nothing about",
                            options->label_smoothing);
    }
    if (wanted == NULL || wanted[0] == '\0') {
        return RF_OK;
    }
    if (!classifies || rf_config_problem(config) != RF_PROBLEM_SINGLE) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "class_weights are for classifiers with one label of many");
    }
    RF_TRY(rf_allocate_zeroed((size_t)config->labels * sizeof(float), "class weights", &memory,
                              error));
    trainer->class_weights = memory;
    if (strcmp(wanted, "auto") == 0) {
        weigh_by_frequency(&trainer->source, config->labels, trainer->class_weights);
    } else {
        RF_TRY(parse_weights(wanted, config->labels, trainer->class_weights, error));
    }
    tell_weights(trainer);
    return RF_OK;
}

double rf_trainer_scored_weight(const rf_trainer *trainer, const rf_batch *batch)
{
    double sum = 0.0;
    if (trainer->class_weights == NULL) {
        return (double)rf_model_scored(trainer->model, batch);
    }
    for (int64_t i = 0; i < batch->batch; i++) {
        int32_t label = batch->labels[i];
        sum += label >= 0 ? (double)trainer->class_weights[label] : 0.0;
    }
    return sum;
}
