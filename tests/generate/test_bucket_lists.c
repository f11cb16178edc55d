/* The bucket lists against a stable re-sort after every append: windows equal entry by entry, order
 * and duplicates included. */
#include "generate/bucket_lists.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

typedef struct lists_case {
    int64_t buckets, tokens;
    rf_chunk_window window;
    int skew; /* 0: uniform; n: the lowest of n + 1 uniform draws */
} lists_case;

static rf_random_key key_of(uint64_t seed)
{
    return (rf_random_key){.seed = seed, .purpose = RF_PURPOSE_TEST};
}

static int64_t random_bucket(const rf_random_key *key, int64_t token, int64_t buckets, int skew)
{
    uint64_t lowest = (uint64_t)buckets;
    for (int i = 0; i <= skew; i++) {
        uint64_t index = (uint64_t)token * 8 + (uint64_t)i;
        uint64_t bucket = rf_random_below(key, index, (uint64_t)buckets);
        lowest = bucket < lowest ? bucket : lowest;
    }
    return (int64_t)lowest;
}

/* The definition: sort all tokens by (bucket, token), find the last token's slot, read the window
 * off. */
static void window_by_sorting(const int64_t *buckets, int64_t count, int64_t bucket_count,
                              rf_chunk_window window, int32_t *order, int32_t *tokens)
{
    int64_t filled = 0;
    for (int64_t bucket = 0; bucket < bucket_count; bucket++) {
        for (int64_t token = 0; token < count; token++) {
            if (buckets[token] == bucket) {
                order[filled++] = (int32_t)token;
            }
        }
    }
    int64_t slot = 0;
    while (order[slot] != count - 1) {
        slot++;
    }
    int64_t start = (slot / window.chunk - window.before) * window.chunk;
    int64_t length = window.chunk * (window.before + 1 + window.after);
    for (int64_t i = 0; i < length; i++) {
        tokens[i] = order[((start + i) % count + count) % count];
    }
}

static void check_case(const lists_case *test, uint64_t seed)
{
    size_t words = 0;
    assert_true(rf_bucket_lists_words(test->buckets, test->tokens, &words));
    void *memory = NULL;
    void *scratch = NULL;
    int64_t length = test->window.chunk * (test->window.before + 1 + test->window.after);
    size_t scratch_words = (size_t)(4 * test->tokens + 2 * length);
    assert_ok(rf_allocate(words * sizeof(int32_t), "lists", &memory, error));
    assert_ok(rf_allocate(scratch_words * sizeof(int32_t), "scratch", &scratch, error));
    memset(memory, 0xA5, words * sizeof(int32_t));
    int64_t *buckets = scratch;
    int32_t *order = (int32_t *)(buckets + test->tokens);
    int32_t *expected = order + test->tokens;
    int32_t *found = expected + length;
    rf_bucket_lists lists;
    rf_bucket_lists_init(&lists, test->buckets, test->tokens, memory);
    rf_random_key key = key_of(seed);
    for (int64_t token = 0; token < test->tokens; token++) {
        buckets[token] = random_bucket(&key, token, test->buckets, test->skew);
        rf_bucket_lists_append(&lists, buckets[token], (int32_t)token);
        window_by_sorting(buckets, token + 1, test->buckets, test->window, order, expected);
        rf_bucket_lists_window(&lists, buckets[token], test->window, found);
        assert_memory_equal(found, expected, (size_t)length * sizeof *found);
    }
    assert_int_equal(lists.count, test->tokens);
    rf_release(memory);
    rf_release(scratch);
}

static void test_windows_equal_those_of_a_sort(void **state)
{
    (void)state;
    const int64_t bucket_counts[] = {1, 2, 3, 7, 8, 64};
    const int64_t chunks[] = {1, 2, 4, 5, 16, 64};
    uint64_t seed = 1;
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            for (int64_t before = 0; before <= 3; before++) {
                for (int64_t after = 0; after <= 2; after++) {
                    lists_case test = {
                        bucket_counts[i], 150, {chunks[j], before, after}, (int)(seed % 3)};
                    check_case(&test, seed++);
                }
            }
        }
    }
}

