/* Full attention with bf16 queries, keys, values and outputs, forward: one block that holds the
 * whole sequence (full.cuh says which plans), causal or not. Products of bf16 with f32 sums on the
 * tensor cores, the softmax on line in f32 (Dao et al. 2022; Milakov, Gimelshein 2018).
 *
 * A thread block owns 128 queries, 64 at heads wider than 64, and walks the keys in tiles of 64 up
 * to its own; the next tile is on its way while one is met. The latest queries, which have most to
 * do, start first. Keys that are made from queries are the queries' rows and a factor of the score.
 * Weights are rounded to bf16 for their product only, and values are multiplied by exp(m -
 * log_norm) at the end.
 *
 * With a key mask or segments only tiles that are marked as having pairs are met. A query that sees
 * no key, which the largest score tells, makes its thread block begin again and meet all keys of
 * its segment, hidden ones at -1e9.
 *
 * Memory traffic, in bytes a token and head: 2 x width read and 2 x width written, and from the
 * cache 4 x width for each key tile. 4 x width operations a pair. */
#include "ops/cuda/block_attention/full.cuh"

namespace
{

struct forward_call {
    rf_attention_cut cut;
    int32_t tiles;                            /* of queries, of a head */
    const __nv_bfloat16 *query, *key, *value; /* [batch, length, heads, width] */
    const float *factors;  /* [batch, heads, length]: key = query x factor; NULL: 1 */
    __nv_bfloat16 *output; /* [batch, length, heads, width] */
    float *log_norm;       /* [batch, heads, length] */
    rf_full_mark *marks;   /* [batch, tiles of 64]; unused where plain */
};

template <int Width, rf_full_rules Rules> struct forward_memory : rf_full_notes<Rules> {
    typedef __nv_bfloat16 rows[rf_full_tile][Width + 8];
    rows keys[2], values[2];
    float2 factors[2][rf_full_tile / 2]; /* of scores */
};

/* Rows g and g + 8 of each 16 of a warp: what their four lanes carry from tile to tile. */
template <int Width, int Blocks> struct carried {
    int32_t token[Blocks][2];
    int32_t segment[Blocks][2]; /* unused where plain */
    float maximum[Blocks][2];
    float sum[Blocks][2]; /* over this lane's columns only */
    uint32_t rows[Blocks][Width / 16][4];
    float values[Blocks][Width / 8][4];
};

/* Begin to copy a tile of keys and values. */
template <int Width, rf_full_rules Rules>
__device__ __forceinline__ void copy_keys(const forward_call &call, const rf_full_head &head,
                                          int32_t first, int slot,
                                          forward_memory<Width, Rules> &memory)
{
    rf_full_copy_rows<Width>(call.cut, head, first, call.key, memory.keys[slot]);
    rf_full_copy_rows<Width>(call.cut, head, first, call.value, memory.values[slot]);
    const int32_t key = first + static_cast<int32_t>(threadIdx.x);
    if (threadIdx.x < rf_full_tile) {
        const bool has_factor = call.factors != nullptr && key < call.cut.length;
        const float factor = has_factor ? call.factors[head.number + key] : 1.0F;
        reinterpret_cast<float *>(memory.factors[slot])[threadIdx.x] = factor * call.cut.scale;
        rf_full_note(call.cut, head, key, slot, static_cast<int>(threadIdx.x), memory);
    }
}

/* The score of a query and the key `key` where a mask and segments have a say. hidden: of pairs
 * that are not allowed. */
__device__ __forceinline__ float mark_score(const rf_attention_cut &cut, float score, int32_t query,
                                            int32_t key, int32_t position, bool is_other,
                                            float hidden)
{
    score = position > (cut.causal ? query : rf_attention_unseen - 1) ? hidden : score;
    score = cut.last_resort && key == query ? -1e5F : score;
    return is_other ? -INFINITY : score;
}

/* Products become scores; highest [Blocks][2] of the rows, so far. first: the tile's first key.
 * HasRules: some of the pairs are not allowed, or are of a token with itself. */
template <int Width, int Blocks, bool HasRules, rf_full_rules Rules>
__device__ __forceinline__ void
find_scores(const rf_attention_cut &cut, const forward_memory<Width, Rules> &memory, int slot,
            int32_t first, float hidden, const carried<Width, Blocks> &own,
            float (&scores)[Blocks][rf_full_tile / 8][4], float (&highest)[Blocks][2])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int32_t last = static_cast<int32_t>(cut.length) - 1;
#pragma unroll
    for (int n = 0; n < rf_full_tile / 8; n++) {
        const float2 of = memory.factors[slot][4 * n + quarter];
        const rf_full_pair pair = rf_full_pair_of<HasRules>(memory, slot, 4 * n + quarter);
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float score = scores[block][n][i] * rf_fast_of(of, i % 2);
                const int32_t key = first + 8 * n + 2 * quarter + i % 2;
                const int32_t query = own.token[block][i / 2];
                if constexpr (HasRules && Rules == RF_FULL_PLAIN) {
                    score = key > (cut.causal ? min(query, last) : last) ? -INFINITY : score;
                    score = cut.last_resort && key == query ? -1e5F : score;
                } else if constexpr (HasRules) {
                    score = mark_score(
                        cut, score, query, key, rf_fast_of(pair.positions, i % 2),
                        rf_fast_of(pair.segments, i % 2) != own.segment[block][i / 2], hidden);
                }
                scores[block][n][i] = score;
                highest[block][i / 2] = fmaxf(highest[block][i / 2], score);
            }
        }
    }
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        highest[block][0] = rf_cuda_warp_max<4>(highest[block][0]);
        highest[block][1] = rf_cuda_warp_max<4>(highest[block][1]);
    }
}

