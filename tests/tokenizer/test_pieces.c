/* SentencePiece models and tokenizer.json: both ways, offsets, special tokens, models that are not
 * the model's own, damaged files. The vocabulary is written by the tests themselves, piece by
 * piece. Without the library: that it is said. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "tokenizer/kind.h"
#include "tokenizer/proto.h"

#include <stdio.h>
#include <string.h>

#define BLANK "\xe2\x96\x81"

/* a, b, c and what they make; bytes for everything else where there is a fallback. */
static void make_model(bool is_bpe, bool fallback, rf_text *model)
{
    static const char blank_ab[] = BLANK "ab";
    static const char *const pieces[] = {BLANK, "a", "b", "c", "ab", blank_ab, "abc", "bc"};
    assert_ok(rf_proto_piece(model, "<unk>", 0.0F, RF_PROTO_UNKNOWN, error));
    assert_ok(rf_proto_piece(model, "<s>", 0.0F, RF_PROTO_CONTROL, error));
    assert_ok(rf_proto_piece(model, "</s>", 0.0F, RF_PROTO_CONTROL, error));
    assert_ok(rf_proto_piece(model, "<mask>", 0.0F, RF_PROTO_USER, error));
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        assert_ok(rf_proto_piece(model, pieces[i], -1.0F - (float)i * (is_bpe ? 1.0F : 0.01F),
                                 RF_PROTO_NORMAL, error));
    }
    for (unsigned i = 0; i < 256 && fallback; i++) {
        char piece[8];
        (void)snprintf(piece, sizeof piece, "<0x%02X>", i);
        assert_ok(rf_proto_piece(model, piece, 0.0F, RF_PROTO_BYTE, error));
    }
    assert_ok(rf_proto_trainer(model, is_bpe, fallback, "<unk>", error));
    assert_ok(rf_proto_normalizer(model, NULL, true, true, error));
}

static void write_text(const char *name, const char *bytes, size_t size, char path[512])
{
    (void)snprintf(path, 512, "%s/%s", test_folder(), name);
    assert_ok(rf_file_write_atomic(path, bytes, size, error));
}

#if RF_WITH_SENTENCEPIECE

static rf_tokenizer *load(bool is_bpe, bool fallback)
{
    rf_text model = {0};
    char path[512];
    rf_tokenizer *tokenizer = NULL;
    make_model(is_bpe, fallback, &model);
    write_text("made.model", model.bytes, model.size, path);
    assert_ok(rf_tokenizer_load(path, &tokenizer, error));
    rf_release(model.bytes);
    return tokenizer;
}

static void expect(const rf_tokenizer *tokenizer, const char *text, size_t size, const int32_t *ids,
                   int64_t count)
{
    int32_t *found = NULL;
    int64_t found_count = 0;
    rf_encoding encoding = {0};
    assert_ok(
        rf_tokenizer_encode(tokenizer, (const uint8_t *)text, size, &found, &found_count, error));
    assert_ok(rf_tokenizer_tokenize(tokenizer, (const uint8_t *)text, size, &encoding, error));
    assert_int_equal(found_count, count);
    assert_int_equal(encoding.count, count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(found[i], ids[i]);
        assert_int_equal(encoding.ids[i], ids[i]);
        assert_true(encoding.begins[i] <= encoding.ends[i] && encoding.ends[i] <= (int64_t)size);
        assert_true(i == 0 || encoding.begins[i] >= encoding.ends[i - 1]);
    }
    rf_release(found);
    rf_encoding_clear(&encoding);
}

