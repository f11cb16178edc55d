/* Sentences, lines and paragraphs of real prose and of texts that try to confuse. */
#include "support.h"

#include "data/units.h"

#include <string.h>

/* The units with '|' between them. */
static void expect(rf_unit unit, const char *text, const char *expected)
{
    rf_units units;
    char found[1024];
    size_t used = 0;
    assert_ok(rf_units_find((const uint8_t *)text, strlen(text), unit, &units, error));
    for (int64_t i = 0; i < units.count; i++) {
        size_t size = (size_t)(units.ends[i] - units.begins[i]);
        assert_true(size > 0 && used + size + 2 < sizeof found);
        memcpy(found + used, text + units.begins[i], size);
        used += size;
        found[used++] = '|';
    }
    found[used] = '\0';
    assert_string_equal(found, expected);
    rf_units_clear(&units);
}

static const char alice[] =
    "CHAPTER I\n\nAlice was beginning to get very tired: once or twice she had "
    "peeped into the book,\nbut it had no pictures. \"And what is the use of "
    "a book,\" thought Alice, \"without pictures?\"\n \t\nSo she was "
    "considering... There was 1.5 of it!";

static void test_sentences(void **state)
{
    (void)state;
    expect(RF_UNIT_SENTENCE, alice,
           "CHAPTER I|Alice was beginning to get very tired: once or twice she had peeped into the "
           "book,\nbut it had no pictures.|\"And what is the use of a book,\" thought Alice, "
           "\"without pictures?\"|So she was considering...|There was 1.5 of it!|");
    /* wide marks need no blank; quotes close behind a mark; an unfinished one counts */
    expect(RF_UNIT_SENTENCE, "\xe6\xb0\xb4\xe3\x80\x82\xe6\xb5\xb7\xef\xbc\x81 (Yes.) no",
           "\xe6\xb0\xb4\xe3\x80\x82|\xe6\xb5\xb7\xef\xbc\x81|(Yes.)|no|");
    expect(RF_UNIT_SENTENCE, "Wait\xe2\x80\xa6\xe2\x80\x9d he said.",
           "Wait\xe2\x80\xa6\xe2\x80\x9d|he said.|");
}

static void test_lines_and_paragraphs(void **state)
{
    (void)state;
    expect(RF_UNIT_LINE, "one. two\n\n  three \r\nfour", "one. two|three|four|");
    expect(RF_UNIT_PARAGRAPH, "one.\ntwo\n \n\n three\r\n\r\nfour\n", "one.\ntwo|three|four|");
    expect(RF_UNIT_PARAGRAPH, "\n\nonly\n\n", "only|");
}

static void test_nothing(void **state)
{
    (void)state;
    for (rf_unit unit = RF_UNIT_SENTENCE; unit <= RF_UNIT_PARAGRAPH; unit++) {
        expect(unit, "", "");
        expect(unit, " \n\t\n ", "");
        expect(unit, ".", ".|");
        expect(unit, "?!", "?!|");
    }
}

/* Whatever the bytes: units are in order, begin and end without blanks, and hold all the rest. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint8_t bytes[4000];
    uint32_t random = 7;
    for (size_t i = 0; i < sizeof bytes; i++) {
        random = random * 1664525U + 1013904223U;
        static const char likely[] = "ab. \n!?\xe2\x80\xa6\"";
        bytes[i] = random >> 31 != 0 ? (uint8_t)likely[(random >> 20) % (sizeof likely - 1)]
                                     : (uint8_t)(random >> 16);
    }
    for (rf_unit unit = RF_UNIT_SENTENCE; unit <= RF_UNIT_PARAGRAPH; unit++) {
        rf_units units;
        int64_t end = 0;
        assert_ok(rf_units_find(bytes, sizeof bytes, unit, &units, error));
        assert_true(units.count > 3);
        for (int64_t i = 0; i <= units.count; i++) {
            int64_t begin = i < units.count ? units.begins[i] : (int64_t)sizeof bytes;
            assert_true(begin >= end);
            for (int64_t at = end; at < begin; at++) {
                assert_non_null(memchr(" \t\n\v\f\r", bytes[at], 6));
            }
            end = i < units.count ? units.ends[i] : end;
            assert_true(i == units.count || end > begin);
        }
        rf_units_clear(&units);
    }
}

static void test_names(void **state)
{
    (void)state;
    rf_unit unit = RF_UNIT_NONE;
    rf_error fault = {0};
    assert_ok(rf_unit_parse("paragraph", &unit, error));
    assert_int_equal(unit, RF_UNIT_PARAGRAPH);
    assert_string_equal(rf_unit_name(RF_UNIT_LINE), "line");
    assert_int_equal(rf_unit_parse("page", &unit, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "sentence, line or paragraph"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences), cmocka_unit_test(test_lines_and_paragraphs),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
