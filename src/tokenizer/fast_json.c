/* tokenizer.json of Hugging Face's fast tokenizers, read as the SentencePiece model that it was
 * made from: the pieces, their scores (BPE: the order of the merges), the normaliser's table. What
 * such a model cannot say is refused by name, merges that differ from those that SentencePiece
 * would make included, so nothing is tokenised otherwise than meant. Quadratic in the length of a
 * piece, linear otherwise. */
#include "base/memory.h"
#include "io/json.h"
#include "tokenizer/kind.h"
#include "tokenizer/proto.h"

#include <math.h>
#include <string.h>

enum { MOST_PIECES = 1 << 22 };

typedef struct fast {
    const char *path;
    const json_t *object, *model;
    bool is_bpe;
    const char **pieces; /* [count], borrowed from the JSON; owned list */
    int64_t count;
    double *scores;       /* [count] */
    uint8_t *kinds;       /* [count] types of the model's pieces */
    int64_t unknown;      /* id */
    const char *charsmap; /* base64, NULL: none */
    bool prefix, collapse, byte_fallback;
    json_t *merged; /* BPE: piece -> [first merge, number of merges] */
} fast;

static const char blank[] = "\xe2\x96\x81";

static rf_status refuse(const fast *f, const char *what, const char *which, rf_error *error)
{
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: %s%.60s, which a SentencePiece model does not have; give a "
                        "spiece.model, or token ids instead of text",
                        f->path, what, which);
}

static rf_status damaged(const fast *f, const char *what, rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: %s", f->path, what);
}

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type != NULL ? type : "";
}

/* ---- what comes before the model --------------------------------------------------------- */

static rf_status read_normalizer(fast *f, const json_t *object, int depth, rf_error *error)
{
    const json_t *list = json_object_get(object, "normalizers");
    const char *type = type_of(object);
    if (object == NULL || json_is_null(object)) {
        return RF_OK;
    }
    if (strcmp(type, "Sequence") == 0 && depth == 0) {
        for (size_t i = 0; i < json_array_size(list); i++) {
            RF_TRY(read_normalizer(f, json_array_get(list, i), depth + 1, error));
        }
        return RF_OK;
    }
    if (strcmp(type, "Precompiled") == 0 && f->charsmap == NULL) {
        f->charsmap = json_string_value(json_object_get(object, "precompiled_charsmap"));
        return f->charsmap != NULL ? RF_OK : damaged(f, "the normaliser has no table", error);
    }
    const char *pattern =
        json_string_value(json_object_get(json_object_get(object, "pattern"), "Regex"));
    const char *content = json_string_value(json_object_get(object, "content"));
    if (strcmp(type, "Replace") == 0 && pattern != NULL && content != NULL &&
        strcmp(pattern, " {2,}") == 0 &&
        (strcmp(content, " ") == 0 || strcmp(content, blank) == 0)) {
        f->collapse = true;
        return RF_OK;
    }
    return refuse(f, "its normalizer is ", type, error);
}

static rf_status read_pre_tokenizer(fast *f, const json_t *object, int depth, rf_error *error)
{
    const json_t *list = json_object_get(object, "pretokenizers");
    const char *type = type_of(object);
    if (strcmp(type, "Sequence") == 0 && depth == 0) {
        for (size_t i = 0; i < json_array_size(list); i++) {
            RF_TRY(read_pre_tokenizer(f, json_array_get(list, i), depth + 1, error));
        }
        return RF_OK;
    }
    if (strcmp(type, "WhitespaceSplit") == 0 &&
        depth == 1) { /* blanks at both ends and in rows count as one */
        f->collapse = true;
        return RF_OK;
    }
    const char *replacement = json_string_value(json_object_get(object, "replacement"));
    if (strcmp(type, "Metaspace") != 0 || replacement == NULL || strcmp(replacement, blank) != 0) {
        return refuse(f, "its pre_tokenizer is ", type[0] != '\0' ? type : "missing", error);
    }
    const char *scheme = json_string_value(json_object_get(object, "prepend_scheme"));
    const json_t *older = json_object_get(object, "add_prefix_space");
    f->prefix = scheme != NULL ? strcmp(scheme, "never") != 0 : !json_is_false(older);
    return RF_OK;
}

