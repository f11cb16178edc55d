/* Frozen parameters of a run: which, kept by a resume since the optimizer has no state for them. */
#include "base/memory.h"
#include "train/trainer.h"

#include <string.h>

rf_status rf_trainer_settle_freeze(rf_trainer *trainer, const json_t *before, rf_error *error)
{
    rf_train_options *options = &trainer->options;
    const char *asked = options->freeze;
    if (trainer->resumed_from == NULL) {
        return RF_OK;
    }
    const char *was = json_string_value(json_object_get(before, "freeze"));
    was = was != NULL ? was : "";
    if (asked != NULL && strcmp(asked, was) != 0) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: this run freezes \"%.200s\", not \"%.200s\"; to change that start "
                            "a new run from its weights (init_from)",
                            trainer->resumed_from, was, asked);
    }
    RF_TRY(rf_string_copy(was, &trainer->freeze, error));
    options->freeze = trainer->freeze;
    return RF_OK;
}

rf_status rf_trainer_freeze(const rf_trainer *trainer, rf_parameters *parameters, rf_error *error)
{
    const char *patterns = trainer->options.freeze;
    return patterns == NULL || patterns[0] == '\0'
               ? RF_OK
               : rf_parameters_freeze(parameters, patterns, error);
}

void rf_trainer_tell_frozen(const rf_trainer *trainer)
{
    const rf_parameters *parameters = &trainer->model->parameters;
    int64_t tensors = 0;
    int64_t weights = 0;
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *item = &parameters->items[i];
        tensors += item->frozen ? 1 : 0;
        weights += item->frozen ? item->count : 0;
    }
    if (tensors > 0) {
        rf_log_write(&trainer->options.log, RF_LOG_NOTICE,
                     "frozen: %lld of %lld tensors, %lld of %lld parameters", (long long)tensors,
                     (long long)parameters->items_count, (long long)weights,
                     (long long)parameters->total);
    }
}
