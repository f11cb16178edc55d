/* How long work looks while it runs: one line that replaces itself on a terminal, plain lines
 * elsewhere. */
#ifndef RF_CLI_PROGRESS_H
#define RF_CLI_PROGRESS_H

#include "reformer/train.h"

typedef struct rf_train_view {
    int64_t log_every; /* updates between plain lines */
    bool quiet;
} rf_train_view;

/* Where training stands: called after every update. */
void rf_train_view_show(const rf_train_view *view, const rf_train_progress *progress);
/* A sample of the model's writing, indented; on a terminal with its control bytes made visible. */
void rf_train_view_sample(const rf_train_view *view, int64_t step, const char *bytes, size_t size);
/* A figure's name in words. */
void rf_cli_figure_name(const rf_figure *figure, char *name, size_t size);
/* Part of a known whole, as a line that replaces itself on a terminal. */
void rf_cli_show_part(const char *what, int64_t done, int64_t total);

#endif
