/* Softmax cross entropy: per row the greatest logit, the sum of exp(logit - greatest), then nll,
 * prediction and gradient from them, so that nothing overflows. Two reads of the logits (three and
 * a write with the gradient), all but the first from cache. */
#include "ops/cpu/cpu.h"

#include <math.h>

enum { ROWS = 8, IGNORED = -100 };

RF_VECTOR_CLONES static float max_of(const float *x, int64_t count)
{
    float lanes[RF_LANES];
    for (int lane = 0; lane < RF_LANES; lane++) {
        lanes[lane] = x[0];
    }
    int64_t whole = count - count % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
        }
    }
    float greatest = lanes[0];
    for (int lane = 1; lane < RF_LANES; lane++) {
        greatest = lanes[lane] > greatest ? lanes[lane] : greatest;
    }
    for (int64_t i = whole; i < count; i++) {
        greatest = x[i] > greatest ? x[i] : greatest;
    }
    return greatest;
}

RF_VECTOR_CLONES static float sum_exp(const float *x, int64_t count, float greatest)
{
    float lanes[RF_LANES] = {0.0F};
    int64_t whole = count - count % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            lanes[lane] += rf_cpu_exp(x[i + lane] - greatest);
        }
    }
    for (int64_t i = whole; i < count; i++) {
        lanes[i - whole] += rf_cpu_exp(x[i] - greatest);
    }
    return rf_cpu_sum_lanes(lanes);
}

/* gradient may be x. */
RF_VECTOR_CLONES static void softmax(const float *x, int64_t count, float greatest, float factor,
                                     float *gradient)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        gradient[i] = rf_cpu_exp(x[i] - greatest) * factor;
    }
}

static int32_t first_of(const float *x, int64_t count, float value)
{
    int64_t i = 0;
    while (i < count && !(x[i] >= value)) {
        i++;
    }
    return i < count ? (int32_t)i : 0; /* 0: all are NaN */
}

static void do_row(const rf_cross_entropy *loss, int64_t row)
{
    int64_t vocabulary = loss->logits.shape[1];
    const float *logits = (const float *)loss->logits.data + row * vocabulary;
    int32_t target = ((const int32_t *)loss->targets.data)[row];
    float *nll = (float *)loss->nll.data + row;
    float *gradient = rf_tensor_is_absent(&loss->logits_gradient)
                          ? NULL
                          : (float *)loss->logits_gradient.data + row * vocabulary;
    RF_ASSERT(target == IGNORED || (target >= 0 && target < vocabulary));
    bool ignored = target == IGNORED;
    float greatest = max_of(logits, vocabulary);
    if (!rf_tensor_is_absent(&loss->prediction)) {
        ((int32_t *)loss->prediction.data)[row] = first_of(logits, vocabulary, greatest);
    }
    if (ignored) {
        *nll = 0.0F;
        if (gradient != NULL) {
            memset(gradient, 0, (size_t)vocabulary * sizeof(float));
        }
        return;
    }
    float sum = sum_exp(logits, vocabulary, greatest);
    double exact = log((double)sum) + ((double)greatest - (double)logits[target]);
    *nll = (float)exact;
    if (gradient != NULL) {
        softmax(logits, vocabulary, greatest, loss->factor / sum, gradient);
        /* p - 1 would cancel where p is near 1; p = exp(-nll) keeps the digits. */
        gradient[target] = (float)(expm1(-exact) * (double)loss->factor);
    }
}

rf_status rf_cpu_cross_entropy(rf_device *device, const void *arguments, void *scratch,
                               rf_error *error)
{
    const rf_cross_entropy *loss = arguments;
    (void)scratch;
    (void)error;
    int64_t rows = loss->logits.shape[0];
    int64_t blocks = rf_cpu_blocks(rows, ROWS);
    int threads = rf_cpu_threads(device, blocks, ROWS * loss->logits.shape[1]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = b * ROWS + rf_cpu_block_length(rows, ROWS, b);
        for (int64_t row = b * ROWS; row < end; row++) {
            do_row(loss, row);
        }
    }
    return RF_OK;
}
