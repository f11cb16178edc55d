/* Layer norm, up to three products, activation and residual of one to eight rows in one launch:
 * decoding reads every weight once for very few rows, so the time is that of reading them and of
 * launching.
 *
 * A block has eight warps; `split` of them share an output (a row of a weight matrix), each reading
 * its part of that row 16 bytes a lane at a time, the first pieces before anything else, so that
 * they are under way while the block normalises the rows of x (again in every block: a few KiB from
 * cache). How work is cut depends on the shape alone. More rows, other activations than relu, and
 * rows too wide for shared memory go through the operations of these names. Traffic: the weights,
 * once. */
#include "ops/cuda/cuda.cuh"

namespace
{

constexpr int threads = 256;
constexpr int warps = threads / rf_cuda_warp;
constexpr int most_rows = 8;
constexpr int ahead = 4;                   /* quads of a weight row in flight a lane */
constexpr int64_t enough_warps = 4096;     /* to fill a device; fewer, and outputs are split */
constexpr int64_t least_part = 256;        /* elements of a part */
constexpr size_t plain_shared = 40 * 1024; /* what a kernel may use without asking */

/* T: of weights. */
template <typename T> struct product {
    const T *weight;   /* [n, k] */
    const float *bias; /* [n] or NULL */
    float *y;          /* [rows, n]; NULL with a stream */
    int64_t n, first;  /* first: its outputs among all */
};

/* X: of streams, float, or int32_t with unit = 2^-fraction_bits. */
template <typename X, typename T> struct projecting {
    const X *x, *x2; /* [rows, width], [rows, k - width] */
    int64_t width, k, rows;
    float unit, epsilon;
    const float *gain, *shift; /* [k]; NULL: x as it is */
    product<T> products[RF_MAX_PROJECTIONS];
    int count;
    int64_t outputs; /* of all products */
    int split;
    bool relu, aligned;
    void *stream;      /* [rows, n] f32 or fixed32, or NULL */
    int32_t *overflow; /* [1] */
    rf_residual_mode mode;
    bool is_fixed;
    float scale; /* 2^fraction_bits */
};

/* What a product with weights of type T sees of a number. */
template <typename T> __device__ __forceinline__ float rounded_to(float value)
{
    return rf_cuda_load(rf_cuda_store<T>(value), 1.0F);
}

/* ---- the norm ---- */

/* Sums over the warps of one row: shared [warps]; `each` warps a row, in order. All threads call.
 */
__device__ float row_sum(float value, int each, float *shared)
{
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    value = rf_cuda_warp_sum(value);
    __syncthreads();
    if (threadIdx.x % rf_cuda_warp == 0) {
        shared[warp] = value;
    }
    __syncthreads();
    float sum = 0.0F;
    for (int i = 0; i < each; i++) {
        sum += shared[warp / each * each + i];
    }
    return sum;
}

/* z [Rows, k] in shared memory: the normalised rows; those that are not there are 0. */
template <int Rows, typename X, typename T>
__device__ void normalise(const projecting<X, T> &call, float *z, float *shared)
{
    constexpr int each = warps / Rows;
    const int row = static_cast<int>(threadIdx.x) / rf_cuda_warp / each;
    const int64_t first = threadIdx.x % (each * rf_cuda_warp);
    constexpr int64_t step = each * rf_cuda_warp;
    const bool is_there = row < call.rows;
    const float count = static_cast<float>(call.k);
    float *to = z + row * call.k;
    float sum = 0.0F;
    for (int64_t c = first; c < call.k; c += step) {
        const X *from = c < call.width ? call.x + row * call.width + c
                                       : call.x2 + row * (call.k - call.width) + c - call.width;
        to[c] = is_there ? rf_cuda_load(*from, call.unit) : 0.0F;
        sum += to[c];
    }
    const float mean = row_sum(sum, each, shared) / count;
    float squares = 0.0F;
    for (int64_t c = first; c < call.k; c += step) {
        squares += (to[c] - mean) * (to[c] - mean);
    }
    const float variance = row_sum(squares, each, shared) / count;
    const float inverse = 1.0F / sqrtf(variance + call.epsilon);
    for (int64_t c = first; c < call.k; c += step) {
        const float value = (to[c] - mean) * inverse * call.gain[c] + call.shift[c];
        to[c] = is_there ? rounded_to<T>(value) : 0.0F;
    }
    __syncthreads();
}

/* ---- the stream ---- */

/* value * scale rounded to nearest even, modulo 2^32, as ops/cuda/residual.cu has it. */
__device__ __forceinline__ uint32_t fixed_of(float value, float scale, bool *bad)
{
    const float scaled = value * scale;
    if (scaled >= -0x1p31F && scaled < 0x1p31F) {
        return static_cast<uint32_t>(__float2int_rn(scaled));
    }
    *bad = true;
    return fabsf(scaled) < 0x1p55F
               ? static_cast<uint32_t>(static_cast<uint64_t>(__float2ll_rn(scaled)))
               : 0U;
}

template <typename X, typename T>
__device__ void change_stream(const projecting<X, T> &call, int64_t index, float value)
{
    bool bad = false;
    const float sign = call.mode == RF_RESIDUAL_SUBTRACT ? -1.0F : 1.0F;
    if (call.is_fixed) {
        uint32_t *to = static_cast<uint32_t *>(call.stream) + index;
        const uint32_t step = fixed_of(value, call.scale, &bad);
        const uint32_t before = call.mode == RF_RESIDUAL_SET ? 0U : *to;
        const bool adds = call.mode != RF_RESIDUAL_SUBTRACT;
        const uint32_t after = adds ? before + step : before - step;
        const uint32_t alike = adds ? ~(before ^ step) : before ^ step;
        bad = bad || ((alike & (before ^ after)) >> 31) != 0;
        *to = after;
    } else {
        float *to = static_cast<float *>(call.stream) + index;
        bad = !isfinite(value);
        *to = call.mode == RF_RESIDUAL_SET ? value : *to + sign * value;
    }
    if (bad) {
        *call.overflow = 1;
    }
}

/* ---- products ---- */

/* The next `ahead` quads of this lane. */
template <typename T>
__device__ __forceinline__ void load_quads(const T *__restrict__ weight, int64_t c, int64_t end,
                                           bool aligned, rf_cuda_quad<T> quads[ahead])
{
#pragma unroll
    for (int i = 0; i < ahead; i++) {
        const int64_t column = c + 4 * rf_cuda_warp * i;
        quads[i] =
            column < end ? rf_cuda_load_quad(weight, column, end, aligned) : rf_cuda_quad<T>{};
    }
}

/* sums[r] += quads . z[r] for `rows` rows of z, which are `stride` apart; those beyond count as the
 * last. z has been rounded for the weights where it is in shared memory. */
template <int Rows, bool HasNorm, typename T>
__device__ __forceinline__ void multiply(const rf_cuda_quad<T> quads[ahead],
                                         const float *__restrict__ z, int64_t stride, int64_t rows,
                                         int64_t c, int64_t end, bool aligned, float sums[Rows])
{
#pragma unroll
    for (int i = 0; i < ahead; i++) {
        const int64_t column = c + 4 * rf_cuda_warp * i;
        if (column < end) {
#pragma unroll
            for (int r = 0; r < Rows; r++) {
                const float *from = z + (r < rows ? r : rows - 1) * stride;
                const rf_cuda_quad<float> q = rf_cuda_load_quad(from, column, end, aligned);
                float products[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float factor = HasNorm ? q.v[j] : rounded_to<T>(q.v[j]);
                    products[j] = rf_cuda_load(quads[i].v[j], 1.0F) * factor;
                }
                sums[r] += (products[0] + products[1]) + (products[2] + products[3]);
            }
        }
    }
}

/* Which product an output belongs to. Indices are constants, so that the call stays where kernels
 * find their parameters. */
template <typename X, typename T>
__device__ __forceinline__ product<T> product_of(const projecting<X, T> &call, int64_t output)
{
    product<T> of = call.products[0];
#pragma unroll
    for (int i = 1; i < RF_MAX_PROJECTIONS; i++) {
        if (i < call.count && output >= call.products[i].first) {
            of = call.products[i];
        }
    }
    return of;
}

/* One output of one row, from the sums of its parts in order. */
template <typename X, typename T>
__device__ void finish(const projecting<X, T> &call, int64_t output, int64_t row,
                       const float *parts, int stride)
{
    const product<T> of = product_of(call, output);
    const int64_t column = output - of.first;
    float value = 0.0F;
    for (int i = 0; i < call.split; i++) {
        value += parts[i * stride];
    }
    value += of.bias != nullptr ? of.bias[column] : 0.0F;
    value = call.relu && value < 0.0F ? 0.0F : value;
    if (call.stream != nullptr) {
        change_stream(call, row * of.n + column, value);
    } else {
        of.y[row * of.n + column] = value;
    }
}

template <int Rows, bool HasNorm, typename X, typename T>
__global__ void __launch_bounds__(threads) project(const projecting<X, T> call)
{
    extern __shared__ __align__(16) float normalised[]; /* [Rows, k] */
    __shared__ float parts[warps][Rows];
    __shared__ float shared[warps];
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int block_outputs = warps / call.split;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * block_outputs;
    const int64_t output = first + warp / call.split;
    const int64_t quads_of_part = rf_cuda_blocks(rf_cuda_blocks(call.k, 4), call.split);
    const int64_t begin = 4 * quads_of_part * (warp % call.split);
    int64_t end = begin + 4 * quads_of_part;
    end = end < call.k ? end : call.k;
    end = output < call.outputs ? end : 0; /* nothing to read */
    const product<T> of = product_of(call, output < call.outputs ? output : 0);
    const T *weight = of.weight + (output < call.outputs ? output - of.first : 0) * call.k;
    rf_cuda_quad<T> now[ahead];
    rf_cuda_quad<T> next[ahead];
    load_quads(weight, begin + 4 * lane, end, call.aligned, now);
    const float *z = normalised;
    if constexpr (HasNorm) {
        normalise<Rows>(call, normalised, shared);
    } else {
        z = call.x;
    }
    float sums[Rows] = {};
    constexpr int64_t step = 4 * rf_cuda_warp * ahead;
    for (int64_t c = begin + 4 * lane; c < end; c += step) {
        load_quads(weight, c + step, end, call.aligned, next);
        multiply<Rows, HasNorm>(now, z, call.k, call.rows, c, end, call.aligned, sums);
#pragma unroll
        for (int i = 0; i < ahead; i++) {
            now[i] = next[i];
        }
    }
#pragma unroll
    for (int r = 0; r < Rows; r++) {
        const float sum = rf_cuda_warp_sum(sums[r]);
        if (lane == 0) {
            parts[warp][r] = sum;
        }
    }
    __syncthreads();
    const int index = static_cast<int>(threadIdx.x) / Rows; /* of the block's outputs */
    const int row = static_cast<int>(threadIdx.x) % Rows;
    if (index < block_outputs && row < call.rows && first + index < call.outputs) {
        finish(call, first + index, row, &parts[index * call.split][row], Rows);
    }
}

/* ---- launching ---- */

int split_of(int64_t outputs, int64_t k)
{
    int split = 1;
    while (split < warps && outputs * split < enough_warps && k / (2 * split) >= least_part) {
        split *= 2;
    }
    return split;
}

template <typename X, typename T> projecting<X, T> call_of(const rf_step_project *project)
{
    const rf_layer_norm *norm = &project->norm;
    const rf_residual *residual = &project->residual;
    projecting<X, T> call = {};
    call.x = static_cast<const X *>(norm->x.data);
    call.x2 = rf_cuda_data<const X>(&norm->x2);
    call.width = norm->x.shape[1];
    call.k = project->projections[0].weight.shape[1];
    call.rows = norm->x.shape[0];
    call.unit = rf_cuda_unit(norm->x.dtype, norm->fraction_bits);
    call.epsilon = norm->epsilon;
    call.gain = rf_cuda_data<const float>(&norm->gain);
    call.shift = rf_cuda_data<const float>(&norm->bias);
    call.count = project->count;
    call.aligned = call.gain != nullptr
                       ? call.k % 4 == 0
                       : rf_cuda_is_aligned(rf_cuda_data<const float>(&norm->x), call.k);
    for (int i = 0; i < project->count; i++) {
        const rf_projection *one = &project->projections[i];
        call.products[i] = {rf_cuda_data<const T>(&one->weight),
                            rf_cuda_data<const float>(&one->bias), rf_cuda_data<float>(&one->y),
                            one->weight.shape[0], call.outputs};
        call.outputs += one->weight.shape[0];
        call.aligned = call.aligned && rf_cuda_is_aligned(call.products[i].weight, call.k);
    }
    call.split = split_of(call.outputs, call.k);
    call.relu = project->activation == RF_ACTIVATION_RELU;
    call.stream = rf_cuda_data<void>(&residual->stream);
    call.overflow = rf_cuda_data<int32_t>(&residual->overflow);
    call.mode = residual->mode;
    call.is_fixed = residual->stream.dtype == RF_FIXED32;
    call.scale = static_cast<float>(static_cast<int64_t>(1) << residual->fraction_bits);
    return call;
}

/* Shared memory for the normalised rows: as many as the template has. */
size_t shared_size(const rf_step_project *project)
{
    int64_t rows = 1;
    while (rows < project->norm.x.shape[0]) {
        rows *= 2;
    }
    return rf_tensor_is_absent(&project->norm.gain)
               ? 0
               : static_cast<size_t>(rows * project->projections[0].weight.shape[1]) *
                     sizeof(float);
}

template <int Rows, bool HasNorm, typename X, typename T>
rf_status launch_kernel(const rf_device *device, const rf_step_project *arguments, rf_error *error)
{
    const projecting<X, T> call = call_of<X, T>(arguments);
    const size_t shared = shared_size(arguments);
    const unsigned blocks = static_cast<unsigned>(rf_cuda_blocks(call.outputs, warps / call.split));
    const cudaStream_t stream = rf_cuda_stream(device);
    if (shared > plain_shared) {
        RF_TRY(rf_cuda_status(device,
                              cudaFuncSetAttribute(project<Rows, HasNorm, X, T>,
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shared)),
                              "step_project", error));
    }
    project<Rows, HasNorm, X, T><<<blocks, threads, shared, stream>>>(call);
    return rf_cuda_launched(device, "step_project", error);
}