static void test_windows_after_thousands_of_appends(void **state)
{
    (void)state;
    check_case(&(lists_case){16, 2000, {64, 1, 0}, 0}, 1001);
    check_case(&(lists_case){512, 1000, {16, 1, 0}, 2}, 1002);
    check_case(&(lists_case){6, 2000, {32, 2, 1}, 4}, 1003);
}

/* Tokens may be missing (masked ones are never put in): slots count what is there. */
static void test_gaps_in_tokens(void **state)
{
    (void)state;
    size_t words = 0;
    assert_true(rf_bucket_lists_words(4, 8, &words));
    void *memory = NULL;
    assert_ok(rf_allocate(words * sizeof(int32_t), "lists", &memory, error));
    rf_bucket_lists lists;
    rf_bucket_lists_init(&lists, 4, 8, memory);
    rf_bucket_lists_append(&lists, 3, 10);
    rf_bucket_lists_append(&lists, 1, 25);
    rf_bucket_lists_append(&lists, 1, 40);
    int32_t found[4];
    rf_bucket_lists_window(&lists, 1, (rf_chunk_window){2, 1, 0}, found);
    assert_int_equal(rf_bucket_lists_last_slot(&lists, 1), 1);
    const int32_t expected[4] = {40, 10, 25, 40}; /* slots -2, -1, 0, 1 of 3: 40, 10, 25, 40 */
    assert_memory_equal(found, expected, sizeof expected);
    rf_release(memory);
}

static void test_sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    size_t words = 0;
    assert_false(rf_bucket_lists_words(0, 10, &words));
    assert_false(rf_bucket_lists_words(10, 0, &words));
    assert_false(rf_bucket_lists_words((int64_t)1 << 31, 10, &words));
    assert_false(rf_bucket_lists_words(10, (int64_t)1 << 31, &words));
}

/* Microseconds to append a token and walk its window, over the last thousand of `tokens`. */
static double cost_at(int64_t tokens)
{
    size_t words = 0;
    assert_true(rf_bucket_lists_words(512, tokens, &words));
    void *memory = NULL;
    assert_ok(rf_allocate(words * sizeof(int32_t), "lists", &memory, error));
    rf_bucket_lists lists;
    rf_bucket_lists_init(&lists, 512, tokens, memory);
    rf_random_key key = key_of(77);
    int32_t window[128];
    int64_t sum = 0;
    double start = 0.0;
    for (int64_t token = 0; token < tokens; token++) {
        int64_t bucket = (int64_t)rf_random_below(&key, (uint64_t)token, 512);
        if (token == tokens - 1000) {
            start = rf_clock_seconds();
        }
        rf_bucket_lists_append(&lists, bucket, (int32_t)token);
        if (token >= tokens - 1000) {
            rf_bucket_lists_window(&lists, bucket, (rf_chunk_window){64, 1, 0}, window);
            sum += window[0];
        }
    }
    double cost = (rf_clock_seconds() - start) * 1e3;
    assert_true(sum > 0);
    rf_release(memory);
    return cost;
}

/* 256 times the tokens: sorting or reading them again would cost some 256 times as much. The bound
 * is loose because other programs may be running; scripts/decode-cost measures in earnest. */
static void test_cost_does_not_grow_with_the_context(void **state)
{
    (void)state;
    double smallest = 1e30;
    double large = 1e30;
    for (int i = 0; i < 3; i++) {
        double cost = cost_at(1024);
        smallest = cost < smallest ? cost : smallest;
        cost = cost_at(262144);
        large = cost < large ? cost : large;
    }
    print_message("append and window: %.3f us at 1,024 tokens, %.3f us at 262,144\n", smallest,
                  large);
    assert_true(large < 16.0 * smallest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_equal_those_of_a_sort),
        cmocka_unit_test(test_windows_after_thousands_of_appends),
        cmocka_unit_test(test_gaps_in_tokens),
        cmocka_unit_test(test_sizes_out_of_range_are_refused),
        cmocka_unit_test(test_cost_does_not_grow_with_the_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
