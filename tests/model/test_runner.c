/* A whole model in a runner: exact reversal, same bits whatever the threads, slices and
 * accumulation that change nothing, gradients along a random direction, memory that does not grow
 * with depth, steps that do not allocate. */
#include "no_memory.h"
#include "support.h"

#include "base/memory.h"
#include "small_model.h"
#include "train/optimizer.h"

#include <math.h>
#include <string.h>

typedef struct run {
    rf_model *model;
    rf_runner *runner;
    int32_t *ids;
    rf_batch batch;
    rf_outcome outcome;
} run;

static run open_run(rf_model *model, rf_runner_options options)
{
    run r = {.model = model};
    r.ids = small_model_tokens(model, options.batch * options.length, 3);
    r.batch =
        (rf_batch){.batch = options.batch, .length = options.length, .ids = r.ids, .labels = r.ids};
    assert_ok(rf_runner_create(model, &options, &r.runner, error));
    return r;
}

static void close_run(run *r)
{
    rf_runner_destroy(r->runner);
    rf_release(r->ids);
    rf_model_destroy(r->model);
}

static void step(run *r, int64_t number)
{
    float factor = 1.0F / (float)rf_batch_scored(&r->batch);
    assert_ok(rf_runner_train(r->runner, &r->batch, 5, number, factor, &r->outcome, error));
}

static double norm_of(const float *values, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    return sqrt(sum);
}

