/* What reformer generate is asked for: from the settings to the library's call. What
 * the command line, the environment and the configuration file do not say, the model's
 * generation_config.json may. */
#include "generate_settings.h"

#include "message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { PROMPT_LIMIT = 1 << 30 };

/* ---- rules ------------------------------------------------------------------------------- */

/* Said by somebody, not only a default. */
static bool is_said(const rf_settings *settings, const char *name)
{
    return rf_settings_origin(settings, name) > RF_ORIGIN_DEFAULT;
}

bool rf_generate_writes(const rf_settings *settings)
{
    return !rf_settings_flag(settings, "score") || is_said(settings, "tokens");
}

bool rf_generate_has_many(const rf_settings *settings)
{
    rf_origin origin = rf_settings_origin(settings, "prompts");
    return is_said(settings, "prompts") && origin >= rf_settings_origin(settings, "prompt") &&
           origin >= rf_settings_origin(settings, "prompt-file");
}

static rf_status check_one_prompt(const rf_settings *settings, rf_error *error)
{
    bool first = false;
    rf_status status = rf_settings_either(settings, "prompt", "prompt-file", &first, error);
    if (status == RF_OK) {
        status = rf_settings_either(settings, "prompts", "prompt", &first, error);
    }
    return status == RF_OK ? rf_settings_either(settings, "prompts", "prompt-file", &first, error)
                           : status;
}

/* What does not go with beams. */
static const char *const drawing[] = {"temperature", "top-k",   "top-p",
                                      "min-p",       "best-of", "window"};
enum { DRAWING_COUNT = sizeof drawing / sizeof drawing[0] };

static rf_status check_beams(const rf_settings *settings, rf_error *error)
{
    rf_status status = RF_OK;
    bool first = false;
    bool has_beams = rf_settings_integer(settings, "beams") > 1;
    for (size_t i = 0; i < DRAWING_COUNT && status == RF_OK && has_beams; i++) {
        if (is_said(settings, "beams") && is_said(settings, drawing[i])) {
            status = rf_settings_either(settings, "beams", drawing[i], &first, error);
        }
    }
    return status;
}

rf_status rf_generate_check(const rf_settings *settings, rf_error *error)
{
    rf_status status = check_one_prompt(settings, error);
    bool json = rf_settings_flag(settings, "json");
    bool many = rf_generate_has_many(settings);
    if (status == RF_OK && rf_settings_has(settings, "output") && json) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--output and --json exclude each other; give one of them");
    }
    if (status == RF_OK && rf_settings_has(settings, "logprobs") && !json && !many) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--logprobs has nowhere to go; give --json or --prompts too");
    }
    if (status == RF_OK && many && (json || rf_settings_flag(settings, "score"))) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--prompts writes JSON of its own; leave out --%s",
                           json ? "json" : "score");
    }
    return status == RF_OK ? check_beams(settings, error) : status;
}

/* ---- prompts ----------------------------------------------------------------------------- */

static rf_status read_one(const rf_settings *settings, rf_bytes *prompt, rf_error *error)
{
    bool typed = false;
    rf_status status = rf_settings_either(settings, "prompt", "prompt-file", &typed, error);
    const char *text = rf_settings_string(settings, typed ? "prompt" : "prompt-file");
    if (status == RF_OK && text != NULL) {
        status = typed && strcmp(text, "-") != 0
                     ? rf_bytes_append(prompt, text, strlen(text), error)
                     : rf_bytes_read_file(prompt, text, PROMPT_LIMIT, error);
    }
    return status;
}

/* The "prompt" of a JSON object, into its line's place. */
static rf_status read_object(const char *path, size_t number, rf_bytes *line, rf_error *error)
{
    json_error_t fault;
    json_t *object = json_loadb(line->data, line->size, JSON_REJECT_DUPLICATES, &fault);
    const json_t *prompt = json_object_get(object, "prompt");
    rf_status status = RF_OK;
    if (!json_is_string(prompt)) {
        status = rf_cli_fail(error, RF_ERR_FORMAT,
                             "%.300s: line %zu is no JSON object with a text as its \"prompt\"",
                             path, number);
    } else {
        rf_bytes_clear(line);
        status =
            rf_bytes_append(line, json_string_value(prompt), json_string_length(prompt), error);
    }
    json_decref(object);
    return status;
}

/* The next line, from *at, which moves behind it; without its end. */
static rf_status next_line(const rf_bytes *text, size_t *at, rf_bytes *line, rf_error *error)
{
    const char *start = text->data + *at;
    const char *newline = memchr(start, '\n', text->size - *at);
    size_t size = newline != NULL ? (size_t)(newline - start) : text->size - *at;
    *at += size + (newline != NULL ? 1 : 0);
    size -= size > 0 && start[size - 1] == '\r' ? 1 : 0;
    return rf_bytes_append(line, start, size, error);
}

static size_t count_lines(const rf_bytes *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->size; i++) {
        lines += text->data[i] == '\n' || i + 1 == text->size ? 1 : 0;
    }
    return lines;
}

