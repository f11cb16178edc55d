/* Operations of decoding: one more token for each of a few sequences. The rules for all are in
 * ops/ops.h. */
#ifndef RF_OPS_DECODE_H
#define RF_OPS_DECODE_H

#include "ops/attention.h"
#include "ops/layers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step knows of its sequences, each by itself, in device memory, so that recorded work can
 * be replayed: i32 [batch, RF_STEP_WORDS]. A step begins by counting its own token, so that before
 * the first one POSITION is that of the last token of the prompt. */
enum {
    RF_STEP_POSITION,    /* of the token of this step */
    RF_STEP_LISTED,      /* 1: LSH windows come from bucket lists; 0: they hold all tokens */
    RF_STEP_LISTED_NEXT, /* what the next step's LISTED will be */
    RF_STEP_FIRST,       /* POSITION at which draw number 0 was made; may be negative */
    RF_STEP_STREAM,      /* which stream of draws is this sequence's */
    RF_STEP_WORDS
};

/* Begins a step, for each row: position += 1; listed = listed_next; listed_next = 1 if position + 1
 * >= listed_from; kept[row, position] = 1; y[row] = table[ids[row]] + the embedding of the
 * position. The caller has checked that position + 1 is below the capacity. A negative id reads row
 * 0. */
typedef struct rf_step_begin {
    rf_tensor state; /* [batch, RF_STEP_WORDS] i32 */
    rf_tensor kept;  /* [batch, capacity] u8 */
    int64_t listed_from;
    rf_tensor ids;        /* [batch] i32, below the vocabulary */
    rf_tensor table;      /* [vocabulary, width] f32 */
    rf_position position; /* kind, axes and tables; all else is unused */
    rf_tensor y;          /* [batch, width] f32 */
} rf_step_begin;

typedef struct rf_projection {
    rf_tensor weight; /* [n, k] real, one type for all */
    rf_tensor bias;   /* optional [n] */
    rf_tensor y;      /* [rows, n] f32 */
} rf_projection;

/* What lies between two states of a stream where rows are few: layer norm, matrix products,
 * activation, and back into a stream. With z the norm's result, or its x where it has no gain:
 * y_i = activation(z weight_i^T + bias_i); with a residual the one result goes there instead. With
 * bf16 weights z is rounded to bf16; sums and all else are f32. */
typedef struct rf_step_project {
    rf_layer_norm norm; /* y is unused, no dropout; without gain only x is read, [rows, k] f32 */
    int count;
    rf_projection projections[RF_MAX_PROJECTIONS]; /* y absent with a residual */
    rf_activation activation; /* RF_ACTIVATION_LINEAR: none; the only one with a residual */
    rf_residual residual;     /* optional, with count 1: stream, overflow, mode, fraction_bits */
} rf_step_project;

/* What a layer keeps of the tokens so far. Token t stands in place t mod places. The switches at
 * the end are of windows that come from lists, and of their softmax; without any they are Hugging
 * Face's (docs/generation.md). */
typedef struct rf_layer_cache {
    rf_tensor rows;    /* [batch, heads, places, 2, width] f32: key and value */
    rf_tensor lists;   /* optional, LSH: [batch, heads, rounds, words] i32: ops/bucket_lists.h */
    rf_tensor buckets; /* [batch, heads, capacity, rounds] i32, of each token: with lists and
                          RF_DUPLICATES_CORRECTED, else absent */
    int64_t bucket_count, capacity; /* of the lists; capacity: the most tokens of a sequence */
    int64_t rounds;                 /* 1 in local layers */
    int64_t chunk, before, after;   /* the window */
    bool is_lsh;              /* keys are normalised queries, and a token itself is a last resort */
    bool same_bucket;         /* tokens of another bucket than the new one's are left out */
    bool whole_buckets;       /* no chunks: all tokens of its bucket; with the other two */
    bool is_clipped;          /* a window ends with the sorted order; else it goes round */
    rf_duplicates duplicates; /* CORRECTED: a token in N places of all rounds' windows scores log N
                                 less; the last resort does not */
    rf_rounding rounding;     /* of all windows */
} rf_layer_cache;

/* Keep a prompt's keys and values (LSH: queries, which are normalised) from first_token on.
 *   key, value  [rows, length, heads of the group, width] real, both alike; rows: the batch, or 1
 * for all alike. Of the tokens that share a place none but the last may be given. */
typedef struct rf_cache_fill {
    rf_layer_cache cache;
    rf_tensor key, value;
    int64_t first_head, first_token;
} rf_cache_fill;

/* Bucket lists, and the cache's buckets, of a prompt; what they held is gone. Tokens whose bucket
 * is bucket_count (masked) are left out of lists. buckets, order  [rows, heads of the group,
 * rounds, length] i32, as bucket_hash and bucket_sort give them; rows as above */
typedef struct rf_lists_fill {
    rf_layer_cache cache;
    rf_tensor buckets, order;
    int64_t first_head;
} rf_lists_fill;

/* Keep the step's token: its key (LSH: query) and value, and with lists its buckets.
 *   query (LSH), key (else), value  [batch, heads x width] f32 */
typedef struct rf_cache_append {
    rf_layer_cache cache;
    rf_tensor state;
    rf_tensor query, key, value;
    rf_bucket_hash hash; /* with lists: kind, rotations, rounds, factors; the rest is unused */
} rf_cache_append;

/* Attend from the step's token, which has been appended: over the tokens that docs/generation.md
 * tells, with the arithmetic of block_attention and combine_rounds.
 *   kept   [batch, capacity] u8     query, output  [batch, heads x width] f32 */
typedef struct rf_cache_attend {
    rf_layer_cache cache;
    rf_tensor state, kept, query;
    float scale; /* of scores; LSH: 1, since the keys hold it */
    rf_tensor output;
} rf_cache_attend;

/* The next token of each row: repetition penalty, temperature (0: the best), top-k, top-p, min-p,
 * in that order (Hugging Face's), then a draw with the uniform of index 0 at (seed, step = POSITION
 * - FIRST, layer = STREAM, RF_PURPOSE_SAMPLE), words of the row's state.
 *   logits  [batch, vocabulary] f32
 *   seen    optional [batch, vocabulary] u8: 1 where the token stands in the context; the drawn one
 *           is marked; needed with a penalty
 *   tokens  [batch] i32, written; -1 - i: the score of token i is not finite (the lowest such i) */
typedef struct rf_sample {
    rf_tensor logits, seen, state;
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k;
    uint64_t seed;
    rf_tensor tokens;
} rf_sample;

#ifdef __cplusplus
}
#endif
#endif
