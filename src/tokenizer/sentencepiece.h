/* The SentencePiece library behind C functions: models in, ids and texts out. A build without the
 * library has the same functions, which refuse. */
#ifndef RF_TOKENIZER_SENTENCEPIECE_H
#define RF_TOKENIZER_SENTENCEPIECE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_pieces rf_pieces;

typedef enum rf_piece_kind {
    RF_PIECE_NORMAL,
    RF_PIECE_UNKNOWN,
    RF_PIECE_CONTROL,
    RF_PIECE_BYTE
} rf_piece_kind;
typedef struct rf_piece {
    const char *bytes; /* [size], owned by the model */
    size_t size;
    rf_piece_kind kind;
} rf_piece;

/* A serialised model. `path` is for messages. */
RF_MUST_CHECK rf_status rf_pieces_load(const char *path, const void *model, size_t size,
                                       rf_pieces **pieces, rf_error *error);
void rf_pieces_destroy(rf_pieces *pieces); /* NULL allowed */
int64_t rf_pieces_count(const rf_pieces *pieces);
/* id in [0, count). */
rf_piece rf_pieces_at(const rf_pieces *pieces, int64_t id);
/* The id of "unk", "bos", "eos", "pad" by the model, else of a piece of that text; -1: none. */
int64_t rf_pieces_special(const rf_pieces *pieces, const char *name);
int64_t rf_pieces_find(const rf_pieces *pieces, const char *piece);
/* ids [count], and begins and ends [count] of bytes where they are asked for (begins not NULL),
 * each in fresh memory (rf_release). */
RF_MUST_CHECK rf_status rf_pieces_encode(const rf_pieces *pieces, const uint8_t *text, size_t size,
                                         int32_t **ids, int64_t **begins, int64_t **ends,
                                         int64_t *count, rf_error *error);
/* ids in [0, count). The text, with a NUL behind it, in fresh memory. */
RF_MUST_CHECK rf_status rf_pieces_decode(const rf_pieces *pieces, const int32_t *ids, int64_t count,
                                         char **text, size_t *size, rf_error *error);

/* A setting of the library's trainer. */
typedef struct rf_pieces_setting {
    const char *name, *value;
} rf_pieces_setting;
/* Train on the lines of a text; lines of over `longest` bytes are cut at blanks. The serialised
 * model in fresh memory. */
RF_MUST_CHECK rf_status rf_pieces_train(const uint8_t *text, size_t size, size_t longest,
                                        const rf_pieces_setting *settings, size_t setting_count,
                                        char **model, size_t *model_size, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
