/* Layer normalisation (Ba, Kiros, Hinton 2016) of one stream, or of two side by side. A row is read
 * from memory once (three times from cache) and written once; the backward recomputes mean and
 * deviation instead of storing them.
 *
 * Gradients of gain and bias are sums over all rows: a fixed number of row blocks each make their
 * own in scratch, in runs of 128 rows so that long sums are sums of short ones, and the blocks are
 * added in order. */
#include "ops/cpu/real.h"

#include <math.h>

enum { ROWS = 16, MAX_ROW_BLOCKS = 32, RUN_ROWS = 128, SCRATCH_ROWS = 6 };

/* One stream's part of a row: x[i] is value i. */
typedef struct stream_part {
    const void *data; /* [width], float or int32_t */
    int64_t width;
    bool fixed;
    float unit; /* of fixed point */
} stream_part;

typedef struct stream_row {
    stream_part parts[2]; /* the second has width 0 where there is one stream */
} stream_row;

/* mean, and 1 / sqrt(variance + epsilon) */
typedef struct moments {
    float mean, inverse;
} moments;

RF_INLINE float value_of(stream_part part, bool fixed, int64_t i)
{
    return fixed ? (float)((const int32_t *)part.data)[i] * part.unit
                 : ((const float *)part.data)[i];
}

static stream_row row_at(const rf_tensor *x, const rf_tensor *x2, int bits, int64_t index)
{
    stream_row row = {0};
    const rf_tensor *tensors[2] = {x, x2};
    for (int i = 0; i < 2 && !rf_tensor_is_absent(tensors[i]); i++) {
        const rf_tensor *tensor = tensors[i];
        int64_t width = tensor->shape[1];
        bool fixed = tensor->dtype == RF_FIXED32;
        row.parts[i] = (stream_part){
            .data = (const char *)tensor->data + (size_t)(index * width) * sizeof(float),
            .width = width,
            .fixed = fixed,
            .unit = fixed ? 1.0F / (float)((int64_t)1 << bits) : 1.0F,
        };
    }
    return row;
}

/* ---- moments ----------------------------------------------------------------------------- */

RF_INLINE void add_values(stream_part part, bool fixed, float lanes[RF_LANES])
{
    int64_t whole = part.width - part.width % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            lanes[lane] += value_of(part, fixed, i + lane);
        }
    }
    for (int64_t i = whole; i < part.width; i++) {
        lanes[i - whole] += value_of(part, fixed, i);
    }
}

RF_INLINE void add_squares(stream_part part, bool fixed, float mean, float lanes[RF_LANES])
{
    int64_t whole = part.width - part.width % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            float centred = value_of(part, fixed, i + lane) - mean;
            lanes[lane] += centred * centred;
        }
    }
    for (int64_t i = whole; i < part.width; i++) {
        float centred = value_of(part, fixed, i) - mean;
        lanes[i - whole] += centred * centred;
    }
}

RF_INLINE moments moments_of(const stream_row *row, bool fixed, float epsilon)
{
    float count = (float)(row->parts[0].width + row->parts[1].width);
    float sums[RF_LANES] = {0.0F};
    add_values(row->parts[0], fixed, sums);
    add_values(row->parts[1], fixed, sums);
    float mean = rf_cpu_sum_lanes(sums) / count;
    float squares[RF_LANES] = {0.0F};
    add_squares(row->parts[0], fixed, mean, squares);
    add_squares(row->parts[1], fixed, mean, squares);
    float variance = rf_cpu_sum_lanes(squares) / count;
    return (moments){.mean = mean, .inverse = 1.0F / sqrtf(variance + epsilon)};
}

/* ---- forward ----------------------------------------------------------------------------- */

RF_INLINE void normalise_part(stream_part part, bool fixed, moments m, const float *gain,
                              const float *bias, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < part.width; i++) {
        y[i] = (value_of(part, fixed, i) - m.mean) * m.inverse * gain[i] + bias[i];
    }
}

/* Values [first, first + count) of a part. */
RF_INLINE stream_part piece_of(stream_part part, int64_t first, int64_t count)
{
    part.data = (const char *)part.data + (size_t)first * sizeof(float);
    part.width = count;
    return part;
}

