/* What a training run has to remember beside weights and moments: state.json of a checkpoint
 * (docs/training.md, "Checkpoints"). */
#ifndef RF_TRAIN_STATE_H
#define RF_TRAIN_STATE_H

#include "model/model.h"
#include "reformer/train.h"
#include "train/optimizer.h"

enum { RF_STATE_VERSION = 1, RF_STREAM_CHANGES = 8 };

/* A text that was trained or judged on: told by size and hash. */
typedef struct rf_data_identity {
    int64_t bytes;
    uint64_t hash;
} rf_data_identity;

typedef struct rf_stream_change { /* a step that left the range of the streams */
    int64_t step, layer;
    int from, to; /* fraction bits */
} rf_stream_change;

/* Losses and gradient norms of the last updates that were made, the oldest first: what a spike is
 * told by. */
enum { RF_RECENT = 64 };
typedef struct rf_recent_updates {
    int count;
    double losses[RF_RECENT], norms[RF_RECENT];
} rf_recent_updates;

typedef struct rf_train_state {
    int64_t step;    /* steps done, those that were skipped included */
    int64_t updates; /* of the optimizer: steps that were not skipped */
    int64_t windows; /* drawn so far */
    uint64_t seed;
    double last_loss;             /* nats a token; NaN: none */
    int64_t best_step;            /* -1: nothing was evaluated yet */
    double best_loss, best_value; /* of the best evaluation: its loss, and its figure of best_by */
    int64_t evaluated_step;       /* of the last evaluation, -1: none */
    int64_t worse;                /* evaluations since the best */
    int64_t skipped_in_a_row;
    int64_t scheduled_step; /* of the last checkpoint that was due, which a rollback goes back to;
                               -1: none, or no rollbacks */
    int64_t rollbacks, rollback_step, rollbacks_in_a_row; /* all; where the last ones went */
    rf_recent_updates recent;
    double seconds; /* used by the run, over all its parts */
    bool applies_head_bias, trains_head_bias;
    rf_slices slices;
    rf_optimizer_kind optimizer; /* whose state the checkpoint holds */
    rf_data_identity data, valid;
    int changes_count;
    rf_stream_change changes[RF_STREAM_CHANGES];
} rf_train_state;

/* The seed of dropout and rotations in training: the run's, after a rollback another. */
uint64_t rf_train_state_key_seed(const rf_train_state *state);
/* Before the first step. */
void rf_train_state_init(rf_train_state *state, uint64_t seed);
/* The object of state.json, `recipe` (borrowed) included. A fresh reference. */
RF_MUST_CHECK rf_status rf_train_state_to_json(const rf_train_state *state, json_t *recipe,
                                               json_t **object, rf_error *error);
/* From the object of the file `name`. */
RF_MUST_CHECK rf_status rf_train_state_from_json(const char *name, const json_t *object,
                                                 rf_train_state *state, rf_error *error);

/* The options that decide what a run computes, to compare with when it is resumed. A fresh
 * reference. */
RF_MUST_CHECK rf_status rf_recipe_to_json(const rf_train_options *options, json_t **recipe,
                                          rf_error *error);
/* One notice a difference: the resumed run goes on, but its bits are not those of an uninterrupted
 * one. */
void rf_recipe_compare(const json_t *before, json_t *now, const rf_log *log);

#endif
