/* Writing PyTorch's zip container: a pickle of our own making (one pattern a tensor), the storages
 * as they are, every one at a multiple of 64 bytes as PyTorch puts them. The archive is put
 * together in memory and written whole. */
#include "io/torch_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/shard_index.h"

#include <inttypes.h>
#include <string.h>

#if RF_WITH_LIBZIP

#include <zip.h>

enum {
    ALIGNMENT = 64,
    LOCAL_HEADER = 30,
    EXTRA_HEADER = 4,
    PADDING_FIELD = 0x4246,
    LARGEST_INT = 0x7fffffff
};

static rf_dtype stored_dtype(const rf_safetensors_item *item)
{
    return item->store_as != RF_NONE ? item->store_as : item->tensor.dtype;
}

static const char *storage_class(rf_dtype dtype)
{
    switch (dtype) {
    case RF_F32:
        return "FloatStorage";
    case RF_F16:
        return "HalfStorage";
    case RF_BF16:
        return "BFloat16Storage";
    case RF_I64:
        return "LongStorage";
    default:
        return NULL;
    }
}

/* ---- the pickle -------------------------------------------------------------------------- */

static rf_status put_text(rf_text *pickle, const char *text, rf_error *error)
{
    uint32_t size = (uint32_t)strlen(text);
    RF_TRY(rf_text_append(pickle, "X", 1, error));
    RF_TRY(rf_text_append(pickle, (const char *)&size, sizeof size,
                          error)); /* little-endian, as this machine is */
    return rf_text_append(pickle, text, size, error);
}

static rf_status put_integer(rf_text *pickle, int64_t integer, rf_error *error)
{
    if (integer <= LARGEST_INT) {
        int32_t small = (int32_t)integer;
        RF_TRY(rf_text_append(pickle, "J", 1, error));
        return rf_text_append(pickle, (const char *)&small, sizeof small, error);
    }
    RF_TRY(rf_text_append(pickle, "\x8a\x08", 2, error));
    return rf_text_append(pickle, (const char *)&integer, sizeof integer, error);
}

static rf_status put_integers(rf_text *pickle, const int64_t *integers, int count, rf_error *error)
{
    RF_TRY(rf_text_append(pickle, "(", 1, error));
    for (int i = 0; i < count; i++) {
        RF_TRY(put_integer(pickle, integers[i], error));
    }
    return rf_text_append(pickle, "t", 1, error);
}

/* name: _rebuild_tensor_v2(("storage", CLASS, KEY, "cpu", COUNT), 0, shape, strides, False,
 * OrderedDict()) */
static rf_status put_tensor(rf_text *pickle, const char *name, const rf_safetensors_item *item,
                            size_t key, rf_error *error)
{
    const rf_tensor *tensor = &item->tensor;
    int64_t strides[RF_MAX_RANK];
    char digits[24];
    int64_t stride = 1;
    for (int i = tensor->rank; i > 0; i--) {
        strides[i - 1] = stride;
        stride *= tensor->shape[i - 1];
    }
    (void)snprintf(digits, sizeof digits, "%zu", key);
    RF_TRY(put_text(pickle, name, error));
    RF_TRY(rf_text_format(pickle, error, "ctorch._utils\n_rebuild_tensor_v2\n(("));
    RF_TRY(put_text(pickle, "storage", error));
    RF_TRY(rf_text_format(pickle, error, "ctorch\n%s\n", storage_class(stored_dtype(item))));
    RF_TRY(put_text(pickle, digits, error));
    RF_TRY(put_text(pickle, "cpu", error));
    RF_TRY(put_integer(pickle, rf_tensor_count(tensor), error));
    RF_TRY(rf_text_append(pickle, "tQ", 2, error));
    RF_TRY(put_integer(pickle, 0, error));
    RF_TRY(put_integers(pickle, tensor->shape, tensor->rank, error));
    RF_TRY(put_integers(pickle, strides, tensor->rank, error));
    return rf_text_format(pickle, error, "\x89%s)RtR", "ccollections\nOrderedDict\n");
}

static rf_status make_pickle(const rf_safetensors_item *items, size_t count,
                             const rf_torch_alias *alias, rf_text *pickle, rf_error *error)
{
    RF_TRY(rf_text_format(pickle, error, "\x80\x02%s)R(", "ccollections\nOrderedDict\n"));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(put_tensor(pickle, items[i].name, &items[i], i, error));
        if (alias != NULL && strcmp(alias->of, items[i].name) == 0) {
            RF_TRY(put_tensor(pickle, alias->name, &items[i], i, error));
        }
    }
    return rf_text_append(pickle, "u.", 2, error);
}

/* ---- the archive ------------------------------------------------------------------------- */

typedef struct archive {
    zip_t *zip;
    uint64_t end;     /* where the next member begins */
    void **converted; /* [converted_count], owned: numbers of another type than in memory */
    size_t converted_count;
} archive;

