/* Adafactor behind the optimizer's calls, and in whole runs: what it keeps, that it learns, that a
 * resumed run changes no bit, and that the state of one optimizer is not taken for the other's. */
#include "run.h"

#include "base/memory.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 3, COLUMNS = 40, MATRIX = 128, COUNT = 192, VECTOR = 50 };

/* A matrix that decays, then a vector that does not. */
static rf_parameter two[2] = {
    {.rank = 2, .shape = {ROWS, COLUMNS}, .count = (int64_t)ROWS * COLUMNS, .decays = true},
    {.rank = 1, .shape = {VECTOR}, .count = VECTOR, .offset = MATRIX},
};
static const rf_parameters parameters = {
    .items = two, .items_count = 2, .block_count = COUNT, .decay_count = MATRIX};

static const rf_optimizer_options usual = {
    .kind = RF_OPTIMIZER_ADAFACTOR,
    .weight_decay = 0.5,
    .adafactor = {.relative_step = true, .clip = 1.0},
};

static double root_mean_square(const float *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum / (double)count);
}

/* Gradients of one size and any sign: the first update is their sign, times the rate and the
 * parameter's own size. */
static void each_parameter_moves_by_its_own_size(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_optimizer optimizer;
    float values[COUNT];
    float before[COUNT];
    float gradients[COUNT];
    uint16_t rounded[COUNT];
    memset(rounded, 0x7F, sizeof rounded);
    for (int i = 0; i < COUNT; i++) {
        before[i] = values[i] = i < MATRIX ? 3.0F + 0.01F * (float)i : 0.2F;
        gradients[i] = i % 3 == 0 ? -7.0F : 7.0F;
    }
    assert_ok(rf_device_create("cpu", 1, &device, error));
    assert_ok(rf_optimizer_create(device, &parameters, &usual, &optimizer, error));
    double rate = rf_optimizer_rate(&usual, 123.0, 1);
    assert_true(rate == 1e-2);
    assert_ok(rf_optimizer_update(&optimizer, values, rounded, gradients, rate, 0.5, 1, error));
    double size = rate * root_mean_square(before, (int64_t)ROWS * COLUMNS);
    for (int i = 0; i < COUNT; i++) {
        bool in_matrix = i < ROWS * COLUMNS;
        bool in_vector = i >= MATRIX && i < MATRIX + VECTOR;
        double sign = gradients[i] > 0.0F ? 1.0 : -1.0;
        double expected = (double)before[i];
        if (in_matrix) {
            expected = (double)before[i] * (1.0 - 0.5 * size) - size * sign;
        } else if (in_vector) {
            expected -= rate * 0.2 * sign;
        }
        if (fabs((double)values[i] - expected) > 2e-6) {
            fail_msg("value %d is %g, expected %g", i, (double)values[i], expected);
        }
        bool written = in_matrix || in_vector;
        assert_int_equal(rounded[i], written ? rf_f32_to_bf16(values[i]) : 0x7F7F);
    }
    rf_optimizer_clear(&optimizer);
    rf_device_destroy(device);
}

static void only_the_usual_relative_step_has_its_own_rate(void **state)
{
    (void)state;
    rf_optimizer_options options = usual;
    assert_true(rf_optimizer_rate(&options, 0.5, 100) == 1e-2);
    assert_true(fabs(rf_optimizer_rate(&options, 0.5, 40000) - 5e-3) < 1e-12);
    options.adafactor.semantics = RF_ADAFACTOR_TRAX;
    assert_true(rf_optimizer_rate(&options, 0.5, 100) == 0.5);
    options = usual;
    options.adafactor.relative_step = false;
    assert_true(rf_optimizer_rate(&options, 0.5, 100) == 0.5);
    options = usual;
    options.kind = RF_OPTIMIZER_ADAMW;
    assert_true(rf_optimizer_rate(&options, 0.5, 100) == 0.5);
}

/* A few floats a row and column; with beta1 one float a weight more. */
static void the_state_is_small(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_optimizer optimizer;
    rf_optimizer_options options = usual;
    size_t size = 0;
    size_t with_moment = 0;
    assert_ok(rf_device_create("cpu", 1, &device, error));
    assert_ok(rf_optimizer_create(device, &parameters, &options, &optimizer, error));
    assert_int_equal(optimizer.tensors_count, 3);
    assert_int_equal(optimizer.state_count, 3 * 64);
    rf_optimizer_clear(&optimizer);
    assert_ok(rf_optimizer_size(device, &parameters, &options, &size, error));
    options.adafactor.beta1 = 0.9;
    assert_ok(rf_optimizer_size(device, &parameters, &options, &with_moment, error));
    assert_int_equal(with_moment - size, COUNT * sizeof(float));
    rf_device_destroy(device);
}

static rf_train_options adafactor_run(const char *name)
{
    rf_train_options options = small_run(name);
    options.optimizer = "adafactor";
    return options;
}

