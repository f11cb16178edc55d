/* reformer eval: the figures of a model's task on a text or on examples. */
#include "common_options.h"
#include "message.h"
#include "progress.h"
#include "units.h"

#include "reformer/train.h"

#include <math.h>
#include <string.h>

static const rf_option options[] = {
    {RF_COMMON_MODEL, .required = true, .group = "main options", .help = "model directory"},
    {RF_COMMON_DATA, .argument = "TEXT", .required = true,
     .help = "file, folder or pattern (.xz, .gz and .zst too), or copy, reverse, addition, recall"},
    {.name = "sequences",
     .letter = 'n',
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 1 << 30,
     .key = "sequences",
     .group = "main options",
     .help = "synthetic data: number of rows; 0: as many as make 262,144 tokens"},
    {RF_COMMON_DISTANCE,
     .help = "copy, recall: as in train; 0: half the length, and as far as fits"},
    {RF_COMMON_SHORTEST},
    {RF_COMMON_PAIRS},
    {.name = "by-position",
     .kind = RF_OPTION_LIST,
     .argument = "N,...",
     .low = 1,
     .high = 2147483647,
     .key = "by_position",
     .group = "more options",
     .help = "also report the loss in bands of positions that end at these, such as 1024,8192"},
    {RF_COMMON_LAST_BYTES},
    {RF_COMMON_LENGTH, .preset = "0", .group = "more options",
     .help = "tokens per window; 0: the training length of the model"},
    {RF_COMMON_BATCH, .preset = "1", .group = "more options",
     .help = "windows computed at once; changes at most the last bits of the result"},
    {RF_COMMON_NUM_HASHES, .high = 1 << 16, .group = "more options"},
    {RF_COMMON_ATTENTION, .group = "more options"},
    {RF_COMMON_EXTEND_POSITIONS, .group = "more options"},
    {RF_COMMON_SEED, .preset = "0", .group = "more options",
     .help = "seed for the rotations of LSH attention and for synthetic data"},
    {RF_COMMON_STREAM, .group = "more options"},
    {RF_COMMON_LM_HEAD_BIAS, .group = "more options",
     .help = "whether to add the bias of the output layer"},
    {RF_COMMON_TEXT_FIELD, .preset = "text", .help = "classifiers: field of the text in the data"},
    {RF_COMMON_PAIR_FIELD, .preset = "text_pair",
     .help = "classifiers: field of the second text, if any"},
    {RF_COMMON_LABEL_FIELD, .help = "classifiers: field of the label"},
    {RF_COMMON_PACK, .help = "the data are documents, as in train --pack"},
    {RF_COMMON_DOCUMENT_SEPARATOR},
    {.name = "at-most",
     .kind = RF_OPTION_NUMBER,
     .argument = "BITS",
     .key = "at_most",
     .group = "more options",
     .help = "exit with code 3 if the model needs more bits per byte than this"},
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

static json_t *bands_json(const rf_evaluation *result)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < result->band_count; i++) {
        const rf_position_band *band = &result->bands[i];
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:o, s:o}", "first",
                                              (json_int_t)band->first, "end", (json_int_t)band->end,
                                              "tokens", (json_int_t)band->tokens, "loss",
                                              rf_cli_json_number(band->loss), "bits_per_token",
                                              rf_cli_json_number(band->loss / log(2.0))));
    }
    return list;
}

/* The figures by name, then what they are of. */
static json_t *result_json(const rf_evaluation *result, bool examples)
{
    json_t *object = json_pack("{s:s}", "task", result->task);
    for (int64_t i = 0; i < result->figures.count; i++) {
        const rf_figure *figure = &result->figures.items[i];
        json_object_set_new(object, figure->name, rf_cli_json_number(figure->value));
    }
    json_object_set_new(object, examples ? "scored" : "tokens", json_integer(result->tokens));
    json_object_set_new(object, examples ? "examples" : "windows", json_integer(result->windows));
    json_object_set_new(object, "length", json_integer(result->length));
    json_object_set_new(object, "seconds", rf_cli_json_number(result->seconds));
    if (result->band_count > 0) {
        json_object_set_new(object, "by_position", bands_json(result));
    }
    return object;
}

static void print_figure(const rf_figure *figure)
{
    char name[32];
    rf_cli_figure_name(figure, name, sizeof name);
    if (figure->is_share) {
        printf("%-20s%.2f %%\n", name, 100.0 * figure->value);
    } else {
        printf("%-20s%.6f\n", name, figure->value);
    }
}

static int print_result(const rf_settings *settings, const rf_evaluation *result)
{
    bool examples = strcmp(result->task, "classify") == 0 || strcmp(result->task, "answer") == 0 ||
                    strcmp(result->task, "next-sentence") == 0;
    char time[32];
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(result_json(result, examples));
    }
    for (int64_t i = 0; i < result->figures.count; i++) {
        print_figure(&result->figures.items[i]);
    }
    for (int64_t i = 0; i < result->band_count; i++) {
        const rf_position_band *band = &result->bands[i];
        printf("positions %-10lld%.6f nats, %.6f bits a token, up to %lld\n",
               (long long)band->first, band->loss, band->loss / log(2.0), (long long)band->end - 1);
    }
    rf_cli_write_duration(result->seconds, time, sizeof time);
    if (examples) {
        printf("%-20s%lld in %lld examples, in %s\n", "scored", (long long)result->tokens,
               (long long)result->windows, time);
    } else {
        printf("%-20s%lld tokens in %lld windows of %lld, in %s\n", "scored",
               (long long)result->tokens, (long long)result->windows, (long long)result->length,
               time);
    }
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

/* The ends of bands of positions; one too many is for the library to refuse. */
static int64_t read_bands(const rf_settings *settings, int64_t ends[RF_POSITION_BANDS])
{
    const json_t *list = rf_settings_value(settings, "by-position");
    int64_t count = 0;
    for (; count < RF_POSITION_BANDS && (size_t)count < json_array_size(list); count++) {
        ends[count] = json_integer_value(json_array_get(list, (size_t)count));
    }
    return count;
}

static int run(const rf_settings *settings)
{
    int64_t ends[RF_POSITION_BANDS];
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
        .attention = rf_settings_string(settings, "attention"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .seed = (uint64_t)rf_settings_integer(settings, "seed"),
        .sequences = rf_settings_integer(settings, "sequences"),
        .distance = rf_settings_integer(settings, "distance"),
        .pairs = rf_settings_integer(settings, "pairs"),
        .shortest = rf_settings_integer(settings, "shortest"),
        .position_ends = ends,
        .position_count = read_bands(settings, ends),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .stream = rf_settings_string(settings, "stream"),
        .lm_head_bias = rf_settings_string(settings, "lm-head-bias"),
        .pack = rf_settings_flag(settings, "pack"),
        .document_separator = rf_settings_string(settings, "document-separator"),
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
    .purpose = "Evaluate a model: loss, accuracy and other figures of its task",
    .description =
        "Language models: loss, perplexity, bits and accuracy over windows that do not overlap. A "
        "partial last window is dropped, and the first token of each is not scored (with a masked "
        "model, only masked tokens are). Classifiers: accuracy, F1 and Matthews' coefficient, or "
        "correlations for a regression. Question answering: exact match and F1 as in SQuAD v1.1.",
    .examples = {"eval --model runs/book --data book.txt --last-bytes 200KB --json",
                 "eval --model runs/mood --data reviews.jsonl --batch 8"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .run = run,
};
