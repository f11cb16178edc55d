/* Full attention with bf16 tensors, backward: one block that holds the whole sequence (full.cuh
 * says which plans). Products of bf16 with f32 sums, everything else in f32 (Dao et al. 2022; no
 * atomics, so the same bits every time).
 *
 * Two kernels, each of which owns what it writes. One owns 64 keys and walks the query tiles that
 * see them: S^T = K Q^T and dP^T = V dO^T become P^T and dS^T in registers, which are operands of
 * dV += P^T dO and dK += dS^T Q. The other owns 128 queries (64 at heads wider than 64) and walks
 * the key tiles that they see: S, dP, dQ += dS K. Seven products a pair in all, where one kernel
 * would need five and sums that many thread blocks share. Thread blocks with most to do start
 * first.
 *
 * Keys that are made from queries are the queries' rows and a factor; their gradients, pushed
 * through to the queries, wait in scratch in f32 for the second kernel to add. */
#include "ops/cuda/block_attention/full.cuh"

namespace
{

struct backward_call {
    rf_attention_cut cut;
    bool shared;                                                /* keys are made from queries */
    const __nv_bfloat16 *query, *key, *value, *output_gradient; /* [batch, length, heads, width] */
    const rf_walk_numbers *numbers;                             /* [batch, heads, length] */
    __nv_bfloat16 *query_gradient, *key_gradient, *value_gradient;
    float *through_key; /* [batch, length, heads, width], where shared */
};

/* Two tensors of the tiles that are met, and the numbers of their tokens. */
template <int Width> struct backward_memory {
    typedef __nv_bfloat16 rows[rf_full_tile][Width + 8];
    rows first[2], second[2];
    rf_walk_numbers numbers[2][rf_full_tile];
    int32_t tokens[2][rf_full_tile], own_tokens[rf_full_tile];
};

/* Begin to copy tile `first` of two tensors. */
template <int Width>
__device__ __forceinline__ void copy_tile(const backward_call &call, const rf_full_head &head,
                                          const __nv_bfloat16 *from, const __nv_bfloat16 *second,
                                          int32_t first, int slot, backward_memory<Width> &memory)
{
    rf_full_copy_rows<Width>(call.cut, head, first, from, memory.first[slot]);
    rf_full_copy_rows<Width>(call.cut, head, first, second, memory.second[slot]);
    if (threadIdx.x < rf_full_tile) {
        const int32_t token = first + static_cast<int32_t>(threadIdx.x);
        const bool is_there = token < call.cut.length;
        memory.tokens[slot][threadIdx.x] = is_there ? token : rf_attention_empty;
        rf_copy_16(&memory.numbers[slot][threadIdx.x],
                   call.numbers + head.number + (is_there ? token : 0), is_there);
    }
}

/* ---- gradients of keys and values ---- */

/* This lane's keys begin. */
template <int Width>
__device__ __forceinline__ void begin_keys(const backward_call &call, const rf_full_head &head,
                                           int32_t first, rf_walk_key_lane<Width> &own)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int32_t token = first + rf_walk_lane_row() + 8 * row;
        const bool is_there = token < call.cut.length;
        own.position[row] = is_there ? token : rf_attention_unseen;
        own.factor[row] = is_there ? call.numbers[head.number + token].factor : 1.0F;
        own.along[row] = 0.0F;
    }
    rf_walk_clear(own.keys);
    rf_walk_clear(own.values);
}

/* The warp's 16 keys meet queries [first, first + Share) of a tile. */
template <int Width, int Share>
__device__ __forceinline__ void
meet_queries(const backward_call &call, const rf_walk_step_view<Width> &view, int first,
             const uint32_t (&keys)[1][Width / 16][4], const uint32_t (&values)[1][Width / 16][4],
             rf_walk_key_lane<Width> &own)
{
    const int query = first + static_cast<int>(threadIdx.x) % 4 * 2;
    float weights[1][Share / 8][4];
    float gradients[1][Share / 8][4];
    rf_full_find_products<Width, 1, Share>(keys, view.queries, first, weights);
    rf_full_find_products<Width, 1, Share>(values, view.gradients, first, gradients);
#pragma unroll
    for (int n = 0; n < Share / 8; n++) {
        if (view.has_rules) {
            rf_walk_differentiate_pairs<Width, false, true>(call.cut, view, query + 8 * n, own,
                                                            weights[0][n], gradients[0][n]);
        } else {
            rf_walk_differentiate_pairs<Width, false, false>(call.cut, view, query + 8 * n, own,
                                                             weights[0][n], gradients[0][n]);
        }
    }
    uint32_t packed[Share / 16][4];
    rf_walk_pack<Share>(weights[0], packed);
    rf_walk_add_rows<Width, Share / 16>(packed, view.gradients, first, own.values);
    rf_walk_pack<Share>(gradients[0], packed);
    rf_walk_add_rows<Width, Share / 16>(packed, view.queries, first, own.keys);
}

