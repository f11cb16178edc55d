/* Work that is done again and again on the same memory: launched once in earnest, recorded the
 * second time, replayed from then on; on a device that can not record, just done. */
#ifndef RF_GENERATE_REPLAY_H
#define RF_GENERATE_REPLAY_H

#include "tensor/device.h"

typedef rf_status (*rf_work)(void *user, rf_error *error);

/* All zeros to start. */
typedef struct rf_replay {
    void *recording;
    bool has_run; /* so that what is set up on first use has been */
} rf_replay;

/* Do the work, one way or the other. */
RF_MUST_CHECK rf_status rf_replay_run(rf_replay *replay, rf_device *device, rf_work work,
                                      void *user, rf_error *error);
/* Forget what was recorded: the work has become another one. */
void rf_replay_clear(rf_replay *replay, rf_device *device);

#endif
