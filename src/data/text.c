/* Reading text: what the names stand for, one after the other, into one stretch of bytes. Memory:
 * the text itself, and while a file is added that file once more. */
#include "data/text.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "io/compressed.h"

#include <stdint.h>
#include <string.h>

static const size_t largest_text = (size_t)INT64_MAX / 8;
static const int64_t most_held_out_by_default = 200000;

/* The first file becomes the text; later ones are added behind it. */
static rf_status append_file(rf_corpus *corpus, const char *path, size_t *capacity, rf_error *error)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    RF_TRY(rf_compressed_read(path, largest_text - corpus->size, &bytes, &size, error));
    corpus->files++;
    if (corpus->bytes == NULL) {
        corpus->bytes = bytes;
        corpus->size = size;
        *capacity = size;
        return RF_OK;
    }
    rf_status status = RF_OK;
    if (size > *capacity - corpus->size) {
        size_t larger = *capacity > size ? 2 * *capacity : *capacity + size;
        void *memory = corpus->bytes;
        RF_TRY_DONE(rf_reallocate(&memory, *capacity, larger, "the text", error));
        corpus->bytes = memory;
        *capacity = larger;
    }
    if (size > 0) {
        memcpy(corpus->bytes + corpus->size, bytes, size);
        corpus->size += size;
    }
done:
    rf_release(bytes);
    return status;
}

static rf_status append_all(rf_corpus *corpus, char *const *names, size_t count, rf_error *error)
{
    size_t capacity = 0;
    for (size_t i = 0; i < count; i++) {
        RF_TRY(append_file(corpus, names[i], &capacity, error));
    }
    if (corpus->size == 0) {
        return rf_error_set(error, RF_ERR_FILE, "%s: %zu file%s, 0 bytes: there is no text to read",
                            corpus->name, count, count == 1 ? "" : "s");
    }
    return RF_OK;
}

rf_status rf_corpus_load(const char *pattern, rf_corpus *corpus, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    *corpus = (rf_corpus){0};
    RF_TRY_DONE(rf_string_copy(pattern, &corpus->name, error));
    RF_TRY_DONE(rf_file_find(pattern, &names, &count, error));
    RF_TRY_DONE(append_all(corpus, names, count, error));
    corpus->hash = rf_hash_bytes(corpus->bytes, corpus->size, 0);
done:
    rf_names_release(names, count);
    if (status != RF_OK) {
        rf_corpus_clear(corpus);
    }
    return status;
}

void rf_corpus_clear(rf_corpus *corpus)
{
    rf_release(corpus->name);
    rf_release(corpus->bytes);
    rf_release(corpus->ends);
    *corpus = (rf_corpus){0};
}

rf_status rf_corpus_check_length(const rf_corpus *corpus, int64_t length, rf_error *error)
{
    if ((int64_t)corpus->size >= length) {
        return RF_OK;
    }
    return rf_error_set(
        error, RF_ERR_ARGUMENT,
        "%s: %zu bytes, but one window needs %lld; give more text or a smaller length",
        corpus->name, corpus->size, (long long)length);
}

rf_status rf_corpus_held_out(const rf_corpus *corpus, int64_t requested, int64_t length,
                             size_t *held_out, rf_error *error)
{
    int64_t size = (int64_t)corpus->size;
    int64_t held = requested;
    RF_TRY(rf_corpus_check_length(corpus, length, error));
    if (held == 0) {
        int64_t share = size / 20;
        held = share < most_held_out_by_default ? share : most_held_out_by_default;
        held = held < length ? length : held;
    }
    if (held < length) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "%s: the last %lld bytes are held out for validation, but one window needs "
            "%lld; hold out more, give a validation text, or use a smaller length",
            corpus->name, (long long)held, (long long)length);
    }
    if (held > size - length) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "%s: %lld bytes, of which the last %lld are held out for validation, leave "
            "%lld, but one window needs %lld; give more text, a validation text of its "
            "own, or a smaller length",
            corpus->name, (long long)size, (long long)held,
            (long long)(size > held ? size - held : 0), (long long)length);
    }
    *held_out = (size_t)held;
    return RF_OK;
}
