/* Atomic writing under injected faults, a full disk among them, and a kill in the middle: the old
 * content is always whole, and no temporary file stays behind unless the process was killed. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fault {
    const char *operation;
    int after; /* calls of the operation to let pass */
    int number;
    char path[4096];
} fault;

static int inject(void *user, const char *operation, const char *path, size_t size)
{
    fault *planned = user;
    (void)size;
    if (strcmp(operation, planned->operation) != 0 || planned->after-- != 0) {
        return 0;
    }
    (void)snprintf(planned->path, sizeof planned->path, "%s", path);
    return planned->number;
}

static char *fresh_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    assert_ok(rf_folder_create(path, error));
    return path;
}

static void check_content(const char *path, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_file_read(path, 100, &text, &size, error));
    assert_string_equal(text, expected);
    rf_release(text);
}

static size_t files_in(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(rf_folder_list(folder, &names, &count, error));
    rf_names_release(names, count);
    return count;
}

static void test_write_and_replace(void **state)
{
    (void)state;
    char *folder = fresh_folder("replace");
    char *path = NULL;
    assert_ok(rf_path_join(folder, "file", &path, error));
    assert_ok(rf_file_write_atomic(path, "old", 3, error));
    check_content(path, "old");
    rf_atomic_file *file = NULL;
    assert_ok(rf_atomic_open(path, &file, error));
    assert_ok(rf_atomic_write(file, "ne", 2, error));
    assert_ok(rf_atomic_write(file, "", 0, error));
    assert_ok(rf_atomic_write(file, "w", 1, error));
    check_content(path, "old");
    assert_ok(rf_atomic_commit(file, error));
    check_content(path, "new");
    assert_ok(rf_atomic_open(path, &file, error));
    assert_ok(rf_atomic_write(file, "never", 5, error));
    rf_atomic_abandon(file);
    rf_atomic_abandon(NULL);
    check_content(path, "new");
    assert_int_equal(files_in(folder), 1);
    rf_release(path);
    rf_release(folder);
}

/* Two writers at once use different temporaries; the last to commit wins. */
static void test_two_writers(void **state)
{
    (void)state;
    char *folder = fresh_folder("writers");
    char *path = NULL;
    rf_atomic_file *one = NULL;
    rf_atomic_file *two = NULL;
    assert_ok(rf_path_join(folder, "file", &path, error));
    assert_ok(rf_atomic_open(path, &one, error));
    assert_ok(rf_atomic_open(path, &two, error));
    assert_ok(rf_atomic_write(one, "one", 3, error));
    assert_ok(rf_atomic_write(two, "two", 3, error));
    assert_ok(rf_atomic_commit(two, error));
    check_content(path, "two");
    assert_ok(rf_atomic_commit(one, error));
    check_content(path, "one");
    assert_int_equal(files_in(folder), 1);
    rf_release(path);
    rf_release(folder);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *operation;
        int after, number;
        rf_status status;
        const char *content, *message;
    } cases[] = {
        {"write", 0, ENOSPC, RF_ERR_NO_SPACE, "old", "No space left"},
        {"write", 1, EIO, RF_ERR_FILE, "old", "Input/output error"},
        {"sync", 0, EIO, RF_ERR_FILE, "old", "cannot flush to the disk"},
        {"sync", 0, EDQUOT, RF_ERR_NO_SPACE, "old", "cannot flush to the disk"},
        {"rename", 0, EACCES, RF_ERR_FILE, "old", "Permission denied"},
        {"sync", 1, EIO, RF_ERR_FILE, "new", "cannot flush the folder"},
    };
    char *folder = fresh_folder("faults");
    char *path = NULL;
    assert_ok(rf_path_join(folder, "file", &path, error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t before = rf_memory_in_use();
        rf_error problem = {0};
        rf_atomic_file *file = NULL;
        fault planned = {cases[i].operation, cases[i].after, cases[i].number, ""};
        assert_ok(rf_file_write_atomic(path, "old", 3, error));
        rf_file_set_hook(inject, &planned);
        rf_status status = rf_atomic_open(path, &file, &problem);
        if (status == RF_OK) {
            status = rf_atomic_write(file, "n", 1, &problem);
        }
        if (status == RF_OK) {
            status = rf_atomic_write(file, "ew", 2, &problem);
        }
        if (status == RF_OK) {
            status = rf_atomic_commit(file, &problem);
        } else {
            rf_atomic_abandon(file);
        }
        rf_file_set_hook(NULL, NULL);
        assert_int_equal(status, cases[i].status);
        assert_int_equal(problem.code, cases[i].status);
        assert_non_null(strstr(problem.message, cases[i].message));
        assert_non_null(strstr(problem.message, path));
        check_content(path, cases[i].content);
        assert_int_equal(files_in(folder), 1);
        assert_int_equal(rf_memory_in_use(), before);
    }
    rf_release(path);
    rf_release(folder);
}

/* In a child: killed at the given call. */
static int kill_here(void *user, const char *operation, const char *path, size_t size)
{
    fault *planned = user;
    if (inject(planned, operation, path, size) != 0) {
        (void)raise(SIGKILL);
    }
    return 0;
}

static void write_and_be_killed(const char *path, const char *operation, int after)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fault planned = {operation, after, EIO, ""};
        rf_atomic_file *file = NULL;
        rf_file_set_hook(kill_here, &planned);
        if (rf_atomic_open(path, &file, NULL) == RF_OK &&
            rf_atomic_write(file, "n", 1, NULL) == RF_OK &&
            rf_atomic_write(file, "ew", 2, NULL) == RF_OK) {
            (void)!rf_atomic_commit(file, NULL);
        }
        _exit(0);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL);
}

static void test_kill(void **state)
{
    (void)state;
    static const struct {
        const char *operation;
        int after;
        const char *content;
    } cases[] = {
        {"write", 0, "old"},  {"write", 1, "old"}, {"sync", 0, "old"},
        {"rename", 0, "old"}, {"sync", 1, "new"},
    };
    char *folder = fresh_folder("kill");
    char *path = NULL;
    assert_ok(rf_path_join(folder, "file", &path, error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(rf_file_write_atomic(path, "old", 3, error));
        write_and_be_killed(path, cases[i].operation, cases[i].after);
        check_content(path, cases[i].content);
        assert_ok(rf_file_write_atomic(path, "next", 4, error)); /* what was left does no harm */
        check_content(path, "next");
    }
    rf_release(path);
    rf_release(folder);
}

static void test_places_that_cannot_be_written(void **state)
{
    (void)state;
    rf_error problem = {0};
    assert_int_equal(rf_file_write_atomic("/no/such/folder/file", "x", 1, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "/no/such/folder/file"));
    assert_int_equal(rf_file_write_atomic(test_folder(), "x", 1, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "directory"));
}

static void test_folder_rename(void **state)
{
    (void)state;
    char *folder = fresh_folder("from");
    char *to = NULL;
    rf_error problem = {0};
    assert_ok(rf_path_join(test_folder(), "to", &to, error));
    fault planned = {"rename", 0, EXDEV, ""};
    rf_file_set_hook(inject, &planned);
    assert_int_equal(rf_folder_rename(folder, to, &problem), RF_ERR_FILE);
    rf_file_set_hook(NULL, NULL);
    assert_true(rf_folder_exists(folder));
    assert_string_equal(planned.path, to);
    assert_ok(rf_folder_rename(folder, to, error));
    assert_false(rf_folder_exists(folder));
    assert_true(rf_folder_exists(to));
    rf_release(to);
    rf_release(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_replace),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_places_that_cannot_be_written),
        cmocka_unit_test(test_folder_rename),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
