/* What both optimizers share: names, the state's memory, the norm of the gradients, rates. */
#include "train/optimizer.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static const rf_optimizer_table *const tables[RF_OPTIMIZER_COUNT] = {
    [RF_OPTIMIZER_ADAMW] = &rf_optimizer_adamw,
    [RF_OPTIMIZER_ADAFACTOR] = &rf_optimizer_adafactor,
};

/* ---- names ------------------------------------------------------------------------------- */

rf_status rf_optimizer_parse(const char *name, rf_optimizer_kind *kind, rf_error *error)
{
    for (int i = 0; i < RF_OPTIMIZER_COUNT; i++) {
        if (strcmp(name != NULL ? name : "adamw", tables[i]->name) == 0) {
            *kind = (rf_optimizer_kind)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "optimizer is \"%s\", expected \"adamw\" or \"adafactor\"", name);
}

const char *rf_optimizer_name(rf_optimizer_kind kind)
{
    return tables[kind]->name;
}

rf_status rf_optimizer_parse_semantics(const char *name, rf_adafactor_kind *semantics,
                                       rf_error *error)
{
    if (name == NULL || strcmp(name, "usual") == 0) {
        *semantics = RF_ADAFACTOR_USUAL;
        return RF_OK;
    }
    if (strcmp(name, "trax") == 0) {
        *semantics = RF_ADAFACTOR_TRAX;
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "adafactor_semantics is \"%s\", expected \"usual\" or \"trax\"", name);
}

const char *rf_optimizer_role_name(rf_optimizer_role role)
{
    static const char *const names[] = {
        [RF_OPTIMIZER_FIRST_MOMENT] = "first_moment",
        [RF_OPTIMIZER_SECOND_MOMENT] = "second_moment",
        [RF_OPTIMIZER_ROW_MOMENT] = "row_moment",
        [RF_OPTIMIZER_COLUMN_MOMENT] = "column_moment",
    };
    return names[role];
}

rf_tensor rf_optimizer_tensor_of(const rf_optimizer_tensor *tensor, float *state)
{
    const rf_parameter *parameter = tensor->parameter;
    int64_t columns = parameter->shape[parameter->rank - 1];
    rf_tensor shaped = rf_parameter_tensor(parameter, NULL);
    if (tensor->role == RF_OPTIMIZER_ROW_MOMENT) {
        shaped = rf_tensor_1(NULL, RF_F32, columns > 0 ? parameter->count / columns : 0);
    } else if (tensor->role == RF_OPTIMIZER_COLUMN_MOMENT) {
        shaped = rf_tensor_1(NULL, RF_F32, columns);
    }
    shaped.data = state == NULL ? NULL : state + tensor->offset;
    return shaped;
}

/* ---- memory ------------------------------------------------------------------------------ */

static rf_status sum_squares(rf_optimizer *optimizer, float *block, rf_error *error)
{
    rf_context context = {.device = optimizer->device, .workspace = &optimizer->workspace};
    const rf_parameters *parameters = optimizer->parameters;
    int64_t count = parameters->block_count - parameters->frozen_count;
    return rf_op_reduce(&context,
                        &(rf_reduce){.kind = RF_REDUCE_SUM_SQUARES,
                                     .x = rf_tensor_1(block, RF_F32, count),
                                     .y = rf_tensor_1(optimizer->sum, RF_F64, 1)},
                        error);
}

/* The list of tensors, and by a dry run how much scratch the operations take. */
static rf_status plan(rf_device *device, const rf_parameters *parameters,
                      const rf_optimizer_options *options, rf_optimizer *optimizer, size_t *scratch,
                      rf_error *error)
{
    const rf_optimizer_table *table = tables[options->kind];
    rf_device dry = *device;
    void *memory = NULL;
    dry.dry = true;
    *optimizer = (rf_optimizer){.device = device, .parameters = parameters, .options = *options};
    optimizer->state_count = table->lay_out(parameters, options, NULL, &optimizer->tensors_count);
    RF_TRY(rf_allocate_zeroed((size_t)optimizer->tensors_count * sizeof *optimizer->tensors,
                              "a list of tensors", &memory, error));
    optimizer->tensors = memory;
    (void)table->lay_out(parameters, options, optimizer->tensors, &optimizer->tensors_count);
    optimizer->device = &dry;
    rf_workspace_init(&optimizer->workspace, &dry);
    rf_status status = sum_squares(optimizer, NULL, error);
    if (status == RF_OK) {
        status = table->update(
            optimizer, &(rf_optimizer_step){.rate = 0.0, .factor = 1.0, .update = 1}, error);
    }
    *scratch = optimizer->workspace.high;
    optimizer->device = device;
    rf_workspace_init(&optimizer->workspace, device);
    return status;
}

rf_status rf_optimizer_size(rf_device *device, const rf_parameters *parameters,
                            const rf_optimizer_options *options, size_t *size, rf_error *error)
{
    rf_optimizer optimizer;
    size_t scratch = 0;
    rf_status status = plan(device, parameters, options, &optimizer, &scratch, error);
    *size = (size_t)optimizer.state_count * sizeof(float) + sizeof(double) + scratch;
    rf_release(optimizer.tensors);
    return status;
}

static rf_status take(rf_device *device, size_t size, const char *what, void **memory,
                      rf_error *error)
{
    RF_TRY(device->table->allocate(device, size, what, memory, error));
    return rf_device_zero(device, *memory, size, error);
}

rf_status rf_optimizer_create(rf_device *device, const rf_parameters *parameters,
                              const rf_optimizer_options *options, rf_optimizer *optimizer,
                              rf_error *error)
{
    rf_status status = RF_OK;
    void *memory = NULL;
    size_t scratch = 0;
    RF_TRY_DONE(plan(device, parameters, options, optimizer, &scratch, error));
    RF_TRY_DONE(rf_workspace_allocate(&optimizer->workspace, scratch, error));
    RF_TRY_DONE(take(device, (size_t)optimizer->state_count * sizeof(float),
                     "the optimizer's moments", &memory, error));
    optimizer->state = memory;
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
        device->table->release(device, optimizer->state);
        device->table->release(device, optimizer->sum);
        rf_workspace_clear(&optimizer->workspace);
    }
    rf_release(optimizer->tensors);
    *optimizer = (rf_optimizer){0};
}

