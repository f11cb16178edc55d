/* Folders: create, remove, list, and find files by pattern. Lists are sorted by bytes, so that
 * their order is the same everywhere. */
#include "base/file.h"

#include "base/file_internal.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

/* Takes ownership of name, also when it fails. */
static rf_status add_name(name_list *list, char *name, rf_error *error)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        void *memory = list->names;
        rf_status status = rf_reallocate(&memory, list->capacity * sizeof *list->names,
                                         capacity * sizeof *list->names, "a list of files", error);
        if (status != RF_OK) {
            rf_release(name);
            return status;
        }
        list->names = memory;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return RF_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_names(name_list *list)
{
    if (list->count > 1) {
        qsort(list->names, list->count, sizeof *list->names, compare_names);
    }
}

void rf_names_release(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rf_release(names[i]);
    }
    rf_release(names);
}

static rf_status read_entries(DIR *folder, const char *path, name_list *list, rf_error *error)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            return errno == 0 ? RF_OK : rf_file_error(error, "list", path, errno);
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        char *name = NULL;
        RF_TRY(rf_string_copy(entry->d_name, &name, error));
        RF_TRY(add_name(list, name, error));
    }
}

rf_status rf_folder_list(const char *path, char ***names, size_t *count, rf_error *error)
{
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return rf_file_error(error, "list", path, errno);
    }
    name_list list = {0};
    rf_status status = read_entries(folder, path, &list, error);
    (void)closedir(folder);
    if (status != RF_OK) {
        rf_names_release(list.names, list.count);
        return status;
    }
    sort_names(&list);
    *names = list.names;
    *count = list.count;
    return RF_OK;
}

static rf_status create_one(const char *path, rf_error *error)
{
    if (mkdir(path, 0777) != 0 && !(errno == EEXIST && rf_folder_exists(path))) {
        return rf_file_error(error, "create the folder", path, errno);
    }
    return RF_OK;
}

rf_status rf_folder_create(const char *path, rf_error *error)
{
    char *copy = NULL;
    RF_TRY(rf_string_copy(path, &copy, error));
    rf_status status = RF_OK;
    for (char *slash = strchr(copy + (copy[0] == '/'), '/'); slash != NULL && status == RF_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!rf_folder_exists(copy)) {
            status = create_one(copy, error);
        }
        *slash = '/';
    }
    if (status == RF_OK) {
        status = create_one(copy, error);
    }
    rf_release(copy);
    return status;
}

static rf_status remove_entry(const char *path, rf_error *error);

static rf_status remove_content(const char *path, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    rf_status status = rf_folder_list(path, &names, &count, error);
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        char *inner = NULL;
        status = rf_path_join(path, names[i], &inner, error);
        if (status == RF_OK) {
            status = remove_entry(inner, error);
        }
        rf_release(inner);
    }
    rf_names_release(names, count);
    return status;
}

/* Links are removed, never followed. */
static rf_status remove_entry(const char *path, rf_error *error)
{
    struct stat about;
    if (lstat(path, &about) != 0) {
        return errno == ENOENT ? RF_OK : rf_file_error(error, "remove", path, errno);
    }
    if (S_ISDIR(about.st_mode)) {
        RF_TRY(remove_content(path, error));
    }
    int failed = S_ISDIR(about.st_mode) ? rmdir(path) : unlink(path);
    return failed == 0 || errno == ENOENT ? RF_OK : rf_file_error(error, "remove", path, errno);
}

rf_status rf_folder_remove(const char *path, rf_error *error)
{
    return remove_entry(path, error);
}

/* Regular files under the folder, subfolders after one another in sorted order. */
static rf_status add_files_under(const char *folder, name_list *list, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    rf_status status = rf_folder_list(folder, &names, &count, error);
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        char *path = NULL;
        struct stat about;
        status = rf_path_join(folder, names[i], &path, error);
        if (status != RF_OK || lstat(path, &about) != 0) {
            rf_release(path);
        } else if (S_ISDIR(about.st_mode)) {
            status = add_files_under(path, list, error);
            rf_release(path);
        } else if (rf_file_exists(path)) {
            status = add_name(list, path, error);
        } else {
            rf_release(path);
        }
    }
    rf_names_release(names, count);
    return status;
}

static rf_status add_path(const char *path, name_list *list, rf_error *error)
{
    if (rf_folder_exists(path)) {
        return add_files_under(path, list, error);
    }
    char *copy = NULL;
    RF_TRY(rf_string_copy(path, &copy, error));
    return add_name(list, copy, error);
}

static rf_status add_matches(const char *pattern, name_list *list, rf_error *error)
{
    glob_t found = {0};
    int result = glob(pattern, 0, NULL, &found);
    rf_status status = RF_OK;
    if (result != 0 && result != GLOB_NOMATCH) {
        status = rf_error_set(error, result == GLOB_NOSPACE ? RF_ERR_MEMORY : RF_ERR_FILE,
                              "%s: this pattern cannot be expanded", pattern);
    }
    for (size_t i = 0; i < found.gl_pathc && status == RF_OK; i++) {
        status = add_path(found.gl_pathv[i], list, error);
    }
    globfree(&found);
    return status;
}

rf_status rf_file_find(const char *pattern, char ***names, size_t *count, rf_error *error)
{
    *names = NULL;
    *count = 0;
    name_list list = {0};
    bool is_path = rf_file_exists(pattern) || rf_folder_exists(pattern);
    rf_status status =
        is_path ? add_path(pattern, &list, error) : add_matches(pattern, &list, error);
    if (status == RF_OK && list.count == 0) {
        status =
            rf_folder_exists(pattern)
                ? rf_error_set(error, RF_ERR_FILE, "%s: there is no file in this folder", pattern)
                : rf_error_set(error, RF_ERR_FILE, "%s: no such file, and no file matches it",
                               pattern);
    }
    if (status != RF_OK) {
        rf_names_release(list.names, list.count);
        return status;
    }
    sort_names(&list);
    *names = list.names;
    *count = list.count;
    return RF_OK;
}

rf_status rf_folder_lock_take(const char *path, rf_folder_lock *lock, rf_error *error)
{
    *lock = (rf_folder_lock){0};
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return rf_file_error(error, "open the folder", path, errno);
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
        *lock = (rf_folder_lock){.descriptor = descriptor, .held = true};
        return RF_OK;
    }
    bool taken = errno == EWOULDBLOCK;
    (void)close(descriptor);
    return taken ? rf_error_set(error, RF_ERR_FILE,
                                "%s: another run is writing to this folder; wait for its end, or "
                                "choose another one",
                                path)
                 : RF_OK;
}

void rf_folder_lock_release(rf_folder_lock *lock)
{
    if (lock->held) {
        (void)close(lock->descriptor);
    }
    *lock = (rf_folder_lock){0};
}
