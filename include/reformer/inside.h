/* Look inside a model: hidden states, and what a head of a layer attends to.
 *
 *     rf_attention_place place = {.layer = 1, .head = 0};
 *     rf_attention *attention = NULL;
 *     rf_attention_row row = {0};
 *     rf_model_attention(model, ids, NULL, length, &place, 1, &attention, &error);
 *     rf_attention_weights(attention, 99, &row, &error);
 *     for (int64_t i = 0; i < row.count; i++)
 *         printf("%lld %.3f\n", (long long)row.positions[i], row.weights[i]);
 *     rf_attention_row_clear(&row);
 *     rf_attention_destroy(attention);
 * Layers and heads count from 0, as in the parameter names. Memory is linear in the length. Works
 * on any device; errors as in tasks.h. docs/api.md explains the use. */
#ifndef REFORMER_INSIDE_H
#define REFORMER_INSIDE_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- hidden states ---- */

/* Number of layers, and of heads per layer. */
RF_API int64_t rf_model_layers(const rf_model *model);
RF_API int64_t rf_model_heads(const rf_model *model);

/* Which of the two reversible streams (Kitaev et al. 2020, section 3). Each layer adds its
 * attention to the first, then its feed-forward to the second; Hugging Face's hidden_states are the
 * second. A model with standard residuals has one stream, whichever is chosen. */
typedef enum rf_stream_choice {
    RF_STREAM_SECOND,
    RF_STREAM_FIRST,
    RF_STREAM_BOTH, /* side by side, first then second: twice the width */
    RF_STREAM_MEAN
} rf_stream_choice;
/* Width of a state: the hidden width, or twice that for RF_STREAM_BOTH of two streams. */
RF_API int64_t rf_model_state_width(const rf_model *model, rf_stream_choice streams);
typedef struct rf_state_choice {
    const int64_t *depths; /* [count], in any order: 0 for the embeddings (both streams are equal),
                              K for the output of K layers */
    int64_t count;
    rf_stream_choice streams;
} rf_state_choice;
/* Hidden states of every token at several depths, in one pass. ids and mask [batch, length] as in
 * tasks.h; states [count, batch, length, width], written. A padded position gets the state that the
 * model computes there. */
RF_API RF_MUST_CHECK rf_status rf_model_hidden_states(rf_model *model, const int32_t *ids,
                                                      const uint8_t *mask, int64_t batch,
                                                      int64_t length, const rf_state_choice *choice,
                                                      float *states, rf_error *error);
/* Rows of the token embedding table, without positions: vectors [count, hidden], written. ids
 * [count], each in [0, vocabulary). */
RF_API RF_MUST_CHECK rf_status rf_model_token_vectors(const rf_model *model, const int32_t *ids,
                                                      int64_t count, float *vectors,
                                                      rf_error *error);

/* ---- attention ---- */

typedef struct rf_attention_place {
    int64_t layer, head;
} rf_attention_place;

/* The inputs of one head's attention on one sequence: queries, keys, values, and the order of the
 * tokens. Weights are computed from them row by row. */
typedef struct rf_attention rf_attention;

/* Run ids [length] (mask [length], or NULL) through the model once and keep attentions [count] for
 * places [count]. The caller destroys each; all are NULL after a failure. */
RF_API RF_MUST_CHECK rf_status rf_model_attention(rf_model *model, const int32_t *ids,
                                                  const uint8_t *mask, int64_t length,
                                                  const rf_attention_place *places, int64_t count,
                                                  rf_attention **attentions, rf_error *error);
RF_API void rf_attention_destroy(rf_attention *attention); /* NULL allowed */

/* The order of the tokens. In every round they are sorted by (bucket, position) into slots, and the
 * slots are cut into chunks: slot s is in chunk s / chunk. A query sees the tokens of its own
 * chunk, of `before` chunks before it and `after` chunks after it, as far as causality and the mask
 * allow. Where keys are made from queries (LSH and full_shared layers) it sees itself only if it
 * sees nothing else. A full layer has one chunk. */
typedef struct rf_attention_info {
    rf_attention_place place;
    const char *kind; /* "local", "lsh", "full" or "full_shared" */
    int64_t length, width;
    int64_t rounds;  /* hash rounds; 1 where nothing is hashed */
    int64_t buckets; /* all bucket numbers are below this; 0: nothing is hashed */
    int64_t slots;   /* per round; a multiple of chunk, at least length */
    int64_t chunk, before, after;
    /* Which chunk precedes the first: "none"; "round", the last of the same round; "rounds", the
     * last of the round before (for the first round, of the last). */
    const char *wrap;
    bool causal;
    bool same_bucket;   /* among its chunks' tokens, only those of the query's bucket */
    bool whole_buckets; /* no chunks (one with all slots): all tokens of its bucket */
} rf_attention_info;
RF_API rf_attention_info rf_attention_describe(const rf_attention *attention);
/* Of a round: the bucket of each token [length], and the token in each slot [slots], -1 for none.
 * NULL where nothing is hashed; the order is then that of the text. Owned by the attention. */
RF_API const int32_t *rf_attention_buckets(const rf_attention *attention, int64_t round);
RF_API const int32_t *rf_attention_order(const rf_attention *attention, int64_t round);
/* Vectors [length, width], owned by the attention. Keys are NULL where a key is its token's query q
 * times 1 / sqrt(mean(q^2) + 1e-6) / sqrt(width). */
RF_API const float *rf_attention_queries(const rf_attention *attention);
RF_API const float *rf_attention_keys(const rf_attention *attention);
RF_API const float *rf_attention_values(const rf_attention *attention);

/* What one token attends to: the positions that it sees, in ascending order, once each. A weight is
 * the sum over all rounds (and over a chunk that is seen twice); rounds are merged by their
 * log-normalisers, as in the model. Weights sum to 1, with two exceptions due to Hugging Face's
 * rounding, which the model reproduces (docs/numerics.md, "Attention of a row that sees only
 * itself"): in an LSH layer the row of a token that sees only itself sums to 1 within 5e-3; in a
 * local layer a token that sees only masked ones gives each place of its window the weight 1. Under
 * the paper's semantics all rows sum to 1, except the empty row of a token that sees none. */
typedef struct rf_attention_row {
    int64_t count, rounds;
    int64_t *positions; /* [count] */
    double *weights;    /* [count] */
    double *parts;      /* [count, rounds]: the part of each weight that comes from each round */
    double *shares;     /* [rounds]: the total weight of each round, including `lost` */
    double lost;        /* weight on slots without a token; above 0 only if every key is masked */
    float log_norm;     /* over all rounds */
} rf_attention_row;
/* Compute the row of position `query`. The caller clears *row with rf_attention_row_clear.
 * RF_ERR_ARGUMENT for a position that does not exist. */
RF_API RF_MUST_CHECK rf_status rf_attention_weights(const rf_attention *attention, int64_t query,
                                                    rf_attention_row *row, rf_error *error);
RF_API void rf_attention_row_clear(rf_attention_row *row);

/* rf_model_nll with the attention of some layers removed, to see whether it matters. A layer with
 * left_out [layers] true adds only its feed-forward, as if its output projection were zero. nll
 * [batch, length - 1], written. */
RF_API RF_MUST_CHECK rf_status rf_model_nll_without(rf_model *model, const int32_t *ids,
                                                    const uint8_t *mask, int64_t batch,
                                                    int64_t length, const bool *left_out,
                                                    float *nll, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
