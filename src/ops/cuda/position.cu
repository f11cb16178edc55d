/* Position embeddings: rows of tables chosen by the digits of the position (axial embeddings,
 * Kitaev et al. 2020, section 4), or sinusoids (Vaswani et al. 2017, section 3.5, interleaved).
 *
 * Forward: a warp a row; one write of y, or one read and write. Sinusoids: a thread a wave and 32
 * positions, in double. Backward: a block a digit of an axis and 32 columns; it steps from one run
 * of rows with its digit to the next without looking at those between, 8 rows at a time, so that
 * the gradient is read once and every sum has one order. */
#include "ops/cuda/cuda.cuh"

namespace
{

constexpr int wave_rows = 32;
constexpr int columns_a_block = 32;
constexpr int rows_at_a_time = 16;

/* One axis: its digit of a position is position / divisor % size. */
struct position_axis {
    float *table; /* [size, width]: values, or gradients to add to */
    int64_t size, divisor, width;
    int64_t origin; /* of its columns in y */
};

struct position_call {
    int axes;
    position_axis axis[RF_MAX_RANK];
    int64_t rows, width, first_row, first_sample, length, offset;
    float probability;
    uint32_t keep_from;
    rf_random_key key;
};

__device__ __forceinline__ int64_t digit_of(const position_axis &axis, int64_t place)
{
    return place / axis.divisor % axis.size;
}

/* The factor of a whole row: 0 where its channel is dropped. */
__device__ __forceinline__ float scale_of(const position_call &call, int64_t row)
{
    if (call.probability == 0.0F) {
        return 1.0F;
    }
    const position_axis &axis = call.axis[call.axes > 1 ? 1 : 0];
    const int64_t whole = call.first_row + row;
    const int64_t sample = whole / call.length + call.first_sample;
    const int64_t channel = sample * axis.size + digit_of(axis, call.offset + whole % call.length);
    return rf_cuda_keeps(call.key, static_cast<uint64_t>(channel), call.keep_from)
               ? 1.0F / (1.0F - call.probability)
               : 0.0F;
}

/* *y = value, or += value, both rounded: the sum has the bits of an addition that comes after. */
template <bool Adds> __device__ __forceinline__ void put(float *y, float value)
{
    *y = Adds ? __fadd_rn(*y, value) : value;
}

/* y [rows, width] */
template <bool Adds> __global__ void look_up_kernel(const position_call call, float *__restrict__ y)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t warps = rf_cuda_stride() / rf_cuda_warp;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < call.rows; row += warps) {
        const int64_t place = call.offset + (call.first_row + row) % call.length;
        const float scale = scale_of(call, row);
        for (int k = 0; k < call.axes; k++) {
            const position_axis &axis = call.axis[k];
            const float *from = axis.table + digit_of(axis, place) * axis.width;
            float *to = y + row * call.width + axis.origin;
            for (int64_t c = lane; c < axis.width; c += rf_cuda_warp) {
                put<Adds>(&to[c], __fmul_rn(scale, from[c]));
            }
        }
    }
}

/* Columns 2 i and 2 i + 1 of y [rows, width] for wave i. */
template <bool Adds>
__global__ void waves_kernel(int64_t rows, int64_t width, int64_t first_row, int64_t length,
                             int64_t offset, float *__restrict__ y)
{
    const int64_t waves = rf_cuda_blocks(width, 2);
    const int64_t tasks = rf_cuda_blocks(rows, wave_rows) * waves;
    for (int64_t task = rf_cuda_first(); task < tasks; task += rf_cuda_stride()) {
        const int64_t i = task % waves;
        const int64_t first = task / waves * wave_rows;
        const double rate =
            pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(width));
        for (int64_t row = first; row < rows && row < first + wave_rows; row++) {
            const int64_t place = offset + (first_row + row) % length;
            double wave_sin;
            double wave_cos;
            sincos(static_cast<double>(place) * rate, &wave_sin, &wave_cos);
            put<Adds>(&y[row * width + 2 * i], static_cast<float>(wave_sin));
            if (2 * i + 1 < width) {
                put<Adds>(&y[row * width + 2 * i + 1], static_cast<float>(wave_cos));
            }
        }
    }
}

/* Rows [first, end) of a sample, as places in its sequence: place - shift is the row. */
struct sample_part {
    int64_t first, end, shift;
};

__device__ __forceinline__ sample_part part_of_sample(const position_call &call, int64_t sample)
{
    const int64_t origin = sample * call.length - call.first_row; /* its row 0 */
    const int64_t first = origin < 0 ? -origin : 0;
    const int64_t left = call.rows - origin;
    const int64_t end = left < call.length ? left : call.length;
    return {call.offset + first, call.offset + end, call.offset - origin};
}

/* A row of the gradient and the factor of its place; row -1: none. */
struct scaled_row {
    int64_t row;
    float scale;
};

/* Where the place numbered n is: see add_digits_kernel. */
__device__ __forceinline__ scaled_row row_of_number(const position_call &call,
                                                    const position_axis &axis,
                                                    const sample_part &rows, int64_t turn,
                                                    int64_t n)
{
    const int64_t place = (turn + n / axis.divisor) * (axis.size * axis.divisor) +
                          static_cast<int64_t>(blockIdx.x) * axis.divisor + n % axis.divisor;
    if (place < rows.first || place >= rows.end) {
        return {-1, 0.0F};
    }
    return {place - rows.shift, scale_of(call, place - rows.shift)};
}

