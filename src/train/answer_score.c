/* SQuAD v1.1's judgement of an answer (Rajpurkar et al. 2016, section 6.1, and the official script
 * evaluate-v1.1.py): both texts are normalised as code points, then compared whole and as bags of
 * words. Lower case is Python's, the sigma at the end of a word included. Time O(n log n) of the
 * words. */
#include "train/answer_score.h"

#include "base/memory.h"
#include "base/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { CAPITAL_SIGMA = 0x3A3, FINAL_SIGMA = 0x3C2, DOTTED_I = 0x130, DOT = 0x307 };

/* ---- normal form ------------------------------------------------------------------------- */

typedef struct codes {
    uint32_t *at; /* [count] */
    size_t count;
} codes;

static bool is_punctuation(uint32_t code)
{
    return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
           (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
}

/* A letter that has two cases, as far as sigma's neighbours go. */
static bool is_cased(uint32_t code)
{
    bool greek = (code >= 0x370U && code < 0x400U) || (code >= 0x1F00U && code < 0x2000U);
    bool small = code >= 'a' && code <= 'z';
    return rf_unicode_lower(code) != code || small || (greek && rf_unicode_is_word(code));
}

/* What sigma's neighbours are looked for beyond. */
static bool is_ignorable(uint32_t code)
{
    return code == '\'' || code == '.' || code == ':' || code == '^' || code == '`' ||
           code == 0xADU || code == 0xB7U || code == 0x2019U || (code >= 0x300U && code < 0x370U);
}

/* A sigma behind a letter and before none ends a word. */
static bool ends_word(const codes *text, size_t place)
{
    size_t before = place;
    size_t after = place + 1;
    while (before > 0 && is_ignorable(text->at[before - 1])) {
        before--;
    }
    while (after < text->count && is_ignorable(text->at[after])) {
        after++;
    }
    return before > 0 && is_cased(text->at[before - 1]) &&
           !(after < text->count && is_cased(text->at[after]));
}

/* Lower case without punctuation. lowered->at [2 * count of text] */
static void lower(const codes *text, codes *lowered)
{
    for (size_t i = 0; i < text->count; i++) {
        uint32_t code = text->at[i];
        if (is_punctuation(code)) {
            continue;
        }
        uint32_t made = rf_unicode_lower(code);
        if (code == CAPITAL_SIGMA && ends_word(text, i)) {
            made = FINAL_SIGMA;
        }
        lowered->at[lowered->count++] = made;
        if (code == DOTTED_I) {
            lowered->at[lowered->count++] = DOT;
        }
    }
}

static bool is_article(const uint32_t *run, size_t count)
{
    return run[0] == 'a' ? count == 1 || (count == 2 && run[1] == 'n')
                         : count == 3 && run[0] == 't' && run[1] == 'h' && run[2] == 'e';
}

/* bytes [5 * count + 1]: a space between words, nothing around. An article counts as white space.
 */
static void write_words(const codes *text, char *bytes)
{
    size_t size = 0;
    bool parts = false;
    for (size_t i = 0; i < text->count;) {
        size_t end = i;
        while (end < text->count && rf_unicode_is_word(text->at[end])) {
            end++;
        }
        bool gap = end > i ? is_article(text->at + i, end - i) : rf_unicode_is_space(text->at[i]);
        end += end == i ? 1 : 0;
        if (!gap && parts && size > 0) {
            bytes[size++] = ' ';
        }
        for (size_t j = i; j < end && !gap; j++) {
            size += rf_unicode_write(text->at[j], bytes + size);
        }
        parts = gap;
        i = end;
    }
    bytes[size] = '\0';
}

rf_status rf_answer_normalise(const char *text, size_t size, char **words, rf_error *error)
{
    void *scratch = NULL;
    void *memory = NULL;
    *words = NULL;
    RF_TRY(rf_allocate((3 * size + 1) * sizeof(uint32_t), "code points of an answer", &scratch,
                       error));
    codes as_given = {.at = scratch};
    codes lowered = {.at = as_given.at + size};
    for (size_t at = 0; at < size;) {
        as_given.at[as_given.count++] = rf_unicode_read(text, size, &at);
    }
    lower(&as_given, &lowered);
    /* Four bytes a code point, and a space before each at most. */
    rf_status status = rf_allocate(5 * lowered.count + 1, "words of an answer", &memory, error);
    if (status == RF_OK) {
        write_words(&lowered, memory);
        *words = memory;
    }
    rf_release(scratch);
    return status;
}

/* ---- comparison -------------------------------------------------------------------------- */

typedef struct word {
    const char *at;
    size_t size;
} word;

static int by_text(const void *a, const void *b)
{
    const word *x = a;
    const word *y = b;
    int order = memcmp(x->at, y->at, x->size < y->size ? x->size : y->size);
    return order != 0 ? order : x->size < y->size ? -1 : x->size > y->size ? 1 : 0;
}

/* Sorted words of a normalised text. list [half its bytes + 1] */
static size_t split(const char *text, word *list)
{
    size_t count = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        list[count++] = (word){text, size};
        text += size;
        text += *text == ' ' ? 1 : 0;
    }
    if (count > 1) {
        qsort(list, count, sizeof *list, by_text);
    }
    return count;
}

static size_t count_common(const word *a, size_t a_count, const word *b, size_t b_count)
{
    size_t common = 0;
    size_t i = 0;
    size_t j = 0;
    while (i < a_count && j < b_count) {
        int order = by_text(&a[i], &b[j]);
        common += order == 0 ? 1 : 0;
        i += order <= 0 ? 1 : 0;
        j += order >= 0 ? 1 : 0;
    }
    return common;
}

rf_status rf_answer_compare(const char *words, const char *known, rf_answer_score *score,
                            rf_error *error)
{
    void *memory = NULL;
    size_t room = strlen(words) / 2 + 1;
    RF_TRY(rf_allocate((room + strlen(known) / 2 + 1) * sizeof(word), "words of answers", &memory,
                       error));
    word *list = memory;
    size_t count = split(words, list);
    size_t known_count = split(known, list + room);
    size_t common = count_common(list, count, list + room, known_count);
    *score = (rf_answer_score){.exact = strcmp(words, known) == 0 ? 1.0 : 0.0};
    if (common > 0) {
        double precision = (double)common / (double)count;
        double recall = (double)common / (double)known_count;
        score->f1 = 2.0 * precision * recall / (precision + recall);
    }
    rf_release(memory);
    return RF_OK;
}