static rf_status check_post_processor(const fast *f, rf_error *error)
{
    const json_t *object = json_object_get(f->object, "post_processor");
    if (object == NULL || json_is_null(object)) {
        return RF_OK;
    }
    const json_t *single = json_object_get(object, "single");
    bool adds_nothing = strcmp(type_of(object), "TemplateProcessing") == 0 &&
                        json_array_size(single) == 1 &&
                        json_object_get(json_array_get(single, 0), "Sequence") != NULL;
    return adds_nothing ? RF_OK
                        : refuse(f, "its post_processor adds tokens: ", type_of(object), error);
}

/* ---- pieces ------------------------------------------------------------------------------ */

static rf_status set_piece(fast *f, int64_t id, const char *piece, double score, rf_error *error)
{
    if (id < 0 || id >= f->count || piece == NULL || piece[0] == '\0' || f->pieces[id] != NULL) {
        return damaged(f, "ids of the vocabulary are not 0, 1, 2, ... each with a piece", error);
    }
    f->pieces[id] = piece;
    f->scores[id] = score;
    f->kinds[id] = RF_PROTO_NORMAL;
    return RF_OK;
}

static rf_status take_room(fast *f, size_t count, rf_error *error)
{
    void *memory = NULL;
    if (count == 0 || count > MOST_PIECES) {
        return damaged(f, "the vocabulary is empty or too large", error);
    }
    f->count = (int64_t)count;
    RF_TRY(rf_allocate_zeroed(count * sizeof *f->pieces, "a vocabulary", &memory, error));
    f->pieces = memory;
    RF_TRY(rf_allocate_zeroed(count * sizeof *f->scores, "a vocabulary", &memory, error));
    f->scores = memory;
    RF_TRY(rf_allocate_zeroed(count, "a vocabulary", &memory, error));
    f->kinds = memory;
    return RF_OK;
}

/* Added tokens that the vocabulary does not hold follow it. */
static size_t count_added(const fast *f, size_t vocabulary)
{
    const json_t *added = json_object_get(f->object, "added_tokens");
    size_t count = vocabulary;
    for (size_t i = 0; i < json_array_size(added); i++) {
        json_int_t id = json_integer_value(json_object_get(json_array_get(added, i), "id"));
        count += id >= (json_int_t)vocabulary ? 1 : 0;
    }
    return count;
}

static rf_status read_unigram(fast *f, rf_error *error)
{
    const json_t *vocabulary = json_object_get(f->model, "vocab");
    const json_t *unknown = json_object_get(f->model, "unk_id");
    size_t count = json_array_size(vocabulary);
    RF_TRY(take_room(f, count_added(f, count), error));
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(vocabulary, i);
        double score = json_number_value(json_array_get(pair, 1));
        if (!json_is_number(json_array_get(pair, 1)) || !isfinite((float)score)) {
            return damaged(f, "the vocabulary of a unigram model needs pieces with scores", error);
        }
        RF_TRY(set_piece(f, (int64_t)i, json_string_value(json_array_get(pair, 0)), score, error));
    }
    f->unknown = json_is_integer(unknown) ? json_integer_value(unknown) : -1;
    return RF_OK;
}

static rf_status read_bpe(fast *f, rf_error *error)
{
    json_t *vocabulary = json_object_get(f->model, "vocab");
    const char *unknown = json_string_value(json_object_get(f->model, "unk_token"));
    const char *piece = NULL;
    json_t *id = NULL;
    static const char *const nulls[] = {"dropout", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        const json_t *value = json_object_get(f->model, nulls[i]);
        if (value != NULL && !json_is_null(value) &&
            json_string_length(value) + (size_t)json_is_number(value) > 0) {
            return refuse(f, "its model has ", nulls[i], error);
        }
    }
    if (json_is_true(json_object_get(f->model, "ignore_merges")) ||
        !json_is_true(json_object_get(f->model, "fuse_unk"))) {
        return refuse(f, "its BPE model has ", "ignore_merges, or not fuse_unk", error);
    }
    RF_TRY(take_room(f, count_added(f, json_object_size(vocabulary)), error));
    json_object_foreach(vocabulary, piece, id)
    {
        RF_TRY(set_piece(f, json_is_integer(id) ? json_integer_value(id) : -1, piece,
                         -(double)MOST_PIECES, error));
    }
    const json_t *unknown_id = unknown != NULL ? json_object_get(vocabulary, unknown) : NULL;
    f->unknown = json_is_integer(unknown_id) ? json_integer_value(unknown_id) : -1;
    return RF_OK;
}

