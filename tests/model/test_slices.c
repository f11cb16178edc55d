/* Slices within a budget: halved together, then each raised as far as fits; and a runner that is
 * given a budget. */
#include "small_model.h"
#include "support.h"

#include "model/slices.h"

/* Three parts of a workspace, of which the largest counts, on top of what is fixed. */
typedef struct costs {
    size_t fixed, row, head, head_row;
    int calls;
} costs;

static rf_status measure(void *user, const rf_slices *slices, size_t *bytes, rf_error *error)
{
    costs *c = user;
    (void)error;
    size_t attention = c->head * (size_t)slices->heads + c->row * (size_t)slices->rows / 8;
    size_t feed_forward = c->row * (size_t)slices->rows;
    size_t head = c->head_row * (size_t)slices->head_rows;
    size_t largest = attention > feed_forward ? attention : feed_forward;
    *bytes = c->fixed + (largest > head ? largest : head);
    c->calls++;
    return RF_OK;
}

static const rf_slices wished = {.rows = 2048, .heads = 8, .head_rows = 1024};
static const rf_slices least = {.rows = 128, .heads = 1, .head_rows = 16};

static rf_slices fit(size_t budget)
{
    costs c = {.fixed = 1000, .row = 8, .head = 4096, .head_row = 10};
    rf_slices chosen;
    assert_ok(rf_slices_fit(wished, least, budget, measure, &c, &chosen, error));
    assert_true(c.calls <= 30);
    return chosen;
}

static void as_large_as_fits(void **state)
{
    (void)state;
    rf_slices chosen = fit(100000);
    assert_memory_equal(&chosen, &wished, sizeof chosen);
    chosen = fit(1000 + 4 * 4096 + 2048);
    assert_int_equal(chosen.rows, 2048);
    assert_int_equal(chosen.heads, 4);
    assert_int_equal(chosen.head_rows, 1024);
    chosen = fit(1000 + 9000);
    assert_int_equal(chosen.rows, 512); /* twice as many would be 2 x 4096 + 1024 */
    assert_int_equal(chosen.heads, 2);
    assert_int_equal(chosen.head_rows, 512);
    chosen = fit(1000 + 4096 + 128);
    assert_int_equal(chosen.heads, 1);
    assert_int_equal(chosen.rows, 128);
    assert_int_equal(chosen.head_rows, 256);
    chosen = fit(1000); /* cannot be met */
    assert_memory_equal(&chosen, &least, sizeof chosen);
}

static void a_runner_stays_within_its_budget(void **state)
{
    (void)state;
    rf_model *model = small_model_create(&small_model_default, 1);
    rf_runner_options options = {.batch = 8, .length = 256, .training = true};
    rf_memory_plan free_plan;
    rf_memory_plan plan;
    rf_slices slices;
    rf_slices cut;
    assert_ok(rf_runner_plan(model, &options, &free_plan, &slices, error));
    options.memory_budget = rf_plan_total(&free_plan);
    assert_ok(rf_runner_plan(model, &options, &plan, &cut, error));
    assert_memory_equal(&cut, &slices, sizeof cut);
    options.memory_budget = rf_plan_total(&free_plan) - free_plan.workspace / 4;
    assert_ok(rf_runner_plan(model, &options, &plan, &cut, error));
    assert_true(rf_plan_total(&plan) <= options.memory_budget);
    assert_true(cut.rows < slices.rows || cut.heads < slices.heads ||
                cut.head_rows < slices.head_rows);
    rf_runner *runner = NULL;
    assert_ok(rf_runner_create(model, &options, &runner, error));
    rf_slices taken = rf_runner_slices(runner);
    assert_memory_equal(&taken, &cut, sizeof cut);
    rf_runner_destroy(runner);
    options.memory_budget = 1;
    assert_ok(rf_runner_plan(model, &options, &plan, &cut, error));
    assert_int_equal(cut.heads, 1);
    assert_true(rf_plan_total(&plan) > 1);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_large_as_fits),
        cmocka_unit_test(a_runner_stays_within_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
