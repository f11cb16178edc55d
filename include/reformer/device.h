/* Devices on which this build can compute. */
#ifndef REFORMER_DEVICE_H
#define REFORMER_DEVICE_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_device_info {
    char name[16];                    /* as the option `device` takes it: "cpu", "cuda:0" */
    char description[256];            /* "NVIDIA H100 80GB HBM3" */
    size_t memory_bytes;              /* in total */
    int threads;                      /* hardware threads of the CPU; 0 for a GPU */
    int compute_major, compute_minor; /* compute capability of a GPU; 0 for the CPU */
    bool is_usable;                   /* false: too old for this build */
} rf_device_info;

/* List the CPU, then every GPU. Writes at most `capacity` entries to devices [capacity], and the
 * number of devices there are to *count. *has_cuda tells whether the library was built with CUDA;
 * if not, or without a driver, only the CPU is listed. */
RF_API RF_MUST_CHECK rf_status rf_device_list(rf_device_info *devices, int capacity, int *count,
                                              bool *has_cuda, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
