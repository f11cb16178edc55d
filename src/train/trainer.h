/* A training run from options to result. What lies above this folder (writing samples needs a
 * generation session) comes in through a hook; the public rf_train is in src/tools/train.c. */
#ifndef RF_TRAIN_TRAINER_H
#define RF_TRAIN_TRAINER_H

#include "base/file.h"
#include "data/sampler.h"
#include "data/text.h"
#include "train/checkpoint.h"
#include "train/judge.h"
#include "train/options.h"
#include "train/record.h"
#include "train/source.h"

typedef struct rf_sample_request {
    const uint8_t *prompt;
    size_t prompt_size;
    int64_t tokens; /* to write */
    double temperature;
    uint64_t seed;
} rf_sample_request;

typedef struct rf_trainer_hooks {
    void *user;
    /* Write with the model as it is now: `bytes` are the prompt and what follows it, released with
     * rf_release. May be NULL. */
    rf_status (*sample)(void *user, rf_model *model, const rf_sample_request *request,
                        uint8_t **bytes, size_t *size, rf_error *error);
    /* What that takes on the device at most, beside the training run; of the request only
     * prompt_size and tokens are known. The model has no blocks yet. */
    rf_status (*sample_memory)(void *user, const rf_model *model, const rf_sample_request *request,
                               size_t *bytes, rf_error *error);
} rf_trainer_hooks;

/* As rf_train. hooks may be NULL: no samples. */
RF_MUST_CHECK rf_status rf_trainer_run(const rf_train_options *options,
                                       const rf_trainer_hooks *hooks, rf_train_result *result,
                                       rf_error *error);

/* ---- shared by the files of the trainer -------------------------------------------------- */

typedef struct rf_trainer {
    rf_train_options options; /* with length filled in */
    const rf_trainer_hooks *hooks;
    rf_schedule schedule;
    char *resumed_from;  /* the checkpoint, NULL for a new run */
    rf_folder_lock lock; /* of the run's folder */
    char *freeze;        /* of the run that is resumed */
    rf_train_state state;
    json_t *recipe;   /* of this part of the run */
    rf_config config; /* until the model takes it over */
    rf_model *model;
    rf_tokenizer_files tokenizer_files; /* until the model takes them over */
    rf_tokenizer *tokenizer;
    rf_corpus corpus, valid_corpus; /* valid_corpus empty where the end of corpus is held out */
    rf_tokens train, valid;
    rf_examples examples, valid_examples; /* classifiers, question answering; else empty */
    rf_source source, valid_source;
    float *class_weights; /* [labels]; NULL: ones */
    rf_judge judge;       /* of valid_source */
    rf_runner *runner;    /* trains and evaluates */
    rf_optimizer optimizer;
    rf_recorder *recorder;
    rf_slices slices; /* zeros until they are settled by the plan of memory */
    size_t planned_bytes;
    double started;        /* clock */
    double seconds_before; /* of earlier parts of the run */
    /* since the last line of metrics */
    double step_seconds;
    int64_t step_tokens;
    double last_step_seconds;
    int64_t steps_done;                /* of this call */
    int64_t saved_step;                /* of the last checkpoint, -1: none in this call */
    int64_t read_tokens, read_padding; /* of the last update; the latter only fill rows */
    int64_t all_tokens, all_padding;   /* the same of this call */
    int64_t reversals_checked, reversal_mismatches;
    rf_train_progress progress;
    bool stop_requested, stop_now;
    bool rolled_back; /* the last update was none: the run is back at an earlier step */
} rf_trainer;

/* Everything up to the first step: check, read, plan, refuse, create. On failure the caller still
 * clears. */
RF_MUST_CHECK rf_status rf_trainer_open(rf_trainer *trainer, const rf_train_options *options,
                                        const rf_trainer_hooks *hooks, rf_error *error);
void rf_trainer_clear(rf_trainer *trainer);

/* setup_text.c: the tokenizer, which may set the model's vocabulary, and the texts as tokens. */
RF_MUST_CHECK rf_status rf_trainer_load_tokenizer(rf_trainer *trainer, rf_error *error);
RF_MUST_CHECK rf_status rf_trainer_load_text(rf_trainer *trainer, rf_error *error);

/* setup_freeze.c: what is frozen is the resumed run's (`before` is its recipe); parameters that
 * have no values yet; the log. */
