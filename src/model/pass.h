/* What the parts of the model share during one pass of a batch: the context of the operations, the
 * blocks of parameters and gradients, the sizes, and the keys of randomness. A half residual is a
 * function added to a stream:
 *
 *     forward    accumulator += f(context)
 *     backward   accumulator -= f(context), and the gradients of f, from accumulator_gradient, are
 * added to context_gradient and to the parameters' gradients
 *
 * with f recomputed from the context, so that nothing of it is stored (Kitaev et al. 2020, section
 * 3). Without an accumulator (NULL) the backward takes nothing back: standard.c. */
#ifndef RF_MODEL_PASS_H
#define RF_MODEL_PASS_H

#include "model/model.h"

typedef struct rf_pass {
    rf_context context;
    rf_workspace workspace; /* what context.workspace points at */
    const rf_config *config;
    const rf_parameters *parameters;
    float *values;
    rf_dtype compute; /* of activations, and of weights in products: f32 or bf16 */
    void *weights;    /* the block of values in that type: `values` itself or its rounded copy */
    float *gradients; /* NULL: no backward */
    int64_t batch, length, rows; /* rows = batch * length */
    int64_t rounds;
    rf_slices slices;
    bool dropout; /* training */
    bool fixed;   /* fixed32 streams */
    bool head_bias, head_bias_trained;
    uint64_t seed;
    int64_t step, first_sample;
    rf_tensor ids;          /* [rows] i32 */
    rf_tensor token_types;  /* [rows] i32; absent: the model has no table of them */
    rf_tensor targets;      /* i32, absent: no loss; [rows], classifiers [batch], question answering
                               [2 * batch], starts then ends */
    rf_tensor wanted;       /* [batch, labels] f32: targets that are numbers */
    rf_tensor kept;         /* [rows] f32, 1 or 0: what is pooled by the mean */
    const int64_t *places;  /* host [batch]: the position that is pooled, or how many are kept; NULL
                               on a dry device */
    double span_weights[2]; /* of the losses of starts and ends */
    double smoothing;       /* of labels, in training */
    rf_tensor class_weights; /* [labels] f32, in training; absent: ones */
    rf_tensor mask;          /* [batch, length] u8, absent: nothing is masked */
    rf_tensor segments;      /* [batch, length] i32, absent: each sequence is one */
    int64_t segment_count;   /* each is below it */
    rf_tensor overflow;      /* [half residuals + 1] i32 */
    rf_tensor rotations;     /* of hash_seed, absent: drawn by key */
    rf_tensor buckets; /* [lsh layers, batch * heads * rounds * length] i32, kept from the forward;
                          absent: hashed again */
    rf_tensor nll;     /* f32, as many as targets or wanted */
    rf_tensor prediction; /* i32, as many as targets */
    /* a classifier beside another head: */
    rf_tensor pair_targets, pair_nll, pair_prediction; /* as the three above, [batch] */
    float pair_weight;                                 /* of its losses against the others */
    bool adds_gradients; /* to what the other head has written of the streams' gradients */
    const rf_hooks *hooks;
    const bool *left_out; /* [layers] whose attention adds nothing; NULL: none */
} rf_pass;

/* Rows [first, first + count) of the batch, at most slices.rows of them: the loop of every row-wise
 * part. */
typedef struct rf_row_slice {
    int64_t first, count;
} rf_row_slice;
/* Is this a dry run that asks for memory alone, so that one of several alike parts will do? */
bool rf_pass_is_sample(const rf_pass *pass);
/* Start with {0, 0}; false when there are none left. In such a dry run only the first and the last.
 */
bool rf_row_slice_next(const rf_pass *pass, rf_row_slice *slice, int64_t rows, int64_t step);

/* A parameter's tensor in the block of values, in the block that products read, and in the block of
 * gradients. */
rf_tensor rf_pass_weight(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis);
rf_tensor rf_pass_value(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis);
rf_tensor rf_pass_gradient(const rf_pass *pass, rf_parameter_role role, int64_t layer, int axis);
rf_random_key rf_pass_key(const rf_pass *pass, rf_purpose purpose, int64_t layer);
/* Take [rows, columns] from the workspace, of the type of activations, or f32. */
RF_MUST_CHECK rf_status rf_pass_take(rf_pass *pass, const char *what, int64_t rows, int64_t columns,
                                     rf_tensor *tensor, rf_error *error);
RF_MUST_CHECK rf_status rf_pass_take_f32(rf_pass *pass, const char *what, int64_t rows,
                                         int64_t columns, rf_tensor *tensor, rf_error *error);
