/* The arithmetic of a pair of tiles in the backward of block attention, 64 keys x 64 queries
 * (walk.cu): five products of bf16 with f32 sums.
 *
 * S^T = K Q^T and dP^T = V dO^T, a warp 16 keys and a share of the queries at a time, become P^T
 * and dS^T in registers, where they are operands of dV += P^T dO and dK += dS^T Q. dS^T also goes
 * to shared memory, from where dQ += dS K takes it, a warp 16 queries. dS holds the key's factor,
 * as keys = queries x factor, so that raw queries stand on the other side of every product. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_WALK_TILES_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_WALK_TILES_CUH

#include "ops/cuda/block_attention/walk.cuh"

/* The first of this lane's two rows of a tile, g of its warp's 16; the other is 8 further. */
static __device__ __forceinline__ int rf_walk_lane_row()
{
    const int thread = static_cast<int>(threadIdx.x);
    return thread / rf_cuda_warp * 16 + thread % rf_cuda_warp / 4;
}

/* What a lane holds of a key tile: rows g and g + 8 of its warp's 16. */
template <int Width> struct rf_walk_key_lane {
    int32_t position[2];
    float factor[2]; /* key = query x factor */
    float along[2];  /* Carries, shared: gradient of the query . key */
    float keys[Width / 8][4], values[Width / 8][4]; /* gradients so far */
};

/* What a step works on. */
template <int Width> struct rf_walk_step_view {
    typedef const __nv_bfloat16 (*rows)[Width + 8];
    rows keys, values, queries, gradients;
    const rf_walk_numbers *numbers;                     /* of the queries, [64] */
    const int32_t *tokens;                              /* of the queries, [64] */
    const int32_t *key_tokens;                          /* [64] */
    __nv_bfloat16 (*score_gradients)[rf_walk_tile + 8]; /* [64 keys][64 queries] */
    int32_t floor;     /* a query sees keys at positions up to max(its token, this) */
    bool has_rules;    /* a weight may be set by a rule */
    int64_t first_row; /* of dropout: of the query block's part */
    int32_t column;    /* of dropout: of the tile's first key, in the window of its queries */
};

/* What it needs for the paper's rules. */
struct rf_walk_paper_view {
    const rf_walk_span *query_spans, *key_spans; /* [4] */
    const int32_t *query_buckets, *key_buckets;  /* [64] */
    const int4 *query_places, *key_places;       /* [pieces][64] */
};

/* Which of a lane's four pairs are kept, bits 8 x row + 4 x query, for key rows g and g + 8 and two
 * neighbouring queries. Four neighbouring lanes of a column of lanes have four neighbouring keys,
 * which one draw covers: each draws for one row and query, and they exchange what they found.
 * column: of the warp's first key. */
static __device__ __forceinline__ uint32_t rf_walk_draw_kept(const rf_attention_cut &cut,
                                                             const int2 &tokens, int64_t first_row,
                                                             int32_t column)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int drawn = lane / 4 % 4; /* 2 x row + query */
    const int64_t row = first_row + (drawn % 2 == 0 ? tokens.x : tokens.y);
    const int64_t index = row * (static_cast<int64_t>(cut.window) * cut.block) + column +
                          drawn / 2 * 8 + lane / 16 * 4;
    uint32_t bits[4];
    rf_core_random_block(&cut.dropout_key, static_cast<uint64_t>(index), bits);
    uint32_t kept = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        kept |= (bits[i] >> 8) >= cut.keep_from ? 1U << i : 0U;
    }
    kept <<= 4 * drawn;
    kept |= __shfl_xor_sync(0xFFFFFFFFU, kept, 4);
    kept |= __shfl_xor_sync(0xFFFFFFFFU, kept, 8);
    return kept >> drawn; /* this lane's key of the four */
}

/* Two neighbouring queries, from `query` on, and the lane's two keys: products = query . key become
 * probabilities after dropout, gradients = output gradient . value those of the products times the
 * keys' factors. */
