/* The program without its entry point, so that tests can hold its parts. */
#ifndef RF_CLI_DISPATCH_H
#define RF_CLI_DISPATCH_H

#include <stddef.h>

/* Run the command that arguments[0] names; the exit code. */
int rf_cli_run(size_t count, const char *const *arguments);

#endif
