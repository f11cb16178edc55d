/* JSON: what is refused and in which words, typed readers, and text as Python's json module writes
 * it. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *object = NULL;
    assert_ok(rf_json_parse_object("test.json", text, strlen(text), &object, error));
    return object;
}

static void check_refused(const char *text, const char *message)
{
    json_t *object = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_json_parse_object("test.json", text, strlen(text), &object, &problem),
                     RF_ERR_FORMAT);
    assert_null(object);
    assert_non_null(strstr(problem.message, "test.json"));
    if (strstr(problem.message, message) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", problem.message, message);
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("", "not valid JSON");
    check_refused("[1, 2]", "expected a JSON object");
    check_refused("{\"a\": 1, \"a\": 2}", "duplicate");
    check_refused("{\"a\": 1} x", "not valid JSON");
    check_refused("{\"a\": 1", "test.json:1:");
    check_refused("{\"a\": NaN}", "not valid JSON");
    check_refused("{\"a\": \"\xFF\"}", "not valid JSON");
    check_refused("{\"a\": 1e999}", "not valid JSON");
}

static void test_depth(void **state)
{
    (void)state;
    char text[400];
    for (int deep = 63; deep <= 64; deep++) { /* and the object around */
        size_t used = 0;
        used += (size_t)snprintf(text, sizeof text, "{\"a\\\"[[[\":");
        memset(text + used, '[', (size_t)deep);
        used += (size_t)deep;
        memset(text + used, ']', (size_t)deep);
        used += (size_t)deep;
        (void)snprintf(text + used, sizeof text - used, "}");
        if (deep == 63) {
            json_decref(parse(text));
        } else {
            check_refused(text, "nested more than 64 deep");
        }
    }
}

/* Hugging Face's tokenizer_config.json holds 10^30; other integers of such a file stay integers. */
static void test_integers_beyond_64_bits(void **state)
{
    (void)state;
    json_t *object =
        parse("{\"model_max_length\": 1000000000000000019884624838656, \"a\": [3, 0.5, "
              "{\"b\": -7}]}");
    int64_t value = 0;
    double number = 0.0;
    const json_t *list = json_object_get(object, "a");
    assert_ok(rf_json_get_number("f", object, "model_max_length", 0, 1e40, &number, error));
    assert_true(number == 1e30);
    assert_true(json_is_integer(json_array_get(list, 0)));
    assert_true(json_is_real(json_array_get(list, 1)));
    assert_ok(rf_json_get_integer("f", json_array_get(list, 2), "b", -9, 9, &value, error));
    assert_int_equal(value, -7);
    json_decref(object);
}

static void check_message(rf_status status, const rf_error *problem, const char *expected)
{
    assert_int_equal(status, RF_ERR_FORMAT);
    assert_string_equal(problem->message, expected);
}

static void test_typed_readers(void **state)
{
    (void)state;
    json_t *object = parse("{\"n\": 5, \"x\": 0.5, \"t\": true, \"s\": \"word\", \"z\": null}");
    int64_t integer = 1;
    double number = 1.0;
    bool boolean = false;
    const char *string = "default";
    rf_error problem = {0};
    assert_ok(rf_json_get_integer("c.json", object, "n", 1, 5, &integer, error));
    assert_int_equal(integer, 5);
    assert_ok(rf_json_get_integer("c.json", object, "absent", 1, 5, &integer, error));
    assert_int_equal(integer, 5);
    check_message(rf_json_get_integer("c.json", object, "n", 6, 9, &integer, &problem), &problem,
                  "c.json: n is 5, expected an integer from 6 to 9");
    check_message(rf_json_get_integer("c.json", object, "s", 1, 9, &integer, &problem), &problem,
                  "c.json: s is \"word\", expected an integer from 1 to 9");
    check_message(rf_json_get_integer("c.json", object, "x", 0, 9, &integer, &problem), &problem,
                  "c.json: x is 0.5, expected an integer from 0 to 9");
    check_message(rf_json_get_integer("c.json", object, "z", 0, 9, &integer, &problem), &problem,
                  "c.json: z is null, expected an integer from 0 to 9");
    assert_int_equal(integer, 5);
    assert_ok(rf_json_get_number("c.json", object, "n", 0.0, 5.0, &number, error));
    assert_true(number == 5.0);
    check_message(rf_json_get_number("c.json", object, "x", 1.0, 2.0, &number, &problem), &problem,
                  "c.json: x is 0.5, expected a number from 1 to 2");
    assert_ok(rf_json_get_boolean("c.json", object, "t", &boolean, error));
    assert_true(boolean);
    check_message(rf_json_get_boolean("c.json", object, "n", &boolean, &problem), &problem,
                  "c.json: n is 5, expected true or false");
    assert_ok(rf_json_get_string("c.json", object, "absent", &string, error));
    assert_string_equal(string, "default");
    assert_ok(rf_json_get_string("c.json", object, "s", &string, error));
    assert_string_equal(string, "word");
    check_message(rf_json_get_string("c.json", object, "t", &string, &problem), &problem,
                  "c.json: t is true, expected a string");
    assert_true(rf_json_is_absent_or_null(object, "z"));
    assert_true(rf_json_is_absent_or_null(object, "absent"));
    assert_false(rf_json_is_absent_or_null(object, "n"));
    json_decref(object);
}

