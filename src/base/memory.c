/* Memory: every block carries its size in front of it, so that what is in use is known exactly. The
 * header takes 256 bytes, which keeps the content aligned to 256; blocks of ours are few and large,
 * so that costs nothing worth naming. */
#include "base/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256 };

typedef struct block_header {
    size_t size; /* as asked for, in bytes */
} block_header;

static atomic_size_t in_use;
static atomic_size_t peak;
/* Set by tests only, while no other thread allocates. */
static rf_memory_hook allocation_hook;
static void *allocation_hook_user;

bool rf_size_multiply(size_t a, size_t b, size_t *product)
{
    if (b != 0 && a > SIZE_MAX / b) {
        *product = 0;
        return false;
    }
    *product = a * b;
    return true;
}

static void count_taken(size_t size)
{
    size_t now = atomic_fetch_add(&in_use, size) + size;
    size_t highest = atomic_load(&peak);
    while (now > highest && !atomic_compare_exchange_weak(&peak, &highest, now)) {
    }
}

static rf_status refuse(size_t size, const char *what, rf_error *error)
{
    const double mebibyte = 1024.0 * 1024.0;
    return rf_error_set(error, RF_ERR_MEMORY,
                        "no memory for %s: %.3f MiB asked for, %.1f MiB in use", what,
                        (double)size / mebibyte, (double)rf_memory_in_use() / mebibyte);
}

rf_status rf_allocate(size_t size, const char *what, void **memory, rf_error *error)
{
    *memory = NULL;
    if (size > SIZE_MAX / 2 - 2 * (size_t)ALIGNMENT) {
        return refuse(size, what, error);
    }
    if (allocation_hook != NULL && !allocation_hook(allocation_hook_user, size)) {
        return refuse(size, what, error);
    }
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    unsigned char *block = aligned_alloc(ALIGNMENT, ALIGNMENT + rounded);
    if (block == NULL) {
        return refuse(size, what, error);
    }
    block_header header = {.size = size};
    memcpy(block, &header, sizeof header);
    count_taken(size);
    *memory = block + ALIGNMENT;
    return RF_OK;
}

rf_status rf_allocate_zeroed(size_t size, const char *what, void **memory, rf_error *error)
{
    RF_TRY(rf_allocate(size, what, memory, error));
    memset(*memory, 0, size);
    return RF_OK;
}

rf_status rf_reallocate(void **memory, size_t old_size, size_t size, const char *what,
                        rf_error *error)
{
    void *grown = NULL;
    RF_TRY(rf_allocate(size, what, &grown, error));
    if (*memory != NULL) {
        memcpy(grown, *memory, old_size < size ? old_size : size);
        rf_release(*memory);
    }
    *memory = grown;
    return RF_OK;
}

void rf_release(void *memory)
{
    if (memory == NULL) {
        return;
    }
    unsigned char *block = (unsigned char *)memory - ALIGNMENT;
    block_header header;
    memcpy(&header, block, sizeof header);
    (void)atomic_fetch_sub(&in_use, header.size);
    free(block);
}

rf_status rf_string_copy(const char *text, char **copy, rf_error *error)
{
    *copy = NULL;
    size_t size = strlen(text) + 1;
    void *memory = NULL;
    RF_TRY(rf_allocate(size, "a string", &memory, error));
    memcpy(memory, text, size);
    *copy = memory;
    return RF_OK;
}

rf_status rf_string_format(char **text, rf_error *error, const char *format, ...)
{
    *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    void *memory = NULL;
    rf_status status = length < 0
                           ? rf_error_set(error, RF_ERR_ARGUMENT, "a text could not be formatted")
                           : rf_allocate((size_t)length + 1, "a string", &memory, error);
    if (status == RF_OK) {
        (void)vsnprintf(memory, (size_t)length + 1, format, again);
        *text = memory;
    }
    va_end(again);
    return status;
}

void rf_memory_set_hook(rf_memory_hook hook, void *user)
{
    allocation_hook = hook;
    allocation_hook_user = user;
}

size_t rf_memory_in_use(void)
{
    return atomic_load(&in_use);
}

size_t rf_memory_peak(void)
{
    return atomic_load(&peak);
}

void rf_memory_reset_peak(void)
{
    atomic_store(&peak, atomic_load(&in_use));
}
