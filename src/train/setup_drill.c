/* A run on data that are made: no text and no tokenizer, and the model's ids are the drill's. */
#include "base/file.h"
#include "train/trainer.h"

bool rf_trainer_has_drill(const rf_trainer *trainer)
{
    return rf_drill_named(trainer->options.data) != RF_DRILL_NONE;
}

/* What needs a text, or nothing without one. */
static rf_status check_options(const rf_train_options *options, rf_error *error)
{
    const struct {
        const char *name;
        bool given;
    } texts[] = {
        {"valid", options->valid != NULL || options->valid_bytes > 0},
        {"tokenizer", options->tokenizer != NULL},
        {"pack", options->pack},
        {"sequential", options->sequential},
        {"sample_every", options->sample_every > 0},
        {"mask_whole_words", options->mask_whole_words},
        {"spans", options->spans != NULL},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].given) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "%s is for texts, but the data are made (%s): rows without end, and "
                "others to judge by; leave it out, or say ./%s for a file of that "
                "name",
                texts[i].name, options->data, options->data);
        }
    }
    return RF_OK;
}

rf_status rf_trainer_check_drill(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_config *config = &trainer->config;
    bool is_new = trainer->resumed_from == NULL && options->model_config != NULL &&
                  options->init_from == NULL;
    if (!rf_trainer_has_drill(trainer)) {
        bool given = options->distance > 0 || options->shortest > 0 || options->pairs > 0;
        config->drill = RF_DRILL_NONE;
        return given ? rf_error_set(error, RF_ERR_ARGUMENT,
                                    "distance, shortest and pairs are for data that are made "
                                    "(copy, reverse, addition, recall), but data is %s",
                                    options->data)
                     : RF_OK;
    }
    if (config->model_class != RF_CLASS_CAUSAL_LM) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%s is for causal language models, but the task is %s", options->data,
                            rf_config_task(config));
    }
    RF_TRY(check_options(options, error));
    config->drill = rf_drill_named(options->data);
    int64_t vocabulary = rf_drill_vocabulary(config->drill);
    if (config->vocabulary != vocabulary && !is_new) {
        return rf_error_set(
            error, RF_ERR_CONFIG,
            "vocab_size is %lld, but %s has %lld ids; start from a model of as many",
            (long long)config->vocabulary, options->data, (long long)vocabulary);
    }
    if (config->vocabulary != vocabulary) {
        rf_log_write(&options->log, RF_LOG_NOTICE,
                     "vocab_size is %lld, as %s has (the configuration says %lld)",
                     (long long)vocabulary, options->data, (long long)config->vocabulary);
        config->vocabulary = vocabulary;
    }
    if (rf_file_exists(options->data)) {
        rf_log_write(&options->log, RF_LOG_NOTICE,
                     "data: %s is made; the file of that name is ./%s", options->data,
                     options->data);
    }
    return RF_OK;
}

rf_status rf_trainer_open_drill(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_drill_rows rows = {.drill = trainer->config.drill,
                          .seed = trainer->state.seed,
                          .length = options->length,
                          .shortest = options->shortest,
                          .distance = options->distance,
                          .pairs = options->pairs};
    rf_source *const sources[] = {&trainer->source, &trainer->valid_source};
    for (uint32_t stream = 0; stream < 2; stream++) {
        rows.stream = stream;
        sources[stream]->batch = options->batch;
        sources[stream]->length = options->length;
        RF_TRY(rf_source_open_drill(sources[stream], &rows, error));
    }
    trainer->corpus.hash = rf_drill_hash(&rows); /* what identifies the data */
    return RF_OK;
}
