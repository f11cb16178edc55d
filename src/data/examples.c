/* Reading examples: lines to objects, then the fields of a task from each, checked one by one, so
 * that a message can name the line. Memory: the parsed rows, a few times the file. */
#include "data/examples.h"

#include "base/memory.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rf_examples_clear(rf_examples *examples)
{
    rf_release(examples->name);
    json_decref(examples->rows);
    json_decref(examples->names);
    *examples = (rf_examples){0};
}

int64_t rf_examples_count(const rf_examples *examples)
{
    return (int64_t)json_array_size(examples->rows);
}

static rf_status no_memory(const char *name, rf_error *error)
{
    return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for its rows", name);
}

/* ---- lines ------------------------------------------------------------------------------- */

static rf_status read_json_line(const char *name, size_t number, const char *line, size_t size,
                                json_t *rows, rf_error *error)
{
    char where[512];
    json_t *row = NULL;
    (void)snprintf(where, sizeof where, "%.400s: line %zu", name, number);
    RF_TRY(rf_json_parse_object(where, line, size, &row, error));
    return json_array_append_new(rows, row) == 0 ? RF_OK : no_memory(name, error);
}

/* Cells of one line against the header's names. */
static rf_status read_tsv_line(const char *name, size_t number, const char *line, size_t size,
                               const json_t *header, json_t *rows, rf_error *error)
{
    json_t *row = json_object();
    size_t column = 0;
    bool fits = row != NULL && memchr(line, 0, size) == NULL; /* no text of ours has a NUL */
    for (size_t at = 0; at <= size && fits; column++) {
        const char *tab = memchr(line + at, '\t', size - at);
        size_t end = tab != NULL ? (size_t)(tab - line) : size;
        const char *key = json_string_value(json_array_get(header, column));
        json_t *cell = key != NULL ? json_stringn(line + at, end - at) : NULL;
        fits = cell != NULL && json_object_set_new(row, key, cell) == 0;
        at = end + 1;
    }
    if (!fits || column != json_array_size(header)) {
        json_decref(row);
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: line %zu: expected %zu cells of UTF-8 (and no NUL) with tabs "
                            "between, as the first line has",
                            name, number, json_array_size(header));
    }
    return json_array_append_new(rows, row) == 0 ? RF_OK : no_memory(name, error);
}

static json_t *read_header(const char *line, size_t size)
{
    json_t *header = json_array();
    for (size_t at = 0; at <= size && header != NULL;) {
        const char *tab = memchr(line + at, '\t', size - at);
        size_t end = tab != NULL ? (size_t)(tab - line) : size;
        json_array_append_new(header, json_stringn(line + at, end - at));
        at = end + 1;
    }
    return header;
}

rf_status rf_examples_read_lines(const rf_corpus *corpus, json_t *rows, rf_error *error)
{
    const char *text = (const char *)corpus->bytes;
    json_t *header = NULL;
    bool is_json = false;
    size_t number = 0;
    rf_status status = RF_OK;
    for (size_t at = 0; at < corpus->size && status == RF_OK;) {
        const char *newline = memchr(text + at, '\n', corpus->size - at);
        size_t end = newline != NULL ? (size_t)(newline - text) : corpus->size;
        size_t size = end - at;
        size -= size > 0 && text[at + size - 1] == '\r' ? 1 : 0;
        number++;
        is_json = is_json || (header == NULL && size > 0 && text[at] == '{');
        if (size == 0) {
            /* a blank line */
        } else if (is_json) {
            status = read_json_line(corpus->name, number, text + at, size, rows, error);
        } else if (header == NULL) {
            header = read_header(text + at, size);
        } else {
            status = read_tsv_line(corpus->name, number, text + at, size, header, rows, error);
        }
        at = end + 1;
    }
    json_decref(header);
    return status;
}

static rf_status read_rows(const rf_corpus *corpus, rf_examples *examples, json_t **raw,
                           rf_error *error)
{
    json_t *whole = NULL;
    rf_status status = RF_OK;
    examples->bytes = corpus->size;
    examples->hash = corpus->hash;
    RF_TRY_DONE(rf_string_copy(corpus->name, &examples->name, error));
    *raw = json_array();
    examples->rows = json_array();
    examples->names = json_array();
    if (*raw == NULL || examples->rows == NULL || examples->names == NULL) {
        RF_TRY_DONE(no_memory(corpus->name, error));
    }
    if (rf_json_parse_object(corpus->name, (const char *)corpus->bytes, corpus->size, &whole,
                             NULL) == RF_OK) { /* one object: a row, or SQuAD's file */
        json_array_append(*raw, whole);
    } else {
        RF_TRY_DONE(rf_examples_read_lines(corpus, *raw, error));
    }
done:
    json_decref(whole);
    return status;
}

