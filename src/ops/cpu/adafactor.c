/* Adafactor (Shazeer, Stern 2018) for one parameter. Three passes, since the length of the update
 * and of the value decide its size: moments; sum of the update's squares; the update. The gradient
 * is read three times, the value twice. Blocks are whole rows of a matrix (or runs of a vector),
 * cut by the shape; sums are in double, blocks in order. Scratch: the blocks' column sums. */
#include "ops/cpu/cpu.h"

#include <math.h>

enum { BLOCK = 16384, MOST_BLOCKS = 64, TILE = 512 };

typedef struct work {
    const rf_adafactor *op;
    bool matrix;
    int64_t count, rows, columns; /* a vector is one row */
    int64_t block, blocks;        /* elements of a block */
    float gradient_factor;
    double beta2;
    double *value_squares, *update_squares; /* [blocks] */
    double *column_sums;                    /* [blocks, columns], matrices only */
    float *row_factor, *column_factor;      /* [rows], [columns], matrices only */
} work;

/* What the last pass does to every element. */
typedef struct step_set {
    float size, keep, beta1, rest1;
} step_set;

/* ---- cutting ----------------------------------------------------------------------------- */

static work cut(const rf_adafactor *op)
{
    work w = {.op = op, .matrix = op->value.rank == 2, .count = rf_tensor_count(&op->value)};
    w.rows = w.matrix ? op->value.shape[0] : 1;
    w.columns = w.matrix ? op->value.shape[1] : w.count;
    if (w.count == 0) {
        return w;
    }
    int64_t unit = w.matrix ? w.columns : 1;
    int64_t units = w.count / unit;
    int64_t least = rf_cpu_blocks(units, MOST_BLOCKS);
    int64_t wished = rf_cpu_blocks(BLOCK, unit);
    w.block = unit * (wished > least ? wished : least);
    w.blocks = rf_cpu_blocks(w.count, w.block);
    return w;
}

size_t rf_cpu_adafactor_scratch_size(const rf_device *device, const void *arguments)
{
    work w = cut(arguments);
    (void)device;
    size_t doubles = 2 * (size_t)w.blocks;
    size_t floats = 0;
    if (w.matrix) {
        doubles += (size_t)(w.blocks * w.columns);
        floats = (size_t)(w.rows + w.columns);
    }
    return doubles * sizeof(double) + floats * sizeof(float);
}

static void place(work *w, void *scratch)
{
    w->value_squares = scratch;
    w->update_squares = w->value_squares + w->blocks;
    if (w->matrix) {
        w->column_sums = w->update_squares + w->blocks;
        void *rest = w->column_sums + w->blocks * w->columns;
        w->row_factor = rest;
        w->column_factor = w->row_factor + w->rows;
    }
}

/* ---- loops over neighbours --------------------------------------------------------------- */

/* The scaled gradient's squares, added to sums [count]; gives their sum. */
RF_VECTOR_CLONES static double add_squares(const float *gradient, float factor, int64_t count,
                                           double *sums)
{
    double lanes[RF_LANES] = {0.0};
    int64_t whole = count - count % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            double g = (double)(gradient[i + lane] * factor);
            sums[i + lane] += g * g;
            lanes[lane] += g * g;
        }
    }
    for (int64_t i = whole; i < count; i++) {
        double g = (double)(gradient[i] * factor);
        sums[i] += g * g;
        lanes[i - whole] += g * g;
    }
    return rf_cpu_sum_doubles(lanes);
}

/* u = g * multiplier */
RF_VECTOR_CLONES static void make_updates(const float *gradient, float factor,
                                          const float *multiplier, int64_t count, float *u)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        u[i] = gradient[i] * factor * multiplier[i];
    }
}

RF_VECTOR_CLONES static void mix(float beta1, float rest1, float size, const float *u,
                                 int64_t count, float *first)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        first[i] = beta1 * first[i] + rest1 * (size * u[i]);
    }
}

RF_VECTOR_CLONES static void subtract(float keep, float size, const float *u, int64_t count,
                                      float *value)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        value[i] = value[i] * keep - size * u[i];
    }
}

/* ---- pass one: moments ------------------------------------------------------------------- */

static double added_before(const rf_adafactor *op)
{
    return op->kind == RF_ADAFACTOR_USUAL ? op->epsilon : 0.0;
}

static float mixed(const work *w, float before, double mean)
{
    return (float)(w->beta2 * (double)before + (1.0 - w->beta2) * (mean + added_before(w->op)));
}

static void measure_rows(const work *w, int64_t b)
{
    const float *gradient = w->op->gradient.data;
    float *moment = w->op->row_moment.data;
    double *sums = w->column_sums + b * w->columns;
    int64_t first = b * w->block / w->columns;
    int64_t rows = rf_cpu_block_length(w->count, w->block, b) / w->columns;
    memset(sums, 0, (size_t)w->columns * sizeof *sums);
    for (int64_t r = first; r < first + rows; r++) {
        double sum = add_squares(gradient + r * w->columns, w->gradient_factor, w->columns, sums);
        moment[r] = mixed(w, moment[r], sum / (double)w->columns);
    }
}

static void measure_run(const work *w, int64_t b)
{
    const float *gradient = w->op->gradient.data;
    float *moment = w->op->second_moment.data;
    int64_t first = b * w->block;
    int64_t end = first + rf_cpu_block_length(w->count, w->block, b);
    for (int64_t i = first; i < end; i++) {
        double g = (double)(gradient[i] * w->gradient_factor);
        moment[i] = mixed(w, moment[i], g * g);
    }
}

