/* Generation: a session keeps caches so that one new token costs the same at any context length. */
#ifndef REFORMER_GENERATE_H
#define REFORMER_GENERATE_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_session rf_session;

typedef struct rf_session_options {
    int64_t batch; /* sequences side by side, each with its own context; 0 = 1 */
    int64_t
        capacity;  /* tokens a sequence may reach, prompt included; at most rf_model_max_length */
    uint64_t seed; /* of the rotations, kept for the life of the session (not used where config.json
                      has a hash_seed) */
    rf_log log;
} rf_session_options;

/* The model is borrowed and must outlive the session. All memory of caches and steps is taken here;
 * a prompt takes that of one forward pass and gives it back. num_buckets null is resolved here, in
 * the model. Errors: RF_ERR_ARGUMENT, RF_ERR_CONFIG, RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_session_create(rf_model *model, const rf_session_options *options,
                                                 rf_session **session, rf_error *error);
RF_API void rf_session_destroy(rf_session *session); /* NULL allowed */
/* Append tokens to every sequence; on an empty session a prompt of any length runs through the
 * training kernels. ids   [batch, count] mask  [batch, count], 1 keep, 0 never attended to
 * (positions still count); NULL = all kept; only with the first append */
RF_API RF_MUST_CHECK rf_status rf_session_append(rf_session *session, const int32_t *ids,
                                                 const uint8_t *mask, int64_t count,
                                                 rf_error *error);
/* Scores of the next token of sequence `row`: [vocabulary], valid until the next append. NULL:
 * nothing was appended, or no such row. */
RF_API const float *rf_session_logits(const rf_session *session, int64_t row);
RF_API int64_t rf_session_length(const rf_session *session);
/* Which tokens the last appended token attends to in one layer, head and round (local layers: round
 * 0): writes at most `limit` token positions in window order, returns how many there are (-1: not
 * after a one-token append). For tests and inspection. */
RF_API int64_t rf_session_attended(const rf_session *session, int64_t row, int64_t layer,
                                   int64_t head, int64_t round, int64_t *tokens, int64_t limit);

typedef struct rf_sampling {
    double temperature;        /* 0 = greedy */
    int64_t top_k;             /* 0 = off */
    double top_p;              /* 1 = off */
    double min_p;              /* 0 = off */
    double repetition_penalty; /* 1 = off */
    uint64_t seed;
} rf_sampling;
RF_API void
rf_sampling_default(rf_sampling *sampling); /* temperature 1, everything else off, seed 0 */

typedef struct rf_generate_options {
    const uint8_t *prompt; /* bytes; tokenised with the model's tokenizer */
    size_t prompt_size;
    int64_t max_new_tokens;
    int64_t samples; /* 0 = 1 */
    rf_sampling sampling;
    const char *const *stop; /* stop strings; the text ends before one */
    size_t stop_count;
    rf_log log;
    /* New bytes of sample `sample`, in order; whole UTF-8 characters where whole_characters is set.
     * Non-zero stops generation. */
    int (*write)(void *user, int64_t sample, const uint8_t *bytes, size_t size);
    bool whole_characters;
    int (*should_stop)(void *user);
    void *user;
} rf_generate_options;

typedef struct rf_generate_result {
    int64_t prompt_tokens, new_tokens; /* new tokens over all samples */
    double prefill_seconds, decode_seconds;
} rf_generate_result;

/* RF_ERR_CANCELLED if a callback stopped it. An empty prompt starts from the eos token (byte
 * models: a newline). */
RF_API RF_MUST_CHECK rf_status rf_generate(rf_model *model, const rf_generate_options *options,
                                           rf_generate_result *result, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