static rf_status wrong_row(const rf_examples *examples, size_t number, const char *what,
                           rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: row %zu: %s", examples->name, number + 1, what);
}

/* ---- labels ------------------------------------------------------------------------------ */

typedef enum label_kind {
    LABEL_NAME,
    LABEL_INTEGER,
    LABEL_NUMBER,
    LABEL_LIST,
    LABEL_NONE
} label_kind;

static label_kind kind_of(const json_t *label)
{
    if (json_is_string(label)) {
        return LABEL_NAME;
    }
    if (json_is_integer(label)) {
        return LABEL_INTEGER;
    }
    if (json_is_array(label)) {
        return LABEL_LIST;
    }
    return json_is_real(label) ? LABEL_NUMBER : LABEL_NONE;
}

/* A cell that holds a number counts as one. */
static json_t *number_of(const json_t *label)
{
    const char *text = json_string_value(label);
    char *end = NULL;
    if (text == NULL || text[0] == '\0') {
        return NULL;
    }
    long long whole = strtoll(text, &end, 10);
    if (*end == '\0') {
        return json_integer(whole);
    }
    double value = strtod(text, &end);
    return *end == '\0' ? json_real(value) : NULL;
}

/* Where every label is a text that holds a number (as in a table), labels are numbers. */
static void read_numbers(json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        json_t *number = number_of(json_object_get(row, "label"));
        if (number == NULL) {
            return;
        }
        json_decref(number);
    }
    json_array_foreach(rows, i, row)
    {
        json_object_set_new(row, "label", number_of(json_object_get(row, "label")));
    }
}

static int by_text(const void *a, const void *b)
{
    json_t *const *x = a;
    json_t *const *y = b;
    return strcmp(json_string_value(*x), json_string_value(*y));
}

/* Sorted names without repetition, from an object whose keys they are. */
static rf_status sort_names(rf_examples *examples, json_t *set, rf_error *error)
{
    const char *key;
    json_t *value;
    void *memory = NULL;
    size_t count = 0;
    RF_TRY(rf_allocate((json_object_size(set) + 1) * sizeof(json_t *), "names of labels", &memory,
                       error));
    json_t **list = memory;
    json_object_foreach(set, key, value)
    {
        list[count++] = json_string(key);
    }
    qsort(list, count, sizeof *list, by_text);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(examples->names, list[i]);
    }
    rf_release(memory);
    return RF_OK;
}

static rf_status name_integers(rf_examples *examples, rf_error *error)
{
    size_t i;
    json_t *row;
    json_int_t most = -1;
    json_array_foreach(examples->rows, i, row)
    {
        json_int_t label = json_integer_value(json_object_get(row, "label"));
        if (label < 0 || label >= 1 << 16) {
            return wrong_row(examples, i, "a label that is an integer goes from 0 to 65535", error);
        }
        most = label > most ? label : most;
    }
    for (json_int_t n = 0; n <= most; n++) {
        json_array_append_new(examples->names, json_sprintf("LABEL_%lld", (long long)n));
    }
    json_array_foreach(examples->rows, i, row)
    {
        json_int_t label = json_integer_value(json_object_get(row, "label"));
        json_object_set(row, "label", json_array_get(examples->names, (size_t)label));
    }
    return RF_OK;
}

/* Names of single labels, or of all in lists. */
static rf_status gather_names(rf_examples *examples, bool lists, rf_error *error)
{
    json_t *set = json_object();
    size_t i;
    size_t j;
    json_t *row;
    const json_t *item;
    rf_status status = RF_OK;
    json_array_foreach(examples->rows, i, row)
    {
        const json_t *label = json_object_get(row, "label");
        if (!lists) {
            json_object_set_new(set, json_string_value(label), json_true());
        }
        json_array_foreach(label, j, item)
        {
            if (!json_is_string(item)) {
                RF_TRY_DONE(wrong_row(examples, i, "a list of labels holds texts", error));
            }
            json_object_set_new(set, json_string_value(item), json_true());
        }
    }
    RF_TRY_DONE(sort_names(examples, set, error));
done:
    json_decref(set);
    return status;
}

static rf_status settle_labels(rf_examples *examples, bool numbers, rf_error *error)
{
    size_t i;
    json_t *row;
    read_numbers(examples->rows);
    label_kind kind = LABEL_NONE;
    json_array_foreach(examples->rows, i, row)
    {
        label_kind now = kind_of(json_object_get(row, "label"));
        bool mixes = (kind == LABEL_INTEGER && now == LABEL_NUMBER) ||
                     (kind == LABEL_NUMBER && now == LABEL_INTEGER);
        if (now == LABEL_NONE || (i > 0 && now != kind && !mixes)) {
            return wrong_row(examples, i,
                             "its label should be a text, an integer, a number or a list of texts, "
                             "as the rows before it have",
                             error);
        }
        kind = mixes || (numbers && now == LABEL_INTEGER) ? LABEL_NUMBER : now;
    }
    examples->problem = kind == LABEL_NUMBER ? RF_PROBLEM_REGRESSION
                        : kind == LABEL_LIST ? RF_PROBLEM_MULTIPLE
                                             : RF_PROBLEM_SINGLE;
    if (kind == LABEL_INTEGER) {
        return name_integers(examples, error);
    }
    return kind == LABEL_NUMBER ? RF_OK : gather_names(examples, kind == LABEL_LIST, error);
}

