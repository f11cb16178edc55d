/* reformer plan: the memory that a step takes, by purpose, before anything is taken. */
#include "common_options.h"
#include "message.h"
#include "model_source.h"
#include "table.h"
#include "units.h"

#include "reformer/model.h"
#include "reformer/tools.h"

#include <string.h>

static const rf_option options[] = {
    {RF_COMMON_MODEL, .group = "main options",
     .help = "model directory; default: the \"model\" section of --config"},
    {.name = "length",
     .letter = 'l',
     .kind = RF_OPTION_LIST,
     .argument = "N[,M]",
     .low = 2,
     .high = 2147483647,
     .key = "length",
     .group = "main options",
     .help = "tokens per sequence; several give one row each; not needed if --fit searches for it"},
    {RF_COMMON_BATCH, .preset = "1", .group = "main options", .help = "sequences computed at once"},
    {RF_COMMON_EXTEND_POSITIONS, .group = "main options"},
    {.name = "inference",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "inference",
     .group = "main options",
     .help = "plan an evaluation instead of a training step"},
    {RF_COMMON_GRADIENT_STREAM, .group = "main options"},
    {RF_COMMON_MEMORY_LIMIT, .group = "limits",
     .help = "cut the work so that memory stays within this; 0: no limit"},
    {.name = "fit",
     .kind = RF_OPTION_SIZE,
     .argument = "SIZE",
     .preset = "0",
     .key = "fit",
     .group = "limits",
     .help = "find the largest length (or batch, see --maximize) that fits into this memory"},
    {.name = "maximize",
     .kind = RF_OPTION_CHOICE,
     .argument = "WHAT",
     .choices = "length|batch",
     .preset = "length",
     .key = "maximize",
     .group = "limits",
     .help = "what --fit searches for; the other is fixed"},
    {RF_COMMON_OPTIMIZER, .group = "main options", .help = "optimizer whose state is counted"},
    {RF_COMMON_ADAFACTOR_BETA1, .group = "main options"},
    {.name = "time",
     .kind = RF_OPTION_FLAG,
     .preset = "no",
     .key = "time",
     .group = "main options",
     .help = "also estimate the time of a step from short ones on the device"},
    {RF_COMMON_STREAM, .group = "main options"},
};

/* The keys of a report in the order of the columns. */
static const char *const keys[] = {
    "parameters", "gradients",        "optimizer",
    "streams",    "stream_gradients", "stored_activations",
    "buckets",    "workspace",        "batch_data",
    "other",      "peak_bytes",       "full_attention_stored_bytes",
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static json_t *gibibytes(const json_t *report, const char *key)
{
    const json_t *value = json_object_get(report, key);
    double amount = json_number_value(value) / 1073741824.0;
    return json_is_number(value) ? json_sprintf(amount < 10.0 ? "%.3f" : "%.1f", amount)
                                 : json_string("-");
}

static json_t *report_row(const json_t *report)
{
    json_t *row = json_array();
    json_array_append_new(row, json_sprintf("%lld", (long long)json_integer_value(
                                                        json_object_get(report, "length"))));
    for (size_t i = 0; i < KEYS; i++) {
        json_array_append_new(row, gibibytes(report, keys[i]));
    }
    return row;
}

static long long number_of(const json_t *report, const char *key)
{
    return (long long)json_integer_value(json_object_get(report, key));
}

/* How the work is cut, and what a search found. */
static void print_findings(const rf_settings *settings, const json_t *reports)
{
    const json_t *report = json_array_get(reports, json_array_size(reports) - 1);
    const json_t *slices = json_object_get(report, "slices");
    const char *limited_by = json_string_value(json_object_get(report, "limited_by"));
    if (limited_by != NULL) {
        char size[32];
        bool memory = strcmp(limited_by, "memory") == 0;
        rf_cli_write_size((double)number_of(report, "fit_bytes"), size, sizeof size);
        printf("the largest that fits %s: batch %lld of length %lld%s\n", size,
               number_of(report, "batch"), number_of(report, "length"),
               memory                                 ? ""
               : strcmp(limited_by, "positions") == 0 ? ", which is all the positions of the model"
                                                      : ", the largest there may be");
    }
    if (limited_by != NULL || rf_settings_integer(settings, "memory-limit") > 0) {
        printf("slices: %lld rows, %lld heads, %lld rows of the head\n", number_of(slices, "rows"),
               number_of(slices, "heads"), number_of(slices, "head_rows"));
    }
}

static double real_of(const json_t *report, const char *key)
{
    return json_number_value(json_object_get(report, key));
}

/* A line for each length: the work, the time where it was estimated, caches, and what takes less.
 */
static void print_work(const json_t *report)
{
    char size[32];
    size_t i = 0;
    const json_t *change = NULL;
    rf_cli_write_size(real_of(report, "generation_cache"), size, sizeof size);
    printf("length %lld: %.3g FLOP, %.3g bytes moved", number_of(report, "length"),
           real_of(report, "flops"), real_of(report, "bytes_moved"));
    if (json_object_get(report, "estimated_seconds") != NULL) {
        printf(", about %.3g s", real_of(report, "estimated_seconds"));
    }
    printf("; caches of a generated sequence %s\n", size);
    json_array_foreach(json_object_get(report, "alternatives"), i, change)
    {
        rf_cli_write_size(real_of(change, "peak_bytes"), size, sizeof size);
        printf("  %s with %s\n", size, json_string_value(json_object_get(change, "change")));
    }
}

static void print_reports(const rf_settings *settings, const json_t *reports)
{
    static const char *const head[] = {"length",
                                       "parameters",
                                       "gradients",
                                       "optimizer",
                                       "streams",
                                       "stream gradients",
                                       "stored",
                                       "buckets",
                                       "workspace",
                                       "batch",
                                       "other",
                                       "in all",
                                       "full attention, stored"};
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(reports); i++) {
        json_array_append_new(rows, report_row(json_array_get(reports, i)));
    }
    const json_t *count = json_object_get(json_array_get(reports, 0), "parameter_count");
    printf("%lld parameters, batch %lld, %s; GiB\n", (long long)json_integer_value(count),
           number_of(json_array_get(reports, 0), "batch"),
           rf_settings_flag(settings, "inference") ? "evaluation" : "one training step");
    rf_cli_print_table(head, KEYS + 1, rows);
    print_findings(settings, reports);
    for (size_t i = 0; i < json_array_size(reports); i++) {
        print_work(json_array_get(reports, i));
    }
    json_decref(rows);
}

