/* Inside generation: a session's parts, shared by creation, prefill and the step of one token. */
#ifndef RF_GENERATE_SESSION_H
#define RF_GENERATE_SESSION_H

#include "generate/cache.h"
#include "model/model.h"
#include "ops/ops.h"
#include "reformer/generate.h"

/* The parameters of one layer: views of the model's block. key is absent in LSH layers. */
typedef struct rf_layer_weights {
    rf_tensor attention_gain, attention_bias, query, key, value, attention_output;
    rf_tensor feed_forward_gain, feed_forward_bias, inner_weight, inner_bias, outer_weight,
        outer_bias;
} rf_layer_weights;

struct rf_session {
    rf_model *model;
    int64_t batch, capacity, length;
    uint64_t seed;
    rf_layer_weights *weights; /* [layers], owned */
    rf_cache *caches;          /* [layers], owned */
    rf_tensor *rotations;      /* [layers] [heads, width, rounds, columns], absent where nothing is
                                  hashed; owned, as is */
    float *rotation_values;    /* their memory */
    uint8_t *kept;             /* [batch, capacity], owned */
    float *logits;             /* [batch, vocabulary], owned */
    int32_t *step_ids;         /* [batch], owned */
    int32_t *attended;         /* [longest window], owned: what rf_session_attended works in */
    rf_device dry;             /* the model's device while the step is measured */
    rf_context context;
    rf_workspace workspace;
    bool uses_lists;  /* the next token's LSH windows come from bucket lists */
    bool used_lists;  /* the last token's did */
    bool has_stepped; /* the last append was of one token, not of a prompt */
    bool is_broken;   /* an append failed half way */
};

/* One prompt for all rows where `shared`: ids [1, count] then, else [batch, count]. mask like ids,
 * or NULL. */
typedef struct rf_prompt {
    const int32_t *ids;
    const uint8_t *mask;
    int64_t count;
    bool shared;
} rf_prompt;

/* rf_session_append with a prompt that may be shared by all rows (only on an empty session). */
RF_MUST_CHECK rf_status rf_session_append_prompt(rf_session *session, const rf_prompt *prompt,
                                                 rf_error *error);
/* Run the prompt of an empty session through the training kernels and fill caches and logits. */
RF_MUST_CHECK rf_status rf_session_prefill(rf_session *session, const rf_prompt *prompt,
                                           rf_error *error);
/* Append one token to every row. ids [batch]; NULL on a dry device. */
RF_MUST_CHECK rf_status rf_session_step(rf_session *session, const int32_t *ids, rf_error *error);
/* Buckets of `length` tokens of all heads, or of a group of heads from first_head on, in LSH layer
 * `layer`, with the session's rotations.  query [batch, length, heads, width]; buckets [batch,
 * heads, rounds, length] i32, taken from the workspace */
RF_MUST_CHECK rf_status rf_session_hash(rf_session *session, int64_t layer, int64_t first_head,
                                        const rf_tensor *query, rf_tensor *buckets,
                                        rf_error *error);

#endif
