/* Training runs as a whole: they learn, go on exactly where they stopped, and keep their records.
 */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rf_train_result train(const rf_train_options *options)
{
    rf_train_result result;
    assert_ok(rf_trainer_run(options, NULL, &result, error));
    return result;
}

static void a_run_learns_and_leaves_a_model_with_its_records(void **state)
{
    (void)state;
    rf_train_options options = small_run("learns");
    options.steps = 60;
    options.eval_every = 20;
    rf_train_result result = train(&options);
    assert_int_equal(result.step, 60);
    assert_false(result.stopped_early);
    assert_true(result.best_bits_per_byte < 4.5); /* 8 at first */
    assert_true(fabs(result.best_validation_loss / log(2.0) - result.best_bits_per_byte) < 1e-12);
    assert_true(result.planned_bytes > 0);
    static const char *const files[] = {"config.json",   "model.safetensors",
                                        "train.json",    "generation_config.json",
                                        "metrics.jsonl", "loss.svg"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t size = 0;
        (void)read_text(options.output, files[i], &size);
        assert_true(size > 0);
    }
    assert_int_equal(count_lines(options.output, "step"), 60);
    assert_int_equal(count_lines(options.output, "evaluation"), 3);
    rf_model *model = NULL;
    assert_ok(rf_model_load(options.output, NULL, &model, error));
    assert_int_equal(model->config.training_length, 32);
    rf_model_destroy(model);
}

/* 5 of 12 steps fall on an evaluation; 3 and 10 + 2 do not. */
static void stopping_and_resuming_changes_no_bit(void **state)
{
    (void)state;
    rf_train_options whole = small_run("whole");
    rf_train_options parts = small_run("parts");
    (void)train(&whole);
    static const int64_t stops[] = {3, 2, 5, 0};
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        parts.stop_after = stops[i];
        rf_train_result result = train(&parts);
        assert_int_equal(result.stopped_early, stops[i] != 0);
        parts.resume = true;
        parts.model_config = i % 2 == 0 ? NULL : parts.model_config;
    }
    assert_same_runs("whole", "parts", 12);
}

static void float_streams_and_sequential_windows_resume_too(void **state)
{
    (void)state;
    rf_train_options whole = small_run("whole-float");
    rf_train_options parts = small_run("parts-float");
    whole.stream = parts.stream = "float32";
    whole.sequential = parts.sequential = true;
    whole.accumulate = parts.accumulate = 2;
    whole.weight_decay = parts.weight_decay = 0.1;
    (void)train(&whole);
    parts.stop_after = 7;
    (void)train(&parts);
    parts.resume = true;
    parts.stop_after = 0;
    parts.stream = NULL; /* the run's own */
    (void)train(&parts);
    assert_same_runs("whole-float", "parts-float", 12);
}

typedef struct stopper {
    int64_t asked, at;
    int answer;
} stopper;

static int stop_at(void *user)
{
    stopper *stop = user;
    stop->asked++;
    return stop->asked >= stop->at ? stop->answer : 0;
}

/* Requests fall into a step, between steps and into an evaluation; each leaves a run that can be
 * finished. */
static void a_request_to_stop_finishes_the_step_and_saves(void **state)
{
    (void)state;
    rf_train_options whole = small_run("whole-request");
    (void)train(&whole);
    for (int64_t at = 1; at < 8; at += 3) {
        char *name = NULL;
        assert_ok(rf_string_format(&name, error, "request-%lld", (long long)at));
        rf_train_options options = small_run(name);
        rf_train_result result;
        rf_error reason = {0};
        stopper stop = {.at = at, .answer = 1};
        options.should_stop = stop_at;
        options.user = &stop;
        assert_int_equal(rf_trainer_run(&options, NULL, &result, &reason), RF_ERR_CANCELLED);
        assert_non_null(strstr(reason.message, "--resume"));
        assert_int_equal(result.step, at < 5 ? at : 5);
        options.should_stop = NULL;
        options.resume = true;
        (void)train(&options);
        assert_same_runs("whole-request", name, 12);
        rf_release(name);
    }
}

static void stopping_at_once_saves_nothing(void **state)
{
    (void)state;
    rf_train_options options = small_run("at-once");
    rf_train_result result;
    rf_error reason = {0};
    stopper stop = {.at = 3, .answer = 2};
    options.should_stop = stop_at;
    options.user = &stop;
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &reason), RF_ERR_CANCELLED);
    assert_int_equal(result.step, 2);
    assert_false(rf_file_exists(scratch("at-once/model.safetensors")));
    options.should_stop = NULL; /* nothing stands in the way of starting again */
    options.steps = 2;
    assert_int_equal(train(&options).step, 2);
    assert_int_equal(count_lines(options.output, "step"), 2);
}

