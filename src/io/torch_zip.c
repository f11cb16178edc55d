/* The zip container of PyTorch: ARCHIVE/data.pkl describes the tensors, ARCHIVE/data/KEY holds each
 * storage, not compressed; libzip checks their checksums. */
#include "io/torch_internal.h"

#include "base/file.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

#if RF_WITH_LIBZIP

#include <zip.h>

typedef struct archive {
    const char *path;
    zip_t *zip;
    char *prefix;  /* "ARCHIVE/", owned */
    uint64_t left; /* bytes that may still be read: no more than the file has */
} archive;

static rf_status open_archive(const char *path, archive *from, rf_error *error)
{
    int code = 0;
    RF_TRY(rf_file_size(path, &from->left, error));
    from->path = path;
    from->zip = zip_open(path, ZIP_RDONLY, &code);
    if (from->zip == NULL) {
        zip_error_t reason;
        zip_error_init_with_code(&reason, code);
        rf_status status = rf_error_set(error, RF_ERR_FORMAT, "%s: damaged zip file: %s", path,
                                        zip_error_strerror(&reason));
        zip_error_fini(&reason);
        return status;
    }
    zip_int64_t count = zip_get_num_entries(from->zip, 0);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(from->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *slash = name != NULL ? strchr(name, '/') : NULL;
        if (slash != NULL && strcmp(slash, "/data.pkl") == 0) {
            return rf_string_format(&from->prefix, error, "%.*s/", (int)(slash - name), name);
        }
    }
    return rf_error_set(error, RF_ERR_FORMAT,
                        "%s: is a zip file, but not of PyTorch: there is no data.pkl in it", path);
}

static void close_archive(archive *from)
{
    if (from->zip != NULL) {
        zip_discard(from->zip);
    }
    rf_release(from->prefix);
}

/* Reading one byte more than there is makes libzip compare the checksum. */
static rf_status read_content(const archive *from, const char *name, zip_uint64_t index,
                              uint8_t *bytes, uint64_t size, rf_error *error)
{
    uint8_t probe = 0;
    zip_file_t *file = zip_fopen_index(from->zip, index, 0);
    uint64_t used = 0;
    bool whole = file != NULL;
    while (whole && used < size) {
        zip_int64_t got = zip_fread(file, bytes + used, size - used);
        whole = got > 0;
        used += whole ? (uint64_t)got : 0;
    }
    whole = whole && zip_fread(file, &probe, 1) == 0;
    if (file != NULL) {
        (void)zip_fclose(file);
    }
    return whole ? RF_OK
                 : rf_error_set(error, RF_ERR_FORMAT, "%s: %s in it is damaged or cut off",
                                from->path, name);
}

/* PREFIX + name, whole, into memory of the list. wanted: its size, or UINT64_MAX for any. */
static rf_status read_member(archive *from, const char *name, uint64_t wanted, rf_tensor_list *list,
                             const uint8_t **bytes, uint64_t *size, rf_error *error)
{
    char *full = NULL;
    void *memory = NULL;
    zip_stat_t about;
    RF_TRY(rf_string_format(&full, error, "%s%s", from->prefix, name));
    bool found = zip_stat(from->zip, full, ZIP_FL_ENC_RAW, &about) == 0;
    rf_release(full);
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_INDEX | ZIP_STAT_COMP_METHOD;
    if (!found || (about.valid & needed) != needed) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %s is not in it", from->path, name);
    }
    if (about.comp_method != ZIP_CM_STORE || about.size > from->left ||
        (wanted != UINT64_MAX && about.size != wanted)) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: %s has %" PRIu64 " bytes, expected %" PRIu64
                            ", not compressed, within the file's own size",
                            from->path, name, (uint64_t)about.size,
                            wanted == UINT64_MAX ? from->left : wanted);
    }
    from->left -= about.size;
    RF_TRY(
        rf_tensor_list_take(list, (size_t)about.size, "a part of a PyTorch file", &memory, error));
    *bytes = memory;
    *size = about.size;
    return read_content(from, name, about.index, memory, about.size, error);
}

/* Older files do not say it; all of them were little-endian. */
static rf_status check_byte_order(archive *from, rf_tensor_list *list, rf_error *error)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    char *full = NULL;
    RF_TRY(rf_string_format(&full, error, "%sbyteorder", from->prefix));
    bool said = zip_name_locate(from->zip, full, ZIP_FL_ENC_RAW) >= 0;
    rf_release(full);
    if (!said) {
        return RF_OK;
    }
    RF_TRY(read_member(from, "byteorder", 6, list, &bytes, &size, error));
    return memcmp(bytes, "little", 6) == 0
               ? RF_OK
               : rf_error_set(error, RF_ERR_UNSUPPORTED, "%s: its byte order is not little-endian",
                              from->path);
}

static bool is_plain_key(const rf_torch_storage *storage)
{
    for (size_t i = 0; i < storage->key_size; i++) {
        if (storage->key[i] < '0' || storage->key[i] > '9') {
            return false;
        }
    }
    return true;
}

static rf_status read_storages(archive *from, rf_torch_storages *storages, rf_tensor_list *list,
                               rf_error *error)
{
    for (size_t i = 0; i < storages->count; i++) {
        rf_torch_storage *storage = &storages->items[i];
        char name[80] = "data/";
        uint64_t size = (uint64_t)storage->count * rf_dtype_size(storage->type->dtype);
        if (!is_plain_key(storage)) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: a storage's key is not a number",
                                from->path);
        }
        memcpy(name + 5, storage->key, storage->key_size); /* at most 64 */
        name[5 + storage->key_size] = '\0';
        RF_TRY(read_member(from, name, size, list, &storage->data, &size, error));
    }
    return RF_OK;
}

static rf_status read_archive(archive *from, rf_tensor_list *list, rf_error *error)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    size_t used = 0;
    size_t view_count = 0;
    rf_pickle *pickle = NULL;
    rf_torch_view *views = NULL;
    rf_torch_storages storages = {0};
    rf_status status = RF_OK;
    RF_TRY_DONE(check_byte_order(from, list, error));
    RF_TRY_DONE(read_member(from, "data.pkl", UINT64_MAX, list, &bytes, &size, error));
    if (size > RF_TORCH_LARGEST_PICKLE) {
        status = rf_error_set(error, RF_ERR_UNSUPPORTED,
                              "%s: data.pkl has %" PRIu64 " bytes, more than any model needs",
                              from->path, size);
        goto done;
    }
    RF_TRY_DONE(
        rf_pickle_read(from->path, bytes, (size_t)size, rf_torch_allowed, &pickle, &used, error));
    RF_TRY_DONE(rf_torch_describe(from->path, rf_pickle_top(pickle), &views, &view_count, &storages,
                                  error));
    uint64_t all = from->left;
    RF_TRY_DONE(read_storages(from, &storages, list, error));
    RF_TRY_DONE(rf_torch_add_views(from->path, views, view_count, &storages, all, list, error));
done:
    rf_release(storages.items);
    rf_release(views);
    rf_pickle_release(pickle);
    return status;
}

rf_status rf_torch_read_zip(const char *path, rf_tensor_list *list, rf_error *error)
{
    archive from = {0};
    rf_status status = open_archive(path, &from, error);
    if (status == RF_OK) {
        status = read_archive(&from, list, error);
    }
    close_archive(&from);
    return status;
}

#else

rf_status rf_torch_read_zip(const char *path, rf_tensor_list *list, rf_error *error)
{
    (void)list;
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: is a zip file of PyTorch, and this build is without libzip; install "
                        "libzip-dev and build again",
                        path);
}

#endif
