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

/* What the host knows of a sequence. */
typedef struct rf_session_row {
    int64_t length;
    bool uses_lists;  /* the next token's LSH windows come from bucket lists */
    bool used_lists;  /* the last token's did */
    bool has_stepped; /* the last append was of one token, not of a prompt */
} rf_session_row;

/* Tensors lie on the model's device. Host copies are the device's own memory where the host can
 * read that (the CPU), else owned. */
struct rf_session {
    rf_model *model;
    int64_t batch, capacity;
    uint64_t seed;
    rf_session_row *rows;      /* [batch], owned */
    rf_layer_weights *weights; /* [layers], owned */
    rf_layer_cache *caches;    /* [layers], owned */
    rf_tensor *rotations;      /* [layers] [heads, width, rounds, columns], absent where nothing is
                                  hashed; owned */
    rf_workspace block;        /* what all these tensors lie in */
    rf_workspace spare;        /* the largest row of a cache: rf_session_reorder */
    rf_tensor state;           /* [batch, RF_STEP_WORDS] i32 */
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
    int64_t listed_from; /* rf_cache_listed_from */
    bool is_broken;      /* an append failed half way */
};

/* A prompt of rows first_row ... first_row + rows of a session: one for all of them where `shared`
 * (ids [1, count]), else ids [rows, count]. mask like ids, or NULL. */
typedef struct rf_prompt {
    const int32_t *ids;
    const uint8_t *mask;
    int64_t count;
    int64_t first_row, rows;
    bool shared;
} rf_prompt;

/* Begin rows with a prompt; what they held before is forgotten, the others stay as they are. Draws
 * of a row then count from 0 in the stream of its number. The scores stay on the device:
 * rf_session_fetch_logits brings them. */
RF_MUST_CHECK rf_status rf_session_start(rf_session *session, const rf_prompt *prompt,
                                         rf_error *error);
RF_MUST_CHECK rf_status rf_session_fetch_logits(rf_session *session, rf_error *error);
/* How the calls below draw. */
RF_MUST_CHECK rf_status rf_session_set_sampling(rf_session *session, const rf_sampling *options,
                                                rf_error *error);
/* What a row has seen: [vocabulary], 1 where a token stands in its context. Read only with a
 * repetition penalty; draws keep it up to date. */
RF_MUST_CHECK rf_status rf_session_set_seen(rf_session *session, int64_t row, const uint8_t *seen,
                                            rf_error *error);
/* The next draw of a row is number `number` of `stream`. */
RF_MUST_CHECK rf_status rf_session_set_stream(rf_session *session, int64_t row, int64_t stream,
                                              int64_t number, rf_error *error);
/* Draw the next token of `rows` rows; tokens [rows], written. RF_ERR_NUMERIC if a score is not
 * finite. */
RF_MUST_CHECK rf_status rf_session_draw(rf_session *session, int64_t first_row, int64_t rows,
                                        int32_t *tokens, rf_error *error);
/* Append to every row the token drawn last, then draw again; tokens [batch]. */
RF_MUST_CHECK rf_status rf_session_advance(rf_session *session, int32_t *tokens, rf_error *error);
/* Row i becomes what row sources[i] was: caches, mask and length; scores and draws stay. sources
 * [batch]. The first `alike` tokens are the same in all rows, and are not copied. Takes, once,
 * the memory of the largest cache of one row in one layer. */
RF_MUST_CHECK rf_status rf_session_reorder(rf_session *session, const int32_t *sources,
                                           int64_t alike, rf_error *error);

/* What generation takes on the device at most, beside the model: a session of one sequence of
 * `capacity` tokens that begins with a prompt of `prompt`, the first pass included; on the CPU the
 * host's part too. The model's blocks need not exist. */
RF_MUST_CHECK rf_status rf_session_plan(const rf_model *model, int64_t prompt, int64_t capacity,
                                        size_t *bytes, rf_error *error);
/* Of that, what a pass over the first `count` tokens takes for its time. */
RF_MUST_CHECK rf_status rf_session_plan_text(rf_session *session, int64_t count, size_t *bytes,
                                             rf_error *error);
/* Run a checked prompt through the training kernels and fill caches and logits of its rows. */
RF_MUST_CHECK rf_status rf_session_prefill(rf_session *session, const rf_prompt *prompt,
                                           rf_error *error);
/* A layer's (-1: the model's) weight as products read it; absent where there is none. */
rf_tensor rf_session_weight(const rf_model *model, rf_parameter_role role, int64_t layer);
/* Append session->ids to the rows: operations only, so that it can be recorded. */
RF_MUST_CHECK rf_status rf_session_step(rf_session *session, rf_error *error);

#endif
