/* Inside the library: a model, and a runner that takes batches of one shape through it.
 *
 * A runner is planned by a dry run of the same code, then takes its memory once: two streams (or
 * with standard residuals one, and what each half residual reads of it), in
 * training two gradient streams and the gradient block, and a workspace. Nothing is allocated
 * afterwards. */
#ifndef RF_MODEL_MODEL_H
#define RF_MODEL_MODEL_H

#include "model/hf_model.h"
#include "reformer/model.h"
#include "tokenizer/files.h"

struct rf_model {
    rf_config config;
    rf_parameters parameters;
    rf_device *device; /* owned */
    float *values;     /* device block */
    rf_dtype compute;  /* of activations and products: f32 or bf16 */
    uint16_t *rounded; /* device block: the values in bf16, where products read them; else NULL */
    bool applies_head_bias;
    bool trains_head_bias;
    rf_tokenizer_files tokenizer_files; /* saved beside the weights */
    json_t *generation; /* generation_config.json as it was read, saved beside the weights; NULL:
                           there was none; owned */
    char *folder;       /* where it was loaded from, NULL for a new one; owned */
    rf_log log;
};

/* From a checked config; takes over *config (cleared in the caller). Weights are left unset. */
RF_MUST_CHECK rf_status rf_model_from_config(rf_config *config, const rf_model_options *options,
                                             rf_model **model, rf_error *error);

/* The same for making plans: a dry device, which need not be in the machine, and no weights. */
RF_MUST_CHECK rf_status rf_model_shape_from_config(rf_config *config,
                                                   const rf_model_options *options,
                                                   rf_model **model, rf_error *error);

/* Fill in model->device and what is computed in, from the options' words; rf_device_destroy
 * releases it. */
RF_MUST_CHECK rf_status rf_model_open_device(rf_model *model, const rf_model_options *options,
                                             rf_error *error);
/* To be called when the host or a copy has changed `values` (the optimizer rounds its own updates).
 */
RF_MUST_CHECK rf_status rf_model_round(rf_model *model, rf_error *error);

/* A batch on the host. Rows are sequences of one length (pad with the mask). */
typedef struct rf_batch {
    int64_t batch, length;
    const int32_t *ids;         /* [batch, length] */
    const int32_t *labels;      /* NULL: no loss. -100 = not scored.
                                   language models: [batch, length]; a causal one's position t predicts
                                   labels[t + 1], a masked one's labels[t]
                                   classifiers with one label of many: [batch]
                                   question answering: [batch, 2], positions of start and end; clipped to
                                   0 ... length, and length = not scored (as in Hugging Face's) */
    const float *values;        /* regression and multi-label classifiers, in the place of labels:
                                   [batch, labels], multi-label 0 or 1 */
    const uint8_t *mask;        /* [batch, length] or NULL */
    const int32_t *token_types; /* [batch, length], which of several texts a token is of; NULL: 0.
                                   Unused where the model has no table of them */
    const int32_t *segments; /* [batch, length] or NULL: documents that share a sequence, numbered
                                from 0, below the length. Tokens of two see nothing of each other,
                                and none predicts one of another's; positions run on. */
    const int32_t *pair_labels; /* [batch], of a model with two heads: what its classifier is
                                   scored against beside `labels`; NULL: nothing */
    float pair_weight;          /* in training: of one of these losses against one of a token */
    int64_t first_sample; /* number of row 0 within the step (micro-batch x batch), for the keys of
                             dropout */
} rf_batch;

/* What an onlooker may see or replace on the way; every member may be NULL. Tensors are in device
 * memory and valid during the call. */
