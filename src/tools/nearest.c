/* `nearest`: arithmetic with words. The words of a text (or of the vocabulary) get vectors: the
 * mean over the rows of the input table of their tokens, or over everything that a layer has for
 * them wherever they stand in the text; the expression is compared with all of them by cosine
 * (Mikolov et al. 2013). The text goes through the model window by window, each a sequence of its
 * own; windows are cut between words. Memory: the text, and a vector of doubles a word. */
#include "base/memory.h"
#include "data/text.h"
#include "data/words.h"
#include "reformer/inside.h"
#include "reformer/tasks.h"
#include "reformer/tools.h"
#include "tools/open_model.h"

#include <math.h>

enum { MOST_TERMS = 16, WINDOW = 2048, BYTES_OF_PIECE = 4 };

typedef struct term {
    rf_word word;
    int sign;
    int64_t row; /* of `vectors` */
} term;

typedef struct search {
    const rf_nearest_options *options;
    bool in_context, last_only;
    term terms[MOST_TERMS];
    int64_t term_count;
    rf_model *model;
    rf_tokenizer *tokenizer;
    rf_corpus corpus; /* without bytes where there is no text */
    size_t size;      /* of the text, within the limit */
    rf_words words;
    int64_t compared; /* the first words */
    int64_t *rows;    /* [words.count] of `vectors`, -1: has none */
    int64_t row_count, width, length, tokens;
    double *vectors; /* [row_count, width] */
    int64_t *counts; /* [row_count] */
    float *window;   /* [length, width] */
    double *wanted;  /* [width] */
} search;

/* ---- the expression ---------------------------------------------------------------------- */

static rf_status bad_expression(const char *text, const char *why, rf_error *error)
{
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "'%.200s': %s; expected words with + and - between them, as in 'king - man "
                        "+ woman'",
                        text, why);
}

static rf_status parse(search *s, rf_error *error)
{
    const char *text = s->options->expression;
    const uint8_t *bytes = (const uint8_t *)text;
    size_t size = strlen(text);
    int sign = 1;
    bool expects = true; /* a word */
    for (size_t at = 0; at < size;) {
        size_t end = 0;
        size_t begin = at;
        if (text[at] == ' ' || text[at] == '\t') {
            at++;
            continue;
        }
        if (text[at] == '+' || text[at] == '-') {
            if (expects && s->term_count > 0) {
                return bad_expression(text, "a sign follows a sign", error);
            }
            sign = text[at++] == '+' ? 1 : -1;
            expects = true;
            continue;
        }
        if (!rf_word_next(bytes, size, &begin, &end) || begin != at) {
            return bad_expression(text, "it holds what is no letter", error);
        }
        if (!expects || s->term_count == MOST_TERMS) {
            return bad_expression(text, expects ? "more than 16 words" : "a sign is missing",
                                  error);
        }
        s->terms[s->term_count++] =
            (term){.word = {.text = bytes + begin, .size = end - begin}, .sign = sign};
        expects = false;
        at = end;
    }
    return expects ? bad_expression(text, "it does not end with a word", error) : RF_OK;
}

/* ---- words ------------------------------------------------------------------------------- */

/* The pieces of a vocabulary that start a word and hold letters only. */
static rf_status add_pieces(search *s, rf_error *error)
{
    static const char blank[] = "\xe2\x96\x81"; /* U+2581, which pieces have for a space */
    const size_t mark = sizeof blank - 1;
    if (rf_tokenizer_is_bytes(s->tokenizer)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "the model's tokens are bytes, so its vocabulary has no words; give a "
                            "text that has them (data)");
    }
    for (int64_t id = 0; id < rf_tokenizer_vocabulary(s->tokenizer); id++) {
        size_t size = 0;
        size_t begin = 0;
        size_t end = 0;
        int64_t index = 0;
        const char *piece = rf_tokenizer_piece(s->tokenizer, id, &size);
        if (piece == NULL || size <= mark || memcmp(piece, blank, mark) != 0) {
            continue;
        }
        const uint8_t *text = (const uint8_t *)piece + mark;
        if (rf_word_next(text, size - mark, &begin, &end) && begin == 0 && end == size - mark) {
            RF_TRY(rf_words_add(&s->words, text, end, 0, &index, error));
        }
    }
    return RF_OK;
}