static double difference(const float *a, const float *b, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* 24 layers, 200 steps with dropout: every checksum of every layer boundary holds in every step. */
static void test_reversal_is_exact(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.dropout = 0.1;
    small.hidden = 16;
    small.head_width = 8;
    small.feed_forward = 16;
    small.threads = 1;
    run r = open_run(
        small_model_of_depth(&small, 24, 1),
        (rf_runner_options){.batch = 1, .length = 40, .training = true, .verify_reversal = true});
    rf_optimizer optimizer;
    assert_ok(rf_optimizer_create(
        r.model->device, &r.model->parameters,
        &(rf_optimizer_options){.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9}, &optimizer, error));
    for (int64_t i = 0; i < 200; i++) {
        double norm = 0.0;
        float *gradients = rf_runner_gradients(r.runner);
        assert_ok(rf_runner_zero_gradients(r.runner, error));
        step(&r, i);
        assert_false(r.outcome.overflow);
        assert_int_equal(r.outcome.checksum_mismatches, 0);
        assert_ok(rf_optimizer_norm(&optimizer, gradients, &norm, error));
        assert_ok(rf_optimizer_update(&optimizer, r.model->values, NULL, gradients, 1e-3,
                                      rf_optimizer_clip_factor(norm, 1.0), i + 1, error));
    }
    rf_optimizer_clear(&optimizer);
    close_run(&r);
}

/* With float32 streams the inverse is not exact: the checksums must see it, or they could not fail.
 */
static void test_checksums_can_fail(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.stream = "float32";
    run r = open_run(
        small_model_of_depth(&small, 12, 1),
        (rf_runner_options){.batch = 1, .length = 64, .training = true, .verify_reversal = true});
    step(&r, 0);
    assert_true(r.outcome.checksum_mismatches > 0);
    close_run(&r);
}

/* Gradients from the inverse equal those from stored activations, bit for bit. */
static void test_reversal_equals_stored_activations(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.dropout = 0.1;
    rf_runner_options options = {.batch = 2, .length = 100, .training = true};
    run reversed = open_run(small_model_of_depth(&small, 24, 1), options);
    options.store_activations = true;
    run stored = open_run(small_model_of_depth(&small, 24, 1), options);
    step(&reversed, 7);
    step(&stored, 7);
    size_t size = (size_t)stored.model->parameters.block_count * sizeof(float);
    assert_true(norm_of(rf_runner_gradients(stored.runner), stored.model->parameters.block_count) >
                0.0);
    assert_memory_equal(rf_runner_gradients(reversed.runner), rf_runner_gradients(stored.runner),
                        size);
    close_run(&reversed);
    close_run(&stored);
}

static void test_same_bits_with_one_and_two_threads(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.dropout = 0.1;
    rf_runner_options options = {.batch = 2, .length = 200, .training = true};
    small.threads = 1;
    run one = open_run(small_model_create(&small, 1), options);
    small.threads = 2;
    run two = open_run(small_model_create(&small, 1), options);
    run again = open_run(small_model_create(&small, 1), options);
    step(&one, 3);
    step(&two, 3);
    step(&again, 3);
    size_t size = (size_t)one.model->parameters.block_count * sizeof(float);
    assert_memory_equal(&one.outcome, &two.outcome, sizeof one.outcome);
    assert_memory_equal(rf_runner_gradients(one.runner), rf_runner_gradients(two.runner), size);
    assert_memory_equal(rf_runner_gradients(again.runner), rf_runner_gradients(two.runner), size);
    close_run(&one);
    close_run(&two);
    close_run(&again);
}

/* Four micro-batches of one sequence draw what one batch of four draws: same loss, gradients equal
 * up to the order of sums. */
static void test_micro_batches_equal_one_batch(void **state)
{
    (void)state;
    enum { LENGTH = 96 };
    small_model small = small_model_default;
    small.dropout = 0.2;
    small.stream = "float32";
    run whole = open_run(small_model_create(&small, 1),
                         (rf_runner_options){.batch = 4, .length = LENGTH, .training = true});
    run parts = open_run(small_model_create(&small, 1),
                         (rf_runner_options){.batch = 1, .length = LENGTH, .training = true});
    step(&whole, 11);
    double nll = 0.0;
    float factor = 1.0F / (float)rf_batch_scored(&whole.batch);
    for (int64_t i = 0; i < 4; i++) {
        rf_batch batch = {.batch = 1,
                          .length = LENGTH,
                          .ids = whole.ids + i * LENGTH,
                          .labels = whole.ids + i * LENGTH,
                          .first_sample = i};
        assert_ok(rf_runner_train(parts.runner, &batch, 5, 11, factor, &parts.outcome, error));
        nll += parts.outcome.nll_sum;
    }
    int64_t count = whole.model->parameters.block_count;
    double norm = norm_of(rf_runner_gradients(whole.runner), count);
    double apart =
        difference(rf_runner_gradients(whole.runner), rf_runner_gradients(parts.runner), count);
    assert_true(fabs(nll - whole.outcome.nll_sum) < 1e-4 * nll);
    assert_true(norm > 0.0 && apart < 1e-4 * norm);
    close_run(&whole);
    close_run(&parts);
}

/* How the work is cut changes rounding only. */
static void test_slices_change_nothing_but_rounding(void **state)
{
    (void)state;
    small_model small = small_model_default;
    rf_runner_options options = {.batch = 2, .length = 150, .training = true};
    run whole = open_run(small_model_create(&small, 1), options);
    options.slices = (rf_slices){.rows = 37, .heads = 1, .head_rows = 11};
    run cut = open_run(small_model_create(&small, 1), options);
    step(&whole, 0);
    step(&cut, 0);
    int64_t count = whole.model->parameters.block_count;
    double norm = norm_of(rf_runner_gradients(whole.runner), count);
    double apart =
        difference(rf_runner_gradients(whole.runner), rf_runner_gradients(cut.runner), count);
    assert_true(fabs(whole.outcome.nll_sum - cut.outcome.nll_sum) < 1e-4 * whole.outcome.nll_sum);
    assert_true(apart < 1e-3 * norm);
    assert_true(rf_runner_memory(cut.runner)->workspace <
                rf_runner_memory(whole.runner)->workspace);
    close_run(&whole);
    close_run(&cut);
}

/* The derivative of the loss along the gradient, by two steps to either side. Local layers only: a
 * bucket that flips is a jump. */
static void test_gradient_with_dropout_along_itself(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.layers = "\"local\", \"local\"";
    small.dropout = 0.2;
    small.stream = "float32";
    run r = open_run(small_model_create(&small, 1),
                     (rf_runner_options){.batch = 2, .length = 77, .training = true});
    step(&r, 2);
    int64_t count = r.model->parameters.block_count;
    void *memory = NULL;
    assert_ok(rf_allocate((size_t)count * sizeof(float), "direction", &memory, error));
    float *direction = memory;
    memcpy(direction, rf_runner_gradients(r.runner), (size_t)count * sizeof(float));
    double norm = norm_of(direction, count);
    double scored = (double)rf_batch_scored(&r.batch);
    const double reach = 2e-3;
    double losses[2];
    for (int side = 0; side < 2; side++) {
        double sign = side == 0 ? 1.0 : -2.0;
        for (int64_t i = 0; i < count; i++) {
            r.model->values[i] += (float)(sign * reach * (double)direction[i] / norm);
        }
        step(&r, 2);
        losses[side] = r.outcome.nll_sum / scored;
    }
    double slope = (losses[0] - losses[1]) / (2.0 * reach);
    assert_true(fabs(slope - norm) < 5e-3 * norm);
    rf_release(memory);
    close_run(&r);
}

static void test_one_batch_is_learned(void **state)
{
    (void)state;
    small_model small = small_model_default;
    run r = open_run(small_model_create(&small, 1),
                     (rf_runner_options){.batch = 1, .length = 64, .training = true});
    rf_optimizer optimizer;
    assert_ok(rf_optimizer_create(
        r.model->device, &r.model->parameters,
        &(rf_optimizer_options){.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9}, &optimizer, error));
    for (int64_t i = 0; i < 150; i++) {
        assert_ok(rf_runner_zero_gradients(r.runner, error));
        step(&r, i);
        assert_ok(rf_optimizer_update(&optimizer, r.model->values, NULL,
                                      rf_runner_gradients(r.runner), 5e-3, 1.0, i + 1, error));
    }
    assert_true(r.outcome.nll_sum / 63.0 < 0.05);
    rf_optimizer_clear(&optimizer);
    close_run(&r);
}

/* Any length trains, whatever the chunks divide. */
static void test_any_length_trains(void **state)
{
    (void)state;
    const int64_t lengths[] = {2, 7, 15, 16, 17, 31, 33, 63, 100, 129, 256};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        run r = open_run(
            small_model_create(&small_model_default, 1),
            (rf_runner_options){
                .batch = 2, .length = lengths[i], .training = true, .verify_reversal = true});
        step(&r, 0);
        assert_true(isfinite(r.outcome.nll_sum) && r.outcome.nll_sum > 0.0);
        assert_int_equal(r.outcome.checksum_mismatches, 0);
        assert_int_equal(r.outcome.scored, 2 * (lengths[i] - 1));
        close_run(&r);
    }
}

