/* JSON files: read by jansson after two checks of our own, written by a printer of our own, because
 * jansson prints 0.05 as 0.050000000000000003 and Hugging Face's files do not. Reading and writing
 * take time in proportion to the text. */
#include "io/json.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64, LARGEST_FILE = 64 << 20 };

/* jansson recurses, so depth is bounded before it sees the text. Brackets within strings do not
 * count. */
static rf_status check_depth(const char *name, const char *text, size_t size, rf_error *error)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        if (depth > DEEPEST) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: JSON nested more than %d deep, at byte %zu", name, DEEPEST, i);
        }
    }
    return RF_OK;
}

static rf_status whole_numbers_again(json_t *value, rf_error *error);

/* The value that stands for `value`: a fresh integer where it is a real without a fraction, else
 * itself, gone through. */
static rf_status whole_number_or_self(json_t *value, json_t **result, rf_error *error)
{
    const double largest_exact = 9007199254740992.0; /* 2^53 */
    double number = json_is_real(value) ? json_real_value(value) : 0.5;
    if (fabs(number) <= largest_exact && floor(number) == number) {
        *result = json_integer((json_int_t)number);
    } else {
        RF_TRY(whole_numbers_again(value, error));
        *result = json_incref(value);
    }
    return *result != NULL ? RF_OK : rf_error_set(error, RF_ERR_MEMORY, "no memory for JSON");
}

/* Files hold integers that no integer type can (a "model_max_length" of 10^30). Such a file is read
 * with all numbers as reals, and this turns the whole ones back. */
static rf_status whole_numbers_again(json_t *value, rf_error *error)
{
    json_t *fresh = NULL;
    for (size_t i = 0; i < json_array_size(value); i++) {
        RF_TRY(whole_number_or_self(json_array_get(value, i), &fresh, error));
        (void)json_array_set_new(value, i, fresh);
    }
    for (void *i = json_object_iter(value); i != NULL; i = json_object_iter_next(value, i)) {
        RF_TRY(whole_number_or_self(json_object_iter_value(i), &fresh, error));
        (void)json_object_iter_set_new(value, i, fresh);
    }
    return RF_OK;
}

static rf_status load(const char *name, const char *text, size_t size, json_t **value,
                      rf_error *error)
{
    json_error_t fault;
    *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
    if (*value == NULL && json_error_code(&fault) == json_error_numeric_overflow) {
        *value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &fault);
        if (*value != NULL) {
            RF_TRY(whole_numbers_again(*value, error));
        }
    }
    if (*value == NULL) {
        bool no_memory = json_error_code(&fault) == json_error_out_of_memory;
        return rf_error_set(error, no_memory ? RF_ERR_MEMORY : RF_ERR_FORMAT,
                            "%s:%d:%d: not valid JSON: %s", name, fault.line, fault.column,
                            fault.text);
    }
    return RF_OK;
}

rf_status rf_json_parse_object(const char *name, const char *text, size_t size, json_t **object,
                               rf_error *error)
{
    *object = NULL;
    RF_TRY(check_depth(name, text, size, error));
    json_t *value = NULL;
    rf_status status = load(name, text, size, &value, error);
    if (status == RF_OK && !json_is_object(value)) {
        status = rf_error_set(error, RF_ERR_FORMAT, "%s: expected a JSON object, {...}, at the top",
                              name);
    }
    if (status != RF_OK) {
        json_decref(value);
        return status;
    }
    *object = value;
    return RF_OK;
}

rf_status rf_json_read_object(const char *path, json_t **object, rf_error *error)
{
    *object = NULL;
    char *text = NULL;
    size_t size = 0;
    RF_TRY(rf_file_read(path, LARGEST_FILE, &text, &size, error));
    rf_status status = rf_json_parse_object(path, text, size, object, error);
    rf_release(text);
    return status;
}

/* ---- typed readers ----------------------------------------------------------------------- */

enum { SHOWN_BYTES = 60 };