static rf_status find_words(search *s, rf_error *error)
{
    const rf_nearest_options *o = s->options;
    int64_t least = o->min_count > 0 ? o->min_count : 5;
    int64_t most = o->most_words > 0 ? o->most_words : 20000;
    if (o->data == NULL) {
        RF_TRY(add_pieces(s, error));
        least = 0;
    } else {
        RF_TRY(rf_corpus_load(o->data, &s->corpus, error));
        s->size = o->limit > 0 && o->limit < s->corpus.size ? (size_t)o->limit : s->corpus.size;
        RF_TRY(rf_words_add_all(&s->words, s->corpus.bytes, s->size, error));
        rf_words_sort(&s->words);
    }
    while (s->compared < s->words.count && s->compared < most &&
           s->words.items[s->compared].count >= least) {
        s->compared++;
    }
    return s->compared > 0 ? RF_OK
                           : rf_error_set(error, RF_ERR_ARGUMENT,
                                          "no word stands in the text %lld times; lower min_count "
                                          "or give more text",
                                          (long long)least);
}

/* A row for every word that is compared, and for those of the expression. */
static rf_status number_rows(search *s, rf_error *error)
{
    void *memory = NULL;
    for (int64_t i = 0; i < s->term_count; i++) {
        const rf_word *word = &s->terms[i].word;
        if (s->in_context && rf_words_find(&s->words, word->text, word->size) < 0) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "'%.*s' does not stand in the text, so nothing is known of it",
                                (int)word->size, (const char *)word->text);
        }
        RF_TRY(rf_words_add(&s->words, word->text, word->size, 0, &s->terms[i].row, error));
    }
    RF_TRY(rf_allocate((size_t)s->words.count * sizeof *s->rows, "rows of words", &memory, error));
    s->rows = memory;
    s->row_count = s->compared;
    for (int64_t i = 0; i < s->words.count; i++) {
        s->rows[i] = i < s->compared ? i : -1;
    }
    for (int64_t i = 0; i < s->term_count; i++) {
        int64_t *row = &s->rows[s->terms[i].row];
        *row = *row >= 0 ? *row : s->row_count++;
        s->terms[i].word.count = s->words.items[s->terms[i].row].count;
        s->terms[i].row = *row;
    }
    return RF_OK;
}

static rf_status take_memory(search *s, rf_error *error)
{
    void *memory = NULL;
    size_t numbers = (size_t)(s->row_count * s->width);
    RF_TRY(rf_allocate_zeroed(numbers * sizeof *s->vectors, "vectors of words", &memory, error));
    s->vectors = memory;
    RF_TRY(rf_allocate_zeroed((size_t)s->row_count * sizeof *s->counts, "counts of tokens", &memory,
                              error));
    s->counts = memory;
    RF_TRY(rf_allocate((size_t)(s->length * s->width) * sizeof *s->window, "vectors of tokens",
                       &memory, error));
    s->window = memory;
    RF_TRY(
        rf_allocate_zeroed((size_t)s->width * sizeof *s->wanted, "the expression", &memory, error));
    s->wanted = memory;
    return RF_OK;
}

/* ---- vectors ----------------------------------------------------------------------------- */

/* One more token of a word. */
static void add_token(search *s, int64_t row, const float *values)
{
    double *sum = s->vectors + row * s->width;
    for (int64_t i = 0; i < s->width; i++) {
        sum[i] += (double)values[i];
    }
    s->counts[row]++;
}

/* From the input table: the tokens of the word by itself. */
static rf_status compose(search *s, const rf_word *word, int64_t row, rf_error *error)
{
    rf_encoding e = {0};
    RF_TRY(rf_tokenizer_tokenize(s->tokenizer, word->text, word->size, &e, error));
    rf_status status = RF_OK;
    for (int64_t i = 0; i < e.count && status == RF_OK; i++) {
        status = rf_model_token_vectors(s->model, &e.ids[i], 1, s->window, error);
        if (status == RF_OK) {
            add_token(s, row, s->window);
        }
    }
    rf_encoding_clear(&e);
    return status;
}

static rf_status compose_all(search *s, rf_error *error)
{
    for (int64_t i = 0; i < s->words.count; i++) {
        if (s->rows[i] >= 0) {
            RF_TRY(compose(s, &s->words.items[i], s->rows[i], error));
        }
    }
    return RF_OK;
}

/* Where the last word that begins before `end` begins, if it does not end there; else `end`. */
static size_t cut(const search *s, size_t from, size_t end)
{
    size_t begin = from;
    size_t stop = from;
    size_t last = end;
    while (rf_word_next(s->corpus.bytes, s->size, &begin, &stop) && begin < end) {
        last = stop > end ? begin : end;
        begin = stop;
    }
    return last > from ? last : end;
}

