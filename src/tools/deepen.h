/* A configuration with another number of layers. */
#ifndef RF_TOOLS_DEEPEN_H
#define RF_TOOLS_DEEPEN_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* The text of a configuration whose kinds of layers are those of config_text, over and over, to
 * `layers` in all, at least 1; and which has at least `length` positions, and where `standard` is
 * set standard residuals. Released with rf_release. */
RF_MUST_CHECK rf_status rf_deepen(const char *config_text, int64_t layers, int64_t length,
                                  bool standard, char **text, rf_error *error);

#endif
