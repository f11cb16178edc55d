/* Text to token ids and back.
 *
 * Which tokenizer a model has follows from its folder: spiece.model (SentencePiece, unigram or
 * BPE), else tokenizer.json (of a SentencePiece model, as transformers writes it), else bytes (id =
 * byte + 2, as the published enwik8 model counts). */
#ifndef REFORMER_TOKENIZER_H
#define REFORMER_TOKENIZER_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_tokenizer rf_tokenizer;

/* path: a model directory, a spiece.model, or a tokenizer.json. RF_ERR_UNSUPPORTED, by name, for a
 * kind that is not read, or that needs the SentencePiece library in a build without it. The caller
 * destroys. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_load(const char *path, rf_tokenizer **tokenizer,
                                                 rf_error *error);
RF_API void rf_tokenizer_destroy(rf_tokenizer *tokenizer); /* NULL allowed */
/* Token ids are below this. */
RF_API int64_t rf_tokenizer_vocabulary(const rf_tokenizer *tokenizer);
/* Every byte is a token. */
RF_API bool rf_tokenizer_is_bytes(const rf_tokenizer *tokenizer);
/* What an id stands for, as the vocabulary writes it (U+2581 for a space); *size bytes, no NUL.
 * NULL: no such id, or bytes. */
RF_API const char *rf_tokenizer_piece(const rf_tokenizer *tokenizer, int64_t id, size_t *size);
/* The id of "unk", "bos", "eos", "pad", "mask", "cls" or "sep": by the model's
 * tokenizer_config.json or special_tokens_map.json, else by the SentencePiece model; -1 where there
 * is none. */
RF_API int64_t rf_tokenizer_special(const rf_tokenizer *tokenizer, const char *name);

/* Tokens of a text. Bytes [begins[i], ends[i]) of it are what token i stands for (empty for a blank
 * that was added). */
typedef struct rf_encoding {
    int32_t *ids;    /* [count] */
    int64_t *begins; /* [count] */
    int64_t *ends;   /* [count] */
    int64_t count;
} rf_encoding;
/* Any bytes are a text: what is no UTF-8 counts as U+FFFD. Nothing is added: no end, no start.
 * Clear in the end. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_tokenize(const rf_tokenizer *tokenizer,
                                                     const uint8_t *text, size_t size,
                                                     rf_encoding *encoding, rf_error *error);
/* Two texts as one sequence, with the tokenizer's "sep" between them if it has one. The second's
 * tokens start at *second_token; begins and ends count in the text that a token is of. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_tokenize_pair(const rf_tokenizer *tokenizer,
                                                          const uint8_t *first, size_t first_size,
                                                          const uint8_t *second, size_t second_size,
                                                          rf_encoding *encoding,
                                                          int64_t *second_token, rf_error *error);
RF_API void rf_encoding_clear(rf_encoding *encoding);
/* The text of ids; RF_ERR_ARGUMENT for one that is none. Released with rf_text_release (model.h);
 * NUL after the end. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_detokenize(const rf_tokenizer *tokenizer,
                                                       const int32_t *ids, int64_t count,
                                                       char **text, size_t *size, rf_error *error);

typedef struct rf_tokenizer_training {
    const char *data;   /* file, folder or pattern; compressed files are unpacked */
    const char *output; /* a file, or with is_folder a folder that gets spiece.model and
                           tokenizer_config.json */
    bool is_folder;
    const char *type;          /* "unigram" (NULL) or "bpe" */
    int64_t vocabulary;        /* pieces, special ones included */
    double coverage;           /* share of the text's characters that get a piece; 0 = 0.9995 */
    const char *normalization; /* "nmt_nfkc" (NULL), "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity" */
    bool byte_fallback;        /* characters without a piece become bytes instead of <unk> */
    const char *const
        *special; /* [special_count] tokens of their own, found in texts as they are: "<mask>" */
    size_t special_count;
    int threads;
} rf_tokenizer_training;
/* Train a SentencePiece model; ids 0 to 3 are <unk>, <s>, </s>, <pad>. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_train(const rf_tokenizer_training *training,
                                                  rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
