/* Time, for progress and limits only; nothing computed depends on it. */
#ifndef RF_BASE_CLOCK_H
#define RF_BASE_CLOCK_H
#ifdef __cplusplus
extern "C" {
#endif
/* Monotonic seconds since an arbitrary start. */
double rf_clock_seconds(void);
/* Seconds since 1970, for event files and logs. */
double rf_clock_wall_seconds(void);
#ifdef __cplusplus
}
#endif
#endif
