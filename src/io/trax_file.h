/* Checkpoints of Trax, model.pkl.gz: the weights of a ReformerLM by Hugging Face's names. Nothing
 * in the file is executed (io/pickle.h). Source: the list of Trax's layers as Hugging Face's
 * conversion takes it (docs/formats.md). */
#ifndef RF_IO_TRAX_FILE_H
#define RF_IO_TRAX_FILE_H

#include "io/safetensors.h"

/* The table is one of safetensors, all tensors F32. Memory: the unpacked file and the weights. */
RF_MUST_CHECK rf_status rf_trax_open(const char *path, rf_safetensors **file, rf_error *error);

#endif
