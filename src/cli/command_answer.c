/* reformer answer: the parts of a text that answer a question. */
#include "message.h"
#include "task.h"

#include <string.h>

static const rf_option options[] = {
    {.name = "question",
     .kind = RF_OPTION_STRINGS,
     .argument = "TEXT",
     .required = true,
     .group = "what",
     .help = "what to ask of the text; may be repeated"},
    {.name = "top",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "1",
     .low = 1,
     .high = 1000,
     .key = "top",
     .group = "how",
     .help = "answers to show, best first"},
    {.name = "longest",
     .kind = RF_OPTION_INTEGER,
     .argument = "N",
     .preset = "30",
     .low = 1,
     .high = 2147483647,
     .key = "longest",
     .group = "how",
     .help = "tokens of an answer, at most"},
};

typedef struct answering {
    const char *question;
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

static void show(const answering *a, const rf_encoding *encoding, const char *text,
                 const rf_span *spans)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < a->top && spans[i].start >= 0; i++) {
        int64_t begin = encoding->begins[spans[i].start];
        int64_t end = encoding->ends[spans[i].end];
        if (a->results != NULL) {
            json_array_append_new(list, span_json(&spans[i], text, begin, end));
            continue;
        }
        rf_cli_print_visible(stdout, text + begin, (size_t)(end - begin), "");
        printf("\t%.4f\n", (double)spans[i].probability);
    }
    if (a->results != NULL) {
        json_array_append_new(a->results,
                              json_pack("{s:o, s:O}", "question",
                                        rf_cli_json_text(a->question, strlen(a->question)),
                                        "answers", list));
    }
    json_decref(list);
}

static rf_status answer_text(rf_task *task, int64_t number, const char *text, size_t size,
                             void *user, rf_error *error)
{
    answering *a = user;
    rf_encoding encoding = {0};
    rf_bytes space = {0};
    int64_t first = 0;
    (void)number;
    rf_status status = rf_tokenizer_tokenize_pair(task->tokenizer, (const uint8_t *)a->question,
                                                  strlen(a->question), (const uint8_t *)text, size,
                                                  &encoding, &first, error);
    if (status == RF_OK && encoding.count == first) {
        status = rf_cli_fail(error, RF_ERR_ARGUMENT, "the text to search has no token");
    }
    if (status == RF_OK) {
        status = rf_task_space(&space, a->top, sizeof(rf_span), error);
    }
    void *spans = space.data; /* as an allocator gives it */
    rf_answer_options options_of = {.first = &first, .longest = a->longest};
    if (status == RF_OK) {
        status = rf_model_answer(task->model, encoding.ids, NULL, 1, encoding.count, &options_of,
                                 a->top, spans, error);
    }
    if (status == RF_OK) {
        show(a, &encoding, text, spans);
    }
    rf_bytes_clear(&space);
    rf_encoding_clear(&encoding);
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_task task = {0};
    const json_t *questions = rf_settings_value(settings, "question");
    answering a = {.top = rf_settings_integer(settings, "top"),
                   .longest = rf_settings_integer(settings, "longest")};
    a.results = rf_settings_flag(settings, "json") ? json_array() : NULL;
    rf_status status = rf_task_open(&task, settings, &error);
    for (size_t i = 0; i < json_array_size(questions) && status == RF_OK; i++) {
        a.question = json_string_value(json_array_get(questions, i));
        status = rf_task_each(&task, answer_text, &a, &error);
    }
    return rf_task_finish(&task, settings, a.results, status, &error);
}

const rf_command rf_command_answer = {
    .name = "answer",
    .purpose = "Find the part of a text that answers a question",
    .description = "The question and the whole text go through the model at once, however long the "
                   "text is, up to the positions that the model has. One line an answer, best "
                   "first: the part of the text and how probable it is, tab between.",
    .examples = {"answer --model runs/squad --question 'Who built it?' --data history.txt",
                 "answer --model runs/squad --question 'When?' --text 'In 1889.' --top 3 --json"},
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .shared = RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON |
              RF_SHARED_QUIET | RF_SHARED_MODEL | RF_SHARED_TEXT,
    .check = rf_task_check,
    .run = run,
};
