/* What embed, fill, classify and answer share: a model with its tokenizer, and the texts they are
 * given, as token ids. */
#ifndef RF_CLI_TASK_H
#define RF_CLI_TASK_H

#include "settings.h"

#include "reformer/tasks.h"
#include "reformer/tokenizer.h"

typedef struct rf_task {
    const rf_settings *settings;
    rf_model *model;
    rf_tokenizer *tokenizer;
    rf_bytes input;
    int64_t line; /* with --lines: that which is looked at, from 1; else 0 */
} rf_task;

/* Load --model and its tokenizer, and read --text, --data or standard input. rf_task_finish
 * ends it, after any outcome. */
RF_MUST_CHECK rf_status rf_task_open(rf_task *task, const rf_settings *settings, rf_error *error);
/* The end of a command: prints `results` (taken over; NULL: already printed line by line) where all
 * went well, else the error; closes the task and gives the exit code. */
int rf_task_finish(rf_task *task, const rf_settings *settings, json_t *results, rf_status status,
                   const rf_error *error);
/* Rules that --text, --data and --lines keep together. */
RF_MUST_CHECK rf_status rf_task_check(const rf_settings *settings, rf_error *error);

/* One call a text, in their order: the whole input, or with --lines each line. */
typedef rf_status (*rf_task_visitor)(rf_task *task, int64_t number, const char *text, size_t size,
                                     void *user, rf_error *error);
RF_MUST_CHECK rf_status rf_task_each(rf_task *task, rf_task_visitor visit, void *user,
                                     rf_error *error);
/* Tokens of a text, which must be some, and no more than the model has positions. */
RF_MUST_CHECK rf_status rf_task_tokens(rf_task *task, const char *text, size_t size,
                                       rf_encoding *encoding, rf_error *error);
/* `count` numbers of `size` bytes, zeroed, as bytes that are released with rf_bytes_clear. */
RF_MUST_CHECK rf_status rf_task_space(rf_bytes *bytes, int64_t count, size_t size, rf_error *error);

#endif