/* ids: 4 blank, 5 a, 6 b, 7 c, 8 ab, 9 _ab, 10 abc, 11 bc. */
static void test_both_ways(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    rf_tokenizer *bpe = load(true, false);
    static const int32_t words[] = {9, 7, 9, 4, 5};
    expect(bpe, "abc  ab a", 9, words, 5);
    assert_ok(rf_tokenizer_detokenize(bpe, words, 5, &text, &size, error));
    assert_string_equal(text, "abc ab a");
    rf_release(text);
    static const int32_t strange[] = {9, 0, 5};
    expect(bpe,
           "ab\xc3\xa9\x01\xff"
           "a",
           7, strange, 3);
    expect(bpe, "", 0, NULL, 0);
    expect(bpe, "   ", 3, NULL, 0);
    static const int32_t special[] = {4, 3, 5};
    expect(bpe, "<mask>a", 7, special, 3);
    rf_tokenizer_destroy(bpe);
    rf_tokenizer *unigram = load(false, false);
    static const int32_t best[] = {4, 10, 9, 4, 5};
    expect(unigram, "abc ab a", 8, best, 5);
    assert_false(rf_tokenizer_is_bytes(unigram));
    rf_tokenizer_destroy(unigram);
}

static void test_bytes_for_the_rest(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = load(true, true);
    static const int32_t ids[] = {9, 12 + 0xc3, 12 + 0xa9};
    char *text = NULL;
    size_t size = 0;
    uint8_t one[8];
    expect(tokenizer, "ab\xc3\xa9", 4, ids, 3);
    assert_ok(rf_tokenizer_detokenize(tokenizer, ids, 3, &text, &size, error));
    assert_string_equal(text, "ab\xc3\xa9");
    rf_release(text);
    assert_int_equal(rf_tokenizer_decode(tokenizer, ids[1], one, sizeof one), 1);
    assert_int_equal(one[0], 0xc3);
    assert_int_equal(rf_tokenizer_decode(tokenizer, 9, one, sizeof one), 3);
    assert_memory_equal(one, " ab", 3);
    assert_int_equal(rf_tokenizer_decode(tokenizer, 9, one, 2), 2);
    assert_int_equal(rf_tokenizer_decode(tokenizer, 1, one, sizeof one), 0);
    assert_int_equal(rf_tokenizer_decode(tokenizer, 268, one, sizeof one), 0);
    assert_int_equal(rf_tokenizer_decode(tokenizer, -1, one, sizeof one), 0);
    rf_tokenizer_destroy(tokenizer);
}

static void test_ids_that_are_none(void **state)
{
    (void)state;
    static const int32_t wrong[] = {5, 12};
    rf_tokenizer *tokenizer = load(true, false);
    char *text = NULL;
    size_t size = 0;
    rf_error problem = {0};
    assert_int_equal(rf_tokenizer_detokenize(tokenizer, wrong, 2, &text, &size, &problem),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(problem.message, "token 2 is 12"));
    assert_null(rf_tokenizer_piece(tokenizer, 12, &size));
    assert_non_null(rf_tokenizer_piece(tokenizer, 11, &size));
    assert_int_equal(size, 2);
    rf_tokenizer_destroy(tokenizer);
}

/* A folder: what the other files say, and a vocabulary that is larger than the model's. */
static void test_folders(void **state)
{
    (void)state;
    char folder[400];
    char path[512];
    rf_text model = {0};
    rf_tokenizer *tokenizer = NULL;
    rf_error problem = {0};
    static const char about[] = "{\"pad_token\": \"</s>\", \"mask_token\": {\"content\": "
                                "\"<mask>\"}, \"sep_token\": \"gone\"}";
    (void)snprintf(folder, sizeof folder, "%s/model", test_folder());
    assert_ok(rf_folder_create(folder, error));
    make_model(true, false, &model);
    write_text("model/spiece.model", model.bytes, model.size, path);
    rf_release(model.bytes);
    assert_ok(rf_tokenizer_create(folder, 320, &tokenizer, error));
    assert_int_equal(rf_tokenizer_vocabulary(tokenizer), 320);
    assert_int_equal(rf_tokenizer_special(tokenizer, "pad"), -1);
    assert_int_equal(rf_tokenizer_special(tokenizer, "eos"), 2);
    rf_tokenizer_destroy(tokenizer);
    write_text("model/tokenizer_config.json", about, sizeof about - 1, path);
    assert_ok(rf_tokenizer_load(folder, &tokenizer, error));
    assert_int_equal(rf_tokenizer_vocabulary(tokenizer), 12);
    assert_int_equal(rf_tokenizer_special(tokenizer, "pad"), 2);
    assert_int_equal(rf_tokenizer_special(tokenizer, "mask"), 3);
    assert_int_equal(rf_tokenizer_special(tokenizer, "sep"), -1);
    assert_int_equal(rf_tokenizer_special(tokenizer, "nothing"), -1);
    rf_tokenizer_destroy(tokenizer);
    assert_int_equal(rf_tokenizer_create(folder, 11, &tokenizer, &problem), RF_ERR_CONFIG);
    assert_non_null(strstr(problem.message, "vocab_size is 11"));
    rf_tokenizer_files files = {0};
    char copy[400];
    (void)snprintf(copy, sizeof copy, "%s/copy", test_folder());
    assert_ok(rf_folder_create(copy, error));
    assert_ok(rf_tokenizer_files_read(folder, &files, error));
    assert_ok(rf_tokenizer_files_write(&files, copy, error));
    assert_ok(rf_tokenizer_files_write(&files, copy, error));
    rf_tokenizer_files_clear(&files);
    assert_ok(rf_tokenizer_load(copy, &tokenizer, error));
    assert_int_equal(rf_tokenizer_special(tokenizer, "mask"), 3);
    rf_tokenizer_destroy(tokenizer);
}

