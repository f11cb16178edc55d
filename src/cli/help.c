/* Help on a terminal: 80 columns, options under their headings in the order of the table. */
#include "help.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, HELP_COLUMN = 30, LINE_BYTES = 600 };

/* Words of `text` from column `at` on, broken at WIDTH, later lines from column `indent`; ends the
 * line. "\n" in the text breaks. */
static void print_wrapped(FILE *file, const char *text, size_t at, size_t indent)
{
    bool first = true;
    while (*text != '\0') {
        size_t length = strcspn(text, " \n");
        if (!first && at + 1 + length > WIDTH) {
            fprintf(file, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        fprintf(file, "%s%.*s", first ? "" : " ", (int)length, text);
        at += length + (first ? 0 : 1);
        first = false;
        text += length;
        if (*text == '\n') {
            fprintf(file, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        text += *text != '\0' ? 1 : 0;
    }
    fputc('\n', file);
}

void rf_cli_option_usage(const rf_option *option, char *text, size_t size)
{
    bool can_be_off = option->kind == RF_OPTION_FLAG && option->preset != NULL;
    snprintf(text, size, "--%s%s%s%s", can_be_off ? "[no-]" : "", option->name,
             option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
}

/* What follows the sentence: choices, and the default, or the environment's value where one is set.
 */
static void describe(const rf_option *option, char *text, size_t size)
{
    char name[RF_OPTION_NAME_BYTES];
    rf_option_environment_name(option, name);
    const char *environment = getenv(name);
    size_t used = (size_t)snprintf(text, size, "%s", option->help);
    if (option->kind == RF_OPTION_CHOICE && strchr(option->choices, '|') != NULL && used < size) {
        char choices[200];
        rf_option_expectation(option, choices, sizeof choices);
        used += (size_t)snprintf(text + used, size - used, "; %s", choices);
    }
    if (used < size && environment != NULL && environment[0] != '\0') {
        snprintf(text + used, size - used, " [%.40s, from %s]", environment, name);
    } else if (used < size && option->preset != NULL) {
        const char *shown = option->kind != RF_OPTION_FLAG
                                ? option->preset
                                : (strcmp(option->preset, "yes") == 0 ? "on" : "off");
        snprintf(text + used, size - used, " [%s]", shown);
    } else if (used < size && option->required) {
        snprintf(text + used, size - used, " (required)");
    }
}

static void print_option(FILE *file, const rf_option *option)
{
    char usage[100];
    char text[LINE_BYTES];
    char letter[] = {'-', option->letter, ',', ' ', '\0'};
    rf_cli_option_usage(option, usage, sizeof usage);
    describe(option, text, sizeof text);
    int used = fprintf(file, "  %s%s", option->letter != 0 ? letter : "    ", usage);
    if (used + 2 > HELP_COLUMN) {
        fprintf(file, "\n%*s", HELP_COLUMN, "");
    } else {
        fprintf(file, "%*s", HELP_COLUMN - used, "");
    }
    print_wrapped(file, text, HELP_COLUMN, HELP_COLUMN);
}

bool rf_cli_group_seen(const rf_command *command, size_t index)
{
    const char *group = rf_command_option(command, index)->group;
    for (size_t i = 0; i < index; i++) {
        if (strcmp(rf_command_option(command, i)->group, group) == 0) {
            return true;
        }
    }
    return false;
}

static void print_examples(FILE *file, const rf_command *command)
{
    fputs("\nexamples:\n", file);
    for (size_t i = 0; i < 2; i++) {
        fprintf(file, "  reformer %s\n", command->examples[i]);
    }
}

void rf_cli_print_help(FILE *file, const rf_command *command)
{
    size_t count = rf_command_option_count(command);
    fprintf(file, "usage: reformer %s%s%s [options]\n\n", command->name,
            command->positional != NULL ? " " : "",
            command->positional != NULL ? command->positional : "");
    fprintf(file, "%s.\n", command->purpose);
    if (command->description != NULL) {
        fputc('\n', file);
        print_wrapped(file, command->description, 0, 0);
    }
    print_examples(file, command);
    for (size_t i = 0; i < count; i++) {
        if (rf_cli_group_seen(command, i)) {
            continue;
        }
        const char *group = rf_command_option(command, i)->group;
        fprintf(file, "\n%s:\n", group);
        for (size_t j = i; j < count; j++) {
            if (strcmp(rf_command_option(command, j)->group, group) == 0) {
                print_option(file, rf_command_option(command, j));
            }
        }
    }
}

void rf_cli_print_overview(FILE *file)
{
    fputs("usage: reformer COMMAND [options]\n\n"
          "Train and run Reformer-style transformers on long sequences.\n\n"
          "commands:\n",
          file);
    for (size_t i = 0; i < rf_command_count(); i++) {
        const rf_command *command = rf_command_at(i);
        if (!command->hidden) {
            fprintf(file, "  %-12s%s\n", command->name, command->purpose);
        }
    }
    fputs("\nexamples:\n"
          "  reformer train --config quickstart --data book.txt --output runs/book\n"
          "  reformer generate --model runs/book --prompt \"In the beginning\"\n\n"
          "'reformer COMMAND --help' shows the options of a command. Every option can also\n"
          "be set by an environment variable, such as REFORMER_LENGTH for --length, and\n"
          "most in the configuration file. Precedence: command line, environment,\n"
          "configuration file, default.\n",
          file);
}
