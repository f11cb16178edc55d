/* Allocation: alignment, exact counts, failure on request, strings. */
#include "support.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static void test_alignment_and_counts(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 255, 256, 257, 100000};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    size_t before = rf_memory_in_use();
    size_t total = 0;
    void *blocks[COUNT];
    rf_memory_reset_peak();
    for (size_t i = 0; i < COUNT; i++) {
        assert_ok(rf_allocate(sizes[i], "a block", &blocks[i], error));
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 256, 0);
        memset(blocks[i], 0xAB, sizes[i]);
        total += sizes[i];
        assert_int_equal(rf_memory_in_use() - before, total);
    }
    assert_ptr_not_equal(blocks[0], blocks[1]);
    for (size_t i = 0; i < COUNT; i++) {
        rf_release(blocks[i]);
    }
    assert_int_equal(rf_memory_in_use(), before);
    assert_int_equal(rf_memory_peak(), before + total);
    rf_memory_reset_peak();
    assert_int_equal(rf_memory_peak(), before);
    rf_release(NULL);
}

static void test_zeroed(void **state)
{
    (void)state;
    void *memory = NULL;
    assert_ok(rf_allocate_zeroed(1000, "zeros", &memory, error));
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(((unsigned char *)memory)[i], 0);
    }
    rf_release(memory);
}

static bool refuse_all(void *user, size_t size)
{
    *(size_t *)user = size;
    return false;
}

static void test_reallocate(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    size_t asked = 0;
    void *memory = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_reallocate(&memory, 0, 8, "text", &problem), RF_OK);
    memcpy(memory, "1234567", 8);
    assert_int_equal(rf_reallocate(&memory, 8, 4000, "text", &problem), RF_OK);
    assert_string_equal(memory, "1234567");
    assert_int_equal(rf_reallocate(&memory, 4000, 3, "text", &problem), RF_OK);
    assert_memory_equal(memory, "123", 3);
    assert_int_equal(rf_memory_in_use(), before + 3);
    rf_memory_set_hook(refuse_all, &asked);
    assert_int_equal(rf_reallocate(&memory, 3, 77, "text", &problem), RF_ERR_MEMORY);
    rf_memory_set_hook(NULL, NULL);
    assert_int_equal(asked, 77);
    assert_memory_equal(memory, "123", 3);
    rf_release(memory);
    assert_int_equal(rf_memory_in_use(), before);
}

static void test_failure_says_what_and_how_much(void **state)
{
    (void)state;
    size_t asked = 0;
    rf_error problem = {0};
    void *memory = &problem;
    rf_memory_set_hook(refuse_all, &asked);
    assert_int_equal(rf_allocate(3 << 20, "the parameters", &memory, &problem), RF_ERR_MEMORY);
    rf_memory_set_hook(NULL, NULL);
    assert_null(memory);
    assert_non_null(strstr(problem.message, "the parameters"));
    assert_non_null(strstr(problem.message, "3.000 MiB"));
    memory = &problem;
    assert_int_equal(rf_allocate(SIZE_MAX, "everything", &memory, &problem), RF_ERR_MEMORY);
    assert_null(memory);
    assert_int_equal(rf_allocate_zeroed(SIZE_MAX / 2, "half of it", &memory, NULL), RF_ERR_MEMORY);
    assert_null(memory);
}

static void test_strings(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    char *copy = NULL;
    char *formatted = NULL;
    assert_ok(rf_string_copy("abc", &copy, error));
    assert_string_equal(copy, "abc");
    assert_int_equal(rf_memory_in_use(), before + 4);
    assert_ok(rf_string_format(&formatted, error, "%s-%05d", copy, 42));
    assert_string_equal(formatted, "abc-00042");
    rf_release(copy);
    rf_release(formatted);
    assert_int_equal(rf_memory_in_use(), before);
}

static void test_multiply(void **state)
{
    (void)state;
    size_t product = 1;
    assert_true(rf_size_multiply(0, SIZE_MAX, &product));
    assert_int_equal(product, 0);
    assert_true(rf_size_multiply(SIZE_MAX, 1, &product));
    assert_true(product == SIZE_MAX);
    assert_true(rf_size_multiply(SIZE_MAX / 3, 3, &product));
    assert_false(rf_size_multiply(SIZE_MAX / 3 + 1, 3, &product));
    assert_false(rf_size_multiply((size_t)1 << 32, (size_t)1 << 32, &product));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment_and_counts),
        cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_reallocate),
        cmocka_unit_test(test_failure_says_what_and_how_much),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
