/* Where words begin, in bytes and in pieces. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "tokenizer/kind.h"
#include "tokenizer/proto.h"

#include <stdio.h>
#include <string.h>

/* A line of '|' under what begins a word and '.' under what goes on with it. */
static void expect_bytes(const rf_tokenizer *tokenizer, const char *text, const char *expected)
{
    int32_t *ids = NULL;
    int64_t count = 0;
    uint8_t parts[256];
    char found[256];
    assert_ok(
        rf_tokenizer_encode(tokenizer, (const uint8_t *)text, strlen(text), &ids, &count, error));
    rf_tokenizer_find_words(tokenizer, ids, count, parts);
    for (int64_t i = 0; i < count; i++) {
        found[i] = parts[i] == RF_PART_BEGINS ? '|' : '.';
    }
    found[count] = '\0';
    assert_string_equal(found, expected);
    rf_release(ids);
}

static void test_bytes(void **state)
{
    (void)state;
    for (int64_t vocabulary = 256; vocabulary <= 258; vocabulary += 2) {
        rf_tokenizer *tokenizer = NULL;
        assert_ok(rf_tokenizer_create(NULL, vocabulary, &tokenizer, error));
        assert_true(rf_tokenizer_knows_words(tokenizer));
        expect_bytes(tokenizer, "It's 42, no?", "|.||||.|||.|");
        expect_bytes(tokenizer,
                     "Stra\xc3\x9f"
                     "e \xc3\xbc"
                     "ber",
                     "|......||....");
        /* an em dash, a character of three bytes, is one that stands for itself */
        expect_bytes(tokenizer,
                     "a\xe2\x80\x94"
                     "b",
                     "||..|");
        /* two ideographs: two words */
        expect_bytes(tokenizer, "\xe6\xbc\xa2\xe5\xad\x97", "|..|..");
        /* Cyrillic; a combining accent stays with its letter */
        expect_bytes(tokenizer, "\xd0\xb4\xd0\xb0 e\xcc\x81t", "|...||...");
        /* what is no UTF-8: a byte in the middle, one that is cut off, one that is too long */
        expect_bytes(tokenizer,
                     "a\x9f"
                     "b \xc3",
                     "||||"
                     "|");
        expect_bytes(tokenizer, "\xc0\xaf\xf8", "|||");
        rf_tokenizer_destroy(tokenizer);
    }
}

static void test_ids_that_are_no_bytes(void **state)
{
    (void)state;
    const int32_t ids[] = {'a' + 2, 1, 'b' + 2, 0, 400, 'c' + 2, 'd' + 2};
    const uint8_t expected[] = {1, 1, 1, 1, 1, 1, 0};
    uint8_t parts[7];
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_create(NULL, 500, &tokenizer, error));
    rf_tokenizer_find_words(tokenizer, ids, 7, parts);
    assert_memory_equal(parts, expected, sizeof expected);
    rf_tokenizer_destroy(tokenizer);
}

#if RF_WITH_SENTENCEPIECE

static rf_tokenizer *load(const char *const *pieces, size_t count)
{
    rf_text model = {0};
    char path[512];
    rf_tokenizer *tokenizer = NULL;
    (void)snprintf(path, sizeof path, "%s/words.model", test_folder());
    assert_ok(rf_proto_piece(&model, "<unk>", 0.0F, RF_PROTO_UNKNOWN, error));
    assert_ok(rf_proto_piece(&model, "</s>", 0.0F, RF_PROTO_CONTROL, error));
    for (size_t i = 0; i < count; i++) {
        assert_ok(rf_proto_piece(&model, pieces[i], -1.0F, RF_PROTO_NORMAL, error));
    }
    assert_ok(rf_proto_trainer(&model, false, false, "<unk>", error));
    assert_ok(rf_proto_normalizer(&model, NULL, true, true, error));
    assert_ok(rf_file_write_atomic(path, model.bytes, model.size, error));
    assert_ok(rf_tokenizer_load(path, &tokenizer, error));
    rf_release(model.bytes);
    return tokenizer;
}

static void test_pieces(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\xe2\x96\x81sail", "ing", "\xe2\x96\x81", "s", ","};
    /* _sail ing , _ s s </s> ing <unk> _sail and an id of no piece */
    const int32_t ids[] = {2, 3, 6, 4, 5, 5, 1, 3, 0, 2, 99, 3};
    const uint8_t expected[] = {1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1};
    uint8_t parts[12];
    rf_tokenizer *tokenizer = load(pieces, 5);
    assert_true(rf_tokenizer_knows_words(tokenizer));
    rf_tokenizer_find_words(tokenizer, ids, 12, parts);
    assert_memory_equal(parts, expected, sizeof expected);
    rf_tokenizer_destroy(tokenizer);
    tokenizer = load(pieces + 3, 2);
    assert_false(rf_tokenizer_knows_words(tokenizer));
    rf_tokenizer_destroy(tokenizer);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_ids_that_are_no_bytes),
#if RF_WITH_SENTENCEPIECE
        cmocka_unit_test(test_pieces),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
