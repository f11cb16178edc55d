/* Activations, formulas as published. */
#include "oracle/oracle.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double relu(double x)
{
    return x > 0.0 ? x : 0.0;
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
}

static double smooth(rf_activation kind, double x)
{
    switch (kind) {
    case RF_ACTIVATION_GELU:
        return x * 0.5 * erfc(-x / sqrt(2.0));
    case RF_ACTIVATION_GELU_NEW:
        return gelu_tanh(x);
    case RF_ACTIVATION_GELU_FAST:
        return 0.5 * x * (1.0 + tanh(0.7978845608 * x * (1.0 + 0.044715 * x * x)));
    case RF_ACTIVATION_SILU:
        return x * sigmoid(x);
    case RF_ACTIVATION_QUICK_GELU:
        return x * sigmoid(1.702 * x);
    case RF_ACTIVATION_TANH:
        return tanh(x);
    case RF_ACTIVATION_SIGMOID:
        return sigmoid(x);
    default: /* RF_ACTIVATION_MISH */
        return x * tanh(x > 700.0 ? x : log1p(exp(x)));
    }
}

static double activation(rf_activation kind, double x)
{
    switch (kind) {
    case RF_ACTIVATION_RELU:
        return relu(x);
    case RF_ACTIVATION_RELU2:
        return relu(x) * relu(x);
    case RF_ACTIVATION_RELU6:
        return fmin(relu(x), 6.0);
    case RF_ACTIVATION_LINEAR:
        return x;
    default:
        return smooth(kind, x);
    }
}

void oracle_activate(rf_activation kind, int64_t count, const double *x, double *y)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] = activation(kind, x[i]);
    }
}
