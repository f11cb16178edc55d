/* Devices by name. */
#include "support.h"

#include "base/memory.h"
#include "tensor/device.h"
#include "tensor/device_list.h"

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

/* For plans: nothing is opened, so a GPU need not be there; a build without CUDA says so. */
static void test_create_dry(void **state)
{
    (void)state;
    size_t before = rf_memory_in_use();
    rf_device *device = NULL;
    rf_error problem = {0};
    assert_ok(rf_device_create_dry("cpu", 1, &device, error));
    assert_true(device->dry);
    rf_device_destroy(device);
    rf_status status = rf_device_create_dry("cuda:7", 1, &device, &problem);
    if (status == RF_OK) {
        assert_true(device->dry && device->table->slice_size > 0);
        rf_device_destroy(device);
    } else {
        assert_int_equal(status, RF_ERR_UNSUPPORTED);
        assert_non_null(strstr(problem.message, "no CUDA back end"));
    }
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
    check_refused(
        "abacus", 1, RF_ERR_ARGUMENT,
        "device \"abacus\" is not known, expected \"cpu\", \"cuda\", \"cuda:N\" or \"auto\"");
    const char *const names[] = {"cuda:", "cuda:x",     "cuda:1x", "cuda:-1",
                                 "cuda0", "cuda:99999", "cud",     ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_refused(names[i], 1, RF_ERR_ARGUMENT, "is not known");
    }
    check_refused("cpu", -1, RF_ERR_ARGUMENT, "-1 threads, expected 1 to 1024");
    check_refused("cpu", 1025, RF_ERR_ARGUMENT, "1025 threads");
}

/* A build without CUDA says so; one with it opens the GPU or says what is missing. */
static void test_cuda(void **state)
{
    (void)state;
    const char *const names[] = {"cuda", "cuda:0", "cuda:999"};
    for (size_t i = 0; i < 3; i++) {
        rf_error problem = {0};
        rf_device *device = NULL;
        rf_status status = rf_device_create(names[i], 1, &device, &problem);
        if (status == RF_OK) {
            assert_string_equal(device->table->name, "cuda");
            assert_false(device->table->host_readable);
            rf_device_destroy(device);
            continue;
        }
        assert_null(device);
        assert_int_equal(status, rf_device_cuda_built() ? RF_ERR_DEVICE : RF_ERR_UNSUPPORTED);
        assert_non_null(strstr(problem.message,
                               rf_device_cuda_built() ? "device \"cuda:" : "no CUDA back end"));
    }
}

static void test_auto(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_device_info gpus[64];
    int found = rf_device_cuda_list(gpus, 64);
    bool has_gpu = false;
    for (int i = 0; i < found && i < 64; i++) {
        has_gpu = has_gpu || gpus[i].is_usable;
    }
    assert_ok(rf_device_create("auto", 1, &device, error));
    assert_string_equal(device->table->name, has_gpu ? "cuda" : "cpu");
    rf_device_destroy(device);
}

/* The CPU records nothing, and says so. */
static void test_recording_on_the_cpu(void **state)
{
    (void)state;
    rf_device *device = NULL;
    rf_error problem = {0};
    void *recording = &problem;
    assert_ok(rf_device_create("cpu", 1, &device, error));
    assert_false(rf_device_can_record(device));
    assert_int_equal(rf_device_record_begin(device, &problem), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "records nothing"));
    assert_int_equal(rf_device_record_end(device, &recording, NULL), RF_ERR_UNSUPPORTED);
    assert_null(recording);
    assert_int_equal(rf_device_replay(device, NULL, NULL), RF_ERR_UNSUPPORTED);
    rf_device_release_recording(device, NULL);
    rf_device_destroy(device);
}

/* What is recorded is done when it is replayed and not before; what needs an answer is refused. */
static void check_recording(rf_device *device, char *memory)
{
    char found[4] = {0};
    void *recording = NULL;
    rf_error problem = {0};
    assert_true(rf_device_can_record(device));
    assert_ok(rf_device_upload(device, memory, "abcdwxyz", 8, error));
    assert_ok(rf_device_record_begin(device, error));
    assert_ok(rf_device_copy(device, memory, memory + 4, 4, error));
    assert_ok(rf_device_zero(device, memory + 4, 4, error));
    assert_int_equal(rf_device_download(device, found, memory, 4, &problem), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "while work is recorded"));
    assert_int_equal(rf_device_upload(device, memory, found, 4, NULL), RF_ERR_UNSUPPORTED);
    assert_int_equal(rf_device_sync(device, NULL), RF_ERR_UNSUPPORTED);
    assert_ok(rf_device_record_end(device, &recording, error));
    assert_ok(rf_device_download(device, found, memory, 4, error));
    assert_memory_equal(found, "abcd", 4);
    assert_ok(rf_device_replay(device, recording, error));
    assert_ok(rf_device_download(device, found, memory, 4, error));
    assert_memory_equal(found, "wxyz", 4);
    assert_ok(rf_device_replay(device, recording, error));
    assert_ok(rf_device_download(device, found, memory, 4, error));
    assert_memory_equal(found, "\0\0\0\0", 4);
    rf_device_release_recording(device, recording);
}

static void test_recording_on_a_gpu(void **state)
{
    (void)state;
    rf_device *device = NULL;
    void *memory = NULL;
    if (rf_device_create("cuda", 1, &device, NULL) != RF_OK) {
        skip();
    }
    assert_ok(device->table->allocate(device, 8, "a test's memory", &memory, error));
    check_recording(device, memory);
    device->table->release(device, memory);
    rf_device_destroy(device);
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
        cmocka_unit_test(test_create_dry),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cuda),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_recording_on_the_cpu),
        cmocka_unit_test(test_recording_on_a_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
