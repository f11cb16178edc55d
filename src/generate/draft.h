/* A text in the making, as tokens: the prompt's, then the new ones with what is known of them. */
#ifndef RF_GENERATE_DRAFT_H
#define RF_GENERATE_DRAFT_H

#include "generate/request.h"

typedef struct rf_draft {
    const rf_request *request;   /* borrowed */
    int64_t prompt;              /* number of it */
    int64_t prompt_count, count; /* ids: of the prompt, and all */
    int32_t *ids;                /* [prompt_count + limit], owned */
    double *log_probabilities;   /* [limit] of new tokens, 0 where not wanted; owned */
    rf_likely_token *likeliest;  /* [limit, likeliest]; NULL where not wanted; owned */
    double log_probability;      /* the sum over new tokens */
    double score;                /* of a beam */
    rf_text_end end;
} rf_draft;

/* The prompt alone. Clear after any outcome. */
RF_MUST_CHECK rf_status rf_draft_init(rf_draft *draft, const rf_request *request, int64_t prompt,
                                      rf_error *error);
void rf_draft_clear(rf_draft *draft);
/* Become equal to a draft of the same prompt. */
void rf_draft_copy(rf_draft *to, const rf_draft *from);
int64_t rf_draft_new_tokens(const rf_draft *draft);
int64_t rf_draft_limit(const rf_draft *draft);
/* One more token. scores  [vocabulary], what the model says of that place; NULL: not wanted */
void rf_draft_add(rf_draft *draft, int32_t token, const float *scores);
/* Tell the caller of a new token, or of the text as a whole, as text number `sample`.
 * RF_ERR_CANCELLED where a callback says so. */
RF_MUST_CHECK rf_status rf_draft_tell_token(const rf_draft *draft, int64_t sample, int64_t number,
                                            rf_error *error);
RF_MUST_CHECK rf_status rf_draft_tell_end(const rf_draft *draft, int64_t sample, rf_error *error);
/* A text that is finished, all at once: tokens, bytes, end. */
RF_MUST_CHECK rf_status rf_draft_hand_out(const rf_draft *draft, int64_t sample, rf_error *error);

#endif
