/* Text from a prompt: several samples side by side in one session, each with its own draws, stop
 * strings and bytes held back. The prompt runs through the model once, whatever the number of
 * samples. */
#include "generate/sampler.h"
#include "generate/session.h"
#include "generate/stop.h"
#include "generate/utf8.h"

#include "base/clock.h"
#include "base/memory.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

enum {
    CHUNK_BYTES = 256,
    TOKEN_BYTES = 1024,
    BYTES_PER_BYTE = 6 /* out of the UTF-8 filter, at most */
};

/* One text in the making. */
typedef struct sample {
    rf_stop stop;
    rf_utf8_filter filter;
    uint8_t chunk[CHUNK_BYTES]; /* bytes on their way to the caller */
    size_t chunk_size;
    bool is_done;
    bool at_start; /* of the text: the blank that its first token may begin with is not of the text
                    */
} sample;

typedef struct generation {
    rf_model *model;
    const rf_generate_options *options;
    rf_tokenizer *tokenizer;
    int32_t *prompt; /* [prompt_count], owned */
    int64_t prompt_count;
    bool starts_text; /* there was nothing in the prompt */
    int64_t samples_count;
    sample *samples;    /* [samples_count], owned */
    uint8_t *stop_text; /* [longest stop string + 1], owned: what a byte lets go */
    uint8_t *seen;      /* [vocabulary], owned: tokens of the prompt; NULL without a penalty */
    int32_t *next;      /* [samples_count], owned: the tokens drawn last */
    rf_session *session;
} generation;

/* ---- from tokens to the caller's bytes --------------------------------------------------- */

static rf_status cancelled(rf_error *error)
{
    return rf_error_set(error, RF_ERR_CANCELLED, "generation was stopped on request");
}

static rf_status hand_over(const generation *of, sample *text, rf_error *error)
{
    size_t size = text->chunk_size;
    text->chunk_size = 0;
    if (size == 0 || of->options->write == NULL) {
        return RF_OK;
    }
    int refused = of->options->write(of->options->user, text - of->samples, text->chunk, size);
    return refused != 0 ? cancelled(error) : RF_OK;
}

static rf_status put_byte(const generation *of, sample *text, uint8_t byte, rf_error *error)
{
    if (text->chunk_size + BYTES_PER_BYTE > CHUNK_BYTES) {
        RF_TRY(hand_over(of, text, error));
    }
    if (of->options->whole_characters) {
        text->chunk_size += rf_utf8_feed(&text->filter, byte, text->chunk + text->chunk_size);
    } else {
        text->chunk[text->chunk_size++] = byte;
    }
    return RF_OK;
}

static rf_status put_bytes(const generation *of, sample *text, const uint8_t *bytes, size_t size,
                           rf_error *error)
{
    for (size_t i = 0; i < size; i++) {
        RF_TRY(put_byte(of, text, bytes[i], error));
    }
    return RF_OK;
}

/* The end of a sample: what was held back goes out. */
static rf_status finish_text(const generation *of, sample *text, rf_error *error)
{
    text->is_done = true;
    RF_TRY(put_bytes(of, text, of->stop_text, rf_stop_finish(&text->stop, of->stop_text), error));
    if (of->options->whole_characters) {
        if (text->chunk_size + BYTES_PER_BYTE > CHUNK_BYTES) {
            RF_TRY(hand_over(of, text, error));
        }
        text->chunk_size += rf_utf8_finish(&text->filter, text->chunk + text->chunk_size);
    }
    return hand_over(of, text, error);
}

static rf_status put_token(const generation *of, sample *text, int32_t token, rf_error *error)
{
    uint8_t bytes[TOKEN_BYTES];
    size_t size = rf_tokenizer_decode(of->tokenizer, token, bytes, sizeof bytes);
    size_t first = text->at_start && size > 0 && bytes[0] == ' ' ? 1 : 0;
    text->at_start = text->at_start && size == 0;
    for (size_t i = first; i < size && !text->stop.is_found; i++) {
        size_t count = rf_stop_feed(&text->stop, bytes[i], of->stop_text);
        RF_TRY(put_bytes(of, text, of->stop_text, count, error));
    }
    return text->stop.is_found ? finish_text(of, text, error) : hand_over(of, text, error);
}

