/* Reading and writing the files of tokenizer/files.h by their fixed names. */
#include "tokenizer/files.h"

#include "base/file.h"
#include "base/memory.h"

#include <string.h>

enum { LARGEST_FILE = 256 << 20, MODEL = 0, FAST = 1 };

static const char *const names[RF_TOKENIZER_FILE_COUNT] = {
    "spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json"};

static rf_status read_folder(const char *folder, rf_tokenizer_files *files, rf_error *error)
{
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        char *path = NULL;
        RF_TRY(rf_path_join(folder, names[i], &path, error));
        rf_status status = RF_OK;
        if (rf_file_exists(path)) {
            status = rf_file_read(path, LARGEST_FILE, &files->bytes[i], &files->sizes[i], error);
        }
        rf_release(path);
        RF_TRY(status);
    }
    return RF_OK;
}

static rf_status read_one(const char *path, rf_tokenizer_files *files, rf_error *error)
{
    size_t length = strlen(path);
    bool is_json = length > 5 && strcmp(path + length - 5, ".json") == 0;
    int kind = is_json ? FAST : MODEL;
    return rf_file_read(path, LARGEST_FILE, &files->bytes[kind], &files->sizes[kind], error);
}

rf_status rf_tokenizer_files_read(const char *path, rf_tokenizer_files *files, rf_error *error)
{
    *files = (rf_tokenizer_files){0};
    rf_status status =
        rf_folder_exists(path) ? read_folder(path, files, error) : read_one(path, files, error);
    if (status != RF_OK) {
        rf_tokenizer_files_clear(files);
    }
    return status;
}

static bool holds_already(const char *path, const char *bytes, size_t size)
{
    rf_mapping mapping = {0};
    if (!rf_file_exists(path) || rf_mapping_open(path, &mapping, NULL) != RF_OK) {
        return false;
    }
    bool same = mapping.size == size && (size == 0 || memcmp(mapping.data, bytes, size) == 0);
    rf_mapping_close(&mapping);
    return same;
}

rf_status rf_tokenizer_files_write(const rf_tokenizer_files *files, const char *folder,
                                   rf_error *error)
{
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        char *path = NULL;
        if (files->bytes[i] == NULL) {
            continue;
        }
        RF_TRY(rf_path_join(folder, names[i], &path, error));
        rf_status status =
            holds_already(path, files->bytes[i], files->sizes[i])
                ? RF_OK
                : rf_file_write_atomic(path, files->bytes[i], files->sizes[i], error);
        rf_release(path);
        RF_TRY(status);
    }
    return RF_OK;
}

void rf_tokenizer_files_clear(rf_tokenizer_files *files)
{
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        rf_release(files->bytes[i]);
    }
    *files = (rf_tokenizer_files){0};
}