/* ---- a step ------------------------------------------------------------------------------ */

rf_status rf_optimizer_norm(rf_optimizer *optimizer, float *block, double *norm, rf_error *error)
{
    double sum = 0.0;
    RF_TRY(sum_squares(optimizer, block, error));
    RF_TRY(rf_device_download(optimizer->device, &sum, optimizer->sum, sizeof sum, error));
    *norm = sqrt(sum);
    return RF_OK;
}

double rf_optimizer_rate(const rf_optimizer_options *options, double scheduled, int64_t update)
{
    if (options->kind != RF_OPTIMIZER_ADAFACTOR || !options->adafactor.relative_step ||
        options->adafactor.semantics != RF_ADAFACTOR_USUAL) {
        return scheduled;
    }
    double rate = 1.0 / sqrt((double)update);
    return rate < 1e-2 ? rate : 1e-2;
}

rf_status rf_optimizer_update(rf_optimizer *optimizer, float *values, uint16_t *rounded,
                              float *gradients, double rate, double factor, int64_t update,
                              rf_error *error)
{
    return tables[optimizer->options.kind]->update(optimizer,
                                                   &(rf_optimizer_step){.values = values,
                                                                        .gradients = gradients,
                                                                        .rounded = rounded,
                                                                        .rate = rate,
                                                                        .factor = factor,
                                                                        .update = update},
                                                   error);
}

double rf_optimizer_clip_factor(double norm, double clip)
{
    double factor = clip > 0.0 ? clip / (norm + 1e-6) : 1.0;
    return factor < 1.0 ? factor : 1.0;
}
