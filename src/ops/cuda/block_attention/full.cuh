/* What the bf16 kernels of full attention share: plans of one block that holds the whole sequence,
 * tokens as written.
 *
 * Nothing is gathered: a tile of 64 tokens stands in memory as it is, and only the tiles on the
 * diagonal have pairs that a rule decides. So a warp can own 32 rows at heads of up to 64, which
 * halves what it reads from shared memory for each product.
 *
 * Key masks, segments and dropout are variants of the kernels. What masks and segments leave of
 * each tile is marked beforehand (full_marks.cu), so that tiles without a pair that counts are
 * passed over, and those where every pair counts cost what they cost without masks: documents that
 * share a window take the time of their own pairs. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_FULL_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_FULL_CUH

#include "ops/cuda/block_attention/walk_tiles.cuh"

constexpr int rf_full_warps = 4;
constexpr int rf_full_threads = rf_full_warps * rf_cuda_warp;
constexpr int rf_full_tile = 64; /* tokens that are met at a time */

/* What a variant of the kernels knows: causality and a token with itself; key masks and segments
 * too; dropout too. */
enum rf_full_rules { RF_FULL_PLAIN, RF_FULL_MARKED, RF_FULL_DROPPED };

/* What a key mask and segments leave of a tile of tokens. */
struct alignas(16) rf_full_mark {
    int32_t first_segment, last_segment; /* the lowest and the highest; 0 where there are none */
    int32_t keys;                        /* that queries may see */
    int32_t has_lost; /* known backward: a query of the tile sees no key, so all of its segment
                         weigh the same */
};

/* Rows that a thread block owns where a warp has `Blocks` times 16. */
template <int Blocks> constexpr int rf_full_rows = rf_full_warps * 16 * Blocks;

/* A head of a sequence. */
struct rf_full_head {
    int64_t batch, head;
    int64_t element; /* of its first row in a tensor [batch, length, heads, width] */
    int64_t number;  /* of its first token [batch, heads, length] */
};

static __device__ __forceinline__ rf_full_head rf_full_head_of(const rf_attention_cut &cut,
                                                               int64_t index)
{
    rf_full_head head = {};
    head.batch = index / cut.heads;
    head.head = index % cut.heads;
    head.element = (head.batch * cut.length * cut.heads + head.head) * cut.width;
    head.number = index * cut.length;
    return head;
}

/* Begin to copy the rows of tokens first ... first + 63, zeros beyond the last. */
template <int Width>
static __device__ __forceinline__ void
rf_full_copy_rows(const rf_attention_cut &cut, const rf_full_head &head, int32_t first,
                  const __nv_bfloat16 *from, __nv_bfloat16 (*rows)[Width + 8])
{
    constexpr int chunks = Width / 8; /* of 16 bytes, of a row */
    const int column = static_cast<int>(threadIdx.x) % chunks * 8;
    const int64_t stride = cut.heads * cut.width;
    const bool is_inside = column < cut.width;
    const __nv_bfloat16 *start = from + head.element + (is_inside ? column : 0);
#pragma unroll
    for (int i = 0; i < rf_full_tile * chunks / rf_full_threads; i++) {
        const int row = static_cast<int>(threadIdx.x) / chunks + i * (rf_full_threads / chunks);
        const bool is_there = is_inside && first + row < cut.length;
        rf_copy_16(&rows[row][column], start + (is_there ? first + row : 0) * stride, is_there);
    }
}

/* Rows g and g + 8 of 16 from token `first` on, as operands of products over the width, straight
 * from memory. */
template <int Width>
static __device__ __forceinline__ void
rf_full_load_operands(const rf_attention_cut &cut, const rf_full_head &head, int32_t first,
                      const __nv_bfloat16 *from, uint32_t (&operands)[Width / 16][4])
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t stride = cut.heads * cut.width;
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int32_t token = first + lane / 4 + i % 2 * 8;
            const int column = 16 * step + i / 2 * 8 + lane % 4 * 2;
            const bool is_there = token < cut.length && column < cut.width;
            operands[step][i] = is_there ? __ldg(reinterpret_cast<const uint32_t *>(
                                               from + head.element + token * stride + column))
                                         : 0;
        }
    }
}

