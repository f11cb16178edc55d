/* Proof that the contracts can be filled from CUDA: this file compiles device.h and ops.h as CUDA
 * C++17, fills both tables with positional initialisers (CUDA C++ has no others that nvcc and C
 * agree on), and passes a contract's struct to a kernel. It is compiled by the preset cuda, for
 * every architecture that we ship, and never linked or run. */
#include "ops/ops.h"

namespace
{

rf_status contract_open(rf_device *, int, rf_error *)
{
    return RF_ERR_DEVICE;
}

void contract_close(rf_device *)
{
}

rf_status contract_allocate(rf_device *, size_t size, const char *, void **memory, rf_error *)
{
    return cudaMalloc(memory, size) == cudaSuccess ? RF_OK : RF_ERR_MEMORY;
}

void contract_release(rf_device *, void *memory)
{
    (void)cudaFree(memory);
}

rf_status contract_move(rf_device *, void *to, const void *from, size_t size, rf_error *)
{
    return cudaMemcpy(to, from, size, cudaMemcpyDefault) == cudaSuccess ? RF_OK : RF_ERR_DEVICE;
}

rf_status contract_zero(rf_device *, void *to, size_t size, rf_error *)
{
    return cudaMemset(to, 0, size) == cudaSuccess ? RF_OK : RF_ERR_DEVICE;
}

rf_status contract_sync(rf_device *, rf_error *)
{
    return cudaDeviceSynchronize() == cudaSuccess ? RF_OK : RF_ERR_DEVICE;
}

rf_status contract_memory(rf_device *, size_t *available, size_t *total, rf_error *)
{
    return cudaMemGetInfo(available, total) == cudaSuccess ? RF_OK : RF_ERR_DEVICE;
}

/* A kernel takes an operation's struct by value, tensors and key included. values [count] f32. */
template <typename Arguments>
__global__ void contract_kernel(const Arguments arguments, float *values, int64_t count)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = static_cast<float>(sizeof arguments);
    }
}

/* What an entry of the table looks like from here: the struct's type comes from the operation's
 * name. */
template <typename Arguments>
rf_status contract_run(rf_device *, const void *arguments, void *scratch, rf_error *)
{
    const Arguments *typed = static_cast<const Arguments *>(arguments);
    contract_kernel<<<1, 32>>>(*typed, static_cast<float *>(scratch), 32);
    return cudaGetLastError() == cudaSuccess ? RF_OK : RF_ERR_DEVICE;
}

size_t contract_scratch(const rf_device *, const void *)
{
    return 32 * sizeof(float);
}

} // namespace

extern "C" const rf_device_table rf_contract_device_table = {
    "contract",
    false,
    contract_open,
    contract_close,
    contract_allocate,
    contract_release,
    contract_move,
    contract_move,
    contract_move,
    contract_zero,
    contract_sync,
    contract_memory,
    0,
    0,
    contract_open,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

#define CONTRACT_ENTRY(NAME, name) {contract_run<rf_##name>, contract_scratch},
extern "C" const rf_op_entry rf_contract_ops[RF_OP_COUNT] = {RF_OPERATIONS(CONTRACT_ENTRY)};
#undef CONTRACT_ENTRY

#define CONTRACT_COUNT(NAME, name) +1
static_assert(RF_OP_COUNT == 0 RF_OPERATIONS(CONTRACT_COUNT), "one entry an operation");
#undef CONTRACT_COUNT
