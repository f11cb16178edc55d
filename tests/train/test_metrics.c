/* Figures of small tables, against numbers worked out by other formulas: F1 label by label,
 * Matthews' coefficient by covariances of indicator vectors, ranks by counting. */
#include "support.h"

#include "train/metrics.h"

#include <math.h>
#include <string.h>

static void near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-12)) {
        fail_msg("%.17g, expected %.17g", value, expected);
    }
}

static double named(const rf_metrics *metrics, const char *name)
{
    rf_figures figures = {0};
    assert_ok(rf_metrics_figures(metrics, &figures, error));
    for (int64_t i = 0; i < figures.count; i++) {
        if (strcmp(figures.items[i].name, name) == 0) {
            return figures.items[i].value;
        }
    }
    fail_msg("no figure %s", name);
    return 0.0;
}

static void add(rf_metrics *metrics, int told, int wanted)
{
    float scores[5] = {0.0F, 0.0F, 0.0F, 0.0F, -1.0F};
    scores[told] = 1.0F;
    rf_metrics_add_label(metrics, scores, wanted);
}

static void test_one_label_of_many(void **state)
{
    (void)state;
    static const int wanted[10] = {0, 0, 0, 1, 1, 2, 2, 2, 2, 3};
    static const int told[10] = {0, 1, 0, 1, 1, 2, 0, 2, 2, 2};
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_SINGLE, 5, 10, error));
    for (int again = 0; again < 2; again++) { /* the same after a reset */
        for (int i = 0; i < 10; i++) {
            add(&metrics, told[i], wanted[i]);
        }
        near(named(&metrics, "accuracy"), 0.7);
        near(named(&metrics, "macro_f1"),
             0.5541666666666667); /* of four labels: one occurs nowhere */
        near(named(&metrics, "matthews"), 0.573777639178087);
        rf_metrics_reset(&metrics);
    }
    assert_true(isnan(named(&metrics, "accuracy")));
    add(&metrics, 1, 1);
    near(named(&metrics, "matthews"), 0.0); /* not defined */
    rf_metrics_clear(&metrics);
}

static void test_two_labels(void **state)
{
    (void)state;
    static const int wanted[8] = {1, 1, 1, 0, 0, 0, 0, 1};
    static const int told[8] = {1, 0, 1, 0, 0, 1, 0, 1};
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_SINGLE, 2, 8, error));
    for (int i = 0; i < 8; i++) {
        float scores[2] = {0.5F, told[i] == 1 ? 0.75F : 0.25F};
        rf_metrics_add_label(&metrics, scores, wanted[i]);
    }
    near(named(&metrics, "matthews"), 0.5);
    rf_metrics_clear(&metrics);
}

static void test_several_labels(void **state)
{
    (void)state;
    static const float wanted[5][4] = {
        {1, 0, 1, 0}, {0, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}};
    static const int told[5][4] = {
        {1, 0, 0, 0}, {0, 1, 0, 0}, {1, 1, 1, 0}, {0, 0, 0, 0}, {0, 0, 1, 0}};
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_MULTIPLE, 4, 5, error));
    for (int i = 0; i < 5; i++) {
        float scores[4];
        for (int k = 0; k < 4; k++) {
            scores[k] = told[i][k] != 0 ? 0.0F : -0.001F; /* a probability of 0.5 is enough */
        }
        rf_metrics_add_values(&metrics, scores, wanted[i]);
    }
    near(named(&metrics, "subset_accuracy"), 0.4);
    near(named(&metrics, "micro_f1"), 2.0 / 3.0);
    near(named(&metrics, "macro_f1"), 0.45); /* the label that occurs nowhere counts as 0 */
    rf_metrics_clear(&metrics);
}

static void test_numbers(void **state)
{
    (void)state;
    static const float told[6] = {0.5F, 1.25F, -2.0F, 3.5F, 1.25F, 0.0F};
    static const float wanted[6] = {1.0F, 1.0F, -1.5F, 2.0F, 2.5F, 0.25F};
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_REGRESSION, 1, 6, error));
    for (int i = 0; i < 6; i++) {
        rf_metrics_add_values(&metrics, &told[i], &wanted[i]);
    }
    near(named(&metrics, "mean_squared_error"), 0.7395833333333334);
    near(named(&metrics, "pearson"), 0.8593518791966162);
    near(named(&metrics, "spearman"), 0.8676470588235294);
    rf_metrics_reset(&metrics);
    assert_true(isnan(named(&metrics, "spearman")));
    for (int i = 0; i < 3; i++) {
        rf_metrics_add_values(&metrics, &told[i], &wanted[0]);
    }
    assert_true(isnan(named(&metrics, "pearson"))); /* of a constant */
    rf_metrics_clear(&metrics);
}

static void test_answers(void **state)
{
    (void)state;
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_OPEN, 0, 4, error));
    rf_metrics_add_answer(&metrics, &(rf_answer_score){1.0, 1.0});
    rf_metrics_add_answer(&metrics, &(rf_answer_score){0.0, 0.5});
    near(named(&metrics, "exact_match"), 0.5);
    near(named(&metrics, "f1"), 0.75);
    rf_metrics_clear(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_label_of_many), cmocka_unit_test(test_two_labels),
        cmocka_unit_test(test_several_labels),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
