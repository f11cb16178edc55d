/* The loss that is trained on: smoothed and weighted, in every task, and never in an evaluation. */
#include "run.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rf_train_options classifier(const char *name)
{
    rf_train_options options = small_run(name);
    options.task = "classify";
    options.batch = 8; /* so that both labels are among its rows */
    options.data = small_labelled("labelled.jsonl");
    options.valid_bytes = 0;
    return options;
}

static rf_train_options answerer(const char *name)
{
    rf_train_options options = small_run(name);
    options.task = "answer";
    options.data = small_answers("answers.jsonl");
    options.valid_bytes = 0;
    return options;
}

/* The first number behind `key` in a line of this kind. */
static double recorded(const char *run, const char *kind, const char *key)
{
    const char *line = strstr(read_text(scratch(run), "metrics.jsonl", NULL), kind);
    assert_non_null(line);
    const char *value = strstr(line, key);
    assert_non_null(value);
    return strtod(value + strlen(key), NULL);
}

static double loss_of(const char *run, const char *kind)
{
    return recorded(run, kind, "\"loss\": ");
}

/* With a rate of 0 the model stays: what is judged is the same, what is trained on is not. */
static void compare(const char *name, const rf_train_options *base, double smoothing,
                    const char *weights)
{
    for (int i = 0; i < 2; i++) {
        char run[64];
        (void)snprintf(run, sizeof run, "%s-%d", name, i);
        rf_train_options options = *base;
        options.output = scratch(run);
        options.rate = 0.0;
        options.steps = 1;
        options.label_smoothing = i == 0 ? 0.0 : smoothing;
        options.class_weights = i == 0 ? NULL : weights;
        assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    }
    char plain[64];
    char other[64];
    (void)snprintf(plain, sizeof plain, "%s-0", name);
    (void)snprintf(other, sizeof other, "%s-1", name);
    assert_true(loss_of(plain, "evaluation") == loss_of(other, "evaluation"));
    assert_true(fabs(loss_of(plain, "\"step\"") - loss_of(other, "\"step\"")) > 1e-6);
}

static void evaluations_are_neither_smoothed_nor_weighted(void **state)
{
    (void)state;
    rf_train_options options = small_run("any");
    compare("smooth-lm", &options, 0.3, NULL);
    options.task = "masked-lm";
    compare("smooth-masked", &options, 0.3, NULL);
    options = classifier("any");
    compare("smooth-classify", &options, 0.3, NULL);
    compare("weigh-classify", &options, 0.0, "1,20");
    options = answerer("any");
    compare("smooth-answer", &options, 0.3, NULL);
}

/* Weights that are all alike change nothing but the last bits: the mean is by their sum. */
static void equal_weights_are_none(void **state)
{
    (void)state;
    rf_train_options plain = classifier("plain");
    rf_train_options equal = classifier("equal");
    equal.class_weights = "4,4";
    assert_ok(rf_trainer_run(&plain, NULL, NULL, error));
    assert_ok(rf_trainer_run(&equal, NULL, NULL, error));
    assert_same_tensors(plain.output, equal.output, "model.safetensors");
    assert_same_metrics(plain.output, equal.output);
}

/* 38 rows are learned from, 9 of them bad. */
static void automatic_weights_are_inverse_frequencies(void **state)
{
    (void)state;
    log_book book;
    rf_train_options options = classifier("frequencies");
    options.class_weights = "auto";
    options.steps = 1;
    options.log = log_to(&book);
    assert_ok(rf_trainer_run(&options, NULL, NULL, error));
    char expected[64];
    (void)snprintf(expected, sizeof expected, "class weights: bad %.4g, good %.4g", 38.0 / 18.0,
                   38.0 / 58.0);
    if (strstr(book.text, expected) == NULL) {
        fail_msg("expected \"%s\" in %s", expected, book.text);
    }
}

static void weigh_and_smooth(rf_train_options *options)
{
    options->task = "classify";
    options->data = small_labelled("labelled.jsonl");
    options->valid_bytes = 0;
    options->class_weights = "auto";
    options->label_smoothing = 0.1;
}

static void smooth_masked(rf_train_options *options)
{
    options->task = "masked-lm";
    options->label_smoothing = 0.1;
}

/* Also the plain test of question answering: a batch is as long as its longest row. */
static void answer_questions(rf_train_options *options)
{
    options->task = "answer";
    options->data = small_answers("answers.jsonl");
    options->valid_bytes = 0;
}

static void a_resumed_run_makes_the_same_bits(void **state)
{
    (void)state;
    assert_resumes("resumed-classify", weigh_and_smooth);
    assert_resumes("resumed-masked", smooth_masked);
    assert_resumes("resumed-answer", answer_questions);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        double smoothing;
        const char *weights, *message;
    } cases[] = {
        {1.0, NULL, "label_smoothing is 1, expected at least 0 and below 1"},
        {0.0, "1", "expected auto or 2 numbers"},
        {0.0, "1,2,3", "expected auto or 2 numbers"},
        {0.0, "1,-2", "expected auto or 2 numbers"},
        {0.0, "1,nan", "expected auto or 2 numbers"},
        {0.0, "0,0", "are all 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_train_options options = classifier("refused");
        rf_error reason = {0};
        options.label_smoothing = cases[i].smoothing;
        options.class_weights = cases[i].weights;
        assert_int_equal(rf_trainer_run(&options, NULL, NULL, &reason), RF_ERR_ARGUMENT);
        if (strstr(reason.message, cases[i].message) == NULL) {
            fail_msg("case %zu: %s", i, reason.message);
        }
    }
    rf_train_options options = small_run("refused");
    rf_error reason = {0};
    options.class_weights = "auto";
    assert_int_equal(rf_trainer_run(&options, NULL, NULL, &reason), RF_ERR_ARGUMENT);
    assert_non_null(strstr(reason.message, "one label of many"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluations_are_neither_smoothed_nor_weighted),
        cmocka_unit_test(equal_weights_are_none),
        cmocka_unit_test(automatic_weights_are_inverse_frequencies),
        cmocka_unit_test(a_resumed_run_makes_the_same_bits),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
