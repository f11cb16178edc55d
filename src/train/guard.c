/* What to do when a step cannot be used: streams out of range, losses that are no numbers, and
 * spikes. */
#include "model/config_keys.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

enum { FEWER_BITS = 2, MOST_SKIPPED_IN_A_ROW = 20, LEAST_RECENT = 16 };

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

/* ---- spikes ------------------------------------------------------------------------------ */

static double median(const double *values, int count)
{
    double sorted[RF_RECENT] = {0};
    for (int i = 0; i < count; i++) {
        int place = i;
        for (; place > 0 && sorted[place - 1] > values[i]; place--) {
            sorted[place] = sorted[place - 1];
        }
        sorted[place] = values[i];
    }
    return 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

static void remember(double *values, int count, double value)
{
    if (count == RF_RECENT) {
        memmove(values, values + 1, (RF_RECENT - 1) * sizeof *values);
        count--;
    }
    values[count] = value;
}

rf_status rf_guard_spike(rf_trainer *trainer, double loss, double norm, bool *is_spike,
                         rf_error *error)
{
    rf_train_state *state = &trainer->state;
    rf_recent_updates *recent = &state->recent;
    const double most = trainer->options.spike_guard;
    char text[256];
    *is_spike = false;
    if (most <= 0.0) {
        return RF_OK;
    }
    double losses = recent->count < LEAST_RECENT ? 0.0 : median(recent->losses, recent->count);
    double norms = recent->count < LEAST_RECENT ? 0.0 : median(recent->norms, recent->count);
    *is_spike = (losses > 0.0 && loss > most * losses) || (norms > 0.0 && norm > most * norms);
    if (!*is_spike) {
        remember(recent->losses, recent->count, loss);
        remember(recent->norms, recent->count, norm);
        recent->count += recent->count < RF_RECENT ? 1 : 0;
        return RF_OK;
    }
    long long step = (long long)state->step + 1;
    state->skipped_in_a_row++;
    if (state->skipped_in_a_row > MOST_SKIPPED_IN_A_ROW) {
        return rf_error_set(error, RF_ERR_NUMERIC,
                            "step %lld: %d steps in a row were spikes; lower the learning rate, or "
                            "allow more (spike_guard is %g)",
                            step, MOST_SKIPPED_IN_A_ROW + 1, most);
    }
    (void)snprintf(text, sizeof text,
                   "the loss is %.4g and the gradient's norm %.4g, where %.4g and %.4g are usual: "
                   "step skipped",
                   loss, norm, losses, norms);
    rf_log_write(&trainer->options.log, RF_LOG_WARNING, "step %lld: %s", step, text);
    return rf_recorder_event(trainer->recorder, state->step + 1, "spike", text, error);
}
