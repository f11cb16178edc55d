/* Evaluation: non-overlapping windows of a text, a last partial one dropped, or all windows of
 * packed documents, which share a token so that each but the first of a document is predicted once;
 * the first token of each not scored, the mean over all scored tokens, rotations keyed by the seed
 * at step 0. Examples are taken in an order in which those of like length share a batch. Sums are
 * in double, in the order of the batches. */
#include "train/evaluate.h"

#include "base/clock.h"
#include "base/memory.h"
#include "data/documents.h"
#include "train/plan.h"

#include <math.h>
#include <string.h>

static rf_status score_batch(rf_runner *runner, const rf_scoring *scoring, int64_t first,
                             int64_t rows, rf_outcome *outcome, rf_error *error)
{
    rf_batch batch = rf_source_read(scoring->source, first, rows);
    rf_outcome part = {0};
    rf_judge_listen(scoring->judge);
    RF_TRY(rf_runner_forward(runner, &batch, scoring->seed, 0, &part, error));
    RF_TRY(rf_judge_batch(scoring->judge, &batch, first, error));
    rf_outcome_add(outcome, &part);
    return RF_OK;
}

rf_status rf_score_windows(rf_runner *runner, const rf_scoring *scoring, rf_outcome *outcome,
                           rf_error *error)
{
    *outcome = (rf_outcome){0};
    RF_TRY(rf_judge_begin(scoring->judge, scoring->windows, error));
    for (int64_t first = 0; first < scoring->windows && !outcome->overflow;) {
        int64_t left = scoring->windows - first;
        int64_t batch = scoring->source->batch;
        int64_t rows = rf_judge_mates(scoring->judge, first, left < batch ? left : batch);
        if (scoring->should_stop != NULL && scoring->should_stop(scoring->user) != 0) {
            return rf_error_set(error, RF_ERR_CANCELLED, "the evaluation was stopped on request");
        }
        RF_TRY(score_batch(runner, scoring, first, rows, outcome, error));
        first += rows;
        if (scoring->progress != NULL) {
            int64_t length = scoring->source->length;
            scoring->progress(scoring->user, first * length, scoring->windows * length);
        }
    }
    return RF_OK;
}

/* ---- the public function ----------------------------------------------------------------- */

typedef struct evaluation {
    const rf_evaluate_options *options;
    rf_model *model;
    rf_tokenizer *tokenizer;
    rf_corpus corpus;
    rf_tokens tokens;
    rf_runner *runner;
    rf_examples examples;
    rf_source source;
    rf_judge judge;
    rf_scoring scoring;
} evaluation;

/* What only data that are made have, or only documents, and what bands of positions there are. */
static rf_status check_made(const rf_evaluate_options *options, rf_error *error)
{
    bool made = rf_drill_named(options->data) != RF_DRILL_NONE;
    int64_t before = 0;
    if (options->document_separator != NULL && !options->pack) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "document_separator says where packed documents end; it goes with pack");
    }
    if (!made && (options->sequences > 0 || options->distance > 0 || options->shortest > 0 ||
                  options->pairs > 0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "sequences, distance, shortest and pairs are for data that are made "
                            "(copy, reverse, addition, recall), but data is %s",
                            options->data);
    }
    if (made && (options->last_bytes > 0 || options->pack)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "last_bytes and pack are for texts, but the data are made (%s); say "
                            "./%s for a file of that name",
                            options->data, options->data);
    }
    for (int64_t i = 0; i < options->position_count; i++) {
        if (options->position_ends[i] <= before || options->position_count >= RF_POSITION_BANDS) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "bands of positions end at %lld behind %lld, expected at most %d "
                                "ends, each above the one before",
                                (long long)options->position_ends[i], (long long)before,
                                RF_POSITION_BANDS - 1);
        }
        before = options->position_ends[i];
    }
    return RF_OK;
}

static rf_status check_options(const rf_evaluate_options *options, rf_error *error)
{
    if (options->model == NULL || options->data == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "evaluation needs a model and data");
    }
    if (options->length < 0 || options->length == 1 || options->batch < 0 ||
        options->last_bytes < 0 || options->num_hashes < 0) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "length %lld, batch %lld, last_bytes %lld, num_hashes %lld: none may be "
            "negative, and a window needs 2 tokens",
            (long long)options->length, (long long)options->batch, (long long)options->last_bytes,
            (long long)options->num_hashes);
    }
    return check_made(options, error);
}

static int64_t default_length(const rf_config *config)
{
    int64_t most = rf_config_max_length(config);
    if (config->training_length > 0) {
        return config->training_length;
    }
    return most < 4096 ? most : 4096;
}

/* Documents, or the last of them, as tokens. */
static rf_status view_documents(evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    const rf_document_rule rule = {options->document_separator, options->text_field};
    rf_corpus *corpus = &work->corpus;
    RF_TRY(rf_documents_load(options->data, &rule, corpus, error));
    int64_t count = options->last_bytes > 0 ? rf_documents_last(corpus, options->last_bytes)
                                            : corpus->documents;
    work->source.length =
        options->length > 0 ? options->length : default_length(&work->model->config);
    return rf_documents_view(work->tokenizer, corpus, corpus->documents - count, corpus->documents,
                             &work->tokens, error);
}

