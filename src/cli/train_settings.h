/* What `reformer train` is asked for: its table of options, and the library's call made of them. */
#ifndef RF_CLI_TRAIN_SETTINGS_H
#define RF_CLI_TRAIN_SETTINGS_H

#include "settings.h"

#include "reformer/train.h"

enum { RF_TRAIN_OPTION_COUNT = 74 };
extern const rf_option rf_train_options_table[RF_TRAIN_OPTION_COUNT]; /* train_options.c */

/* Fill in every option that a setting stands for; strings are the settings'. */
void rf_train_settings(const rf_settings *settings, rf_train_options *train);
/* --freeze as one list with commas; empty where there is none. */
RF_MUST_CHECK rf_status rf_train_settings_freeze(const rf_settings *settings, rf_bytes *list,
                                                 rf_error *error);

#endif
