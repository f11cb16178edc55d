/* Properties of all code points against sums that Python 3.11 gave, and UTF-8 there and back. */
#include "support.h"

#include "base/unicode.h"

#include <string.h>

static void test_properties(void **state)
{
    (void)state;
    uint64_t lower = 0;
    uint64_t words = 0;
    int word_count = 0;
    int spaces = 0;
    for (uint32_t code = 0; code < 0x110000U; code++) {
        lower = lower * 31 + rf_unicode_lower(code);
        spaces += rf_unicode_is_space(code) ? 1 : 0;
        if (rf_unicode_is_word(code)) {
            word_count++;
            words = words * 31 + code;
        }
    }
    assert_int_equal(word_count, 133548);
    assert_int_equal(spaces, 29);
    assert_true(words == 0xd8ad992bf62965e8U);
    assert_true(lower == 0x5c88cc59417a5290U);
}

static void test_utf8(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000U; code++) {
        char bytes[4];
        size_t at = 0;
        size_t size = rf_unicode_write(code, bytes);
        bool surrogate = code >= 0xD800U && code <= 0xDFFFU;
        assert_true(rf_unicode_read(bytes, size, &at) == (surrogate ? 0xFFFDU : code));
        assert_int_equal(at, surrogate ? 1 : size);
        at = 0;
        assert_true(size == 1 || rf_unicode_read(bytes, size - 1, &at) == 0xFFFDU);
    }
    static const char *const wrong[] = {"\xC0\x80", "\xE0\x80\x80", "\xF4\x90\x80\x80",
                                        "\xFF",     "\x80",         "\xF8\x80\x80\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t at = 0;
        assert_true(rf_unicode_read(wrong[i], strlen(wrong[i]), &at) == 0xFFFDU);
        assert_int_equal(at, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_properties),
                                       cmocka_unit_test(test_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
