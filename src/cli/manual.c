/* Manual pages in troff: reformer.1 for the program, reformer-COMMAND.1 for each command. */
#include "help.h"

#include <errno.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* Text with what troff would obey made plain: backslashes, hyphens (so that they can be copied),
 * dots and quotes that open a line. */
static void print_plain(FILE *file, const char *text)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            fputs("\\e", file);
        } else if (*text == '-') {
            fputs("\\-", file);
        } else if (line_start && (*text == '.' || *text == '\'')) {
            fprintf(file, "\\&%c", *text);
        } else {
            fputc(*text, file);
        }
        line_start = *text == '\n';
    }
}

static void print_option(FILE *file, const rf_option *option)
{
    char usage[100];
    char name[RF_OPTION_NAME_BYTES];
    char expected[200];
    rf_cli_option_usage(option, usage, sizeof usage);
    rf_option_environment_name(option, name);
    rf_option_expectation(option, expected, sizeof expected);
    fputs(".TP\n.B \"", file);
    if (option->letter != 0) {
        fprintf(file, "\\-%c, ", option->letter);
    }
    print_plain(file, usage);
    fputs("\"\n", file);
    print_plain(file, option->help);
    fputs(".", file);
    if (option->kind != RF_OPTION_FLAG && option->kind != RF_OPTION_STRING &&
        option->kind != RF_OPTION_STRINGS) {
        fputs(" Takes ", file);
        print_plain(file, expected);
        fputs(".", file);
    }
    if (option->preset != NULL && option->preset[0] != '\0') {
        fputs(" Default: ", file);
        print_plain(file, option->preset);
        fputs(".", file);
    }
    if (strcmp(option->name, "help") != 0) {
        fprintf(file, "\nEnvironment: %s.", name);
    }
    if (option->key != NULL) {
        fprintf(file, "\nKey: %s.", option->key);
    }
    fputs("\n", file);
}

static void print_options(FILE *file, const rf_command *command)
{
    size_t count = rf_command_option_count(command);
    for (size_t i = 0; i < count; i++) {
        const char *group = rf_command_option(command, i)->group;
        if (rf_cli_group_seen(command, i)) {
            continue;
        }
        fputs(".SS \"", file);
        print_plain(file, group);
        fputs("\"\n", file);
        for (size_t j = i; j < count; j++) {
            if (strcmp(rf_command_option(command, j)->group, group) == 0) {
                print_option(file, rf_command_option(command, j));
            }
        }
    }
}

static void print_head(FILE *file, const char *title, const char *purpose)
{
    fprintf(file, ".TH \"%s\" 1 \"\" \"reformer %s\" \"User Commands\"\n.SH NAME\n", title,
            rf_version());
    print_plain(file, title);
    fputs(" \\- ", file);
    print_plain(file, purpose);
    fputs("\n", file);
}

static void print_tail(FILE *file)
{
    fputs(
        ".SH \"EXIT STATUS\"\n"
        "0 done, 1 failed, 2 misused, 3 a check that was asked for did not hold, 130 interrupted.\n"
        ".SH PRECEDENCE\n"
        "Every option has an environment variable, REFORMER_ and its name in capitals with _ for "
        "\\-.\n"
        "An option of the command line counts before its environment variable, that before the "
        "configuration file, and that\n"
        "before the default. \\fB\\-\\-print\\-config\\fR shows which won. An empty variable "
        "counts as "
        "absent; one that looks like a mistyped\n"
        "option is warned of.\n",
        file);
}

static void print_command_page(FILE *file, const rf_command *command)
{
    char title[80];
    snprintf(title, sizeof title, "reformer-%s", command->name);
    print_head(file, title, command->purpose);
    fprintf(file, ".SH SYNOPSIS\n.B reformer %s\n%s [\\fIoptions\\fR]\n.SH DESCRIPTION\n",
            command->name, command->positional != NULL ? command->positional : "");
    print_plain(file, command->purpose);
    fputs(".\n", file);
    if (command->description != NULL) {
        fputs(".PP\n", file);
        print_plain(file, command->description);
        fputs("\n", file);
    }
    fputs(".SH EXAMPLES\n", file);
    for (size_t i = 0; i < 2; i++) {
        fputs(".PP\n.nf\nreformer ", file);
        print_plain(file, command->examples[i]);
        fputs("\n.fi\n", file);
    }
    fputs(".SH OPTIONS\n", file);
    print_options(file, command);
    print_tail(file);
    fputs(".SH \"SEE ALSO\"\n.BR reformer (1)\n", file);
}

static void print_program_page(FILE *file)
{
    print_head(file, "reformer", "train and run Reformer-style transformers on long sequences");
    fputs(".SH SYNOPSIS\n.B reformer\n\\fICOMMAND\\fR [\\fIoptions\\fR]\n.SH COMMANDS\n", file);
    for (size_t i = 0; i < rf_command_count(); i++) {
        const rf_command *command = rf_command_at(i);
        if (!command->hidden) {
            fprintf(file, ".TP\n.BR reformer\\-%s (1)\n", command->name);
            print_plain(file, command->purpose);
            fputs(".\n", file);
        }
    }
    print_tail(file);
}

static rf_status write_page(const char *folder, const rf_command *command, rf_error *error)
{
    char path[PATH_BYTES];
    int length = command != NULL
                     ? snprintf(path, sizeof path, "%s/reformer-%s.1", folder, command->name)
                     : snprintf(path, sizeof path, "%s/reformer.1", folder);
    FILE *file = length < PATH_BYTES ? fopen(path, "w") : NULL;
    if (file == NULL) {
        return rf_cli_fail(error, RF_ERR_FILE, "%.300s cannot be written: %s", path,
                           strerror(errno));
    }
    if (command != NULL) {
        print_command_page(file, command);
    } else {
        print_program_page(file);
    }
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    return failed ? rf_cli_fail(error, RF_ERR_FILE, "%.300s cannot be written: %s", path,
                                strerror(errno))
                  : RF_OK;
}

rf_status rf_cli_write_manual(const char *folder, rf_error *error)
{
    rf_status status = write_page(folder, NULL, error);
    for (size_t i = 0; status == RF_OK && i < rf_command_count(); i++) {
        if (!rf_command_at(i)->hidden) {
            status = write_page(folder, rf_command_at(i), error);
        }
    }
    return status;
}
