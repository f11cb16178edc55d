/* Bytes as tokens: any file is a text, nothing is lost, id = byte + shift. The shift of 2 leaves 0
 * for padding and 1 unused, as the published enwik8 model counts. */
#include "base/memory.h"
#include "tokenizer/kind.h"

static rf_status encode(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                        int32_t **ids, int64_t *count, rf_error *error)
{
    size_t needed = 0;
    if (!rf_size_multiply(size, sizeof **ids, &needed)) {
        return rf_error_set(error, RF_ERR_MEMORY,
                            "a text of %zu bytes is too long for this machine", size);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate(needed, "token ids", &memory, error));
    int32_t *values = memory;
    for (size_t i = 0; i < size; i++) {
        values[i] = (int32_t)bytes[i] + tokenizer->shift;
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

const rf_tokenizer_kind rf_tokenizer_bytes = {
    .is_bytes = true,
    .encode = encode,
    .decode = decode,
};