/* The gradient of keys that are queries, in f32 for the other kernel. */
template <int Width>
__device__ __forceinline__ void
write_through_key(const backward_call &call, const rf_full_head &head, const int32_t (&tokens)[2],
                  const rf_walk_key_lane<Width> &own)
{
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const int64_t stride = call.cut.heads * call.cut.width;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float *to = call.through_key + head.element + max(tokens[row], 0) * stride + column;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            if (tokens[row] >= 0 && 8 * n < call.cut.width) {
                *reinterpret_cast<float2 *>(to + 8 * n) =
                    make_float2(own.keys[n][2 * row], own.keys[n][2 * row + 1]);
            }
        }
    }
}

template <int Width>
__device__ __forceinline__ void finish_keys(const backward_call &call, const rf_full_head &head,
                                            int32_t first, backward_memory<Width> &memory,
                                            rf_walk_key_lane<Width> &own)
{
    rf_attention_place at = {};
    at.batch = head.batch;
    at.head = head.head;
    int32_t tokens[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        tokens[row] =
            own.position[row] != rf_attention_unseen ? own.position[row] : rf_attention_empty;
    }
    rf_walk_write(call.cut, at, call.value_gradient, 0, tokens, own.values);
    if (!call.shared) {
        rf_walk_write(call.cut, at, call.key_gradient, 0, tokens, own.keys);
        return;
    }
    __syncthreads(); /* the last tile is read */
    rf_full_copy_rows<Width>(call.cut, head, first, call.key, memory.first[0]);
    rf_copy_wait();
    __syncthreads();
    rf_walk_push_through_key<Width>(memory.first[0], own);
    write_through_key(call, head, tokens, own);
}

template <int Width, int Share>
__global__ void __launch_bounds__(rf_full_threads, Width > 64 ? 2 : 3)
    differentiate_keys(const backward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    backward_memory<Width> &memory = *reinterpret_cast<backward_memory<Width> *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t first_key = static_cast<int32_t>(blockIdx.x / heads) * rf_full_tile;
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t length = static_cast<int32_t>(cut.length);
    const int32_t warp_key = first_key + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16;
    int32_t first = cut.causal ? first_key : 0;
    copy_tile(call, head, call.query, call.output_gradient, first, 0, memory);
    if (threadIdx.x < rf_full_tile) {
        const int32_t token = first_key + static_cast<int32_t>(threadIdx.x);
        memory.own_tokens[threadIdx.x] = token < length ? token : rf_attention_absent;
    }
    uint32_t keys[1][Width / 16][4];
    uint32_t values[1][Width / 16][4];
    rf_full_load_operands<Width>(cut, head, warp_key, call.key, keys[0]);
    rf_full_load_operands<Width>(cut, head, warp_key, call.value, values[0]);
    rf_walk_key_lane<Width> own;
    begin_keys(call, head, first_key, own);
    for (int slot = 0; first < length; first += rf_full_tile, slot ^= 1) {
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (first + rf_full_tile < length) {
            copy_tile(call, head, call.query, call.output_gradient, first + rf_full_tile, slot ^ 1,
                      memory);
        }
        rf_walk_step_view<Width> view = {};
        view.queries = memory.first[slot];
        view.gradients = memory.second[slot];
        view.numbers = memory.numbers[slot];
        view.tokens = memory.tokens[slot];
        view.key_tokens = memory.own_tokens;
        view.floor = cut.causal ? INT32_MIN : rf_attention_unseen - 1;
        view.has_rules = cut.last_resort && first == first_key;
        __syncwarp();
#pragma unroll
        for (int share = 0; share < rf_full_tile; share += Share) {
            meet_queries<Width, Share>(call, view, share, keys, values, own);
        }
    }
    finish_keys(call, head, first_key, memory, own);
}

/* ---- gradients of queries ---- */

/* Rows g and g + 8 of each 16 of a warp. */
template <int Width, int Blocks> struct query_lane {
    int32_t token[Blocks][2];
    float minus_norm[Blocks][2], delta[Blocks][2];
    uint32_t queries[Blocks][Width / 16][4], gradients[Blocks][Width / 16][4];
    float sums[Blocks][Width / 8][4];
};

template <int Width, int Blocks>
__device__ __forceinline__ void begin_queries(const backward_call &call, const rf_full_head &head,
                                              int32_t first, query_lane<Width, Blocks> &own)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        rf_full_load_operands<Width>(call.cut, head, first + 16 * block, call.query,
                                     own.queries[block]);
        rf_full_load_operands<Width>(call.cut, head, first + 16 * block, call.output_gradient,
                                     own.gradients[block]);
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const int32_t token = first + 16 * block + lane / 4 + 8 * row;
            const bool is_there = token < call.cut.length;
            const rf_walk_numbers *of = call.numbers + head.number + (is_there ? token : 0);
            own.token[block][row] = is_there ? token : rf_attention_empty;
            own.minus_norm[block][row] = is_there ? of->minus_norm : 0.0F;
            own.delta[block][row] = is_there ? of->delta : 0.0F;
        }
        rf_walk_clear(own.sums[block]);
    }
}

