/* Which tokenizer a model has, and the calls that reach it. */
#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "tokenizer/kind.h"
#include "tokenizer/proto.h"

#include <string.h>

enum { MODEL = 0, FAST = 1, LONGEST_PIECE = 1000 };

bool rf_tokenizer_files_hold_one(const rf_tokenizer_files *files)
{
    return files->bytes[MODEL] != NULL || files->bytes[FAST] != NULL;
}

static rf_status load_pieces(const char *where, const rf_tokenizer_files *files, rf_pieces **pieces,
                             rf_error *error)
{
    char *path = NULL;
    rf_text model = {0};
    rf_status status = RF_OK;
    bool is_model = files->bytes[MODEL] != NULL;
    RF_TRY_DONE(rf_string_format(&path, error, "%s (%s)", where,
                                 is_model ? "spiece.model" : "tokenizer.json"));
    if (is_model) {
        RF_TRY_DONE(rf_text_append(&model, files->bytes[MODEL], files->sizes[MODEL], error));
    } else {
        RF_TRY_DONE(
            rf_fast_json_to_pieces(path, files->bytes[FAST], files->sizes[FAST], &model, error));
    }
    if (!rf_proto_tables_are_sound(model.bytes, model.size)) {
        status = rf_error_set(error, RF_ERR_FORMAT,
                              "%s: is damaged: its table of characters leads outside itself", path);
        goto done;
    }
    status = rf_pieces_load(path, model.bytes, model.size, pieces, error);
done:
    rf_release(model.bytes);
    rf_release(path);
    return status;
}

static rf_status check_pieces(const char *where, const rf_tokenizer *tokenizer, int64_t vocabulary,
                              rf_error *error)
{
    int64_t count = rf_pieces_count(tokenizer->pieces);
    if (vocabulary > 0 && count > vocabulary) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: the tokenizer has %lld pieces, but the model's vocab_size is "
                            "%lld: ids from %lld on have no "
                            "embedding; this is not the model's tokenizer",
                            where, (long long)count, (long long)vocabulary, (long long)vocabulary);
    }
    for (int64_t id = 0; id < count; id++) {
        if (rf_pieces_at(tokenizer->pieces, id).size > LONGEST_PIECE) {
            return rf_error_set(error, RF_ERR_UNSUPPORTED, "%s: piece %lld is longer than %d bytes",
                                where, (long long)id, LONGEST_PIECE);
        }
    }
    return RF_OK;
}

static rf_status check_bytes(int64_t vocabulary, rf_error *error)
{
    if (vocabulary < RF_BYTE_VALUES) {
        return rf_error_set(
            error, RF_ERR_UNSUPPORTED,
            "vocab_size is %lld and there is no tokenizer file: a model of bytes needs "
            "at least %d ids (%d with padding), so text cannot be read with this one",
            (long long)vocabulary, RF_BYTE_VALUES, RF_BYTE_VALUES + RF_BYTE_SHIFT);
    }
    return RF_OK;
}

static rf_status fill(const char *where, const rf_tokenizer_files *files, int64_t vocabulary,
                      rf_tokenizer *tokenizer, rf_error *error)
{
    if (rf_tokenizer_files_hold_one(files)) {
        tokenizer->kind = &rf_tokenizer_pieces;
        RF_TRY(load_pieces(where, files, &tokenizer->pieces, error));
        RF_TRY(check_pieces(where, tokenizer, vocabulary, error));
        tokenizer->vocabulary = vocabulary > 0 ? vocabulary : rf_pieces_count(tokenizer->pieces);
    } else {
        tokenizer->kind = &rf_tokenizer_bytes;
        tokenizer->vocabulary = vocabulary > 0 ? vocabulary : RF_BYTE_VALUES + RF_BYTE_SHIFT;
        RF_TRY(check_bytes(tokenizer->vocabulary, error));
        tokenizer->shift =
            tokenizer->vocabulary >= RF_BYTE_VALUES + RF_BYTE_SHIFT ? RF_BYTE_SHIFT : 0;
    }
    return rf_tokenizer_find_special(tokenizer, files, error);
}

rf_status rf_tokenizer_from_files(const char *where, const rf_tokenizer_files *files,
                                  int64_t vocabulary, rf_tokenizer **tokenizer, rf_error *error)
{
    void *memory = NULL;
    *tokenizer = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof **tokenizer, "tokenizer", &memory, error));
    rf_status status = fill(where, files, vocabulary, memory, error);
    if (status != RF_OK) {
        rf_tokenizer_destroy(memory);
        return status;
    }
    *tokenizer = memory;
    return RF_OK;
}

/* A folder that brings a tokenizer of a kind that is not read must not be taken for a model of
 * bytes. */
static rf_status refuse_other_kinds(const char *folder, rf_error *error)
{
    static const char *const names[] = {"vocab.json", "vocab.txt", "merges.txt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = NULL;
        RF_TRY(rf_path_join(folder, names[i], &path, error));
        bool exists = rf_file_exists(path);
        rf_release(path);
        if (exists) {
            return rf_error_set(error, RF_ERR_UNSUPPORTED,
                                "%s: has a %s, but only spiece.model, tokenizer.json (of "
                                "SentencePiece models) and models of "
                                "bytes can read and write text; give token ids instead",
                                folder, names[i]);
        }
    }
    return RF_OK;
}

