/* Defaults and limits of every training option (docs/training.md has the table). */
#include "train/options.h"

#include <math.h>
#include <string.h>

void rf_train_options_default(rf_train_options *options)
{
    *options = (rf_train_options){
        .steps = 1000,
        .batch = 4,
        .accumulate = 1,
        .rate = 1e-3,
        .beta1 = 0.9,
        .beta2 = 0.98,
        .epsilon = 1e-9,
        .clip = 1.0,
        .optimizer = "adamw",
        .adafactor_relative_step = true,
        .adafactor_semantics = "usual",
        .adafactor_clip = 1.0,
        .schedule = "cosine",
        .warmup = 100,
        .decay_fraction = 0.2,
        .on_nan = "stop",
        .mask_rate = 0.15,
        .mask_token = -1,
        .initialisation = "reformer",
        .lm_head_bias = "auto",
        .eval_every = 250,
        .keep = 2,
        .log_every = 10,
        .sample_tokens = 200,
        .sample_temperature = 0.8,
        .tensorboard = true,
    };
}

typedef struct integer_limit {
    const char *name;
    int64_t value, low, high;
} integer_limit;

static rf_status check_integers(const rf_train_options *options, rf_error *error)
{
    const int64_t most = INT64_C(1) << 40;
    const integer_limit limits[] = {
        {"steps", options->steps, 1, most},
        {"mask_token", options->mask_token, -1, INT32_MAX},
        {"stop_after", options->stop_after, 0, most},
        {"batch", options->batch, 1, 1 << 24},
        {"length", options->length, 0, INT32_MAX},
        {"distance", options->distance, 0, INT32_MAX},
        {"shortest", options->shortest, 0, INT32_MAX},
        {"pairs", options->pairs, 0, INT32_MAX},
        {"accumulate", options->accumulate, 1, 1 << 24},
        {"warmup", options->warmup, 0, most},
        {"decay_steps", options->decay_steps, 0, most},
        {"overfit_batches", options->overfit_batches, 0, most},
        {"milestone_every", options->milestone_every, 0, most},
        {"valid_bytes", options->valid_bytes, 0, INT64_MAX},
        {"eval_every", options->eval_every, 0, most},
        {"eval_tokens", options->eval_tokens, 0, INT64_MAX},
        {"eval_num_hashes", options->eval_num_hashes, 0, 1024},
        {"patience", options->patience, 0, most},
        {"save_every", options->save_every, 0, most},
        {"keep", options->keep, 1, most},
        {"log_every", options->log_every, 1, most},
        {"sample_every", options->sample_every, 0, most},
        {"sample_tokens", options->sample_tokens, 0, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const integer_limit *limit = &limits[i];
        if (limit->value < limit->low || limit->value > limit->high) {
            return rf_error_set(error, RF_ERR_ARGUMENT, "%s is %lld, expected %lld to %lld",
                                limit->name, (long long)limit->value, (long long)limit->low,
                                (long long)limit->high);
        }
    }
    if (options->length == 1) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "length is 1, but a window needs 2 tokens for one to be predicted");
    }
    return RF_OK;
}

typedef struct number_limit {
    const char *name;
    double value, low, high;
    bool may_be_low, may_be_high;
} number_limit;

static rf_status check_numbers(const rf_train_options *options, rf_error *error)
{
    const number_limit limits[] = {
        {"rate", options->rate, 0.0, HUGE_VAL, true, false},
        {"beta1", options->beta1, 0.0, 1.0, true, false},
        {"beta2", options->beta2, 0.0, 1.0, true, false},
        {"epsilon", options->epsilon, 1e-30, 1.0, true, true}, /* as a float it is above 0 */
        {"weight_decay", options->weight_decay, 0.0, HUGE_VAL, true, false},
        {"clip", options->clip, 0.0, HUGE_VAL, true, false},
        {"adafactor_clip", options->adafactor_clip, 0.0, HUGE_VAL, true, false},
        {"adafactor_beta1", options->adafactor_beta1, 0.0, 1.0, true, false},
        {"final_rate", options->final_rate, 0.0, 1.0, true, true},
        {"decay_fraction", options->decay_fraction, 0.0, 1.0, true, true},
        {"spike_guard", options->spike_guard, 0.0, HUGE_VAL, true, false},
        {"time_limit_seconds", options->time_limit_seconds, 0.0, HUGE_VAL, true, false},
        {"mask_rate", options->mask_rate, 0.0, 1.0, false, true},
        {"label_smoothing", options->label_smoothing, 0.0, 1.0, true, false},
        {"sample_temperature", options->sample_temperature, 0.0, HUGE_VAL, true, false},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const number_limit *limit = &limits[i];
        bool high_enough =
            limit->may_be_low ? limit->value >= limit->low : limit->value > limit->low;
        bool low_enough =
            limit->may_be_high ? limit->value <= limit->high : limit->value < limit->high;
        if (!high_enough || !low_enough) { /* so for NaN too */
            return rf_error_set(error, RF_ERR_ARGUMENT, "%s is %g, expected %s %g and %s %g",
                                limit->name, limit->value, limit->may_be_low ? "at least" : "above",
                                limit->low, limit->may_be_high ? "at most" : "below", limit->high);
        }
    }
    if (options->spike_guard > 0.0 && options->spike_guard < 1.0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "spike_guard is %g, expected 0 (off) or at least 1: below the median "
                            "itself no update would be made",
                            options->spike_guard);
    }
    return RF_OK;
}

