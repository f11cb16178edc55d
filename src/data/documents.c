/* Reading documents: each file is read, cut, and added to one stretch of bytes. Memory: the text
 * itself, and while a file is added that file once more (of rows a few times, as JSON). */
#include "data/documents.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/examples.h"
#include "io/compressed.h"

#include <stdint.h>
#include <string.h>

static const size_t largest_text = (size_t)INT64_MAX / 8;
static const int64_t most_held_out_by_default = 200000;

/* ---- adding ------------------------------------------------------------------------------ */

typedef struct gatherer {
    rf_corpus *corpus;
    const rf_document_rule *rule;
    char *separator; /* as it stands in files; owned; NULL: none */
    size_t separator_size;
    size_t bytes_room, ends_room;
} gatherer;

static rf_status make_room(void **memory, size_t *room, size_t needed, size_t each, rf_error *error)
{
    if (needed <= *room) {
        return RF_OK;
    }
    size_t larger = needed > 2 * *room ? needed : 2 * *room;
    RF_TRY(rf_reallocate(memory, *room * each, larger * each, "documents", error));
    *room = larger;
    return RF_OK;
}

static rf_status add_document(gatherer *g, const uint8_t *bytes, size_t size, rf_error *error)
{
    rf_corpus *corpus = g->corpus;
    if (size == 0) {
        return RF_OK;
    }
    void *text = corpus->bytes;
    void *ends = corpus->ends;
    rf_status status = make_room(&text, &g->bytes_room, corpus->size + size, 1, error);
    corpus->bytes = text;
    RF_TRY(status);
    size_t documents = (size_t)corpus->documents;
    status = make_room(&ends, &g->ends_room, documents + 1, sizeof *corpus->ends, error);
    corpus->ends = ends;
    RF_TRY(status);
    memcpy(corpus->bytes + corpus->size, bytes, size);
    corpus->size += size;
    corpus->ends[corpus->documents++] = (int64_t)corpus->size;
    return RF_OK;
}

/* ---- cutting ----------------------------------------------------------------------------- */

/* "\n", "\t" and "\\" become what they stand for. */
static rf_status read_separator(gatherer *g, rf_error *error)
{
    const char *from = g->rule->separator;
    if (from == NULL) {
        return RF_OK;
    }
    RF_TRY(rf_string_copy(from, &g->separator, error));
    for (size_t i = 0; from[i] != '\0'; i++) {
        char c = from[i];
        if (c == '\\' && from[i + 1] != '\0' && strchr("nt\\", from[i + 1]) != NULL) {
            i++;
            c = from[i] == 'n' ? '\n' : from[i] == 't' ? '\t' : '\\';
        }
        g->separator[g->separator_size++] = c;
    }
    if (g->separator_size == 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "the separator of documents is empty");
    }
    return RF_OK;
}

/* Where the separator stands from `at` on; size where it does not. */
static size_t find_separator(const gatherer *g, const uint8_t *bytes, size_t size, size_t at)
{
    while (at + g->separator_size <= size) {
        const uint8_t *found = memchr(bytes + at, g->separator[0], size - at);
        if (found == NULL) {
            break;
        }
        at = (size_t)(found - bytes);
        if (at + g->separator_size <= size && memcmp(found, g->separator, g->separator_size) == 0) {
            return at;
        }
        at++;
    }
    return size;
}

static rf_status add_parts(gatherer *g, const uint8_t *bytes, size_t size, rf_error *error)
{
    if (g->separator == NULL) {
        return add_document(g, bytes, size, error);
    }
    for (size_t at = 0; at < size;) {
        size_t end = find_separator(g, bytes, size, at);
        RF_TRY(add_document(g, bytes + at, end - at, error));
        at = end + g->separator_size;
    }
    return RF_OK;
}

/* Does the name end so, before what says how it is packed? */
static bool holds_rows(const char *path)
{
    static const char *const packed[] = {".xz", ".gz", ".zst", ""};
    static const char *const rows[] = {".jsonl", ".ndjson", ".tsv"};
    size_t size = strlen(path);
    for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++) {
        size_t tail = strlen(packed[i]);
        if (size > tail && strcmp(path + size - tail, packed[i]) == 0) {
            size -= tail;
            break;
        }
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t tail = strlen(rows[i]);
        if (size > tail && strncmp(path + size - tail, rows[i], tail) == 0) {
            return true;
        }
    }
    return false;
}

