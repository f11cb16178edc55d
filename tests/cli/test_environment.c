/* Which variables look like a mistyped option. */
#include "support.h"

#include "cli/environment.h"

#include <stdio.h>
#include <string.h>

static void mistyped_variables_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *nearest; /* NULL: nothing is said */
    } cases[] = {
        {"REFORMER_LENGHT=4096", "REFORMER_LENGTH"},
        {"REFORMER_LABEL_SMOOTING=0.1", "REFORMER_LABEL_SMOOTHING"},
        {"REFORMER_EVALEVERY=3", "REFORMER_EVAL_EVERY"},
        {"REFORMER_length=4096", "REFORMER_LENGTH"},
        {"REFORMER_LENGTH=4096", NULL},
        {"REFORMER_LENGHT=", NULL},
        {"REFORMER_LENGHT", NULL},
        {"REFORMER_TOP_K=5", NULL}, /* of generate */
        {"REFORMER_FIXTURES=/f", NULL},
        {"REFORMER_CUDA_ARCHITECTURES=90a", NULL},
        {"REFORMER_WITH_CAIRO=OFF", NULL},
        {"REFORMER_SOMETHING_ELSE_ENTIRELY=1", NULL},
        {"REFORM_LENGTH=1", NULL},
        {"PATH=/bin", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char nearest[RF_OPTION_NAME_BYTES] = "";
        bool told = rf_cli_mistyped_variable(&rf_command_train, cases[i].entry, nearest);
        if (told != (cases[i].nearest != NULL) ||
            (told && strcmp(nearest, cases[i].nearest) != 0)) {
            fail_msg("%s: %s", cases[i].entry, told ? nearest : "nothing is said");
        }
    }
}

static void every_option_has_a_variable_of_its_own(void **state)
{
    (void)state;
    for (size_t c = 0; c < rf_command_count(); c++) {
        const rf_command *command = rf_command_at(c);
        for (size_t i = 0; i < rf_command_option_count(command); i++) {
            char name[RF_OPTION_NAME_BYTES];
            char entry[RF_OPTION_NAME_BYTES + 2];
            char nearest[RF_OPTION_NAME_BYTES];
            rf_option_environment_name(rf_command_option(command, i), name);
            (void)snprintf(entry, sizeof entry, "%s=x", name);
            assert_false(rf_cli_mistyped_variable(command, entry, nearest));
            for (size_t j = 0; j < i; j++) {
                rf_option_environment_name(rf_command_option(command, j), nearest);
                assert_string_not_equal(name, nearest);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistyped_variables_are_told),
        cmocka_unit_test(every_option_has_a_variable_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