/* The tokens of a window go to the words of bytes [from, end). */
static void share_out(search *s, const rf_encoding *e, size_t from, size_t end)
{
    int64_t token = 0;
    size_t stop = from;
    for (size_t begin = from; rf_word_next(s->corpus.bytes, end, &begin, &stop); begin = stop) {
        int64_t word = rf_words_find(&s->words, s->corpus.bytes + begin, stop - begin);
        int64_t row = word >= 0 ? s->rows[word] : -1;
        while (token < e->count && e->ends[token] <= (int64_t)(begin - from)) {
            token++;
        }
        for (; token < e->count && e->begins[token] < (int64_t)(stop - from); token++) {
            if (row >= 0 && (!s->last_only || e->ends[token] >= (int64_t)(stop - from))) {
                add_token(s, row, s->window + token * s->width);
            }
        }
    }
}

/* One window from *from on; moves *from behind it. */
static rf_status read_window(search *s, size_t *from, rf_error *error)
{
    bool bytes = rf_tokenizer_is_bytes(s->tokenizer);
    size_t most = (size_t)s->length * (bytes ? 1 : BYTES_OF_PIECE);
    size_t left = s->size - *from;
    size_t end = s->size;
    if (left > most) {
        end = cut(s, *from, rf_text_boundary(s->corpus.bytes, s->size, *from + most));
    }
    rf_encoding e = {0};
    rf_status status = RF_OK;
    rf_embed_options how = {.pooling = "none", .layer = s->options->layer};
    RF_TRY_DONE(
        rf_tokenizer_tokenize(s->tokenizer, s->corpus.bytes + *from, end - *from, &e, error));
    if (e.count > s->length) {
        size_t reached = *from + (size_t)e.begins[s->length];
        end = reached > *from ? cut(s, *from, reached) : end;
        e.count = s->length;
    }
    if (e.count > 0) {
        RF_TRY_DONE(rf_model_embed(s->model, e.ids, NULL, 1, e.count, &how, s->window, error));
    }
    share_out(s, &e, *from, end);
    s->tokens += e.count;
    *from = end;
done:
    rf_encoding_clear(&e);
    return status;
}

static rf_status read_text(search *s, rf_error *error)
{
    rf_log_write(&s->options->log, RF_LOG_INFO,
                 "%lld words stand often enough; %zu bytes go through the model in windows of %lld "
                 "tokens",
                 (long long)s->compared, s->size, (long long)s->length);
    for (size_t from = 0; from < s->size;) {
        RF_TRY(read_window(s, &from, error));
    }
    return RF_OK;
}

/* ---- cosines ----------------------------------------------------------------------------- */

