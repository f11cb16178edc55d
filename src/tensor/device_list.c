/* The devices that a user can choose: the host, then every GPU. */
#include "tensor/device_list.h"

#include "tensor/device.h"

#include <omp.h>
#include <stdio.h>

enum { MOST_GPUS = 64 };

static rf_status describe_cpu(rf_device_info *info, rf_error *error)
{
    rf_device cpu = {.table = &rf_device_table_cpu};
    size_t available = 0;
    size_t total = 0;
    RF_TRY(rf_device_memory(&cpu, &available, &total, error));
    *info =
        (rf_device_info){.memory_bytes = total, .threads = omp_get_num_procs(), .is_usable = true};
    (void)snprintf(info->name, sizeof info->name, "cpu");
    (void)snprintf(info->description, sizeof info->description, "the host");
    return RF_OK;
}

rf_status rf_device_list(rf_device_info *devices, int capacity, int *count, bool *has_cuda,
                         rf_error *error)
{
    rf_device_info gpus[MOST_GPUS];
    *count = 0;
    *has_cuda = rf_device_cuda_built();
    if (capacity > 0) {
        RF_TRY(describe_cpu(&devices[0], error));
    }
    int found = rf_device_cuda_list(gpus, MOST_GPUS);
    for (int i = 0; i < found && i < MOST_GPUS && i + 1 < capacity; i++) {
        devices[i + 1] = gpus[i];
    }
    *count = found + 1;
    return RF_OK;
}
