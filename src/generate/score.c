/* The log-probability of a text: one forward pass, whose scores come in slices of positions; each
 * slice is summed up and forgotten. Memory: that of the pass, and of one position's scores on the
 * host. */
#include "generate/request.h"
#include "generate/scores.h"

#include "base/memory.h"

#include <math.h>

enum { TOKEN_BYTES = 1024 };

typedef struct scoring {
    rf_model *model;
    const rf_score_options *options;
    rf_score_result *result;
    rf_tokenizer *tokenizer;
    rf_encoding text;
    float *scores;              /* [vocabulary] of one position, owned */
    rf_likely_token *likeliest; /* [options->likeliest], owned */
} scoring;

/* Say what is known of token number `number`. */
static rf_status tell(const scoring *of, int64_t number, double log_probability, int64_t likeliest,
                      rf_error *error)
{
    uint8_t bytes[TOKEN_BYTES];
    if (of->options->token == NULL) {
        return RF_OK;
    }
    rf_generated_token token = {.number = number,
                                .id = of->text.ids[number],
                                .bytes = bytes,
                                .log_probability = log_probability,
                                .likeliest = of->likeliest,
                                .likeliest_count = likeliest};
    token.size = rf_tokenizer_decode(of->tokenizer, token.id, bytes, sizeof bytes);
    return of->options->token(of->options->user, &token) != 0
               ? rf_error_set(error, RF_ERR_CANCELLED, "scoring was stopped on request")
               : RF_OK;
}

/* The token behind position `position`, whose scores are on the host. */
static rf_status score_token(scoring *of, int64_t position, rf_error *error)
{
    int64_t vocabulary = of->model->config.vocabulary;
    double sum = rf_log_sum(of->scores, vocabulary);
    double value = (double)of->scores[of->text.ids[position + 1]] - sum;
    int64_t likeliest = rf_least(of->options->likeliest, vocabulary);
    if (!isfinite(value)) {
        return rf_error_set(error, RF_ERR_NUMERIC,
                            "the scores behind token %lld are not finite; the model's weights are "
                            "damaged",
                            (long long)position);
    }
    of->result->log_probability += value;
    if (likeliest > 0) {
        rf_likeliest(of->scores, vocabulary, sum, likeliest, of->likeliest);
    }
    return tell(of, position + 1, value, likeliest, error);
}

static rf_status take_scores(void *user, int64_t first_row, const rf_tensor *logits,
                             rf_error *error)
{
    scoring *of = user;
    for (int64_t i = 0; i < logits->shape[0] && first_row + i + 1 < of->text.count; i++) {
        rf_tensor row = rf_tensor_rows(logits, i, 1);
        RF_TRY(rf_device_download(of->model->device, of->scores, row.data, rf_tensor_size(&row),
                                  error));
        RF_TRY(score_token(of, first_row + i, error));
    }
    return RF_OK;
}

static rf_status check(const scoring *of, rf_error *error)
{
    int64_t positions = rf_config_max_length(&of->model->config);
    const rf_config *config = &of->model->config;
    if (!config->causal || config->model_class != RF_CLASS_CAUSAL_LM) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "only a causal language model (ReformerModelWithLMHead, is_decoder "
                            "true) says how likely a text is; this is %s%s",
                            config->causal ? "a " : "a bidirectional ",
                            rf_class_name(config->model_class));
    }
    if (of->text.count < 1 || of->text.count > positions) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the text to be scored has %lld tokens; expected 1 to the model's %lld "
                            "positions",
                            (long long)of->text.count, (long long)positions);
    }
    return RF_OK;
}

static rf_status prepare(scoring *of, rf_error *error)
{
    const rf_score_options *options = of->options;
    size_t likeliest = options->likeliest > 0 ? (size_t)options->likeliest : 1;
    void *memory = NULL;
    if (options->likeliest < 0 || options->likeliest > RF_MOST_LIKELIEST) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "likeliest tokens: %lld were asked for; expected 0 to %d",
                            (long long)options->likeliest, (int)RF_MOST_LIKELIEST);
    }
    RF_TRY(rf_request_tokenizer(of->model, &of->tokenizer, error));
    RF_TRY(rf_tokenizer_tokenize(of->tokenizer, options->text, options->size, &of->text, error));
    RF_TRY(check(of, error));
    RF_TRY(rf_config_resolve_buckets(
        &of->model->config,
        of->model->config.training_length > 0 ? of->model->config.training_length : of->text.count,
        &of->options->log, error));
    RF_TRY(rf_allocate((size_t)of->model->config.vocabulary * sizeof *of->scores, "scores", &memory,
                       error));
    of->scores = memory;
    RF_TRY(rf_allocate(likeliest * sizeof *of->likeliest, "likeliest tokens", &memory, error));
    of->likeliest = memory;
    return RF_OK;
}

static rf_status forward(scoring *of, rf_error *error)
{
    rf_runner *runner = NULL;
    rf_outcome outcome = {0};
    rf_runner_options options = {.batch = 1, .length = of->text.count};
    options.hooks = (rf_hooks){.user = of, .logits = take_scores};
    rf_batch batch = {.batch = 1, .length = of->text.count, .ids = of->text.ids};
    RF_TRY(rf_runner_create(of->model, &options, &runner, error));
    rf_status status = rf_runner_forward(runner, &batch, of->options->seed, 0, &outcome, error);
    rf_runner_destroy(runner);
    if (status == RF_OK && outcome.overflow) {
        return rf_error_set(error, RF_ERR_RANGE,
                            "a stream left the range of its numbers in layer %lld; load the model "
                            "with stream float32, or check its weights",
                            (long long)outcome.overflow_layer);
    }
    return status;
}

static rf_status run(scoring *of, rf_error *error)
{
    rf_score_result *result = of->result;
    RF_TRY(prepare(of, error));
    RF_TRY(tell(of, 0, (double)NAN, 0, error));
    RF_TRY(forward(of, error));
    double bits = -result->log_probability / log(2.0);
    result->tokens = of->text.count;
    result->scored_tokens = of->text.count - 1;
    result->scored_bytes = (int64_t)of->options->size - of->text.ends[0];
    result->bits_per_token =
        result->scored_tokens > 0 ? bits / (double)result->scored_tokens : (double)NAN;
    result->bits_per_byte =
        result->scored_bytes > 0 ? bits / (double)result->scored_bytes : (double)NAN;
    return RF_OK;
}

rf_status rf_score(rf_model *model, const rf_score_options *options, rf_score_result *result,
                   rf_error *error)
{
    scoring of = {.model = model, .options = options, .result = result};
    *result = (rf_score_result){0};
    rf_status status = run(&of, error);
    rf_encoding_clear(&of.text);
    rf_tokenizer_destroy(of.tokenizer);
    rf_release(of.scores);
    rf_release(of.likeliest);
    return status;
}
