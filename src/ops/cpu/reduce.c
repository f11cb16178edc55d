/* Sums. Scalars: fixed blocks give partial sums in double, which are added in order; one read of
 * memory. Column sums: a thread owns columns and walks the rows, 128 at a time, so that a long
 * column is a sum of short sums. Checksum: integers, where order does not matter. */
#include "ops/cpu/real.h"

enum { BLOCK = 65536, COLUMNS = 64, ROWS = 128 };

double rf_cpu_sum_doubles(const double lanes[RF_LANES])
{
    double sum = 0.0;
    for (int i = 0; i < RF_LANES; i++) {
        sum += lanes[i];
    }
    return sum;
}

RF_VECTOR_CLONES static double sum_block(const float *x, int64_t count)
{
    double lanes[RF_LANES] = {0.0};
    int64_t whole = count - count % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            lanes[lane] += (double)x[i + lane];
        }
    }
    for (int64_t i = whole; i < count; i++) {
        lanes[i - whole] += (double)x[i];
    }
    return rf_cpu_sum_doubles(lanes);
}

RF_VECTOR_CLONES double rf_cpu_sum_squares(const float *x, int64_t count)
{
    double lanes[RF_LANES] = {0.0};
    int64_t whole = count - count % RF_LANES;
    for (int64_t i = 0; i < whole; i += RF_LANES) {
        for (int lane = 0; lane < RF_LANES; lane++) {
            lanes[lane] += (double)x[i + lane] * (double)x[i + lane];
        }
    }
    for (int64_t i = whole; i < count; i++) {
        lanes[i - whole] += (double)x[i] * (double)x[i];
    }
    return rf_cpu_sum_doubles(lanes);
}

RF_VECTOR_CLONES static uint64_t checksum_block(const uint32_t *words, int64_t first, int64_t count)
{
    uint64_t sum = 0;
    for (int64_t i = first; i < first + count; i++) {
        sum += (uint64_t)words[i] * (2U * (uint64_t)i + 1U);
    }
    return sum;
}

/* y [columns] += the columns [column, column + columns) of x [rows, width]; columns <= COLUMNS. x
 * is of bf16 numbers if `bf16`, of floats otherwise. */
RF_INLINE void add_columns(const rf_tensor *x, bool bf16, int64_t column, int64_t columns, float *y)
{
    const int64_t rows = x->shape[0];
    const int64_t width = x->shape[1];
    float total[COLUMNS] = {0.0F};
    for (int64_t first = 0; first < rows; first += ROWS) {
        float part[COLUMNS] = {0.0F};
        int64_t end = first + ROWS < rows ? first + ROWS : rows;
        for (int64_t r = first; r < end; r++) {
            const float *floats = (const float *)x->data + r * width + column;
            const uint16_t *halves = (const uint16_t *)x->data + r * width + column;
            for (int64_t c = 0; c < columns; c++) {
                part[c] += bf16 ? rf_cpu_widen_one(halves[c]) : floats[c];
            }
        }
        for (int64_t c = 0; c < columns; c++) {
            total[c] += part[c];
        }
    }
    for (int64_t c = 0; c < columns; c++) {
        y[c] += total[c];
    }
}

RF_VECTOR_CLONES static void add_columns_f32(const rf_tensor *x, int64_t column, int64_t columns,
                                             float *y)
{
    add_columns(x, false, column, columns, y);
}

RF_VECTOR_CLONES static void add_columns_bf16(const rf_tensor *x, int64_t column, int64_t columns,
                                              float *y)
{
    add_columns(x, true, column, columns, y);
}

void rf_cpu_add_columns(const rf_device *device, const rf_tensor *x, const rf_tensor *to)
{
    if (rf_tensor_is_absent(to)) {
        return;
    }
    float *y = to->data;
    int64_t width = x->shape[1];
    int64_t blocks = rf_cpu_blocks(width, COLUMNS);
    int threads = rf_cpu_threads(device, blocks, x->shape[0] * COLUMNS);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t columns = rf_cpu_block_length(width, COLUMNS, b);
        (x->dtype == RF_BF16 ? add_columns_bf16 : add_columns_f32)(x, b * COLUMNS, columns,
                                                                   y + b * COLUMNS);
    }
}

static void checksum(const rf_device *device, const rf_reduce *reduce)
{
    const uint32_t *words = reduce->x.data;
    int64_t count = rf_tensor_count(&reduce->x);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        sum += checksum_block(words, b * BLOCK, rf_cpu_block_length(count, BLOCK, b));
    }
    memcpy(reduce->y.data, &sum, sizeof sum);
}

size_t rf_cpu_reduce_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_reduce *reduce = arguments;
    (void)device;
    bool scalar = reduce->kind == RF_REDUCE_SUM || reduce->kind == RF_REDUCE_SUM_SQUARES;
    int64_t blocks = rf_cpu_blocks(rf_tensor_count(&reduce->x), BLOCK);
    return scalar ? (size_t)blocks * sizeof(double) : 0;
}

/* `partial` [blocks] is scratch. */
static void sum(const rf_device *device, const rf_reduce *reduce, double *partial)
{
    const float *x = reduce->x.data;
    int64_t count = rf_tensor_count(&reduce->x);
    int64_t blocks = rf_cpu_blocks(count, BLOCK);
    bool squares = reduce->kind == RF_REDUCE_SUM_SQUARES;
#pragma omp parallel for schedule(static) num_threads(rf_cpu_threads(device, blocks, BLOCK))
    for (int64_t b = 0; b < blocks; b++) {
        int64_t length = rf_cpu_block_length(count, BLOCK, b);
        partial[b] =
            squares ? rf_cpu_sum_squares(x + b * BLOCK, length) : sum_block(x + b * BLOCK, length);
    }
    double total = 0.0;
    for (int64_t b = 0; b < blocks; b++) {
        total += partial[b];
    }
    *(double *)reduce->y.data = total;
}

rf_status rf_cpu_reduce(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_reduce *reduce = arguments;
    (void)error;
    if (reduce->kind == RF_REDUCE_COLUMN_SUM) {
        rf_cpu_add_columns(device, &reduce->x, &reduce->y);
    } else if (reduce->kind == RF_REDUCE_CHECKSUM) {
        checksum(device, reduce);
    } else {
        sum(device, reduce, scratch);
    }
    return RF_OK;
}
