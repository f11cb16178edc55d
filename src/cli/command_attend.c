/* reformer attend: what tokens look at. */
#include "common_options.h"
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <string.h>

enum { LARGEST_TEXT = 1 << 30, MOST_POSITIONS = 4096 };

static const rf_option options[] = {
    {RF_COMMON_TEXT, .group = "main options", .help = "the text"},
    {RF_COMMON_DATA, .argument = "FILE",
     .help = "file with the text; default: --text, else standard input"},
    {.name = "layer",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "-1",
     .low = -1,
     .high = 4096,
     .key = "layer",
     .group = "main options",
     .help = "layer, counted from 0; -1: the first LSH layer"},
    {.name = "head",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 4096,
     .key = "head",
     .group = "main options",
     .help = "head, counted from 0"},
    {.name = "position",
     .kind = RF_OPTION_LIST,
     .argument = "N,...",
     .low = -2147483647.0,
     .high = 2147483647.0,
     .key = "position",
     .group = "main options",
     .help =
         "query tokens, counted from 0, or from the end as -1, -2, ...; default: the last token"},
    {.name = "token",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .key = "token",
     .group = "main options",
     .help = "query tokens: all that cover part of this text, wherever it occurs"},
    {.name = "top",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "10",
     .high = 2147483647.0,
     .key = "top",
     .group = "more options",
     .help = "number of attended tokens to list; 0: all"},
    {.name = "tokens",
     .kind = RF_OPTION_FLAG,
     .key = "tokens",
     .group = "more options",
     .help = "with --json: include buckets, sorted orders and chunk borders even for long texts"},
    {.name = "csv",
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .group = "main options",
     .help = "write everything that these tokens attend to as CSV"},
    {.name = "picture",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .group = "main options",
     .help = "plot the weights over positions; ends in .svg or .png"},
};

static long long whole(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static json_t *weight_text(const json_t *item)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%.6f", json_number_value(json_object_get(item, "weight")));
    return json_string(text);
}

static void print_attended(const json_t *list)
{
    static const char *const head[] = {"position", "<token", "weight"};
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_t *row = json_array();
        json_array_append_new(row, json_sprintf("%lld", whole(item, "position")));
        json_array_append_new(row, json_sprintf("\"%s\"", word(item, "text")));
        json_array_append_new(row, weight_text(item));
        json_array_append_new(rows, row);
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

static void print_query(const json_t *query)
{
    const json_t *rounds = json_object_get(query, "rounds");
    size_t count = json_array_size(rounds);
    printf("\ntoken %lld \"%s\"", whole(query, "position"), word(query, "text"));
    for (size_t i = 0; i < count; i++) {
        const json_t *round = json_array_get(rounds, i);
        if (json_object_get(round, "bucket") != NULL) {
            printf("%s%lld",
                   i > 0       ? ", "
                   : count > 1 ? ", buckets "
                               : ", bucket ",
                   whole(round, "bucket"));
        }
    }
    printf(": sees %lld token%s\n", whole(query, "count"), whole(query, "count") == 1 ? "" : "s");
    print_attended(json_object_get(query, "attended"));
}

static void print_report(const json_t *report)
{
    const json_t *queries = json_object_get(report, "queries");
    printf("layer %lld (%s), head %lld; %lld tokens in chunks of %lld", whole(report, "layer"),
           word(report, "kind"), whole(report, "head"), whole(report, "length"),
           whole(report, "chunk"));
    if (whole(report, "buckets") > 0) {
        printf(", %lld round%s, %lld buckets", whole(report, "rounds"),
               whole(report, "rounds") == 1 ? "" : "s", whole(report, "buckets"));
    }
    printf("\n");
    for (size_t i = 0; i < json_array_size(queries); i++) {
        print_query(json_array_get(queries, i));
    }
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    const char *picture = rf_settings_string(settings, "picture");
    size_t size = picture != NULL ? strlen(picture) : 0;
    if (rf_settings_has(settings, "text") && rf_settings_has(settings, "data")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--text and --data exclude each other; give one of them");
    }
    if (picture != NULL && (size < 5 || (strcmp(picture + size - 4, ".svg") != 0 &&
                                         strcmp(picture + size - 4, ".png") != 0))) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--picture is \"%.100s\", expected a name that ends in .svg or .png",
                           picture);
    }
    if (json_array_size(rf_settings_value(settings, "position")) > MOST_POSITIONS) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--position has %zu values, expected at most %d",
                           json_array_size(rf_settings_value(settings, "position")),
                           MOST_POSITIONS);
    }
    return RF_OK;
}

static rf_status read_text(const rf_settings *settings, rf_bytes *bytes, rf_error *error)
{
    const char *text = rf_settings_string(settings, "text");
    const char *data = rf_settings_string(settings, "data");
    return text != NULL ? rf_bytes_append(bytes, text, strlen(text), error)
                        : rf_bytes_read_file(bytes, data != NULL ? data : "-", LARGEST_TEXT, error);
}

static rf_status attend(const rf_settings *settings, char **report, rf_error *error)
{
    rf_bytes bytes = {0};
    int64_t positions[MOST_POSITIONS];
    const json_t *list = rf_settings_value(settings, "position");
    size_t count = json_array_size(list);
    rf_status status = read_text(settings, &bytes, error);
    for (size_t i = 0; i < count; i++) {
        positions[i] = json_integer_value(json_array_get(list, i));
    }
    rf_attend_options how = {
        .model = rf_settings_string(settings, "model"),
        .text = bytes.data != NULL ? bytes.data : "",
        .text_size = bytes.size,
        .layer = rf_settings_integer(settings, "layer"),
        .head = rf_settings_integer(settings, "head"),
        .positions = positions,
        .position_count = count,
        .token = rf_settings_string(settings, "token"),
        .top = rf_settings_integer(settings, "top"),
        .tokens = rf_settings_flag(settings, "tokens"),
        .csv = rf_settings_string(settings, "csv"),
        .picture = rf_settings_string(settings, "picture"),
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
    if (status == RF_OK) {
        status = rf_attend(&how, report, error);
    }
    rf_bytes_clear(&bytes);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    char *text = NULL;
    rf_status status = attend(settings, &text, &error);
    return rf_cli_show_report(settings, status, &error, text, print_report);
}

const rf_command rf_command_attend = {
    .name = "attend",
    .purpose = "Show what tokens attend to: the attention weights of a head",
    .description =
        "Prints the weights of one head of one layer over the positions of the text. The rounds of "
        "an LSH layer are merged as in the model; --json and --csv also give them by round. "
        "Weights sum to 1, except for rounding where a token sees only itself.",
    .examples =
        {"attend --model runs/book --text 'the whale, the sea' --position -1",
         "attend --model runs/book --data book.txt --layer 1 --token whale --picture a.svg"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL,
    .check = check,
    .run = run,
};
