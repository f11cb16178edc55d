/* Writing: bytes as the format says, what is written reads back, conversion, shards, and faults
 * after which the old file is whole. */
#include "no_memory.h"
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/weights.h"

#include <errno.h>
#include <string.h>

static float numbers[] = {1.0F, -2.5F, 3.25F, 65504.0F, 1e-3F, 0.1F};
static int64_t integers[] = {-1, 7};
static uint8_t bytes[] = {1, 2, 3};

static char *in_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static size_t make_items(rf_safetensors_item items[4])
{
    items[0] = (rf_safetensors_item){"a.bytes", rf_tensor_1(bytes, RF_U8, 3), RF_NONE};
    items[1] = (rf_safetensors_item){"b \"weight\"", rf_tensor_2(numbers, RF_F32, 2, 3), RF_NONE};
    items[2] = (rf_safetensors_item){"c.bf16", rf_tensor_2(numbers, RF_F32, 3, 2), RF_BF16};
    items[3] = (rf_safetensors_item){"d.integers", rf_tensor_1(integers, RF_I64, 2), RF_NONE};
    return 4;
}

static void test_bytes(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} ";
    char *path = in_folder("bytes.safetensors");
    char *text = NULL;
    size_t size = 0;
    uint64_t length = 0;
    rf_safetensors_item item = {"x", rf_tensor_1(numbers, RF_F32, 1), RF_NONE};
    assert_ok(rf_safetensors_write(path, &item, 1, NULL, 0, error));
    assert_ok(rf_file_read(path, 1000, &text, &size, error));
    memcpy(&length, text, 8);
    assert_int_equal(length % 8, 0);
    assert_int_equal(size, 8 + length + 4);
    assert_memory_equal(text + 8, header, sizeof header - 1);
    for (size_t i = 8 + sizeof header - 1; i < 8 + length; i++) {
        assert_int_equal(text[i], ' ');
    }
    assert_memory_equal(text + 8 + length, numbers, 4);
    rf_release(text);
    rf_release(path);
}

static void check_items(const rf_safetensors *file)
{
    float values[6];
    int64_t whole[3];
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "b \"weight\""), values, 6, error));
    assert_memory_equal(values, numbers, sizeof numbers);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "c.bf16"), values, 6, error));
    for (int i = 0; i < 6; i++) {
        assert_true(values[i] == rf_bf16_to_f32(rf_f32_to_bf16(numbers[i])));
    }
    assert_ok(rf_safetensors_read_i64(rf_safetensors_find(file, "d.integers"), whole, 2, error));
    assert_memory_equal(whole, integers, sizeof integers);
    assert_ok(rf_safetensors_read_i64(rf_safetensors_find(file, "a.bytes"), whole, 3, error));
    assert_int_equal(whole[2], 3);
}

/* The header keeps the order, every tensor's place suits its type. */
static void test_reads_back(void **state)
{
    (void)state;
    static const char *const pairs[] = {"step", "12", "note", "\"quoted\" \xC3\xA9"};
    char *path = in_folder("back.safetensors");
    rf_safetensors_item items[4];
    size_t count = make_items(items);
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_write(path, items, count, pairs, 2, error));
    assert_ok(rf_safetensors_open(path, &file, error));
    assert_int_equal(rf_safetensors_count(file), count);
    for (size_t i = 0; i < count; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        assert_string_equal(entry->name, items[i].name);
        assert_true(rf_tensor_same_shape(&entry->tensor, &items[i].tensor));
        assert_int_equal((uintptr_t)entry->tensor.data % rf_dtype_size(entry->tensor.dtype), 0);
    }
    assert_string_equal(rf_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(rf_safetensors_metadata(file, "note"), "\"quoted\" \xC3\xA9");
    check_items(file);
    rf_safetensors_close(file);
    rf_release(path);
}

