/* reformer generate: a model goes on from a prompt; its bytes appear as they come. */
#include "message.h"
#include "output.h"
#include "units.h"

#include "reformer/generate.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { PROMPT_LIMIT = 1 << 30 };

static const rf_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "model",
     .required = true,
     .group = "what",
     .help = "model directory"},
    {.name = "prompt",
     .letter = 'p',
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "prompt",
     .may_be_empty = true,
     .group = "what",
     .help = "what to go on from; - reads standard input; without a prompt from a new line"},
    {.name = "prompt-file",
     .letter = 'f',
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .key = "prompt_file",
     .group = "what",
     .help = "file whose bytes are the prompt; - is standard input"},
    {.name = "tokens",
     .letter = 'n',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "256",
     .low = 1,
     .high = 2147483647,
     .key = "tokens",
     .group = "what",
     .help = "new tokens at most"},
    {.name = "samples",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 4096,
     .key = "samples",
     .group = "what",
     .help = "texts to write from the same prompt"},
    {.name = "stop",
     .kind = RF_OPTION_STRINGS,
     .argument = "TEXT",
     .key = "stop",
     .group = "what",
     .help = "end before this text; may be repeated"},
    {.name = "temperature",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1",
     .high = 100,
     .key = "temperature",
     .group = "sampling",
     .help = "flatter above 1, sharper below, 0 always takes the likeliest"},
    {.name = "top-k",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 2147483647,
     .key = "top_k",
     .group = "sampling",
     .help = "choose among the N likeliest; 0 for all"},
    {.name = "top-p",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1",
     .high = 1,
     .key = "top_p",
     .group = "sampling",
     .help = "choose among the likeliest that together have this probability; 1 for all"},
    {.name = "min-p",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "0",
     .high = 1,
     .key = "min_p",
     .group = "sampling",
     .help = "leave out what is less likely than this share of the likeliest; 0 for nothing"},
    {.name = "repetition-penalty",
     .kind = RF_OPTION_NUMBER,
     .argument = "X",
     .preset = "1",
     .low = 0.01,
     .high = 100,
     .key = "repetition_penalty",
     .group = "sampling",
     .help = "above 1, tokens that are there already become less likely"},
    {.name = "seed",
     .letter = 's',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .key = "seed",
     .group = "sampling",
     .help = "what everything random follows from; without it a new one each time, told on "
             "standard error"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .key = "output",
     .group = "output",
     .help =
         "write the exact bytes to this file, or to FILE.1, FILE.2 and so on with several samples"},
    {.name = "text",
     .kind = RF_OPTION_FLAG,
     .key = "text",
     .group = "output",
     .help = "whole UTF-8 characters only, as always on a terminal; files and pipes get the exact "
             "bytes"},
    {.name = "num-hashes",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 1 << 16,
     .key = "num_hashes",
     .group = "model",
     .help = "rounds of LSH attention; 0 for as many as the model says"},
    {.name = "num-buckets",
     .kind = RF_OPTION_STRING,
     .argument = "N[,M]",
     .key = "num_buckets",
     .group = "model",
     .help = "buckets of LSH attention, or 'auto'; without it as the model says"},
    {.name = "lm-head-bias",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHEN",
     .preset = "auto",
     .choices = "auto|on|off",
     .key = "lm_head_bias",
     .group = "model",
     .help = "whether the output layer's bias is added"},
    {.name = "stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .choices = "fixed32|float32",
     .key = "stream",
     .group = "model",
     .help = "numbers of the residual streams; without it as the model says, else fixed32"},
};

static rf_status check(const rf_settings *settings, rf_error *error)
{
    bool first = false;
    rf_status status = rf_settings_either(settings, "prompt", "prompt-file", &first, error);
    if (status == RF_OK && rf_settings_has(settings, "output") &&
        rf_settings_flag(settings, "json")) {
        status = rf_cli_fail(error, RF_ERR_ARGUMENT,
                             "--output and --json exclude each other; give one of them");
    }
    return status;
}

static rf_status read_prompt(const rf_settings *settings, rf_bytes *prompt, rf_error *error)
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

