/* The figures of classifiers and question answerers against what the same model's use gives, text
 * by text. */
#include "run.h"

#include "base/file.h"
#include "reformer/tasks.h"
#include "reformer/tokenizer.h"
#include "train/judge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 12, LONGEST = 64 };

static rf_model *make_model(const char *task, const char *problem, const char *folder)
{
    char more[128];
    rf_model *model = NULL;
    rf_model_options options = {.device = "cpu", .threads = 1, .task = task};
    (void)snprintf(more, sizeof more,
                   ", \"num_buckets\": 4, \"initializer_range\": 0.5, \"hash_seed\": 3%s", problem);
    if (strcmp(task, "classify") == 0) {
        options.labels = strstr(problem, "regression") != NULL ? 1 : 3;
    }
    assert_ok(rf_model_create(small_model(more), 7, "huggingface", &options, &model, error));
    assert_ok(rf_model_save(model, folder, NULL, error));
    return model;
}

/* Text number i, of its own length. */
static const char *text_of(int i, char text[LONGEST])
{
    (void)snprintf(text, LONGEST, "line %d%.*s", i * i * 37, i, "bcdefghijklmnop");
    return text;
}

static int64_t encode(const char *text, int32_t ids[LONGEST])
{
    for (size_t i = 0; i < strlen(text); i++) {
        ids[i] = (unsigned char)text[i] + 2;
    }
    return (int64_t)strlen(text);
}

static rf_evaluation evaluate(const char *folder, const char *data, int64_t batch)
{
    rf_evaluation result;
    const rf_evaluate_options options = {
        .model = folder, .data = data, .batch = batch, .threads = 1};
    assert_ok(rf_evaluate(&options, &result, error));
    return result;
}

static void expect_figure(const rf_evaluation *result, const char *name, double expected)
{
    double value = rf_figures_value(&result->figures, name);
    if (!(fabs(value - expected) < 1e-6)) {
        fail_msg("%s is %.9g, expected %.9g", name, value, expected);
    }
}

static const char *write_rows(const char *name, const char *text)
{
    const char *path = scratch(name);
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    return path;
}

/* Scores of all texts, [ROWS, labels]. */
static void score_all(rf_model *model, float *scores)
{
    int64_t labels = rf_model_labels(model);
    for (int i = 0; i < ROWS; i++) {
        char text[LONGEST];
        int32_t ids[LONGEST];
        int64_t count = encode(text_of(i, text), ids);
        assert_ok(rf_model_classify(model, ids, NULL, 1, count, scores + i * labels, NULL, error));
    }
}

static void one_label_of_many(void **state)
{
    (void)state;
    const char *folder = scratch("single");
    rf_model *model =
        make_model("classify", ", \"problem_type\": \"single_label_classification\"", folder);
    float scores[ROWS * 3];
    char data[ROWS * 128] = "";
    rf_metrics metrics;
    assert_ok(rf_metrics_init(&metrics, RF_PROBLEM_SINGLE, 3, ROWS, error));
    score_all(model, scores);
    for (int i = 0; i < ROWS; i++) {
        char text[LONGEST];
        (void)snprintf(data + strlen(data), 128, "{\"text\": \"%s\", \"label\": %d}\n",
                       text_of(i, text), i % 3);
        rf_metrics_add_label(&metrics, scores + (ptrdiff_t)i * 3, i % 3);
    }
    const char *path = write_rows("single.jsonl", data);
    for (int64_t batch = 1; batch <= 5; batch += 4) {
        rf_evaluation result = evaluate(folder, path, batch);
        assert_int_equal(result.windows, ROWS);
        expect_figure(&result, "accuracy", (double)metrics.whole / ROWS);
        expect_figure(&result, "macro_f1", rf_metrics_macro_f1(&metrics));
        expect_figure(&result, "matthews", rf_metrics_matthews(&metrics));
    }
    rf_metrics_clear(&metrics);
    rf_model_destroy(model);
}

