/* The loop of a training run: updates, evaluations, samples, records, checkpoints, and the reasons
 * to stop. Whatever stops it in an orderly way leaves a checkpoint from which a resumed run goes on
 * as if nothing had happened. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/memory.h"
#include "train/evaluate.h"

#include <math.h>
#include <string.h>

static const double log_of_2 = 0.69314718055994530942;
enum { DEFAULT_PROMPT_BYTES = 64 };

typedef enum end_reason {
    GOING_ON,
    ALL_STEPS,
    TIME_IS_UP,
    NO_IMPROVEMENT,
    STOPPED_AFTER, /* options.stop_after: as an interruption would */
    REQUESTED
} end_reason;

/* ---- time -------------------------------------------------------------------------------- */

double rf_trainer_seconds(const rf_trainer *trainer)
{
    return trainer->seconds_before + rf_clock_seconds() - trainer->started;
}

double rf_trainer_time_fraction(const rf_trainer *trainer)
{
    double limit = trainer->options.time_limit_seconds;
    if (limit <= 0.0) {
        return 0.0;
    }
    double fraction = rf_trainer_seconds(trainer) / limit;
    return fraction < 1.0 ? fraction : 1.0;
}

static double seconds_per_step(const rf_trainer *trainer)
{
    double seconds = rf_clock_seconds() - trainer->started;
    return trainer->steps_done > 0 ? seconds / (double)trainer->steps_done : 0.0;
}

/* There is no time for one more step. */
static bool time_is_up(const rf_trainer *trainer)
{
    double limit = trainer->options.time_limit_seconds;
    return limit > 0.0 && rf_trainer_seconds(trainer) + trainer->last_step_seconds > limit;
}

static end_reason stop_reason(const rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    const rf_train_state *state = &trainer->state;
    if (trainer->stop_requested) {
        return REQUESTED;
    }
    if (state->step >= options->steps) {
        return ALL_STEPS;
    }
    if (options->patience > 0 && state->worse >= options->patience) {
        return NO_IMPROVEMENT;
    }
    if (options->stop_after > 0 && trainer->steps_done >= options->stop_after) {
        return STOPPED_AFTER;
    }
    return time_is_up(trainer) ? TIME_IS_UP : GOING_ON;
}

/* ---- progress and records ---------------------------------------------------------------- */

static void report(rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    rf_train_progress *progress = &trainer->progress;
    double left = seconds_per_step(trainer) * (double)(options->steps - trainer->state.step);
    progress->step = trainer->state.step;
    progress->steps = options->steps;
    progress->seconds = rf_trainer_seconds(trainer);
    if (options->time_limit_seconds > 0.0) {
        double until_limit = options->time_limit_seconds - progress->seconds;
        left = left < until_limit ? left : until_limit;
    }
    progress->seconds_left = left > 0.0 ? left : 0.0;
    if (options->progress != NULL) {
        options->progress(options->user, progress);
    }
}

/* Which steps are recorded does not depend on where a run was interrupted. */
static bool is_recorded(const rf_trainer *trainer)
{
    int64_t step = trainer->state.step;
    return step == 1 || step % trainer->options.log_every == 0 || step == trainer->options.steps;
}

static rf_status log_step(rf_trainer *trainer, rf_error *error)
{
    rf_train_progress *progress = &trainer->progress;
    progress->has_validation = false;
    progress->is_best = false;
    if (trainer->step_seconds > 0.0) {
        progress->tokens_per_second = (double)trainer->step_tokens / trainer->step_seconds;
    }
    report(trainer);
    if (!is_recorded(trainer)) {
        return RF_OK;
    }
    trainer->step_tokens = 0;
    trainer->step_seconds = 0.0;
    return rf_recorder_step(trainer->recorder, progress, error);
}

/* ---- saving ------------------------------------------------------------------------------ */

/* What failed, and what is left to go on from. */
static rf_status explain_failed_save(const rf_trainer *trainer, rf_status status, rf_error *error)
{
    char *previous = NULL;
    if (error == NULL || rf_checkpoint_find(trainer->options.output, &previous, NULL) != RF_OK) {
        return status;
    }
    if (previous != NULL) {
        rf_error_prefix(error, "saving failed, %s is whole and can be resumed", previous);
    } else {
        rf_error_prefix(error, "saving failed, and there is no earlier checkpoint");
    }
    rf_release(previous);
    return status;
}

