/* Words in a table with open addresses, as large again as it must be. Cost: a hash and about one
 * comparison for each word of the text. */
#include "data/words.h"

#include "base/hash.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024 };

/* ---- letters ----------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character that starts here; what is none is a byte that is no letter, so that
 * every word is well formed. */
static size_t character(const uint8_t *bytes, size_t size, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = bytes[0] < 0x80 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    bool good = bytes[0] < 0xf8 && (length == 1 || bytes[0] >= 0xc0) && length <= size;
    *code = length == 1 ? bytes[0] : bytes[0] & (0x7fU >> length);
    for (size_t i = 1; i < length && good; i++) {
        good = (bytes[i] & 0xc0U) == 0x80;
        *code = *code << 6 | (bytes[i] & 0x3fU);
    }
    good = good && *code >= least[length] && *code <= 0x10ffff && *code >> 11 != 0x1b;
    *code = good ? *code : 0;
    return good ? length : 1;
}

static bool is_letter(uint32_t code)
{
    if (code < 0x80) {
        return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    }
    bool latin_sign =
        code <= 0xbf ? code != 0xaa && code != 0xb5 && code != 0xba : code == 0xd7 || code == 0xf7;
    bool other_sign = (code >= 0x2000 && code <= 0x2bff) || (code >= 0x3000 && code <= 0x303f) ||
                      (code >= 0xff00 && code <= 0xff0f);
    return !latin_sign && !other_sign;
}

bool rf_word_next(const uint8_t *bytes, size_t size, size_t *begin, size_t *end)
{
    uint32_t code = 0;
    size_t at = *begin;
    while (at < size) {
        size_t length = character(bytes + at, size - at, &code);
        if (is_letter(code)) {
            break;
        }
        at += length;
    }
    *begin = at;
    while (at < size) {
        size_t length = character(bytes + at, size - at, &code);
        if (!is_letter(code)) {
            break;
        }
        at += length;
    }
    *end = at;
    return *end > *begin;
}

/* ---- the table --------------------------------------------------------------------------- */

/* The place of a word, or the free one where it would stand. */
static int64_t place_of(const rf_words *words, const uint8_t *text, size_t size)
{
    int64_t at = (int64_t)(rf_hash_bytes(text, size, 0) & (uint64_t)(words->table_size - 1));
    for (;; at = (at + 1) & (words->table_size - 1)) {
        int64_t index = words->table[at] - 1;
        if (index < 0 || (words->items[index].size == size &&
                          memcmp(words->items[index].text, text, size) == 0)) {
            return at;
        }
    }
}

static void fill_table(rf_words *words)
{
    memset(words->table, 0, (size_t)words->table_size * sizeof *words->table);
    for (int64_t i = 0; i < words->count; i++) {
        words->table[place_of(words, words->items[i].text, words->items[i].size)] = i + 1;
    }
}

/* Room for one more; the table is at most half full. */
static rf_status grow(rf_words *words, rf_error *error)
{
    if (words->count < words->capacity) {
        return RF_OK;
    }
    int64_t capacity = words->capacity > 0 ? 2 * words->capacity : FIRST_SIZE;
    void *table = NULL;
    void *items = words->items;
    RF_TRY(rf_reallocate(&items, (size_t)words->capacity * sizeof *words->items,
                         (size_t)capacity * sizeof *words->items, "words", error));
    words->items = items;
    RF_TRY(rf_allocate((size_t)(2 * capacity) * sizeof *words->table, "table of words", &table,
                       error));
    rf_release(words->table);
    words->table = table;
    words->table_size = 2 * capacity;
    words->capacity = capacity;
    fill_table(words);
    return RF_OK;
}

rf_status rf_words_add(rf_words *words, const uint8_t *text, size_t size, int64_t times,
                       int64_t *index, rf_error *error)
{
    RF_TRY(grow(words, error));
    int64_t place = place_of(words, text, size);
    if (words->table[place] == 0) {
        words->items[words->count++] = (rf_word){.text = text, .size = size};
        words->table[place] = words->count;
    }
    *index = words->table[place] - 1;
    words->items[*index].count += times;
    return RF_OK;
}

rf_status rf_words_add_all(rf_words *words, const uint8_t *bytes, size_t size, rf_error *error)
{
    size_t end = 0;
    int64_t index = 0;
    for (size_t begin = 0; rf_word_next(bytes, size, &begin, &end); begin = end) {
        RF_TRY(rf_words_add(words, bytes + begin, end - begin, 1, &index, error));
    }
    return RF_OK;
}

int64_t rf_words_find(const rf_words *words, const uint8_t *text, size_t size)
{
    return words->table_size == 0 ? -1 : words->table[place_of(words, text, size)] - 1;
}

static int by_count(const void *left, const void *right)
{
    const rf_word *a = left;
    const rf_word *b = right;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : a->size < b->size ? -1 : a->size > b->size;
}

void rf_words_sort(rf_words *words)
{
    if (words->count > 0) {
        qsort(words->items, (size_t)words->count, sizeof *words->items, by_count);
        fill_table(words);
    }
}

void rf_words_clear(rf_words *words)
{
    rf_release(words->items);
    rf_release(words->table);
    *words = (rf_words){0};
}
