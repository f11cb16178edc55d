/* Charts: ticks and places in the SVG text, data that hurts, escaping, and the PNG's signature. */
#include "no_memory.h"
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double steps[] = {0.0, 1.0, 2.0, 3.0, 4.0, 5.0};
static const double losses[] = {4.0, 3.0, 2.5, 2.25, 2.1, 2.0};

static char *draw(const rf_chart *chart)
{
    char *svg = NULL;
    assert_ok(rf_chart_svg(chart, &svg, error));
    assert_non_null(strstr(svg, "<svg xmlns="));
    assert_non_null(strstr(svg, "</svg>\n"));
    assert_non_null(strstr(svg, "prefers-color-scheme: dark"));
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    return svg;
}

static int occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *found = strstr(text, word); found != NULL; found = strstr(found + 1, word)) {
        count++;
    }
    return count;
}

/* A tick's label, as text between tags. */
static bool has_label(const char *svg, const char *label)
{
    char pattern[100];
    (void)snprintf(pattern, sizeof pattern, ">%s</text>", label);
    return strstr(svg, pattern) != NULL;
}

static void test_line(void **state)
{
    (void)state;
    rf_chart_series series = {"train", steps, losses, 6};
    rf_chart chart = {"Loss", "step", "nats", false, false, &series, 1, false};
    char *svg = draw(&chart);
    static const char *const labels[] = {"Loss", "step", "nats", "train", "0",   "1",
                                         "5",    "2.0",  "2.5",  "3.0",   "3.5", "4.0"};
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        if (!has_label(svg, labels[i])) {
            fail_msg("no label %s", labels[i]);
        }
    }
    assert_int_equal(occurrences(svg, "<polyline"), 2); /* the line and its sample in the legend */
    assert_int_equal(occurrences(svg, "<circle"), 0);
    assert_int_equal(occurrences(svg, "class=\"axis\""), 2);
    assert_non_null(strstr(svg, "points=\"78,")); /* x = 0 at the left edge */
    rf_release(svg);
}

static void test_gaps_and_points(void **state)
{
    (void)state;
    const double y[] = {1.0, (double)NAN, 2.0, 3.0, HUGE_VAL, 4.0};
    rf_chart_series series = {NULL, steps, y, 6};
    rf_chart chart = {NULL, NULL, NULL, false, false, &series, 1, false};
    char *svg = draw(&chart);
    assert_int_equal(occurrences(svg, "<polyline"), 1);
    assert_int_equal(occurrences(svg, "<circle"), 2);
    rf_release(svg);
}

static void test_data_that_hurts(void **state)
{
    (void)state;
    const double nothing[] = {(double)NAN, (double)NAN};
    const double huge[] = {-1.7e308, 1.7e308};
    const double same[] = {3.0, 3.0};
    const double close[] = {1.0, 1.0 + 1e-15};
    const double tiny[] = {5e-324, 1e-323};
    const double *const kinds[] = {nothing, huge, same, close, tiny};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (int logs = 0; logs < 4; logs++) {
            rf_chart_series series = {"s", kinds[i], kinds[i], 2};
            rf_chart chart = {"t", "x", "y", (logs & 1) != 0, (logs & 2) != 0, &series, 1, false};
            rf_release(draw(&chart));
        }
    }
    rf_chart none = {"none", "x", "y", false, true, NULL, 0, false};
    rf_release(draw(&none));
    rf_chart_series empty = {"empty", NULL, NULL, 0};
    rf_chart chart = {"empty", "x", "y", true, false, &empty, 1, false};
    rf_release(draw(&chart));
    rf_chart_series point = {"point", same, same, 1};
    rf_chart single = {"single", "x", "y", false, false, &point, 1, false};
    char *svg = draw(&single);
    assert_int_equal(occurrences(svg, "<circle"), 1);
    rf_release(svg);
}

static void test_log_axes(void **state)
{
    (void)state;
    const double x[] = {1.0, 10.0, 1000.0, 100000.0};
    const double y[] = {0.001, 0.0, -5.0, 0.02};
    rf_chart_series series = {"s", x, y, 4};
    rf_chart chart = {"t", "x", "y", true, true, &series, 1, false};
    char *svg = draw(&chart);
    assert_true(has_label(svg, "1000") && has_label(svg, "100000"));
    assert_true(has_label(svg, "0.001") && has_label(svg, "0.002") && has_label(svg, "0.01"));
    assert_int_equal(occurrences(svg, "<circle"), 2); /* zero and below have no place */
    rf_release(svg);
}

static void test_large_numbers(void **state)
{
    (void)state;
    const double x[] = {1e9, 1.00001e9};
    const double y[] = {1e-9, 5e-9};
    rf_chart_series series = {NULL, x, y, 2};
    rf_chart chart = {NULL, NULL, NULL, false, false, &series, 1, false};
    char *svg = draw(&chart);
    assert_true(has_label(svg, "1000002000") || has_label(svg, "1.000002e+09"));
    assert_true(has_label(svg, "2e-09"));
    rf_release(svg);
}

