/* The list of commands and the options that several of them share. */
#include "command.h"
#include "common_options.h"

#include <string.h>

static const rf_command *const commands[] = {
    &rf_command_train,      &rf_command_eval,       &rf_command_generate, &rf_command_verify,
    &rf_command_plan,       &rf_command_inspect,    &rf_command_bench,    &rf_command_devices,
    &rf_command_convert,    &rf_command_tokenize,   &rf_command_embed,    &rf_command_fill,
    &rf_command_classify,   &rf_command_answer,     &rf_command_nearest,  &rf_command_attend,
    &rf_command_illustrate, &rf_command_curves,     &rf_command_probe,    &rf_command_help,
    &rf_command_version,    &rf_command_completion, &rf_command_manual,
};

/* One row for each option; `bits` says with which of the RF_SHARED masks it comes. */
static const struct shared_option {
    unsigned bits;
    rf_option option;
} shared_options[] = {
    {RF_SHARED_MODEL,
     {RF_COMMON_MODEL, .required = true, .group = "main options", .help = "model directory"}},
    {RF_SHARED_TEXT, {RF_COMMON_TEXT, .group = "main options", .help = "the text"}},
    {RF_SHARED_TEXT,
     {RF_COMMON_DATA, .argument = "FILE",
      .help = "file with the text; default: --text, else standard input"}},
    {RF_SHARED_TEXT, {RF_COMMON_LINES}},
    {RF_SHARED_TEXT,
     {RF_COMMON_BATCH, .preset = "1", .group = "more options",
      .help = "texts computed at once; results do not depend on it"}},
    {RF_SHARED_MODEL, {RF_COMMON_NUM_HASHES, .high = 1 << 10, .group = "more options"}},
    {RF_SHARED_MODEL, {RF_COMMON_ATTENTION, .group = "more options"}},
    {RF_SHARED_MODEL, {RF_COMMON_EXTEND_POSITIONS, .group = "more options"}},
    {RF_SHARED_MODEL, {RF_COMMON_STREAM, .group = "more options"}},
    {RF_SHARED_CONFIG,
     {.name = "config",
      .letter = 'c',
      .kind = RF_OPTION_STRING,
      .argument = "FILE",
      .group = "common options",
      .help = "JSON file with a section for each command and one for the model, or the name of a "
              "preset"}},
    {RF_SHARED_CONFIG,
     {.name = "print-config",
      .kind = RF_OPTION_FLAG,
      .group = "common options",
      .help = "show every setting and its source, and exit"}},
    {RF_SHARED_DEVICE,
     {.name = "device",
      .kind = RF_OPTION_CHOICE,
      .argument = "NAME",
      .choices = "auto|cpu|cuda|cuda:N",
      .preset = "auto",
      .key = "device",
      .group = "common options",
      .help = "where to compute (see 'reformer devices'); auto: the first usable GPU, else cpu"}},
    {RF_SHARED_DEVICE,
     {.name = "precision",
      .kind = RF_OPTION_CHOICE,
      .argument = "KIND",
      .choices = "auto|f32|bf16",
      .preset = "auto",
      .key = "precision",
      .group = "common options",
      .help = "type of activations and matrix products; auto: bf16 on a GPU, f32 on the CPU"}},
    {RF_SHARED_DEVICE,
     {.name = "kernels",
      .kind = RF_OPTION_CHOICE,
      .argument = "KIND",
      .choices = "fast|plain",
      .preset = "fast",
      .key = "kernels",
      .group = "common options",
      .help = "on a GPU: fast kernels, or the plain ones that they are tested against"}},
    {RF_SHARED_THREADS,
     {.name = "threads",
      .letter = 't',
      .kind = RF_OPTION_INTEGER,
      .argument = "N",
      .preset = "0",
      .high = 1024,
      .key = "threads",
      .group = "common options",
      .help = "CPU threads; 0: one per core; results do not depend on it"}},
    {RF_SHARED_JSON,
     {.name = "json",
      .kind = RF_OPTION_FLAG,
      .group = "common options",
      .help = "print results as JSON"}},
    {RF_SHARED_QUIET,
     {.name = "quiet",
      .letter = 'q',
      .kind = RF_OPTION_FLAG,
      .group = "common options",
      .help = "print only results, warnings and errors"}},
    {0,
     {.name = "help",
      .letter = 'h',
      .kind = RF_OPTION_FLAG,
      .group = "common options",
      .help = "show this help"}},
};

enum { SHARED_COUNT = sizeof shared_options / sizeof shared_options[0] };

static bool has_shared(const rf_command *command, size_t row)
{
    return shared_options[row].bits == 0 || (command->shared & shared_options[row].bits) != 0;
}

size_t rf_command_count(void)
{
    return sizeof commands / sizeof commands[0];
}

const rf_command *rf_command_at(size_t index)
{
    return commands[index];
}

const rf_command *rf_command_find(const char *name)
{
    for (size_t i = 0; i < rf_command_count(); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

rf_status rf_command_unknown(const char *name, rf_error *error)
{
    const char *names[sizeof commands / sizeof commands[0]];
    size_t count = 0;
    for (size_t i = 0; i < rf_command_count(); i++) {
        if (!commands[i]->hidden) {
            names[count++] = commands[i]->name;
        }
    }
    const char *nearest = rf_cli_nearest(name, names, count);
    return rf_cli_fail(error, RF_ERR_ARGUMENT, "there is no command '%.60s'%s%s%s", name,
                       nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
                       nearest != NULL ? "'?" : "");
}

size_t rf_command_option_count(const rf_command *command)
{
    size_t count = command->option_count;
    for (size_t row = 0; row < SHARED_COUNT; row++) {
        count += has_shared(command, row) ? 1 : 0;
    }
    return count;
}

const rf_option *rf_command_option(const rf_command *command, size_t index)
{
    if (index < command->option_count) {
        return &command->options[index];
    }
    index -= command->option_count;
    for (size_t row = 0; row < SHARED_COUNT; row++) {
        if (has_shared(command, row) && index-- == 0) {
            return &shared_options[row].option;
        }
    }
    return NULL;
}
