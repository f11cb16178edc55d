/* Whether a batch fits the runner and the model: every id, label, value and segment is looked at on
 * the host, before anything is brought to the device. */
#include "model/runner.h"

#include <math.h>

/* Labels are below this. */
static int64_t label_bound(const rf_config *config)
{
    return config->model_class == RF_CLASS_CLASSIFIER ? config->labels : config->vocabulary;
}

static rf_status check_labels(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    bool classifies = config->model_class == RF_CLASS_CLASSIFIER;
    int64_t count = classifies ? batch->batch : batch->batch * batch->length;
    int64_t bound = label_bound(config);
    if (config->model_class == RF_CLASS_ANSWERER) {
        return RF_OK; /* every position is legal */
    }
    for (int64_t i = 0; i < count; i++) {
        int32_t label = batch->labels[i];
        if (label != RF_LABEL_IGNORED && (label < 0 || label >= bound)) {
            int64_t width = classifies ? 1 : batch->length;
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "label %d at sequence %lld, position %lld is outside the %s of "
                                "%lld; was the text encoded for another model?",
                                label, (long long)(i / width), (long long)(i % width),
                                classifies ? "labels" : "vocabulary", (long long)bound);
        }
    }
    return RF_OK;
}

static rf_status check_pairs(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    if (batch->pair_labels == NULL) {
        return RF_OK;
    }
    if (!rf_config_has_two_heads(config) || batch->labels == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "pair_labels are for a model with two heads, beside labels");
    }
    for (int64_t row = 0; row < batch->batch; row++) {
        int32_t label = batch->pair_labels[row];
        if (label != RF_LABEL_IGNORED && (label < 0 || label >= config->labels)) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "pair label %d at sequence %lld is outside the labels of %lld",
                                label, (long long)row, (long long)config->labels);
        }
    }
    return RF_OK;
}

static rf_status check_values(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    bool multiple = rf_config_problem(config) == RF_PROBLEM_MULTIPLE;
    for (int64_t i = 0; i < batch->batch * config->labels; i++) {
        float value = batch->values[i];
        if (!isfinite(value) || (multiple && (value < 0.0F || value > 1.0F))) {
            return rf_error_set(error, RF_ERR_ARGUMENT, "value %g of sequence %lld, expected %s",
                                (double)value, (long long)(i / config->labels),
                                multiple ? "0 to 1" : "a finite number");
        }
    }
    return RF_OK;
}

static rf_status check_token_types(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    bool read = config->type_vocabulary > 0 && batch->token_types != NULL;
    for (int64_t i = 0; read && i < batch->batch * batch->length; i++) {
        if (batch->token_types[i] < 0 || batch->token_types[i] >= config->type_vocabulary) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "token type %d at sequence %lld, position %lld is outside the "
                                "type_vocab_size of %lld",
                                batch->token_types[i], (long long)(i / batch->length),
                                (long long)(i % batch->length), (long long)config->type_vocabulary);
        }
    }
    return RF_OK;
}

static rf_status check_ids(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    for (int64_t i = 0; i < batch->batch * batch->length; i++) {
        if (batch->ids[i] < 0 || batch->ids[i] >= config->vocabulary) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "token id %d at sequence %lld, position %lld is outside the "
                                "vocabulary of %lld; was the text encoded for another model?",
                                batch->ids[i], (long long)(i / batch->length),
                                (long long)(i % batch->length), (long long)config->vocabulary);
        }
    }
    return RF_OK;
}

/* *count: one more than the largest. */
static rf_status check_segments(const rf_runner *runner, const rf_batch *batch, int64_t *count,
                                rf_error *error)
{
    *count = 1;
    if (batch->segments == NULL) {
        return RF_OK;
    }
    if (!runner->options.segments) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a batch with segments came to a runner that was not planned for them");
    }
    for (int64_t i = 0; i < batch->batch * batch->length; i++) {
        int32_t segment = batch->segments[i];
        if (segment < 0 || segment >= batch->length) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "segment %d at sequence %lld, position %lld; expected 0 to %lld",
                                segment, (long long)(i / batch->length),
                                (long long)(i % batch->length), (long long)batch->length - 1);
        }
        *count = segment >= *count ? segment + 1 : *count;
    }
    return RF_OK;
}

static rf_status check_targets(const rf_config *config, const rf_batch *batch, rf_error *error)
{
    bool wants = rf_head_wants_values(config);
    if (config->model_class == RF_CLASS_BARE && (batch->labels != NULL || batch->values != NULL)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "a bare ReformerModel has no use for labels");
    }
    if (wants ? batch->labels != NULL : batch->values != NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "this model's targets are %s, not %s",
                            wants ? "values" : "labels", wants ? "labels" : "values");
    }
    RF_TRY(check_pairs(config, batch, error));
    if (batch->labels != NULL) {
        return check_labels(config, batch, error);
    }
    return batch->values != NULL ? check_values(config, batch, error) : RF_OK;
}

rf_status rf_runner_check_batch(const rf_runner *runner, const rf_batch *batch,
                                int64_t *segment_count, rf_error *error)
{
    const rf_config *config = runner->pass.config;
    if (batch->length <= 0 || batch->length > runner->options.length || batch->batch <= 0 ||
        batch->batch > runner->options.batch) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a batch of %lld x %lld tokens does not fit a plan for %lld x %lld",
                            (long long)batch->batch, (long long)batch->length,
                            (long long)runner->options.batch, (long long)runner->options.length);
    }
    RF_TRY(check_ids(config, batch, error));
    RF_TRY(check_token_types(config, batch, error));
    RF_TRY(check_targets(config, batch, error));
    return check_segments(runner, batch, segment_count, error);
}