rf_status rf_examples_load_labelled(const char *pattern, const rf_example_fields *fields,
                                    rf_examples *examples, rf_error *error)
{
    rf_corpus corpus;
    *examples = (rf_examples){0};
    RF_TRY(rf_corpus_load(pattern, &corpus, error));
    rf_status status = rf_examples_parse_labelled(&corpus, fields, examples, error);
    rf_corpus_clear(&corpus);
    return status;
}

rf_status rf_examples_parse_labelled(const rf_corpus *corpus, const rf_example_fields *fields,
                                     rf_examples *examples, rf_error *error)
{
    const char *text = fields->text != NULL ? fields->text : "text";
    const char *pair = fields->pair != NULL ? fields->pair : "text_pair";
    const char *label = fields->label != NULL ? fields->label : "label";
    json_t *raw = NULL;
    size_t i;
    json_t *row;
    rf_status status = RF_OK;
    *examples = (rf_examples){0};
    RF_TRY_DONE(read_rows(corpus, examples, &raw, error));
    json_array_foreach(raw, i, row)
    {
        json_t *second = json_object_get(row, pair);
        if (!json_is_string(json_object_get(row, text)) || json_object_get(row, label) == NULL ||
            (second != NULL && !json_is_string(second))) {
            RF_TRY_DONE(
                rf_error_set(error, RF_ERR_FORMAT,
                             "%s: row %zu: expected texts \"%.40s\" (and perhaps \"%.40s\") "
                             "and a \"%.40s\"",
                             corpus->name, i + 1, text, pair, label));
        }
        json_t *made = json_pack("{s:O, s:O}", "text", json_object_get(row, text), "label",
                                 json_object_get(row, label));
        if (made == NULL || (second != NULL && json_object_set(made, "pair", second) != 0) ||
            json_array_append_new(examples->rows, made) != 0) {
            RF_TRY_DONE(no_memory(corpus->name, error));
        }
    }
    if (rf_examples_count(examples) == 0) {
        RF_TRY_DONE(rf_error_set(error, RF_ERR_FORMAT, "%s: there are no examples", corpus->name));
    }
    RF_TRY_DONE(settle_labels(examples, fields->numbers, error));
done:
    json_decref(raw);
    if (status != RF_OK) {
        rf_examples_clear(examples);
    }
    return status;
}

/* ---- answers ----------------------------------------------------------------------------- */

/* Bytes before character `characters` of UTF-8; past the end where there are fewer. */
static size_t byte_of(const char *text, json_int_t characters)
{
    size_t at = 0;
    for (json_int_t n = 0; text[at] != '\0'; at++) {
        bool starts = ((unsigned char)text[at] & 0xC0U) != 0x80U;
        if (starts && n++ == characters) {
            return at;
        }
    }
    return at;
}

static rf_status add_answer(rf_examples *examples, size_t number, const json_t *question,
                            const json_t *context, const json_t *answer, const json_t *start,
                            rf_error *error)
{
    const char *text = json_string_value(context);
    const char *words = answer != NULL ? json_string_value(answer) : "";
    if (!json_is_string(question) || text == NULL || words == NULL ||
        (start != NULL && !json_is_integer(start))) {
        return wrong_row(examples, number,
                         "expected texts \"question\", \"context\" and \"answer\", and an integer "
                         "\"answer_start\"",
                         error);
    }
    json_int_t place = -1;
    if (words[0] != '\0') {
        const char *found = start == NULL ? strstr(text, words) : NULL;
        size_t at = start != NULL   ? byte_of(text, json_integer_value(start))
                    : found != NULL ? (size_t)(found - text)
                                    : strlen(text);
        if (strncmp(text + at, words, strlen(words)) != 0) {
            return wrong_row(examples, number, "its answer does not stand in its context there",
                             error);
        }
        place = (json_int_t)at;
    }
    json_t *known = json_array();
    if (words[0] != '\0') {
        json_array_append_new(known, json_string(words));
    }
    json_t *made = json_pack("{s:O, s:O, s:s, s:I, s:o}", "question", question, "context", context,
                             "answer", words, "start", place, "answers", known);
    if (made == NULL || json_array_append_new(examples->rows, made) != 0) {
        return no_memory(examples->name, error);
    }
    return RF_OK;
}

