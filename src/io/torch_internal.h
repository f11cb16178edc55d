/* Inside src/io: what the two containers of PyTorch's files share. */
#ifndef RF_IO_TORCH_INTERNAL_H
#define RF_IO_TORCH_INTERNAL_H

#include "io/pickle.h"
#include "io/tensor_list.h"

enum { RF_TORCH_MOST_STORAGES = 1 << 14, RF_TORCH_LARGEST_PICKLE = 64 << 20 };

/* A type of storage: its class in the pickle, its name in safetensors. */
typedef struct rf_torch_type {
    const char *storage, *stored;
    rf_dtype dtype;
} rf_torch_type;

/* A row of numbers that tensors are views of. */
typedef struct rf_torch_storage {
    const char *key; /* [key_size], not ended by NUL */
    size_t key_size;
    const rf_torch_type *type;
    int64_t count;       /* numbers */
    const uint8_t *data; /* NULL until it is found; possibly unaligned */
} rf_torch_storage;

typedef struct rf_torch_storages {
    rf_torch_storage *items; /* [count] */
    size_t count, capacity;
} rf_torch_storages;

/* A tensor as the pickle describes it. */
typedef struct rf_torch_view {
    const rf_pickle_value *name;
    size_t storage;
    int64_t offset;
    int rank;
    int64_t shape[RF_MAX_RANK], stride[RF_MAX_RANK];
} rf_torch_view;

/* What a file's pickle may refer to. */
extern const char *const rf_torch_allowed[];

/* torch_pickle.c: the tensors of a state dictionary, and the storages that they ask for. Release
 * both with rf_release. */
RF_MUST_CHECK rf_status rf_torch_describe(const char *path, const rf_pickle_value *top,
                                          rf_torch_view **views, size_t *view_count,
                                          rf_torch_storages *storages, rf_error *error);
/* torch_pickle.c: views of storages whose data is there become tensors of the list. `limit`: bytes
 * that copies may take. */
RF_MUST_CHECK rf_status rf_torch_add_views(const char *path, const rf_torch_view *views,
                                           size_t view_count, const rf_torch_storages *storages,
                                           uint64_t limit, rf_tensor_list *list, rf_error *error);
/* torch_zip.c: the tensors of a zip container. */
RF_MUST_CHECK rf_status rf_torch_read_zip(const char *path, rf_tensor_list *list, rf_error *error);

#endif
