/* The next token of each row of a session: drawn on the device, or, where a rule needs the text or
 * log-probabilities are wanted, on the host from scores that are fetched; the same either way. */
#ifndef RF_GENERATE_CHOOSER_H
#define RF_GENERATE_CHOOSER_H

#include "generate/draft.h"
#include "generate/session.h"

/* Start from {0}; clear after any outcome. */
typedef struct rf_chooser {
    const rf_request *request; /* borrowed */
    rf_session *session;       /* borrowed */
    bool on_host;
    float *scores;   /* [vocabulary], owned */
    int32_t *counts; /* [vocabulary], owned */
    void *scratch;   /* of the sampling operation, owned */
    uint8_t *seen;   /* [vocabulary], owned */
} rf_chooser;

/* For a session whose rows are to write the request's texts. */
RF_MUST_CHECK rf_status rf_chooser_init(rf_chooser *chooser, const rf_request *request,
                                        rf_session *session, rf_error *error);
/* Release what init took; the session stays. */
void rf_chooser_clear(rf_chooser *chooser);
/* Rows that have begun with one prompt, as tries first_try ... of it. */
typedef struct rf_chooser_rows {
    int64_t first_row, rows, first_try;
    const rf_request_prompt *prompt;
} rf_chooser_rows;
/* Their first tokens. tokens [rows], written where the device draws */
RF_MUST_CHECK rf_status rf_chooser_begin(rf_chooser *chooser, const rf_chooser_rows *begun,
                                         int32_t *tokens, rf_error *error);
/* A row has begun anew in the middle of a text, try number `of_try`, whose last token is not read
 * yet. */
RF_MUST_CHECK rf_status rf_chooser_resume(rf_chooser *chooser, int64_t row, int64_t of_try,
                                          const rf_draft *draft, rf_error *error);
/* Every row reads its token; then the scores of the rows are there, on the host too where they are
 * needed, and the tokens drawn on the device. tokens [batch] */
RF_MUST_CHECK rf_status rf_chooser_step(rf_chooser *chooser, int32_t *tokens, rf_error *error);
/* What comes after the draft, whose row has just stepped or begun, to *token (which holds it
 * already where the device has drawn), and into the draft. */
RF_MUST_CHECK rf_status rf_chooser_take(rf_chooser *chooser, int64_t row, int64_t of_try,
                                        rf_draft *draft, int32_t *token, rf_error *error);

#endif
