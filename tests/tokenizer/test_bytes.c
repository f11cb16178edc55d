/* Bytes as tokens: every byte there and back, special ids, models that have no byte tokenizer. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

static void check_every_byte(int64_t vocabulary, int32_t shift)
{
    rf_tokenizer *tokenizer = NULL;
    uint8_t bytes[256];
    int32_t *ids = NULL;
    int64_t count = 0;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_ok(rf_tokenizer_create(NULL, vocabulary, &tokenizer, error));
    assert_true(rf_tokenizer_is_bytes(tokenizer));
    assert_int_equal(rf_tokenizer_vocabulary(tokenizer), vocabulary);
    assert_ok(rf_tokenizer_encode(tokenizer, bytes, sizeof bytes, &ids, &count, error));
    assert_int_equal(count, 256);
    for (int i = 0; i < 256; i++) {
        uint8_t back[4] = {0};
        assert_int_equal(ids[i], i + shift);
        assert_int_equal(rf_tokenizer_decode(tokenizer, ids[i], back, sizeof back), 1);
        assert_int_equal(back[0], i);
        assert_int_equal(rf_tokenizer_decode(tokenizer, ids[i], back, 0), 0);
    }
    rf_release(ids);
    rf_tokenizer_destroy(tokenizer);
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    check_every_byte(256, 0);
    check_every_byte(257, 0);
    check_every_byte(258, 2);
    check_every_byte(320, 2);
}

static void ids_that_are_no_byte_decode_to_nothing(void **state)
{
    (void)state;
    static const int32_t ids[] = {-1, 0, 1, 258, 319, INT32_MAX, INT32_MIN};
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_create(NULL, 320, &tokenizer, error));
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        uint8_t byte = 7;
        assert_int_equal(rf_tokenizer_decode(tokenizer, ids[i], &byte, 1), 0);
        assert_int_equal(byte, 7);
    }
    rf_tokenizer_destroy(tokenizer);
}

static void offsets_are_those_of_the_bytes(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = NULL;
    rf_encoding encoding = {0};
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_tokenizer_create(NULL, 258, &tokenizer, error));
    assert_ok(rf_tokenizer_tokenize(tokenizer, (const uint8_t *)"a\0\xff", 3, &encoding, error));
    assert_int_equal(encoding.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(encoding.begins[i], i);
        assert_int_equal(encoding.ends[i], i + 1);
    }
    assert_int_equal(encoding.ids[2], 257);
    assert_ok(rf_tokenizer_detokenize(tokenizer, encoding.ids, 3, &text, &size, error));
    assert_int_equal(size, 3);
    assert_memory_equal(text, "a\0\xff", 4);
    assert_int_equal(rf_tokenizer_special(tokenizer, "pad"), 0);
    assert_int_equal(rf_tokenizer_special(tokenizer, "eos"), -1);
    rf_release(text);
    rf_encoding_clear(&encoding);
    rf_tokenizer_destroy(tokenizer);
}

static void an_empty_text_has_no_ids(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = NULL;
    int32_t *ids = NULL;
    int64_t count = 1;
    assert_ok(rf_tokenizer_create(NULL, 258, &tokenizer, error));
    assert_ok(rf_tokenizer_encode(tokenizer, NULL, 0, &ids, &count, error));
    assert_int_equal(count, 0);
    rf_release(ids);
    rf_tokenizer_destroy(tokenizer);
}

static void too_small_a_vocabulary_is_refused(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = NULL;
    rf_error error = {0};
    assert_int_equal(rf_tokenizer_create(NULL, 255, &tokenizer, &error), RF_ERR_UNSUPPORTED);
    assert_null(tokenizer);
    assert_non_null(strstr(error.message, "255"));
}

static void a_model_with_a_tokenizer_file_is_not_taken_for_bytes(void **state)
{
    (void)state;
    char *folder = NULL;
    char *path = NULL;
    rf_tokenizer *tokenizer = NULL;
    rf_error reason = {0};
    assert_ok(rf_path_join(test_folder(), "pieces", &folder, error));
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_tokenizer_create(folder, 320, &tokenizer, error));
    rf_tokenizer_destroy(tokenizer);
    assert_ok(rf_path_join(folder, "spiece.model", &path, error));
    assert_ok(rf_file_write_atomic(path, "x", 1, error));
    assert_int_equal(rf_tokenizer_create(folder, 320, &tokenizer, &reason),
                     RF_WITH_SENTENCEPIECE ? RF_ERR_FORMAT : RF_ERR_UNSUPPORTED);
    assert_null(tokenizer);
    assert_non_null(strstr(reason.message, "spiece.model"));
    assert_ok(rf_folder_remove(path, error));
    rf_release(path);
    assert_ok(rf_path_join(folder, "vocab.json", &path, error));
    assert_ok(rf_file_write_atomic(path, "{}", 2, error));
    assert_int_equal(rf_tokenizer_create(folder, 320, &tokenizer, &reason), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(reason.message, "vocab.json"));
    rf_release(path);
    rf_release(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(ids_that_are_no_byte_decode_to_nothing),
        cmocka_unit_test(offsets_are_those_of_the_bytes),
        cmocka_unit_test(an_empty_text_has_no_ids),
        cmocka_unit_test(too_small_a_vocabulary_is_refused),
        cmocka_unit_test(a_model_with_a_tokenizer_file_is_not_taken_for_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
