/* reformer nearest: arithmetic with words. */
#include "common_options.h"
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/tools.h"

static const rf_option options[] = {
    {RF_COMMON_DATA, .argument = "PATH",
     .help = "file, folder or pattern: compare the words of this text; default: those of the "
             "vocabulary"},
    {.name = "vectors",
     .kind = RF_OPTION_CHOICE,
     .argument = "KIND",
     .choices = "table|context",
     .key = "vectors",
     .group = "more options",
     .help = "mean over a word's rows in the input table, or over its occurrences (default with "
             "--data)"},
    {.name = "pool",
     .kind = RF_OPTION_CHOICE,
     .argument = "HOW",
     .choices = "mean|last",
     .preset = "mean",
     .key = "pool",
     .group = "more options",
     .help = "context: use the mean of a word's tokens or the last"},
    {.name = "layer",
     .kind = RF_OPTION_INTEGER,
     .argument = "K",
     .preset = "0",
     .low = -1,
     .high = 4096,
     .key = "layer",
     .group = "more options",
     .help = "context: 0: the output; K: the stream after layer K; -1: the embeddings"},
    {.name = "center",
     .kind = RF_OPTION_FLAG,
     .key = "center",
     .group = "more options",
     .help = "subtract the mean of all words"},
    {.name = "top",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "10",
     .low = 1,
     .high = 1 << 20,
     .key = "top",
     .group = "more options",
     .help = "number of words to show"},
    {.name = "min-count",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "5",
     .low = 1,
     .key = "min_count",
     .group = "more options",
     .help = "compare words that occur at least N times"},
    {.name = "most-words",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "20000",
     .low = 1,
     .key = "most_words",
     .group = "more options",
     .help = "compare at most N words, the most frequent"},
    {.name = "length",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .key = "length",
     .group = "more options",
     .help = "tokens per window of the text; 0: as in training"},
    {.name = "limit",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "limit",
     .group = "more options",
     .help = "read only the first bytes of the text; 0: all"},
};

static json_t *cosine_text(const json_t *item)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%.4f", json_number_value(json_object_get(item, "cosine")));
    return json_string(text);
}

static json_t *count_text(const json_t *item)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%lld",
                   (long long)json_integer_value(json_object_get(item, "count")));
    return json_string(text);
}

static void print_report(const json_t *report)
{
    static const char *const head[] = {"<word", "cosine", "count"};
    const json_t *list = json_object_get(report, "nearest");
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_t *row = json_array();
        json_array_append(row, json_object_get(item, "word"));
        json_array_append_new(row, cosine_text(item));
        json_array_append_new(row, count_text(item));
        json_array_append_new(rows, row);
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    const char *vectors = rf_settings_string(settings, "vectors");
    if (vectors != NULL && vectors[0] == 'c' && !rf_settings_has(settings, "data")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--vectors context needs --data PATH, the text that the words stand in");
    }
    return RF_OK;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    rf_nearest_options how = {
        .model = rf_settings_string(settings, "model"),
        .expression = settings->arguments[0],
        .data = rf_settings_string(settings, "data"),
        .vectors = rf_settings_string(settings, "vectors"),
        .pooling = rf_settings_string(settings, "pool"),
        .layer = rf_settings_integer(settings, "layer"),
        .min_count = rf_settings_integer(settings, "min-count"),
        .most_words = rf_settings_integer(settings, "most-words"),
        .top = rf_settings_integer(settings, "top"),
        .length = rf_settings_integer(settings, "length"),
        .limit = (uint64_t)rf_settings_integer(settings, "limit"),
        .center = rf_settings_flag(settings, "center"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .stream = rf_settings_string(settings, "stream"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .attention = rf_settings_string(settings, "attention"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    rf_status status = rf_nearest(&how, &text, &error);
    return rf_cli_show_report(settings, status, &error, text, print_report);
}

const rf_command rf_command_nearest = {
    .name = "nearest",
    .purpose = "Find the nearest words to a word or to a sum of words",
    .description =
        "The expression is words joined by + and -. Their vectors, each scaled to length 1, are "
        "added, and the words with the largest cosine are listed, without those of the expression. "
        "A small byte model knows how words are spelled before it knows what they mean.",
    .examples = {"nearest --model runs/book --data book.txt 'king - man + woman'",
                 "nearest --model runs/book --data book.txt --layer 4 --center sea"},
    .positional = "EXPRESSION",
    .least_arguments = 1,
    .most_arguments = 1,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL,
    .check = check,
    .run = run,
};
