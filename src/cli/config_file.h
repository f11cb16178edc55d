/* Configuration files: found by path or by the name of a preset, read, and merged with the other
 * sources. */
#ifndef RF_CLI_CONFIG_FILE_H
#define RF_CLI_CONFIG_FILE_H

#include "settings.h"

/* Read every source for a command line (arguments[0] is the first after the command's name):
 * command line, environment, the file of
 * --config or the one that the command implies, defaults. Rules are not checked yet
 * (rf_settings_check). */
RF_MUST_CHECK rf_status rf_settings_read(rf_settings *settings, size_t count,
                                         const char *const *arguments, rf_error *error);

#endif
