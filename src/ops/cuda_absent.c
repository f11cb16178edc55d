/* In place of the files of ops/cuda in a build without CUDA: no operation. */
#include "ops/ops.h"

const rf_op_entry rf_ops_cuda[RF_OP_COUNT] = {{NULL, NULL}};
