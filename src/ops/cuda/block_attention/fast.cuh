/* What the bf16 kernels of block attention share (tile.cuh says how a plan is cut): the list that a
 * tile meets, brought to shared memory ahead of its use, and what the launches need.
 *
 * A warp owns 16 rows of a tile; a step is `Entries` entries of the list. While a step is computed,
 * the rows of the next are being copied (16 bytes a thread, straight from where they stand in
 * memory) and the slots of the one after are looked up, so a step costs one barrier. Entries that
 * no owner can see are filled with 0 instead of being copied. Rows are padded by 16 bytes, so that
 * the eight rows of an operand meet no bank twice. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_FAST_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_FAST_CUH

#include "ops/cuda/block_attention/mma.cuh"
#include "ops/cuda/block_attention/paper.cuh"
#include "ops/cuda/block_attention/tile.cuh"

/* Sizes for heads of up to Width, tiles of Owners slots and steps of Entries. */
template <int Width, int Owners, int Entries> struct rf_fast_sizes {
    static constexpr int threads = 2 * Owners; /* a warp 16 rows */
    static constexpr int stride = Width + 8;
    static constexpr int chunks = Width / 8;  /* of 16 bytes, of a row */
    static constexpr int steps = Width / 16;  /* of a product over the width */
    static constexpr int columns = Width / 8; /* 8-column products of a row */
    typedef __nv_bfloat16 owner_rows[Owners][stride];
    typedef __nv_bfloat16 met_rows[Entries][stride];
    static_assert(Width % 16 == 0 && Owners % 16 == 0 && Entries % 16 == 0 && Entries <= threads,
                  "whole fragments");
};

/* The numbers of a step's entries. */
template <int Entries> struct rf_fast_entries {
    int2 tokens[Entries / 2];    /* in pairs, as a lane has them of a product */
    int2 positions[Entries / 2]; /* of keys */
    int2 parts[Entries / 2];     /* of queries */
    int2 segments[Entries / 2];  /* where the plan has some */
    float2 factors[Entries / 2]; /* of keys: key = query x factor, 1 where keys are given */
    float2 norms[Entries / 2], deltas[Entries / 2]; /* of queries */
};

/* Which rules a variant of the kernels knows: those of Hugging Face; segments too; the paper's too.
 */
enum rf_fast_rules { RF_FAST_PLAIN, RF_FAST_SEGMENTS, RF_FAST_PAPER };

/* Where a token stands in each part: its bucket, and its block of slots; 0 where the plan does not
 * ask. Rows are padded so that neighbouring lanes meet no bank twice. */
constexpr int rf_fast_parts = 8;
typedef int2 rf_fast_places[rf_fast_parts + 2];

/* The places of a tile's owners, and of the entries of a step and the one ahead. */
template <rf_fast_rules Rules, int Owners, int Entries> struct rf_fast_standing {
};
template <int Owners, int Entries> struct rf_fast_standing<RF_FAST_PAPER, Owners, Entries> {
    rf_fast_places owners_at[Owners], met_at[2][Entries];
};

/* Where places come from. */
struct rf_fast_places_source {
    const int2 *places; /* [batch, heads, length, parts, made even] */
    int32_t parts;      /* made even; 0: pairs do not depend on places */
};

/* Tensors of heads that keys and values, or queries and output gradients, are read from. */
struct rf_fast_source {
    const __nv_bfloat16 *first, *second; /* [batch, length, heads, width] */
    const float *factors;                /* [batch, heads, length], or NULL: 1 */
    const float *norms, *deltas;         /* [batch, heads, length], or NULL */
};

/* The slots of a tile's warp: rows [first, first + 16) meet entries [begin, end) of the list at
 * most, all of them [inner_begin, inner_end). */
struct rf_fast_window {
    int32_t begin, end, inner_begin, inner_end;
};

static __device__ __forceinline__ rf_fast_window rf_fast_window_of(const rf_attention_cut &cut,
                                                                   const rf_attention_place &at,
                                                                   int32_t first)
{
    const int32_t last_row = max(min(at.rows - 1, first + 15), 0);
    const int32_t first_block = (at.first_row + min(first, last_row)) / cut.block;
    const int32_t last_block = (at.first_row + last_row) / cut.block;
    rf_fast_window window = {first_block * cut.block, (last_block + cut.window) * cut.block,
                             last_block * cut.block, (first_block + cut.window) * cut.block};
    if (first >= at.rows) {
        window.end = window.begin; /* the warp has no rows */
    }
    return window;
}

/* What an entry of the list, or an owner, is, by one thread, in registers: its loads run beside
 * what comes between rf_fast_look_up and rf_fast_note. */
struct rf_fast_entry {
    rf_attention_slot slot;
    float factor, norm, delta;
};