/* In place, with hidden_dropout_prob; nothing without dropout. x [count, width] are rows
 * slice.first ... */
RF_MUST_CHECK rf_status rf_pass_dropout(rf_pass *pass, const rf_tensor *x, rf_purpose purpose,
                                        int64_t layer, int64_t first_row, rf_error *error);
/* The gradient of a branch's output: rows of the stream's, in the type of activations and behind
 * the branch's dropout. A view of the stream's gradient where neither changes it, else in memory
 * of the workspace. Its column sums are added to bias_gradient, unless that is absent. */
RF_MUST_CHECK rf_status rf_pass_incoming(rf_pass *pass, const rf_tensor *stream_gradient,
                                         rf_row_slice slice, rf_purpose purpose, int64_t layer,
                                         rf_tensor bias_gradient, rf_tensor *incoming,
                                         rf_error *error);
/* bias_gradient [width] += column sums of x [rows, width]. */
RF_MUST_CHECK rf_status rf_pass_sum_columns(rf_pass *pass, const rf_tensor *x,
                                            rf_tensor bias_gradient, rf_error *error);
/* Is there any hidden dropout in this pass? */
bool rf_pass_drops(const rf_pass *pass);
/* The norm of a branch over rows of a stream; y [count, hidden] is left for the caller to fill. */
rf_layer_norm rf_pass_norm(const rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                           rf_parameter_role gain, int64_t layer);
/* Its backward, which adds to rows of stream_gradient and to the gradients of gain and bias; y (as
 * above, or absent) and y_gradient are left for the caller to fill. */
rf_layer_norm_backward rf_pass_norm_backward(const rf_pass *pass, const rf_tensor *stream,
                                             rf_row_slice slice, rf_parameter_role gain,
                                             int64_t layer, const rf_tensor *stream_gradient);
/* rows of stream = value, with the overflow flag of the embedding. */
RF_MUST_CHECK rf_status rf_pass_start(rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                                      const rf_tensor *value, rf_error *error);
/* rows of stream (+= | -=) dropout(value), with the overflow flag of half residual `half` (2 *
 * layer, + 1 for feed-forward); the value is left for the caller to fill. */
rf_residual rf_pass_residual(const rf_pass *pass, const rf_tensor *stream, rf_row_slice slice,
                             rf_residual_mode mode, int64_t half, rf_purpose purpose);

typedef struct rf_half_residual {
    rf_status (*forward)(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                         const rf_tensor *context, rf_error *error);
    rf_status (*backward)(rf_pass *pass, int64_t layer, const rf_tensor *accumulator,
                          const rf_tensor *context, const rf_tensor *accumulator_gradient,
                          const rf_tensor *context_gradient, rf_error *error);
} rf_half_residual;
extern const rf_half_residual rf_half_attention;
extern const rf_half_residual rf_half_feed_forward;

/* Streams are [rows, hidden], f32 or fixed32; gradients f32 or bf16. */
RF_MUST_CHECK rf_status rf_embed_forward(rf_pass *pass, const rf_tensor streams[2],
                                         rf_error *error);
RF_MUST_CHECK rf_status rf_embed_backward(rf_pass *pass, const rf_tensor gradients[2],
                                          rf_error *error);
/* ---- attention plans
 * -------------------------------------------------------------------------------------------------
 */

/* Whether a layer hashes at this length: an LSH layer whose padded length exceeds its chunk. */
bool rf_plan_hashes(const rf_config *config, int64_t layer, int64_t length);
/* The plan of a layer for heads first_head ... first_head + heads - 1; `order` is left for the
 * caller to fill. */
rf_attention_plan rf_plan_of(const rf_pass *pass, int64_t layer, int64_t first_head, int64_t heads);
/* What local and LSH layers change in the plan of a full one. */
void rf_plan_local(const rf_pass *pass, rf_attention_plan *plan);
void rf_plan_lsh(const rf_pass *pass, int64_t layer, rf_attention_plan *plan);
/* Hash into buckets [batch, heads, rounds, length] i32 (or take the kept ones), then sort into the
 * plan's order [batch, heads, rounds, slots] and, where it has one, inverse. */
RF_MUST_CHECK rf_status rf_plan_lsh_order(rf_pass *pass, int64_t layer, int64_t first_head,
                                          const rf_tensor *query, bool recomputing,
                                          const rf_tensor *buckets, const rf_attention_plan *plan,
                                          rf_error *error);
/* The rotations that hash_seed stands for: PyTorch's CPU stream. Host [heads, head width, rounds,
 * columns]. */
void rf_plan_lsh_seeded_rotations(const rf_config *config, int64_t rounds, float *rotations);

#endif