/* The text, or the end of it that was asked for, as tokens. */
static rf_status view_text(evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    const rf_corpus *corpus = &work->corpus;
    int64_t length = options->length > 0 ? options->length : default_length(&work->model->config);
    size_t start = 0;
    RF_TRY(rf_corpus_check_length(corpus, length, error));
    if (options->last_bytes > 0 && (uint64_t)options->last_bytes < corpus->size) {
        start = corpus->size - (size_t)options->last_bytes;
    }
    if ((int64_t)(corpus->size - start) < length) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the last %zu bytes of %s are less than one window of %lld",
                            corpus->size - start, corpus->name, (long long)length);
    }
    if (!rf_tokenizer_is_bytes(work->tokenizer)) {
        start = rf_text_boundary(corpus->bytes, corpus->size, start);
    }
    work->source.length = length;
    RF_TRY(rf_tokens_view(work->tokenizer, corpus->bytes + start, corpus->size - start,
                          &work->tokens, error));
    return rf_tokens_check_length(&work->tokens, corpus->name, length, error);
}

static rf_status check_bands(const evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    const rf_config *config = &work->model->config;
    if (options->position_count == 0 ||
        (config->model_class == RF_CLASS_CAUSAL_LM && !options->pack)) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "%s: bands of positions are for causal language models without packed "
                        "documents; its task is %s",
                        options->model, rf_config_task(config));
}

static rf_status load(evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    rf_model_options model_options = {.device = options->device,
                                      .precision = options->precision,
                                      .kernels = options->kernels,
                                      .threads = options->threads,
                                      .stream = options->stream,
                                      .lm_head_bias = options->lm_head_bias,
                                      .num_hashes = options->num_hashes,
                                      .attention = options->attention,
                                      .extend_positions = options->extend_positions,
                                      .log = options->log};
    RF_TRY(rf_model_load(options->model, &model_options, &work->model, error));
    RF_TRY(rf_source_check_task(work->model->config.model_class, error));
    RF_TRY(check_bands(work, error));
    if (rf_drill_named(options->data) != RF_DRILL_NONE) {
        const rf_config *config = &work->model->config;
        work->source.length = options->length > 0 ? options->length : default_length(config);
        return rf_source_check_drill(config, options->model, options->data, error);
    }
    RF_TRY(rf_tokenizer_create(options->model, work->model->config.vocabulary, &work->tokenizer,
                               error));
    rf_model_class task = work->model->config.model_class;
    bool has_pairs = work->model->config.next_sentence != RF_UNIT_NONE;
    if (options->pack && rf_class_has_lm_head(task) && !has_pairs) {
        return view_documents(work, error);
    }
    if (options->pack) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%s: packed documents are for language models; its task is %s",
                            options->model, rf_config_task(&work->model->config));
    }
    if (task == RF_CLASS_ANSWERER) {
        return rf_examples_load_answers(options->data, &work->examples, error);
    }
    if (task == RF_CLASS_CLASSIFIER && !has_pairs) {
        const rf_config *config = &work->model->config;
        const rf_example_fields fields = {options->text_field, options->pair_field,
                                          options->label_field,
                                          rf_config_problem(config) == RF_PROBLEM_REGRESSION};
        return rf_examples_load_labelled(options->data, &fields, &work->examples, error);
    }
    RF_TRY(rf_corpus_load(options->data, &work->corpus, error));
    return view_text(work, error);
}

static rf_status open_source(evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    const rf_config *config = &work->model->config;
    const rf_drill_rows rows = {.drill = rf_drill_named(options->data),
                                .seed = options->seed,
                                .stream = 1,
                                .length = work->source.length,
                                .shortest = options->shortest,
                                .distance = options->distance,
                                .pairs = options->pairs};
    if (rows.drill != RF_DRILL_NONE) {
        return rf_source_open_drill(&work->source, &rows, error);
    }
    if (work->examples.rows != NULL) {
        const rf_source_examples from = {.examples = &work->examples,
                                         .config = config,
                                         .tokenizer = work->tokenizer,
                                         .seed = options->seed,
                                         .sequential = true,
                                         .log = &options->log};
        return rf_source_open_examples(&work->source, &from, error);
    }
    const rf_source_text text = {.tokens = &work->tokens,
                                 .config = config,
                                 .tokenizer = work->tokenizer,
                                 .seed = options->seed,
                                 .mask_rate = options->mask_rate > 0.0 ? options->mask_rate : 0.15,
                                 .mask_token = -1,
                                 .judges = true};
    return rf_source_open(&work->source, &text, error);
}

/* A classifier whose problem_type is open is what its examples make it. */
static void settle_problem(evaluation *work)
{
    rf_config *config = &work->model->config;
    if (config->model_class == RF_CLASS_CLASSIFIER && config->problem == RF_PROBLEM_OPEN) {
        config->problem = work->examples.problem;
    }
}

