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
 * With a key mask or segments each meets the tiles that are marked as having pairs. A query that
 * sees no key gives all values of its segment the same share and takes no gradient.
 *
 * Keys that are made from queries are the queries' rows and a factor; their gradients, pushed
 * through to the queries, wait in scratch in f32 for the second kernel to add. */
#include "ops/cuda/block_attention/full_backward.cuh"

namespace
{

/* Rows g and g + 8 of each 16 of a warp. */
template <int Width, int Blocks> struct query_lane {
    int32_t token[Blocks][2];
    int32_t segment[Blocks][2]; /* unused where plain */
    float minus_norm[Blocks][2], delta[Blocks][2];
    uint32_t queries[Blocks][Width / 16][4], gradients[Blocks][Width / 16][4];
    float sums[Blocks][Width / 8][4];
};

template <int Width, int Blocks, rf_full_rules Rules>
__device__ __forceinline__ void begin_queries(const rf_full_backward_call &call,
                                              const rf_full_head &head, int32_t first,
                                              query_lane<Width, Blocks> &own)
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
            if constexpr (Rules != RF_FULL_PLAIN) {
                own.segment[block][row] = rf_full_segment(call.cut, head, token);
            }
        }
        rf_walk_clear(own.sums[block]);
    }
}

/* A tile of keys that a thread block's queries meet. */
template <int Width, rf_full_rules Rules> struct key_tile {
    const rf_full_backward_memory<Width, Rules> &memory;
    int slot;
    int32_t first; /* token */
};

/* Does a rule set the score of the pair, or is there none? */
template <rf_full_rules Rules>
__device__ __forceinline__ bool is_set(const rf_attention_cut &cut, int32_t query, int32_t segment,
                                       int32_t key, int32_t key_position, int32_t key_segment)
{
    const int32_t last = static_cast<int32_t>(cut.length) - 1;
    const bool is_itself = cut.last_resort && key == query;
    if constexpr (Rules == RF_FULL_PLAIN) {
        return key > (cut.causal ? min(query, last) : last) || is_itself;
    }
    return key_position > (cut.causal ? query : rf_attention_unseen - 1) || is_itself ||
           key_segment != segment;
}

/* Gradients of the output and values, after dropout. column: of the tile. */
template <int Width, int Blocks, int Columns, rf_full_rules Rules>
__device__ __forceinline__ void
drop_gradients(const rf_full_backward_call &call, const rf_full_head &head, int32_t first,
               const query_lane<Width, Blocks> &own, float (&gradients)[Blocks][Columns / 8][4])
{
    if constexpr (Rules == RF_FULL_DROPPED) {
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
            const uint32_t kept =
                rf_full_draw_kept<Columns>(call.cut, head, own.token[block], first);
#pragma unroll
            for (int i = 0; i < Columns / 2; i++) {
                gradients[block][i / 4][i % 4] *= rf_full_keep(call.cut, kept, i);
            }
        }
        __syncwarp();
    }
}

/* products [Blocks][Columns / 8][4] of the queries and keys column ... of a tile, gradients those
 * of the output gradients and values: products become the gradients of the products. A pair whose
 * score a rule sets has none. */
template <int Width, int Blocks, int Columns, bool HasRules, rf_full_rules Rules>
__device__ __forceinline__ void
differentiate_products(const rf_attention_cut &cut, const key_tile<Width, Rules> &tile, int column,
                       const query_lane<Width, Blocks> &own,
                       const float (&gradients)[Blocks][Columns / 8][4],
                       float (&products)[Blocks][Columns / 8][4])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < Columns / 8; n++) {
        const int at = column + 8 * n + 2 * quarter; /* in the tile */
        const rf_full_pair pair = rf_full_pair_of<HasRules>(tile.memory, tile.slot, at / 2);
        float scaled[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            scaled[i] = tile.memory.numbers[tile.slot][at + i].factor * cut.scale;
        }
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float weight =
                    rf_mma_exp2(fmaf(products[block][n][i], scaled[i % 2] * rf_mma_log2_e,
                                     own.minus_norm[block][i / 2]));
                if constexpr (HasRules) {
                    weight =
                        is_set<Rules>(cut, own.token[block][i / 2], own.segment[block][i / 2],
                                      tile.first + at + i % 2, rf_fast_of(pair.positions, i % 2),
                                      rf_fast_of(pair.segments, i % 2))
                            ? 0.0F
                            : weight;
                }
                products[block][n][i] =
                    weight * scaled[i % 2] * (gradients[block][n][i] - own.delta[block][i / 2]);
            }
        }
    }
}