static rf_status zip_failed(zip_t *zip, rf_error *error)
{
    return rf_error_set(error, RF_ERR_FILE, "the zip file cannot be put together: %s",
                        zip_strerror(zip));
}

/* `data` must live until the archive is closed. */
static rf_status add_member(archive *to, const char *name, const void *data, uint64_t size,
                            rf_error *error)
{
    static const uint8_t zeros[ALIGNMENT] = {0};
    zip_source_t *source = zip_source_buffer(to->zip, data, size, 0);
    if (source == NULL) {
        return zip_failed(to->zip, error);
    }
    zip_int64_t index = zip_file_add(to->zip, name, source, 0);
    if (index < 0) {
        zip_source_free(source);
        return zip_failed(to->zip, error);
    }
    uint64_t begin = to->end + LOCAL_HEADER + strlen(name) + EXTRA_HEADER;
    zip_uint16_t padding = (zip_uint16_t)((ALIGNMENT - begin % ALIGNMENT) % ALIGNMENT);
    if (zip_set_file_compression(to->zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_extra_field_set(to->zip, (zip_uint64_t)index, PADDING_FIELD, 0, zeros, padding,
                                 ZIP_FL_LOCAL) != 0) {
        return zip_failed(to->zip, error);
    }
    to->end = begin + padding + size;
    return RF_OK;
}

static rf_status add_storage(archive *to, const rf_safetensors_item *item, size_t key,
                             rf_error *error)
{
    char name[64];
    const void *data = item->tensor.data;
    int64_t count = rf_tensor_count(&item->tensor);
    rf_dtype dtype = stored_dtype(item);
    (void)snprintf(name, sizeof name, "pytorch_model/data/%zu", key);
    if (dtype != item->tensor.dtype) {
        void *memory = NULL;
        RF_TRY(rf_allocate((size_t)count * sizeof(uint16_t), "converted numbers", &memory, error));
        to->converted[to->converted_count++] = memory;
        const float *from = data;
        uint16_t *half = memory;
        for (int64_t i = 0; i < count; i++) {
            half[i] = dtype == RF_BF16 ? rf_f32_to_bf16(from[i]) : rf_f32_to_f16(from[i]);
        }
        data = memory;
    }
    return add_member(to, name, data, (uint64_t)count * rf_dtype_size(dtype), error);
}

static rf_status add_all(archive *to, const rf_safetensors_item *items, size_t count,
                         const rf_text *pickle, rf_error *error)
{
    RF_TRY(add_member(to, "pytorch_model/data.pkl", pickle->bytes, pickle->size, error));
    RF_TRY(add_member(to, "pytorch_model/byteorder", "little", 6, error));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(add_storage(to, &items[i], i, error));
    }
    return add_member(to, "pytorch_model/version", "3\n", 2, error);
}

/* The bytes of the finished archive, from the buffer that it was written to. */
static rf_status write_buffer(const char *path, zip_source_t *buffer, rf_error *error)
{
    zip_stat_t about;
    void *memory = NULL;
    zip_stat_init(&about);
    if (zip_source_stat(buffer, &about) != 0 || (about.valid & ZIP_STAT_SIZE) == 0 ||
        zip_source_open(buffer) != 0) {
        return rf_error_set(error, RF_ERR_FILE, "%s: the zip file was not put together", path);
    }
    rf_status status = rf_allocate((size_t)about.size, "a zip file", &memory, error);
    if (status == RF_OK && zip_source_read(buffer, memory, about.size) != (zip_int64_t)about.size) {
        status = rf_error_set(error, RF_ERR_FILE, "%s: the zip file was not put together", path);
    }
    (void)zip_source_close(buffer);
    if (status == RF_OK) {
        status = rf_file_write_atomic(path, memory, (size_t)about.size, error);
    }
    rf_release(memory);
    return status;
}

static rf_status put_together(const rf_safetensors_item *items, size_t count, const rf_text *pickle,
                              zip_source_t *buffer, rf_error *error)
{
    zip_error_t reason;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(count * sizeof(void *), "a list of tensors", &memory, error));
    archive to = {.converted = memory};
    zip_error_init(&reason);
    zip_source_keep(buffer);
    to.zip = zip_open_from_source(buffer, ZIP_TRUNCATE, &reason);
    rf_status status = to.zip != NULL ? add_all(&to, items, count, pickle, error)
                                      : rf_error_set(error, RF_ERR_FILE, "no zip file: %s",
                                                     zip_error_strerror(&reason));
    if (to.zip == NULL) {
        zip_source_free(buffer);
    } else if (status == RF_OK && zip_close(to.zip) == 0) {
        to.zip = NULL;
    } else {
        status = status == RF_OK ? zip_failed(to.zip, error) : status;
        zip_discard(to.zip);
    }
    zip_error_fini(&reason);
    for (size_t i = 0; i < to.converted_count; i++) {
        rf_release(to.converted[i]);
    }
    rf_release(memory);
    return status;
}

