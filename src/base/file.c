/* Reading files whole or mapped, and questions about paths. */
#include "base/file.h"

#include "base/file_internal.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Set by tests only, while no other thread writes. */
static rf_file_hook fault_hook;
static void *fault_hook_user;

void rf_file_set_hook(rf_file_hook hook, void *user)
{
    fault_hook = hook;
    fault_hook_user = user;
}

int rf_file_fault(const char *operation, const char *path, size_t size)
{
    return fault_hook != NULL ? fault_hook(fault_hook_user, operation, path, size) : 0;
}

rf_status rf_file_error(rf_error *error, const char *action, const char *path, int number)
{
    char reason[128] = "unknown reason";
    (void)strerror_r(number, reason, sizeof reason);
    rf_status code = number == ENOSPC || number == EDQUOT ? RF_ERR_NO_SPACE : RF_ERR_FILE;
    return rf_error_set(error, code, "%s: cannot %s: %s", path, action, reason);
}

static rf_status open_to_read(const char *path, int *descriptor, rf_error *error)
{
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0) {
        return rf_file_error(error, "open", path, errno);
    }
    struct stat about;
    if (fstat(opened, &about) == 0 && S_ISDIR(about.st_mode)) {
        (void)close(opened);
        return rf_file_error(error, "read", path, EISDIR);
    }
    *descriptor = opened;
    return RF_OK;
}

/* Up to `size` bytes, fewer only at the end of the file. */
static rf_status read_fully(int descriptor, const char *path, char *to, size_t size, size_t *got,
                            rf_error *error)
{
    const size_t largest_request = (size_t)1 << 30;
    *got = 0;
    while (*got < size) {
        size_t request = size - *got < largest_request ? size - *got : largest_request;
        ssize_t count = read(descriptor, to + *got, request);
        if (count == 0) {
            break;
        }
        if (count < 0 && errno != EINTR) {
            return rf_file_error(error, "read", path, errno);
        }
        *got += count > 0 ? (size_t)count : 0;
    }
    return RF_OK;
}

/* The size that fstat tells is a first guess only: it is 0 for pipes and for files of the kernel.
 */
static rf_status read_descriptor(int descriptor, const char *path, size_t limit, char **text,
                                 size_t *size, rf_error *error)
{
    struct stat about = {0};
    size_t capacity = 4096;
    if (fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0) {
        capacity = (size_t)about.st_size + 1;
    }
    if (about.st_size > 0 && (uintmax_t)about.st_size > limit) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %lld bytes, expected at most %zu", path,
                            (long long)about.st_size, limit);
    }
    void *memory = NULL;
    size_t used = 0;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate(capacity, path, &memory, error));
    for (;;) {
        size_t got = 0;
        size_t room = capacity - used - 1;
        RF_TRY_DONE(read_fully(descriptor, path, (char *)memory + used, room, &got, error));
        used += got;
        if (used > limit) {
            status = rf_error_set(error, RF_ERR_FORMAT, "%s: more than the %zu bytes allowed", path,
                                  limit);
            goto done;
        }
        if (got < room) {
            break;
        }
        char probe;
        RF_TRY_DONE(read_fully(descriptor, path, &probe, 1, &got, error));
        if (got == 0) {
            break;
        }
        RF_TRY_DONE(rf_reallocate(&memory, capacity, 2 * capacity, path, error));
        capacity *= 2;
        ((char *)memory)[used++] = probe;
    }
    ((char *)memory)[used] = '\0';
    *text = memory;
    *size = used;
    return RF_OK;
done:
    rf_release(memory);
    return status;
}

rf_status rf_file_read(const char *path, size_t limit, char **text, size_t *size, rf_error *error)
{
    *text = NULL;
    *size = 0;
    int descriptor = -1;
    RF_TRY(open_to_read(path, &descriptor, error));
    rf_status status = read_descriptor(descriptor, path, limit, text, size, error);
    (void)close(descriptor);
    return status;
}

static bool map_descriptor(int descriptor, rf_mapping *mapping)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size <= 0) {
        return false;
    }
    void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
        return false;
    }
    *mapping = (rf_mapping){.data = data, .size = (size_t)about.st_size, .is_mapped = true};
    return true;
}

rf_status rf_mapping_open(const char *path, rf_mapping *mapping, rf_error *error)
{
    *mapping = (rf_mapping){0};
    int descriptor = -1;
    RF_TRY(open_to_read(path, &descriptor, error));
    rf_status status = RF_OK;
    if (!map_descriptor(descriptor, mapping)) {
        char *text = NULL;
        size_t size = 0;
        status = read_descriptor(descriptor, path, SIZE_MAX / 2, &text, &size, error);
        if (size == 0) {
            rf_release(text);
            text = NULL;
        }
        mapping->data = (const uint8_t *)text;
        mapping->size = size;
    }
    (void)close(descriptor);
    return status;
}

void rf_mapping_close(rf_mapping *mapping)
{
    /* The only places where the memory is not const; uintptr_t drops the qualifier without a cast
     * that warns. */
    void *memory = (void *)(uintptr_t)mapping->data;
    if (mapping->is_mapped) {
        (void)munmap(memory, mapping->size);
    } else {
        rf_release(memory);
    }
    *mapping = (rf_mapping){0};
}

bool rf_file_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

bool rf_folder_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

rf_status rf_file_size(const char *path, uint64_t *size, rf_error *error)
{
    struct stat about;
    *size = 0;
    if (stat(path, &about) != 0) {
        return rf_file_error(error, "find", path, errno);
    }
    *size = (uint64_t)about.st_size;
    return RF_OK;
}

rf_status rf_path_join(const char *folder, const char *name, char **path, rf_error *error)
{
    size_t length = strlen(folder);
    bool needs_slash = length > 0 && folder[length - 1] != '/';
    return rf_string_format(path, error, "%s%s%s", folder, needs_slash ? "/" : "", name);
}
