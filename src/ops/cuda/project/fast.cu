/* Norm, products and dropout of bf16 in one pass over memory, or a product, dropout and residual.
 *
 * A thread block takes 128 rows. Their input stays in shared memory
 * in bf16, normalised on its way in from a stream, or copied; the weights run past it in steps,
 * several steps deep, from the second-level cache (tile.cuh). What becomes of a sum is done where
 * it stands, in registers: bias, relu and dropout, then one write of y; or dropout, then one read
 * and write of the stream. Two blocks share a multiprocessor, so that one multiplies while the
 * other reads or writes; what a block will read is asked for early, of the second-level cache.
 *
 * Memory: the input once, every output once; weights once a block of rows, from the cache. Results
 * of a row depend on nothing but the row. */
#include "ops/cuda/project/fast.cuh"

#include "ops/cuda/project/quads.cuh"

#include <initializer_list>

namespace
{

constexpr int at_once = 4; /* rows that a warp reads before it normalises */

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

/* Which product tile `tile` of columns belongs to; *column: its first one there. Products are few
 * and their numbers stand in the constant bank: nothing is indexed at run time. */
template <typename Call>
__device__ __forceinline__ product_call product_at(const Call &call, int tile, int *column)
{
    const int first = call.products[0].columns / rf_tile_columns;
    const int second = call.products[1].columns / rf_tile_columns;
    if (tile < first) {
        *column = tile * rf_tile_columns;
        return call.products[0];
    }
    if (tile < first + second) {
        *column = (tile - first) * rf_tile_columns;
        return call.products[1];
    }
    *column = (tile - first - second) * rf_tile_columns;
    return call.products[2];
}

template <typename Call>
__device__ __forceinline__ rf_tile_source weights_of(const Call &call, int tile)
{
    int column = 0;
    const product_call product = product_at(call, tile, &column);
    return rf_tile_source_of(product.weight + column * product.leading, product.leading);
}

/* Ask the second-level cache for a line. */
__device__ __forceinline__ void prefetch(const void *line)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
}

/* The same for columns column ... + Columns - 1 of the block's rows of x [rows, width]. */
template <int Rows, int Columns, typename X>
__device__ __forceinline__ void prefetch_rows(const X *x, int64_t width, int64_t first,
                                              int64_t rows, int column)
{
    constexpr int numbers = 128 / static_cast<int>(sizeof(X)); /* of a line */
    constexpr int lines = Columns / numbers;
#pragma unroll
    for (int turn = 0; turn < Rows * lines / rf_cuda_threads; turn++) {
        const int index = static_cast<int>(threadIdx.x) + turn * rf_cuda_threads;
        const int64_t row = first + index / lines;
        if (row < rows) {
            prefetch(x + row * width + column + index % lines * numbers);
        }
    }
}

/* ---- the input ---- */

/* Begin to copy the block's rows; beyond the last they are 0. */
template <int K, typename T>
__device__ __forceinline__ void take_input(const project_call<bf16, T> &call, int64_t first,
                                           unsigned char *input)
{
    constexpr int pieces = K / rf_tile_piece;
#pragma unroll
    for (int turn = 0; turn < rf_tile_rows * pieces / rf_cuda_threads; turn++) {
        const int index = static_cast<int>(threadIdx.x) + turn * rf_cuda_threads;
        const int row = index / pieces;
        const int number = index % pieces;
        const bool is_there = first + row < call.rows;
        const bf16 *from = call.x + (is_there ? first + row : 0) * K + number * rf_tile_piece;
        rf_copy_16(input + rf_tile_input<K>(row, number), from, is_there);
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
    const int warp = rf_tile<K>::warp();
    prefetch_rows<rf_tile_rows, K>(call.x, K, first, call.rows, 0);
    rf_cuda_quad<float> gain[quads];
    rf_cuda_quad<float> shift[quads];
#pragma unroll
    for (int q = 0; q < quads; q++) {
        gain[q] = *rf_quad_at(call.gain, 4 * (lane + q * rf_cuda_warp));
        shift[q] = *rf_quad_at(call.shift, 4 * (lane + q * rf_cuda_warp));
    }
    constexpr int warp_rows = rf_tile_rows / rf_tile_warps;
#pragma unroll 1
    for (int base = warp * warp_rows; base < (warp + 1) * warp_rows; base += at_once) {
        rf_cuda_quad<X> found[at_once][quads];
#pragma unroll
        for (int r = 0; r < at_once; r++) {
            const int64_t row = first + base + r < call.rows ? first + base + r : first;
#pragma unroll
            for (int q = 0; q < quads; q++) {
                found[r][q] = *rf_quad_at(call.x, row * K + 4 * (lane + q * rf_cuda_warp));
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
                unsigned char *to = input + rf_tile_input<K>(base + r, column / rf_tile_piece);
                *reinterpret_cast<rf_cuda_quad<bf16> *>(to + column % rf_tile_piece * 2) = out;
                if (call.z != nullptr && first + base + r < call.rows) {
                    *rf_quad_at(call.z, (first + base + r) * K + column) = out;
                }
            }
        }
    }
}

/* ---- what becomes of the sums ---- */

/* The sums of rows 16 m and pairs pair, pair + 1, with the bias. */
template <int K>
__device__ __forceinline__ rf_lane_quads quads_of(const rf_tile_sums<K> &sums,
                                                  const product_call &product,
                                                  const rf_lane_place &at, int m, int pair)
{
    rf_lane_quads quads = {at.row + 16 * m, at.column + 16 * pair, {}};
#pragma unroll
    for (int side = 0; side < 2; side++) {
        uint2 bias = {0, 0}; /* four bf16 zeros */
        if (product.bias != nullptr) {
            bias = __ldg(reinterpret_cast<const uint2 *>(product.bias + quads.column_of(side)));
        }
        const bf16 *numbers = reinterpret_cast<const bf16 *>(&bias);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            rf_cuda_quad<float> sum = rf_tile_quad<K>(sums, m, half, pair + side);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum.v[j] += __bfloat162float(numbers[j]);
            }
            quads.v[2 * half + side] = sum;
        }
    }
    return quads;
}

