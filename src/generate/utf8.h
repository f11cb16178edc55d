/* Whole UTF-8 characters out of a stream of bytes that may be cut anywhere and may be no UTF-8 at
 * all. */
#ifndef RF_GENERATE_UTF8_H
#define RF_GENERATE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* A character that has begun and not ended; all zeros to start. */
typedef struct rf_utf8_filter {
    uint8_t pending[4];
    size_t pending_size; /* bytes of the character so far */
    size_t expected;     /* bytes it will have */
} rf_utf8_filter;

/* Take one byte; write what is now whole: characters as they are, and U+FFFD for each maximal run
 * of bytes that can not be part of a character (Unicode 15, section 3.9, "substitution of maximal
 * subparts"). output  [8], written Returns the number of bytes written. */
size_t rf_utf8_feed(rf_utf8_filter *filter, uint8_t byte, uint8_t *output);
/* The end: U+FFFD for a character that was cut off. output [3]. Returns the number of bytes
 * written. */
size_t rf_utf8_finish(rf_utf8_filter *filter, uint8_t *output);

#endif
