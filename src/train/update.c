/* One update: gradients of accumulate x batch windows, clipped by their norm over all parameters,
 * and the optimizer's step. The loss is the mean over all scored tokens of the update, so four
 * micro-batches of one are one batch of four. */
#include "base/clock.h"
#include "train/trainer.h"

#include <math.h>

static const double log_of_2 = 0.69314718055994530942;

void rf_trainer_ask(rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    int answer = options->should_stop == NULL ? 0 : options->should_stop(options->user);
    trainer->stop_requested = trainer->stop_requested || answer != 0;
    trainer->stop_now = trainer->stop_now || answer >= 2;
}

static rf_batch read_batch(rf_trainer *trainer, int64_t micro)
{
    int64_t rows = trainer->options.batch;
    int64_t first = micro * rows;
    int64_t number = trainer->state.windows + first;
    if (trainer->options.overfit_batches > 0) {
        number = number / rows % trainer->options.overfit_batches * rows;
    }
    rf_batch batch = rf_source_read(&trainer->source, number, rows);
    batch.first_sample = first;
    return batch;
}

/* What is scored over all micro-batches, and rows of pairs beside it: a causal model scores as many
 * tokens of every window, others are counted, classes by their weights. */
static double scored_of_step(rf_trainer *trainer, int64_t *pairs)
{
    const rf_train_options *options = &trainer->options;
    double scored = 0.0;
    *pairs = 0;
    if (trainer->source.task == RF_CLASS_CAUSAL_LM && !options->pack &&
        !rf_source_is_made(&trainer->source)) {
        return (double)(options->accumulate * options->batch * (options->length - 1));
    }
    for (int64_t micro = 0; micro < options->accumulate; micro++) {
        rf_batch batch = read_batch(trainer, micro);
        scored += rf_trainer_scored_weight(trainer, &batch);
        *pairs += rf_batch_pairs(&batch);
    }
    return scored > 0.0 ? scored : 1.0;
}

/* Tokens that only fill their rows. */
static int64_t padding_of(const rf_batch *batch)
{
    int64_t count = 0;
    for (int64_t i = 0; batch->mask != NULL && i < batch->batch * batch->length; i++) {
        count += batch->mask[i] == 0 ? 1 : 0;
    }
    return count;
}

/* All micro-batches into the gradient block; ends early on an overflow or when it is to stop at
 * once. */
static rf_status accumulate(rf_trainer *trainer, rf_outcome *total, double *scored, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    int64_t pairs = 0;
    *scored = scored_of_step(trainer, &pairs);
    float factor = (float)(1.0 / *scored);
    trainer->read_tokens = 0;
    trainer->read_padding = 0;
    *total = (rf_outcome){0};
    RF_TRY(rf_runner_zero_gradients(trainer->runner, error));
    for (int64_t micro = 0; micro < options->accumulate; micro++) {
        rf_outcome part = {0};
        rf_batch batch = read_batch(trainer, micro);
        trainer->read_tokens += batch.batch * batch.length;
        trainer->read_padding += padding_of(&batch);
        batch.pair_weight = pairs > 0 ? (float)(*scored / (double)pairs) : 0.0F;
        RF_TRY(rf_runner_train(trainer->runner, &batch, rf_train_state_key_seed(&trainer->state),
                               trainer->state.step, factor, &part, error));
        rf_trainer_ask(trainer);
        rf_outcome_add(total, &part);
        if (part.overflow || trainer->stop_now) {
            return RF_OK;
        }
    }
    return RF_OK;
}

/* Exact streams must come back bit for bit; float32 ones cannot, and are only counted. */
static rf_status judge_reversal(rf_trainer *trainer, const rf_outcome *total, rf_error *error)
{
    if (!trainer->options.verify_reversal) {
        return RF_OK;
    }
    trainer->reversals_checked += trainer->options.accumulate * trainer->model->config.layers;
    trainer->reversal_mismatches += total->checksum_mismatches;
    if (total->checksum_mismatches > 0 && trainer->model->config.fixed_stream) {
        return rf_error_set(
            error, RF_ERR_MISMATCH,
            "step %lld: %lld streams came back from the backward pass with other bits "
            "than they had in the forward pass; please report this",
            (long long)trainer->state.step + 1, (long long)total->checksum_mismatches);
    }
    return RF_OK;
}

static rf_status gradients_of_step(rf_trainer *trainer, rf_outcome *total, double *scored,
                                   rf_error *error)
{
    for (;;) {
        RF_TRY(accumulate(trainer, total, scored, error));
        if (!total->overflow || trainer->stop_now) {
            return RF_OK;
        }
        RF_TRY(rf_guard_coarser_stream(trainer, trainer->state.step + 1, total->overflow_layer,
                                       error));
    }
}

static rf_status apply(rf_trainer *trainer, double loss, double norm, double rate, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    bool is_spike = false;
    if (!isfinite(loss) || !isfinite(norm)) {
        return rf_train_options_rolls_back(&trainer->options)
                   ? rf_trainer_rollback(trainer, loss, norm, error)
                   : rf_guard_not_finite(trainer, loss, norm, error);
    }
    RF_TRY(rf_guard_spike(trainer, loss, norm, &is_spike, error));
    if (is_spike) {
        return RF_OK;
    }
    RF_TRY(rf_optimizer_update(&trainer->optimizer, trainer->model->values, trainer->model->rounded,
                               rf_runner_gradients(trainer->runner), rate,
                               rf_optimizer_clip_factor(norm, trainer->options.clip),
                               state->updates + 1, error));
    state->updates++;
    state->skipped_in_a_row = 0;
    return RF_OK;
}

rf_status rf_trainer_update(rf_trainer *trainer, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    rf_outcome total;
    double start = rf_clock_seconds();
    double norm = 0.0;
    double scored = 1.0;
    double rate =
        rf_schedule_rate(&trainer->schedule, state->step, rf_trainer_time_fraction(trainer));
    rate = rf_optimizer_rate(&trainer->optimizer.options, rate, state->updates + 1);
    RF_TRY(gradients_of_step(trainer, &total, &scored, error));
    if (trainer->stop_now) {
        return RF_OK;
    }
    RF_TRY(judge_reversal(trainer, &total, error));
    RF_TRY(
        rf_optimizer_norm(&trainer->optimizer, rf_runner_gradients(trainer->runner), &norm, error));
    double first = total.nll_sum / scored; /* of two heads the first */
    double loss = first + rf_outcome_pair_loss(&total);
    RF_TRY(apply(trainer, loss, norm, rate, error));
    if (trainer->rolled_back) {
        return RF_OK;
    }
    state->step++;
    state->windows += trainer->options.accumulate * trainer->options.batch;
    state->last_loss = loss;
    trainer->steps_done++;
    trainer->step_tokens +=
        trainer->options.accumulate * trainer->options.batch * trainer->options.length;
    trainer->last_step_seconds = rf_clock_seconds() - start;
    trainer->step_seconds += trainer->last_step_seconds;
    trainer->all_tokens += trainer->read_tokens;
    trainer->all_padding += trainer->read_padding;
    trainer->progress.padding = (double)trainer->read_padding / (double)trainer->read_tokens;
    trainer->progress.step = state->step;
    trainer->progress.loss = loss;
    trainer->progress.bits_per_token = first / log_of_2;
    trainer->progress.bits_per_byte = rf_trainer_bits_per_byte(trainer, &trainer->train, first);
    trainer->progress.gradient_norm = norm;
    trainer->progress.rate = rate;
    return RF_OK;
}
