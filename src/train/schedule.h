/* The learning rate as a function of the update's number, and of the time used where time is
 * limited. */
#ifndef RF_TRAIN_SCHEDULE_H
#define RF_TRAIN_SCHEDULE_H

#include "base/status.h"

#include <stdint.h>

typedef enum rf_schedule_kind {
    RF_SCHEDULE_CONSTANT,
    RF_SCHEDULE_LINEAR,
    RF_SCHEDULE_COSINE,
    RF_SCHEDULE_INVERSE_SQUARE_ROOT,
    RF_SCHEDULE_WSD /* warm-up, stable, decay */
} rf_schedule_kind;

typedef struct rf_schedule {
    rf_schedule_kind kind;
    double rate;       /* the highest */
    double final_rate; /* where linear, cosine and wsd end, as a fraction of rate */
    int64_t warmup, steps;
    double decay; /* wsd: the last part of the updates after the warm-up, in which it falls */
} rf_schedule;

/* RF_ERR_ARGUMENT listing the names there are. */
RF_MUST_CHECK rf_status rf_schedule_parse(const char *name, rf_schedule_kind *kind,
                                          rf_error *error);
/* Rate of update `update`, counted from 0. time_fraction: the part of the time limit that is used,
 * 0 without a limit. */
double rf_schedule_rate(const rf_schedule *schedule, int64_t update, double time_fraction);

#endif