/* products [Blocks][Columns / 8][4] = a warp's rows, as operands, x rows [first, first + Columns)
 * of a tile. */
template <int Width, int Blocks, int Columns>
static __device__ __forceinline__ void
rf_full_find_products(const uint32_t (&operands)[Blocks][Width / 16][4],
                      const __nv_bfloat16 (*rows)[Width + 8], int first,
                      float (&products)[Blocks][Columns / 8][4])
{
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        rf_walk_clear(products[block]);
    }
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
#pragma unroll
        for (int pair = 0; pair < Columns / 16; pair++) {
            uint32_t b[4];
            rf_mma_load_b(b, rows, first + 16 * pair, 16 * step);
#pragma unroll
            for (int block = 0; block < Blocks; block++) {
                rf_mma(products[block][2 * pair], operands[block][step], b[0], b[1]);
                rf_mma(products[block][2 * pair + 1], operands[block][step], b[2], b[3]);
            }
        }
    }
}

/* sums [Blocks][Width / 8][4] += weights, as operands, x rows [first, first + Columns) of a tile.
 */
template <int Width, int Blocks, int Columns>
static __device__ __forceinline__ void
rf_full_add_rows(const float (&weights)[Blocks][Columns / 8][4],
                 const __nv_bfloat16 (*rows)[Width + 8], int first,
                 float (&sums)[Blocks][Width / 8][4])
{
#pragma unroll
    for (int pair = 0; pair < Columns / 16; pair++) {
        uint32_t a[Blocks][4];
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *two = &weights[block][2 * pair + i / 2][i % 2 * 2];
                a[block][i] = rf_mma_pack(two[0], two[1]);
            }
        }
#pragma unroll
        for (int n = 0; n < Width / 16; n++) {
            uint32_t b[4];
            rf_mma_load_b_rows(b, rows, first + 16 * pair, 16 * n);
#pragma unroll
            for (int block = 0; block < Blocks; block++) {
                rf_mma(sums[block][2 * n], a[block], b[0], b[1]);
                rf_mma(sums[block][2 * n + 1], a[block], b[2], b[3]);
            }
        }
    }
}

/* ---- marked tiles ---- */

/* What a thread block of own tokens [first, first + own) may meet. */
struct rf_full_sight {
    const rf_full_mark *marks; /* of the sequence's tiles */
    int32_t first_segment, last_segment;
    int32_t first, end; /* own tiles */
    bool is_causal, meets_itself;
    bool meets_all; /* queries that see no key meet every one of their segment */
};

static __device__ __forceinline__ rf_full_sight rf_full_sight_of(const rf_attention_cut &cut,
                                                                 const rf_full_mark *marks,
                                                                 int64_t batch, int32_t first,
                                                                 int32_t own)
{
    const int32_t tiles = (static_cast<int32_t>(cut.length) + rf_full_tile - 1) / rf_full_tile;
    rf_full_sight sight = {};
    sight.marks = marks + batch * tiles;
    sight.first = first / rf_full_tile;
    sight.end = min((first + own) / rf_full_tile, tiles);
    sight.is_causal = cut.causal;
    sight.meets_itself = cut.last_resort;
    sight.first_segment = sight.marks[sight.first].first_segment;
    sight.last_segment = sight.marks[sight.first].last_segment;
    for (int32_t tile = sight.first + 1; tile < sight.end; tile++) {
        sight.first_segment = min(sight.first_segment, sight.marks[tile].first_segment);
        sight.last_segment = max(sight.last_segment, sight.marks[tile].last_segment);
    }
    return sight;
}

/* Is there a pair of own tokens and those of `tile` that counts? OwnQueries: of keys, else of
 * queries. */
template <bool OwnQueries>
static __device__ __forceinline__ bool rf_full_meets(const rf_full_sight &sight, int32_t tile)
{
    const rf_full_mark mark = sight.marks[tile];
    const bool is_own = tile >= sight.first && tile < sight.end;
    bool meets = sight.meets_all || (sight.meets_itself && is_own);
    if constexpr (OwnQueries) {
        meets = meets || mark.keys > 0;
    } else {
        const bool is_behind = !sight.is_causal || tile >= sight.first;
        meets = meets || mark.has_lost != 0 || (is_behind && sight.marks[sight.first].keys > 0);
    }
    return meets && mark.first_segment <= sight.last_segment &&
           mark.last_segment >= sight.first_segment;
}