static rf_checkpoint checkpoint_of(rf_trainer *trainer)
{
    trainer->state.seconds = rf_trainer_seconds(trainer);
    return (rf_checkpoint){.model = trainer->model,
                           .optimizer = &trainer->optimizer,
                           .state = &trainer->state,
                           .recipe = trainer->recipe};
}

static rf_status save(rf_trainer *trainer, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    if (trainer->saved_step == state->step) {
        return RF_OK;
    }
    rf_checkpoint checkpoint = checkpoint_of(trainer);
    rf_status status = RF_OK;
    if (state->best_step < 0) { /* nothing was judged yet: the run's model is the latest */
        status = rf_model_save(trainer->model, trainer->options.output, NULL, error);
    }
    if (status == RF_OK) {
        status =
            rf_checkpoint_save(trainer->options.output, &checkpoint, trainer->options.keep, error);
    }
    if (status != RF_OK) {
        return explain_failed_save(trainer, status, error);
    }
    trainer->saved_step = state->step;
    return RF_OK;
}

/* A checkpoint that comes whether or not the run is interrupted. */
static rf_status save_due(rf_trainer *trainer, rf_error *error)
{
    if (rf_train_options_rolls_back(&trainer->options)) {
        trainer->state.scheduled_step = trainer->state.step;
    }
    return save(trainer, error);
}

/* ---- evaluation -------------------------------------------------------------------------- */

static int ask_between_batches(void *user)
{
    rf_trainer *trainer = user;
    rf_trainer_ask(trainer);
    return trainer->stop_requested ? 1 : 0;
}

static rf_status score(rf_trainer *trainer, rf_outcome *outcome, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    rf_scoring scoring = {
        .source = &trainer->valid_source,
        .judge = &trainer->judge,
        .windows = rf_source_rows(&trainer->valid_source, options->eval_tokens),
        .seed = trainer->state.seed,
        .should_stop = ask_between_batches,
        .user = trainer,
    };
    for (;;) {
        RF_TRY(rf_score_windows(trainer->runner, &scoring, outcome, error));
        if (!outcome->overflow) {
            return RF_OK;
        }
        RF_TRY(
            rf_guard_coarser_stream(trainer, trainer->state.step, outcome->overflow_layer, error));
    }
}

double rf_trainer_bits_per_byte(const rf_trainer *trainer, const rf_tokens *tokens, double loss)
{
    return rf_judge_has_bytes(&trainer->judge) ? loss / log_of_2 / rf_tokens_bytes_per_token(tokens)
                                               : (double)NAN;
}

static rf_status take_result(rf_trainer *trainer, const rf_outcome *outcome, rf_error *error)
{
    rf_train_state *state = &trainer->state;
    rf_train_progress *progress = &trainer->progress;
    const char *by = trainer->options.best_by != NULL ? trainer->options.best_by : "loss";
    RF_TRY(rf_judge_figures(&trainer->judge, outcome, &progress->validation, error));
    double loss = rf_figures_value(&progress->validation, "loss");
    double value = rf_figures_value(&progress->validation, by);
    progress->has_validation = true;
    progress->is_best = isfinite(value) &&
                        (state->best_step < 0 || rf_figure_is_better(by, value, state->best_value));
    state->evaluated_step = state->step;
    state->worse++;
    if (progress->is_best) {
        state->best_loss = loss;
        state->best_value = value;
        state->best_step = state->step;
        state->worse = 0;
        rf_status status = rf_model_save(trainer->model, trainer->options.output, NULL, error);
        if (status != RF_OK) {
            return explain_failed_save(trainer, status, error);
        }
    }
    report(trainer);
    return rf_recorder_evaluation(trainer->recorder, progress, outcome->scored, error);
}

/* A request to stop on the way leaves the evaluation to the resumed run. */
static rf_status evaluate(rf_trainer *trainer, rf_error *error)
{
    rf_outcome outcome;
    if (trainer->stop_requested || trainer->state.evaluated_step == trainer->state.step) {
        return RF_OK;
    }
    rf_status status = score(trainer, &outcome, error);
    if (status == RF_ERR_CANCELLED) {
        return RF_OK;
    }
    RF_TRY(status);
    return take_result(trainer, &outcome, error);
}

/* ---- samples ----------------------------------------------------------------------------- */