static void set_sampling(const rf_settings *settings, uint64_t seed, rf_sampling *sampling)
{
    rf_sampling_default(sampling);
    sampling->temperature = rf_settings_number(settings, "temperature");
    sampling->top_k = rf_settings_integer(settings, "top-k");
    sampling->top_p = rf_settings_number(settings, "top-p");
    sampling->min_p = rf_settings_number(settings, "min-p");
    sampling->repetition_penalty = rf_settings_number(settings, "repetition-penalty");
    sampling->seed = seed;
}

static int on_bytes(void *user, int64_t sample, const uint8_t *bytes, size_t size)
{
    return rf_output_write(user, sample, (const char *)bytes, size);
}

static int on_stop(void *user)
{
    (void)user;
    return rf_cli_stop_requested();
}

static void print_timing(const rf_generate_result *result)
{
    double rate =
        result->decode_seconds > 0.0 ? (double)result->new_tokens / result->decode_seconds : 0.0;
    double prompt = result->prefill_seconds;
    fprintf(stderr, "%lld prompt tokens in %.2fs, %lld new tokens in %.2fs (%.0f a second)\n",
            (long long)result->prompt_tokens, prompt, (long long)result->new_tokens,
            result->decode_seconds, rate);
}

enum { MOST_STOPS = 64 };

/* Generate with a loaded model into an output that is open. */
static rf_status write_text(const rf_settings *settings, rf_model *model, const rf_bytes *prompt,
                            rf_output *output, rf_generate_result *result, rf_error *error)
{
    const char *stops[MOST_STOPS];
    const json_t *stop = rf_settings_value(settings, "stop");
    rf_generate_options generate = {
        .prompt = (const uint8_t *)(prompt->data != NULL ? prompt->data : ""),
        .prompt_size = prompt->size,
        .max_new_tokens = rf_settings_integer(settings, "tokens"),
        .samples = rf_settings_integer(settings, "samples"),
        .stop = stops,
        .stop_count = json_array_size(stop),
        .log = rf_cli_log(settings),
        .write = on_bytes,
        .whole_characters = output->whole_characters,
        .should_stop = on_stop,
        .user = output,
    };
    if (generate.stop_count > MOST_STOPS) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--stop may be given %d times at most",
                           MOST_STOPS);
    }
    for (size_t i = 0; i < generate.stop_count; i++) {
        stops[i] = json_string_value(json_array_get(stop, i));
    }
    set_sampling(settings, output->seed, &generate.sampling);
    rf_cli_catch_signals();
    rf_status status = rf_generate(model, &generate, result, error);
    return output->status != RF_OK ? rf_output_failure(output, error) : status;
}

static rf_status load(const rf_settings *settings, rf_model **model, rf_error *error)
{
    rf_model_options load_options = {
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .stream = rf_settings_string(settings, "stream"),
        .lm_head_bias = rf_settings_string(settings, "lm-head-bias"),
        .num_buckets = rf_settings_string(settings, "num-buckets"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .log = rf_cli_log(settings),
    };
    return rf_model_load(rf_settings_string(settings, "model"), &load_options, model, error);
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_bytes prompt = {0};
    rf_model *model = NULL;
    rf_output output = {0};
    rf_generate_result result = {0};
    rf_status status = read_prompt(settings, &prompt, &error);
    if (status == RF_OK) {
        status = load(settings, &model, &error);
    }
    if (status == RF_OK) {
        status = rf_output_open(&output, settings, choose_seed(settings), &error);
    }
    if (status == RF_OK) {
        status = write_text(settings, model, &prompt, &output, &result, &error);
        rf_error closing = {0};
        rf_status closed = rf_output_close(&output, &result, &closing);
        if (status == RF_OK && closed != RF_OK) {
            status = closed;
            error = closing;
        }
    }
    if (status == RF_OK && !rf_settings_flag(settings, "quiet")) {
        print_timing(&result);
    }
    rf_model_destroy(model);
    rf_bytes_clear(&prompt);
    return rf_cli_report(settings->command, status, &error);
}

const rf_command rf_command_generate = {
    .name = "generate",
    .purpose = "Write on from a prompt",
    .description = "Text appears as it is written. The same seed, model and prompt give the same "
                   "text on every run.",
    .examples =
        {"generate --model runs/book --prompt \"In the beginning\" --temperature 0.8",
         "generate --model runs/book --prompt-file start.txt --tokens 2000 --output more.txt"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = check,
    .run = run,
};