/* Scores become weights relative to the largest so far; what was summed before is brought to it. */
template <int Width, int Blocks, bool HasRules>
__device__ __forceinline__ void weigh_scores(const float (&highest)[Blocks][2],
                                             carried<Width, Blocks> &own,
                                             float (&scores)[Blocks][rf_full_tile / 8][4])
{
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        float base[2];
        float scaled[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float most = highest[block][row];
            base[row] = most == -INFINITY ? 0.0F : most; /* nothing met so far */
            scaled[row] = -base[row] * rf_mma_log2_e;
            const float factor = rf_mma_exp2((own.maximum[block][row] - base[row]) * rf_mma_log2_e);
            own.maximum[block][row] = most;
            own.sum[block][row] *= factor;
#pragma unroll
            for (int n = 0; n < Width / 8; n++) {
                own.values[block][n][2 * row] *= factor;
                own.values[block][n][2 * row + 1] *= factor;
            }
        }
#pragma unroll
        for (int n = 0; n < rf_full_tile / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                /* the difference first where a rule's -1e5 has no digits to lose */
                const float power = HasRules
                                        ? (scores[block][n][i] - base[i / 2]) * rf_mma_log2_e
                                        : fmaf(scores[block][n][i], rf_mma_log2_e, scaled[i / 2]);
                scores[block][n][i] = rf_mma_exp2(power);
                own.sum[block][i / 2] += scores[block][n][i];
            }
        }
    }
}

/* A walk over keys. */
struct key_walk {
    rf_full_sight sight;
    int32_t warp_first; /* the warp's first query */
    int32_t end;        /* of the keys */
    float hidden;       /* the score of pairs that are not allowed */
};

template <int Width, int Blocks, bool HasRules, rf_full_rules Rules>
__device__ __forceinline__ void meet(const forward_call &call, const rf_full_head &head,
                                     const forward_memory<Width, Rules> &memory, int slot,
                                     int32_t first, float hidden, carried<Width, Blocks> &own)
{
    uint32_t kept[Blocks];
    if constexpr (Rules == RF_FULL_DROPPED) {
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
            kept[block] = rf_full_draw_kept<rf_full_tile>(call.cut, head, own.token[block], first);
        }
        __syncwarp();
    }
    float scores[Blocks][rf_full_tile / 8][4];
    float highest[Blocks][2];
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        highest[block][0] = own.maximum[block][0];
        highest[block][1] = own.maximum[block][1];
    }
    rf_full_find_products<Width, Blocks, rf_full_tile>(own.rows, memory.keys[slot], 0, scores);
    find_scores<Width, Blocks, HasRules, Rules>(call.cut, memory, slot, first, hidden, own, scores,
                                                highest);
    weigh_scores<Width, Blocks, HasRules>(highest, own, scores);
    if constexpr (Rules == RF_FULL_DROPPED) {
#pragma unroll
        for (int i = 0; i < Blocks * rf_full_tile / 2; i++) {
            const int pair = i % (rf_full_tile / 2);
            scores[i / (rf_full_tile / 2)][pair / 4][pair % 4] *=
                rf_full_keep(call.cut, kept[i / (rf_full_tile / 2)], pair);
        }
    }
    rf_full_add_rows<Width, Blocks, rf_full_tile>(scores, memory.values[slot], 0, own.values);
}