/* The first token of the first tile from token `first` on that is met; `end` where there is none
 * before it. Known by all lanes of a warp, which call it together. */
template <rf_full_rules Rules, bool OwnQueries>
static __device__ __forceinline__ int32_t rf_full_next(const rf_full_sight &sight, int32_t first,
                                                       int32_t end)
{
    if constexpr (Rules == RF_FULL_PLAIN) {
        return first;
    } else {
        const int32_t lane = static_cast<int32_t>(threadIdx.x) % rf_cuda_warp;
        for (; first < end; first += rf_cuda_warp * rf_full_tile) {
            const int32_t at = first + lane * rf_full_tile;
            const bool meets = at < end && rf_full_meets<OwnQueries>(sight, at / rf_full_tile);
            const uint32_t found = __ballot_sync(0xFFFFFFFFU, meets ? 1 : 0);
            if (found != 0) {
                return first + (__ffs(static_cast<int>(found)) - 1) * rf_full_tile;
            }
        }
        return end;
    }
}

/* Are own tokens and those of the tile at token `first` all of one segment? */
static __device__ __forceinline__ bool rf_full_is_one_segment(const rf_full_sight &sight,
                                                              const rf_full_mark &mark)
{
    return sight.first_segment == sight.last_segment && mark.first_segment == sight.first_segment &&
           mark.last_segment == sight.first_segment;
}

/* The position of a token as a key, and its segment. */
static __device__ __forceinline__ int32_t rf_full_position(const rf_attention_cut &cut,
                                                           const rf_full_head &head, int32_t token)
{
    const bool is_there = token < cut.length;
    const int64_t at = head.batch * cut.length + (is_there ? token : 0);
    const bool is_kept = is_there && (cut.key_mask == nullptr || cut.key_mask[at] != 0);
    return is_kept ? token : rf_attention_unseen;
}
static __device__ __forceinline__ int32_t rf_full_segment(const rf_attention_cut &cut,
                                                          const rf_full_head &head, int32_t token)
{
    if (cut.segments == nullptr) {
        return 0;
    }
    return token < cut.length ? cut.segments[head.batch * cut.length + token] : -1;
}

/* What pairs need of the keys, or queries, of two tiles; nothing where the kernel is plain. */
template <rf_full_rules Rules> struct rf_full_notes {
    int2 positions[2][rf_full_tile / 2], segments[2][rf_full_tile / 2];
};
template <> struct rf_full_notes<RF_FULL_PLAIN> {
};

static __device__ __forceinline__ void rf_full_note(const rf_attention_cut &, const rf_full_head &,
                                                    int32_t, int, int,
                                                    rf_full_notes<RF_FULL_PLAIN> &)
{
}
/* Note `token` as number `index` of the tile in `slot`. */
template <rf_full_rules Rules>
static __device__ __forceinline__ void
rf_full_note(const rf_attention_cut &cut, const rf_full_head &head, int32_t token, int slot,
             int index, rf_full_notes<Rules> &notes)
{
    reinterpret_cast<int32_t *>(notes.positions[slot])[index] = rf_full_position(cut, head, token);
    reinterpret_cast<int32_t *>(notes.segments[slot])[index] = rf_full_segment(cut, head, token);
}

/* Two neighbouring tokens of a tile; zeros where they are not wanted. */
struct rf_full_pair {
    int2 positions, segments;
};
template <bool IsWanted>
static __device__ __forceinline__ rf_full_pair rf_full_pair_of(const rf_full_notes<RF_FULL_PLAIN> &,
                                                               int, int)
{
    return {};
}
template <bool IsWanted, rf_full_rules Rules>
static __device__ __forceinline__ rf_full_pair rf_full_pair_of(const rf_full_notes<Rules> &notes,
                                                               int slot, int pair)
{
    if constexpr (IsWanted) {
        return {notes.positions[slot][pair], notes.segments[slot][pair]};
    }
    return {};
}

/* ---- dropout ---- */

