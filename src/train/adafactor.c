/* Adafactor (Shazeer, Stern 2018), one trained parameter after the other. State: of a matrix its
 * row and column moments, of a vector its second moment, with beta1 a first moment of each; so a
 * few floats a row instead of two a parameter. A parameter of more dimensions (an axial position
 * table, whose other dimensions are 1) is a matrix whose columns are its last dimension. */
#include "train/optimizer.h"

enum { ALIGNMENT = 64 }; /* floats, as in a block of parameters */

/* The paper's constants, and Trax's. */
static const double decay_exponent = 0.8;
static const double least_scale = 1e-3;
static const double usual_epsilon = 1e-30;
static const double trax_epsilon = 1e-16;

/* [rows, columns], or [n]; without data. */
static rf_tensor view_of(const rf_parameter *parameter)
{
    if (parameter->rank == 1) {
        return rf_tensor_1(NULL, RF_F32, parameter->count);
    }
    int64_t columns = parameter->shape[parameter->rank - 1];
    return rf_tensor_2(NULL, RF_F32, columns > 0 ? parameter->count / columns : 0, columns);
}

/* The list while it is made. */
typedef struct builder {
    rf_optimizer_tensor *tensors; /* NULL: only counted */
    int64_t count, floats;
} builder;

static void add(builder *out, const rf_parameter *parameter, rf_optimizer_role role)
{
    rf_optimizer_tensor tensor = {.role = role, .parameter = parameter, .offset = out->floats};
    rf_tensor shaped = rf_optimizer_tensor_of(&tensor, NULL);
    if (out->tensors != NULL) {
        out->tensors[out->count] = tensor;
    }
    out->count++;
    out->floats += (rf_tensor_count(&shaped) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int64_t lay_out(const rf_parameters *parameters, const rf_optimizer_options *options,
                       rf_optimizer_tensor *tensors, int64_t *count)
{
    builder out = {.tensors = tensors};
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *parameter = &parameters->items[i];
        if (parameter->frozen) {
            continue;
        }
        if (parameter->rank > 1) {
            add(&out, parameter, RF_OPTIMIZER_ROW_MOMENT);
            add(&out, parameter, RF_OPTIMIZER_COLUMN_MOMENT);
        } else {
            add(&out, parameter, RF_OPTIMIZER_SECOND_MOMENT);
        }
        if (options->adafactor.beta1 > 0.0) {
            add(&out, parameter, RF_OPTIMIZER_FIRST_MOMENT);
        }
    }
    *count = out.count;
    return out.floats;
}

/* Everything but the state. */
static rf_adafactor arguments(const rf_optimizer *optimizer, const rf_optimizer_step *step,
                              const rf_parameter *parameter)
{
    const rf_optimizer_options *options = &optimizer->options;
    bool trax = options->adafactor.semantics == RF_ADAFACTOR_TRAX;
    rf_tensor view = view_of(parameter);
    rf_adafactor adafactor = {
        .value = view,
        .gradient = view,
        .kind = options->adafactor.semantics,
        .relative = options->adafactor.relative_step,
        .rate = step->rate,
        .decay = decay_exponent,
        .beta1 = options->adafactor.beta1,
        .epsilon = trax ? trax_epsilon : usual_epsilon,
        .least_scale = least_scale,
        .clip = options->adafactor.clip,
        .weight_decay = parameter->decays ? options->weight_decay : 0.0,
        .gradient_factor = step->factor,
        .update = step->update,
    };
    if (step->values != NULL) {
        adafactor.value.data = step->values + parameter->offset;
        adafactor.gradient.data = step->gradients + parameter->offset;
    }
    if (step->rounded != NULL) {
        adafactor.rounded = view;
        adafactor.rounded.dtype = RF_BF16;
        adafactor.rounded.data = step->rounded + parameter->offset;
    }
    return adafactor;
}

static void attach(const rf_optimizer *optimizer, const rf_optimizer_tensor *tensor,
                   rf_adafactor *adafactor)
{
    rf_tensor data = rf_optimizer_tensor_of(tensor, optimizer->state);
    switch (tensor->role) {
    case RF_OPTIMIZER_ROW_MOMENT:
        adafactor->row_moment = data;
        break;
    case RF_OPTIMIZER_COLUMN_MOMENT:
        adafactor->column_moment = data;
        break;
    case RF_OPTIMIZER_SECOND_MOMENT:
        adafactor->second_moment = data;
        break;
    default:
        adafactor->first_moment = adafactor->value; /* the shape of the view */
        adafactor->first_moment.data = data.data;
        break;
    }
}

static rf_status update(rf_optimizer *optimizer, const rf_optimizer_step *step, rf_error *error)
{
    rf_context context = {.device = optimizer->device, .workspace = &optimizer->workspace};
    const rf_optimizer_tensor *tensors = optimizer->tensors;
    for (int64_t i = 0; i < optimizer->tensors_count;) {
        const rf_parameter *parameter = tensors[i].parameter;
        rf_adafactor adafactor = arguments(optimizer, step, parameter);
        for (; i < optimizer->tensors_count && tensors[i].parameter == parameter; i++) {
            attach(optimizer, &tensors[i], &adafactor);
        }
        RF_TRY(rf_op_adafactor(&context, &adafactor, error));
    }
    return RF_OK;
}

const rf_optimizer_table rf_optimizer_adafactor = {
    .name = "adafactor", .lay_out = lay_out, .update = update};
