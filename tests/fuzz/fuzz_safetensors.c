/* The door for safetensors files: any bytes give a status, never a crash, and what loads can be
 * saved and loads equal. */
#include "base/file.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(rf_status status)
{
    if (status != RF_OK) {
        abort();
    }
}

static void compare(const rf_safetensors *file, const rf_safetensors *again)
{
    for (size_t i = 0; i < rf_safetensors_count(file); i++) {
        const rf_safetensors_entry *one = rf_safetensors_at(file, i);
        const rf_safetensors_entry *two = rf_safetensors_find(again, one->name);
        size_t size = rf_tensor_size(&one->tensor);
        if (two == NULL || one->tensor.dtype != two->tensor.dtype ||
            !rf_tensor_same_shape(&one->tensor, &two->tensor) ||
            (size > 0 && memcmp(one->tensor.data, two->tensor.data, size) != 0)) {
            abort();
        }
    }
}

/* The numbers can be read, and writing gives an equal file. */
static void save_and_load(const rf_safetensors *file, const char *path)
{
    size_t count = rf_safetensors_count(file);
    void *memory = NULL;
    rf_safetensors *again = NULL;
    require(rf_allocate((count + 1) * sizeof(rf_safetensors_item), "items", &memory, NULL));
    rf_safetensors_item *items = memory;
    for (size_t i = 0; i < count; i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        items[i] = (rf_safetensors_item){entry->name, entry->tensor, RF_NONE};
        int64_t numbers = rf_tensor_count(&entry->tensor);
        void *values = NULL;
        require(rf_allocate((size_t)numbers * sizeof(int64_t), "values", &values, NULL));
        if (rf_safetensors_read_f32(entry, values, numbers, NULL) != RF_OK) {
            require(rf_safetensors_read_i64(entry, values, numbers, NULL));
        }
        rf_release(values);
    }
    require(rf_safetensors_write(path, items, count, NULL, 0, NULL));
    require(rf_safetensors_open(path, &again, NULL));
    if (rf_safetensors_count(again) != count) {
        abort();
    }
    compare(file, again);
    rf_safetensors_close(again);
    rf_release(memory);
}

/* Without the flushes to the disk that our own writing takes. */
static void put(const char *path, const uint8_t *data, size_t size)
{
    FILE *stream = fopen(path, "wb");
    if (stream == NULL || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = NULL;
    char *copy = NULL;
    rf_safetensors *file = NULL;
    rf_error problem = {0};
    require(rf_path_join(test_folder(), "in.safetensors", &path, NULL));
    require(rf_path_join(test_folder(), "out.safetensors", &copy, NULL));
    put(path, data, size);
    if (rf_safetensors_open(path, &file, &problem) == RF_OK) {
        save_and_load(file, copy);
    } else if (problem.message[0] == '\0') {
        abort();
    }
    rf_safetensors_close(file);
    rf_release(copy);
    rf_release(path);
    return 0;
}
