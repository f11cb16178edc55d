/* JSON files on top of jansson: strict reading with messages that name file and key, writing as
 * Hugging Face writes (sorted keys, two spaces, a newline at the end). Values are jansson's own
 * json_t. */
#ifndef RF_IO_JSON_H
#define RF_IO_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Read a file whose top is an object; duplicates, trailing bytes, over 64 MiB and nesting over 64
 * are refused. Caller json_decref. */
RF_MUST_CHECK rf_status rf_json_read_object(const char *path, json_t **object, rf_error *error);
/* The same from memory; `name` stands for the file in messages. */
RF_MUST_CHECK rf_status rf_json_parse_object(const char *name, const char *text, size_t size,
                                             json_t **object, rf_error *error);
/* Atomic. */
RF_MUST_CHECK rf_status rf_json_write(const char *path, const json_t *value, rf_error *error);

/* Typed readers of object[key]. `file` is for messages. An absent key leaves *value as it is (the
 * default) and gives RF_OK; a wrong type or a value outside [low, high] is RF_ERR_FORMAT: "FILE:
 * KEY is "x", expected an integer from 1 to ...". A null counts as absent only where
 * `null_is_absent`. */
RF_MUST_CHECK rf_status rf_json_get_integer(const char *file, const json_t *object, const char *key,
                                            int64_t low, int64_t high, int64_t *value,
                                            rf_error *error);
RF_MUST_CHECK rf_status rf_json_get_number(const char *file, const json_t *object, const char *key,
                                           double low, double high, double *value, rf_error *error);
RF_MUST_CHECK rf_status rf_json_get_boolean(const char *file, const json_t *object, const char *key,
                                            bool *value, rf_error *error);
/* Borrowed from the object. */
RF_MUST_CHECK rf_status rf_json_get_string(const char *file, const json_t *object, const char *key,
                                           const char **value, rf_error *error);
bool rf_json_is_absent_or_null(const json_t *object, const char *key);
/* Set and take ownership of value; RF_ERR_MEMORY when value is NULL or the set fails. */
RF_MUST_CHECK rf_status rf_json_set(json_t *object, const char *key, json_t *value,
                                    rf_error *error);
/* Compact or indented text, released with rf_release. */
RF_MUST_CHECK rf_status rf_json_text(const json_t *value, bool indent, char **text,
                                     rf_error *error);

#endif