static size_t step_bytes(const rf_memory_plan *plan)
{
    return plan->streams + plan->stream_gradients + plan->buckets + plan->workspace;
}

/* Twelve layers need more than two by their parameters and gradients only. */
static void test_memory_does_not_grow_with_depth(void **state)
{
    (void)state;
    rf_memory_plan plans[2];
    for (int i = 0; i < 2; i++) {
        rf_slices slices;
        rf_model *model = small_model_of_depth(&small_model_default, i == 0 ? 2 : 12, 1);
        rf_runner_options options = {.batch = 1, .length = 256, .training = true};
        assert_ok(rf_runner_plan(model, &options, &plans[i], &slices, error));
        assert_true(plans[i].parameters == plans[i].gradients);
        rf_model_destroy(model);
    }
    assert_int_equal(step_bytes(&plans[0]), step_bytes(&plans[1]));
    assert_true(plans[1].batch_data - plans[0].batch_data <= 1024); /* flags a layer */
}

typedef struct counter {
    int64_t calls;
} counter;

static bool count_call(void *user, size_t size)
{
    (void)size;
    ((counter *)user)->calls++;
    return true;
}

static void test_steps_do_not_allocate(void **state)
{
    (void)state;
    run r = open_run(small_model_create(&small_model_default, 1),
                     (rf_runner_options){.batch = 2, .length = 100, .training = true});
    step(&r, 0);
    counter calls = {0};
    rf_memory_set_hook(count_call, &calls);
    step(&r, 1);
    assert_ok(rf_runner_forward(r.runner, &r.batch, 0, 0, &r.outcome, error));
    rf_memory_set_hook(NULL, NULL);
    assert_int_equal(calls.calls, 0);
    close_run(&r);
}

