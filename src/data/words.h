/* Words of a text and how often each stands there. A word is a run of letters: of ASCII's, and of
 * all characters beyond ASCII that are no punctuation, symbols or spaces of Latin-1 and of the
 * blocks U+2000 to U+2BFF, U+3000 to U+303F and U+FF00 to U+FF0F. Case counts. */
#ifndef RF_DATA_WORDS_H
#define RF_DATA_WORDS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rf_word {
    const uint8_t *text; /* [size], borrowed */
    size_t size;
    int64_t count;
} rf_word;

/* Zero-initialise; release with rf_words_clear. */
typedef struct rf_words {
    rf_word *items; /* [count] */
    int64_t count, capacity;
    int64_t *table; /* [table_size] by hash: index + 1, or 0 */
    int64_t table_size;
} rf_words;

/* The first word at or behind *begin: bytes [*begin, *end). False: there is none. */
bool rf_word_next(const uint8_t *bytes, size_t size, size_t *begin, size_t *end);
/* One more of a word, `times` times; its index. The text is borrowed. */
RF_MUST_CHECK rf_status rf_words_add(rf_words *words, const uint8_t *text, size_t size,
                                     int64_t times, int64_t *index, rf_error *error);
/* Every word of a text. */
RF_MUST_CHECK rf_status rf_words_add_all(rf_words *words, const uint8_t *bytes, size_t size,
                                         rf_error *error);
int64_t rf_words_find(const rf_words *words, const uint8_t *text, size_t size); /* -1: not there */
/* The most frequent first, in the order of bytes among equals. */
void rf_words_sort(rf_words *words);
void rf_words_clear(rf_words *words);

#endif
