/* Softmax cross entropy: per row the greatest logit, the sum of exp(logit - greatest), then nll,
 * prediction and gradient from them, so that nothing overflows. A block a row, of 32 threads for
 * small vocabularies and 256 for large ones. Two reads of the logits (three and a write with the
 * gradient, one more with smoothing), all but the first from cache. */
#include "ops/cuda/cuda.cuh"

namespace
{

constexpr int32_t ignored = -100;

template <typename T> struct loss_call {
    const float *logits;    /* [rows, vocabulary] */
    const int32_t *targets; /* [rows] */
    float *nll;             /* [rows] */
    int32_t *prediction;    /* [rows] or NULL */
    T *gradient;            /* [rows, vocabulary] or NULL; may be logits where it is f32 */
    int64_t rows, vocabulary;
    float factor;
    const float *weights; /* [vocabulary] or NULL */
    double smoothing;
};

/* What a row's loss is made of: a_j = `spread` w_j for all classes, and `own` more for the target;
 * `total` is their sum. */
struct row_weights {
    double own, spread, total;
};

template <int Threads>
__device__ __forceinline__ float greatest_of(const float *x, int64_t count, float *shared)
{
    float greatest = -INFINITY;
    for (int64_t i = threadIdx.x; i < count; i += Threads) {
        greatest = x[i] > greatest ? x[i] : greatest;
    }
    return rf_cuda_block_max<Threads>(greatest, shared);
}

/* The first place that holds the greatest number; 0 where all are NaN. */
template <int Threads>
__device__ __forceinline__ int32_t place_of(const float *x, int64_t count, float greatest,
                                            int32_t *shared)
{
    int32_t place = INT32_MAX;
    for (int64_t i = threadIdx.x; i < count && place == INT32_MAX; i += Threads) {
        place = x[i] >= greatest ? static_cast<int32_t>(i) : place;
    }
    place = -rf_cuda_block_max<Threads>(-place, shared);
    return place < count ? place : 0;
}

/* The sum of exp(x - greatest), in every thread. */
template <int Threads>
__device__ __forceinline__ float sum_exp(const float *x, int64_t count, float greatest,
                                         float *shared)
{
    float sum = 0.0F;
    for (int64_t i = threadIdx.x; i < count; i += Threads) {
        sum += expf(x[i] - greatest);
    }
    return rf_cuda_block_sum<Threads>(sum, shared);
}

template <typename T>
__device__ __forceinline__ double weight_at(const loss_call<T> &call, int64_t i)
{
    return call.weights == nullptr ? 1.0 : static_cast<double>(call.weights[i]);
}

/* In every thread. */
template <int Threads, typename T>
__device__ __forceinline__ row_weights weights_of(const loss_call<T> &call, int64_t target,
                                                  double *shared)
{
    row_weights a = {weight_at(call, target), 0.0, weight_at(call, target)};
    if (call.smoothing > 0.0) {
        double sum = 0.0;
        for (int64_t i = threadIdx.x; i < call.vocabulary; i += Threads) {
            sum += weight_at(call, i);
        }
        a.spread = call.smoothing / static_cast<double>(call.vocabulary);
        a.own *= 1.0 - call.smoothing;
        a.total = a.own + a.spread * rf_cuda_block_sum<Threads>(sum, shared);
    }
    return a;
}

/* The sum of w * (greatest - x), in every thread. */
template <int Threads, typename T>
__device__ __forceinline__ double sum_below(const loss_call<T> &call, const float *x,
                                            float greatest, double *shared)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < call.vocabulary; i += Threads) {
        sum += weight_at(call, i) * (static_cast<double>(greatest) - static_cast<double>(x[i]));
    }
    return rf_cuda_block_sum<Threads>(sum, shared);
}

/* What remains of a row that is scored. at_target was read before any thread wrote to the row,
 * which may be the logits' own. */
