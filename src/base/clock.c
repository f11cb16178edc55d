/* The two clocks of POSIX, in seconds. */
#include "base/clock.h"

#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double rf_clock_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double rf_clock_wall_seconds(void)
{
    return seconds_of(CLOCK_REALTIME);
}
