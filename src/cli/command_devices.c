/* reformer devices: where this build can compute. */
#include "message.h"
#include "units.h"

#include <unistd.h>

static int run(const rf_settings *settings)
{
    char memory[32];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (rf_settings_flag(settings, "json")) {
        return rf_cli_print_json(json_pack("{s:[{s:s, s:I, s:I}], s:b}", "devices", "name", "cpu",
                                           "threads", (json_int_t)cores, "memory_bytes",
                                           (json_int_t)bytes, "cuda", 0));
    }
    rf_cli_write_size(bytes, memory, sizeof memory);
    printf("cpu   %ld threads, %s\n", cores, memory);
    printf("cuda  not in this build\n");
    return RF_EXIT_DONE;
}

const rf_command rf_command_devices = {
    .name = "devices",
    .purpose = "List where this build can compute",
    .examples = {"devices", "devices --json"},
    .shared = RF_SHARED_JSON,
    .run = run,
};
