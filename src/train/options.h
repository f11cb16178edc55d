/* Checking the options of a training run, and what several files of this folder ask of them. */
#ifndef RF_TRAIN_OPTIONS_H
#define RF_TRAIN_OPTIONS_H

#include "reformer/train.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* RF_ERR_ARGUMENT naming the option, its value and what it may be. */
RF_MUST_CHECK rf_status rf_train_options_check(const rf_train_options *options, rf_error *error);
/* The schedule they describe; the names were checked. */
RF_MUST_CHECK rf_status rf_train_options_schedule(const rf_train_options *options,
                                                  rf_schedule *schedule, rf_error *error);
/* The optimizer they describe; fails where a name is not known. */
RF_MUST_CHECK rf_status rf_train_options_optimizer(const rf_train_options *options,
                                                   rf_optimizer_options *optimizer,
                                                   rf_error *error);
bool rf_train_options_skip_nan(const rf_train_options *options);
bool rf_train_options_rolls_back(const rf_train_options *options);

#endif
