/* The growing text: long appends, formats, embedded NULs, failure. */
#include "support.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <string.h>

static void test_append_and_format(void **state)
{
    (void)state;
    rf_text text = {0};
    size_t before = rf_memory_in_use();
    assert_ok(rf_text_append(&text, "", 0, error));
    assert_string_equal(text.bytes, "");
    for (int i = 0; i < 1000; i++) {
        assert_ok(rf_text_format(&text, error, "%04d,", i));
    }
    assert_int_equal(text.size, 5000);
    assert_int_equal(strlen(text.bytes), 5000);
    assert_memory_equal(text.bytes + 4995, "0999,", 6);
    assert_ok(rf_text_append(&text, "a\0b", 3, error));
    assert_int_equal(text.size, 5003);
    assert_memory_equal(text.bytes + 5000, "a\0b", 4);
    rf_release(text.bytes);
    assert_int_equal(rf_memory_in_use(), before);
}

static bool refuse(void *user, size_t size)
{
    (void)user;
    return size < 1000;
}

static void test_no_memory(void **state)
{
    (void)state;
    rf_text text = {0};
    char block[600] = {0};
    rf_memory_set_hook(refuse, NULL);
    rf_status first = rf_text_append(&text, "kept", 4, NULL);
    rf_status second = rf_text_append(&text, block, sizeof block, NULL);
    rf_memory_set_hook(NULL, NULL);
    assert_int_equal(first, RF_OK);
    assert_int_equal(second, RF_ERR_MEMORY);
    assert_string_equal(text.bytes, "kept");
    assert_int_equal(rf_text_append(&text, block, SIZE_MAX / 2, NULL), RF_ERR_MEMORY);
    rf_release(text.bytes);
}

static void test_sizes_have_their_unit(void **state)
{
    (void)state;
    char text[RF_SIZE_TEXT_BYTES];
    assert_string_equal(rf_text_of_size(0.0, text), "0 bytes");
    assert_string_equal(rf_text_of_size(1023.0, text), "1023 bytes");
    assert_string_equal(rf_text_of_size(1536.0, text), "1.50 KiB");
    assert_string_equal(rf_text_of_size(0x1p30 * 24.25, text), "24.25 GiB");
    assert_string_equal(rf_text_of_size(0x1p63, text), "8388608.00 TiB");
}

static void test_numbers_have_a_point(void **state)
{
    (void)state;
    char comma[] = "-1,5e-3";
    char point[] = "2.25";
    rf_text_fix_number(comma);
    rf_text_fix_number(point);
    assert_string_equal(comma, "-1.5e-3");
    assert_string_equal(point, "2.25");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_format),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_sizes_have_their_unit),
        cmocka_unit_test(test_numbers_have_a_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
