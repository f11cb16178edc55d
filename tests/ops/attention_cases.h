/* The plans that both tests of block attention run, and the buffers that both need. */
#ifndef TESTS_OPS_ATTENTION_CASES_H
#define TESTS_OPS_ATTENTION_CASES_H

#include "check_op.h"

#include "oracle/attention.h"

typedef enum order_kind {
    ORDER_NONE,      /* as written */
    ORDER_PADDED,    /* a permutation, then empty slots */
    ORDER_SCATTERED, /* empty slots anywhere */
    ORDER_SORTED     /* by (segment, bucket, token), then empty slots */
} order_kind;

typedef enum bucket_kind {
    BUCKETS_NONE, /* the plan has none */
    BUCKETS_RANDOM,
    BUCKETS_SKEWED, /* most tokens are in one */
    BUCKETS_ONE,    /* all are */
    BUCKETS_EACH    /* each is in its own */
} bucket_kind;

typedef enum mask_kind { MASK_NONE, MASK_RANDOM, MASK_ALL_KEYS, MASK_FIRST_HALF } mask_kind;

typedef struct attention_case {
    const char *name;
    int64_t batch, heads, parts, length, slots, block, before, after, width;
    rf_wrap wrap;
    order_kind order;
    mask_kind mask;
    bool causal, last_resort, normalise;
    bool bf16;        /* everything but norms */
    bool f32_results; /* but for outputs and gradients */
    float probability;
    int64_t segments;    /* how many, at random; 0: the plan has none */
    bool documents;      /* segments stand one behind the other */
    bucket_kind buckets; /* with these the plan has same_bucket */
    bool whole, corrected, zero_rows, exact;
} attention_case;

/* For rows of the tables: the sizes of a plan, and the options of the paper's attention. */
#define SHAPE(BATCH, HEADS, PARTS, LENGTH, SLOTS, BLOCK, WIDTH)                                    \
    .batch = (BATCH), .heads = (HEADS), .parts = (PARTS), .length = (LENGTH), .slots = (SLOTS),    \
    .block = (BLOCK), .width = (WIDTH)
#define AS_THE_PAPER                                                                               \
    .last_resort = true, .normalise = true, .corrected = true, .exact = true, .zero_rows = true

enum {
    ATTENTION_WRITTEN = 50,
    ATTENTION_PAPER = 31,
    ATTENTION_FULL = 12,
    ATTENTION_CASES = 263 + ATTENTION_FULL
};

/* Hand-written: the shapes that hurt. */
extern const attention_case attention_written[ATTENTION_WRITTEN];
extern const attention_case attention_paper[ATTENTION_PAPER];
/* The last ones: full attention with masks, segments and dropout. */
extern const attention_case attention_full[ATTENTION_FULL];

/* Case `index` of ATTENTION_CASES: written by hand first, then drawn at random from the index,
 * then full attention.
 * `name` [32] is for those. */
attention_case attention_case_at(int index, char *name);
/* The type of outputs and gradients. */
rf_dtype attention_results(const attention_case *plan);

/* The first buffers of every case. ORDER, MASK, SEGMENTS, BUCKET and INVERSE are there (one
 * number) even where the plan has none. */
enum {
    ATTENTION_QUERY,
    ATTENTION_KEY,
    ATTENTION_VALUE,
    ATTENTION_SEGMENTS,
    ATTENTION_BUCKET,
    ATTENTION_ORDER,
    ATTENTION_INVERSE,
    ATTENTION_MASK,
    ATTENTION_INPUTS
};
void attention_add_inputs(check_state *check);
/* The plan with the tensors of this run, or without. */
rf_attention_plan attention_plan(const check_state *check, bool with_tensors);
rf_tensor attention_key(const check_state *check);
oracle_attention attention_oracle(const check_state *check, const rf_attention_plan *plan,
                                  double *const *values);

/* Fill the table of a test from attention_case_at. */
typedef struct attention_table {
    attention_case plans[ATTENTION_CASES];
    char names[ATTENTION_CASES][32];
    check_case cases[ATTENTION_CASES];
} attention_table;
void attention_fill_table(attention_table *table, const check_case *like);

#endif