/* The warp's queries meet the tile of keys from `first` on. */
template <int Width, int Blocks, rf_full_rules Rules>
__device__ __forceinline__ void meet_tile(const forward_call &call, const rf_full_head &head,
                                          const key_walk &walk,
                                          const forward_memory<Width, Rules> &memory, int slot,
                                          int32_t first, carried<Width, Blocks> &own)
{
    const rf_attention_cut &cut = call.cut;
    const bool is_behind = first >= walk.warp_first + 16 * Blocks; /* of all rows */
    const bool is_before = first + rf_full_tile <= walk.warp_first;
    bool has_rules = first + rf_full_tile > cut.length ||
                     (!is_before && (cut.causal || (cut.last_resort && !is_behind)));
    bool is_unseen = cut.causal && is_behind;
    if constexpr (Rules != RF_FULL_PLAIN) {
        const rf_full_mark mark = walk.sight.marks[first / rf_full_tile];
        has_rules =
            has_rules || mark.keys < rf_full_tile || !rf_full_is_one_segment(walk.sight, mark);
        is_unseen = is_unseen && !walk.sight.meets_all;
    }
    __syncwarp();
    if (has_rules) {
        if (!is_unseen) {
            meet<Width, Blocks, true, Rules>(call, head, memory, slot, first, walk.hidden, own);
        }
    } else {
        meet<Width, Blocks, false, Rules>(call, head, memory, slot, first, walk.hidden, own);
    }
}

/* The thread block's queries meet their keys; the tile from `first` on is on its way. */
template <int Width, int Blocks, rf_full_rules Rules>
__device__ __forceinline__ void
walk_keys(const forward_call &call, const rf_full_head &head, const key_walk &walk, int32_t first,
          forward_memory<Width, Rules> &memory, carried<Width, Blocks> &own)
{
    for (int slot = 0; first < walk.end; slot ^= 1) {
        const int32_t next = rf_full_next<Rules, true>(walk.sight, first + rf_full_tile, walk.end);
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (next < walk.end) {
            copy_keys(call, head, next, slot ^ 1, memory);
        }
        meet_tile<Width, Blocks, Rules>(call, head, walk, memory, slot, first, own);
        first = next;
    }
}

template <int Width, int Blocks>
__device__ __forceinline__ void clear_rows(carried<Width, Blocks> &own)
{
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            own.maximum[block][row] = -INFINITY;
            own.sum[block][row] = 0.0F;
        }
        rf_walk_clear(own.values[block]);
    }
}

template <int Width, int Blocks, rf_full_rules Rules>
__device__ __forceinline__ void begin_rows(const forward_call &call, const rf_full_head &head,
                                           int32_t first, carried<Width, Blocks> &own)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        rf_full_load_operands<Width>(call.cut, head, first + 16 * block, call.query,
                                     own.rows[block]);
#pragma unroll
        for (int row = 0; row < 2; row++) {
            own.token[block][row] = first + 16 * block + lane / 4 + 8 * row;
            if constexpr (Rules != RF_FULL_PLAIN) {
                own.segment[block][row] = rf_full_segment(call.cut, head, own.token[block][row]);
            }
        }
    }
    clear_rows(own);
}

/* Has one of the thread block's queries met no key? */
template <int Width, int Blocks>
__device__ __forceinline__ bool is_one_lost(const rf_attention_cut &cut,
                                            const carried<Width, Blocks> &own)
{
    bool is_lost = false;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            is_lost = is_lost ||
                      (own.token[block][row] < cut.length && own.maximum[block][row] == -INFINITY);
        }
    }
    return __syncthreads_or(is_lost ? 1 : 0) != 0;
}

template <int Width, int Blocks>
__device__ __forceinline__ void write_rows(const forward_call &call, const rf_full_head &head,
                                           carried<Width, Blocks> &own)
{
    rf_attention_place at = {};
    at.batch = head.batch;
    at.head = head.head;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        int32_t tokens[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float sum = rf_cuda_warp_sum<4>(own.sum[block][row]);
            const float log_norm = __fadd_rn(own.maximum[block][row], logf(sum)); /* rounded once */
            const float factor = expf(own.maximum[block][row] - log_norm);
            const int32_t token = own.token[block][row];
            tokens[row] = token < call.cut.length ? token : rf_attention_empty;
            if (tokens[row] >= 0 && threadIdx.x % 4 == 0) {
                call.log_norm[head.number + token] = log_norm;
            }
#pragma unroll
            for (int n = 0; n < Width / 8; n++) {
                own.values[block][n][2 * row] *= factor;
                own.values[block][n][2 * row + 1] *= factor;
            }
        }
        rf_walk_write(call.cut, at, call.output, 0, tokens, own.values[block]);
    }
}

