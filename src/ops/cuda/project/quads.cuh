/* What fast.cu does with sums in registers: a lane has quads of neighbours, four of which go
 * through dropout together so that the rounds of their generators overlap. */
#ifndef RF_OPS_CUDA_PROJECT_QUADS_CUH
#define RF_OPS_CUDA_PROJECT_QUADS_CUH

#include "ops/cuda/project/tile.cuh"
#include "ops/cuda/residual.cuh"

/* Four neighbours, which lie whole. */
template <typename T> __device__ __forceinline__ rf_cuda_quad<T> *rf_quad_at(T *x, int64_t i)
{
    return reinterpret_cast<rf_cuda_quad<T> *>(x + i);
}
template <typename T>
__device__ __forceinline__ const rf_cuda_quad<T> *rf_quad_at(const T *x, int64_t i)
{
    return reinterpret_cast<const rf_cuda_quad<T> *>(x + i);
}

/* Where a lane's quads are. */
struct rf_lane_place {
    int64_t row; /* of m = half = 0 */
    int column;  /* of the first pair, in the product; the next are 16 further each */
};

template <int K>
__device__ __forceinline__ rf_lane_place rf_lane_place_of(int64_t first_row, int first_column)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    return {first_row + rf_tile<K>::row() + lane / 4,
            first_column + rf_tile<K>::column() + lane % 4 * 4};
}

/* Four quads of a lane, done together so that the rounds of their generators overlap: of columns
 * column ... + 3 and 16 further, in a row and 8 rows further. */
struct rf_lane_quads {
    int64_t row;
    int column;
    rf_cuda_quad<float> v[4];

    __device__ __forceinline__ int64_t row_of(int i) const
    {
        return row + i / 2 * 8;
    }
    __device__ __forceinline__ int column_of(int i) const
    {
        return column + i % 2 * 16;
    }
};

/* What is not a number is kept. */
static __device__ __forceinline__ void rf_keep_positive(rf_lane_quads &quads)
{
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const float x = quads.v[i / 4].v[i % 4];
        quads.v[i / 4].v[i % 4] = x < 0.0F ? 0.0F : x;
    }
}

/* The first row and `columns` are such that blocks of the generator are quads. */
static __device__ __forceinline__ void rf_drop_quads(rf_lane_quads &quads,
                                                     const rf_cuda_dropout_call &call, int columns)
{
    uint32_t bits[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int64_t index = quads.row_of(i) * columns + quads.column_of(i);
        rf_cuda_random_block(call, (call.origin + static_cast<uint64_t>(index)) / 4, bits[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        rf_cuda_mask(quads.v[i], bits[i], call);
    }
}

#endif