static rf_status write_file(const char *path, const rf_safetensors_item *items, size_t count,
                            const rf_torch_alias *alias, rf_error *error)
{
    rf_text pickle = {0};
    zip_error_t reason;
    zip_error_init(&reason);
    rf_status status = RF_OK;
    zip_source_t *buffer = zip_source_buffer_create(NULL, 0, 0, &reason);
    if (buffer == NULL) {
        zip_error_fini(&reason);
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for a zip file", path);
    }
    RF_TRY_DONE(make_pickle(items, count, alias, &pickle, error));
    RF_TRY_DONE(put_together(items, count, &pickle, buffer, error));
    status = write_buffer(path, buffer, error);
done:
    zip_source_free(buffer);
    zip_error_fini(&reason);
    rf_release(pickle.bytes);
    return status;
}

/* ---- the folder -------------------------------------------------------------------------- */

static rf_status write_in_folder(const char *folder, const char *name,
                                 const rf_safetensors_item *items, size_t count,
                                 const rf_torch_alias *alias, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = write_file(path, items, count, alias, error);
    rf_release(path);
    return status;
}

static rf_status note_shard(json_t *weight_map, const rf_safetensors_item *items, size_t count,
                            const rf_torch_alias *alias, const char *name, rf_error *error)
{
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_json_set(weight_map, items[i].name, json_string(name), error));
        if (alias != NULL && strcmp(alias->of, items[i].name) == 0) {
            RF_TRY(rf_json_set(weight_map, alias->name, json_string(name), error));
        }
    }
    return RF_OK;
}

static rf_status write_shards(const char *folder, const rf_safetensors_item *items, size_t count,
                              const rf_torch_alias *alias, uint64_t shard_size, size_t shard_count,
                              rf_error *error)
{
    json_t *weight_map = json_object();
    uint64_t total = 0;
    size_t first = 0;
    rf_status status = weight_map != NULL ? RF_OK
                                          : rf_error_set(error, RF_ERR_MEMORY,
                                                         "no memory for the index of shards");
    for (size_t shard = 1; shard <= shard_count && status == RF_OK; shard++) {
        size_t length = rf_safetensors_shard_length(items, count, first, shard_size);
        char name[64];
        (void)snprintf(name, sizeof name, "pytorch_model-%05zu-of-%05zu.bin", shard, shard_count);
        status = write_in_folder(folder, name, items + first, length, alias, error);
        if (status == RF_OK) {
            status = note_shard(weight_map, items + first, length, alias, name, error);
        }
        for (size_t i = first; i < first + length; i++) {
            total += (uint64_t)rf_tensor_count(&items[i].tensor) *
                     rf_dtype_size(stored_dtype(&items[i]));
        }
        first += length;
    }
    if (status == RF_OK) {
        status =
            rf_shard_index_write(folder, "pytorch_model.bin.index.json", total, weight_map, error);
    }
    json_decref(weight_map);
    return status;
}

/* Files that would be read before what was just written, or instead of it. */
static rf_status remove_others(const char *folder, bool sharded, rf_error *error)
{
    const char *const names[] = {sharded ? "pytorch_model.bin" : "pytorch_model.bin.index.json",
                                 "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = NULL;
        RF_TRY(rf_path_join(folder, names[i], &path, error));
        rf_status status = rf_folder_remove(path, error);
        rf_release(path);
        RF_TRY(status);
    }
    return RF_OK;
}

rf_status rf_torch_write_model(const char *folder, const rf_safetensors_item *items, size_t count,
                               const rf_torch_alias *alias, uint64_t shard_size, rf_error *error)
{
    size_t shard_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (storage_class(stored_dtype(&items[i])) == NULL) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "tensor %s: %s is not written to PyTorch's files", items[i].name,
                                rf_dtype_name(stored_dtype(&items[i])));
        }
    }
    for (size_t first = 0; first < count; shard_count++) {
        first += rf_safetensors_shard_length(items, count, first, shard_size);
    }
    if (shard_count > 1) {
        RF_TRY(write_shards(folder, items, count, alias, shard_size, shard_count, error));
    } else {
        RF_TRY(write_in_folder(folder, "pytorch_model.bin", items, count, alias, error));
    }
    return remove_others(folder, shard_count > 1, error);
}

#else

rf_status rf_torch_write_model(const char *folder, const rf_safetensors_item *items, size_t count,
                               const rf_torch_alias *alias, uint64_t shard_size, rf_error *error)
{
    (void)items;
    (void)count;
    (void)alias;
    (void)shard_size;
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: writing pytorch_model.bin needs libzip, which this build is without; "
                        "install libzip-dev and "
                        "build again, or write safetensors",
                        folder);
}

#endif
