/* Norm, products and dropout of bf16 in one pass over memory, or a product, dropout and residual.
 *
 * A thread block takes 128 rows. Their input stays in shared memory in bf16, normalised on its way
 * in from a stream, or copied; the weights run past it in steps of 128 outputs x 32 of the inner
 * size, four steps deep, from the second-level cache. Eight warps multiply 64 x 32 each (mma.sync).
 * What becomes of a sum is done where it stands, in registers: bias, relu and dropout, then one
 * write of y; or dropout, then one read and write of the stream.
 *
 * Memory: the input once, every output once; weights once a block of rows, from the cache. Results
 * of a row depend on nothing but the row. */
#include "ops/cuda/project/fast.cuh"

#include "ops/cuda/block_attention/mma.cuh"
#include "ops/cuda/residual.cuh"

#include <initializer_list>

namespace
{

constexpr int tile_rows = 128;
constexpr int tile_columns = 128;
constexpr int depth = 32;  /* of the inner size, a step */
constexpr int stages = 4;  /* steps in shared memory */
constexpr int piece = 8;   /* bf16 numbers in 16 bytes */
constexpr int at_once = 4; /* rows that a warp reads before it normalises */
constexpr int warps = rf_cuda_threads / rf_cuda_warp;
constexpr int column_warps = 4; /* a row of warps; two such rows */
constexpr int warp_rows = 64;
constexpr int warp_columns = 32;
constexpr int stage_bytes = tile_columns * depth * 2;
static_assert(warps * warp_rows * warp_columns == tile_rows * tile_columns, "one product a warp");

typedef __nv_bfloat16 bf16;

struct product_call {
    const bf16 *weight; /* [columns, k], leading */
    int64_t leading;
    const bf16 *bias; /* [columns] or NULL */
    bf16 *y;          /* [rows, columns] */
    int columns;
};

/* X: the input's type, bf16 where it is not a stream; T: the type of the stream that is changed. */
template <typename X, typename T> struct project_call {
    const X *x; /* [rows, k] */
    int64_t rows;
    float unit, epsilon;       /* of the norm, as all up to z */
    const float *gain, *shift; /* [k] */
    bf16 *z;                   /* [rows, k] or NULL */
    int tiles;                 /* of columns, in all products */
    product_call products[RF_MAX_PROJECTIONS];
    bool relu, drops;
    rf_cuda_dropout_call dropout;
    T *stream; /* [rows, columns] of the one product, or NULL */
    float scale;
    int32_t *overflow;
};

/* Bytes from the start of the input's rows to 16 bytes of one; those of rows that are read together
 * lie in different banks. */
template <int K> __device__ __forceinline__ int input_offset(int row, int number)
{
    return row * K * 2 + ((number ^ (row & 7)) << 4);
}

/* The same in a step of the weights [tile_columns, depth]. Rows 0, 1, 4, 5, 8, 9, 12, 13 (or those
 * plus 2) of 16 are read together: see `multiply`. */
__device__ __forceinline__ int weight_offset(int row, int number)
{
    return row * depth * 2 + ((number ^ ((row >> 2) & 3)) << 4);
}

/* Which product tile `tile` of columns belongs to; *column: its first one there. Products are few
 * and their numbers stand in the constant bank: nothing is indexed at run time. */
template <typename Call>
__device__ __forceinline__ product_call product_at(const Call &call, int tile, int *column)
{
    const int first = call.products[0].columns / tile_columns;
    const int second = call.products[1].columns / tile_columns;
    if (tile < first) {
        *column = tile * tile_columns;
        return call.products[0];
    }
    if (tile < first + second) {
        *column = (tile - first) * tile_columns;
        return call.products[1];
    }
    *column = (tile - first - second) * tile_columns;
    return call.products[2];
}

/* Begin to copy step `step` of all weights. */
template <int K, typename Call>
__device__ __forceinline__ void copy_weights(const Call &call, int step, unsigned char *to)
{
    constexpr int steps = K / depth;
    constexpr int pieces = depth / piece;
    int column = 0;
    const product_call product = product_at(call, step / steps, &column);
    const bf16 *from = product.weight + column * product.leading + step % steps * depth;
#pragma unroll
    for (int turn = 0; turn < tile_columns * pieces / rf_cuda_threads; turn++) {
        const int index = static_cast<int>(threadIdx.x) + turn * rf_cuda_threads;
        const int row = index / pieces;
        const int number = index % pieces;
        rf_copy_16(to + weight_offset(row, number), from + row * product.leading + number * piece,
                   true);
    }
}

/* ---- the input ---- */

/* Begin to copy the block's rows; beyond the last they are 0. */
template <int K, typename T>
__device__ __forceinline__ void take_input(const project_call<bf16, T> &call, int64_t first,
                                           unsigned char *input)
{
    constexpr int pieces = K / piece;
#pragma unroll
    for (int turn = 0; turn < tile_rows * pieces / rf_cuda_threads; turn++) {
        const int index = static_cast<int>(threadIdx.x) + turn * rf_cuda_threads;
        const int row = index / pieces;
        const int number = index % pieces;
        const bool is_there = first + row < call.rows;
        const bf16 *from = call.x + (is_there ? first + row : 0) * K + number * piece;
        rf_copy_16(input + input_offset<K>(row, number), from, is_there);
    }
}

/* x becomes (x - mean) / deviation, as layer_norm does it. */
template <int Quads> __device__ __forceinline__ void normalise(float (&x)[Quads][4], float epsilon)
{
    const float count = static_cast<float>(Quads * 4 * rf_cuda_warp);
    float sum = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
        sum += (x[q][0] + x[q][1]) + (x[q][2] + x[q][3]);
    }
    const float mean = rf_cuda_warp_sum(sum) / count;
    float squares = 0.0F;
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] -= mean;
            squares += x[q][j] * x[q][j];
        }
    }
    const float inverse = 1.0F / sqrtf(rf_cuda_warp_sum(squares) / count + epsilon);
