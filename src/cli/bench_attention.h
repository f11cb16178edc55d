/* `bench attention`: one attention layer, timed stage by stage. */
#ifndef RF_CLI_BENCH_ATTENTION_H
#define RF_CLI_BENCH_ATTENTION_H

#include "settings.h"

/* The report as JSON text, released with rf_text_release. */
rf_status rf_cli_bench_attention(const rf_settings *settings, char **report, rf_error *error);
/* The report for people, to standard output. */
void rf_cli_print_bench_attention(const json_t *report);

#endif
