/* What device_cuda.cu, or device_cuda_absent.c in a build without CUDA, tells of the GPUs. */
#ifndef RF_TENSOR_DEVICE_LIST_H
#define RF_TENSOR_DEVICE_LIST_H

#include "reformer/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Was the library built with CUDA? */
bool rf_device_cuda_built(void);
/* How many GPUs there are; describes the first `capacity`. */
int rf_device_cuda_list(rf_device_info *devices, int capacity);

#ifdef __cplusplus
}
#endif
#endif