#pragma unroll
    for (int q = 0; q < Quads; q++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[q][j] *= inverse;
        }
    }
}

/* Read the block's rows of a stream and normalise them: a warp a row, a lane four neighbours of
 * every 128 columns. */
template <int K, typename X, typename T>
__device__ __forceinline__ void take_input(const project_call<X, T> &call, int64_t first,
                                           unsigned char *input)
{
    constexpr int quads = K / (4 * rf_cuda_warp);
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    rf_cuda_quad<float> gain[quads];
    rf_cuda_quad<float> shift[quads];
#pragma unroll
    for (int q = 0; q < quads; q++) {
        gain[q] = rf_cuda_load_quad(call.gain, 4 * (lane + q * rf_cuda_warp), K, true);
        shift[q] = rf_cuda_load_quad(call.shift, 4 * (lane + q * rf_cuda_warp), K, true);
    }
#pragma unroll 1
    for (int base = warp * (tile_rows / warps); base < (warp + 1) * (tile_rows / warps);
         base += at_once) {
        rf_cuda_quad<X> found[at_once][quads];
#pragma unroll
        for (int r = 0; r < at_once; r++) {
            const int64_t row = first + base + r < call.rows ? first + base + r : first;
#pragma unroll
            for (int q = 0; q < quads; q++) {
                found[r][q] =
                    rf_cuda_load_quad(call.x + row * K, 4 * (lane + q * rf_cuda_warp), K, true);
            }
        }
#pragma unroll
        for (int r = 0; r < at_once; r++) {
            float x[quads][4];
#pragma unroll
            for (int q = 0; q < quads; q++) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    x[q][j] = rf_cuda_load(found[r][q].v[j], call.unit);
                }
            }
            normalise(x, call.epsilon);
#pragma unroll
            for (int q = 0; q < quads; q++) {
                const int column = 4 * (lane + q * rf_cuda_warp);
                rf_cuda_quad<bf16> out;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    out.v[j] = __float2bfloat16_rn(x[q][j] * gain[q].v[j] + shift[q].v[j]);
                }
                unsigned char *to = input + input_offset<K>(base + r, column / piece);
                *reinterpret_cast<rf_cuda_quad<bf16> *>(to + column % piece * 2) = out;
                if (call.z != nullptr && first + base + r < call.rows) {
                    rf_cuda_store_quad(call.z + (first + base + r) * K, column, K, true, out);
                }
            }
        }
    }
}

/* ---- the products ---- */

/* sums[m][j] of rows 16 m of the warp's and column group j. Column n of group j is column
 * 16 (j / 2) + 4 (n / 2) + 2 (j % 2) + n % 2 of the warp's 32, so that the two groups of a pair
 * give a lane four neighbours: see `quad_of`. */
typedef float warp_sums[warp_rows / 16][warp_columns / 8][4];

template <int K>
__device__ __forceinline__ void multiply(const unsigned char *input, const unsigned char *weights,
                                         int step, warp_sums &sums)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int first_row = warp / column_warps * warp_rows + lane % 16;
    const int first_column =
        warp % column_warps * warp_columns + lane % 8 / 2 * 4 + lane / 16 * 2 + lane % 2;
