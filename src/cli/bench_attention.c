/* From the settings of `bench` to the tool, and its report for people. */
#include "bench_attention.h"

#include "units.h"

#include "reformer/tools.h"

#include <stdio.h>

rf_status rf_cli_bench_attention(const rf_settings *settings, char **report, rf_error *error)
{
    const rf_bench_attention_options bench = {
        .kind = rf_settings_string(settings, "kind"),
        .length = rf_settings_integer(settings, "length"),
        .batch = rf_settings_integer(settings, "batch"),
        .heads = rf_settings_integer(settings, "heads"),
        .head_width = rf_settings_integer(settings, "head-width"),
        .hidden = rf_settings_integer(settings, "hidden"),
        .chunk = rf_settings_integer(settings, "chunk"),
        .rounds = rf_settings_integer(settings, "rounds"),
        .before = rf_settings_integer(settings, "before"),
        .after = rf_settings_integer(settings, "after"),
        .causal = rf_settings_flag(settings, "causal"),
        .semantics = rf_settings_string(settings, "semantics"),
        .dropout = rf_settings_number(settings, "dropout"),
        .forward_only = rf_settings_flag(settings, "forward-only"),
        .heads_at_a_time = rf_settings_integer(settings, "heads-at-a-time"),
        .repeats = rf_settings_integer(settings, "repeats"),
        .warmup = rf_settings_integer(settings, "warmup"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
    };
    return rf_bench_attention(&bench, report, error);
}

static void print_spread(const char *name, const json_t *spread)
{
    if (spread != NULL) {
        printf("%-24s %10.3f ms (%.3f to %.3f)\n", name,
               json_number_value(json_object_get(spread, "median")),
               json_number_value(json_object_get(spread, "min")),
               json_number_value(json_object_get(spread, "max")));
    }
}

void rf_cli_print_bench_attention(const json_t *report)
{
    char peak[32];
    const char *stage = NULL;
    json_t *milliseconds = NULL;
    rf_cli_write_size(json_number_value(json_object_get(report, "peak_bytes")), peak, sizeof peak);
    print_spread("forward", json_object_get(report, "forward_ms"));
    print_spread("forward and backward", json_object_get(report, "forward_backward_ms"));
    json_object_foreach(json_object_get(report, "stages_ms"), stage, milliseconds)
    {
        printf("  %-22s %10.3f ms\n", stage, json_number_value(milliseconds));
    }
    printf("memory                   %s\n", peak);
}
