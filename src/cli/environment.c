/* A mistyped variable has no effect, so it is told. One that an option of another command has may
 * stand in the environment for that; a few are read by tests, scripts and builds. */
#include "environment.h"

#include "message.h"

#include <ctype.h>
#include <string.h>

extern char **environ;

static const char prefix[] = "REFORMER_";
enum { PREFIX = sizeof prefix - 1 };

static bool is_of_others(const char *name)
{
    static const char *const names[] = {"FIXTURES", "SOURCE",   "PROGRAM",    "BUILD",
                                        "JOBS",     "NO_SETUP", "DECODE_COST"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name + PREFIX, names[i]) == 0) {
            return true;
        }
    }
    return strncmp(name + PREFIX, "CUDA", 4) == 0 || strncmp(name + PREFIX, "WITH_", 5) == 0;
}

static bool is_an_option(const char *name)
{
    char known[RF_OPTION_NAME_BYTES];
    for (size_t c = 0; c < rf_command_count(); c++) {
        const rf_command *command = rf_command_at(c);
        for (size_t i = 0; i < rf_command_option_count(command); i++) {
            rf_option_environment_name(rf_command_option(command, i), known);
            if (strcmp(known, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool rf_cli_mistyped_variable(const rf_command *command, const char *entry,
                              char nearest[RF_OPTION_NAME_BYTES])
{
    const char *names[RF_MAX_OPTIONS];
    char name[RF_OPTION_NAME_BYTES];
    char word[RF_OPTION_NAME_BYTES];
    size_t length = strcspn(entry, "=");
    size_t count = rf_command_option_count(command);
    if (strncmp(entry, prefix, PREFIX) != 0 || length >= sizeof name || entry[length] == '\0' ||
        entry[length + 1] == '\0') {
        return false; /* not ours, or empty, which counts as absent */
    }
    memcpy(name, entry, length);
    name[length] = '\0';
    if (is_of_others(name) || is_an_option(name)) {
        return false;
    }
    for (size_t i = 0; i <= length - PREFIX; i++) {
        char c = name[PREFIX + i];
        word[i] = c == '_' ? '-' : (char)tolower((unsigned char)c);
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = rf_command_option(command, i)->name;
    }
    const char *found = rf_cli_nearest(word, names, count);
    for (size_t i = 0; found != NULL && i < count; i++) {
        if (names[i] == found) {
            rf_option_environment_name(rf_command_option(command, i), nearest);
        }
    }
    return found != NULL;
}

void rf_cli_check_environment(const rf_command *command)
{
    char nearest[RF_OPTION_NAME_BYTES];
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        if (rf_cli_mistyped_variable(command, *entry, nearest)) {
            rf_cli_message("warning: the environment's %.*s is no option's; did you mean %s?",
                           (int)strcspn(*entry, "="), *entry, nearest);
        }
    }
}
