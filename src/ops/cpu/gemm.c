/* Matrix product, cut into tiles by its shape alone: every tile is one product on one thread, so
 * that the bits do not depend on the number of threads. A weight gradient (few rows and columns, a
 * long inner dimension) has few tiles; then the inner dimension is cut too, into partial products
 * in scratch that are added in order.
 *
 * Sums are f32. They stand in c itself where it is f32; a bf16 c is written once, from a tile of
 * sums that its thread keeps in scratch, or from the partial products. Time 2 m n k; scratch m n
 * for each part beside c, and with bf16 half a megabyte a thread. */
#include "ops/cpu/gemm_tile.h"
#include "ops/cpu/gemm_tile_bf16.h"
#include "ops/cpu/real.h"
#include "ops/ops.h"

#include <omp.h>

enum {
    TILE_ROWS = RF_CPU_BF16_ROWS,
    TILE_COLUMNS = RF_CPU_BF16_COLUMNS,
    ENOUGH_TILES = 16, /* fewer than that, and the inner dimension is cut */
    LEAST_DEPTH = 512, /* of a part of the inner dimension */
    FINISH_ROWS = 16,  /* that one thread takes at a time where sums are finished afterwards */
    OWN_FLOATS = RF_CPU_BF16_PANELS + TILE_ROWS * TILE_COLUMNS /* of a thread, with bf16 */
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

/* One call. */
typedef struct gemm_job {
    const rf_gemm *gemm;
    cut by;
    float *partial; /* [stored_parts, m, n] */
    float *own;     /* [threads, OWN_FLOATS]; NULL without bf16 */
} gemm_job;

/* Partial products in scratch: the first of them is c itself where it holds the sums. */
static int64_t stored_parts(const rf_gemm *gemm, const cut *by)
{
    return gemm->c.dtype == RF_F32 || by->parts == 1 ? by->parts - 1 : by->parts;
}

/* ---- what follows the sums --------------------------------------------------------------- */

RF_VECTOR_CLONES static void add_floats(float *sums, const float *x, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        sums[i] += x[i];
    }
}

RF_VECTOR_CLONES static void add_bf16(float *sums, const uint16_t *x, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        sums[i] += rf_cpu_widen_one(x[i]);
    }
}

RF_VECTOR_CLONES static void apply_relu(float *sums, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        sums[i] = sums[i] < 0.0F ? 0.0F : sums[i]; /* keeps NaN */
    }
}

/* Columns [column, column + count) of a row of c from their sums [count], which change; they are c
 * itself where it is f32. */
static void finish_row(const rf_gemm *gemm, int64_t row, int64_t column, int64_t count, float *sums)
{
    const bool rounds = gemm->c.dtype == RF_BF16;
    uint16_t *c = rounds ? (uint16_t *)gemm->c.data + row * gemm->c.leading + column : NULL;
    if (rounds && gemm->accumulate) {
        add_bf16(sums, c, count);
    }
    if (gemm->bias.dtype == RF_F32) {
        add_floats(sums, (const float *)gemm->bias.data + column, count);
    } else if (gemm->bias.dtype == RF_BF16) {
        add_bf16(sums, (const uint16_t *)gemm->bias.data + column, count);
    }
    if (gemm->relu) {
        apply_relu(sums, count);
    }
    if (rounds) {
        rf_cpu_round(sums, c, count);
    }
}

/* Rows [row, row + rows) of c: add the partial products in order, then finish. */
static void finish_rows(const gemm_job *job, int64_t row, int64_t rows)
{
    const rf_gemm *gemm = job->gemm;
    const int64_t n = job->by.n;
    const int64_t stored = stored_parts(gemm, &job->by);
    const bool in_place = gemm->c.dtype == RF_F32;
    for (int64_t i = row; i < row + rows; i++) {
        float *sums = in_place ? (float *)gemm->c.data + i * gemm->c.leading : job->partial + i * n;
        for (int64_t part = in_place ? 0 : 1; part < stored; part++) {
            add_floats(sums, job->partial + (part * job->by.m + i) * n, n);
        }
        finish_row(gemm, i, 0, n, sums);
    }
}

/* ---- tiles ------------------------------------------------------------------------------- */

/* Where the sums of a tile go: c, partial products, or (own) the thread's, in that order. */
static void place_sums(const gemm_job *job, int64_t part, int64_t row, int64_t column, float *own,
                       rf_cpu_tile *tile)
{
    const rf_gemm *gemm = job->gemm;
    const int64_t in_c = job->by.parts - stored_parts(gemm, &job->by);
    if (gemm->c.dtype == RF_F32 && part == 0) {
        tile->c = (float *)gemm->c.data + row * gemm->c.leading + column;
        tile->c_leading = gemm->c.leading;
        tile->accumulate = gemm->accumulate;
    } else if (job->by.parts > 1) {
        tile->c = job->partial + ((part - in_c) * job->by.m + row) * job->by.n + column;
        tile->c_leading = job->by.n;
    } else {
        tile->c = own;
        tile->c_leading = TILE_COLUMNS;
    }
}

