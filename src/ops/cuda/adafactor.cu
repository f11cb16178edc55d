/* Adafactor (Shazeer, Stern 2018) for one parameter, the formulas of ops/cpu/adafactor.c. A matrix
 * is cut into tiles of 64 rows x 128 columns, a warp taking every eighth row of a tile and a lane
 * four neighbours of it; a vector into runs of 1024. Kernels: squares of the gradient per tile row
 * and column (and of the value); row and column moments from those; the mean of the rows' moments;
 * squares of the update; the update, whose blocks each add up the tiles' squares in one order.
 * Vectors need the last two only, the first of which keeps the moment. Sums across tiles are in
 * double. Nothing is read back. The gradient is read three times, the value twice. */
#include "ops/cuda/cuda.cuh"

#include <math.h>

namespace
{

constexpr int tile_rows = 64;
constexpr int tile_columns = 128;
constexpr int warps = rf_cuda_threads / rf_cuda_warp;
constexpr int run_size = 4 * rf_cuda_threads; /* of a vector */
static_assert(tile_columns == 4 * rf_cuda_warp && tile_rows % warps == 0,
              "a lane has four columns");

/* The shape, and what there is of it in scratch. */
struct layout {
    bool matrix;
    int64_t rows, columns;           /* a vector is one row */
    int64_t row_tiles, column_tiles; /* a vector's runs are column tiles */
    double *value_squares;           /* [tiles] */
    double *update_squares;          /* [tiles] */
    double *row_sums;                /* [column_tiles, rows] */
    double *column_sums;             /* [row_tiles, columns] */
    double *mean;                    /* [1], of the rows' moments */
    size_t size;                     /* bytes in all */
    __host__ __device__ int64_t tiles() const
    {
        return row_tiles * column_tiles;
    }
};

struct factor_set {
    bool trax, relative;
    double rate, least_scale, clip, weight_decay, beta2;
    double before; /* added to squares */
    float after;   /* added to moments when they are used */
    float gradient_factor, beta1, rest1;
};

struct arrays {
    float *value;                        /* [rows, columns] */
    const float *gradient;               /* like value */
    float *row_moment, *column_moment;   /* [rows], [columns]; NULL for a vector */
    float *second_moment, *first_moment; /* like value, or NULL */
    __nv_bfloat16 *rounded;              /* like value, or NULL */
    bool aligned;
};

double *reserve(void *scratch, size_t *size, int64_t count)
{
    double *place = scratch == nullptr
                        ? nullptr
                        : reinterpret_cast<double *>(static_cast<char *>(scratch) + *size);
    *size += rf_cuda_align(static_cast<size_t>(count) * sizeof(double));
    return place;
}

layout lay_out(const rf_adafactor *op, void *scratch)
{
    layout l = {};
    l.matrix = op->value.rank == 2;
    l.rows = l.matrix ? op->value.shape[0] : 1;
    l.columns = l.matrix ? op->value.shape[1] : op->value.shape[0];
    l.row_tiles = rf_cuda_blocks(l.rows, tile_rows);
    l.column_tiles = rf_cuda_blocks(l.columns, l.matrix ? tile_columns : run_size);
    l.value_squares = reserve(scratch, &l.size, l.tiles());
    l.update_squares = reserve(scratch, &l.size, l.tiles());
    if (l.matrix) {
        l.row_sums = reserve(scratch, &l.size, l.column_tiles * l.rows);
        l.column_sums = reserve(scratch, &l.size, l.row_tiles * l.columns);
        l.mean = reserve(scratch, &l.size, 1);
    }
    return l;
}

/* Where a thread of a tile's block stands. */
struct place {
    int64_t row_tile, column_tile, column, row, row_end;
    __device__ place(const layout &l)
    {
        row_tile = static_cast<int64_t>(blockIdx.x) / l.column_tiles;
        column_tile = static_cast<int64_t>(blockIdx.x) % l.column_tiles;
        column = column_tile * tile_columns + 4 * (static_cast<int>(threadIdx.x) % rf_cuda_warp);
        row = row_tile * tile_rows + static_cast<int>(threadIdx.x) / rf_cuda_warp;
        row_end = (row_tile + 1) * tile_rows < l.rows ? (row_tile + 1) * tile_rows : l.rows;
    }
};

/* Four neighbours of row `row` from `column` on, 0 beyond the row's end. */
__device__ __forceinline__ rf_cuda_quad<float> load_row(const float *x, const layout &l,
                                                        int64_t row, int64_t column, bool aligned)
{
    return rf_cuda_load_quad(x + row * l.columns, column, l.columns, aligned);
}

/* ---- moments of a matrix ---- */

/* A block a tile: row_sums, column_sums, value_squares. */
__global__ void __launch_bounds__(rf_cuda_threads)
    measure_kernel(const layout l, const factor_set f, const arrays a)
{
    __shared__ double shared[warps][tile_columns];
    const place p(l);
    double sums[4] = {};
    double values = 0.0;
    for (int64_t row = p.row; row < p.row_end; row += warps) {
        const rf_cuda_quad<float> g4 = load_row(a.gradient, l, row, p.column, a.aligned);
        const rf_cuda_quad<float> v4 = load_row(a.value, l, row, p.column, a.aligned);
        double of_row = 0.0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const double g = static_cast<double>(g4.v[j] * f.gradient_factor);
            const double v = static_cast<double>(v4.v[j]);
            sums[j] += g * g;
            of_row += g * g;
            values += v * v;
        }
        of_row = rf_cuda_warp_sum(of_row);
        if (threadIdx.x % rf_cuda_warp == 0) {
            l.row_sums[p.column_tile * l.rows + row] = of_row;
        }
    }
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        shared[warp][4 * lane + j] = sums[j];
    }
    __syncthreads();
    const int64_t column = p.column_tile * tile_columns + threadIdx.x;
    if (threadIdx.x < tile_columns && column < l.columns) {
        double sum = 0.0;
        for (int i = 0; i < warps; i++) {
            sum += shared[i][threadIdx.x];
        }
        l.column_sums[p.row_tile * l.columns + column] = sum;
    }
    values = rf_cuda_block_sum<rf_cuda_threads>(values, shared[0]);
    if (threadIdx.x == 0) {
        l.value_squares[blockIdx.x] = values;
    }
}

