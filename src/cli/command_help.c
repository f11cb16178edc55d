/* reformer help, version, manual and completion: the program about itself. */
#include "help.h"
#include "message.h"

static int run_help(const rf_settings *settings)
{
    rf_error error = {0};
    if (settings->argument_count == 0) {
        rf_cli_print_overview(stdout);
        return RF_EXIT_DONE;
    }
    const char *name = settings->arguments[0];
    const rf_command *command = rf_command_find(name);
    if (command == NULL) {
        return rf_cli_report(NULL, rf_command_unknown(name, &error), &error);
    }
    rf_cli_print_help(stdout, command);
    return RF_EXIT_DONE;
}

static int run_version(const rf_settings *settings)
{
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(json_pack("{s:s}", "version", rf_version()));
    }
    printf("reformer %s\n", rf_version());
    return RF_EXIT_DONE;
}

static int run_manual(const rf_settings *settings)
{
    rf_error error = {0};
    rf_status status = rf_cli_write_manual(settings->arguments[0], &error);
    return rf_cli_report(settings->command, status, &error);
}

static int run_completion(const rf_settings *settings)
{
    rf_cli_print_completion(stdout, settings->arguments[0]);
    return RF_EXIT_DONE;
}

const rf_command rf_command_help = {
    .name = "help",
    .purpose = "Show the help of the program or of a command",
    .examples = {"help", "help train"},
    .positional = "[COMMAND]",
    .most_arguments = 1,
    .run = run_help,
};

const rf_command rf_command_version = {
    .name = "version",
    .purpose = "Show the version",
    .examples = {"version", "version --json"},
    .shared = RF_SHARED_JSON,
    .run = run_version,
};

const rf_command rf_command_manual = {
    .name = "manual",
    .purpose = "Write the manual pages into a folder",
    .examples = {"manual build/man", "manual ."},
    .positional = "DIR",
    .least_arguments = 1,
    .most_arguments = 1,
    .hidden = true,
    .run = run_manual,
};

const rf_command rf_command_completion = {
    .name = "completion",
    .purpose = "Print a shell completion script",
    .examples = {"completion bash > /etc/bash_completion.d/reformer", "completion zsh > _reformer"},
    .positional = "bash|zsh",
    .least_arguments = 1,
    .most_arguments = 1,
    .choices = "bash|zsh",
    .run = run_completion,
};
