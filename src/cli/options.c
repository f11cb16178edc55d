/* Values of options: from text, from JSON, and back. Every value is a JSON value of the option's
 * kind, so that merging sources, recording a run and reading the record again are the same thing.
 */
#include "options.h"

#include "units.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_BYTES = 80, EXPECTATION_BYTES = 200 };

rf_status rf_cli_fail(rf_error *error, rf_status code, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return code;
}

static const char *kind_words(rf_option_kind kind)
{
    static const char *const words[] = {
        "yes or no",
        "an integer",
        "a number",
        "a text",
        "a size such as 24GiB or 512MiB",
        "a duration such as 150s or 10m",
        "one of",
        "integers with commas between them",
        "a text",
    };
    return words[kind];
}

static bool has_range(const rf_option *option)
{
    return option->kind == RF_OPTION_INTEGER || option->kind == RF_OPTION_NUMBER ||
           option->kind == RF_OPTION_LIST || option->kind == RF_OPTION_SIZE ||
           option->kind == RF_OPTION_DURATION;
}

void rf_option_expectation(const rf_option *option, char *text, size_t size)
{
    if (option->kind == RF_OPTION_CHOICE) {
        size_t used = (size_t)snprintf(text, size, "one of ");
        for (const char *c = option->choices; *c != '\0' && used + 3 < size; c++) {
            if (*c == '|') {
                text[used++] = ',';
                text[used++] = ' ';
            } else {
                text[used++] = *c;
            }
            text[used] = '\0';
        }
    } else if (!has_range(option)) {
        bool filled = option->kind != RF_OPTION_FLAG && !option->may_be_empty;
        snprintf(text, size, "%s%s", kind_words(option->kind), filled ? " that is not empty" : "");
    } else if (option->high > 0.0) {
        snprintf(text, size, "%s from %.10g to %.10g", kind_words(option->kind), option->low,
                 option->high);
    } else if (option->kind == RF_OPTION_SIZE || option->kind == RF_OPTION_DURATION) {
        snprintf(text, size, "%s", kind_words(option->kind));
    } else {
        snprintf(text, size, "%s of at least %.10g", kind_words(option->kind), option->low);
    }
}

/* The message of every wrong value. What was given is shown with its control characters replaced,
 * and cut. */
static rf_status wrong_value(const rf_option *option, const char *label, const char *text,
                             rf_error *error)
{
    char expected[EXPECTATION_BYTES];
    char shown[SHOWN_BYTES + 4];
    rf_option_expectation(option, expected, sizeof expected);
    size_t length = strnlen(text, SHOWN_BYTES + 1);
    size_t kept = length > SHOWN_BYTES ? SHOWN_BYTES : length;
    for (size_t i = 0; i < kept; i++) {
        unsigned char byte = (unsigned char)text[i];
        shown[i] = byte < 32 || byte >= 127 ? '?' : text[i];
    }
    snprintf(shown + kept, sizeof shown - kept, "%s", length > kept ? "..." : "");
    return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s is '%s', expected %s", label, shown, expected);
}

static bool in_range(const rf_option *option, double value)
{
    return value >= option->low && (option->high <= 0.0 || value <= option->high);
}

static rf_status give(json_t *made, json_t **value, rf_error *error)
{
    if (made == NULL) {
        return rf_cli_fail(error, RF_ERR_MEMORY, "out of memory while reading the options");
    }
    *value = made;
    return RF_OK;
}

/* A choice that ends in ":N" stands for that with a number. */
static bool is_numbered(const char *choice, size_t length, const char *word)
{
    if (length < 2 || strncmp(choice + length - 2, ":N", 2) != 0 ||
        strncmp(choice, word, length - 1) != 0) {
        return false;
    }
    const char *digits = word + length - 1;
    return digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
}

static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    const char *at = choices;
    while (at != NULL && length > 0 && strchr(word, '|') == NULL) {
        at += *at == '|' ? 1 : 0;
        if (strncmp(at, word, length) == 0 && (at[length] == '|' || at[length] == '\0')) {
            return true;
        }
        if (is_numbered(at, strcspn(at, "|"), word)) {
            return true;
        }
        at = strchr(at, '|');
    }
    return false;
}

/* 1 yes, 0 no, -1 neither. */
static int read_flag(const char *text)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (int i = 0; i < 8; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i % 2;
        }
    }
    return -1;
}

static rf_status list_from_text(const rf_option *option, const char *label, const char *text,
                                json_t **value, rf_error *error)
{
    json_t *list = json_array();
    const char *at = text;
    for (;;) {
        char item[32];
        size_t length = strcspn(at, ",");
        int64_t number = 0;
        snprintf(item, sizeof item, "%.*s", (int)(length < sizeof item ? length : sizeof item - 1),
                 at);
        if (length >= sizeof item || !rf_cli_read_integer(item, &number) ||
            !in_range(option, (double)number)) {
            json_decref(list);
            return wrong_value(option, label, text, error);
        }
        if (json_array_append_new(list, json_integer(number)) != 0) {
            json_decref(list);
            return give(NULL, value, error);
        }
        at += length;
        if (*at == '\0') {
            return give(list, value, error);
        }
        at++;
    }
}

static rf_status number_from_text(const rf_option *option, const char *label, const char *text,
                                  json_t **value, rf_error *error)
{
    int64_t whole = 0;
    double real = 0.0;
    bool is_whole = option->kind == RF_OPTION_INTEGER || option->kind == RF_OPTION_SIZE;
    bool read = false;
    if (option->kind == RF_OPTION_INTEGER) {
        read = rf_cli_read_integer(text, &whole);
    } else if (option->kind == RF_OPTION_SIZE) {
        read = rf_cli_read_size(text, &whole);
    } else if (option->kind == RF_OPTION_DURATION) {
        read = rf_cli_read_duration(text, &real);
    } else {
        read = rf_cli_read_number(text, &real);
    }
    if (!read || !in_range(option, is_whole ? (double)whole : real)) {
        return wrong_value(option, label, text, error);
    }
    return give(is_whole ? json_integer(whole) : json_real(real), value, error);
}

