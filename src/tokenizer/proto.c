/* The encoding of protocol buffers, as far as a SentencePiece model needs it: a tag (field number
 * and kind), then a number, four bytes, or a size and so many bytes. Field numbers:
 * sentencepiece_model.proto of SentencePiece. */
#include "tokenizer/proto.h"

#include "base/memory.h"

#include <string.h>

enum {
    NUMBER = 0,
    SIZED = 2,
    FOUR_BYTES = 5,
    MODEL_PIECE = 1,
    MODEL_TRAINER = 2,
    MODEL_NORMALIZER = 3,
    PIECE_TEXT = 1,
    PIECE_SCORE = 2,
    PIECE_TYPE = 3,
    TRAINER_TYPE = 3,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNKNOWN = 45,
    NORMALIZER_TABLE = 2,
    NORMALIZER_PREFIX = 3,
    NORMALIZER_COLLAPSE = 4,
    NORMALIZER_ESCAPE = 5
};

static rf_status put_varint(rf_text *to, uint64_t number, rf_error *error)
{
    char bytes[10];
    size_t size = 0;
    do {
        bytes[size++] = (char)((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
        number >>= 7;
    } while (number > 0);
    return rf_text_append(to, bytes, size, error);
}

static rf_status put_number(rf_text *to, unsigned field, uint64_t number, rf_error *error)
{
    RF_TRY(put_varint(to, field << 3 | NUMBER, error));
    return put_varint(to, number, error);
}

static rf_status put_bytes(rf_text *to, unsigned field, const char *bytes, size_t size,
                           rf_error *error)
{
    RF_TRY(put_varint(to, field << 3 | SIZED, error));
    RF_TRY(put_varint(to, size, error));
    return rf_text_append(to, bytes, size, error);
}

/* A message within the model; the part is released. */
static rf_status put_part(rf_text *model, unsigned field, rf_text *part, rf_status status,
                          rf_error *error)
{
    if (status == RF_OK) {
        status = put_bytes(model, field, part->bytes, part->size, error);
    }
    rf_release(part->bytes);
    return status;
}

static rf_status fill_piece(rf_text *part, const char *piece, float score, uint8_t type,
                            rf_error *error)
{
    RF_TRY(put_bytes(part, PIECE_TEXT, piece, strlen(piece), error));
    RF_TRY(put_varint(part, PIECE_SCORE << 3 | FOUR_BYTES, error));
    RF_TRY(rf_text_append(part, (const char *)&score, sizeof score,
                          error)); /* little-endian, as this machine is */
    return put_number(part, PIECE_TYPE, type, error);
}

rf_status rf_proto_piece(rf_text *model, const char *piece, float score, uint8_t type,
                         rf_error *error)
{
    rf_text part = {0};
    rf_status status = fill_piece(&part, piece, score, type, error);
    return put_part(model, MODEL_PIECE, &part, status, error);
}

static rf_status fill_trainer(rf_text *part, bool is_bpe, bool byte_fallback, const char *unknown,
                              rf_error *error)
{
    RF_TRY(put_number(part, TRAINER_TYPE, is_bpe ? 2 : 1, error));
    RF_TRY(put_number(part, TRAINER_BYTE_FALLBACK, byte_fallback ? 1 : 0, error));
    return put_bytes(part, TRAINER_UNKNOWN, unknown, strlen(unknown), error);
}

rf_status rf_proto_trainer(rf_text *model, bool is_bpe, bool byte_fallback, const char *unknown,
                           rf_error *error)
{
    rf_text part = {0};
    rf_status status = fill_trainer(&part, is_bpe, byte_fallback, unknown, error);
    return put_part(model, MODEL_TRAINER, &part, status, error);
}

/* The value of a base64 digit, -1 for others. */
static int digit_value(char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit != '\0' ? strchr(digits, digit) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

static rf_status decode_base64(const char *text, rf_text *bytes, rf_error *error)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; text[i] != '\0' && text[i] != '='; i++) {
        int value = digit_value(text[i]);
        if (value < 0) {
            return rf_error_set(error, RF_ERR_FORMAT, "the normaliser's table is not base64");
        }
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            char byte = (char)(bits >> count & 0xff);
            RF_TRY(rf_text_append(bytes, &byte, 1, error));
        }
    }
    return RF_OK;
}

static rf_status fill_normalizer(rf_text *part, const rf_text *table, bool prefix, bool collapse,
                                 rf_error *error)
{
    if (table->size > 0) {
        RF_TRY(put_bytes(part, NORMALIZER_TABLE, table->bytes, table->size, error));
    }
    RF_TRY(put_number(part, NORMALIZER_PREFIX, prefix ? 1 : 0, error));
    RF_TRY(put_number(part, NORMALIZER_COLLAPSE, collapse ? 1 : 0, error));
    return put_number(part, NORMALIZER_ESCAPE, 1, error);
}

rf_status rf_proto_normalizer(rf_text *model, const char *charsmap, bool prefix, bool collapse,
                              rf_error *error)
{
    rf_text part = {0};
    rf_text table = {0};
    rf_status status = charsmap != NULL ? decode_base64(charsmap, &table, error) : RF_OK;
    if (status == RF_OK) {
        status = fill_normalizer(&part, &table, prefix, collapse, error);
    }
    rf_release(table.bytes);
    return put_part(model, MODEL_NORMALIZER, &part, status, error);
}
