/* A byte-wise UTF-8 filter by the table of well-formed sequences (Unicode 15, table 3-7). */
#include "generate/utf8.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t replacement[3] = {0xEF, 0xBF, 0xBD};

static size_t put_replacement(uint8_t *output)
{
    memcpy(output, replacement, sizeof replacement);
    return sizeof replacement;
}

/* Bytes of the character that begins with `byte`; 0 if none does. */
static size_t sequence_length(uint8_t byte)
{
    if (byte < 0x80) {
        return 1;
    }
    if (byte >= 0xC2 && byte <= 0xDF) {
        return 2;
    }
    if (byte >= 0xE0 && byte <= 0xEF) {
        return 3;
    }
    return byte >= 0xF0 && byte <= 0xF4 ? 4 : 0;
}

/* Second bytes are narrower after some first ones: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
static bool continues(const rf_utf8_filter *filter, uint8_t byte)
{
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (filter->pending_size == 1) {
        uint8_t first = filter->pending[0];
        low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    }
    return byte >= low && byte <= high;
}

static size_t begin(rf_utf8_filter *filter, uint8_t byte, uint8_t *output)
{
    size_t length = sequence_length(byte);
    if (length == 0) {
        return put_replacement(output);
    }
    if (length == 1) {
        output[0] = byte;
        return 1;
    }
    filter->pending[0] = byte;
    filter->pending_size = 1;
    filter->expected = length;
    return 0;
}

size_t rf_utf8_feed(rf_utf8_filter *filter, uint8_t byte, uint8_t *output)
{
    if (filter->pending_size == 0) {
        return begin(filter, byte, output);
    }
    if (!continues(filter, byte)) {
        filter->pending_size = 0;
        size_t written = put_replacement(output);
        return written + begin(filter, byte, output + written);
    }
    filter->pending[filter->pending_size++] = byte;
    if (filter->pending_size < filter->expected) {
        return 0;
    }
    memcpy(output, filter->pending, filter->expected);
    filter->pending_size = 0;
    return filter->expected;
}

size_t rf_utf8_finish(rf_utf8_filter *filter, uint8_t *output)
{
    if (filter->pending_size == 0) {
        return 0;
    }
    filter->pending_size = 0;
    return put_replacement(output);
}
