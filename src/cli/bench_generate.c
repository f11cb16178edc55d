/* From the settings of `bench` to the tool, and its report for people. */
#include "bench_generate.h"

#include "message.h"
#include "model_source.h"

#include "reformer/tools.h"

#include <stdio.h>
#include <string.h>

bool rf_cli_bench_generate_takes(const char *name)
{
    static const char *const names[] = {"model", "stream", "length", "batch", "repeats", "warmup"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

rf_status rf_cli_bench_generate(const rf_settings *settings, char **report, rf_error *error)
{
    rf_bytes section = {0};
    rf_status status = rf_cli_model_section(settings, &section, error);
    const rf_bench_generate_options bench = {
        .model = rf_settings_string(settings, "model"),
        .model_config = section.data,
        .batch = rf_settings_integer(settings, "batch"),
        .prompt = rf_settings_integer(settings, "length"),
        .tokens = rf_settings_integer(settings, "repeats"),
        .warmup = rf_settings_integer(settings, "warmup"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .stream = rf_settings_string(settings, "stream"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    if (status == RF_OK) {
        status = rf_bench_generate(&bench, report, error);
    }
    rf_bytes_clear(&section);
    return status;
}

void rf_cli_print_bench_generate(const json_t *report)
{
    const json_t *token = json_object_get(report, "token_ms");
    printf("prompt      %.0f x %.0f tokens in %.3f s\n",
           json_number_value(json_object_get(report, "batch")),
           json_number_value(json_object_get(report, "prompt")),
           json_number_value(json_object_get(report, "prefill_seconds")));
    printf("a token     %.3f ms (%.3f to %.3f, nine of ten within %.3f), median of %.0f\n",
           json_number_value(json_object_get(token, "median")),
           json_number_value(json_object_get(token, "min")),
           json_number_value(json_object_get(token, "max")),
           json_number_value(json_object_get(token, "ninth_decile")),
           json_number_value(json_object_get(report, "tokens")));
    printf("together    %.0f tokens a second\n",
           json_number_value(json_object_get(report, "tokens_per_second")));
}
