/* The corruption of a masked language model: shares, keys, the one token that is always told. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/corruption.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 200000, VOCABULARY = 500, MASK = 7, WIDE = 1 << 20, NO_PIECE = 1 << 19 };

static const rf_corruption usual = {
    .seed = 3, .rate = 0.15, .mask_token = MASK, .vocabulary = VOCABULARY};

static void fill(int32_t *ids, int64_t length)
{
    for (int64_t i = 0; i < length; i++) {
        ids[i] = (int32_t)(10 + i % (VOCABULARY - 10));
    }
}

static void test_shares(void **state)
{
    (void)state;
    int32_t *ids = malloc(LENGTH * sizeof *ids);
    int32_t *before = malloc(LENGTH * sizeof *before);
    int32_t *labels = malloc(LENGTH * sizeof *labels);
    assert_true(ids != NULL && before != NULL && labels != NULL);
    fill(ids, LENGTH);
    memcpy(before, ids, LENGTH * sizeof *ids);
    rf_corrupt(&usual, 5, LENGTH, NULL, ids, labels);
    double told = 0.0;
    double masked = 0.0;
    double same = 0.0;
    for (int i = 0; i < LENGTH; i++) {
        assert_true(labels[i] == -100 ? ids[i] == before[i] : labels[i] == before[i]);
        assert_true(ids[i] >= 0 && ids[i] < VOCABULARY);
        told += labels[i] != -100 ? 1.0 : 0.0;
        masked += labels[i] != -100 && ids[i] == MASK ? 1.0 : 0.0;
        same += labels[i] != -100 && ids[i] == before[i] ? 1.0 : 0.0;
    }
    assert_true(told > 0.147 * LENGTH && told < 0.153 * LENGTH);
    assert_true(masked > 0.785 * told && masked < 0.815 * told);
    assert_true(same > 0.09 * told && same < 0.112 * told);
    free(ids);
    free(before);
    free(labels);
}

static void test_keys(void **state)
{
    (void)state;
    int32_t ids[4][300];
    int32_t labels[4][300];
    for (int i = 0; i < 4; i++) {
        rf_corruption corruption = usual;
        corruption.stream = i == 3 ? 1 : 0;
        fill(ids[i], 300);
        rf_corrupt(&corruption, i == 2 ? 6 : 5, 300, NULL, ids[i], labels[i]);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_memory_equal(labels[0], labels[1], sizeof labels[0]);
    assert_memory_not_equal(labels[0], labels[2], sizeof labels[0]); /* another window */
    assert_memory_not_equal(labels[0], labels[3], sizeof labels[0]); /* another stream */
}

static void test_one_is_always_told(void **state)
{
    (void)state;
    rf_corruption rare = usual;
    rare.rate = 1e-6;
    for (int64_t number = 0; number < 50; number++) {
        int32_t ids[9];
        int32_t labels[9];
        int told = 0;
        fill(ids, 9);
        rf_corrupt(&rare, number, 9, NULL, ids, labels);
        for (int i = 0; i < 9; i++) {
            told += labels[i] != -100 ? 1 : 0;
        }
        assert_int_equal(told, 1);
    }
}

/* ---- words ------------------------------------------------------------------------------- */

/* F. Kafka, "Der Process" (1925), the beginning, and a line of English and Chinese. */
static const char prose[] =
    "Jemand mu\xc3\x9fte Josef K. verleumdet haben, denn ohne da\xc3\x9f er etwas B\xc3\xb6ses "
    "getan "
    "h\xc3\xa4tte, wurde er eines Morgens verhaftet. Die K\xc3\xb6"
    "chin der Frau Grubach, seiner "
    "Zimmervermieterin, die ihm jeden Tag gegen acht Uhr fr\xc3\xbch das Fr\xc3\xbchst\xc3\xbc"
    "ck brachte, kam diesmal nicht. Das war noch niemals geschehn. K. wartete noch ein Weilchen, "
    "sah von seinem Kopfkissen aus die alte Frau, die ihm gegen\xc3\xbc"
    "ber wohnte und die ihn mit "
    "einer an ihr ganz ungew\xc3\xb6hnlichen Neugierde beobachtete, dann aber, gleichzeitig "
    "befremdet und hungrig, l\xc3\xa4utete er. Sofort klopfte es und ein Mann, den er in dieser "
    "Wohnung noch niemals gesehen hatte, trat ein.\nThe sea, the sea! "
    "\xe6\xb5\xb7\xe6\xb0\xb4 42 waves\n";

typedef struct counts {
    double tokens, told, words, masked, same;
} counts;

