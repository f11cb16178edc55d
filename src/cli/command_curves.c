/* reformer curves: figures of training runs, drawn over each other. */
#include "message.h"
#include "table.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <stdio.h>

static const rf_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = RF_OPTION_STRING,
     .argument = "FILE",
     .group = "main options",
     .help = "picture to write; ends in .svg or .png"},
    {.name = "name",
     .kind = RF_OPTION_STRINGS,
     .argument = "TEXT",
     .group = "main options",
     .help = "label of a run, given once for each run, in their order; default: its folder"},
    {.name = "figure",
     .kind = RF_OPTION_STRING,
     .argument = "NAME",
     .preset = "loss",
     .key = "figure",
     .group = "main options",
     .help = "key of the records: loss, bits_per_token, gradient_norm, rate, or a figure of "
             "evaluations"},
    {.name = "part",
     .kind = RF_OPTION_CHOICE,
     .argument = "PART",
     .preset = "both",
     .choices = "both|training|evaluation",
     .key = "part",
     .group = "main options",
     .help = "plot training, evaluations, or both"},
    {.name = "x",
     .kind = RF_OPTION_CHOICE,
     .argument = "AXIS",
     .preset = "step",
     .choices = "step|seconds|tokens",
     .key = "x",
     .group = "more options",
     .help = "x axis"},
    {.name = "smooth",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "0",
     .high = 1e9,
     .key = "smooth",
     .group = "more options",
     .help = "training: plot the mean of the last N values; 0: no smoothing"},
    {.name = "log-x",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "log_x",
     .group = "more options",
     .help = "logarithmic x axis"},
    {.name = "log-y",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "log_y",
     .group = "more options",
     .help = "logarithmic y axis"},
    {.name = "title",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .group = "more options",
     .help = "title of the picture; default: the figure's name"},
};

enum { PARTS = 2 };
static const char *const parts[PARTS] = {"training", "evaluation"};

static json_t *number_cell(const json_t *run, const char *part, const char *key)
{
    const json_t *value = json_object_get(json_object_get(run, part), key);
    return json_is_number(value) ? json_sprintf("%.4f", json_number_value(value))
                                 : json_string("-");
}

static json_t *row_of(const json_t *run)
{
    json_t *row = json_array();
    json_array_append_new(row, json_string(json_string_value(json_object_get(run, "name"))));
    json_array_append_new(row,
                          json_sprintf("%.0f", json_number_value(json_object_get(run, "steps"))));
    json_array_append_new(row,
                          json_sprintf("%.1f", json_number_value(json_object_get(run, "seconds"))));
    json_array_append_new(row, number_cell(run, parts[0], "last"));
    json_array_append_new(row, number_cell(run, parts[1], "last"));
    json_array_append_new(row, number_cell(run, parts[1], "lowest"));
    json_array_append_new(row, number_cell(run, parts[1], "highest"));
    return row;
}

static void print_report(const json_t *report)
{
    static const char *const head[] = {
        "<run", "steps", "seconds", "training, last", "evaluation, last", "lowest", "highest"};
    const json_t *runs = json_object_get(report, "runs");
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(runs); i++) {
        json_array_append_new(rows, row_of(json_array_get(runs, i)));
    }
    printf("%s\n", json_string_value(json_object_get(report, "figure")));
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    size_t names = json_array_size(rf_settings_value(settings, "name"));
    if (names > 0 && names != settings->argument_count) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "%zu runs and %zu times --name; name each of them, or none",
                           settings->argument_count, names);
    }
    return RF_OK;
}

static int run(const rf_settings *settings)
{
    const char *names[RF_MAX_ARGUMENTS] = {NULL};
    rf_error error = {0};
    char *text = NULL;
    const json_t *given = rf_settings_value(settings, "name");
    for (size_t i = 0; i < json_array_size(given); i++) {
        names[i] = json_string_value(json_array_get(given, i));
    }
    const rf_curves_options curves = {
        .folders = settings->arguments,
        .names = names,
        .count = settings->argument_count,
        .x = rf_settings_string(settings, "x"),
        .figure = rf_settings_string(settings, "figure"),
        .part = rf_settings_string(settings, "part"),
        .smooth = rf_settings_integer(settings, "smooth"),
        .x_log = rf_settings_flag(settings, "log-x"),
        .y_log = rf_settings_flag(settings, "log-y"),
        .title = rf_settings_string(settings, "title"),
        .output = rf_settings_string(settings, "output"),
    };
    rf_status status = rf_curves(&curves, &text, &error);
    return rf_cli_show_report(settings, status, &error, text, print_report);
}

const rf_command rf_command_curves = {
    .name = "curves",
    .purpose = "Plot the losses of training runs together",
    .description = "Reads the metrics.jsonl of each run's folder; runs may still be going on. "
                   "Prints where each run stands.",
    .examples = {"curves runs/a runs/b --name 'two rounds' --name full --output loss.svg",
                 "curves runs/* --x seconds --part evaluation --figure bits_per_byte -o bits.png"},
    .positional = "RUN...",
    .least_arguments = 1,
    .most_arguments = RF_MAX_ARGUMENTS,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_JSON,
    .check = check,
    .run = run,
};
