/* Softmax cross entropy: per row the greatest logit, the sum of exp(logit - greatest), then nll,
 * prediction and gradient from them, so that nothing overflows. Two reads of the logits (three and
 * a write with the gradient, one more with smoothing), all but the first from cache. */
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

/* The sum of w * (greatest - x), w [count] or NULL for ones. */
static double sum_below(const float *x, const float *w, int64_t count, float greatest)
{
    double lanes[RF_LANES] = {0.0};
    for (int64_t i = 0; i < count; i++) {
        double below = (double)greatest - (double)x[i];
        lanes[i % RF_LANES] += w == NULL ? below : below * (double)w[i];
    }
    return rf_cpu_sum_doubles(lanes);
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

/* What a row's loss is made of: a_j = `spread` w_j for all classes, and `own` more for the target;
 * `total` is their sum. */
typedef struct row_weights {
    const float *w; /* [vocabulary] or NULL */
    double own, spread, total;
} row_weights;

static row_weights weights_of(const rf_cross_entropy *loss, int32_t target)
{
    row_weights a = {.own = 1.0, .total = 1.0};
    int64_t vocabulary = loss->logits.shape[1];
    double sum = (double)vocabulary;
    if (!rf_tensor_is_absent(&loss->weights)) {
        a.w = loss->weights.data;
        a.own = (double)a.w[target];
        a.total = a.own;
    }
    if (loss->smoothing > 0.0) {
        for (int64_t i = 0; a.w != NULL && i < vocabulary; i++) {
            sum = (i == 0 ? 0.0 : sum) + (double)a.w[i];
        }
        a.spread = loss->smoothing / (double)vocabulary;
        a.own *= 1.0 - loss->smoothing;
        a.total = a.own + a.spread * sum;
    }
    return a;
}

/* y -= factor w */
static void subtract(float *y, const float *w, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] -= w == NULL ? factor : factor * w[i];
    }
}

/* The row's part that is alike for all classes. */
static void write_gradient(const rf_cross_entropy *loss, int64_t row, const row_weights *a,
                           float greatest, float sum)
{
    float run[RF_REAL_RUN];
    const rf_tensor *gradient = &loss->logits_gradient;
    int64_t vocabulary = gradient->shape[1];
    const float *logits = (const float *)loss->logits.data + row * vocabulary;
    float factor = (float)((double)loss->factor * a->total) / sum;
    float spread = (float)((double)loss->factor * a->spread);
    for (int64_t first = 0; first < vocabulary; first += RF_REAL_RUN) {
        int64_t count = vocabulary - first < RF_REAL_RUN ? vocabulary - first : RF_REAL_RUN;
        int64_t at = row * vocabulary + first;
        float *target = rf_cpu_real_target(gradient, at, run);
        softmax(logits + first, count, greatest, factor, target);
        if (a->spread > 0.0) {
            subtract(target, a->w == NULL ? NULL : a->w + first, count, spread);
        }
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
    row_weights a = weights_of(loss, target);
    double rest = (double)greatest - (double)logits[target];
    double exact = log((double)sum) + rest; /* of the target alone */
    double below = a.spread > 0.0 ? sum_below(logits, a.w, vocabulary, greatest) : 0.0;
    *nll = (float)(a.own * exact + (a.total - a.own) * log((double)sum) + a.spread * below);
    if (has_gradient) {
        write_gradient(loss, row, &a, greatest, sum);
        /* p - 1 would cancel where p is near 1; p = exp(-nll) keeps the digits. */
        double aims = a.own + a.spread * (a.w == NULL ? 1.0 : (double)a.w[target]);
        double slope = aims * expm1(-exact) + (a.total - aims) * exp(-exact);
        write_one(gradient, row * vocabulary + target, (float)(slope * (double)loss->factor));
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
