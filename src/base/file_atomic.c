/* Atomic writing: the new content goes to a temporary file beside the old one, which rename
 * replaces in one step once the content is on the disk. A process killed on the way leaves the old
 * file whole and a stray PATH.PID-N.tmp. */
#include "base/file.h"

#include "base/file_internal.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct rf_atomic_file {
    char *path;
    char *temporary;
    int descriptor;
};

enum { NAME_ATTEMPTS = 1000 };

static rf_status create_temporary(rf_atomic_file *file, rf_error *error)
{
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        RF_TRY(rf_string_format(&file->temporary, error, "%s.%ld-%d.tmp", file->path,
                                (long)getpid(), i));
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->descriptor >= 0) {
            return RF_OK;
        }
        int number = errno;
        rf_release(file->temporary);
        file->temporary = NULL;
        if (number != EEXIST) {
            return rf_file_error(error, "create", file->path, number);
        }
    }
    return rf_file_error(error, "create a temporary file beside", file->path, EEXIST);
}

rf_status rf_atomic_open(const char *path, rf_atomic_file **file, rf_error *error)
{
    *file = NULL;
    if (rf_folder_exists(path)) {
        return rf_file_error(error, "write", path, EISDIR);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_atomic_file), "a file being written", &memory, error));
    rf_atomic_file *opened = memory;
    opened->descriptor = -1;
    rf_status status = rf_string_copy(path, &opened->path, error);
    if (status == RF_OK) {
        status = create_temporary(opened, error);
    }
    if (status != RF_OK) {
        rf_atomic_abandon(opened);
        return status;
    }
    *file = opened;
    return RF_OK;
}

rf_status rf_atomic_write(rf_atomic_file *file, const void *data, size_t size, rf_error *error)
{
    const size_t largest_request = (size_t)1 << 30;
    const char *bytes = data;
    size_t written = 0;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it cannot see that rf_file_error never
     * gives RF_OK. */
    int fault = rf_file_fault("write", file->path, size);
    if (fault != 0) {
        return rf_file_error(error, "write", file->path, fault);
    }
    while (written < size) {
        size_t request = size - written < largest_request ? size - written : largest_request;
        ssize_t count = write(file->descriptor, bytes + written, request);
        if (count < 0 && errno != EINTR) {
            return rf_file_error(error, "write", file->path, errno);
        }
        written += count > 0 ? (size_t)count : 0;
    }
    return RF_OK;
}

static void free_file(rf_atomic_file *file)
{
    if (file->descriptor >= 0) {
        (void)close(file->descriptor);
    }
    rf_release(file->temporary);
    rf_release(file->path);
    rf_release(file);
}

static rf_status sync_and_close(rf_atomic_file *file, rf_error *error)
{
    int fault = rf_file_fault("sync", file->path, 0);
    if (fault == 0 && fsync(file->descriptor) != 0) {
        fault = errno;
    }
    if (fault != 0) {
        return rf_file_error(error, "flush to the disk", file->path, fault);
    }
    int closed = close(file->descriptor);
    file->descriptor = -1;
    if (closed != 0) {
        return rf_file_error(error, "close", file->path, errno);
    }
    return RF_OK;
}

/* fsync of the folder that `path` is in, so that a rename survives a power failure. Some file
 * systems cannot flush a folder and say EINVAL; there is nothing better to do on them. */
static rf_status sync_parent(const char *path, rf_error *error)
{
    char *folder = NULL;
    RF_TRY(rf_string_copy(path, &folder, error));
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    int fault = rf_file_fault("sync", slash != NULL ? folder : ".", 0);
    int descriptor = fault != 0 ? -1 : open(slash != NULL ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (fault == 0 && (descriptor < 0 || fsync(descriptor) != 0) && errno != EINVAL) {
        fault = errno;
    }
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
    rf_release(folder);
    return fault == 0 ? RF_OK : rf_file_error(error, "flush the folder of", path, fault);
}

static rf_status move_into_place(const char *from, const char *to, rf_error *error)
{
    int fault = rf_file_fault("rename", to, 0);
    if (fault == 0 && rename(from, to) != 0) {
        fault = errno;
    }
    if (fault != 0) {
        return rf_file_error(error, "move the new content into place", to, fault);
    }
    return RF_OK;
}

rf_status rf_atomic_commit(rf_atomic_file *file, rf_error *error)
{
    rf_status status = sync_and_close(file, error);
    if (status == RF_OK) {
        status = move_into_place(file->temporary, file->path, error);
    }
    if (status != RF_OK) {
        rf_atomic_abandon(file);
        return status;
    }
    status = sync_parent(file->path, error);
    free_file(file);
    return status;
}

void rf_atomic_abandon(rf_atomic_file *file)
{
    if (file == NULL) {
        return;
    }
    if (file->temporary != NULL) {
        (void)unlink(file->temporary);
    }
    free_file(file);
}

rf_status rf_file_write_atomic(const char *path, const void *data, size_t size, rf_error *error)
{
    rf_atomic_file *file = NULL;
    rf_status status = rf_atomic_open(path, &file, error);
    if (file == NULL) {
        return status;
    }
    status = rf_atomic_write(file, data, size, error);
    if (status != RF_OK) {
        rf_atomic_abandon(file);
        return status;
    }
    return rf_atomic_commit(file, error);
}

rf_status rf_folder_rename(const char *from, const char *to, rf_error *error)
{
    RF_TRY(move_into_place(from, to, error));
    return sync_parent(to, error);
}
