/* What the forward of block attention that walks runs (walk_forward.cu) does with a query tile and
 * a key tile: products of a warp's 16 queries with 64 keys become scores, weights by a softmax on
 * line (Dao et al. 2022), and at once operands of their product with the values.
 *
 * The paper's rules are a variant, which takes the keys in groups of 16 and passes over those that
 * no query of the warp meets (walk_paper.cuh). */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_WALK_FORWARD_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_WALK_FORWARD_CUH

#include "ops/cuda/block_attention/walk_tiles.cuh"

struct rf_walk_forward_call {
    rf_attention_cut cut;
    rf_walk_runs runs;
    bool shared;                              /* keys are made from queries */
    const __nv_bfloat16 *query, *key, *value; /* [batch, length, heads, width] */
    const float *factors;  /* [batch, heads, length]: key = query x factor; NULL: 1 */
    __nv_bfloat16 *output; /* [batch, parts, length, heads, width] */
    float *log_norm;       /* [batch, heads, parts, length] */
    rf_walk_places places;
};

/* Slots of a run, with the block before. */
template <bool Carries, bool Paper>
constexpr int rf_walk_forward_list = Carries ? (Paper ? 512 : 1024) : (Paper ? 768 : 1280);

/* Groups of four warps have a query tile each. Carries: a block is one tile. */
template <int Width, int Groups, bool Carries, bool Paper>
struct rf_walk_forward_memory : rf_walk_buckets<Paper, rf_walk_forward_list<Carries, Paper>> {
    static constexpr int threads = rf_walk_threads * Groups;
    static constexpr int slots = Carries ? 3 : 2; /* of key tiles */
    static constexpr int place_tiles = Carries ? slots : slots + Groups;
    static constexpr int list = rf_walk_forward_list<Carries, Paper>;
    typedef __nv_bfloat16 rows[rf_walk_tile][Width + 8];
    rows keys[slots], values[slots];
    rf_walk_run run;
    int2 tokens[list / 2], positions[list / 2]; /* in pairs, as a lane has them of a product */
    float2 factors[list / 2];                   /* score = query . key row x factor */
    int32_t first_tokens[list / rf_walk_tile], last_tokens[list / rf_walk_tile];
};

/* Rows g and g + 8 of a warp's 16: what their four lanes carry from key tile to key tile. */
template <int Width> struct rf_walk_carried {
    int32_t token[2];
    float maximum[2];
    float sum[2]; /* over this lane's columns only */
    uint32_t rows[Width / 16][4];
    float values[Width / 8][4];
};

constexpr uint32_t rf_walk_all_groups = 15; /* of 16 keys of a tile, a bit each */

/* A query tile and a key tile of the list that meet. */
struct rf_walk_met {
    int32_t query, key;
    bool has_rules;    /* a rule may set a score to another number than -infinity */
    int64_t first_row; /* of dropout: of the part */
    int32_t column;    /* of dropout: of the tile's first key, in the window of its queries */
};

/* The first of this lane's two rows of its group's tile; the other is 8 further. */
static __device__ __forceinline__ int rf_walk_tile_row()
{
    return rf_walk_lane_row() % rf_walk_tile;
}

/* low and high: the warp's queries x keys [first, first + 8) and the 8 behind them. */
template <int Width>
static __device__ __forceinline__ void
rf_walk_add_products(const rf_walk_carried<Width> &own, const __nv_bfloat16 (*keys)[Width + 8],
                     int first, float (&low)[4], float (&high)[4])
{
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
        uint32_t b[4];
        rf_mma_load_b(b, keys, first, 16 * step);
        rf_mma(low, own.rows[step], b[0], b[1]);
        rf_mma(high, own.rows[step], b[2], b[3]);
    }
}

/* scores [8][4] = the warp's queries x a key tile. */
template <int Width>
static __device__ __forceinline__ void
rf_walk_find_tile_products(const rf_walk_carried<Width> &own,
                           const __nv_bfloat16 (*keys)[Width + 8],
                           float (&products)[rf_walk_tile / 8][4])
{
    rf_walk_clear(products);
#pragma unroll
    for (int pair = 0; pair < rf_walk_tile / 16; pair++) {
        rf_walk_add_products<Width>(own, keys, 16 * pair, products[2 * pair],
                                    products[2 * pair + 1]);
    }
}

