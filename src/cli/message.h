/* What the program says on standard error, how it ends, and how it hears that it should stop. */
#ifndef RF_CLI_MESSAGE_H
#define RF_CLI_MESSAGE_H

#include "settings.h"

/* "reformer: ..." as a line of its own. */
void rf_cli_message(const char *format, ...) RF_PRINTF(1, 2);
/* The line at the bottom of a terminal that replaces itself; nothing where standard error is no
 * terminal. */
void rf_cli_status_line(const char *text);
void rf_cli_status_clear(void);
bool rf_cli_on_terminal(void); /* standard error is one */

/* Say what went wrong and give the exit code; a hint follows where the program was misused. */
int rf_cli_report(const rf_command *command, rf_status status, const rf_error *error);
/* The library's voice: everything, or with --quiet only warnings. */
rf_log rf_cli_log(const rf_settings *settings);

/* From now on SIGINT, SIGTERM and SIGHUP (a terminal that is closed) are counted; a third one ends
 * the program at once. */
void rf_cli_catch_signals(void);
/* The same, and go on where nobody reads what is said any more: a long run should not end because
 * `| head` did. */
void rf_cli_survive(void);
/* 0, 1 (asked to stop), 2 (asked again). */
int rf_cli_stop_requested(void);

/* A result as JSON on standard output; takes the reference. The exit code. */
int rf_cli_print_json(json_t *value);
/* What a tool ended with: why it failed, or its report, as JSON with --json and else by `print`;
 * releases the report. The exit code. */
int rf_cli_show_report(const rf_settings *settings, rf_status status, const rf_error *error,
                       char *report, void (*print)(const json_t *report));
/* A number, or null where it is not finite. */
json_t *rf_cli_json_number(double value);

#endif