/* As json.dumps(value, indent=2, sort_keys=True) prints it, ensure_ascii=False. */
static void test_text(void **state)
{
    (void)state;
    json_t *object = parse("{\"b\": [1, 2.0, []], \"a\": {\"y\": null, \"x\": true}, \"e\": {}, "
                           "\"s\": \"q\\\"\\\\\\n\\u0001/\xC3\xA9\", \"f\": false}");
    char *text = NULL;
    assert_ok(rf_json_text(object, true, &text, error));
    assert_string_equal(text, "{\n  \"a\": {\n    \"x\": true,\n    \"y\": null\n  },\n  \"b\": [\n"
                              "    1,\n    2.0,\n    []\n  ],\n  \"e\": {},\n  \"f\": false,\n"
                              "  \"s\": \"q\\\"\\\\\\n\\u0001/\xC3\xA9\"\n}");
    rf_release(text);
    assert_ok(rf_json_text(object, false, &text, error));
    assert_string_equal(text, "{\"a\":{\"x\":true,\"y\":null},\"b\":[1,2.0,[]],\"e\":{},"
                              "\"f\":false,\"s\":\"q\\\"\\\\\\n\\u0001/\xC3\xA9\"}");
    rf_release(text);
    json_decref(object);
}

static void check_real(double number, const char *expected)
{
    json_t *value = json_real(number);
    char *text = NULL;
    assert_ok(rf_json_text(value, false, &text, error));
    assert_string_equal(text, expected);
    assert_true(strtod(text, NULL) == number);
    rf_release(text);
    json_decref(value);
}

static void test_reals_are_short_and_exact(void **state)
{
    (void)state;
    check_real(0.05, "0.05");
    check_real(1e-12, "1e-12");
    check_real(-0.1, "-0.1");
    check_real(100.0, "100.0");
    check_real(10000.0, "10000.0");
    check_real(1e15, "1000000000000000.0");
    check_real(1e16, "1e+16");
    check_real(1.0 / 3.0, "0.3333333333333333");
    check_real(0.1 + 0.2, "0.30000000000000004");
    check_real(0.0, "0.0");
    check_real(1.7976931348623157e308, "1.7976931348623157e+308");
    check_real(5e-324, "5e-324");
}

static void test_files(void **state)
{
    (void)state;
    char *path = NULL;
    char *text = NULL;
    size_t size = 0;
    json_t *object = parse("{\"k\": [1]}");
    json_t *again = NULL;
    rf_error problem = {0};
    assert_ok(rf_path_join(test_folder(), "file.json", &path, error));
    assert_int_equal(rf_json_read_object(path, &again, &problem), RF_ERR_FILE);
    assert_ok(rf_json_write(path, object, error));
    assert_ok(rf_file_read(path, 100, &text, &size, error));
    assert_string_equal(text, "{\n  \"k\": [\n    1\n  ]\n}\n");
    assert_ok(rf_json_read_object(path, &again, error));
    assert_true(json_equal(object, again));
    assert_ok(rf_json_set(again, "n", json_integer(3), error));
    assert_int_equal(rf_json_set(again, "m", NULL, &problem), RF_ERR_MEMORY);
    rf_release(text);
    rf_release(path);
    json_decref(again);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_integers_beyond_64_bits),
        cmocka_unit_test(test_typed_readers),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_reals_are_short_and_exact),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