/* The sums are grouped otherwise, so the last bits may differ. */
static void four_micro_batches_of_one_are_one_batch_of_four(void **state)
{
    (void)state;
    rf_train_options one = small_run("batch-4");
    rf_train_options four = small_run("batch-1x4");
    one.steps = four.steps = 3;
    one.eval_every = four.eval_every = 0;
    one.batch = 4;
    four.batch = 1;
    four.accumulate = 4;
    double first = train(&one).loss;
    double second = train(&four).loss;
    assert_true(fabs(first - second) < 1e-5 * first);
    assert_true(tensor_difference(one.output, four.output, "model.safetensors") < 1e-4);
}

static void two_threads_give_the_same_bits(void **state)
{
    (void)state;
    rf_train_options one = small_run("threads-1");
    rf_train_options two = small_run("threads-2");
    two.threads = 2;
    (void)train(&one);
    (void)train(&two);
    assert_same_runs("threads-1", "threads-2", 12);
}

typedef struct allocations {
    int64_t count, steps;
} allocations;

static bool count_allocation(void *user, size_t size)
{
    allocations *seen = user;
    (void)size;
    seen->count++;
    return true;
}

/* Counts from the end of the first step on. */
static void start_counting(void *user, const rf_train_progress *progress)
{
    allocations *seen = user;
    seen->steps = progress->step;
    if (progress->step == 1) {
        rf_memory_set_hook(count_allocation, seen);
    }
    if (progress->step == progress->steps) {
        rf_memory_set_hook(NULL, NULL);
    }
}

static void steps_after_the_first_allocate_nothing(void **state)
{
    (void)state;
    static const char *const streams[] = {"fixed32", "float32"};
    for (int i = 0; i < 2; i++) {
        rf_train_options options = small_run(i == 0 ? "no-allocation" : "no-allocation-float");
        allocations seen = {0};
        options.eval_every = 0;
        options.accumulate = 2;
        options.stream = streams[i];
        options.progress = start_counting;
        options.user = &seen;
        (void)train(&options);
        assert_int_equal(seen.steps, 12);
        assert_int_equal(seen.count, 0);
    }
}

/* Beside the plan: buffers of a save, and lists whose size does not depend on the batch. */
static void the_plan_is_what_is_taken(void **state)
{
    (void)state;
    rf_train_options options = small_run("plan");
    options.steps = 1;
    options.eval_every = 0;
    options.batch = 128;
    options.length = 64;
    size_t before = rf_memory_in_use();
    rf_memory_reset_peak();
    rf_train_result result = train(&options);
    double taken = (double)(result.peak_bytes - before);
    double beside = 256.0 * 1024.0;
    assert_true(taken > 8.0 * beside);
    assert_true((double)result.planned_bytes < 1.01 * taken + beside);
    assert_true(taken < 1.01 * (double)result.planned_bytes + beside);
    assert_int_equal(rf_memory_in_use(), before);
}

static void patience_ends_a_run_that_gets_no_better(void **state)
{
    (void)state;
    rf_train_options options = small_run("patience");
    options.steps = 100;
    options.rate = 0.0;
    options.eval_every = 2;
    options.patience = 3;
    rf_train_result result = train(&options);
    assert_true(result.stopped_early);
    assert_int_equal(result.step, 8); /* best at 2; 4, 6 and 8 are no better */
    assert_int_equal(result.best_step, 2);
}

static double number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

/* Linear to 0: a step's rate is at most what the time at the end of the step before leaves of it.
 */
static void a_time_limit_ends_a_run_and_its_schedule(void **state)
{
    (void)state;
    rf_train_options options = small_run("time");
    options.steps = 100000000;
    options.time_limit_seconds = 0.5;
    options.warmup = 0;
    options.schedule = "linear";
    options.eval_every = 0;
    rf_train_result result = train(&options);
    assert_true(result.stopped_early);
    assert_true(result.step > 0 && result.step < 1000000);
    assert_int_equal(result.best_step, result.step); /* evaluated at the end */
    double seconds = 0.0;
    int64_t steps = 0;
    for (const char *line = read_text(options.output, "metrics.jsonl", NULL); line != NULL;
         line = strchr(line + 1, '{')) {
        if (strncmp(line, "{\"kind\": \"step\"", 15) == 0) {
            double left = 1.0 - seconds / options.time_limit_seconds;
            assert_true(number_after(line, "\"rate\": ") <= options.rate * left + 1e-5);
            seconds = number_after(line, "\"seconds\": ");
            steps++;
        }
    }
    assert_int_equal(steps, result.step);
}