static rf_status strings_from_text(const char *text, json_t **value, rf_error *error)
{
    json_t *list = json_array();
    if (list != NULL &&
        json_array_append_new(list, json_stringn_nocheck(text, strlen(text))) != 0) {
        json_decref(list);
        list = NULL;
    }
    return give(list, value, error);
}

rf_status rf_option_from_text(const rf_option *option, const char *label, const char *text,
                              json_t **value, rf_error *error)
{
    int flag = 0;
    switch (option->kind) {
    case RF_OPTION_FLAG:
        flag = read_flag(text);
        return flag < 0 ? wrong_value(option, label, text, error)
                        : give(json_boolean(flag), value, error);
    case RF_OPTION_LIST:
        return list_from_text(option, label, text, value, error);
    case RF_OPTION_CHOICE:
        return is_choice(option->choices, text) ? give(json_string(text), value, error)
                                                : wrong_value(option, label, text, error);
    case RF_OPTION_STRING:
    case RF_OPTION_STRINGS:
        if (text[0] == '\0' && !option->may_be_empty) {
            return wrong_value(option, label, text, error);
        }
        return option->kind == RF_OPTION_STRING
                   ? give(json_stringn_nocheck(text, strlen(text)), value, error)
                   : strings_from_text(text, value, error);
    default:
        return number_from_text(option, label, text, value, error);
    }
}

static rf_status wrong_json(const rf_option *option, const char *label, const json_t *from,
                            rf_error *error)
{
    char text[SHOWN_BYTES + 2] = "";
    size_t size = json_dumpb(from, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    text[size < sizeof text ? size : sizeof text - 1] = '\0';
    return wrong_value(option, label, text, error);
}

static rf_status list_from_json(const rf_option *option, const char *label, const json_t *from,
                                json_t **value, rf_error *error)
{
    json_t *list = json_array();
    size_t count = json_array_size(from);
    bool sound = count > 0 && list != NULL;
    for (size_t i = 0; sound && i < count; i++) {
        json_t *item = json_array_get(from, i);
        if (option->kind == RF_OPTION_LIST) {
            sound = json_is_integer(item) && in_range(option, (double)json_integer_value(item));
        } else {
            sound = json_is_string(item) && json_string_length(item) > 0;
        }
        sound = sound && json_array_append(list, item) == 0;
    }
    if (!sound) {
        json_decref(list);
        return wrong_json(option, label, from, error);
    }
    return give(list, value, error);
}

rf_status rf_option_from_json(const rf_option *option, const char *label, const json_t *from,
                              json_t **value, rf_error *error)
{
    bool wants_text = option->kind == RF_OPTION_STRING || option->kind == RF_OPTION_CHOICE ||
                      option->kind == RF_OPTION_SIZE || option->kind == RF_OPTION_DURATION;
    bool wants_whole = option->kind == RF_OPTION_INTEGER || option->kind == RF_OPTION_SIZE;
    bool wants_real = option->kind == RF_OPTION_NUMBER || option->kind == RF_OPTION_DURATION;
    if (json_is_array(from) &&
        (option->kind == RF_OPTION_LIST || option->kind == RF_OPTION_STRINGS)) {
        return list_from_json(option, label, from, value, error);
    }
    if (json_is_integer(from) && option->kind == RF_OPTION_LIST &&
        in_range(option, (double)json_integer_value(from))) {
        return give(json_pack("[I]", json_integer_value(from)), value, error);
    }
    if (json_is_boolean(from) && option->kind == RF_OPTION_FLAG) {
        return give(json_boolean(json_is_true(from)), value, error);
    }
    if (json_is_string(from) && wants_text &&
        strlen(json_string_value(from)) == json_string_length(from)) {
        return rf_option_from_text(option, label, json_string_value(from), value, error);
    }
    if (json_is_integer(from) && wants_whole &&
        in_range(option, (double)json_integer_value(from))) {
        return give(json_integer(json_integer_value(from)), value, error);
    }
    if (json_is_number(from) && wants_real && in_range(option, json_number_value(from))) {
        return give(json_real(json_number_value(from)), value, error);
    }
    return wrong_json(option, label, from, error);
}

/* The items of an array with commas between them. */
static void list_to_text(const json_t *value, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(value) && used + 1 < size; i++) {
        const json_t *item = json_array_get(value, i);
        int written = json_is_string(item)
                          ? snprintf(text + used, size - used, "%s%s", i > 0 ? "," : "",
                                     json_string_value(item))
                          : snprintf(text + used, size - used, "%s%lld", i > 0 ? "," : "",
                                     (long long)json_integer_value(item));
        used += written > 0 ? (size_t)written : 0;
    }
}

void rf_option_to_text(const rf_option *option, const json_t *value, char *text, size_t size)
{
    text[0] = '\0';
    if (json_is_array(value)) {
        list_to_text(value, text, size);
    } else if (json_is_boolean(value)) {
        snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_integer(value)) {
        snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, size, "%.12g%s", json_real_value(value),
                 option->kind == RF_OPTION_DURATION ? "s" : "");
    } else if (json_is_string(value)) {
        snprintf(text, size, "%s", json_string_value(value));
    }
}

void rf_option_environment_name(const rf_option *option, char name[RF_OPTION_NAME_BYTES])
{
    snprintf(name, RF_OPTION_NAME_BYTES, "REFORMER_%s", option->name);
    for (char *c = name; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
}