static __device__ __forceinline__ rf_fast_entry rf_fast_entry_of(const rf_attention_cut &cut,
                                                                 const rf_attention_place &at,
                                                                 const rf_fast_source &source,
                                                                 const rf_attention_slot &slot)
{
    rf_fast_entry found = {slot, 1.0F, 0.0F, 0.0F};
    if (slot.token >= 0) {
        const int64_t row = (at.batch * cut.heads + at.head) * cut.length + slot.token;
        found.factor = source.factors != nullptr ? source.factors[row] : 1.0F;
        found.norm = source.norms != nullptr ? source.norms[row] : 0.0F;
        found.delta = source.deltas != nullptr ? source.deltas[row] : 0.0F;
    }
    return found;
}

/* Entry `entry` of the list. bound: the last token of the owners, if these are queries; their first
 * token, if keys. An entry that weighs exactly 0 for all owners counts as absent. */
template <bool OwnQueries>
static __device__ __forceinline__ rf_fast_entry rf_fast_look_up(const rf_attention_cut &cut,
                                                                const rf_attention_place &at,
                                                                const rf_fast_source &source,
                                                                int32_t bound, int32_t entry)
{
    rf_attention_slot slot = rf_attention_met(cut, at, OwnQueries ? cut.before : cut.after, entry);
    const bool is_future = cut.causal && (OwnQueries ? slot.token > bound : slot.token < bound);
    if (cut.may_skip && (slot.token < 0 || is_future)) {
        slot.token = rf_attention_absent;
    }
    return rf_fast_entry_of(cut, at, source, slot);
}

template <int Entries>
static __device__ __forceinline__ void rf_fast_note(const rf_fast_entry &found, int index,
                                                    rf_fast_entries<Entries> &entries)
{
    reinterpret_cast<int32_t *>(entries.tokens)[index] = found.slot.token;
    reinterpret_cast<int32_t *>(entries.positions)[index] = found.slot.position;
    reinterpret_cast<int32_t *>(entries.parts)[index] = found.slot.part;
    reinterpret_cast<int32_t *>(entries.segments)[index] = found.slot.segment;
    reinterpret_cast<float *>(entries.factors)[index] = found.factor;
    reinterpret_cast<float *>(entries.norms)[index] = found.norm;
    reinterpret_cast<float *>(entries.deltas)[index] = found.delta;
}

/* One of a pair. */
static __device__ __forceinline__ int32_t rf_fast_of(int2 pair, int index)
{
    return index == 0 ? pair.x : pair.y;
}
static __device__ __forceinline__ float rf_fast_of(float2 pair, int index)
{
    return index == 0 ? pair.x : pair.y;
}

/* [Entries] */
template <int Entries>
static __device__ __forceinline__ const int32_t *
rf_fast_tokens(const rf_fast_entries<Entries> &entries)
{
    return reinterpret_cast<const int32_t *>(entries.tokens);
}

/* Begin to copy the rows of tokens [Rows] to rows [Rows][Chunks x 8 (+ 8)]. */
template <int Threads, int Rows, int Chunks>
static __device__ __forceinline__ void
rf_fast_copy(const rf_attention_cut &cut, const rf_attention_place &at,
             const __nv_bfloat16 *__restrict__ from, const int32_t *tokens,
             __nv_bfloat16 (*rows)[Chunks * 8 + 8])
{
    static_assert(Rows * Chunks % Threads == 0, "whole shares");
#pragma unroll
    for (int i = 0; i < Rows * Chunks / Threads; i++) {
        const int index = static_cast<int>(threadIdx.x) + i * Threads;
        const int row = index / Chunks;
        const int column = index % Chunks * 8;
        const int32_t token = tokens[row];
        const bool is_there = token >= 0 && column < cut.width;
        rf_copy_16(&rows[row][column],
                   is_there ? from + rf_attention_row(cut, at, token) + column : from, is_there);
    }
}

/* ---- the paper's attention ---- */

/* Begin to copy the places of tokens [Rows]. */
template <int Threads, int Rows>
static __device__ __forceinline__ void
rf_fast_copy_places(const rf_attention_cut &cut, const rf_attention_place &at,
                    const rf_fast_places_source &source, const int32_t *tokens,
                    rf_fast_places *places)
{
    const int32_t pieces = source.parts / 2;
    const int64_t head = (at.batch * cut.heads + at.head) * cut.length;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < Rows * pieces; i += Threads) {
        const int32_t row = i / pieces;
        const int32_t part = i % pieces * 2;
        const int32_t token = tokens[row];
        rf_copy_16(&places[row][part], source.places + (head + max(token, 0)) * source.parts + part,
                   token >= 0);
    }
}

/* Entries of the list that a tile meets: all, or where buckets are whole those of its buckets. */
struct rf_fast_share {
    int32_t first, end;
};

