/* Python's pickle streams, read as data: a stream is a program for a small stack machine, and this
 * reader runs the part of it that builds values. It calls nothing: a call in the stream becomes a
 * value that says what would be called with what, and only the names that the caller allows may
 * stand there. Source: CPython's Lib/pickletools.py. Time and memory are linear in the stream. */
#ifndef RF_IO_PICKLE_H
#define RF_IO_PICKLE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rf_pickle_kind {
    RF_PICKLE_NONE,
    RF_PICKLE_BOOLEAN,
    RF_PICKLE_INTEGER,
    RF_PICKLE_BIG_INTEGER, /* more than 64 bits: `bytes`, little-endian two's complement */
    RF_PICKLE_REAL,
    RF_PICKLE_TEXT, /* UTF-8, as the stream says, not checked */
    RF_PICKLE_BYTES,
    RF_PICKLE_LIST,
    RF_PICKLE_TUPLE,
    RF_PICKLE_DICT,
    RF_PICKLE_GLOBAL, /* `bytes`: "module.name" */
    RF_PICKLE_CALL,   /* `callable` with `argument`, a tuple; `state` and `items` that were given to
                         the result */
    RF_PICKLE_PERSISTENT, /* an object that is kept elsewhere: `argument` says where */
    RF_PICKLE_MARK        /* inside the reader only */
} rf_pickle_kind;

/* A value may be reached in several ways, and may hold itself: whoever walks over values counts
 * steps. */
typedef struct rf_pickle_value {
    rf_pickle_kind kind;
    int64_t integer; /* of INTEGER, and of BOOLEAN (0, 1) */
    double real;
    const char *bytes; /* [size]; no NUL at the end */
    size_t size;
    struct rf_pickle_value *
        *items; /* [count] of LIST and TUPLE; of DICT and CALL: key, value, key, value, ... */
    size_t count, capacity;
    const struct rf_pickle_value *callable, *argument, *state;
} rf_pickle_value;

typedef struct rf_pickle rf_pickle;

/* Read one pickle from the start of `bytes`, which must stay until the pickle is released; *used is
 * how many bytes it took. `allowed`: the names that may be called or referred to, "module.name",
 * ended by NULL. RF_ERR_FORMAT for a damaged stream, RF_ERR_UNSUPPORTED for an operation or a name
 * that is not allowed. `path` is for messages. */
RF_MUST_CHECK rf_status rf_pickle_read(const char *path, const uint8_t *bytes, size_t size,
                                       const char *const *allowed, rf_pickle **pickle, size_t *used,
                                       rf_error *error);
void rf_pickle_release(rf_pickle *pickle); /* NULL allowed */
/* What the stream holds. */
const rf_pickle_value *rf_pickle_top(const rf_pickle *pickle);

/* Questions to a value, which may be NULL (no to all of them). */
bool rf_pickle_is(const rf_pickle_value *value, rf_pickle_kind kind);
bool rf_pickle_is_text(const rf_pickle_value *value, const char *text);
/* The number of a tuple's or list's items; -1 for other values. */
int64_t rf_pickle_length(const rf_pickle_value *value);
/* The item of a tuple or list; NULL if there is none. */
const rf_pickle_value *rf_pickle_item(const rf_pickle_value *value, size_t index);
/* The value of a text key in a dictionary (also an ordered one), the last one given; NULL if there
 * is none. */
const rf_pickle_value *rf_pickle_get(const rf_pickle_value *value, const char *key);
/* Whether it is a call of "module.name" with at least `arguments` arguments. */
bool rf_pickle_is_call(const rf_pickle_value *value, const char *name, size_t arguments);
bool rf_pickle_is_dictionary(const rf_pickle_value *value); /* ordered or not */

#endif