template <int Threads, typename T>
__device__ __forceinline__ void finish_row(const loss_call<T> &call, int64_t row, float greatest,
                                           float sum, float at_target, double *shared)
{
    const int64_t target = call.targets[row];
    const row_weights a = weights_of<Threads, T>(call, target, shared);
    const double log_sum = log(static_cast<double>(sum));
    const double exact = log_sum + (static_cast<double>(greatest) - static_cast<double>(at_target));
    const float *logits = call.logits + row * call.vocabulary;
    /* Every thread has read the row by the barriers of this sum, before one of them writes. */
    const double below =
        a.spread > 0.0 ? sum_below<Threads, T>(call, logits, greatest, shared) : 0.0;
    if (threadIdx.x == 0) {
        call.nll[row] =
            static_cast<float>(a.own * exact + (a.total - a.own) * log_sum + a.spread * below);
    }
    if (call.gradient == nullptr) {
        return;
    }
    T *gradient = call.gradient + row * call.vocabulary;
    const float factor = static_cast<float>(static_cast<double>(call.factor) * a.total) / sum;
    const float spread = static_cast<float>(static_cast<double>(call.factor) * a.spread);
    for (int64_t i = threadIdx.x; i < call.vocabulary; i += Threads) {
        float value = 0.0F;
        if (i == target) {
            /* p - 1 would cancel where p is near 1; p = exp(-nll) keeps the digits. */
            const double aims = a.own + a.spread * weight_at(call, target);
            const double slope = aims * expm1(-exact) + (a.total - aims) * exp(-exact);
            value = static_cast<float>(slope * static_cast<double>(call.factor));
        } else {
            value = expf(logits[i] - greatest) * factor;
            value -= a.spread > 0.0 ? spread * static_cast<float>(weight_at(call, i)) : 0.0F;
        }
        gradient[i] = rf_cuda_store<T>(value);
    }
}

template <int Threads, typename T> __global__ void cross_entropy_kernel(const loss_call<T> call)
{
    __shared__ float shared[Threads / rf_cuda_warp];
    __shared__ int32_t shared_places[Threads / rf_cuda_warp];
    __shared__ double shared_sums[Threads / rf_cuda_warp];
    for (int64_t row = blockIdx.x; row < call.rows; row += gridDim.x) {
        const float *logits = call.logits + row * call.vocabulary;
        const int32_t target = call.targets[row];
        const bool is_scored = target != ignored;
        const float at_target = is_scored ? logits[target] : 0.0F;
        const float greatest = greatest_of<Threads>(logits, call.vocabulary, shared);
        if (call.prediction != nullptr) {
            const int32_t place =
                place_of<Threads>(logits, call.vocabulary, greatest, shared_places);
            if (threadIdx.x == 0) {
                call.prediction[row] = place;
            }
        }
        if (is_scored) {
            /* The barriers of the sum stand between the last thread's look at the row and the first
             * one's write. */
            const float sum = sum_exp<Threads>(logits, call.vocabulary, greatest, shared);
            finish_row<Threads, T>(call, row, greatest, sum, at_target, shared_sums);
            continue;
        }
        if (threadIdx.x == 0) {
            call.nll[row] = 0.0F;
        }
        for (int64_t i = threadIdx.x; i < call.vocabulary && call.gradient != nullptr;
             i += Threads) {
            call.gradient[row * call.vocabulary + i] = rf_cuda_store<T>(0.0F);
        }
    }
}

template <typename T> void launch(const rf_device *device, const rf_cross_entropy *loss)
{
    const loss_call<T> call = {rf_cuda_data<const float>(&loss->logits),
                               rf_cuda_data<const int32_t>(&loss->targets),
                               rf_cuda_data<float>(&loss->nll),
                               rf_cuda_data<int32_t>(&loss->prediction),
                               rf_cuda_data<T>(&loss->logits_gradient),
                               loss->logits.shape[0],
                               loss->logits.shape[1],
                               loss->factor,
                               rf_cuda_data<const float>(&loss->weights),
                               loss->smoothing};
    const int64_t small_vocabulary = 1024;
    const unsigned grid = rf_cuda_grid(device, call.rows, 1);
    if (call.vocabulary <= small_vocabulary) {
        cross_entropy_kernel<32, T><<<grid, 32, 0, rf_cuda_stream(device)>>>(call);
    } else {
        cross_entropy_kernel<256, T><<<grid, 256, 0, rf_cuda_stream(device)>>>(call);
    }
}

} // namespace

rf_status rf_cuda_cross_entropy(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_cross_entropy *loss = static_cast<const rf_cross_entropy *>(arguments);
    if (loss->logits.shape[0] == 0) {
        return RF_OK;
    }
    rf_cuda_by_real(loss->logits_gradient.dtype,
                    [&](auto number) { launch<decltype(number)>(device, loss); });
    return rf_cuda_launched(device, "cross_entropy", error);
}
