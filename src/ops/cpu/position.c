/* Position embeddings: rows of tables chosen by the digits of the position (axial embeddings,
 * Kitaev et al. 2020, section 4), or sinusoids (Vaswani et al. 2017, section 3.5, interleaved). One
 * write of y, or one read and write; the backward reads its gradient once, a thread a range of
 * columns, so that sums have one order. */
#include "ops/cpu/cpu.h"

#include <math.h>

enum { ROWS = 64, COLUMNS = 32 };

/* Divisor and modulus of each axis's digit. */
typedef struct digit_set {
    int axes;
    int64_t divisor[RF_MAX_RANK];
    int64_t size[RF_MAX_RANK];
} digit_set;

static digit_set digits_of(const rf_position *position)
{
    digit_set digits = {.axes = position->axes};
    int64_t divisor = 1;
    for (int axis = position->axes - 1; axis >= 0; axis--) {
        digits.divisor[axis] = divisor;
        digits.size[axis] = position->tables[axis].shape[0];
        divisor *= digits.size[axis];
    }
    return digits;
}

static int64_t digit_of(const digit_set *digits, int axis, int64_t place)
{
    return place / digits->divisor[axis] % digits->size[axis];
}

static int64_t place_of(const rf_position *position, int64_t row)
{
    return position->offset + (position->first_row + row) % position->length;
}

/* The factor of a whole row: 0 where its channel is dropped. */
static float scale_of(const rf_position *position, const digit_set *digits, int64_t row)
{
    if (position->probability == 0.0F) {
        return 1.0F;
    }
    int axis = position->axes > 1 ? 1 : 0;
    int64_t sample = (position->first_row + row) / position->length + position->first_sample;
    int64_t channel = sample * digits->size[axis] + digit_of(digits, axis, place_of(position, row));
    float uniform = rf_random_uniform(&position->key, (uint64_t)channel);
    return uniform >= position->probability ? 1.0F / (1.0F - position->probability) : 0.0F;
}

static inline void put(const rf_position *position, float *y, float value)
{
    *y = position->add ? *y + value : value;
}

/* ---- tables ------------------------------------------------------------------------------ */

static void look_up_row(const rf_position *position, const digit_set *digits, int64_t row, float *y)
{
    int64_t place = place_of(position, row);
    float scale = scale_of(position, digits, row);
    for (int axis = 0; axis < position->axes; axis++) {
        int64_t width = position->tables[axis].shape[1];
        const float *table = position->tables[axis].data; /* [n_k, d_k] */
        const float *from = table + digit_of(digits, axis, place) * width;
        for (int64_t c = 0; c < width; c++) {
            put(position, &y[c], scale * from[c]);
        }
        y += width;
    }
}

/* ---- sinusoids --------------------------------------------------------------------------- */

/* Columns 2 i and 2 i + 1 of rows [first, first + count). Angles advance by the addition theorem in
 * double from a position that is a multiple of 64, so that a position has the same bits wherever
 * its row stands. */
static void fill_wave(const rf_position *position, int64_t i, int64_t first, int64_t count,
                      float *y)
{
    int64_t width = position->y.shape[1];
    double rate = pow(10000.0, -2.0 * (double)i / (double)width);
    double turn_sin = sin(rate);
    double turn_cos = cos(rate);
    double wave_sin = 0.0;
    double wave_cos = 1.0;
    int64_t at = -1; /* the position of wave_sin, wave_cos */
    for (int64_t row = first; row < first + count; row++) {
        int64_t place = place_of(position, row);
        if (at < 0 || place < at || place / ROWS != at / ROWS) {
            at = place / ROWS * ROWS;
            wave_sin = sin((double)at * rate);
            wave_cos = cos((double)at * rate);
        }
        for (; at < place; at++) {
            double next = wave_sin * turn_cos + wave_cos * turn_sin;
            wave_cos = wave_cos * turn_cos - wave_sin * turn_sin;
            wave_sin = next;
        }
        put(position, &y[row * width + 2 * i], (float)wave_sin);
        if (2 * i + 1 < width) {
            put(position, &y[row * width + 2 * i + 1], (float)wave_cos);
        }
    }
}

static void fill_rows(const rf_position *position, const digit_set *digits, int64_t first,
                      int64_t count)
{
    int64_t width = position->y.shape[1];
    float *y = position->y.data; /* [rows, width] */
    if (position->kind == RF_POSITION_SINUSOIDAL) {
        for (int64_t i = 0; 2 * i < width; i++) {
            fill_wave(position, i, first, count, y);
        }
        return;
    }
    for (int64_t row = first; row < first + count; row++) {
        look_up_row(position, digits, row, y + row * width);
    }
}

rf_status rf_cpu_position(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_position *position = arguments;
    (void)scratch;
    (void)error;
    digit_set digits = digits_of(position);
    int64_t rows = position->y.shape[0];
    int64_t blocks = rf_cpu_blocks(rows, ROWS);
    int threads = rf_cpu_threads(device, blocks, ROWS * position->y.shape[1]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        fill_rows(position, &digits, b * ROWS, rf_cpu_block_length(rows, ROWS, b));
    }
    return RF_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Columns [first, first + count) of axis `axis`, whose table begins at column `origin` of y. */
static void add_columns(const rf_position_backward *backward, const digit_set *digits, int axis,
                        int64_t origin, int64_t first, int64_t count)
{
    const rf_position *position = &backward->forward;
    int64_t rows = backward->y_gradient.shape[0];
    int64_t width = backward->y_gradient.shape[1];
    int64_t table_width = position->tables[axis].shape[1];
    const float *from = (const float *)backward->y_gradient.data + origin + first;
    float *table = (float *)backward->table_gradients[axis].data + first;
    for (int64_t row = 0; row < rows; row++) {
        float scale = scale_of(position, digits, row);
        float *to = table + digit_of(digits, axis, place_of(position, row)) * table_width;
        for (int64_t c = 0; c < count; c++) {
            to[c] += scale * from[row * width + c];
        }
    }
}

/* The block's axis and columns: axes are cut into blocks of COLUMNS one after the other. */
static void add_block(const rf_position_backward *backward, const digit_set *digits, int64_t block)
{
    int64_t origin = 0;
    for (int axis = 0; axis < digits->axes; axis++) {
        int64_t width = backward->forward.tables[axis].shape[1];
        int64_t blocks = rf_cpu_blocks(width, COLUMNS);
        if (block < blocks) {
            add_columns(backward, digits, axis, origin, block * COLUMNS,
                        rf_cpu_block_length(width, COLUMNS, block));
            return;
        }
        block -= blocks;
        origin += width;
    }
}

rf_status rf_cpu_position_backward(rf_device *device, const void *arguments, void *scratch,
                                   rf_error *error)
{
    const rf_position_backward *backward = arguments;
    (void)scratch;
    (void)error;
    digit_set digits = digits_of(&backward->forward);
    int64_t blocks = 0;
    for (int axis = 0; axis < digits.axes; axis++) {
        blocks += rf_cpu_blocks(backward->forward.tables[axis].shape[1], COLUMNS);
    }
    int threads = rf_cpu_threads(device, blocks, backward->y_gradient.shape[0] * COLUMNS);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        add_block(backward, &digits, b);
    }
    return RF_OK;
}
