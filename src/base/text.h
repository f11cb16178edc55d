/* A text that grows, for the writers of JSON and SVG. */
#ifndef RF_BASE_TEXT_H
#define RF_BASE_TEXT_H

#include "base/status.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Start from {0}. `bytes` is NUL-terminated after the first append and released with rf_release. */
typedef struct rf_text {
    char *bytes;
    size_t size, capacity; /* size: without the NUL */
} rf_text;

/* Bytes as they are. */
RF_MUST_CHECK rf_status rf_text_append(rf_text *text, const char *bytes, size_t size,
                                       rf_error *error);
/* As printf writes them. */
RF_MUST_CHECK rf_status rf_text_format(rf_text *text, rf_error *error, const char *format, ...)
    RF_PRINTF(3, 4);

/* Bytes in the unit that suits them, as "1.50 GiB"; gives `text`. */
enum { RF_SIZE_TEXT_BYTES = 32 };
const char *rf_text_of_size(double bytes, char text[RF_SIZE_TEXT_BYTES]);

/* Printed numbers have a point, whatever decimal sign the program's locale made printf write:
 * change it in place. */
void rf_text_fix_number(char *number);

#ifdef __cplusplus
}
#endif
#endif
