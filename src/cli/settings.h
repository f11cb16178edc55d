/* The settings of one call: what each option is and which source said so. Sources in order of
 * precedence: command line, environment, configuration file, default. */
#ifndef RF_CLI_SETTINGS_H
#define RF_CLI_SETTINGS_H

#include "command.h"
#include "text.h"

typedef enum rf_origin {
    RF_ORIGIN_NONE, /* no value */
    RF_ORIGIN_DEFAULT,
    RF_ORIGIN_FILE,
    RF_ORIGIN_ENVIRONMENT,
    RF_ORIGIN_COMMAND_LINE
} rf_origin;

typedef struct rf_setting {
    json_t *value; /* owned; NULL without a value */
    rf_origin origin;
} rf_setting;

enum { RF_PATH_BYTES = 4096 };

typedef struct rf_settings {
    const rf_command *command;
    rf_setting items[RF_MAX_OPTIONS]; /* in the order of rf_command_option */
    const char *
        arguments[RF_MAX_ARGUMENTS]; /* those that are no options; borrowed from the command line */
    size_t argument_count;
    json_t *model;            /* the file's "model" section, owned; NULL = none */
    char file[RF_PATH_BYTES]; /* the configuration file that was read; empty = none */
} rf_settings;

/* Start with no values. Release with rf_settings_clear after any outcome of what follows. */
void rf_settings_init(rf_settings *settings, const rf_command *command);
void rf_settings_clear(rf_settings *settings);

/* arguments[0] is the first after the command's name. RF_ERR_ARGUMENT where they are misused. */
RF_MUST_CHECK rf_status rf_settings_read_arguments(rf_settings *settings, size_t count,
                                                   const char *const *arguments, rf_error *error);
/* REFORMER_NAME of each option; an empty one counts as absent. `lookup` is getenv or a test's. */
RF_MUST_CHECK rf_status rf_settings_read_environment(rf_settings *settings,
                                                     const char *(*lookup)(const char *name),
                                                     rf_error *error);
/* The configuration file as an object: the section of this command, and "model". Unknown keys are
 * refused. `name` is for messages. */
RF_MUST_CHECK rf_status rf_settings_read_object(rf_settings *settings, const char *name,
                                                json_t *object, rf_error *error);
/* Forget what the configuration file says of an option; whether it said anything that counts. */
bool rf_settings_forget_file(rf_settings *settings, const char *name);
/* Fill in the defaults of what no source has said. */
RF_MUST_CHECK rf_status rf_settings_read_defaults(rf_settings *settings, rf_error *error);
/* Required options, number of arguments, and the command's own rules. */
RF_MUST_CHECK rf_status rf_settings_check(const rf_settings *settings, rf_error *error);

/* Values by long name, which must be one of the command's options. Without a value: false, 0, 0.0,
 * NULL. */
bool rf_settings_has(const rf_settings *settings, const char *name);
rf_origin rf_settings_origin(const rf_settings *settings, const char *name);
const json_t *rf_settings_value(const rf_settings *settings, const char *name);
bool rf_settings_flag(const rf_settings *settings, const char *name);
int64_t rf_settings_integer(const rf_settings *settings, const char *name);
double rf_settings_number(const rf_settings *settings, const char *name);
const char *rf_settings_string(const rf_settings *settings, const char *name);
/* RF_ERR_ARGUMENT if the same source gives both options. Otherwise *first_wins says which of the
 * two counts. */
RF_MUST_CHECK rf_status rf_settings_either(const rf_settings *settings, const char *first,
                                           const char *second, bool *first_wins, rf_error *error);

/* What a configuration file that repeats this call would hold: {"COMMAND": {...}, "model": {...}};
 * NULL if out of memory. */
json_t *rf_settings_record(const rf_settings *settings);

#endif
