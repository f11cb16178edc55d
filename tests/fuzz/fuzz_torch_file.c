/* The door for PyTorch's and Trax's files: any bytes give a status and a message, never a crash,
 * and what loads can be read to its last number. */
#include "base/file.h"
#include "base/memory.h"
#include "io/torch_file.h"
#include "io/trax_file.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(rf_status status)
{
    if (status != RF_OK) {
        abort();
    }
}

/* Without the flushes to the disk that our own writing takes. */
static void put(const char *path, const uint8_t *data, size_t size)
{
    FILE *stream = fopen(path, "wb");
    if (stream == NULL || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) {
        abort();
    }
}

/* As f32 or as integers: one of the two must do. */
static void read_all(const rf_safetensors *file)
{
    for (size_t i = 0; i < rf_safetensors_count(file); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        int64_t numbers = rf_tensor_count(&entry->tensor);
        void *values = NULL;
        require(rf_allocate((size_t)numbers * sizeof(int64_t), "values", &values, NULL));
        if (rf_safetensors_read_f32(entry, values, numbers, NULL) != RF_OK) {
            require(rf_safetensors_read_i64(entry, values, numbers, NULL));
        }
        rf_release(values);
        if (rf_safetensors_find(file, entry->name) != entry) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = NULL;
    require(rf_path_join(test_folder(), "in.bin", &path, NULL));
    put(path, data, size);
    for (int i = 0; i < 2; i++) {
        rf_safetensors *file = NULL;
        rf_error problem = {0};
        rf_status status =
            i == 0 ? rf_torch_open(path, &file, &problem) : rf_trax_open(path, &file, &problem);
        if (status == RF_OK) {
            read_all(file);
        } else if (problem.message[0] == '\0' || file != NULL) {
            abort();
        }
        rf_safetensors_close(file);
    }
    rf_release(path);
    return 0;
}