static void test_escaping(void **state)
{
    (void)state;
    rf_chart_series series = {"<a & \"b\">", steps, losses, 6};
    rf_chart chart = {"bell\a \xFF \xC3\xA9 \xC3(", "x\n", "]]>", false, false, &series, 1, false};
    char *svg = draw(&chart);
    assert_true(has_label(svg, "&lt;a &amp; &quot;b&quot;&gt;"));
    assert_true(has_label(svg, "bell  ? \xC3\xA9 ?("));
    assert_true(has_label(svg, "]]&gt;"));
    rf_release(svg);
}

static void test_many_series(void **state)
{
    (void)state;
    enum { COUNT = 30 };
    rf_chart_series series[COUNT];
    for (int i = 0; i < COUNT; i++) {
        series[i] = (rf_chart_series){"a name that is longer than the legend has room for", steps,
                                      losses, 6};
    }
    rf_chart chart = {"many", "x", "y", false, false, series, COUNT, false};
    char *svg = draw(&chart);
    assert_non_null(strstr(svg, "stroke-dasharray=\"8 4\""));
    assert_true(has_label(svg, "and 12 more"));
    assert_true(has_label(svg, "a name that is longer than t"));
    rf_release(svg);
}

static void test_files(void **state)
{
    (void)state;
    rf_chart_series series = {"train", steps, losses, 6};
    rf_chart chart = {"Loss", "step", "nats", false, true, &series, 1, false};
    rf_error problem = {0};
    char *svg_path = NULL;
    char *png_path = NULL;
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_path_join(test_folder(), "chart.svg", &svg_path, error));
    assert_ok(rf_path_join(test_folder(), "chart.png", &png_path, error));
    assert_ok(rf_chart_write(&chart, svg_path, error));
    assert_ok(rf_file_read(svg_path, 1 << 20, &text, &size, error));
    assert_memory_equal(text, "<svg ", 5);
    rf_release(text);
#if RF_WITH_CAIRO
    assert_ok(rf_chart_write(&chart, png_path, error));
    assert_ok(rf_file_read(png_path, 1 << 24, &text, &size, error));
    assert_memory_equal(text, "\x89PNG\r\n\x1A\n", 8);
    assert_memory_equal(text + 16, "\0\0\x06\x40\0\0\x03\xC0", 8); /* 1600 x 960 */
    rf_release(text);
#else
    assert_int_equal(rf_chart_write(&chart, png_path, &problem), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "cairo"));
#endif
    assert_int_equal(rf_chart_write(&chart, "chart.gif", &problem), RF_ERR_ARGUMENT);
    assert_non_null(strstr(problem.message, ".svg or .png"));
    rf_release(png_path);
    rf_release(svg_path);
}

static void test_no_memory(void **state)
{
    (void)state;
    rf_chart_series series = {"train", steps, losses, 6};
    rf_chart chart = {"Loss", "step", "nats", false, true, &series, 1, false};
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int attempts = 0;
    for (; status == RF_ERR_MEMORY && attempts < 100; attempts++) {
        int left = attempts;
        char *svg = NULL;
        rf_memory_set_hook(fail_after, &left);
        status = rf_chart_svg(&chart, &svg, NULL);
        rf_memory_set_hook(NULL, NULL);
        rf_release(svg);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_int_equal(status, RF_OK);
    assert_true(attempts > 3);
}

/* Two bars of two parts, the second on top of the first, from 0. */
static void test_bars(void **state)
{
    (void)state;
    static const double places[] = {1.0, 2.0};
    static const double low[] = {1.0, 2.0};
    static const double high[] = {3.0, 2.0};
    rf_chart_series series[] = {{"low", places, low, 2}, {"high", places, high, 2}};
    rf_chart chart = {"Bars", "x", "y", true, false, series, 2, true};
    char *svg = draw(&chart);
    assert_int_equal(occurrences(svg, "<rect class=\"dot s0\""), 2);
    assert_int_equal(occurrences(svg, "<rect class=\"dot s1\""), 2);
    assert_int_equal(occurrences(svg, "<polyline"), 2); /* the samples in the legend */
    /* The plot is 380 pixels for 4, from 424 up. */
    assert_non_null(strstr(svg, "height=\"95\""));
    assert_non_null(strstr(svg, "y=\"329\""));
    assert_non_null(strstr(svg, "height=\"285\""));
    assert_int_equal(occurrences(svg, "y=\"44\" width"), 2);
    rf_release(svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_gaps_and_points),
        cmocka_unit_test(test_data_that_hurts),
        cmocka_unit_test(test_log_axes),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_many_series),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