RF_MUST_CHECK rf_status rf_trainer_settle_freeze(rf_trainer *trainer, const json_t *before,
                                                 rf_error *error);
RF_MUST_CHECK rf_status rf_trainer_freeze(const rf_trainer *trainer, rf_parameters *parameters,
                                          rf_error *error);
void rf_trainer_tell_frozen(const rf_trainer *trainer);
/* What samples will take on the device; 0 where there will be none. model as the hook takes it. */
RF_MUST_CHECK rf_status rf_trainer_plan_samples(const rf_trainer *trainer, const rf_model *model,
                                                size_t *bytes, rf_error *error);

/* setup_weights.c: class weights, when the examples are encoded; and what the sum of a batch's
 * losses is divided by. */
RF_MUST_CHECK rf_status rf_trainer_settle_weights(rf_trainer *trainer, rf_error *error);
double rf_trainer_scored_weight(const rf_trainer *trainer, const rf_batch *batch);

/* setup_unused.c: a notice for each option that was changed and says something that this run does
 * not have, as a mask's rate where no token is masked. */
void rf_trainer_tell_unused(const rf_trainer *trainer);

/* setup_folder.c: the run's folder. */
RF_MUST_CHECK rf_status rf_trainer_check_folder(rf_trainer *trainer, rf_error *error);
RF_MUST_CHECK rf_status rf_trainer_claim_folder(rf_trainer *trainer, rf_error *error);

/* setup_examples.c: whether the task learns from examples; reading them, which settles a
 * classifier's labels; and their tokens. */
bool rf_trainer_has_examples(const rf_trainer *trainer);
RF_MUST_CHECK rf_status rf_trainer_read_examples(rf_trainer *trainer, rf_error *error);
RF_MUST_CHECK rf_status rf_trainer_open_examples(rf_trainer *trainer, rf_error *error);

/* setup_drill.c: whether the data are made; whether that can be, which settles the vocabulary; and
 * the rows. */
bool rf_trainer_has_drill(const rf_trainer *trainer);
RF_MUST_CHECK rf_status rf_trainer_check_drill(rf_trainer *trainer, rf_error *error);
RF_MUST_CHECK rf_status rf_trainer_open_drill(rf_trainer *trainer, rf_error *error);

/* update.c: one update of the weights, repeated with coarser streams where it left their range,
 * skipped where it is not finite. Nothing is changed where it fails or trainer->stop_now is set. */
RF_MUST_CHECK rf_status rf_trainer_update(rf_trainer *trainer, rf_error *error);

/* rollback.c: loss or gradient is not finite: everything as at the last checkpoint that was due,
 * with other windows and keys from there on; trainer->rolled_back is set. RF_ERR_NUMERIC after a
 * few times in vain. */
RF_MUST_CHECK rf_status rf_trainer_rollback(rf_trainer *trainer, double loss, double norm,
                                            rf_error *error);

/* guard.c */
/* A fixed32 stream left its range in `layer` while step `step` was worked on: two fraction bits
 * less, noted in state, log and records. RF_ERR_RANGE naming the layer when fewer than 16 would be
 * left. */
RF_MUST_CHECK rf_status rf_guard_coarser_stream(rf_trainer *trainer, int64_t step, int64_t layer,
                                                rf_error *error);
/* Whether loss or norm are above spike_guard times their recent medians, which is noted; otherwise
 * they count among the recent. RF_ERR_NUMERIC where that is so too often. */
RF_MUST_CHECK rf_status rf_guard_spike(rf_trainer *trainer, double loss, double norm,
                                       bool *is_spike, rf_error *error);
/* Loss or gradient is not finite: by the policy RF_OK (skip the step) or RF_ERR_NUMERIC. */
RF_MUST_CHECK rf_status rf_guard_not_finite(rf_trainer *trainer, double loss, double norm,
                                            rf_error *error);

/* A loss in nats a token, by the bytes that these tokens stand for; NaN where that is no figure. */
double rf_trainer_bits_per_byte(const rf_trainer *trainer, const rf_tokens *tokens, double loss);
double rf_trainer_seconds(const rf_trainer *trainer);       /* of the whole run */
double rf_trainer_time_fraction(const rf_trainer *trainer); /* of the time limit, 0 without one */
/* should_stop, remembered. */
void rf_trainer_ask(rf_trainer *trainer);

#endif
