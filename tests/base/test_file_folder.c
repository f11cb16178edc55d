/* Folders: create with parents, list, find by pattern, remove with content but without following
 * links. */
#include "no_memory.h"
#include "support.h"

#include "base/file.h"
#include "base/memory.h"

#include <string.h>
#include <unistd.h>

static char *in_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static void put(const char *name)
{
    char *path = in_folder(name);
    assert_ok(rf_file_write_atomic(path, "x", 1, error));
    rf_release(path);
}

static void make(const char *name)
{
    char *path = in_folder(name);
    assert_ok(rf_folder_create(path, error));
    assert_true(rf_folder_exists(path));
    rf_release(path);
}

static int set_up(void **state)
{
    (void)state;
    make("tree/b/deep");
    make("tree/b/deep"); /* existing is fine */
    make("tree/empty/");
    put("tree/z.txt");
    put("tree/a.txt");
    put("tree/b/m.txt");
    put("tree/b/deep/k.bin");
    return 0;
}

static void test_create_over_a_file(void **state)
{
    (void)state;
    rf_error problem = {0};
    char *path = in_folder("tree/a.txt");
    assert_int_equal(rf_folder_create(path, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, path));
    rf_release(path);
    path = in_folder("tree/a.txt/below");
    assert_int_equal(rf_folder_create(path, &problem), RF_ERR_FILE);
    rf_release(path);
}

static void test_list(void **state)
{
    (void)state;
    static const char *const expected[] = {"a.txt", "b", "empty", "z.txt"};
    char **names = NULL;
    size_t count = 0;
    char *path = in_folder("tree");
    assert_ok(rf_folder_list(path, &names, &count, error));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    rf_names_release(names, count);
    rf_release(path);
    path = in_folder("tree/empty");
    assert_ok(rf_folder_list(path, &names, &count, error));
    assert_int_equal(count, 0);
    rf_names_release(names, count);
    rf_release(path);
    rf_error problem = {0};
    assert_int_equal(rf_folder_list("/no/such", &names, &count, &problem), RF_ERR_FILE);
}

/* What the pattern finds, as "NAME NAME ", relative to the test's folder. */
static void check_found(const char *pattern, const char *expected)
{
    char **names = NULL;
    size_t count = 0;
    char *path = in_folder(pattern);
    char found[1000] = "";
    assert_ok(rf_file_find(path, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        (void)strncat(found, names[i] + strlen(test_folder()) + 1, 100);
        (void)strncat(found, " ", 2);
    }
    assert_string_equal(found, expected);
    rf_names_release(names, count);
    rf_release(path);
}

static void test_find(void **state)
{
    (void)state;
    check_found("tree", "tree/a.txt tree/b/deep/k.bin tree/b/m.txt tree/z.txt ");
    check_found("tree/*.txt", "tree/a.txt tree/z.txt ");
    check_found("tree/?", "tree/b/deep/k.bin tree/b/m.txt ");
    check_found("tree/b/m.txt", "tree/b/m.txt ");
    char **names = NULL;
    size_t count = 0;
    rf_error problem = {0};
    assert_int_equal(rf_file_find("/no/such/*.txt", &names, &count, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "/no/such/*.txt"));
    char *path = in_folder("tree/empty");
    assert_int_equal(rf_file_find(path, &names, &count, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "no file in this folder"));
    assert_null(names);
    rf_release(path);
}

static void test_remove(void **state)
{
    (void)state;
    put("kept");
    make("doomed/inner");
    put("doomed/inner/file");
    char *kept = in_folder("kept");
    char *doomed = in_folder("doomed");
    char *link = in_folder("doomed/link");
    char *folder_link = in_folder("doomed/folder");
    char *tree = in_folder("tree");
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(symlink(tree, folder_link), 0);
    assert_ok(rf_folder_remove(doomed, error));
    assert_false(rf_folder_exists(doomed));
    assert_true(rf_file_exists(kept));
    check_found("tree/a.txt", "tree/a.txt ");
    assert_ok(rf_folder_remove(doomed, error)); /* missing is fine */
    rf_release(tree);
    rf_release(folder_link);
    rf_release(link);
    rf_release(doomed);
    rf_release(kept);
}

static void test_no_memory(void **state)
{
    (void)state;
    char *path = in_folder("tree");
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int attempts = 0;
    for (; status == RF_ERR_MEMORY && attempts < 1000; attempts++) {
        int left = attempts;
        char **names = NULL;
        size_t count = 0;
        rf_memory_set_hook(fail_after, &left);
        status = rf_file_find(path, &names, &count, NULL);
        rf_memory_set_hook(NULL, NULL);
        rf_names_release(names, count);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_int_equal(status, RF_OK);
    assert_true(attempts > 10);
    rf_release(path);
}

static void test_one_writer(void **state)
{
    (void)state;
    char *path = in_folder("tree/b");
    rf_folder_lock lock;
    rf_folder_lock other;
    rf_error reason = {0};
    assert_ok(rf_folder_lock_take(path, &lock, error));
    assert_true(lock.held);
    assert_int_equal(rf_folder_lock_take(path, &other, &reason), RF_ERR_FILE);
    assert_non_null(strstr(reason.message, "another run is writing"));
    rf_folder_lock_release(&other);
    rf_folder_lock_release(&lock);
    assert_ok(rf_folder_lock_take(path, &other, error));
    rf_folder_lock_release(&other);
    rf_release(path);
    assert_int_equal(rf_folder_lock_take("/nowhere", &other, &reason), RF_ERR_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_over_a_file),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
