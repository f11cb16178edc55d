/* Softmax cross entropy: per row the greatest logit, the sum of exp(logit - greatest), then nll,
 * prediction and gradient from them, so that nothing overflows. A block a row, of 32 threads for
 * small vocabularies and 256 for large ones. Two reads of the logits (three and a write with the
 * gradient), all but the first from cache. */
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

/* What remains of a row that is scored. at_target was read before any thread wrote to the row,
 * which may be the logits' own. */
template <int Threads, typename T>
__device__ __forceinline__ void finish_row(const loss_call<T> &call, int64_t row, float greatest,
                                           float sum, float at_target)
{
    const int64_t target = call.targets[row];
    const double exact = log(static_cast<double>(sum)) +
                         (static_cast<double>(greatest) - static_cast<double>(at_target));
    if (threadIdx.x == 0) {
        call.nll[row] = static_cast<float>(exact);
    }
    if (call.gradient == nullptr) {
        return;
    }
    const float *logits = call.logits + row * call.vocabulary;
    T *gradient = call.gradient + row * call.vocabulary;
    const float factor = call.factor / sum;
    for (int64_t i = threadIdx.x; i < call.vocabulary; i += Threads) {
        /* p - 1 would cancel where p is near 1; p = exp(-nll) keeps the digits. */
        gradient[i] = rf_cuda_store<T>(
            i == target ? static_cast<float>(expm1(-exact) * static_cast<double>(call.factor))
                        : expf(logits[i] - greatest) * factor);
    }
}

template <int Threads, typename T> __global__ void cross_entropy_kernel(const loss_call<T> call)
{
    __shared__ float shared[Threads / rf_cuda_warp];
    __shared__ int32_t shared_places[Threads / rf_cuda_warp];
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
            finish_row<Threads, T>(call, row, greatest, sum, at_target);
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
                               loss->factor};
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