/* `at` is where the row starts in y. */
RF_INLINE void normalise(const stream_row *row, bool fixed, const rf_layer_norm *norm, int64_t at)
{
    float run[RF_REAL_RUN];
    const float *gain = norm->gain.data;
    const float *bias = norm->bias.data;
    moments m = moments_of(row, fixed, norm->epsilon);
    int64_t column = 0;
    for (int i = 0; i < 2; i++) {
        int64_t width = row->parts[i].width;
        for (int64_t first = 0; first < width; first += RF_REAL_RUN) {
            int64_t count = width - first < RF_REAL_RUN ? width - first : RF_REAL_RUN;
            stream_part piece = piece_of(row->parts[i], first, count);
            float *y = rf_cpu_real_target(&norm->y, at + column, run);
            normalise_part(piece, fixed, m, gain + column, bias + column, y);
            rf_cpu_real_store(&norm->y, at + column, count, y);
            column += count;
        }
    }
}

RF_VECTOR_CLONES static void normalise_float(const stream_row *row, const rf_layer_norm *norm,
                                             int64_t at)
{
    normalise(row, false, norm, at);
}

RF_VECTOR_CLONES static void normalise_fixed(const stream_row *row, const rf_layer_norm *norm,
                                             int64_t at)
{
    normalise(row, true, norm, at);
}

/* Dropout of a row of y [width], which begins at `at`. */
static void drop_row(const rf_layer_norm *norm, int64_t at, int64_t width)
{
    float run[RF_REAL_RUN];
    uint64_t origin = (uint64_t)(norm->first_row * width + at);
    for (int64_t c = 0; c < width; c += RF_REAL_RUN) {
        int64_t count = width - c < RF_REAL_RUN ? width - c : RF_REAL_RUN;
        const float *from = rf_cpu_real_read(&norm->y, at + c, count, run);
        float *to = rf_cpu_real_target(&norm->y, at + c, run);
        rf_cpu_drop(&norm->key, norm->probability, origin + (uint64_t)c, from, to, count);
        rf_cpu_real_store(&norm->y, at + c, count, to);
    }
}

static void normalise_rows(const rf_layer_norm *norm, int64_t first, int64_t count)
{
    int64_t width = norm->y.shape[1];
    bool fixed = norm->x.dtype == RF_FIXED32;
    for (int64_t r = first; r < first + count; r++) {
        stream_row row = row_at(&norm->x, &norm->x2, norm->fraction_bits, r);
        (fixed ? normalise_fixed : normalise_float)(&row, norm, r * width);
        if (norm->probability > 0.0F) {
            drop_row(norm, r * width, width);
        }
    }
}

rf_status rf_cpu_layer_norm(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    const rf_layer_norm *norm = arguments;
    (void)scratch;
    (void)error;
    int64_t rows = norm->y.shape[0];
    int64_t blocks = rf_cpu_blocks(rows, ROWS);
    int threads = rf_cpu_threads(device, blocks, ROWS * norm->y.shape[1]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        normalise_rows(norm, b * ROWS, rf_cpu_block_length(rows, ROWS, b));
    }
    return RF_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Sums of gain and bias gradients of a run of rows, [width] each. */
typedef struct column_sums {
    float *gain, *bias;
} column_sums;

/* With x' the normalised x and g = gain * y_gradient:
 * x_gradient = inverse * (g - mean(g) - x' * mean(g x')). */
RF_INLINE void add_products(stream_part part, bool fixed, moments m, const float *gain,
                            const float *y_gradient, float lanes[2][RF_LANES])
{
    int64_t whole = part.width - part.width % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            float g = gain[i + lane] * y_gradient[i + lane];
            lanes[0][lane] += g;
            lanes[1][lane] += g * ((value_of(part, fixed, i + lane) - m.mean) * m.inverse);
        }
    }
    for (int64_t i = whole; i < part.width; i++) {
        float g = gain[i] * y_gradient[i];
        lanes[0][i - whole] += g;
        lanes[1][i - whole] += g * ((value_of(part, fixed, i) - m.mean) * m.inverse);
    }
}

/* means[0] = mean(g), means[1] = mean(g x'). */
RF_INLINE void differentiate_part(stream_part part, bool fixed, moments m, const float means[2],
                                  const float *gain, const float *y_gradient, bool write,
                                  float *x_gradient)
{
#pragma omp simd
    for (int64_t i = 0; i < part.width; i++) {
        float normal = (value_of(part, fixed, i) - m.mean) * m.inverse;
        float change = m.inverse * (gain[i] * y_gradient[i] - means[0] - normal * means[1]);
        x_gradient[i] = write ? change : x_gradient[i] + change;
    }
}