static rf_sample_request sample_request(const rf_trainer *trainer)
{
    const rf_train_options *options = &trainer->options;
    const char *prompt = options->sample_prompt;
    const size_t held = trainer->valid.size;
    rf_sample_request request = {
        .prompt = prompt != NULL ? (const uint8_t *)prompt : trainer->valid.bytes,
        .prompt_size = prompt != NULL ? strlen(prompt) : (size_t)DEFAULT_PROMPT_BYTES,
        .tokens = options->sample_tokens,
        .temperature = options->sample_temperature,
        .seed = trainer->state.seed + (uint64_t)trainer->state.step,
    };
    if (prompt == NULL && held < DEFAULT_PROMPT_BYTES) {
        request.prompt_size = held;
    }
    if (prompt == NULL && !rf_tokenizer_is_bytes(trainer->tokenizer)) {
        request.prompt_size = rf_text_boundary(request.prompt, held, request.prompt_size);
    }
    return request;
}

/* A sample that cannot be written is no reason to end a run. */
static rf_status sample(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    const rf_sample_request request = sample_request(trainer);
    uint8_t *bytes = NULL;
    size_t size = 0;
    rf_error reason = {0};
    rf_status status = trainer->hooks->sample(trainer->hooks->user, trainer->model, &request,
                                              &bytes, &size, &reason);
    if (status == RF_ERR_CANCELLED) {
        trainer->stop_requested = true;
        return RF_OK;
    }
    if (status != RF_OK) {
        rf_log_write(&options->log, RF_LOG_WARNING, "no sample at step %lld: %s",
                     (long long)trainer->state.step, reason.message);
        return RF_OK;
    }
    if (options->sample != NULL) {
        options->sample(options->user, trainer->state.step, (const char *)bytes, size);
    }
    status = rf_recorder_sample(trainer->recorder, trainer->state.step, bytes, size, error);
    rf_release(bytes);
    return status;
}

static bool can_sample(const rf_trainer *trainer, const rf_config *config)
{
    return trainer->options.sample_every > 0 && trainer->hooks != NULL &&
           trainer->hooks->sample != NULL && config->model_class == RF_CLASS_CAUSAL_LM;
}

rf_status rf_trainer_plan_samples(const rf_trainer *trainer, const rf_model *model, size_t *bytes,
                                  rf_error *error)
{
    const rf_trainer_hooks *hooks = trainer->hooks;
    rf_error reason = {0};
    *bytes = 0;
    if (!can_sample(trainer, &model->config) || hooks->sample_memory == NULL) {
        return RF_OK;
    }
    const rf_sample_request request = sample_request(trainer);
    rf_status status = hooks->sample_memory(hooks->user, model, &request, bytes, &reason);
    return status == RF_ERR_MEMORY ? rf_error_set(error, status, "%s", reason.message) : RF_OK;
}

static rf_status sample_if_due(rf_trainer *trainer, bool last, rf_error *error)
{
    const bool can = can_sample(trainer, &trainer->model->config);
    const bool due = can && (last || trainer->state.step % trainer->options.sample_every == 0);
    return due && !trainer->stop_requested ? sample(trainer, error) : RF_OK;
}

/* ---- the loop ---------------------------------------------------------------------------- */

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step > 0 && step % every == 0;
}

static rf_status after_step(rf_trainer *trainer, rf_error *error)
{
    const rf_train_options *options = &trainer->options;
    int64_t step = trainer->state.step;
    RF_TRY(log_step(trainer, error));
    bool evaluation_due = is_due(step, options->eval_every);
    if (evaluation_due) {
        RF_TRY(evaluate(trainer, error));
    }
    if (evaluation_due || is_due(step, options->save_every)) {
        RF_TRY(save_due(trainer, error));
    }
    if (is_due(step, options->milestone_every)) {
        const rf_checkpoint checkpoint = checkpoint_of(trainer);
        RF_TRY(rf_checkpoint_save_milestone(options->output, &checkpoint, error));
    }
    return step < options->steps ? sample_if_due(trainer, false, error) : RF_OK;
}

/* What a run does once, before its first step or where it was interrupted between a step and what
 * follows it. */
static rf_status before_first_step(rf_trainer *trainer, rf_error *error)
{
    if (trainer->state.scheduled_step < 0 && rf_train_options_rolls_back(&trainer->options)) {
        RF_TRY(save_due(trainer, error)); /* something to go back to */
    }
    if (trainer->state.step == 0) {
        return sample_if_due(trainer, false, error);
    }
    return is_due(trainer->state.step, trainer->options.eval_every) ? evaluate(trainer, error)
                                                                    : RF_OK;
}

