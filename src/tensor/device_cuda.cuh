/* What a CUDA device keeps, for the files of ops/cuda. */
#ifndef RF_TENSOR_DEVICE_CUDA_CUH
#define RF_TENSOR_DEVICE_CUDA_CUH

#include "tensor/device.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

/* Of cuBLASLt, taken when the device is opened: its size and alignment have a say in which
 * algorithm is chosen, so they are fixed. */
constexpr size_t rf_cuda_products_workspace_size = static_cast<size_t>(32) << 20;

/* What was taken by rf_device_table.allocate and not released. */
typedef struct rf_cuda_block {
    void *memory;
    size_t size;
} rf_cuda_block;

typedef struct rf_cuda_state {
    int index;
    char name[16];       /* "cuda:0", for messages */
    cudaStream_t stream; /* everything is done on it, in order */
    int multiprocessors;
    int capability;            /* 10 * major + minor */
    size_t shared_memory;      /* the most bytes that a block can ask for */
    const char *operation;     /* launched last */
    cublasLtHandle_t products; /* matrix products */
    void *products_workspace;  /* [rf_cuda_products_workspace_size] bytes on the device */
    void *product_plans;       /* ops/cuda/gemm.cu's; NULL before its first product */
    void (*product_plans_destroy)(void *plans);
    bool is_recording;     /* what is launched goes into a graph */
    rf_cuda_block *blocks; /* [block_capacity], the first block_count in use */
    size_t block_count, block_capacity;
    size_t taken, peak; /* bytes now and at most, rf_device_table.own_size included */
} rf_cuda_state;

static inline rf_cuda_state *rf_cuda_state_of(const rf_device *device)
{
    return static_cast<rf_cuda_state *>(device->state);
}

/* RF_OK, RF_ERR_MEMORY or RF_ERR_DEVICE with a message that names the device, what was being done
 * and CUDA's own words. */
RF_MUST_CHECK rf_status rf_cuda_status(const rf_device *device, cudaError_t code, const char *what,
                                       rf_error *error);

#endif