#pragma unroll
    for (int k = 0; k < depth / 16; k++) {
        uint32_t a[warp_rows / 16][4];
        uint32_t b[warp_columns / 16][4];
#pragma unroll
        for (int m = 0; m < warp_rows / 16; m++) {
            const int number = step * (depth / piece) + 2 * k + lane / 16;
            rf_mma_load(a[m], input + input_offset<K>(first_row + 16 * m, number));
        }
#pragma unroll
        for (int pair = 0; pair < warp_columns / 16; pair++) {
            const int number = 2 * k + lane / 8 % 2;
            rf_mma_load(b[pair], weights + weight_offset(first_column + 16 * pair, number));
        }
#pragma unroll
        for (int m = 0; m < warp_rows / 16; m++) {
#pragma unroll
            for (int pair = 0; pair < warp_columns / 16; pair++) {
                rf_mma(sums[m][2 * pair], a[m], b[pair][0], b[pair][1]);
                rf_mma(sums[m][2 * pair + 1], a[m], b[pair][2], b[pair][3]);
            }
        }
    }
}

/* Four neighbours of a lane: columns 16 pair + 4 (lane % 4) ... + 3 of the warp's, in row
 * 16 m + 8 half + lane / 4 of the warp's. */
__device__ __forceinline__ rf_cuda_quad<float> quad_of(const warp_sums &sums, int m, int half,
                                                       int pair)
{
    return {sums[m][2 * pair][2 * half], sums[m][2 * pair][2 * half + 1],
            sums[m][2 * pair + 1][2 * half], sums[m][2 * pair + 1][2 * half + 1]};
}

/* ---- what becomes of the sums ---- */

/* Where a lane's quads are. */
struct lane_place {
    int64_t row;   /* of m = half = 0 */
    int column[2]; /* of each pair, in the product */
};

__device__ __forceinline__ lane_place place_of(int64_t first_row, int first_column)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int column = first_column + warp % column_warps * warp_columns + lane % 4 * 4;
    return {first_row + warp / column_warps * warp_rows + lane / 4, {column, column + 16}};
}

/* Behind the bias and, if wanted, relu, which keeps what is not a number. */
__device__ __forceinline__ void finish_sum(rf_cuda_quad<float> &sum,
                                           const rf_cuda_quad<float> &bias, bool relu)
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sum.v[j] += bias.v[j];
        sum.v[j] = relu && sum.v[j] < 0.0F ? 0.0F : sum.v[j];
    }
}

template <typename Call>
__device__ __forceinline__ void drop_at(rf_cuda_quad<float> &sum, const Call &call, int64_t row,
                                        int64_t columns, int column)
{
    if (call.drops) {
        uint32_t bits[4];
        const uint64_t index = static_cast<uint64_t>(row * columns + column);
        rf_core_random_block(&call.dropout.key, call.dropout.origin + index, bits);
        rf_cuda_mask(sum, bits, call.dropout);
    }
}

__device__ __forceinline__ rf_cuda_quad<float> bias_of(const product_call &product, int column)
{
    rf_cuda_quad<float> bias = {};
    if (product.bias != nullptr) {
        bias = rf_cuda_load_reals(product.bias, column, product.columns, true);
    }
    return bias;
}

template <typename Call>
__device__ __forceinline__ void write_sums(const Call &call, const product_call &product,
                                           const lane_place &at, const warp_sums &sums)
{
    const rf_cuda_quad<float> bias[2] = {bias_of(product, at.column[0]),
                                         bias_of(product, at.column[1])};
#pragma unroll
    for (int m = 0; m < warp_rows / 16; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int64_t row = at.row + 16 * m + 8 * half;
            if (row < call.rows) {
#pragma unroll
                for (int pair = 0; pair < 2; pair++) {
                    rf_cuda_quad<float> sum = quad_of(sums, m, half, pair);
                    finish_sum(sum, bias[pair], call.relu);
                    drop_at(sum, call, row, product.columns, at.column[pair]);
                    rf_cuda_store_reals(product.y + row * product.columns, at.column[pair],
                                        product.columns, true, sum);
                }
            }
        }
    }
}

