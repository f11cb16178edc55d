/* Full attention with bf16 tensors, backward: the gradients of keys and values. A thread block owns
 * 64 keys and walks the query tiles that see them (full_backward.cu). */
#include "ops/cuda/block_attention/full_backward.cuh"

namespace
{

/* Rows g and g + 8 of a warp's 16 keys; what stands here is unused where plain. */
template <int Width> struct key_lane : rf_walk_key_lane<Width> {
    int32_t token[2], segment[2];
};

/* This lane's keys begin. */
template <int Width, rf_full_rules Rules>
__device__ __forceinline__ void begin_keys(const rf_full_backward_call &call,
                                           const rf_full_head &head, int32_t first,
                                           key_lane<Width> &own)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int32_t token = first + rf_walk_lane_row() + 8 * row;
        const bool is_there = token < call.cut.length;
        own.token[row] = is_there ? token : rf_attention_absent;
        own.position[row] = is_there ? token : rf_attention_unseen;
        own.factor[row] = is_there ? call.numbers[head.number + token].factor : 1.0F;
        own.along[row] = 0.0F;
        if constexpr (Rules != RF_FULL_PLAIN) {
            own.position[row] = rf_full_position(call.cut, head, token);
            own.segment[row] = rf_full_segment(call.cut, head, token);
        }
    }
    rf_walk_clear(own.keys);
    rf_walk_clear(own.values);
}

/* What the walk over queries knows of a tile beside rf_walk_step_view. */
struct query_tile {
    int32_t first;        /* token */
    const int2 *segments; /* [32]; NULL where no pair asks for them */
    bool is_marked;       /* a mask, segments or a rule have a say */
};

/* Which of a lane's four pairs of a tile's queries from `query` on are kept: bits 8 x row + 4 x
 * query. */
template <int Width>
__device__ __forceinline__ uint32_t draw_kept(const rf_attention_cut &cut, const rf_full_head &head,
                                              int32_t query, const key_lane<Width> &own)
{
    const int32_t row = static_cast<int32_t>(threadIdx.x) % rf_cuda_warp / 4;
    const int2 queries = make_int2(query, query + 1);
    const int32_t key = own.token[0] - row; /* the warp's first; no matter where there is none */
    if (cut.block % 4 == 0) {
        return rf_walk_draw_kept(cut, queries, rf_full_draw_of(cut, head, 0) / cut.block, key);
    }
    uint32_t kept = 0;
#pragma unroll 1
    for (int i = 0; i < 4; i++) {
        const int64_t index = rf_full_draw_of(cut, head, query + i % 2) + key + row + i / 2 * 8;
        const bool is_kept =
            rf_cuda_keeps(cut.dropout_key, static_cast<uint64_t>(index), cut.keep_from);
        kept |= is_kept ? 1U << (8 * (i / 2) + 4 * (i % 2)) : 0U;
    }
    return kept;
}

/* rf_walk_differentiate_pairs where a mask and segments have a say, or dropout. kept: as above. */
template <int Width, bool Drops>
__device__ __forceinline__ void
differentiate_marked(const rf_attention_cut &cut, const rf_walk_step_view<Width> &view,
                     int2 segments, int query, uint32_t kept, const key_lane<Width> &own,
                     float (&products)[4], float (&gradients)[4])
{
    const rf_walk_numbers numbers[2] = {view.numbers[query], view.numbers[query + 1]};
    const int2 tokens = *reinterpret_cast<const int2 *>(&view.tokens[query]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = i / 2;
        const rf_walk_numbers &of = numbers[i % 2];
        const int32_t token = rf_fast_of(tokens, i % 2);
        const bool is_unseen = own.position[row] > max(token, view.floor);
        const bool is_other = rf_fast_of(segments, i % 2) != own.segment[row];
        const bool is_set = cut.last_resort ? own.token[row] == token : is_unseen;
        const float scaled = own.factor[row] * cut.scale;
        float weight = rf_mma_exp2(fmaf(products[i], scaled * rf_mma_log2_e, of.minus_norm));
        weight = is_unseen || is_set || is_other ? 0.0F : weight;
        float given = is_set && !is_other ? of.set_weight : weight;
        if constexpr (Drops) {
            const float keep = (kept >> (8 * row + 4 * (i % 2)) & 1U) != 0 ? cut.keep_scale : 0.0F;
            given *= keep;
            gradients[i] *= keep;
        }
        products[i] = given;
        gradients[i] = weight * scaled * (gradients[i] - of.delta);
    }
}