/* ---- preparation ------------------------------------------------------------------------- */

static rf_status check_request(const generation *of, rf_error *error)
{
    const rf_generate_options *options = of->options;
    int64_t positions = rf_config_max_length(&of->model->config);
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
    if (of->prompt_count > positions) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "the prompt has %lld tokens and the model has %lld positions; shorten the prompt",
            (long long)of->prompt_count, (long long)positions);
    }
    if (options->max_new_tokens - 1 >
        positions - of->prompt_count) { /* the last token is never read */
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a prompt of %lld tokens and %lld new ones do not fit into the model's "
                            "%lld positions; ask for at most "
                            "%lld new tokens, or shorten the prompt",
                            (long long)of->prompt_count, (long long)options->max_new_tokens,
                            (long long)positions, (long long)(positions - of->prompt_count + 1));
    }
    return RF_OK;
}

/* A text from nothing begins after the token that texts end with. */
static rf_status start_from_end(generation *of, rf_error *error)
{
    const rf_config *config = &of->model->config;
    void *memory = NULL;
    if (config->eos_token < 0 || config->eos_token >= config->vocabulary) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the prompt is empty and the model has no end-of-text token to "
                            "start from (eos_token_id); give a prompt");
    }
    RF_TRY(rf_allocate(sizeof *of->prompt, "prompt", &memory, error));
    rf_release(of->prompt);
    of->prompt = memory;
    of->prompt[0] = (int32_t)config->eos_token;
    of->prompt_count = 1;
    of->starts_text = true;
    return RF_OK;
}

/* Ids of the prompt; an empty one (for pieces, also one of blanks only) is replaced by what texts
 * begin after. */
static rf_status encode_prompt(generation *of, rf_error *error)
{
    const rf_generate_options *options = of->options;
    static const uint8_t newline = '\n';
    bool is_empty = options->prompt_size == 0;
    bool is_bytes = rf_tokenizer_is_bytes(of->tokenizer);
    if (is_bytes || !is_empty) {
        RF_TRY(rf_tokenizer_encode(of->tokenizer, is_empty ? &newline : options->prompt,
                                   is_empty ? 1 : options->prompt_size, &of->prompt,
                                   &of->prompt_count, error));
    }
    return of->prompt_count > 0 ? RF_OK : start_from_end(of, error);
}

static rf_status note_prompt(generation *of, rf_error *error)
{
    void *memory = NULL;
    if (of->options->sampling.repetition_penalty == 1.0) {
        return RF_OK;
    }
    RF_TRY(rf_allocate_zeroed((size_t)of->model->config.vocabulary, "seen tokens", &memory, error));
    of->seen = memory;
    for (int64_t i = 0; i < of->prompt_count; i++) {
        of->seen[of->prompt[i]] = 1;
    }
    return RF_OK;
}

static rf_status create_samples(generation *of, rf_error *error)
{
    const rf_generate_options *options = of->options;
    size_t count = (size_t)of->samples_count;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(count * sizeof *of->samples, "samples", &memory, error));
    of->samples = memory;
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_stop_init(&of->samples[i].stop, options->stop, options->stop_count, error));
        longest = of->samples[i].stop.longest;
        of->samples[i].at_start = of->starts_text;
    }
    RF_TRY(rf_allocate(longest + 1, "stop strings", &memory, error));
    of->stop_text = memory;
    RF_TRY(rf_allocate(count * sizeof *of->next, "next tokens", &memory, error));
    of->next = memory;
    return note_prompt(of, error);
}

/* A model that is being trained has its tokenizer's files, but no folder yet. */
static rf_status create_tokenizer(generation *of, rf_error *error)
{
    const rf_model *model = of->model;
    int64_t vocabulary = model->config.vocabulary;
    return rf_tokenizer_files_hold_one(&model->tokenizer_files)
               ? rf_tokenizer_from_files(model->folder != NULL ? model->folder : "the model",
                                         &model->tokenizer_files, vocabulary, &of->tokenizer, error)
               : rf_tokenizer_create(model->folder, vocabulary, &of->tokenizer, error);
}