static rf_status add_rows(gatherer *g, const rf_corpus *file, rf_error *error)
{
    const char *field = g->rule->text_field != NULL ? g->rule->text_field : "text";
    json_t *rows = json_array();
    size_t i;
    const json_t *row;
    rf_status status = RF_OK;
    if (rows == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for its rows", file->name);
    }
    RF_TRY_DONE(rf_examples_read_lines(file, rows, error));
    json_array_foreach(rows, i, row)
    {
        const json_t *text = json_object_get(row, field);
        if (!json_is_string(text)) {
            RF_TRY_DONE(rf_error_set(error, RF_ERR_FORMAT, "%s: row %zu: expected a text \"%.40s\"",
                                     file->name, i + 1, field));
        }
        RF_TRY_DONE(add_document(g, (const uint8_t *)json_string_value(text),
                                 json_string_length(text), error));
    }
done:
    json_decref(rows);
    return status;
}

static rf_status add_file(gatherer *g, char *path, rf_error *error)
{
    rf_corpus file = {.name = path};
    RF_TRY(
        rf_compressed_read(path, largest_text - g->corpus->size, &file.bytes, &file.size, error));
    rf_status status =
        holds_rows(path) ? add_rows(g, &file, error) : add_parts(g, file.bytes, file.size, error);
    rf_release(file.bytes);
    g->corpus->files++;
    return status;
}

rf_status rf_documents_load(const char *pattern, const rf_document_rule *rule, rf_corpus *corpus,
                            rf_error *error)
{
    gatherer g = {.corpus = corpus, .rule = rule};
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    *corpus = (rf_corpus){0};
    RF_TRY_DONE(rf_string_copy(pattern, &corpus->name, error));
    RF_TRY_DONE(read_separator(&g, error));
    RF_TRY_DONE(rf_file_find(pattern, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        RF_TRY_DONE(add_file(&g, names[i], error));
    }
    if (corpus->documents == 0) {
        RF_TRY_DONE(rf_error_set(error, RF_ERR_FILE, "%s: %zu file%s, but no document in %s",
                                 pattern, count, count == 1 ? "" : "s",
                                 count == 1 ? "it" : "them"));
    }
    corpus->hash = rf_hash_bytes(corpus->bytes, corpus->size, 0);
    corpus->hash =
        rf_hash_bytes(corpus->ends, (size_t)corpus->documents * sizeof *corpus->ends, corpus->hash);
done:
    rf_names_release(names, count);
    rf_release(g.separator);
    if (status != RF_OK) {
        rf_corpus_clear(corpus);
    }
    return status;
}

/* ---- training and validation ------------------------------------------------------------- */

int64_t rf_documents_last(const rf_corpus *corpus, int64_t bytes)
{
    int64_t size = (int64_t)corpus->size;
    int64_t count = 1;
    while (count < corpus->documents &&
           size - corpus->ends[corpus->documents - 1 - count] < bytes) {
        count++;
    }
    return count;
}

rf_status rf_documents_view(const rf_tokenizer *tokenizer, const rf_corpus *corpus, int64_t first,
                            int64_t end, rf_tokens *tokens, rf_error *error)
{
    int64_t start = first > 0 ? corpus->ends[first - 1] : 0;
    void *memory = NULL;
    RF_TRY(
        rf_allocate((size_t)(end - first) * sizeof(int64_t), "ends of documents", &memory, error));
    int64_t *ends = memory;
    for (int64_t i = first; i < end; i++) {
        ends[i - first] = corpus->ends[i] - start;
    }
    rf_status status = rf_tokens_view_documents(tokenizer, corpus->bytes + start, ends, end - first,
                                                tokens, error);
    rf_release(ends);
    return status;
}

rf_status rf_documents_split(const rf_tokenizer *tokenizer, const rf_corpus *corpus,
                             int64_t requested, rf_tokens *train, rf_tokens *valid, rf_error *error)
{
    int64_t share = (int64_t)corpus->size / 20;
    int64_t held = share < most_held_out_by_default ? share : most_held_out_by_default;
    held = requested > 0 ? requested : held;
    int64_t first = corpus->documents - rf_documents_last(corpus, held);
    if (first < 1) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "%s: %lld document%s of %zu bytes, of which the last with %lld bytes or more are held "
            "out for validation: none is left to learn; hold out less, or give a validation text",
            corpus->name, (long long)corpus->documents, corpus->documents == 1 ? "" : "s",
            corpus->size, (long long)held);
    }
    RF_TRY(rf_documents_view(tokenizer, corpus, first, corpus->documents, valid, error));
    return rf_documents_view(tokenizer, corpus, 0, first, train, error);
}
