/* Stop strings over a stream of bytes: the text ends before the first one, wherever tokens happen
 * to end. */
#ifndef RF_GENERATE_STOP_H
#define RF_GENERATE_STOP_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Holds back the bytes that may yet turn out to be the beginning of a stop string. */
typedef struct rf_stop {
    const char *const *strings; /* [count], borrowed */
    size_t count;
    size_t longest; /* bytes of the longest string */
    uint8_t *held;  /* [longest + 1], owned */
    size_t held_size;
    bool is_found;
} rf_stop;

/* count 0 is fine: nothing is ever held. RF_ERR_ARGUMENT for an empty or absent string. */
RF_MUST_CHECK rf_status rf_stop_init(rf_stop *stop, const char *const *strings, size_t count,
                                     rf_error *error);
void rf_stop_clear(rf_stop *stop);
/* Take one byte; write those that are now sure to be text.
 *   output  [longest + 1], written
 * Returns how many. Once a string was found (is_found) nothing comes any more. If two strings end
 * with the same byte, the longer one counts. */
size_t rf_stop_feed(rf_stop *stop, uint8_t byte, uint8_t *output);
/* The end of the text: what is still held, which then is text. output as above. */
size_t rf_stop_finish(rf_stop *stop, uint8_t *output);

#endif
