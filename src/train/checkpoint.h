/* Checkpoints: OUTPUT/checkpoints/step-N holds a model directory, optimizer.safetensors and
 * state.json. A checkpoint is written under another name and renamed when it is whole and on the
 * disk, so that whatever has the name step-N can be loaded. */
#ifndef RF_TRAIN_CHECKPOINT_H
#define RF_TRAIN_CHECKPOINT_H

#include "train/optimizer.h"
#include "train/state.h"

/* What of a run a checkpoint is made from; all borrowed. */
typedef struct rf_checkpoint {
    const rf_model *model;
    rf_optimizer *optimizer;
    const rf_train_state *state;
    json_t *recipe;
} rf_checkpoint;

/* Save as OUTPUT/checkpoints/step-N, then delete the oldest beyond `keep`, but not the last one
 * that was due (state->scheduled_step). On failure the earlier ones are untouched. */
RF_MUST_CHECK rf_status rf_checkpoint_save(const char *output, const rf_checkpoint *checkpoint,
                                           int64_t keep, rf_error *error);
/* Save as OUTPUT/checkpoints/milestone-N, which is never deleted. */
RF_MUST_CHECK rf_status rf_checkpoint_save_milestone(const char *output,
                                                     const rf_checkpoint *checkpoint,
                                                     rf_error *error);
/* Write state.json of a checkpoint again. */
RF_MUST_CHECK rf_status rf_checkpoint_save_state(const char *path, const rf_checkpoint *checkpoint,
                                                 rf_error *error);
/* Delete the checkpoints of steps after `step`. */
RF_MUST_CHECK rf_status rf_checkpoint_remove_after(const char *output, int64_t step,
                                                   rf_error *error);
/* The complete checkpoint of the highest step, *path NULL if there is none; path is released with
 * rf_release. */
RF_MUST_CHECK rf_status rf_checkpoint_find(const char *output, char **path, rf_error *error);
/* state.json of a checkpoint. recipe: a fresh reference to the recipe it was made with. */
RF_MUST_CHECK rf_status rf_checkpoint_load_state(const char *path, rf_train_state *state,
                                                 json_t **recipe, rf_error *error);
/* The optimizer's state. Missing, surplus and misshapen tensors, and numbers that are not finite,
 * are RF_ERR_FORMAT by name; the state is void then. */
RF_MUST_CHECK rf_status rf_checkpoint_load_moments(const char *path, rf_optimizer *optimizer,
                                                   rf_error *error);
/* Whether FOLDER/name is there. */
RF_MUST_CHECK rf_status rf_folder_holds(const char *folder, const char *name, bool *holds,
                                        rf_error *error);
/* Remove what an interrupted save left: unfinished checkpoints and temporary files of the run's
 * folder. */
RF_MUST_CHECK rf_status rf_checkpoint_clean(const char *output, rf_error *error);

#endif
