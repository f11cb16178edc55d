/* One product of bf16 matrices on one thread.
 *
 * oneDNN's product is made for one shape and kept for the next tile, which nearly always has the
 * same. Widening costs (1 / columns + 1 / rows) conversions for each multiplication: a hundredth.
 */
#include "ops/cpu/gemm_tile_bf16.h"

#include "ops/cpu/real.h"

#include <omp.h>
#include <string.h>

#if RF_WITH_ONEDNN
#include <dnnl.h>

/* A matrix as oneDNN wants it. */
typedef struct operand {
    dnnl_data_type_t type;
    dnnl_dims_t sizes, strides; /* of op(matrix) */
} operand;

/* attributes: NULL, or that c is added to. */
#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t append_sum(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0F, 0, dnnl_data_type_undef);
}

static dnnl_status_t make_product(rf_cpu_bf16_worker *worker, const operand operands[3],
                                  const_dnnl_primitive_attr_t attributes)
{
    dnnl_memory_desc_t shapes[3] = {NULL, NULL, NULL};
    dnnl_primitive_desc_t plan = NULL;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        status = dnnl_memory_desc_create_with_strides(&shapes[i], 2, operands[i].sizes,
                                                      operands[i].type, operands[i].strides);
        status = status == dnnl_success ? dnnl_memory_create(&worker->operands[i], shapes[i],
                                                             worker->engine, DNNL_MEMORY_NONE)
                                        : status;
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_primitive_desc_create(&plan, worker->engine, shapes[0], shapes[1],
                                                   NULL, shapes[2], attributes);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&worker->product, plan);
        dnnl_primitive_desc_destroy(plan);
    }
    for (int i = 0; i < 3; i++) {
        dnnl_memory_desc_destroy(shapes[i]);
    }
    return status;
}
#else
static dnnl_status_t append_sum(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0F);
}

static dnnl_status_t make_product(rf_cpu_bf16_worker *worker, const operand operands[3],
                                  const_dnnl_primitive_attr_t attributes)
{
    dnnl_memory_desc_t shapes[3];
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t plan = NULL;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        status = dnnl_memory_desc_init_by_strides(&shapes[i], 2, operands[i].sizes,
                                                  operands[i].type, operands[i].strides);
        status = status == dnnl_success ? dnnl_memory_create(&worker->operands[i], &shapes[i],
                                                             worker->engine, DNNL_MEMORY_NONE)
                                        : status;
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_desc_init(&matmul, &shapes[0], &shapes[1], NULL, &shapes[2]);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_desc_create(&plan, &matmul, attributes, worker->engine, NULL);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&worker->product, plan);
        dnnl_primitive_desc_destroy(plan);
    }
    return status;
}
#endif

static bool has_bf16(void)
{
    return ((unsigned)dnnl_get_effective_cpu_isa() & (unsigned)dnnl_cpu_isa_avx512_core_bf16) ==
           (unsigned)dnnl_cpu_isa_avx512_core_bf16;
}

static operand operand_of(dnnl_data_type_t type, int64_t rows, int64_t columns, int64_t leading,
                          bool transpose)
{
    return (operand){.type = type,
                     .sizes = {rows, columns},
                     .strides = {transpose ? 1 : leading, transpose ? leading : 1}};
}

static void clear_product(rf_cpu_bf16_worker *worker)
{
    dnnl_primitive_destroy(worker->product);
    worker->product = NULL;
    for (int i = 0; i < 3; i++) {
        dnnl_memory_destroy(worker->operands[i]);
        worker->operands[i] = NULL;
    }
}

void rf_cpu_bf16_worker_clear(rf_cpu_bf16_worker *worker)
{
    if (worker->engine == NULL) {
        return;
    }
    clear_product(worker);
    dnnl_stream_destroy(worker->stream);
    dnnl_engine_destroy(worker->engine);
    *worker = (rf_cpu_bf16_worker){.panels = worker->panels};
}

static dnnl_status_t make_accumulating(rf_cpu_bf16_worker *worker, const operand operands[3])
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
    status = status == dnnl_success ? dnnl_post_ops_create(&after) : status;
    status = status == dnnl_success ? append_sum(after) : status;
    status = status == dnnl_success ? dnnl_primitive_attr_set_post_ops(attributes, after) : status;
    status = status == dnnl_success ? make_product(worker, operands, attributes) : status;
    dnnl_post_ops_destroy(after);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

