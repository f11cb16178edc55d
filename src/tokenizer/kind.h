/* Inside this folder: what a kind of tokenizer fills in. */
#ifndef RF_TOKENIZER_KIND_H
#define RF_TOKENIZER_KIND_H

#include "tokenizer/tokenizer.h"

typedef struct rf_tokenizer_kind {
    bool is_bytes;
    rf_status (*encode)(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                        int32_t **ids, int64_t *count, rf_error *error);
    size_t (*decode)(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit);
} rf_tokenizer_kind;

struct rf_tokenizer {
    const rf_tokenizer_kind *kind;
    int64_t vocabulary;
    int32_t shift; /* of byte tokenizers: id = byte + shift */
};

extern const rf_tokenizer_kind rf_tokenizer_bytes;
enum { RF_BYTE_VALUES = 256, RF_BYTE_SHIFT = 2 };

#endif
