/* A growing text: capacity doubles, so that n appends cost O(bytes). */
#include "base/text.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static rf_status reserve(rf_text *text, size_t more, rf_error *error)
{
    if (more > SIZE_MAX / 4 - text->size) {
        return rf_error_set(error, RF_ERR_MEMORY, "a text of %zu bytes cannot grow by %zu",
                            text->size, more);
    }
    size_t needed = text->size + more + 1;
    if (needed <= text->capacity) {
        return RF_OK;
    }
    size_t capacity = text->capacity < 512 ? 512 : text->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    void *memory = text->bytes;
    RF_TRY(rf_reallocate(&memory, text->capacity, capacity, "a text", error));
    text->bytes = memory;
    text->capacity = capacity;
    return RF_OK;
}

rf_status rf_text_append(rf_text *text, const char *bytes, size_t size, rf_error *error)
{
    RF_TRY(reserve(text, size, error));
    if (size > 0) {
        memcpy(text->bytes + text->size, bytes, size);
    }
    text->size += size;
    text->bytes[text->size] = '\0';
    return RF_OK;
}

rf_status rf_text_format(rf_text *text, rf_error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    rf_status status = length < 0
                           ? rf_error_set(error, RF_ERR_ARGUMENT, "a text could not be formatted")
                           : reserve(text, (size_t)length, error);
    if (status == RF_OK) {
        (void)vsnprintf(text->bytes + text->size, (size_t)length + 1, format, again);
        text->size += (size_t)length;
    }
    va_end(again);
    return status;
}

void rf_text_fix_number(char *number)
{
    size_t sign = strcspn(number, ",");
    if (number[sign] == ',') {
        number[sign] = '.';
    }
}

const char *rf_text_of_size(double bytes, char text[RF_SIZE_TEXT_BYTES])
{
    static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t step = 0;
    while (bytes >= 1024.0 && step + 1 < sizeof names / sizeof names[0]) {
        bytes /= 1024.0;
        step++;
    }
    (void)snprintf(text, RF_SIZE_TEXT_BYTES, "%.*f %s", step == 0 ? 0 : 2, bytes, names[step]);
    return text;
}
