/* A command: what it is called, what it takes, what it does. */
#ifndef RF_CLI_COMMAND_H
#define RF_CLI_COMMAND_H

#include "options.h"

struct rf_settings;

/* Options that mean the same in every command that has them. */
enum {
    RF_SHARED_CONFIG = 1 << 0, /* --config, --print-config */
    RF_SHARED_DEVICE = 1 << 1,
    RF_SHARED_THREADS = 1 << 2,
    RF_SHARED_JSON = 1 << 3,
    RF_SHARED_QUIET = 1 << 4,
    RF_SHARED_MODEL = 1 << 5, /* --model and how it is used */
    RF_SHARED_TEXT = 1 << 6   /* --text, --data, --lines */
};

/* What the program answers to the system. */
enum {
    RF_EXIT_DONE = 0,
    RF_EXIT_FAILED = 1,
    RF_EXIT_MISUSED = 2,
    RF_EXIT_CHECK_FAILED = 3,
    RF_EXIT_INTERRUPTED = 130
};

typedef struct rf_command {
    const char *name;
    const char *purpose;     /* one line, no full stop */
    const char *description; /* paragraphs for help and manual; NULL = the purpose says it */
    const char *examples[2]; /* as typed, without "reformer" in front */
    const char
        *positional; /* usage of the arguments that are no options, "DIR"; NULL = takes none */
    size_t least_arguments, most_arguments;
    const char *choices; /* of the first argument, "bash|zsh"; NULL = any text */
    const rf_option *options;
    size_t option_count;
    unsigned shared;
    bool hidden; /* left out of the list of commands */
    /* Before defaults are filled in: what the configuration file says, and what does not go with
     * the rest of the call, is forgotten. May be NULL. */
    void (*settle)(struct rf_settings *settings);
    /* Rules between options, after all sources are merged; RF_ERR_ARGUMENT with a message. May be
     * NULL. */
    rf_status (*check)(const struct rf_settings *settings, rf_error *error);
    /* The configuration file of a call that names none: its path into path[size]; false = none. May
     * be NULL. */
    bool (*implied_file)(const struct rf_settings *settings, char *path, size_t size);
    /* The exit code. Messages are printed already. */
    int (*run)(const struct rf_settings *settings);
} rf_command;

extern const rf_command rf_command_train, rf_command_eval, rf_command_generate, rf_command_verify,
    rf_command_plan, rf_command_inspect, rf_command_convert, rf_command_bench, rf_command_devices,
    rf_command_tokenize, rf_command_embed, rf_command_fill, rf_command_classify, rf_command_answer,
    rf_command_nearest, rf_command_attend, rf_command_illustrate, rf_command_curves,
    rf_command_probe, rf_command_version, rf_command_help, rf_command_manual, rf_command_completion;

/* The commands, in the order of help. */
size_t rf_command_count(void);
const rf_command *rf_command_at(size_t index);
const rf_command *rf_command_find(const char *name); /* NULL: unknown */
/* The message for a name that is none, with the nearest command. RF_ERR_ARGUMENT. */
rf_status rf_command_unknown(const char *name, rf_error *error);

/* A command's own options in their order, then the shared ones. */
size_t rf_command_option_count(const rf_command *command);
const rf_option *rf_command_option(const rf_command *command, size_t index);

#endif
