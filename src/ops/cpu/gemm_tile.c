/* One matrix product on one thread.
 *
 * The plain loop packs panels of both operands (6 rows of op(a), 16 columns of op(b), up to 256
 * deep) and keeps a 6 x 16 block of sums in registers (Goto, van de Geijn 2008). Its sums run over
 * k in order, in blocks of 256. */
#include "ops/cpu/gemm_tile.h"

#include "ops/cpu/cpu.h"

#include <omp.h>
#include <string.h>

#if RF_WITH_ONEDNN
#include <dnnl.h>
#include <signal.h>

enum { DEPTH_ON_STACK = 64 };

/* oneDNN's products for AVX and AVX-512 reach the panel that they pack by the stack pointer, in
 * versions up to 3.11.1, and a panel of more than four pages lies in a block of the heap: from a
 * depth of 253 on with AVX, of 85 with AVX-512. The frame of a signal's handler that ran then would
 * be written over what lies below that block, so signals wait for the end of such a product. Faults
 * of the product itself do not. */
static void hold_signals(sigset_t *before)
{
    sigset_t held;
    sigfillset(&held);
    sigdelset(&held, SIGSEGV);
    sigdelset(&held, SIGBUS);
    sigdelset(&held, SIGILL);
    sigdelset(&held, SIGFPE);
    (void)pthread_sigmask(SIG_BLOCK, &held, before);
}

/* oneDNN takes its number of threads from OpenMP's settings of the calling thread. */
static bool library_product(const rf_cpu_tile *tile)
{
    const int threads = omp_get_max_threads();
    const bool is_deep = tile->k > DEPTH_ON_STACK;
    sigset_t before;
    if (is_deep) {
        hold_signals(&before);
    }
    omp_set_num_threads(1);
    const dnnl_status_t status =
        dnnl_sgemm(tile->transpose_a ? 'T' : 'N', tile->transpose_b ? 'T' : 'N', tile->m, tile->n,
                   tile->k, 1.0F, tile->a, tile->a_leading, tile->b, tile->b_leading,
                   tile->accumulate ? 1.0F : 0.0F, tile->c, tile->c_leading);
    omp_set_num_threads(threads);
    if (is_deep) {
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return status == dnnl_success;
}
#else
static bool library_product(const rf_cpu_tile *tile)
{
    (void)tile;
    return false;
}
#endif

/* Eight floats, at any address. */
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));

enum { PANEL_ROWS = 6, PANEL_COLUMNS = 16, DEPTH = 256, STRIP_COLUMNS = 64 };

/* Rows [row, row + rows) of op(a) at depths [first, first + depth): packed [depth, PANEL_ROWS],
 * missing rows 0. */
static void pack_a(const rf_cpu_tile *tile, int64_t row, int64_t rows, int64_t first, int64_t depth,
                   float *packed)
{
    const int64_t row_step = tile->transpose_a ? 1 : tile->a_leading;
    const int64_t depth_step = tile->transpose_a ? tile->a_leading : 1;
    const float *from = tile->a + row * row_step + first * depth_step;
    for (int64_t p = 0; p < depth; p++) {
        for (int64_t i = 0; i < PANEL_ROWS; i++) {
            packed[p * PANEL_ROWS + i] = i < rows ? from[i * row_step + p * depth_step] : 0.0F;
        }
    }
}

/* Columns [column, column + columns) of op(b) at depths [first, first + depth): packed [depth,
 * PANEL_COLUMNS], missing columns 0. */
static void pack_b(const rf_cpu_tile *tile, int64_t column, int64_t columns, int64_t first,
                   int64_t depth, float *packed)
{
    const int64_t column_step = tile->transpose_b ? tile->b_leading : 1;
    const int64_t depth_step = tile->transpose_b ? 1 : tile->b_leading;
    const float *from = tile->b + column * column_step + first * depth_step;
    for (int64_t p = 0; p < depth; p++) {
        for (int64_t j = 0; j < PANEL_COLUMNS; j++) {
            packed[p * PANEL_COLUMNS + j] =
                j < columns ? from[j * column_step + p * depth_step] : 0.0F;
        }
    }
}

