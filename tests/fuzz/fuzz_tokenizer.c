/* The door for tokenizers: a tokenizer.json of any bytes gives a status or a tokenizer, which then
 * takes any text and gives it back as text. The first byte says how much of the rest is the text.
 */
#include "base/file.h"
#include "base/memory.h"
#include "support.h"
#include "tokenizer/kind.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(rf_status status)
{
    if (status != RF_OK) {
        abort();
    }
}

static void use(const rf_tokenizer *tokenizer, const uint8_t *text, size_t size)
{
    rf_encoding encoding = {0};
    char *decoded = NULL;
    size_t decoded_size = 0;
    require(rf_tokenizer_tokenize(tokenizer, text, size, &encoding, NULL));
    for (int64_t i = 0; i < encoding.count; i++) {
        uint8_t bytes[64];
        if (encoding.ids[i] < 0 || encoding.ids[i] >= rf_tokenizer_vocabulary(tokenizer) ||
            encoding.begins[i] < 0 || encoding.begins[i] > encoding.ends[i] ||
            (size_t)encoding.ends[i] > size ||
            rf_tokenizer_decode(tokenizer, encoding.ids[i], bytes, sizeof bytes) > sizeof bytes) {
            abort();
        }
    }
    require(rf_tokenizer_detokenize(tokenizer, encoding.ids, encoding.count, &decoded,
                                    &decoded_size, NULL));
    rf_release(decoded);
    rf_encoding_clear(&encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rf_tokenizer_files files = {0};
    rf_tokenizer *tokenizer = NULL;
    rf_error problem = {0};
    void *memory = NULL;
    size_t text = size > 0 ? data[0] % size : 0;
    if (size == 0) {
        return 0;
    }
    require(rf_allocate(size, "a file", &memory, NULL));
    memcpy(memory, data + 1 + text, size - 1 - text);
    files.bytes[1] = memory; /* tokenizer.json */
    files.sizes[1] = size - 1 - text;
    if (rf_tokenizer_from_files("in", &files, 0, &tokenizer, &problem) == RF_OK) {
        use(tokenizer, data + 1, text);
    } else if (problem.message[0] == '\0' || tokenizer != NULL) {
        abort();
    }
    rf_tokenizer_destroy(tokenizer);
    rf_tokenizer_files_clear(&files);
    return 0;
}
