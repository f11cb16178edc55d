/* Opening PyTorch's files: which container it is, the older one (a stream: four pickles, a list of
 * keys, and each storage as the number of its elements and their bytes), and several files under an
 * index. */
#include "io/torch_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/shard_index.h"
#include "io/torch_internal.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t magic_number[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                         0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { STREAM_VERSION = 1001, HEAD_PICKLES = 3 };

/* ---- the stream -------------------------------------------------------------------------- */

typedef struct stream {
    const char *path;
    const uint8_t *at, *end;
} stream;

static rf_status next_pickle(stream *from, const char *const *allowed, rf_pickle **pickle,
                             rf_error *error)
{
    size_t used = 0;
    RF_TRY(rf_pickle_read(from->path, from->at, (size_t)(from->end - from->at), allowed, pickle,
                          &used, error));
    from->at += used;
    return RF_OK;
}

/* The first three pickles: a magic number, the version, and what machine wrote it. */
static bool is_expected(int number, const rf_pickle_value *top)
{
    const rf_pickle_value *little = rf_pickle_get(top, "little_endian");
    switch (number) {
    case 0:
        return rf_pickle_is(top, RF_PICKLE_BIG_INTEGER) && top->size == sizeof magic_number &&
               memcmp(top->bytes, magic_number, sizeof magic_number) == 0;
    case 1:
        return rf_pickle_is(top, RF_PICKLE_INTEGER) && top->integer == STREAM_VERSION;
    default:
        return rf_pickle_is(little, RF_PICKLE_BOOLEAN) && little->integer == 1;
    }
}

static rf_status read_head(stream *from, rf_error *error)
{
    static const char *const nothing[] = {NULL};
    static const char *const names[HEAD_PICKLES] = {"PyTorch's magic number", "version 1001",
                                                    "a little-endian writer"};
    for (int i = 0; i < HEAD_PICKLES; i++) {
        rf_pickle *pickle = NULL;
        RF_TRY(next_pickle(from, nothing, &pickle, error));
        bool right = is_expected(i, rf_pickle_top(pickle));
        rf_pickle_release(pickle);
        if (!right) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: is a pickle, but not of PyTorch: expected %s", from->path,
                                names[i]);
        }
    }
    return RF_OK;
}

static rf_torch_storage *find_storage(const rf_torch_storages *storages, const rf_pickle_value *key)
{
    for (size_t i = 0; rf_pickle_is(key, RF_PICKLE_TEXT) && i < storages->count; i++) {
        rf_torch_storage *storage = &storages->items[i];
        if (storage->key_size == key->size && memcmp(storage->key, key->bytes, key->size) == 0) {
            return storage;
        }
    }
    return NULL;
}

static rf_status find_data(stream *from, rf_torch_storage *storage, rf_error *error)
{
    uint64_t count = 0;
    uint64_t size = (uint64_t)storage->count * rf_dtype_size(storage->type->dtype);
    if ((size_t)(from->end - from->at) < sizeof count) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: the file is cut off before a storage",
                            from->path);
    }
    memcpy(&count, from->at, sizeof count);
    from->at += sizeof count;
    if (count != (uint64_t)storage->count || size > (uint64_t)(from->end - from->at)) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: a storage has %" PRIu64 " numbers where %" PRId64
                            " were expected, or is cut off",
                            from->path, count, storage->count);
    }
    storage->data = from->at;
    from->at += size;
    return RF_OK;
}

/* The list of keys, then the storages in its order. */
static rf_status find_all_data(stream *from, rf_torch_storages *storages, rf_error *error)
{
    static const char *const nothing[] = {NULL};
    rf_pickle *keys = NULL;
    rf_status status = RF_OK;
    RF_TRY(next_pickle(from, nothing, &keys, error));
    const rf_pickle_value *list = rf_pickle_top(keys);
    if (rf_pickle_length(list) != (int64_t)storages->count) {
        status = rf_error_set(error, RF_ERR_FORMAT,
                              "%s: the list of storages does not have the %zu of the tensors",
                              from->path, storages->count);
    }
    for (size_t i = 0; i < storages->count && status == RF_OK; i++) {
        rf_torch_storage *storage = find_storage(storages, rf_pickle_item(list, i));
        status =
            storage != NULL && storage->data == NULL
                ? find_data(from, storage, error)
                : rf_error_set(error, RF_ERR_FORMAT,
                               "%s: a storage that no tensor needs, or twice the same", from->path);
    }
    rf_pickle_release(keys);
    return status;
}