/* sums [PANEL_ROWS, PANEL_COLUMNS] = a^T b. a [depth, PANEL_ROWS], b [depth, PANEL_COLUMNS]. */
RF_VECTOR_CLONES static void multiply_panels(int64_t depth, const float *a, const float *b,
                                             float *sums)
{
    lanes sum[PANEL_ROWS][2];
    memset(sum, 0, sizeof sum);
    for (int64_t p = 0; p < depth; p++) {
        const lanes b0 = *(const lanes *)(const void *)(b + p * PANEL_COLUMNS);
        const lanes b1 = *(const lanes *)(const void *)(b + p * PANEL_COLUMNS + 8);
        for (int i = 0; i < PANEL_ROWS; i++) {
            const float x = a[p * PANEL_ROWS + i];
            sum[i][0] += x * b0;
            sum[i][1] += x * b1;
        }
    }
    memcpy(sums, sum, sizeof sum);
}

/* Where a block of sums goes. */
static void store_sums(const rf_cpu_tile *tile, int64_t row, int64_t column, bool add,
                       const float *sums)
{
    const int64_t rows = tile->m - row < PANEL_ROWS ? tile->m - row : PANEL_ROWS;
    const int64_t columns = tile->n - column < PANEL_COLUMNS ? tile->n - column : PANEL_COLUMNS;
    for (int64_t i = 0; i < rows; i++) {
        float *to = tile->c + (row + i) * tile->c_leading + column;
        for (int64_t j = 0; j < columns; j++) {
            const float sum = sums[i * PANEL_COLUMNS + j];
            to[j] = add ? to[j] + sum : sum;
        }
    }
}

/* One strip of up to STRIP_COLUMNS columns at depths [first, first + depth), whose b is packed. */
static void multiply_strip(const rf_cpu_tile *tile, int64_t column, int64_t first, int64_t depth,
                           const float *packed_b)
{
    float packed_a[DEPTH * PANEL_ROWS];
    float sums[PANEL_ROWS * PANEL_COLUMNS];
    const int64_t end = column + STRIP_COLUMNS < tile->n ? column + STRIP_COLUMNS : tile->n;
    const bool add = tile->accumulate || first > 0;
    for (int64_t row = 0; row < tile->m; row += PANEL_ROWS) {
        const int64_t rows = tile->m - row < PANEL_ROWS ? tile->m - row : PANEL_ROWS;
        pack_a(tile, row, rows, first, depth, packed_a);
        for (int64_t j = column; j < end; j += PANEL_COLUMNS) {
            multiply_panels(depth, packed_a, packed_b + (j - column) * DEPTH, sums);
            store_sums(tile, row, j, add, sums);
        }
    }
}

static void fill_zero(const rf_cpu_tile *tile)
{
    for (int64_t i = 0; i < tile->m; i++) {
        memset(tile->c + i * tile->c_leading, 0, (size_t)tile->n * sizeof(float));
    }
}

void rf_cpu_gemm_tile_plain(const rf_cpu_tile *tile)
{
    float packed_b[DEPTH * STRIP_COLUMNS];
    if (tile->k == 0 && !tile->accumulate && tile->n > 0) {
        fill_zero(tile);
    }
    for (int64_t first = 0; first < tile->k; first += DEPTH) {
        const int64_t depth = tile->k - first < DEPTH ? tile->k - first : DEPTH;
        for (int64_t column = 0; column < tile->n; column += STRIP_COLUMNS) {
            for (int64_t j = column; j < tile->n && j < column + STRIP_COLUMNS;
                 j += PANEL_COLUMNS) {
                const int64_t columns = tile->n - j < PANEL_COLUMNS ? tile->n - j : PANEL_COLUMNS;
                pack_b(tile, j, columns, first, depth, packed_b + (j - column) * DEPTH);
            }
            multiply_strip(tile, column, first, depth, packed_b);
        }
    }
}

void rf_cpu_gemm_tile(const rf_cpu_tile *tile)
{
    RF_ASSERT(!(tile->transpose_a && tile->transpose_b));
    const bool is_empty = tile->m == 0 || tile->n == 0 || tile->k == 0;
    /* oneDNN fails only where it finds no memory for its own packing; the plain loop needs none. */
    if (is_empty || !library_product(tile)) {
        rf_cpu_gemm_tile_plain(tile);
    }
}
