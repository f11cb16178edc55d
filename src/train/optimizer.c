/* AdamW (Loshchilov, Hutter 2019) over a whole block in two calls: the part that decays and the
 * part that does not. Memory: two floats a parameter. */
#include "train/optimizer.h"

#include <math.h>

size_t rf_optimizer_size(const rf_parameters *parameters)
{
    return 2 * (size_t)parameters->block_count * sizeof(float) + sizeof(double);
}

static rf_status take(rf_device *device, size_t size, const char *what, void **memory,
                      rf_error *error)
{
    RF_TRY(device->table->allocate(device, size, what, memory, error));
    return rf_device_zero(device, *memory, size, error);
}

static rf_adamw arguments(const rf_optimizer *optimizer, float *values, uint16_t *rounded,
                          float *gradients, int64_t first, int64_t count)
{
    float *m = optimizer->first_moment;
    float *v = optimizer->second_moment;
    return (rf_adamw){
        .value = rf_tensor_1(values == NULL ? NULL : values + first, RF_F32, count),
        .gradient = rf_tensor_1(gradients == NULL ? NULL : gradients + first, RF_F32, count),
        .first_moment = rf_tensor_1(m == NULL ? NULL : m + first, RF_F32, count),
        .second_moment = rf_tensor_1(v == NULL ? NULL : v + first, RF_F32, count),
        .rounded = rounded == NULL ? (rf_tensor){0} : rf_tensor_1(rounded + first, RF_BF16, count),
        .beta1 = optimizer->options.beta1,
        .beta2 = optimizer->options.beta2,
        .epsilon = optimizer->options.epsilon,
        .update = 1,
    };
}

static rf_status sum_squares(rf_optimizer *optimizer, float *block, rf_error *error)
{
    rf_context context = {.device = optimizer->device, .workspace = &optimizer->workspace};
    return rf_op_reduce(&context,
                        &(rf_reduce){.kind = RF_REDUCE_SUM_SQUARES,
                                     .x = rf_tensor_1(block, RF_F32, optimizer->count),
                                     .y = rf_tensor_1(optimizer->sum, RF_F64, 1)},
                        error);
}

rf_status rf_optimizer_update(rf_optimizer *optimizer, float *values, uint16_t *rounded,
                              float *gradients, double rate, double factor, int64_t update,
                              rf_error *error)
{
    rf_context context = {.device = optimizer->device, .workspace = &optimizer->workspace};
    for (int decays = 1; decays >= 0; decays--) {
        int64_t first = decays != 0 ? 0 : optimizer->decay_count;
        int64_t end = decays != 0 ? optimizer->decay_count : optimizer->count;
        if (end == first) {
            continue;
        }
        rf_adamw adamw = arguments(optimizer, values, rounded, gradients, first, end - first);
        adamw.rate = rate;
        adamw.gradient_factor = factor;
        adamw.update = update;
        adamw.weight_decay = decays != 0 ? optimizer->options.weight_decay : 0.0;
        RF_TRY(rf_op_adamw(&context, &adamw, error));
    }
    return RF_OK;
}

/* Run dry once to learn how much scratch the operations take. */
static rf_status plan_scratch(rf_optimizer *optimizer, rf_error *error)
{
    rf_device *device = optimizer->device;
    rf_workspace_init(&optimizer->workspace, device);
    device->dry = true;
    rf_status status = sum_squares(optimizer, NULL, error);
    if (status == RF_OK) {
        status = rf_optimizer_update(optimizer, NULL, NULL, NULL, 0.0, 1.0, 1, error);
    }
    device->dry = false;
    RF_TRY(status);
    return rf_workspace_allocate(&optimizer->workspace, optimizer->workspace.high, error);
}

rf_status rf_optimizer_create(rf_device *device, const rf_parameters *parameters,
                              const rf_optimizer_options *options, rf_optimizer *optimizer,
                              rf_error *error)
{
    rf_status status = RF_OK;
    void *memory = NULL;
    size_t size = (size_t)parameters->block_count * sizeof(float);
    *optimizer = (rf_optimizer){.device = device,
                                .options = *options,
                                .count = parameters->block_count,
                                .decay_count = parameters->decay_count};
    RF_TRY_DONE(plan_scratch(optimizer, error));
    RF_TRY_DONE(take(device, size, "the first moments", &memory, error));
    optimizer->first_moment = memory;
    RF_TRY_DONE(take(device, size, "the second moments", &memory, error));
    optimizer->second_moment = memory;
    RF_TRY_DONE(take(device, sizeof(double), "a sum", &memory, error));
    optimizer->sum = memory;
done:
    if (status != RF_OK) {
        rf_optimizer_clear(optimizer);
    }
    return status;
}

void rf_optimizer_clear(rf_optimizer *optimizer)
{
    rf_device *device = optimizer->device;
    if (device != NULL) {
        device->table->release(device, optimizer->first_moment);
        device->table->release(device, optimizer->second_moment);
        device->table->release(device, optimizer->sum);
        rf_workspace_clear(&optimizer->workspace);
    }
    *optimizer = (rf_optimizer){0};
}

rf_status rf_optimizer_norm(rf_optimizer *optimizer, float *block, double *norm, rf_error *error)
{
    double sum = 0.0;
    RF_TRY(sum_squares(optimizer, block, error));
    RF_TRY(rf_device_download(optimizer->device, &sum, optimizer->sum, sizeof sum, error));
    *norm = sqrt(sum);
    return RF_OK;
}

double rf_optimizer_clip_factor(double norm, double clip)
{
    double factor = clip > 0.0 ? clip / (norm + 1e-6) : 1.0;
    return factor < 1.0 ? factor : 1.0;
}