/* One more answer that is right, of the row that was added last. */
static rf_status add_known(rf_examples *examples, json_t *answer, rf_error *error)
{
    size_t number = json_array_size(examples->rows) - 1;
    json_t *known = json_object_get(json_array_get(examples->rows, number), "answers");
    if (!json_is_string(answer)) {
        return wrong_row(examples, number, "one of its answers is no text", error);
    }
    return json_array_append(known, answer) == 0 ? RF_OK : no_memory(examples->name, error);
}

static rf_status add_squad_question(rf_examples *examples, const json_t *item,
                                    const json_t *context, rf_error *error)
{
    const json_t *answers = json_object_get(item, "answers");
    const json_t *answer = json_array_get(answers, 0);
    RF_TRY(add_answer(examples, (size_t)rf_examples_count(examples),
                      json_object_get(item, "question"), context, json_object_get(answer, "text"),
                      json_object_get(answer, "answer_start"), error));
    for (size_t i = 1; i < json_array_size(answers); i++) {
        RF_TRY(add_known(examples, json_object_get(json_array_get(answers, i), "text"), error));
    }
    return RF_OK;
}

/* A row of JSON lines, with one answer or with a list of texts and one of places. */
static rf_status add_question(rf_examples *examples, size_t number, const json_t *row,
                              rf_error *error)
{
    const json_t *answers = json_object_get(row, "answers");
    const json_t *texts = json_object_get(answers, "text");
    const json_t *starts = json_object_get(answers, "answer_start");
    const json_t *answer =
        answers != NULL ? json_array_get(texts, 0) : json_object_get(row, "answer");
    const json_t *start =
        answers != NULL ? json_array_get(starts, 0) : json_object_get(row, "answer_start");
    if (answers != NULL && !json_is_array(texts)) {
        return wrong_row(examples, number, "expected \"answers\" with a list \"text\"", error);
    }
    RF_TRY(add_answer(examples, number, json_object_get(row, "question"),
                      json_object_get(row, "context"), answer, start, error));
    for (size_t i = 1; i < json_array_size(texts); i++) {
        RF_TRY(add_known(examples, json_array_get(texts, i), error));
    }
    return RF_OK;
}

static rf_status add_squad(rf_examples *examples, const json_t *data, rf_error *error)
{
    size_t i;
    size_t j;
    size_t k;
    const json_t *article;
    const json_t *paragraph;
    const json_t *item;
    json_array_foreach(data, i, article)
    {
        json_array_foreach(json_object_get(article, "paragraphs"), j, paragraph)
        {
            json_array_foreach(json_object_get(paragraph, "qas"), k, item)
            {
                RF_TRY(add_squad_question(examples, item, json_object_get(paragraph, "context"),
                                          error));
            }
        }
    }
    return RF_OK;
}

rf_status rf_examples_load_answers(const char *pattern, rf_examples *examples, rf_error *error)
{
    rf_corpus corpus;
    *examples = (rf_examples){0};
    RF_TRY(rf_corpus_load(pattern, &corpus, error));
    rf_status status = rf_examples_parse_answers(&corpus, examples, error);
    rf_corpus_clear(&corpus);
    return status;
}

rf_status rf_examples_parse_answers(const rf_corpus *corpus, rf_examples *examples, rf_error *error)
{
    json_t *raw = NULL;
    size_t i;
    json_t *row;
    rf_status status = RF_OK;
    *examples = (rf_examples){0};
    RF_TRY_DONE(read_rows(corpus, examples, &raw, error));
    json_array_foreach(raw, i, row)
    {
        const json_t *data = json_object_get(row, "data");
        RF_TRY_DONE(json_is_array(data) ? add_squad(examples, data, error)
                                        : add_question(examples, i, row, error));
    }
    if (rf_examples_count(examples) == 0) {
        RF_TRY_DONE(rf_error_set(error, RF_ERR_FORMAT, "%s: there are no questions", corpus->name));
    }
done:
    json_decref(raw);
    if (status != RF_OK) {
        rf_examples_clear(examples);
    }
    return status;
}

rf_status rf_examples_split(rf_examples *examples, int64_t count, rf_examples *rest,
                            rf_error *error)
{
    size_t all = json_array_size(examples->rows);
    size_t first = all - (size_t)count;
    *rest = (rf_examples){.problem = examples->problem,
                          .bytes = examples->bytes,
                          .hash = examples->hash,
                          .rows = json_array(),
                          .names = json_incref(examples->names)};
    RF_TRY(rf_string_copy(examples->name, &rest->name, error));
    for (size_t i = first; i < all; i++) {
        if (json_array_append(rest->rows, json_array_get(examples->rows, i)) != 0) {
            return no_memory(examples->name, error);
        }
    }
    for (size_t i = all; i > first; i--) {
        (void)json_array_remove(examples->rows, i - 1);
    }
    return RF_OK;
}
