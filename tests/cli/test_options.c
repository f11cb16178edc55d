/* Values of options from text and from JSON, sizes and durations, the nearest name, and every table
 * of options as a table. */
#include "support.h"

#include "cli/command.h"
#include "cli/text.h"
#include "cli/units.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const rf_option integer = {
    .name = "steps", .kind = RF_OPTION_INTEGER, .argument = "N", .low = 1, .high = 100};
static const rf_option open_integer = {.name = "open", .kind = RF_OPTION_INTEGER, .argument = "N"};
static const rf_option number = {
    .name = "top-p", .kind = RF_OPTION_NUMBER, .argument = "X", .high = 1};
static const rf_option size = {.name = "limit", .kind = RF_OPTION_SIZE, .argument = "SIZE"};
static const rf_option duration = {.name = "time", .kind = RF_OPTION_DURATION, .argument = "TIME"};
static const rf_option choice = {
    .name = "schedule", .kind = RF_OPTION_CHOICE, .argument = "NAME", .choices = "constant|linear"};
static const rf_option list = {
    .name = "length", .kind = RF_OPTION_LIST, .argument = "N[,M]", .low = 2};
static const rf_option string = {.name = "data", .kind = RF_OPTION_STRING, .argument = "TEXT"};
static const rf_option strings = {.name = "stop", .kind = RF_OPTION_STRINGS, .argument = "TEXT"};
static const rf_option flag = {.name = "quiet", .kind = RF_OPTION_FLAG};