template <int Width, int Blocks, rf_full_rules Rules>
__global__ void __launch_bounds__(rf_full_threads, 2) attend_full(const forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef forward_memory<Width, Rules> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t tile = call.tiles - 1 - static_cast<int32_t>(blockIdx.x / heads);
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t first_query = tile * rf_full_rows<Blocks>;
    const int32_t length = static_cast<int32_t>(cut.length);
    key_walk walk = {};
    walk.end = cut.causal ? min(first_query + rf_full_rows<Blocks>, length) : length;
    walk.warp_first = first_query + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16 * Blocks;
    walk.hidden = -INFINITY;
    if constexpr (Rules != RF_FULL_PLAIN) {
        walk.sight =
            rf_full_sight_of(cut, call.marks, head.batch, first_query, rf_full_rows<Blocks>);
    }
    carried<Width, Blocks> own;
    int32_t first = rf_full_next<Rules, true>(walk.sight, 0, walk.end);
    if (Rules == RF_FULL_PLAIN || first < walk.end) {
        copy_keys(call, head, first, 0, memory);
    }
    begin_rows<Width, Blocks, Rules>(call, head, walk.warp_first, own);
    walk_keys<Width, Blocks, Rules>(call, head, walk, first, memory, own);
    if constexpr (Rules != RF_FULL_PLAIN) {
        if (is_one_lost(cut, own)) {
            walk.sight.meets_all = true;
            walk.hidden = -1e9F;
            walk.end = length;
            clear_rows(own);
            first = rf_full_next<Rules, true>(walk.sight, 0, length);
            copy_keys(call, head, first, 0, memory);
            walk_keys<Width, Blocks, Rules>(call, head, walk, first, memory, own);
        }
    }
    write_rows(call, head, own);
}

template <int Width, int Blocks, rf_full_rules Rules>
rf_status launch(rf_device *device, forward_call *call, rf_error *error)
{
    constexpr size_t size = sizeof(forward_memory<Width, Rules>);
    const rf_attention_cut &cut = call->cut;
    call->tiles = static_cast<int32_t>(rf_cuda_blocks(cut.length, rf_full_rows<Blocks>));
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(attend_full<Width, Blocks, Rules>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize, size),
                          "block_attention", error));
    attend_full<Width, Blocks, Rules><<<static_cast<unsigned>(cut.batch * cut.heads * call->tiles),
                                        rf_full_threads, size, rf_cuda_stream(device)>>>(*call);
    return rf_cuda_launched(device, "block_attention", error);
}

template <rf_full_rules Rules>
rf_status launch_for_width(rf_device *device, forward_call *call, rf_error *error)
{
    if constexpr (Rules != RF_FULL_PLAIN) {
        rf_full_find_marks(device, &call->cut, nullptr, call->marks);
    }
    return call->cut.width <= 64 ? launch<64, 2, Rules>(device, call, error)
                                 : launch<128, 1, Rules>(device, call, error);
}

/* Factors of keys, where they are made from queries: they stand first in scratch. */
size_t factors_size(const rf_block_attention *attention)
{
    return rf_cuda_align(rf_fast_forward_scratch_size(attention));
}

} // namespace

size_t rf_full_forward_scratch_size(const rf_block_attention *attention)
{
    return factors_size(attention) + rf_full_marks_size(&attention->plan);
}

rf_status rf_full_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error)
{
    const rf_attention_plan *plan = &attention->plan;
    const int64_t width = attention->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention", plan, width, rf_full_tile, error));
    const rf_tensor *tensors[] = {&attention->query, &attention->key, &attention->value,
                                  &attention->output};
    RF_TRY(rf_fast_check_aligned("block_attention", tensors, 4, error));
    if (rf_tensor_count(&attention->query) == 0) {
        return RF_OK;
    }
    forward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, rf_full_tile);
    call.query = static_cast<const __nv_bfloat16 *>(attention->query.data);
    call.value = static_cast<const __nv_bfloat16 *>(attention->value.data);
    call.key =
        plan->normalise_keys ? call.query : static_cast<const __nv_bfloat16 *>(attention->key.data);
    call.output = static_cast<__nv_bfloat16 *>(attention->output.data);
    call.log_norm = static_cast<float *>(attention->log_norm.data);
    call.marks =
        reinterpret_cast<rf_full_mark *>(static_cast<char *>(scratch) + factors_size(attention));
    if (plan->normalise_keys) {
        RF_TRY(rf_fast_find_factors(device, &call.cut, call.query, static_cast<float *>(scratch),
                                    error));
        call.factors = static_cast<const float *>(scratch);
    }
    switch (rf_full_rules_of(plan)) {
    case RF_FULL_PLAIN:
        return launch_for_width<RF_FULL_PLAIN>(device, &call, error);
    case RF_FULL_MARKED:
        return launch_for_width<RF_FULL_MARKED>(device, &call, error);
    default:
        return launch_for_width<RF_FULL_DROPPED>(device, &call, error);
    }
}
