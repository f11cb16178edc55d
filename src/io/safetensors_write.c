/* Writing safetensors files and sharded models. Data goes out in the order of falling element size,
 * so that offsets are multiples of the element's size; conversion to 16 bits is done in pieces of
 * 64 Ki numbers. */
#include "io/safetensors.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/json.h"
#include "io/shard_index.h"

#include <inttypes.h>
#include <string.h>

enum { PIECE = 1 << 16, HEADER_ALIGNMENT = 8, LARGEST_ELEMENT = 8 };

static const char *const type_names[RF_DTYPE_COUNT] = {
    [RF_F32] = "F32", [RF_BF16] = "BF16", [RF_F16] = "F16", [RF_F64] = "F64",
    [RF_I64] = "I64", [RF_I32] = "I32",   [RF_I16] = "I16", [RF_U8] = "U8",
};

static rf_dtype stored_dtype(const rf_safetensors_item *item)
{
    return item->store_as != RF_NONE ? item->store_as : item->tensor.dtype;
}

static uint64_t stored_size(const rf_safetensors_item *item)
{
    return (uint64_t)rf_tensor_count(&item->tensor) * rf_dtype_size(stored_dtype(item));
}

static rf_status check_item(const rf_safetensors_item *item, rf_error *error)
{
    rf_dtype from = item->tensor.dtype;
    rf_dtype to = stored_dtype(item);
    if (to >= RF_DTYPE_COUNT || type_names[to] == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "tensor %s: %s cannot be stored in safetensors",
                            item->name, rf_dtype_name(to));
    }
    if (from != to && !(from == RF_F32 && (to == RF_BF16 || to == RF_F16))) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "tensor %s: cannot store %s as %s, only f32 as bf16 or f16", item->name,
                            rf_dtype_name(from), rf_dtype_name(to));
    }
    if (strcmp(item->name, "__metadata__") == 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "a tensor cannot be named __metadata__");
    }
    return RF_OK;
}

/* ---- header ------------------------------------------------------------------------------ */

static rf_status append_string(rf_text *text, const char *string, rf_error *error)
{
    json_t *value = json_string(string);
    if (value == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "\"%s\" is not valid UTF-8", string);
    }
    char *quoted = NULL;
    rf_status status = rf_json_text(value, false, &quoted, error);
    json_decref(value);
    if (status == RF_OK) {
        status = rf_text_append(text, quoted, strlen(quoted), error);
    }
    rf_release(quoted);
    return status;
}

static rf_status append_metadata(rf_text *text, const char *const *pairs, size_t pair_count,
                                 rf_error *error)
{
    json_t *metadata = json_object();
    char *printed = NULL;
    rf_status status = RF_OK;
    if (metadata == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for metadata");
    }
    RF_TRY_DONE(rf_json_set(metadata, "format", json_string("pt"), error));
    for (size_t i = 0; i < pair_count; i++) {
        RF_TRY_DONE(rf_json_set(metadata, pairs[2 * i], json_string(pairs[2 * i + 1]), error));
    }
    RF_TRY_DONE(rf_json_text(metadata, false, &printed, error));
    RF_TRY_DONE(rf_text_format(text, error, "\"__metadata__\":%s", printed));
done:
    rf_release(printed);
    json_decref(metadata);
    return status;
}

static rf_status append_item(rf_text *text, const rf_safetensors_item *item, uint64_t begin,
                             rf_error *error)
{
    RF_TRY(rf_text_append(text, ",", 1, error));
    RF_TRY(append_string(text, item->name, error));
    RF_TRY(rf_text_format(text, error, ":{\"dtype\":\"%s\",\"shape\":[",
                          type_names[stored_dtype(item)]));
    for (int i = 0; i < item->tensor.rank; i++) {
        RF_TRY(rf_text_format(text, error, "%s%" PRId64, i > 0 ? "," : "", item->tensor.shape[i]));
    }
    return rf_text_format(text, error, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                          begin + stored_size(item));
}

