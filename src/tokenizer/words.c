/* Which tokens make a word. SentencePiece models mark where one begins with U+2581; in bytes it is
 * a run of letters and digits, as UTF-8 spells them. Cost: a look at each token. */
#include "tokenizer/kind.h"

#include <string.h>

/* ---- bytes ------------------------------------------------------------------------------- */

/* Up to four bytes of UTF-8 from ids: how many make a character, 1 for what is none. */
static int64_t read_character(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t left,
                              int32_t *character)
{
    static const struct {
        int32_t bits, least;
    } leads[] = {{0x1f, 0x80}, {0x0f, 0x800}, {0x07, 0x10000}};
    int32_t lead = ids[0] - tokenizer->shift;
    int extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    *character = lead >= 0 && lead < 0x80 ? lead : -1;
    if (extra == 0 || lead > 0xf7 || left <= extra) {
        return 1;
    }
    int32_t value = lead & leads[extra - 1].bits;
    for (int i = 1; i <= extra; i++) {
        int32_t byte = ids[i] - tokenizer->shift;
        if (byte < 0x80 || byte > 0xbf) {
            return 1;
        }
        value = value * 64 + (byte & 0x3f);
    }
    if (value < leads[extra - 1].least || value > 0x10ffff) {
        return 1;
    }
    *character = value;
    return extra + 1;
}

typedef struct range {
    int32_t first, last;
} range;

static bool is_in(const range *ranges, size_t count, int32_t character)
{
    for (size_t i = 0; i < count; i++) {
        if (character >= ranges[i].first && character <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Beyond ASCII everything is a letter but these blocks of blanks, punctuation and signs. */
static bool is_letter(int32_t character)
{
    static const range ascii[] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    static const range signs[] = {
        {0x80, 0xa9},     {0xab, 0xb4},     {0xb6, 0xb9},     {0xbb, 0xbf},     {0xd7, 0xd7},
        {0xf7, 0xf7},     {0x2000, 0x206f}, {0x20a0, 0x20cf}, {0x2100, 0x2bff}, {0x3000, 0x3004},
        {0x3008, 0x3020}, {0xe000, 0xf8ff}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe6f}, {0xff00, 0xff0f},
        {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0xfff0, 0xffff}, {0x1f000, 0x1faff}};
    if (character < 0x80) {
        return is_in(ascii, sizeof ascii / sizeof ascii[0], character);
    }
    return !is_in(signs, sizeof signs / sizeof signs[0], character);
}

/* Scripts that are written without blanks between words: each character counts as one. */
static bool is_ideograph(int32_t character)
{
    static const range ranges[] = {
        {0x2e80, 0x2fdf}, {0x3005, 0x3007}, {0x3400, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x3ffff}};
    return is_in(ranges, sizeof ranges / sizeof ranges[0], character);
}

static void find_in_bytes(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t length,
                          uint8_t *parts)
{
    bool in_word = false;
    for (int64_t at = 0; at < length;) {
        int32_t character = -1;
        int64_t count = read_character(tokenizer, ids + at, length - at, &character);
        bool letter = character >= 0 && is_letter(character) && !is_ideograph(character);
        for (int64_t i = 0; i < count; i++) {
            bool goes_on = i > 0 || (letter && in_word);
            parts[at + i] = goes_on ? RF_PART_GOES_ON : RF_PART_BEGINS;
        }
        in_word = letter;
        at += count;
    }
}

/* ---- pieces ------------------------------------------------------------------------------ */

static bool is_marked(const rf_piece *piece)
{
    static const char mark[] = "\xe2\x96\x81";
    return piece->size >= 3 && memcmp(piece->bytes, mark, 3) == 0;
}

static void find_in_pieces(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t length,
                           uint8_t *parts)
{
    int64_t known = rf_pieces_count(tokenizer->pieces);
    bool in_word = false;
    for (int64_t i = 0; i < length; i++) {
        bool is_known = ids[i] >= 0 && ids[i] < known;
        rf_piece piece = {.kind = RF_PIECE_CONTROL};
        if (is_known) {
            piece = rf_pieces_at(tokenizer->pieces, ids[i]);
        }
        bool special = piece.kind == RF_PIECE_CONTROL;
        bool begins = special || !in_word || is_marked(&piece);
        parts[i] = begins ? RF_PART_BEGINS : RF_PART_GOES_ON;
        in_word = !special;
    }
}

void rf_tokenizer_find_words(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t length,
                             uint8_t *parts)
{
    if (tokenizer->pieces != NULL) {
        find_in_pieces(tokenizer, ids, length, parts);
    } else {
        find_in_bytes(tokenizer, ids, length, parts);
    }
}

bool rf_tokenizer_knows_words(const rf_tokenizer *tokenizer)
{
    for (int64_t id = 0; tokenizer->pieces != NULL && id < rf_pieces_count(tokenizer->pieces);
         id++) {
        rf_piece piece = rf_pieces_at(tokenizer->pieces, id);
        if (piece.size > 3 && is_marked(&piece)) {
            return true;
        }
    }
    return tokenizer->pieces == NULL;
}
