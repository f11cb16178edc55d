/* Inside generation: a session's parts, shared by creation, prefill and the step of one token. */
#ifndef RF_GENERATE_SESSION_H
#define RF_GENERATE_SESSION_H

#include "generate/cache.h"
#include "generate/replay.h"
#include "model/model.h"
#include "reformer/generate.h"

/* The parameters of one layer: views of the model's block. key is absent in LSH layers. */
typedef struct rf_layer_weights {
    rf_tensor attention_gain, attention_bias, query, key, value, attention_output;
    rf_tensor feed_forward_gain, feed_forward_bias, inner_weight, inner_bias, outer_weight,
        outer_bias;
} rf_layer_weights;

/* Tensors lie on the model's device. Host copies are the device's own memory where the host can
 * read that (the CPU), else owned. */
struct rf_session {
    rf_model *model;
    int64_t batch, capacity, length;
    uint64_t seed;
    rf_layer_weights *weights; /* [layers], owned */
    rf_layer_cache *caches;    /* [layers], owned */
    rf_tensor *rotations;      /* [layers] [heads, width, rounds, columns], absent where nothing is
                                  hashed; owned */
    rf_workspace block;        /* what all these tensors lie in */
    rf_tensor state;           /* [RF_STEP_WORDS] i32 */
    rf_tensor kept;            /* [batch, capacity] u8 */
    rf_tensor report;          /* [1 + batch] i32: what the host reads after a step, namely */
    rf_tensor overflow;        /* [1] whether a stream has left its range, and */
    rf_tensor ids;             /* [batch] the tokens to append next, as drawn or uploaded */
    rf_tensor logits;          /* [batch, vocabulary] */
    rf_tensor seen;            /* [batch, vocabulary] u8 */
    rf_sample sample;          /* how tokens are drawn; rf_session_set_sampling */
    uint8_t *host_kept;        /* host copy of kept */
    float *host_logits;        /* host copy of logits */
    int32_t *host_report;      /* [1 + batch], owned */
    int32_t *host_lists;       /* [most words of lists], owned: for rf_session_attended */
    int32_t *attended;         /* [longest window], owned: what that works in */
    rf_device dry;             /* the model's device while the step is measured */
    rf_context context;
    rf_workspace workspace;
    rf_replay step, step_and_draw;
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

/* rf_session_append with a prompt that may be shared by all rows (only on an empty session). The
 * scores stay on the device: rf_session_fetch_logits brings them. */
RF_MUST_CHECK rf_status rf_session_append_prompt(rf_session *session, const rf_prompt *prompt,
                                                 rf_error *error);
RF_MUST_CHECK rf_status rf_session_fetch_logits(rf_session *session, rf_error *error);
/* How the calls below draw. seen  [vocabulary], 1 where a token stands in the context that is there
 * now; read only with a repetition penalty */
RF_MUST_CHECK rf_status rf_session_set_sampling(rf_session *session, const rf_sampling *options,
                                                const uint8_t *seen, rf_error *error);
/* Draw the next token of every row; tokens [batch], written. RF_ERR_NUMERIC if a score is not
 * finite. */
RF_MUST_CHECK rf_status rf_session_draw(rf_session *session, int32_t *tokens, rf_error *error);
/* Append the tokens drawn last, then draw again. */
RF_MUST_CHECK rf_status rf_session_advance(rf_session *session, int32_t *tokens, rf_error *error);

/* Run the prompt of an empty session through the training kernels and fill caches and logits. */
RF_MUST_CHECK rf_status rf_session_prefill(rf_session *session, const rf_prompt *prompt,
                                           rf_error *error);
/* A layer's (-1: the model's) weight as products read it; absent where there is none. */
rf_tensor rf_session_weight(const rf_model *model, rf_parameter_role role, int64_t layer);
/* Append session->ids to the rows: operations only, so that it can be recorded. */
RF_MUST_CHECK rf_status rf_session_step(rf_session *session, rf_error *error);

#endif
