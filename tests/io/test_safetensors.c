/* Reading: one test for each way in which a file can be wrong, with status and message; types;
 * sharded models; no memory. */
#include "no_memory.h"
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *in_folder(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

/* A file with this header, its length in front, and so many bytes of data: 0, 1, 2... */
static char *make_file(const char *name, const char *header, size_t data_size)
{
    char *path = in_folder(name);
    unsigned char bytes[4096];
    uint64_t length = strlen(header);
    memcpy(bytes, &length, 8);
    (void)snprintf((char *)bytes + 8, sizeof bytes - 8, "%s", header);
    for (size_t i = 0; i < data_size; i++) {
        bytes[8 + length + i] = (unsigned char)i;
    }
    assert_ok(rf_file_write_atomic(path, bytes, 8 + length + data_size, error));
    return path;
}

static void check_path_refused(const char *path, rf_status status, const char *message)
{
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    size_t before = rf_memory_in_use();
    assert_int_equal(rf_safetensors_open(path, &file, &problem), status);
    assert_null(file);
    assert_int_equal(problem.code, status);
    assert_int_equal(rf_memory_in_use(), before);
    if (strstr(problem.message, message) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", problem.message, message);
    }
}

static void check_refused(const char *header, size_t data_size, rf_status status,
                          const char *message)
{
    char *path = make_file("wrong.safetensors", header, data_size);
    check_path_refused(path, status, message);
    check_path_refused(path, status, path);
    rf_release(path);
}

static void test_lengths(void **state)
{
    (void)state;
    static const unsigned char too_long[] = {100, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    static const unsigned char huge[] = {1, 225, 245, 5, 0, 0, 0, 0, '{', '}'};
    static const unsigned char negative[] = {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'};
    char *path = in_folder("lengths.safetensors");
    assert_ok(rf_file_write_atomic(path, "", 0, error));
    check_path_refused(path, RF_ERR_FORMAT, "0 bytes are too few");
    assert_ok(rf_file_write_atomic(path, too_long, 7, error));
    check_path_refused(path, RF_ERR_FORMAT, "7 bytes are too few");
    assert_ok(rf_file_write_atomic(path, too_long, sizeof too_long, error));
    check_path_refused(path, RF_ERR_FORMAT, "header of 100 bytes expected, found 2");
    assert_ok(rf_file_write_atomic(path, huge, sizeof huge, error));
    check_path_refused(path, RF_ERR_FORMAT, "header size 100000001 is over the limit");
    assert_ok(rf_file_write_atomic(path, negative, sizeof negative, error));
    check_path_refused(path, RF_ERR_FORMAT, "header size 18446744073709551615 is over the limit");
    rf_release(path);
    check_path_refused("/no/such/file.safetensors", RF_ERR_FILE, "No such file");
}

static void test_header_text(void **state)
{
    (void)state;
    check_refused("", 0, RF_ERR_FORMAT, "not JSON");
    check_refused("[]", 0, RF_ERR_FORMAT, "not JSON");
    check_refused(" {}", 0, RF_ERR_FORMAT, "does not begin with {");
    check_refused("{\"a\"", 0, RF_ERR_FORMAT, "not valid JSON");
    check_refused("{} x", 0, RF_ERR_FORMAT, "not valid JSON");
    check_refused("{\"a\":3}", 0, RF_ERR_FORMAT, "tensor a is not an object");
    check_refused("{\"__metadata__\":[]}", 0, RF_ERR_FORMAT, "__metadata__ is not an object");
    check_refused("{\"__metadata__\":{\"k\":1}}", 0, RF_ERR_FORMAT,
                  "__metadata__ k is not a string");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                  "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                  2, RF_ERR_FORMAT, "duplicate");
}

static void test_dtypes_refused(void **state)
{
    (void)state;
    check_refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, RF_ERR_FORMAT,
                  "tensor a has no dtype");
    check_refused("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
                  RF_ERR_UNSUPPORTED, "tensor a has dtype F8_E4M3");
    check_refused("{\"a\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
                  RF_ERR_UNSUPPORTED, "dtype U64");
}

static void test_shapes_refused(void **state)
{
    (void)state;
    check_refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, RF_ERR_FORMAT,
                  "needs a shape");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1,
                  RF_ERR_FORMAT, "dimension 0 of the shape is not an integer of 0 or more");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1.5],\"data_offsets\":[0,1]}}", 1,
                  RF_ERR_FORMAT, "dimension 1 of the shape");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],"
                  "\"data_offsets\":[0,1]}}",
                  1, RF_ERR_FORMAT, "dimension 0 of the shape");
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
                  "\"data_offsets\":[0,0]}}",
                  0, RF_ERR_FORMAT, "product overflows");
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],"
                  "\"data_offsets\":[0,0]}}",
                  0, RF_ERR_FORMAT, "product overflows");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"
                  "\"data_offsets\":[0,1]}}",
                  1, RF_ERR_FORMAT, "at most 16 integers");
}