template <bool HasNorm, typename X, typename T>
rf_status launch_rows(const rf_device *device, const rf_step_project *project, rf_error *error)
{
    const int64_t rows = project->norm.x.shape[0];
    return rows == 1   ? launch_kernel<1, HasNorm, X, T>(device, project, error)
           : rows == 2 ? launch_kernel<2, HasNorm, X, T>(device, project, error)
           : rows <= 4 ? launch_kernel<4, HasNorm, X, T>(device, project, error)
                       : launch_kernel<8, HasNorm, X, T>(device, project, error);
}

template <typename T>
rf_status launch(const rf_device *device, const rf_step_project *project, rf_error *error)
{
    if (rf_tensor_is_absent(&project->norm.gain)) {
        return launch_rows<false, float, T>(device, project, error);
    }
    return project->norm.x.dtype == RF_FIXED32
               ? launch_rows<true, int32_t, T>(device, project, error)
               : launch_rows<true, float, T>(device, project, error);
}

/* ---- the operations one after the other ---- */

/* What they are given: z, the result that goes to a stream, and scratch of their own. */
struct places {
    rf_tensor z, result;
    char *scratch;
    size_t size; /* bytes of all */
};

bool has_norm(const rf_step_project *project)
{
    return !rf_tensor_is_absent(&project->norm.gain);
}

