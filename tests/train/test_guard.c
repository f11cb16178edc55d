/* Steps that cannot be used: streams out of range, losses that are no numbers. */
#include "run.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

/* Position vectors of this deviation: with 22 bits the range is +-512. */
static rf_train_options wild_run(const char *name, const char *deviation)
{
    rf_train_options options = small_run(name);
    char text[96];
    (void)snprintf(text, sizeof text, ", \"num_buckets\": 4, \"axial_norm_std\": %s", deviation);
    options.model_config = small_model(text);
    options.initialisation = "huggingface";
    options.rate = 1e-4;
    return options;
}

static void a_step_out_of_range_is_repeated_with_fewer_bits(void **state)
{
    (void)state;
    rf_train_options options = wild_run("coarser", "500.0");
    rf_train_result result;
    log_book book;
    options.log = log_to(&book);
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, 12);
    assert_non_null(strstr(book.text, "20 fraction bits instead of 22"));
    assert_true(count_lines(options.output, "event") >= 1);
    assert_int_equal(count_lines(options.output, "step"), 12);
    const char *state_text = read_text(scratch("coarser/checkpoints/step-12"), "state.json", NULL);
    assert_non_null(strstr(state_text, "\"from\": 22"));
    rf_model *model = NULL;
    assert_ok(rf_model_load(options.output, NULL, &model, error));
    assert_true(model->config.fraction_bits <= 20);
    rf_model_destroy(model);
}

/* The step that was repeated and the number of bits survive a resume. */
static void a_run_with_fewer_bits_resumes_exactly(void **state)
{
    (void)state;
    rf_train_options whole = wild_run("coarser-whole", "500.0");
    rf_train_options parts = wild_run("coarser-parts", "500.0");
    rf_train_result result;
    assert_ok(rf_trainer_run(&whole, NULL, &result, error));
    parts.stop_after = 4;
    assert_ok(rf_trainer_run(&parts, NULL, &result, error));
    parts.stop_after = 0;
    parts.resume = true;
    assert_ok(rf_trainer_run(&parts, NULL, &result, error));
    assert_same_tensors(whole.output, parts.output, "model.safetensors");
    assert_same_metrics(whole.output, parts.output);
}

static void too_few_bits_are_an_error_that_names_the_place(void **state)
{
    (void)state;
    rf_train_options options = wild_run("too-coarse", "1e6");
    rf_train_result result;
    rf_error error = {0};
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &error), RF_ERR_RANGE);
    assert_non_null(strstr(error.message, "embeddings"));
    assert_non_null(strstr(error.message, "16 fraction bits"));
    assert_int_equal(result.step, 0);
}

static rf_train_options exploding_run(const char *name)
{
    rf_train_options options = small_run(name);
    options.stream = "float32";
    options.rate = 1e30;
    options.warmup = 0;
    options.clip = 0.0;
    options.eval_every = 0;
    return options;
}

static void a_loss_that_is_no_number_stops_the_run_and_keeps_it(void **state)
{
    (void)state;
    rf_train_options options = exploding_run("explodes");
    rf_train_result result;
    rf_error error = {0};
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &error), RF_ERR_NUMERIC);
    assert_non_null(strstr(error.message, "step "));
    assert_non_null(strstr(error.message, "on_nan"));
    assert_true(result.step >= 1 && result.step < 12);
    char path[64];
    (void)snprintf(path, sizeof path, "explodes/checkpoints/step-%lld/state.json",
                   (long long)result.step);
    assert_true(rf_file_exists(scratch(path)));
}

static void such_steps_are_skipped_where_that_is_asked(void **state)
{
    (void)state;
    rf_train_options options = exploding_run("skips");
    rf_train_result result;
    log_book book;
    options.on_nan = "skip";
    options.log = log_to(&book);
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, 12);
    assert_non_null(strstr(book.text, "step skipped"));
    assert_true(count_lines(options.output, "event") > 0);
}

static void too_many_in_a_row_end_the_run(void **state)
{
    (void)state;
    rf_train_options options = exploding_run("hopeless");
    rf_train_result result;
    rf_error error = {0};
    options.on_nan = "skip";
    options.steps = 100;
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &error), RF_ERR_NUMERIC);
    assert_non_null(strstr(error.message, "in a row"));
    assert_true(result.step > 20);
}

/* Row 40 is of step 21. */
static void guard_against_spikes(rf_train_options *options)
{
    const char *output = options->output;
    *options = regression_run("any", small_regression("spike.jsonl", 40, 41, "300.5"));
    options->output = output;
    options->steps = 24;
    options->eval_every = 10;
    options->spike_guard = 20.0;
}

static void a_spike_is_passed_over_and_noted(void **state)
{
    (void)state;
    rf_train_options options = small_run("spike");
    rf_train_result result;
    log_book book;
    guard_against_spikes(&options);
    options.log = log_to(&book);
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, 24);
    assert_non_null(strstr(book.text, "step 21: the loss is "));
    assert_int_equal(count_lines(options.output, "event"), 1);
    assert_int_equal(count_lines(options.output, "step"), 24);
    const char *text = read_text(scratch("spike/checkpoints/step-24"), "state.json", NULL);
    assert_non_null(strstr(text, "\"updates\": 23"));
    options.output = scratch("no-guard");
    options.spike_guard = 0.0;
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    text = read_text(scratch("no-guard/checkpoints/step-24"), "state.json", NULL);
    assert_non_null(strstr(text, "\"updates\": 24"));
}

/* The last of 14, 4 and 6 steps has the spike; what is usual is remembered. */
static void what_is_usual_survives_a_resume(void **state)
{
    (void)state;
    static const int64_t stops[] = {14, 4, 0};
    rf_train_options whole = small_run("usual-whole");
    rf_train_options parts = small_run("usual-parts");
    guard_against_spikes(&whole);
    guard_against_spikes(&parts);
    assert_ok(rf_trainer_run(&whole, NULL, NULL, error));
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        parts.stop_after = stops[i];
        assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
        parts.resume = true;
    }
    assert_same_runs("usual-whole", "usual-parts", 24);
}

static void endless_spikes_end_the_run(void **state)
{
    (void)state;
    rf_train_options options =
        regression_run("spikes", small_regression("spikes.jsonl", 36, 60, "300.5"));
    rf_train_result result;
    rf_error error = {0};
    options.steps = 60;
    options.accumulate = 1;
    options.batch = 1;
    options.spike_guard = 20.0;
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &error), RF_ERR_NUMERIC);
    assert_non_null(strstr(error.message, "21 steps in a row were spikes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_out_of_range_is_repeated_with_fewer_bits),
        cmocka_unit_test(a_run_with_fewer_bits_resumes_exactly),
        cmocka_unit_test(too_few_bits_are_an_error_that_names_the_place),
        cmocka_unit_test(a_loss_that_is_no_number_stops_the_run_and_keeps_it),
        cmocka_unit_test(such_steps_are_skipped_where_that_is_asked),
        cmocka_unit_test(too_many_in_a_row_end_the_run),
        cmocka_unit_test(a_spike_is_passed_over_and_noted),
        cmocka_unit_test(what_is_usual_survives_a_resume),
        cmocka_unit_test(endless_spikes_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
