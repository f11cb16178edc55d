/* One step's temporaries: planned by running the step dry, then one allocation, handed out like a
 * stack.
 *
 *     size_t mark = rf_workspace_mark(ws);
 *     RF_TRY(rf_workspace_take(ws, "queries", RF_F32, 4, shape, &queries, error));
 *     ...
 *     rf_workspace_release(ws, mark);
 *
 * While measuring (device->dry) takes give tensors without data and only the high-water mark moves.
 * Every tensor is aligned to 256 bytes. */
#ifndef RF_TENSOR_WORKSPACE_H
#define RF_TENSOR_WORKSPACE_H

#include "tensor/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_workspace {
    rf_device *device;
    void *memory;    /* NULL while measuring */
    size_t capacity; /* bytes allocated */
    size_t used;     /* bytes now taken */
    size_t high;     /* the most that `used` has been */
} rf_workspace;

/* An empty workspace that measures. */
void rf_workspace_init(rf_workspace *workspace, rf_device *device);
/* Allocate `capacity` bytes on the device (device must not be dry). */
RF_MUST_CHECK rf_status rf_workspace_allocate(rf_workspace *workspace, size_t capacity,
                                              rf_error *error);
void rf_workspace_clear(rf_workspace *workspace); /* releases the memory */

/* Where the stack stands now, and back to there: what was taken in between is gone. */
size_t rf_workspace_mark(const rf_workspace *workspace);
void rf_workspace_release(rf_workspace *workspace, size_t mark);
/* RF_ERR_MEMORY if the plan was too small: a fault of ours, said so in the message. */
RF_MUST_CHECK rf_status rf_workspace_take(rf_workspace *workspace, const char *what, rf_dtype dtype,
                                          int rank, const int64_t *shape, rf_tensor *tensor,
                                          rf_error *error);
RF_MUST_CHECK rf_status rf_workspace_take_1(rf_workspace *workspace, const char *what,
                                            rf_dtype dtype, int64_t a, rf_tensor *tensor,
                                            rf_error *error);
RF_MUST_CHECK rf_status rf_workspace_take_2(rf_workspace *workspace, const char *what,
                                            rf_dtype dtype, int64_t a, int64_t b, rf_tensor *tensor,
                                            rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
