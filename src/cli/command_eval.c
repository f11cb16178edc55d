/* reformer eval: loss, perplexity, bits per byte and accuracy of a model on a text. */
#include "message.h"
#include "progress.h"
#include "units.h"

#include "reformer/train.h"

#include <string.h>

static const rf_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "model",
     .required = true,
     .group = "what",
     .help = "model directory"},
    {.name = "data",
     .letter = 'd',
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "data",
     .required = true,
     .group = "what",
     .help = "file, folder or pattern of files; .xz, .gz and .zst are unpacked"},
    {.name = "last-bytes",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "last_bytes",
     .group = "what",
     .help = "only the last bytes of the data; 0 for all"},
    {.name = "length",
     .letter = 'l',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 2147483647,
     .key = "length",
     .group = "how",
     .help = "tokens a window; 0 for the length that the model was trained at"},
    {.name = "batch",
     .letter = 'b',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 1 << 20,
     .key = "batch",
     .group = "how",
     .help = "windows computed at once; the result does not depend on it"},
    {.name = "num-hashes",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 1 << 16,
     .key = "num_hashes",
     .group = "how",
     .help = "rounds of LSH attention; 0 for as many as the model says"},
    {.name = "seed",
     .letter = 's',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "seed",
     .group = "how",
     .help = "what everything random follows from (here: the rotations of LSH attention)"},
    {.name = "stream",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .choices = "fixed32|float32",
     .key = "stream",
     .group = "how",
     .help = "numbers of the residual streams; without it as the model says, else fixed32"},
    {.name = "lm-head-bias",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHEN",
     .preset = "auto",
     .choices = "auto|on|off",
     .key = "lm_head_bias",
     .group = "how",
     .help = "whether the output layer's bias is added"},
    {.name = "text-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "text",
     .key = "text_field",
     .group = "what",
     .help = "of a classifier: what the text is called in the data"},
    {.name = "pair-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "text_pair",
     .key = "pair_field",
     .group = "what",
     .help = "of a classifier: what a second text is called, where there is one"},
    {.name = "label-field",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "label",
     .key = "label_field",
     .group = "what",
     .help = "of a classifier: what the label is called"},
    {.name = "at-most",
     .kind = RF_OPTION_NUMBER,
     .argument = "BITS",
     .key = "at_most",
     .group = "how",
     .help = "exit with 3 if the model needs more bits a byte than this"},
};

static void on_progress(void *user, int64_t done, int64_t total)
{
    const rf_settings *settings = user;
    if (!rf_settings_flag(settings, "quiet")) {
        rf_cli_show_part("evaluated", done, total);
    }
}

static int on_stop(void *user)
{
    (void)user;
    return rf_cli_stop_requested();
}

/* Of a classifier or a question answerer. */
static int print_task(const rf_settings *settings, const rf_evaluation *result)
{
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(json_pack(
            "{s:s, s:o, s:o, s:I, s:I, s:o}", "task", result->task, "loss",
            rf_cli_json_number(result->loss), "accuracy", rf_cli_json_number(result->accuracy),
            "scored", (json_int_t)result->tokens, "examples", (json_int_t)result->windows,
            "seconds", rf_cli_json_number(result->seconds)));
    }
    printf("loss            %.6f\n", result->loss);
    printf("accuracy        %.2f %%\n", 100.0 * result->accuracy);
    printf("scored          %lld in %lld examples\n", (long long)result->tokens,
           (long long)result->windows);
    return RF_EXIT_DONE;
}

/* What a second head is worth; NULL: there is none. */
static json_t *pairs_json(const rf_evaluation *result)
{
    return result->pairs == 0
               ? NULL
               : json_pack("{s:o, s:o, s:I}", "loss", rf_cli_json_number(result->pair_loss),
                           "accuracy", rf_cli_json_number(result->pair_accuracy), "pairs",
                           (json_int_t)result->pairs);
}

