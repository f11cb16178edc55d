/* The host as a device: rf_allocate and memcpy. Free memory is the lower of what the kernel reports
 * (/proc/meminfo) and what is left of the control groups this process is in (cgroup v2), because a
 * container is killed at its own limit. */
#include "tensor/device.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static rf_status cpu_open(rf_device *device, int index, rf_error *error)
{
    (void)device;
    if (index != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "there is one CPU device, number 0, not %d",
                            index);
    }
    return RF_OK;
}

static void cpu_close(rf_device *device)
{
    (void)device;
}

static rf_status cpu_allocate(rf_device *device, size_t size, const char *what, void **memory,
                              rf_error *error)
{
    (void)device;
    return rf_allocate(size, what, memory, error);
}

static void cpu_release(rf_device *device, void *memory)
{
    (void)device;
    rf_release(memory);
}

static rf_status cpu_copy(rf_device *device, void *to, const void *from, size_t size,
                          rf_error *error)
{
    (void)device;
    (void)error;
    if (size > 0) {
        memcpy(to, from, size);
    }
    return RF_OK;
}

static rf_status cpu_zero(rf_device *device, void *to, size_t size, rf_error *error)
{
    (void)device;
    (void)error;
    if (size > 0) {
        memset(to, 0, size);
    }
    return RF_OK;
}

static rf_status cpu_sync(rf_device *device, rf_error *error)
{
    (void)device;
    (void)error;
    return RF_OK;
}

/* The number after `key` in a file of the kernel; false where the file, the key or the number is
 * missing ("max" is no number). */
static bool kernel_number(const char *path, const char *key, uint64_t *number)
{
    char *text = NULL;
    size_t size = 0;
    if (rf_file_read(path, (size_t)1 << 20, &text, &size, NULL) != RF_OK) {
        return false;
    }
    const char *found = strstr(text, key);
    bool is_number = false;
    if (found != NULL) {
        const char *digits = found + strlen(key);
        char *end = NULL;
        *number = strtoull(digits, &end, 10);
        is_number = end != digits;
    }
    rf_release(text);
    return is_number;
}

static bool group_number(const char *group, const char *file, const char *key, uint64_t *number)
{
    char *path = NULL;
    if (rf_string_format(&path, NULL, "/sys/fs/cgroup%s/%s", group, file) != RF_OK) {
        return false;
    }
    bool found = kernel_number(path, key, number);
    rf_release(path);
    return found;
}

/* Lower the two figures to the limit of one control group. Cache of files that can be dropped
 * counts as free. */
static void limit_to_group(const char *group, uint64_t *available, uint64_t *total)
{
    uint64_t limit = 0;
    uint64_t current = 0;
    uint64_t cache = 0;
    if (!group_number(group, "memory.max", "", &limit) || limit >= *total) {
        return;
    }
    *total = limit;
    if (!group_number(group, "memory.current", "", &current)) {
        return;
    }
    if (group_number(group, "memory.stat", "inactive_file ", &cache)) {
        current -= cache < current ? cache : current;
    }
    uint64_t left = current < limit ? limit - current : 0;
    *available = left < *available ? left : *available;
}

/* Every group from this process's own up to the root may set a limit. */
static void limit_to_groups(uint64_t *available, uint64_t *total)
{
    char *text = NULL;
    size_t size = 0;
    if (rf_file_read("/proc/self/cgroup", (size_t)1 << 16, &text, &size, NULL) != RF_OK) {
        return;
    }
    char *group = strstr(text, "0::");
    if (group != NULL) {
        group += strlen("0::");
        group[strcspn(group, "\n")] = '\0';
        for (char *slash = strrchr(group, '/'); slash != NULL; slash = strrchr(group, '/')) {
            limit_to_group(group, available, total);
            *slash = '\0';
        }
        limit_to_group("", available, total);
    }
    rf_release(text);
}

static rf_status cpu_memory(rf_device *device, size_t *available, size_t *total, rf_error *error)
{
    (void)device;
    const char *path = "/proc/meminfo";
    uint64_t available_kib = 0;
    uint64_t total_kib = 0;
    if (!kernel_number(path, "MemAvailable:", &available_kib) ||
        !kernel_number(path, "MemTotal:", &total_kib)) {
        return rf_error_set(error, RF_ERR_DEVICE,
                            "%s does not tell MemAvailable and MemTotal, so free memory is unknown",
                            path);
    }
    uint64_t available_bytes = available_kib * 1024;
    uint64_t total_bytes = total_kib * 1024;
    limit_to_groups(&available_bytes, &total_bytes);
    *available = (size_t)available_bytes;
    *total = (size_t)total_bytes;
    return RF_OK;
}

static size_t cpu_peak(const rf_device *device)
{
    (void)device;
    return rf_memory_peak();
}

const rf_device_table rf_device_table_cpu = {
    .name = "cpu",
    .host_readable = true,
    .open = cpu_open,
    .close = cpu_close,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .memory = cpu_memory,
    .slice_size = (size_t)4 << 20,
    .open_dry = cpu_open,
    .peak = cpu_peak,
};