template <int Width, bool Drops, bool HasRules>
static __device__ __forceinline__ void
rf_walk_differentiate_pairs(const rf_attention_cut &cut, const rf_walk_step_view<Width> &view,
                            int query, const rf_walk_key_lane<Width> &own, float (&products)[4],
                            float (&gradients)[4])
{
    const rf_walk_numbers numbers[2] = {view.numbers[query], view.numbers[query + 1]};
    const int2 tokens = *reinterpret_cast<const int2 *>(&view.tokens[query]);
    const int32_t keys[2] = {HasRules ? view.key_tokens[rf_walk_lane_row()] : 0,
                             HasRules ? view.key_tokens[rf_walk_lane_row() + 8] : 0};
    uint32_t kept = 0;
    if constexpr (Drops) {
        const int32_t first = static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16;
        kept = rf_walk_draw_kept(cut, tokens, view.first_row, view.column + first);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = i / 2;
        const rf_walk_numbers &of = numbers[i % 2];
        const int32_t token = rf_fast_of(tokens, i % 2);
        const bool is_unseen = own.position[row] > max(token, view.floor);
        const float scaled = own.factor[row] * cut.scale;
        float weight = rf_mma_exp2(fmaf(products[i], scaled * rf_mma_log2_e, of.minus_norm));
        weight = is_unseen ? 0.0F : weight;
        float given = weight;
        if constexpr (HasRules) {
            const bool is_set = cut.last_resort ? keys[row] == token : is_unseen;
            weight = is_set ? 0.0F : weight;
            given = is_set ? of.set_weight : weight;
        }
        if constexpr (Drops) {
            const float keep = (kept >> (8 * row + 4 * (i % 2)) & 1U) != 0 ? cut.keep_scale : 0.0F;
            given *= keep;
            gradients[i] *= keep;
        }
        products[i] = given;
        gradients[i] = weight * scaled * (gradients[i] - of.delta);
    }
}

/* The same for 16 queries, from `first` on, by the paper's rules. */
template <int Width, bool Drops>
static __device__ __forceinline__ void
rf_walk_differentiate_paper(const rf_attention_cut &cut, const rf_walk_step_view<Width> &view,
                            const rf_walk_paper_view &paper, int first,
                            const rf_walk_key_lane<Width> &own, float (&products)[2][4],
                            float (&gradients)[2][4])
{
    const int row = rf_walk_lane_row();
    const int column = first + static_cast<int>(threadIdx.x) % 4 * 2;
    float lowered[2][4] = {};
    if (cut.corrects && cut.parts > 1) {
        rf_fast_find_times<false, 1, 64>(cut, paper.key_places + row, paper.query_places + column,
                                         lowered);
    }
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int query = column + 8 * n;
        const rf_walk_numbers numbers[2] = {view.numbers[query], view.numbers[query + 1]};
        const int2 tokens = *reinterpret_cast<const int2 *>(&view.tokens[query]);
        const int2 buckets = *reinterpret_cast<const int2 *>(&paper.query_buckets[query]);
        uint32_t kept = 0;
        if constexpr (Drops) {
            kept = rf_walk_draw_kept(cut, tokens, view.first_row,
                                     view.column + static_cast<int>(threadIdx.x) / 32 * 16);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int key = row + i / 2 * 8;
            const rf_walk_numbers &of = numbers[i % 2];
            const int32_t token = rf_fast_of(tokens, i % 2);
            const bool is_met = paper.key_buckets[key] == rf_fast_of(buckets, i % 2);
            const bool is_unseen = own.position[i / 2] > max(token, view.floor);
            const bool is_set = cut.last_resort ? view.key_tokens[key] == token : is_unseen;
            const float scaled = own.factor[i / 2] * cut.scale;
            const float power =
                fmaf(products[n][i], scaled * rf_mma_log2_e, of.minus_norm) - lowered[n][i];
            const float weight = is_unseen || is_set || !is_met ? 0.0F : rf_mma_exp2(power);
            float given = is_set && is_met ? of.set_weight : weight;
            if constexpr (Drops) {
                const bool is_kept = (kept >> (i / 2 * 8 + i % 2 * 4) & 1U) != 0;
                given *= is_kept ? cut.keep_scale : 0.0F;
                gradients[n][i] *= is_kept ? cut.keep_scale : 0.0F;
            }
            products[n][i] = given;
            gradients[n][i] = weight * scaled * (gradients[n][i] - of.delta);
        }
    }
}