/* begins[i]: where item i's data starts. */
static void place_items(const rf_safetensors_item *items, size_t count, uint64_t *begins)
{
    uint64_t end = 0;
    for (size_t width = LARGEST_ELEMENT; width > 0; width /= 2) {
        for (size_t i = 0; i < count; i++) {
            if (rf_dtype_size(stored_dtype(&items[i])) == width) {
                begins[i] = end;
                end += stored_size(&items[i]);
            }
        }
    }
}

/* The eight bytes of the length, then the header padded with spaces so that the data is aligned. */
static rf_status write_header(rf_atomic_file *file, rf_text *text, rf_error *error)
{
    size_t padding = (HEADER_ALIGNMENT - text->size % HEADER_ALIGNMENT) % HEADER_ALIGNMENT;
    RF_TRY(rf_text_append(text, "       ", padding, error));
    uint64_t length = text->size;
    RF_TRY(rf_atomic_write(file, &length, sizeof length, error));
    return rf_atomic_write(file, text->bytes, text->size, error);
}

/* ---- data -------------------------------------------------------------------------------- */

static rf_status write_converted(rf_atomic_file *file, const rf_safetensors_item *item,
                                 uint16_t *piece, rf_error *error)
{
    const float *values = item->tensor.data;
    int64_t count = rf_tensor_count(&item->tensor);
    for (int64_t first = 0; first < count; first += PIECE) {
        int64_t length = count - first < PIECE ? count - first : PIECE;
        for (int64_t i = 0; i < length; i++) {
            piece[i] = item->store_as == RF_BF16 ? rf_f32_to_bf16(values[first + i])
                                                 : rf_f32_to_f16(values[first + i]);
        }
        RF_TRY(rf_atomic_write(file, piece, (size_t)length * sizeof *piece, error));
    }
    return RF_OK;
}

static rf_status write_data(rf_atomic_file *file, const rf_safetensors_item *items, size_t count,
                            rf_error *error)
{
    void *piece = NULL;
    rf_status status = rf_allocate(PIECE * sizeof(uint16_t), "a piece to convert", &piece, error);
    for (size_t width = LARGEST_ELEMENT; width > 0; width /= 2) {
        for (size_t i = 0; i < count && status == RF_OK; i++) {
            const rf_safetensors_item *item = &items[i];
            if (rf_dtype_size(stored_dtype(item)) != width) {
                continue;
            }
            status = stored_dtype(item) != item->tensor.dtype
                         ? write_converted(file, item, piece, error)
                         : rf_atomic_write(file, item->tensor.data, rf_tensor_size(&item->tensor),
                                           error);
        }
    }
    rf_release(piece);
    return status;
}

static rf_status make_header(const rf_safetensors_item *items, size_t count,
                             const char *const *pairs, size_t pair_count, rf_text *text,
                             rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate(count * sizeof(uint64_t), "tensor offsets", &memory, error));
    uint64_t *begins = memory;
    place_items(items, count, begins);
    RF_TRY_DONE(rf_text_append(text, "{", 1, error));
    RF_TRY_DONE(append_metadata(text, pairs, pair_count, error));
    for (size_t i = 0; i < count; i++) {
        RF_TRY_DONE(append_item(text, &items[i], begins[i], error));
    }
    RF_TRY_DONE(rf_text_append(text, "}", 1, error));
done:
    rf_release(memory);
    return status;
}

/* Names must differ and every item must be storable. */
static rf_status check_items(const rf_safetensors_item *items, size_t count, rf_error *error)
{
    json_t *seen = json_object();
    rf_status status = seen != NULL ? RF_OK : rf_error_set(error, RF_ERR_MEMORY, "no memory");
    for (size_t i = 0; i < count && status == RF_OK; i++) {
        status = check_item(&items[i], error);
        if (status == RF_OK && json_object_get(seen, items[i].name) != NULL) {
            status =
                rf_error_set(error, RF_ERR_ARGUMENT, "two tensors are named %s", items[i].name);
        }
        if (status == RF_OK) {
            status = rf_json_set(seen, items[i].name, json_true(), error);
        }
    }
    json_decref(seen);
    return status;
}

