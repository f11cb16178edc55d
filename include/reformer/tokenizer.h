/* Text to token ids and back.
 * A model's folder determines its tokenizer: spiece.model (SentencePiece, unigram or BPE), else
 * tokenizer.json (of a SentencePiece model, as transformers writes it), else bytes (id = byte + 2,
 * as in the published enwik8 model). docs/tokenizers.md has the details. */
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

/* Load a tokenizer. path: a model directory, a spiece.model, or a tokenizer.json. The caller
 * destroys *tokenizer. Errors: RF_ERR_FILE, RF_ERR_FORMAT; RF_ERR_UNSUPPORTED for a kind that is
 * not supported, or that needs the SentencePiece library in a build without it (the message names
 * it). */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_load(const char *path, rf_tokenizer **tokenizer,
                                                 rf_error *error);
RF_API void rf_tokenizer_destroy(rf_tokenizer *tokenizer); /* NULL allowed */
/* All token ids are below this. */
RF_API int64_t rf_tokenizer_vocabulary(const rf_tokenizer *tokenizer);
/* Whether tokens are bytes. */
RF_API bool rf_tokenizer_is_bytes(const rf_tokenizer *tokenizer);
/* The piece of an id, as the vocabulary writes it (U+2581 for a space): *size bytes, without NUL,
 * owned by the tokenizer. NULL if there is no such id, or tokens are bytes. */
RF_API const char *rf_tokenizer_piece(const rf_tokenizer *tokenizer, int64_t id, size_t *size);
/* The id of "unk", "bos", "eos", "pad", "mask", "cls" or "sep", from the model's
 * tokenizer_config.json or special_tokens_map.json, else from the SentencePiece model; -1 if there
 * is none. */
RF_API int64_t rf_tokenizer_special(const rf_tokenizer *tokenizer, const char *name);

/* The tokens of a text. Token i covers bytes [begins[i], ends[i]) of the text (empty for a blank
 * that was added). */
typedef struct rf_encoding {
    int32_t *ids;    /* [count] */
    int64_t *begins; /* [count] */
    int64_t *ends;   /* [count] */
    int64_t count;
} rf_encoding;
/* Tokenize text [size]: any bytes; invalid UTF-8 counts as U+FFFD. No start or end token is added.
 * The caller clears *encoding with rf_encoding_clear. Errors: RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_tokenize(const rf_tokenizer *tokenizer,
                                                     const uint8_t *text, size_t size,
                                                     rf_encoding *encoding, rf_error *error);
/* Tokenize two texts as one sequence, with the tokenizer's "sep" between them if it has one. The
 * second text's tokens start at *second_token; begins and ends refer to the text that a token comes
 * from. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_tokenize_pair(const rf_tokenizer *tokenizer,
                                                          const uint8_t *first, size_t first_size,
                                                          const uint8_t *second, size_t second_size,
                                                          rf_encoding *encoding,
                                                          int64_t *second_token, rf_error *error);
RF_API void rf_encoding_clear(rf_encoding *encoding); /* releases the arrays */
/* Turn ids [count] into *text, *size bytes followed by a NUL, to be released with rf_text_release
 * (model.h). RF_ERR_ARGUMENT for an id that does not exist. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_detokenize(const rf_tokenizer *tokenizer,
                                                       const int32_t *ids, int64_t count,
                                                       char **text, size_t *size, rf_error *error);

typedef struct rf_tokenizer_training {
    const char *data;   /* file, folder or pattern; compressed files are unpacked */
    const char *output; /* a file; with is_folder, a folder that gets spiece.model and
                           tokenizer_config.json */
    bool is_folder;
    const char *type;          /* "unigram" (NULL) or "bpe" */
    int64_t vocabulary;        /* number of pieces, including special ones */
    double coverage;           /* share of the text's characters that get a piece; 0 = 0.9995 */
    const char *normalization; /* "nmt_nfkc" (NULL), "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity" */
    bool byte_fallback;        /* characters without a piece become bytes instead of <unk> */
    /* [special_count] tokens that are recognised in texts as they stand: "<mask>". */
    const char *const *special;
    size_t special_count;
    int threads;
} rf_tokenizer_training;
/* Train a SentencePiece model; ids 0 to 3 are <unk>, <s>, </s>, <pad>. Errors: RF_ERR_ARGUMENT,
 * RF_ERR_FILE, RF_ERR_UNSUPPORTED in a build without the library. */
RF_API RF_MUST_CHECK rf_status rf_tokenizer_train(const rf_tokenizer_training *training,
                                                  rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
