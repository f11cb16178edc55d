/* One matrix product on one thread: what gemm, bucket_hash and block_attention are made of.
 *
 * oneDNN where it is built in, a plain blocked loop otherwise. Always on the calling thread alone,
 * so that the bits of a result depend on the shape of the tile only. */
#ifndef RF_OPS_CPU_GEMM_TILE_H
#define RF_OPS_CPU_GEMM_TILE_H

#include <stdbool.h>
#include <stdint.h>

/* c [m, n] = op(a) [m, k] op(b) [k, n] (+ c); leading dimensions are those of the stored, row-major
 * operands. Any of m, n, k may be 0; both transposed at once is not supported. */
typedef struct rf_cpu_tile {
    bool transpose_a, transpose_b, accumulate;
    int64_t m, n, k;
    const float *a;
    int64_t a_leading;
    const float *b;
    int64_t b_leading;
    float *c;
    int64_t c_leading;
} rf_cpu_tile;

/* Compute one tile on the calling thread: by oneDNN where it is built in. */
void rf_cpu_gemm_tile(const rf_cpu_tile *tile);
/* The same by the plain loop, whatever is built in. */
void rf_cpu_gemm_tile_plain(const rf_cpu_tile *tile);

#endif
