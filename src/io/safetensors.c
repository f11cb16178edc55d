/* Reading safetensors files (format: huggingface/safetensors, README "Format"). The file is mapped
 * and its header checked whole before anything is handed out: O(n log n) in the number of tensors,
 * no memory for their data. */
#include "io/safetensors.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "io/shard_index.h"
#include "io/tensor_list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the format and this reader are little-endian");

enum { LARGEST_HEADER = 100000000, LENGTH_BYTES = 8 };

/* One file. Names and metadata belong to its header. */
typedef struct shard {
    char *path;
    rf_mapping mapping;
    json_t *header;
    const uint8_t *data; /* after the header */
    uint64_t data_size;
} shard;

struct rf_safetensors {
    shard *shards;
    size_t shard_count;
    rf_safetensors_entry *entries;
    size_t count;
    const rf_safetensors_entry **by_name; /* sorted */
    rf_tensor_list list;                  /* what keeps tensors of another format alive */
};

typedef struct stored_type {
    const char *name;
    rf_dtype dtype;
} stored_type;

static const stored_type types[] = {
    {"F32", RF_F32}, {"BF16", RF_BF16}, {"F16", RF_F16}, {"F64", RF_F64}, {"I64", RF_I64},
    {"I32", RF_I32}, {"I16", RF_I16},   {"U8", RF_U8},   {"I8", RF_U8},   {"BOOL", RF_U8},
};

/* ---- one file's header ------------------------------------------------------------------- */

static rf_status check_lengths(const char *path, const rf_mapping *mapping, uint64_t *header_size,
                               rf_error *error)
{
    if (mapping->size < LENGTH_BYTES) {
        return rf_error_set(
            error, RF_ERR_FORMAT,
            "%s: %zu bytes are too few for a safetensors file, which begins with the "
            "8-byte size of its header",
            path, mapping->size);
    }
    memcpy(header_size, mapping->data, LENGTH_BYTES);
    if (*header_size > LARGEST_HEADER) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: header size %" PRIu64
                            " is over the limit of %d bytes; this is not a safetensors file",
                            path, *header_size, LARGEST_HEADER);
    }
    if (*header_size > mapping->size - LENGTH_BYTES) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: header of %" PRIu64
                            " bytes expected, found %zu; the file is cut off",
                            path, *header_size, mapping->size - LENGTH_BYTES);
    }
    return RF_OK;
}

static rf_status check_metadata(const char *path, json_t *header, rf_error *error)
{
    json_t *metadata = json_object_get(header, "__metadata__");
    if (metadata != NULL && !json_is_object(metadata)) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: __metadata__ is not an object", path);
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: __metadata__ %s is not a string", path,
                                key);
        }
    }
    return RF_OK;
}

static rf_status read_type(const json_t *description, rf_safetensors_entry *entry, rf_error *error)
{
    const char *name = json_string_value(json_object_get(description, "dtype"));
    if (name == NULL) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: tensor %s has no dtype", entry->path,
                            entry->name);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) == 0) {
            entry->tensor.dtype = types[i].dtype;
            entry->stored = types[i].name;
            return RF_OK;
        }
    }
    return rf_error_set(
        error, RF_ERR_UNSUPPORTED,
        "%s: tensor %s has dtype %s, expected one of F32, BF16, F16, F64, I64, I32, "
        "I16, I8, U8, BOOL; convert it first",
        entry->path, entry->name, name);
}

