/* The tokenizer's files of a model directory, held as bytes so that they go with the model wherever
 * it is saved. */
#ifndef RF_TOKENIZER_FILES_H
#define RF_TOKENIZER_FILES_H

#include "base/status.h"

#include <stddef.h>

enum { RF_TOKENIZER_FILE_COUNT = 5 };

/* Start from {0}. */
typedef struct rf_tokenizer_files {
    char *bytes[RF_TOKENIZER_FILE_COUNT]; /* NULL: not there; owned */
    size_t sizes[RF_TOKENIZER_FILE_COUNT];
} rf_tokenizer_files;

/* Those that a folder has (a model of bytes has none), or one file: *.json is taken for a
 * tokenizer.json, others for a spiece.model. On failure *files is empty. */
RF_MUST_CHECK rf_status rf_tokenizer_files_read(const char *path, rf_tokenizer_files *files,
                                                rf_error *error);
/* Write them into a folder that exists, each atomically; one that holds the same bytes is left
 * alone. */
RF_MUST_CHECK rf_status rf_tokenizer_files_write(const rf_tokenizer_files *files,
                                                 const char *folder, rf_error *error);
void rf_tokenizer_files_clear(rf_tokenizer_files *files);

#endif