bool has_stream(const rf_step_project *project)
{
    return !rf_tensor_is_absent(&project->residual.stream);
}

rf_layer_norm norm_of(const rf_step_project *project, const places &at)
{
    rf_layer_norm norm = project->norm;
    norm.y = at.z;
    return norm;
}

rf_tensor result_of(const rf_step_project *project, int index, const places &at)
{
    return has_stream(project) ? at.result : project->projections[index].y;
}

rf_gemm gemm_of(const rf_step_project *project, int index, const places &at)
{
    const rf_projection *one = &project->projections[index];
    const rf_tensor y = result_of(project, index, at);
    rf_gemm gemm = {};
    gemm.a = rf_matrix_of(&at.z);
    gemm.b = rf_matrix_of(&one->weight);
    gemm.c = rf_matrix_of(&y);
    gemm.transpose_b = true;
    gemm.bias = one->bias;
    return gemm;
}

size_t size_of(const rf_device *device, rf_op op, const void *arguments)
{
    const rf_op_entry *entry = &device->ops[op];
    return entry->scratch_size != nullptr ? entry->scratch_size(device, arguments) : 0;
}

/* Lay them out in scratch, or only count the bytes. */
places places_of(const rf_device *device, const rf_step_project *project, void *scratch)
{
    const int64_t rows = project->norm.x.shape[0];
    const rf_tensor *weight = &project->projections[0].weight;
    char *memory = static_cast<char *>(scratch);
    places at = {};
    at.z = project->norm.x;
    if (has_norm(project) || weight->dtype != RF_F32) {
        at.z = rf_tensor_2(memory, weight->dtype, rows, weight->shape[1]);
        at.size += rf_cuda_align(rf_tensor_size(&at.z));
    }
    if (has_stream(project)) {
        at.result = rf_tensor_2(memory == nullptr ? nullptr : memory + at.size, RF_F32, rows,
                                weight->shape[0]);
        at.size += rf_cuda_align(rf_tensor_size(&at.result));
    }
    at.scratch = memory == nullptr ? nullptr : memory + at.size;
    const rf_layer_norm norm = norm_of(project, at);
    size_t most = has_norm(project) ? size_of(device, RF_OP_LAYER_NORM, &norm) : 0;
    for (int i = 0; i < project->count; i++) {
        const rf_gemm gemm = gemm_of(project, i, at);
        const size_t size = size_of(device, RF_OP_GEMM, &gemm);
        most = size > most ? size : most;
    }
    at.size += most;
    return at;
}

