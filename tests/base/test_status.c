/* Names of statuses, messages that are cut, prefixed and logged. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(rf_status_name(RF_OK), "ok");
    assert_string_equal(rf_status_name(RF_ERR_NO_SPACE), "no space");
    assert_string_equal(rf_status_name(RF_ERR_CANCELLED), "cancelled");
    assert_string_equal(rf_status_name((rf_status)-99), "unknown");
}

/* The version stands in CMakeLists.txt too. */
static void test_version(void **state)
{
    (void)state;
    FILE *file = fopen(RF_SOURCE_FOLDER "/CMakeLists.txt", "r");
    assert_non_null(file);
    char text[4096] = "";
    char expected[64];
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    (void)fclose(file);
    (void)snprintf(expected, sizeof expected, "project(reformer VERSION %s ", rf_version());
    assert_non_null(strstr(text, expected));
}

static void test_set_and_prefix(void **state)
{
    (void)state;
    rf_error problem = {0};
    assert_int_equal(rf_error_set(&problem, RF_ERR_FORMAT, "%d is not %s", 3, "four"),
                     RF_ERR_FORMAT);
    assert_int_equal(problem.code, RF_ERR_FORMAT);
    assert_string_equal(problem.message, "3 is not four");
    rf_error_prefix(&problem, "tensor %d", 7);
    assert_string_equal(problem.message, "tensor 7: 3 is not four");
    assert_int_equal(problem.code, RF_ERR_FORMAT);
    assert_int_equal(rf_error_set(&problem, RF_ERR_FILE, "again: %s", problem.message),
                     RF_ERR_FILE);
    assert_string_equal(problem.message, "again: tensor 7: 3 is not four");
    assert_int_equal(rf_error_set(NULL, RF_ERR_FILE, "nobody listens"), RF_ERR_FILE);
    rf_error_prefix(NULL, "nobody");
}

/* 510 letters and a character of two bytes do not fit into 511: it goes whole. */
static void test_cut_messages_stay_utf8(void **state)
{
    (void)state;
    rf_error problem = {0};
    char long_text[2 * RF_ERROR_MESSAGE_BYTES];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    (void)rf_error_set(&problem, RF_ERR_FORMAT, "%.510s\xC3\xA9", long_text);
    assert_int_equal(strlen(problem.message), 510);
    (void)rf_error_set(&problem, RF_ERR_FORMAT, "%.509s\xC3\xA9", long_text);
    assert_int_equal(strlen(problem.message), 511);
    (void)rf_error_set(&problem, RF_ERR_FORMAT, "%.509s\xE2\x82\xAC", long_text);
    assert_int_equal(strlen(problem.message), 509);
    (void)rf_error_set(&problem, RF_ERR_FORMAT, "%s", long_text);
    assert_int_equal(strlen(problem.message), RF_ERROR_MESSAGE_BYTES - 1);
    rf_error_prefix(&problem, "%s", long_text);
    assert_int_equal(strlen(problem.message), RF_ERROR_MESSAGE_BYTES - 1);
}

static void remember(void *user, rf_log_level level, const char *message)
{
    (void)snprintf(user, 100, "%d %s", (int)level, message);
}

static void test_log(void **state)
{
    (void)state;
    char line[100] = "";
    rf_log log = {.write = remember, .user = line};
    rf_log_write(&log, RF_LOG_WARNING, "step %d", 5);
    assert_string_equal(line, "2 step 5");
    rf_log silent = {0};
    rf_log_write(&silent, RF_LOG_INFO, "unheard");
    rf_log_write(NULL, RF_LOG_INFO, "unheard");
    assert_string_equal(line, "2 step 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_set_and_prefix),
        cmocka_unit_test(test_cut_messages_stay_utf8),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
