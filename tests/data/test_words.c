/* Words of texts of any bytes, and their counts. */
#include "no_memory.h"
#include "support.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/words.h"

#include <stdio.h>
#include <string.h>

/* The words of a text with a bar between them. */
static void check_split(const char *text, size_t size, const char *expected)
{
    char found[256] = "";
    size_t used = 0;
    size_t end = 0;
    for (size_t begin = 0; rf_word_next((const uint8_t *)text, size, &begin, &end); begin = end) {
        assert_true(end <= size && used + (end - begin) + 2 < sizeof found);
        if (used > 0) {
            found[used++] = '|';
        }
        memcpy(found + used, text + begin, end - begin);
        used += end - begin;
        found[used] = '\0';
    }
    assert_string_equal(found, expected);
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", ""},
        {" ,.;12 ", ""},
        {"one", "one"},
        {"King's sons, 3 of-them", "King|s|sons|of|them"},
        {"caf\xc3\xa9\xe2\x80\x94\xe2\x80\x9cna\xc3\xafve\xe2\x80\x9d", "caf\xc3\xa9|na\xc3\xafve"},
        {"\xd0\xbc\xd0\xb8\xd1\x80\xc2\xa0\xe4\xb8\xad\xe6\x96\x87\xe3\x80\x82x",
         "\xd0\xbc\xd0\xb8\xd1\x80|\xe4\xb8\xad\xe6\x96\x87|x"},
        {"2\xc3\x97"
         "3\xc3\xb7n",
         "n"},
        {"a\xff"
         "b\xc3",
         "a|b"},                              /* no UTF-8; cut short */
        {"x\xc0\x80y\xed\xa0\x80z", "x|y|z"}, /* too long a form; a surrogate */
        {"p\xf0\x90\x8d\x88q\xf8r", "p\xf0\x90\x8d\x88q|r"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_split(cases[i].text, strlen(cases[i].text), cases[i].words);
    }
    check_split("a\0b", 3, "a|b");
}

static void test_count(void **state)
{
    (void)state;
    static const char text[] = "the cat and the dog and the mouse; The end";
    rf_words words = {0};
    const uint8_t *bytes = (const uint8_t *)text;
    int64_t index = 0;
    assert_int_equal(rf_words_find(&words, bytes, 3), -1);
    assert_ok(rf_words_add_all(&words, bytes, sizeof text - 1, error));
    rf_words_sort(&words);
    static const char *const sorted[] = {"the", "and", "The", "cat", "dog", "end", "mouse"};
    static const int counts[] = {3, 2, 1, 1, 1, 1, 1};
    assert_int_equal(words.count, 7);
    for (int64_t i = 0; i < 7; i++) {
        assert_int_equal(words.items[i].count, counts[i]);
        assert_int_equal(words.items[i].size, strlen(sorted[i]));
        assert_memory_equal(words.items[i].text, sorted[i], words.items[i].size);
        assert_int_equal(rf_words_find(&words, (const uint8_t *)sorted[i], strlen(sorted[i])), i);
    }
    assert_int_equal(rf_words_find(&words, (const uint8_t *)"ca", 2), -1);
    assert_ok(rf_words_add(&words, (const uint8_t *)"dog", 3, 4, &index, error));
    assert_int_equal(index, 4);
    assert_int_equal(words.items[4].count, 5);
    rf_words_clear(&words);
}

/* As many as make the table grow; whichever allocation fails, nothing is lost. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static char text[MANY * 8];
    for (int i = 0; i < MANY; i++) { /* base 26 */
        char word[8] = {'a' + (char)(i / 676 % 26), 'a' + (char)(i / 26 % 26), 'a' + (char)(i % 26),
                        ' '};
        memcpy(text + i * 4, word, 4);
    }
    size_t size = (size_t)MANY * 4;
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    for (int n = 0; status != RF_OK; n++) {
        int left = n;
        rf_words words = {0};
        rf_memory_set_hook(fail_after, &left);
        status = rf_words_add_all(&words, (const uint8_t *)text, size, NULL);
        status = status == RF_OK ? rf_words_add_all(&words, (const uint8_t *)text, size / 2, NULL)
                                 : status;
        rf_memory_set_hook(NULL, NULL);
        assert_true(n < 100);
        for (int64_t i = 0; i < words.count && status == RF_OK; i++) {
            assert_int_equal(words.items[i].count, i < MANY / 2 ? 2 : 1);
        }
        assert_true(status != RF_OK || words.count == MANY);
        rf_words_clear(&words);
        assert_true(rf_memory_in_use() == before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
