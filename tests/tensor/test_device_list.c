/* The list of devices: the CPU first, whatever else there is. */
#include "support.h"

#include "reformer/device.h"

#include <string.h>

static void test_list(void **state)
{
    (void)state;
    rf_device_info devices[8];
    int count = 0;
    bool has_cuda = true;
    assert_ok(rf_device_list(devices, 8, &count, &has_cuda, error));
    assert_true(count >= 1);
    assert_true(has_cuda || count == 1);
    assert_string_equal(devices[0].name, "cpu");
    assert_true(devices[0].threads >= 1 && devices[0].memory_bytes > 0 && devices[0].is_usable);
    for (int i = 1; i < count && i < 8; i++) {
        assert_memory_equal(devices[i].name, "cuda:", 5);
        assert_int_equal(devices[i].threads, 0);
        assert_true(devices[i].compute_major > 0 && devices[i].memory_bytes > 0);
        assert_true(strlen(devices[i].description) > 0);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    int count = 0;
    bool has_cuda = false;
    assert_ok(rf_device_list(NULL, 0, &count, &has_cuda, error));
    assert_true(count >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list), cmocka_unit_test(test_no_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
