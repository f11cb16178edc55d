/* Tokens as a reader sees them. */
#include "support.h"

#include "base/memory.h"
#include "tools/token_text.h"

#include <string.h>

static void test_visible(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *shown;
    } cases[] = {
        {"a b", 3, "a b"},
        {"\n\t\r\\", 4, "\\n\\t\\r\\\\"},
        {"\0\x1B\x7F", 3, "\\x00\\x1B\\x7F"},
        {"\xE2\x96\x81sea", 6, "\xE2\x96\x81sea"},
        {"\xC3", 1, "\\xC3"},                                     /* cut off */
        {"\xED\xA0\x80", 3, "\\xED\\xA0\\x80"},                   /* half of a pair */
        {"\xEF\xBF\xBD", 3, "\xEF\xBF\xBD"},                      /* U+FFFD itself */
        {"\xC2\x85\xE2\x80\xA8", 5, "\\xC2\\x85\\xE2\\x80\\xA8"}, /* controls of Unicode */
        {"<&\">", 4, "<&\">"},
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_text text = {0};
        assert_ok(rf_text_append(&text, "", 0, error));
        assert_ok(rf_visible_text(cases[i].bytes, cases[i].size, &text, error));
        assert_string_equal(text.bytes, cases[i].shown);
        rf_release(text.bytes);
    }
}

/* Bytes have ids from 2 on; the two before stand for nothing. */
static void test_bytes(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = NULL;
    rf_text text = {0};
    assert_ok(rf_tokenizer_load(test_folder(), &tokenizer, error));
    const int32_t ids[] = {'a' + 2, 0, ' ' + 2, 1, 255 + 2, -1, 258};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        assert_ok(rf_token_text(tokenizer, ids[i], &text, error));
    }
    assert_string_equal(text.bytes, "a<0> <1>\\xFF<-1><258>");
    rf_release(text.bytes);
    rf_tokenizer_destroy(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_visible),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
