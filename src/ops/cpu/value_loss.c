/* Losses of numbers with numbers, element by element: squared, and binary cross entropy with
 * logits. In double, since there are as many elements as labels in a batch. */
#include "ops/cpu/cpu.h"

#include <math.h>

/* 1 / (1 + e^-x), without overflow. */
static double sigmoid(double x)
{
    return x >= 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

static double loss_of(rf_value_loss_kind kind, double x, double target)
{
    if (kind == RF_VALUE_LOSS_SQUARED) {
        return (x - target) * (x - target);
    }
    /* Of the two sides only one is large: x or -x. */
    return (1.0 - target) * (x > 0.0 ? x : 0.0) + target * (x < 0.0 ? -x : 0.0) +
           log1p(exp(-fabs(x)));
}

static double slope_of(rf_value_loss_kind kind, double x, double target)
{
    if (kind == RF_VALUE_LOSS_SQUARED) {
        return 2.0 * (x - target);
    }
    return (1.0 - target) * sigmoid(x) - target * sigmoid(-x);
}

rf_status rf_cpu_value_loss(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    const rf_value_loss *call = arguments;
    const float *x = call->x.data;
    const float *targets = call->targets.data;
    float *loss = call->loss.data;
    float *gradient = rf_tensor_is_absent(&call->x_gradient) ? NULL : call->x_gradient.data;
    (void)device;
    (void)scratch;
    (void)error;
    int64_t count = rf_tensor_count(&call->x);
    for (int64_t i = 0; i < count; i++) {
        double at = (double)x[i];
        double target = (double)targets[i] * (1.0 - call->smoothing) + 0.5 * call->smoothing;
        loss[i] = (float)loss_of(call->kind, at, target);
        if (gradient != NULL) {
            gradient[i] = (float)(slope_of(call->kind, at, target) * (double)call->factor);
        }
    }
    return RF_OK;
}
