/* What the pickle of a PyTorch file says: a dictionary from names to tensors, each a view (offset,
 * shape, strides) of a storage. A view must lie inside its storage; one that is not contiguous is
 * copied. */
#include "io/torch_internal.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

static const rf_torch_type types[] = {
    {"torch.FloatStorage", "F32", RF_F32},      {"torch.HalfStorage", "F16", RF_F16},
    {"torch.BFloat16Storage", "BF16", RF_BF16}, {"torch.DoubleStorage", "F64", RF_F64},
    {"torch.LongStorage", "I64", RF_I64},       {"torch.IntStorage", "I32", RF_I32},
    {"torch.ShortStorage", "I16", RF_I16},      {"torch.CharStorage", "I8", RF_U8},
    {"torch.ByteStorage", "U8", RF_U8},         {"torch.BoolStorage", "BOOL", RF_U8},
};

const char *const rf_torch_allowed[] = {"collections.OrderedDict",
                                        "torch._utils._rebuild_tensor_v2",
                                        "torch._utils._rebuild_parameter",
                                        "torch.FloatStorage",
                                        "torch.HalfStorage",
                                        "torch.BFloat16Storage",
                                        "torch.DoubleStorage",
                                        "torch.LongStorage",
                                        "torch.IntStorage",
                                        "torch.ShortStorage",
                                        "torch.CharStorage",
                                        "torch.ByteStorage",
                                        "torch.BoolStorage",
                                        NULL};

/* A name from the file, as much of it as a message shows. */
static int shown(const rf_pickle_value *name)
{
    return name->size < 120 ? (int)name->size : 120;
}

static rf_status wrong(const char *path, const rf_pickle_value *name, const char *what,
                       rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: tensor %.*s: %s", path, shown(name), name->bytes,
                        what);
}

/* ---- storages ---------------------------------------------------------------------------- */

