/* reformer classify: labels of texts with their probabilities. */
#include "batches.h"
#include "common_options.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

static const rf_option options[] = {
    {.name = "text-pair",
     .kind = RF_OPTION_STRING,
     .argument = "TEXT",
     .group = "main options",
     .help = "second text of a pair, appended to the first"},
    {RF_COMMON_TEXT_FIELD,
     .help = "with --lines: lines are JSON objects, with the text in this field (default 'text')"},
    {RF_COMMON_PAIR_FIELD,
     .help = "with --lines: field of the second text (default 'text_pair', if present)"},
    {.name = "all",
     .kind = RF_OPTION_FLAG,
     .key = "all",
     .group = "more options",
     .help = "show all labels, not only the predicted ones"},
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

static rf_status show(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    json_t *results = user;
    int64_t count = rf_model_labels(task->model);
    rf_bytes space = {0};
    const void *made = item->result.data;
    const float *scores = made; /* then probabilities */
    rf_status status = rf_task_space(&space, count, sizeof(ranked), error);
    if (status == RF_OK) {
        void *memory = space.data;
        ranked *list = memory;
        for (int64_t i = 0; i < count; i++) {
            list[i] = (ranked){i, (double)scores[i], (double)scores[count + i]};
        }
        if (strcmp(rf_model_problem(task->model), "regression") != 0) {
            qsort(list, (size_t)count, sizeof *list, by_score);
        }
        if (results != NULL) {
            json_array_append_new(results, result_json(task, item->number, list, count));
        } else {
            print_result(task, list, count);
        }
    }
    rf_bytes_clear(&space);
    return status;
}

/* ---- one text, or two -------------------------------------------------------------------- */

typedef struct texts {
    const char *first, *second; /* second NULL: there is one text */
    size_t first_size, second_size;
    json_t *row; /* that holds them, or NULL; owned */
} texts;

static bool reads_objects(const rf_settings *settings)
{
    return rf_settings_has(settings, "text-field") || rf_settings_has(settings, "pair-field");
}

static const char *field_of(const rf_settings *settings, const char *option, const char *preset)
{
    return rf_settings_has(settings, option) ? rf_settings_string(settings, option) : preset;
}

/* A line as an object with one text or two. */
static rf_status read_object(rf_task *task, int64_t number, const char *line, size_t size,
                             texts *found, rf_error *error)
{
    const char *text_name = field_of(task->settings, "text-field", "text");
    const char *pair_name = field_of(task->settings, "pair-field", "text_pair");
    found->row = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *first = json_object_get(found->row, text_name);
    const json_t *second = json_object_get(found->row, pair_name);
    if (!json_is_string(first) || (second != NULL && !json_is_string(second))) {
        return rf_cli_fail(error, RF_ERR_FORMAT,
                           "line %lld: expected a JSON object with the text \"%.40s\", and perhaps "
                           "the text \"%.40s\"",
                           (long long)number + 1, text_name, pair_name);
    }
    found->first = json_string_value(first);
    found->first_size = json_string_length(first);
    found->second = json_string_value(second);
    found->second_size = json_string_length(second);
    return RF_OK;
}

static rf_status tokens(rf_task *task, const texts *found, rf_item *item, rf_error *error)
{
    rf_status status =
        found->second == NULL
            ? rf_task_tokens(task, found->first, found->first_size, &item->encoding, error)
            : rf_tokenizer_tokenize_pair(task->tokenizer, (const uint8_t *)found->first,
                                         found->first_size, (const uint8_t *)found->second,
                                         found->second_size, &item->encoding, &item->second, error);
    item->ids = item->encoding.ids;
    item->count = item->encoding.count;
    item->second = found->second == NULL ? item->count : item->second;
    return status;
}

static rf_status encode(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    const char *pair = rf_settings_string(task->settings, "text-pair");
    texts found = {.first = item->text, .first_size = item->size, .second = pair};
    found.second_size = pair != NULL ? strlen(pair) : 0;
    (void)user;
    rf_status status = reads_objects(task->settings)
                           ? read_object(task, item->number, item->text, item->size, &found, error)
                           : RF_OK;
    if (status == RF_OK) {
        status = tokens(task, &found, item, error);
    }
    json_decref(found.row);
    return status;
}

/* Tokens of a second text are of type 1. types [batch, length] */
static void fill_types(const rf_item_batch *batch, int32_t *types)
{
    for (int64_t i = 0; i < batch->batch * batch->length; i++) {
        const rf_item *item = batch->items[i / batch->length];
        int64_t position = i % batch->length;
        types[i] = position >= item->second && position < item->count ? 1 : 0;
    }
}

/* Scores and probabilities side by side for each item. */
static rf_status take_results(const rf_item_batch *batch, const float *scores, int64_t labels,
                              rf_error *error)
{
    rf_status status = RF_OK;
    for (int64_t i = 0; i < 2 * batch->batch && status == RF_OK; i++) {
        int64_t row = i / 2;
        const float *from = scores + (i % 2 * batch->batch + row) * labels;
        status = rf_bytes_append(&batch->items[row]->result, (const char *)from,
                                 (size_t)labels * sizeof *from, error);
    }
    return status;
}

static rf_status compute(rf_task *task, const rf_item_batch *batch, void *user, rf_error *error)
{
    int64_t labels = rf_model_labels(task->model);
    rf_bytes space = {0};
    rf_bytes types = {0};
    (void)user;
    rf_status status = rf_task_space(&types, batch->batch * batch->length, sizeof(int32_t), error);
    if (status == RF_OK) {
        status = rf_task_space(&space, 2 * batch->batch * labels, sizeof(float), error);
    }
    void *type = types.data; /* both as an allocator gives them */
    void *memory = space.data;
    float *scores = memory;
    if (status == RF_OK) {
        fill_types(batch, type);
        const rf_pair_batch pairs = {.ids = batch->ids,
                                     .token_types = type,
                                     .mask = batch->mask,
                                     .batch = batch->batch,
                                     .length = batch->length};
        status = rf_model_classify_pairs(task->model, &pairs, scores,
                                         scores + batch->batch * labels, error);
    }
    if (status == RF_OK) {
        status = take_results(batch, scores, labels, error);
    }
    rf_bytes_clear(&types);
    rf_bytes_clear(&space);
    return status;
}

static rf_status check(const rf_settings *settings, rf_error *error)
{
    if (reads_objects(settings) && !rf_settings_flag(settings, "lines")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--text-field and --pair-field are for --lines of JSON objects");
    }
    if (reads_objects(settings) && rf_settings_has(settings, "text-pair")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--text-pair is one text for all; with --pair-field the lines have "
                           "their own");
    }
    return rf_task_check(settings, error);
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
        const rf_batching how = {
            .repeats = 1, .encode = encode, .compute = compute, .show = show, .user = results};
        status = rf_task_batches(&task, &how, &error);
    }
    return rf_task_finish(&task, settings, results, status, &error);
}

const rf_command rf_command_classify = {
    .name = "classify",
    .purpose = "Classify texts: labels with their probabilities",
    .description =
        "Prints one line per text: the label, a tab, and its probability. A model with several "
        "labels per text gives those of at least 0.5, a regression model the number.",
    .examples =
        {"classify --model runs/mood --text 'What a film!' --all",
         "classify --model runs/pairs --data pairs.jsonl --lines --pair-field text_pair --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = check,
    .run = run,
};