static void test_damaged_models(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "\x0a\xff\xff\xff\xff\x7f", "\x0a\x00"};
    rf_text model = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        rf_pieces *pieces = NULL;
        assert_int_equal(rf_pieces_load("damaged", texts[i], strlen(texts[i]), &pieces, NULL),
                         RF_ERR_FORMAT);
        assert_null(pieces);
    }
    make_model(true, false, &model);
    for (size_t i = 0; i < model.size;
         i++) { /* every beginning of a model is refused, or is a smaller one */
        rf_pieces *pieces = NULL;
        if (rf_pieces_load("cut", model.bytes, i, &pieces, NULL) == RF_OK) {
            assert_true(rf_pieces_count(pieces) > 0);
        }
        rf_pieces_destroy(pieces);
    }
    rf_release(model.bytes);
}

/* The table of characters: one that leads outside itself never reaches the library. */
static void test_tables_of_characters(void **state)
{
    (void)state;
    static const char *const tables[] = {"AAAA",
                                         "BAAAAAAAAAA=", "BAAAAP////8AAA==", "BAAAAAABAABhAA=="};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        rf_text model = {0};
        char path[512];
        rf_tokenizer *tokenizer = NULL;
        rf_error problem = {0};
        assert_ok(rf_proto_piece(&model, "<unk>", 0.0F, RF_PROTO_UNKNOWN, error));
        assert_ok(rf_proto_piece(&model, "a", 0.0F, RF_PROTO_NORMAL, error));
        assert_ok(rf_proto_normalizer(&model, tables[i], true, true, error));
        assert_false(rf_proto_tables_are_sound(model.bytes, model.size));
        write_text("table.model", model.bytes, model.size, path);
        assert_int_equal(rf_tokenizer_load(path, &tokenizer, &problem), RF_ERR_FORMAT);
        assert_non_null(strstr(problem.message, "table of characters"));
        rf_release(model.bytes);
    }
}

/* ---- tokenizer.json ---------------------------------------------------------------------- */

#define BEFORE                                                                                     \
    "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": "   \
    "\" \"}, "                                                                                     \
    "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"" BLANK                       \
    "\", \"prepend_scheme\": \"always\"}"
#define ADDED                                                                                      \
    "\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true}, {\"id\": 1, "      \
    "\"content\": \"</s>\", "                                                                      \
    "\"special\": true}]"
#define BPE(vocabulary, merges)                                                                    \
    "{" BEFORE ", " ADDED                                                                          \
    ", \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true, "              \
    "\"vocab\": {" vocabulary "}, \"merges\": [" merges "]}}"
#define LETTERS                                                                                    \
    "\"<unk>\": 0, \"</s>\": 1, \"" BLANK "\": 2, \"a\": 3, \"b\": 4, \"ab\": 5, \"" BLANK "ab\":" \
    " 6"

