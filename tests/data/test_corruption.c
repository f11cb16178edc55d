/* The corruption of a masked language model: shares, keys, the one token that is always told. */
#include "support.h"

#include "data/corruption.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH = 200000, VOCABULARY = 500, MASK = 7 };

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
    rf_corrupt(&usual, 5, LENGTH, ids, labels);
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
        rf_corrupt(&corruption, i == 2 ? 6 : 5, 300, ids[i], labels[i]);
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
        rf_corrupt(&rare, number, 9, ids, labels);
        for (int i = 0; i < 9; i++) {
            told += labels[i] != -100 ? 1 : 0;
        }
        assert_int_equal(told, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares), cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_one_is_always_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