/* Products become scores; highest [2] of the two rows, so far. first: pair of the list. */
template <int Width, int Groups, bool Carries, bool HasRules>
static __device__ __forceinline__ void
rf_walk_find_scores(const rf_attention_cut &cut,
                    const rf_walk_forward_memory<Width, Groups, Carries, false> &memory, int first,
                    const rf_walk_carried<Width> &own, float (&scores)[rf_walk_tile / 8][4],
                    float (&highest)[2])
{
    const float hidden = HasRules && !cut.may_skip ? -1e9F : -INFINITY;
    const int32_t floor = cut.causal ? INT32_MIN : rf_attention_unseen - 1;
    const int32_t limits[2] = {max(own.token[0], floor), max(own.token[1], floor)};
    highest[0] = own.maximum[0];
    highest[1] = own.maximum[1];
#pragma unroll
    for (int n = 0; n < rf_walk_tile / 8; n++) {
        const int2 positions = memory.positions[first + 4 * n];
        const float2 factors = memory.factors[first + 4 * n];
        const int2 keys = HasRules ? memory.tokens[first + 4 * n] : make_int2(0, 0);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i / 2;
            const bool is_unseen = rf_fast_of(positions, i % 2) > limits[row];
            float score = scores[n][i] * rf_fast_of(factors, i % 2);
            score = is_unseen ? hidden : score;
            if constexpr (HasRules) {
                const bool is_same = cut.last_resort && rf_fast_of(keys, i % 2) == own.token[row];
                score = is_same ? -1e5F : score;
            }
            scores[n][i] = score;
            highest[row] = fmaxf(highest[row], score);
        }
    }
    highest[0] = rf_cuda_warp_max<4>(highest[0]);
    highest[1] = rf_cuda_warp_max<4>(highest[1]);
}

/* Scores become weights relative to the largest so far; what was summed before is brought to it.
 * Where a rule set scores, differences come first: multiples of -1e9 have no digits to lose.
 * groups: of the tile's four groups of 16 keys those that are met, a bit each. */
template <int Width, bool HasRules>
static __device__ __forceinline__ void
rf_walk_weigh_scores(const float (&highest)[2], uint32_t groups, rf_walk_carried<Width> &own,
                     float (&scores)[rf_walk_tile / 8][4])
{
    float base[2];
    float scaled[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        base[row] = highest[row] == -INFINITY ? 0.0F : highest[row]; /* nothing met so far */
        scaled[row] = -base[row] * rf_mma_log2_e;
        const float factor = rf_mma_exp2((own.maximum[row] - base[row]) * rf_mma_log2_e);
        own.maximum[row] = highest[row];
        own.sum[row] *= factor;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            own.values[n][2 * row] *= factor;
            own.values[n][2 * row + 1] *= factor;
        }
    }
#pragma unroll
    for (int n = 0; n < rf_walk_tile / 8; n++) {
        if ((groups >> n / 2 & 1U) == 0) {
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float power = HasRules ? (scores[n][i] - base[i / 2]) * rf_mma_log2_e
                                         : fmaf(scores[n][i], rf_mma_log2_e, scaled[i / 2]);
            scores[n][i] = rf_mma_exp2(power);
            own.sum[i / 2] += scores[n][i];
        }
    }
}

/* Which of a lane's pairs of a key tile are kept: bit 4 n + 2 x row + key, for the two keys that it
 * has of 8, n of them in, and its two rows. One draw covers four keys of a row: of 8 keys each of
 * four lanes draws for a row and four keys, and they exchange what they found. */
static __device__ __forceinline__ uint32_t rf_walk_draw_tile(const rf_attention_cut &cut,
                                                             const rf_walk_met &met,
                                                             uint32_t groups,
                                                             const int32_t (&tokens)[2])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int64_t row = met.first_row + (quarter < 2 ? tokens[0] : tokens[1]);
    const int64_t index =
        row * (static_cast<int64_t>(cut.window) * cut.block) + met.column + quarter % 2 * 4;
    uint32_t all = 0;
