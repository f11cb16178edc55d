/* reformer illustrate: pictures of what a model does, drawn from what it computes. */
#include "common_options.h"
#include "message.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <string.h>

enum { MOST_TEXT = 1 << 22 };

static const rf_option options[] = {
    {RF_COMMON_MODEL, .group = "main options",
     .help = "model directory; default: a small model with random weights"},
    {RF_COMMON_TEXT, .group = "main options", .help = "text to draw; default: a built-in verse"},
    {RF_COMMON_DATA, .argument = "FILE", .help = "file with the text; -: standard input"},
    {.name = "scenes",
     .kind = RF_OPTION_STRING,
     .argument = "A[,B]",
     .key = "scenes",
     .group = "main options",
     .help = "which pictures, in this order; default: all"},
    {.name = "layer",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "-1",
     .low = -1,
     .high = 4096,
     .key = "layer",
     .group = "main options",
     .help = "layer to draw, counted from 0; -1: the first of the picture's kind"},
    {.name = "head",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "-1",
     .low = -1,
     .high = 1 << 20,
     .key = "head",
     .group = "main options",
     .help = "head to draw, counted from 0; -1: the first"},
    {.name = "round",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "-1",
     .low = -1,
     .high = 1 << 10,
     .key = "round",
     .group = "main options",
     .help = "hash round to draw, counted from 0; -1: the first"},
    {.name = "position",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "-1",
     .low = -1,
     .high = 2147483647,
     .key = "position",
     .group = "main options",
     .help = "token to draw, counted from 0; -1: the picture chooses"},
    {RF_COMMON_NUM_HASHES, .high = 1 << 10, .group = "more options"},
    {RF_COMMON_EXTEND_POSITIONS, .group = "more options"},
    {RF_COMMON_SEED, .preset = "0", .group = "more options",
     .help = "seed for random points, rotations and the small model's weights"},
    {.name = "timing",
     .kind = RF_OPTION_FLAG,
     .preset = "yes",
     .key = "timing",
     .group = "more options",
     .help = "also measure times; with --no-timing the same options give the same bytes"},
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "PATH",
     .key = "output",
     .required = true,
     .group = "output",
     .help = "FILE.html for one page, anything else for a folder of NAME.svg files"},
};

static rf_status check(const rf_settings *settings, rf_error *error)
{
    bool text_wins = false;
    return rf_settings_either(settings, "text", "data", &text_wins, error);
}

static rf_status read_text(const rf_settings *settings, rf_bytes *text, rf_error *error)
{
    bool text_wins = false;
    rf_status status = rf_settings_either(settings, "text", "data", &text_wins, error);
    const char *given = text_wins ? rf_settings_string(settings, "text") : NULL;
    const char *path = rf_settings_string(settings, "data");
    if (status == RF_OK && given != NULL) {
        status = rf_bytes_append(text, given, strlen(given), error);
    } else if (status == RF_OK && path != NULL) {
        status = rf_bytes_read_file(text, path, MOST_TEXT, error);
    }
    return status;
}

/* In quotes for a shell. */
static rf_status quote(const char *text, rf_bytes *command, rf_error *error)
{
    rf_status status = rf_bytes_append(command, "'", 1, error);
    for (const char *c = text; *c != '\0' && status == RF_OK; c++) {
        status = *c == '\'' ? rf_bytes_append(command, "'\\''", 4, error)
                            : rf_bytes_append(command, c, 1, error);
    }
    return status == RF_OK ? rf_bytes_append(command, "'", 1, error) : status;
}

/* An option as it would be typed, with a blank before it. */
static rf_status write_option(const rf_option *option, const json_t *value, rf_bytes *command,
                              rf_error *error)
{
    char text[RF_PATH_BYTES];
    char word[RF_OPTION_NAME_BYTES + 8];
    bool is_flag = option->kind == RF_OPTION_FLAG;
    (void)snprintf(word, sizeof word, " --%s%s%s", is_flag && !json_is_true(value) ? "no-" : "",
                   option->name, is_flag ? "" : " ");
    rf_status status = rf_bytes_append(command, word, strlen(word), error);
    if (status != RF_OK || is_flag) {
        return status;
    }
    rf_option_to_text(option, value, text, sizeof text);
    return strpbrk(text, " '\"\n$\\`*?#&;|<>()") != NULL
               ? quote(text, command, error)
               : rf_bytes_append(command, text, strlen(text), error);
}

/* What would make the same pictures, for their page. */
static rf_status write_command(const rf_settings *settings, rf_bytes *command, rf_error *error)
{
    static const char start[] = "reformer illustrate";
    rf_status status = rf_bytes_append(command, start, sizeof start - 1, error);
    for (size_t i = 0; i < sizeof options / sizeof options[0] && status == RF_OK; i++) {
        const json_t *value = rf_settings_value(settings, options[i].name);
        if (value != NULL && rf_settings_origin(settings, options[i].name) != RF_ORIGIN_DEFAULT) {
            status = write_option(&options[i], value, command, error);
        }
    }
    return status;
}

static void print_files(const json_t *report)
{
    const json_t *files = json_object_get(report, "files");
    size_t i = 0;
    const json_t *file = NULL;
    json_array_foreach(files, i, file)
    {
        printf("%s\n", json_string_value(file));
    }
}

static rf_status illustrate(const rf_settings *settings, const rf_bytes *text,
                            const rf_bytes *command, char **report, rf_error *error)
{
    const rf_illustrate_options how = {
        .model = rf_settings_string(settings, "model"),
        .text = text->data,
        .text_size = text->size,
        .scenes = rf_settings_string(settings, "scenes"),
        .layer = rf_settings_integer(settings, "layer"),
        .head = rf_settings_integer(settings, "head"),
        .round = rf_settings_integer(settings, "round"),
        .position = rf_settings_integer(settings, "position"),
        .seed = (uint64_t)rf_settings_integer(settings, "seed"),
        .timing = rf_settings_flag(settings, "timing"),
        .output = rf_settings_string(settings, "output"),
        .command = command->data,
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    return rf_illustrate(&how, report, error);
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_bytes text = {0};
    rf_bytes command = {0};
    char *report = NULL;
    rf_status status = read_text(settings, &text, &error);
    if (status == RF_OK) {
        status = write_command(settings, &command, &error);
    }
    if (status == RF_OK) {
        status = illustrate(settings, &text, &command, &report, &error);
    }
    int code = rf_cli_show_report(settings, status, &error, report, print_files);
    rf_bytes_clear(&command);
    rf_bytes_clear(&text);
    return code;
}

const rf_command rf_command_illustrate = {
    .name = "illustrate",
    .purpose = "Draw how a model works, with its own numbers",
    .description =
        "Scenes: hyperplane and angular, how vectors get their buckets; lsh, local and attention, "
        "which tokens see which, and how much; reversible, a layer forward and back; chunking, the "
        "memory of a feed-forward layer in chunks; axial, the position tables. Every number in a "
        "picture was computed with the model, or with a small one with random weights. A page is "
        "one file without scripts or network access, and follows the browser's light or dark "
        "setting. Runs on the CPU.",
    .examples = {"illustrate --model runs/book --output book.html",
                 "illustrate --scenes hyperplane,angular --seed 3 --output pictures"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = check,
    .run = run,
};