/* Products of the warp's keys and queries [first, first + Share) of a tile become probabilities
 * after dropout and the gradients of products. */
template <int Width, int Share, rf_full_rules Rules>
__device__ __forceinline__ void
differentiate_share(const rf_full_backward_call &call, const rf_full_head &head,
                    const rf_walk_step_view<Width> &view, const query_tile &tile, int first,
                    const key_lane<Width> &own, float (&weights)[Share / 8][4],
                    float (&gradients)[Share / 8][4])
{
    const int query = first + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int n = 0; n < Share / 8; n++) {
        const int at = query + 8 * n;
        if constexpr (Rules == RF_FULL_DROPPED) {
            const uint32_t kept = draw_kept(call.cut, head, tile.first + at, own);
            differentiate_marked<Width, true>(call.cut, view, tile.segments[at / 2], at, kept, own,
                                              weights[n], gradients[n]);
        } else if (Rules == RF_FULL_MARKED && tile.is_marked) {
            differentiate_marked<Width, false>(call.cut, view, tile.segments[at / 2], at, 0, own,
                                               weights[n], gradients[n]);
        } else if (Rules == RF_FULL_PLAIN && view.has_rules) {
            rf_walk_differentiate_pairs<Width, false, true>(call.cut, view, at, own, weights[n],
                                                            gradients[n]);
        } else {
            rf_walk_differentiate_pairs<Width, false, false>(call.cut, view, at, own, weights[n],
                                                             gradients[n]);
        }
    }
}

/* The warp's 16 keys meet queries [first, first + Share) of a tile. */
template <int Width, int Share, rf_full_rules Rules>
__device__ __forceinline__ void
meet_queries(const rf_full_backward_call &call, const rf_full_head &head,
             const rf_walk_step_view<Width> &view, const query_tile &tile, int first,
             const uint32_t (&keys)[1][Width / 16][4], const uint32_t (&values)[1][Width / 16][4],
             key_lane<Width> &own)
{
    float weights[1][Share / 8][4];
    float gradients[1][Share / 8][4];
    rf_full_find_products<Width, 1, Share>(keys, view.queries, first, weights);
    rf_full_find_products<Width, 1, Share>(values, view.gradients, first, gradients);
    differentiate_share<Width, Share, Rules>(call, head, view, tile, first, own, weights[0],
                                             gradients[0]);
    uint32_t packed[Share / 16][4];
    rf_walk_pack<Share>(weights[0], packed);
    rf_walk_add_rows<Width, Share / 16>(packed, view.gradients, first, own.values);
    rf_walk_pack<Share>(gradients[0], packed);
    rf_walk_add_rows<Width, Share / 16>(packed, view.queries, first, own.keys);
}

/* The gradient of keys that are queries, in f32 for the other kernel. */
template <int Width>
__device__ __forceinline__ void
write_through_key(const rf_full_backward_call &call, const rf_full_head &head,
                  const int32_t (&tokens)[2], const key_lane<Width> &own)
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