/* As many as may share a batch. */
static int64_t count_rows(const evaluation *work)
{
    const rf_evaluate_options *options = work->options;
    if (rf_drill_named(options->data) != RF_DRILL_NONE) {
        return options->sequences > 0 ? options->sequences : INT32_MAX;
    }
    return work->examples.rows != NULL ? rf_examples_count(&work->examples)
           : options->pack             ? work->tokens.count / (work->source.length - 1) + 1
                                       : work->tokens.count / work->source.length;
}

static rf_status prepare(evaluation *work, rf_error *error)
{
    const rf_evaluate_options *options = work->options;
    rf_scoring *scoring = &work->scoring;
    rf_source *source = &work->source;
    int64_t rows = count_rows(work);
    if (work->examples.rows != NULL) {
        source->length =
            options->length > 0 ? options->length : default_length(&work->model->config);
        settle_problem(work);
    }
    source->batch = options->batch > 0 && options->batch < rows ? options->batch : 1;
    source->batch = options->batch >= rows ? rows : source->batch;
    work->judge.ends = options->position_ends;
    work->judge.ends_count = options->position_count;
    rf_runner_options runner = {.batch = source->batch,
                                .length = source->length,
                                .rounds = options->num_hashes,
                                .segments = options->pack,
                                .hooks =
                                    rf_judge_hooks(&work->judge, work->model->config.model_class)};
    RF_TRY(rf_config_check_length(&work->model->config, source->length, error));
    RF_TRY(open_source(work, error));
    work->judge.model = work->model;
    work->judge.source = source;
    work->judge.examples = &work->examples;
    work->judge.tokenizer = work->tokenizer;
    work->judge.bytes_per_token = rf_tokens_bytes_per_token(&work->tokens);
    RF_TRY(rf_judge_open(&work->judge, error));
    scoring->source = source;
    scoring->judge = &work->judge;
    scoring->windows = rf_source_rows(source, options->sequences * source->length);
    scoring->seed = options->seed;
    scoring->should_stop = options->should_stop;
    scoring->progress = options->progress;
    scoring->user = options->user;
    RF_TRY(rf_plan_check_evaluation(work->model, &runner, error));
    return rf_runner_create(work->model, &runner, &work->runner, error);
}

static rf_status score(evaluation *work, rf_evaluation *result, rf_error *error)
{
    rf_outcome outcome = {0};
    RF_TRY(rf_score_windows(work->runner, &work->scoring, &outcome, error));
    if (outcome.overflow) {
        return rf_error_set(
            error, RF_ERR_RANGE,
            "layer %lld: the activations leave the range of the fixed32 stream with %d "
            "fraction bits; evaluate with float32 streams",
            (long long)outcome.overflow_layer, work->model->config.fraction_bits);
    }
    RF_TRY(rf_judge_figures(&work->judge, &outcome, &result->figures, error));
    result->loss = rf_figures_value(&result->figures, "loss");
    if (!isfinite(result->loss)) {
        return rf_error_set(error, RF_ERR_NUMERIC, "the loss of %s on %s is not a number",
                            work->options->model, work->options->data);
    }
    double first = outcome.nll_sum / (double)outcome.scored; /* of two heads the first */
    result->perplexity = exp(first);
    result->bits_per_token = first / log(2.0);
    result->bits_per_byte = result->bits_per_token / work->judge.bytes_per_token;
    result->accuracy = rf_figures_value(&result->figures, "accuracy");
    result->tokens = outcome.scored;
    result->pairs = outcome.pair_scored;
    if (result->pairs > 0) {
        result->pair_loss = outcome.pair_nll_sum / (double)result->pairs;
        result->pair_accuracy = (double)outcome.pair_correct / (double)result->pairs;
    }
    result->windows = work->scoring.windows;
    result->band_count = rf_judge_bands(&work->judge, result->bands);
    result->length = work->source.length;
    result->task = rf_config_task(&work->model->config);
    return RF_OK;
}

rf_status rf_evaluate(const rf_evaluate_options *options, rf_evaluation *result, rf_error *error)
{
    evaluation work = {.options = options};
    double start = rf_clock_seconds();
    rf_status status = RF_OK;
    *result = (rf_evaluation){0};
    RF_TRY_DONE(check_options(options, error));
    RF_TRY_DONE(load(&work, error));
    RF_TRY_DONE(prepare(&work, error));
    RF_TRY_DONE(score(&work, result, error));
    result->seconds = rf_clock_seconds() - start;
done:
    rf_judge_clear(&work.judge);
    rf_source_clear(&work.source);
    rf_examples_clear(&work.examples);
    rf_runner_destroy(work.runner);
    rf_tokens_clear(&work.tokens);
    rf_corpus_clear(&work.corpus);
    rf_tokenizer_destroy(work.tokenizer);
    rf_model_destroy(work.model);
    return status;
}
