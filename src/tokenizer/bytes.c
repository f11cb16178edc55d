/* Bytes as tokens: any file is a text, nothing is lost, id = byte + shift. The shift of 2 leaves 0
 * for padding and 1 unused, as the published enwik8 model counts. */
#include "base/memory.h"
#include "tokenizer/kind.h"

static rf_status take(size_t count, size_t width, void **memory, rf_error *error)
{
    size_t needed = 0;
    if (!rf_size_multiply(count, width, &needed)) {
        return rf_error_set(error, RF_ERR_MEMORY,
                            "a text of %zu bytes is too long for this machine", count);
    }
    return rf_allocate(needed, "token ids", memory, error);
}

/* Byte i is token i. */
static rf_status make_spans(size_t size, int64_t **begins, int64_t **ends, rf_error *error)
{
    void *memory[2] = {NULL, NULL};
    rf_status status = take(size, sizeof **begins, &memory[0], error);
    if (status == RF_OK) {
        status = take(size, sizeof **ends, &memory[1], error);
    }
    if (status != RF_OK) {
        rf_release(memory[0]);
        return status;
    }
    *begins = memory[0];
    *ends = memory[1];
    for (size_t i = 0; i < size; i++) {
        (*begins)[i] = (int64_t)i;
        (*ends)[i] = (int64_t)i + 1;
    }
    return RF_OK;
}

static rf_status encode(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                        int32_t **ids, int64_t **begins, int64_t **ends, int64_t *count,
                        rf_error *error)
{
    void *memory = NULL;
    RF_TRY(take(size, sizeof **ids, &memory, error));
    int32_t *values = memory;
    for (size_t i = 0; i < size; i++) {
        values[i] = (int32_t)bytes[i] + tokenizer->shift;
    }
    if (begins != NULL) {
        rf_status status = make_spans(size, begins, ends, error);
        if (status != RF_OK) {
            rf_release(memory);
            return status;
        }
    }
    *ids = values;
    *count = (int64_t)size;
    return RF_OK;
}

static size_t decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit)
{
    if (id < tokenizer->shift || id - tokenizer->shift >= RF_BYTE_VALUES || limit == 0) {
        return 0;
    }
    bytes[0] = (uint8_t)(id - tokenizer->shift);
    return 1;
}

static rf_status decode_all(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                            char **text, size_t *size, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count + 1, "a text", &memory, error));
    uint8_t *to = memory;
    size_t used = 0;
    for (int64_t i = 0; i < count; i++) {
        used += decode(tokenizer, ids[i], to + used, 1);
    }
    to[used] = '\0';
    *text = memory;
    *size = used;
    return RF_OK;
}

const rf_tokenizer_kind rf_tokenizer_bytes = {
    .is_bytes = true,
    .encode = encode,
    .decode = decode,
    .decode_all = decode_all,
};