template <int Width, int Blocks, int Columns, bool HasRules, rf_full_rules Rules>
__device__ __forceinline__ void
meet_keys(const rf_full_backward_call &call, const rf_full_head &head,
          const key_tile<Width, Rules> &tile, query_lane<Width, Blocks> &own)
{
#pragma unroll
    for (int column = 0; column < rf_full_tile; column += Columns) {
        float products[Blocks][Columns / 8][4];
        float gradients[Blocks][Columns / 8][4];
        rf_full_find_products<Width, Blocks, Columns>(own.queries, tile.memory.first[tile.slot],
                                                      column, products);
        rf_full_find_products<Width, Blocks, Columns>(own.gradients, tile.memory.second[tile.slot],
                                                      column, gradients);
        drop_gradients<Width, Blocks, Columns, Rules>(call, head, tile.first + column, own,
                                                      gradients);
        differentiate_products<Width, Blocks, Columns, HasRules, Rules>(call.cut, tile, column, own,
                                                                        gradients, products);
        rf_full_add_rows<Width, Blocks, Columns>(products, tile.memory.first[tile.slot], column,
                                                 own.sums);
    }
}

/* The warp's queries, from token `warp_first` on, meet a tile of keys. */
template <int Width, int Blocks, int Columns, rf_full_rules Rules>
__device__ __forceinline__ void
meet_tile(const rf_full_backward_call &call, const rf_full_head &head, const rf_full_sight &sight,
          const key_tile<Width, Rules> &tile, int32_t warp_first, query_lane<Width, Blocks> &own)
{
    const rf_attention_cut &cut = call.cut;
    const bool is_before = tile.first + rf_full_tile <= warp_first;
    const bool is_behind = tile.first >= warp_first + 16 * Blocks;
    bool has_rules = tile.first + rf_full_tile > cut.length || (cut.causal && !is_before) ||
                     (cut.last_resort && !is_before && !is_behind);
    if constexpr (Rules != RF_FULL_PLAIN) {
        const rf_full_mark mark = sight.marks[tile.first / rf_full_tile];
        has_rules = has_rules || mark.keys < rf_full_tile || !rf_full_is_one_segment(sight, mark);
    }
    __syncwarp();
    if (cut.causal && is_behind) {
        return;
    }
    if (has_rules) {
        meet_keys<Width, Blocks, Columns, true, Rules>(call, head, tile, own);
    } else {
        meet_keys<Width, Blocks, Columns, false, Rules>(call, head, tile, own);
    }
}

