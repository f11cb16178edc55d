/* Softmax cross entropy: per row the greatest logit, the sum of exp(logit - greatest), then nll,
 * prediction and gradient from them, so that nothing overflows. Two reads of the logits (three and
 * a write with the gradient), all but the first from cache. */
#include "ops/cpu/real.h"

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

/* y may be x. */
RF_VECTOR_CLONES static void softmax(const float *x, int64_t count, float greatest, float factor,
                                     float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = rf_cpu_exp(x[i] - greatest) * factor;
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

/* gradient's row `row`, from that row of the logits; factor is the loss's over the sum of
 * exponentials. */
static void write_gradient(const rf_tensor *gradient, int64_t row, const float *logits,
                           float greatest, float factor)
{
    float run[RF_REAL_RUN];
    int64_t vocabulary = gradient->shape[1];
    for (int64_t first = 0; first < vocabulary; first += RF_REAL_RUN) {
        int64_t count = vocabulary - first < RF_REAL_RUN ? vocabulary - first : RF_REAL_RUN;
        int64_t at = row * vocabulary + first;
        float *target = rf_cpu_real_target(gradient, at, run);
        softmax(logits + first, count, greatest, factor, target);
        rf_cpu_real_store(gradient, at, count, target);
    }
}

static void write_one(const rf_tensor *gradient, int64_t at, float value)
{
    float run[1];
    float *target = rf_cpu_real_target(gradient, at, run);
    *target = value;
    rf_cpu_real_store(gradient, at, 1, target);
}

static void write_zeros(const rf_tensor *gradient, int64_t row)
{
    size_t size = (size_t)gradient->shape[1] * rf_dtype_size(gradient->dtype);
    memset((char *)gradient->data + (size_t)row * size, 0, size);
}

static void do_row(const rf_cross_entropy *loss, int64_t row)
{
    int64_t vocabulary = loss->logits.shape[1];
    const float *logits = (const float *)loss->logits.data + row * vocabulary;
    int32_t target = ((const int32_t *)loss->targets.data)[row];
    float *nll = (float *)loss->nll.data + row;
    const rf_tensor *gradient = &loss->logits_gradient;
    bool has_gradient = !rf_tensor_is_absent(gradient);
    RF_ASSERT(target == IGNORED || (target >= 0 && target < vocabulary));
    bool ignored = target == IGNORED;
    float greatest = max_of(logits, vocabulary);
    if (!rf_tensor_is_absent(&loss->prediction)) {
        ((int32_t *)loss->prediction.data)[row] = first_of(logits, vocabulary, greatest);
    }
    if (ignored) {
        *nll = 0.0F;
        if (has_gradient) {
            write_zeros(gradient, row);
        }
        return;
    }
    float sum = sum_exp(logits, vocabulary, greatest);
    double exact = log((double)sum) + ((double)greatest - (double)logits[target]);
    *nll = (float)exact;
    if (has_gradient) {
        write_gradient(gradient, row, logits, greatest, loss->factor / sum);
        /* p - 1 would cancel where p is near 1; p = exp(-nll) keeps the digits. */
        write_one(gradient, row * vocabulary + target,
                  (float)(expm1(-exact) * (double)loss->factor));
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
