/* Devices by name. */
#include "support.h"

#include "base/memory.h"
#include "tensor/device.h"

#include <string.h>

static void test_create(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    rf_device *device = NULL;
    assert_ok(rf_device_create("cpu", 3, &device, error));
    assert_int_equal(device->threads, 3);
    assert_string_equal(device->table->name, "cpu");
    assert_non_null(device->ops);
    assert_false(device->dry);
    rf_device_destroy(device);
    assert_ok(rf_device_create("cpu", 0, &device, error));
    assert_true(device->threads >= 1);
    rf_device_destroy(device);
    rf_device_destroy(NULL);
    assert_int_equal(rf_memory_in_use(), before);
}

static void check_refused(const char *name, int threads, rf_status status, const char *message)
{
    rf_error problem = {0};
    rf_device *device = NULL;
    assert_int_equal(rf_device_create(name, threads, &device, &problem), status);
    assert_null(device);
    assert_non_null(strstr(problem.message, message));
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("abacus", 1, RF_ERR_ARGUMENT, "device \"abacus\" is not known, expected \"cpu\"");
    check_refused("cpu", -1, RF_ERR_ARGUMENT, "-1 threads, expected 1 to 1024");
    check_refused("cpu", 1025, RF_ERR_ARGUMENT, "1025 threads");
}

static bool refuse(void *user, size_t size)
{
    (void)user;
    (void)size;
    return false;
}

static void test_no_memory(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_memory_set_hook(refuse, NULL);
    rf_status status = rf_device_create("cpu", 1, &device, NULL);
    rf_memory_set_hook(NULL, NULL);
    assert_int_equal(status, RF_ERR_MEMORY);
    assert_null(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