/* Fills the shape; *size is the number of bytes that it and the type ask for. */
static rf_status read_shape(const json_t *description, rf_safetensors_entry *entry, uint64_t *size,
                            rf_error *error)
{
    const json_t *shape = json_object_get(description, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > RF_MAX_RANK) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: tensor %s needs a shape, a list of at most %d integers",
                            entry->path, entry->name, RF_MAX_RANK);
    }
    *size = rf_dtype_size(entry->tensor.dtype);
    entry->tensor.rank = (int)json_array_size(shape);
    bool is_empty = false;
    bool overflows = false;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *extent = json_array_get(shape, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0) {
            return rf_error_set(
                error, RF_ERR_FORMAT,
                "%s: tensor %s: dimension %zu of the shape is not an integer of 0 or "
                "more",
                entry->path, entry->name, i);
        }
        entry->tensor.shape[i] = json_integer_value(extent);
        uint64_t factor = (uint64_t)entry->tensor.shape[i];
        is_empty = is_empty || factor == 0;
        overflows = overflows || (factor != 0 && *size > (uint64_t)INT64_MAX / factor);
        *size *= factor != 0 && !overflows ? factor : 1;
    }
    if (overflows) { /* even if another dimension is 0: the product must not depend on the order */
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: tensor %s: the shape's product overflows 64 bits", entry->path,
                            entry->name);
    }
    *size = is_empty ? 0 : *size;
    return RF_OK;
}

/* Where the tensor lies is kept as its data pointer. */
static rf_status read_offsets(const shard *from, const json_t *description, uint64_t size,
                              rf_safetensors_entry *entry, rf_error *error)
{
    const json_t *offsets = json_object_get(description, "data_offsets");
    const json_t *first = json_array_get(offsets, 0);
    const json_t *second = json_array_get(offsets, 1);
    json_int_t begin = json_integer_value(first);
    json_int_t end = json_integer_value(second);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
        begin < 0 || end < begin) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: tensor %s needs data_offsets, a list of begin and end", from->path,
                            entry->name);
    }
    if ((uint64_t)end > from->data_size) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: tensor %s ends at byte %" PRId64
                            " of the data, but the file holds %" PRIu64
                            "; it is cut off or damaged",
                            from->path, entry->name, (int64_t)end, from->data_size);
    }
    if ((uint64_t)(end - begin) != size) {
        char text[256];
        return rf_error_set(
            error, RF_ERR_FORMAT,
            "%s: tensor %s is %s, which takes %" PRIu64 " bytes, but its data_offsets "
            "hold %" PRId64,
            from->path, entry->name, rf_tensor_describe(&entry->tensor, text, sizeof text), size,
            (int64_t)(end - begin));
    }
    /* The tensor's data is not const, the mapping is read-only: readers take the entry as const. */
    entry->tensor.data = (void *)(uintptr_t)(from->data + begin);
    return RF_OK;
}

static rf_status read_entry(const shard *from, const char *name, const json_t *description,
                            rf_safetensors_entry *entry, rf_error *error)
{
    *entry = (rf_safetensors_entry){.name = name, .path = from->path};
    if (!json_is_object(description)) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: the description of tensor %s is not an object", from->path, name);
    }
    uint64_t size = 0;
    RF_TRY(read_type(description, entry, error));
    RF_TRY(read_shape(description, entry, &size, error));
    return read_offsets(from, description, size, entry, error);
}

static uint64_t entry_begin(const shard *from, const rf_safetensors_entry *entry)
{
    return (uint64_t)((const uint8_t *)entry->tensor.data - from->data);
}

static int compare_places(const void *a, const void *b)
{
    const rf_safetensors_entry *one = *(const rf_safetensors_entry *const *)a;
    const rf_safetensors_entry *two = *(const rf_safetensors_entry *const *)b;
    if (one->tensor.data != two->tensor.data) {
        return (const char *)one->tensor.data < (const char *)two->tensor.data ? -1 : 1;
    }
    size_t first =
        rf_tensor_size(&one->tensor); /* an empty tensor comes before what begins there */
    size_t second = rf_tensor_size(&two->tensor);
    return first < second ? -1 : first > second;
}

/* `sorted` by place: each must begin where the one before ended, and the last must end with the
 * file. */
