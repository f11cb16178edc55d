/* Curves of runs: points by step, seconds and tokens, means, names, pictures, and what is refused.
 */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/tools.h"

#include <string.h>

static const char records[] =
    "{\"kind\": \"step\", \"step\": 1, \"loss\": 5.0, \"seconds\": 0.5}\n"
    "{\"kind\": \"event\", \"step\": 1, \"event\": \"spike\", \"text\": \"\"}\n"
    "{\"kind\": \"step\", \"step\": 10, \"loss\": 3.0, \"seconds\": 2.0}\n"
    "{\"kind\": \"evaluation\", \"step\": 10, \"loss\": 3.5, \"accuracy\": 0.25, \"seconds\": "
    "2.5}\n"
    "{\"kind\": \"step\", \"step\": 20, \"loss\": null, \"seconds\": 4.0}\n"
    "{\"kind\": \"step\", \"step\": 30, \"loss\": 1.0, \"seconds\": 6.0}\n"
    "{\"kind\": \"evaluation\", \"step\": 30, \"loss\": 4.5, \"accuracy\": 0.5, \"seconds\": "
    "6.5}\n"
    "{\"kind\": \"step\", \"step\": 40, \"lo"; /* cut off */

static const char *folders[3];

static void write(const char *folder, const char *name, const char *text)
{
    char *path = NULL;
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_path_join(folder, name, &path, error));
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    rf_release(path);
}

static const char *folder_of(const char *name)
{
    static char *kept[8]; /* for the life of the program */
    static size_t count;
    assert_true(count < 8);
    assert_ok(rf_path_join(test_folder(), name, &kept[count], error));
    return kept[count++];
}

static int make_runs(void **state)
{
    (void)state;
    folders[0] = folder_of("first");
    folders[1] = folder_of("second/");
    folders[2] = folder_of("empty");
    write(folders[0], "metrics.jsonl", records);
    write(folders[0], "train.json",
          "{\"train\": {\"batch\": 2, \"accumulate\": 3, \"length\": 100}}");
    write(folders[1], "metrics.jsonl", records);
    write(folders[1], "train.json",
          "{\"train\": {\"batch\": 2, \"accumulate\": 1, \"length\": 0}}");
    write(folders[1], "config.json", "{\"reformer_c\": {\"training_length\": 50}}");
    write(folders[2], "metrics.jsonl", "");
    return 0;
}