/* The report for one length, 0 where it is searched, into the array. */
static rf_status plan_one(const rf_settings *settings, const char *section, int64_t length,
                          json_t *reports, rf_error *error)
{
    char *text = NULL;
    rf_plan_options plan = {
        .model = rf_settings_string(settings, "model"),
        .model_config = section,
        .batch = rf_settings_integer(settings, "batch"),
        .length = length,
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .training = !rf_settings_flag(settings, "inference"),
        .stream = rf_settings_string(settings, "stream"),
        .optimizer = rf_settings_string(settings, "optimizer"),
        .adafactor_beta1 = rf_settings_number(settings, "adafactor-beta1"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .gradient_stream = rf_settings_string(settings, "gradient-stream"),
        .memory_limit = (uint64_t)rf_settings_integer(settings, "memory-limit"),
        .fit = (uint64_t)rf_settings_integer(settings, "fit"),
        .threads = (int)rf_settings_integer(settings, "threads"),
    };
    plan.estimate = rf_settings_flag(settings, "time");
    plan.maximize = plan.fit > 0 ? rf_settings_string(settings, "maximize") : NULL;
    rf_status status = rf_plan(&plan, &text, error);
    if (status == RF_OK && json_array_append_new(reports, json_loads(text, 0, NULL)) != 0) {
        status = rf_cli_fail(error, RF_ERR_MEMORY, "out of memory for the plan");
    }
    rf_text_release(text);
    return status;
}

static bool searches_length(const rf_settings *settings)
{
    return rf_settings_integer(settings, "fit") > 0 &&
           strcmp(rf_settings_string(settings, "maximize"), "length") == 0;
}

static rf_status plan_all(const rf_settings *settings, const char *section, json_t *reports,
                          rf_error *error)
{
    const json_t *lengths = rf_settings_value(settings, "length");
    rf_status status = RF_OK;
    if (searches_length(settings)) {
        return plan_one(settings, section, 0, reports, error);
    }
    for (size_t i = 0; status == RF_OK && i < json_array_size(lengths); i++) {
        int64_t length = json_integer_value(json_array_get(lengths, i));
        status = plan_one(settings, section, length, reports, error);
    }
    return status;
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    bool has_length = rf_settings_has(settings, "length");
    if (!has_length && !searches_length(settings)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "plan needs --length N, or --fit SIZE to search the longest");
    }
    if (has_length && searches_length(settings) &&
        rf_settings_origin(settings, "length") == RF_ORIGIN_COMMAND_LINE) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--fit searches the length, so --length has no place; or give "
                           "--maximize batch");
    }
    if (rf_settings_has(settings, "maximize") && rf_settings_integer(settings, "fit") == 0 &&
        rf_settings_origin(settings, "maximize") != RF_ORIGIN_DEFAULT) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--maximize needs --fit SIZE");
    }
    return rf_cli_check_model_source(settings, error);
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_bytes section = {0};
    json_t *reports = json_array();
    rf_status status = rf_cli_model_section(settings, &section, &error);
    if (status == RF_OK) {
        status = plan_all(settings, section.data, reports, &error);
    }
    int code = rf_cli_report(settings->command, status, &error);
    if (status == RF_OK && rf_settings_flag(settings, "json")) {
        code = rf_cli_print_json(json_incref(reports));
    } else if (status == RF_OK) {
        print_reports(settings, reports);
    }
    json_decref(reports);
    rf_bytes_clear(&section);
    return code;
}

const rf_command rf_command_plan = {
    .name = "plan",
    .purpose = "Show how much memory a model needs at given lengths",
    .description = "The figures come from a dry run of the training code; the device need not be "
                   "in the machine. The last column is what the same layers would need with full "
                   "attention and every activation stored. Below the table: the amount of work, "
                   "and changes that would save memory, cheapest first.",
    .examples = {"plan --config quickstart --length 2048,16384,65536 --time",
                 "plan --config crime-and-punishment --fit 8GiB --optimizer adafactor"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON,
    .check = check,
    .run = run,
};