/* oneDNN's product for tiles like this one; false: it has none. */
static bool prepare(rf_cpu_bf16_worker *worker, const rf_cpu_tile *tile)
{
    const operand operands[3] = {
        operand_of(dnnl_bf16, tile->m, tile->k, tile->a_leading, tile->transpose_a),
        operand_of(dnnl_bf16, tile->k, tile->n, tile->b_leading, tile->transpose_b),
        operand_of(dnnl_f32, tile->m, tile->n, tile->c_leading, false)};
    dnnl_status_t status = dnnl_success;
    clear_product(worker);
    worker->made = *tile;
    if (worker->engine == NULL) {
        status = dnnl_engine_create(&worker->engine, dnnl_cpu, 0);
    }
    if (worker->stream == NULL && status == dnnl_success) {
        status = dnnl_stream_create(&worker->stream, worker->engine, dnnl_stream_default_flags);
    }
    if (status == dnnl_success) {
        status = tile->accumulate ? make_accumulating(worker, operands)
                                  : make_product(worker, operands, NULL);
    }
    if (status != dnnl_success) {
        clear_product(worker);
    }
    return status == dnnl_success;
}

static bool is_like(const rf_cpu_tile *a, const rf_cpu_tile *b)
{
    return a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b &&
           a->accumulate == b->accumulate && a->m == b->m && a->n == b->n && a->k == b->k &&
           a->a_leading == b->a_leading && a->b_leading == b->b_leading &&
           a->c_leading == b->c_leading;
}

static bool multiply(const rf_cpu_bf16_worker *worker, void *const data[3])
{
    const int names[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_exec_arg_t arguments[3];
    for (int i = 0; i < 3; i++) {
        if (dnnl_memory_set_data_handle(worker->operands[i], data[i]) != dnnl_success) {
            return false;
        }
        arguments[i] = (dnnl_exec_arg_t){.arg = names[i], .memory = worker->operands[i]};
    }
    return dnnl_primitive_execute(worker->product, worker->stream, 3, arguments) == dnnl_success &&
           dnnl_stream_wait(worker->stream) == dnnl_success;
}

/* oneDNN takes its number of threads from OpenMP's settings of the calling thread, both where a
 * product is made and where it runs. */
static bool library_product(rf_cpu_bf16_worker *worker, const rf_cpu_tile *tile, uint16_t *a,
                            uint16_t *b)
{
    if (!has_bf16()) {
        return false;
    }
    void *const data[3] = {a, b, tile->c};
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const bool is_made =
        is_like(&worker->made, tile) ? worker->product != NULL : prepare(worker, tile);
    const bool is_done = is_made && multiply(worker, data);
    omp_set_num_threads(threads);
    return is_done;
}
#else
static bool library_product(rf_cpu_bf16_worker *worker, const rf_cpu_tile *tile, uint16_t *a,
                            uint16_t *b)
{
    (void)worker;
    (void)tile;
    (void)a;
    (void)b;
    return false;
}

void rf_cpu_bf16_worker_clear(rf_cpu_bf16_worker *worker)
{
    (void)worker;
}
#endif

/* from [rows, columns] with a leading dimension, to [rows, columns] */
static void widen_block(const uint16_t *from, int64_t leading, int64_t rows, int64_t columns,
                        float *to)
{
    for (int64_t row = 0; row < rows; row++) {
        rf_cpu_widen(from + row * leading, to + row * columns, columns);
    }
}

/* Depths [first, first + depth) of a tile. */
static void multiply_widened(const rf_cpu_tile *tile, const uint16_t *a, const uint16_t *b,
                             float *panels, int64_t first, int64_t depth)
{
    rf_cpu_tile part = *tile;
    float *panel_b = panels + RF_CPU_BF16_ROWS * RF_CPU_BF16_DEPTH;
    part.k = depth;
    part.accumulate = tile->accumulate || first > 0;
    part.a = panels;
    part.b = panel_b;
    part.a_leading = tile->transpose_a ? tile->m : depth;
    part.b_leading = tile->transpose_b ? depth : tile->n;
    if (tile->transpose_a) {
        widen_block(a + first * tile->a_leading, tile->a_leading, depth, tile->m, panels);
    } else {
        widen_block(a + first, tile->a_leading, tile->m, depth, panels);
    }
    if (tile->transpose_b) {
        widen_block(b + first, tile->b_leading, tile->n, depth, panel_b);
    } else {
        widen_block(b + first * tile->b_leading, tile->b_leading, depth, tile->n, panel_b);
    }
    rf_cpu_gemm_tile(&part);
}

void rf_cpu_gemm_tile_bf16(rf_cpu_bf16_worker *worker, const rf_cpu_tile *tile, uint16_t *a,
                           uint16_t *b)
{
    RF_ASSERT(tile->m <= RF_CPU_BF16_ROWS && tile->n <= RF_CPU_BF16_COLUMNS);
    const bool is_empty = tile->m == 0 || tile->n == 0 || tile->k == 0;
    if (!is_empty && library_product(worker, tile, a, b)) {
        return;
    }
    int64_t first = 0;
    do { /* once without depth too: c is written all the same */
        const int64_t left = tile->k - first;
        const int64_t depth = left < RF_CPU_BF16_DEPTH ? left : RF_CPU_BF16_DEPTH;
        multiply_widened(tile, a, b, worker->panels, first, depth);
        first += RF_CPU_BF16_DEPTH;
    } while (first < tile->k);
}
