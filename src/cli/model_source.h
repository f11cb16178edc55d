/* Tools that take a model directory or the "model" section of a configuration file. */
#ifndef RF_CLI_MODEL_SOURCE_H
#define RF_CLI_MODEL_SOURCE_H

#include "settings.h"

/* RF_ERR_ARGUMENT unless there is --model or a section; --model counts where there are both. */
RF_MUST_CHECK rf_status rf_cli_check_model_source(const rf_settings *settings, rf_error *error);
/* The section as text, empty where --model is given. */
RF_MUST_CHECK rf_status rf_cli_model_section(const rf_settings *settings, rf_bytes *text,
                                             rf_error *error);

#endif
