/* What the tests of a layer's cache share: shapes, buffers of a cache, and buckets of its tokens
 * that everybody can ask for. */
#ifndef TESTS_OPS_DECODE_CASES_H
#define TESTS_OPS_DECODE_CASES_H

#include "check_op.h"

#include "oracle/decode.h"

typedef struct decode_shape {
    int64_t batch, heads, width, rounds;
    int64_t capacity, token; /* the new one, or the length of the prompt */
    int64_t chunk, before, after;
    int64_t factors[2]; /* of the buckets; the second 0: there is one. The first 0: a local layer */
    bool listed;
    int masked_one_in;  /* about so many of the earlier tokens are masked; 0: none */
    int64_t rows;       /* of a prompt: 1 or the batch */
    int64_t first_head; /* of a prompt's group, which has the heads from there on */
    int64_t first_token;
    rf_dtype dtype;   /* of a prompt */
    double spread;    /* of queries */
    int64_t lag;      /* a row's new token is so many before that of the row above it */
    unsigned options; /* of windows that come from lists, below */
} decode_shape;

enum {
    DECODE_SAME_BUCKET = 1,
    DECODE_CLIPPED = 2,
    DECODE_CORRECTED = 4,
    DECODE_EXACT = 8,
    DECODE_PAPER = 15,
    DECODE_WHOLE = 16 /* with the first two */
};

int64_t decode_buckets(const decode_shape *shape);
/* A row's new token, and whether its windows come from lists: with a lag, from a chunk on. */
int64_t decode_token(const decode_shape *shape, int64_t row);
bool decode_listed(const decode_shape *shape, int64_t row);
/* The numbers of the cache; tensors with shapes and without data. */
rf_layer_cache decode_cache(const decode_shape *shape);
/* Whether a token may be attended to, and its bucket (bucket count: masked), pure functions. */
bool decode_is_kept(const decode_shape *shape, uint64_t seed, int64_t row, int64_t token);
int64_t decode_bucket(const decode_shape *shape, uint64_t seed, int64_t list, int64_t token);
/* Row of the batch that list number `list` of [batch, heads, rounds] belongs to. */
int64_t decode_row(const decode_shape *shape, int64_t list);

/* Buffers: rows (updated or input), lists with the first tokens of the shape in them, state, kept.
 */
check_buffer decode_rows(const decode_shape *shape, check_role role);
check_buffer decode_lists(const decode_shape *shape, check_role role);
/* The buckets of tokens, [batch, heads, capacity, rounds]: as an input with that of the new one. */
check_buffer decode_token_buckets(const decode_shape *shape, check_role role);
check_buffer decode_state(const decode_shape *shape);
check_buffer decode_kept(const decode_shape *shape);
/* [batch, heads x width] */
check_buffer decode_tokens(const decode_shape *shape, const char *name, check_role role);

#endif