/* Number of a query's first probability among those that dropout draws for. */
static __device__ __forceinline__ int64_t rf_full_draw_of(const rf_attention_cut &cut,
                                                          const rf_full_head &head, int32_t query)
{
    const int64_t of = (cut.first_sample + head.batch) * cut.all_heads + cut.first_head + head.head;
    return (of * cut.length + query) * cut.block;
}

/* Which of a lane's pairs of two queries and keys [first, first + Columns) are kept: bit 4 n + 2 x
 * row + key, for the two keys that it has of 8, n of them in. One draw covers four keys of a row
 * where rows begin at multiples of four: then of 8 keys each of four lanes draws for a row and four
 * keys, and they exchange what they found. */
template <int Columns>
static __device__ __forceinline__ uint32_t rf_full_draw_kept(const rf_attention_cut &cut,
                                                             const rf_full_head &head,
                                                             const int32_t (&queries)[2],
                                                             int32_t first)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int64_t rows[2] = {rf_full_draw_of(cut, head, queries[0]) + first,
                             rf_full_draw_of(cut, head, queries[1]) + first};
    uint32_t all = 0;
    if (cut.block % 4 != 0) {
#pragma unroll 1
        for (int i = 0; i < Columns / 2; i++) {
            const int64_t index = (i / 2 % 2 == 0 ? rows[0] : rows[1]) + i / 4 * 8 + 2 * quarter;
            const bool is_kept =
                rf_cuda_keeps(cut.dropout_key, static_cast<uint64_t>(index + i % 2), cut.keep_from);
            all |= is_kept ? 1U << i : 0U;
        }
        return all;
    }
    const int64_t index = (quarter < 2 ? rows[0] : rows[1]) + quarter % 2 * 4;
#pragma unroll 1
    for (int n = 0; n < Columns / 8; n++) {
        uint32_t bits[4];
        rf_core_random_block(&cut.dropout_key, static_cast<uint64_t>(index + 8 * n), bits);
        uint32_t kept = 0; /* of the four lanes: 8 x row + key of 8 */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            kept |= (bits[i] >> 8) >= cut.keep_from ? 1U << i : 0U;
        }
        kept <<= 4 * quarter;
        kept |= __shfl_xor_sync(0xFFFFFFFFU, kept, 1);
        kept |= __shfl_xor_sync(0xFFFFFFFFU, kept, 2);
        kept >>= 2 * quarter;
        all |= ((kept & 3U) | (kept >> 6 & 12U)) << (4 * n);
    }
    return all;
}

/* The factor of pair `i` of those. */
static __device__ __forceinline__ float rf_full_keep(const rf_attention_cut &cut, uint32_t kept,
                                                     int i)
{
    return (kept >> i & 1U) != 0 ? cut.keep_scale : 0.0F;
}

/* ---- host ---- */

/* Do the kernels of full_forward.cu and full_backward.cu take this plan? */
static inline bool rf_full_takes(const rf_attention_plan *plan)
{
    return plan->parts == 1 && plan->slots == plan->block && plan->before == 0 &&
           plan->after == 0 && rf_tensor_is_absent(&plan->order) && !rf_paper_takes(plan);
}

/* Which variant takes it? */
static inline rf_full_rules rf_full_rules_of(const rf_attention_plan *plan)
{
    if (plan->probability > 0.0F) {
        return RF_FULL_DROPPED;
    }
    return rf_tensor_is_absent(&plan->key_mask) && rf_tensor_is_absent(&plan->segments)
               ? RF_FULL_PLAIN
               : RF_FULL_MARKED;
}

/* Marks [batch, tiles]: their memory, 0 where the plan needs none, and themselves. numbers: those
 * of the backward [batch, heads, length], or NULL. */
size_t rf_full_marks_size(const rf_attention_plan *plan);
void rf_full_find_marks(rf_device *device, const rf_attention_cut *cut,
                        const rf_walk_numbers *numbers, rf_full_mark *marks);
size_t rf_full_forward_scratch_size(const rf_block_attention *attention);
rf_status rf_full_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error);
rf_status rf_full_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error);
size_t rf_full_backward_scratch_size(const rf_block_attention_backward *backward);

#endif
