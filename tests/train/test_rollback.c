/* Going back: to the last checkpoint that was due, on with other data, and not for ever. A
 * regression with rows whose label is beyond all bounds makes losses that are no numbers. */
#include "run.h"

#include <stdio.h>
#include <string.h>

static const char *poisoned(const char *name, int first, int end)
{
    return small_regression(name, first, end, "1e30");
}

static rf_train_options regression(const char *name, const char *data)
{
    rf_train_options options = regression_run(name, data);
    options.on_nan = "rollback";
    return options;
}

/* Step 8 cannot be made; steps 6 to 12 are, from the rows after it. */
static void a_run_goes_back_and_on_with_other_data(void **state)
{
    (void)state;
    log_book book;
    rf_train_options options = regression("back", poisoned("one.jsonl", 14, 15));
    rf_train_result result;
    options.log = log_to(&book);
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, 12);
    assert_non_null(strstr(book.text, "step 8: the loss is inf"));
    assert_non_null(strstr(book.text, "back to step 5"));
    assert_int_equal(count_lines(options.output, "step"), 12);
    assert_int_equal(count_lines(options.output, "event"), 1);
    const char *text = read_text(checkpoint_of("back", 12), "state.json", NULL);
    assert_non_null(strstr(text, "\"windows\": 30")); /* 16 before, 14 after */
    assert_non_null(strstr(text, "\"rollbacks\": 1"));
}

/* Before the first evaluation there is the checkpoint of step 0. */
static void the_beginning_is_a_place_to_go_back_to(void **state)
{
    (void)state;
    rf_train_options options = regression("beginning", poisoned("early.jsonl", 4, 5));
    rf_train_result result;
    assert_ok(rf_trainer_run(&options, NULL, &result, error));
    assert_int_equal(result.step, 12);
    assert_non_null(
        strstr(read_text(options.output, "metrics.jsonl", NULL), "back to step 0, on with"));
}

/* Wherever the run is interrupted, before the failure, between it and the next checkpoint, or
 * often: the checkpoints that this leaves are not gone back to. */
static void interruptions_change_no_bit(void **state)
{
    (void)state;
    static const int64_t stops[][5] = {{7, 0},    {6, 1, 0}, {5, 0},
                                       {3, 5, 0}, {8, 2, 0}, {6, 1, 1, 1, 0}};
    const char *data = poisoned("parts.jsonl", 14, 15);
    rf_train_options whole = regression("back-whole", data);
    assert_ok(rf_trainer_run(&whole, NULL, NULL, error));
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "back-parts-%d", (int)i);
        rf_train_options parts = regression(name, data);
        parts.keep = i == 5 ? 1 : 2;
        for (size_t k = 0; k < 5 && (k == 0 || stops[i][k - 1] > 0); k++) {
            parts.stop_after = stops[i][k];
            assert_ok(rf_trainer_run(&parts, NULL, NULL, error));
            parts.resume = true;
        }
        assert_same_runs("back-whole", name, 12);
    }
}

static void it_is_given_up_after_a_few_times(void **state)
{
    (void)state;
    rf_train_options options = regression("given-up", poisoned("many.jsonl", 14, 40));
    rf_train_result result;
    rf_error reason = {0};
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &reason), RF_ERR_NUMERIC);
    assert_non_null(strstr(reason.message, "going back to step 5 3 times"));
    assert_int_equal(count_lines(options.output, "event"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_goes_back_and_on_with_other_data),
        cmocka_unit_test(the_beginning_is_a_place_to_go_back_to),
        cmocka_unit_test(interruptions_change_no_bit),
        cmocka_unit_test(it_is_given_up_after_a_few_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