static rf_status read_lines(const char *path, const rf_bytes *text, rf_generate_call *call,
                            rf_error *error)
{
    rf_status status = RF_OK;
    size_t at = 0;
    call->prompt_count = count_lines(text);
    call->texts = call->prompt_count > 0 ? rf_bytes_array(call->prompt_count) : NULL;
    if (call->prompt_count == 0) {
        return rf_cli_fail(error, RF_ERR_FORMAT, "%.300s: there is no prompt in it", path);
    }
    if (call->texts == NULL) {
        return rf_cli_fail(error, RF_ERR_MEMORY, "out of memory for %zu prompts",
                           call->prompt_count);
    }
    for (size_t i = 0; i < call->prompt_count && status == RF_OK; i++) {
        status = next_line(text, &at, &call->texts[i], error);
        if (status == RF_OK && text->data[0] == '{') {
            status = read_object(path, i + 1, &call->texts[i], error);
        }
    }
    return status;
}

static rf_status list_prompts(rf_generate_call *call, rf_error *error)
{
    rf_status status = RF_OK;
    for (size_t i = 0; call->texts != NULL && i < call->prompt_count && status == RF_OK; i++) {
        const rf_bytes *text = &call->texts[i];
        const rf_prompt_text prompt = {(const uint8_t *)(text->data != NULL ? text->data : ""),
                                       text->size};
        status = rf_bytes_append(&call->prompts, (const char *)&prompt, sizeof prompt, error);
    }
    return status;
}

rf_status rf_generate_read_prompts(const rf_settings *settings, rf_generate_call *call,
                                   rf_error *error)
{
    const char *path = rf_settings_string(settings, "prompts");
    rf_bytes text = {0};
    rf_status status = RF_OK;
    if (rf_generate_has_many(settings)) {
        status = rf_bytes_read_file(&text, path, PROMPT_LIMIT, error);
        if (status == RF_OK) {
            status = read_lines(path, &text, call, error);
        }
        rf_bytes_clear(&text);
    } else {
        call->prompt_count = 1;
        call->texts = rf_bytes_array(1);
        status = call->texts != NULL
                     ? read_one(settings, &call->texts[0], error)
                     : rf_cli_fail(error, RF_ERR_MEMORY, "out of memory for the prompt");
    }
    return status == RF_OK ? list_prompts(call, error) : status;
}

/* ---- biases ------------------------------------------------------------------------------ */

/* A token's id from its number, or from its piece of text. */
static rf_status find_token(const rf_tokenizer *tokenizer, const char *name, size_t size,
                            int32_t *token, rf_error *error)
{
    rf_encoding found = {0};
    bool is_quoted = size >= 2 && name[0] == '"' && name[size - 1] == '"';
    if (size > 0 && size < 10 && strspn(name, "0123456789") == size) {
        *token = (int32_t)strtol(name, NULL, 10);
        return RF_OK;
    }
    for (int64_t id = 0; id < rf_tokenizer_vocabulary(tokenizer); id++) {
        size_t length = 0;
        const char *piece = rf_tokenizer_piece(tokenizer, id, &length);
        if (piece != NULL && length == size && memcmp(piece, name, size) == 0) {
            *token = (int32_t)id;
            return RF_OK;
        }
    }
    rf_status status = rf_tokenizer_tokenize(tokenizer, (const uint8_t *)name + (is_quoted ? 1 : 0),
                                             size - (is_quoted ? 2 : 0), &found, error);
    if (status == RF_OK && found.count != 1) {
        status = rf_cli_fail(error, RF_ERR_ARGUMENT,
                             "--logit-bias: '%.*s' is %lld tokens of this model, not one",
                             (int)(size < 100 ? size : 100), name, (long long)found.count);
    }
    *token = status == RF_OK ? found.ids[0] : 0;
    rf_encoding_clear(&found);
    return status;
}

static rf_status read_bias(const rf_tokenizer *tokenizer, const char *text, rf_logit_bias *bias,
                           rf_error *error)
{
    const char *sign = strrchr(text, '=');
    char *end = NULL;
    double value = sign != NULL ? strtod(sign + 1, &end) : 0.0;
    if (sign == NULL || sign == text || end == sign + 1 || *end != '\0') {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--logit-bias is '%.100s', expected TOKEN=NUMBER", text);
    }
    bias->value = (float)value;
    return find_token(tokenizer, text, (size_t)(sign - text), &bias->token, error);
}

static rf_status read_biases(const rf_settings *settings, rf_generate_call *call, rf_error *error)
{
    const json_t *list = rf_settings_value(settings, "logit-bias");
    rf_status status = RF_OK;
    for (size_t i = 0; i < json_array_size(list) && status == RF_OK; i++) {
        rf_logit_bias bias = {0};
        status =
            read_bias(call->tokenizer, json_string_value(json_array_get(list, i)), &bias, error);
        if (status == RF_OK) {
            status = rf_bytes_append(&call->biases, (const char *)&bias, sizeof bias, error);
        }
    }
    call->options.sampling.bias = (const rf_logit_bias *)(const void *)call->biases.data;
    call->options.sampling.bias_count = call->biases.size / sizeof(rf_logit_bias);
    return status;
}