/* More than one piece of the converter, and f16. */
static void test_long_conversion(void **state)
{
    (void)state;
    enum { COUNT = 70000 };
    char *path = in_folder("long.safetensors");
    void *memory = NULL;
    rf_safetensors *file = NULL;
    assert_ok(rf_allocate(2 * COUNT * sizeof(float), "test", &memory, error));
    float *values = memory;
    for (int i = 0; i < COUNT; i++) {
        values[i] = (float)i * 0.37F;
    }
    rf_safetensors_item item = {"x", rf_tensor_2(values, RF_F32, COUNT / 10, 10), RF_F16};
    assert_ok(rf_safetensors_write(path, &item, 1, NULL, 0, error));
    assert_ok(rf_safetensors_open(path, &file, error));
    assert_ok(rf_safetensors_read_f32(rf_safetensors_at(file, 0), values + COUNT, COUNT, error));
    for (int i = 0; i < COUNT; i++) {
        assert_true(values[COUNT + i] == rf_f16_to_f32(rf_f32_to_f16(values[i])));
    }
    rf_safetensors_close(file);
    rf_release(memory);
    rf_release(path);
}

static void check_refused(const rf_safetensors_item *items, size_t count, const char *message)
{
    char *path = in_folder("refused.safetensors");
    rf_error problem = {0};
    assert_int_equal(rf_safetensors_write(path, items, count, NULL, 0, &problem), RF_ERR_ARGUMENT);
    assert_non_null(strstr(problem.message, message));
    assert_false(rf_file_exists(path));
    rf_release(path);
}

static void test_refused(void **state)
{
    (void)state;
    rf_tensor one = rf_tensor_1(numbers, RF_F32, 1);
    rf_tensor whole = rf_tensor_1(integers, RF_I64, 1);
    rf_tensor fixed = rf_tensor_1(integers, RF_FIXED32, 1);
    rf_safetensors_item twice[] = {{"x", one, RF_NONE}, {"x", one, RF_NONE}};
    rf_safetensors_item kind = {"x", whole, RF_F32};
    rf_safetensors_item unknown = {"x", fixed, RF_NONE};
    rf_safetensors_item reserved = {"__metadata__", one, RF_NONE};
    rf_safetensors_item no_text = {"\xFF", one, RF_NONE};
    check_refused(twice, 2, "two tensors are named x");
    check_refused(&kind, 1, "cannot store i64 as f32");
    check_refused(&unknown, 1, "fixed32 cannot be stored");
    check_refused(&reserved, 1, "__metadata__");
    rf_error problem = {0};
    char *path = in_folder("refused.safetensors");
    assert_int_not_equal(rf_safetensors_write(path, &no_text, 1, NULL, 0, &problem), RF_OK);
    assert_non_null(strstr(problem.message, "UTF-8"));
    rf_release(path);
}

/* ---- models ---- */

static bool has(const char *folder, const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(folder, name, &path, error));
    bool exists = rf_file_exists(path);
    rf_release(path);
    return exists;
}

static void check_model(const char *folder)
{
    rf_safetensors *file = NULL;
    assert_ok(rf_weights_open(folder, &file, error));
    assert_int_equal(rf_safetensors_count(file), 4);
    check_items(file);
    rf_safetensors_close(file);
}

static void test_shards(void **state)
{
    (void)state;
    char *folder = in_folder("model");
    rf_safetensors_item items[4];
    size_t count = make_items(items);
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_safetensors_write_model(folder, items, count, 1000, error));
    assert_true(has(folder, "model.safetensors"));
    assert_false(has(folder, "model.safetensors.index.json"));
    check_model(folder);
    /* 3 + 24, 12 + 16 bytes: two shards of at most 28 */
    assert_ok(rf_safetensors_write_model(folder, items, count, 28, error));
    assert_true(has(folder, "model-00001-of-00002.safetensors"));
    assert_true(has(folder, "model-00002-of-00002.safetensors"));
    assert_false(has(folder, "model.safetensors"));
    check_model(folder);
    assert_ok(rf_safetensors_write_model(folder, items, count, 1, error)); /* each alone */
    assert_true(has(folder, "model-00004-of-00004.safetensors"));
    check_model(folder);
    assert_ok(rf_safetensors_write_model(folder, items, count, 1000, error));
    assert_false(has(folder, "model.safetensors.index.json"));
    check_model(folder);
    rf_release(folder);
}