static rf_status check_word(const char *name, const char *value, const char *const *allowed,
                            size_t count, rf_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (value != NULL && strcmp(value, allowed[i]) == 0) {
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "%s is \"%s\", expected \"%s\"%s%s%s or \"%s\"",
                        name, value != NULL ? value : "(nothing)", allowed[0],
                        count > 2 ? ", \"" : "", count > 2 ? allowed[1] : "", count > 2 ? "\"" : "",
                        allowed[count - 1]);
}

static rf_status check_words(const rf_train_options *options, rf_error *error)
{
    static const char *const on_nan[] = {"stop", "skip", "rollback"};
    static const char *const initialisations[] = {"reformer", "huggingface"};
    static const char *const streams[] = {"fixed32", "float32"};
    rf_schedule schedule;
    rf_optimizer_options optimizer;
    RF_TRY(rf_train_options_optimizer(options, &optimizer, error));
    RF_TRY(check_word("on_nan", options->on_nan, on_nan, 3, error));
    RF_TRY(check_word("initialisation", options->initialisation, initialisations, 2, error));
    if (options->stream != NULL) {
        RF_TRY(check_word("stream", options->stream, streams, 2, error));
    }
    if (options->gradient_stream != NULL) {
        static const char *const gradient_streams[] = {"f32", "bf16"};
        RF_TRY(check_word("gradient_stream", options->gradient_stream, gradient_streams, 2, error));
    }
    return rf_train_options_schedule(options, &schedule, error);
}

static rf_status check_sources(const rf_train_options *options, rf_error *error)
{
    if (options->data == NULL || options->data[0] == '\0') {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "training needs data: a text file, a folder or a "
                            "pattern");
    }
    if (options->output == NULL || options->output[0] == '\0') {
        return rf_error_set(error, RF_ERR_ARGUMENT, "training needs an output folder");
    }
    if (options->model_config == NULL && options->init_from == NULL && !options->resume) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "training needs a model: a configuration, a model to start from, or a run "
            "to resume");
    }
    if (options->valid != NULL && options->valid_bytes > 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "both a validation text and valid_bytes were given; give one");
    }
    return RF_OK;
}

static rf_status check_batches(const rf_train_options *options, rf_error *error)
{
    if (options->document_separator != NULL && !options->pack) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "document_separator says where packed documents end; it goes with pack");
    }
    if (options->batch_by_length && options->sequential) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "batch_by_length chooses an order and sequential forbids it; give one");
    }
    return RF_OK;
}

rf_status rf_train_options_check(const rf_train_options *options, rf_error *error)
{
    RF_TRY(check_sources(options, error));
    RF_TRY(check_batches(options, error));
    RF_TRY(check_integers(options, error));
    RF_TRY(check_numbers(options, error));
    return check_words(options, error);
}

rf_status rf_train_options_schedule(const rf_train_options *options, rf_schedule *schedule,
                                    rf_error *error)
{
    *schedule = (rf_schedule){.rate = options->rate,
                              .final_rate = options->final_rate,
                              .warmup = options->warmup,
                              .steps = options->steps,
                              .decay = options->decay_fraction};
    if (options->decay_steps > 0) {
        int64_t falling = options->steps - options->warmup;
        bool all = options->decay_steps >= falling;
        schedule->decay = all ? 1.0 : (double)options->decay_steps / (double)falling;
    }
    return rf_schedule_parse(options->schedule != NULL ? options->schedule : "cosine",
                             &schedule->kind, error);
}

rf_status rf_train_options_optimizer(const rf_train_options *options,
                                     rf_optimizer_options *optimizer, rf_error *error)
{
    *optimizer = (rf_optimizer_options){
        .weight_decay = options->weight_decay,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .adafactor = {.relative_step = options->adafactor_relative_step,
                      .clip = options->adafactor_clip,
                      .beta1 = options->adafactor_beta1},
    };
    RF_TRY(rf_optimizer_parse(options->optimizer, &optimizer->kind, error));
    return rf_optimizer_parse_semantics(options->adafactor_semantics,
                                        &optimizer->adafactor.semantics, error);
}

bool rf_train_options_skip_nan(const rf_train_options *options)
{
    return strcmp(options->on_nan, "skip") == 0;
}

bool rf_train_options_rolls_back(const rf_train_options *options)
{
    return strcmp(options->on_nan, "rollback") == 0;
}
