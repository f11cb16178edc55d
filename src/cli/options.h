/* One table of options per command, from which everything follows: parsing, range checks, help,
 * manual pages, completion, the JSON configuration file, environment names and the record of a run.
 * Nothing here prints or ends the program. */
#ifndef RF_CLI_OPTIONS_H
#define RF_CLI_OPTIONS_H

#include "reformer/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rf_option_kind {
    RF_OPTION_FLAG,     /* --x, --no-x; JSON true or false */
    RF_OPTION_INTEGER,  /* JSON integer */
    RF_OPTION_NUMBER,   /* JSON number */
    RF_OPTION_STRING,   /* JSON string */
    RF_OPTION_SIZE,     /* bytes: 24GiB, 512MiB, 1000; JSON string or integer, kept as an integer */
    RF_OPTION_DURATION, /* seconds: 150s, 10m, 1h30m; JSON string or number, kept as a real */
    RF_OPTION_CHOICE,   /* one word of `choices` */
    RF_OPTION_LIST,     /* integers, comma-separated or repeated; JSON array of integers */
    RF_OPTION_STRINGS   /* repeated; JSON array of strings */
} rf_option_kind;

typedef struct rf_option {
    const char *name; /* long name without dashes; the environment name is derived from it */
    char letter;      /* short name, 0 = none */
    rf_option_kind kind;
    const char *argument; /* what help calls the value; NULL for flags */
    const char *preset;   /* default as one would type it; NULL = none */
    double low, high;    /* range of integers, numbers, sizes, durations and list items; high 0 = no
                            upper end */
    const char *choices; /* "constant|linear|cosine" */
    const char *group;   /* heading in help */
    const char *help;    /* one sentence, no full stop */
    const char
        *key; /* in the configuration file; NULL = belongs to one call and is never recorded */
    bool required;
    bool may_be_empty; /* an empty string is a value */
} rf_option;

enum { RF_MAX_OPTIONS = 96, RF_MAX_ARGUMENTS = 32, RF_OPTION_NAME_BYTES = 64 };

/* Write code and message, return code. */
rf_status rf_cli_fail(rf_error *error, rf_status code, const char *format, ...) RF_PRINTF(3, 4);

/* Text as typed -> value. `label` is what messages call the option ("--steps", "REFORMER_STEPS").
 * *value is a fresh reference; lists and repeated strings give an array that the caller may add to
 * what is there. */
RF_MUST_CHECK rf_status rf_option_from_text(const rf_option *option, const char *label,
                                            const char *text, json_t **value, rf_error *error);
/* A value of a configuration file -> value, with the same checks. */
RF_MUST_CHECK rf_status rf_option_from_json(const rf_option *option, const char *label,
                                            const json_t *from, json_t **value, rf_error *error);
/* "an integer from 1 to 64", "one of constant, linear": what is expected, into text[size]. */
void rf_option_expectation(const rf_option *option, char *text, size_t size);
/* A value as one would type it, into text[size], cut where it does not fit. */
void rf_option_to_text(const rf_option *option, const json_t *value, char *text, size_t size);
/* "REFORMER_STEPS" of "steps". */
void rf_option_environment_name(const rf_option *option, char name[RF_OPTION_NAME_BYTES]);

/* The candidate nearest to `word` by edit distance, or NULL if none is near enough to be meant. */
const char *rf_cli_nearest(const char *word, const char *const *candidates, size_t count);
/* A JSON string of any bytes: what is no UTF-8 becomes U+FFFD. */
json_t *rf_cli_json_text(const char *bytes, size_t size);

#endif
