/* Event files: the frame of every record, the protobuf bytes of one scalar, and what TensorBoard
 * itself reads (tests/interop/read_events.py, where Python and its package are there). */
#include "support.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "io/tensorboard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *in_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

#if RF_WITH_PROTOBUF_C

static void write_events(const char *folder)
{
    rf_tensorboard *board = NULL;
    size_t before = rf_memory_in_use();
    assert_ok(rf_tensorboard_create(folder, &board, error));
    assert_ok(rf_tensorboard_scalar(board, "loss/train", 1, 0.5, error));
    assert_ok(rf_tensorboard_scalar(board, "loss/train", 300, -2.25, error));
    assert_ok(rf_tensorboard_flush(board, error));
    rf_tensorboard_close(board);
    assert_int_equal(rf_memory_in_use(), before);
}

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void check_masked(const uint8_t *stored, const uint8_t *data, size_t size)
{
    uint32_t rotated =
        word_at(stored) - 0xA282EAD8U; /* undo the mask of TensorFlow's record format */
    assert_int_equal(rotated >> 17 | rotated << 15, rf_crc32c(data, size));
}

/* Returns the size of the record; *event is its protobuf part. */
static size_t check_record(const uint8_t *record, size_t left, const uint8_t **event, size_t *size)
{
    assert_true(left >= 16);
    *size = word_at(record);
    assert_int_equal(word_at(record + 4), 0);
    assert_true(left >= *size + 16);
    *event = record + 12;
    check_masked(record + 8, record, 8);
    check_masked(record + 12 + *size, *event, *size);
    return *size + 16;
}

static void test_records(void **state)
{
    (void)state;
    /* step = 1; summary { value { tag: "loss/train", simple_value: 0.5 } } */
    static const uint8_t scalar[] = {0x10, 1,   0x2A, 19,  0x0A, 17,  0x0A, 10,  'l', 'o', 's', 's',
                                     '/',  't', 'r',  'a', 'i',  'n', 0x15, 0x0, 0x0, 0x0, 0x3F};
    char *folder = in_folder("records");
    write_events(folder);
    char **names = NULL;
    size_t count = 0;
    assert_ok(rf_file_find(folder, &names, &count, error));
    assert_int_equal(count, 1);
    assert_non_null(strstr(names[0], "/events.out.tfevents."));
    assert_non_null(strstr(names[0], ".reformer"));
    char *text = NULL;
    size_t size = 0;
    assert_ok(rf_file_read(names[0], 4096, &text, &size, error));
    size_t records = 0;
    for (size_t at = 0; at < size; records++) {
        const uint8_t *event = NULL;
        size_t length = 0;
        at += check_record((const uint8_t *)text + at, size - at, &event, &length);
        assert_int_equal(event[0], 0x09); /* wall_time, a double */
        if (records == 0) {
            assert_memory_equal(event + 9,
                                "\x1A\x0D"
                                "brain.Event:2",
                                15);
        }
        if (records == 1) {
            assert_int_equal(length, 9 + sizeof scalar);
            assert_memory_equal(event + 9, scalar, sizeof scalar);
        }
    }
    assert_int_equal(records, 3);
    rf_release(text);
    rf_names_release(names, count);
    rf_release(folder);
}

static void test_tensorboard_reads_it(void **state)
{
    (void)state;
    char *folder = in_folder("interop");
    write_events(folder);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execlp("python3", "python3", RF_SOURCE_FOLDER "/tests/interop/read_events.py", folder,
                     (char *)NULL);
        _exit(77);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    rf_release(folder);
    if (WEXITSTATUS(result) == 77) {
        print_message("skipped: python3 or its package tensorboard is not there\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(result), 0);
}

static void test_failures(void **state)
{
    (void)state;
    rf_error problem = {0};
    rf_tensorboard *board = NULL;
    assert_int_equal(rf_tensorboard_create("/dev/null/below", &board, &problem), RF_ERR_FILE);
    assert_null(board);
    assert_non_null(strstr(problem.message, "/dev/null"));
    rf_tensorboard_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_tensorboard_reads_it),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_lacking(void **state)
{
    (void)state;
    rf_error problem = {0};
    rf_tensorboard *board = NULL;
    char *folder = in_folder("lacking");
    assert_int_equal(rf_tensorboard_create(folder, &board, &problem), RF_ERR_UNSUPPORTED);
    assert_null(board);
    assert_non_null(strstr(problem.message, "protobuf-c"));
    assert_false(rf_folder_exists(folder));
    rf_tensorboard_close(board);
    rf_release(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lacking)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