static void test_index_text(void **state)
{
    (void)state;
    char *folder = in_folder("indexed");
    char *path = in_folder("indexed/model.safetensors.index.json");
    char *text = NULL;
    size_t size = 0;
    rf_safetensors_item items[4];
    size_t count = make_items(items);
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_safetensors_write_model(folder, items, count, 28, error));
    assert_ok(rf_file_read(path, 4096, &text, &size, error));
    assert_string_equal(text,
                        "{\n  \"metadata\": {\n    \"total_size\": 55\n  },\n  \"weight_map\": {\n"
                        "    \"a.bytes\": \"model-00001-of-00002.safetensors\",\n"
                        "    \"b \\\"weight\\\"\": \"model-00001-of-00002.safetensors\",\n"
                        "    \"c.bf16\": \"model-00002-of-00002.safetensors\",\n"
                        "    \"d.integers\": \"model-00002-of-00002.safetensors\"\n  }\n}\n");
    rf_release(text);
    rf_release(path);
    rf_release(folder);
}

/* ---- faults ---- */

typedef struct fault {
    const char *operation;
    int after, number;
} fault;

static int inject(void *user, const char *operation, const char *path, size_t size)
{
    fault *planned = user;
    (void)path;
    (void)size;
    return strcmp(operation, planned->operation) == 0 && planned->after-- == 0 ? planned->number
                                                                               : 0;
}

static void check_old_is_whole(const char *folder)
{
    rf_safetensors *file = NULL;
    float value = 0.0F;
    assert_ok(rf_weights_open(folder, &file, error));
    assert_int_equal(rf_safetensors_count(file), 1);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "old"), &value, 1, error));
    assert_true(value == 1.0F);
    rf_safetensors_close(file);
}

static void test_faults(void **state)
{
    (void)state;
    static const fault faults[] = {
        {"write", 0, ENOSPC}, {"write", 1, ENOSPC}, {"write", 2, EIO},
        {"write", 4, ENOSPC}, {"sync", 0, EIO},     {"rename", 0, EACCES},
    };
    char *folder = in_folder("faults");
    rf_safetensors_item old = {"old", rf_tensor_1(numbers, RF_F32, 1), RF_NONE};
    rf_safetensors_item items[4];
    size_t count = make_items(items);
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_safetensors_write_model(folder, &old, 1, 1000, error));
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fault planned = faults[i];
        rf_error problem = {0};
        size_t before = rf_memory_in_use();
        rf_file_set_hook(inject, &planned);
        rf_status status = rf_safetensors_write_model(folder, items, count, 1000, &problem);
        rf_file_set_hook(NULL, NULL);
        assert_int_equal(status, faults[i].number == ENOSPC ? RF_ERR_NO_SPACE : RF_ERR_FILE);
        assert_non_null(strstr(problem.message, "model.safetensors"));
        assert_int_equal(rf_memory_in_use(), before);
        check_old_is_whole(folder);
    }
    rf_release(folder);
}

static void test_no_memory(void **state)
{
    (void)state;
    char *folder = in_folder("memory");
    rf_safetensors_item old = {"old", rf_tensor_1(numbers, RF_F32, 1), RF_NONE};
    rf_safetensors_item items[4];
    size_t count = make_items(items);
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_safetensors_write_model(folder, &old, 1, 1000, error));
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int attempts = 0;
    for (; attempts < 500; attempts++) {
        int left = attempts;
        rf_memory_set_hook(fail_after, &left);
        status = rf_safetensors_write_model(folder, items, count, 28, NULL);
        rf_memory_set_hook(NULL, NULL);
        assert_int_equal(rf_memory_in_use(), before);
        if (status == RF_OK) {
            break;
        }
        assert_int_equal(status, RF_ERR_MEMORY);
        if (has(folder, "model.safetensors")) { /* the old model is the one that loads */
            check_old_is_whole(folder);
        } else {
            check_model(folder);
        }
    }
    assert_int_equal(status, RF_OK);
    assert_true(attempts > 20);
    check_model(folder);
    rf_release(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),           cmocka_unit_test(test_reads_back),
        cmocka_unit_test(test_long_conversion), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shards),          cmocka_unit_test(test_index_text),
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
