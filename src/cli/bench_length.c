/* From the settings of `bench` to the tools about depth and length, and their reports as tables. */
#include "bench_length.h"

#include "message.h"
#include "model_source.h"
#include "table.h"
#include "units.h"

#include "reformer/tools.h"

#include <string.h>

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool rf_cli_bench_reversal_takes(const char *name)
{
    static const char *const names[] = {"length", "batch", "repeats", "deepest", "output"};
    return is_among(name, names, sizeof names / sizeof names[0]);
}

bool rf_cli_bench_scaling_takes(const char *name)
{
    static const char *const names[] = {
        "repeats", "warmup", "forward-only", "memory-limit", "heads",      "head-width", "hidden",
        "chunk",   "causal", "tokens",       "longest",      "time-limit", "output",     "beside"};
    return is_among(name, names, sizeof names / sizeof names[0]);
}

rf_status rf_cli_bench_reversal(const rf_settings *settings, char **report, rf_error *error)
{
    rf_bytes section = {0};
    rf_status status = rf_cli_model_section(settings, &section, error);
    const rf_bench_reversal_options bench = {
        .model_config = section.data,
        .batch = rf_settings_integer(settings, "batch"),
        .length = rf_settings_integer(settings, "length"),
        .deepest = rf_settings_integer(settings, "deepest"),
        .repeats = rf_settings_integer(settings, "repeats"),
        .output = rf_settings_string(settings, "output"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    if (status == RF_OK) {
        status = rf_bench_reversal(&bench, report, error);
    }
    rf_bytes_clear(&section);
    return status;
}

rf_status rf_cli_bench_scaling(const rf_settings *settings, char **report, rf_error *error)
{
    rf_bytes section = {0};
    rf_status status = rf_cli_model_section(settings, &section, error);
    const rf_bench_scaling_options bench = {
        .tokens = rf_settings_integer(settings, "tokens"),
        .longest = rf_settings_integer(settings, "longest"),
        .heads = rf_settings_integer(settings, "heads"),
        .head_width = rf_settings_integer(settings, "head-width"),
        .hidden = rf_settings_integer(settings, "hidden"),
        .chunk = rf_settings_integer(settings, "chunk"),
        .causal = rf_settings_flag(settings, "causal"),
        .forward_only = rf_settings_flag(settings, "forward-only"),
        .repeats = rf_settings_integer(settings, "repeats"),
        .warmup = rf_settings_integer(settings, "warmup"),
        .memory_limit = (uint64_t)rf_settings_integer(settings, "memory-limit"),
        .time_limit_seconds = rf_settings_number(settings, "time-limit"),
        .output = rf_settings_string(settings, "output"),
        .beside = rf_settings_string(settings, "beside"),
        .model_config = section.data,
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    if (status == RF_OK) {
        status = rf_bench_scaling(&bench, report, error);
    }
    rf_bytes_clear(&section);
    return status;
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

void rf_cli_print_bench_reversal(const json_t *report)
{
    static const char *const head[] = {"layers",  "<streams",  "largest", "rms",         "gradient",
                                       "step, s", "stored, s", "ratio",   "standard, s", "ratio"};
    static const char *const names[] = {"fixed32", "float32", "bf16"};
    json_t *rows = json_array();
    size_t i = 0;
    const json_t *depth = NULL;
    json_array_foreach(json_object_get(report, "depths"), i, depth)
    {
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            const char *name = names[j];
            const json_t *found = json_object_get(json_object_get(depth, "streams"), name);
            bool timed = j == 0;
            json_array_append_new(
                rows,
                json_pack("[o, s, o, o, o, o, o, o, o, o]",
                          json_sprintf("%.0f", number_of(depth, "layers")), name,
                          json_sprintf("%.3g", number_of(found, "largest")),
                          json_sprintf("%.3g", number_of(found, "rms")),
                          json_sprintf("%.3g", number_of(found, "gradient_error")),
                          timed ? json_sprintf("%.3f", number_of(depth, "step_seconds"))
                                : json_string(""),
                          timed ? json_sprintf("%.3f", number_of(depth, "stored_seconds"))
                                : json_string(""),
                          timed ? json_sprintf("%.2f", number_of(depth, "ratio")) : json_string(""),
                          timed ? json_sprintf("%.3f", number_of(depth, "standard_seconds"))
                                : json_string(""),
                          timed ? json_sprintf("%.2f", number_of(depth, "standard_ratio"))
                                : json_string("")));
        }
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
}

/* A row a length, the median milliseconds of each kind; and below it the exponents. */
void rf_cli_print_bench_scaling(const json_t *report)
{
    static const char *const head[] = {"<kind", "length", "batch", "milliseconds", "memory"};
    json_t *rows = json_array();
    size_t i = 0;
    size_t j = 0;
    const json_t *kind = NULL;
    const json_t *point = NULL;
    json_array_foreach(json_object_get(report, "kinds"), i, kind)
    {
        json_array_foreach(json_object_get(kind, "points"), j, point)
        {
            char size[32];
            rf_cli_write_size(number_of(point, "peak_bytes"), size, sizeof size);
            json_array_append_new(
                rows, json_pack("[O, o, o, o, s]", json_object_get(kind, "name"),
                                json_sprintf("%.0f", number_of(point, "length")),
                                json_sprintf("%.0f", number_of(point, "batch")),
                                json_sprintf("%.3f", number_of(point, "milliseconds")), size));
        }
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
    json_array_foreach(json_object_get(report, "kinds"), i, kind)
    {
        const json_t *exponent = json_object_get(kind, "exponent");
        if (json_is_number(exponent)) {
            printf("%-18s time of a sequence grows as length^%.2f; ended by %s\n",
                   json_string_value(json_object_get(kind, "name")), json_number_value(exponent),
                   json_string_value(json_object_get(kind, "ended_by")));
        }
    }
}
