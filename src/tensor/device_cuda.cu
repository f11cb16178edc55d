/* One NVIDIA GPU as a device: memory by cudaMalloc, everything else in order on one stream. Work is
 * launched and not waited for; downloads and rf_device_sync wait, and errors of kernels surface
 * there, with the operation that was launched last. */
#include "tensor/device_cuda.cuh"

#include "base/memory.h"
#include "tensor/device_list.h"

#include <stdio.h>
#include <string.h>

namespace
{

constexpr int oldest_capability = 80; /* what the kernels are built for */

rf_status refuse(rf_error *error, int index, cudaError_t code)
{
    (void)cudaGetLastError();
    if (code == cudaErrorInsufficientDriver) {
        int driver = 0;
        (void)cudaDriverGetVersion(&driver);
        if (driver == 0) {
            return rf_error_set(error, RF_ERR_DEVICE,
                                "device \"cuda:%d\": there is no NVIDIA driver here; use \"cpu\"",
                                index);
        }
        return rf_error_set(error, RF_ERR_DEVICE,
                            "device \"cuda:%d\": the driver knows CUDA %d.%d and this build needs "
                            "%d.%d; install a newer NVIDIA driver, "
                            "or use \"cpu\"",
                            index, driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                            CUDART_VERSION % 1000 / 10);
    }
    if (code == cudaErrorNoDevice) {
        return rf_error_set(error, RF_ERR_DEVICE,
                            "device \"cuda:%d\": there is no NVIDIA GPU here; use \"cpu\"", index);
    }
    return rf_error_set(error, RF_ERR_DEVICE, "device \"cuda:%d\": %s (%s)", index,
                        cudaGetErrorString(code), cudaGetErrorName(code));
}

/* The GPU exists and is not too old. */
rf_status check_device(int index, cudaDeviceProp *properties, rf_error *error)
{
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess) {
        return refuse(error, index, code);
    }
    if (index < 0 || index >= count) {
        return rf_error_set(error, RF_ERR_DEVICE,
                            "device \"cuda:%d\": there %s %d GPU%s here, counted from 0", index,
                            count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    }
    code = cudaGetDeviceProperties(properties, index);
    if (code != cudaSuccess) {
        return refuse(error, index, code);
    }
    if (10 * properties->major + properties->minor < oldest_capability) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "device \"cuda:%d\": %s has compute capability %d.%d; %d.%d or newer "
                            "is needed (Ampere, 2020)",
                            index, properties->name, properties->major, properties->minor,
                            oldest_capability / 10, oldest_capability % 10);
    }
    return RF_OK;
}

/* Makes the device current in the calling thread, which need not be the one that opened it. */
rf_cuda_state *enter(const rf_device *device)
{
    rf_cuda_state *state = rf_cuda_state_of(device);
    (void)cudaSetDevice(state->index);
    return state;
}

rf_status open_parts(rf_device *device, rf_error *error)
{
    rf_cuda_state *state = rf_cuda_state_of(device);
    RF_TRY(rf_cuda_status(device, cudaSetDevice(state->index), "opening the device", error));
    RF_TRY(rf_cuda_status(device, cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking),
                          "opening the device", error));
    RF_TRY(rf_cuda_status(device,
                          cudaMalloc(&state->products_workspace, rf_cuda_products_workspace_size),
                          "taking 32 MiB for matrix products", error));
    state->taken = rf_cuda_products_workspace_size;
    state->peak = state->taken;
    const cublasStatus_t code = cublasLtCreate(&state->products);
    if (code != CUBLAS_STATUS_SUCCESS) {
        return rf_error_set(error, RF_ERR_DEVICE, "%s: cuBLASLt cannot be opened: %s", state->name,
                            cublasLtGetStatusString(code));
    }
    return RF_OK;
}

void cuda_close(rf_device *device)
{
    rf_cuda_state *state = device->dry ? rf_cuda_state_of(device) : enter(device);
    if (state->stream != nullptr) {
        (void)cudaStreamSynchronize(state->stream);
    }
    if (state->product_plans != nullptr) {
        state->product_plans_destroy(state->product_plans);
    }
    if (state->products != nullptr) {
        (void)cublasLtDestroy(state->products);
    }
    (void)cudaFree(state->products_workspace);
    if (state->stream != nullptr) {
        (void)cudaStreamDestroy(state->stream);
    }
    rf_release(state->blocks);
    rf_release(state);
    device->state = nullptr;
}

/* A state with a name; for plans that is all there is. */
rf_status cuda_open_dry(rf_device *device, int index, rf_error *error)
{
    void *memory = nullptr;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_cuda_state), "a device", &memory, error));
    rf_cuda_state *state = static_cast<rf_cuda_state *>(memory);
    state->index = index;
    (void)snprintf(state->name, sizeof state->name, "cuda:%d", index);
    state->operation = "the start";
    /* Scratch of some kernels grows with them: more than any of today's has. */
    state->multiprocessors = 192;
    state->capability = oldest_capability;
    device->state = state;
    return RF_OK;
}

