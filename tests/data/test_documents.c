/* Documents from files, separators and rows: what stands in each, and how the last are held out. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/documents.h"

#include <string.h>

static char *write_file(const char *name, const char *text)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    return path;
}

/* The documents of a pattern are these, in order. Releases the path. */
static void assert_documents(char *path, const rf_document_rule *rule, const char *const *expected,
                             int64_t count)
{
    rf_corpus corpus;
    assert_ok(rf_documents_load(path, rule, &corpus, error));
    assert_int_equal(corpus.documents, count);
    int64_t start = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t size = corpus.ends[i] - start;
        assert_int_equal(size, strlen(expected[i]));
        assert_memory_equal(corpus.bytes + start, expected[i], (size_t)size);
        start = corpus.ends[i];
    }
    assert_int_equal(corpus.size, start);
    rf_corpus_clear(&corpus);
    rf_release(path);
}

static void files_of_a_folder_are_documents(void **state)
{
    (void)state;
    const rf_document_rule rule = {0};
    char *folder = NULL;
    assert_ok(rf_path_join(test_folder(), "files", &folder, error));
    assert_ok(rf_folder_create(folder, error));
    rf_release(write_file("files/b", "two\n"));
    rf_release(write_file("files/a", "one"));
    rf_release(write_file("files/empty", ""));
    assert_documents(folder, &rule, (const char *const[]){"one", "two\n"}, 2);
}

static void a_separator_cuts_a_file(void **state)
{
    (void)state;
    const rf_document_rule blank = {.separator = "\\n\\n"};
    const rf_document_rule word = {.separator = "<end>"};
    const rf_document_rule tab = {.separator = "\\t\\\\"};
    assert_documents(write_file("blank", "a\nb\n\nc\n\n\n\nd"), &blank,
                     (const char *const[]){"a\nb", "c", "d"}, 3);
    assert_documents(write_file("word", "<end>x<en<end>y<end>"), &word,
                     (const char *const[]){"x<en", "y"}, 2);
    assert_documents(write_file("tab", "x\t\\y"), &tab, (const char *const[]){"x", "y"}, 2);
}

static void rows_are_documents(void **state)
{
    (void)state;
    const rf_document_rule usual = {0};
    const rf_document_rule named = {.text_field = "body", .separator = " "};
    assert_documents(write_file("r.jsonl", "{\"text\": \"a b\\n\"}\n\n{\"text\": \"\"}\n"
                                           "{\"text\": \"c\", \"x\": 1}\n"),
                     &usual, (const char *const[]){"a b\n", "c"}, 2);
    assert_documents(write_file("r.tsv", "id\tbody\n1\tone two\n2\tthree\n"), &named,
                     (const char *const[]){"one two", "three"}, 2);
}

static void nothing_and_wrong_rows_are_refused(void **state)
{
    (void)state;
    const rf_document_rule usual = {0};
    const rf_document_rule none = {.separator = ""};
    char *empty = write_file("none.txt", "");
    char *wrong = write_file("wrong.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n");
    rf_corpus corpus;
    rf_error message = {0};
    assert_int_equal(rf_documents_load(empty, &usual, &corpus, &message), RF_ERR_FILE);
    assert_non_null(strstr(message.message, "no document"));
    assert_int_equal(rf_documents_load(wrong, &usual, &corpus, &message), RF_ERR_FORMAT);
    assert_non_null(strstr(message.message, "row 2"));
    assert_int_equal(rf_documents_load(wrong, &none, &corpus, &message), RF_ERR_ARGUMENT);
    rf_release(empty);
    rf_release(wrong);
}

static void the_last_documents_are_held_out_whole(void **state)
{
    (void)state;
    const rf_document_rule rule = {.separator = "|"};
    char *path = write_file("split", "aaaa|bbb|cc|ddddd");
    rf_corpus corpus;
    rf_tokenizer *tokenizer = NULL;
    rf_tokens train;
    rf_tokens valid;
    rf_error message = {0};
    int32_t ids[7];
    assert_ok(rf_tokenizer_create(NULL, 258, &tokenizer, error));
    assert_ok(rf_documents_load(path, &rule, &corpus, error));
    assert_int_equal(rf_documents_last(&corpus, 1), 1);
    assert_int_equal(rf_documents_last(&corpus, 5), 1);
    assert_int_equal(rf_documents_last(&corpus, 6), 2);
    assert_int_equal(rf_documents_last(&corpus, 1000), 4);
    assert_ok(rf_documents_split(tokenizer, &corpus, 6, &train, &valid, error));
    assert_int_equal(train.documents, 2);
    assert_int_equal(valid.documents, 2);
    assert_int_equal(train.count, 7);
    assert_int_equal(train.starts[1], 4);
    assert_int_equal(valid.starts[1], 2);
    assert_int_equal(valid.starts[2], 7);
    rf_tokens_read(&valid, 0, 7, ids);
    assert_int_equal(ids[1], 'c' + 2);
    assert_int_equal(ids[2], 'd' + 2);
    rf_tokens_clear(&train);
    rf_tokens_clear(&valid);
    assert_int_equal(rf_documents_split(tokenizer, &corpus, 13, &train, &valid, &message),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(message.message, "none is left"));
    rf_tokenizer_destroy(tokenizer);
    rf_corpus_clear(&corpus);
    rf_release(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_a_folder_are_documents),
        cmocka_unit_test(a_separator_cuts_a_file),
        cmocka_unit_test(rows_are_documents),
        cmocka_unit_test(nothing_and_wrong_rows_are_refused),
        cmocka_unit_test(the_last_documents_are_held_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
