/* Vectors on their way out: NumPy's .npy, safetensors, or JSON lines. */
#ifndef RF_CLI_VECTORS_H
#define RF_CLI_VECTORS_H

#include "text.h"

#include <stdint.h>

typedef struct rf_vectors {
    int64_t count, width;
    const float *values; /* [count, width] */
} rf_vectors;

/* By the end of the path: .npy, .safetensors (one tensor, "embeddings"), else RF_ERR_ARGUMENT.
 * Written to a neighbour of the path first, then renamed. */
RF_MUST_CHECK rf_status rf_vectors_write(const char *path, const rf_vectors *vectors,
                                         rf_error *error);
bool rf_vectors_knows(const char *path);

#endif