rf_status rf_safetensors_write(const char *path, const rf_safetensors_item *items, size_t count,
                               const char *const *metadata_pairs, size_t pair_count,
                               rf_error *error)
{
    rf_text text = {0};
    rf_atomic_file *file = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(check_items(items, count, error));
    RF_TRY_DONE(make_header(items, count, metadata_pairs, pair_count, &text, error));
    RF_TRY_DONE(rf_atomic_open(path, &file, error));
    RF_TRY_DONE(write_header(file, &text, error));
    RF_TRY_DONE(write_data(file, items, count, error));
done:
    rf_release(text.bytes);
    if (status != RF_OK) {
        rf_atomic_abandon(file);
        return status;
    }
    return rf_atomic_commit(file, error);
}

/* ---- sharded models ---------------------------------------------------------------------- */

size_t rf_safetensors_shard_length(const rf_safetensors_item *items, size_t count, size_t first,
                                   uint64_t shard_size)
{
    uint64_t size = stored_size(&items[first]);
    size_t length = 1;
    while (first + length < count) {
        uint64_t more = stored_size(&items[first + length]);
        if (size > shard_size || more > shard_size - size) {
            break;
        }
        size += more;
        length++;
    }
    return length;
}

static rf_status write_in_folder(const char *folder, const char *name,
                                 const rf_safetensors_item *items, size_t count, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_safetensors_write(path, items, count, NULL, 0, error);
    rf_release(path);
    return status;
}

static rf_status remove_in_folder(const char *folder, const char *name, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_folder_remove(path, error);
    rf_release(path);
    return status;
}

static rf_status write_shards(const char *folder, const rf_safetensors_item *items, size_t count,
                              uint64_t shard_size, size_t shard_count, json_t *weight_map,
                              rf_error *error)
{
    size_t first = 0;
    for (size_t shard = 1; shard <= shard_count; shard++) {
        size_t length = rf_safetensors_shard_length(items, count, first, shard_size);
        char *name = NULL;
        RF_TRY(
            rf_string_format(&name, error, "model-%05zu-of-%05zu.safetensors", shard, shard_count));
        rf_status status = write_in_folder(folder, name, items + first, length, error);
        for (size_t i = 0; i < length && status == RF_OK; i++) {
            status = rf_json_set(weight_map, items[first + i].name, json_string(name), error);
        }
        rf_release(name);
        RF_TRY(status);
        first += length;
    }
    return RF_OK;
}

static rf_status write_sharded(const char *folder, const rf_safetensors_item *items, size_t count,
                               uint64_t shard_size, size_t shard_count, rf_error *error)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += stored_size(&items[i]);
    }
    json_t *weight_map = json_object();
    if (weight_map == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the index of shards");
    }
    rf_status status =
        write_shards(folder, items, count, shard_size, shard_count, weight_map, error);
    if (status == RF_OK) {
        status =
            rf_shard_index_write(folder, "model.safetensors.index.json", total, weight_map, error);
    }
    json_decref(weight_map);
    return status == RF_OK ? remove_in_folder(folder, "model.safetensors", error) : status;
}

rf_status rf_safetensors_write_model(const char *folder, const rf_safetensors_item *items,
                                     size_t count, uint64_t shard_size, rf_error *error)
{
    RF_TRY(check_items(items, count, error)); /* over all shards, before the first is written */
    size_t shard_count = 0;
    for (size_t first = 0; first < count; shard_count++) {
        first += rf_safetensors_shard_length(items, count, first, shard_size);
    }
    if (shard_count > 1) {
        return write_sharded(folder, items, count, shard_size, shard_count, error);
    }
    RF_TRY(write_in_folder(folder, "model.safetensors", items, count, error));
    return remove_in_folder(folder, "model.safetensors.index.json", error);
}
