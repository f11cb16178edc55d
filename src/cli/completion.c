/* Completion for bash and zsh: a table of words for each command; zsh reads the bash one through
 * bashcompinit. */
#include "help.h"

#include <string.h>

static void print_commands(FILE *file)
{
    for (size_t i = 0, shown = 0; i < rf_command_count(); i++) {
        if (!rf_command_at(i)->hidden) {
            fprintf(file, "%s%s", shown++ > 0 ? " " : "", rf_command_at(i)->name);
        }
    }
}

static void print_option_words(FILE *file, const rf_command *command)
{
    for (size_t i = 0; i < rf_command_option_count(command); i++) {
        const rf_option *option = rf_command_option(command, i);
        fprintf(file, "%s--%s", i > 0 ? " " : "", option->name);
        if (option->kind == RF_OPTION_FLAG && option->preset != NULL) {
            fprintf(file, " --no-%s", option->name);
        }
    }
}

/* "a|b|c" as "a b c". */
static void print_choices(FILE *file, const char *choices)
{
    for (; *choices != '\0'; choices++) {
        fputc(*choices == '|' ? ' ' : *choices, file);
    }
}

/* What may follow an option of a command: its choices, or (files) nothing of ours. */
static void print_value_cases(FILE *file, const rf_command *command)
{
    for (size_t i = 0; i < rf_command_option_count(command); i++) {
        const rf_option *option = rf_command_option(command, i);
        if (option->kind == RF_OPTION_CHOICE) {
            fprintf(file, "        %s:--%s) words=\"", command->name, option->name);
            print_choices(file, option->choices);
            fputs("\" ;;\n", file);
        } else if (option->kind == RF_OPTION_STRING) {
            fprintf(file, "        %s:--%s) words=\"\"; files=1 ;;\n", command->name, option->name);
        } else if (option->kind != RF_OPTION_FLAG) {
            fprintf(file, "        %s:--%s) words=\"\" ;;\n", command->name, option->name);
        }
    }
}

void rf_cli_print_completion(FILE *file, const char *shell)
{
    if (strcmp(shell, "zsh") == 0) {
        fputs("#compdef reformer\nautoload -U +X bashcompinit && bashcompinit\n", file);
    }
    fputs("_reformer() {\n"
          "    local current=\"${COMP_WORDS[COMP_CWORD]}\" "
          "previous=\"${COMP_WORDS[COMP_CWORD-1]}\" command=\"${COMP_WORDS[1]}\"\n"
          "    local words=\"\" files=\"\"\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        words=\"",
          file);
    print_commands(file);
    fputs(" --help --version\"\n    else\n        case \"$command\" in\n", file);
    for (size_t i = 0; i < rf_command_count(); i++) {
        fprintf(file, "        %s) words=\"", rf_command_at(i)->name);
        print_option_words(file, rf_command_at(i));
        if (rf_command_at(i)->choices != NULL) {
            fputc(' ', file);
            print_choices(file, rf_command_at(i)->choices);
        }
        fputs("\" ;;\n", file);
    }
    fputs("        esac\n        case \"$command:$previous\" in\n", file);
    for (size_t i = 0; i < rf_command_count(); i++) {
        print_value_cases(file, rf_command_at(i));
    }
    fputs("        esac\n"
          "    fi\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "    if [ -n \"$files\" ]; then COMPREPLY=($(compgen -f -- \"$current\")); fi\n"
          "}\n"
          "complete -o default -F _reformer reformer\n",
          file);
}
