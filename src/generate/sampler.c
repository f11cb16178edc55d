/* Options of sampling; the arithmetic is the operation's (ops/cpu/sample.c), that of rules which
 * need the text in generate/processors.c. */
#include "generate/sampler.h"

#include <math.h>

/* Scores are divided by the temperature in float: below this they would leave its range, where no
 * two that differ have shares of the same order anyway. */
static const double least_temperature = 1e-20;

/* Penalties, and what is added to scores, up to here stay within a float's range even when they are
 * divided by that. */
static const double largest_penalty = 1e6;
static const double largest_addition = 1e12;

void rf_sampling_default(rf_sampling *sampling)
{
    *sampling = (rf_sampling){.temperature = 1.0, .top_p = 1.0, .repetition_penalty = 1.0};
}

static rf_status check_options(const rf_sampling *options, rf_error *error)
{
    if (!(options->temperature >= 0.0 && isfinite(options->temperature))) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "temperature is %g; it must be 0 (always the most likely token) or more",
            options->temperature);
    }
    if (options->top_k < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "top-k is %lld; it must be 0 (off) or more",
                            (long long)options->top_k);
    }
    if (!(options->top_p > 0.0 && options->top_p <= 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "top-p is %g; it must be above 0 and at most 1 (off)", options->top_p);
    }
    if (!(options->min_p >= 0.0 && options->min_p <= 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "min-p is %g; it must be between 0 (off) and 1",
                            options->min_p);
    }
    if (!(options->repetition_penalty >= 1.0 / largest_penalty &&
          options->repetition_penalty <= largest_penalty)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "repetition penalty is %g; it must be between %g and %g (1 = off)",
                            options->repetition_penalty, 1.0 / largest_penalty, largest_penalty);
    }
    return RF_OK;
}

/* Rules that need the text; the sampling operation does not have them. */
static rf_status check_rules(const rf_sampling *options, rf_error *error)
{
    if (!(fabs(options->presence_penalty) <= largest_addition &&
          fabs(options->frequency_penalty) <= largest_addition)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "presence penalty is %g and frequency penalty %g; expected numbers "
                            "between %g and %g (0 = off)",
                            options->presence_penalty, options->frequency_penalty,
                            -largest_addition, largest_addition);
    }
    if (options->no_repeat_ngram < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "no-repeat n-grams of %lld tokens; expected 0 (off) or more",
                            (long long)options->no_repeat_ngram);
    }
    return RF_OK;
}

rf_status rf_sampler_check_bias(const rf_sampling *options, int64_t vocabulary, rf_error *error)
{
    for (size_t i = 0; i < options->bias_count; i++) {
        const rf_logit_bias *bias = &options->bias[i];
        if (bias->token < 0 || bias->token >= vocabulary ||
            !(fabs((double)bias->value) <= largest_addition)) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "a bias of %g for token %ld; the model has tokens 0 to %lld, and a "
                                "bias is between %g and %g",
                                (double)bias->value, (long)bias->token, (long long)(vocabulary - 1),
                                -largest_addition, largest_addition);
        }
    }
    return RF_OK;
}

rf_status rf_sampler_arguments(const rf_sampling *options, rf_sample *sample, rf_error *error)
{
    RF_TRY(check_options(options, error));
    RF_TRY(check_rules(options, error));
    double temperature = options->temperature < least_temperature ? 0.0 : options->temperature;
    *sample = (rf_sample){.temperature = temperature,
                          .top_p = options->top_p,
                          .min_p = options->min_p,
                          .repetition_penalty = options->repetition_penalty,
                          .top_k = options->top_k,
                          .seed = options->seed};
    return RF_OK;
}