/* sums [tiles, count] of one row or column into its moment. */
__device__ __forceinline__ void mix_moment(const factor_set &f, const double *sums, int64_t tiles,
                                           int64_t count, int64_t i, int64_t across, float *moment)
{
    double sum = 0.0;
    for (int64_t tile = 0; tile < tiles; tile++) {
        sum += sums[tile * count + i];
    }
    const double mean = sum / static_cast<double>(across) + f.before;
    moment[i] =
        static_cast<float>(f.beta2 * static_cast<double>(moment[i]) + (1.0 - f.beta2) * mean);
}

/* A thread a row, then a thread a column. */
__global__ void moments_kernel(const layout l, const factor_set f, const arrays a)
{
    for (int64_t i = rf_cuda_first(); i < l.rows + l.columns; i += rf_cuda_stride()) {
        if (i < l.rows) {
            mix_moment(f, l.row_sums, l.column_tiles, l.rows, i, l.columns, a.row_moment);
        } else {
            mix_moment(f, l.column_sums, l.row_tiles, l.columns, i - l.rows, l.rows,
                       a.column_moment);
        }
    }
}

/* Every thread of the block gets the sum of x [count], the same bits in every block. */
template <typename T>
__device__ __forceinline__ double sum_in_block(const T *x, int64_t count, double *shared)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += rf_cuda_threads) {
        sum += static_cast<double>(x[i]);
    }
    return rf_cuda_block_sum<rf_cuda_threads>(sum, shared);
}

/* One block. */
__global__ void mean_kernel(const layout l, const arrays a)
{
    __shared__ double shared[warps];
    const double sum = sum_in_block(a.row_moment, l.rows, shared);
    if (threadIdx.x == 0) {
        l.mean[0] = sum / static_cast<double>(l.rows);
    }
}

/* ---- the update ---- */

__device__ __forceinline__ float row_factor(const layout &l, const factor_set &f, const arrays &a,
                                            int64_t row)
{
    return sqrtf(static_cast<float>(l.mean[0]) / (a.row_moment[row] + f.after));
}

/* What a lane's four columns are multiplied by. */
struct column_factors {
    float v[4];
    __device__ column_factors(const layout &l, const factor_set &f, const arrays &a, int64_t column)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            v[j] =
                column + j < l.columns ? 1.0F / sqrtf(a.column_moment[column + j] + f.after) : 0.0F;
        }
    }
};

/* A block a tile: update_squares. */
__global__ void __launch_bounds__(rf_cuda_threads)
    square_kernel(const layout l, const factor_set f, const arrays a)
{
    __shared__ double shared[warps];
    const place p(l);
    const column_factors columns(l, f, a, p.column);
    double sum = 0.0;
    for (int64_t row = p.row; row < p.row_end; row += warps) {
        const rf_cuda_quad<float> g4 = load_row(a.gradient, l, row, p.column, a.aligned);
        const float factor = row_factor(l, f, a, row);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const double u =
                static_cast<double>(g4.v[j] * f.gradient_factor * (factor * columns.v[j]));
            sum += u * u;
        }
    }
    sum = rf_cuda_block_sum<rf_cuda_threads>(sum, shared);
    if (threadIdx.x == 0) {
        l.update_squares[blockIdx.x] = sum;
    }
}

