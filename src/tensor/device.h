/* Contract: where memory lives and work is done. Each back end fills one constant table; model code
 * sees rf_device only.
 *
 * A device is `dry` while a plan is measured: nothing is allocated, copied or computed, only
 * counted. */
#ifndef RF_TENSOR_DEVICE_H
#define RF_TENSOR_DEVICE_H

#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_device rf_device;

typedef struct rf_device_table {
    const char *name;   /* "cpu", "cuda" */
    bool host_readable; /* device pointers can be read by the host as they are */
    rf_status (*open)(rf_device *device, int index, rf_error *error); /* fills device->state */
    void (*close)(rf_device *device);
    rf_status (*allocate)(rf_device *device, size_t size, const char *what, void **memory,
                          rf_error *error);
    void (*release)(rf_device *device, void *memory);
    rf_status (*upload)(rf_device *device, void *to, const void *from, size_t size,
                        rf_error *error);
    rf_status (*download)(rf_device *device, void *to, const void *from, size_t size,
                          rf_error *error);
    rf_status (*copy)(rf_device *device, void *to, const void *from, size_t size, rf_error *error);
    rf_status (*zero)(rf_device *device, void *to, size_t size, rf_error *error);
    rf_status (*sync)(rf_device *device, rf_error *error); /* execution errors surface here */
    rf_status (*memory)(rf_device *device, size_t *available, size_t *total, rf_error *error);
    size_t slice_size; /* bytes of one buffer into which work is best cut */
    size_t own_size;   /* bytes that an open device takes of its memory for itself */
    /* In place of `open` where only plans are made: the device need not be there. */
    rf_status (*open_dry)(rf_device *device, int index, rf_error *error);
    /* The most bytes that were taken at once through `allocate`, own_size included. The host's:
     * through base/memory.h, since the last rf_memory_reset_peak. */
    size_t (*peak)(const rf_device *device);
    /* Recording, all four or none: see rf_device_record_begin. */
    rf_status (*record_begin)(rf_device *device, rf_error *error);
    rf_status (*record_end)(rf_device *device, void **recording, rf_error *error);
    rf_status (*replay)(rf_device *device, void *recording, rf_error *error);
    void (*release_recording)(rf_device *device, void *recording);
} rf_device_table;

/* One operation of a back end; which, and what `arguments` points at, is ops/ops.h's.
 * `scratch_size` may be NULL (none needed); its memory is handed to `run`, aligned to 256,
 * uninitialised. */
struct rf_op_entry {
    rf_status (*run)(rf_device *device, const void *arguments, void *scratch, rf_error *error);
    size_t (*scratch_size)(const rf_device *device, const void *arguments);
};

struct rf_device {
    const rf_device_table *table;
    const struct rf_op_entry *ops; /* RF_OP_COUNT entries, see ops/ops.h */
    void *state;                   /* the back end's own */
    int threads;                   /* CPU threads; results do not depend on it */
    bool dry;
    bool plain_kernels; /* use the simple kernels where there are fast ones too */
};

/* The host's memory, and a GPU's (in a build without CUDA a table whose `open` refuses). */
extern const rf_device_table rf_device_table_cpu;
extern const rf_device_table rf_device_table_cuda;

/* name: "cpu", "cuda" (the first GPU), "cuda:N", or "auto": the first GPU that this build can use,
 * and the CPU where there is none. threads: of the CPU, 0 = one a core. The caller destroys. */
RF_MUST_CHECK rf_status rf_device_create(const char *name, int threads, rf_device **device,
                                         rf_error *error);
/* The same for making plans: a dry device, which need not be present in the machine. */
RF_MUST_CHECK rf_status rf_device_create_dry(const char *name, int threads, rf_device **device,
                                             rf_error *error);
void rf_device_destroy(rf_device *device); /* NULL allowed */

/* All do nothing on a dry device. */
RF_MUST_CHECK rf_status rf_device_upload(rf_device *device, void *to, const void *from, size_t size,
                                         rf_error *error);
RF_MUST_CHECK rf_status rf_device_download(rf_device *device, void *to, const void *from,
                                           size_t size, rf_error *error);
RF_MUST_CHECK rf_status rf_device_copy(rf_device *device, void *to, const void *from, size_t size,
                                       rf_error *error);
RF_MUST_CHECK rf_status rf_device_zero(rf_device *device, void *to, size_t size, rf_error *error);
RF_MUST_CHECK rf_status rf_device_sync(rf_device *device, rf_error *error);
RF_MUST_CHECK rf_status rf_device_memory(rf_device *device, size_t *available, size_t *total,
                                         rf_error *error);

/* What is launched between begin and end is not done but kept, to be replayed at less cost than
 * launching it again: operations, copies on the device and zeroing, on the same memory. What needs
 * an answer (upload, download, sync, memory to take or give back) is refused in between. A device
 * that can not record does everything at once; it is not asked to. After a failure in between, end
 * is called all the same; it gives no recording then. */
bool rf_device_can_record(const rf_device *device);
RF_MUST_CHECK rf_status rf_device_record_begin(rf_device *device, rf_error *error);
RF_MUST_CHECK rf_status rf_device_record_end(rf_device *device, void **recording, rf_error *error);
RF_MUST_CHECK rf_status rf_device_replay(rf_device *device, void *recording, rf_error *error);
void rf_device_release_recording(rf_device *device, void *recording); /* NULL allowed */

#ifdef __cplusplus
}
#endif
#endif