/* products [Share / 8][4] = rows [16 of the warp] of `rows` x rows [first, first + Share) of
 * `others`. */
template <int Width, int Share>
static __device__ __forceinline__ void
rf_walk_find_products(typename rf_walk_step_view<Width>::rows rows,
                      typename rf_walk_step_view<Width>::rows others, int first,
                      float (&products)[Share / 8][4])
{
    const int warp_row = static_cast<int>(threadIdx.x) / rf_cuda_warp * 16;
#pragma unroll
    for (int n = 0; n < Share / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            products[n][i] = 0.0F;
        }
    }
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
        uint32_t a[4];
        rf_mma_load_a(a, rows, warp_row, 16 * step);
#pragma unroll
        for (int pair = 0; pair < Share / 16; pair++) {
            uint32_t b[4];
            rf_mma_load_b(b, others, first + 16 * pair, 16 * step);
            rf_mma(products[2 * pair], a, b[0], b[1]);
            rf_mma(products[2 * pair + 1], a, b[2], b[3]);
        }
    }
}

/* Rows of weights as operands of products over the queries. */
template <int Share>
static __device__ __forceinline__ void rf_walk_pack(const float (&weights)[Share / 8][4],
                                                    uint32_t (&packed)[Share / 16][4])
{
#pragma unroll
    for (int pair = 0; pair < Share / 16; pair++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float *two = &weights[2 * pair + i / 2][i % 2 * 2];
            packed[pair][i] = rf_mma_pack(two[0], two[1]);
        }
    }
}

/* sums += packed x rows [first, first + 16 Pairs). */
template <int Width, int Pairs>
static __device__ __forceinline__ void
rf_walk_add_rows(const uint32_t (&packed)[Pairs][4], typename rf_walk_step_view<Width>::rows rows,
                 int first, float (&sums)[Width / 8][4])
{
#pragma unroll
    for (int pair = 0; pair < Pairs; pair++) {
#pragma unroll
        for (int n = 0; n < Width / 16; n++) {
            uint32_t b[4];
            rf_mma_load_b_rows(b, rows, first + 16 * pair, 16 * n);
            rf_mma(sums[2 * n], packed[pair], b[0], b[1]);
            rf_mma(sums[2 * n + 1], packed[pair], b[2], b[3]);
        }
    }
}

/* The warp's keys and queries [first, first + Share) of the tile. */
template <int Width, int Share, bool Drops, bool Paper>
static __device__ __forceinline__ void
rf_walk_differentiate_share(const rf_attention_cut &cut, const rf_walk_step_view<Width> &view,
                            const rf_walk_paper_view &paper, int first,
                            rf_walk_key_lane<Width> &own)
{
    static_assert(Share == rf_walk_group, "groups are passed over whole");
    if constexpr (Paper) {
        if (!rf_walk_meets(cut, paper.key_spans[threadIdx.x / 32], paper.query_spans[first / 16])) {
            return;
        }
        __syncwarp(); /* warp instructions follow what lanes did apart */
    }
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int key = static_cast<int>(threadIdx.x) / rf_cuda_warp * 16 + lane / 4;
    const int query = first + 2 * (lane % 4);
    float weights[Share / 8][4];
    float gradients[Share / 8][4];
    rf_walk_find_products<Width, Share>(view.keys, view.queries, first, weights);
    rf_walk_find_products<Width, Share>(view.values, view.gradients, first, gradients);
    if constexpr (Paper) {
        rf_walk_differentiate_paper<Width, Drops>(cut, view, paper, first, own, weights, gradients);
        __syncwarp();
    }
#pragma unroll
    for (int n = 0; n < Share / 8 && !Paper; n++) {
        if (view.has_rules) {
            rf_walk_differentiate_pairs<Width, Drops, true>(cut, view, query + 8 * n, own,
                                                            weights[n], gradients[n]);
        } else {
            rf_walk_differentiate_pairs<Width, Drops, false>(cut, view, query + 8 * n, own,
                                                             weights[n], gradients[n]);
        }
    }
    uint32_t packed[Share / 16][4];
    rf_walk_pack<Share>(weights, packed);
    rf_walk_add_rows<Width, Share / 16>(packed, view.gradients, first, own.values);
    rf_walk_pack<Share>(gradients, packed);
#pragma unroll
    for (int i = 0; i < Share / 4; i++) { /* rows g and g + 8, 8 queries further, ... */
        *reinterpret_cast<uint32_t *>(&view.score_gradients[key + i % 2 * 8][query + i / 2 * 8]) =
            packed[i / 4][i % 4];
    }
    rf_walk_add_rows<Width, Share / 16>(packed, view.queries, first, own.keys);
}

