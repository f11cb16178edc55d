/* How the tools get a model: from a folder, or from the text of a configuration. */
#ifndef RF_TOOLS_OPEN_MODEL_H
#define RF_TOOLS_OPEN_MODEL_H

#include "model/model.h"

#include <string.h>

/* Exactly one of folder and config_text. Only the configuration is read and the memory of the
 * parameters is not touched: for plans. */
RF_MUST_CHECK rf_status rf_open_model_shape(const char *folder, const char *config_text,
                                            const rf_model_options *options, rf_model **model,
                                            rf_error *error);
/* With weights: those of the folder, or fresh random ones. */
RF_MUST_CHECK rf_status rf_open_model(const char *folder, const char *config_text,
                                      const rf_model_options *options, rf_model **model,
                                      rf_error *error);

#endif