typedef struct rf_hooks {
    void *user;
    /* The second stream before layer `layer` (= layers: after the last), as stored (f32 or
     * fixed32). [batch * length, hidden] */
    rf_status (*hidden)(void *user, int64_t layer, const rf_tensor *stream, rf_error *error);
    /* Both streams at the same places. streams[0] is attention's accumulator, streams[1] what
     * `hidden` sees; of a model with standard residuals the same one twice */
    rf_status (*streams)(void *user, int64_t layer, const rf_tensor streams[2], rf_error *error);
    /* Buckets of heads first_head ... of a hashing LSH layer, without round offsets; may be
     * overwritten before they are sorted. Called in the recomputation of the backward too, where it
     * must do the same. [batch, heads of the group, rounds, length] i32 */
    rf_status (*buckets)(void *user, int64_t layer, int64_t first_head, const rf_tensor *buckets,
                         rf_error *error);
    /* The plan that a head group is about to attend by, its order and masks in device memory.
     * Before `attention`, under the same rule. */
    rf_status (*plan)(void *user, int64_t layer, const rf_attention_plan *plan, rf_error *error);
    /* What attention is about to use: query [batch, length, heads of the group, head width], key
     * (absent in LSH layers), value; buckets absent where nothing was hashed. Forward passes only,
     * not the recomputation of the backward. */
    rf_status (*attention)(void *user, int64_t layer, int64_t first_head, const rf_tensor *query,
                           const rf_tensor *key, const rf_tensor *value, const rf_tensor *buckets,
                           rf_error *error);
    /* Logits. Language models: rows first_row ... of [batch * length], all positions, or
     * logits_count positions from logits_first of every sequence where logits_count > 0 (only
     * without labels): [rows, vocabulary]. Classifiers: [batch, labels], once. Question answering:
     * [2 * batch, length], once: the starts of all sequences, then the ends. */
    rf_status (*logits)(void *user, int64_t first_row, const rf_tensor *logits, rf_error *error);
    /* Of a model with two heads, whose logits are those of its language model: the classifier's
     * [batch, labels], once. */
    rf_status (*pair_logits)(void *user, int64_t first_row, const rf_tensor *logits,
                             rf_error *error);
    int64_t logits_first, logits_count;
    /* The output below the head: both streams side by side, or the only one, behind the last norm,
     * of rows first_row
     * ... [rows, width of the output] f32. In rf_runner_forward only. */
    rf_status (*output)(void *user, int64_t first_row, const rf_tensor *output, rf_error *error);
    /* nll of the same rows (0 where not scored) [rows] */
    rf_status (*nll)(void *user, int64_t first_row, const rf_tensor *nll, rf_error *error);
    /* Rotations to use instead of drawn ones: device f32 [heads, head width, rounds, columns], for
     * LSH layer `layer`; absent = draw. */
    rf_tensor (*rotations)(void *user, int64_t layer);
} rf_hooks;

typedef struct rf_slices { /* how work is cut; fixed for a run, part of its state */
    int64_t rows;  /* rows of [batch x length] at a time in norms, projections and feed-forward */
    int64_t heads; /* heads a group */
    int64_t head_rows; /* rows at a time in the LM head and loss */
} rf_slices;

typedef struct rf_runner_options {
    int64_t batch, length;
    int64_t rounds;         /* 0 = the model's */
    int64_t use_rounds;     /* the same, of rf_runner_forward; 0 = rounds */
    bool training;          /* dropout, gradients, exact length not required */
    bool gradients;         /* backward without dropout when !training (verification) */
    bool float_stream;      /* float32 streams whatever the config says */
    bool fixed_stream;      /* fixed32 streams whatever the config says */
    bool verify_reversal;   /* checksum of both streams at every layer boundary, forward against
                               backward */
    bool store_activations; /* test only: keep both streams at every boundary and use them instead
                               of the inverse (standard residuals always keep theirs) */
    bool segments;          /* batches may have segments; those that have none are of one */
    bool bf16_gradient_stream;  /* the streams' gradients in bf16 instead of f32 */
    double label_smoothing;     /* of the loss that is trained on; not of regressions */
    const float *class_weights; /* the same, of a classifier with one label of many: [labels] on the
                                   host, copied; NULL: ones */
    rf_slices slices;           /* zeros: the planner chooses */
    size_t memory_budget; /* bytes that rf_plan_on_device should stay within, by cutting the work
                             finer than `slices` say; 0: no bound */
    rf_hooks hooks;
    rf_op_times *times;   /* borrowed; NULL: not measured */
    const bool *left_out; /* [layers], borrowed, may change between passes: the attention of these
                             layers adds nothing. NULL: none. Not with gradients */
} rf_runner_options;

