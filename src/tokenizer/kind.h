/* Inside this folder: what a kind of tokenizer fills in. */
#ifndef RF_TOKENIZER_KIND_H
#define RF_TOKENIZER_KIND_H

#include "base/text.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tokenizer.h"

enum { RF_SPECIAL_COUNT = 7 }; /* unk, bos, eos, pad, mask, cls, sep */
enum { RF_BYTE_VALUES = 256, RF_BYTE_SHIFT = 2 };

typedef struct rf_tokenizer_kind {
    bool is_bytes;
    /* begins and ends only where begins is not NULL. */
    rf_status (*encode)(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                        int32_t **ids, int64_t **begins, int64_t **ends, int64_t *count,
                        rf_error *error);
    size_t (*decode)(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit);
    /* ids in [0, vocabulary) */
    rf_status (*decode_all)(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                            char **text, size_t *size, rf_error *error);
} rf_tokenizer_kind;

struct rf_tokenizer {
    const rf_tokenizer_kind *kind;
    int64_t vocabulary;
    int32_t shift;     /* of byte tokenizers: id = byte + shift */
    rf_pieces *pieces; /* of SentencePiece models; owned */
    int64_t special[RF_SPECIAL_COUNT];
};

extern const rf_tokenizer_kind rf_tokenizer_bytes, rf_tokenizer_pieces;

/* special.c: ids of special tokens, by the files and by the pieces. */
RF_MUST_CHECK rf_status rf_tokenizer_find_special(rf_tokenizer *tokenizer,
                                                  const rf_tokenizer_files *files, rf_error *error);

/* fast_json.c: a tokenizer.json as the SentencePiece model that it was made from, serialised.
 * RF_ERR_UNSUPPORTED, by name, for what such a model cannot say. */
RF_MUST_CHECK rf_status rf_fast_json_to_pieces(const char *path, const char *text, size_t size,
                                               rf_text *model, rf_error *error);

#endif
