/* Texts from files, folders and patterns: any bytes, in a sorted order, with a clear word where
 * there are too few. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static char *write_file(const char *name, const void *bytes, size_t size)
{
    char *path = path_of(name);
    assert_ok(rf_file_write_atomic(path, bytes, size, error));
    return path;
}

static void a_file_comes_back_byte_by_byte(void **state)
{
    (void)state;
    uint8_t bytes[1000];
    uint32_t random = 12345;
    for (size_t i = 0; i < sizeof bytes; i++) {
        random = random * 1664525U + 1013904223U;
        bytes[i] = i % 7 == 0 ? 0 : (uint8_t)(random >> 24);
    }
    char *path = write_file("any.bin", bytes, sizeof bytes);
    rf_corpus corpus;
    assert_ok(rf_corpus_load(path, &corpus, error));
    assert_int_equal(corpus.size, sizeof bytes);
    assert_memory_equal(corpus.bytes, bytes, sizeof bytes);
    assert_int_equal(corpus.files, 1);

    rf_tokenizer *tokenizer = NULL;
    rf_tokens tokens;
    int32_t ids[1000];
    assert_ok(rf_tokenizer_create(NULL, 258, &tokenizer, error));
    assert_ok(rf_tokens_view(tokenizer, corpus.bytes, corpus.size, &tokens, error));
    rf_tokens_read(&tokens, 10, 990, ids);
    for (size_t i = 0; i < 990; i++) {
        assert_int_equal(ids[i], bytes[i + 10] + 2);
    }
    rf_tokenizer_destroy(tokenizer);
    rf_corpus_clear(&corpus);
    rf_release(path);
}

static void a_folder_is_read_recursively_in_sorted_order(void **state)
{
    (void)state;
    char *inner = path_of("folder/b");
    assert_ok(rf_folder_create(inner, error));
    rf_release(write_file("folder/c.txt", "three", 5));
    rf_release(write_file("folder/b/x.txt", "two", 3));
    rf_release(write_file("folder/a.txt", "one", 3));
    rf_release(write_file("folder/b/empty.txt", "", 0));
    char *folder = path_of("folder");
    rf_corpus corpus;
    assert_ok(rf_corpus_load(folder, &corpus, error));
    assert_int_equal(corpus.files, 4);
    assert_int_equal(corpus.size, 11);
    assert_memory_equal(corpus.bytes, "onetwothree", 11);
    rf_corpus_clear(&corpus);

    char *pattern = path_of("folder/*.txt");
    assert_ok(rf_corpus_load(pattern, &corpus, error));
    assert_int_equal(corpus.size, 8);
    assert_memory_equal(corpus.bytes, "onethree", 8);
    uint64_t hash = corpus.hash;
    rf_corpus_clear(&corpus);
    rf_release(write_file("folder/a.txt", "onE", 3));
    assert_ok(rf_corpus_load(pattern, &corpus, error));
    assert_true(corpus.hash != hash);
    rf_corpus_clear(&corpus);
    rf_release(pattern);
    rf_release(folder);
    rf_release(inner);
}

static void expect_refusal(const char *path, rf_status code, const char *word)
{
    rf_corpus corpus;
    rf_error error = {0};
    assert_int_equal(rf_corpus_load(path, &corpus, &error), code);
    assert_non_null(strstr(error.message, word));
    assert_null(corpus.bytes);
}

static void what_cannot_be_read_is_refused_by_name(void **state)
{
    (void)state;
    char *missing = path_of("not-there.txt");
    char *empty = write_file("empty.txt", "", 0);
    char *no_match = path_of("none*.txt");
    expect_refusal(missing, RF_ERR_FILE, "not-there.txt");
    expect_refusal(no_match, RF_ERR_FILE, "none*.txt");
    expect_refusal(empty, RF_ERR_FILE, "empty.txt");
    if (geteuid() != 0) { /* root reads everything */
        char *secret = write_file("secret.txt", "x", 1);
        assert_int_equal(chmod(secret, 0), 0);
        expect_refusal(secret, RF_ERR_FILE, "secret.txt");
        rf_release(secret);
    }
    rf_release(missing);
    rf_release(empty);
    rf_release(no_match);
}

static void a_damaged_archive_is_refused(void **state)
{
    (void)state;
    static const uint8_t broken[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 99, 99, 99};
    char *path = write_file("broken.gz", broken, sizeof broken);
    rf_corpus corpus;
    rf_error error = {0};
    rf_status status = rf_corpus_load(path, &corpus, &error);
    assert_true(status == RF_ERR_FORMAT || status == RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "broken.gz"));
    rf_release(path);
}

static void held_out(size_t size, int64_t requested, int64_t length, rf_status code,
                     size_t expected)
{
    char name[] = "book.txt";
    rf_corpus corpus = {.name = name, .size = size};
    rf_error error = {0};
    size_t held = 0;
    assert_int_equal(rf_corpus_held_out(&corpus, requested, length, &held, &error), code);
    assert_int_equal(held, expected);
    if (code != RF_OK) {
        char text[32];
        (void)snprintf(text, sizeof text, "%lld", (long long)length);
        assert_non_null(strstr(error.message, "book.txt"));
        assert_non_null(strstr(error.message, text));
    }
}

static void the_end_is_held_out(void **state)
{
    (void)state;
    held_out(10000, 0, 100, RF_OK, 500);             /* 5 % */
    held_out(40000000, 0, 100, RF_OK, 200000);       /* at most 200,000 */
    held_out(10000, 0, 2048, RF_OK, 2048);           /* one window at least */
    held_out(10000, 3000, 2048, RF_OK, 3000);        /* as asked */
    held_out(4096, 0, 2048, RF_OK, 2048);            /* both sides just fit */
    held_out(4095, 0, 2048, RF_ERR_ARGUMENT, 0);     /* one byte short */
    held_out(2000, 0, 2048, RF_ERR_ARGUMENT, 0);     /* not one window */
    held_out(10000, 1000, 2048, RF_ERR_ARGUMENT, 0); /* asked for less than a window */
    held_out(10000, 20000, 2048, RF_ERR_ARGUMENT, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_byte_by_byte),
        cmocka_unit_test(a_folder_is_read_recursively_in_sorted_order),
        cmocka_unit_test(what_cannot_be_read_is_refused_by_name),
        cmocka_unit_test(a_damaged_archive_is_refused),
        cmocka_unit_test(the_end_is_held_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