#pragma unroll 1
    for (int n = 0; n < rf_walk_tile / 8; n++) {
        if ((groups >> n / 2 & 1U) == 0) {
            continue;
        }
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

/* Scores become what dropout leaves of them. */
static __device__ __forceinline__ void rf_walk_drop_scores(const rf_attention_cut &cut,
                                                           uint32_t kept,
                                                           float (&scores)[rf_walk_tile / 8][4])
{
#pragma unroll
    for (int i = 0; i < rf_walk_tile / 2; i++) {
        scores[i / 4][i % 4] *= (kept >> i & 1U) != 0 ? cut.keep_scale : 0.0F;
    }
}

/* The warp's queries meet the key tile that stands in slot `slot`. */
template <int Width, int Groups, bool Carries, bool Drops>
static __device__ __forceinline__ void
rf_walk_attend(const rf_walk_forward_call &call,
               rf_walk_forward_memory<Width, Groups, Carries, false> &memory,
               const rf_walk_met &met, int slot, rf_walk_carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    if (cut.causal && cut.may_skip &&
        memory.first_tokens[met.key] > memory.last_tokens[met.query]) {
        return; /* no pair weighs more than 0 */
    }
    const int first = met.key * (rf_walk_tile / 2) + static_cast<int>(threadIdx.x) % 4;
    const uint32_t kept = Drops ? rf_walk_draw_tile(cut, met, rf_walk_all_groups, own.token) : 0;
    float scores[rf_walk_tile / 8][4];
    float highest[2];
    __syncwarp(); /* warp instructions follow what lanes did apart */
    rf_walk_find_tile_products<Width>(own, memory.keys[slot], scores);
    if (met.has_rules) {
        rf_walk_find_scores<Width, Groups, Carries, true>(cut, memory, first, own, scores, highest);
        rf_walk_weigh_scores<Width, true>(highest, rf_walk_all_groups, own, scores);
    } else {
        rf_walk_find_scores<Width, Groups, Carries, false>(cut, memory, first, own, scores,
                                                           highest);
        rf_walk_weigh_scores<Width, false>(highest, rf_walk_all_groups, own, scores);
    }
    if constexpr (Drops) {
        rf_walk_drop_scores(cut, kept, scores);
    }
    uint32_t packed[rf_walk_tile / 16][4];
    rf_walk_pack<rf_walk_tile>(scores, packed);
    rf_walk_add_rows<Width, rf_walk_tile / 16>(packed, memory.values[slot], 0, own.values);
}

/* own.values += weights of 16 keys x their values. */
template <int Width>
static __device__ __forceinline__ void
rf_walk_add_values(const float (&low)[4], const float (&high)[4],
                   const __nv_bfloat16 (*values)[Width + 8], int first, rf_walk_carried<Width> &own)
{
    const uint32_t packed[1][4] = {{rf_mma_pack(low[0], low[1]), rf_mma_pack(low[2], low[3]),
                                    rf_mma_pack(high[0], high[1]), rf_mma_pack(high[2], high[3])}};
    rf_walk_add_rows<Width, 1>(packed, values, first, own.values);
}

/* What a lane knows of a key tile and of its rows, for the paper's rules. */
struct rf_walk_paper_lane {
    int32_t pair; /* the lane's first, of the list */
    int32_t buckets[2];
    const int4 *own_places, *key_places; /* of its first row and key */
};

/* Products with a group of 16 keys become scores by the paper's rules. lowered [2][4]: by what,
 * times log2 e. */
template <int Width, int Groups, bool Carries>
static __device__ __forceinline__ void rf_walk_find_paper_scores(
    const rf_attention_cut &cut, const rf_walk_forward_memory<Width, Groups, Carries, true> &memory,
    const rf_walk_paper_lane &lane, int group, const float (&lowered)[2][4],
    const rf_walk_carried<Width> &own, float (&scores)[rf_walk_tile / 8][4], float (&highest)[2])
{
    const float hidden = cut.may_skip ? -INFINITY : -1e9F;
    const int32_t floor = cut.causal ? INT32_MIN : rf_attention_unseen - 1;
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int pair = lane.pair + 8 * group + 4 * n;
        const int2 positions = memory.positions[pair];
        const float2 factors = memory.factors[pair];
        const int2 keys = memory.tokens[pair];
        const int2 buckets = memory.buckets[pair];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i / 2;
            const bool is_unseen = rf_fast_of(positions, i % 2) > max(own.token[row], floor);
            const bool is_same = cut.last_resort && rf_fast_of(keys, i % 2) == own.token[row];
            float score = scores[2 * group + n][i] * rf_fast_of(factors, i % 2);
            score = fmaf(lowered[n][i], -1.0F / rf_mma_log2_e, score);
            score = is_unseen ? hidden : score;
            score = is_same ? -1e5F : score;
            score = rf_fast_of(buckets, i % 2) == lane.buckets[row] ? score : -INFINITY;
            scores[2 * group + n][i] = score;
            highest[row] = fmaxf(highest[row], score);
        }
    }
}

