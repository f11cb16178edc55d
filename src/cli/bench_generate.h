/* `bench generate`: tokens decoded after a prompt, timed one by one. */
#ifndef RF_CLI_BENCH_GENERATE_H
#define RF_CLI_BENCH_GENERATE_H

#include "settings.h"

/* The report as JSON text, released with rf_text_release. */
rf_status rf_cli_bench_generate(const rf_settings *settings, char **report, rf_error *error);
/* The report for people, to standard output. */
void rf_cli_print_bench_generate(const json_t *report);
/* Whether an option of `bench` means something here. */
bool rf_cli_bench_generate_takes(const char *name);

#endif