static void test_bpe_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        BPE(LETTERS, "\"a b\", \"" BLANK " ab\""),
        BPE(LETTERS, "[\"a\", \"b\"], [\"" BLANK "\", \"ab\"]"),
        "{" BEFORE ", " ADDED ", \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": "
        "[[\"<unk>\", 0], [\"</s>\", 0], [\"" BLANK
        "\", -2], [\"a\", -3], [\"b\", -3], [\"ab\", -4], [\"" BLANK "ab\", -5]]}}",
    };
    static const int32_t ids[] = {6, 6, 4, 0, 3};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char path[512];
        rf_tokenizer *tokenizer = NULL;
        write_text("tokenizer.json", texts[i], strlen(texts[i]), path);
        assert_ok(rf_tokenizer_load(path, &tokenizer, error));
        expect(tokenizer, "ab   abbxya", 11, ids, 5);
        assert_int_equal(rf_tokenizer_special(tokenizer, "eos"), 1);
        rf_tokenizer_destroy(tokenizer);
    }
}

static void test_other_json_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"{}", "its model is missing"},
        {"{\"model\": {\"type\": \"WordPiece\"}}", "WordPiece"},
        {"{\"model\": {\"type\": \"BPE\"}, \"normalizer\": {\"type\": \"NFC\"}}", "NFC"},
        {"{\"model\": {\"type\": \"BPE\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}",
         "ByteLevel"},
        {"{" BEFORE ", \"model\": {\"type\": \"BPE\", \"fuse_unk\": false}}", "fuse_unk"},
        {"{" BEFORE ", \"model\": {\"type\": \"BPE\", \"dropout\": 0.1}}", "dropout"},
        {"{" BEFORE
         ", \"post_processor\": {\"type\": \"BertProcessing\"}, \"model\": {\"type\": \"BPE\"}}",
         "BertProcessing"},
        {BPE(LETTERS, "\"a b\""), "merges are others"},
        {BPE(LETTERS, ""), "merges are others"},
        {BPE(LETTERS ", \"aa\": 7", "\"a b\", \"" BLANK " ab\", \"a a\", \"b b\""),
         "makes no piece"},
        {BPE("\"<unk>\": 0, \"</s>\": 1, \"a\": 3", ""), "ids of the vocabulary"},
        {BPE("\"<unk>\": 0, \"</s>\": 1, \"a\": 1", ""), "ids of the vocabulary"},
        {BPE("\"<unk>\": 0, \"</s>\": 1, \"a\": \"x\"", ""), "ids of the vocabulary"},
        {BPE("", ""), "unknown token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        rf_tokenizer *tokenizer = NULL;
        rf_error problem = {0};
        write_text("other.json", cases[i].text, strlen(cases[i].text), path);
        assert_int_not_equal(rf_tokenizer_load(path, &tokenizer, &problem), RF_OK);
        assert_null(tokenizer);
        if (strstr(problem.message, cases[i].word) == NULL) {
            fail_msg("expected %s in: %s", cases[i].word, problem.message);
        }
    }
}

#else

static void test_said_without_the_library(void **state)
{
    (void)state;
    rf_text model = {0};
    char path[512];
    rf_tokenizer *tokenizer = NULL;
    rf_error problem = {0};
    make_model(true, false, &model);
    write_text("made.model", model.bytes, model.size, path);
    assert_int_equal(rf_tokenizer_load(path, &tokenizer, &problem), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "libsentencepiece-dev"));
    rf_tokenizer_training training = {.data = path, .output = path, .vocabulary = 300};
    assert_int_not_equal(rf_tokenizer_train(&training, &problem), RF_OK);
    rf_release(model.bytes);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if RF_WITH_SENTENCEPIECE
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_bytes_for_the_rest),
        cmocka_unit_test(test_ids_that_are_none),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_damaged_models),
        cmocka_unit_test(test_tables_of_characters),
        cmocka_unit_test(test_bpe_json),
        cmocka_unit_test(test_other_json_is_refused_by_name),
#else
        cmocka_unit_test(test_said_without_the_library),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