/* A vector, a block a run: its moment, update_squares and value_squares. */
__global__ void __launch_bounds__(rf_cuda_threads)
    run_kernel(const layout l, const factor_set f, const arrays a)
{
    __shared__ double shared[warps];
    const int64_t i = static_cast<int64_t>(blockIdx.x) * run_size + 4 * threadIdx.x;
    const rf_cuda_quad<float> g4 = rf_cuda_load_quad(a.gradient, i, l.columns, a.aligned);
    const rf_cuda_quad<float> v4 = rf_cuda_load_quad<float>(a.value, i, l.columns, a.aligned);
    rf_cuda_quad<float> m4 = rf_cuda_load_quad<float>(a.second_moment, i, l.columns, a.aligned);
    double updates = 0.0;
    double values = 0.0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float g = g4.v[j] * f.gradient_factor;
        const double square = static_cast<double>(g) * static_cast<double>(g) + f.before;
        m4.v[j] =
            static_cast<float>(f.beta2 * static_cast<double>(m4.v[j]) + (1.0 - f.beta2) * square);
        const double u = static_cast<double>(g * (1.0F / sqrtf(m4.v[j] + f.after)));
        updates += i + j < l.columns ? u * u : 0.0;
        values += static_cast<double>(v4.v[j]) * static_cast<double>(v4.v[j]);
    }
    rf_cuda_store_quad(a.second_moment, i, l.columns, a.aligned, m4);
    updates = rf_cuda_block_sum<rf_cuda_threads>(updates, shared);
    values = rf_cuda_block_sum<rf_cuda_threads>(values, shared);
    if (threadIdx.x == 0) {
        l.update_squares[blockIdx.x] = updates;
        l.value_squares[blockIdx.x] = values;
    }
}

/* What the update is multiplied by, and what is kept of the value. */
struct step_set {
    float size, keep;
    __device__ step_set(const layout &l, const factor_set &f, double *shared)
    {
        const double count = static_cast<double>(l.rows) * static_cast<double>(l.columns);
        const double scale = sqrt(sum_in_block(l.value_squares, l.tiles(), shared) / count);
        const double length = sqrt(sum_in_block(l.update_squares, l.tiles(), shared) / count);
        const double least = scale > f.least_scale ? scale : f.least_scale;
        const double whole = f.relative ? f.rate * least : f.rate;
        const double over = f.clip > 0.0 && length > f.clip ? length / f.clip : 1.0;
        size = static_cast<float>(whole / over);
        keep = static_cast<float>(1.0 - f.weight_decay * (f.trax ? 1.0 : whole));
    }
};

/* Four neighbours of a row of `width` elements that starts at element `row` of the arrays. */
__device__ __forceinline__ void apply_quad(const factor_set &f, const arrays &a,
                                           const step_set &step, int64_t row, int64_t i,
                                           int64_t width, const float (&u)[4])
{
    rf_cuda_quad<float> v4 = rf_cuda_load_quad<float>(a.value + row, i, width, a.aligned);
    rf_cuda_quad<float> m4 = {};
    rf_cuda_quad<__nv_bfloat16> r4;
    if (a.first_moment != nullptr) {
        m4 = rf_cuda_load_quad<float>(a.first_moment + row, i, width, a.aligned);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float change = step.size * u[j];
        if (a.first_moment != nullptr) {
            change = f.beta1 * m4.v[j] + f.rest1 * change;
            m4.v[j] = change;
        }
        v4.v[j] = v4.v[j] * step.keep - change;
        r4.v[j] = __float2bfloat16_rn(v4.v[j]);
    }
    rf_cuda_store_quad(a.value + row, i, width, a.aligned, v4);
    if (a.first_moment != nullptr) {
        rf_cuda_store_quad(a.first_moment + row, i, width, a.aligned, m4);
    }
    if (a.rounded != nullptr) {
        rf_cuda_store_quad(a.rounded + row, i, width, a.aligned, r4);
    }
}

__global__ void __launch_bounds__(rf_cuda_threads)
    apply_matrix_kernel(const layout l, const factor_set f, const arrays a)
{
    __shared__ double shared[warps];
    const step_set step(l, f, shared);
    const place p(l);
    const column_factors columns(l, f, a, p.column);
    if (p.column >= l.columns) {
        return;
    }
    for (int64_t row = p.row; row < p.row_end; row += warps) {
        const rf_cuda_quad<float> g4 = load_row(a.gradient, l, row, p.column, a.aligned);
        const float factor = row_factor(l, f, a, row);
        float u[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            u[j] = g4.v[j] * f.gradient_factor * (factor * columns.v[j]);
        }
        apply_quad(f, a, step, row * l.columns, p.column, l.columns, u);
    }
}