static rf_status check_cover(const shard *from, const rf_safetensors_entry *const *sorted,
                             size_t count, rf_error *error)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = entry_begin(from, sorted[i]);
        if (begin > expected) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: bytes %" PRIu64 " to %" PRIu64
                                " of the data belong to no tensor (a hole before tensor %s)",
                                from->path, expected, begin, sorted[i]->name);
        }
        if (begin < expected) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: tensors %s and %s overlap", from->path,
                                sorted[i - 1]->name, sorted[i]->name);
        }
        expected = begin + rf_tensor_size(&sorted[i]->tensor);
    }
    if (expected != from->data_size) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: %" PRIu64 " trailing bytes after the last tensor", from->path,
                            from->data_size - expected);
    }
    return RF_OK;
}

static rf_status open_shard(const char *path, shard *opened, rf_error *error)
{
    uint64_t header_size = 0;
    RF_TRY(rf_string_copy(path, &opened->path, error));
    RF_TRY(rf_mapping_open(path, &opened->mapping, error));
    RF_TRY(check_lengths(path, &opened->mapping, &header_size, error));
    const char *text = (const char *)opened->mapping.data + LENGTH_BYTES;
    if (header_size == 0 || text[0] != '{') {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: the header is not JSON, it does not begin with {", path);
    }
    RF_TRY(rf_json_parse_object(path, text, (size_t)header_size, &opened->header, error));
    opened->data = opened->mapping.data + LENGTH_BYTES + header_size;
    opened->data_size = opened->mapping.size - LENGTH_BYTES - header_size;
    return check_metadata(path, opened->header, error);
}

static void close_shard(shard *opened)
{
    json_decref(opened->header);
    rf_mapping_close(&opened->mapping);
    rf_release(opened->path);
}

/* ---- all files --------------------------------------------------------------------------- */

/* Every tensor of one shard; entries has room for all. */
static rf_status read_shard_entries(const shard *from, rf_safetensors_entry *entries, size_t *count,
                                    rf_error *error)
{
    const char *name = NULL;
    json_t *description = NULL;
    *count = 0;
    json_object_foreach(from->header, name, description)
    {
        if (strcmp(name, "__metadata__") != 0) {
            RF_TRY(read_entry(from, name, description, &entries[*count], error));
            (*count)++;
        }
    }
    void *memory = NULL;
    RF_TRY(rf_allocate(*count * sizeof(rf_safetensors_entry *), "tensor order", &memory, error));
    const rf_safetensors_entry **sorted = memory;
    for (size_t i = 0; i < *count; i++) {
        sorted[i] = &entries[i];
    }
    if (*count > 1) {
        qsort(memory, *count, sizeof *sorted, compare_places);
    }
    rf_status status = check_cover(from, sorted, *count, error);
    rf_release(memory);
    return status;
}

static int compare_entry_names(const void *a, const void *b)
{
    const rf_safetensors_entry *one = *(const rf_safetensors_entry *const *)a;
    const rf_safetensors_entry *two = *(const rf_safetensors_entry *const *)b;
    return strcmp(one->name, two->name);
}

/* Sorted pointers for rf_safetensors_find; two shards must not hold the same name. */
static rf_status index_names(rf_safetensors *file, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(
        rf_allocate(file->count * sizeof(rf_safetensors_entry *), "tensor names", &memory, error));
    file->by_name = memory;
    for (size_t i = 0; i < file->count; i++) {
        file->by_name[i] = &file->entries[i];
    }
    if (file->count > 1) {
        qsort(memory, file->count, sizeof *file->by_name, compare_entry_names);
    }
    for (size_t i = 1; i < file->count; i++) {
        const rf_safetensors_entry *one = file->by_name[i - 1];
        const rf_safetensors_entry *two = file->by_name[i];
        if (strcmp(one->name, two->name) == 0) {
            return rf_error_set(error, RF_ERR_FORMAT, "tensor %s is in both %s and %s", one->name,
                                one->path, two->path);
        }
    }
    return RF_OK;
}

static rf_status read_all_entries(rf_safetensors *file, rf_error *error)
{
    size_t most = 0;
    for (size_t i = 0; i < file->shard_count; i++) {
        most += json_object_size(file->shards[i].header);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(most * sizeof(rf_safetensors_entry), "a list of tensors", &memory,
                              error));
    file->entries = memory;
    for (size_t i = 0; i < file->shard_count; i++) {
        size_t count = 0;
        RF_TRY(read_shard_entries(&file->shards[i], file->entries + file->count, &count, error));
        file->count += count;
    }
    return index_names(file, error);
}

static rf_status add_shards(rf_safetensors *file, size_t count, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(count * sizeof(shard), "a list of shards", &memory, error));
    file->shards = memory;
    return RF_OK;
}