/* In place, where there is one. */
rf_status activate(rf_device *device, const rf_step_project *project, int index, rf_error *error)
{
    if (project->activation == RF_ACTIVATION_LINEAR) {
        return RF_OK;
    }
    rf_activate arguments = {};
    arguments.x = project->projections[index].y;
    arguments.y = arguments.x;
    arguments.kind = project->activation;
    return device->ops[RF_OP_ACTIVATE].run(device, &arguments, nullptr, error);
}

rf_status project_by_parts(rf_device *device, const rf_step_project *project, void *scratch,
                           rf_error *error)
{
    const places at = places_of(device, project, scratch);
    if (has_norm(project)) {
        const rf_layer_norm norm = norm_of(project, at);
        RF_TRY(device->ops[RF_OP_LAYER_NORM].run(device, &norm, at.scratch, error));
    } else if (at.z.dtype != RF_F32) {
        rf_cast cast = {};
        cast.x = project->norm.x;
        cast.y = at.z;
        RF_TRY(device->ops[RF_OP_CAST].run(device, &cast, nullptr, error));
    }
    for (int i = 0; i < project->count; i++) {
        const rf_gemm gemm = gemm_of(project, i, at);
        RF_TRY(device->ops[RF_OP_GEMM].run(device, &gemm, at.scratch, error));
        RF_TRY(activate(device, project, i, error));
    }
    if (has_stream(project)) {
        rf_residual residual = project->residual;
        residual.value = at.result;
        RF_TRY(device->ops[RF_OP_RESIDUAL].run(device, &residual, nullptr, error));
    }
    return RF_OK;
}

/* Few rows, which fit. */
bool is_small(const rf_device *device, const rf_step_project *project)
{
    return project->norm.x.shape[0] <= most_rows &&
           shared_size(project) + 2048 <= rf_cuda_state_of(device)->shared_memory;
}

} // namespace

size_t rf_cuda_step_project_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_step_project *project = static_cast<const rf_step_project *>(arguments);
    return is_small(device, project) ? 0 : places_of(device, project, nullptr).size;
}

rf_status rf_cuda_step_project(rf_device *device, const void *arguments, void *scratch,
                               rf_error *error)
{
    const rf_step_project *project = static_cast<const rf_step_project *>(arguments);
    if (project->norm.x.shape[0] == 0) {
        return RF_OK;
    }
    if (!is_small(device, project)) {
        return project_by_parts(device, project, scratch, error);
    }
    RF_TRY(project->projections[0].weight.dtype == RF_BF16
               ? launch<__nv_bfloat16>(device, project, error)
               : launch<float>(device, project, error));
    for (int i = 0; i < project->count && project->activation != RF_ACTIVATION_RELU; i++) {
        RF_TRY(activate(device, project, i, error));
    }
    return RF_OK;
}
