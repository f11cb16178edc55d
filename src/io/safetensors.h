/* The safetensors format: an 8-byte little-endian header size, a JSON header, the tensors' bytes.
 * Reading maps the file and checks everything the format promises: header size, JSON, known types,
 * shape products without overflow, offsets that begin at 0, leave no hole and no overlap and end
 * exactly at the end of the file, no duplicate name. Sharded models are read through their index
 * (weight_map), and each shard is checked in the same way. Source: the format's own specification
 * (huggingface/safetensors). */
#ifndef RF_IO_SAFETENSORS_H
#define RF_IO_SAFETENSORS_H

#include "tensor/tensor.h"

typedef struct rf_safetensors rf_safetensors;

typedef struct rf_safetensors_entry {
    const char *name; /* owned by the file */
    rf_tensor tensor; /* data points into the mapping, possibly unaligned: read it with
                         rf_safetensors_read_* */
    const char
        *stored; /* type in the file: "F32", "I8", ...; I8 and BOOL are bytes, RF_U8, in `tensor` */
    const char *path; /* the file or shard it is in, for messages */
} rf_safetensors_entry;

/* path: a .safetensors file or a *.safetensors.index.json. */
RF_MUST_CHECK rf_status rf_safetensors_open(const char *path, rf_safetensors **file,
                                            rf_error *error);
void rf_safetensors_close(rf_safetensors *file); /* NULL allowed */
size_t rf_safetensors_count(const rf_safetensors *file);
/* In the order of the header. */
const rf_safetensors_entry *rf_safetensors_at(const rf_safetensors *file, size_t index);
const rf_safetensors_entry *rf_safetensors_find(const rf_safetensors *file,
                                                const char *name); /* NULL: not there */
/* A value of __metadata__, NULL if absent. */
const char *rf_safetensors_metadata(const rf_safetensors *file, const char *key);

/* Copy out as f32 (from f32, f16, bf16, f64) or i64 (from any integer type, bool included); `count`
 * must equal the tensor's. */
RF_MUST_CHECK rf_status rf_safetensors_read_f32(const rf_safetensors_entry *entry, float *values,
                                                int64_t count, rf_error *error);
RF_MUST_CHECK rf_status rf_safetensors_read_i64(const rf_safetensors_entry *entry, int64_t *values,
                                                int64_t count, rf_error *error);

/* Writing: tensors as given (host memory), stored as tensor.dtype; the header is in the order
 * given, the data in the order of falling element size, so that every tensor is aligned (PyTorch's
 * loader needs it). Metadata is {"format": "pt"} plus the pairs (key, value). Atomic: temporary,
 * fsync, rename. A tensor whose store_as differs from its dtype (f32 -> bf16 or f16) is converted
 * while writing. */
typedef struct rf_safetensors_item {
    const char *name;
    rf_tensor tensor;
    rf_dtype store_as; /* RF_NONE: as it is */
} rf_safetensors_item;
RF_MUST_CHECK rf_status rf_safetensors_write(const char *path, const rf_safetensors_item *items,
                                             size_t count, const char *const *metadata_pairs,
                                             size_t pair_count, rf_error *error);
/* As above, in shards of at most shard_size bytes named model-00001-of-0000N.safetensors with
 * model.safetensors.index.json. A single shard is written as model.safetensors. A model file of the
 * other kind that was in the folder is removed last. */
RF_MUST_CHECK rf_status rf_safetensors_write_model(const char *folder,
                                                   const rf_safetensors_item *items, size_t count,
                                                   uint64_t shard_size, rf_error *error);
/* How items are cut into shards of at most shard_size bytes: how many from `first` on share a
 * shard; at least one, as many as fit. */
size_t rf_safetensors_shard_length(const rf_safetensors_item *items, size_t count, size_t first,
                                   uint64_t shard_size);

#endif
