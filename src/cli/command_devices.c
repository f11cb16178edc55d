/* reformer devices: where this build can compute. */
#include "message.h"
#include "units.h"

#include "reformer/device.h"

enum { MOST_DEVICES = 65 };

static json_t *json_of(const rf_device_info *info)
{
    json_t *object = json_pack("{s:s, s:s, s:I}", "name", info->name, "description",
                               info->description, "memory_bytes", (json_int_t)info->memory_bytes);
    if (object == NULL) {
        return NULL;
    }
    if (info->compute_major == 0) {
        (void)json_object_set_new(object, "threads", json_integer(info->threads));
    } else {
        (void)json_object_set_new(object, "compute_capability",
                                  json_sprintf("%d.%d", info->compute_major, info->compute_minor));
        (void)json_object_set_new(object, "usable", json_boolean(info->is_usable));
    }
    return object;
}

static int print_json(const rf_device_info *devices, int count, bool has_cuda)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_of(&devices[i]));
    }
    return rf_cli_print_json(json_pack("{s:o, s:b}", "devices", list, "cuda", has_cuda ? 1 : 0));
}

static void print_line(const rf_device_info *info)
{
    char memory[32];
    rf_cli_write_size((double)info->memory_bytes, memory, sizeof memory);
    if (info->compute_major == 0) {
        printf("%-7s %d threads, %s\n", info->name, info->threads, memory);
        return;
    }
    printf("%-7s %s, %s, compute capability %d.%d%s\n", info->name, info->description, memory,
           info->compute_major, info->compute_minor,
           info->is_usable ? "" : ", too old for this build");
}

static int run(const rf_settings *settings)
{
    rf_device_info devices[MOST_DEVICES];
    int count = 0;
    bool has_cuda = false;
    rf_error error = {0};
    rf_status status = rf_device_list(devices, MOST_DEVICES, &count, &has_cuda, &error);
    if (status != RF_OK) {
        return rf_cli_report(&rf_command_devices, status, &error);
    }
    count = count < MOST_DEVICES ? count : MOST_DEVICES;
    if (rf_settings_flag(settings, "json")) {
        return print_json(devices, count, has_cuda);
    }
    for (int i = 0; i < count; i++) {
        print_line(&devices[i]);
    }
    if (!has_cuda) {
        printf("cuda    not in this build\n");
    } else if (count == 1) {
        printf("cuda    in this build, but there is no GPU or no driver\n");
    }
    return RF_EXIT_DONE;
}

const rf_command rf_command_devices = {
    .name = "devices",
    .purpose = "List the devices that this build can use",
    .examples = {"devices", "devices --json"},
    .shared = RF_SHARED_JSON,
    .run = run,
};