template <rf_fast_rules Rules, bool OwnQueries>
static __device__ __forceinline__ rf_fast_share rf_fast_share_of(const rf_attention_cut &cut,
                                                                 const rf_attention_place &at)
{
    rf_fast_share share = {0, (at.blocks + cut.window - 1) * cut.block};
    if constexpr (Rules == RF_FAST_PAPER) {
        if (cut.whole_buckets) {
            rf_paper_narrow<OwnQueries>(cut, at, share.first, share.end);
        }
    }
    return share;
}

/* log2 of how often pairs are met in all parts (0 where never, as of empty slots): of the lane's
 * two rows, 8 apart, and four of 16 columns, as products hold them. own: the place of the first
 * row, met: of the first column; Row and Piece: how far rows, and pieces of two parts, are apart.
 */
template <bool OwnQueries, int Row, int Piece>
static __device__ __forceinline__ void rf_fast_find_times(const rf_attention_cut &cut,
                                                          const int4 *own, const int4 *met,
                                                          float (&logarithms)[2][4])
{
    const int32_t pieces = (cut.parts + 1) / 2;
    const uint32_t window = static_cast<uint32_t>(cut.window);
    /* The last piece of an odd number of parts is met once too often. */
    const float none = static_cast<float>(cut.parts - 2 * pieces);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        logarithms[i / 4][i % 4] = none;
    }
#pragma unroll 1
    for (int32_t piece = 0; piece < pieces; piece++) {
        const int4 rows[2] = {own[piece * Piece], own[piece * Piece + 8 * Row]};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int4 column = met[piece * Piece + (i / 4 * 8 + i % 2) * Row];
            const int4 query = OwnQueries ? rows[i / 2 % 2] : column;
            const int4 key = OwnQueries ? column : rows[i / 2 % 2];
            const uint32_t first = static_cast<uint32_t>(key.y - query.y + cut.before);
            const uint32_t second = static_cast<uint32_t>(key.w - query.w + cut.before);
            logarithms[i / 4][i % 4] += key.x == query.x && first < window ? 1.0F : 0.0F;
            logarithms[i / 4][i % 4] += key.z == query.z && second < window ? 1.0F : 0.0F;
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        logarithms[i / 4][i % 4] = __log2f(fmaxf(logarithms[i / 4][i % 4], 1.0F));
    }
}

/* The same, or 0 where duplicates are not corrected. own_at, met_at: of the first row and column.
 */
template <bool OwnQueries>
static __device__ __forceinline__ void
rf_fast_find_lowered(const rf_attention_cut &cut, const rf_fast_places &own_at,
                     const rf_fast_places &met_at, float (&lowered)[2][4])
{
    if (cut.corrects && cut.parts > 1) {
        rf_fast_find_times<OwnQueries, sizeof(rf_fast_places) / sizeof(int4), 1>(
            cut, reinterpret_cast<const int4 *>(&own_at), reinterpret_cast<const int4 *>(&met_at),
            lowered);
    }
}

/* Which entries a warp's 16 rows may meet. */
struct rf_fast_reach {
    int32_t first_bucket, last_bucket;
    int32_t bound; /* the last token of queries, the first of keys */
};

/* tokens, places [16]: of the warp's rows. */
template <bool OwnQueries>
static __device__ __forceinline__ rf_fast_reach rf_fast_find_reach(const rf_attention_cut &cut,
                                                                   int32_t part,
                                                                   const int32_t *tokens,
                                                                   const rf_fast_places *places)
{
    const int row = static_cast<int>(threadIdx.x) % 16;
    const int32_t token = tokens[row];
    const bool is_there = token >= 0;
    const int32_t bucket = cut.same_bucket && is_there ? places[row][part].x : 0;
    rf_fast_reach reach;
    reach.first_bucket = -rf_cuda_warp_max<16>(is_there ? -bucket : -INT32_MAX);
    reach.last_bucket = rf_cuda_warp_max<16>(is_there ? bucket : -1);
    reach.bound = OwnQueries ? rf_cuda_warp_max<16>(token)
                             : -rf_cuda_warp_max<16>(is_there ? -token : -INT32_MAX);
    return reach;
}

/* The groups of 16 entries of a step of which the rows meet one, a bit each. tokens, places
 * [Entries]. */
