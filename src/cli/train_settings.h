/* What `reformer train` was asked for. */
#ifndef RF_CLI_TRAIN_SETTINGS_H
#define RF_CLI_TRAIN_SETTINGS_H

#include "settings.h"

#include "reformer/train.h"

/* Fill in every option that a setting stands for; strings are the settings'. */
void rf_train_settings(const rf_settings *settings, rf_train_options *train);

#endif