/* products [Blocks][Columns / 8][4] of the queries and keys column ... of a tile, gradients those
 * of the output gradients and values: products become the gradients of the products. A pair whose
 * score a rule sets has none. */
template <int Width, int Blocks, int Columns, bool HasRules>
__device__ __forceinline__ void
differentiate_products(const rf_attention_cut &cut, const rf_walk_numbers *keys, int32_t first,
                       const query_lane<Width, Blocks> &own,
                       const float (&gradients)[Blocks][Columns / 8][4],
                       float (&products)[Blocks][Columns / 8][4])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int32_t last = static_cast<int32_t>(cut.length) - 1;
#pragma unroll
    for (int n = 0; n < Columns / 8; n++) {
        float scaled[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            scaled[i] = keys[8 * n + 2 * quarter + i].factor * cut.scale;
        }
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float weight =
                    rf_mma_exp2(fmaf(products[block][n][i], scaled[i % 2] * rf_mma_log2_e,
                                     own.minus_norm[block][i / 2]));
                if constexpr (HasRules) {
                    const int32_t key = first + 8 * n + 2 * quarter + i % 2;
                    const int32_t query = own.token[block][i / 2];
                    const bool is_set = key > (cut.causal ? min(query, last) : last) ||
                                        (cut.last_resort && key == query);
                    weight = is_set ? 0.0F : weight;
                }
                products[block][n][i] =
                    weight * scaled[i % 2] * (gradients[block][n][i] - own.delta[block][i / 2]);
            }
        }
    }
}

template <int Width, int Blocks, int Columns, bool HasRules>
__device__ __forceinline__ void meet_keys(const rf_attention_cut &cut,
                                          const backward_memory<Width> &memory, int slot,
                                          int32_t first, query_lane<Width, Blocks> &own)
{
#pragma unroll
    for (int column = 0; column < rf_full_tile; column += Columns) {
        float products[Blocks][Columns / 8][4];
        float gradients[Blocks][Columns / 8][4];
        rf_full_find_products<Width, Blocks, Columns>(own.queries, memory.first[slot], column,
                                                      products);
        rf_full_find_products<Width, Blocks, Columns>(own.gradients, memory.second[slot], column,
                                                      gradients);
        differentiate_products<Width, Blocks, Columns, HasRules>(
            cut, memory.numbers[slot] + column, first + column, own, gradients, products);
        rf_full_add_rows<Width, Blocks, Columns>(products, memory.first[slot], column, own.sums);
    }
}

template <int Width, int Blocks>
__device__ __forceinline__ void write_queries(const backward_call &call, const rf_full_head &head,
                                              query_lane<Width, Blocks> &own)
{
    rf_attention_place at = {};
    at.batch = head.batch;
    at.head = head.head;
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const int64_t stride = call.cut.heads * call.cut.width;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const int32_t token = own.token[block][row];
            if (!call.shared || token < 0) {
                continue;
            }
            const float *from = call.through_key + head.element + token * stride + column;
#pragma unroll
            for (int n = 0; n < Width / 8; n++) {
                if (8 * n < call.cut.width) {
                    const float2 two = *reinterpret_cast<const float2 *>(from + 8 * n);
                    own.sums[block][n][2 * row] += two.x;
                    own.sums[block][n][2 * row + 1] += two.y;
                }
            }
        }
        __syncwarp(); /* lanes exchange what they write */
        rf_walk_write(call.cut, at, call.query_gradient, 0, own.token[block], own.sums[block]);
    }
}

template <int Width, int Blocks, int Columns>
__global__ void __launch_bounds__(rf_full_threads, 2)
    differentiate_queries(const backward_call call, int32_t tiles)
{
    extern __shared__ __align__(16) unsigned char shared[];
    backward_memory<Width> &memory = *reinterpret_cast<backward_memory<Width> *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t tile = tiles - 1 - static_cast<int32_t>(blockIdx.x / heads);
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t length = static_cast<int32_t>(cut.length);
    const int32_t first_query = tile * rf_full_rows<Blocks>;
    const int32_t end = cut.causal ? min(first_query + rf_full_rows<Blocks>, length) : length;
    const int32_t own_first =
        first_query + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16 * Blocks;
    query_lane<Width, Blocks> own;
    copy_tile(call, head, call.key, call.value, 0, 0, memory);
    begin_queries(call, head, own_first, own);
    for (int32_t first = 0, slot = 0; first < end; first += rf_full_tile, slot ^= 1) {
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (first + rf_full_tile < end) {
            copy_tile(call, head, call.key, call.value, first + rf_full_tile, slot ^ 1, memory);
        }
        const bool is_before = first + rf_full_tile <= own_first;
        const bool is_behind = first >= own_first + 16 * Blocks;
        __syncwarp();
        if (cut.causal && is_behind) {
            continue;
        }
        if (first + rf_full_tile > length || (cut.causal && !is_before) ||
            (cut.last_resort && !is_before && !is_behind)) {
            meet_keys<Width, Blocks, Columns, true>(cut, memory, slot, first, own);
        } else {
            meet_keys<Width, Blocks, Columns, false>(cut, memory, slot, first, own);
        }
    }
    write_queries(call, head, own);
}

