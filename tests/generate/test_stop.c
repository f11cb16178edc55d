/* Stop strings: whatever the cuts between tokens, the same text comes out. */
#include "generate/stop.h"

#include "support.h"

#include <string.h>

typedef struct stop_case {
    const char *strings[3]; /* NULL-terminated */
    const char *text, *expected;
    bool is_found;
} stop_case;

static size_t count_strings(const stop_case *test)
{
    size_t count = 0;
    while (count < 3 && test->strings[count] != NULL) {
        count++;
    }
    return count;
}

static void check_case(const stop_case *test)
{
    rf_stop stop;
    assert_ok(rf_stop_init(&stop, test->strings, count_strings(test), error));
    uint8_t output[256];
    size_t written = 0;
    for (const char *c = test->text; *c != '\0'; c++) {
        written += rf_stop_feed(&stop, (uint8_t)*c, output + written);
        assert_true(strncmp((const char *)output, test->expected, written) == 0);
    }
    written += rf_stop_finish(&stop, output + written);
    output[written] = 0;
    assert_string_equal((const char *)output, test->expected);
    assert_int_equal(stop.is_found, test->is_found);
    rf_stop_clear(&stop);
}

static void test_texts(void **state)
{
    (void)state;
    static const stop_case cases[] = {
        {{NULL}, "anything", "anything", false},
        {{"."}, "One. Two.", "One", true},
        {{"\n\n"}, "a\nb\n\nc", "a\nb", true},
        {{"\n\n"}, "a\nb\n", "a\nb\n", false}, /* held back, then flushed */
        {{"aab"}, "aaaaab tail", "aaa", true}, /* a failed beginning overlaps the next */
        {{"abab"}, "abacababx", "abac", true},
        {{"abcd", "bc"}, "xabcd", "xa", true}, /* the first that is complete ends the text */
        {{"bcd", "abcd"}, "xabcd", "x", true}, /* both end here: the longer one counts */
        {{"END"}, "EENEND", "EEN", true},
        {{"END"}, "", "", false},
        {{"the", "of", "."}, "book of the law", "book ", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(&cases[i]);
    }
}

static void test_bytes_leave_as_soon_as_they_may(void **state)
{
    (void)state;
    const char *strings[] = {"\n\n"};
    rf_stop stop;
    assert_ok(rf_stop_init(&stop, strings, 1, error));
    uint8_t output[4];
    assert_int_equal(rf_stop_feed(&stop, 'a', output), 1);
    assert_int_equal(rf_stop_feed(&stop, '\n', output), 0);
    assert_int_equal(rf_stop_feed(&stop, 'b', output), 2);
    assert_memory_equal(output, "\nb", 2);
    assert_int_equal(rf_stop_feed(&stop, '\n', output), 0);
    assert_int_equal(rf_stop_feed(&stop, '\n', output), 0);
    assert_true(stop.is_found);
    assert_int_equal(rf_stop_feed(&stop, 'x', output), 0);
    assert_int_equal(rf_stop_finish(&stop, output), 0);
    rf_stop_clear(&stop);
}

static void test_empty_strings_are_refused(void **state)
{
    (void)state;
    const char *strings[] = {"a", ""};
    rf_stop stop;
    rf_error error = {0};
    assert_int_equal(rf_stop_init(&stop, strings, 2, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "stop string 2 is empty"));
    rf_stop_clear(&stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bytes_leave_as_soon_as_they_may),
        cmocka_unit_test(test_empty_strings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
