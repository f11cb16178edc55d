/* Sums over rows, column by column, in an order that the shape alone decides: the rows are cut into
 * at most 256 chunks; a block of 32 columns x 8 threads sums a chunk, each thread every eighth row,
 * then the eight in order, into partial sums [chunks, Sums, width]; a second kernel adds the chunks
 * in order to the result. One read of memory. */
#ifndef RF_OPS_CUDA_COLUMN_SUM_CUH
#define RF_OPS_CUDA_COLUMN_SUM_CUH

#include "ops/cuda/cuda.cuh"

constexpr int rf_cuda_column_block = 32; /* columns */
constexpr int rf_cuda_column_lanes = 8;  /* rows at a time */
constexpr int rf_cuda_finish_lanes = 32; /* chunks at a time */

/* How rows are cut. */
struct rf_cuda_column_cut {
    int64_t rows, width, chunk, chunks; /* `chunk` rows each */
};

static inline rf_cuda_column_cut rf_cuda_cut_columns(int64_t rows, int64_t width)
{
    const int64_t most_chunks = 256;
    const int64_t least_rows = 64;
    int64_t chunk = rf_cuda_blocks(rows, most_chunks);
    chunk = chunk > least_rows ? chunk : least_rows;
    return {rows, width, chunk, rf_cuda_blocks(rows, chunk)};
}

/* Bytes of the partial sums of `sums` results. */
static inline size_t rf_cuda_column_scratch(const rf_cuda_column_cut &cut, int sums)
{
    return static_cast<size_t>(cut.chunks * sums * cut.width) * sizeof(float);
}

/* terms(row, column, values) gives the `Sums` numbers to add; partial [chunks, Sums, width]. Block
 * (x, y): columns x, chunk y. */
template <int Sums, typename Terms>
__global__ void rf_cuda_column_partial_kernel(const Terms terms, rf_cuda_column_cut cut,
                                              float *__restrict__ partial)
{
    __shared__ float shared[rf_cuda_column_lanes][Sums][rf_cuda_column_block];
    const int lane = static_cast<int>(threadIdx.x);
    const int part = static_cast<int>(threadIdx.y);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * rf_cuda_column_block + lane;
    const int64_t first = static_cast<int64_t>(blockIdx.y) * cut.chunk;
    const int64_t end = first + cut.chunk < cut.rows ? first + cut.chunk : cut.rows;
    float sums[Sums] = {};
    for (int64_t row = first + part; row < end && column < cut.width; row += rf_cuda_column_lanes) {
        float values[Sums];
        terms(row, column, values);
#pragma unroll
        for (int s = 0; s < Sums; s++) {
            sums[s] += values[s];
        }
    }
#pragma unroll
    for (int s = 0; s < Sums; s++) {
        shared[part][s][lane] = sums[s];
    }
    __syncthreads();
    if (part < Sums && column < cut.width) { /* one result a warp */
        float total = shared[0][part][lane];
        for (int i = 1; i < rf_cuda_column_lanes; i++) {
            total += shared[i][part][lane];
        }
        partial[(static_cast<int64_t>(blockIdx.y) * Sums + part) * cut.width + column] = total;
    }
}

/* Where the sums go, [width] each. */
template <int Sums> struct rf_cuda_column_results {
    float *y[Sums];
};

/* y[s][c] += the sum of result s over the chunks. Block (x, s): columns x. */
template <int Sums>
static __global__ void rf_cuda_column_finish_kernel(const float *__restrict__ partial,
                                                    rf_cuda_column_cut cut,
                                                    rf_cuda_column_results<Sums> results)
{
    __shared__ float shared[rf_cuda_finish_lanes][rf_cuda_column_block];
    const int which = static_cast<int>(blockIdx.y);
    const int lane = static_cast<int>(threadIdx.x);
    const int part = static_cast<int>(threadIdx.y);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * rf_cuda_column_block + lane;
    float sum = 0.0F;
    for (int64_t chunk = part; chunk < cut.chunks && column < cut.width;
         chunk += rf_cuda_finish_lanes) {
        sum += partial[(chunk * Sums + which) * cut.width + column];
    }
    shared[part][lane] = sum;
    __syncthreads();
    if (part == 0 && column < cut.width) {
        float total = shared[0][lane];
        for (int i = 1; i < rf_cuda_finish_lanes; i++) {
            total += shared[i][lane];
        }
        results.y[which][column] += total;
    }
}

/* Add the chunks' partial sums [chunks, Sums, width] to results[s] [width] each, in order. */
template <int Sums>
static void rf_cuda_finish_columns(cudaStream_t stream, const rf_cuda_column_cut &cut,
                                   const float *partial, float *const (&results)[Sums])
{
    rf_cuda_column_results<Sums> to;
    for (int s = 0; s < Sums; s++) {
        to.y[s] = results[s];
    }
    const unsigned columns = static_cast<unsigned>(rf_cuda_blocks(cut.width, rf_cuda_column_block));
    rf_cuda_column_finish_kernel<Sums>
        <<<dim3(columns, Sums), dim3(rf_cuda_column_block, rf_cuda_finish_lanes), 0, stream>>>(
            partial, cut, to);
}

/* Add the sums of `terms` over all rows to results[s] [width] each. Nothing where there are no rows
 * or columns. */
template <int Sums, typename Terms>
static void rf_cuda_add_columns(cudaStream_t stream, const Terms &terms,
                                const rf_cuda_column_cut &cut, float *partial,
                                float *const (&results)[Sums])
{
    static_assert(Sums <= rf_cuda_column_lanes, "one warp a result");
    if (cut.rows == 0 || cut.width == 0) {
        return;
    }
    const dim3 threads(rf_cuda_column_block, rf_cuda_column_lanes);
    const unsigned columns = static_cast<unsigned>(rf_cuda_blocks(cut.width, rf_cuda_column_block));
    rf_cuda_column_partial_kernel<Sums, Terms>
        <<<dim3(columns, static_cast<unsigned>(cut.chunks)), threads, 0, stream>>>(terms, cut,
                                                                                   partial);
    rf_cuda_finish_columns<Sums>(stream, cut, partial, results);
}

#endif