/* sum + the rows of all lanes, in their order; `from` is this lane's column, NULL outside. */
__device__ __forceinline__ float add_rows(float sum, const scaled_row &mine, const float *from,
                                          int64_t width)
{
    constexpr int at_once = 8;
#pragma unroll
    for (int first = 0; first < rf_cuda_warp; first += at_once) {
        float terms[at_once];
#pragma unroll
        for (int i = 0; i < at_once; i++) {
            const int64_t row = __shfl_sync(0xFFFFFFFFU, mine.row, first + i);
            const float scale = __shfl_sync(0xFFFFFFFFU, mine.scale, first + i);
            terms[i] = from != nullptr && row >= 0 ? scale * from[row * width] : 0.0F;
        }
#pragma unroll
        for (int i = 0; i < at_once; i++) {
            sum += terms[i];
        }
    }
    return sum;
}

/* Block x: digit x of axis k; blockIdx.y: its columns. The places with the digit are numbered
 * through its runs of `divisor`; thread (c, r) sums those numbered r, r + 16, ... A warp has one r:
 * each lane finds one of the next 32 rows and its factor, for all. y_gradient [rows, width]. */
__global__ void __launch_bounds__(columns_a_block *rows_at_a_time)
    add_digits_kernel(const position_call call, int k, const float *__restrict__ y_gradient)
{
    static_assert(columns_a_block == rf_cuda_warp, "a warp has one part");
    __shared__ float sums[rows_at_a_time][columns_a_block];
    const position_axis &axis = call.axis[k];
    const int lane = static_cast<int>(threadIdx.x);
    const int part = static_cast<int>(threadIdx.y);
    const int64_t column = static_cast<int64_t>(blockIdx.y) * columns_a_block + lane;
    const bool is_inside = column < axis.width;
    const float *from = is_inside ? y_gradient + axis.origin + column : nullptr;
    const int64_t period = axis.size * axis.divisor;
    const int64_t last = (call.first_row + call.rows - 1) / call.length;
    float sum = 0.0F;
    for (int64_t sample = call.first_row / call.length; sample <= last; sample++) {
        const sample_part rows = part_of_sample(call, sample);
        const int64_t turn = rows.first / period;
        const int64_t count = ((rows.end - 1) / period - turn + 1) * axis.divisor;
        for (int64_t n = part; n < count; n += rows_at_a_time * rf_cuda_warp) {
            const scaled_row mine =
                row_of_number(call, axis, rows, turn, n + lane * rows_at_a_time);
            sum = add_rows(sum, mine, from, call.width);
        }
    }
    sums[part][lane] = sum;
    __syncthreads();
    if (part == 0 && is_inside) {
        float total = sums[0][lane];
        for (int i = 1; i < rows_at_a_time; i++) {
            total += sums[i][lane];
        }
        axis.table[blockIdx.x * axis.width + column] += total;
    }
}

/* `tables`: values or gradients. */
position_call call_of(const rf_position *position, const rf_tensor *tables, const rf_tensor *y)
{
    position_call call = {};
    call.rows = y->shape[0];
    call.width = y->shape[1];
    call.first_row = position->first_row;
    call.first_sample = position->first_sample;
    call.length = position->length;
    call.offset = position->offset;
    call.probability = position->probability;
    call.keep_from = rf_core_keep_from(position->probability);
    call.key = position->key;
    if (position->kind == RF_POSITION_SINUSOIDAL) {
        return call;
    }
    call.axes = position->axes;
    int64_t divisor = 1;
    int64_t origin = call.width;
    for (int k = call.axes - 1; k >= 0; k--) {
        const rf_tensor *table = &tables[k];
        origin -= table->shape[1];
        call.axis[k] = {rf_cuda_data<float>(table), table->shape[0], divisor, table->shape[1],
                        origin};
        divisor *= table->shape[0];
    }
    return call;
}

} // namespace

rf_status rf_cuda_position(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_position *position = static_cast<const rf_position *>(arguments);
    const position_call call = call_of(position, position->tables, &position->y);
    float *y = rf_cuda_data<float>(&position->y);
    const cudaStream_t stream = rf_cuda_stream(device);
    if (call.rows == 0 || call.width == 0) {
        return RF_OK;
    }
    if (position->kind == RF_POSITION_SINUSOIDAL) {
        const int64_t tasks = rf_cuda_blocks(call.rows, wave_rows) * rf_cuda_blocks(call.width, 2);
        const auto kernel = position->add ? waves_kernel<true> : waves_kernel<false>;
        kernel<<<rf_cuda_grid(device, tasks, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
            call.rows, call.width, call.first_row, call.length, call.offset, y);
    } else {
        const unsigned grid = rf_cuda_grid(device, call.rows, rf_cuda_threads / rf_cuda_warp);
        const auto kernel = position->add ? look_up_kernel<true> : look_up_kernel<false>;
        kernel<<<grid, rf_cuda_threads, 0, stream>>>(call, y);
    }
    return rf_cuda_launched(device, "position", error);
}

rf_status rf_cuda_position_backward(rf_device *device, const void *arguments, void *,
                                    rf_error *error)
{
    const rf_position_backward *backward = static_cast<const rf_position_backward *>(arguments);
    const position_call call =
        call_of(&backward->forward, backward->table_gradients, &backward->y_gradient);
    const cudaStream_t stream = rf_cuda_stream(device);
    const float *y_gradient = rf_cuda_data<const float>(&backward->y_gradient);
    const dim3 threads(columns_a_block, rows_at_a_time);
    for (int k = 0; k < call.axes && call.rows > 0; k++) {
        const position_axis &axis = call.axis[k];
        if (axis.width > 0) {
            const dim3 grid(static_cast<unsigned>(axis.size),
                            static_cast<unsigned>(rf_cuda_blocks(axis.width, columns_a_block)));
            add_digits_kernel<<<grid, threads, 0, stream>>>(call, k, y_gradient);
        }
    }
    return rf_cuda_launched(device, "position_backward", error);
}
