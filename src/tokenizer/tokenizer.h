/* Text to token ids and back, behind one interface (reformer/tokenizer.h); here what the library
 * needs beside that. */
#ifndef RF_TOKENIZER_TOKENIZER_H
#define RF_TOKENIZER_TOKENIZER_H

#include "base/status.h"
#include "reformer/tokenizer.h"
#include "tokenizer/files.h"

/* The tokenizer of a model: bytes where no file says otherwise and vocabulary >= 256: id = byte +
 * shift, shift = 2 where vocabulary >= 258 (0 padding, 1 unused; Hugging Face's enwik8 convention),
 * else 0. RF_ERR_UNSUPPORTED for a smaller vocabulary without a tokenizer file; RF_ERR_CONFIG where
 * the tokenizer has more pieces than the model has ids. folder may be NULL: no files. */
RF_MUST_CHECK rf_status rf_tokenizer_create(const char *folder, int64_t vocabulary,
                                            rf_tokenizer **tokenizer, rf_error *error);
/* The same from files that are in memory, borrowed for the call. vocabulary 0: as many ids as the
 * tokenizer has. `where` is for messages. */
RF_MUST_CHECK rf_status rf_tokenizer_from_files(const char *where, const rf_tokenizer_files *files,
                                                int64_t vocabulary, rf_tokenizer **tokenizer,
                                                rf_error *error);
/* Whether there is a tokenizer among the files. */
bool rf_tokenizer_files_hold_one(const rf_tokenizer_files *files);
/* ids in fresh memory (rf_release). */
RF_MUST_CHECK rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const uint8_t *bytes,
                                            size_t size, int32_t **ids, int64_t *count,
                                            rf_error *error);
/* The bytes of one id in the middle of a text, at most `limit`; returns how many (special ids: 0).
 */
size_t rf_tokenizer_decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit);

/* Of a word; kept is for callers that leave a token out of all of them. */
enum { RF_PART_GOES_ON, RF_PART_BEGINS, RF_PART_KEPT };
/* parts [length]: whether each token begins a word or goes on with it. Of pieces a word is one with
 * the mark of a blank and those behind it that have none; of bytes a run of letters and digits in
 * UTF-8. What is no letter (a blank, a comma), an ideograph and a control piece are words of their
 * own. */
void rf_tokenizer_find_words(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t length,
                             uint8_t *parts);
/* Bytes, or pieces of which some begin a word. */
bool rf_tokenizer_knows_words(const rf_tokenizer *tokenizer);

#endif
