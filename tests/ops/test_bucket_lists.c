/* The bucket lists against a stable re-sort after every append: windows equal entry by entry, order
 * and duplicates included. */
#include "ops/cpu/bucket_lists.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "support.h"

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

/* What a case works in. */
typedef struct lists_memory {
    rf_lists_layout layout;
    rf_cpu_lists lists;
    int32_t *words;    /* [layout.words + 1] */
    int32_t *buckets;  /* [tokens] */
    int32_t *order;    /* [tokens] */
    int32_t *expected; /* [window] */
    int32_t *found;    /* [window] */
} lists_memory;

static int32_t *allocate_words(int64_t count)
{
    void *memory = NULL;
    assert_ok(rf_allocate((size_t)count * sizeof(int32_t), "test", &memory, error));
    memset(memory, 0xA5, (size_t)count * sizeof(int32_t));
    return memory;
}

static void open_lists(lists_memory *at, int64_t buckets, int64_t tokens, int64_t window)
{
    assert_true(rf_lists_layout_of(buckets, tokens, &at->layout));
    at->words = allocate_words(at->layout.words + 1);
    at->buckets = allocate_words(tokens);
    at->order = allocate_words(tokens);
    at->expected = allocate_words(window);
    at->found = allocate_words(window);
    at->lists = rf_cpu_lists_of(&at->layout, at->words);
}

static void close_lists(lists_memory *at)
{
    assert_int_equal((uint32_t)at->words[at->layout.words], 0xA5A5A5A5U);
    rf_release(at->words);
    rf_release(at->buckets);
    rf_release(at->order);
    rf_release(at->expected);
    rf_release(at->found);
}

/* The definition: sort all tokens by (bucket, token); gives how many have a bucket. */
static int64_t sort_tokens(const int32_t *buckets, int64_t count, int64_t bucket_count,
                           int32_t *order)
{
    int64_t filled = 0;
    for (int64_t bucket = 0; bucket <= bucket_count; bucket++) {
        for (int64_t token = 0; token < count; token++) {
            if (buckets[token] == bucket) {
                order[filled++] = (int32_t)token;
            }
        }
    }
    return filled;
}

/* Find the last token's slot, read the window off; gives its entries. */
static int64_t window_by_sorting(const lists_memory *at, int64_t count, rf_chunk_window window)
{
    sort_tokens(at->buckets, count, at->layout.buckets, at->order);
    int64_t slot = 0;
    while (at->order[slot] != count - 1) {
        slot++;
    }
    const int64_t chunks = window.chunk * (window.before + 1 + window.after);
    const int64_t start =
        window.whole_buckets ? 0 : (slot / window.chunk - window.before) * window.chunk;
    const int64_t length = window.whole_buckets ? count : chunks;
    int64_t found = 0;
    for (int64_t i = start; i < start + length; i++) {
        const int32_t token = at->order[(i % count + count) % count];
        const bool is_there = !window.is_clipped || (i >= 0 && i < count);
        if (is_there && (!window.same_bucket || at->buckets[token] == at->buckets[count - 1])) {
            at->expected[found++] = token;
        }
    }
    return found;
}

/* How often each token stands in the window, of which `length` entries are expected. */
static void check_test(const lists_memory *at, int64_t count, int64_t length,
                       const rf_window_test *test)
{
    memset(at->order, 0, (size_t)count * sizeof *at->order);
    for (int64_t i = 0; i < length; i++) {
        at->order[at->expected[i]]++;
    }
    for (int64_t token = 0; token < count; token++) {
        assert_int_equal(rf_cpu_window_copies(test, at->buckets[token], (int32_t)token),
                         at->order[token]);
    }
}

/* The first `built` tokens at once, the others one by one. */
static void check_case(const lists_case *test, int64_t built, uint64_t seed)
{
    lists_memory at;
    open_lists(&at, test->buckets, test->tokens, rf_cpu_longest_window(test->window, test->tokens));
    rf_random_key key = key_of(seed);
    for (int64_t token = 0; token < test->tokens; token++) {
        at.buckets[token] = (int32_t)random_bucket(&key, token, test->buckets, test->skew);
    }
    sort_tokens(at.buckets, built, test->buckets, at.order);
    rf_cpu_lists_build(&at.lists, at.buckets, at.order, built);
    for (int64_t token = built; token < test->tokens; token++) {
        rf_cpu_lists_append(&at.lists, at.buckets[token], (int32_t)token);
        const int64_t length = window_by_sorting(&at, token + 1, test->window);
        const rf_window_test copies = rf_cpu_lists_test(&at.lists, test->window);
        assert_int_equal(rf_cpu_lists_window(&at.lists, test->window, at.found), length);
        assert_memory_equal(at.found, at.expected, (size_t)length * sizeof(int32_t));
        check_test(&at, token + 1, length, &copies);
    }
    assert_int_equal(at.lists.header[RF_LISTS_COUNT], test->tokens);
    assert_true(at.layout.pool + at.lists.header[RF_LISTS_USED] <= at.layout.words);
    close_lists(&at);
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
                    lists_case test = {bucket_counts[i],
                                       150,
                                       {.chunk = chunks[j], .before = before, .after = after},
                                       (int)(seed % 3)};
                    check_case(&test, (int64_t)(seed % 4) * 49, seed);
                    seed++;
                }
            }
        }
    }
}