template <int Width, rf_full_rules Rules>
__device__ __forceinline__ void
finish_keys(const rf_full_backward_call &call, const rf_full_head &head, int32_t first,
            rf_full_backward_memory<Width, Rules> &memory, key_lane<Width> &own)
{
    rf_attention_place at = {};
    at.batch = head.batch;
    at.head = head.head;
    int32_t tokens[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        tokens[row] = own.position[row];
        if constexpr (Rules != RF_FULL_PLAIN) {
            tokens[row] = own.token[row];
        }
        tokens[row] = tokens[row] != rf_attention_unseen ? tokens[row] : rf_attention_empty;
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

/* What a thread block's keys need of the tile of queries in slot `slot`. */
template <int Width, rf_full_rules Rules>
__device__ __forceinline__ rf_walk_step_view<Width>
view_of(const rf_full_backward_call &call, const rf_full_backward_memory<Width, Rules> &memory,
        int slot, bool is_own)
{
    rf_walk_step_view<Width> view = {};
    view.queries = memory.first[slot];
    view.gradients = memory.second[slot];
    view.numbers = memory.numbers[slot];
    view.tokens = memory.tokens[slot];
    view.key_tokens = memory.own_tokens;
    view.floor = call.cut.causal ? INT32_MIN : rf_attention_unseen - 1;
    view.has_rules = call.cut.last_resort && is_own;
    return view;
}

template <int Width, rf_full_rules Rules>
__device__ __forceinline__ query_tile
query_tile_of(const rf_full_sight &sight, const rf_full_backward_memory<Width, Rules> &memory,
              int slot, int32_t first, bool has_rules)
{
    query_tile tile = {first, nullptr, false};
    if constexpr (Rules != RF_FULL_PLAIN) {
        const rf_full_mark mark = sight.marks[first / rf_full_tile];
        tile.segments = memory.segments[slot];
        tile.is_marked = mark.has_lost != 0 || has_rules || !rf_full_is_one_segment(sight, mark);
    }
    return tile;
}

template <int Width, int Share, rf_full_rules Rules>
__global__ void __launch_bounds__(rf_full_threads, Width > 64 ? 2 : 3)
    differentiate_keys(const rf_full_backward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef rf_full_backward_memory<Width, Rules> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t first_key = static_cast<int32_t>(blockIdx.x / heads) * rf_full_tile;
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t length = static_cast<int32_t>(cut.length);
    const int32_t warp_key = first_key + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16;
    int32_t first = cut.causal ? first_key : 0;
    rf_full_sight sight = {};
    if constexpr (Rules != RF_FULL_PLAIN) {
        sight = rf_full_sight_of(cut, call.marks, head.batch, first_key, rf_full_tile);
        first = rf_full_next<Rules, false>(sight, 0, length);
    }
    if (Rules == RF_FULL_PLAIN || first < length) {
        rf_full_copy_tile(call, head, call.query, call.output_gradient, first, 0, memory);
    }
    if (threadIdx.x < rf_full_tile) {
        const int32_t token = first_key + static_cast<int32_t>(threadIdx.x);
        memory.own_tokens[threadIdx.x] = token < length ? token : rf_attention_absent;
    }
    uint32_t keys[1][Width / 16][4];
    uint32_t values[1][Width / 16][4];
    rf_full_load_operands<Width>(cut, head, warp_key, call.key, keys[0]);
    rf_full_load_operands<Width>(cut, head, warp_key, call.value, values[0]);
    key_lane<Width> own;
    begin_keys<Width, Rules>(call, head, first_key, own);
    for (int slot = 0; first < length; slot ^= 1) {
        const int32_t next = rf_full_next<Rules, false>(sight, first + rf_full_tile, length);
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (next < length) {
            rf_full_copy_tile(call, head, call.query, call.output_gradient, next, slot ^ 1, memory);
        }
        const rf_walk_step_view<Width> view = view_of(call, memory, slot, first == first_key);
        const query_tile tile = query_tile_of(sight, memory, slot, first, view.has_rules);
        __syncwarp();
#pragma unroll
        for (int share = 0; share < rf_full_tile; share += Share) {
            meet_queries<Width, Share, Rules>(call, head, view, tile, share, keys, values, own);
        }
        first = next;
    }
    finish_keys(call, head, first_key, memory, own);
}

/* ---- host ---- */

template <int Width, int Share, rf_full_rules Rules>
rf_status launch(rf_device *device, const rf_full_backward_call &call, rf_error *error)
{
    constexpr size_t size = sizeof(rf_full_backward_memory<Width, Rules>);
    constexpr cudaFuncAttribute most = cudaFuncAttributeMaxDynamicSharedMemorySize;
    const int64_t tiles = rf_cuda_blocks(call.cut.length, rf_full_tile);
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(differentiate_keys<Width, Share, Rules>, most, size),
                          "block_attention_backward", error));
    differentiate_keys<Width, Share, Rules>
        <<<static_cast<unsigned>(call.cut.batch * call.cut.heads * tiles), rf_full_threads, size,
           rf_cuda_stream(device)>>>(call);
    return rf_cuda_launched(device, "block_attention_backward", error);
}

template <rf_full_rules Rules>
rf_status launch_for_width(rf_device *device, const rf_full_backward_call &call, rf_error *error)
{
    return call.cut.width <= 64 ? launch<64, 32, Rules>(device, call, error)
                                : launch<128, 32, Rules>(device, call, error);
}

} // namespace

rf_status rf_full_differentiate_keys(rf_device *device, const rf_full_backward_call *call,
                                     rf_full_rules rules, rf_error *error)
{
    switch (rules) {
    case RF_FULL_PLAIN:
        return launch_for_width<RF_FULL_PLAIN>(device, *call, error);
    case RF_FULL_MARKED:
        return launch_for_width<RF_FULL_MARKED>(device, *call, error);
    default:
        return launch_for_width<RF_FULL_DROPPED>(device, *call, error);
    }
}
