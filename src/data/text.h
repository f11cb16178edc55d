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
    uint64_t hash;     /* of the bytes: the identity of the data in state.json */
    int64_t documents; /* how many follow each other in the bytes; 0: it is one text */
    int64_t *ends;     /* [documents] where each ends, owned */
} rf_corpus;

/* A file, a folder (its files recursively, in sorted order) or a glob pattern; compressed files are
 * unpacked; the contents follow each other without anything between. A pattern that names nothing
 * and a text without a byte are refused. */
RF_MUST_CHECK rf_status rf_corpus_load(const char *pattern, rf_corpus *corpus, rf_error *error);
void rf_corpus_clear(rf_corpus *corpus);

/* Tokens of a stretch of bytes. Where a byte is a token they are expanded only where they are read:
 * a byte of memory each; else four bytes each. */
typedef struct rf_tokens {
    const uint8_t *bytes; /* [size], borrowed */
    size_t size;
    int64_t count;
    int32_t *pieces;  /* [count], owned; NULL where a byte is a token */
    int32_t ids[256]; /* of every byte */
    int64_t documents;
    int64_t *starts; /* [documents + 1] tokens before each; owned; NULL: it is one text */
} rf_tokens;

/* A view of `size` bytes. Pieces are found in stretches of 4 MiB, cut at line ends: a text that is
 * shorter is one text, as SentencePiece would take it. */
RF_MUST_CHECK rf_status rf_tokens_view(const rf_tokenizer *tokenizer, const uint8_t *bytes,
                                       size_t size, rf_tokens *tokens, rf_error *error);
/* The same of documents that follow each other; ends [documents], in bytes. */
RF_MUST_CHECK rf_status rf_tokens_view_documents(const rf_tokenizer *tokenizer,
                                                 const uint8_t *bytes, const int64_t *ends,
                                                 int64_t documents, rf_tokens *tokens,
                                                 rf_error *error);
void rf_tokens_clear(rf_tokens *tokens);
/* ids [length], of tokens start ... start + length - 1, which must be there. */
void rf_tokens_read(const rf_tokens *tokens, int64_t start, int64_t length, int32_t *ids);
/* Bytes that a token stands for in the mean. */
double rf_tokens_bytes_per_token(const rf_tokens *tokens);
/* RF_ERR_ARGUMENT naming the text, its size and `length` if it is shorter than one window. */
RF_MUST_CHECK rf_status rf_tokens_check_length(const rf_tokens *tokens, const char *name,
                                               int64_t length, rf_error *error);
/* The first place from `from` on where no character of a UTF-8 text is cut. */
size_t rf_text_boundary(const uint8_t *bytes, size_t size, size_t from);

/* Cut a text into what is trained on and, from its end, what validates: rf_corpus_held_out for
 * bytes; for pieces the same share, more where one window would not fit into it and nothing was
 * requested. */
RF_MUST_CHECK rf_status rf_tokens_split(const rf_tokenizer *tokenizer, const rf_corpus *corpus,
                                        int64_t requested, int64_t length, rf_tokens *train,
                                        rf_tokens *valid, rf_error *error);

/* How many bytes at the end of a text of `size` are held out for validation. requested 0: 5 % of
 * the text, at most 200,000, but one window at least. Both sides must hold a window of `length`:
 * RF_ERR_ARGUMENT says which does not. */
RF_MUST_CHECK rf_status rf_corpus_held_out(const rf_corpus *corpus, int64_t requested,
                                           int64_t length, size_t *held_out, rf_error *error);
/* RF_ERR_ARGUMENT naming the text, its size and `length` if it is shorter than one window. */
RF_MUST_CHECK rf_status rf_corpus_check_length(const rf_corpus *corpus, int64_t length,
                                               rf_error *error);

#endif
