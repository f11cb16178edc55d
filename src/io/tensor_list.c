/* The list of io/tensor_list.h: two arrays that double. */
#include "io/tensor_list.h"

#include "base/memory.h"

#include <string.h>

rf_status rf_tensor_list_own(rf_tensor_list *list, void *what, void (*release)(void *what),
                             rf_error *error)
{
    if (list->owner_count == list->owner_capacity) {
        void *memory = list->owners;
        size_t larger = list->owner_capacity == 0 ? 64 : 2 * list->owner_capacity;
        rf_status status = rf_reallocate(&memory, list->owner_capacity * sizeof *list->owners,
                                         larger * sizeof *list->owners, "a list of tensors", error);
        if (status != RF_OK) {
            release(what);
            return status;
        }
        list->owners = memory;
        list->owner_capacity = larger;
    }
    list->owners[list->owner_count++] = (rf_tensor_owner){what, release};
    return RF_OK;
}

rf_status rf_tensor_list_take(rf_tensor_list *list, size_t size, const char *what, void **memory,
                              rf_error *error)
{
    void *fresh = NULL;
    *memory = NULL;
    RF_TRY(rf_allocate(size, what, &fresh, error));
    RF_TRY(rf_tensor_list_own(list, fresh, rf_release, error));
    *memory = fresh;
    return RF_OK;
}

rf_status rf_tensor_list_text(rf_tensor_list *list, const char *bytes, size_t size,
                              const char **text, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_tensor_list_take(list, size + 1, "a tensor's name", &memory, error));
    char *copy = memory;
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    copy[size] = '\0';
    *text = copy;
    return RF_OK;
}

rf_status rf_tensor_list_add(rf_tensor_list *list, const rf_safetensors_entry *entry,
                             rf_error *error)
{
    if (list->count == list->capacity) {
        void *memory = list->entries;
        size_t larger = list->capacity == 0 ? 64 : 2 * list->capacity;
        RF_TRY(rf_reallocate(&memory, list->capacity * sizeof *entry, larger * sizeof *entry,
                             "a list of tensors", error));
        list->entries = memory;
        list->capacity = larger;
    }
    list->entries[list->count++] = *entry;
    return RF_OK;
}

void rf_tensor_list_clear(rf_tensor_list *list)
{
    for (size_t i = list->owner_count; i > 0; i--) {
        list->owners[i - 1].release(list->owners[i - 1].what);
    }
    rf_release(list->owners);
    rf_release(list->entries);
    *list = (rf_tensor_list){0};
}
