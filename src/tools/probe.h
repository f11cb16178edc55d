/* Inside `probe`: the figures of one head (probe_head.c) and how they are told (probe_report.c). */
#ifndef RF_TOOLS_PROBE_H
#define RF_TOOLS_PROBE_H

#include "io/json.h"
#include "model/attention_weights.h"
#include "reformer/probe.h"

enum {
    RF_PROBE_MOST_ROUNDS = 64,
    RF_PROBE_MOST_QUERIES = 1024,
    RF_PROBE_NEAREST = 2,
    RF_PROBE_LOADS = 42 /* classes of loads: 0, 1, 2 to 3, 4 to 7, ... */
};
extern const int rf_probe_nearest[RF_PROBE_NEAREST]; /* 32 and 64 keys */

/* Sums over sampled queries and hashed rounds, of a head, or of several. */
typedef struct rf_probe_sums {
    int64_t parts;           /* rounds of the layer */
    int64_t queries, hashed; /* hashed: those of layers that hash */
    double captured, keys, nearest[RF_PROBE_NEAREST];
    double error_square, exact_square; /* of the outputs' differences, and of the exact outputs */
    int64_t paired;                    /* queries that have two rounds or more */
    double overlap;                    /* over these */
    double by_rounds[RF_PROBE_MOST_ROUNDS]; /* captured by the first i + 1 rounds, over `hashed` */
    int64_t rounds;                         /* whose buckets were counted */
    int64_t buckets, tokens;                /* summed over these */
    int64_t largest, empty;                 /* the largest load of all; empty buckets, summed */
    double entropy, entropy_most;           /* bits, summed */
    int64_t load_buckets[RF_PROBE_LOADS], load_tokens[RF_PROBE_LOADS];
} rf_probe_sums;

/* Sums of one more head, or query. */
void rf_probe_add(rf_probe_sums *to, const rf_probe_sums *from);

/* ---- probe_head.c ---- */

/* What the figures of a head are worked out in; memory in proportion to the length. */
typedef struct rf_probe_bench {
    rf_device *device; /* a CPU, owned */
    const rf_config *config;
    uint64_t seed;
    int64_t most_rounds, length, width;
    int64_t count;                   /* of queries */
    float *keys;                     /* [length, width] */
    float *picked;                   /* [count, width] queries */
    float *scores;                   /* [count, length], then what exact attention weighs */
    float *outputs;                  /* [count, width] exact */
    struct rf_probe_result *results; /* [count] */
} rf_probe_bench;

/* seed, most_rounds, length and count are set by then. Close after any outcome. */
RF_MUST_CHECK rf_status rf_probe_bench_open(rf_probe_bench *bench, const rf_model *model,
                                            int threads, rf_error *error);
void rf_probe_bench_close(rf_probe_bench *bench);
/* Add the figures of queries [count] and of all buckets of a head, which is hashed again on the
 * way. */
RF_MUST_CHECK rf_status rf_probe_head(rf_probe_bench *bench, rf_attention *attention,
                                      const int64_t *queries, rf_probe_sums *sums, rf_error *error);

/* ---- probe_report.c ---- */

/* The loss with the attention of some layers left out. */
typedef struct rf_probe_loss {
    const char *what; /* "layer", the name of a kind, or "all" */
    int64_t layer;    /* of "layer" */
    bool *left_out;   /* [layers], owned by the list */
    double loss;
} rf_probe_loss;

typedef struct rf_probe_results {
    const rf_probe_options *options; /* with every preset filled in */
    const rf_model *model;
    int64_t length, windows;
    const rf_probe_sums *heads; /* [layers, heads] */
    bool has_loss;
    int64_t scored; /* tokens */
    double loss;
    const rf_probe_loss *losses; /* [loss_count] */
    int64_t loss_count;
} rf_probe_results;

/* The report of reformer/probe.h; the caller's. */
RF_MUST_CHECK rf_status rf_probe_tell(const rf_probe_results *results, json_t **report,
                                      rf_error *error);
/* Pictures of it, and probe.json, in options->output. */
RF_MUST_CHECK rf_status rf_probe_draw(const rf_probe_options *options, const json_t *report,
                                      rf_error *error);

#endif
