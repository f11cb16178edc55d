/* Which windows of the text a training step reads: a pure function of the seed and the window's
 * number, so that the number of windows drawn is all that a checkpoint has to remember, and four
 * batches of one are one batch of four. */
#ifndef RF_DATA_SAMPLER_H
#define RF_DATA_SAMPLER_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rf_windows {
    uint64_t seed;
    int64_t tokens; /* in the text, at least length */
    int64_t length; /* of a window */
    bool sequential;
} rf_windows;

/* First token of window `number` (from 0). Random: uniform over every start from 0 to tokens -
 * length, with replacement. Sequential: 0, length, 2 length, ..., and from 0 again where no whole
 * window is left. */
int64_t rf_windows_start(const rf_windows *windows, int64_t number);

#endif
