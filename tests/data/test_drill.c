/* Data that are made: what each row says, that it follows from seed and number alone, how symbols
 * are spread, and what cannot be made. */
#include "support.h"

#include "data/drill.h"

#include <string.h>

enum { LENGTH = 1024, LIST = 2 * RF_DRILL_PAIRS };

typedef struct row {
    int32_t ids[LENGTH], labels[LENGTH];
} row;

static row write(const rf_drill_rows *rows, int64_t number)
{
    row r;
    assert_ok(rf_drill_check(rows, error));
    memset(&r, 0x55, sizeof r); /* nothing is left as it was */
    rf_drill_write(rows, number, r.ids, r.labels);
    for (int64_t i = 0; i < rows->length; i++) {
        assert_in_range(r.ids[i], 0, rf_drill_vocabulary(rows->drill) - 1);
        assert_true(r.labels[i] == -100 || r.labels[i] == r.ids[i]);
    }
    return r;
}

/* 0 w 0 w, the last 511 of 1,024 scored. */
static void a_copy_is_the_papers(void **state)
{
    (void)state;
    const rf_drill_rows rows = {.drill = RF_DRILL_COPY, .seed = 3, .length = LENGTH};
    int64_t counts[128] = {0};
    for (int64_t number = 0; number < 200; number++) {
        row r = write(&rows, number);
        assert_int_equal(r.ids[0], 0);
        for (int i = 0; i < LENGTH; i++) {
            assert_int_equal(r.labels[i] != -100, i > 512);
            assert_int_equal(r.ids[i], r.ids[i % 512]);
            counts[r.ids[i]] += i % 512 > 0 ? 1 : 0;
        }
    }
    assert_int_equal(counts[0], 0);
    double expected = 200.0 * 1022.0 / 127.0;
    double squares = 0.0;
    for (int i = 1; i < 128; i++) {
        double more = (double)counts[i] - expected;
        squares += more * more / (2.0 * expected); /* every symbol stands twice */
    }
    assert_true(squares > 65.0 && squares < 215.0); /* chi squared, 126 degrees: 5 deviations */
}

static void a_row_follows_from_seed_stream_and_number(void **state)
{
    (void)state;
    static const rf_drill drills[] = {RF_DRILL_COPY, RF_DRILL_REVERSE, RF_DRILL_ADDITION,
                                      RF_DRILL_RECALL};
    for (size_t i = 0; i < sizeof drills / sizeof drills[0]; i++) {
        rf_drill_rows rows = {.drill = drills[i], .seed = 3, .length = 256};
        const size_t size = 256 * sizeof(int32_t);
        row first = write(&rows, 7);
        row again = write(&rows, 7);
        row next = write(&rows, 8);
        rows.stream = 1;
        row other = write(&rows, 7);
        rows.stream = 0;
        rows.seed = 4;
        row seeded = write(&rows, 7);
        assert_memory_equal(first.ids, again.ids, size);
        assert_memory_equal(first.labels, again.labels, size);
        assert_memory_not_equal(first.ids, next.ids, size);
        assert_memory_not_equal(first.ids, other.ids, size);
        assert_memory_not_equal(first.ids, seeded.ids, size);
    }
}

/* A distance above half the row cuts the second word, one below it leaves padding. */
static void a_copy_has_the_distance_that_was_asked_for(void **state)
{
    (void)state;
    rf_drill_rows rows = {.drill = RF_DRILL_COPY, .length = 100, .distance = 60};
    row r = write(&rows, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(r.ids[i] == 0, i % 60 == 0);
        assert_int_equal(r.labels[i] != -100, i > 60);
        assert_true(i < 60 || r.ids[i] == r.ids[i - 60]);
    }
    rows.distance = 20;
    r = write(&rows, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(r.ids[i] == 0, i % 20 == 0 || i >= 40);
        assert_int_equal(r.labels[i] != -100, i > 20 && i < 40);
    }
}

static void lengths_vary_where_that_was_asked_for(void **state)
{
    (void)state;
    const rf_drill_rows rows = {.drill = RF_DRILL_REVERSE, .length = 64, .shortest = 8};
    bool seen[65] = {false};
    for (int64_t number = 0; number < 2000; number++) {
        row r = write(&rows, number);
        int64_t end = 64;
        while (r.labels[end - 1] == -100) {
            end--;
        }
        int64_t half = end / 2;
        assert_int_equal(end % 2, 0);
        for (int64_t i = 1; i < half; i++) {
            assert_int_equal(r.ids[half + i], r.ids[half - i]);
            assert_true(r.ids[i] > 0);
        }
        assert_int_equal(r.ids[half], 0);
        seen[end] = true;
    }
    for (int i = 8; i <= 64; i += 2) {
        assert_true(seen[i]);
    }
}

/* A number in ids, the digit of least weight first; *at: behind it. */
static double read_number(const int32_t *ids, int *at, int *digits)
{
    double value = 0.0;
    double weight = 1.0;
    *digits = 0;
    for (; ids[*at] >= 1 && ids[*at] <= 10; (*at)++) {
        value += weight * (double)(ids[*at] - 1);
        weight *= 10.0;
        (*digits)++;
    }
    return value;
}