/* One tile of one part. */
static void multiply_tile(const gemm_job *job, rf_cpu_bf16_worker *worker, int64_t index)
{
    const rf_gemm *gemm = job->gemm;
    const cut *by = &job->by;
    const int64_t column = index % by->column_tiles * TILE_COLUMNS;
    const int64_t row = index / by->column_tiles % by->row_tiles * TILE_ROWS;
    const int64_t part = index / by->column_tiles / by->row_tiles;
    const int64_t first = part * by->depth;
    const rf_matrix *a = &gemm->a;
    const rf_matrix *b = &gemm->b;
    const int64_t a_at = gemm->transpose_a ? first * a->leading + row : row * a->leading + first;
    const int64_t b_at =
        gemm->transpose_b ? column * b->leading + first : first * b->leading + column;
    float *own = job->own == NULL ? NULL : worker->panels + RF_CPU_BF16_PANELS;
    rf_cpu_tile tile = {.transpose_a = gemm->transpose_a,
                        .transpose_b = gemm->transpose_b,
                        .a_leading = a->leading,
                        .b_leading = b->leading};
    tile.m = by->m - row < TILE_ROWS ? by->m - row : TILE_ROWS;
    tile.n = by->n - column < TILE_COLUMNS ? by->n - column : TILE_COLUMNS;
    tile.k = by->k - first < by->depth ? by->k - first : by->depth;
    place_sums(job, part, row, column, own, &tile);
    if (a->dtype == RF_F32) {
        tile.a = (const float *)a->data + a_at;
        tile.b = (const float *)b->data + b_at;
        rf_cpu_gemm_tile(&tile);
    } else {
        rf_cpu_gemm_tile_bf16(worker, &tile, (uint16_t *)a->data + a_at,
                              (uint16_t *)b->data + b_at);
    }
    for (int64_t i = 0; own != NULL && tile.c == own && i < tile.m; i++) {
        finish_row(gemm, row + i, column, tile.n, own + i * TILE_COLUMNS);
    }
}

/* ---- the call ---------------------------------------------------------------------------- */

static int64_t tiles_of(const cut *by)
{
    return by->row_tiles * by->column_tiles * by->parts;
}

static int threads_of(const rf_device *device, const cut *by)
{
    const int64_t tiles = tiles_of(by);
    return rf_cpu_threads(device, tiles, by->m * by->n * by->k / (tiles > 0 ? tiles : 1));
}

size_t rf_cpu_gemm_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_gemm *gemm = arguments;
    const cut by = cut_by_shape(gemm);
    const int64_t own = gemm->a.dtype == RF_BF16 ? threads_of(device, &by) * OWN_FLOATS : 0;
    return (size_t)(stored_parts(gemm, &by) * by.m * by.n + own) * sizeof(float);
}

static void multiply_tiles(const gemm_job *job, int threads)
{
    const int64_t tiles = tiles_of(&job->by);
#pragma omp parallel num_threads(threads)
    {
        rf_cpu_bf16_worker worker = {0};
        if (job->own != NULL) {
            worker.panels = job->own + (int64_t)omp_get_thread_num() * OWN_FLOATS;
        }
#pragma omp for schedule(static)
        for (int64_t index = 0; index < tiles; index++) {
            multiply_tile(job, &worker, index);
        }
        rf_cpu_bf16_worker_clear(&worker);
    }
}

rf_status rf_cpu_gemm(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    (void)error;
    const rf_gemm *gemm = arguments;
    gemm_job job = {.gemm = gemm, .by = cut_by_shape(gemm), .partial = scratch};
    const cut *by = &job.by;
    const int threads = threads_of(device, by);
    if (gemm->a.dtype == RF_BF16) {
        job.own = job.partial + stored_parts(gemm, by) * by->m * by->n;
    }
    multiply_tiles(&job, threads);
    const bool in_place = gemm->c.dtype == RF_F32;
    const bool is_plain = rf_tensor_is_absent(&gemm->bias) && !gemm->relu;
    if (by->parts == 1 && (!in_place || is_plain)) {
        return RF_OK;
    }
    const int64_t blocks = rf_cpu_blocks(by->m, FINISH_ROWS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        finish_rows(&job, block * FINISH_ROWS, rf_cpu_block_length(by->m, FINISH_ROWS, block));
    }
    return RF_OK;
}
