/* reformer answer: the parts of a text that answer a question. */
#include "batches.h"
#include "message.h"

#include <string.h>

static const rf_option options[] = {
    {.name = "question",
     .kind = RF_OPTION_STRINGS,
     .argument = "TEXT",
     .required = true,
     .group = "main options",
     .help = "question about the text; may be repeated"},
    {.name = "top",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 1000,
     .key = "top",
     .group = "more options",
     .help = "number of answers to show, best first"},
    {.name = "longest",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "30",
     .low = 1,
     .high = 2147483647,
     .key = "longest",
     .group = "more options",
     .help = "largest number of tokens in an answer"},
};

typedef struct answering {
    const json_t *questions;
    int64_t top, longest;
    json_t *results; /* with --json */
} answering;

static json_t *span_json(const rf_span *span, const char *answer, int64_t begin, int64_t end)
{
    return json_pack("{s:o, s:I, s:I, s:o, s:o}", "answer",
                     rf_cli_json_text(answer + begin, (size_t)(end - begin)), "begin",
                     (json_int_t)begin, "end", (json_int_t)end, "score",
                     rf_cli_json_number((double)span->score), "probability",
                     rf_cli_json_number((double)span->probability));
}

static const char *question_of(const answering *a, const rf_item *item)
{
    return json_string_value(json_array_get(a->questions, (size_t)item->repeat));
}

static rf_status show(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    const answering *a = user;
    const char *question = question_of(a, item);
    const void *memory = item->result.data;
    const rf_span *spans = memory;
    json_t *list = json_array();
    (void)task;
    (void)error;
    for (int64_t i = 0; i < a->top && spans[i].start >= 0; i++) {
        int64_t begin = item->encoding.begins[spans[i].start];
        int64_t end = item->encoding.ends[spans[i].end];
        if (a->results != NULL) {
            json_array_append_new(list, span_json(&spans[i], item->text, begin, end));
            continue;
        }
        rf_cli_print_visible(stdout, item->text + begin, (size_t)(end - begin), "");
        printf("\t%.4f\n", (double)spans[i].probability);
    }
    if (a->results != NULL) {
        json_array_append_new(a->results, json_pack("{s:o, s:O}", "question",
                                                    rf_cli_json_text(question, strlen(question)),
                                                    "answers", list));
    }
    json_decref(list);
    return RF_OK;
}

static rf_status encode(rf_task *task, rf_item *item, void *user, rf_error *error)
{
    const char *question = question_of(user, item);
    rf_status status = rf_tokenizer_tokenize_pair(
        task->tokenizer, (const uint8_t *)question, strlen(question), (const uint8_t *)item->text,
        item->size, &item->encoding, &item->second, error);
    item->ids = item->encoding.ids;
    item->count = item->encoding.count;
    if (status == RF_OK && item->count == item->second) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "the text to search has no token");
    }
    return status;
}

static rf_status compute(rf_task *task, const rf_item_batch *batch, void *user, rf_error *error)
{
    const answering *a = user;
    size_t each = (size_t)a->top * sizeof(rf_span);
    rf_bytes space = {0};
    rf_bytes seconds = {0};
    rf_status status = rf_task_space(&space, batch->batch * a->top, sizeof(rf_span), error);
    if (status == RF_OK) {
        status = rf_task_space(&seconds, batch->batch, sizeof(int64_t), error);
    }
    void *spans = space.data; /* both as an allocator gives them */
    void *memory = seconds.data;
    int64_t *first = memory;
    for (int64_t row = 0; row < batch->batch && status == RF_OK; row++) {
        first[row] = batch->items[row]->second;
    }
    const rf_answer_options options_of = {.first = first, .longest = a->longest};
    if (status == RF_OK) {
        status = rf_model_answer(task->model, batch->ids, batch->mask, batch->batch, batch->length,
                                 &options_of, a->top, spans, error);
    }
    for (int64_t row = 0; row < batch->batch && status == RF_OK; row++) {
        status = rf_bytes_append(&batch->items[row]->result, space.data + (size_t)row * each, each,
                                 error);
    }
    rf_bytes_clear(&space);
    rf_bytes_clear(&seconds);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_task task = {0};
    answering a = {.questions = rf_settings_value(settings, "question"),
                   .top = rf_settings_integer(settings, "top"),
                   .longest = rf_settings_integer(settings, "longest")};
    a.results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    rf_status status = rf_task_open(&task, settings, &error);
    const rf_batching how = {.repeats = (int64_t)json_array_size(a.questions),
                             .encode = encode,
                             .compute = compute,
                             .show = show,
                             .user = &a};
    if (status == RF_OK) {
        status = rf_task_batches(&task, &how, &error);
    }
    return rf_task_finish(&task, settings, a.results, status, &error);
}

const rf_command rf_command_answer = {
    .name = "answer",
    .purpose = "Find the part of a text that answers a question",
    .description = "The question and the whole text go through the model at once, up to the number "
                   "of positions of the model. Prints one line per answer, best first: the part of "
                   "the text, a tab, and its probability.",
    .examples = {"answer --model runs/squad --question 'Who built it?' --data history.txt",
                 "answer --model runs/squad --question 'When?' --text 'In 1889.' --top 3 --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = rf_task_check,
    .run = run,
};