static void test_good_values(void **state)
{
    static const struct {
        const rf_option *option;
        const char *text, *json; /* json: the value as JSON text */
    } cases[] = {
        {&integer, "7", "7"},
        {&integer, "+7", "7"},
        {&open_integer, "9223372036854775807", "9223372036854775807"},
        {&number, "0.25", "0.25"},
        {&number, "1e-3", "0.001"},
        {&size, "0", "0"},
        {&size, "1000", "1000"},
        {&size, "24GiB", "25769803776"},
        {&size, "1.5g", "1610612736"},
        {&size, "200KB", "200000"},
        {&size, "512 MiB", "536870912"},
        {&duration, "150s", "150.0"},
        {&duration, "90", "90.0"},
        {&duration, "1h30m", "5400.0"},
        {&duration, "500ms", "0.5"},
        {&choice, "linear", "\"linear\""},
        {&list, "2048,16384", "[2048,16384]"},
        {&string, "-", "\"-\""},
        {&strings, "a,b", "[\"a,b\"]"},
        {&flag, "on", "true"},
        {&flag, "0", "false"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_error error = {0};
        json_t *value = NULL;
        json_t *expected = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
        if (rf_option_from_text(cases[i].option, "x", cases[i].text, &value, &error) != RF_OK) {
            fail_msg("'%s': %s", cases[i].text, error.message);
        }
        if (json_equal(value, expected) != 1) {
            fail_msg("'%s' is not read as %s", cases[i].text, cases[i].json);
        }
        json_decref(value);
        json_decref(expected);
    }
}

static void test_bad_values(void **state)
{
    static const struct {
        const rf_option *option;
        const char *text, *message;
    } cases[] = {
        {&integer, "abc", "x is 'abc', expected an integer from 1 to 100"},
        {&integer, "", "x is '', expected an integer from 1 to 100"},
        {&integer, "7 ", "x is '7 ', expected an integer from 1 to 100"},
        {&integer, " 7", "x is ' 7', expected an integer from 1 to 100"},
        {&integer, "7.0", "x is '7.0', expected an integer from 1 to 100"},
        {&integer, "0x10", "x is '0x10', expected an integer from 1 to 100"},
        {&integer, "0", "x is '0', expected an integer from 1 to 100"},
        {&integer, "-1", "x is '-1', expected an integer from 1 to 100"},
        {&open_integer, "-1", "x is '-1', expected an integer of at least 0"},
        {&open_integer, "9223372036854775808",
         "x is '9223372036854775808', expected an integer of at least 0"},
        {&integer, "1\n2", "x is '1?2', expected an integer from 1 to 100"},
        {&number, "1.5", "x is '1.5', expected a number from 0 to 1"},
        {&number, "nan", "x is 'nan', expected a number from 0 to 1"},
        {&number, "inf", "x is 'inf', expected a number from 0 to 1"},
        {&number, "1e999", "x is '1e999', expected a number from 0 to 1"},
        {&number, "0x1p-3", "x is '0x1p-3', expected a number from 0 to 1"},
        {&size, "-3GiB", "x is '-3GiB', expected a size such as 24GiB or 512MiB"},
        {&size, "0.3", "x is '0.3', expected a size such as 24GiB or 512MiB"},
        {&size, "3 parsecs", "x is '3 parsecs', expected a size such as 24GiB or 512MiB"},
        {&size, "99999999999TiB", "x is '99999999999TiB', expected a size such as 24GiB or 512MiB"},
        {&duration, "-1s", "x is '-1s', expected a duration such as 150s or 10m"},
        {&duration, "10 minutes", "x is '10 minutes', expected a duration such as 150s or 10m"},
        {&duration, "1h30", "x is '1h30', expected a duration such as 150s or 10m"},
        {&choice, "lin", "x is 'lin', expected one of constant, linear"},
        {&choice, "constant|linear", "x is 'constant|linear', expected one of constant, linear"},
        {&choice, "", "x is '', expected one of constant, linear"},
        {&list, "1024,", "x is '1024,', expected integers with commas between them of at least 2"},
        {&list, "1024,1",
         "x is '1024,1', expected integers with commas between them of at least 2"},
        {&string, "", "x is '', expected a text that is not empty"},
        {&strings, "", "x is '', expected a text that is not empty"},
        {&flag, "maybe", "x is 'maybe', expected yes or no"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_error error = {0};
        json_t *value = NULL;
        assert_int_equal(rf_option_from_text(cases[i].option, "x", cases[i].text, &value, &error),
                         RF_ERR_ARGUMENT);
        assert_string_equal(error.message, cases[i].message);
        assert_null(value);
    }
}

static void test_json_values(void **state)
{
    static const struct {
        const rf_option *option;
        const char *from, *expected; /* expected NULL: refused */
    } cases[] = {
        {&integer, "7", "7"},
        {&integer, "\"7\"", NULL},
        {&integer, "7.0", NULL},
        {&integer, "101", NULL},
        {&number, "1", "1.0"},
        {&number, "\"1\"", NULL},
        {&number, "true", NULL},
        {&size, "\"1KiB\"", "1024"},
        {&size, "1024", "1024"},
        {&size, "-1", NULL},
        {&duration, "1.5", "1.5"},
        {&duration, "\"2m\"", "120.0"},
        {&duration, "[]", NULL},
        {&choice, "\"linear\"", "\"linear\""},
        {&choice, "1", NULL},
        {&list, "[2, 4]", "[2, 4]"},
        {&list, "8", "[8]"},
        {&list, "[]", NULL},
        {&list, "[1]", NULL},
        {&list, "[2.5]", NULL},
        {&strings, "[\"a\"]", "[\"a\"]"},
        {&strings, "[\"\"]", NULL},
        {&strings, "\"a\"", NULL},
        {&string, "\"a\"", "\"a\""},
        {&string, "\"a\\u0000b\"", NULL},
        {&flag, "true", "true"},
        {&flag, "\"yes\"", NULL},
        {&flag, "{}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_error error = {0};
        json_t *value = NULL;
        json_t *from = json_loads(cases[i].from, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        json_t *expected =
            cases[i].expected != NULL ? json_loads(cases[i].expected, JSON_DECODE_ANY, NULL) : NULL;
        assert_non_null(from);
        rf_status status = rf_option_from_json(cases[i].option, "x", from, &value, &error);
        if ((status == RF_OK) != (expected != NULL) ||
            (expected != NULL && json_equal(value, expected) != 1)) {
            fail_msg("%s is not read as %s: %s", cases[i].from,
                     cases[i].expected != NULL ? cases[i].expected : "wrong", error.message);
        }
        json_decref(value);
        json_decref(from);
        json_decref(expected);
    }
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"train", "eval", "generate", "verify", "plan", "bench"};
    (void)state;
    assert_string_equal(rf_cli_nearest("trian", names, 6), "train");
    assert_string_equal(rf_cli_nearest("generat", names, 6), "generate");
    assert_string_equal(rf_cli_nearest("evla", names, 6), "eval");
    assert_null(rf_cli_nearest("xyzzyq", names, 6));
    assert_null(rf_cli_nearest("", names, 6));
    assert_null(
        rf_cli_nearest("a-name-that-is-far-longer-than-any-name-that-there-could-be", names, 6));
}

static void test_written_units(void **state)
{
    char text[32];
    (void)state;
    rf_cli_write_size(17, text, sizeof text);
    assert_string_equal(text, "17 B");
    rf_cli_write_size(25769803776.0, text, sizeof text);
    assert_string_equal(text, "24.0 GiB");
    rf_cli_write_duration(12.44, text, sizeof text);
    assert_string_equal(text, "12.4s");
    rf_cli_write_duration(185, text, sizeof text);
    assert_string_equal(text, "3m05s");
    rf_cli_write_duration(7620, text, sizeof text);
    assert_string_equal(text, "2h07m");
    rf_cli_write_duration(1e300, text, sizeof text);
    assert_string_equal(text, "--");
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(rf_cli_utf8_length("a", 1), 1);
    assert_int_equal(rf_cli_utf8_length("\xC3\xA9", 2), 2);
    assert_int_equal(rf_cli_utf8_length("\xF0\x9F\x98\x80", 4), 4);
    assert_int_equal(rf_cli_utf8_length("\xF0\x9F\x98", 3), 0);
    assert_int_equal(rf_cli_utf8_length("\xC0\x80", 2), 0);     /* too long a form */
    assert_int_equal(rf_cli_utf8_length("\xED\xA0\x80", 3), 0); /* a surrogate */
    assert_int_equal(rf_cli_utf8_length("\xF4\x90\x80\x80", 4), 0);
    assert_int_equal(rf_cli_utf8_length("\xFF", 1), 0);
    assert_int_equal(rf_cli_utf8_length("", 0), 0);
    json_t *text = rf_cli_json_text("a\xFF\0b", 4);
    assert_int_equal(json_string_length(text), 6);
    assert_memory_equal(json_string_value(text), "a\xEF\xBF\xBD\0b", 6);
    json_decref(text);
}

/* Reals come back the same, and as short as they were typed. */
static void test_json_digits(void **state)
{
    rf_bytes text = {0};
    (void)state;
    json_t *value = json_pack("[f, f]", 0.98, 1e-9);
    assert_ok(rf_bytes_append_json(&text, value, false, error));
    assert_string_equal(text.data, "[0.98, 1e-9]");
    rf_bytes_clear(&text);
    json_decref(value);
    value = json_pack("[f]", 0.1 + 0.2);
    assert_ok(rf_bytes_append_json(&text, value, false, error));
    json_t *read = json_loads(text.data, 0, NULL);
    assert_int_equal(json_equal(read, value), 1);
    rf_bytes_clear(&text);
    json_decref(read);
    json_decref(value);
}

static void check_option(const rf_command *command, const rf_option *option)
{
    const char *name = option->name;
    rf_error error = {0};
    json_t *value = NULL;
    if (option->help == NULL || option->group == NULL || strlen(option->help) > 110 ||
        option->help[strlen(option->help) - 1] == '.') {
        fail_msg("%s --%s: its help is missing, too long or ends with a full stop", command->name,
                 name);
    }
    if ((option->kind == RF_OPTION_FLAG) != (option->argument == NULL) ||
        (option->kind == RF_OPTION_CHOICE) != (option->choices != NULL)) {
        fail_msg("%s --%s: argument and choices do not fit its kind", command->name, name);
    }
    if (option->preset != NULL &&
        rf_option_from_text(option, name, option->preset, &value, &error) != RF_OK) {
        fail_msg("%s --%s: its default is refused: %s", command->name, name, error.message);
    }
    json_decref(value);
    for (size_t i = 0; option->key != NULL && option->key[i] != '\0'; i++) {
        if (option->key[i] != (name[i] == '-' ? '_' : name[i])) {
            fail_msg("%s --%s: its key is %s", command->name, name, option->key);
        }
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (size_t c = 0; c < rf_command_count(); c++) {
        const rf_command *command = rf_command_at(c);
        size_t count = rf_command_option_count(command);
        assert_true(count <= RF_MAX_OPTIONS);
        assert_true(command->most_arguments <= RF_MAX_ARGUMENTS);
        assert_non_null(command->run);
        for (size_t i = 0; i < count; i++) {
            const rf_option *option = rf_command_option(command, i);
            check_option(command, option);
            for (size_t j = 0; j < i; j++) {
                const rf_option *other = rf_command_option(command, j);
                if (strcmp(option->name, other->name) == 0 ||
                    (option->letter != 0 && option->letter == other->letter)) {
                    fail_msg("%s: --%s and --%s have the same name or letter", command->name,
                             option->name, other->name);
                }
            }
        }
        for (int i = 0; i < 2; i++) {
            assert_non_null(command->examples[i]);
            assert_int_equal(strncmp(command->examples[i], command->name, strlen(command->name)),
                             0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_values),   cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_json_values),   cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_written_units), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_json_digits),   cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
