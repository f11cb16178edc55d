/* Statuses, error messages and log lines: all formatting that the library does for people ends
 * here. */
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct status_name {
    rf_status status;
    const char *name;
} status_name;

static const status_name names[] = {
    {RF_OK, "ok"},
    {RF_ERR_ARGUMENT, "argument"},
    {RF_ERR_CONFIG, "config"},
    {RF_ERR_MEMORY, "memory"},
    {RF_ERR_FILE, "file"},
    {RF_ERR_NO_SPACE, "no space"},
    {RF_ERR_FORMAT, "format"},
    {RF_ERR_UNSUPPORTED, "unsupported"},
    {RF_ERR_DEVICE, "device"},
    {RF_ERR_NUMERIC, "numeric"},
    {RF_ERR_RANGE, "range"},
    {RF_ERR_MISMATCH, "mismatch"},
    {RF_ERR_CANCELLED, "cancelled"},
};

const char *rf_status_name(rf_status status)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return "unknown";
}

const char *rf_version(void)
{
    return "0.1.0";
}

/* A message that filled its buffer may end inside a UTF-8 sequence; cut back to the last whole one.
 */
static void trim_partial_character(char *text, size_t capacity)
{
    size_t length = strlen(text);
    if (length + 1 < capacity) {
        return;
    }
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0U) == 0x80U) {
        start--;
    }
    if (start == 0) {
        return;
    }
    unsigned lead = (unsigned char)text[start - 1];
    size_t follow = lead >= 0xF0U ? 3 : lead >= 0xE0U ? 2 : lead >= 0xC0U ? 1 : 0;
    if (length - start < follow) {
        text[start - 1] = '\0';
    }
}

rf_status(rf_error_set)(rf_error *error, rf_status code, const char *format, ...)
{
    if (error == NULL) {
        return code;
    }
    char message[RF_ERROR_MESSAGE_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    trim_partial_character(message, sizeof message);
    error->code = code;
    memcpy(error->message, message, sizeof message);
    return code;
}

/* As much of `more` as fits. */
static void append(char *text, size_t capacity, const char *more)
{
    size_t length = strlen(text);
    size_t added = strlen(more);
    size_t room = capacity - 1 - length;
    added = added < room ? added : room;
    memcpy(text + length, more, added);
    text[length + added] = '\0';
}

void rf_error_prefix(rf_error *error, const char *format, ...)
{
    if (error == NULL) {
        return;
    }
    char message[RF_ERROR_MESSAGE_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    append(message, sizeof message, ": ");
    append(message, sizeof message, error->message);
    trim_partial_character(message, sizeof message);
    memcpy(error->message, message, sizeof message);
}

void rf_log_write(const rf_log *log, rf_log_level level, const char *format, ...)
{
    if (log == NULL || log->write == NULL) {
        return;
    }
    char message[RF_ERROR_MESSAGE_BYTES * 2] = "";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    trim_partial_character(message, sizeof message);
    log->write(log->user, level, message);
}

#ifndef NDEBUG
void rf_assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, condition);
    abort();
}
#endif