__global__ void __launch_bounds__(rf_cuda_threads)
    apply_vector_kernel(const layout l, const factor_set f, const arrays a)
{
    __shared__ double shared[warps];
    const step_set step(l, f, shared);
    const int64_t i = static_cast<int64_t>(blockIdx.x) * run_size + 4 * threadIdx.x;
    if (i >= l.columns) {
        return;
    }
    const rf_cuda_quad<float> g4 = rf_cuda_load_quad(a.gradient, i, l.columns, a.aligned);
    const rf_cuda_quad<float> m4 =
        rf_cuda_load_quad<float>(a.second_moment, i, l.columns, a.aligned);
    float u[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        u[j] = g4.v[j] * f.gradient_factor * (1.0F / sqrtf(m4.v[j] + f.after));
    }
    apply_quad(f, a, step, 0, i, l.columns, u);
}

/* ---- host ---- */

factor_set factors_of(const rf_adafactor *op)
{
    factor_set f = {};
    f.trax = op->kind == RF_ADAFACTOR_TRAX;
    f.relative = op->relative;
    f.rate = op->rate;
    f.least_scale = op->least_scale;
    f.clip = op->clip;
    f.weight_decay = op->weight_decay;
    f.beta2 = 1.0 - pow(static_cast<double>(op->update) + (f.trax ? 1.0 : 0.0), -op->decay);
    f.before = f.trax ? 0.0 : op->epsilon;
    f.after = f.trax ? static_cast<float>(op->epsilon) : 0.0F;
    f.gradient_factor = static_cast<float>(op->gradient_factor);
    f.beta1 = static_cast<float>(op->beta1);
    f.rest1 = static_cast<float>(1.0 - op->beta1);
    return f;
}

arrays arrays_of(const rf_adafactor *op, int64_t columns)
{
    arrays a = {};
    a.value = rf_cuda_data<float>(&op->value);
    a.gradient = rf_cuda_data<const float>(&op->gradient);
    a.row_moment = rf_cuda_data<float>(&op->row_moment);
    a.column_moment = rf_cuda_data<float>(&op->column_moment);
    a.second_moment = rf_cuda_data<float>(&op->second_moment);
    a.first_moment = rf_cuda_data<float>(&op->first_moment);
    a.rounded = rf_cuda_data<__nv_bfloat16>(&op->rounded);
    /* a vector's quads start at multiples of four, whatever its length */
    const int64_t width = op->value.rank == 2 ? columns : 4;
    a.aligned = rf_cuda_is_aligned(a.value, width) && rf_cuda_is_aligned(a.gradient, width) &&
                rf_cuda_is_aligned(a.first_moment, width) &&
                rf_cuda_is_aligned(a.second_moment, width) && rf_cuda_is_aligned(a.rounded, width);
    return a;
}

} // namespace

size_t rf_cuda_adafactor_scratch_size(const rf_device *, const void *arguments)
{
    return lay_out(static_cast<const rf_adafactor *>(arguments), nullptr).size;
}

rf_status rf_cuda_adafactor(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    const rf_adafactor *op = static_cast<const rf_adafactor *>(arguments);
    if (rf_tensor_count(&op->value) == 0) {
        return RF_OK;
    }
    const layout l = lay_out(op, scratch);
    const factor_set f = factors_of(op);
    const arrays a = arrays_of(op, l.columns);
    const unsigned tiles = static_cast<unsigned>(l.tiles());
    const cudaStream_t stream = rf_cuda_stream(device);
    if (l.matrix) {
        measure_kernel<<<tiles, rf_cuda_threads, 0, stream>>>(l, f, a);
        moments_kernel<<<rf_cuda_grid(device, l.rows + l.columns, rf_cuda_threads), rf_cuda_threads,
                         0, stream>>>(l, f, a);
        mean_kernel<<<1, rf_cuda_threads, 0, stream>>>(l, a);
        square_kernel<<<tiles, rf_cuda_threads, 0, stream>>>(l, f, a);
        apply_matrix_kernel<<<tiles, rf_cuda_threads, 0, stream>>>(l, f, a);
    } else {
        run_kernel<<<tiles, rf_cuda_threads, 0, stream>>>(l, f, a);
        apply_vector_kernel<<<tiles, rf_cuda_threads, 0, stream>>>(l, f, a);
    }
    return rf_cuda_launched(device, "adafactor", error);
}
