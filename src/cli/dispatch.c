/* From the command line to a command: find it, read its settings, check them, run it. */
#include "dispatch.h"

#include "config_file.h"
#include "environment.h"
#include "help.h"
#include "message.h"
#include "show_config.h"

#include <errno.h>
#include <string.h>

/* Results that could not be written are a failure, however well the work went. */
static int finish(int code)
{
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && code == RF_EXIT_DONE) {
        rf_cli_message("cannot write to standard output: %s", strerror(errno));
        return RF_EXIT_FAILED;
    }
    rf_cli_status_clear();
    return code;
}

static int run_command(const rf_command *command, size_t count, const char *const *arguments)
{
    rf_settings settings;
    rf_error error = {0};
    int code = RF_EXIT_DONE;
    rf_settings_init(&settings, command);
    rf_status status = rf_settings_read(&settings, count, arguments, &error);
    bool help = rf_settings_flag(&settings, "help");
    bool show = rf_settings_flag(&settings, "print-config");
    if (status == RF_OK && !help && !show) {
        status = rf_settings_check(&settings, &error);
    }
    if (status != RF_OK) {
        code = rf_cli_report(command, status, &error);
    } else if (help) {
        rf_cli_print_help(stdout, command);
    } else {
        rf_cli_check_environment(command);
        code = show ? rf_cli_show_config(&settings) : command->run(&settings);
    }
    rf_settings_clear(&settings);
    return code;
}

int rf_cli_run(size_t count, const char *const *arguments)
{
    if (count == 0) {
        rf_cli_print_overview(stderr);
        return RF_EXIT_MISUSED;
    }
    const char *name = arguments[0];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        rf_cli_print_overview(stdout);
        return finish(RF_EXIT_DONE);
    }
    const rf_command *command = rf_command_find(strcmp(name, "--version") == 0 ? "version" : name);
    if (command == NULL) {
        rf_error error = {0};
        return rf_cli_report(NULL, rf_command_unknown(name, &error), &error);
    }
    return finish(run_command(command, count - 1, arguments + 1));
}