static void sums_are_right(void **state)
{
    (void)state;
    const rf_drill_rows rows = {.drill = RF_DRILL_ADDITION, .seed = 1, .length = 40};
    bool wide = false;
    for (int64_t number = 0; number < 500; number++) {
        row r = write(&rows, number);
        int at = 1;
        int digits[3];
        double x = read_number(r.ids, &at, &digits[0]);
        assert_true(r.ids[0] == 12 && r.ids[at] == 11);
        at++;
        double y = read_number(r.ids, &at, &digits[1]);
        assert_int_equal(r.ids[at], 12);
        int answer = ++at;
        double sum = read_number(r.ids, &at, &digits[2]);
        assert_true(x + y == sum);
        assert_true(digits[0] == 1 || r.ids[digits[0]] != 1); /* no 0 in front */
        assert_true(digits[2] == 1 || r.ids[at - 1] != 1);
        for (int i = 0; i < 40; i++) {
            assert_int_equal(r.labels[i] != -100, i >= answer && i < at);
            assert_true(i < at || r.ids[i] == 0);
        }
        wide = wide || digits[0] == 12 || digits[1] == 12;
    }
    assert_true(wide);
}

/* Every key stands twice, `distance` and a little apart; the same value follows; others are told of
 * nothing. */
static void check_recall(int64_t asked, int pairs)
{
    const rf_drill_rows rows = {
        .drill = RF_DRILL_RECALL, .seed = 5, .length = 512, .distance = 300, .pairs = asked};
    bool starts[512] = {false};
    for (int64_t number = 0; number < 300; number++) {
        row r = write(&rows, number);
        int scored = 0;
        int start = 0;
        while (r.ids[start] >= 64) {
            start++;
        }
        starts[start] = true;
        for (int i = 0; i < 512; i++) {
            bool query = i >= start + 300 && i < start + 300 + 2 * pairs;
            bool list = i >= start && i < start + 2 * pairs;
            assert_int_equal(r.ids[i] < 64, (query || list) && (i - start) % 2 == 0);
            scored += r.labels[i] != -100 ? 1 : 0;
            if (r.labels[i] != -100) {
                int known = start;
                while (r.ids[known] != r.ids[i - 1]) {
                    known++;
                }
                assert_true(query && known < start + 2 * pairs && r.ids[known + 1] == r.ids[i]);
            }
        }
        assert_int_equal(scored, pairs);
    }
    assert_true(starts[0] || starts[1] || starts[2] || starts[3]);
}

static void recall_tells_what_followed(void **state)
{
    (void)state;
    check_recall(0, RF_DRILL_PAIRS);
    check_recall(3, 3);
    check_recall(63, 63);
}

static void what_cannot_be_made_is_refused(void **state)
{
    (void)state;
    static const struct {
        rf_drill_rows rows;
        const char *says;
    } cases[] = {
        {{.drill = RF_DRILL_COPY, .length = 3}, "copy needs 4"},
        {{.drill = RF_DRILL_ADDITION, .length = 6}, "addition needs 7"},
        {{.drill = RF_DRILL_RECALL, .length = 2 * LIST - 1}, "recall needs 64"},
        {{.drill = RF_DRILL_COPY, .length = 8, .shortest = 9}, "the shortest row is of 9"},
        {{.drill = RF_DRILL_RECALL, .length = 99, .shortest = 90}, "shortest is for copy"},
        {{.drill = RF_DRILL_COPY, .length = 8, .distance = 7}, "expected 2 to 6"},
        {{.drill = RF_DRILL_COPY, .length = 8, .distance = 1}, "expected 2 to 6"},
        {{.drill = RF_DRILL_RECALL, .length = 99, .distance = 68}, "expected 32 to 67"},
        {{.drill = RF_DRILL_RECALL, .length = 99, .distance = 94, .pairs = 3}, "expected 6 to 93"},
        {{.drill = RF_DRILL_RECALL, .length = 99, .pairs = 64}, "expected 1 to 63"},
        {{.drill = RF_DRILL_RECALL, .length = 99, .pairs = 25}, "recall needs 100"},
        {{.drill = RF_DRILL_COPY, .length = 99, .pairs = 1}, "pairs is for recall"},
        {{.drill = RF_DRILL_REVERSE, .length = 8, .distance = 4}, "distance is for copy"},
        {{.drill = RF_DRILL_COPY, .length = 9, .shortest = 8, .distance = 4}, "exclude"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_error error = {0};
        assert_int_equal(rf_drill_check(&cases[i].rows, &error), RF_ERR_ARGUMENT);
        if (strstr(error.message, cases[i].says) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", error.message, cases[i].says);
        }
    }
}

static void other_rows_have_another_hash(void **state)
{
    (void)state;
    const rf_drill_rows rows = {.drill = RF_DRILL_COPY, .length = 100};
    rf_drill_rows other = rows;
    other.seed = 7;
    assert_true(rf_drill_hash(&rows) == rf_drill_hash(&other));
    other.distance = 40;
    assert_true(rf_drill_hash(&rows) != rf_drill_hash(&other));
    other.distance = rows.distance;
    other.pairs = 9;
    assert_true(rf_drill_hash(&rows) != rf_drill_hash(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_papers),
        cmocka_unit_test(a_row_follows_from_seed_stream_and_number),
        cmocka_unit_test(a_copy_has_the_distance_that_was_asked_for),
        cmocka_unit_test(lengths_vary_where_that_was_asked_for),
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(recall_tells_what_followed),
        cmocka_unit_test(what_cannot_be_made_is_refused),
        cmocka_unit_test(other_rows_have_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
