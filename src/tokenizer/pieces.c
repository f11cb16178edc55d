/* SentencePiece models as a kind of tokenizer. One id in the middle of a text is its piece with
 * U+2581 read as a space; whole texts are put together by the library. */
#include "tokenizer/kind.h"

#include <string.h>

static rf_status encode(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                        int32_t **ids, int64_t **begins, int64_t **ends, int64_t *count,
                        rf_error *error)
{
    return rf_pieces_encode(tokenizer->pieces, bytes, size, ids, begins, ends, count, error);
}

/* The value of "<0x41>". */
static uint8_t byte_of(const rf_piece *piece)
{
    uint8_t value = 0;
    for (size_t i = 3; i < 5 && i < piece->size; i++) {
        char digit = piece->bytes[i];
        int number = digit >= 'A' ? digit - 'A' + 10 : digit - '0';
        value = (uint8_t)(value * 16 + number);
    }
    return value;
}

static size_t decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit)
{
    static const char blank[] = "\xe2\x96\x81";
    if (id < 0 || id >= rf_pieces_count(tokenizer->pieces) || limit == 0) {
        return 0;
    }
    rf_piece piece = rf_pieces_at(tokenizer->pieces, id);
    if (piece.kind == RF_PIECE_CONTROL) {
        return 0;
    }
    if (piece.kind == RF_PIECE_BYTE) {
        bytes[0] = byte_of(&piece);
        return 1;
    }
    if (piece.kind == RF_PIECE_UNKNOWN) { /* what the library writes for it */
        piece = (rf_piece){.bytes = " \xe2\x81\x87 ", .size = 5};
    }
    size_t used = 0;
    for (size_t i = 0; i < piece.size && used < limit;) {
        bool is_blank = piece.size - i >= 3 && memcmp(piece.bytes + i, blank, 3) == 0;
        bytes[used++] = is_blank ? ' ' : (uint8_t)piece.bytes[i];
        i += is_blank ? 3 : 1;
    }
    return used;
}

static rf_status decode_all(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                            char **text, size_t *size, rf_error *error)
{
    return rf_pieces_decode(tokenizer->pieces, ids, count, text, size, error);
}

const rf_tokenizer_kind rf_tokenizer_pieces = {
    .encode = encode,
    .decode = decode,
    .decode_all = decode_all,
};
