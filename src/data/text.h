/* Text as bytes: a file, a folder or a pattern of files, put together in order; and views of it as
 * tokens. */
#ifndef RF_DATA_TEXT_H
#define RF_DATA_TEXT_H

#include "tokenizer/tokenizer.h"

/* What was read. Any bytes are a text, NUL and invalid UTF-8 included. */
typedef struct rf_corpus {
    char *name;     /* the pattern as given, for messages; owned */
    uint8_t *bytes; /* [size], owned */
    size_t size;
    size_t files;
    uint64_t hash; /* of the bytes: the identity of the data in state.json */
} rf_corpus;

/* A file, a folder (its files recursively, in sorted order) or a glob pattern; compressed files are
 * unpacked; the contents follow each other without anything between. A pattern that names nothing
 * and a text without a byte are refused. */
RF_MUST_CHECK rf_status rf_corpus_load(const char *pattern, rf_corpus *corpus, rf_error *error);
void rf_corpus_clear(rf_corpus *corpus);

/* Tokens of a stretch of bytes, expanded only where they are read: a byte of memory each. */
typedef struct rf_tokens {
    const uint8_t *bytes; /* [count], borrowed */
    int64_t count;
    int32_t ids[256]; /* of every byte */
} rf_tokens;

/* A view of `size` bytes, for a tokenizer of bytes. */
RF_MUST_CHECK rf_status rf_tokens_view(const rf_tokenizer *tokenizer, const uint8_t *bytes,
                                       size_t size, rf_tokens *tokens, rf_error *error);
/* ids [length], of tokens start ... start + length - 1, which must be there. */
void rf_tokens_read(const rf_tokens *tokens, int64_t start, int64_t length, int32_t *ids);

/* How many bytes at the end of a text of `size` are held out for validation. requested 0: 5 % of
 * the text, at most 200,000, but one window at least. Both sides must hold a window of `length`:
 * RF_ERR_ARGUMENT says which does not. */
RF_MUST_CHECK rf_status rf_corpus_held_out(const rf_corpus *corpus, int64_t requested,
                                           int64_t length, size_t *held_out, rf_error *error);
/* RF_ERR_ARGUMENT naming the text, its size and `length` if it is shorter than one window. */
RF_MUST_CHECK rf_status rf_corpus_check_length(const rf_corpus *corpus, int64_t length,
                                               rf_error *error);

#endif