RF_INLINE void add_columns(stream_part part, bool fixed, moments m, const float *y_gradient,
                           float *gain, float *bias)
{
#pragma omp simd
    for (int64_t i = 0; i < part.width; i++) {
        gain[i] += y_gradient[i] * ((value_of(part, fixed, i) - m.mean) * m.inverse);
        bias[i] += y_gradient[i];
    }
}

RF_INLINE void differentiate(const stream_row *row, bool fixed,
                             const rf_layer_norm_backward *backward, const float *y_gradient,
                             float *const x_gradients[2], const column_sums *sums)
{
    const float *gain = backward->gain.data;
    moments m = moments_of(row, fixed, backward->epsilon);
    float lanes[2][RF_LANES] = {{0.0F}};
    int64_t offsets[2] = {0, row->parts[0].width};
    for (int i = 0; i < 2; i++) {
        add_products(row->parts[i], fixed, m, gain + offsets[i], y_gradient + offsets[i], lanes);
    }
    float count = (float)(row->parts[0].width + row->parts[1].width);
    const float means[2] = {rf_cpu_sum_lanes(lanes[0]) / count, rf_cpu_sum_lanes(lanes[1]) / count};
    for (int i = 0; i < 2; i++) {
        stream_part part = row->parts[i];
        const float *from = y_gradient + offsets[i];
        if (backward->write) {
            differentiate_part(part, fixed, m, means, gain + offsets[i], from, true,
                               x_gradients[i]);
        } else {
            differentiate_part(part, fixed, m, means, gain + offsets[i], from, false,
                               x_gradients[i]);
        }
        add_columns(part, fixed, m, from, sums->gain + offsets[i], sums->bias + offsets[i]);
    }
}

RF_VECTOR_CLONES static void
differentiate_float(const stream_row *row, const rf_layer_norm_backward *backward,
                    const float *y_gradient, float *const x_gradients[2], const column_sums *sums)
{
    differentiate(row, false, backward, y_gradient, x_gradients, sums);
}

RF_VECTOR_CLONES static void
differentiate_fixed(const stream_row *row, const rf_layer_norm_backward *backward,
                    const float *y_gradient, float *const x_gradients[2], const column_sums *sums)
{
    differentiate(row, true, backward, y_gradient, x_gradients, sums);
}

/* What a block works in. `real` [2, width] holds a row of y_gradient, where it is bf16 or behind
 * dropout, and one of x's gradients where they are bf16. */
typedef struct block_scratch {
    column_sums block, run;
    float *real;
} block_scratch;

/* The floats of row `row` of a stream's gradient: in place, or in `to`, with what they add to. */
static float *open_row(const rf_tensor *gradient, int64_t row, bool write, float *to)
{
    if (rf_tensor_is_absent(gradient)) {
        return to; /* nothing is written: that part has no width */
    }
    const int64_t width = gradient->shape[1];
    if (!write) {
        (void)rf_cpu_real_read(gradient, row * width, width, to);
    }
    return rf_cpu_real_target(gradient, row * width, to);
}

static void close_row(const rf_tensor *gradient, int64_t row, const float *from)
{
    if (!rf_tensor_is_absent(gradient)) {
        rf_cpu_real_store(gradient, row * gradient->shape[1], gradient->shape[1], from);
    }
}

/* Row `row` of y_gradient [width] as floats, before dropout: in place, or in `to`. */
static const float *upper_row(const rf_layer_norm_backward *backward, int64_t row, float *to)
{
    int64_t width = backward->y_gradient.shape[1];
    const float *from = rf_cpu_real_read(&backward->y_gradient, row * width, width, to);
    if (backward->probability == 0.0F) {
        return from;
    }
    uint64_t origin = (uint64_t)((backward->first_row + row) * width);
    rf_cpu_drop(&backward->key, backward->probability, origin, from, to, width);
    for (int64_t i = 0; i < width && backward->y_gradient.dtype == RF_BF16; i++) {
        to[i] = rf_cpu_widen_one(rf_cpu_round_one(to[i]));
    }
    return to;
}

