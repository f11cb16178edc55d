/* AdamW over a parameter block: two moments of the block's layout on the device, and the scratch
 * that its operations need. */
#ifndef RF_TRAIN_OPTIMIZER_H
#define RF_TRAIN_OPTIMIZER_H

#include "model/parameters.h"

typedef struct rf_optimizer_options {
    double beta1, beta2, epsilon, weight_decay;
} rf_optimizer_options;

typedef struct rf_optimizer {
    rf_device *device; /* borrowed */
    rf_optimizer_options options;
    int64_t count;                       /* floats of a block */
    int64_t decay_count;                 /* of which the first so many decay */
    float *first_moment, *second_moment; /* device blocks */
    double *sum;                         /* device [1] */
    rf_workspace workspace;
} rf_optimizer;

/* Bytes that rf_optimizer_create will take, scratch aside. */
size_t rf_optimizer_size(const rf_parameters *parameters);
/* Moments start at zero. *optimizer may be zeroed or unset; on failure nothing is held. */
RF_MUST_CHECK rf_status rf_optimizer_create(rf_device *device, const rf_parameters *parameters,
                                            const rf_optimizer_options *options,
                                            rf_optimizer *optimizer, rf_error *error);
void rf_optimizer_clear(rf_optimizer *optimizer);
/* Euclidean norm of a block (device, [count]), summed in a fixed order; NaN or infinite where any
 * element is. */
RF_MUST_CHECK rf_status rf_optimizer_norm(rf_optimizer *optimizer, float *block, double *norm,
                                          rf_error *error);
/* One update of `values` by factor * gradients (both device [count]); `update` counts from 1.
 * rounded: their copy in bf16, written too, or NULL. */
RF_MUST_CHECK rf_status rf_optimizer_update(rf_optimizer *optimizer, float *values,
                                            uint16_t *rounded, float *gradients, double rate,
                                            double factor, int64_t update, rf_error *error);
/* What gradients are multiplied by so that their norm is at most clip (0: no limit), as torch's
 * clip_grad_norm_ does it. */
double rf_optimizer_clip_factor(double norm, double clip);

#endif
