/* Devices by name, and the calls that a dry device skips. */
#include "tensor/device.h"

#include "base/memory.h"
#include "tensor/device_list.h"

#include <omp.h>
#include <string.h>

/* ops/ops.h declares them with their length; tensor/ may not include that. */
extern const struct rf_op_entry rf_ops_cpu[];
extern const struct rf_op_entry rf_ops_cuda[];

enum { MOST_THREADS = 1024, MOST_INDEX = 1023, MOST_GPUS = 64 };

/* A back end and which of its devices. */
typedef struct choice {
    const rf_device_table *table;
    const struct rf_op_entry *ops;
    int index;
} choice;

/* "cuda" or "cuda:N"; false where the name is neither. */
static bool parse_cuda(const char *name, int *index)
{
    *index = 0;
    if (strncmp(name, "cuda", 4) != 0) {
        return false;
    }
    if (name[4] == '\0') {
        return true;
    }
    if (name[4] != ':' || name[5] == '\0' || strlen(name) > 9) {
        return false;
    }
    for (const char *digit = name + 5; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9') {
            return false;
        }
        *index = 10 * *index + (*digit - '0');
    }
    return *index <= MOST_INDEX;
}

/* What "auto" means: the first GPU that this build can use, or -1 for the CPU. */
static int find_usable_gpu(void)
{
    rf_device_info gpus[MOST_GPUS];
    int found = rf_device_cuda_list(gpus, MOST_GPUS);
    for (int i = 0; i < found && i < MOST_GPUS; i++) {
        if (gpus[i].is_usable) {
            return i;
        }
    }
    return -1;
}

static rf_status choose(const char *name, int threads, choice *chosen, rf_error *error)
{
    int index = 0;
    if (threads < 0 || threads > MOST_THREADS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%d threads, expected 1 to %d, or 0 for one a core", threads,
                            MOST_THREADS);
    }
    bool automatic = strcmp(name, "auto") == 0;
    if (automatic) {
        index = find_usable_gpu();
    }
    if (strcmp(name, "cpu") == 0 || index < 0) {
        *chosen = (choice){&rf_device_table_cpu, rf_ops_cpu, 0};
        return RF_OK;
    }
    if (automatic || parse_cuda(name, &index)) {
        *chosen = (choice){&rf_device_table_cuda, rf_ops_cuda, index};
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "device \"%s\" is not known, expected \"cpu\", \"cuda\", \"cuda:N\" or "
                        "\"auto\"",
                        name);
}

static rf_status create(const char *name, int threads, bool dry, rf_device **device,
                        rf_error *error)
{
    choice chosen = {0};
    *device = NULL;
    RF_TRY(choose(name, threads, &chosen, error));
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_device), "a device", &memory, error));
    rf_device *created = memory;
    created->table = chosen.table;
    created->ops = chosen.ops;
    created->threads = threads != 0 ? threads : omp_get_num_procs();
    created->dry = dry;
    const rf_device_table *table = created->table;
    rf_status status = (dry ? table->open_dry : table->open)(created, chosen.index, error);
    if (status != RF_OK) {
        rf_release(created);
        return status;
    }
    *device = created;
    return RF_OK;
}

rf_status rf_device_create(const char *name, int threads, rf_device **device, rf_error *error)
{
    return create(name, threads, false, device, error);
}

rf_status rf_device_create_dry(const char *name, int threads, rf_device **device, rf_error *error)
{
    return create(name, threads, true, device, error);
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

/* ---- recording --------------------------------------------------------------------------- */

bool rf_device_can_record(const rf_device *device)
{
    return device->table->record_begin != NULL && !device->dry;
}

static rf_status refuse_recording(const rf_device *device, rf_error *error)
{
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "device %s does its work at once and records nothing", device->table->name);
}

rf_status rf_device_record_begin(rf_device *device, rf_error *error)
{
    return rf_device_can_record(device) ? device->table->record_begin(device, error)
                                        : refuse_recording(device, error);
}

rf_status rf_device_record_end(rf_device *device, void **recording, rf_error *error)
{
    *recording = NULL;
    return rf_device_can_record(device) ? device->table->record_end(device, recording, error)
                                        : refuse_recording(device, error);
}

rf_status rf_device_replay(rf_device *device, void *recording, rf_error *error)
{
    return rf_device_can_record(device) ? device->table->replay(device, recording, error)
                                        : refuse_recording(device, error);
}

void rf_device_release_recording(rf_device *device, void *recording)
{
    if (recording != NULL) {
        device->table->release_recording(device, recording);
    }
}
