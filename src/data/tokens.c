/* Texts as tokens. Bytes are looked up when they are read; pieces are found once, a stretch of text
 * after the other. */
#include "base/memory.h"
#include "data/text.h"

#include <string.h>

enum { STRETCH = 4 << 20 };

/* ---- bytes ------------------------------------------------------------------------------- */

static rf_status view_bytes(const rf_tokenizer *tokenizer, rf_tokens *tokens, rf_error *error)
{
    uint8_t every_byte[256];
    int32_t *ids = NULL;
    int64_t count = 0;
    for (size_t i = 0; i < sizeof every_byte; i++) {
        every_byte[i] = (uint8_t)i;
    }
    RF_TRY(rf_tokenizer_encode(tokenizer, every_byte, sizeof every_byte, &ids, &count, error));
    RF_ASSERT(count == 256);
    memcpy(tokens->ids, ids, sizeof tokens->ids);
    rf_release(ids);
    tokens->count = (int64_t)tokens->size;
    return RF_OK;
}

/* ---- pieces ------------------------------------------------------------------------------ */

size_t rf_text_boundary(const uint8_t *bytes, size_t size, size_t from)
{
    size_t at = from;
    while (at < size && at < from + 3 && (bytes[at] & 0xc0) == 0x80) {
        at++;
    }
    return at;
}

/* Where the stretch that begins at `from` ends: after its last newline, else after its last blank,
 * else anywhere. */
static size_t stretch_end(const uint8_t *bytes, size_t size, size_t from)
{
    static const uint8_t ends[] = {'\n', ' '};
    if (size - from <= STRETCH) {
        return size;
    }
    for (size_t k = 0; k < sizeof ends; k++) {
        for (size_t at = from + STRETCH; at > from; at--) {
            if (bytes[at - 1] == ends[k]) {
                return at;
            }
        }
    }
    return rf_text_boundary(bytes, size, from + STRETCH);
}

static rf_status append(rf_tokens *tokens, int64_t *capacity, const int32_t *ids, int64_t count,
                        rf_error *error)
{
    int64_t needed = tokens->count + count;
    if (needed > *capacity) {
        int64_t larger = needed > 2 * *capacity ? needed : 2 * *capacity;
        void *memory = tokens->pieces;
        RF_TRY(rf_reallocate(&memory, (size_t)*capacity * sizeof *ids, (size_t)larger * sizeof *ids,
                             "the text's tokens", error));
        tokens->pieces = memory;
        *capacity = larger;
    }
    if (count > 0) {
        memcpy(tokens->pieces + tokens->count, ids, (size_t)count * sizeof *ids);
    }
    tokens->count = needed;
    return RF_OK;
}

/* Bytes [from, to). */
static rf_status append_pieces(const rf_tokenizer *tokenizer, rf_tokens *tokens, size_t from,
                               size_t to, int64_t *capacity, rf_error *error)
{
    for (size_t at = from; at < to;) {
        size_t end = stretch_end(tokens->bytes, to, at);
        int32_t *ids = NULL;
        int64_t count = 0;
        RF_TRY(rf_tokenizer_encode(tokenizer, tokens->bytes + at, end - at, &ids, &count, error));
        rf_status status = append(tokens, capacity, ids, count, error);
        rf_release(ids);
        RF_TRY(status);
        at = end;
    }
    return RF_OK;
}

/* What is kept as long as the text is used is no larger than what a plan counts. */
static rf_status shrink(rf_tokens *tokens, int64_t capacity, rf_error *error)
{
    void *memory = tokens->pieces;
    size_t size = (size_t)tokens->count * sizeof *tokens->pieces;
    if (capacity == tokens->count) {
        return RF_OK;
    }
    RF_TRY(rf_reallocate(&memory, (size_t)capacity * sizeof *tokens->pieces, size,
                         "the text's tokens", error));
    tokens->pieces = memory;
    return RF_OK;
}

/* Documents one by one, so that no piece is of two. */
static rf_status view_pieces(const rf_tokenizer *tokenizer, const int64_t *ends, rf_tokens *tokens,
                             rf_error *error)
{
    int64_t capacity = 0;
    void *memory = NULL;
    RF_TRY(rf_allocate(0, "the text's tokens", &memory,
                       error)); /* not NULL, however empty the text is */
    tokens->pieces = memory;
    if (ends == NULL) {
        RF_TRY(append_pieces(tokenizer, tokens, 0, tokens->size, &capacity, error));
        return shrink(tokens, capacity, error);
    }
    size_t from = 0;
    for (int64_t i = 0; i < tokens->documents; i++) {
        RF_TRY(append_pieces(tokenizer, tokens, from, (size_t)ends[i], &capacity, error));
        from = (size_t)ends[i];
        tokens->starts[i + 1] = tokens->count;
    }
    return shrink(tokens, capacity, error);
}