static json_t *run(const rf_curves_options *options)
{
    char *report = NULL;
    json_t *object = NULL;
    assert_ok(rf_curves(options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    rf_release(report);
    return object;
}

static const json_t *part_of(const json_t *report, size_t index, const char *part)
{
    return json_object_get(json_array_get(json_object_get(report, "runs"), index), part);
}

static double number(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static void expect_points(const json_t *part, const double (*points)[2], size_t count)
{
    const json_t *list = json_object_get(part, "points");
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *point = json_array_get(list, i);
        assert_true(json_number_value(json_array_get(point, 0)) == points[i][0]);
        assert_true(json_number_value(json_array_get(point, 1)) == points[i][1]);
    }
}

static void test_points(void **state)
{
    (void)state;
    static const double training[][2] = {{1, 5}, {10, 3}, {30, 1}};
    static const double evaluation[][2] = {{10, 3.5}, {30, 4.5}};
    json_t *report = run(&(rf_curves_options){.folders = folders, .count = 2});
    assert_string_equal(json_string_value(json_object_get(report, "x")), "step");
    assert_string_equal(json_string_value(part_of(report, 0, "name")), "first");
    assert_string_equal(json_string_value(part_of(report, 1, "name")), "second");
    for (size_t i = 0; i < 2; i++) {
        expect_points(part_of(report, i, "training"), training, 3);
        expect_points(part_of(report, i, "evaluation"), evaluation, 2);
    }
    const json_t *part = part_of(report, 0, "evaluation");
    assert_true(number(part, "last") == 4.5 && number(part, "lowest") == 3.5 &&
                number(part, "highest") == 4.5);
    const json_t *first = json_array_get(json_object_get(report, "runs"), 0);
    assert_true(number(first, "steps") == 30.0 && number(first, "seconds") == 6.5);
    json_decref(report);
}

static void test_axes(void **state)
{
    (void)state;
    static const double seconds[][2] = {{2.5, 0.25}, {6.5, 0.5}};
    static const double tokens[2][2][2] = {{{6000, 0.25}, {18000, 0.5}},
                                           {{1000, 0.25}, {3000, 0.5}}};
    rf_curves_options options = {
        .folders = folders, .count = 2, .x = "seconds", .figure = "accuracy"};
    json_t *report = run(&options);
    expect_points(part_of(report, 0, "evaluation"), seconds, 2);
    assert_null(part_of(report, 0, "training"));
    json_decref(report);
    options.x = "tokens";
    report = run(&options);
    expect_points(part_of(report, 0, "evaluation"), tokens[0], 2);
    expect_points(part_of(report, 1, "evaluation"), tokens[1], 2);
    json_decref(report);
}

static void test_means(void **state)
{
    (void)state;
    static const double two[][2] = {{1, 5}, {10, 4}, {30, 2}};
    static const double many[][2] = {{1, 5}, {10, 4}, {30, 3}};
    static const double evaluation[][2] = {{10, 3.5}, {30, 4.5}};
    rf_curves_options options = {.folders = folders, .count = 1, .smooth = 2};
    json_t *report = run(&options);
    expect_points(part_of(report, 0, "training"), two, 3);
    expect_points(part_of(report, 0, "evaluation"), evaluation, 2);
    json_decref(report);
    options.smooth = 100;
    options.part = "training";
    report = run(&options);
    expect_points(part_of(report, 0, "training"), many, 3);
    assert_null(part_of(report, 0, "evaluation"));
    json_decref(report);
}

static void test_picture(void **state)
{
    (void)state;
    static const char *const names[2] = {"two < rounds", NULL};
    char *path = NULL;
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_path_join(test_folder(), "loss.svg", &path, error));
    json_decref(run(&(rf_curves_options){.folders = folders,
                                         .names = names,
                                         .count = 2,
                                         .x_log = true,
                                         .title = "A title",
                                         .output = path}));
    assert_ok(rf_file_read(path, 1 << 20, &text, &size, error));
    static const char *const words[] = {"A title", "loss (nats)", "two &lt; rounds, training",
                                        "second, evaluation", ">step<"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(text, words[i]) == NULL) {
            fail_msg("\"%s\" is not in the picture", words[i]);
        }
    }
    rf_release(text);
    rf_release(path);
}

static void refuse(rf_curves_options options, rf_status expected, const char *words)
{
    char *report = NULL;
    rf_error error = {0};
    rf_status status = rf_curves(&options, &report, &error);
    if (status != expected || strstr(error.message, words) == NULL) {
        fail_msg("status %d, message: %s", (int)status, error.message);
    }
    assert_null(report);
}

static void test_refused(void **state)
{
    (void)state;
    const char *missing = folder_of("missing");
    rf_curves_options options = {.folders = folders, .count = 1};
    rf_curves_options changed = options;
    changed.x = "epoch";
    refuse(changed, RF_ERR_ARGUMENT, "x is \"epoch\"");
    changed = options;
    changed.part = "test";
    refuse(changed, RF_ERR_ARGUMENT, "part is \"test\"");
    changed = options;
    changed.figure = "perplexity";
    refuse(changed, RF_ERR_FORMAT, "no line has the figure \"perplexity\"");
    changed = options;
    changed.count = 0;
    refuse(changed, RF_ERR_ARGUMENT, "0 runs");
    changed = options;
    changed.smooth = -1;
    refuse(changed, RF_ERR_ARGUMENT, "smooth is -1");
    changed = options;
    changed.output = "curves.gif";
    refuse(changed, RF_ERR_ARGUMENT, ".svg or .png");
    refuse((rf_curves_options){.folders = &folders[2], .count = 1}, RF_ERR_FORMAT, "no line has");
    refuse((rf_curves_options){.folders = &missing, .count = 1}, RF_ERR_FILE, "metrics.jsonl");
    write(folders[2], "metrics.jsonl", records);
    write(folders[2], "train.json", "{\"train\": {\"batch\": 1}}");
    refuse((rf_curves_options){.folders = &folders[2], .count = 1, .x = "tokens"}, RF_ERR_FORMAT,
           "how many tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),  cmocka_unit_test(test_axes),
        cmocka_unit_test(test_means),   cmocka_unit_test(test_picture),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, make_runs, NULL);
}
