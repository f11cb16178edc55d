/* The only place that calls malloc. A hook sees every call, so that tests can count them, fail the
 * n-th, and prove that a training step allocates nothing. */
#ifndef RF_BASE_MEMORY_H
#define RF_BASE_MEMORY_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Allocate `size` bytes aligned to 256, uninitialised; size 0 gives a valid unique pointer. On
 * failure *memory is NULL and the message names `what` and the size in MiB. Release with rf_release
 * (NULL allowed). */
RF_MUST_CHECK rf_status rf_allocate(size_t size, const char *what, void **memory, rf_error *error);
RF_MUST_CHECK rf_status rf_allocate_zeroed(size_t size, const char *what, void **memory,
                                           rf_error *error);
/* Grow or shrink, content kept up to the smaller size; on failure the old block stays valid.
 * `old_size` is the block's size. */
RF_MUST_CHECK rf_status rf_reallocate(void **memory, size_t old_size, size_t size, const char *what,
                                      rf_error *error);
void rf_release(void *memory);
RF_MUST_CHECK rf_status rf_string_copy(const char *text, char **copy, rf_error *error);
/* printf into a fresh string, released with rf_release. */
RF_MUST_CHECK rf_status rf_string_format(char **text, rf_error *error, const char *format, ...)
    RF_PRINTF(3, 4);

/* Product of two sizes; false on overflow. */
bool rf_size_multiply(size_t a, size_t b, size_t *product);

/* Test hook: called before each allocation of `size` bytes; returning false makes it fail. NULL
 * removes it. */
typedef bool (*rf_memory_hook)(void *user, size_t size);
void rf_memory_set_hook(rf_memory_hook hook, void *user);
/* Bytes now allocated through this file, and the highest that count has been since the last reset.
 */
size_t rf_memory_in_use(void);
size_t rf_memory_peak(void);
void rf_memory_reset_peak(void);

#ifdef __cplusplus
}
#endif
#endif
