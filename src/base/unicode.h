/* Code points: UTF-8 in, lower case, what a word is made of, white space. As Python 3.11 has them
 * (Unicode 14), since what is compared with it must agree. */
#ifndef RF_BASE_UNICODE_H
#define RF_BASE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point that begins at text[*at], which moves behind it; U+FFFD for a byte that begins
 * none. *at < size. */
uint32_t rf_unicode_read(const char *text, size_t size, size_t *at);
/* A code point as UTF-8. bytes [4]. Returns how many were written. */
size_t rf_unicode_write(uint32_t code, char bytes[4]);

bool rf_unicode_is_space(uint32_t code); /* str.isspace */
bool rf_unicode_is_word(uint32_t code);  /* str.isalnum, and the underscore: \w */
/* Of a code point by itself: U+0130 becomes i, U+03A3 the sigma that stands within a word. */
uint32_t rf_unicode_lower(uint32_t code);

#endif
