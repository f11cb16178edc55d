/* Matrix product, cut into tiles by its shape alone: every tile is one product on one thread, so
 * the bits do not depend on the number of threads. A weight gradient (few rows and columns, a long
 * inner dimension) has few tiles; then the inner dimension is cut too, into partial products in
 * scratch that are added in order. Time 2 m n k; scratch (parts - 1) m n. */
#include "ops/cpu/cpu.h"
#include "ops/cpu/gemm_tile.h"
#include "ops/ops.h"

enum {
    TILE_ROWS = 128,
    TILE_COLUMNS = 256,
    ENOUGH_TILES = 16, /* fewer than that, and the inner dimension is cut */
    LEAST_DEPTH = 512, /* of a part of the inner dimension */
    FINISH_ROWS =
        16 /* that one thread takes at a time, where partial products or a bias are added */
};

/* How a product is cut. */
typedef struct cut {
    int64_t m, n, k;
    int64_t row_tiles, column_tiles;
    int64_t parts, depth; /* of the inner dimension; `depth` for all parts but the last */
} cut;

static cut cut_by_shape(const rf_gemm *gemm)
{
    cut result = {.m = gemm->c.rows, .n = gemm->c.columns};
    result.k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    result.row_tiles = rf_cpu_blocks(result.m, TILE_ROWS);
    result.column_tiles = rf_cpu_blocks(result.n, TILE_COLUMNS);
    const int64_t tiles = result.row_tiles * result.column_tiles;
    int64_t parts = tiles > 0 ? ENOUGH_TILES / tiles : 1;
    const int64_t most = result.k / LEAST_DEPTH;
    parts = parts < most ? parts : most;
    parts = parts > 1 ? parts : 1;
    result.depth = rf_cpu_blocks(result.k, parts);
    result.parts = result.k > 0 ? rf_cpu_blocks(result.k, result.depth) : 1;
    return result;
}

/* Rows [row, row + rows) of c: add the partial products after the first, in order, then the bias.
 * partial [parts - 1, m, n]. */
static void finish_rows(const rf_gemm *gemm, const cut *by, const float *partial, int64_t row,
                        int64_t rows)
{
    const float *bias = rf_tensor_is_absent(&gemm->bias) ? NULL : gemm->bias.data;
    for (int64_t i = row; i < row + rows; i++) {
        float *c = (float *)gemm->c.data + i * gemm->c.leading;
        for (int64_t part = 0; part + 1 < by->parts; part++) {
            const float *add = partial + (part * by->m + i) * by->n;
            for (int64_t j = 0; j < by->n; j++) {
                c[j] += add[j];
            }
        }
        for (int64_t j = 0; bias != NULL && j < by->n; j++) {
            c[j] += bias[j];
        }
    }
}

/* One tile of one part: the first part goes to c, the others to partial [parts - 1, m, n]. */
static void multiply_tile(const rf_gemm *gemm, const cut *by, float *partial, int64_t index)
{
    const int64_t column = index % by->column_tiles * TILE_COLUMNS;
    const int64_t row = index / by->column_tiles % by->row_tiles * TILE_ROWS;
    const int64_t part = index / by->column_tiles / by->row_tiles;
    const int64_t first = part * by->depth;
    const rf_matrix *a = &gemm->a;
    const rf_matrix *b = &gemm->b;
    rf_cpu_tile tile = {.transpose_a = gemm->transpose_a, .transpose_b = gemm->transpose_b};
    tile.m = by->m - row < TILE_ROWS ? by->m - row : TILE_ROWS;
    tile.n = by->n - column < TILE_COLUMNS ? by->n - column : TILE_COLUMNS;
    tile.k = by->k - first < by->depth ? by->k - first : by->depth;
    tile.a = (const float *)a->data +
             (gemm->transpose_a ? first * a->leading + row : row * a->leading + first);
    tile.a_leading = a->leading;
    tile.b = (const float *)b->data +
             (gemm->transpose_b ? column * b->leading + first : first * b->leading + column);
    tile.b_leading = b->leading;
    if (part == 0) {
        tile.c = (float *)gemm->c.data + row * gemm->c.leading + column;
        tile.c_leading = gemm->c.leading;
        tile.accumulate = gemm->accumulate;
    } else {
        tile.c = partial + ((part - 1) * by->m + row) * by->n + column;
        tile.c_leading = by->n;
    }
    rf_cpu_gemm_tile(&tile);
}

size_t rf_cpu_gemm_scratch_size(const rf_device *device, const void *arguments)
{
    (void)device;
    const cut by = cut_by_shape(arguments);
    return (size_t)((by.parts - 1) * by.m * by.n) * sizeof(float);
}

rf_status rf_cpu_gemm(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    (void)error;
    const rf_gemm *gemm = arguments;
    const cut by = cut_by_shape(gemm);
    float *partial = scratch;
    const int64_t tiles = by.row_tiles * by.column_tiles * by.parts;
    const int threads = rf_cpu_threads(device, tiles, by.m * by.n * by.k / (tiles > 0 ? tiles : 1));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < tiles; index++) {
        multiply_tile(gemm, &by, partial, index);
    }
    if (by.parts == 1 && rf_tensor_is_absent(&gemm->bias)) {
        return RF_OK;
    }
    const int64_t blocks = rf_cpu_blocks(by.m, FINISH_ROWS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t rows = rf_cpu_block_length(by.m, FINISH_ROWS, block);
        finish_rows(gemm, &by, partial, block * FINISH_ROWS, rows);
    }
    return RF_OK;
}