static int print_result(const rf_settings *settings, const rf_evaluation *result)
{
    char time[32];
    if (strcmp(result->task, "classify") == 0 || strcmp(result->task, "answer") == 0 ||
        strcmp(result->task, "next-sentence") == 0) {
        return print_task(settings, result);
    }
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o*}", "loss",
            rf_cli_json_number(result->loss), "perplexity", rf_cli_json_number(result->perplexity),
            "bits_per_token", rf_cli_json_number(result->bits_per_token), "bits_per_byte",
            rf_cli_json_number(result->bits_per_byte), "accuracy",
            rf_cli_json_number(result->accuracy), "tokens", (json_int_t)result->tokens, "windows",
            (json_int_t)result->windows, "length", (json_int_t)result->length, "seconds",
            rf_cli_json_number(result->seconds), "next_sentence", pairs_json(result)));
    }
    rf_cli_write_duration(result->seconds, time, sizeof time);
    printf("loss            %.6f nats a token\n", result->loss);
    printf("perplexity      %.4f\n", result->perplexity);
    printf("bits per byte   %.4f\n", result->bits_per_byte);
    printf("accuracy        %.2f %%\n", 100.0 * result->accuracy);
    if (result->pairs > 0) {
        printf("next sentence   loss %.6f, accuracy %.2f %% of %lld pairs\n", result->pair_loss,
               100.0 * result->pair_accuracy, (long long)result->pairs);
    }
    printf("scored          %lld tokens in %lld windows of %lld, in %s\n",
           (long long)result->tokens, (long long)result->windows, (long long)result->length, time);
    return RF_EXIT_DONE;
}

/* The user's own threshold. */
static int check_result(const rf_settings *settings, const rf_evaluation *result)
{
    double limit = rf_settings_number(settings, "at-most");
    rf_error error = {0};
    if (!rf_settings_has(settings, "at-most") || result->bits_per_byte <= limit) {
        return RF_EXIT_DONE;
    }
    rf_status status =
        rf_cli_fail(&error, RF_ERR_MISMATCH, "%.6f bits a byte is more than the %.6f of --at-most",
                    result->bits_per_byte, limit);
    return rf_cli_report(settings->command, status, &error);
}

static int run(const rf_settings *settings)
{
    rf_settings copy = *settings; /* the callback takes no const */
    rf_evaluation result = {0};
    rf_error error = {0};
    rf_evaluate_options evaluate = {
        .model = rf_settings_string(settings, "model"),
        .data = rf_settings_string(settings, "data"),
        .length = rf_settings_integer(settings, "length"),
        .batch = rf_settings_integer(settings, "batch"),
        .last_bytes = rf_settings_integer(settings, "last-bytes"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .seed = (uint64_t)rf_settings_integer(settings, "seed"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .stream = rf_settings_string(settings, "stream"),
        .lm_head_bias = rf_settings_string(settings, "lm-head-bias"),
        .text_field = rf_settings_string(settings, "text-field"),
        .pair_field = rf_settings_string(settings, "pair-field"),
        .label_field = rf_settings_string(settings, "label-field"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
        .should_stop = on_stop,
        .progress = on_progress,
        .user = &copy,
    };
    rf_cli_catch_signals();
    rf_status status = rf_evaluate(&evaluate, &result, &error);
    rf_cli_status_clear();
    if (status != RF_OK) {
        return rf_cli_report(settings->command, status, &error);
    }
    int code = print_result(settings, &result);
    return code == RF_EXIT_DONE ? check_result(settings, &result) : code;
}

const rf_command rf_command_eval = {
    .name = "eval",
    .purpose = "Measure a model on a text: loss, perplexity, bits per byte, accuracy",
    .description = "Windows do not overlap, a last partial one is dropped, the first token of each "
                   "is not scored, and the mean is over all "
                   "scored tokens.",
    .examples = {"eval --model runs/book --data held-out.txt",
                 "eval --model runs/book --data book.txt --last-bytes 200KB --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .run = run,
};
