/* Texts as pieces: read where a window asks for them, cut into training and validation by bytes, at
 * whole characters. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/text.h"
#include "tokenizer/proto.h"

#include <stdio.h>
#include <string.h>

static void test_boundaries(void **state)
{
    (void)state;
    static const uint8_t text[] = "a\xc3\xa9\xf0\x9f\x98\x80z";
    static const size_t expected[] = {0, 1, 3, 3, 7, 7, 7, 7, 8};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(rf_text_boundary(text, 8, i), expected[i]);
    }
    static const uint8_t broken[] = "\x80\x80\x80\x80\x80";
    assert_int_equal(rf_text_boundary(broken, 5, 0), 3);
}

#if RF_WITH_SENTENCEPIECE

/* Blank, a, é, _a. */
static rf_tokenizer *load(void)
{
    rf_text model = {0};
    rf_tokenizer *tokenizer = NULL;
    char path[512];
    /* the last is U+2581 and an a */
    static const char *const pieces[] = {"\xe2\x96\x81", "a", "\xc3\xa9", "\342\226\201a"};
    assert_ok(rf_proto_piece(&model, "<unk>", 0.0F, RF_PROTO_UNKNOWN, error));
    for (size_t i = 0; i < 4; i++) {
        assert_ok(rf_proto_piece(&model, pieces[i], -(float)i, RF_PROTO_NORMAL, error));
    }
    assert_ok(rf_proto_trainer(&model, true, false, "<unk>", error));
    assert_ok(rf_proto_normalizer(&model, NULL, true, true, error));
    (void)snprintf(path, sizeof path, "%s/tokens.model", test_folder());
    assert_ok(rf_file_write_atomic(path, model.bytes, model.size, error));
    assert_ok(rf_tokenizer_load(path, &tokenizer, error));
    rf_release(model.bytes);
    return tokenizer;
}

static rf_corpus make_corpus(const char *unit, size_t count)
{
    static char name[] = "made up";
    rf_corpus corpus = {.name = name};
    void *memory = NULL;
    size_t size = strlen(unit);
    assert_ok(rf_allocate(size * count + 1, "a text", &memory, error));
    corpus.bytes = memory;
    corpus.size = size * count;
    for (size_t i = 0; i < count; i++) {
        memcpy(corpus.bytes + i * size, unit, size);
    }
    return corpus;
}

static void test_reading(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = load();
    rf_tokens tokens;
    int32_t ids[3];
    static const uint8_t text[] = "a a\xc3\xa9 x";
    assert_ok(rf_tokens_view(tokenizer, text, sizeof text - 1, &tokens, error));
    assert_int_equal(tokens.count, 5); /* _a _a é _ <unk> */
    assert_int_equal(tokens.size, 7);
    assert_true(rf_tokens_bytes_per_token(&tokens) == 7.0 / 5.0);
    rf_tokens_read(&tokens, 1, 3, ids);
    assert_int_equal(ids[0], 4);
    assert_int_equal(ids[1], 3);
    assert_int_equal(ids[2], 1);
    assert_ok(rf_tokens_check_length(&tokens, "it", 5, error));
    assert_int_equal(rf_tokens_check_length(&tokens, "it", 6, NULL), RF_ERR_ARGUMENT);
    rf_tokens_clear(&tokens);
    assert_ok(rf_tokens_view(tokenizer, NULL, 0, &tokens, error));
    assert_int_equal(tokens.count, 0);
    rf_tokens_clear(&tokens);
    rf_tokenizer_destroy(tokenizer);
}

/* Many documents make the list grow by and by; what stays is as large as its tokens. */
static void test_memory(void **state)
{
    (void)state;
    enum { DOCUMENTS = 700 };
    rf_tokenizer *tokenizer = load();
    rf_corpus corpus = make_corpus("a a\n", DOCUMENTS);
    int64_t ends[DOCUMENTS];
    rf_tokens tokens;
    for (int64_t i = 0; i < DOCUMENTS; i++) {
        ends[i] = 4 * (i + 1);
    }
    size_t before = rf_memory_in_use();
    assert_ok(rf_tokens_view_documents(tokenizer, corpus.bytes, ends, DOCUMENTS, &tokens, error));
    size_t wanted = (size_t)tokens.count * sizeof(int32_t) + sizeof ends;
    assert_true(rf_memory_in_use() - before <= wanted + 256);
    rf_tokens_clear(&tokens);
    rf_release(corpus.bytes);
    rf_tokenizer_destroy(tokenizer);
}

/* 5 bytes a unit and 2 tokens: what is held out grows until a window fits, and is cut at a
 * character. */
static void test_splitting(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = load();
    rf_corpus corpus = make_corpus("a\xc3\xa9 \n", 1000);
    rf_tokens train;
    rf_tokens valid;
    assert_ok(rf_tokens_split(tokenizer, &corpus, 0, 300, &train, &valid, error));
    assert_true(valid.count >= 300 && train.count >= 300);
    assert_int_equal(valid.size + train.size, corpus.size);
    assert_true((valid.bytes[0] & 0xc0) != 0x80);
    rf_tokens_clear(&train);
    rf_tokens_clear(&valid);
    assert_ok(rf_tokens_split(tokenizer, &corpus, 1003, 300, &train, &valid, error));
    assert_int_equal(valid.size, 1002); /* 1003 would begin inside é */
    rf_tokens_clear(&train);
    rf_tokens_clear(&valid);
    rf_error problem = {0};
    assert_int_equal(rf_tokens_split(tokenizer, &corpus, 310, 300, &train, &valid, &problem),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(problem.message, "hold out more"));
    assert_int_equal(rf_tokens_split(tokenizer, &corpus, 0, 1500, &train, &valid, &problem),
                     RF_ERR_ARGUMENT);
    rf_release(corpus.bytes);
    rf_tokenizer_destroy(tokenizer);
}

/* A text of more than one stretch is cut at a line's end, so that its tokens are those of the
 * whole. */
static void test_stretches(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = load();
    rf_corpus corpus = make_corpus("a a\xc3\xa9 ", 1000000);
    rf_tokens tokens;
    int32_t ids[3];
    assert_ok(rf_tokens_view(tokenizer, corpus.bytes, corpus.size, &tokens, error));
    assert_int_equal(tokens.count, 3000000);
    for (int64_t start = 0; start < tokens.count; start += 3) {
        rf_tokens_read(&tokens, start, 3, ids);
        if (ids[0] != 4 || ids[1] != 4 || ids[2] != 3) {
            fail_msg("tokens %lld are %d %d %d", (long long)start, (int)ids[0], (int)ids[1],
                     (int)ids[2]);
        }
    }
    rf_tokens_clear(&tokens);
    rf_release(corpus.bytes);
    rf_tokenizer_destroy(tokenizer);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boundaries),
#if RF_WITH_SENTENCEPIECE
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_splitting),
        cmocka_unit_test(test_stretches),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