template <rf_residual_mode Mode, typename T, typename Call>
__device__ __forceinline__ void change_stream(const Call &call, const product_call &product,
                                              const lane_place &at, const warp_sums &sums,
                                              bool *bad)
{
    const int64_t columns = product.columns;
    const rf_cuda_quad<float> bias[2] = {bias_of(product, at.column[0]),
                                         bias_of(product, at.column[1])};
#pragma unroll
    for (int m = 0; m < warp_rows / 16; m++) {
        rf_cuda_quad<T> found[2][2] = {};
#pragma unroll
        for (int i = 0; i < 4; i++) { /* all before any is used */
            const int64_t row = at.row + 16 * m + 8 * (i / 2);
            if (row < call.rows) {
                found[i / 2][i % 2] =
                    rf_cuda_load_quad(call.stream + row * columns, at.column[i % 2], columns, true);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int64_t row = at.row + 16 * m + 8 * (i / 2);
            if (row < call.rows) {
                rf_cuda_quad<float> sum = quad_of(sums, m, i / 2, i % 2);
                finish_sum(sum, bias[i % 2], false);
                drop_at(sum, call, row, columns, at.column[i % 2]);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    rf_cuda_change<Mode>(&found[i / 2][i % 2].v[j], sum.v[j], call.scale, bad);
                }
                rf_cuda_store_quad(call.stream + row * columns, at.column[i % 2], columns, true,
                                   found[i / 2][i % 2]);
            }
        }
    }
}

/* ---- the kernel ---- */

/* Mode says what is done to a stream; RF_RESIDUAL_SET: there is none, y is written. */
template <int K, rf_residual_mode Mode, typename X, typename T>
__global__ void __launch_bounds__(rf_cuda_threads, 2) project_kernel(const project_call<X, T> call)
{
    extern __shared__ __align__(128) unsigned char shared[];
    unsigned char *const input = shared;
    unsigned char *const weights = shared + tile_rows * K * 2;
    constexpr int steps = K / depth;
    const int count = call.tiles * steps;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * tile_rows;
    bool bad = false;
    warp_sums sums = {};
#pragma unroll
    for (int step = 0; step < stages - 1; step++) { /* a tile has at least as many */
        copy_weights<K>(call, step, weights + step * stage_bytes);
        if (step == 0 && sizeof(X) == sizeof(bf16)) { /* copies of its own, in the first group */
            take_input<K>(call, first, input);
        }
        rf_copy_commit();
    }
    if (sizeof(X) != sizeof(bf16)) {
        take_input<K>(call, first, input);
    }
#pragma unroll 1
    for (int step = 0; step < count; step++) {
        rf_copy_wait_but<stages - 2>();
        __syncthreads(); /* this step has come, and all are done with the one before */
        if (step + stages - 1 < count) {
            const int next = step + stages - 1;
            copy_weights<K>(call, next, weights + next % stages * stage_bytes);
        }
        rf_copy_commit();
        multiply<K>(input, weights + step % stages * stage_bytes, step % steps, sums);
        if (step % steps == steps - 1) {
            int column = 0;
            const product_call product = product_at(call, step / steps, &column);
            const lane_place at = place_of(first, column);
            if (Mode == RF_RESIDUAL_SET) {
                write_sums(call, product, at, sums);
            } else {
                change_stream<Mode, T>(call, product, at, sums, &bad);
            }
#pragma unroll
            for (int i = 0; i < warp_rows / 16 * (warp_columns / 8) * 4; i++) {
                sums[i / 16][i / 4 % 4][i % 4] = 0.0F;
            }
        }
    }
    if (Mode != RF_RESIDUAL_SET && bad) {
        *call.overflow = 1;
    }
}

/* ---- launching ---- */

bool has_norm(const rf_project *project)
{
    return !rf_tensor_is_absent(&project->norm.gain);
}

bool has_stream(const rf_project *project)
{
    return !rf_tensor_is_absent(&project->residual.stream);
}

int64_t inner_size(const rf_project *project)
{
    return project->products[0].weight.columns;
}

template <typename X, typename T> project_call<X, T> call_of(const rf_project *project)
{
    project_call<X, T> call = {};
    const rf_residual *residual = &project->residual;
    const int64_t n = project->products[0].weight.rows;
    for (int i = 0; i < project->count; i++) {
        const rf_product *product = &project->products[i];
        call.products[i] = {static_cast<const bf16 *>(product->weight.data),
                            product->weight.leading, rf_cuda_data<const bf16>(&product->bias),
                            rf_cuda_data<bf16>(&product->y),
                            static_cast<int>(product->weight.rows)};
        call.tiles += static_cast<int>(product->weight.rows / tile_columns);
    }
    call.relu = project->relu;
    if (has_stream(project)) {
        call.drops = residual->probability > 0.0F;
        call.dropout =
            rf_cuda_dropout_of(residual->probability, residual->key, residual->first_row, n);
        call.stream = rf_cuda_data<T>(&residual->stream);
        call.scale = 1.0F / rf_cuda_unit(residual->stream.dtype, residual->fraction_bits);
        call.overflow = rf_cuda_data<int32_t>(&residual->overflow);
    } else {
        call.drops = project->probability > 0.0F;
        call.dropout =
            rf_cuda_dropout_of(project->probability, project->key, project->first_row, n);
    }
    return call;
}

