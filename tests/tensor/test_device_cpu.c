/* The host's table, on a device of our own: memory, copies, and the figures of free memory. */
#include "support.h"

#include "base/memory.h"
#include "tensor/device.h"

#include <string.h>

static void test_table(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1};
    void *memory = NULL;
    char text[6] = "";
    assert_string_equal(device.table->name, "cpu");
    assert_true(device.table->host_readable);
    assert_ok(device.table->open(&device, 0, error));
    assert_int_equal(device.table->open(&device, 1, NULL), RF_ERR_ARGUMENT);
    assert_ok(device.table->allocate(&device, 12, "test", &memory, error));
    char *bytes = memory;
    assert_ok(rf_device_upload(&device, bytes, "hello", 6, error));
    assert_ok(rf_device_copy(&device, bytes + 6, bytes, 6, error));
    assert_ok(rf_device_download(&device, text, bytes + 6, 6, error));
    assert_string_equal(text, "hello");
    assert_ok(rf_device_zero(&device, bytes + 1, 4, error));
    assert_memory_equal(bytes, "h\0\0\0\0\0hello", 12);
    assert_ok(rf_device_copy(&device, NULL, NULL, 0, error));
    assert_ok(rf_device_sync(&device, error));
    device.table->release(&device, memory);
    device.table->close(&device);
    assert_int_equal(rf_memory_in_use(), before);
}

/* A dry device touches nothing: the pointers here cannot be read or written. */
static void test_dry(void **state)
{
    (void)state;
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1, .dry = true};
    assert_ok(rf_device_upload(&device, NULL, NULL, 100, error));
    assert_ok(rf_device_download(&device, NULL, NULL, 100, error));
    assert_ok(rf_device_copy(&device, NULL, NULL, 100, error));
    assert_ok(rf_device_zero(&device, NULL, 100, error));
    assert_ok(rf_device_sync(&device, error));
}

static void test_memory(void **state)
{
    (void)state;
    rf_device device = {.table = &rf_device_table_cpu, .threads = 1, .dry = true};
    size_t available = 0;
    size_t total = 0;
    assert_ok(rf_device_memory(&device, &available, &total, error));
    assert_true(total >= (size_t)64 << 20);
    assert_true(available > 0 && available <= total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_dry),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