template <int K, typename Call>
__device__ __forceinline__ void write_sums(const Call &call, const product_call &product,
                                           const rf_lane_place &at, const rf_tile_sums<K> &sums)
{
#pragma unroll
    for (int m = 0; m < rf_tile<K>::warp_rows / 16; m++) {
#pragma unroll
        for (int pair = 0; pair < rf_tile<K>::pairs; pair += 2) {
            rf_lane_quads quads = quads_of<K>(sums, product, at, m, pair);
            if (call.relu) {
                rf_keep_positive(quads);
            }
            if (call.drops) {
                rf_drop_quads(quads, call.dropout, product.columns);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int64_t row = quads.row_of(i);
                rf_cuda_quad<bf16> out;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    out.v[j] = __float2bfloat16_rn(quads.v[i].v[j]);
                }
                if (row < call.rows) {
                    *rf_quad_at(product.y, row * product.columns + quads.column_of(i)) = out;
                }
            }
        }
    }
}

template <int K, rf_residual_mode Mode, typename T, typename Call>
__device__ __forceinline__ void change_stream(const Call &call, const product_call &product,
                                              const rf_lane_place &at, const rf_tile_sums<K> &sums,
                                              bool *bad)
{
#pragma unroll
    for (int m = 0; m < rf_tile<K>::warp_rows / 16; m++) {
#pragma unroll
        for (int pair = 0; pair < rf_tile<K>::pairs; pair += 2) {
            rf_lane_quads quads = quads_of<K>(sums, product, at, m, pair);
            rf_cuda_quad<T> found[4] = {};
#pragma unroll
            for (int i = 0; i < 4; i++) { /* on their way during the rounds of the generator */
                const int64_t row = quads.row_of(i);
                if (row < call.rows) {
                    found[i] = *rf_quad_at(call.stream, row * product.columns + quads.column_of(i));
                }
            }
            if (call.drops) {
                rf_drop_quads(quads, call.dropout, product.columns);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int64_t row = quads.row_of(i);
                if (row < call.rows) {
                    rf_cuda_change_quad<Mode>(found[i], quads.v[i], call.scale, bad);
                    *rf_quad_at(call.stream, row * product.columns + quads.column_of(i)) = found[i];
                }
            }
        }
    }
}

/* ---- the kernel ---- */

/* The sums of a tile, whose first steps are being copied; those of the next tile then are. *stage:
 * where its first step lies, then the next tile's. */
template <int K>
__device__ __forceinline__ void sum_tile(unsigned char *input, const rf_tile_source &source,
                                         const rf_tile_source &next, bool has_next, int *stage,
                                         rf_tile_sums<K> &sums)
{
    constexpr int steps = rf_tile<K>::steps;
    unsigned char *const weights = input + rf_tile<K>::input_bytes;
#pragma unroll
    for (int i = 0; i < rf_tile<K>::warp_rows * rf_tile<K>::warp_columns / 32; i++) {
        constexpr int wide = rf_tile<K>::warp_columns / 2;
        sums.v[i / wide][i % wide / 4][i % 4] = 0.0F;
    }
#pragma unroll 4
    for (int step = 0; step < steps; step++) {
        rf_tile_wait();
        __syncthreads(); /* this step has come, and all are done with the one that is replaced */
        const int coming = step + rf_tile_ahead;
        unsigned char *const to =
            weights + rf_tile_stage(*stage, rf_tile_ahead) * rf_tile_stage_bytes;
        if (coming < steps) {
            rf_tile_copy(source, coming, to);
        } else if (has_next) {
            rf_tile_copy(next, coming - steps, to);
        }
        rf_copy_commit();
        rf_tile_multiply<K>(input, weights + *stage * rf_tile_stage_bytes, step, sums);
        *stage = rf_tile_stage(*stage, 1);
    }
    rf_tile_finish<K>(sums);
}