static void measure(const rf_device *device, const work *w)
{
    const float *value = w->op->value.data;
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, w->blocks, w->block))
    for (int64_t b = 0; b < w->blocks; b++) {
        if (w->matrix) {
            measure_rows(w, b);
        } else {
            measure_run(w, b);
        }
        w->value_squares[b] =
            rf_cpu_sum_squares(value + b * w->block, rf_cpu_block_length(w->count, w->block, b));
    }
}

/* The columns' moments, and what rows and columns of the gradient are multiplied by. */
static void make_factors(const work *w)
{
    const float *rows = w->op->row_moment.data;
    float *columns = w->op->column_moment.data;
    float added = w->op->kind == RF_ADAFACTOR_TRAX ? (float)w->op->epsilon : 0.0F;
    double sum = 0.0;
    for (int64_t r = 0; r < w->rows; r++) {
        sum += (double)rows[r];
    }
    float mean = (float)(sum / (double)w->rows);
    for (int64_t r = 0; r < w->rows; r++) {
        w->row_factor[r] = sqrtf(mean / (rows[r] + added));
    }
    for (int64_t b = 1; b < w->blocks; b++) {
        for (int64_t c = 0; c < w->columns; c++) {
            w->column_sums[c] += w->column_sums[b * w->columns + c];
        }
    }
    for (int64_t c = 0; c < w->columns; c++) {
        columns[c] = mixed(w, columns[c], w->column_sums[c] / (double)w->rows);
        w->column_factor[c] = 1.0F / sqrtf(columns[c] + added);
    }
}

/* ---- passes two and three: the update ---------------------------------------------------- */

/* Of the run of at most TILE elements from `first` on, which stays in its row: the update u.
 * Gives its length. */
static int64_t update_of(const work *w, int64_t first, int64_t end, float *u)
{
    const float *gradient = w->op->gradient.data;
    const float *moment = w->op->second_moment.data;
    float added = w->op->kind == RF_ADAFACTOR_TRAX ? (float)w->op->epsilon : 0.0F;
    float multiplier[TILE];
    int64_t row = first / w->columns;
    int64_t column = first % w->columns;
    int64_t count = end - first < TILE ? end - first : TILE;
    count = count < w->columns - column ? count : w->columns - column;
    for (int64_t i = 0; i < count; i++) {
        multiplier[i] = w->matrix ? w->row_factor[row] * w->column_factor[column + i]
                                  : 1.0F / sqrtf(moment[first + i] + added);
    }
    make_updates(gradient + first, w->gradient_factor, multiplier, count, u);
    return count;
}

static void measure_updates(const rf_device *device, const work *w)
{
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, w->blocks, w->block))
    for (int64_t b = 0; b < w->blocks; b++) {
        float u[TILE];
        int64_t end = b * w->block + rf_cpu_block_length(w->count, w->block, b);
        double sum = 0.0;
        for (int64_t at = b * w->block; at < end;) {
            int64_t count = update_of(w, at, end, u);
            sum += rf_cpu_sum_squares(u, count);
            at += count;
        }
        w->update_squares[b] = sum;
    }
}

static double root_mean(const double *sums, int64_t blocks, int64_t count)
{
    double sum = 0.0;
    for (int64_t b = 0; b < blocks; b++) {
        sum += sums[b];
    }
    return sqrt(sum / (double)count);
}

static step_set steps_of(const work *w)
{
    const rf_adafactor *op = w->op;
    double scale = root_mean(w->value_squares, w->blocks, w->count);
    double length = root_mean(w->update_squares, w->blocks, w->count);
    double size = op->rate;
    if (op->relative) {
        size *= scale > op->least_scale ? scale : op->least_scale;
    }
    double decay = op->weight_decay * (op->kind == RF_ADAFACTOR_TRAX ? 1.0 : size);
    double over = op->clip > 0.0 && length > op->clip ? length / op->clip : 1.0;
    return (step_set){.size = (float)(size / over),
                      .keep = (float)(1.0 - decay),
                      .beta1 = (float)op->beta1,
                      .rest1 = (float)(1.0 - op->beta1)};
}

static void apply_run(const rf_adafactor *op, const step_set *step, int64_t first, int64_t count,
                      const float *u)
{
    float *value = (float *)op->value.data + first;
    if (rf_tensor_is_absent(&op->first_moment)) {
        subtract(step->keep, step->size, u, count, value);
    } else {
        float *moment = (float *)op->first_moment.data + first;
        mix(step->beta1, step->rest1, step->size, u, count, moment);
        subtract(step->keep, 1.0F, moment, count, value);
    }
    if (!rf_tensor_is_absent(&op->rounded)) {
        uint16_t *rounded = (uint16_t *)op->rounded.data + first;
        for (int64_t i = 0; i < count; i++) {
            rounded[i] = rf_f32_to_bf16(value[i]);
        }
    }
}

static void apply(const rf_device *device, const work *w)
{
    const step_set step = steps_of(w);
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, w->blocks, w->block))
    for (int64_t b = 0; b < w->blocks; b++) {
        float u[TILE];
        int64_t end = b * w->block + rf_cpu_block_length(w->count, w->block, b);
        for (int64_t at = b * w->block; at < end;) {
            int64_t count = update_of(w, at, end, u);
            apply_run(w->op, &step, at, count, u);
            at += count;
        }
    }
}

rf_status rf_cpu_adafactor(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_adafactor *op = arguments;
    (void)error;
    work w = cut(op);
    if (w.count == 0) {
        return RF_OK;
    }
    double t = (double)op->update + (op->kind == RF_ADAFACTOR_TRAX ? 1.0 : 0.0);
    w.beta2 = 1.0 - pow(t, -op->decay);
    w.gradient_factor = (float)op->gradient_factor;
    place(&w, scratch);
    measure(device, &w);
    if (w.matrix) {
        make_factors(&w);
    }
    measure_updates(device, &w);
    apply(device, &w);
    return RF_OK;
}