/* The value as it stands in the file, cut to a length fit for a message. */
static rf_status wrong_value(const char *file, const char *key, const json_t *value,
                             const char *expected, rf_error *error)
{
    char *text = NULL;
    RF_TRY(rf_json_text(value, false, &text, error));
    (void)rf_error_set(error, RF_ERR_FORMAT, "%s: %s is %.*s%s, expected %s", file, key,
                       SHOWN_BYTES, text, strlen(text) > SHOWN_BYTES ? "..." : "", expected);
    rf_release(text);
    return RF_ERR_FORMAT;
}

rf_status rf_json_get_integer(const char *file, const json_t *object, const char *key, int64_t low,
                              int64_t high, int64_t *value, rf_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (found == NULL) {
        return RF_OK;
    }
    if (!json_is_integer(found) || json_integer_value(found) < low ||
        json_integer_value(found) > high) {
        char expected[96];
        (void)snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, low,
                       high);
        return wrong_value(file, key, found, expected, error);
    }
    *value = json_integer_value(found);
    return RF_OK;
}

rf_status rf_json_get_number(const char *file, const json_t *object, const char *key, double low,
                             double high, double *value, rf_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (found == NULL) {
        return RF_OK;
    }
    if (!json_is_number(found) || json_number_value(found) < low ||
        json_number_value(found) > high) {
        char expected[96];
        (void)snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
        return wrong_value(file, key, found, expected, error);
    }
    *value = json_number_value(found);
    return RF_OK;
}

rf_status rf_json_get_boolean(const char *file, const json_t *object, const char *key, bool *value,
                              rf_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (found != NULL && !json_is_boolean(found)) {
        return wrong_value(file, key, found, "true or false", error);
    }
    if (found != NULL) {
        *value = json_is_true(found);
    }
    return RF_OK;
}

rf_status rf_json_get_string(const char *file, const json_t *object, const char *key,
                             const char **value, rf_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (found != NULL && !json_is_string(found)) {
        return wrong_value(file, key, found, "a string", error);
    }
    if (found != NULL) {
        *value = json_string_value(found);
    }
    return RF_OK;
}

bool rf_json_is_absent_or_null(const json_t *object, const char *key)
{
    const json_t *found = json_object_get(object, key);
    return found == NULL || json_is_null(found);
}

rf_status rf_json_set(json_t *object, const char *key, json_t *value, rf_error *error)
{
    if (value == NULL || json_object_set_new(object, key, value) != 0) {
        return rf_error_set(error, RF_ERR_MEMORY,
                            "no memory for the JSON value %s, or it is not valid UTF-8", key);
    }
    return RF_OK;
}

/* ---- printing ---------------------------------------------------------------------------- */

typedef struct printer {
    rf_text text;
    bool indent;
} printer;

static rf_status print_value(printer *out, const json_t *value, int depth, rf_error *error);

static rf_status print_new_line(printer *out, int depth, rf_error *error)
{
    return out->indent ? rf_text_format(&out->text, error, "\n%*s", 2 * depth, "") : RF_OK;
}

/* The fewest digits that read back as the same double; ".0" where it would read as an integer. */
static rf_status print_real(printer *out, double number, rf_error *error)
{
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number) {
            break;
        }
    }
    rf_text_fix_number(digits);
    bool whole = strpbrk(digits, ".e") == NULL;
    if (strchr(digits, 'e') != NULL && fabs(number) < 1e16 && fabs(number) >= 1.0) {
        (void)snprintf(digits, sizeof digits, "%.0f", number);
        whole = true;
    }
    return rf_text_format(&out->text, error, "%s%s", digits, whole ? ".0" : "");
}

static rf_status print_character(printer *out, unsigned char c, rf_error *error)
{
    const char *named = "\"\\\b\f\n\r\t";
    const char *letters = "\"\\bfnrt";
    const char *found = c != '\0' ? strchr(named, c) : NULL;
    if (found != NULL) {
        return rf_text_format(&out->text, error, "\\%c", letters[found - named]);
    }
    if (c < 0x20U) {
        return rf_text_format(&out->text, error, "\\u%04x", c);
    }
    char byte = (char)c;
    return rf_text_append(&out->text, &byte, 1, error);
}

