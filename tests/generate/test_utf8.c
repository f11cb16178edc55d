/* The UTF-8 filter: whole characters pass, everything else becomes U+FFFD as Unicode advises. */
#include "generate/utf8.h"

#include "support.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

typedef struct utf8_case {
    const char *bytes, *expected;
} utf8_case;

static void test_sequences(void **state)
{
    (void)state;
    static const utf8_case cases[] = {
        {"plain", "plain"},
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
        {"\xE2\x82\xAC 1", "\xE2\x82\xAC 1"},
        {"\xF0\x9F\x8C\x8D", "\xF0\x9F\x8C\x8D"},
        {"a\x80z", "a" REPLACEMENT "z"},
        {"\xC3(", REPLACEMENT "("},
        {"\xC0\xAF", REPLACEMENT REPLACEMENT},                 /* overlong */
        {"\xED\xA0\x80", REPLACEMENT REPLACEMENT REPLACEMENT}, /* surrogate */
        {"\xE2\x82"
         "A",
         REPLACEMENT "A"},                            /* one maximal subpart */
        {"\xF0\x9F\xC3\xBC", REPLACEMENT "\xC3\xBC"}, /* cut short by another character */
        {"\xF4\x90\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT}, /* above U+10FFFF */
        {"\xFF\xFE", REPLACEMENT REPLACEMENT},
        {"end\xE2\x82", "end" REPLACEMENT},
        {"\xE0\x9F\x80\xE0\xA0\x80", REPLACEMENT REPLACEMENT REPLACEMENT "\xE0\xA0\x80"},
        {"\xF1\x80\x80\x80\xF0\x8F", "\xF1\x80\x80\x80" REPLACEMENT REPLACEMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_utf8_filter filter = {0};
        uint8_t output[64] = {0};
        size_t written = 0;
        for (const char *c = cases[i].bytes; *c != '\0'; c++) {
            written += rf_utf8_feed(&filter, (uint8_t)*c, output + written);
        }
        written += rf_utf8_finish(&filter, output + written);
        output[written] = 0;
        assert_string_equal((const char *)output, cases[i].expected);
    }
}

static void test_incomplete_characters_wait(void **state)
{
    (void)state;
    rf_utf8_filter filter = {0};
    uint8_t output[8];
    assert_int_equal(rf_utf8_feed(&filter, 0xE2, output), 0);
    assert_int_equal(rf_utf8_feed(&filter, 0x82, output), 0);
    assert_int_equal(rf_utf8_feed(&filter, 0xAC, output), 3);
    assert_int_equal(rf_utf8_finish(&filter, output), 0);
    assert_int_equal(rf_utf8_feed(&filter, 0, output), 1);
    assert_int_equal(output[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_incomplete_characters_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
