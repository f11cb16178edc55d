/* Devices by name, and the calls that a dry device skips. */
#include "tensor/device.h"

#include "base/memory.h"

#include <omp.h>
#include <string.h>

/* ops/ops.h declares it with its length; tensor/ may not include that. */
extern const struct rf_op_entry rf_ops_cpu[];

enum { MOST_THREADS = 1024 };

static rf_status check_request(const char *name, int threads, rf_error *error)
{
    if (strcmp(name, "cuda") == 0) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "device \"cuda\": this build has no CUDA back end; use \"cpu\"");
    }
    if (strcmp(name, "cpu") != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "device \"%s\" is not known, expected \"cpu\"",
                            name);
    }
    if (threads < 0 || threads > MOST_THREADS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%d threads, expected 1 to %d, or 0 for one a core", threads,
                            MOST_THREADS);
    }
    return RF_OK;
}

rf_status rf_device_create(const char *name, int threads, rf_device **device, rf_error *error)
{
    *device = NULL;
    RF_TRY(check_request(name, threads, error));
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_device), "a device", &memory, error));
    rf_device *created = memory;
    created->table = &rf_device_table_cpu;
    created->ops = rf_ops_cpu;
    created->threads = threads != 0 ? threads : omp_get_num_procs();
    rf_status status = created->table->open(created, 0, error);
    if (status != RF_OK) {
        rf_release(created);
        return status;
    }
    *device = created;
    return RF_OK;
}

void rf_device_destroy(rf_device *device)
{
    if (device == NULL) {
        return;
    }
    device->table->close(device);
    rf_release(device);
}

rf_status rf_device_upload(rf_device *device, void *to, const void *from, size_t size,
                           rf_error *error)
{
    return device->dry ? RF_OK : device->table->upload(device, to, from, size, error);
}

rf_status rf_device_download(rf_device *device, void *to, const void *from, size_t size,
                             rf_error *error)
{
    return device->dry ? RF_OK : device->table->download(device, to, from, size, error);
}

rf_status rf_device_copy(rf_device *device, void *to, const void *from, size_t size,
                         rf_error *error)
{
    return device->dry ? RF_OK : device->table->copy(device, to, from, size, error);
}

rf_status rf_device_zero(rf_device *device, void *to, size_t size, rf_error *error)
{
    return device->dry ? RF_OK : device->table->zero(device, to, size, error);
}

rf_status rf_device_sync(rf_device *device, rf_error *error)
{
    return device->dry ? RF_OK : device->table->sync(device, error);
}

/* A dry device answers too, since a plan is compared with what there is. */
rf_status rf_device_memory(rf_device *device, size_t *available, size_t *total, rf_error *error)
{
    return device->table->memory(device, available, total, error);
}
