/* Bytes that grow, and showing bytes of any kind without harming a terminal or a JSON file. */
#ifndef RF_CLI_TEXT_H
#define RF_CLI_TEXT_H

#include "reformer/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Zero-initialise; release with rf_bytes_clear. */
typedef struct rf_bytes {
    char *data; /* NUL after the last byte; NULL while empty */
    size_t size, capacity;
} rf_bytes;

/* Put `size` bytes at the end. */
RF_MUST_CHECK rf_status rf_bytes_append(rf_bytes *bytes, const char *data, size_t size,
                                        rf_error *error);
/* A JSON value as text, indented or on one line; keys keep their order. */
RF_MUST_CHECK rf_status rf_bytes_append_json(rf_bytes *bytes, const json_t *value, bool indent,
                                             rf_error *error);
/* Everything a file holds, at most `limit` bytes; "-" is standard input. Messages name the file. */
RF_MUST_CHECK rf_status rf_bytes_read_file(rf_bytes *bytes, const char *path, size_t limit,
                                           rf_error *error);
void rf_bytes_clear(rf_bytes *bytes);
/* Empty ones, `count` of them; NULL if out of memory. */
rf_bytes *rf_bytes_array(size_t count);
void rf_bytes_array_clear(rf_bytes *array, size_t count); /* NULL allowed */

/* How many of the first bytes are one whole well-formed UTF-8 character: 1 to 4; 0 if they are not
 * (or `size` is 0). */
size_t rf_cli_utf8_length(const char *bytes, size_t size);
/* Write bytes so that a terminal shows and does not obey them: what is neither a printable UTF-8
 * character, a newline nor a tab becomes \xNN. After each newline `indent` follows. */
void rf_cli_print_visible(FILE *file, const char *bytes, size_t size, const char *indent);

#endif