rf_status cuda_open(rf_device *device, int index, rf_error *error)
{
    cudaDeviceProp properties;
    RF_TRY(check_device(index, &properties, error));
    RF_TRY(cuda_open_dry(device, index, error));
    rf_cuda_state *state = rf_cuda_state_of(device);
    state->multiprocessors = properties.multiProcessorCount;
    state->capability = 10 * properties.major + properties.minor;
    state->shared_memory = properties.sharedMemPerBlockOptin;
    const rf_status status = open_parts(device, error);
    if (status != RF_OK) {
        cuda_close(device);
    }
    return status;
}

/* What can not be part of a graph is refused by us: CUDA would spoil the recording without a word.
 */
rf_status refuse_while_recording(const rf_device *device, const char *what, rf_error *error)
{
    const rf_cuda_state *state = rf_cuda_state_of(device);
    if (!state->is_recording) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: %s while work is recorded, after %s; end the recording first",
                        state->name, what, state->operation);
}

/* Room for one more block in the list. */
rf_status make_room(rf_cuda_state *state, rf_error *error)
{
    if (state->block_count < state->block_capacity) {
        return RF_OK;
    }
    const size_t size = state->block_capacity * sizeof(rf_cuda_block);
    void *memory = state->blocks;
    RF_TRY(rf_reallocate(&memory, size, 2 * size + 16 * sizeof(rf_cuda_block),
                         "a list of device memory", error));
    state->blocks = static_cast<rf_cuda_block *>(memory);
    state->block_capacity = 2 * state->block_capacity + 16;
    return RF_OK;
}

void note_taken(rf_cuda_state *state, void *memory, size_t size)
{
    state->blocks[state->block_count++] = {memory, size};
    state->taken += size;
    state->peak = state->taken > state->peak ? state->taken : state->peak;
}

void note_released(rf_cuda_state *state, const void *memory)
{
    for (size_t i = 0; i < state->block_count; i++) {
        if (state->blocks[i].memory == memory) {
            state->taken -= state->blocks[i].size;
            state->blocks[i] = state->blocks[--state->block_count];
            return;
        }
    }
}

rf_status cuda_allocate(rf_device *device, size_t size, const char *what, void **memory,
                        rf_error *error)
{
    rf_cuda_state *state = enter(device);
    *memory = nullptr;
    RF_TRY(refuse_while_recording(device, "memory was asked for", error));
    RF_TRY(make_room(state, error));
    const cudaError_t code = cudaMalloc(memory, size > 0 ? size : 1);
    if (code == cudaSuccess) {
        note_taken(state, *memory, size);
        return RF_OK;
    }
    if (code != cudaErrorMemoryAllocation) {
        return rf_cuda_status(device, code, what, error);
    }
    size_t available = 0;
    size_t total = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&available, &total);
    return rf_error_set(error, RF_ERR_MEMORY,
                        "%s: %.2f GiB are needed on %s and %.2f of its %.2f GiB are free; use a "
                        "shorter length, a smaller batch or "
                        "another device",
                        what, static_cast<double>(size) * 0x1p-30, state->name,
                        static_cast<double>(available) * 0x1p-30,
                        static_cast<double>(total) * 0x1p-30);
}

/* Waits for what may still use the memory. */
void cuda_release(rf_device *device, void *memory)
{
    if (memory != nullptr) {
        rf_cuda_state *state = enter(device);
        (void)cudaStreamSynchronize(state->stream);
        (void)cudaFree(memory);
        note_released(state, memory);
    }
}

rf_status cuda_sync(rf_device *device, rf_error *error)
{
    const rf_cuda_state *state = enter(device);
    RF_TRY(refuse_while_recording(device, "it was waited for", error));
    const cudaError_t code = cudaStreamSynchronize(state->stream);
    if (code == cudaSuccess) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_DEVICE,
                        "%s: %s (%s), noticed after %s; an operation before it may be the cause, "
                        "which CUDA_LAUNCH_BLOCKING=1 in the "
                        "environment would tell",
                        state->name, cudaGetErrorString(code), cudaGetErrorName(code),
                        state->operation);
}

/* Waits too, so that the caller may change or release `from`. */
rf_status cuda_upload(rf_device *device, void *to, const void *from, size_t size, rf_error *error)
{
    if (size == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = enter(device)->stream;
    RF_TRY(refuse_while_recording(device, "something was uploaded", error));
    RF_TRY(rf_cuda_status(device, cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, stream),
                          "copying to the device", error));
    return cuda_sync(device, error);
}

