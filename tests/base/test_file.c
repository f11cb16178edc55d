/* Reading whole and mapped, paths; on real files, an empty one, a pipe and a file of the kernel. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *in_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static void test_read_and_limit(void **state)
{
    (void)state;
    char *path = in_folder("read");
    char *text = NULL;
    size_t size = 0;
    uint64_t length = 0;
    rf_error problem = {0};
    assert_ok(rf_file_write_atomic(path, "hello\0world", 11, error));
    assert_ok(rf_file_read(path, 11, &text, &size, error));
    assert_int_equal(size, 11);
    assert_memory_equal(text, "hello\0world", 12); /* and a NUL */
    rf_release(text);
    assert_ok(rf_file_size(path, &length, error));
    assert_int_equal(length, 11);
    assert_int_equal(rf_file_read(path, 10, &text, &size, &problem), RF_ERR_FORMAT);
    assert_null(text);
    assert_non_null(strstr(problem.message, "11 bytes"));
    assert_non_null(strstr(problem.message, path));
    rf_release(path);
}

/* Its size is unknown until it is read. */
static void test_read_kernel_file(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_file_read("/proc/self/status", 1 << 20, &text, &size, error));
    assert_true(size > 100);
    assert_int_equal(strlen(text), size);
    rf_release(text);
    rf_error problem = {0};
    assert_int_equal(rf_file_read("/proc/self/status", 50, &text, &size, &problem), RF_ERR_FORMAT);
}

static void test_messages_name_path_and_reason(void **state)
{
    (void)state;
    char *path = in_folder("missing");
    char *text = NULL;
    size_t size = 0;
    uint64_t length = 0;
    rf_mapping mapping;
    rf_error problem = {0};
    assert_int_equal(rf_file_read(path, 10, &text, &size, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, path));
    assert_non_null(strstr(problem.message, "No such file"));
    assert_int_equal(rf_mapping_open(path, &mapping, &problem), RF_ERR_FILE);
    assert_null(mapping.data);
    assert_int_equal(rf_file_size(path, &length, &problem), RF_ERR_FILE);
    assert_int_equal(rf_mapping_open(test_folder(), &mapping, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "directory"));
    rf_release(path);
}

static void test_mapping(void **state)
{
    (void)state;
    char *path = in_folder("mapped");
    rf_mapping mapping;
    assert_ok(rf_file_write_atomic(path, "12345", 5, error));
    assert_ok(rf_mapping_open(path, &mapping, error));
    assert_true(mapping.is_mapped);
    assert_int_equal(mapping.size, 5);
    assert_memory_equal(mapping.data, "12345", 5);
    rf_mapping_close(&mapping);
    assert_null(mapping.data);
    assert_ok(rf_file_write_atomic(path, "", 0, error));
    assert_ok(rf_mapping_open(path, &mapping, error));
    assert_null(mapping.data);
    assert_int_equal(mapping.size, 0);
    rf_mapping_close(&mapping);
    rf_release(path);
}

/* A pipe cannot be mapped; more than one buffer goes through it. */
static void test_mapping_of_a_pipe(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    char *path = in_folder("pipe");
    size_t before = rf_memory_in_use();
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        FILE *pipe = fopen(path, "w");
        for (int i = 0; i < COUNT && pipe != NULL; i++) {
            (void)fputc(i % 251, pipe);
        }
        _exit(pipe != NULL && fclose(pipe) == 0 ? 0 : 1);
    }
    rf_mapping mapping;
    assert_ok(rf_mapping_open(path, &mapping, error));
    int result = 1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_false(mapping.is_mapped);
    assert_int_equal(mapping.size, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(mapping.data[i], i % 251);
    }
    rf_mapping_close(&mapping);
    assert_int_equal(rf_memory_in_use(), before);
    rf_release(path);
}

static void test_paths(void **state)
{
    (void)state;
    char *path = NULL;
    assert_ok(rf_path_join("a", "b", &path, error));
    assert_string_equal(path, "a/b");
    rf_release(path);
    assert_ok(rf_path_join("a/", "b", &path, error));
    assert_string_equal(path, "a/b");
    rf_release(path);
    assert_ok(rf_path_join("", "b", &path, error));
    assert_string_equal(path, "b");
    rf_release(path);
    assert_true(rf_folder_exists(test_folder()));
    assert_false(rf_file_exists(test_folder()));
    assert_false(rf_folder_exists("/no/such/folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_and_limit),
        cmocka_unit_test(test_read_kernel_file),
        cmocka_unit_test(test_messages_name_path_and_reason),
        cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_mapping_of_a_pipe),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
