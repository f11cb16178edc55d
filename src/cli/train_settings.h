/* What `reformer train` was asked for. */
#ifndef RF_CLI_TRAIN_SETTINGS_H
#define RF_CLI_TRAIN_SETTINGS_H

#include "settings.h"

#include "reformer/train.h"

enum { RF_TRAIN_MORE_OPTIONS = 14 };
/* Options beside those in command_train.c. */
extern const rf_option rf_train_more_options[RF_TRAIN_MORE_OPTIONS];

/* Fill in every option that a setting stands for; strings are the settings'. */
void rf_train_settings(const rf_settings *settings, rf_train_options *train);
/* --freeze as one list with commas; empty where there is none. */
RF_MUST_CHECK rf_status rf_train_settings_freeze(const rf_settings *settings, rf_bytes *list,
                                                 rf_error *error);

#endif