rf_status cuda_download(rf_device *device, void *to, const void *from, size_t size, rf_error *error)
{
    if (size == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = enter(device)->stream;
    RF_TRY(refuse_while_recording(device, "something was downloaded", error));
    RF_TRY(rf_cuda_status(device, cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToHost, stream),
                          "copying from the device", error));
    return cuda_sync(device, error);
}

rf_status cuda_copy(rf_device *device, void *to, const void *from, size_t size, rf_error *error)
{
    if (size == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = enter(device)->stream;
    return rf_cuda_status(device, cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, stream),
                          "copying on the device", error);
}

rf_status cuda_zero(rf_device *device, void *to, size_t size, rf_error *error)
{
    if (size == 0) {
        return RF_OK;
    }
    return rf_cuda_status(device, cudaMemsetAsync(to, 0, size, enter(device)->stream),
                          "zeroing memory of the device", error);
}

rf_status cuda_memory(rf_device *device, size_t *available, size_t *total, rf_error *error)
{
    (void)enter(device);
    return rf_cuda_status(device, cudaMemGetInfo(available, total),
                          "asking for the device's memory", error);
}

/* ---- recording: a stream's capture becomes a graph ---- */

rf_status cuda_record_begin(rf_device *device, rf_error *error)
{
    rf_cuda_state *state = enter(device);
    RF_TRY(refuse_while_recording(device, "another recording was begun", error));
    RF_TRY(rf_cuda_status(device,
                          cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeThreadLocal),
                          "beginning to record", error));
    state->is_recording = true;
    return RF_OK;
}

rf_status cuda_record_end(rf_device *device, void **recording, rf_error *error)
{
    rf_cuda_state *state = enter(device);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    if (!state->is_recording) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%s: no recording was begun", state->name);
    }
    state->is_recording = false;
    RF_TRY(rf_cuda_status(device, cudaStreamEndCapture(state->stream, &graph), "recording", error));
    const cudaError_t code = cudaGraphInstantiate(&ready, graph, 0);
    (void)cudaGraphDestroy(graph);
    RF_TRY(rf_cuda_status(device, code, "preparing what was recorded", error));
    *recording = ready;
    return RF_OK;
}

rf_status cuda_replay(rf_device *device, void *recording, rf_error *error)
{
    rf_cuda_state *state = enter(device);
    RF_TRY(refuse_while_recording(device, "a replay was begun", error));
    state->operation = "a replay";
    return rf_cuda_status(device,
                          cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), state->stream),
                          "replaying", error);
}

/* Waits for what may still run it. */
void cuda_release_recording(rf_device *device, void *recording)
{
    (void)cudaStreamSynchronize(enter(device)->stream);
    (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

size_t cuda_peak(const rf_device *device)
{
    return rf_cuda_state_of(device)->peak;
}

} // namespace

rf_status rf_cuda_status(const rf_device *device, cudaError_t code, const char *what,
                         rf_error *error)
{
    if (code == cudaSuccess) {
        return RF_OK;
    }
    const rf_cuda_state *state = rf_cuda_state_of(device);
    (void)cudaGetLastError();
    return rf_error_set(error, code == cudaErrorMemoryAllocation ? RF_ERR_MEMORY : RF_ERR_DEVICE,
                        "%s: %s: %s (%s), after %s", state->name, what, cudaGetErrorString(code),
                        cudaGetErrorName(code), state->operation);
}

extern "C" const rf_device_table rf_device_table_cuda = {
    "cuda",
    false,
    cuda_open,
    cuda_close,
    cuda_allocate,
    cuda_release,
    cuda_upload,
    cuda_download,
    cuda_copy,
    cuda_zero,
    cuda_sync,
    cuda_memory,
    static_cast<size_t>(64) << 20,
    rf_cuda_products_workspace_size,
    cuda_open_dry,
    cuda_peak,
    cuda_record_begin,
    cuda_record_end,
    cuda_replay,
    cuda_release_recording,
};

/* ---- for rf_device_list ---- */

static void describe(int index, rf_device_info *info)
{
    cudaDeviceProp properties;
    rf_error problem = {};
    memset(info, 0, sizeof *info);
    (void)snprintf(info->name, sizeof info->name, "cuda:%d", index);
    info->is_usable = check_device(index, &properties, &problem) == RF_OK;
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) {
        (void)cudaGetLastError();
        (void)snprintf(info->description, sizeof info->description, "unknown");
        return;
    }
    (void)snprintf(info->description, sizeof info->description, "%s", properties.name);
    info->memory_bytes = properties.totalGlobalMem;
    info->compute_major = properties.major;
    info->compute_minor = properties.minor;
}

extern "C" bool rf_device_cuda_built(void)
{
    return true;
}

extern "C" int rf_device_cuda_list(rf_device_info *devices, int capacity)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    for (int i = 0; i < count && i < capacity; i++) {
        describe(i, &devices[i]);
    }
    return count;
}