static void old_checkpoints_go_and_the_last_ones_stay(void **state)
{
    (void)state;
    rf_train_options options = small_run("rotation");
    char **names = NULL;
    size_t count = 0;
    options.save_every = 1;
    options.keep = 3;
    (void)train(&options);
    assert_ok(rf_folder_list(scratch("rotation/checkpoints"), &names, &count, error));
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "step-10");
    assert_string_equal(names[1], "step-11");
    assert_string_equal(names[2], "step-12");
    rf_names_release(names, count);
}

static void milestones_stay(void **state)
{
    (void)state;
    rf_train_options options = small_run("milestones");
    char **names = NULL;
    size_t count = 0;
    options.save_every = 1;
    options.keep = 1;
    options.milestone_every = 4;
    options.stop_after = 6;
    (void)train(&options);
    options.stop_after = 0;
    options.resume = true;
    (void)train(&options);
    assert_ok(rf_folder_list(scratch("milestones/checkpoints"), &names, &count, error));
    assert_int_equal(count, 4);
    static const char *const expected[] = {"milestone-12", "milestone-4", "milestone-8", "step-12"};
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    rf_names_release(names, count);
    rf_train_options until = small_run("until-8");
    until.stop_after = 8;
    (void)train(&until);
    assert_same_tensors(scratch("milestones/checkpoints/milestone-8"), checkpoint_of("until-8", 8),
                        "model.safetensors");
    assert_same_tensors(scratch("milestones/checkpoints/milestone-8"), checkpoint_of("until-8", 8),
                        "optimizer.safetensors");
}

/* Of dropout nothing is left: the loss of two windows falls to near 0. */
static void few_batches_are_learned_by_heart(void **state)
{
    (void)state;
    const char *const model =
        "{\"attention_head_size\": 16, \"attn_layers\": [\"local\", \"lsh\"], "
        "\"axial_pos_embds_dim\": [16, 16], \"axial_pos_shape\": [8, 8], "
        "\"feed_forward_size\": 64, \"hidden_size\": 32, \"local_attn_chunk_length\": 16, "
        "\"lsh_attn_chunk_length\": 16, \"max_position_embeddings\": 64, "
        "\"num_attention_heads\": 2, \"num_hashes\": 2, \"num_buckets\": 4, \"vocab_size\": 258, "
        "\"is_decoder\": true, \"hidden_dropout_prob\": 0, "
        "\"local_attention_probs_dropout_prob\": 0, \"lsh_attention_probs_dropout_prob\": 0}";
    rf_train_options options = small_run("by-heart");
    options.model_config = model;
    options.overfit_batches = 1;
    options.steps = 200;
    options.eval_every = 0;
    assert_true(train(&options).loss < 0.05);
}

static void overfit(rf_train_options *options)
{
    options->overfit_batches = 3;
    options->accumulate = 2;
    options->schedule = "wsd";
    options->decay_steps = 5;
}

static void batches_of_a_check_survive_a_resume(void **state)
{
    (void)state;
    assert_resumes("overfit", overfit);
}

static void standard_residuals(rf_train_options *options)
{
    options->model_config =
        small_model(", \"num_buckets\": 4, \"reformer_c\": {\"residual\": \"standard\"}");
}

static void standard_residuals_resume_too(void **state)
{
    (void)state;
    assert_resumes("standard", standard_residuals);
}

static void buckets_are_settled_once_from_the_training_length(void **state)
{
    (void)state;
    rf_train_options options = small_run("auto-buckets");
    log_book book;
    options.model_config = small_model(", \"num_buckets\": null");
    options.log = log_to(&book);
    (void)train(&options);
    rf_model *model = NULL;
    assert_ok(rf_model_load(options.output, NULL, &model, error));
    int64_t buckets = rf_config_bucket_count(&model->config);
    assert_true(model->config.bucket_factors > 0);
    rf_model_destroy(model);
    char number[32];
    (void)snprintf(number, sizeof number, "%lld", (long long)buckets);
    assert_non_null(strstr(book.text, number)); /* said in the log */
    options.resume = true;
    options.steps = 14;
    (void)train(&options);
    assert_ok(rf_model_load(options.output, NULL, &model, error));
    assert_int_equal(rf_config_bucket_count(&model->config), buckets);
    rf_model_destroy(model);
}

static const rf_parameter *head_bias(const rf_model *model)
{
    return rf_parameters_find(&model->parameters, RF_PARAMETER_HEAD_BIAS, -1, 0);
}

static float largest_bias(const char *folder)
{
    rf_model *model = NULL;
    assert_ok(rf_model_load(folder, NULL, &model, error));
    const rf_parameter *bias = head_bias(model);
    float largest = 0.0F;
    assert_non_null(bias);
    for (int64_t i = 0; i < bias->count; i++) {
        largest = fmaxf(largest, fabsf(model->values[bias->offset + i]));
    }
    rf_model_destroy(model);
    return largest;
}