template <int K, rf_residual_mode Mode, typename X, typename T>
rf_status launch(const rf_device *device, const project_call<X, T> &call, rf_error *error)
{
    const size_t size = tile_rows * K * 2 + stages * stage_bytes;
    if (call.rows == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(project_kernel<K, Mode, X, T>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(size)),
                          "project", error));
    project_kernel<K, Mode, X, T><<<static_cast<unsigned>(rf_cuda_blocks(call.rows, tile_rows)),
                                    rf_cuda_threads, size, stream>>>(call);
    return rf_cuda_launched(device, "project", error);
}

constexpr int normed_size = 256; /* the inner size behind a norm */

template <typename X>
rf_status launch_normed(const rf_device *device, const rf_project *project, rf_error *error)
{
    const rf_layer_norm *norm = &project->norm;
    project_call<X, float> call = call_of<X, float>(project);
    call.x = rf_cuda_data<const X>(&norm->x);
    call.rows = norm->x.shape[0];
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.shift = rf_cuda_data<const float>(&norm->bias);
    call.z = rf_cuda_data<bf16>(&norm->y);
    return launch<normed_size, RF_RESIDUAL_SET>(device, call, error);
}

template <typename T>
rf_status launch_residual(const rf_device *device, const rf_project *project, rf_error *error)
{
    project_call<bf16, T> call = call_of<bf16, T>(project);
    const bool adds = project->residual.mode == RF_RESIDUAL_ADD;
    call.x = rf_cuda_data<const bf16>(&project->x);
    call.rows = project->x.shape[0];
    if (inner_size(project) == 128) {
        return adds ? launch<128, RF_RESIDUAL_ADD>(device, call, error)
                    : launch<128, RF_RESIDUAL_SUBTRACT>(device, call, error);
    }
    return adds ? launch<256, RF_RESIDUAL_ADD>(device, call, error)
                : launch<256, RF_RESIDUAL_SUBTRACT>(device, call, error);
}

bool is_whole(const void *pointer)
{
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

bool takes_products(const rf_project *project)
{
    bool takes = true;
    for (int i = 0; i < project->count; i++) {
        const rf_product *product = &project->products[i];
        takes = takes && product->weight.rows % tile_columns == 0 && product->weight.rows > 0 &&
                product->weight.rows < INT32_MAX / RF_MAX_PROJECTIONS &&
                product->weight.leading % piece == 0 && is_whole(product->weight.data) &&
                (rf_tensor_is_absent(&product->bias) || is_whole(product->bias.data)) &&
                (rf_tensor_is_absent(&product->y) || is_whole(product->y.data));
    }
    return takes && project->products[0].weight.dtype == RF_BF16;
}

} // namespace

bool rf_fast_takes_project(const rf_device *device, const rf_project *project)
{
    const int64_t k = inner_size(project);
    const rf_layer_norm *norm = &project->norm;
    if (device->plain_kernels || !takes_products(project) || k > normed_size ||
        tile_rows * static_cast<size_t>(k) * 2 + stages * stage_bytes >
            rf_cuda_state_of(device)->shared_memory) {
        return false;
    }
    if (has_norm(project)) {
        bool whole = true;
        for (const rf_tensor *tensor : {&norm->x, &norm->gain, &norm->bias, &norm->y}) {
            whole = whole && (rf_tensor_is_absent(tensor) || is_whole(tensor->data));
        }
        return whole && k == normed_size && !has_stream(project);
    }
    return has_stream(project) && (k == 128 || k == 256) &&
           project->residual.mode != RF_RESIDUAL_SET && is_whole(project->x.data) &&
           is_whole(project->residual.stream.data);
}

rf_status rf_fast_project(const rf_device *device, const rf_project *project, rf_error *error)
{
    if (has_norm(project)) {
        return project->norm.x.dtype == RF_FIXED32 ? launch_normed<int32_t>(device, project, error)
                                                   : launch_normed<float>(device, project, error);
    }
    return project->residual.stream.dtype == RF_FIXED32
               ? launch_residual<uint32_t>(device, project, error)
               : launch_residual<float>(device, project, error);
}
