/* Sums over rows, column by column, in an order that the shape alone decides: the rows are cut into
 * at most 256 chunks; a block of 32 columns x 8 threads sums a chunk, each thread every eighth row,
 * then the eight in order, into partial sums [chunks, Sums, width]; a second kernel adds the chunks
 * in order to the result. One read of memory; none where the rows are being written anyway (at the
 * end). */
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

static inline rf_cuda_column_cut
rf_cuda_cut_columns(int64_t rows, int64_t width, int64_t most_chunks = 256, int64_t least_rows = 64)
{
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

/* ---- sums of what a pass over rows writes ---- */

constexpr int rf_cuda_written_rows = 2; /* of a thread, on their way at once */

/* How a pass that also sums is cut: more blocks than for sums alone, since it writes too. */
static inline rf_cuda_column_cut rf_cuda_cut_written(const rf_tensor *written)
{
    return rf_cuda_cut_columns(written->shape[0], written->shape[1], 512, 64);
}

/* Scratch of a pass over `written` whose sums go to `sums`; none where that is absent. */
static inline size_t rf_cuda_written_scratch(const rf_tensor *written, const rf_tensor *sums)
{
    return rf_tensor_is_absent(sums) ? 0 : rf_cuda_column_scratch(rf_cuda_cut_written(written), 1);
}

/* pass.load(row, column) reads what four neighbours need, pass.write(that, row, column) writes them
 * and gives what it wrote, 0 beyond the width; partial [chunks, width]. Block (x, y): 128 columns
 * x, chunk y; a thread every eighth row. */
template <typename Pass>
__global__ void __launch_bounds__(rf_cuda_column_block *rf_cuda_column_lanes, 4)
    rf_cuda_written_kernel(const __grid_constant__ Pass pass, rf_cuda_column_cut cut,
                           float *__restrict__ partial)
{
    __shared__ rf_cuda_quad<float> shared[rf_cuda_column_lanes][rf_cuda_column_block];
    const int lane = static_cast<int>(threadIdx.x);
    const int part = static_cast<int>(threadIdx.y);
    const int64_t column = 4 * (static_cast<int64_t>(blockIdx.x) * rf_cuda_column_block + lane);
    const int64_t first = static_cast<int64_t>(blockIdx.y) * cut.chunk;
    const int64_t chunk_end = first + cut.chunk < cut.rows ? first + cut.chunk : cut.rows;
    const int64_t end = column < cut.width ? chunk_end : first; /* none for those beyond */
    constexpr int64_t apart = rf_cuda_column_lanes;
    rf_cuda_quad<float> sums = {};
    for (int64_t row = first + part; row < end; row += rf_cuda_written_rows * apart) {
        typename Pass::input in[rf_cuda_written_rows];
#pragma unroll
        for (int r = 0; r < rf_cuda_written_rows; r++) {
            if (row + r * apart < end) {
                in[r] = pass.load(row + r * apart, column);
            }
        }
#pragma unroll
        for (int r = 0; r < rf_cuda_written_rows; r++) {
            if (row + r * apart < end) {
                const rf_cuda_quad<float> out = pass.write(in[r], row + r * apart, column);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    sums.v[j] += out.v[j];
                }
            }
        }
    }
    shared[part][lane] = sums;
    __syncthreads();
    const int thread = part * rf_cuda_column_block + lane;
    const int64_t place = 4 * static_cast<int64_t>(blockIdx.x) * rf_cuda_column_block + thread;
    if (thread < 4 * rf_cuda_column_block && place < cut.width) {
        float total = shared[0][thread / 4].v[thread % 4];
        for (int i = 1; i < rf_cuda_column_lanes; i++) {
            total += shared[i][thread / 4].v[thread % 4];
        }
        partial[static_cast<int64_t>(blockIdx.y) * cut.width + place] = total;
    }
}

/* Run the pass over all of `written` [rows, width], and add the column sums of what it wrote to
 * `sums` [width]. */
template <typename Pass>
static void rf_cuda_write_and_sum(cudaStream_t stream, const Pass &pass, const rf_tensor *written,
                                  const rf_tensor *sums, void *scratch)
{
    const rf_cuda_column_cut cut = rf_cuda_cut_written(written);
    const unsigned columns =
        static_cast<unsigned>(rf_cuda_blocks(cut.width, 4 * rf_cuda_column_block));
    float *partial = static_cast<float *>(scratch);
    rf_cuda_written_kernel<Pass>
        <<<dim3(columns, static_cast<unsigned>(cut.chunks)),
           dim3(rf_cuda_column_block, rf_cuda_column_lanes), 0, stream>>>(pass, cut, partial);
    float *const results[1] = {rf_cuda_data<float>(sums)};
    rf_cuda_finish_columns<1>(stream, cut, partial, results);
}

#endif
