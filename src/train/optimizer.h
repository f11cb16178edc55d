/* What turns gradients into new weights: a table of two optimizers, AdamW and Adafactor, behind the
 * same calls. The state of either is one block on the device, described by a list of tensors, from
 * which size, saving and loading follow. */
#ifndef RF_TRAIN_OPTIMIZER_H
#define RF_TRAIN_OPTIMIZER_H

#include "model/parameters.h"
#include "ops/ops.h"

typedef enum rf_optimizer_kind {
    RF_OPTIMIZER_ADAMW,
    RF_OPTIMIZER_ADAFACTOR,
    RF_OPTIMIZER_COUNT
} rf_optimizer_kind;

typedef struct rf_optimizer_options {
    rf_optimizer_kind kind;
    double weight_decay;
    double beta1, beta2, epsilon; /* AdamW's */
    struct {
        rf_adafactor_kind semantics;
        bool relative_step;
        double clip;  /* of the root mean square of an update; 0: no limit */
        double beta1; /* 0: no first moment is kept */
    } adafactor;
} rf_optimizer_options;

typedef enum rf_optimizer_role {
    RF_OPTIMIZER_FIRST_MOMENT,
    RF_OPTIMIZER_SECOND_MOMENT,
    RF_OPTIMIZER_ROW_MOMENT,
    RF_OPTIMIZER_COLUMN_MOMENT
} rf_optimizer_role;

/* A tensor of the state, f32; its name in a file is "ROLE.PARAMETER". */
typedef struct rf_optimizer_tensor {
    rf_optimizer_role role;
    const rf_parameter *parameter;
    int64_t offset; /* floats from the start of the state */
} rf_optimizer_tensor;
/* Its shape, and its data in `state` (NULL: none): a moment has the shape of its parameter, but row
 * and column moments have those of the parameter as a matrix, whose columns are its last dimension.
 */
rf_tensor rf_optimizer_tensor_of(const rf_optimizer_tensor *tensor, float *state);

typedef struct rf_optimizer {
    rf_device *device;               /* borrowed */
    const rf_parameters *parameters; /* borrowed */
    rf_optimizer_options options;
    float *state; /* device block */
    int64_t state_count;
    rf_optimizer_tensor *tensors; /* [tensors_count], those of one parameter next to each other */
    int64_t tensors_count;
    double *sum; /* device [1] */
    rf_workspace workspace;
} rf_optimizer;

/* "adamw" (NULL too) or "adafactor". */
RF_MUST_CHECK rf_status rf_optimizer_parse(const char *name, rf_optimizer_kind *kind,
                                           rf_error *error);
const char *rf_optimizer_name(rf_optimizer_kind kind);
/* "usual" (NULL too) or "trax". */
RF_MUST_CHECK rf_status rf_optimizer_parse_semantics(const char *name, rf_adafactor_kind *semantics,
                                                     rf_error *error);
/* Bytes that rf_optimizer_create will take on the device (which may be dry), scratch included. */
RF_MUST_CHECK rf_status rf_optimizer_size(rf_device *device, const rf_parameters *parameters,
                                          const rf_optimizer_options *options, size_t *size,
                                          rf_error *error);
/* The state starts at zero. *optimizer may be zeroed or unset; on failure nothing is held. */
RF_MUST_CHECK rf_status rf_optimizer_create(rf_device *device, const rf_parameters *parameters,
                                            const rf_optimizer_options *options,
                                            rf_optimizer *optimizer, rf_error *error);
void rf_optimizer_clear(rf_optimizer *optimizer);
/* Euclidean norm of what is not frozen in a block (device, [block_count]), summed in a fixed order;
 * NaN or infinite where any such element is. */
RF_MUST_CHECK rf_status rf_optimizer_norm(rf_optimizer *optimizer, float *block, double *norm,
                                          rf_error *error);
/* The rate of update `update`: as scheduled, or where the optimizer has a schedule of its own (the
 * usual relative step of Adafactor) that. */
double rf_optimizer_rate(const rf_optimizer_options *options, double scheduled, int64_t update);
/* One update of what is not frozen in `values` by factor * gradients (both device [block_count]);
 * `rounded` (may be NULL, device [block_count] bf16) gets the new values' copy for products. `rate`
 * is rf_optimizer_rate's; `update` counts from 1. */
RF_MUST_CHECK rf_status rf_optimizer_update(rf_optimizer *optimizer, float *values,
                                            uint16_t *rounded, float *gradients, double rate,
                                            double factor, int64_t update, rf_error *error);
/* What gradients are multiplied by so that their norm is at most clip (0: no limit), as torch's
 * clip_grad_norm_ does it. */
double rf_optimizer_clip_factor(double norm, double clip);
/* "first_moment", "row_moment", ... */
const char *rf_optimizer_role_name(rf_optimizer_role role);

/* ---- the table (adamw.c, adafactor.c) ---------------------------------------------------- */

typedef struct rf_optimizer_step {
    float *values, *gradients; /* NULL on a dry device */
    uint16_t *rounded;         /* or NULL */
    double rate, factor;
    int64_t update;
} rf_optimizer_step;

typedef struct rf_optimizer_table {
    const char *name;
    /* The state: gives its floats, and in *count its tensors, which are written to `tensors` unless
     * that is NULL. */
    int64_t (*lay_out)(const rf_parameters *parameters, const rf_optimizer_options *options,
                       rf_optimizer_tensor *tensors, int64_t *count);
    rf_status (*update)(rf_optimizer *optimizer, const rf_optimizer_step *step, rf_error *error);
} rf_optimizer_table;
extern const rf_optimizer_table rf_optimizer_adamw;
extern const rf_optimizer_table rf_optimizer_adafactor;

#endif