template <int Entries, bool OwnQueries>
static __device__ __forceinline__ uint32_t rf_fast_find_groups(const rf_attention_cut &cut,
                                                               int32_t part,
                                                               const rf_fast_reach &reach,
                                                               const int32_t *tokens,
                                                               const rf_fast_places *places)
{
    uint32_t groups = 0;
#pragma unroll
    for (int first = 0; first < Entries; first += rf_cuda_warp) {
        const int entry = first + static_cast<int>(threadIdx.x) % rf_cuda_warp;
        const int32_t token = tokens[entry];
        bool is_met = OwnQueries ? token != rf_attention_absent : token >= 0;
        if (cut.same_bucket && !cut.wraps_all) {
            const int32_t bucket = places[entry][part].x;
            is_met = token >= 0 && bucket >= reach.first_bucket && bucket <= reach.last_bucket;
        }
        if (cut.causal && cut.may_skip) {
            is_met = is_met && (OwnQueries ? token <= reach.bound : token >= reach.bound);
        }
        const uint32_t found = __ballot_sync(0xFFFFFFFFU, is_met ? 1 : 0);
        groups |= ((found & 0xFFFFU) != 0 ? 1U : 0U) << (first / 16);
        groups |= (found >> 16 != 0 ? 2U : 0U) << (first / 16);
    }
    return groups;
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

/* Room for an f32 copy of a tensor, where that is bf16: the copy, at scratch + *used (without data
 * while only counting). The kernels that any shape can go to work on such copies. */
static inline rf_tensor rf_attention_room(const rf_tensor *tensor, void *scratch, size_t *used)
{
    rf_tensor copy = *tensor;
    if (copy.dtype == RF_BF16) {
        copy.dtype = RF_F32;
        copy.data = scratch != nullptr ? static_cast<char *>(scratch) + *used : nullptr;
        *used += rf_cuda_align(rf_tensor_size(&copy));
    }
    return copy;
}

/* to = from, if they are of different types. */
RF_MUST_CHECK static inline rf_status rf_attention_convert(rf_device *device, const rf_tensor *from,
                                                           const rf_tensor *to, rf_error *error)
{
    rf_cast cast = {};
    cast.x = *from;
    cast.y = *to;
    return from->dtype == to->dtype ? RF_OK : rf_cuda_cast(device, &cast, nullptr, error);
}

/* Do pairs depend on where tokens stand in the parts? */
static inline bool rf_fast_asks_places(const rf_attention_plan *plan)
{
    return plan->same_bucket || plan->duplicates == RF_DUPLICATES_CORRECTED;
}

/* Can the bf16 kernels take the plan, and heads of this width? */
static inline bool rf_fast_takes(const rf_attention_plan *plan, int64_t width)
{
    const bool counts_wraps =
        plan->duplicates == RF_DUPLICATES_CORRECTED && plan->wrap != RF_WRAP_NONE;
    return width % 8 == 0 && width >= 8 && width <= 128 && !counts_wraps &&
           (!rf_fast_asks_places(plan) || plan->parts <= rf_fast_parts);
}

static inline rf_fast_rules rf_fast_rules_of(const rf_attention_plan *plan)
{
    if (rf_paper_takes(plan)) {
        return RF_FAST_PAPER;
    }
    return rf_tensor_is_absent(&plan->segments) ? RF_FAST_PLAIN : RF_FAST_SEGMENTS;
}

/* Places of all tokens (places.cu): their memory, and themselves, in it. */
size_t rf_fast_places_size(const rf_attention_plan *plan);
rf_fast_places_source rf_fast_find_places(rf_device *device, const rf_attention_plan *plan,
                                          const rf_attention_cut *cut, void *memory);

/* RF_OK, or RF_ERR_ARGUMENT where a tensor does not start at a multiple of 16 bytes. */
RF_MUST_CHECK static inline rf_status rf_fast_check_aligned(const char *operation,
                                                            const rf_tensor *const *tensors,
                                                            int count, rf_error *error)
{
    for (int i = 0; i < count; i++) {
        const uintptr_t start = reinterpret_cast<uintptr_t>(tensors[i]->data);
        if (!rf_tensor_is_absent(tensors[i]) && start % 16 != 0) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "%s: tensor %d does not start at a multiple of 16 bytes, which "
                                "bf16 attention needs on this device",
                                operation, i);
        }
    }
    return RF_OK;
}

/* Factors of keys that are made from queries, which stand first in the scratch of the forward
 * (forward.cu). */
static inline size_t rf_fast_factors_size(const rf_attention_plan *plan)
{
    const int64_t rows = plan->normalise_keys ? plan->batch * plan->length * plan->heads : 0;
    return rf_cuda_align(static_cast<size_t>(rows) * sizeof(float));
}
rf_status rf_fast_find_factors(rf_device *device, const rf_attention_cut *cut,
                               const __nv_bfloat16 *query, float *factors, rf_error *error);
rf_status rf_fast_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error);
size_t rf_fast_forward_scratch_size(const rf_block_attention *attention);
rf_status rf_fast_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error);
size_t rf_fast_backward_scratch_size(const rf_block_attention_backward *backward);

#endif