static rf_status read_added(fast *f, rf_error *error)
{
    const json_t *added = json_object_get(f->object, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *content = json_string_value(json_object_get(token, "content"));
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        if (id < 0 || id >= f->count || content == NULL) {
            return damaged(f, "an added token has no id or no content", error);
        }
        if (f->pieces[id] == NULL) {
            RF_TRY(set_piece(f, id, content, 0.0, error));
        }
        if (strcmp(f->pieces[id], content) != 0) {
            return damaged(f, "an added token has the id of another piece", error);
        }
        bool is_special = json_is_true(json_object_get(token, "special"));
        f->kinds[id] = is_special ? RF_PROTO_CONTROL : RF_PROTO_USER;
    }
    if (f->unknown < 0 || f->unknown >= f->count) {
        return refuse(f, "it has no ", "unknown token", error);
    }
    f->kinds[f->unknown] = RF_PROTO_UNKNOWN;
    return RF_OK;
}

static bool is_byte_piece(const char *piece)
{
    return strlen(piece) == 6 && strncmp(piece, "<0x", 3) == 0 && piece[5] == '>' &&
           strspn(piece + 3, "0123456789ABCDEF") == 2;
}

/* Holes, and pieces that reach from one word into the next. */
static rf_status check_pieces(fast *f, rf_error *error)
{
    for (int64_t id = 0; id < f->count; id++) {
        const char *piece = f->pieces[id];
        if (piece == NULL) {
            return damaged(f, "ids of the vocabulary are not 0, 1, 2, ... each with a piece",
                           error);
        }
        if (f->byte_fallback && is_byte_piece(piece)) {
            f->kinds[id] = RF_PROTO_BYTE;
        }
        const char *word = piece;
        while (strncmp(word, blank, 3) == 0) {
            word += 3;
        }
        if (f->kinds[id] == RF_PROTO_NORMAL && strstr(word, blank) != NULL) {
            return refuse(f, "its pieces reach over words: ", piece, error);
        }
    }
    return RF_OK;
}

/* ---- merges ------------------------------------------------------------------------------ */

/* The two halves of "a b" or ["a", "b"], joined. */
static rf_status join_merge(const fast *f, const json_t *merge, char **joined, rf_error *error)
{
    const char *text = json_string_value(merge);
    const char *first = json_string_value(json_array_get(merge, 0));
    const char *second = json_string_value(json_array_get(merge, 1));
    const char *space = text != NULL ? strchr(text, ' ') : NULL;
    if (space != NULL) {
        return rf_string_format(joined, error, "%.*s%s", (int)(space - text), text, space + 1);
    }
    if (first == NULL || second == NULL) {
        return damaged(f, "a merge is not a pair of pieces", error);
    }
    return rf_string_format(joined, error, "%s%s", first, second);
}

static rf_status note_merge(fast *f, const char *piece, int64_t rank, rf_error *error)
{
    json_t *known = json_object_get(f->merged, piece);
    int64_t first = known != NULL ? json_integer_value(json_array_get(known, 0)) : rank;
    int64_t count = known != NULL ? json_integer_value(json_array_get(known, 1)) : 0;
    if (rank != first + count) {
        return refuse(f, "its merges are not in the order of pieces: ", piece, error);
    }
    return rf_json_set(f->merged, piece,
                       json_pack("[I, I]", (json_int_t)first, (json_int_t)count + 1), error);
}

static rf_status read_merges(fast *f, rf_error *error)
{
    const json_t *merges = json_object_get(f->model, "merges");
    f->merged = json_object();
    if (f->merged == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for its merges", f->path);
    }
    for (size_t i = 0; i < json_array_size(merges); i++) {
        char *piece = NULL;
        RF_TRY(join_merge(f, json_array_get(merges, i), &piece, error));
        rf_status status = note_merge(f, piece, (int64_t)i, error);
        rf_release(piece);
        RF_TRY(status);
    }
    return RF_OK;
}