/* One word [first, end): all of it is told or nothing, and one thing becomes of it. */
static void check_word(const int32_t *before, const int32_t *ids, const int32_t *labels,
                       int64_t first, int64_t end, counts *seen)
{
    bool told = labels[first] != -100;
    bool masked = told && ids[first] == NO_PIECE;
    bool same = true;
    for (int64_t i = first; i < end; i++) {
        assert_int_equal(labels[i], told ? before[i] : -100);
        assert_true(!told || (ids[i] == NO_PIECE) == masked);
        same = same && ids[i] == before[i];
    }
    assert_true(told || same);
    seen->tokens += (double)(end - first);
    seen->told += told ? (double)(end - first) : 0.0;
    seen->words += told ? 1.0 : 0.0;
    seen->masked += masked ? 1.0 : 0.0;
    seen->same += told && same ? 1.0 : 0.0;
}

static void check_words(const rf_tokenizer *tokenizer)
{
    rf_corruption words = usual;
    int32_t *before = NULL;
    int64_t length = 0;
    int32_t ids[sizeof prose];
    int32_t labels[sizeof prose];
    uint8_t parts[sizeof prose];
    counts seen = {0};
    words.vocabulary = WIDE; /* a token at random is another one */
    words.mask_token = NO_PIECE;
    assert_ok(rf_tokenizer_encode(tokenizer, (const uint8_t *)prose, sizeof prose - 1, &before,
                                  &length, error));
    rf_tokenizer_find_words(tokenizer, before, length, parts);
    for (int64_t number = 0; number < 2000; number++) {
        memcpy(ids, before, (size_t)length * sizeof *ids);
        rf_corrupt(&words, number, length, parts, ids, labels);
        for (int64_t first = 0, end = 1; first < length; first = end, end++) {
            while (end < length && parts[end] == RF_PART_GOES_ON) {
                end++;
            }
            check_word(before, ids, labels, first, end, &seen);
        }
    }
    assert_true(seen.told > 0.147 * seen.tokens && seen.told < 0.153 * seen.tokens);
    assert_true(seen.masked > 0.79 * seen.words && seen.masked < 0.81 * seen.words);
    assert_true(seen.same > 0.09 * seen.words && seen.same < 0.11 * seen.words);
    assert_true(seen.words < 0.9 * seen.told); /* there are words of several tokens */
    rf_release(before);
}

static void test_words_of_bytes(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_create(NULL, 300, &tokenizer, error));
    check_words(tokenizer);
    rf_tokenizer_destroy(tokenizer);
}

#if RF_WITH_SENTENCEPIECE
static void test_words_of_pieces(void **state)
{
    (void)state;
    char data[512];
    char model[512];
    rf_tokenizer *tokenizer = NULL;
    (void)snprintf(data, sizeof data, "%s/prose.txt", test_folder());
    (void)snprintf(model, sizeof model, "%s/prose.model", test_folder());
    assert_ok(rf_file_write_atomic(data, prose, sizeof prose - 1, error));
    rf_tokenizer_training training = {
        .data = data, .output = model, .vocabulary = 90, .coverage = 1.0};
    assert_ok(rf_tokenizer_train(&training, error));
    assert_ok(rf_tokenizer_load(model, &tokenizer, error));
    check_words(tokenizer);
    rf_tokenizer_destroy(tokenizer);
}
#endif

/* What is kept is never told, and parts units. */
static void test_kept(void **state)
{
    (void)state;
    const uint8_t parts[] = {2, 0, 0, 2, 0, 2, 2};
    for (int64_t number = 0; number < 200; number++) {
        rf_corruption corruption = usual;
        int32_t ids[7];
        int32_t labels[7];
        corruption.rate = 1e-6;
        fill(ids, 7);
        rf_corrupt(&corruption, number, 7, parts, ids, labels);
        for (int i = 0; i < 7; i++) {
            assert_true(parts[i] != RF_PART_KEPT || (labels[i] == -100 && ids[i] == 10 + i));
        }
        assert_true((labels[1] != -100) == (labels[2] != -100));
        assert_true((labels[1] != -100) != (labels[4] != -100)); /* one of the two units */
    }
    int32_t ids[2] = {10, 11};
    int32_t labels[2] = {0, 0};
    rf_corrupt(&usual, 0, 2, parts + 5, ids, labels);
    assert_true(labels[0] == -100 && labels[1] == -100 && ids[0] == 10 && ids[1] == 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_one_is_always_told),
        cmocka_unit_test(test_words_of_bytes),
#if RF_WITH_SENTENCEPIECE
        cmocka_unit_test(test_words_of_pieces),
#endif
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