static double length_of(const double *x, int64_t width)
{
    double sum = 0.0;
    for (int64_t i = 0; i < width; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

static void add_scaled(double *to, const double *from, double factor, int64_t width)
{
    for (int64_t i = 0; i < width; i++) {
        to[i] += factor * from[i];
    }
}

/* Sums become means, or zeros; perhaps without what all compared words share; of length 1. */
static void finish_vectors(search *s)
{
    for (int64_t r = 0; r < s->row_count; r++) {
        double *x = s->vectors + r * s->width;
        add_scaled(x, x, s->counts[r] > 0 ? 1.0 / (double)s->counts[r] - 1.0 : 0.0, s->width);
        if (r < s->compared && s->options->center) {
            add_scaled(s->wanted, x, 1.0 / (double)s->compared, s->width); /* the mean, for now */
        }
    }
    for (int64_t r = 0; r < s->row_count; r++) {
        double *x = s->vectors + r * s->width;
        add_scaled(x, s->wanted, -1.0, s->width);
        double length = length_of(x, s->width);
        add_scaled(x, x, length > 0.0 ? 1.0 / length - 1.0 : 0.0, s->width);
    }
    memset(s->wanted, 0, (size_t)s->width * sizeof *s->wanted);
    for (int64_t i = 0; i < s->term_count; i++) {
        add_scaled(s->wanted, s->vectors + s->terms[i].row * s->width, s->terms[i].sign, s->width);
    }
}

static double cosine(const search *s, int64_t row)
{
    const double *x = s->vectors + row * s->width;
    double length = length_of(s->wanted, s->width);
    double sum = 0.0;
    for (int64_t i = 0; i < s->width; i++) {
        sum += x[i] * s->wanted[i];
    }
    return length > 0.0 ? sum / length : 0.0;
}

static bool is_term(const search *s, int64_t row)
{
    for (int64_t i = 0; i < s->term_count; i++) {
        if (s->terms[i].row == row) {
            return true;
        }
    }
    return false;
}

/* ---- the report -------------------------------------------------------------------------- */

static json_t *word_json(const rf_word *word)
{
    return json_pack("{s:o, s:I}", "word",
                     json_stringn_nocheck((const char *)word->text, word->size), "count",
                     (json_int_t)word->count);
}

/* The best `top` rows, by insertion; equal ones in the order of rows. */
static rf_status list_nearest(const search *s, json_t *list, rf_error *error)
{
    int64_t top = s->options->top > 0 ? s->options->top : 10;
    for (int64_t row = 0; row < s->compared; row++) {
        if (is_term(s, row)) {
            continue;
        }
        double value = cosine(s, row);
        size_t place = json_array_size(list);
        while (place > 0 && json_real_value(json_object_get(json_array_get(list, place - 1),
                                                            "cosine")) < value) {
            place--;
        }
        if (place >= (size_t)top) {
            continue;
        }
        json_t *item = word_json(&s->words.items[row]);
        RF_TRY(rf_json_set(item, "cosine", json_real(value), error));
        if (json_array_insert_new(list, place, item) != 0) {
            return rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
        }
        if (json_array_size(list) > (size_t)top) {
            (void)json_array_remove(list, (size_t)top);
        }
    }
    return RF_OK;
}

static rf_status write_report(const search *s, char **report, rf_error *error)
{
    json_t *terms = json_array();
    json_t *nearest = json_array();
    rf_status status = RF_OK;
    for (int64_t i = 0; i < s->term_count; i++) {
        json_t *item = word_json(&s->terms[i].word);
        (void)json_object_set_new(item, "sign", json_string(s->terms[i].sign > 0 ? "+" : "-"));
        (void)json_array_append_new(terms, item);
    }
    json_t *object =
        json_pack("{s:O, s:s, s:I, s:I, s:I, s:O}", "expression", terms, "vectors",
                  s->in_context ? "context" : "table", "layer",
                  (json_int_t)(s->in_context ? s->options->layer : -1), "words",
                  (json_int_t)s->compared, "tokens", (json_int_t)s->tokens, "nearest", nearest);
    RF_TRY_DONE(list_nearest(s, nearest, error));
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    json_decref(terms);
    json_decref(nearest);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status choose_vectors(search *s, rf_error *error)
{
    const rf_nearest_options *o = s->options;
    const char *word = o->vectors != NULL ? o->vectors : o->data != NULL ? "context" : "table";
    s->in_context = strcmp(word, "context") == 0;
    if (!s->in_context && strcmp(word, "table") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "vectors is \"%.40s\", expected table or context", word);
    }
    const char *pooling = o->pooling != NULL ? o->pooling : "mean";
    s->last_only = strcmp(pooling, "last") == 0;
    if (!s->last_only && strcmp(pooling, "mean") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "pooling is \"%.40s\", expected mean or last",
                            pooling);
    }
    if (s->in_context && o->data == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "vectors in context need a text that the words stand in (data)");
    }
    return RF_OK;
}

static rf_status open_model(search *s, rf_error *error)
{
    const rf_nearest_options *o = s->options;
    rf_model_options load = {.device = o->device,
                             .precision = o->precision,
                             .kernels = o->kernels,
                             .stream = o->stream,
                             .threads = o->threads,
                             .num_hashes = o->num_hashes,
                             .attention = o->attention,
                             .extend_positions = o->extend_positions,
                             .log = o->log};
    RF_TRY(rf_model_load(o->model, &load, &s->model, error));
    RF_TRY(rf_tokenizer_load(o->model, &s->tokenizer, error));
    int64_t most = rf_model_max_length(s->model);
    int64_t usual = s->model->config.training_length;
    s->length = o->length > 0 ? o->length : usual > 0 ? usual : WINDOW;
    s->length = s->length < most ? s->length : most;
    rf_embed_options how = {.layer = o->layer};
    s->width = s->in_context ? rf_model_embedding_width(s->model, &how) : rf_model_hidden(s->model);
    return RF_OK;
}

rf_status rf_nearest(const rf_nearest_options *options, char **report, rf_error *error)
{
    search s = {.options = options};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY(parse(&s, error));
    RF_TRY(choose_vectors(&s, error));
    RF_TRY_DONE(open_model(&s, error));
    RF_TRY_DONE(find_words(&s, error));
    RF_TRY_DONE(number_rows(&s, error));
    RF_TRY_DONE(take_memory(&s, error));
    RF_TRY_DONE(s.in_context ? read_text(&s, error) : compose_all(&s, error));
    finish_vectors(&s);
    RF_TRY_DONE(write_report(&s, report, error));
done:
    rf_release(s.rows);
    rf_release(s.vectors);
    rf_release(s.counts);
    rf_release(s.window);
    rf_release(s.wanted);
    rf_words_clear(&s.words);
    rf_corpus_clear(&s.corpus);
    rf_tokenizer_destroy(s.tokenizer);
    rf_model_destroy(s.model);
    return status;
}