static void test_offsets_refused(void **state)
{
    (void)state;
    const char *needs = "tensor a needs data_offsets";
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, RF_ERR_FORMAT, needs);
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, RF_ERR_FORMAT,
                  needs);
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1,
                  RF_ERR_FORMAT, needs);
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1,
                  RF_ERR_FORMAT, needs);
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[\"0\",\"1\"]}}", 1,
                  RF_ERR_FORMAT, needs);
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7,
                  RF_ERR_FORMAT, "tensor a ends at byte 8 of the data, but the file holds 7");
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,7]}}", 7,
                  RF_ERR_FORMAT, "[2] f32, which takes 8 bytes, but its data_offsets hold 7");
}

static void test_holes_and_overlaps(void **state)
{
    (void)state;
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
                  RF_ERR_FORMAT, "bytes 0 to 1 of the data belong to no tensor");
    check_refused("{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
                  "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
                  5, RF_ERR_FORMAT,
                  "bytes 2 to 3 of the data belong to no tensor (a hole before tensor b)");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                  "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
                  3, RF_ERR_FORMAT, "tensors a and b overlap");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                  "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
                  2, RF_ERR_FORMAT, "overlap");
    check_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5,
                  RF_ERR_FORMAT, "3 trailing bytes");
    check_refused("{}", 1, RF_ERR_FORMAT, "1 trailing bytes");
}

static void test_good_file(void **state)
{
    (void)state;
    char *path = make_file("good.safetensors",
                           "{\"second\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[1,3]},"
                           "\"__metadata__\":{\"format\":\"pt\",\"step\":\"7\"},"
                           "\"empty\":{\"dtype\":\"F64\",\"shape\":[0,5],\"data_offsets\":[1,1]},"
                           "\"scalar\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}   ",
                           3);
    rf_safetensors *file = NULL;
    int64_t values[2] = {9, 9};
    assert_ok(rf_safetensors_open(path, &file, error));
    assert_int_equal(rf_safetensors_count(file), 3);
    assert_string_equal(rf_safetensors_at(file, 0)->name, "second");
    assert_string_equal(rf_safetensors_at(file, 2)->name, "scalar");
    assert_string_equal(rf_safetensors_at(file, 2)->path, path);
    assert_null(rf_safetensors_find(file, "third"));
    const rf_safetensors_entry *entry = rf_safetensors_find(file, "second");
    assert_int_equal(entry->tensor.rank, 2);
    assert_ok(rf_safetensors_read_i64(entry, values, 2, error));
    assert_int_equal(values[0], 1);
    assert_int_equal(values[1], 2);
    entry = rf_safetensors_find(file, "scalar");
    assert_string_equal(entry->stored, "I8");
    assert_ok(rf_safetensors_read_i64(entry, values, 1, error));
    assert_int_equal(values[0], 0);
    entry = rf_safetensors_find(file, "empty");
    assert_ok(rf_safetensors_read_f32(entry, NULL, 0, error));
    assert_string_equal(rf_safetensors_metadata(file, "step"), "7");
    assert_null(rf_safetensors_metadata(file, "absent"));
    rf_safetensors_close(file);
    rf_safetensors_close(NULL);
    rf_release(path);
    path = make_file("none.safetensors", "{}", 0);
    assert_ok(rf_safetensors_open(path, &file, error));
    assert_int_equal(rf_safetensors_count(file), 0);
    assert_null(rf_safetensors_find(file, "a"));
    rf_safetensors_close(file);
    rf_release(path);
}

