/* Examples from JSON lines, tables and SQuAD's JSON: kinds of labels, answers in bytes, and what is
 * wrong by its row. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/examples.h"

#include <stdio.h>
#include <string.h>

static const char *write(const char *text)
{
    static char path[4200];
    static int number = 0;
    (void)snprintf(path, sizeof path, "%s/examples-%d", test_folder(), number++);
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    return path;
}

static const rf_example_fields usual = {NULL, NULL, NULL, false};

static void load(const char *text, const rf_example_fields *fields, rf_examples *examples)
{
    assert_ok(rf_examples_load_labelled(write(text), fields, examples, error));
}

static const char *name_at(const rf_examples *examples, size_t i)
{
    return json_string_value(json_array_get(examples->names, i));
}

static const json_t *of_row(const rf_examples *examples, size_t row, const char *key)
{
    return json_object_get(json_array_get(examples->rows, row), key);
}

static void test_kinds_of_labels(void **state)
{
    (void)state;
    rf_examples e;
    load("{\"text\": \"a\", \"label\": \"z\"}\n\n{\"text\": \"b\", \"label\": \"m\"}\r\n", &usual,
         &e);
    assert_int_equal(e.problem, RF_PROBLEM_SINGLE);
    assert_int_equal(json_array_size(e.names), 2);
    assert_string_equal(name_at(&e, 0), "m");
    rf_examples_clear(&e);
    load("{\"text\": \"a\", \"label\": 2}\n{\"text\": \"b\", \"label\": 0}", &usual, &e);
    assert_int_equal(json_array_size(e.names), 3);
    assert_string_equal(json_string_value(of_row(&e, 0, "label")), "LABEL_2");
    rf_examples_clear(&e);
    load("{\"text\": \"a\", \"label\": 2}\n{\"text\": \"b\", \"label\": 0.5}", &usual, &e);
    assert_int_equal(e.problem, RF_PROBLEM_REGRESSION);
    assert_int_equal(json_array_size(e.names), 0);
    rf_examples_clear(&e);
    load("{\"text\": \"a\", \"label\": [\"x\", \"y\"]}\n{\"text\": \"b\", \"label\": []}", &usual,
         &e);
    assert_int_equal(e.problem, RF_PROBLEM_MULTIPLE);
    assert_int_equal(json_array_size(e.names), 2);
    rf_examples_clear(&e);
    const rf_example_fields numbers = {.numbers = true};
    load("{\"text\": \"a\", \"label\": 2}\n{\"text\": \"b\", \"label\": 0}", &numbers, &e);
    assert_int_equal(e.problem, RF_PROBLEM_REGRESSION);
    assert_int_equal(json_array_size(e.names), 0);
    rf_examples_clear(&e);
}

static void test_table(void **state)
{
    (void)state;
    rf_examples e;
    rf_examples rest;
    const rf_example_fields fields = {.text = "one", .pair = "two", .label = "score"};
    load("id\tone\ttwo\tscore\n1\tab\tcd\t0.5\n2\tef\t\t3\n", &fields, &e);
    assert_int_equal(rf_examples_count(&e), 2);
    assert_int_equal(e.problem, RF_PROBLEM_REGRESSION);
    assert_string_equal(json_string_value(of_row(&e, 0, "pair")), "cd");
    assert_ok(rf_examples_split(&e, 1, &rest, error));
    assert_int_equal(rf_examples_count(&e), 1);
    assert_string_equal(json_string_value(of_row(&rest, 0, "text")), "ef");
    rf_examples_clear(&e);
    rf_examples_clear(&rest);
}

static void test_answers(void **state)
{
    (void)state;
    rf_examples e;
    static const char lines[] =
        "{\"question\": \"q\", \"context\": \"\\u00e9 b b\", \"answer\": \"b\", \"answer_start\": "
        "4}\n"
        "{\"question\": \"q\", \"context\": \"\\u00e9 b b\", \"answer\": \"b\"}\n"
        "{\"question\": \"q\", \"context\": \"c\", \"answer\": \"\"}\n";
    assert_ok(rf_examples_load_answers(write(lines), &e, error));
    const json_int_t starts[] = {5, 3, -1}; /* bytes */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_integer_value(of_row(&e, i, "start")), starts[i]);
    }
    rf_examples_clear(&e);
    static const char lists[] =
        "{\"question\": \"q\", \"context\": \"a b c\", \"answers\": {\"text\": [\"b\", \"b c\"], "
        "\"answer_start\": [2, 2]}}\n"
        "{\"question\": \"q\", \"context\": \"c\", \"answers\": {\"text\": [], "
        "\"answer_start\": []}}\n";
    assert_ok(rf_examples_load_answers(write(lists), &e, error));
    assert_int_equal(json_integer_value(of_row(&e, 0, "start")), 2);
    assert_int_equal(json_array_size(of_row(&e, 0, "answers")), 2);
    assert_int_equal(json_array_size(of_row(&e, 1, "answers")), 0);
    rf_examples_clear(&e);
    static const char squad[] =
        "{\"version\": \"1.1\", \"data\": [{\"title\": \"t\", \"paragraphs\": [{\"context\": \"It "
        "is \n"
        "red.\",\n \"qas\": [{\"id\": \"1\", \"question\": \"What?\", \"answers\": [{\"text\": "
        "\"red\", "
        "\"answer_start\": 6}, {\"text\": \"red.\", \"answer_start\": 6}]}, {\"id\": \"2\", "
        "\"question\": \"Why?\", \"answers\": []}]}]}]}";
    char flat[sizeof squad];
    size_t used = 0;
    for (size_t i = 0; i < sizeof squad; i++) { /* a newline within a text is no JSON */
        if (squad[i] != '\n') {
            flat[used++] = squad[i];
        }
    }
    assert_ok(rf_examples_load_answers(write(flat), &e, error));
    assert_int_equal(rf_examples_count(&e), 2);
    assert_int_equal(json_integer_value(of_row(&e, 0, "start")), 6);
    assert_int_equal(json_integer_value(of_row(&e, 1, "start")), -1);
    assert_int_equal(json_array_size(of_row(&e, 0, "answers")), 2);
    assert_int_equal(json_array_size(of_row(&e, 1, "answers")), 0);
    rf_examples_clear(&e);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        bool answers;
    } cases[] = {
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": 3, \"label\": \"x\"}", "row 2", false},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": 1}", "row 2", false},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\"", "line 2", false},
        {"{\"text\": \"a\", \"label\": null}", "its label should be", false},
        {"{\"text\": \"a\", \"label\": -1}", "goes from 0", false},
        {"{\"text\": \"a\", \"label\": [1]}", "holds texts", false},
        {"text\tlabel\na\n", "line 2: expected 2 cells", false},
        {"text\tlabel\na\tb\tc\n", "line 2: expected 2 cells", false},
        {"text\tlabel\n", "no examples", false},
        {"{\"question\": \"q\", \"context\": \"abc\", \"answer\": \"d\"}", "does not stand", true},
        {"{\"question\": \"q\", \"context\": \"abc\", \"answer\": \"c\", \"answer_start\": 99}",
         "does not stand", true},
        {"{\"question\": \"q\", \"answer\": \"c\"}", "row 1: expected texts", true},
        {"{\"data\": []}", "no questions", true},
        {"{\"question\": \"q\", \"context\": \"abc\", \"answers\": [\"c\"]}", "a list", true},
        {"{\"question\": \"q\", \"context\": \"abc\", \"answers\": {\"text\": [\"c\", 1]}}",
         "no text", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_examples e;
        rf_error fault = {0};
        const char *path = write(cases[i].text);
        rf_status status = cases[i].answers ? rf_examples_load_answers(path, &e, &fault)
                                            : rf_examples_load_labelled(path, &usual, &e, &fault);
        if (status != RF_ERR_FORMAT || strstr(fault.message, cases[i].words) == NULL) {
            fail_msg("%s: %d, %s", cases[i].text, (int)status, fault.message);
        }
        assert_null(e.rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds_of_labels),
                                       cmocka_unit_test(test_table), cmocka_unit_test(test_answers),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
