/* reformer probe: what the attention of a model does on a text. */
#include "common_options.h"
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/probe.h"

#include <stdio.h>
#include <string.h>

static const rf_option options[] = {
    {RF_COMMON_DATA, .argument = "TEXT", .required = true,
     .help = "file, folder or pattern, whose first windows are used; or copy, reverse, addition, "
             "recall"},
    {RF_COMMON_LAST_BYTES},
    {RF_COMMON_DISTANCE,
     .help = "copy, recall: as in train; 0: half the length, and as far as fits"},
    {RF_COMMON_PAIRS},
    {RF_COMMON_LENGTH, .preset = "0", .group = "more options",
     .help = "tokens per window; 0: the training length of the model"},
    {.name = "windows",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "4",
     .low = 1,
     .high = 1 << 20,
     .key = "windows",
     .group = "more options",
     .help = "largest number of windows"},
    {.name = "queries",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "64",
     .low = 1,
     .high = 1024,
     .key = "queries",
     .group = "more options",
     .help = "tokens per window to compare with exact attention"},
    {.name = "recall",
     .kind = RF_OPTION_NUMBER,
     .argument = "SHARE",
     .preset = "0.9",
     .key = "recall",
     .group = "more options",
     .help = "share of exact attention that the rounds must capture"},
    {.name = "most-rounds",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "16",
     .low = 1,
     .high = 64,
     .key = "most_rounds",
     .group = "more options",
     .help = "largest number of hash rounds to try"},
    {.name = "no-loss",
     .kind = RF_OPTION_FLAG,
     .key = "no_loss",
     .group = "more options",
     .help = "skip the losses without attention layers, which take one pass per layer"},
    {RF_COMMON_SEED, .preset = "0", .group = "more options",
     .help = "seed for the sampled tokens and the rotations"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "DIR",
     .key = "output",
     .group = "main options",
     .help = "folder for pictures and probe.json"},
};

/* ---- tables ------------------------------------------------------------------------------ */

static void add_text(json_t *row, const char *text)
{
    json_array_append_new(row, json_string(text));
}

static void add_integer(json_t *row, const json_t *value)
{
    char text[32] = "-";
    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    }
    add_text(row, text);
}

static void add_number(json_t *row, const json_t *value, int decimals)
{
    char text[64] = "-";
    if (json_is_number(value)) {
        (void)snprintf(text, sizeof text, "%.*f", decimals, json_number_value(value));
    }
    add_text(row, text);
}

/* Beside the most that there could be. */
static void add_entropy(json_t *row, const json_t *load)
{
    char text[64] = "-";
    if (json_is_object(load)) {
        (void)snprintf(text, sizeof text, "%.2f/%.2g",
                       json_number_value(json_object_get(load, "entropy")),
                       json_number_value(json_object_get(load, "entropy_most")));
    }
    add_text(row, text);
}

/* The columns that heads, layers and kinds have alike. */
static void add_figures(json_t *row, const json_t *figures)
{
    const json_t *load = json_object_get(figures, "load");
    add_number(row, json_object_get(figures, "captured"), 3);
    add_number(row, json_object_get(figures, "output_error"), 3);
    add_number(row, json_object_get(figures, "keys"), 0);
    add_number(row, json_object_get(figures, "overlap"), 3);
    add_number(row, json_object_get(figures, "nearest_32"), 3);
    add_number(row, json_object_get(figures, "nearest_64"), 3);
    add_integer(row, json_object_get(figures, "rounds_needed"));
    add_integer(row, json_object_get(load, "largest"));
    add_number(row, json_object_get(load, "even"), 0);
    add_number(row, json_object_get(load, "empty"), 1);
    add_entropy(row, load);
}

static json_t *new_row(json_t *rows, const char *what)
{
    json_t *row = json_array();
    json_array_append_new(rows, row);
    add_text(row, what);
    return row;
}