/* One number a type, at odd offsets: 1.5 or -2. */
static void test_values_of_every_type(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        size_t size;
        unsigned char bytes[8];
        bool is_float;
    } cases[] = {
        {"F32", 4, {0, 0, 0xC0, 0x3F}, true},
        {"BF16", 2, {0xC0, 0x3F}, true},
        {"F16", 2, {0x00, 0x3E}, true},
        {"F64", 8, {0, 0, 0, 0, 0, 0, 0xF8, 0x3F}, true},
        {"I64", 8, {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, false},
        {"I32", 4, {0xFE, 0xFF, 0xFF, 0xFF}, false},
        {"I16", 2, {0xFE, 0xFF}, false},
        {"I8", 1, {0xFE}, false},
        {"U8", 1, {0xFE}, false},
        {"BOOL", 1, {1}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[256] = {0};
        int length = snprintf((char *)bytes + 8, 200,
                              "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                              "\"t\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[1,%zu]}}",
                              cases[i].type, 1 + cases[i].size);
        bytes[0] = (unsigned char)length;
        memcpy(bytes + 9 + length, cases[i].bytes, cases[i].size);
        char *path = in_folder("types.safetensors");
        assert_ok(rf_file_write_atomic(path, bytes, 9 + (size_t)length + cases[i].size, error));
        rf_safetensors *file = NULL;
        float real = 0.0F;
        int64_t integer = 0;
        rf_error problem = {0};
        assert_ok(rf_safetensors_open(path, &file, error));
        const rf_safetensors_entry *entry = rf_safetensors_find(file, "t");
        rf_status as_float = rf_safetensors_read_f32(entry, &real, 1, &problem);
        rf_status as_integer = rf_safetensors_read_i64(entry, &integer, 1, &problem);
        assert_int_equal(as_float, cases[i].is_float ? RF_OK : RF_ERR_FORMAT);
        assert_int_equal(as_integer, cases[i].is_float ? RF_ERR_FORMAT : RF_OK);
        assert_non_null(strstr(problem.message, cases[i].type));
        int64_t expected = cases[i].bytes[0] == 1 ? 1 : strcmp(cases[i].type, "U8") == 0 ? 254 : -2;
        assert_true(cases[i].is_float ? real == 1.5F : integer == expected);
        rf_status miscounted = cases[i].is_float
                                   ? rf_safetensors_read_f32(entry, &real, 2, &problem)
                                   : rf_safetensors_read_i64(entry, &integer, 2, &problem);
        assert_int_equal(miscounted, RF_ERR_FORMAT);
        assert_non_null(strstr(problem.message, "expected 2 numbers"));
        rf_safetensors_close(file);
        rf_release(path);
    }
}

/* ---- sharded models ---- */

static void check_index_refused(const char *text, const char *message)
{
    char *path = in_folder("wrong.safetensors.index.json");
    assert_ok(rf_file_write_atomic(path, text, strlen(text), error));
    check_path_refused(path, RF_ERR_FORMAT, message);
    rf_release(path);
}

static void test_index(void **state)
{
    (void)state;
    char *one = make_file("one.safetensors",
                          "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    char *two = make_file("two.safetensors",
                          "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    char *again = make_file("again.safetensors",
                            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    char *cut = make_file("cut.safetensors",
                          "{\"c\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1);
    char *index = in_folder("good.safetensors.index.json");
    const char *good = "{\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}";
    rf_safetensors *file = NULL;
    assert_ok(rf_file_write_atomic(index, good, strlen(good), error));
    assert_ok(rf_safetensors_open(index, &file, error));
    assert_int_equal(rf_safetensors_count(file), 2);
    assert_string_equal(rf_safetensors_find(file, "a")->path, one);
    assert_string_equal(rf_safetensors_find(file, "b")->path, two);
    rf_safetensors_close(file);
    check_index_refused("{}", "expected a weight_map");
    check_index_refused("{\"weight_map\":{}}", "expected a weight_map");
    check_index_refused("{\"weight_map\":{\"a\":1}}", "names no file for tensor a");
    check_index_refused("{\"weight_map\":{\"a\":\"\"}}", "names no file for tensor a");
    check_index_refused("{\"weight_map\":{\"a\":\"x/one.safetensors\"}}", "own folder");
    check_index_refused("{\"weight_map\":{\"a\":\"..\"}}", "own folder");
    check_index_refused("{\"weight_map\":{\"a\":\"one.safetensors\",\"z\":\"one.safetensors\"}}",
                        "puts tensor z into one.safetensors, but it is not there");
    check_index_refused("{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}",
                        "but it is not there");
    check_index_refused("{\"weight_map\":{\"a\":\"one.safetensors\",\"x\":\"two.safetensors\"}}",
                        "puts tensor x into two.safetensors, but it is not there");
    check_index_refused("{\"weight_map\":{\"a\":\"one.safetensors\",\"x\":\"again.safetensors\"}}",
                        "tensor a is in both");
    check_index_refused("{\"weight_map\":{\"c\":\"cut.safetensors\"}}",
                        "cut.safetensors: tensor c");
    char *missing = in_folder("missing.safetensors.index.json");
    const char *text = "{\"weight_map\":{\"a\":\"nowhere.safetensors\"}}";
    assert_ok(rf_file_write_atomic(missing, text, strlen(text), error));
    check_path_refused(missing, RF_ERR_FILE, "nowhere.safetensors");
    rf_release(missing);
    rf_release(index);
    rf_release(cut);
    rf_release(again);
    rf_release(two);
    rf_release(one);
}

static void test_unlisted_tensor(void **state)
{
    (void)state;
    char *pair = make_file("pair.safetensors",
                           "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                           "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                           2);
    check_index_refused("{\"weight_map\":{\"a\":\"pair.safetensors\"}}",
                        "is missing from weight_map");
    rf_release(pair);
}

static void test_model_folder(void **state)
{
    (void)state;
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_weights_open(test_folder(), &file, &problem), RF_ERR_FILE);
    assert_non_null(strstr(problem.message, "model.safetensors"));
    assert_non_null(strstr(problem.message, "pytorch_model.bin"));
}

static void test_no_memory(void **state)
{
    (void)state;
    char *single = make_file("memory.safetensors",
                             "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    char *index = in_folder("memory.safetensors.index.json");
    const char *text = "{\"weight_map\":{\"a\":\"memory.safetensors\"}}";
    assert_ok(rf_file_write_atomic(index, text, strlen(text), error));
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int attempts = 0;
    for (; status == RF_ERR_MEMORY && attempts < 100; attempts++) {
        int left = attempts;
        rf_safetensors *file = NULL;
        rf_memory_set_hook(fail_after, &left);
        status = rf_safetensors_open(index, &file, NULL);
        rf_memory_set_hook(NULL, NULL);
        rf_safetensors_close(file);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_int_equal(status, RF_OK);
    assert_true(attempts > 5);
    rf_release(index);
    rf_release(single);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),         cmocka_unit_test(test_header_text),
        cmocka_unit_test(test_dtypes_refused),  cmocka_unit_test(test_shapes_refused),
        cmocka_unit_test(test_offsets_refused), cmocka_unit_test(test_holes_and_overlaps),
        cmocka_unit_test(test_good_file),       cmocka_unit_test(test_values_of_every_type),
        cmocka_unit_test(test_index),           cmocka_unit_test(test_unlisted_tensor),
        cmocka_unit_test(test_model_folder),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
