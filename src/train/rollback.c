/* What a run does about an update that is not a number where it may go back: weights, moments and
 * counters as they were at the last checkpoint that was due (not one that an interruption left, so
 * that an interrupted run goes back as far as one in a piece), but with the windows that were drawn
 * since left behind and with other keys for dropout and rotations, so that the same failure does
 * not come again. */
#include "base/memory.h"
#include "train/trainer.h"

#include <stdio.h>

enum { MOST_FROM_ONE_CHECKPOINT = 3 };

uint64_t rf_train_state_key_seed(const rf_train_state *state)
{
    const uint64_t odd = UINT64_C(0x9E3779B97F4A7C15); /* 2^64 over the golden ratio */
    return state->seed ^ (odd * (uint64_t)state->rollbacks);
}

static rf_status load_weights(rf_trainer *trainer, const char *path, rf_error *error)
{
    rf_model *model = trainer->model;
    rf_head_bias bias = model->applies_head_bias ? RF_HEAD_BIAS_ON : RF_HEAD_BIAS_OFF;
    size_t size = (size_t)model->parameters.block_count * sizeof(float);
    void *copy = NULL;
    RF_TRY(rf_allocate_zeroed(size, "a copy of the weights", &copy, error));
    rf_status status =
        rf_hf_model_load(path, &model->config, &model->parameters, bias, &trainer->options.log,
                         copy, &model->applies_head_bias, error);
    if (status == RF_OK) {
        status = rf_device_upload(model->device, model->values, copy, size, error);
    }
    rf_release(copy);
    return status == RF_OK ? rf_model_round(model, error) : status;
}

/* Fraction bits that fell after step `step` are taken back. */
static void take_back_changes(rf_trainer *trainer, int64_t step)
{
    rf_train_state *state = &trainer->state;
    while (state->changes_count > 0 && state->changes[state->changes_count - 1].step > step) {
        state->changes_count--;
        trainer->model->config.fraction_bits = state->changes[state->changes_count].from;
    }
}

/* The counters of the checkpoint; what was judged by then, and what was drawn since, stay. */
static void take_back_state(rf_trainer *trainer, const rf_train_state *before)
{
    const rf_train_options *options = &trainer->options;
    rf_train_state *state = &trainer->state;
    take_back_changes(trainer, before->step);
    state->rollbacks_in_a_row =
        state->rollback_step == before->step ? state->rollbacks_in_a_row + 1 : 1;
    state->rollback_step = before->step;
    state->rollbacks++;
    state->windows += options->accumulate * options->batch;
    state->step = before->step;
    state->updates = before->updates;
    state->last_loss = before->last_loss;
    state->skipped_in_a_row = before->skipped_in_a_row;
    state->recent = before->recent;
    state->seconds = rf_trainer_seconds(trainer);
    trainer->saved_step = before->step;
    trainer->rolled_back = true;
}

/* The checkpoint is as before but for state.json, and is the last one again. */
static rf_status keep_state(rf_trainer *trainer, const char *path, rf_error *error)
{
    const rf_checkpoint checkpoint = {.model = trainer->model,
                                      .optimizer = &trainer->optimizer,
                                      .state = &trainer->state,
                                      .recipe = trainer->recipe};
    RF_TRY(rf_checkpoint_remove_after(trainer->options.output, trainer->state.step, error));
    return rf_checkpoint_save_state(path, &checkpoint, error);
}

static rf_status go_back(rf_trainer *trainer, const char *path, rf_error *error)
{
    rf_train_state before;
    json_t *recipe = NULL;
    rf_status status = rf_checkpoint_load_state(path, &before, &recipe, error);
    json_decref(recipe);
    RF_TRY(status);
    RF_TRY(load_weights(trainer, path, error));
    RF_TRY(rf_checkpoint_load_moments(path, &trainer->optimizer, error));
    take_back_state(trainer, &before);
    return keep_state(trainer, path, error);
}

rf_status rf_trainer_rollback(rf_trainer *trainer, double loss, double norm, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    const int64_t to = state->scheduled_step;
    const long long step = (long long)state->step + 1;
    char text[300];
    char *path = NULL;
    if (state->rollback_step == to && state->rollbacks_in_a_row == MOST_FROM_ONE_CHECKPOINT) {
        return rf_error_set(error, RF_ERR_NUMERIC,
                            "step %lld: the loss is %g and the gradient's norm %g, after going "
                            "back to step %lld %d times; lower the learning rate, or clip",
                            step, loss, norm, (long long)to, MOST_FROM_ONE_CHECKPOINT);
    }
    RF_TRY(rf_string_format(&path, error, "%s/checkpoints/step-%lld", trainer->options.output,
                            (long long)to));
    rf_status status = go_back(trainer, path, error);
    rf_release(path);
    if (status != RF_OK) {
        rf_error_prefix(error, "step %lld cannot be taken back", step);
        return status;
    }
    (void)snprintf(text, sizeof text,
                   "step %lld: the loss is %g and the gradient's norm %g: back to step %lld, on "
                   "with other windows, dropout and rotations",
                   step, loss, norm, (long long)to);
    rf_log_write(&trainer->options.log, RF_LOG_WARNING, "%s", text);
    RF_TRY(rf_recorder_rewind(trainer->recorder, to, state->evaluated_step, error));
    return rf_recorder_event(trainer->recorder, to, "rollback", text, error);
}