/* sums [Columns / 8][4] += dS x columns [first, first + Columns) of the keys, a warp 16 queries. */
template <int Width, int Columns, bool Paper>
static __device__ __forceinline__ void
rf_walk_add_keys(const rf_attention_cut &cut, const rf_walk_step_view<Width> &view,
                 const rf_walk_paper_view &paper, int first, float (&sums)[Columns / 8][4])
{
    const __nv_bfloat16(*weights)[rf_walk_tile + 8] = view.score_gradients;
    const int query = static_cast<int>(threadIdx.x) / rf_cuda_warp * 16;
#pragma unroll
    for (int key = 0; key < rf_walk_tile; key += 16) {
        if constexpr (Paper) { /* what no pair wrote is not read */
            __syncwarp();
            if (!rf_walk_meets(cut, paper.key_spans[key / 16], paper.query_spans[query / 16])) {
                continue;
            }
        }
        uint32_t a[4];
        rf_mma_load_a_rows(a, weights, key, query);
#pragma unroll
        for (int n = 0; n < Columns / 16; n++) {
            uint32_t b[4];
            rf_mma_load_b_rows(b, view.keys, key, first + 16 * n);
            rf_mma(sums[2 * n], a, b[0], b[1]);
            rf_mma(sums[2 * n + 1], a, b[2], b[3]);
        }
    }
}

template <int Columns> __device__ __forceinline__ void rf_walk_clear(float (&sums)[Columns][4])
{
#pragma unroll
    for (int n = 0; n < Columns; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            sums[n][i] = 0.0F;
        }
    }
}

/* row . sums of a lane's two rows: found [2]. rows: of the keys' tile. */
template <int Width>
static __device__ __forceinline__ void
rf_walk_find_along(typename rf_walk_step_view<Width>::rows rows, const float (&sums)[Width / 8][4],
                   float (&found)[2])
{
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        found[row] = 0.0F;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            const __nv_bfloat16 *two = &rows[rf_walk_lane_row() + 8 * row][8 * n + column];
            found[row] += sums[n][2 * row] * __bfloat162float(two[0]);
            found[row] += sums[n][2 * row + 1] * __bfloat162float(two[1]);
        }
        found[row] = rf_cuda_warp_sum<4>(found[row]);
    }
}

/* own.keys = factor x g, g the gradient of key = query x factor: pushed through to the query it is
 * factor x (g - (g . key) key). What of own.keys belongs to the query already, by own.along, stays.
 */
template <int Width>
static __device__ __forceinline__ void
rf_walk_push_through_key(typename rf_walk_step_view<Width>::rows rows, rf_walk_key_lane<Width> &own)
{
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    float along[2];
    rf_walk_find_along<Width>(rows, own.keys, along);
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const float factor = own.factor[row];
        const float share = (along[row] - own.along[row]) * factor * factor;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            const __nv_bfloat16 *two = &rows[rf_walk_lane_row() + 8 * row][8 * n + column];
            own.keys[n][2 * row] -= share * __bfloat162float(two[0]);
            own.keys[n][2 * row + 1] -= share * __bfloat162float(two[1]);
        }
    }
}

#endif