/* ---- the index of a sharded model -------------------------------------------------------- */

static rf_status open_listed_shards(rf_safetensors *file, const rf_shard_index *index,
                                    rf_error *error)
{
    RF_TRY(add_shards(file, index->count, error));
    for (size_t i = 0; i < index->count; i++) {
        RF_TRY(open_shard(index->paths[i], &file->shards[file->shard_count++], error));
    }
    return read_all_entries(file, error);
}

static rf_status open_index(rf_safetensors *file, const char *path, rf_error *error)
{
    rf_shard_index index = {0};
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_shard_index_read(path, &index, error));
    RF_TRY_DONE(open_listed_shards(file, &index, error));
    RF_TRY_DONE(rf_shard_index_check(&index, file, error));
done:
    rf_shard_index_clear(&index);
    return status;
}

static rf_status open_single(rf_safetensors *file, const char *path, rf_error *error)
{
    RF_TRY(add_shards(file, 1, error));
    file->shard_count = 1;
    RF_TRY(open_shard(path, &file->shards[0], error));
    return read_all_entries(file, error);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

rf_status rf_safetensors_open(const char *path, rf_safetensors **file, rf_error *error)
{
    *file = NULL;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_safetensors), "a safetensors file", &memory, error));
    rf_safetensors *opened = memory;
    rf_status status = ends_with(path, ".json") ? open_index(opened, path, error)
                                                : open_single(opened, path, error);
    if (status != RF_OK) {
        rf_safetensors_close(opened);
        return status;
    }
    *file = opened;
    return RF_OK;
}

rf_status rf_safetensors_from_list(rf_tensor_list *list, rf_safetensors **file, rf_error *error)
{
    void *memory = NULL;
    *file = NULL;
    rf_status status =
        rf_allocate_zeroed(sizeof(rf_safetensors), "a file of tensors", &memory, error);
    if (status != RF_OK) {
        rf_tensor_list_clear(list);
        return status;
    }
    rf_safetensors *opened = memory;
    opened->list = *list;
    opened->entries = list->entries;
    opened->count = list->count;
    opened->list.entries = NULL;
    *list = (rf_tensor_list){0};
    status = index_names(opened, error);
    if (status != RF_OK) {
        rf_safetensors_close(opened);
        return status;
    }
    *file = opened;
    return RF_OK;
}

void rf_safetensors_close(rf_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    for (size_t i = 0; i < file->shard_count; i++) {
        close_shard(&file->shards[i]);
    }
    rf_release(file->by_name);
    rf_release(file->entries);
    rf_release(file->shards);
    rf_tensor_list_clear(&file->list);
    rf_release(file);
}

/* ---- access ------------------------------------------------------------------------------ */

size_t rf_safetensors_count(const rf_safetensors *file)
{
    return file->count;
}

const rf_safetensors_entry *rf_safetensors_at(const rf_safetensors *file, size_t index)
{
    RF_ASSERT(index < file->count);
    return &file->entries[index];
}

const rf_safetensors_entry *rf_safetensors_find(const rf_safetensors *file, const char *name)
{
    size_t low = 0;
    size_t high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->by_name[middle]->name);
        if (order == 0) {
            return file->by_name[middle];
        }
        low = order > 0 ? middle + 1 : low;
        high = order < 0 ? middle : high;
    }
    return NULL;
}

const char *rf_safetensors_metadata(const rf_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->shard_count; i++) {
        const json_t *metadata = json_object_get(file->shards[i].header, "__metadata__");
        const char *value = json_string_value(json_object_get(metadata, key));
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}