static void it_learns(void **state)
{
    (void)state;
    rf_train_options options = adafactor_run("learns");
    rf_train_result result;
    options.steps = 100;
    options.eval_every = 50;
    options.adafactor_semantics = "trax";
    options.rate = 0.1;
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_true(result.best_bits_per_byte < 4.5); /* 8 at first */
    options = adafactor_run("learns-usual");
    options.steps = 150;
    options.eval_every = 50;
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_true(result.best_bits_per_byte < 5.0);
}

static const char *last_checkpoint(const char *run)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/checkpoints/step-12", run);
    return scratch(name);
}

static void resumes_to_the_bit(const char *semantics, double beta1)
{
    char whole_name[64];
    char parts_name[64];
    (void)snprintf(whole_name, sizeof whole_name, "whole-%s", semantics);
    (void)snprintf(parts_name, sizeof parts_name, "parts-%s", semantics);
    rf_train_options whole = adafactor_run(whole_name);
    rf_train_options parts = adafactor_run(parts_name);
    whole.adafactor_semantics = parts.adafactor_semantics = semantics;
    whole.adafactor_beta1 = parts.adafactor_beta1 = beta1;
    whole.weight_decay = parts.weight_decay = 1e-3;
    assert_ok(rf_trainer_run(&whole, NULL, NULL, error));
    static const int64_t stops[] = {3, 2, 0};
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        parts.stop_after = stops[i];
        assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
        parts.resume = true;
    }
    assert_same_tensors(last_checkpoint(whole_name), last_checkpoint(parts_name),
                        "model.safetensors");
    assert_same_tensors(last_checkpoint(whole_name), last_checkpoint(parts_name),
                        "optimizer.safetensors");
    assert_same_metrics(scratch(whole_name), scratch(parts_name));
}

static void resuming_changes_no_bit(void **state)
{
    (void)state;
    resumes_to_the_bit("usual", 0.9);
    resumes_to_the_bit("trax", 0.0);
}

static void the_file_says_what_it_holds(void **state)
{
    (void)state;
    rf_train_options options = adafactor_run("names");
    char path[512];
    rf_safetensors *file = NULL;
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    (void)snprintf(path, sizeof path, "%s/optimizer.safetensors", last_checkpoint("names"));
    assert_ok(rf_safetensors_open(path, &file, error));
    const rf_safetensors_entry *rows =
        rf_safetensors_find(file, "row_moment.reformer.embeddings.word_embeddings.weight");
    const rf_safetensors_entry *columns =
        rf_safetensors_find(file, "column_moment.reformer.embeddings.word_embeddings.weight");
    assert_non_null(rows);
    assert_non_null(columns);
    assert_int_equal(rf_tensor_count(&rows->tensor), 258);
    assert_int_equal(rf_tensor_count(&columns->tensor), 16);
    assert_non_null(rf_safetensors_find(file, "second_moment.lm_head.bias"));
    rf_safetensors_close(file);
    assert_non_null(strstr(read_text(last_checkpoint("names"), "state.json", NULL), "adafactor"));
}

static void refused(const rf_train_options *options, rf_status status, const char *text)
{
    rf_error fault = {0};
    assert_int_equal(rf_trainer_run(options, NULL, NULL, &fault), status);
    if (strstr(fault.message, text) == NULL) {
        fail_msg("the message should hold '%s': %s", text, fault.message);
    }
}

static void the_other_optimizers_state_is_refused(void **state)
{
    (void)state;
    rf_train_options options = small_run("other");
    options.stop_after = 5;
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    options.resume = true;
    options.optimizer = "adafactor";
    refused(&options, RF_ERR_CONFIG, "was written with the optimizer adamw");
    options.optimizer = "adamw";
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));

    options = adafactor_run("other-adafactor");
    options.stop_after = 5;
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    options.resume = true;
    options.optimizer = "adamw";
    refused(&options, RF_ERR_CONFIG, "resume it with adafactor");
    options.optimizer = "adafactor";
    options.adafactor_beta1 = 0.9; /* a moment that the checkpoint does not have */
    refused(&options, RF_ERR_FORMAT, "optimizer.safetensors: ");
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    rf_train_options options = small_run("wrong");
    options.optimizer = "sgd";
    refused(&options, RF_ERR_ARGUMENT, "\"sgd\"");
    options.optimizer = "adafactor";
    options.adafactor_semantics = "other";
    refused(&options, RF_ERR_ARGUMENT, "\"other\"");
    options.adafactor_semantics = "trax";
    options.adafactor_beta1 = 1.0;
    refused(&options, RF_ERR_ARGUMENT, "adafactor_beta1 is 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_parameter_moves_by_its_own_size),
        cmocka_unit_test(only_the_usual_relative_step_has_its_own_rate),
        cmocka_unit_test(the_state_is_small),
        cmocka_unit_test(it_learns),
        cmocka_unit_test(resuming_changes_no_bit),
        cmocka_unit_test(the_file_says_what_it_holds),
        cmocka_unit_test(the_other_optimizers_state_is_refused),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
