/* `bench reversal` and `bench scaling`: what depth and length cost. */
#ifndef RF_CLI_BENCH_LENGTH_H
#define RF_CLI_BENCH_LENGTH_H

#include "settings.h"

/* The reports as JSON text, released with rf_text_release. */
rf_status rf_cli_bench_reversal(const rf_settings *settings, char **report, rf_error *error);
rf_status rf_cli_bench_scaling(const rf_settings *settings, char **report, rf_error *error);
/* The reports for people, to standard output. */
void rf_cli_print_bench_reversal(const json_t *report);
void rf_cli_print_bench_scaling(const json_t *report);
/* Whether an option of `bench` means something there. */
bool rf_cli_bench_reversal_takes(const char *name);
bool rf_cli_bench_scaling_takes(const char *name);

#endif
