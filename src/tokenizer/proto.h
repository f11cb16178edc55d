/* Parts of a serialised SentencePiece model, written one after the other. */
#ifndef RF_TOKENIZER_PROTO_H
#define RF_TOKENIZER_PROTO_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* Types of pieces, by their numbers in the format. */
enum {
    RF_PROTO_NORMAL = 1,
    RF_PROTO_UNKNOWN = 2,
    RF_PROTO_CONTROL = 3,
    RF_PROTO_USER = 4,
    RF_PROTO_BYTE = 6
};

/* The next piece; the first has id 0. */
RF_MUST_CHECK rf_status rf_proto_piece(rf_text *model, const char *piece, float score, uint8_t type,
                                       rf_error *error);
/* What kind of model it is, and how it writes the unknown piece. */
RF_MUST_CHECK rf_status rf_proto_trainer(rf_text *model, bool is_bpe, bool byte_fallback,
                                         const char *unknown, rf_error *error);
/* charsmap: the table of the normaliser in base64; NULL: none. prefix: a blank is put before every
 * text. collapse: blanks in a row are one, and none stand at the ends. */
RF_MUST_CHECK rf_status rf_proto_normalizer(rf_text *model, const char *charsmap, bool prefix,
                                            bool collapse, rf_error *error);
/* charsmap.c: whether the tables by which a serialised model normalises characters lead nowhere
 * outside themselves. */
bool rf_proto_tables_are_sound(const void *model, size_t size);

#endif