/* Every allocation of creation fails once: a status, no leak (the sanitizer build sees those), and
 * the next try works. */
static void test_creation_without_memory(void **state)
{
    (void)state;
    rf_model *model = small_model_create(&small_model_default, 1);
    rf_runner_options options = {.batch = 1, .length = 64, .training = true};
    bool succeeded = false;
    for (int n = 0; !succeeded; n++) {
        int left = n;
        rf_runner *runner = NULL;
        rf_error error = {0};
        rf_memory_set_hook(fail_after, &left);
        rf_status status = rf_runner_create(model, &options, &runner, &error);
        rf_memory_set_hook(NULL, NULL);
        succeeded = status == RF_OK;
        assert_true(succeeded ||
                    (status == RF_ERR_MEMORY && runner == NULL && error.message[0] != '\0'));
        assert_true(n < 100);
        rf_runner_destroy(runner);
    }
    rf_model_destroy(model);
}

/* A plan serves shorter batches too: on both sides of a chunk, and where nothing is hashed. */
static void test_shorter_batches(void **state)
{
    (void)state;
    const int64_t lengths[] = {100, 99, 33, 32, 17, 16, 3};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        rf_runner_options options = {.batch = 2, .length = 100, .training = true};
        run planned = open_run(small_model_create(&small_model_default, 1), options);
        options.length = lengths[i];
        run exact = open_run(small_model_create(&small_model_default, 1), options);
        planned.batch.length = lengths[i];
        planned.batch.ids = exact.ids;
        planned.batch.labels = exact.ids;
        step(&planned, 0);
        step(&exact, 0);
        int64_t count = exact.model->parameters.block_count;
        double norm = norm_of(rf_runner_gradients(exact.runner), count);
        assert_true(fabs(planned.outcome.nll_sum - exact.outcome.nll_sum) <
                    1e-4 * exact.outcome.nll_sum);
        assert_true(norm > 0.0 &&
                    difference(rf_runner_gradients(planned.runner),
                               rf_runner_gradients(exact.runner), count) < 1e-3 * norm);
        close_run(&planned);
        close_run(&exact);
    }
}

static void test_bad_batches_are_refused(void **state)
{
    (void)state;
    run r = open_run(small_model_create(&small_model_default, 1),
                     (rf_runner_options){.batch = 1, .length = 32});
    rf_error error = {0};
    int32_t *ids = r.ids;
    ids[5] = 61;
    assert_int_equal(rf_runner_forward(r.runner, &r.batch, 0, 0, &r.outcome, &error),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(
        error.message, "token id 61 at sequence 0, position 5 is outside the vocabulary of 61"));
    ids[5] = 0;
    rf_batch wrong = r.batch;
    wrong.length = 33;
    assert_int_equal(rf_runner_forward(r.runner, &wrong, 0, 0, &r.outcome, &error),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "1 x 33 tokens does not fit a plan for 1 x 32"));
    rf_runner *runner = NULL;
    rf_runner_options options = {.batch = 1, .length = 257};
    assert_int_equal(rf_runner_create(r.model, &options, &runner, &error), RF_ERR_CONFIG);
    assert_non_null(strstr(error.message, "256"));
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reversal_is_exact),
        cmocka_unit_test(test_checksums_can_fail),
        cmocka_unit_test(test_reversal_equals_stored_activations),
        cmocka_unit_test(test_same_bits_with_one_and_two_threads),
        cmocka_unit_test(test_micro_batches_equal_one_batch),
        cmocka_unit_test(test_slices_change_nothing_but_rounding),
        cmocka_unit_test(test_gradient_with_dropout_along_itself),
        cmocka_unit_test(test_one_batch_is_learned),
        cmocka_unit_test(test_any_length_trains),
        cmocka_unit_test(test_memory_does_not_grow_with_depth),
        cmocka_unit_test(test_steps_do_not_allocate),
        cmocka_unit_test(test_creation_without_memory),
        cmocka_unit_test(test_shorter_batches),
        cmocka_unit_test(test_bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
