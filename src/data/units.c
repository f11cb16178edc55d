/* Sentences, lines and paragraphs by their bytes: no dictionary of abbreviations, so that "Mr."
 * ends a sentence; for pairs of spans that follow each other that does no harm. One pass to count,
 * one to fill. */
#include "data/units.h"

#include "base/memory.h"

#include <string.h>

typedef struct text {
    const uint8_t *bytes; /* [size] */
    size_t size;
} text;

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static size_t skip_blanks(const text *t, size_t at)
{
    while (at < t->size && is_blank(t->bytes[at])) {
        at++;
    }
    return at;
}

/* Whether the newline at `at` is followed by a blank line. */
static bool ends_paragraph(const text *t, size_t at)
{
    for (size_t i = at + 1; i < t->size && is_blank(t->bytes[i]); i++) {
        if (t->bytes[i] == '\n') {
            return true;
        }
    }
    return false;
}

/* How long the first of the marks is that stands at `at`; 0: none does. */
static size_t mark_at(const text *t, size_t at, const char *const *marks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(marks[i]);
        if (t->size - at >= size && memcmp(t->bytes + at, marks[i], size) == 0) {
            return size;
        }
    }
    return 0;
}

/* Behind the end of a sentence at `at`; `at` itself where none ends. */
static size_t behind_sentence(const text *t, size_t at)
{
    static const char *const narrow[] = {".", "!", "?", "\xe2\x80\xa6"};
    static const char *const wide[] = {"\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f"};
    static const char *const closing[] = {
        "\"",           "'",           ")", "]", "\xc2\xbb", "\xe2\x80\x9d", "\xe2\x80\x99",
        "\xe2\x80\x9c", "\xe3\x80\x8d"};
    size_t end = at;
    bool is_wide = false;
    for (size_t size = 1; size > 0; end += size) {
        size = mark_at(t, end, narrow, sizeof narrow / sizeof narrow[0]);
        if (size == 0) {
            size = mark_at(t, end, wide, sizeof wide / sizeof wide[0]);
            is_wide = is_wide || size > 0;
        }
    }
    if (end == at) {
        return at;
    }
    for (size_t size = 1; size > 0; end += size) {
        size = mark_at(t, end, closing, sizeof closing / sizeof closing[0]);
    }
    return is_wide || end == t->size || is_blank(t->bytes[end]) ? end : at;
}

/* Where the unit that begins at `from` ends. */
static size_t unit_end(const text *t, size_t from, rf_unit unit)
{
    for (size_t at = from; at < t->size; at++) {
        bool newline = t->bytes[at] == '\n';
        if (newline && (unit == RF_UNIT_LINE || ends_paragraph(t, at))) {
            return at;
        }
        size_t behind = unit == RF_UNIT_SENTENCE ? behind_sentence(t, at) : at;
        if (behind > at) {
            return behind;
        }
    }
    return t->size;
}

/* All units, into `units` where it has memory; returns how many there are. */
static int64_t walk(const text *t, rf_unit unit, rf_units *units)
{
    int64_t count = 0;
    for (size_t at = skip_blanks(t, 0); at < t->size; count++) {
        size_t end = unit_end(t, at, unit);
        size_t next = skip_blanks(t, end);
        if (units->begins != NULL) {
            while (is_blank(t->bytes[end - 1])) { /* a unit begins with what is no blank */
                end--;
            }
            units->begins[count] = (int64_t)at;
            units->ends[count] = (int64_t)end;
        }
        at = next;
    }
    return count;
}

rf_status rf_units_find(const uint8_t *bytes, size_t size, rf_unit unit, rf_units *units,
                        rf_error *error)
{
    const text t = {bytes, size};
    void *memory = NULL;
    *units = (rf_units){0};
    int64_t count = walk(&t, unit, units);
    RF_TRY(rf_allocate(2 * ((size_t)count + 1) * sizeof(int64_t), "parts of the text", &memory,
                       error));
    units->begins = memory;
    units->ends = units->begins + count + 1;
    units->count = walk(&t, unit, units);
    return RF_OK;
}

void rf_units_clear(rf_units *units)
{
    rf_release(units->begins); /* ends are in its block */
    *units = (rf_units){0};
}
