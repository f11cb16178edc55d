/* What a device reaches in one large matrix product, to which the speed of a step is compared. */
#ifndef RF_TOOLS_PEAK_H
#define RF_TOOLS_PEAK_H

#include "ops/ops.h"

/* Floating-point operations a second of the best of several products of square matrices in `dtype`
 * (f32 or bf16). Its memory is released again. */
RF_MUST_CHECK rf_status rf_measure_matrix_peak(rf_device *device, rf_dtype dtype,
                                               double *flops_per_second, rf_error *error);

#endif
