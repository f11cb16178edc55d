/* What to do when a step cannot be used: streams out of range, and losses that are no numbers. */
#include "model/config_keys.h"
#include "train/trainer.h"

#include <stdio.h>

enum { FEWER_BITS = 2, MOST_SKIPPED_IN_A_ROW = 20 };

static void describe_layer(int64_t layer, char *text, size_t size)
{
    if (layer < 0) {
        (void)snprintf(text, size, "the embeddings");
    } else {
        (void)snprintf(text, size, "layer %lld", (long long)layer);
    }
}

rf_status rf_guard_coarser_stream(rf_trainer *trainer, int64_t step, int64_t layer, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    rf_config *config = &trainer->model->config;
    int from = config->fraction_bits;
    int to = from - FEWER_BITS;
    char where[48];
    char text[256];
    describe_layer(layer, where, sizeof where);
    if (to < RF_LEAST_FRACTION_BITS || state->changes_count == RF_STREAM_CHANGES) {
        return rf_error_set(
            error, RF_ERR_RANGE,
            "step %lld: the activations after %s leave the range of the fixed32 stream "
            "(below %d) with %d fraction bits, the fewest there may be; lower the "
            "learning rate, or train with float32 streams",
            (long long)step, where, 1 << (31 - from), from);
    }
    (void)snprintf(text, sizeof text,
                   "activations after %s left the range of the stream: %d fraction bits instead of "
                   "%d, the step is repeated",
                   where, to, from);
    rf_log_write(&trainer->options.log, RF_LOG_NOTICE, "step %lld: %s", (long long)step, text);
    state->changes[state->changes_count++] =
        (rf_stream_change){.step = step, .layer = layer, .from = from, .to = to};
    config->fraction_bits = to;
    return rf_recorder_event(trainer->recorder, step, "stream_fraction_bits", text, error);
}

rf_status rf_guard_not_finite(rf_trainer *trainer, double loss, double norm, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    long long step = (long long)state->step + 1;
    if (!rf_train_options_skip_nan(&trainer->options)) {
        return rf_error_set(
            error, RF_ERR_NUMERIC,
            "step %lld: the loss is %g and the gradient's norm %g; the weights are as "
            "they were before this step; lower the learning rate, clip, or skip such "
            "steps (on_nan)",
            step, loss, norm);
    }
    state->skipped_in_a_row++;
    if (state->skipped_in_a_row > MOST_SKIPPED_IN_A_ROW) {
        return rf_error_set(
            error, RF_ERR_NUMERIC,
            "step %lld: %d steps in a row had no finite loss and gradient; lower the "
            "learning rate",
            step, MOST_SKIPPED_IN_A_ROW + 1);
    }
    char text[256];
    (void)snprintf(text, sizeof text, "the loss is %g and the gradient's norm %g: step skipped",
                   loss, norm);
    rf_log_write(&trainer->options.log, RF_LOG_WARNING, "step %lld: %s", step, text);
    return rf_recorder_event(trainer->recorder, state->step + 1, "skipped", text, error);
}
