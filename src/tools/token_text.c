/* Tokens as a reader can tell them apart: a space stays a space, what cannot be seen is escaped. */
#include "tools/token_text.h"

#include "base/memory.h"
#include "base/unicode.h"

#include <stdbool.h>

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029 ||
           code == 0xFEFF || code == 0xFFFE || code == 0xFFFF;
}

static rf_status escape(uint8_t byte, rf_text *text, rf_error *error)
{
    switch (byte) {
    case '\n':
        return rf_text_append(text, "\\n", 2, error);
    case '\t':
        return rf_text_append(text, "\\t", 2, error);
    case '\r':
        return rf_text_append(text, "\\r", 2, error);
    case '\\':
        return rf_text_append(text, "\\\\", 2, error);
    default:
        return rf_text_format(text, error, "\\x%02X", byte);
    }
}

rf_status rf_visible_text(const char *bytes, size_t size, rf_text *text, rf_error *error)
{
    for (size_t at = 0; at < size;) {
        size_t from = at;
        uint32_t code = rf_unicode_read(bytes, size, &at);
        bool broken = code == 0xFFFD && at - from == 1;
        if (!broken && !is_control(code) && code != '\\') {
            RF_TRY(rf_text_append(text, bytes + from, at - from, error));
            continue;
        }
        for (size_t i = from; i < at; i++) {
            RF_TRY(escape((uint8_t)bytes[i], text, error));
        }
    }
    return RF_OK;
}

rf_status rf_token_text(const rf_tokenizer *tokenizer, int32_t id, rf_text *text, rf_error *error)
{
    size_t before = text->size;
    size_t size = 0;
    const char *piece = rf_tokenizer_piece(tokenizer, id, &size);
    if (piece != NULL) {
        RF_TRY(rf_visible_text(piece, size, text, error));
    } else if (id >= 0 && id < rf_tokenizer_vocabulary(tokenizer)) {
        char *bytes = NULL;
        RF_TRY(rf_tokenizer_detokenize(tokenizer, &id, 1, &bytes, &size, error));
        rf_status status = rf_visible_text(bytes, size, text, error);
        rf_release(bytes);
        RF_TRY(status);
    }
    return text->size > before ? RF_OK : rf_text_format(text, error, "<%ld>", (long)id);
}
