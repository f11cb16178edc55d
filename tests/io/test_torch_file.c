/* PyTorch's files: the two containers as PyTorch wrote them (tests/fuzz/corpus), what is written
 * here read again, and files that claim more than they hold. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/torch_file.h"
#include "io/trax_file.h"
#include "io/weights.h"

#include <stdio.h>
#include <string.h>

static const char *corpus(const char *name, char path[512])
{
    (void)snprintf(path, 512, "%s/tests/fuzz/corpus/torch_file/%s", RF_SOURCE_FOLDER, name);
    return path;
}

static const char *scratch(const char *name, char path[512])
{
    (void)snprintf(path, 512, "%s/%s", test_folder(), name);
    return path;
}

/* The dictionary a [2, 3], b its transpose, c a scalar, d two bf16 ones, e a part of integers, f
 * empty, g a parameter. */
static void check_saved(const char *name)
{
    char path[512];
    rf_safetensors *file = NULL;
    static const float plain[6] = {0.0F, 1.0F, 2.0F, 3.0F, 4.0F, 5.0F};
    static const float turned[6] = {0.0F, 3.0F, 1.0F, 4.0F, 2.0F, 5.0F};
    float values[6] = {0};
    int64_t integers[2] = {0};
    assert_ok(rf_torch_open(corpus(name, path), &file, error));
    assert_int_equal(rf_safetensors_count(file), 7);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "a"), values, 6, error));
    assert_memory_equal(values, plain, sizeof plain);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "b"), values, 6, error));
    assert_memory_equal(values, turned, sizeof turned);
    assert_int_equal(rf_safetensors_find(file, "b")->tensor.shape[0], 3);
    assert_ok(rf_safetensors_read_i64(rf_safetensors_find(file, "c"), integers, 1, error));
    assert_int_equal(integers[0], 3);
    assert_int_equal(rf_safetensors_find(file, "c")->tensor.rank, 0);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "d"), values, 2, error));
    assert_true(values[0] == 1.0F && values[1] == 1.0F);
    assert_string_equal(rf_safetensors_find(file, "d")->stored, "BF16");
    assert_ok(rf_safetensors_read_i64(rf_safetensors_find(file, "e"), integers, 2, error));
    assert_int_equal(integers[0], 3);
    assert_int_equal(integers[1], 4);
    assert_int_equal(rf_tensor_count(&rf_safetensors_find(file, "f")->tensor), 0);
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "g"), values, 1, error));
    rf_safetensors_close(file);
}

static void test_stream(void **state)
{
    (void)state;
    check_saved("stream");
}

static void test_zip(void **state)
{
    (void)state;
#if RF_WITH_LIBZIP
    check_saved("zip");
    char path[512];
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_torch_open(corpus("zip-checksum", path), &file, &problem), RF_ERR_FORMAT);
    assert_non_null(strstr(problem.message, "data/0 in it is damaged"));
#else
    char path[512];
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    assert_int_equal(rf_torch_open(corpus("zip", path), &file, &problem), RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "libzip"));
#endif
}

static void test_trax(void **state)
{
    (void)state;
    char path[512];
    static const char *const names[] = {"trax-2", "trax-4"};
    for (size_t i = 0; i < 2; i++) {
        rf_safetensors *file = NULL;
        assert_ok(rf_trax_open(corpus(names[i], path), &file, error));
        assert_int_equal(rf_safetensors_count(file), 18);
        const rf_tensor *head = &rf_safetensors_find(file, "lm_head.decoder.weight")->tensor;
        assert_int_equal(head->shape[0], 5);
        assert_int_equal(head->shape[1], 8);
        rf_safetensors_close(file);
    }
}

static void refuse(const char *bytes, size_t size, const char *word)
{
    char path[512];
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    assert_ok(rf_file_write_atomic(scratch("damaged.bin", path), bytes, size, error));
    assert_int_not_equal(rf_torch_open(path, &file, &problem), RF_OK);
    assert_null(file);
    if (strstr(problem.message, word) == NULL) {
        fail_msg("expected %s in: %s", word, problem.message);
    }
}