static void numbers(void **state)
{
    (void)state;
    const char *folder = scratch("numbers");
    rf_model *model = make_model("classify", ", \"problem_type\": \"regression\"", folder);
    float scores[ROWS];
    double told[ROWS];
    double wanted[ROWS];
    double square = 0.0;
    char data[ROWS * 128] = "";
    score_all(model, scores);
    for (int i = 0; i < ROWS; i++) {
        char text[LONGEST];
        (void)snprintf(data + strlen(data), 128, "{\"text\": \"%s\", \"label\": %d.25}\n",
                       text_of(i, text), i * 7 % 5);
        told[i] = (double)scores[i];
        wanted[i] = i * 7 % 5 + 0.25;
        square += (told[i] - wanted[i]) * (told[i] - wanted[i]) / ROWS;
    }
    rf_evaluation result = evaluate(folder, write_rows("numbers.jsonl", data), 4);
    expect_figure(&result, "mean_squared_error", square);
    expect_figure(&result, "loss", square);
    expect_figure(&result, "pearson", rf_metrics_pearson(told, wanted, ROWS));
    rf_model_destroy(model);
}

/* The text of the model's best answer to "who?" in a context. */
static void best_answer(rf_model *model, const rf_tokenizer *tokenizer, const char *context,
                        char answer[LONGEST])
{
    rf_encoding encoding = {0};
    rf_span span;
    int64_t first = 0;
    assert_ok(rf_tokenizer_tokenize_pair(tokenizer, (const uint8_t *)"who?", 4,
                                         (const uint8_t *)context, strlen(context), &encoding,
                                         &first, error));
    const rf_answer_options options = {.first = &first};
    assert_ok(
        rf_model_answer(model, encoding.ids, NULL, 1, encoding.count, &options, 1, &span, error));
    int64_t begin = encoding.begins[span.start];
    int64_t size = encoding.ends[span.end] - begin;
    memcpy(answer, context + begin, (size_t)size);
    answer[size] = '\0';
    rf_encoding_clear(&encoding);
}

/* A third of the questions are answered by what the model says, a third by something else, and a
 * third not at all. */
static void answers(void **state)
{
    (void)state;
    const char *folder = scratch("answers");
    rf_model *model = make_model("answer", "", folder);
    rf_tokenizer *tokenizer = NULL;
    char data[ROWS * 256] = "";
    assert_ok(rf_tokenizer_load(folder, &tokenizer, error));
    for (int i = 0; i < ROWS; i++) {
        char context[LONGEST];
        char answer[LONGEST];
        (void)snprintf(context, sizeof context, "%.*s Zoe", 5 + i, "qwertyuiopasdfghjkl");
        best_answer(model, tokenizer, context, answer);
        const char *known[] = {answer, strstr(answer, "Zoe") != NULL ? "q" : "Zoe", ""};
        (void)snprintf(data + strlen(data), 256,
                       "{\"question\": \"who?\", \"context\": \"%s\", \"answer\": \"%s\"}\n",
                       context, known[i % 3]);
    }
    const char *path = write_rows("answers.jsonl", data);
    for (int64_t batch = 1; batch <= 7; batch += 3) {
        rf_evaluation result = evaluate(folder, path, batch);
        expect_figure(&result, "exact_match", 0.5);
        expect_figure(&result, "f1", 0.5);
        assert_int_equal(result.tokens, 2 * ROWS * 2 / 3);
    }
    rf_tokenizer_destroy(tokenizer);
    rf_model_destroy(model);
}

static void which_is_better(void **state)
{
    (void)state;
    assert_true(rf_figure_is_better("loss", 1.0, 2.0));
    assert_false(rf_figure_is_better("loss", 2.0, 2.0));
    assert_true(rf_figure_is_better("f1", 2.0, 1.0));
    assert_false(rf_figure_is_better("f1", (double)NAN, 1.0));
    assert_false(rf_figure_is_better("loss", (double)NAN, 1.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_label_of_many),
                                       cmocka_unit_test(numbers), cmocka_unit_test(answers),
                                       cmocka_unit_test(which_is_better)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