typedef struct rf_memory_plan { /* bytes */
    size_t parameters, rounded_parameters, gradients, streams, stream_gradients, buckets,
        batch_data, stored_activations, workspace;
    size_t host; /* of batch_data: what lies on the host whatever the device */
} rf_memory_plan;
/* Bytes of everything a runner holds, the parameters included. */
size_t rf_plan_total(const rf_memory_plan *plan);
/* Of these, what lies on the device. */
size_t rf_plan_on_device(const rf_memory_plan *plan, const rf_device *device);

typedef struct rf_runner rf_runner;

typedef struct rf_outcome {
    double nll_sum; /* nats (regression: squares), over what is scored: tokens, labels, or starts
                       and ends (these two weighted so that each half counts one half); in training
                       smoothed and weighted */
    double pair_nll_sum;               /* of a model with two heads: its classifier's, */
    int64_t pair_scored, pair_correct; /* over rows */
    int64_t scored, correct;           /* correct: not of regressions and multi-label classifiers */
    int64_t rows, whole_rows; /* of language models: sequences in which something is scored; of
                                 these, right in all of it */
    bool overflow; /* a fixed32 stream left its range: the gradients are void, nothing else was
                      changed */
    int64_t overflow_layer;
    int64_t checksum_mismatches; /* verify_reversal: layer boundaries whose streams differ */
} rf_outcome;

/* Sums of one more batch; its overflow. */
void rf_outcome_add(rf_outcome *total, const rf_outcome *part);
/* The mean over pairs; 0 where none was scored. */
double rf_outcome_pair_loss(const rf_outcome *outcome);
/* The mean over what was scored; of two heads the sum of their means. */
double rf_outcome_loss(const rf_outcome *outcome);

/* One batch through a runner of its own, without losses being read. */
RF_MUST_CHECK rf_status rf_model_evaluate(rf_model *model, const rf_batch *batch,
                                          const rf_hooks *hooks, rf_error *error);
/* Whether a batch of that shape could be run: for callers that allocate by it. */
RF_MUST_CHECK rf_status rf_model_check_batch(const rf_model *model, int64_t batch, int64_t length,
                                             rf_error *error);

/* Plan only: no memory of the model's size is taken. `model` may have values == NULL. With a memory
 * budget that cannot be met the plan is the one of the finest slices, and exceeds it. */
RF_MUST_CHECK rf_status rf_runner_plan(rf_model *model, const rf_runner_options *options,
                                       rf_memory_plan *plan, rf_slices *slices, rf_error *error);
RF_MUST_CHECK rf_status rf_runner_create(rf_model *model, const rf_runner_options *options,
                                         rf_runner **runner, rf_error *error);
void rf_runner_destroy(rf_runner *runner); /* NULL allowed */
const rf_memory_plan *rf_runner_memory(const rf_runner *runner);
rf_slices rf_runner_slices(const rf_runner *runner);

/* Evaluate: loss where labels are given, hooks. batch->batch and batch->length may be
 * smaller than planned. seed, step: of rotations (without hash_seed). */
RF_MUST_CHECK rf_status rf_runner_forward(rf_runner *runner, const rf_batch *batch, uint64_t seed,
                                          int64_t step, rf_outcome *outcome, rf_error *error);
/* Forward and backward; gradients of factor * sum of nll are added to the gradient block. factor is
 * 1 / scored tokens of the whole step. */
RF_MUST_CHECK rf_status rf_runner_train(rf_runner *runner, const rf_batch *batch, uint64_t seed,
                                        int64_t step, float factor, rf_outcome *outcome,
                                        rf_error *error);
/* The gradient block (device), laid out like the parameters; zeroed at creation and by
 * rf_runner_zero_gradients. */
float *rf_runner_gradients(rf_runner *runner);
/* The two streams as the last pass left them: at the top, or, behind a backward, what came back at
 * the bottom. [rows planned, hidden], device */
const rf_tensor *rf_runner_streams(const rf_runner *runner);
RF_MUST_CHECK rf_status rf_runner_zero_gradients(rf_runner *runner, rf_error *error);
/* Labels that are scored in a batch of a causal language model (labels[:, 1:] != -100). */
int64_t rf_batch_scored(const rf_batch *batch);
/* The same for any model: what a loss is divided by. */
int64_t rf_model_scored(const rf_model *model, const rf_batch *batch);
/* Rows that pair_labels scores. */
int64_t rf_batch_pairs(const rf_batch *batch);

#endif
