/* Matrix products by cuBLASLt, with f32 sums and no TF32.
 *
 * cuBLASLt's matrices are stored by columns and ours by rows: a row-major c = op(a) op(b) is the
 * column-major c' = op(b)' op(a)', so the operands are swapped, each transposed flag stays with its
 * operand, and rows and columns change places. The bias of a column of ours is then the bias of a
 * row, which is what cuBLASLt's epilogue adds.
 *
 * What cuBLASLt chooses for a shape (and the alignments of its pointers) is asked for once and kept
 * with the device, so that the same call gives the same bits in a whole run and a step allocates
 * nothing after the first one. */
#include "ops/cuda/cuda.cuh"

#include "base/memory.h"

#include <initializer_list>
#include <string.h>

namespace
{

/* What decides about the algorithm. Padding is zero, so that keys are compared as bytes. */
struct plan_key {
    int64_t m, n, k, a_leading, b_leading, c_leading;
    int32_t dtype, c_dtype; /* of a and b, and of c */
    uint32_t a_alignment, b_alignment, c_alignment;
    int32_t transpose_a, transpose_b, accumulate, has_bias, relu;
};

/* Named as cuBLASLt sees them: `left` is our b, `right` our a. */
struct plan {
    plan_key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t left, right, result;
    cublasLtMatmulAlgo_t algorithm;
    bool finishes; /* adds the bias and takes relu; false: a kernel of ours does */
};

struct plan_list {
    plan *items; /* [capacity] */
    int count, capacity;
};

rf_status lt_status(const rf_device *device, cublasStatus_t code, const char *what,
                    const plan_key *key, rf_error *error)
{
    if (code == CUBLAS_STATUS_SUCCESS) {
        return RF_OK;
    }
    return rf_error_set(error,
                        code == CUBLAS_STATUS_NOT_SUPPORTED ? RF_ERR_UNSUPPORTED : RF_ERR_DEVICE,
                        "%s: gemm [%lld, %lld] x [%lld, %lld]: %s: %s",
                        rf_cuda_state_of(device)->name, static_cast<long long>(key->m),
                        static_cast<long long>(key->k), static_cast<long long>(key->k),
                        static_cast<long long>(key->n), what, cublasLtGetStatusString(code));
}

/* The greatest power of two up to 256 that divides the address. */
uint32_t alignment_of(const void *pointer)
{
    uint32_t alignment = 256;
    while (reinterpret_cast<uintptr_t>(pointer) % alignment != 0) {
        alignment /= 2;
    }
    return alignment;
}

plan_key key_of(const rf_gemm *gemm)
{
    plan_key key;
    memset(&key, 0, sizeof key);
    key.m = gemm->c.rows;
    key.n = gemm->c.columns;
    key.k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    key.a_leading = gemm->a.leading;
    key.b_leading = gemm->b.leading;
    key.c_leading = gemm->c.leading;
    key.dtype = static_cast<int32_t>(gemm->a.dtype);
    key.c_dtype = static_cast<int32_t>(gemm->c.dtype);
    key.a_alignment = alignment_of(gemm->a.data);
    key.b_alignment = alignment_of(gemm->b.data);
    key.c_alignment = alignment_of(gemm->c.data);
    key.transpose_a = gemm->transpose_a;
    key.transpose_b = gemm->transpose_b;
    key.accumulate = gemm->accumulate;
    /* An epilogue reads the bias 16 bytes at a time. */
    key.has_bias = !rf_tensor_is_absent(&gemm->bias) && alignment_of(gemm->bias.data) >= 16;
    /* Relu comes after the bias. */
    key.relu = gemm->relu && (key.has_bias != 0 || rf_tensor_is_absent(&gemm->bias));
    return key;
}

/* ---- making a plan ---- */

void plan_clear(plan *made)
{
    if (made->product != nullptr) {
        (void)cublasLtMatmulDescDestroy(made->product);
    }
    for (cublasLtMatrixLayout_t layout : {made->left, made->right, made->result}) {
        if (layout != nullptr) {
            (void)cublasLtMatrixLayoutDestroy(layout);
        }
    }
    memset(made, 0, sizeof *made);
}

template <typename T>
cublasStatus_t set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, T value)
{
    return cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value);
}

