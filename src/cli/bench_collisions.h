/* `bench collisions`: how hashes tell angles apart. */
#ifndef RF_CLI_BENCH_COLLISIONS_H
#define RF_CLI_BENCH_COLLISIONS_H

#include "settings.h"

/* The report as JSON text, released with rf_text_release. */
rf_status rf_cli_bench_collisions(const rf_settings *settings, char **report, rf_error *error);
/* The report for people, to standard output. */
void rf_cli_print_bench_collisions(const json_t *report);
/* Whether an option of `bench` means something there. */
bool rf_cli_bench_collisions_takes(const char *name);

#endif
