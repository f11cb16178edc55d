/* AdamW (Loshchilov, Hutter 2019) over a whole block in two calls: the part that decays and the
 * part that does not. State: two floats a trained parameter, each moment laid out as the block is.
 * Frozen parameters stand at its end and are left out. */
#include "train/optimizer.h"

static int64_t trained_count(const rf_parameters *parameters)
{
    return parameters->block_count - parameters->frozen_count;
}

static int64_t lay_out(const rf_parameters *parameters, const rf_optimizer_options *options,
                       rf_optimizer_tensor *tensors, int64_t *count)
{
    int64_t trained = trained_count(parameters);
    (void)options;
    *count = 0;
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *parameter = &parameters->items[i];
        if (!parameter->frozen && tensors != NULL) {
            tensors[*count] = (rf_optimizer_tensor){.role = RF_OPTIMIZER_FIRST_MOMENT,
                                                    .parameter = parameter,
                                                    .offset = parameter->offset};
            tensors[*count + 1] = (rf_optimizer_tensor){.role = RF_OPTIMIZER_SECOND_MOMENT,
                                                        .parameter = parameter,
                                                        .offset = trained + parameter->offset};
        }
        *count += parameter->frozen ? 0 : 2;
    }
    return 2 * trained;
}

/* Elements [first, first + count) of a block. */
static rf_tensor part(float *block, int64_t first, int64_t count)
{
    return rf_tensor_1(block == NULL ? NULL : block + first, RF_F32, count);
}

static rf_adamw arguments(const rf_optimizer *optimizer, const rf_optimizer_step *step,
                          int64_t first, int64_t count)
{
    float *moments = optimizer->state;
    const rf_optimizer_options *options = &optimizer->options;
    rf_adamw adamw = {
        .value = part(step->values, first, count),
        .gradient = part(step->gradients, first, count),
        .first_moment = part(moments, first, count),
        .second_moment = part(moments, trained_count(optimizer->parameters) + first, count),
        .rate = step->rate,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .gradient_factor = step->factor,
        .update = step->update,
    };
    if (step->rounded != NULL) {
        adamw.rounded = rf_tensor_1(step->rounded + first, RF_BF16, count);
    }
    return adamw;
}

static rf_status update(rf_optimizer *optimizer, const rf_optimizer_step *step, rf_error *error)
{
    rf_context context = {.device = optimizer->device, .workspace = &optimizer->workspace};
    const rf_parameters *parameters = optimizer->parameters;
    for (int decays = 1; decays >= 0; decays--) {
        int64_t first = decays != 0 ? 0 : parameters->decay_count;
        int64_t end = decays != 0 ? parameters->decay_count : trained_count(parameters);
        if (end == first) {
            continue;
        }
        rf_adamw adamw = arguments(optimizer, step, first, end - first);
        adamw.weight_decay = decays != 0 ? optimizer->options.weight_decay : 0.0;
        RF_TRY(rf_op_adamw(&context, &adamw, error));
    }
    return RF_OK;
}

const rf_optimizer_table rf_optimizer_adamw = {
    .name = "adamw", .lay_out = lay_out, .update = update};
