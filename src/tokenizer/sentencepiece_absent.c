/* In the place of sentencepiece.cpp in a build without the library: no model is ever loaded, so
 * only loading and training are reached. */
#include "tokenizer/sentencepiece.h"

static rf_status refuse(const char *what, rf_error *error)
{
    return rf_error_set(
        error, RF_ERR_UNSUPPORTED,
        "%s: this build is without SentencePiece; install libsentencepiece-dev and build again",
        what);
}

rf_status rf_pieces_load(const char *path, const void *model, size_t size, rf_pieces **pieces,
                         rf_error *error)
{
    (void)model;
    (void)size;
    *pieces = NULL;
    return refuse(path, error);
}

void rf_pieces_destroy(rf_pieces *pieces)
{
    (void)pieces;
}

int64_t rf_pieces_count(const rf_pieces *pieces)
{
    (void)pieces;
    return 0;
}

rf_piece rf_pieces_at(const rf_pieces *pieces, int64_t id)
{
    (void)pieces;
    (void)id;
    return (rf_piece){.bytes = ""};
}

int64_t rf_pieces_special(const rf_pieces *pieces, const char *name)
{
    (void)pieces;
    (void)name;
    return -1;
}

int64_t rf_pieces_find(const rf_pieces *pieces, const char *piece)
{
    (void)pieces;
    (void)piece;
    return -1;
}

rf_status rf_pieces_encode(const rf_pieces *pieces, const uint8_t *text, size_t size, int32_t **ids,
                           int64_t **begins, int64_t **ends, int64_t *count, rf_error *error)
{
    (void)pieces;
    (void)text;
    (void)size;
    (void)ids;
    (void)begins;
    (void)ends;
    (void)count;
    return refuse("a text", error);
}

rf_status rf_pieces_decode(const rf_pieces *pieces, const int32_t *ids, int64_t count, char **text,
                           size_t *size, rf_error *error)
{
    (void)pieces;
    (void)ids;
    (void)count;
    (void)text;
    (void)size;
    return refuse("token ids", error);
}

rf_status rf_pieces_train(const uint8_t *text, size_t size, size_t longest,
                          const rf_pieces_setting *settings, size_t setting_count, char **model,
                          size_t *model_size, rf_error *error)
{
    (void)text;
    (void)size;
    (void)longest;
    (void)settings;
    (void)setting_count;
    (void)model;
    (void)model_size;
    return refuse("training a vocabulary", error);
}
