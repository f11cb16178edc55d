/* Rows of a table, and the sum of their gradients. Backward: each thread owns columns and walks all
 * rows in order, so that the sums have one order and no two threads write one number. */
#include "ops/cpu/cpu.h"

enum { ROWS = 64, COLUMNS = 32 };

static void look_up(const rf_embedding *embedding, int64_t first, int64_t count)
{
    const int32_t *ids = embedding->ids.data;   /* [rows] */
    const float *table = embedding->table.data; /* [vocabulary, width] */
    float *y = embedding->y.data;               /* [rows, width] */
    int64_t width = embedding->table.shape[1];
    for (int64_t r = first; r < first + count; r++) {
        RF_ASSERT(ids[r] >= 0 && ids[r] < embedding->table.shape[0]);
        memcpy(y + r * width, table + ids[r] * width, (size_t)width * sizeof(float));
    }
}

rf_status rf_cpu_embedding(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_embedding *embedding = arguments;
    (void)scratch;
    (void)error;
    int64_t rows = embedding->ids.shape[0];
    int64_t blocks = rf_cpu_blocks(rows, ROWS);
    int threads = rf_cpu_threads(device, blocks, ROWS * embedding->table.shape[1]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        look_up(embedding, b * ROWS, rf_cpu_block_length(rows, ROWS, b));
    }
    return RF_OK;
}

RF_VECTOR_CLONES static void add_columns(const int32_t *ids, const float *y_gradient, int64_t rows,
                                         int64_t width, int64_t columns, float *table_gradient)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *from = y_gradient + r * width;
        float *to = table_gradient + ids[r] * width;
        for (int64_t c = 0; c < columns; c++) {
            to[c] += from[c];
        }
    }
}

rf_status rf_cpu_embedding_backward(rf_device *device, const void *arguments, void *scratch,
                                    rf_error *error)
{
    const rf_embedding_backward *backward = arguments;
    (void)scratch;
    (void)error;
    const int32_t *ids = backward->ids.data;
    const float *y_gradient = backward->y_gradient.data;
    float *table_gradient = backward->table_gradient.data;
    int64_t rows = backward->ids.shape[0];
    int64_t width = backward->table_gradient.shape[1];
    int64_t blocks = rf_cpu_blocks(width, COLUMNS);
    int threads = rf_cpu_threads(device, blocks, rows * COLUMNS);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * COLUMNS;
        add_columns(ids, y_gradient + first, rows, width, rf_cpu_block_length(width, COLUMNS, b),
                    table_gradient + first);
    }
    return RF_OK;
}
