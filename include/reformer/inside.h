/* What goes on inside a model: hidden states, and what a head of a layer attends to.
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
 *
 * Layers and heads are counted from 0, as in the names of the parameters. Memory grows with the
 * length, never with its square. On any device; errors as in tasks.h. */
#ifndef REFORMER_INSIDE_H
#define REFORMER_INSIDE_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- hidden states ---- */

/* Layers, and heads of each. */
RF_API int64_t rf_model_layers(const rf_model *model);
RF_API int64_t rf_model_heads(const rf_model *model);

/* Which of the two reversible streams. Hugging Face's hidden_states are the second: each layer adds
 * its attention to the first, then its feed-forward to the second. A model with standard residuals
 * has one stream, which is all of these. */
typedef enum rf_stream_choice {
    RF_STREAM_SECOND,
    RF_STREAM_FIRST,
    RF_STREAM_BOTH, /* side by side, first then second: twice the width */
    RF_STREAM_MEAN
} rf_stream_choice;
/* Numbers in a state: the hidden width, or twice that for both of two. */
RF_API int64_t rf_model_state_width(const rf_model *model, rf_stream_choice streams);
typedef struct rf_state_choice {
    const int64_t *depths; /* [count], in any order: 0 the embeddings (where both streams are
                              alike), K what K layers have left */
    int64_t count;
    rf_stream_choice streams;
} rf_state_choice;
/* States of every token at several depths, in one pass. ids and mask [batch, length] as in tasks.h;
 * states [count, batch, length, width], the caller's, written. A padded position has the state that
 * the model computes there. */
RF_API RF_MUST_CHECK rf_status rf_model_hidden_states(rf_model *model, const int32_t *ids,
                                                      const uint8_t *mask, int64_t batch,
                                                      int64_t length, const rf_state_choice *choice,
                                                      float *states, rf_error *error);
/* Rows of the table of token embeddings, before positions are added: vectors [count, hidden], the
 * caller's, written. ids [count], each in [0, vocabulary). */
RF_API RF_MUST_CHECK rf_status rf_model_token_vectors(const rf_model *model, const int32_t *ids,
                                                      int64_t count, float *vectors,
                                                      rf_error *error);

/* ---- attention ---- */

typedef struct rf_attention_place {
    int64_t layer, head;
} rf_attention_place;

/* What one head of one layer computed with, of one sequence: its queries, keys, values, and who
 * stands beside whom. Weights are worked out of it row by row. */
typedef struct rf_attention rf_attention;

/* One pass over ids [length] (mask [length], or NULL), from which attentions [count] of the places
 * [count] are kept. Each is destroyed by the caller; all are NULL after a failure. */
RF_API RF_MUST_CHECK rf_status rf_model_attention(rf_model *model, const int32_t *ids,
                                                  const uint8_t *mask, int64_t length,
                                                  const rf_attention_place *places, int64_t count,
                                                  rf_attention **attentions, rf_error *error);
RF_API void rf_attention_destroy(rf_attention *attention); /* NULL allowed */

/* How the tokens stand. In every round they are sorted by (bucket, position) into slots, and the
 * slots are cut into chunks: slot s is in chunk s / chunk. Each query attends to its own chunk,
 * `before` chunks before and `after` chunks after it, and among their tokens to those that
 * causality and the mask allow; where keys are made of queries (LSH and full_shared layers) to
 * itself only as a last resort. A full layer has one chunk. */
typedef struct rf_attention_info {
    rf_attention_place place;
    const char *kind; /* "local", "lsh", "full" or "full_shared" */
    int64_t length, width;
    int64_t rounds;  /* of hashing; 1 where nothing is hashed */
    int64_t buckets; /* every bucket is below this; 0: nothing is hashed */
    int64_t slots;   /* of a round; a multiple of chunk, at least length */
    int64_t chunk, before, after;
    const char *wrap; /* which chunk comes before the first: "none", "round": the last of the same
                         round, "rounds": the last of the round before, of all for the first */
    bool causal;
    bool same_bucket;   /* only tokens of the query's bucket, of those in its chunks */
    bool whole_buckets; /* no chunks (one of all slots): all tokens of its bucket */
} rf_attention_info;
RF_API rf_attention_info rf_attention_describe(const rf_attention *attention);
/* Buckets of a round [length], and its order [slots]: the token of each slot, -1 for none. NULL
 * where nothing is hashed: the order is then that of the text. The attention's own memory. */
RF_API const int32_t *rf_attention_buckets(const rf_attention *attention, int64_t round);
RF_API const int32_t *rf_attention_order(const rf_attention *attention, int64_t round);
/* [length, width], the attention's own; keys are NULL where a key is its token's query q
 * times 1 / sqrt(mean(q^2) + 1e-6) / sqrt(width). */
RF_API const float *rf_attention_queries(const rf_attention *attention);
RF_API const float *rf_attention_keys(const rf_attention *attention);
RF_API const float *rf_attention_values(const rf_attention *attention);

/* What one token attends to: the positions that its chunks hold and nothing forbids, in ascending
 * order, once each. A weight is the sum over all rounds (and over a chunk that is seen twice); the
 * rounds are merged by their log-normalisers as the model does it. Weights sum to 1, but for what
 * Hugging Face's rounding makes of two kinds of rows, and so the model too: in an LSH layer a token
 * that sees itself alone has a sum within 5e-3 of 1; in a local layer a token that sees masked ones
 * alone gives each place of its window the weight 1 (docs/numerics.md). Under the paper's semantics
 * all sum to 1, but for an empty row: of a token that sees none. */
typedef struct rf_attention_row {
    int64_t count, rounds;
    int64_t *positions; /* [count] */
    double *weights;    /* [count] */
    double *parts;      /* [count, rounds]: how much of each weight came from each round */
    double *shares;     /* [rounds]: the weight of each round, `lost` included */
    double lost;        /* on slots without a token; above 0 only where every key is masked */
    float log_norm;     /* over all rounds */
} rf_attention_row;
/* The row of position `query`. Clear in the end. */
RF_API RF_MUST_CHECK rf_status rf_attention_weights(const rf_attention *attention, int64_t query,
                                                    rf_attention_row *row, rf_error *error);
RF_API void rf_attention_row_clear(rf_attention_row *row);

/* rf_model_nll without the attention of some layers, to see whether it matters: where left_out
 * [layers] is true a layer adds its feed-forward alone, as if its output projection were zero. */
RF_API RF_MUST_CHECK rf_status rf_model_nll_without(rf_model *model, const int32_t *ids,
                                                    const uint8_t *mask, int64_t batch,
                                                    int64_t length, const bool *left_out,
                                                    float *nll, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
