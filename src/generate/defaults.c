/* What a model's generation_config.json says of how to write with it (Hugging Face's
 * GenerationConfig). Keys that are absent or null change nothing, and so do those that this program
 * has no use for: they stay in the file when the model is saved. */
#include "generate/request.h"
#include "io/json.h"

#include <float.h>
#include <string.h>

static const char file[] = "generation_config.json";

static rf_status get_number(const json_t *object, const char *key, double low, double high,
                            double *value, rf_error *error)
{
    return rf_json_is_absent_or_null(object, key)
               ? RF_OK
               : rf_json_get_number(file, object, key, low, high, value, error);
}

static rf_status get_integer(const json_t *object, const char *key, int64_t low, int64_t high,
                             int64_t *value, rf_error *error)
{
    return rf_json_is_absent_or_null(object, key)
               ? RF_OK
               : rf_json_get_integer(file, object, key, low, high, value, error);
}

/* do_sample decides whether anything is drawn. A file leaves out what has Hugging Face's default,
 * so that top-k is 50 in one that asks for draws and does not say it. */
static rf_status read_sampling(const json_t *object, rf_sampling *sampling, rf_error *error)
{
    bool draws = true;
    bool says_so = !rf_json_is_absent_or_null(object, "do_sample");
    if (says_so) {
        RF_TRY(rf_json_get_boolean(file, object, "do_sample", &draws, error));
        sampling->top_k = draws ? 50 : 0;
    }
    RF_TRY(get_number(object, "repetition_penalty", 0.01, 100.0, &sampling->repetition_penalty,
                      error));
    RF_TRY(get_integer(object, "no_repeat_ngram_size", 0, INT32_MAX, &sampling->no_repeat_ngram,
                       error));
    if (!draws) {
        sampling->temperature = 0.0;
        return RF_OK;
    }
    RF_TRY(get_number(object, "temperature", 0.0, 100.0, &sampling->temperature, error));
    RF_TRY(get_integer(object, "top_k", 0, INT32_MAX, &sampling->top_k, error));
    RF_TRY(get_number(object, "top_p", DBL_MIN, 1.0, &sampling->top_p, error));
    return get_number(object, "min_p", 0.0, 1.0, &sampling->min_p, error);
}

/* max_new_tokens wins over max_length, which counts the prompt too. */
static rf_status read_lengths(const json_t *object, rf_generate_options *options, rf_error *error)
{
    if (!rf_json_is_absent_or_null(object, "max_new_tokens")) {
        return rf_json_get_integer(file, object, "max_new_tokens", 0, INT32_MAX,
                                   &options->max_new_tokens, error);
    }
    if (!rf_json_is_absent_or_null(object, "max_length")) {
        RF_TRY(rf_json_get_integer(file, object, "max_length", 1, INT32_MAX, &options->max_length,
                                   error));
        options->max_new_tokens = options->max_length;
    }
    return RF_OK;
}

static rf_status read_early_stopping(const json_t *object, rf_early_stopping *early,
                                     rf_error *error)
{
    const json_t *value = json_object_get(object, "early_stopping");
    bool is_on = false;
    if (json_is_string(value) && strcmp(json_string_value(value), "never") == 0) {
        *early = RF_EARLY_STOPPING_NEVER;
        return RF_OK;
    }
    if (rf_json_is_absent_or_null(object, "early_stopping")) {
        return RF_OK;
    }
    RF_TRY(rf_json_get_boolean(file, object, "early_stopping", &is_on, error));
    *early = is_on ? RF_EARLY_STOPPING_ON : RF_EARLY_STOPPING_OFF;
    return RF_OK;
}

static rf_status read_beams(const json_t *object, rf_generate_options *options, rf_error *error)
{
    RF_TRY(get_integer(object, "num_beams", 1, 1 << 16, &options->beams, error));
    RF_TRY(get_integer(object, "num_return_sequences", 1, 4096, &options->samples, error));
    RF_TRY(get_number(object, "length_penalty", -100.0, 100.0, &options->length_penalty, error));
    return read_early_stopping(object, &options->early_stopping, error);
}

/* In a model of bytes most ids are ordinary bytes, with which no text ends: eos_token_id is there
 * only because every configuration has one. */
static bool can_end(const rf_model *model, const rf_tokenizer *bytes, int64_t id)
{
    uint8_t byte = 0;
    bool is_token = id >= 0 && id < model->config.vocabulary;
    return is_token && (bytes == NULL || rf_tokenizer_decode(bytes, (int32_t)id, &byte, 1) == 0);
}

/* A number, or a list of them. */
static rf_status read_ends(const json_t *object, const rf_model *model, const rf_tokenizer *bytes,
                           rf_generate_options *options, rf_error *error)
{
    const json_t *value = json_object_get(object, "eos_token_id");
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (rf_json_is_absent_or_null(object, "eos_token_id")) {
        return RF_OK;
    }
    if (count > RF_MAX_END_TOKENS) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: eos_token_id has %zu ids; at most %d are read", file, count,
                            RF_MAX_END_TOKENS);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(value) ? json_array_get(value, i) : value;
        int64_t id = json_is_integer(one) ? json_integer_value(one) : -1;
        if (!json_is_integer(one)) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: eos_token_id is neither an integer nor a list of integers",
                                file);
        }
        if (can_end(model, bytes, id)) {
            options->end_tokens[options->end_token_count++] = (int32_t)id;
        }
    }
    return RF_OK;
}

rf_status rf_generate_defaults(const rf_model *model, rf_generate_options *options, rf_error *error)
{
    const json_t *object = model->generation;
    *options = (rf_generate_options){
        .max_new_tokens = 256, .samples = 1, .beams = 1, .length_penalty = 1.0};
    rf_sampling_default(&options->sampling);
    if (object == NULL) {
        return RF_OK;
    }
    RF_TRY(read_sampling(object, &options->sampling, error));
    RF_TRY(read_lengths(object, options, error));
    RF_TRY(read_beams(object, options, error));
    rf_tokenizer *bytes = NULL;
    if (!rf_tokenizer_files_hold_one(&model->tokenizer_files) && model->config.vocabulary >= 256) {
        RF_TRY(rf_tokenizer_create(NULL, model->config.vocabulary, &bytes, error));
    }
    rf_status status = read_ends(object, model, bytes, options, error);
    rf_tokenizer_destroy(bytes);
    return status;
}