static void the_head_bias_is_trained_only_where_asked(void **state)
{
    (void)state;
    rf_train_options without = small_run("bias-auto");
    rf_train_options with = small_run("bias-on");
    with.lm_head_bias = "on";
    with.stop_after = 6;
    (void)train(&without);
    (void)train(&with);
    with.lm_head_bias = "auto"; /* the run knows */
    with.resume = true;
    with.stop_after = 0;
    (void)train(&with);
    assert_true(largest_bias(without.output) == 0.0F);
    assert_true(largest_bias(with.output) > 1e-4F);
    assert_true(tensor_difference(checkpoint_of("bias-on", 12), checkpoint_of("bias-on", 10),
                                  "model.safetensors") > 0.0);
}

static void a_run_may_start_from_the_weights_of_another(void **state)
{
    (void)state;
    rf_train_options first = small_run("first");
    first.steps = 40;
    double before = train(&first).best_validation_loss;
    rf_train_options second = small_run("second");
    second.model_config = NULL;
    second.init_from = first.output;
    second.rate = 0.0;
    second.steps = 1;
    double after = train(&second).best_validation_loss;
    assert_true(fabs(after - before) < 1e-12);
    assert_same_tensors(first.output, second.output, "model.safetensors");
}

static void verified_reversal_finds_no_mismatch(void **state)
{
    (void)state;
    rf_train_options options = small_run("reversal");
    log_book book;
    options.verify_reversal = true;
    options.log = log_to(&book);
    (void)train(&options);
    assert_non_null(strstr(book.text, "24 layers taken back, 0 streams"));
}

typedef struct sampler_log {
    int64_t steps[16];
    int count;
} sampler_log;

static void take_sample(void *user, int64_t step, const char *bytes, size_t size)
{
    sampler_log *seen = user;
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "a\0b\xff\n", 5);
    seen->steps[seen->count++] = step;
}

static rf_status write_sample(void *user, rf_model *model, const rf_sample_request *request,
                              uint8_t **bytes, size_t *size, rf_error *error)
{
    void *memory = NULL;
    (void)user;
    assert_non_null(model);
    assert_int_equal(request->prompt_size, 64);
    assert_int_equal(request->tokens, 9);
    RF_TRY(rf_allocate(5, "sample", &memory, error));
    memcpy(memory, "a\0b\xff\n", 5);
    *bytes = memory;
    *size = 5;
    return RF_OK;
}

static void samples_are_handed_on_and_kept(void **state)
{
    (void)state;
    rf_train_options options = small_run("samples");
    sampler_log seen = {0};
    rf_trainer_hooks hooks = {.sample = write_sample};
    rf_train_result result;
    options.sample_every = 5;
    options.sample_tokens = 9;
    options.sample = take_sample;
    options.user = &seen;
    assert_ok(rf_trainer_run(&options, &hooks, &result, error));
    assert_int_equal(seen.count, 4);
    static const int64_t expected[] = {0, 5, 10, 12};
    assert_memory_equal(seen.steps, expected, sizeof expected);
    size_t size = 0;
    const char *text = read_text(scratch("samples/samples"), "step-12.txt", &size);
    assert_int_equal(size, 5);
    assert_memory_equal(text, "a\0b\xff\n", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_learns_and_leaves_a_model_with_its_records),
        cmocka_unit_test(stopping_and_resuming_changes_no_bit),
        cmocka_unit_test(float_streams_and_sequential_windows_resume_too),
        cmocka_unit_test(a_request_to_stop_finishes_the_step_and_saves),
        cmocka_unit_test(stopping_at_once_saves_nothing),
        cmocka_unit_test(four_micro_batches_of_one_are_one_batch_of_four),
        cmocka_unit_test(two_threads_give_the_same_bits),
        cmocka_unit_test(steps_after_the_first_allocate_nothing),
        cmocka_unit_test(the_plan_is_what_is_taken),
        cmocka_unit_test(patience_ends_a_run_that_gets_no_better),
        cmocka_unit_test(a_time_limit_ends_a_run_and_its_schedule),
        cmocka_unit_test(old_checkpoints_go_and_the_last_ones_stay),
        cmocka_unit_test(milestones_stay),
        cmocka_unit_test(few_batches_are_learned_by_heart),
        cmocka_unit_test(batches_of_a_check_survive_a_resume),
        cmocka_unit_test(standard_residuals_resume_too),
        cmocka_unit_test(buckets_are_settled_once_from_the_training_length),
        cmocka_unit_test(the_head_bias_is_trained_only_where_asked),
        cmocka_unit_test(a_run_may_start_from_the_weights_of_another),
        cmocka_unit_test(verified_reversal_finds_no_mismatch),
        cmocka_unit_test(samples_are_handed_on_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
