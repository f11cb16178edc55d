/* How fast.cu multiplies: the input's rows of a block, whole, and weights in steps of 128 outputs x
 * 32 of the inner size lie in shared memory, and eight warps multiply them into registers.
 *
 * Code for sm_90a multiplies by groups of four warps (wgmma), for all else by warps (mma.sync); the
 * two share the layout of shared memory. In both the weights' columns are so ordered that a lane
 * holds four neighbours of a row. */
#ifndef RF_OPS_CUDA_PROJECT_TILE_CUH
#define RF_OPS_CUDA_PROJECT_TILE_CUH

#include "ops/cuda/cuda.cuh"
#include "ops/cuda/project/wgmma.cuh"

constexpr int rf_tile_rows = 128;
constexpr int rf_tile_columns = 128;
constexpr int rf_tile_depth = 32; /* of the inner size, a step */
constexpr int rf_tile_piece = 8;  /* bf16 numbers in 16 bytes */
constexpr int rf_tile_warps = rf_cuda_threads / rf_cuda_warp;
constexpr int rf_tile_stage_bytes = rf_tile_columns * rf_tile_depth * 2;
/* Steps in shared memory, of which two blocks of a multiprocessor of capability 9.0 have 113 KB
 * each. */
constexpr int rf_tile_stages_of_90 = 6;
constexpr int rf_tile_stages_of_80 = 4;
constexpr int rf_tile_stages = rf_has_wgmma ? rf_tile_stages_of_90 : rf_tile_stages_of_80;
/* How many steps are being copied while one is multiplied: a product of sm_90a is waited for one
 * step later. */
constexpr int rf_tile_ahead = rf_has_wgmma ? rf_tile_stages - 2 : rf_tile_stages - 1;

/* A block's part of a product of inner size K and what of it a warp has in registers. */
template <int K> struct rf_tile {
    static constexpr int input_bytes = rf_tile_rows * K * 2;
    static constexpr int steps = K / rf_tile_depth;
    static constexpr int warp_rows = rf_has_wgmma ? 16 : rf_tile_rows / 2;
    static constexpr int warp_columns = rf_has_wgmma ? rf_tile_columns : 32;
    static constexpr int pairs = warp_columns / 16;
    static_assert(warp_rows * warp_columns * rf_tile_warps == rf_tile_rows * rf_tile_columns,
                  "no overlap");
    static_assert(steps >= rf_tile_ahead, "a tile's first steps are copied before it");

    static __device__ __forceinline__ int warp()
    {
        return static_cast<int>(threadIdx.x) / rf_cuda_warp;
    }
    /* The warp's first row and column. */
    static __device__ __forceinline__ int row()
    {
        return rf_has_wgmma ? warp() * warp_rows : warp() / 4 * warp_rows;
    }
    static __device__ __forceinline__ int column()
    {
        return rf_has_wgmma ? 0 : warp() % 4 * warp_columns;
    }
};

/* sums[m][j] of rows 16 m of the warp's and column group j. Column n of group j is column
 * 16 (j / 2) + 4 (n / 2) + 2 (j % 2) + n % 2 of the warp's, so that the two groups of a pair give a
 * lane four neighbours: see rf_tile_quad. */
template <int K> struct rf_tile_sums {
    float v[rf_tile<K>::warp_rows / 16][2 * rf_tile<K>::pairs][4];
};

/* Bytes from the start of the input's rows to piece `number` of one: 64 columns of all rows, then
 * the next 64. Rows that are read together lie in different banks. */
template <int K> __device__ __forceinline__ int rf_tile_input(int row, int number)
{
    return number / 8 * (rf_tile_rows * 128) + row * 128 + ((number % 8 ^ (row & 7)) << 4);
}

/* The same in a step of the weights [rf_tile_columns, rf_tile_depth], where they lie in the order
 * of the products' columns. */
static __device__ __forceinline__ int rf_tile_weight(int column, int number)
{
    return column * rf_tile_depth * 2 + ((number ^ ((column >> 1) & 3)) << 4);
}

/* Where the weights' row n of 16 lies. */
static __device__ __forceinline__ int rf_tile_place(int n)
{
    return n / 16 * 16 + n / 2 % 2 * 8 + n % 16 / 4 * 2 + n % 2;
}

/* This thread's pieces of the weights of a tile. */
struct rf_tile_source {
    const __nv_bfloat16 *from; /* its first one */
    int64_t apart;             /* to the second: numbers of half a tile's rows */
};

