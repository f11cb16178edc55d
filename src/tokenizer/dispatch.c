/* Which tokenizer a model has, and the calls that reach it. */
#include "base/file.h"
#include "base/memory.h"
#include "tokenizer/kind.h"

/* A folder that brings a tokenizer of a kind that is not read must not be taken for a model of
 * bytes. */
static rf_status refuse_tokenizer_files(const char *folder, rf_error *error)
{
    static const char *const names[] = {"spiece.model", "tokenizer.json", "vocab.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = NULL;
        RF_TRY(rf_path_join(folder, names[i], &path, error));
        bool exists = rf_file_exists(path);
        rf_release(path);
        if (exists) {
            return rf_error_set(
                error, RF_ERR_UNSUPPORTED,
                "%s: has a %s, but only models of bytes (no tokenizer file) can read "
                "and write text; give token ids instead",
                folder, names[i]);
        }
    }
    return RF_OK;
}

rf_status rf_tokenizer_create(const char *folder, int64_t vocabulary, rf_tokenizer **tokenizer,
                              rf_error *error)
{
    *tokenizer = NULL;
    if (folder != NULL) {
        RF_TRY(refuse_tokenizer_files(folder, error));
    }
    if (vocabulary < RF_BYTE_VALUES) {
        return rf_error_set(
            error, RF_ERR_UNSUPPORTED,
            "vocab_size is %lld and there is no tokenizer file: a model of bytes needs "
            "at least %d ids (%d with padding), so text cannot be read with this one",
            (long long)vocabulary, RF_BYTE_VALUES, RF_BYTE_VALUES + RF_BYTE_SHIFT);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof **tokenizer, "tokenizer", &memory, error));
    *tokenizer = memory;
    (*tokenizer)->kind = &rf_tokenizer_bytes;
    (*tokenizer)->vocabulary = vocabulary;
    (*tokenizer)->shift = vocabulary >= RF_BYTE_VALUES + RF_BYTE_SHIFT ? RF_BYTE_SHIFT : 0;
    return RF_OK;
}

void rf_tokenizer_destroy(rf_tokenizer *tokenizer)
{
    rf_release(tokenizer);
}

int64_t rf_tokenizer_vocabulary(const rf_tokenizer *tokenizer)
{
    return tokenizer->vocabulary;
}

bool rf_tokenizer_is_bytes(const rf_tokenizer *tokenizer)
{
    return tokenizer->kind->is_bytes;
}

rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                              int32_t **ids, int64_t *count, rf_error *error)
{
    *ids = NULL;
    *count = 0;
    return tokenizer->kind->encode(tokenizer, bytes, size, ids, count, error);
}

size_t rf_tokenizer_decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit)
{
    return tokenizer->kind->decode(tokenizer, id, bytes, limit);
}
