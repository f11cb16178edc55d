/* Pairs of spans: half of them follow, half do not, no span leaves its text or the row, the same
 * pairs for the same key. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/pairs.h"
#include "reformer/model.h"

#include <stdio.h>
#include <string.h>

enum { LENGTH = 48, ROWS = 600 };

/* Numbered lines of different lengths: where a span stands can be read from it. */
static size_t write_lines(char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < 120; i++) {
        used += (size_t)snprintf(text + used, size - used, "line %d%.*s.\n", i, i * 7 % 23,
                                 " is a bit longer than it");
    }
    return used;
}

typedef struct subject {
    char text[8192];
    rf_tokenizer *tokenizer;
    rf_tokens tokens;
    rf_pairs pairs;
} subject;

static void open_subject(subject *s, int64_t length, bool sequential, uint32_t stream)
{
    memset(s, 0, sizeof *s);
    size_t size = write_lines(s->text, sizeof s->text);
    assert_ok(rf_tokenizer_create(NULL, 258, &s->tokenizer, error));
    assert_ok(rf_tokens_view(s->tokenizer, (const uint8_t *)s->text, size, &s->tokens, error));
    s->pairs = (rf_pairs){
        .seed = 5, .stream = stream, .sequential = sequential, .length = length, .separator = -1};
    assert_ok(rf_pairs_open(&s->pairs, s->tokenizer, &s->tokens, RF_UNIT_LINE, error));
    assert_int_equal(s->pairs.units.count, 120);
}

static void close_subject(subject *s)
{
    rf_pairs_clear(&s->pairs);
    rf_tokens_clear(&s->tokens);
    rf_tokenizer_destroy(s->tokenizer);
}

/* The unit that holds a token; -1 for none (a newline). */
static int64_t unit_of(const rf_pairs *pairs, int64_t token)
{
    for (int64_t i = 0; i < pairs->units.count; i++) {
        if (token >= pairs->units.begins[i] && token < pairs->units.ends[i]) {
            return i;
        }
    }
    return -1;
}

static void check_pair(const rf_pairs *pairs, const rf_pair *pair)
{
    int64_t all = pairs->tokens.count;
    assert_true(pair->first >= 0 && pair->first_count > 0 && pair->second_count > 0);
    assert_true(pair->first + pair->first_count <= all && pair->second >= 0);
    assert_true(pair->second + pair->second_count <= all);
    assert_true(rf_pair_length(pairs, pair) <= pairs->length);
    int64_t last = unit_of(pairs, pair->first + pair->first_count - 1);
    int64_t begin = unit_of(pairs, pair->second);
    assert_true(last >= 0 && begin >= 0 && pairs->units.begins[begin] == pair->second);
    assert_int_equal(pair->first + pair->first_count, pairs->units.ends[last]);
    assert_true((begin == last + 1) == pair->is_next);
    /* neither holds a part of the other */
    assert_true(pair->second >= pair->first + pair->first_count ||
                pair->second + pair->second_count <= pair->first);
}

static void test_half_of_them_follow(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, LENGTH, false, 0);
    int64_t follow = 0;
    int64_t first_of_two = 0;
    int64_t behind = 0;
    for (int64_t n = 0; n < ROWS; n++) {
        rf_pair pair = rf_pairs_pick(&s.pairs, n);
        check_pair(&s.pairs, &pair);
        follow += pair.is_next ? 1 : 0;
        first_of_two += n % 2 == 0 && pair.is_next ? 1 : 0;
        behind += !pair.is_next && pair.second > pair.first ? 1 : 0;
        if (n % 2 == 1) {
            assert_int_equal(follow, (n + 1) / 2);
        }
    }
    assert_true(first_of_two > ROWS / 5 && first_of_two < 3 * ROWS / 10);
    assert_true(behind > ROWS / 6 && behind < ROWS / 3);
    close_subject(&s);
}

static void test_rows(void **state)
{
    (void)state;
    subject s;
    int32_t ids[LENGTH];
    int32_t types[LENGTH];
    open_subject(&s, LENGTH, false, 0);
    for (int separator = -1; separator < 300; separator += 300) {
        s.pairs.separator = separator;
        for (int64_t n = 0; n < 50; n++) {
            rf_pair pair = rf_pairs_pick(&s.pairs, n);
            int64_t count = rf_pair_length(&s.pairs, &pair);
            int64_t second = count - pair.second_count;
            assert_true(count <= LENGTH);
            rf_pair_read(&s.pairs, &pair, ids, types);
            for (int64_t i = 0; i < count; i++) {
                int64_t from = i < pair.first_count ? pair.first + i : pair.second + i - second;
                bool separates = separator >= 0 && i == pair.first_count;
                assert_int_equal(ids[i], separates ? separator : (uint8_t)s.text[from] + 2);
                assert_int_equal(types[i], i >= second ? 1 : 0);
            }
        }
    }
    close_subject(&s);
}