static void test_windows_with_options(void **state)
{
    (void)state;
    const int64_t bucket_counts[] = {1, 3, 8};
    uint64_t seed = 5000;
    for (size_t i = 0; i < 3; i++) {
        for (unsigned options = 0; options < 8; options++) {
            for (int64_t before = 0; before <= 2; before++) {
                const bool is_whole = (options & 4U) != 0;
                const rf_chunk_window window = {.chunk = 7,
                                                .before = before,
                                                .after = (int64_t)(seed % 2),
                                                .same_bucket = is_whole || (options & 1U) != 0,
                                                .whole_buckets = is_whole,
                                                .is_clipped = is_whole || (options & 2U) != 0};
                const lists_case test = {bucket_counts[i], 150, window, (int)(seed % 3)};
                check_case(&test, (int64_t)(seed % 4) * 37, seed);
                seed++;
            }
        }
    }
}

static void test_windows_after_thousands_of_appends(void **state)
{
    (void)state;
    check_case(&(lists_case){16, 2000, {.chunk = 64, .before = 1}, 0}, 0, 1001);
    check_case(&(lists_case){512, 1000, {.chunk = 16, .before = 1}, 2}, 500, 1002);
    check_case(&(lists_case){6, 2000, {.chunk = 32, .before = 2, .after = 1}, 4}, 1999, 1003);
}

/* Tokens may be missing (masked ones are in bucket `buckets`, or never put in): slots count what is
 * there. */
static void test_gaps_in_tokens(void **state)
{
    (void)state;
    lists_memory at;
    const int32_t buckets[5] = {4, 3, 4, 4, 1};
    const int32_t order[5] = {4, 1, 0, 2, 3};
    open_lists(&at, 4, 8, 4);
    rf_cpu_lists_build(&at.lists, buckets, order, 5);
    assert_int_equal(at.lists.header[RF_LISTS_COUNT], 2);
    rf_cpu_lists_append(&at.lists, 1, 40);
    const int64_t count =
        rf_cpu_lists_window(&at.lists, (rf_chunk_window){.chunk = 2, .before = 1}, at.found);
    assert_int_equal(count, 4);
    assert_int_equal(at.lists.header[RF_LISTS_LAST_SLOT], 1);
    const int32_t expected[4] = {40, 1, 4, 40}; /* slots -2, -1, 0, 1 of 3 */
    assert_memory_equal(at.found, expected, sizeof expected);
    close_lists(&at);
}

static void test_sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    rf_lists_layout layout;
    assert_false(rf_lists_layout_of(0, 10, &layout));
    assert_false(rf_lists_layout_of(10, 0, &layout));
    assert_false(rf_lists_layout_of((int64_t)1 << 31, 10, &layout));
    assert_false(rf_lists_layout_of(10, (int64_t)1 << 31, &layout));
    assert_false(rf_lists_layout_of(10, (int64_t)1 << 30, &layout));
    assert_true(rf_lists_layout_of(1 << 14, 1 << 20, &layout));
}

/* Microseconds to append a token and walk its window, over the last thousand of `tokens`. */
static double cost_at(int64_t tokens)
{
    lists_memory at;
    open_lists(&at, 512, tokens, 128);
    rf_cpu_lists_build(&at.lists, at.buckets, at.order, 0);
    rf_random_key key = key_of(77);
    int64_t sum = 0;
    double start = 0.0;
    for (int64_t token = 0; token < tokens; token++) {
        int64_t bucket = (int64_t)rf_random_below(&key, (uint64_t)token, 512);
        if (token == tokens - 1000) {
            start = rf_clock_seconds();
        }
        rf_cpu_lists_append(&at.lists, bucket, (int32_t)token);
        if (token >= tokens - 1000) {
            sum += rf_cpu_lists_window(&at.lists, (rf_chunk_window){.chunk = 64, .before = 1},
                                       at.found);
        }
    }
    double cost = (rf_clock_seconds() - start) * 1e3;
    assert_true(sum > 0);
    close_lists(&at);
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
        cmocka_unit_test(test_windows_with_options),
        cmocka_unit_test(test_windows_after_thousands_of_appends),
        cmocka_unit_test(test_gaps_in_tokens),
        cmocka_unit_test(test_sizes_out_of_range_are_refused),
        cmocka_unit_test(test_cost_does_not_grow_with_the_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
