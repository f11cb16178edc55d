/* PyTorch's files of weights, pytorch_model.bin: the zip container of today and the stream of
 * pickles of 2020. Nothing in them is executed (io/pickle.h); what is read is a dictionary of
 * tensors. Source: torch/serialization.py, its format, read as data. */
#ifndef RF_IO_TORCH_FILE_H
#define RF_IO_TORCH_FILE_H

#include "io/safetensors.h"

/* path: a file, or a *.index.json that names several. The table is the same as that of a
 * safetensors file. A zip container needs libzip: without it RF_ERR_UNSUPPORTED, which says how to
 * go on. */
RF_MUST_CHECK rf_status rf_torch_open(const char *path, rf_safetensors **file, rf_error *error);

/* Another name for the same numbers, as PyTorch's files have them. */
typedef struct rf_torch_alias {
    const char *name, *of;
} rf_torch_alias;

/* Write pytorch_model.bin, a zip container that torch.load(weights_only=True) reads, or shards of
 * at most shard_size bytes with pytorch_model.bin.index.json. `alias` may be NULL. A model file of
 * the other kind that was in the folder is removed last. */
RF_MUST_CHECK rf_status rf_torch_write_model(const char *folder, const rf_safetensors_item *items,
                                             size_t count, const rf_torch_alias *alias,
                                             uint64_t shard_size, rf_error *error);

#endif
