/* One product of bf16 matrices on one thread, summed in f32: what gemm is made of where its
 * operands are bf16.
 *
 * oneDNN where it is built in and the processor multiplies bf16; otherwise blocks of both operands
 * are widened and multiplied as f32. Which of the two depends on the machine only, and the bits of
 * a result on the shape of the tile. */
#ifndef RF_OPS_CPU_GEMM_TILE_BF16_H
#define RF_OPS_CPU_GEMM_TILE_BF16_H

#include "ops/cpu/gemm_tile.h"

struct dnnl_engine;
struct dnnl_stream;
struct dnnl_memory;
struct dnnl_primitive;

enum {
    RF_CPU_BF16_ROWS = 128, /* the largest tile */
    RF_CPU_BF16_COLUMNS = 256,
    RF_CPU_BF16_DEPTH = 256, /* of a widened block */
    RF_CPU_BF16_PANELS = (RF_CPU_BF16_ROWS + RF_CPU_BF16_COLUMNS) * RF_CPU_BF16_DEPTH
};

/* What a thread keeps from one tile to the next. Begin with zeros and `panels`, end with
 * rf_cpu_bf16_worker_clear. */
typedef struct rf_cpu_bf16_worker {
    float *panels;              /* [RF_CPU_BF16_PANELS] */
    rf_cpu_tile made;           /* the shape that oneDNN was last asked for; m 0: none */
    struct dnnl_engine *engine; /* oneDNN's, NULL where it is not used */
    struct dnnl_stream *stream;
    struct dnnl_primitive *product;  /* NULL: oneDNN has none for that shape */
    struct dnnl_memory *operands[3]; /* a, b, c */
} rf_cpu_bf16_worker;

/* As rf_cpu_gemm_tile, c f32; the tile's a and b are not used but these, of bf16, which are only
 * read (oneDNN's handles are not const). */
void rf_cpu_gemm_tile_bf16(rf_cpu_bf16_worker *worker, const rf_cpu_tile *tile, uint16_t *a,
                           uint16_t *b);
void rf_cpu_bf16_worker_clear(rf_cpu_bf16_worker *worker);

#endif
