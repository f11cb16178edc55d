/* The examples of a run: read before the model is made, since a classifier's labels follow from
 * them; encoded when the tokenizer and the length are known. */
#include "train/trainer.h"

#include "base/memory.h"

#include <string.h>

static rf_status load(const rf_trainer *trainer, const char *pattern, rf_examples *examples,
                      rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_example_fields fields = {options->text_field, options->pair_field,
                                      options->label_field,
                                      trainer->config.problem == RF_PROBLEM_REGRESSION};
    return trainer->config.model_class == RF_CLASS_ANSWERER
               ? rf_examples_load_answers(pattern, examples, error)
               : rf_examples_load_labelled(pattern, &fields, examples, error);
}

static bool has_label(const rf_config *config, const char *name)
{
    for (int64_t i = 0; i < config->labels; i++) {
        if (strcmp(rf_config_label(config, i), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Labels that the model does not have make it one for those of the examples. */
static rf_status take_labels(rf_trainer *trainer, rf_error *error)
{
    const json_t *names = trainer->examples.names;
    size_t count = json_array_size(names);
    bool known = true;
    void *memory = NULL;
    for (size_t i = 0; i < count; i++) {
        known = known && has_label(&trainer->config, json_string_value(json_array_get(names, i)));
    }
    if (count > 0 && known) {
        return RF_OK;
    }
    RF_TRY(rf_allocate((count + 1) * sizeof(char *), "names of labels", &memory, error));
    const char **list = memory;
    for (size_t i = 0; i < count; i++) {
        list[i] = json_string_value(json_array_get(names, i));
    }
    rf_status status =
        count > 0 ? rf_config_set_labels(&trainer->config, (int64_t)count, list, error)
        : trainer->config.labels != 1 ? rf_config_set_labels(&trainer->config, 1, NULL, error)
                                      : RF_OK;
    rf_release(memory);
    if (status == RF_OK) {
        rf_log_write(&trainer->options.log, RF_LOG_NOTICE, "the model has %lld label%s, by %s",
                     (long long)trainer->config.labels, trainer->config.labels == 1 ? "" : "s",
                     trainer->examples.name);
    }
    return status;
}

static rf_status settle_problem(rf_trainer *trainer, rf_error *error)
{
    rf_config *config = &trainer->config;
    rf_problem found = trainer->examples.problem;
    if (config->problem != RF_PROBLEM_OPEN && config->problem != found) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "%s: its labels are of another kind than problem_type says; one of many "
            "are texts or integers, several are lists, numbers a regression",
            trainer->examples.name);
    }
    config->problem = found;
    return RF_OK;
}

bool rf_trainer_has_examples(const rf_trainer *trainer)
{
    bool classifies = trainer->config.model_class == RF_CLASS_CLASSIFIER &&
                      trainer->config.next_sentence == RF_UNIT_NONE;
    return classifies || trainer->config.model_class == RF_CLASS_ANSWERER;
}

rf_status rf_trainer_read_examples(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    if (!rf_trainer_has_examples(trainer)) {
        return RF_OK;
    }
    RF_TRY(load(trainer, options->data, &trainer->examples, error));
    if (trainer->config.model_class == RF_CLASS_CLASSIFIER) {
        if (trainer->resumed_from == NULL) {
            RF_TRY(take_labels(trainer, error));
        }
        RF_TRY(settle_problem(trainer, error));
    }
    if (options->valid != NULL) {
        return load(trainer, options->valid, &trainer->valid_examples, error);
    }
    int64_t all = rf_examples_count(&trainer->examples);
    int64_t held = all / 20 > 0 ? all / 20 : 1;
    if (all < 2) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%s: one example is too few; a part is held out for validation",
                            options->data);
    }
    return rf_examples_split(&trainer->examples, held, &trainer->valid_examples, error);
}

static rf_status open_source(rf_trainer *trainer, const rf_examples *examples, rf_source *source,
                             bool sequential, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    bool by_length = options->batch_by_length;
    const rf_source_examples from = {
        .examples = examples,
        .config = &trainer->config,
        .tokenizer = trainer->tokenizer,
        .seed = trainer->state.seed,
        .sequential = sequential,
        .step_rows = by_length && !sequential ? options->batch * options->accumulate : 0,
        .log = &trainer->options.log};
    source->batch = trainer->options.batch;
    source->length = trainer->options.length;
    return rf_source_open_examples(source, &from, error);
}

rf_status rf_trainer_open_examples(rf_trainer *trainer, rf_error *error)
{
    RF_TRY(open_source(trainer, &trainer->examples, &trainer->source, trainer->options.sequential,
                       error));
    RF_TRY(open_source(trainer, &trainer->valid_examples, &trainer->valid_source, true, error));
    trainer->train.size = trainer->examples.bytes; /* what identifies the data */
    trainer->corpus.hash = trainer->examples.hash;
    trainer->valid.size = trainer->valid_examples.bytes;
    return RF_OK;
}