static rf_status print_string(printer *out, const char *string, size_t length, rf_error *error)
{
    RF_TRY(rf_text_append(&out->text, "\"", 1, error));
    for (size_t i = 0; i < length; i++) {
        RF_TRY(print_character(out, (unsigned char)string[i], error));
    }
    return rf_text_append(&out->text, "\"", 1, error);
}

static rf_status print_array(printer *out, const json_t *array, int depth, rf_error *error)
{
    size_t count = json_array_size(array);
    RF_TRY(rf_text_append(&out->text, "[", 1, error));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            RF_TRY(rf_text_append(&out->text, ",", 1, error));
        }
        RF_TRY(print_new_line(out, depth + 1, error));
        RF_TRY(print_value(out, json_array_get(array, i), depth + 1, error));
    }
    if (count > 0) {
        RF_TRY(print_new_line(out, depth, error));
    }
    return rf_text_append(&out->text, "]", 1, error);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static rf_status print_members(printer *out, const json_t *object, const char *const *keys,
                               int depth, rf_error *error)
{
    size_t count = json_object_size(object);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            RF_TRY(rf_text_append(&out->text, ",", 1, error));
        }
        RF_TRY(print_new_line(out, depth + 1, error));
        RF_TRY(print_string(out, keys[i], strlen(keys[i]), error));
        RF_TRY(rf_text_append(&out->text, ": ", out->indent ? 2 : 1, error));
        RF_TRY(print_value(out, json_object_get(object, keys[i]), depth + 1, error));
    }
    return count > 0 ? print_new_line(out, depth, error) : RF_OK;
}

static rf_status print_object(printer *out, const json_t *object, int depth, rf_error *error)
{
    /* jansson's iterators want a pointer that is not const, though they do not write. */
    json_t *iterated = (json_t *)(uintptr_t)object;
    void *memory = NULL;
    RF_TRY(rf_allocate(json_object_size(object) * sizeof(char *), "JSON keys", &memory, error));
    const char **keys = memory;
    size_t count = 0;
    for (void *i = json_object_iter(iterated); i != NULL; i = json_object_iter_next(iterated, i)) {
        keys[count++] = json_object_iter_key(i);
    }
    if (count > 1) {
        qsort(memory, count, sizeof *keys, compare_keys);
    }
    rf_status status = rf_text_append(&out->text, "{", 1, error);
    if (status == RF_OK) {
        status = print_members(out, object, keys, depth, error);
    }
    rf_release(memory);
    return status == RF_OK ? rf_text_append(&out->text, "}", 1, error) : status;
}

static rf_status print_value(printer *out, const json_t *value, int depth, rf_error *error)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return print_object(out, value, depth, error);
    case JSON_ARRAY:
        return print_array(out, value, depth, error);
    case JSON_STRING:
        return print_string(out, json_string_value(value), json_string_length(value), error);
    case JSON_INTEGER:
        return rf_text_format(&out->text, error, "%" JSON_INTEGER_FORMAT,
                              json_integer_value(value));
    case JSON_REAL:
        return print_real(out, json_real_value(value), error);
    case JSON_TRUE:
        return rf_text_append(&out->text, "true", 4, error);
    case JSON_FALSE:
        return rf_text_append(&out->text, "false", 5, error);
    default:
        return rf_text_append(&out->text, "null", 4, error);
    }
}

static rf_status print_document(const json_t *value, bool indent, rf_text *text, rf_error *error)
{
    printer out = {.indent = indent};
    rf_status status = print_value(&out, value, 0, error);
    if (status != RF_OK) {
        rf_release(out.text.bytes);
        return status;
    }
    *text = out.text;
    return RF_OK;
}

rf_status rf_json_text(const json_t *value, bool indent, char **text, rf_error *error)
{
    *text = NULL;
    rf_text printed = {0};
    RF_TRY(print_document(value, indent, &printed, error));
    *text = printed.bytes;
    return RF_OK;
}

rf_status rf_json_write(const char *path, const json_t *value, rf_error *error)
{
    rf_text text = {0};
    RF_TRY(print_document(value, true, &text, error));
    rf_status status = rf_text_append(&text, "\n", 1, error);
    if (status == RF_OK) {
        status = rf_file_write_atomic(path, text.bytes, text.size, error);
    }
    rf_release(text.bytes);
    return status;
}