/* In how many ways a piece is two other ones: so many merges SentencePiece knows for it. */
static rf_status count_splits(const fast *f, const char *piece, int64_t *count, rf_error *error)
{
    const json_t *vocabulary = json_object_get(f->model, "vocab");
    size_t length = strlen(piece);
    char *first = NULL;
    *count = 0;
    RF_TRY(rf_string_copy(piece, &first, error));
    for (size_t i = 1; i < length; i++) {
        if (((uint8_t)piece[i] & 0xc0) == 0x80) {
            continue;
        }
        first[i] = '\0';
        const json_t *left = json_object_get(vocabulary, first);
        const json_t *right = json_object_get(vocabulary, piece + i);
        if (left != NULL && right != NULL &&
            f->kinds[json_integer_value(left)] == RF_PROTO_NORMAL &&
            f->kinds[json_integer_value(right)] == RF_PROTO_NORMAL) {
            (*count)++;
        }
        first[i] = piece[i];
    }
    rf_release(first);
    return RF_OK;
}

static rf_status score_merges(fast *f, rf_error *error)
{
    size_t used = 0;
    RF_TRY(read_merges(f, error));
    for (int64_t id = 0; id < f->count; id++) {
        const json_t *merge = json_object_get(f->merged, f->pieces[id]);
        int64_t splits = 0;
        if (f->kinds[id] != RF_PROTO_NORMAL) {
            continue;
        }
        RF_TRY(count_splits(f, f->pieces[id], &splits, error));
        if (splits != (merge != NULL ? json_integer_value(json_array_get(merge, 1)) : 0)) {
            return refuse(f, "its merges are others than those of its pieces: ", f->pieces[id],
                          error);
        }
        if (merge != NULL) {
            f->scores[id] = -(double)json_integer_value(json_array_get(merge, 0));
            used++;
        }
    }
    return used == json_object_size(f->merged)
               ? RF_OK
               : damaged(f, "a merge makes no piece of the vocabulary", error);
}

/* ---- all of it --------------------------------------------------------------------------- */

static rf_status read_all(fast *f, rf_error *error)
{
    f->model = json_object_get(f->object, "model");
    const char *type = type_of(f->model);
    f->is_bpe = strcmp(type, "BPE") == 0;
    f->byte_fallback = json_is_true(json_object_get(f->model, "byte_fallback"));
    if (!f->is_bpe && strcmp(type, "Unigram") != 0) {
        return refuse(f, "its model is ", type[0] != '\0' ? type : "missing", error);
    }
    RF_TRY(read_normalizer(f, json_object_get(f->object, "normalizer"), 0, error));
    RF_TRY(read_pre_tokenizer(f, json_object_get(f->object, "pre_tokenizer"), 0, error));
    RF_TRY(check_post_processor(f, error));
    RF_TRY(f->is_bpe ? read_bpe(f, error) : read_unigram(f, error));
    RF_TRY(read_added(f, error));
    RF_TRY(check_pieces(f, error));
    return f->is_bpe ? score_merges(f, error) : RF_OK;
}

static rf_status write_model(const fast *f, rf_text *model, rf_error *error)
{
    for (int64_t id = 0; id < f->count; id++) {
        RF_TRY(rf_proto_piece(model, f->pieces[id], (float)f->scores[id], f->kinds[id], error));
    }
    RF_TRY(rf_proto_trainer(model, f->is_bpe, f->byte_fallback, f->pieces[f->unknown], error));
    return rf_proto_normalizer(model, f->charsmap, f->prefix, f->collapse, error);
}

rf_status rf_fast_json_to_pieces(const char *path, const char *text, size_t size, rf_text *model,
                                 rf_error *error)
{
    json_t *object = NULL;
    fast f = {.path = path};
    RF_TRY(rf_json_parse_object(path, text, size, &object, error));
    f.object = object;
    rf_status status = read_all(&f, error);
    if (status == RF_OK) {
        status = write_model(&f, model, error);
    }
    rf_release(f.pieces);
    rf_release(f.scores);
    rf_release(f.kinds);
    json_decref(f.merged);
    json_decref(object);
    return status;
}
