/* The rounds of an LSH attention as one softmax (Kitaev, Kaiser, Levskaya 2020, appendix A):
 *
 *     norm = max_r log_norm_r + log sum_r exp(log_norm_r - max), merged = sum_r exp(log_norm_r -
 * norm) output_r
 *
 * with the norm rounded once, after the sum over all rounds (near -1e5, where float is coarse, the
 * weights visibly do not sum to 1, and the reference's do not either). Exact sums are divided by
 * the sum of the weights instead. One thread 16 bytes of a row where these can be moved at once,
 * else an element; threads of a row find the same weights again, which hides behind the memory: per
 * element its size x (parts + 1). */
#include "ops/cuda/cuda.cuh"

namespace
{

/* The sizes of a call, and its data. */
template <typename T> struct combination {
    int64_t count; /* pieces of `Vector` elements in merged */
    int64_t parts, length, heads, width;
    bool is_exact;         /* weights are divided by their sum */
    const T *output;       /* [batch, parts, length, heads, width] */
    const float *log_norm; /* [batch, heads, parts, length] */
    T *merged;             /* [batch, length, heads, width] */
    float *norm;           /* [batch, heads, length] */
};

/* What one instruction moves. */
template <typename T, int Vector> struct alignas(Vector * sizeof(T)) piece {
    T v[Vector];
};

/* What the weights exp(log_norm_r - base) x factor are made of, and the norm. */
struct merge {
    float norm, base, factor;
};

/* log_norm [parts] at stride `length`. The last sum may not be contracted with what logf ends with:
 * it is the one rounding. Rows that are empty in every part have no weights. */
__device__ __forceinline__ merge merge_norms(const float *__restrict__ log_norm, int64_t parts,
                                             int64_t length, bool is_exact)
{
    float highest = log_norm[0];
    for (int64_t part = 1; part < parts; part++) {
        highest = fmaxf(highest, log_norm[part * length]);
    }
    if (highest == -INFINITY) {
        return {highest, 0.0F, 0.0F};
    }
    float sum = 0.0F;
    for (int64_t part = 0; part < parts; part++) {
        sum += expf(log_norm[part * length] - highest);
    }
    const float norm = __fadd_rn(highest, logf(sum));
    return is_exact ? merge{norm, highest, 1.0F / sum} : merge{norm, norm, 1.0F};
}

/* Piece `index` of merged: columns [column, column + Vector) of one head of one token. */
template <typename T, int Vector>
__device__ void merge_piece(const combination<T> &of, int64_t index)
{
    const int64_t column = index * Vector % of.width;
    const int64_t row = index * Vector / of.width; /* (batch, token, head) */
    const int64_t head = row % of.heads;
    const int64_t token = row / of.heads % of.length;
    const int64_t batch = row / of.heads / of.length;
    const float *__restrict__ log_norm =
        of.log_norm + (batch * of.heads + head) * of.parts * of.length + token;
    const merge all = merge_norms(log_norm, of.parts, of.length, of.is_exact);
    if (column == 0) {
        of.norm[(batch * of.heads + head) * of.length + token] = all.norm;
    }
    float sums[Vector] = {};
    for (int64_t part = 0; part < of.parts; part++) {
        const int64_t from = ((batch * of.parts + part) * of.length + token) * of.heads + head;
        const float weight = expf(log_norm[part * of.length] - all.base) * all.factor;
        const piece<T, Vector> output =
            *reinterpret_cast<const piece<T, Vector> *>(of.output + from * of.width + column);
#pragma unroll
        for (int i = 0; i < Vector; i++) {
            sums[i] += weight * rf_cuda_load(output.v[i], 1.0F);
        }
    }
    piece<T, Vector> merged;
#pragma unroll
    for (int i = 0; i < Vector; i++) {
        merged.v[i] = rf_cuda_store<T>(sums[i]);
    }
    *reinterpret_cast<piece<T, Vector> *>(of.merged + row * of.width + column) = merged;
}

template <typename T, int Vector> __global__ void combine(const combination<T> of)
{
    for (int64_t index = rf_cuda_first(); index < of.count; index += rf_cuda_stride()) {
        merge_piece<T, Vector>(of, index);
    }
}

/* Can pieces of a row of `width` elements be moved at once? */
bool is_aligned(const void *pointer, int64_t width, int64_t vector)
{
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && width % vector == 0;
}

template <typename T>
rf_status run(rf_device *device, const rf_combine_rounds *call, rf_error *error)
{
    const int64_t *shape = call->output.shape; /* [batch, parts, length, heads, width] */
    constexpr int vector = 16 / sizeof(T);
    combination<T> of = {};
    of.count = rf_tensor_count(&call->merged);
    of.parts = shape[1];
    of.length = shape[2];
    of.heads = shape[3];
    of.width = shape[4];
    of.is_exact = call->rounding == RF_ROUNDING_EXACT;
    of.output = static_cast<const T *>(call->output.data);
    of.log_norm = static_cast<const float *>(call->log_norm.data);
    of.merged = static_cast<T *>(call->merged.data);
    of.norm = static_cast<float *>(call->norm.data);
    const cudaStream_t stream = rf_cuda_stream(device);
    if (is_aligned(of.output, of.width, vector) && is_aligned(of.merged, of.width, vector)) {
        of.count /= vector;
        combine<T, vector>
            <<<rf_cuda_grid(device, of.count, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(of);
    } else {
        combine<T, 1>
            <<<rf_cuda_grid(device, of.count, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(of);
    }
    return rf_cuda_launched(device, "combine_rounds", error);
}

rf_status copy(rf_device *device, const rf_combine_rounds *combine, rf_error *error)
{
    const cudaStream_t stream = rf_cuda_stream(device);
    RF_TRY(rf_cuda_status(device,
                          cudaMemcpyAsync(combine->merged.data, combine->output.data,
                                          rf_tensor_size(&combine->merged),
                                          cudaMemcpyDeviceToDevice, stream),
                          "combine_rounds", error));
    return rf_cuda_status(device,
                          cudaMemcpyAsync(combine->norm.data, combine->log_norm.data,
                                          rf_tensor_size(&combine->norm), cudaMemcpyDeviceToDevice,
                                          stream),
                          "combine_rounds", error);
}

} // namespace

rf_status rf_cuda_combine_rounds(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_combine_rounds *call = static_cast<const rf_combine_rounds *>(arguments);
    if (rf_tensor_count(&call->merged) == 0) {
        return RF_OK;
    }
    if (call->output.shape[1] == 1) {
        return copy(device, call, error);
    }
    return call->output.dtype == RF_BF16 ? run<__nv_bfloat16>(device, call, error)
                                         : run<float>(device, call, error);
}