template <int Width, int Blocks>
__device__ __forceinline__ void write_queries(const rf_full_backward_call &call,
                                              const rf_full_head &head,
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

template <int Width, int Blocks, int Columns, rf_full_rules Rules>
__global__ void __launch_bounds__(rf_full_threads, 2)
    differentiate_queries(const rf_full_backward_call call, int32_t tiles)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef rf_full_backward_memory<Width, Rules> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t tile = tiles - 1 - static_cast<int32_t>(blockIdx.x / heads);
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t length = static_cast<int32_t>(cut.length);
    const int32_t first_query = tile * rf_full_rows<Blocks>;
    const int32_t end = cut.causal ? min(first_query + rf_full_rows<Blocks>, length) : length;
    const int32_t own_first =
        first_query + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16 * Blocks;
    rf_full_sight sight = {};
    if constexpr (Rules != RF_FULL_PLAIN) {
        sight = rf_full_sight_of(cut, call.marks, head.batch, first_query, rf_full_rows<Blocks>);
    }
    query_lane<Width, Blocks> own;
    int32_t first = rf_full_next<Rules, true>(sight, 0, end);
    if (Rules == RF_FULL_PLAIN || first < end) {
        rf_full_copy_tile(call, head, call.key, call.value, first, 0, memory);
    }
    begin_queries<Width, Blocks, Rules>(call, head, own_first, own);
    for (int slot = 0; first < end; slot ^= 1) {
        const int32_t next = rf_full_next<Rules, true>(sight, first + rf_full_tile, end);
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (next < end) {
            rf_full_copy_tile(call, head, call.key, call.value, next, slot ^ 1, memory);
        }
        meet_tile<Width, Blocks, Columns, Rules>(call, head, sight, {memory, slot, first},
                                                 own_first, own);
        first = next;
    }
    write_queries(call, head, own);
}

/* ---- host ---- */

struct scratch_cut {
    size_t through_key, marks, size; /* numbers come first */
};

scratch_cut cut_scratch(const rf_block_attention_backward *backward)
{
    const rf_attention_plan *plan = &backward->plan;
    const size_t rows = static_cast<size_t>(plan->batch * plan->length * plan->heads);
    scratch_cut cut = {};
    cut.through_key = rf_cuda_align(rows * sizeof(rf_walk_numbers));
    cut.marks = cut.through_key;
    if (plan->normalise_keys) {
        cut.marks +=
            rf_cuda_align(rows * static_cast<size_t>(backward->query.shape[3]) * sizeof(float));
    }
    cut.size = cut.marks + rf_full_marks_size(plan);
    return cut;
}

template <int Width, int Blocks, int Share, rf_full_rules Rules>
rf_status launch(rf_device *device, const rf_full_backward_call &call, rf_error *error)
{
    constexpr size_t size = sizeof(rf_full_backward_memory<Width, Rules>);
    constexpr cudaFuncAttribute most = cudaFuncAttributeMaxDynamicSharedMemorySize;
    const rf_attention_cut &cut = call.cut;
    const cudaStream_t stream = rf_cuda_stream(device);
    const int64_t heads = cut.batch * cut.heads;
    const int64_t tiles = rf_cuda_blocks(cut.length, rf_full_rows<Blocks>);
    RF_TRY(rf_cuda_status(
        device,
        cudaFuncSetAttribute(differentiate_queries<Width, Blocks, Share, Rules>, most, size),
        "block_attention_backward", error));
    differentiate_queries<Width, Blocks, Share, Rules>
        <<<static_cast<unsigned>(heads * tiles), rf_full_threads, size, stream>>>(
            call, static_cast<int32_t>(tiles));
    return rf_cuda_launched(device, "block_attention_backward", error);
}

template <rf_full_rules Rules>
rf_status launch_for_width(rf_device *device, const rf_full_backward_call &call, rf_error *error)
{
    return call.cut.width <= 64 ? launch<64, 2, 32, Rules>(device, call, error)
                                : launch<128, 1, 32, Rules>(device, call, error);
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
    rf_full_backward_call call = {};
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
    const rf_full_rules rules = rf_full_rules_of(plan);
    if (rules != RF_FULL_PLAIN) {
        rf_full_mark *marks =
            reinterpret_cast<rf_full_mark *>(memory + cut_scratch(backward).marks);
        rf_full_find_marks(device, &call.cut, call.numbers, marks);
        call.marks = marks;
    }
    RF_TRY(rf_full_differentiate_keys(device, &call, rules, error));
    switch (rules) {
    case RF_FULL_PLAIN:
        return launch_for_width<RF_FULL_PLAIN>(device, call, error);
    case RF_FULL_MARKED:
        return launch_for_width<RF_FULL_MARKED>(device, call, error);
    default:
        return launch_for_width<RF_FULL_DROPPED>(device, call, error);
    }
}
