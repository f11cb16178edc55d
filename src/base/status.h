/* Inside the library: how a fault is written down and handed on. */
#ifndef RF_BASE_STATUS_H
#define RF_BASE_STATUS_H

#include "reformer/status.h"

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Write code and message into *error (when not NULL) and return code. */
rf_status rf_error_set(rf_error *error, rf_status code, const char *format, ...) RF_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* clang-tidy sees one file at a time: so that it knows that the code comes back as it was given. */
#define rf_error_set(error, code, ...) ((void)rf_error_set(error, code, __VA_ARGS__), (code))
#endif

/* Put "PREFIX: " before the message that is there, for a caller that knows the file or the tensor.
 */
void rf_error_prefix(rf_error *error, const char *format, ...) RF_PRINTF(2, 3);

/* Format and hand a line to the log; nothing where log is NULL or has no writer. */
void rf_log_write(const rf_log *log, rf_log_level level, const char *format, ...) RF_PRINTF(3, 4);

#define RF_TRY(call)                                                                               \
    do {                                                                                           \
        rf_status rf_try_status = (call);                                                          \
        if (rf_try_status != RF_OK) {                                                              \
            return rf_try_status;                                                                  \
        }                                                                                          \
    } while (0)

/* As RF_TRY in a function with one exit: sets `status` and goes to `done`. */
#define RF_TRY_DONE(call)                                                                          \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != RF_OK) {                                                                     \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* A broken promise between our own functions; on unless NDEBUG. */
#ifdef NDEBUG
#define RF_ASSERT(condition) ((void)0)
#else
void rf_assert_failed(const char *condition, const char *file, int line);
#define RF_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : rf_assert_failed(#condition, __FILE__, __LINE__))
#endif

#ifdef __cplusplus
}
#endif
#endif