/* In order, no first span over what belongs to another pair; over again when all were there. */
static void test_in_order(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, LENGTH, true, 1);
    int64_t at = 0;
    assert_true(s.pairs.count > 20 && s.pairs.count <= 60);
    for (int64_t n = 0; n < s.pairs.count; n++) {
        rf_pair pair = rf_pairs_pick(&s.pairs, n);
        check_pair(&s.pairs, &pair);
        assert_true(pair.first >= at);
        at = pair.first + pair.first_count + (pair.is_next ? pair.second_count : 0);
    }
    rf_pair first = rf_pairs_pick(&s.pairs, 0);
    rf_pair again = rf_pairs_pick(&s.pairs, 2 * s.pairs.count);
    assert_int_equal(first.first, again.first);
    close_subject(&s);
}

static void test_keys(void **state)
{
    (void)state;
    subject s[3];
    bool differs = false;
    for (int i = 0; i < 3; i++) {
        open_subject(&s[i], LENGTH, false, i == 2 ? 1 : 0);
    }
    for (int64_t n = 0; n < 20; n++) {
        rf_pair pairs[3];
        for (int i = 0; i < 3; i++) {
            memset(&pairs[i], 0, sizeof pairs[i]);
            pairs[i] = rf_pairs_pick(&s[i].pairs, n);
        }
        assert_true(pairs[0].first == pairs[1].first && pairs[0].second == pairs[1].second &&
                    pairs[0].is_next == pairs[1].is_next);
        differs = differs || pairs[0].first != pairs[2].first;
    }
    assert_true(differs);
    for (int i = 0; i < 3; i++) {
        close_subject(&s[i]);
    }
}

/* Units longer than a row: the end of the first, the beginning of the second. */
static void test_long_units(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, RF_PAIRS_LEAST, false, 0);
    for (int64_t n = 0; n < 40; n++) {
        rf_pair pair = rf_pairs_pick(&s.pairs, n);
        check_pair(&s.pairs, &pair);
        assert_int_equal(rf_pair_length(&s.pairs, &pair), RF_PAIRS_LEAST);
    }
    close_subject(&s);
}

static void refuse(const char *text, int64_t length, const char *words)
{
    rf_tokenizer *tokenizer = NULL;
    rf_tokens tokens;
    rf_error fault = {0};
    rf_pairs pairs = {.length = length, .separator = -1};
    assert_ok(rf_tokenizer_create(NULL, 258, &tokenizer, error));
    assert_ok(rf_tokens_view(tokenizer, (const uint8_t *)text, strlen(text), &tokens, error));
    assert_int_equal(rf_pairs_open(&pairs, tokenizer, &tokens, RF_UNIT_SENTENCE, &fault),
                     RF_ERR_ARGUMENT);
    if (strstr(fault.message, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, fault.message);
    }
    rf_pairs_clear(&pairs);
    rf_tokens_clear(&tokens);
    rf_tokenizer_destroy(tokenizer);
}

static void test_refused(void **state)
{
    (void)state;
    refuse("One. Two. Three.", 32, "has 3 sentences, but pairs need 4 at least");
    refuse("One. Two. Three. Four.", 7, "a length of 7 has no room");
}

#if RF_WITH_SENTENCEPIECE
/* Pieces: a span is its units as texts of their own, one after the other. */
static void test_pieces(void **state)
{
    (void)state;
    subject s;
    char data[512];
    char model[512];
    rf_tokenizer *tokenizer = NULL;
    rf_tokens tokens;
    int32_t ids[LENGTH];
    int32_t types[LENGTH];
    open_subject(&s, LENGTH, false, 0);
    (void)snprintf(data, sizeof data, "%s/lines.txt", test_folder());
    (void)snprintf(model, sizeof model, "%s/lines.model", test_folder());
    assert_ok(rf_file_write_atomic(data, s.text, strlen(s.text), error));
    rf_tokenizer_training training = {.data = data, .output = model, .vocabulary = 50};
    assert_ok(rf_tokenizer_train(&training, error));
    assert_ok(rf_tokenizer_load(model, &tokenizer, error));
    assert_ok(rf_tokens_view(tokenizer, (const uint8_t *)s.text, strlen(s.text), &tokens, error));
    rf_pairs pairs = {.seed = 5, .length = LENGTH, .separator = -1};
    assert_ok(rf_pairs_open(&pairs, tokenizer, &tokens, RF_UNIT_LINE, error));
    assert_int_equal(pairs.units.count, 120);
    for (int64_t n = 0; n < 50; n++) {
        rf_pair pair = rf_pairs_pick(&pairs, n);
        char *text = NULL;
        size_t size = 0;
        check_pair(&pairs, &pair);
        rf_pair_read(&pairs, &pair, ids, types);
        assert_ok(rf_tokenizer_detokenize(tokenizer, ids + pair.first_count, pair.second_count,
                                          &text, &size, error));
        assert_true(size > 5 && memcmp(text, "line ", 5) == 0);
        rf_text_release(text);
    }
    rf_pairs_clear(&pairs);
    rf_tokens_clear(&tokens);
    rf_tokenizer_destroy(tokenizer);
    close_subject(&s);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_of_them_follow),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_long_units),
        cmocka_unit_test(test_refused),
#if RF_WITH_SENTENCEPIECE
        cmocka_unit_test(test_pieces),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