static void differentiate_rows(const rf_layer_norm_backward *backward, int64_t first, int64_t end,
                               const block_scratch *scratch)
{
    int64_t width = backward->y_gradient.shape[1];
    bool fixed = backward->x.dtype == RF_FIXED32;
    float *gradients = scratch->real + width;
    for (int64_t r = first; r < end; r++) {
        stream_row row = row_at(&backward->x, &backward->x2, backward->fraction_bits, r);
        const float *y_gradient = upper_row(backward, r, scratch->real);
        float *const x_gradients[2] = {
            open_row(&backward->x_gradient, r, backward->write, gradients),
            open_row(&backward->x2_gradient, r, backward->write, gradients + row.parts[0].width)};
        (fixed ? differentiate_fixed : differentiate_float)(&row, backward, y_gradient, x_gradients,
                                                            &scratch->run);
        close_row(&backward->x_gradient, r, x_gradients[0]);
        close_row(&backward->x2_gradient, r, x_gradients[1]);
    }
}

RF_VECTOR_CLONES static void add_to(float *sum, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sum[i] += x[i];
    }
}

/* Rows of a block: as few blocks as give every thread of a large machine work. */
static int64_t rows_per_block(int64_t rows)
{
    int64_t per_block = rf_cpu_blocks(rows, MAX_ROW_BLOCKS);
    return per_block > ROWS ? per_block : ROWS;
}

/* scratch [SCRATCH_ROWS, width]: sums of gain and bias gradients, the same of the run, and two rows
 * for what is bf16. */
static void differentiate_block(const rf_layer_norm_backward *backward, int64_t first, int64_t end,
                                float *scratch)
{
    int64_t width = backward->y_gradient.shape[1];
    size_t two = (size_t)(2 * width) * sizeof(float);
    const block_scratch parts = {.block = {scratch, scratch + width},
                                 .run = {scratch + 2 * width, scratch + 3 * width},
                                 .real = scratch + 4 * width};
    memset(parts.block.gain, 0, two);
    for (int64_t r = first; r < end; r += RUN_ROWS) {
        memset(parts.run.gain, 0, two);
        differentiate_rows(backward, r, r + RUN_ROWS < end ? r + RUN_ROWS : end, &parts);
        add_to(parts.block.gain, parts.run.gain, 2 * width);
    }
}

size_t rf_cpu_layer_norm_backward_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_layer_norm_backward *backward = arguments;
    (void)device;
    int64_t rows = backward->y_gradient.shape[0];
    int64_t blocks = rf_cpu_blocks(rows, rows_per_block(rows));
    int64_t width = backward->y_gradient.shape[1];
    return (size_t)(blocks * SCRATCH_ROWS * width) * sizeof(float);
}

rf_status rf_cpu_layer_norm_backward(rf_device *device, const void *arguments, void *scratch,
                                     rf_error *error)
{
    const rf_layer_norm_backward *backward = arguments;
    int64_t rows = backward->y_gradient.shape[0];
    int64_t width = backward->y_gradient.shape[1];
    int64_t per_block = rows_per_block(rows);
    int64_t blocks = rf_cpu_blocks(rows, per_block);
    int64_t size = SCRATCH_ROWS * width;
    float *sums = scratch; /* [blocks, SCRATCH_ROWS, width] */
    int threads = rf_cpu_threads(device, blocks, per_block * width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * per_block;
        int64_t end = first + rf_cpu_block_length(rows, per_block, b);
        differentiate_block(backward, first, end, sums + b * size);
    }
    for (int64_t b = 0; b < blocks; b++) {
        add_to(backward->gain_gradient.data, sums + b * size, width);
        add_to(backward->bias_gradient.data, sums + b * size + width, width);
    }
    if (rf_tensor_is_absent(&backward->y)) {
        return RF_OK;
    }
    const rf_layer_norm norm = {.x = backward->x,
                                .x2 = backward->x2,
                                .fraction_bits = backward->fraction_bits,
                                .gain = backward->gain,
                                .bias = backward->bias,
                                .epsilon = backward->epsilon,
                                .y = backward->y,
                                .probability = backward->probability,
                                .key = backward->key,
                                .first_row = backward->first_row};
    return rf_cpu_layer_norm(device, &norm, NULL, error);
}