static rf_status prepare(generation *of, rf_error *error)
{
    rf_model *model = of->model;
    of->samples_count = of->options->samples > 0 ? of->options->samples : 1;
    RF_TRY(create_tokenizer(of, error));
    RF_TRY(encode_prompt(of, error));
    RF_TRY(check_request(of, error));
    rf_sample unused;
    RF_TRY(rf_sampler_arguments(&of->options->sampling, &unused, error));
    RF_TRY(create_samples(of, error));
    int64_t fresh = of->options->max_new_tokens > 1 ? of->options->max_new_tokens - 1 : 0;
    rf_session_options options = {.batch = of->samples_count,
                                  .capacity = of->prompt_count + fresh,
                                  .seed = of->options->sampling.seed,
                                  .log = of->options->log};
    return rf_session_create(model, &options, &of->session, error);
}

static void clear(generation *of)
{
    rf_session_destroy(of->session);
    for (int64_t i = 0; of->samples != NULL && i < of->samples_count; i++) {
        rf_stop_clear(&of->samples[i].stop);
    }
    rf_release(of->samples);
    rf_release(of->stop_text);
    rf_release(of->seen);
    rf_release(of->next);
    rf_release(of->prompt);
    rf_tokenizer_destroy(of->tokenizer);
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* The token drawn for one sample, to text. A byte model has no end-of-text token: its id would be
 * an ordinary byte. */
static rf_status take_token(generation *of, int64_t row, rf_error *error)
{
    sample *text = &of->samples[row];
    int32_t token = of->next[row];
    if (token == of->model->config.eos_token && !rf_tokenizer_is_bytes(of->tokenizer)) {
        return finish_text(of, text, error);
    }
    return put_token(of, text, token, error);
}

/* One token for every sample that is not done; `left` is how many of those remain. */
static rf_status take_tokens(generation *of, rf_generate_result *result, int64_t *left,
                             rf_error *error)
{
    *left = 0;
    for (int64_t row = 0; row < of->samples_count; row++) {
        if (!of->samples[row].is_done) {
            RF_TRY(take_token(of, row, error));
            result->new_tokens++;
            *left += of->samples[row].is_done ? 0 : 1;
        }
    }
    return RF_OK;
}

static rf_status finish_all(generation *of, rf_error *error)
{
    for (int64_t row = 0; row < of->samples_count; row++) {
        if (!of->samples[row].is_done) {
            RF_TRY(finish_text(of, &of->samples[row], error));
        }
    }
    return RF_OK;
}

static bool is_stopped(const rf_generate_options *options)
{
    return options->should_stop != NULL && options->should_stop(options->user) != 0;
}

static rf_status decode(generation *of, rf_generate_result *result, rf_error *error)
{
    int64_t left = of->samples_count;
    for (int64_t number = 0; number < of->options->max_new_tokens && left > 0; number++) {
        if (is_stopped(of->options)) {
            RF_TRY(finish_all(of, error));
            return cancelled(error);
        }
        /* A sample that is done goes on, unread. */
        RF_TRY(number == 0 ? rf_session_draw(of->session, of->next, error)
                           : rf_session_advance(of->session, of->next, error));
        RF_TRY(take_tokens(of, result, &left, error));
    }
    return finish_all(of, error);
}

static rf_status run(generation *of, rf_generate_result *result, rf_error *error)
{
    RF_TRY(prepare(of, error));
    result->prompt_tokens = of->prompt_count;
    double start = rf_clock_seconds();
    rf_prompt prompt = {.ids = of->prompt, .count = of->prompt_count, .shared = true};
    RF_TRY(rf_session_append_prompt(of->session, &prompt, error));
    RF_TRY(rf_session_set_sampling(of->session, &of->options->sampling, of->seen, error));
    double middle = rf_clock_seconds();
    result->prefill_seconds = middle - start;
    rf_status status = decode(of, result, error);
    result->decode_seconds = rf_clock_seconds() - middle;
    return status;
}

rf_status rf_generate(rf_model *model, const rf_generate_options *options,
                      rf_generate_result *result, rf_error *error)
{
    rf_generate_result unread = {0};
    rf_generate_result *figures = result != NULL ? result : &unread;
    *figures = (rf_generate_result){0};
    generation of = {.model = model, .options = options};
    rf_status status = run(&of, figures, error);
    clear(&of);
    return status;
}
