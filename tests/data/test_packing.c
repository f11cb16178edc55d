/* Packing loses nothing and mixes nothing: over an epoch every token stands in a window, beside
 * those that follow it in its own document, whatever the lengths. */
#include "support.h"

#include "data/packing.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

/* Documents whose tokens are 2, 3, 4, ... through all of them, so that a token says where it is
 * from. */
typedef struct made {
    int32_t pieces[MOST];
    int64_t starts[64];
    rf_tokens tokens;
} made;

static void make(made *m, const int64_t *lengths, int64_t documents)
{
    memset(m, 0, sizeof *m);
    for (int64_t i = 0; i < documents; i++) {
        m->starts[i + 1] = m->starts[i] + lengths[i];
    }
    for (int32_t i = 0; i < MOST; i++) {
        m->pieces[i] = i + 2;
    }
    m->tokens = (rf_tokens){.count = m->starts[documents],
                            .pieces = m->pieces,
                            .documents = documents,
                            .starts = m->starts};
}

static int64_t document_of(const made *m, int32_t id)
{
    int64_t document = 0;
    while (m->starts[document + 1] <= id - 2) {
        document++;
    }
    return document;
}

/* One window: neighbours of one segment are neighbours in a document, a new segment begins with
 * another. Counts tokens and those that a token of their segment precedes. */
static void check_window(const made *m, const int32_t *ids, const int32_t *segments, int64_t count,
                         int *seen, int *predicted)
{
    for (int64_t i = 0; i < count; i++) {
        seen[ids[i] - 2]++;
        if (i == 0) {
            assert_int_equal(segments[0], 0);
        } else if (segments[i] == segments[i - 1]) {
            assert_int_equal(ids[i], ids[i - 1] + 1);
            assert_int_equal(document_of(m, ids[i]), document_of(m, ids[i - 1]));
            predicted[ids[i] - 2]++;
        } else {
            assert_int_equal(segments[i], segments[i - 1] + 1);
            assert_int_equal(ids[i] - 2, m->starts[document_of(m, ids[i])]);
        }
    }
}

static void check_epoch(const made *m, rf_packing *packing, int64_t epoch)
{
    int seen[MOST] = {0};
    int predicted[MOST] = {0};
    int32_t ids[MOST];
    int32_t segments[MOST];
    int64_t empty = 0;
    int64_t length = packing->length;
    for (int64_t i = 0; i < packing->windows; i++) {
        int64_t count = rf_packing_read(packing, epoch * packing->windows + i, ids, segments);
        check_window(m, ids, segments, count, seen, predicted);
        for (int64_t k = count; k < length; k++) {
            assert_int_equal(ids[k], 0);
            assert_int_equal(segments[k], segments[count - 1] + 1);
        }
        empty += length - count;
    }
    assert_true(empty < length);
    for (int64_t token = 0; token < m->tokens.count; token++) {
        bool is_first = m->starts[document_of(m, (int32_t)token + 2)] == token;
        assert_true(seen[token] == 1 || (packing->overlaps && seen[token] == 2));
        assert_true(predicted[token] <= 1);
        if (packing->overlaps) {
            assert_int_equal(predicted[token], is_first ? 0 : 1);
        }
    }
}

static const int64_t lengths[] = {5, 1, 100, 3, 0, 7, 64, 2, 2, 31, 0, 1, 9};
enum { DOCUMENTS = sizeof lengths / sizeof lengths[0] };

static void nothing_is_lost_or_mixed(void **state)
{
    (void)state;
    static const int64_t windows[] = {2, 3, 8, 32, 64, 225, 226, 1000};
    made m;
    make(&m, lengths, DOCUMENTS);
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        for (int kind = 0; kind < 4; kind++) {
            rf_packing packing = {.tokens = &m.tokens,
                                  .length = windows[i],
                                  .overlaps = kind % 2 == 0,
                                  .sequential = kind / 2 == 0,
                                  .seed = 5};
            assert_ok(rf_packing_open(&packing, error));
            check_epoch(&m, &packing, 0);
            check_epoch(&m, &packing, 3);
            rf_packing_clear(&packing);
        }
    }
}

/* The same window whatever was read before; another order each epoch; the order of the documents
 * where asked for. */
static void a_window_depends_on_its_number_only(void **state)
{
    (void)state;
    made m;
    int32_t ids[2][32];
    int32_t segments[2][32];
    make(&m, lengths, DOCUMENTS);
    rf_packing packing = {.tokens = &m.tokens, .length = 32, .seed = 5};
    assert_ok(rf_packing_open(&packing, error));
    (void)rf_packing_read(&packing, 2, ids[0], segments[0]);
    (void)rf_packing_read(&packing, 7 * packing.windows + 1, ids[1], segments[1]);
    (void)rf_packing_read(&packing, 2, ids[1], segments[1]);
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_memory_equal(segments[0], segments[1], sizeof segments[0]);
    (void)rf_packing_read(&packing, 2 + packing.windows, ids[1], segments[1]);
    assert_true(memcmp(ids[0], ids[1], sizeof ids[0]) != 0);
    rf_packing_clear(&packing);
    packing = (rf_packing){.tokens = &m.tokens, .length = 32, .sequential = true};
    assert_ok(rf_packing_open(&packing, error));
    (void)rf_packing_read(&packing, packing.windows, ids[0], segments[0]);
    for (int32_t i = 0; i < 32; i++) {
        assert_int_equal(ids[0][i], i + 2);
    }
    rf_packing_clear(&packing);
}

static void one_token_is_too_few(void **state)
{
    (void)state;
    made m;
    rf_error message = {0};
    make(&m, (const int64_t[]){1}, 1);
    rf_packing packing = {.tokens = &m.tokens, .length = 8};
    assert_int_equal(rf_packing_open(&packing, &message), RF_ERR_ARGUMENT);
    rf_packing_clear(&packing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_mixed),
        cmocka_unit_test(a_window_depends_on_its_number_only),
        cmocka_unit_test(one_token_is_too_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