/* Every prefix of a good file is refused, and every byte of its pickle may be anything. */
static void test_cut_and_changed(void **state)
{
    (void)state;
    static const char *const names[] = {"stream", "zip"};
    for (size_t k = 0; k < (RF_WITH_LIBZIP ? 2 : 1); k++) {
        char path[512];
        char *bytes = NULL;
        size_t size = 0;
        assert_ok(rf_file_read(corpus(names[k], path), 1 << 20, &bytes, &size, error));
        for (size_t i = 0; i < size; i += k == 0 ? 7 : 37) {
            refuse(bytes, i, "damaged.bin");
        }
        for (size_t i = 0; i < size; i += 11) {
            char before = bytes[i];
            rf_safetensors *file = NULL;
            bytes[i] = (char)(before ^ (char)(1 + i % 255));
            FILE *stream = fopen(scratch("changed.bin", path), "wb");
            assert_non_null(stream);
            assert_int_equal(fwrite(bytes, 1, size, stream), size);
            assert_int_equal(fclose(stream), 0);
            rf_error problem = {0};
            if (rf_torch_open(path, &file, &problem) != RF_OK) {
                assert_non_null(strstr(problem.message, "changed.bin"));
            }
            rf_safetensors_close(file);
            bytes[i] = before;
        }
        rf_release(bytes);
    }
}

static void test_other_files(void **state)
{
    (void)state;
    refuse("", 0, "neither of PyTorch's containers");
    refuse("ustar archive", 13, "neither of PyTorch's containers");
    refuse("\x80\x02N.", 4, "not of PyTorch");
    refuse("PK\003\004", 4, "zip");
}

#if RF_WITH_LIBZIP
/* What is written here is read here: types, shapes, the second name, shards. */
static void check_written(rf_dtype store_as, uint64_t shard_size, const char *file_name)
{
    char folder[512];
    char path[600];
    static float numbers[24];
    float values[24];
    rf_safetensors *file = NULL;
    const rf_torch_alias alias = {.name = "second", .of = "weight"};
    for (int i = 0; i < 24; i++) {
        numbers[i] = (float)i - 7.0F;
    }
    const rf_safetensors_item items[] = {
        {"weight", rf_tensor_3(numbers, RF_F32, 2, 3, 4), store_as},
        {"bias", rf_tensor_1(numbers + 3, RF_F32, 5), store_as}};
    (void)scratch("written", folder);
    assert_ok(rf_folder_remove(folder, error));
    assert_ok(rf_folder_create(folder, error));
    assert_ok(rf_torch_write_model(folder, items, 2, &alias, shard_size, error));
    (void)snprintf(path, sizeof path, "%s/%s", folder, file_name);
    assert_true(rf_file_exists(path));
    assert_ok(rf_weights_open(folder, &file, error));
    assert_int_equal(rf_safetensors_count(file), 3);
    static const char *const names[] = {"weight", "second"};
    for (size_t i = 0; i < 2; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_find(file, names[i]);
        assert_true(rf_tensor_same_shape(&entry->tensor, &items[0].tensor));
        assert_int_equal(entry->tensor.dtype, store_as);
        assert_ok(rf_safetensors_read_f32(entry, values, 24, error));
        assert_memory_equal(values, numbers, sizeof numbers);
    }
    assert_ok(rf_safetensors_read_f32(rf_safetensors_find(file, "bias"), values, 5, error));
    assert_memory_equal(values, numbers + 3, 5 * sizeof(float));
    rf_safetensors_close(file);
}

#endif

static void test_writing(void **state)
{
    (void)state;
#if RF_WITH_LIBZIP
    check_written(RF_F32, UINT64_MAX, "pytorch_model.bin");
    check_written(RF_F16, UINT64_MAX, "pytorch_model.bin");
    check_written(RF_BF16, 20, "pytorch_model.bin.index.json");
#else
    rf_error problem = {0};
    assert_int_equal(rf_torch_write_model(test_folder(), NULL, 0, NULL, 1, &problem),
                     RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "libzip"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),      cmocka_unit_test(test_zip),
        cmocka_unit_test(test_trax),        cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_other_files), cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
