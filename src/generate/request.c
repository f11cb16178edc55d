/* What rf_generate is asked for; see the header. */
#include "generate/request.h"

#include "base/memory.h"
#include "generate/sampler.h"

#include <math.h>
#include <stdio.h>

/* ---- prompts ----------------------------------------------------------------------------- */

/* A text from nothing begins after the token that texts end with. */
static rf_status start_from_end(const rf_request *request, rf_request_prompt *prompt,
                                rf_error *error)
{
    const rf_config *config = &request->model->config;
    void *memory = NULL;
    if (config->eos_token < 0 || config->eos_token >= config->vocabulary) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the prompt is empty and the model has no end-of-text token to "
                            "start from (eos_token_id); give a prompt");
    }
    RF_TRY(rf_allocate(sizeof *prompt->ids, "prompt", &memory, error));
    rf_release(prompt->ids);
    prompt->ids = memory;
    prompt->ids[0] = (int32_t)config->eos_token;
    prompt->count = 1;
    prompt->starts_text = true;
    return RF_OK;
}

/* Ids of a prompt; an empty one (for pieces, also one of blanks only) is replaced by what texts
 * begin after. */
static rf_status encode(const rf_request *request, const uint8_t *bytes, size_t size,
                        rf_request_prompt *prompt, rf_error *error)
{
    static const uint8_t newline = '\n';
    if (rf_tokenizer_is_bytes(request->tokenizer) || size > 0) {
        RF_TRY(rf_tokenizer_encode(request->tokenizer, size == 0 ? &newline : bytes,
                                   size == 0 ? 1 : size, &prompt->ids, &prompt->count, error));
    }
    return prompt->count > 0 ? RF_OK : start_from_end(request, prompt, error);
}

static rf_status encode_prompts(rf_request *request, rf_error *error)
{
    const rf_generate_options *options = request->options;
    size_t count = options->prompt_count > 0 ? options->prompt_count : 1;
    void *memory = NULL;
    if (options->prompt_count > 0 && options->prompts == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%zu prompts were named, but none was given",
                            options->prompt_count);
    }
    RF_TRY(rf_allocate_zeroed(count * sizeof *request->prompts, "prompts", &memory, error));
    request->prompts = memory;
    request->prompt_count = (int64_t)count;
    for (size_t i = 0; i < count; i++) {
        const rf_prompt_text one = {.bytes = options->prompt, .size = options->prompt_size};
        const rf_prompt_text *text = options->prompt_count > 0 ? &options->prompts[i] : &one;
        RF_TRY(encode(request, text->bytes, text->size, &request->prompts[i], error));
    }
    return RF_OK;
}

/* ---- lengths ----------------------------------------------------------------------------- */

enum { NAME_BYTES = 48 };

/* "the prompt", or which of several. */
static const char *name_of(const rf_request *request, const rf_request_prompt *prompt,
                           char name[NAME_BYTES])
{
    if (request->prompt_count == 1) {
        return "the prompt";
    }
    int64_t number = prompt - request->prompts;
    (void)snprintf(name, NAME_BYTES, "prompt %lld", (long long)number + 1);
    return name;
}

static rf_status too_long(const rf_request *request, const rf_request_prompt *prompt,
                          rf_error *error)
{
    char name[NAME_BYTES];
    int64_t positions = rf_config_max_length(&request->model->config);
    if (prompt->count > positions) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%s has %lld tokens and the model has %lld positions; shorten "
                            "the prompt, read only its end with a window, or give the model more "
                            "with extend_positions",
                            name_of(request, prompt, name), (long long)prompt->count,
                            (long long)positions);
    }
    return rf_error_set(
        error, RF_ERR_ARGUMENT,
        "%s of %lld tokens and %lld new ones do not fit into the model's "
        "%lld positions; ask for at most %lld new tokens, shorten the prompt, go on with "
        "a window, or give the model more with extend_positions",
        name_of(request, prompt, name), (long long)prompt->count, (long long)prompt->limit,
        (long long)positions, (long long)(positions - prompt->count + 1));
}

static rf_status set_limit(const rf_request *request, rf_request_prompt *prompt, rf_error *error)
{
    const rf_generate_options *options = request->options;
    int64_t positions = rf_config_max_length(&request->model->config);
    char name[NAME_BYTES];
    prompt->limit = options->max_new_tokens;
    if (options->max_length > 0) {
        int64_t left = options->max_length - prompt->count;
        if (left < 1) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "%s has %lld tokens, and at most %lld are allowed with the "
                                "new ones (max_length); shorten it, or give the number of new "
                                "tokens instead",
                                name_of(request, prompt, name), (long long)prompt->count,
                                (long long)options->max_length);
        }
        prompt->limit = left < prompt->limit ? left : prompt->limit;
    }
    if (options->window > 0) {
        return RF_OK;
    }
    /* The last token is never read. */
    bool fits = prompt->count <= positions && prompt->limit - 1 <= positions - prompt->count;
    return fits ? RF_OK : too_long(request, prompt, error);
}

/* Without a window a sequence holds its prompt and all new tokens but the last. */
static rf_status set_lengths(rf_request *request, rf_error *error)
{
    int64_t positions = rf_config_max_length(&request->model->config);
    request->capacity = 1;
    for (int64_t i = 0; i < request->prompt_count; i++) {
        rf_request_prompt *prompt = &request->prompts[i];
        RF_TRY(set_limit(request, prompt, error));
        if (prompt->limit > INT32_MAX - prompt->count) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "%lld new tokens are more than a text can have",
                                (long long)prompt->limit);
        }
        int64_t length = prompt->count + prompt->limit;
        int64_t held = prompt->limit > 0 ? length - 1 : length;
        request->longest = length > request->longest ? length : request->longest;
        request->capacity = held > request->capacity ? held : request->capacity;
    }
    request->capacity = request->capacity < positions ? request->capacity : positions;
    return RF_OK;
}

