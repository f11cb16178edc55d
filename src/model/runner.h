/* Inside the runner: what runner.c (memory, passes) and batch.c (batches in, scores out) share. */
#ifndef RF_MODEL_RUNNER_H
#define RF_MODEL_RUNNER_H

#include "model/head.h"
#include "model/reversible.h"

/* LSH attention may have other rounds in use, that is in rf_runner_forward. */
typedef enum rf_runner_mode { RF_RUNNER_TRAINS, RF_RUNNER_IN_USE, RF_RUNNER_MODES } rf_runner_mode;

struct rf_runner {
    rf_model *model;
    rf_runner_options options;
    rf_memory_plan plan;
    rf_device dry; /* the device while planning */
    rf_workspace persistent;
    rf_pass pass;
    rf_reversible stack;
    rf_tensor gradients; /* [block] f32 */
    int64_t rounds[RF_RUNNER_MODES];
    rf_tensor rotations[RF_RUNNER_MODES]; /* of hash_seed; [heads, head width, rounds, columns] */
    rf_tensor buckets;                    /* kept in training; else absent */
    /* of the planned batch; losses: rf_head_losses */
    rf_tensor all_ids, all_mask;                    /* [rows] */
    rf_tensor all_segments;                         /* [rows]; absent where not asked for */
    rf_tensor all_token_types;                      /* [rows]; absent without a table */
    rf_tensor all_targets, all_nll, all_prediction; /* [losses] */
    rf_tensor all_pair_targets, all_pair_nll, all_pair_prediction; /* [batch]; of two heads */
    rf_tensor all_wanted, all_kept;          /* [losses], [rows] f32; absent where not needed */
    rf_tensor loss_sum;                      /* [1] f64 */
    int32_t *host_targets, *host_prediction; /* [losses] */
    int32_t *host_pairs;                     /* [2 * batch]: pair targets, then predictions */
    float *host_kept;                        /* [rows], NULL where not needed */
    int64_t *host_places;                    /* [batch] */
    int32_t *host_overflow;                  /* [half residuals + 1] */
    int64_t *host_checksums;                 /* [2, half residuals] */
};

/* Take `count` elements of what lives for a whole pass, and add their bytes to *bytes. */
RF_MUST_CHECK rf_status rf_runner_take(rf_runner *runner, const char *what, rf_dtype dtype,
                                       int64_t count, size_t *bytes, rf_tensor *tensor,
                                       rf_error *error);

/* ---- batch_check.c ---- */

enum { RF_LABEL_IGNORED = -100 }; /* a label that is not scored */

/* RF_ERR_ARGUMENT with the place and the value of what does not fit. *segment_count: one more than
 * the largest segment. */
RF_MUST_CHECK rf_status rf_runner_check_batch(const rf_runner *runner, const rf_batch *batch,
                                              int64_t *segment_count, rf_error *error);

/* ---- batch.c ---- */

static inline bool rf_config_has_two_heads(const rf_config *config)
{
    return rf_head_of(config) == &rf_head_both;
}

/* The batch's part of the persistent memory, and of the host's. */
RF_MUST_CHECK rf_status rf_runner_take_batch(rf_runner *runner, rf_error *error);
size_t rf_runner_batch_host_size(const rf_runner *runner);
RF_MUST_CHECK rf_status rf_runner_allocate_batch(rf_runner *runner, rf_error *error);
void rf_runner_release_batch(rf_runner *runner);
/* Point the pass at the first `batch` sequences of `length` tokens of everything. */
void rf_runner_set_batch(rf_runner *runner, int64_t batch, int64_t length, bool masked,
                         bool scored);
/* Check a batch and bring it to the device. */
RF_MUST_CHECK rf_status rf_runner_load_batch(rf_runner *runner, const rf_batch *batch,
                                             rf_error *error);
/* Sums of losses and counts of what was right. */
RF_MUST_CHECK rf_status rf_runner_read_scores(rf_runner *runner, rf_outcome *outcome,
                                              rf_error *error);

#endif