/* ---- both -------------------------------------------------------------------------------- */

rf_status rf_tokens_view(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                         rf_tokens *tokens, rf_error *error)
{
    *tokens = (rf_tokens){.bytes = bytes, .size = size};
    rf_status status = rf_tokenizer_is_bytes(tokenizer)
                           ? view_bytes(tokenizer, tokens, error)
                           : view_pieces(tokenizer, NULL, tokens, error);
    if (status != RF_OK) {
        rf_tokens_clear(tokens);
    }
    return status;
}

rf_status rf_tokens_view_documents(const rf_tokenizer *tokenizer, const uint8_t *bytes,
                                   const int64_t *ends, int64_t documents, rf_tokens *tokens,
                                   rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    *tokens = (rf_tokens){.bytes = bytes,
                          .size = documents > 0 ? (size_t)ends[documents - 1] : 0,
                          .documents = documents};
    RF_TRY(rf_allocate_zeroed(((size_t)documents + 1) * sizeof *ends, "starts of documents",
                              &memory, error));
    tokens->starts = memory;
    if (rf_tokenizer_is_bytes(tokenizer)) {
        status = view_bytes(tokenizer, tokens, error);
        for (int64_t i = 0; i < documents; i++) {
            tokens->starts[i + 1] = ends[i];
        }
    } else {
        status = view_pieces(tokenizer, ends, tokens, error);
    }
    if (status != RF_OK) {
        rf_tokens_clear(tokens);
    }
    return status;
}

void rf_tokens_clear(rf_tokens *tokens)
{
    rf_release(tokens->pieces);
    rf_release(tokens->starts);
    *tokens = (rf_tokens){0};
}

void rf_tokens_read(const rf_tokens *tokens, int64_t start, int64_t length, int32_t *ids)
{
    RF_ASSERT(start >= 0 && length >= 0 && start <= tokens->count - length);
    if (tokens->pieces != NULL) {
        memcpy(ids, tokens->pieces + start, (size_t)length * sizeof *ids);
        return;
    }
    for (int64_t i = 0; i < length; i++) {
        ids[i] = tokens->ids[tokens->bytes[start + i]];
    }
}

double rf_tokens_bytes_per_token(const rf_tokens *tokens)
{
    return tokens->count > 0 ? (double)tokens->size / (double)tokens->count : 1.0;
}

rf_status rf_tokens_check_length(const rf_tokens *tokens, const char *name, int64_t length,
                                 rf_error *error)
{
    if (tokens->count >= length) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "%s: %zu bytes make %lld tokens, but one window needs %lld; give more text "
                        "or a smaller length",
                        name, tokens->size, (long long)tokens->count, (long long)length);
}

/* ---- training and validation ------------------------------------------------------------- */

/* The last `held` bytes as tokens, and more of them until a window fits, unless so many were
 * requested. */
static rf_status hold_out(const rf_tokenizer *tokenizer, const rf_corpus *corpus, size_t held,
                          bool requested, int64_t length, rf_tokens *valid, rf_error *error)
{
    for (;;) {
        size_t cut = rf_text_boundary(corpus->bytes, corpus->size, corpus->size - held);
        RF_TRY(rf_tokens_view(tokenizer, corpus->bytes + cut, corpus->size - cut, valid, error));
        if (valid->count >= length) {
            return RF_OK;
        }
        int64_t found = valid->count;
        rf_tokens_clear(valid);
        if (requested || held > corpus->size / 4) {
            return rf_error_set(
                error, RF_ERR_ARGUMENT,
                "%s: the last %zu bytes are held out for validation and make %lld tokens, but one "
                "window needs "
                "%lld; hold out more, give a validation text, or use a smaller length",
                corpus->name, held, (long long)found, (long long)length);
        }
        held *= 2;
    }
}

rf_status rf_tokens_split(const rf_tokenizer *tokenizer, const rf_corpus *corpus, int64_t requested,
                          int64_t length, rf_tokens *train, rf_tokens *valid, rf_error *error)
{
    size_t held_out = 0;
    RF_TRY(rf_corpus_held_out(corpus, requested, length, &held_out, error));
    if (rf_tokenizer_is_bytes(tokenizer)) {
        RF_TRY(rf_tokens_view(tokenizer, corpus->bytes + (corpus->size - held_out), held_out, valid,
                              error));
    } else {
        RF_TRY(hold_out(tokenizer, corpus, held_out, requested > 0, length, valid, error));
    }
    RF_TRY(rf_tokens_view(tokenizer, corpus->bytes, corpus->size - valid->size, train, error));
    return rf_tokens_check_length(train, corpus->name, length, error);
}