/* The groups of 16 keys of a tile that the warp's queries meet, a bit each. */
template <int Width, int Groups, bool Carries>
static __device__ __forceinline__ uint32_t rf_walk_find_groups(
    const rf_attention_cut &cut, const rf_walk_forward_memory<Width, Groups, Carries, true> &memory,
    const rf_walk_met &met)
{
    const int thread = static_cast<int>(threadIdx.x);
    const rf_walk_span &queries = memory.spans[met.query * 4 + thread / 32 % 4];
    const rf_walk_span &keys = memory.spans[met.key * 4 + thread % 4];
    return __ballot_sync(0xFFFFFFFFU, rf_walk_meets(cut, keys, queries) ? 1 : 0) &
           rf_walk_all_groups;
}

template <int Width, int Groups, bool Carries>
static __device__ __forceinline__ rf_walk_paper_lane rf_walk_find_lane(
    const rf_walk_forward_call &call, rf_walk_forward_memory<Width, Groups, Carries, true> &memory,
    const rf_walk_met &met, int slot)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int own_slot = Carries ? met.query % memory.slots
                                 : memory.slots + static_cast<int>(threadIdx.x) / rf_walk_threads;
    const int32_t *buckets = reinterpret_cast<const int32_t *>(memory.buckets) +
                             met.query * rf_walk_tile + rf_walk_tile_row();
    rf_walk_paper_lane lane;
    lane.pair = met.key * (rf_walk_tile / 2) + quarter;
    lane.buckets[0] = buckets[0];
    lane.buckets[1] = buckets[8];
    lane.own_places = rf_walk_tile_places(call.places, &memory, own_slot) + rf_walk_tile_row();
    lane.key_places = rf_walk_tile_places(call.places, &memory, slot) + 2 * quarter;
    return lane;
}

/* The same by the paper's rules. */
template <int Width, int Groups, bool Carries, bool Drops>
static __device__ __forceinline__ void
rf_walk_attend(const rf_walk_forward_call &call,
               rf_walk_forward_memory<Width, Groups, Carries, true> &memory, const rf_walk_met &met,
               int slot, rf_walk_carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const uint32_t groups = rf_walk_find_groups(cut, memory, met);
    if (groups == 0) {
        return;
    }
    const rf_walk_paper_lane lane = rf_walk_find_lane(call, memory, met, slot);
    const uint32_t kept = Drops ? rf_walk_draw_tile(cut, met, groups, own.token) : 0;
    float highest[2] = {own.maximum[0], own.maximum[1]};
    float scores[rf_walk_tile / 8][4];
    rf_walk_clear(scores);
#pragma unroll
    for (int group = 0; group < 4; group++) {
        if ((groups >> group & 1U) != 0) {
            __syncwarp(); /* warp instructions follow what lanes did apart */
            rf_walk_add_products<Width>(own, memory.keys[slot], 16 * group, scores[2 * group],
                                        scores[2 * group + 1]);
            float lowered[2][4] = {};
            if (cut.corrects && cut.parts > 1) {
                rf_fast_find_times<true, 1, 64>(cut, lane.own_places, lane.key_places + 16 * group,
                                                lowered);
            }
            rf_walk_find_paper_scores(cut, memory, lane, group, lowered, own, scores, highest);
        }
    }
    __syncwarp();
    highest[0] = rf_cuda_warp_max<4>(highest[0]);
    highest[1] = rf_cuda_warp_max<4>(highest[1]);
    rf_walk_weigh_scores<Width, true>(highest, groups, own, scores);
    if constexpr (Drops) {
        rf_walk_drop_scores(cut, kept, scores);
    }
#pragma unroll
    for (int group = 0; group < 4; group++) {
        if ((groups >> group & 1U) != 0) {
            rf_walk_add_values<Width>(scores[2 * group], scores[2 * group + 1], memory.values[slot],
                                      16 * group, own);
        }
    }
}

#endif
