/* --print-config: every setting, its value and the source that won. */
#ifndef RF_CLI_SHOW_CONFIG_H
#define RF_CLI_SHOW_CONFIG_H

#include "settings.h"

/* On standard output, as a table or with --json as an object; the exit code. */
int rf_cli_show_config(const rf_settings *settings);

#endif
