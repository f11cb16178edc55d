/* The index of a model in several files, *.index.json of Hugging Face: weight_map says which tensor
 * is in which file. */
#ifndef RF_IO_SHARD_INDEX_H
#define RF_IO_SHARD_INDEX_H

#include "io/json.h"
#include "io/safetensors.h"

typedef struct rf_shard_index {
    char *path;
    json_t *object, *weight_map; /* weight_map belongs to the object */
    char **paths; /* [count] the distinct files, in the order of their first tensors */
    size_t count;
} rf_shard_index;

/* Read it; a shard must be in the index's own folder. Clear it after any outcome. */
RF_MUST_CHECK rf_status rf_shard_index_read(const char *path, rf_shard_index *index,
                                            rf_error *error);
/* The index and the shards, opened together, must name the same tensors in the same places. */
RF_MUST_CHECK rf_status rf_shard_index_check(const rf_shard_index *index,
                                             const rf_safetensors *file, rf_error *error);
void rf_shard_index_clear(rf_shard_index *index);
/* Write FOLDER/NAME for tensors whose files weight_map says. */
RF_MUST_CHECK rf_status rf_shard_index_write(const char *folder, const char *name,
                                             uint64_t total_size, json_t *weight_map,
                                             rf_error *error);

#endif
