/* The text of a run and how it is cut into tokens. The tokenizer is that of the checkpoint that is
 * resumed, else the one that was named, else that of the model that the run starts from, else
 * bytes. */
#include "base/file.h"
#include "data/documents.h"
#include "train/trainer.h"

static const char *tokenizer_source(const rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    if (trainer->resumed_from != NULL) {
        return trainer->resumed_from;
    }
    return options->tokenizer != NULL ? options->tokenizer : options->init_from;
}

/* A new model gets as many ids as the tokenizer has, and its special tokens. */
static void take_vocabulary(rf_trainer *trainer)
{
    rf_config *config = &trainer->config;
    int64_t vocabulary = rf_tokenizer_vocabulary(trainer->tokenizer);
    int64_t end = rf_tokenizer_special(trainer->tokenizer, "eos");
    int64_t padding = rf_tokenizer_special(trainer->tokenizer, "pad");
    if (config->vocabulary != vocabulary) {
        rf_log_write(&trainer->options.log, RF_LOG_NOTICE,
                     "vocab_size is %lld, as the tokenizer has (the configuration says %lld)",
                     (long long)vocabulary, (long long)config->vocabulary);
        config->vocabulary = vocabulary;
    }
    config->eos_token = end >= 0 ? end : config->eos_token;
    config->pad_token = padding >= 0 ? padding : config->pad_token;
}

rf_status rf_trainer_load_tokenizer(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const char *source = tokenizer_source(trainer);
    bool is_new = trainer->resumed_from == NULL && options->model_config != NULL &&
                  options->tokenizer != NULL;
    if (source != NULL && source == options->init_from && !rf_folder_exists(source)) {
        return rf_error_set(error, RF_ERR_FILE,
                            "%s: init_from names the folder of a model, but this is %s", source,
                            rf_file_exists(source) ? "a file" : "not there");
    }
    if (source != NULL) {
        RF_TRY(rf_tokenizer_files_read(source, &trainer->tokenizer_files, error));
    }
    if (source == NULL || !rf_tokenizer_files_hold_one(&trainer->tokenizer_files)) {
        if (options->tokenizer != NULL && trainer->resumed_from == NULL) {
            return rf_error_set(error, RF_ERR_FILE,
                                "%s: there is no spiece.model and no tokenizer.json",
                                options->tokenizer);
        }
        return rf_tokenizer_create(source, trainer->config.vocabulary, &trainer->tokenizer, error);
    }
    RF_TRY(rf_tokenizer_from_files(source, &trainer->tokenizer_files,
                                   is_new ? 0 : trainer->config.vocabulary, &trainer->tokenizer,
                                   error));
    if (is_new) {
        take_vocabulary(trainer);
    }
    return RF_OK;
}

static rf_status settle_words(rf_trainer *trainer, rf_error *error)
{
    bool masked = trainer->config.model_class == RF_CLASS_MASKED_LM;
    if (trainer->options.mask_whole_words && !masked) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "whole words are to be masked, but the task is %s; it is for masked-lm",
                            rf_config_task(&trainer->config));
    }
    trainer->config.mask_whole_words = trainer->options.mask_whole_words;
    return RF_OK;
}

static rf_status settle_units(rf_trainer *trainer, rf_error *error)
{
    const char *units = trainer->options.spans;
    if (units == NULL) {
        return RF_OK;
    }
    if (trainer->config.next_sentence == RF_UNIT_NONE) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "spans are for next-sentence, but the task is %s",
                            rf_config_task(&trainer->config));
    }
    return rf_unit_parse(units, &trainer->config.next_sentence, error);
}

static rf_status open_sources(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    RF_TRY(settle_words(trainer, error));
    RF_TRY(settle_units(trainer, error));
    rf_source_text text = {.tokens = &trainer->train,
                           .config = &trainer->config,
                           .tokenizer = trainer->tokenizer,
                           .seed = trainer->state.seed,
                           .mask_rate = options->mask_rate,
                           .mask_token = options->mask_token,
                           .sequential = options->sequential};
    trainer->source.batch = options->batch;
    trainer->source.length = options->length;
    trainer->valid_source.batch = options->batch;
    trainer->valid_source.length = options->length;
    RF_TRY(rf_source_open(&trainer->source, &text, error));
    text.tokens = &trainer->valid;
    text.judges = true;
    RF_TRY(rf_source_open(&trainer->valid_source, &text, error));
    if (trainer->source.task == RF_CLASS_MASKED_LM) {
        trainer->config.mask_token = trainer->source.corruption.mask_token;
    }
    return RF_OK;
}

/* Documents to be packed; no length is too short for them. */
static rf_status load_documents(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_document_rule rule = {options->document_separator, options->text_field};
    rf_corpus *corpus = &trainer->corpus;
    rf_corpus *valid = &trainer->valid_corpus;
    RF_TRY(rf_documents_load(options->data, &rule, corpus, error));
    if (options->valid == NULL) {
        RF_TRY(rf_documents_split(trainer->tokenizer, corpus, options->valid_bytes, &trainer->train,
                                  &trainer->valid, error));
    } else {
        RF_TRY(rf_documents_load(options->valid, &rule, valid, error));
        RF_TRY(rf_documents_view(trainer->tokenizer, corpus, 0, corpus->documents, &trainer->train,
                                 error));
        RF_TRY(rf_documents_view(trainer->tokenizer, valid, 0, valid->documents, &trainer->valid,
                                 error));
    }
    RF_TRY(open_sources(trainer, error));
    rf_log_write(
        &options->log, RF_LOG_NOTICE,
        "%s: %lld documents of %lld tokens in %lld windows of %lld an epoch, and %lld held "
        "out",
        corpus->name, (long long)trainer->train.documents, (long long)trainer->train.count,
        (long long)trainer->source.packing.windows, (long long)options->length,
        (long long)trainer->valid.documents);
    return RF_OK;
}

rf_status rf_trainer_load_text(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    if (options->pack) {
        return load_documents(trainer, error);
    }
    rf_corpus *corpus = &trainer->corpus;
    rf_corpus *valid = &trainer->valid_corpus;
    RF_TRY(rf_corpus_load(options->data, corpus, error));
    if (options->valid != NULL) {
        RF_TRY(rf_corpus_check_length(corpus, options->length, error));
        RF_TRY(rf_corpus_load(options->valid, valid, error));
        RF_TRY(rf_corpus_check_length(valid, options->length, error));
        RF_TRY(
            rf_tokens_view(trainer->tokenizer, valid->bytes, valid->size, &trainer->valid, error));
        RF_TRY(rf_tokens_check_length(&trainer->valid, valid->name, options->length, error));
        RF_TRY(rf_tokens_view(trainer->tokenizer, corpus->bytes, corpus->size, &trainer->train,
                              error));
        RF_TRY(rf_tokens_check_length(&trainer->train, corpus->name, options->length, error));
    } else {
        RF_TRY(rf_tokens_split(trainer->tokenizer, corpus, options->valid_bytes, options->length,
                               &trainer->train, &trainer->valid, error));
    }
    return open_sources(trainer, error);
}
