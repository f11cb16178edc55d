/* Variables of the environment that look as if an option was meant. */
#ifndef RF_CLI_ENVIRONMENT_H
#define RF_CLI_ENVIRONMENT_H

#include "command.h"

/* Whether NAME=VALUE is a variable REFORMER_... that no command's option has, though one of this
 * command's is near; then that one's into nearest. */
bool rf_cli_mistyped_variable(const rf_command *command, const char *entry,
                              char nearest[RF_OPTION_NAME_BYTES]);
/* A warning for each such variable of this process. */
void rf_cli_check_environment(const rf_command *command);

#endif