static rf_status run_steps(rf_trainer *trainer, end_reason *why, rf_error *error)
{
    RF_TRY(before_first_step(trainer, error));
    for (;;) {
        *why = stop_reason(trainer);
        if (*why != GOING_ON) {
            return RF_OK;
        }
        rf_status status = rf_trainer_update(trainer, error);
        if (status == RF_ERR_NUMERIC || status == RF_ERR_RANGE) {
            (void)!save(trainer, NULL); /* the first fault is the news */
            return status;
        }
        RF_TRY(status);
        if (trainer->stop_now) {
            *why = REQUESTED;
            return RF_OK;
        }
        if (!trainer->rolled_back) {
            RF_TRY(after_step(trainer, error));
        }
        trainer->rolled_back = false;
    }
}

static rf_status say_stopped(const rf_trainer *trainer, rf_error *error)
{
    if (trainer->saved_step < 0) {
        return rf_error_set(error, RF_ERR_CANCELLED,
                            "stopped at once after step %lld, nothing was saved",
                            (long long)trainer->state.step);
    }
    return rf_error_set(error, RF_ERR_CANCELLED,
                        "stopped on request; step %lld is saved in %s: run the same command with "
                        "--resume to go on",
                        (long long)trainer->saved_step, trainer->options.output);
}

static void say_end(const rf_trainer *trainer, end_reason why)
{
    const rf_log *log = &trainer->options.log;
    long long step = (long long)trainer->state.step;
    if (why == NO_IMPROVEMENT) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "stopped at step %lld: no improvement in the last %lld evaluations", step,
                     (long long)trainer->state.worse);
    } else if (why == TIME_IS_UP) {
        rf_log_write(log, RF_LOG_NOTICE, "stopped at step %lld: the time limit is reached", step);
    } else if (why == STOPPED_AFTER) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "stopped at step %lld as asked; run the same command with --resume to go on",
                     step);
    }
    if (trainer->all_padding > 0) {
        rf_log_write(log, RF_LOG_NOTICE, "padding: %.1f %% of the tokens that were computed%s",
                     100.0 * (double)trainer->all_padding / (double)trainer->all_tokens,
                     trainer->options.batch_by_length ? ""
                                                      : "; batch_by_length would make it less");
    }
    if (trainer->options.verify_reversal) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "reversal: %lld layers taken back, %lld streams with other bits than before",
                     (long long)trainer->reversals_checked,
                     (long long)trainer->reversal_mismatches);
    }
}

static rf_status finish(rf_trainer *trainer, end_reason why, rf_error *error)
{
    if (trainer->stop_now) {
        return say_stopped(trainer, error);
    }
    if (why == ALL_STEPS || why == TIME_IS_UP) {
        RF_TRY(evaluate(trainer, error));
        RF_TRY(save(trainer, error));
        RF_TRY(sample_if_due(trainer, true, error));
    }
    RF_TRY(save(trainer, error));
    RF_TRY(rf_recorder_chart(trainer->recorder, error));
    if (trainer->stop_requested) {
        return say_stopped(trainer, error);
    }
    say_end(trainer, why);
    return RF_OK;
}

/* Steps and saves until the end or a reason to stop; fills *result. */
static rf_status loop(rf_trainer *trainer, rf_train_result *result, rf_error *error)
{
    const rf_train_state *state = &trainer->state;
    end_reason why = GOING_ON;
    rf_status status = run_steps(trainer, &why, error);
    if (status == RF_OK) {
        status = finish(trainer, why, error);
    }
    *result = (rf_train_result){
        .step = state->step,
        .loss = state->last_loss,
        .best_validation_loss = state->best_loss,
        .best_bits_per_byte = rf_trainer_bits_per_byte(trainer, &trainer->valid, state->best_loss),
        .best_value = state->best_value,
        .best_step = state->best_step,
        .planned_bytes = trainer->planned_bytes,
        .peak_bytes = trainer->model->device->table->peak(trainer->model->device),
        .seconds = rf_clock_seconds() - trainer->started,
        .stopped_early = why == NO_IMPROVEMENT || why == TIME_IS_UP || why == STOPPED_AFTER,
    };
    return status;
}

rf_status rf_trainer_run(const rf_train_options *options, const rf_trainer_hooks *hooks,
                         rf_train_result *result, rf_error *error)
{
    rf_trainer trainer = {0};
    rf_train_result ignored;
    rf_train_result *out = result != NULL ? result : &ignored;
    *out = (rf_train_result){0};
    rf_status status = rf_trainer_open(&trainer, options, hooks, error);
    if (status == RF_OK) {
        status = loop(&trainer, out, error);
    }
    rf_trainer_clear(&trainer);
    return status;
}
