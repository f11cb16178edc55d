/* rf_project as the operations it is made of, one after the other, for a back end that has nothing
 * better for a shape. */
#ifndef RF_OPS_PROJECT_H
#define RF_OPS_PROJECT_H

#include "ops/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An entry of a back end's table: it runs the norm, products, dropout and residual of the same
 * table. `arguments` is an rf_project. */
RF_MUST_CHECK rf_status rf_project_in_parts(rf_device *device, const void *arguments, void *scratch,
                                            rf_error *error);
size_t rf_project_in_parts_scratch_size(const rf_device *device, const void *arguments);

#ifdef __cplusplus
}
#endif
#endif