static void release_mapping(void *what)
{
    rf_mapping_close(what);
    rf_release(what);
}

static rf_status read_stream(const char *path, rf_tensor_list *list, rf_error *error)
{
    void *memory = NULL;
    rf_pickle *pickle = NULL;
    rf_torch_view *views = NULL;
    rf_torch_storages storages = {0};
    size_t view_count = 0;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_mapping), "a file", &memory, error));
    rf_mapping *mapping = memory;
    RF_TRY(rf_tensor_list_own(list, mapping, release_mapping, error));
    RF_TRY(rf_mapping_open(path, mapping, error));
    stream from = {.path = path, .at = mapping->data, .end = mapping->data + mapping->size};
    RF_TRY_DONE(read_head(&from, error));
    RF_TRY_DONE(next_pickle(&from, rf_torch_allowed, &pickle, error));
    RF_TRY_DONE(
        rf_torch_describe(path, rf_pickle_top(pickle), &views, &view_count, &storages, error));
    RF_TRY_DONE(find_all_data(&from, &storages, error));
    RF_TRY_DONE(rf_torch_add_views(path, views, view_count, &storages, mapping->size, list, error));
done:
    rf_release(storages.items);
    rf_release(views);
    rf_pickle_release(pickle);
    return status;
}

/* ---- any container ----------------------------------------------------------------------- */

static rf_status read_file(const char *path, rf_tensor_list *list, rf_error *error)
{
    rf_mapping mapping = {0};
    const char *name = NULL;
    RF_TRY(rf_mapping_open(path, &mapping, error));
    bool is_zip = mapping.size >= 4 && memcmp(mapping.data, "PK\003\004", 4) == 0;
    bool is_pickle = mapping.size >= 1 && mapping.data[0] == 0x80;
    rf_mapping_close(&mapping);
    RF_TRY(rf_tensor_list_text(list, path, strlen(path), &name, error));
    if (is_zip) {
        return rf_torch_read_zip(name, list, error);
    }
    if (is_pickle) {
        return read_stream(name, list, error);
    }
    return rf_error_set(
        error, RF_ERR_FORMAT,
        "%s: is neither of PyTorch's containers (a zip file, or a stream of pickles)", path);
}

static rf_status read_index(const char *path, rf_tensor_list *list, rf_shard_index *index,
                            rf_error *error)
{
    RF_TRY(rf_shard_index_read(path, index, error));
    for (size_t i = 0; i < index->count; i++) {
        RF_TRY(read_file(index->paths[i], list, error));
    }
    return RF_OK;
}

rf_status rf_torch_open(const char *path, rf_safetensors **file, rf_error *error)
{
    static const char ending[] = ".json";
    size_t length = strlen(path);
    size_t end = sizeof ending - 1;
    bool is_index = length > end && strcmp(path + length - end, ending) == 0;
    rf_tensor_list list = {0};
    rf_shard_index index = {0};
    *file = NULL;
    rf_status status =
        is_index ? read_index(path, &list, &index, error) : read_file(path, &list, error);
    if (status == RF_OK) {
        status = rf_safetensors_from_list(&list, file, error);
    } else {
        rf_tensor_list_clear(&list);
    }
    if (status == RF_OK && is_index) {
        status = rf_shard_index_check(&index, *file, error);
    }
    rf_shard_index_clear(&index);
    if (status != RF_OK) {
        rf_safetensors_close(*file);
        *file = NULL;
    }
    return status;
}
