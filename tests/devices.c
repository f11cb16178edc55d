/* Which device tests use that run on several. */
#include "devices.h"

#include "tensor/device.h"

static const char *current = "cpu";

const char *test_device(void)
{
    return current;
}

int run_on_devices(const char *name, const struct CMUnitTest *tests, size_t count)
{
    static const char *const names[] = {"cpu", "cuda"};
    int failed = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        rf_device *device = NULL;
        rf_error fault = {0};
        if (rf_device_create(names[i], 1, &device, &fault) != RF_OK) {
            print_message("skipped: device %s: %s\n", names[i], fault.message);
            failed += i == 0 ? 1 : 0;
            continue;
        }
        rf_device_destroy(device);
        current = names[i];
        print_message("on device %s:\n", current);
        failed += _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    }
    return failed;
}
