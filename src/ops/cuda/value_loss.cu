/* Losses of numbers with numbers, element by element: squared, and binary cross entropy with
 * logits. In double as on the CPU: there are as many elements as labels in a batch. */
#include "ops/cuda/cuda.cuh"

namespace
{

__device__ double sigmoid(double x)
{
    return x >= 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

/* x, targets, loss, gradient [count]; gradient may be NULL, or x. */
__global__ void value_loss_kernel(rf_value_loss_kind kind, const float *x, const float *targets,
                                  float *loss, float *gradient, float factor, double smoothing,
                                  int64_t count)
{
    for (int64_t i = rf_cuda_first(); i < count; i += rf_cuda_stride()) {
        const double at = x[i];
        const double target = static_cast<double>(targets[i]) * (1.0 - smoothing) + 0.5 * smoothing;
        double value;
        double slope;
        if (kind == RF_VALUE_LOSS_SQUARED) {
            value = (at - target) * (at - target);
            slope = 2.0 * (at - target);
        } else {
            value = (1.0 - target) * (at > 0.0 ? at : 0.0) + target * (at < 0.0 ? -at : 0.0) +
                    log1p(exp(-fabs(at)));
            slope = (1.0 - target) * sigmoid(at) - target * sigmoid(-at);
        }
        loss[i] = static_cast<float>(value);
        if (gradient != nullptr) {
            gradient[i] = static_cast<float>(slope * factor);
        }
    }
}

} // namespace

rf_status rf_cuda_value_loss(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_value_loss *call = static_cast<const rf_value_loss *>(arguments);
    const int64_t count = rf_tensor_count(&call->x);
    if (count == 0) {
        return RF_OK;
    }
    value_loss_kernel<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0,
                        rf_cuda_stream(device)>>>(
        call->kind, rf_cuda_data<const float>(&call->x), rf_cuda_data<const float>(&call->targets),
        rf_cuda_data<float>(&call->loss), rf_cuda_data<float>(&call->x_gradient), call->factor,
        call->smoothing, count);
    return rf_cuda_launched(device, "value_loss", error);
}