/* ---- rules ------------------------------------------------------------------------------- */

static rf_status check_count(const char *what, int64_t value, int64_t high, rf_error *error)
{
    return value < 0 || value > high
               ? rf_error_set(error, RF_ERR_ARGUMENT, "%s: %lld were asked for; expected 0 to %lld",
                              what, (long long)value, (long long)high)
               : RF_OK;
}

static rf_status check_counts(const rf_generate_options *options, rf_error *error)
{
    if (options->max_new_tokens < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld new tokens were asked for; expected 0 or more",
                            (long long)options->max_new_tokens);
    }
    if (options->samples < 0 || options->samples > INT32_MAX) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld samples were asked for; expected 1 or more (0 = 1)",
                            (long long)options->samples);
    }
    RF_TRY(check_count("tokens of a text and its prompt (max_length)", options->max_length,
                       INT64_MAX, error));
    RF_TRY(check_count("texts to choose the best of", options->best_of, INT32_MAX, error));
    RF_TRY(check_count("beams", options->beams, 1 << 16, error));
    RF_TRY(check_count("texts side by side", options->batch, INT32_MAX, error));
    RF_TRY(check_count("likeliest tokens", options->likeliest, RF_MOST_LIKELIEST, error));
    if (options->end_token_count > RF_MAX_END_TOKENS) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%zu end tokens; expected at most %d",
                            options->end_token_count, RF_MAX_END_TOKENS);
    }
    return RF_OK;
}

static rf_status check_window(const rf_request *request, rf_error *error)
{
    int64_t positions = rf_config_max_length(&request->model->config);
    int64_t window = request->options->window;
    if (window < 0 || window >= positions) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a window of %lld tokens; expected 1 to %lld, one less than the "
                            "model's positions (0: none)",
                            (long long)window, (long long)(positions - 1));
    }
    return RF_OK;
}

/* Beams are kept by their scores, so that what draws or streams does not go with them. */
static rf_status check_beams(const rf_request *request, rf_error *error)
{
    const rf_generate_options *options = request->options;
    if (request->beams == 1) {
        return RF_OK;
    }
    if (options->best_of > 0 || options->window > 0 || options->likeliest > 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "beam search does not go with %s; leave one of them out",
                            options->best_of > 0  ? "the best of several samples"
                            : options->window > 0 ? "a window"
                                                  : "the likeliest tokens of each place");
    }
    if (!isfinite(options->length_penalty)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "length penalty is %g; expected a number",
                            options->length_penalty);
    }
    if (request->texts > request->beams) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld texts of %lld beams; ask for at most as many as there are beams",
                            (long long)request->texts, (long long)request->beams);
    }
    return RF_OK;
}

static rf_status set_counts(rf_request *request, rf_error *error)
{
    const rf_generate_options *options = request->options;
    RF_TRY(check_counts(options, error));
    RF_TRY(check_window(request, error));
    request->texts = options->samples > 0 ? options->samples : 1;
    request->tries = options->best_of > 0 ? options->best_of : request->texts;
    request->beams = options->beams > 1 ? options->beams : 1;
    request->has_scores =
        options->log_probabilities || options->likeliest > 0 || options->best_of > 0;
    if (request->tries < request->texts) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the best %lld of %lld texts; write at least as many as are wanted",
                            (long long)request->texts, (long long)request->tries);
    }
    return check_beams(request, error);
}

/* ---- what the others see ----------------------------------------------------------------- */

rf_status rf_request_tokenizer(const rf_model *model, rf_tokenizer **tokenizer, rf_error *error)
{
    int64_t vocabulary = model->config.vocabulary;
    return rf_tokenizer_files_hold_one(&model->tokenizer_files)
               ? rf_tokenizer_from_files(model->folder != NULL ? model->folder : "the model",
                                         &model->tokenizer_files, vocabulary, tokenizer, error)
               : rf_tokenizer_create(model->folder, vocabulary, tokenizer, error);
}

rf_status rf_request_open(rf_request *request, rf_model *model, const rf_generate_options *options,
                          rf_error *error)
{
    rf_sample unused;
    request->model = model;
    request->options = options;
    RF_TRY(set_counts(request, error));
    RF_TRY(rf_sampler_arguments(&options->sampling, &unused, error));
    RF_TRY(rf_sampler_check_bias(&options->sampling, model->config.vocabulary, error));
    RF_TRY(rf_request_tokenizer(model, &request->tokenizer, error));
    RF_TRY(encode_prompts(request, error));
    return set_lengths(request, error);
}

void rf_request_close(rf_request *request)
{
    for (int64_t i = 0; request->prompts != NULL && i < request->prompt_count; i++) {
        rf_release(request->prompts[i].ids);
    }
    rf_release(request->prompts);
    rf_tokenizer_destroy(request->tokenizer);
    *request = (rf_request){0};
}

bool rf_request_is_end(const rf_request *request, int32_t token)
{
    const rf_generate_options *options = request->options;
    if (options->end_token_count == 0) {
        return token == request->model->config.eos_token &&
               !rf_tokenizer_is_bytes(request->tokenizer);
    }
    for (size_t i = 0; i < options->end_token_count; i++) {
        if (token == options->end_tokens[i]) {
            return true;
        }
    }
    return false;
}