rf_status rf_tokenizer_create(const char *folder, int64_t vocabulary, rf_tokenizer **tokenizer,
                              rf_error *error)
{
    rf_tokenizer_files files = {0};
    rf_status status = RF_OK;
    *tokenizer = NULL;
    if (folder != NULL) {
        RF_TRY(rf_tokenizer_files_read(folder, &files, error));
    }
    if (folder != NULL && !rf_tokenizer_files_hold_one(&files)) {
        RF_TRY_DONE(refuse_other_kinds(folder, error));
    }
    status = rf_tokenizer_from_files(folder != NULL ? folder : "the model", &files, vocabulary,
                                     tokenizer, error);
done:
    rf_tokenizer_files_clear(&files);
    return status;
}

/* vocab_size of a folder's config.json; 0 where there is none. */
static rf_status read_vocabulary(const char *folder, int64_t *vocabulary, rf_error *error)
{
    char *path = NULL;
    json_t *object = NULL;
    rf_status status = RF_OK;
    *vocabulary = 0;
    RF_TRY_DONE(rf_path_join(folder, "config.json", &path, error));
    if (rf_file_exists(path)) {
        *vocabulary = 320; /* Hugging Face's default */
        RF_TRY_DONE(rf_json_read_object(path, &object, error));
        RF_TRY_DONE(
            rf_json_get_integer(path, object, "vocab_size", 1, INT32_MAX, vocabulary, error));
    }
done:
    json_decref(object);
    rf_release(path);
    return status;
}

rf_status rf_tokenizer_load(const char *path, rf_tokenizer **tokenizer, rf_error *error)
{
    int64_t vocabulary = 0;
    *tokenizer = NULL;
    if (path == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "a tokenizer's path is needed, NULL was given");
    }
    if (!rf_folder_exists(path) && !rf_file_exists(path)) {
        return rf_error_set(error, RF_ERR_FILE,
                            "%s: is neither a model directory nor a tokenizer's file", path);
    }
    if (rf_folder_exists(path)) {
        RF_TRY(read_vocabulary(path, &vocabulary, error));
    }
    return rf_tokenizer_create(path, vocabulary, tokenizer, error);
}

void rf_tokenizer_destroy(rf_tokenizer *tokenizer)
{
    if (tokenizer != NULL) {
        rf_pieces_destroy(tokenizer->pieces);
    }
    rf_release(tokenizer);
}

int64_t rf_tokenizer_vocabulary(const rf_tokenizer *tokenizer)
{
    return tokenizer->vocabulary;
}

bool rf_tokenizer_is_bytes(const rf_tokenizer *tokenizer)
{
    return tokenizer->kind->is_bytes;
}

const char *rf_tokenizer_piece(const rf_tokenizer *tokenizer, int64_t id, size_t *size)
{
    *size = 0;
    if (tokenizer->pieces == NULL || id < 0 || id >= rf_pieces_count(tokenizer->pieces)) {
        return NULL;
    }
    rf_piece piece = rf_pieces_at(tokenizer->pieces, id);
    *size = piece.size;
    return piece.bytes;
}

rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const uint8_t *bytes, size_t size,
                              int32_t **ids, int64_t *count, rf_error *error)
{
    *ids = NULL;
    *count = 0;
    return tokenizer->kind->encode(tokenizer, bytes, size, ids, NULL, NULL, count, error);
}

size_t rf_tokenizer_decode(const rf_tokenizer *tokenizer, int32_t id, uint8_t *bytes, size_t limit)
{
    return tokenizer->kind->decode(tokenizer, id, bytes, limit);
}

rf_status rf_tokenizer_tokenize(const rf_tokenizer *tokenizer, const uint8_t *text, size_t size,
                                rf_encoding *encoding, rf_error *error)
{
    *encoding = (rf_encoding){0};
    return tokenizer->kind->encode(tokenizer, text, size, &encoding->ids, &encoding->begins,
                                   &encoding->ends, &encoding->count, error);
}

void rf_encoding_clear(rf_encoding *encoding)
{
    rf_release(encoding->ids);
    rf_release(encoding->begins);
    rf_release(encoding->ends);
    *encoding = (rf_encoding){0};
}

rf_status rf_tokenizer_detokenize(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                                  char **text, size_t *size, rf_error *error)
{
    int64_t known =
        tokenizer->pieces != NULL ? rf_pieces_count(tokenizer->pieces) : tokenizer->vocabulary;
    *text = NULL;
    *size = 0;
    if (count < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%lld tokens, expected 0 or more",
                            (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= known) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "token %lld is %d, but ids go from 0 to %lld", (long long)i + 1,
                                (int)ids[i], (long long)known - 1);
        }
    }
    return tokenizer->kind->decode_all(tokenizer, ids, count, text, size, error);
}