static __device__ __forceinline__ rf_tile_source rf_tile_source_of(const __nv_bfloat16 *weight,
                                                                   int64_t leading)
{
    const int row = static_cast<int>(threadIdx.x) / 4;
    const int number = static_cast<int>(threadIdx.x) % 4;
    return {weight + row * leading + number * rf_tile_piece, rf_tile_columns / 2 * leading};
}

/* The stage `further` behind another one. */
static __device__ __forceinline__ int rf_tile_stage(int stage, int further)
{
    return stage + further < rf_tile_stages ? stage + further : stage + further - rf_tile_stages;
}

/* Begin to copy a step. */
static __device__ __forceinline__ void rf_tile_copy(const rf_tile_source &source, int step,
                                                    unsigned char *to)
{
    static_assert(rf_tile_columns * rf_tile_depth / rf_tile_piece == 2 * rf_cuda_threads, "two");
    const int row = static_cast<int>(threadIdx.x) / 4;
    unsigned char *const place =
        to + rf_tile_weight(rf_tile_place(row), static_cast<int>(threadIdx.x) % 4);
    rf_copy_16(place, source.from + step * rf_tile_depth, true);
    rf_copy_16(place + rf_tile_stage_bytes / 2, source.from + source.apart + step * rf_tile_depth,
               true);
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int K>
__device__ __forceinline__ void rf_tile_multiply(const unsigned char *input,
                                                 const unsigned char *weights, int step,
                                                 rf_tile_sums<K> &sums)
{
    const int row = rf_tile<K>::warp() / 4 * 64;
    const unsigned char *a = input + step / 2 * (rf_tile_rows * 128) + row * 128 + step % 2 * 64;
    rf_wgmma_begin();
#pragma unroll
    for (int k = 0; k < rf_tile_depth / 16; k++) {
        rf_wgmma(sums.v[0], rf_wgmma_place(a + 32 * k, 128), rf_wgmma_place(weights + 32 * k, 64));
    }
    rf_wgmma_commit();
}

#else

template <int K>
__device__ __forceinline__ void rf_tile_multiply(const unsigned char *input,
                                                 const unsigned char *weights, int step,
                                                 rf_tile_sums<K> &sums)
{
    constexpr int tall = rf_tile<K>::warp_rows / 16;
    constexpr int pairs = rf_tile<K>::pairs;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int row = rf_tile<K>::row() + lane % 16;
    const int column = rf_tile<K>::column() + lane / 16 * 8 + lane % 8;
#pragma unroll
    for (int k = 0; k < rf_tile_depth / 16; k++) {
        uint32_t a[tall][4];
        uint32_t b[pairs][4];
#pragma unroll
        for (int m = 0; m < tall; m++) {
            const int number = step * (rf_tile_depth / rf_tile_piece) + 2 * k + lane / 16;
            rf_mma_load(a[m], input + rf_tile_input<K>(row + 16 * m, number));
        }
#pragma unroll
        for (int pair = 0; pair < pairs; pair++) {
            const int number = 2 * k + lane / 8 % 2;
            rf_mma_load(b[pair], weights + rf_tile_weight(column + 16 * pair, number));
        }
#pragma unroll
        for (int m = 0; m < tall; m++) {
#pragma unroll
            for (int pair = 0; pair < pairs; pair++) {
                rf_mma(sums.v[m][2 * pair], a[m], b[pair][0], b[pair][1]);
                rf_mma(sums.v[m][2 * pair + 1], a[m], b[pair][2], b[pair][3]);
            }
        }
    }
}

#endif

/* Before the barrier that begins a step: its weights and, of sm_90a, the product before the last
 * are there. */
static __device__ __forceinline__ void rf_tile_wait()
{
    rf_copy_wait_but<rf_tile_ahead - 1>();
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    rf_wgmma_show_shared();
    rf_wgmma_wait_but<1>();
#endif
}

/* All products of a tile are in its sums. */
template <int K> __device__ __forceinline__ void rf_tile_finish(rf_tile_sums<K> &sums)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    rf_wgmma_wait_but<0>();
    rf_wgmma_hold(sums.v[0]);
#else
    (void)sums;
#endif
}

/* Four neighbours of a lane: columns 16 pair + 4 (lane % 4) ... + 3 of the warp's, in row
 * 16 m + 8 half + lane / 4 of the warp's. */
template <int K>
__device__ __forceinline__ rf_cuda_quad<float> rf_tile_quad(const rf_tile_sums<K> &sums, int m,
                                                            int half, int pair)
{
    return {sums.v[m][2 * pair][2 * half], sums.v[m][2 * pair][2 * half + 1],
            sums.v[m][2 * pair + 1][2 * half], sums.v[m][2 * pair + 1][2 * half + 1]};
}

#endif
