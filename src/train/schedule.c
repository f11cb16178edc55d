/* rate(u) = rate * min(1, (u + 1) / warmup) * shape(p), with p = max(0, u - warmup) / max(1, steps
 * - warmup), or the part of the time that is used where that is larger. With cosine to 0 this is
 * the recipe of the reference curves. The inverse square root (Vaswani et al. 2017, section 5.3)
 * has its peak, `rate`, at the end of the warm-up. WSD (Hu et al. 2024, section 4) stays at the
 * peak until the last part, in which it falls in a line. */
#include "train/schedule.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const names[] = {"constant", "linear", "cosine", "inverse-square-root", "wsd"};
static const double pi = 3.14159265358979323846;

rf_status rf_schedule_parse(const char *name, rf_schedule_kind *kind, rf_error *error)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (rf_schedule_kind)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "schedule \"%s\" is not known, expected constant, linear, cosine, "
                        "inverse-square-root or wsd",
                        name);
}

static double progress(const rf_schedule *schedule, int64_t update, double time_fraction)
{
    int64_t done = update > schedule->warmup ? update - schedule->warmup : 0;
    int64_t all = schedule->steps > schedule->warmup ? schedule->steps - schedule->warmup : 1;
    double fraction = (double)done / (double)all;
    fraction = fraction < time_fraction ? time_fraction : fraction;
    return fraction < 1.0 ? fraction : 1.0;
}

static double shape(const rf_schedule *schedule, int64_t update, double time_fraction)
{
    double p = progress(schedule, update, time_fraction);
    double last = schedule->final_rate;
    switch (schedule->kind) {
    case RF_SCHEDULE_LINEAR:
        return 1.0 - (1.0 - last) * p;
    case RF_SCHEDULE_COSINE:
        return last + (1.0 - last) * 0.5 * (1.0 + cos(pi * p));
    case RF_SCHEDULE_INVERSE_SQUARE_ROOT: {
        double warmup = schedule->warmup > 1 ? (double)schedule->warmup : 1.0;
        double position = (double)(update + 1);
        return sqrt(warmup / (position > warmup ? position : warmup));
    }
    case RF_SCHEDULE_WSD: {
        double stable = 1.0 - schedule->decay;
        return p > stable ? 1.0 - (1.0 - last) * (p - stable) / schedule->decay : 1.0;
    }
    case RF_SCHEDULE_CONSTANT:
        break;
    }
    return 1.0;
}

double rf_schedule_rate(const rf_schedule *schedule, int64_t update, double time_fraction)
{
    double warm = 1.0;
    if (update + 1 < schedule->warmup) {
        warm = (double)(update + 1) / (double)schedule->warmup;
    }
    return schedule->rate * warm * shape(schedule, update, time_fraction);
}