static const rf_torch_type *find_type(const rf_pickle_value *global)
{
    for (size_t i = 0; rf_pickle_is(global, RF_PICKLE_GLOBAL) && i < sizeof types / sizeof types[0];
         i++) {
        if (strlen(types[i].storage) == global->size &&
            memcmp(types[i].storage, global->bytes, global->size) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

static rf_status add_storage(const char *path, const rf_torch_storage *fresh,
                             rf_torch_storages *storages, size_t *index, rf_error *error)
{
    for (size_t i = 0; i < storages->count; i++) {
        const rf_torch_storage *known = &storages->items[i];
        if (known->key_size == fresh->key_size &&
            memcmp(known->key, fresh->key, fresh->key_size) == 0) {
            *index = i;
            return known->type == fresh->type && known->count == fresh->count
                       ? RF_OK
                       : rf_error_set(error, RF_ERR_FORMAT,
                                      "%s: a storage is described in two ways", path);
        }
    }
    if (storages->count == storages->capacity) {
        void *memory = storages->items;
        size_t larger = storages->capacity == 0 ? 64 : 2 * storages->capacity;
        RF_TRY(rf_reallocate(&memory, storages->capacity * sizeof *fresh, larger * sizeof *fresh,
                             "a list of storages", error));
        storages->items = memory;
        storages->capacity = larger;
    }
    *index = storages->count;
    storages->items[storages->count++] = *fresh;
    return RF_OK;
}

/* ("storage", TYPE, KEY, LOCATION, COUNT), in the older stream with None or (KEY, OFFSET, COUNT)
 * behind it: a view of the storage. */
static rf_status read_storage(const char *path, const rf_pickle_value *name,
                              const rf_pickle_value *value, rf_torch_storages *storages,
                              rf_torch_view *view, rf_error *error)
{
    const rf_pickle_value *id = rf_pickle_is(value, RF_PICKLE_PERSISTENT) ? value->argument : NULL;
    int64_t length = rf_pickle_length(id);
    const rf_torch_type *type = find_type(rf_pickle_item(id, 1));
    const rf_pickle_value *key = rf_pickle_item(id, 2);
    const rf_pickle_value *count = rf_pickle_item(id, 4);
    const rf_pickle_value *part = rf_pickle_item(id, 5);
    if (length < 5 || length > 6 || !rf_pickle_is_text(rf_pickle_item(id, 0), "storage") ||
        type == NULL || !rf_pickle_is(key, RF_PICKLE_TEXT) || key->size == 0 || key->size > 64 ||
        !rf_pickle_is(count, RF_PICKLE_INTEGER) || count->integer < 0 ||
        count->integer > INT64_MAX / 16) {
        return wrong(path, name, "it is not a view of a storage of numbers", error);
    }
    if (part != NULL && part->kind != RF_PICKLE_NONE) {
        const rf_pickle_value *offset = rf_pickle_item(part, 1);
        if (!rf_pickle_is(offset, RF_PICKLE_INTEGER) || offset->integer < 0 ||
            offset->integer > count->integer) {
            return wrong(path, name, "its part of a storage is not inside it", error);
        }
        view->offset = offset->integer;
    }
    rf_torch_storage fresh = {
        .key = key->bytes, .key_size = key->size, .type = type, .count = count->integer};
    return add_storage(path, &fresh, storages, &view->storage, error);
}

/* ---- views ------------------------------------------------------------------------------- */

static rf_status read_extents(const char *path, const rf_pickle_value *name,
                              const rf_pickle_value *list, int64_t *extents, int *rank,
                              rf_error *error)
{
    int64_t length = rf_pickle_length(list);
    if (length < 0 || length > RF_MAX_RANK) {
        return wrong(path, name, "its shape or its strides are not a short list of integers",
                     error);
    }
    *rank = (int)length;
    for (int i = 0; i < *rank; i++) {
        const rf_pickle_value *extent = rf_pickle_item(list, (size_t)i);
        if (!rf_pickle_is(extent, RF_PICKLE_INTEGER) || extent->integer < 0) {
            return wrong(path, name,
                         "its shape or its strides hold something else than integers of 0 or more",
                         error);
        }
        extents[i] = extent->integer;
    }
    return RF_OK;
}

/* The last number that the view reaches must be inside the storage, and it must not repeat numbers
 * into more than the storage holds. */
static bool is_inside(const rf_torch_view *view, int64_t count)
{
    int64_t numbers = 1;
    int64_t last = view->offset;
    for (int i = 0; i < view->rank; i++) {
        if (view->shape[i] == 0) {
            return view->offset <= count;
        }
    }
    for (int i = 0; i < view->rank; i++) {
        int64_t steps = view->shape[i] - 1;
        if (numbers > count / view->shape[i] ||
            (steps > 0 && view->stride[i] > (count - last) / steps)) {
            return false;
        }
        numbers *= view->shape[i];
        last += steps * view->stride[i];
    }
    return last < count;
}

static rf_status read_view(const char *path, const rf_pickle_value *name,
                           const rf_pickle_value *value, rf_torch_storages *storages,
                           rf_torch_view *view, rf_error *error)
{
    int ranks[2] = {0, 0};
    *view = (rf_torch_view){.name = name};
    if (rf_pickle_is_call(value, "torch._utils._rebuild_parameter", 1)) {
        value = value->argument->items[0];
    }
    if (!rf_pickle_is_call(value, "torch._utils._rebuild_tensor_v2", 4)) {
        return wrong(path, name, "it is not a tensor; only dictionaries of tensors are read",
                     error);
    }
    rf_pickle_value *const *arguments = value->argument->items;
    RF_TRY(read_storage(path, name, arguments[0], storages, view, error));
    if (!rf_pickle_is(arguments[1], RF_PICKLE_INTEGER) || arguments[1]->integer < 0 ||
        arguments[1]->integer > INT64_MAX / 16) {
        return wrong(path, name, "its offset is not an integer of 0 or more", error);
    }
    view->offset += arguments[1]->integer;
    RF_TRY(read_extents(path, name, arguments[2], view->shape, &ranks[0], error));
    RF_TRY(read_extents(path, name, arguments[3], view->stride, &ranks[1], error));
    view->rank = ranks[0];
    if (ranks[0] != ranks[1] || !is_inside(view, storages->items[view->storage].count)) {
        return wrong(path, name, "its shape and strides reach outside its storage", error);
    }
    return RF_OK;
}

rf_status rf_torch_describe(const char *path, const rf_pickle_value *top, rf_torch_view **views,
                            size_t *view_count, rf_torch_storages *storages, rf_error *error)
{
    void *memory = NULL;
    if (!rf_pickle_is_dictionary(top)) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: the pickle holds no dictionary of tensors",
                            path);
    }
    *view_count = top->count / 2;
    if (*view_count > RF_TORCH_MOST_STORAGES) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED, "%s: %zu tensors; at most %d are read", path,
                            *view_count, RF_TORCH_MOST_STORAGES);
    }
    RF_TRY(rf_allocate_zeroed(*view_count * sizeof **views, "a list of tensors", &memory, error));
    *views = memory;
    for (size_t i = 0; i < *view_count; i++) {
        const rf_pickle_value *name = top->items[2 * i];
        if (!rf_pickle_is(name, RF_PICKLE_TEXT) || name->size == 0 ||
            memchr(name->bytes, '\0', name->size) != NULL) {
            return rf_error_set(error, RF_ERR_FORMAT, "%s: a tensor's name is not a text", path);
        }
        RF_TRY(read_view(path, name, top->items[2 * i + 1], storages, &(*views)[i], error));
    }
    return RF_OK;
}