/* Mode says what is done to a stream; RF_RESIDUAL_SET: there is none, y is written. */
template <int K, rf_residual_mode Mode, typename X, typename T>
__global__ void __launch_bounds__(rf_cuda_threads, 2)
    project_kernel(const __grid_constant__ project_call<X, T> call)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * rf_tile_rows;
    rf_tile_source source = weights_of(call, 0);
    bool bad = false;
    int stage = 0;
#pragma unroll
    for (int step = 0; step < rf_tile_ahead; step++) {
        rf_tile_copy(source, step, shared + rf_tile<K>::input_bytes + step * rf_tile_stage_bytes);
        if (step == 0 && sizeof(X) == sizeof(bf16)) { /* copies of its own, in the first group */
            take_input<K>(call, first, shared);
        }
        rf_copy_commit();
    }
    if (sizeof(X) != sizeof(bf16)) {
        take_input<K>(call, first, shared);
    }
#pragma unroll 1
    for (int tile = 0; tile < call.tiles; tile++) {
        int column = 0;
        const product_call product = product_at(call, tile, &column);
        const bool has_next = tile + 1 < call.tiles;
        const rf_tile_source next = weights_of(call, has_next ? tile + 1 : tile);
        if (Mode != RF_RESIDUAL_SET) {
            prefetch_rows<rf_tile_rows, rf_tile_columns>(call.stream, product.columns, first,
                                                         call.rows, column);
        }
        rf_tile_sums<K> sums;
        sum_tile<K>(shared, source, next, has_next, &stage, sums);
        const rf_lane_place at = rf_lane_place_of<K>(first, column);
        if (Mode == RF_RESIDUAL_SET) {
            write_sums<K>(call, product, at, sums);
        } else {
            change_stream<K, Mode, T>(call, product, at, sums, &bad);
        }
        source = next;
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
        call.tiles += static_cast<int>(product->weight.rows / rf_tile_columns);
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

template <int K> size_t shared_size(const rf_device *device)
{
    const int stages =
        rf_cuda_state_of(device)->capability == 90 ? rf_tile_stages_of_90 : rf_tile_stages_of_80;
    return static_cast<size_t>(rf_tile<K>::input_bytes) +
           static_cast<size_t>(stages) * rf_tile_stage_bytes;
}

template <int K, rf_residual_mode Mode, typename X, typename T>
rf_status launch(const rf_device *device, const project_call<X, T> &call, rf_error *error)
{
    const size_t size = shared_size<K>(device);
    if (call.rows == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(project_kernel<K, Mode, X, T>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(size)),
                          "project", error));
    project_kernel<K, Mode, X, T><<<static_cast<unsigned>(rf_cuda_blocks(call.rows, rf_tile_rows)),
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

template <int K, typename T>
rf_status launch_residual(const rf_device *device, const rf_project *project, rf_error *error)
{
    project_call<bf16, T> call = call_of<bf16, T>(project);
    call.x = rf_cuda_data<const bf16>(&project->x);
    call.rows = project->x.shape[0];
    return project->residual.mode == RF_RESIDUAL_ADD
               ? launch<K, RF_RESIDUAL_ADD>(device, call, error)
               : launch<K, RF_RESIDUAL_SUBTRACT>(device, call, error);
}

template <typename T>
rf_status launch_residual_size(const rf_device *device, const rf_project *project, rf_error *error)
{
    return inner_size(project) == 128 ? launch_residual<128, T>(device, project, error)
                                      : launch_residual<256, T>(device, project, error);
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
        takes = takes && product->weight.rows % rf_tile_columns == 0 && product->weight.rows > 0 &&
                product->weight.rows < INT32_MAX / RF_MAX_PROJECTIONS &&
                product->weight.leading % rf_tile_piece == 0 && is_whole(product->weight.data) &&
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
    if (device->plain_kernels || !takes_products(project) ||
        shared_size<normed_size>(device) > rf_cuda_state_of(device)->shared_memory) {
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
               ? launch_residual_size<uint32_t>(device, project, error)
               : launch_residual_size<float>(device, project, error);
}
