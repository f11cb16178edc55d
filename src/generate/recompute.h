/* Generation without caches: every new token runs its whole text through the model again. For
 * models whose LSH layers have options of the paper's (docs/generation.md): which pairs there are,
 * and how often each is met, then depends on all tokens' buckets in all rounds, which caches do not
 * keep. */
#ifndef RF_GENERATE_RECOMPUTE_H
#define RF_GENERATE_RECOMPUTE_H

#include "generate/session.h"

/* Must a session of this model do so? */
bool rf_recompute_is_needed(const rf_config *config);
/* The texts of a prompt's rows, which have been run. */
RF_MUST_CHECK rf_status rf_recompute_begin(rf_session *session, const rf_prompt *prompt,
                                           rf_error *error);
/* Append session->ids to the rows and run each; then draw where `draws`. */
RF_MUST_CHECK rf_status rf_recompute_step(rf_session *session, bool draws, rf_error *error);

#endif
