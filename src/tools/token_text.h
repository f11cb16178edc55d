/* How a token is shown to a reader. */
#ifndef RF_TOOLS_TOKEN_TEXT_H
#define RF_TOOLS_TOKEN_TEXT_H

#include "base/text.h"
#include "reformer/tokenizer.h"

#include <stdint.h>

/* Append a token's piece, or its byte. What is appended is valid UTF-8 without control characters:
 * those become \n, \t, \r or \xNN, as do bytes that are no UTF-8, and a backslash is doubled. An
 * id without a text becomes <ID>. Never empty. */
RF_MUST_CHECK rf_status rf_token_text(const rf_tokenizer *tokenizer, int32_t id, rf_text *text,
                                      rf_error *error);
/* The same of any bytes. */
RF_MUST_CHECK rf_status rf_visible_text(const char *bytes, size_t size, rf_text *text,
                                        rf_error *error);

#endif
