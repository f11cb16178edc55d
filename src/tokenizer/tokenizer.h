/* Text to token ids and back, behind one interface; bytes today, more kinds later. */
#ifndef RF_TOKENIZER_TOKENIZER_H
#define RF_TOKENIZER_TOKENIZER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rf_tokenizer rf_tokenizer;
/* The tokenizer of a model: bytes where vocabulary >= 256: id = byte + shift, shift = 2 where
 * vocabulary >= 258 (0 padding, 1 unused; Hugging Face's enwik8 convention), else 0.
 * RF_ERR_UNSUPPORTED for a smaller vocabulary without a tokenizer file. folder may be NULL. */
RF_MUST_CHECK rf_status rf_tokenizer_create(const char *folder, int64_t vocabulary,
                                            rf_tokenizer **tokenizer, rf_error *error);
void rf_tokenizer_destroy(rf_tokenizer *tokenizer); /* NULL allowed */
int64_t rf_tokenizer_vocabulary(const rf_tokenizer *tokenizer);
bool rf_tokenizer_is_bytes(const rf_tokenizer *tokenizer);
/* ids in fresh memory (rf_release). */
RF_MUST_CHECK rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const uint8_t *bytes,
                                            size_t size, int32_t **ids, int64_t *count,
                                            rf_error *error);
/* The bytes of one id, at most `limit`; returns how many (special ids: 0). */
size_t rf_tokenizer_decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit);
#endif