static void print_heads(const json_t *report)
{
    char rounds[32];
    (void)snprintf(rounds, sizeof rounds, "rounds for %g",
                   json_number_value(json_object_get(report, "recall")));
    const char *const head[] = {"<head",        "captured", "error",   "keys",
                                "overlap",      "near 32",  "near 64", rounds,
                                "largest load", "even",     "empty",   "entropy"};
    const json_t *layers = json_object_get(report, "layers");
    const json_t *kinds = json_object_get(report, "kinds");
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const json_t *heads = json_object_get(layer, "heads");
        for (size_t h = 0; h < json_array_size(heads); h++) {
            char name[96];
            (void)snprintf(name, sizeof name, "layer %zu %s, %zu", i,
                           json_string_value(json_object_get(layer, "kind")), h);
            add_figures(new_row(rows, name), json_array_get(heads, h));
        }
    }
    for (size_t k = 0; k < json_array_size(kinds); k++) {
        char name[96];
        const json_t *kind = json_array_get(kinds, k);
        (void)snprintf(name, sizeof name, "all %s",
                       json_string_value(json_object_get(kind, "kind")));
        add_figures(new_row(rows, name), kind);
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

static void print_losses(const json_t *loss)
{
    static const char *const head[] = {"<without the attention of", "loss", "change"};
    const json_t *without = json_object_get(loss, "without");
    json_t *rows = json_array();
    json_t *row = new_row(rows, "nothing");
    add_number(row, json_object_get(loss, "normal"), 4);
    add_text(row, "");
    for (size_t i = 0; i < json_array_size(without); i++) {
        const json_t *item = json_array_get(without, i);
        const char *what = json_string_value(json_object_get(item, "what"));
        const json_t *first = json_array_get(json_object_get(item, "layers"), 0);
        char name[96];
        if (strcmp(what, "layer") == 0) {
            (void)snprintf(name, sizeof name, "layer %lld", (long long)json_integer_value(first));
        } else {
            (void)snprintf(name, sizeof name, "all%s%s layers", strcmp(what, "all") == 0 ? "" : " ",
                           strcmp(what, "all") == 0 ? "" : what);
        }
        row = new_row(rows, name);
        add_number(row, json_object_get(item, "loss"), 4);
        add_number(row, json_object_get(item, "change"), 4);
    }
    printf("\n");
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

static void print_report(const json_t *report)
{
    print_heads(report);
    if (json_is_object(json_object_get(report, "loss"))) {
        print_losses(json_object_get(report, "loss"));
    }
}

/* ---- the command ------------------------------------------------------------------------- */

static rf_status check(const rf_settings *settings, rf_error *error)
{
    const double recall = rf_settings_number(settings, "recall");
    if (!(recall > 0.0 && recall <= 1.0)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--recall is %g, expected a share of attention, above 0 and at most 1",
                           recall);
    }
    return RF_OK;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    const rf_probe_options how = {
        .model = rf_settings_string(settings, "model"),
        .data = rf_settings_string(settings, "data"),
        .last_bytes = rf_settings_integer(settings, "last-bytes"),
        .distance = rf_settings_integer(settings, "distance"),
        .pairs = rf_settings_integer(settings, "pairs"),
        .length = rf_settings_integer(settings, "length"),
        .windows = rf_settings_integer(settings, "windows"),
        .queries = rf_settings_integer(settings, "queries"),
        .most_rounds = rf_settings_integer(settings, "most-rounds"),
        .recall = rf_settings_number(settings, "recall"),
        .no_loss = rf_settings_flag(settings, "no-loss"),
        .seed = (uint64_t)rf_settings_integer(settings, "seed"),
        .output = rf_settings_string(settings, "output"),
        .attention = rf_settings_string(settings, "attention"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .stream = rf_settings_string(settings, "stream"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    rf_status status = rf_probe(&how, &text, &error);
    return rf_cli_show_report(settings, status, &error, text, print_report);
}

const rf_command rf_command_probe = {
    .name = "probe",
    .purpose = "Compare a model's attention with exact attention",
    .description =
        "For sampled tokens of a text, computes exact attention over the model's own queries, keys "
        "and values. Each row is a head: the share of exact attention on keys that the model "
        "attends to (captured), the distance of the head's output from the exact one (error), the "
        "number of keys, the overlap of two hash rounds, the share of the 32 and 64 heaviest keys, "
        "the rounds needed to capture --recall; then the buckets: largest load, even load, empty "
        "buckets, entropy in bits. Below: the loss without the attention of each layer, of each "
        "kind, and of all layers.",
    .examples = {"probe --model runs/book --data book.txt --last-bytes 200K",
                 "probe --model runs/book --data book.txt --recall 0.95 --most-rounds 32 --output "
                 "probe"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL,
    .check = check,
    .run = run,
};