/* ---- the call ---------------------------------------------------------------------------- */

/* The seed that was asked for, else a new one, told so that the text can be had again. */
static uint64_t choose_seed(const rf_settings *settings)
{
    uint32_t seed = 0;
    if (rf_settings_has(settings, "seed")) {
        return (uint64_t)rf_settings_integer(settings, "seed");
    }
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint32_t)getpid();
    }
    if (!rf_settings_flag(settings, "quiet")) {
        fprintf(stderr, "seed %lu\n", (unsigned long)seed);
    }
    return seed;
}

static void take_integer(const rf_settings *settings, const char *name, int64_t *value)
{
    if (is_said(settings, name)) {
        *value = rf_settings_integer(settings, name);
    }
}

static void take_number(const rf_settings *settings, const char *name, double *value)
{
    if (is_said(settings, name)) {
        *value = rf_settings_number(settings, name);
    }
}

static void take_sampling(const rf_settings *settings, rf_sampling *sampling)
{
    take_number(settings, "temperature", &sampling->temperature);
    take_integer(settings, "top-k", &sampling->top_k);
    take_number(settings, "top-p", &sampling->top_p);
    take_number(settings, "min-p", &sampling->min_p);
    take_number(settings, "repetition-penalty", &sampling->repetition_penalty);
    take_number(settings, "presence-penalty", &sampling->presence_penalty);
    take_number(settings, "frequency-penalty", &sampling->frequency_penalty);
    take_integer(settings, "no-repeat-ngram", &sampling->no_repeat_ngram);
}

static void take_lengths(const rf_settings *settings, rf_generate_options *options)
{
    if (is_said(settings, "tokens")) {
        options->max_new_tokens = rf_settings_integer(settings, "tokens");
        options->max_length = 0;
    }
    take_integer(settings, "samples", &options->samples);
    take_integer(settings, "best-of", &options->best_of);
    take_integer(settings, "window", &options->window);
    take_integer(settings, "batch", &options->batch);
    take_integer(settings, "beams", &options->beams);
    take_number(settings, "length-penalty", &options->length_penalty);
    if (is_said(settings, "early-stopping")) {
        options->early_stopping = rf_settings_flag(settings, "early-stopping")
                                      ? RF_EARLY_STOPPING_ON
                                      : RF_EARLY_STOPPING_OFF;
    }
    options->log_probabilities = rf_settings_has(settings, "logprobs");
    take_integer(settings, "logprobs", &options->likeliest);
}

/* Of beams and what does not go with them, the nearer source counts; what the model says is the
 * farthest. */
static void settle_beams(const rf_settings *settings, rf_generate_options *options)
{
    for (size_t i = 0; i < DRAWING_COUNT; i++) {
        bool is_nearer =
            rf_settings_origin(settings, drawing[i]) > rf_settings_origin(settings, "beams");
        if (is_said(settings, drawing[i]) && is_nearer) {
            options->beams = 1;
        }
    }
    if (options->beams > 1) {
        options->best_of = 0;
        options->window = 0;
    }
}

static rf_status take_stops(const rf_settings *settings, rf_generate_call *call, rf_error *error)
{
    const json_t *stop = rf_settings_value(settings, "stop");
    rf_status status = RF_OK;
    for (size_t i = 0; i < json_array_size(stop) && status == RF_OK; i++) {
        const char *text = json_string_value(json_array_get(stop, i));
        status = rf_bytes_append(&call->stops, (const char *)&text, sizeof text, error);
    }
    call->options.stop = (const char *const *)(const void *)call->stops.data;
    call->options.stop_count = json_array_size(stop);
    return status;
}

rf_status rf_generate_prepare(const rf_settings *settings, const rf_model *model,
                              rf_generate_call *call, rf_error *error)
{
    rf_generate_options *options = &call->options;
    rf_status status = rf_generate_defaults(model, options, error);
    if (status == RF_OK) {
        status = rf_tokenizer_load(rf_settings_string(settings, "model"), &call->tokenizer, error);
    }
    if (status != RF_OK) {
        return status;
    }
    take_sampling(settings, &options->sampling);
    take_lengths(settings, options);
    settle_beams(settings, options);
    options->sampling.seed = choose_seed(settings);
    options->prompts = (const rf_prompt_text *)(const void *)call->prompts.data;
    options->prompt_count = call->prompt_count;
    options->log = rf_cli_log(settings);
    status = take_stops(settings, call, error);
    return status == RF_OK ? read_biases(settings, call, error) : status;
}

void rf_generate_clear(rf_generate_call *call)
{
    rf_bytes_array_clear(call->texts, call->prompt_count);
    rf_tokenizer_destroy(call->tokenizer);
    rf_bytes_clear(&call->prompts);
    rf_bytes_clear(&call->biases);
    rf_bytes_clear(&call->stops);
    *call = (rf_generate_call){0};
}
