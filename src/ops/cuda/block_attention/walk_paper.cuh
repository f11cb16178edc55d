/* The paper's rules (paper.cuh) in the kernels that walk runs of blocks.
 *
 * Lists hold each slot's bucket, and for each group of 16 slots the first and the last of its
 * buckets and tokens: groups that cannot meet are passed over, which leaves of sorted slots little
 * more than the pairs that exist. Where duplicates are corrected, a tile has its tokens' places in
 * all parts beside it in shared memory, in pieces of two parts: how often a pair is met takes four
 * instructions a part, without a branch. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_WALK_PAPER_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_WALK_PAPER_CUH

#include "ops/cuda/block_attention/fast.cuh"

constexpr int rf_walk_group = 16; /* slots: what a warp owns, and takes at a time */

/* What a group of slots holds; without tokens the first is behind the last. */
struct alignas(16) rf_walk_span {
    int32_t first_token, last_token, first_bucket, last_bucket;
};

/* What a list holds for the paper's rules. */
template <bool Paper, int List> struct rf_walk_buckets {
};
template <int List> struct rf_walk_buckets<true, List> {
    rf_walk_span spans[List / rf_walk_group];
    int2 buckets[List / 2]; /* in pairs, as a lane has them of a product */
};

/* The places of tokens in all parts (fast.cuh); none where no plan asks how often pairs are met. */
struct rf_walk_places {
    const int4 *from; /* [batch, heads, length, pieces]: bucket and block of two parts */
    int32_t pieces;
    int32_t at; /* bytes of shared memory before the tiles' places: [tiles][pieces][64] */
};

/* The places of tile `slot` of those in shared memory. */
static __device__ __forceinline__ int4 *rf_walk_tile_places(const rf_walk_places &places,
                                                            void *shared, int slot)
{
    unsigned char *first = static_cast<unsigned char *>(shared) + places.at;
    return reinterpret_cast<int4 *>(first) + slot * places.pieces * 64;
}

/* Begin to copy the places of rows [first, first + Rows) of a tile, by `Threads` threads of which
 * this is number `thread`. first_number: of the head's tokens; tokens [64]. */
template <int Threads, int Rows>
static __device__ __forceinline__ void rf_walk_copy_places(const rf_walk_places &places, int thread,
                                                           int64_t first_number, int first,
                                                           const int32_t *tokens, int4 *to)
{
    for (int i = thread; i < Rows * places.pieces; i += Threads) {
        const int row = first + i % Rows;
        const int piece = i / Rows;
        const int32_t token = tokens[row];
        rf_copy_16(&to[piece * 64 + row],
                   places.from + (first_number + max(token, 0)) * places.pieces + piece,
                   token >= 0);
    }
}

/* Buckets and spans of a list of tokens [slots]; ends with a barrier. Slots without a token are in
 * a bucket of their own where buckets matter. */
template <int Threads, int List>
static __device__ __forceinline__ void
rf_walk_list_buckets(const rf_attention_cut &cut, const rf_attention_place &at,
                     const int32_t *tokens, int32_t slots, rf_walk_buckets<true, List> &memory)
{
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < slots; i += Threads) {
        const int32_t token = tokens[i];
        const bool is_there = token >= 0;
        int32_t bucket = cut.same_bucket ? rf_attention_absent : 0;
        if (cut.same_bucket && is_there) {
            bucket = cut.bucket[rf_paper_row(cut, at, at.part) + token];
        }
        const int32_t first_token = is_there ? token : rf_attention_unseen;
        const int32_t first_bucket = bucket >= 0 ? bucket : INT32_MAX;
        rf_walk_span span;
        span.first_token = -rf_cuda_warp_max<rf_walk_group>(-first_token);
        span.last_token = rf_cuda_warp_max<rf_walk_group>(token);
        span.first_bucket = -rf_cuda_warp_max<rf_walk_group>(-first_bucket);
        span.last_bucket = rf_cuda_warp_max<rf_walk_group>(bucket);
        reinterpret_cast<int32_t *>(memory.buckets)[i] = bucket;
        if (i % rf_walk_group == 0) {
            memory.spans[i / rf_walk_group] = span;
        }
    }
    __syncthreads();
}

/* May a pair of these groups weigh more than 0? */
static __device__ __forceinline__ bool
rf_walk_meets(const rf_attention_cut &cut, const rf_walk_span &keys, const rf_walk_span &queries)
{
    const bool is_seen = !(cut.causal && cut.may_skip) || keys.first_token <= queries.last_token;
    return keys.first_bucket <= queries.last_bucket && queries.first_bucket <= keys.last_bucket &&
           is_seen;
}

/* Do any two groups of two tiles meet? spans [4] each. The same in all warps. */
static __device__ __forceinline__ bool rf_walk_tiles_meet(const rf_attention_cut &cut,
                                                          const rf_walk_span *keys,
                                                          const rf_walk_span *queries)
{
    const int lane = static_cast<int>(threadIdx.x) % 16;
    return __any_sync(0xFFFFFFFFU, rf_walk_meets(cut, keys[lane / 4], queries[lane % 4]) ? 1 : 0) !=
           0;
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

/* Do the kernels take the paper's rules with these others? Keys are those that queries make, as in
 * every model that hashes; a longer block's list, or the places of more parts, would not fit. */
static inline bool rf_walk_takes_paper(const rf_attention_plan *plan, int64_t width)
{
    const bool is_small = plan->duplicates != RF_DUPLICATES_CORRECTED || plan->parts <= 4;
    return plan->normalise_keys && plan->block <= 256 && (is_small || width <= 64) &&
           plan->parts <= rf_fast_parts && !(plan->same_bucket && plan->wrap == RF_WRAP_ALL_PARTS);
}

/* The places that a walk looks up, found into `memory`. */
static inline rf_walk_places rf_walk_find_places(rf_device *device, const rf_attention_plan *plan,
                                                 const rf_attention_cut *cut, void *memory)
{
    rf_walk_places places = {};
    if (plan->duplicates == RF_DUPLICATES_CORRECTED && plan->parts > 1) {
        const rf_fast_places_source source = rf_fast_find_places(device, plan, cut, memory);
        places.from = reinterpret_cast<const int4 *>(source.places);
        places.pieces = source.parts / 2;
    }
    return places;
}

/* Shared memory of a kernel: `used` bytes, and then the places of `tiles` tiles. */
static inline size_t rf_walk_size_with_places(size_t used, int tiles, rf_walk_places *places)
{
    places->at = static_cast<int32_t>((used + 15) / 16 * 16);
    return static_cast<size_t>(places->at) +
           static_cast<size_t>(tiles * places->pieces) * 64 * sizeof(int4);
}

#endif