template <typename T>
cublasStatus_t set(cublasLtMatmulPreference_t wish, cublasLtMatmulPreferenceAttributes_t attribute,
                   T value)
{
    return cublasLtMatmulPreferenceSetAttribute(wish, attribute, &value, sizeof value);
}

/* The first of several calls that fails. */
cublasStatus_t first_fault(std::initializer_list<cublasStatus_t> codes)
{
    for (cublasStatus_t code : codes) {
        if (code != CUBLAS_STATUS_SUCCESS) {
            return code;
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The bias has c's type, which is what cuBLASLt takes it to be. */
cublasStatus_t describe_epilogue(plan *made, const void *bias)
{
    const cublasLtEpilogue_t relu =
        made->key.has_bias != 0 ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    const cublasLtEpilogue_t linear =
        made->key.has_bias != 0 ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const cublasStatus_t code =
        set(made->product, CUBLASLT_MATMUL_DESC_EPILOGUE, made->key.relu != 0 ? relu : linear);
    if (code != CUBLAS_STATUS_SUCCESS || made->key.has_bias == 0) {
        return code;
    }
    return set(made->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

cublasStatus_t describe(plan *made, const void *bias)
{
    const plan_key *key = &made->key;
    const cudaDataType_t type = key->dtype == RF_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType_t result = key->c_dtype == RF_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const uint64_t m = static_cast<uint64_t>(key->m);
    const uint64_t n = static_cast<uint64_t>(key->n);
    const uint64_t k = static_cast<uint64_t>(key->k);
    const cublasStatus_t code =
        cublasLtMatmulDescCreate(&made->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (code != CUBLAS_STATUS_SUCCESS) {
        return code;
    }
    if (made->finishes) {
        const cublasStatus_t epilogue_code = describe_epilogue(made, bias);
        if (epilogue_code != CUBLAS_STATUS_SUCCESS) {
            return epilogue_code;
        }
    }
    return first_fault(
        {set(made->product, CUBLASLT_MATMUL_DESC_TRANSA,
             key->transpose_b != 0 ? CUBLAS_OP_T : CUBLAS_OP_N),
         set(made->product, CUBLASLT_MATMUL_DESC_TRANSB,
             key->transpose_a != 0 ? CUBLAS_OP_T : CUBLAS_OP_N),
         cublasLtMatrixLayoutCreate(&made->left, type, key->transpose_b != 0 ? k : n,
                                    key->transpose_b != 0 ? n : k, key->b_leading),
         cublasLtMatrixLayoutCreate(&made->right, type, key->transpose_a != 0 ? m : k,
                                    key->transpose_a != 0 ? k : m, key->a_leading),
         cublasLtMatrixLayoutCreate(&made->result, result, n, m, key->c_leading)});
}

/* Ask for the algorithm. */
cublasStatus_t choose(const rf_cuda_state *state, plan *made)
{
    cublasLtMatmulPreference_t wish = nullptr;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    cublasStatus_t code = cublasLtMatmulPreferenceCreate(&wish);
    if (code != CUBLAS_STATUS_SUCCESS) {
        return code;
    }
    memset(&found, 0, sizeof found);
    const size_t workspace = rf_cuda_products_workspace_size;
    /* Parts of a long inner dimension are added in f32, not in c's type. */
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    code =
        first_fault({set(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions),
                     set(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace),
                     set(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, made->key.b_alignment),
                     set(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, made->key.a_alignment),
                     set(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, made->key.c_alignment),
                     set(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, made->key.c_alignment)});
    if (code == CUBLAS_STATUS_SUCCESS) {
        code =
            cublasLtMatmulAlgoGetHeuristic(state->products, made->product, made->left, made->right,
                                           made->result, made->result, wish, 1, &found, &count);
    }
    (void)cublasLtMatmulPreferenceDestroy(wish);
    if (code != CUBLAS_STATUS_SUCCESS) {
        return code;
    }
    made->algorithm = found.algo;
    return count > 0 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* With bias and relu in the epilogue where that can be had. */
rf_status make_plan(const rf_device *device, const plan_key *key, const void *bias, plan *made,
                    rf_error *error)
{
    cublasStatus_t code = CUBLAS_STATUS_NOT_SUPPORTED;
    const int wanted = key->has_bias != 0 || key->relu != 0 ? 1 : 0;
    for (int epilogue = wanted; epilogue >= 0 && code != CUBLAS_STATUS_SUCCESS; epilogue--) {
        memset(made, 0, sizeof *made);
        made->key = *key;
        made->finishes = epilogue != 0;
        code = describe(made, bias);
        if (code == CUBLAS_STATUS_SUCCESS) {
            code = choose(rf_cuda_state_of(device), made);
        }
        if (code != CUBLAS_STATUS_SUCCESS) {
            plan_clear(made);
        }
    }
    return lt_status(device, code, "no algorithm was found", key, error);
}

/* ---- the plans of a device ---- */

void plans_destroy(void *memory)
{
    plan_list *list = static_cast<plan_list *>(memory);
    for (int i = 0; i < list->count; i++) {
        plan_clear(&list->items[i]);
    }
    rf_release(list->items);
    rf_release(list);
}

rf_status reserve(plan_list *list, rf_error *error)
{
    void *memory = nullptr;
    if (list->count < list->capacity) {
        return RF_OK;
    }
    const int capacity = list->capacity > 0 ? 2 * list->capacity : 64;
    RF_TRY(rf_allocate_zeroed(static_cast<size_t>(capacity) * sizeof(plan),
                              "plans of matrix products", &memory, error));
    if (list->count > 0) {
        memcpy(memory, list->items, static_cast<size_t>(list->count) * sizeof(plan));
    }
    rf_release(list->items);
    list->items = static_cast<plan *>(memory);
    list->capacity = capacity;
    return RF_OK;
}

/* The plan for this call, made now if it is the first of its kind. *found is good until the next
 * search. */
rf_status find_plan(const rf_device *device, const rf_gemm *gemm, const plan **found,
                    rf_error *error)
{
    rf_cuda_state *state = rf_cuda_state_of(device);
    const plan_key key = key_of(gemm);
    if (state->product_plans == nullptr) {
        RF_TRY(rf_allocate_zeroed(sizeof(plan_list), "plans of matrix products",
                                  &state->product_plans, error));
        state->product_plans_destroy = plans_destroy;
    }
    plan_list *list = static_cast<plan_list *>(state->product_plans);
    for (int i = 0; i < list->count; i++) {
        if (memcmp(&list->items[i].key, &key, sizeof key) == 0) {
            *found = &list->items[i];
            return RF_OK;
        }
    }
    RF_TRY(reserve(list, error));
    RF_TRY(make_plan(device, &key, gemm->bias.data, &list->items[list->count], error));
    *found = &list->items[list->count++];
    return RF_OK;
}

/* ---- running it ---- */

rf_status multiply(const rf_device *device, const rf_gemm *gemm, const plan *by, rf_error *error)
{
    const rf_cuda_state *state = rf_cuda_state_of(device);
    const float one = 1.0F;
    const float keep = gemm->accumulate ? 1.0F : 0.0F;
    if (by->finishes && by->key.has_bias != 0) {
        const void *bias = gemm->bias.data;
        RF_TRY(lt_status(device, set(by->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias),
                         "setting the bias", &by->key, error));
    }
    return lt_status(device,
                     cublasLtMatmul(state->products, by->product, &one, gemm->b.data, by->left,
                                    gemm->a.data, by->right, &keep, gemm->c.data, by->result,
                                    gemm->c.data, by->result, &by->algorithm,
                                    state->products_workspace, rf_cuda_products_workspace_size,
                                    rf_cuda_stream(device)),
                     "running it", &by->key, error);
}

/* c [m, n] with leading dimension = what is there, or `sums` [m, n], or both, or 0; plus bias [n]
 * or NULL in every row; then relu. One rounding. */
template <typename T>
__global__ void finish_kernel(T *__restrict__ c, int64_t m, int64_t n, int64_t leading, bool keep,
                              const float *__restrict__ sums, const T *__restrict__ bias, bool relu)
{
    for (int64_t i = rf_cuda_first(); i < m * n; i += rf_cuda_stride()) {
        const int64_t column = i % n;
        T *at = c + i / n * leading + column;
        float sum = keep ? rf_cuda_load(*at, 1.0F) : 0.0F;
        sum += sums != nullptr ? sums[i] : 0.0F;
        sum += bias != nullptr ? rf_cuda_load(bias[column], 1.0F) : 0.0F;
        *at = rf_cuda_store<T>(relu && sum < 0.0F ? 0.0F : sum);
    }
}

void finish(const rf_device *device, const rf_gemm *gemm, bool keep, const float *sums)
{
    const int64_t m = gemm->c.rows;
    const int64_t n = gemm->c.columns;
    rf_cuda_by_real(gemm->c.dtype, [&](auto number) {
        typedef decltype(number) real;
        finish_kernel<real><<<rf_cuda_grid(device, m * n, rf_cuda_threads), rf_cuda_threads, 0,
                              rf_cuda_stream(device)>>>(
            static_cast<real *>(gemm->c.data), m, n, gemm->c.leading, keep, sums,
            rf_cuda_data<const real>(&gemm->bias), gemm->relu);
    });
}

bool has_epilogue(const rf_gemm *gemm)
{
    return !rf_tensor_is_absent(&gemm->bias) || gemm->relu;
}

/* With a bf16 c the library has an epilogue where rows are moved 16 bytes at a time; elsewhere the
 * sums go to scratch in f32, so that c is rounded once. */
bool needs_sums(const rf_gemm *gemm)
{
    const int64_t whole = 8;
    const bool aligned = gemm->a.leading % whole == 0 && gemm->b.leading % whole == 0 &&
                         gemm->c.leading % whole == 0 && gemm->c.columns % whole == 0;
    return gemm->c.dtype == RF_BF16 && has_epilogue(gemm) && !aligned;
}

rf_status multiply_in_f32(const rf_device *device, const rf_gemm *gemm, float *sums,
                          rf_error *error)
{
    rf_gemm product = *gemm;
    const plan *by = nullptr;
    product.c = {sums, RF_F32, gemm->c.rows, gemm->c.columns, gemm->c.columns};
    product.accumulate = false;
    product.bias.dtype = RF_NONE;
    product.relu = false;
    RF_TRY(find_plan(device, &product, &by, error));
    RF_TRY(multiply(device, &product, by, error));
    finish(device, gemm, gemm->accumulate, sums);
    return rf_cuda_launched(device, "gemm", error);
}

} // namespace

size_t rf_cuda_gemm_scratch_size(const rf_device *, const void *arguments)
{
    const rf_gemm *gemm = static_cast<const rf_gemm *>(arguments);
    const int64_t count = gemm->c.rows * gemm->c.columns;
    return needs_sums(gemm) ? static_cast<size_t>(count) * sizeof(float) : 0;
}

rf_status rf_cuda_gemm(rf_device *device, const void *arguments, void *scratch, rf_error *error)
{
    const rf_gemm *gemm = static_cast<const rf_gemm *>(arguments);
    const int64_t k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    (void)rf_cuda_stream(device);
    if (gemm->c.rows == 0 || gemm->c.columns == 0) {
        return RF_OK;
    }
    if (k == 0) {
        finish(device, gemm, gemm->accumulate, nullptr);
        return rf_cuda_launched(device, "gemm", error);
    }
    if (needs_sums(gemm)) {
        return multiply_in_f32(device, gemm, static_cast<float *>(scratch), error);
    }
    const plan *by = nullptr;
    RF_TRY(find_plan(device, gemm, &by, error));
    RF_TRY(multiply(device, gemm, by, error));
    const bool has_bias = !rf_tensor_is_absent(&gemm->bias);
    if (has_epilogue(gemm) && !(by->finishes && (by->key.has_bias != 0) == has_bias)) {
        finish(device, gemm, true, nullptr);
    }
    return rf_cuda_launched(device, "gemm", error);
}
