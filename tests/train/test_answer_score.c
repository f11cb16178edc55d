/* SQuAD's judgement: normal forms and scores as Python's lower, split and re.sub gave them for
 * these texts. */
#include "support.h"

#include "base/memory.h"
#include "train/answer_score.h"

#include <math.h>
#include <string.h>

static char *normal(const char *text)
{
    char *words = NULL;
    assert_ok(rf_answer_normalise(text, strlen(text), &words, error));
    return words;
}

static void test_normal_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"The Cat,  sat!", "cat sat"},
        {"a", ""},
        {"an apple a day", "apple day"},
        {"Theory of the theme", "theory of theme"},
        {"the-end", "theend"},
        {"the\xE2\x80\x93"
         "end",
         "\xE2\x80\x93"
         "end"},
        {"The \xE2\x80\x9C"
         "A\xE2\x80\x9D Team",
         "\xE2\x80\x9C \xE2\x80\x9D team"},
        {"\xC2\xABthe\xC2\xBB an\xE2\x80\x99s", "\xC2\xAB \xC2\xBB \xE2\x80\x99s"},
        {"M\xC3\xBCller\xC2\xA0"
         "and  the \xC3\x84rzte",
         "m\xC3\xBCller and \xC3\xA4rzte"},
        {"A\xE3\x80\x80"
         "B\x09"
         "C\x0A"
         "D",
         "b c d"},
        {"O'Neill's", "oneills"},
        {"_the_", ""},
        {"th\xC3\xA9 the\xCC\x81 the", "th\xC3\xA9 \xCC\x81"},
        {"\xCE\x9F\xCE\x94\xCE\x9F\xCE\xA3 \xCE\xA3\xCE\x91\xCE\xA3 \xCE\xA3",
         "\xCE\xBF\xCE\xB4\xCE\xBF\xCF\x82 \xCF\x83\xCE\xB1\xCF\x82 \xCF\x83"},
        {"\xC4\xB0stanbul ISPARTA", "i\xCC\x87stanbul isparta"},
        {"x2\xC2\xB2 the\xC2\xBD", "x2\xC2\xB2 the\xC2\xBD"},
        {"1,000.5 km (the U.S.A.)", "10005 km usa"},
        {"\xE6\x97\xA5\xE6\x9C\xAC the \xE6\x9D\xB1\xE4\xBA\xAC"
         "a",
         "\xE6\x97\xA5\xE6\x9C\xAC \xE6\x9D\xB1\xE4\xBA\xAC"
         "a"},
        {"\xD0\x94\xD0\x9E\xD0\x9C \xD0\x99", "\xD0\xB4\xD0\xBE\xD0\xBC \xD0\xB9"},
        {"\xE2\x85\xA3"
         "A the",
         "\xE2\x85\xB3"
         "a"},
        {"a\xE2\x80\x8Bthe", "\xE2\x80\x8B"},
        {"the", ""},
        {"", ""},
        {"\xE1\xBA\x9E \xC7\x84 \xC8\xBA", "\xC3\x9F \xC7\x86 \xE2\xB1\xA5"},
        {"\xCE\xA3\xE2\x80\x99\xCE\xA3. \xCE\xB1.\xCE\xA3",
         "\xCF\x83\xE2\x80\x99\xCF\x82 \xCE\xB1\xCF\x82"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *words = normal(cases[i].text);
        assert_string_equal(words, cases[i].words);
        rf_release(words);
    }
}

static void test_scores(void **state)
{
    (void)state;
    static const struct {
        const char *prediction, *known;
        double exact, f1;
    } cases[] = {
        {"the cat sat", "Cat sat down.", 0.0, 0.8},
        {"a b b c", "b b b d", 0.0, 0.5714285714285715},
        {"red", "blue", 0.0, 0},
        {"The", "an", 1.0, 0},
        {"Denver Broncos", "the Denver Broncos!", 1.0, 1.0},
        {"to be or not to be", "be to", 0.0, 0.5},
        {"", "x", 0.0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *words = normal(cases[i].prediction);
        char *known = normal(cases[i].known);
        rf_answer_score score;
        assert_ok(rf_answer_compare(words, known, &score, error));
        assert_true(score.exact == cases[i].exact);
        assert_true(fabs(score.f1 - cases[i].f1) < 1e-12);
        rf_release(words);
        rf_release(known);
    }
}

/* Bytes that are no UTF-8, as a span of bytes may cut them off: each is one unknown character. */
static void test_cut_characters(void **state)
{
    (void)state;
    char *words = normal("\xA9 The \xE2\x82");
    assert_string_equal(words, "\xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD");
    rf_release(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_cut_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
