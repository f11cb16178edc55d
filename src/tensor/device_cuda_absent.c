/* In place of device_cuda.cu in a build without CUDA: a device that says so when it is opened. */
#include "tensor/device.h"
#include "tensor/device_list.h"

static rf_status absent_open(rf_device *device, int index, rf_error *error)
{
    (void)device;
    (void)index;
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "device \"cuda\": this build has no CUDA back end; use \"cpu\"");
}

const rf_device_table rf_device_table_cuda = {
    .name = "cuda", .open = absent_open, .open_dry = absent_open};

bool rf_device_cuda_built(void)
{
    return false;
}

int rf_device_cuda_list(rf_device_info *devices, int capacity)
{
    (void)devices;
    (void)capacity;
    return 0;
}