/* ---- host ---- */

struct scratch_cut {
    size_t through_key, size; /* numbers come first */
};

scratch_cut cut_scratch(const rf_block_attention_backward *backward)
{
    const rf_attention_plan *plan = &backward->plan;
    const size_t rows = static_cast<size_t>(plan->batch * plan->length * plan->heads);
    scratch_cut cut = {};
    cut.through_key = rf_cuda_align(rows * sizeof(rf_walk_numbers));
    cut.size = cut.through_key;
    if (plan->normalise_keys) {
        cut.size +=
            rf_cuda_align(rows * static_cast<size_t>(backward->query.shape[3]) * sizeof(float));
    }
    return cut;
}

template <int Width, int Blocks, int Share>
rf_status launch(rf_device *device, const backward_call &call, rf_error *error)
{
    constexpr size_t size = sizeof(backward_memory<Width>);
    constexpr cudaFuncAttribute most = cudaFuncAttributeMaxDynamicSharedMemorySize;
    const rf_attention_cut &cut = call.cut;
    const cudaStream_t stream = rf_cuda_stream(device);
    const int64_t heads = cut.batch * cut.heads;
    const int64_t key_tiles = rf_cuda_blocks(cut.length, rf_full_tile);
    const int64_t tiles = rf_cuda_blocks(cut.length, rf_full_rows<Blocks>);
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(differentiate_keys<Width, Share>, most, size),
                          "block_attention_backward", error));
    RF_TRY(rf_cuda_status(
        device, cudaFuncSetAttribute(differentiate_queries<Width, Blocks, Share>, most, size),
        "block_attention_backward", error));
    differentiate_keys<Width, Share>
        <<<static_cast<unsigned>(heads * key_tiles), rf_full_threads, size, stream>>>(call);
    differentiate_queries<Width, Blocks, Share>
        <<<static_cast<unsigned>(heads * tiles), rf_full_threads, size, stream>>>(
            call, static_cast<int32_t>(tiles));
    return rf_cuda_launched(device, "block_attention_backward", error);
}

} // namespace

size_t rf_full_backward_scratch_size(const rf_block_attention_backward *backward)
{
    return cut_scratch(backward).size;
}

rf_status rf_full_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error)
{
    const rf_attention_plan *plan = &backward->plan;
    const int64_t width = backward->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention_backward", plan, width, rf_full_tile, error));
    const rf_tensor *tensors[] = {&backward->query,           &backward->key,
                                  &backward->value,           &backward->output,
                                  &backward->output_gradient, &backward->query_gradient,
                                  &backward->key_gradient,    &backward->value_gradient};
    RF_TRY(rf_fast_check_aligned("block_attention_backward", tensors, 8, error));
    if (rf_tensor_count(&backward->query) == 0) {
        return RF_OK;
    }
    char *memory = static_cast<char *>(scratch);
    backward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, rf_full_tile);
    call.shared = plan->normalise_keys;
    call.query = static_cast<const __nv_bfloat16 *>(backward->query.data);
    call.key = call.shared ? call.query : static_cast<const __nv_bfloat16 *>(backward->key.data);
    call.value = static_cast<const __nv_bfloat16 *>(backward->value.data);
    call.output_gradient = static_cast<const __nv_bfloat16 *>(backward->output_gradient.data);
    call.numbers = static_cast<const rf_walk_numbers *>(scratch);
    call.query_gradient = static_cast<__nv_bfloat16 *>(backward->query_gradient.data);
    call.value_gradient = static_cast<__nv_bfloat16 *>(backward->value_gradient.data);
    call.key_gradient = static_cast<__nv_bfloat16 *>(backward->key_gradient.data);
    call.through_key = call.shared
                           ? reinterpret_cast<float *>(memory + cut_scratch(backward).through_key)
                           : nullptr;
    rf_walk_find_numbers(device, backward, &call.cut, static_cast<rf_walk_numbers *>(scratch));
    return width <= 64 ? launch<64, 2, 32>(device, call, error)
                       : launch<128, 1, 32>(device, call, error);
}
