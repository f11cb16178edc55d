/* reformer classify: labels of texts with their probabilities. */
#include "message.h"
#include "task.h"

#include <stdlib.h>
#include <string.h>

static const rf_option options[] = {
    {.name = "pair",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .group = "what",
     .help = "a second text that is judged together with the first; it follows it"},
    {.name = "all",
     .kind = RF_OPTION_FLAG,
     .key = "all",
     .group = "how",
     .help = "show every label, not only what the model decides for"},
};

typedef struct ranked {
    int64_t label;
    double score, probability;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;
    if (x->score > y->score || x->score < y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->label < y->label ? -1 : 1;
}

static json_t *result_json(rf_task *task, int64_t number, const ranked *list, int64_t count)
{
    bool regression = strcmp(rf_model_problem(task->model), "regression") == 0;
    json_t *labels = json_array();
    for (int64_t i = 0; i < count; i++) {
        json_t *item =
            json_pack("{s:s, s:o}", "label", rf_model_label_name(task->model, list[i].label),
                      "score", rf_cli_json_number(list[i].score));
        if (!regression) {
            json_object_set_new(item, "probability", rf_cli_json_number(list[i].probability));
        }
        json_array_append_new(labels, item);
    }
    return json_pack("{s:I, s:o}", "text", (json_int_t)number, "labels", labels);
}

/* One line a text: what is decided for, tab, how sure; with --all every label. */
static void print_result(rf_task *task, const ranked *list, int64_t count)
{
    const char *problem = rf_model_problem(task->model);
    bool regression = strcmp(problem, "regression") == 0;
    bool multiple = strcmp(problem, "multiple") == 0;
    bool all = rf_settings_flag(task->settings, "all");
    bool first = true;
    for (int64_t i = 0; i < count; i++) {
        bool decided = regression || (multiple ? list[i].probability >= 0.5 : i == 0);
        if (!all && !decided) {
            continue;
        }
        printf("%s%s\t%.6g", first ? "" : "\t", rf_model_label_name(task->model, list[i].label),
               regression ? list[i].score : list[i].probability);
        first = false;
    }
    putchar('\n');
}

static rf_status show(rf_task *task, int64_t number, const float *scores,
                      const float *probabilities, json_t *results, rf_error *error)
{
    int64_t count = rf_model_labels(task->model);
    rf_bytes space = {0};
    rf_status status = rf_task_space(&space, count, sizeof(ranked), error);
    if (status == RF_OK) {
        void *memory = space.data;
        ranked *list = memory;
        for (int64_t i = 0; i < count; i++) {
            list[i] = (ranked){i, (double)scores[i], (double)probabilities[i]};
        }
        if (strcmp(rf_model_problem(task->model), "regression") != 0) {
            qsort(list, (size_t)count, sizeof *list, by_score);
        }
        if (results != NULL) {
            json_array_append_new(results, result_json(task, number, list, count));
        } else {
            print_result(task, list, count);
        }
    }
    rf_bytes_clear(&space);
    return status;
}

static rf_status tokens(rf_task *task, const char *text, size_t size, rf_encoding *encoding,
                        rf_error *error)
{
    const char *pair = rf_settings_string(task->settings, "pair");
    int64_t second = 0;
    if (pair == NULL) {
        return rf_task_tokens(task, text, size, encoding, error);
    }
    return rf_tokenizer_tokenize_pair(task->tokenizer, (const uint8_t *)text, size,
                                      (const uint8_t *)pair, strlen(pair), encoding, &second,
                                      error);
}

static rf_status classify_text(rf_task *task, int64_t number, const char *text, size_t size,
                               void *user, rf_error *error)
{
    rf_encoding encoding = {0};
    rf_bytes space = {0};
    int64_t labels = rf_model_labels(task->model);
    rf_status status = tokens(task, text, size, &encoding, error);
    if (status == RF_OK) {
        status = rf_task_space(&space, 2 * labels, sizeof(float), error);
    }
    void *memory = space.data;
    float *scores = memory;
    if (status == RF_OK) {
        status = rf_model_classify(task->model, encoding.ids, NULL, 1, encoding.count, scores,
                                   scores + labels, error);
    }
    if (status == RF_OK) {
        status = show(task, number, scores, scores + labels, user, error);
    }
    rf_bytes_clear(&space);
    rf_encoding_clear(&encoding);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_task task = {0};
    json_t *results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    rf_status status = rf_task_open(&task, settings, &error);
    if (status == RF_OK && rf_model_labels(task.model) == 0) {
        status = rf_cli_fail(&error, RF_ERR_ARGUMENT,
                             "%s is a model for the task %s; classify needs a classifier",
                             rf_settings_string(settings, "model"), rf_model_task(task.model));
    }
    if (status == RF_OK) {
        status = rf_task_each(&task, classify_text, results, &error);
    }
    return rf_task_finish(&task, settings, results, status, &error);
}

const rf_command rf_command_classify = {
    .name = "classify",
    .purpose = "Labels of texts, with their probabilities",
    .description =
        "One line a text: the label and how probable it is, tab between; of a model that "
        "gives several labels those of at least 0.5; of a regression the number.",
    .examples = {"classify --model runs/mood --text 'What a film!' --all",
                 "classify --model runs/mood --data reviews.txt --lines --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = rf_task_check,
    .run = run,
};
