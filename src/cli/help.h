/* Help, manual pages and completion, all from the option tables. */
#ifndef RF_CLI_HELP_H
#define RF_CLI_HELP_H

#include "command.h"

#include <stdio.h>

/* The program: what it is, and its commands. */
void rf_cli_print_overview(FILE *file);
/* A command: purpose, two examples, options under their headings, each with its current default in
 * brackets. */
void rf_cli_print_help(FILE *file, const rf_command *command);
/* Whether an option before this one has the same heading. */
bool rf_cli_group_seen(const rf_command *command, size_t index);
/* "--steps N", "--[no-]text", "--memory-limit SIZE" into text[size]. */
void rf_cli_option_usage(const rf_option *option, char *text, size_t size);
/* Write reformer.1 and reformer-COMMAND.1 into an existing folder. */
RF_MUST_CHECK rf_status rf_cli_write_manual(const char *folder, rf_error *error);
/* A script that completes commands and options in "bash" or "zsh". */
void rf_cli_print_completion(FILE *file, const char *shell);

#endif
