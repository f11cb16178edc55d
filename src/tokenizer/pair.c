/* Two texts as one sequence: tokens of the first, the tokenizer's separator if it has one, tokens
 * of the second. Hugging Face's Reformer tokenizer has none, so that they follow each other. */
#include "tokenizer/tokenizer.h"

#include "base/memory.h"

#include <string.h>

/* Room for `count` tokens in fresh blocks. */
static rf_status allocate(int64_t count, rf_encoding *encoding, rf_error *error)
{
    void *memory = NULL;
    size_t room = count > 0 ? (size_t)count : 1;
    RF_TRY(rf_allocate_zeroed(room * sizeof *encoding->ids, "tokens", &memory, error));
    encoding->ids = memory;
    RF_TRY(rf_allocate_zeroed(room * sizeof *encoding->begins, "tokens", &memory, error));
    encoding->begins = memory;
    RF_TRY(rf_allocate_zeroed(room * sizeof *encoding->ends, "tokens", &memory, error));
    encoding->ends = memory;
    encoding->count = count;
    return RF_OK;
}

static void put(rf_encoding *to, int64_t first, const rf_encoding *from)
{
    size_t count = (size_t)from->count;
    if (count > 0) {
        memcpy(to->ids + first, from->ids, count * sizeof *to->ids);
        memcpy(to->begins + first, from->begins, count * sizeof *to->begins);
        memcpy(to->ends + first, from->ends, count * sizeof *to->ends);
    }
}

rf_status rf_tokenizer_tokenize_pair(const rf_tokenizer *tokenizer, const uint8_t *first,
                                     size_t first_size, const uint8_t *second, size_t second_size,
                                     rf_encoding *encoding, int64_t *second_token, rf_error *error)
{
    rf_encoding parts[2] = {{0}, {0}};
    rf_status status = RF_OK;
    int64_t separator = rf_tokenizer_special(tokenizer, "sep");
    *encoding = (rf_encoding){0};
    RF_TRY_DONE(rf_tokenizer_tokenize(tokenizer, first, first_size, &parts[0], error));
    RF_TRY_DONE(rf_tokenizer_tokenize(tokenizer, second, second_size, &parts[1], error));
    *second_token = parts[0].count + (separator >= 0 ? 1 : 0);
    RF_TRY_DONE(allocate(*second_token + parts[1].count, encoding, error));
    put(encoding, 0, &parts[0]);
    if (separator >= 0) {
        encoding->ids[parts[0].count] = (int32_t)separator;
    }
    put(encoding, *second_token, &parts[1]);
done:
    rf_encoding_clear(&parts[0]);
    rf_encoding_clear(&parts[1]);
    if (status != RF_OK) {
        rf_encoding_clear(encoding);
    }
    return status;
}
