/* Tensors gathered one by one from a format other than safetensors, to be handed out as the same
 * kind of table. */
#ifndef RF_IO_TENSOR_LIST_H
#define RF_IO_TENSOR_LIST_H

#include "io/safetensors.h"

/* Something that the list keeps alive. */
typedef struct rf_tensor_owner {
    void *what;
    void (*release)(void *what);
} rf_tensor_owner;

/* Start from {0}. */
typedef struct rf_tensor_list {
    rf_safetensors_entry *entries; /* [count] */
    size_t count, capacity;
    rf_tensor_owner *owners; /* [owner_count] */
    size_t owner_count, owner_capacity;
} rf_tensor_list;

/* Keep `what` until the list is cleared; where that fails, it is released at once. */
RF_MUST_CHECK rf_status rf_tensor_list_own(rf_tensor_list *list, void *what,
                                           void (*release)(void *what), rf_error *error);
/* Fresh memory that the list owns. */
RF_MUST_CHECK rf_status rf_tensor_list_take(rf_tensor_list *list, size_t size, const char *what,
                                            void **memory, rf_error *error);
/* A copy of a text that the list owns. */
RF_MUST_CHECK rf_status rf_tensor_list_text(rf_tensor_list *list, const char *bytes, size_t size,
                                            const char **text, rf_error *error);
/* Add a tensor; its data, name, type and path must live as long as the list. */
RF_MUST_CHECK rf_status rf_tensor_list_add(rf_tensor_list *list, const rf_safetensors_entry *entry,
                                           rf_error *error);
void rf_tensor_list_clear(rf_tensor_list *list);

/* A table of the tensors; takes over the list, in every case. Two tensors of one name are
 * RF_ERR_FORMAT. */
RF_MUST_CHECK rf_status rf_safetensors_from_list(rf_tensor_list *list, rf_safetensors **file,
                                                 rf_error *error);

#endif
