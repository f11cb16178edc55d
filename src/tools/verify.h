/* Inside `verify`: the reference file, what the hooks collect, and the rows of the report. */
#ifndef RF_TOOLS_VERIFY_H
#define RF_TOOLS_VERIFY_H

#include "io/safetensors.h"
#include "model/head.h"
#include "reformer/tools.h"

/* What kind of tensor is compared decides the limit (docs/numerics.md, "What verify allows"). */
typedef enum rf_verify_kind {
    RF_VERIFY_VALUES,   /* logits, hidden states, loss, nll: largest error, absolute */
    RF_VERIFY_GRADIENT, /* largest and rms error against the larger of its own rms and a thousandth
                           of the rms of all gradients */
    RF_VERIFY_BUCKETS,  /* share that differs, and only at near-ties */
    RF_VERIFY_TOKENS    /* greedy continuations: identical */
} rf_verify_kind;

typedef struct rf_verify_row {
    const char *name;
    rf_verify_kind kind;
    int64_t count;
    double max_error, rms_error, reference_rms; /* buckets: share that differs, largest relative
                                                   margin of one that does, 0 */
    double limit;
    bool passed;
    const char *note; /* "" = none */
} rf_verify_row;

typedef struct rf_verify_state {
    const rf_verify_options *options;
    rf_safetensors *file;
    rf_model *model;
    json_t *rows;
    bool passed;
    int64_t batch, length, rounds;
    int64_t padding; /* 1: the file's buckets count a padding bucket */
    int32_t *ids,
        *labels;   /* ids [batch, length], labels as the model's class wants them, NULL: none
                    */
    float *values; /* [batch, labels] instead, or NULL */
    uint8_t *mask; /* [batch, length] or NULL */
    bool has_gradients;
    double gradient_rms;   /* over all gradients of the file */
    double gradient_noise; /* one unit in the last place of the largest of them: a sum that cancels
                              to zero is no more exact */
    /* collected */
    float *logits;     /* [batch, length, vocabulary], when the file has logits or their tail; other
                          classes: [batch, labels], or [2, batch, length] */
    float *nll;        /* [batch, length] */
    float *row_buffer; /* [batch * length, hidden] */
    int32_t *own;    /* buckets of the layer now running, [batch, heads, rounds, length], before the
                        file's replace them */
    int64_t *given;  /* the file's, same shape, offsets taken off */
    int64_t *flips;  /* [layers]: buckets that differ; */
    double *margins; /* [layers]: the largest relative margin of one that differs */
    bool *seen;      /* [layers, heads]: compared already (the backward hashes again) */
    float *rotations;        /* host copies, [lsh layers][heads, head width, rounds, columns] */
    void **device_rotations; /* [layers], NULL where the file has none */
} rf_verify_state;

/* Add a row to the report. */
RF_MUST_CHECK rf_status rf_verify_add(rf_verify_state *state, const rf_verify_row *row,
                                      rf_error *error);
/* Compare `count` numbers with a tensor of the file: a row of kind VALUES or GRADIENT. */
RF_MUST_CHECK rf_status rf_verify_compare(rf_verify_state *state, const char *name,
                                          rf_verify_kind kind, const float *ours,
                                          const float *reference, int64_t count, rf_error *error);
/* verify_labels.c: what the loss is against, in the form that the model's class wants. */
RF_MUST_CHECK rf_status rf_verify_read_labels(rf_verify_state *state, rf_error *error);
/* [batch, columns] integers of the file (columns 1: [batch] too) as i32, released with rf_release.
 */
RF_MUST_CHECK rf_status rf_verify_read_i32(const rf_verify_state *state, const char *name,
                                           int64_t columns, int32_t **values, rf_error *error);
/* The hooks of a verification run. */
rf_hooks rf_verify_hooks(rf_verify_state *state);
/* After the run: one row a hashing layer. */
RF_MUST_CHECK rf_status rf_verify_add_buckets(rf_verify_state *state, rf_error *error);
/* The number of the K in buckets.K and rotations.K of a layer: how many LSH layers are below it. */
int64_t rf_verify_lsh_index(const rf_config *config, int64_t layer);
/* greedy_* sequences through a generation session. */
RF_MUST_CHECK rf_status rf_verify_generate(rf_verify_state *state, rf_error *error);

#endif
