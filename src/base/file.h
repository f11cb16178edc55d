/* Files: read whole, map, write atomically. Every system call goes through a table that tests may
 * replace to inject faults. */
#ifndef RF_BASE_FILE_H
#define RF_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A file mapped read-only (falls back to reading where mapping fails, e.g. a pipe). data is NULL
 * for an empty file. */
typedef struct rf_mapping {
    const uint8_t *data;
    size_t size;
    bool is_mapped;
} rf_mapping;
RF_MUST_CHECK rf_status rf_mapping_open(const char *path, rf_mapping *mapping, rf_error *error);
void rf_mapping_close(rf_mapping *mapping);

/* Whole file into memory of ours, with a NUL after the end (not counted). Refuses more than `limit`
 * bytes. Release with rf_release. */
RF_MUST_CHECK rf_status rf_file_read(const char *path, size_t limit, char **text, size_t *size,
                                     rf_error *error);

/* Written to a temporary file beside `path`, then fsync, rename, fsync of the folder: `path` is
 * either the old or the new file, whole, whatever happens between. */
typedef struct rf_atomic_file rf_atomic_file;
RF_MUST_CHECK rf_status rf_atomic_open(const char *path, rf_atomic_file **file, rf_error *error);
RF_MUST_CHECK rf_status rf_atomic_write(rf_atomic_file *file, const void *data, size_t size,
                                        rf_error *error);
RF_MUST_CHECK rf_status rf_atomic_commit(rf_atomic_file *file,
                                         rf_error *error); /* closes and frees in every case */
void rf_atomic_abandon(rf_atomic_file *file);              /* NULL allowed; removes the temporary */
RF_MUST_CHECK rf_status rf_file_write_atomic(const char *path, const void *data, size_t size,
                                             rf_error *error);

/* Whether a regular file, or a folder, of that name is there. */
bool rf_file_exists(const char *path);
bool rf_folder_exists(const char *path);
RF_MUST_CHECK rf_status rf_folder_create(const char *path,
                                         rf_error *error); /* with parents; existing is fine */
RF_MUST_CHECK rf_status rf_folder_rename(const char *from, const char *to,
                                         rf_error *error); /* and fsync of the parent */
RF_MUST_CHECK rf_status
rf_folder_remove(const char *path, rf_error *error); /* with all that is in it; missing is fine */
/* A folder is for one writer at a time; a lock ends with its process, whatever ends that, and
 * leaves no file. RF_ERR_FILE where another one has it. Where the file system has no locks none is
 * held, and nothing is said. */
typedef struct rf_folder_lock {
    int descriptor;
    bool held;
} rf_folder_lock;
RF_MUST_CHECK rf_status rf_folder_lock_take(const char *path, rf_folder_lock *lock,
                                            rf_error *error);
void rf_folder_lock_release(rf_folder_lock *lock); /* one that is not held: nothing */
RF_MUST_CHECK rf_status rf_file_size(const char *path, uint64_t *size, rf_error *error);
/* Sorted names in a folder, without . and ..; release each and the list with rf_names_release. */
RF_MUST_CHECK rf_status rf_folder_list(const char *path, char ***names, size_t *count,
                                       rf_error *error);
/* Files that a pattern (glob) or a folder (its regular files, recursively, sorted) or a single path
 * names. */
RF_MUST_CHECK rf_status rf_file_find(const char *pattern, char ***names, size_t *count,
                                     rf_error *error);
void rf_names_release(char **names, size_t count);
/* "FOLDER/NAME" in fresh memory. */
RF_MUST_CHECK rf_status rf_path_join(const char *folder, const char *name, char **path,
                                     rf_error *error);

/* Fault injection for tests: called before each write ("write"), fsync ("sync") and rename
 * ("rename"); returning an errno value makes the call fail with it, 0 lets it pass. NULL removes
 * it. */
typedef int (*rf_file_hook)(void *user, const char *operation, const char *path, size_t size);
void rf_file_set_hook(rf_file_hook hook, void *user);

#ifdef __cplusplus
}
#endif
#endif