/* ---- tensors ----------------------------------------------------------------------------- */

static bool is_contiguous(const rf_torch_view *view)
{
    int64_t expected = 1;
    for (int i = view->rank; i > 0; i--) {
        if (view->shape[i - 1] != 1 && view->stride[i - 1] != expected) {
            return false;
        }
        expected *= view->shape[i - 1];
    }
    return true;
}

/* Row by row of the innermost dimension: an odometer over the others. */
static void copy_view(const rf_torch_view *view, size_t width, const uint8_t *from, uint8_t *to)
{
    int64_t index[RF_MAX_RANK] = {0};
    int inner = view->rank - 1;
    for (;;) {
        for (int64_t i = 0; i < view->shape[inner]; i++, to += width) {
            memcpy(to, from + (size_t)(i * view->stride[inner]) * width, width);
        }
        int axis = inner - 1;
        while (axis >= 0 && ++index[axis] == view->shape[axis]) {
            from -= (size_t)((view->shape[axis] - 1) * view->stride[axis]) * width;
            index[axis--] = 0;
        }
        if (axis < 0) {
            return;
        }
        from += (size_t)view->stride[axis] * width;
    }
}

static rf_status add_view(const char *path, const rf_torch_view *view,
                          const rf_torch_storage *storage, uint64_t *limit, rf_tensor_list *list,
                          rf_error *error)
{
    rf_safetensors_entry entry = {.stored = storage->type->stored, .path = path};
    size_t width = rf_dtype_size(storage->type->dtype);
    const uint8_t *data = storage->data + (size_t)view->offset * width;
    entry.tensor.dtype = storage->type->dtype;
    entry.tensor.rank = view->rank;
    memcpy(entry.tensor.shape, view->shape, sizeof view->shape);
    size_t size = rf_tensor_size(&entry.tensor);
    if (size > 0 && !is_contiguous(view)) {
        void *memory = NULL;
        if (size > *limit) {
            return wrong(path, view->name,
                         "views of the same numbers would take more memory than the file", error);
        }
        *limit -= size;
        RF_TRY(rf_tensor_list_take(list, size, "a tensor", &memory, error));
        copy_view(view, width, data, memory);
        data = memory;
    }
    entry.tensor.data = (void *)(uintptr_t)data; /* readers take the entry as const */
    RF_TRY(rf_tensor_list_text(list, view->name->bytes, view->name->size, &entry.name, error));
    return rf_tensor_list_add(list, &entry, error);
}

rf_status rf_torch_add_views(const char *path, const rf_torch_view *views, size_t view_count,
                             const rf_torch_storages *storages, uint64_t limit,
                             rf_tensor_list *list, rf_error *error)
{
    for (size_t i = 0; i < view_count; i++) {
        RF_TRY(add_view(path, &views[i], &storages->items[views[i].storage], &limit, list, error));
    }
    return RF_OK;
}
