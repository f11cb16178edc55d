/* The weights of a model directory, whatever kind of file holds them. */
#ifndef RF_IO_WEIGHTS_H
#define RF_IO_WEIGHTS_H

#include "io/safetensors.h"

/* The first that is there of: model.safetensors and its index, pytorch_model.bin and its index,
 * model.pkl.gz and model.pkl of Trax. RF_ERR_FILE names the first two if there is none. The table
 * is one of safetensors, with Hugging Face's names. */
RF_MUST_CHECK rf_status rf_weights_open(const char *folder, rf_safetensors **file, rf_error *error);

#endif
