/* Block attention with bf16 queries, keys and values, backward: all parts as one softmax, P = exp(s
 * - norm) recomputed from the merged norm (Kitaev, Kaiser, Levskaya 2020, appendix A; the tiling is
 * that of Dao et al. 2022; fast.cuh says how a list is walked).
 *
 * As in plain_backward.cu, two kernels a part, one part after the other: the first owns queries and
 * sums their gradients, the second owns keys and sums their gradients and those of values; each sum
 * has one owner and one order, without atomics. A warp owns 16 rows and takes 16 entries of the
 * list at a time: two products, P and its gradient in registers, rounded to bf16 as operands of the
 * products that are summed. Gradients are summed in f32 in scratch and rounded at the end.
 *
 * Memory traffic per part and tile of n blocks, in bytes a token: owners 4 x width, gradients 8 or
 * 16 x width (read and written), the list 4 x width for each of n + window - 1 blocks; 14 x width
 * operations a pair. Scratch: two numbers a token and head, and its gradients in f32. */
#include "ops/cuda/block_attention/deltas.cuh"
#include "ops/cuda/block_attention/fast.cuh"

namespace
{

struct backward_call {
    rf_attention_cut cut;
    int32_t part;                                          /* of the owners */
    bool through_key;                                      /* keys are made from queries */
    rf_fast_source queries;                                /* and output gradients */
    rf_fast_source keys;                                   /* and values */
    float *query_gradient, *key_gradient, *value_gradient; /* [batch, length, heads, width] */
    rf_fast_places_source places;
};

template <int Width, int Owners, int Entries, rf_fast_rules Rules>
struct backward_memory : rf_fast_standing<Rules, Owners, Entries> {
    typedef rf_fast_sizes<Width, Owners, Entries> sizes;
    typename sizes::owner_rows first, second; /* queries and output gradients, or keys and values */
    typename sizes::met_rows met_first[2], met_second[2];
    rf_fast_entries<Entries> entries[3];
    rf_fast_entries<Owners> owners;
};

/* Rows g and g + 8 of a warp's 16. */
template <int Width> struct carried {
    static constexpr bool holds =
        Width <= 64;  /* the rows in registers; else they are read again from shared memory */
    int32_t slot[2];  /* counted from the first slot of the tile's first block */
    int32_t begin[2]; /* where their share of the list begins */
    int32_t token[2], position[2], segment[2];
    float factor[2], norm[2], delta[2];
    uint32_t first[holds ? Width / 16 : 1][4], second[holds ? Width / 16 : 1][4];
    float first_sums[Width / 8][4], second_sums[Width / 8][4];
};

/* Where a pair stands: the owner's row of the tile and of the lane's two, the entry's pair and half
 * of it, its place in the list; checks: it may be outside of the row's share; lowered: by the
 * paper's rules its score, times log2 e. */
struct pair_place {
    int index, row, pair, half;
    int32_t place;
    bool checks;
    float lowered;
};

/* The probability of a pair that is met, by the paper's rules; 0 where it does not exist. */
template <int Width, int Owners, int Entries, bool OwnQueries>
__device__ __forceinline__ float
weigh_paper(const rf_attention_cut &cut, const rf_attention_place &at,
            const backward_memory<Width, Owners, Entries, RF_FAST_PAPER> &memory, int step,
            const carried<Width> &own, const pair_place &of, float product)
{
    const rf_fast_entries<Entries> &entries = memory.entries[step % 3];
    const int32_t met = rf_fast_of(entries.tokens[of.pair], of.half);
    const int32_t query = OwnQueries ? own.token[of.row] : met;
    const int32_t key = OwnQueries ? met : own.token[of.row];
    const int32_t position =
        OwnQueries ? rf_fast_of(entries.positions[of.pair], of.half) : own.position[of.row];
    const int32_t part =
        OwnQueries || !cut.wraps_all ? at.part : rf_fast_of(entries.parts[of.pair], of.half);
    const float norm = OwnQueries ? own.norm[of.row] : rf_fast_of(entries.norms[of.pair], of.half);
    const bool exists = rf_fast_of(entries.segments[of.pair], of.half) == own.segment[of.row] &&
                        norm != -INFINITY &&
                        (!cut.same_bucket ||
                         (key >= 0 && memory.owners_at[of.index][part].x ==
                                          memory.met_at[step % 2][2 * of.pair + of.half][part].x));
    float weight = rf_mma_exp2(fmaf(fmaf(product, cut.scale, -norm), rf_mma_log2_e, -of.lowered));
    if (rf_attention_is_set(cut, query, key, position)) {
        const bool is_hidden = cut.last_resort ? key != query : cut.has_zero_rows;
        weight = is_hidden ? 0.0F : rf_paper_set_weight(cut, norm);
    }
    return exists ? weight : 0.0F;
}

/* One pair: product = query . key and gradient = output gradient . value become what the owner's
 * gradient is multiplied with; gives the probability after dropout. */
template <int Width, int Owners, int Entries, bool OwnQueries, rf_fast_rules Rules>
__device__ __forceinline__ float
differentiate_pair(const rf_attention_cut &cut, const rf_attention_place &at,
                   const backward_memory<Width, Owners, Entries, Rules> &memory, int step,
                   const carried<Width> &own, const pair_place &of, float product, float &gradient)
{
    const rf_fast_entries<Entries> &entries = memory.entries[step % 3];
    const int row = of.row;
    const int32_t met = rf_fast_of(entries.tokens[of.pair], of.half);
    const int32_t query = OwnQueries ? own.token[row] : met;
    const int32_t key = OwnQueries ? met : own.token[row];
    const int32_t position =
        OwnQueries ? rf_fast_of(entries.positions[of.pair], of.half) : own.position[row];
    const float factor =
        OwnQueries ? rf_fast_of(entries.factors[of.pair], of.half) : own.factor[row];
    const float norm = OwnQueries ? own.norm[row] : rf_fast_of(entries.norms[of.pair], of.half);
    const float delta = OwnQueries ? own.delta[row] : rf_fast_of(entries.deltas[of.pair], of.half);
    const int32_t column = of.place - own.begin[row];
    const bool is_met = query >= 0 && key != rf_attention_absent &&
                        (!of.checks || (column >= 0 && column < cut.window * cut.block)) &&
                        (Rules != RF_FAST_SEGMENTS ||
                         rf_fast_of(entries.segments[of.pair], of.half) == own.segment[row]);
    float weight = 0.0F;
    if constexpr (Rules == RF_FAST_PAPER) {
        if (is_met) {
            weight = weigh_paper<Width, Owners, Entries, OwnQueries>(cut, at, memory, step, own, of,
                                                                     product * factor);
        }
    } else {
        weight = __expf(rf_attention_score(cut, product * factor, query, key, position) - norm);
        weight = is_met ? weight : 0.0F;
    }
    float keep = 1.0F;
    if (cut.drops && weight != 0.0F) {
        const int32_t part = OwnQueries ? at.part : rf_fast_of(entries.parts[of.pair], of.half);
        const int32_t of_window =
            OwnQueries ? column
                       : own.slot[row] + (cut.window - 1 - of.place / cut.block) * cut.block;
        keep = rf_attention_keep(cut, at, part, query, of_window);
    }
    const float along =
        cut.scale * (weight * (gradient * keep - delta)) * (OwnQueries ? factor : 1.0F);
    gradient = is_met && !rf_attention_is_set(cut, query, key, position) ? along : 0.0F;
    return weight * keep;
}

/* Columns [16 step, 16 step + 16) of the warp's rows, as they are held or from shared memory. */
template <int Width, int Held, int Stride>
__device__ __forceinline__ void find_rows(const uint32_t (&held)[Held][4],
                                          const __nv_bfloat16 (*rows)[Stride], int step,
                                          uint32_t (&a)[4])
{
    if constexpr (carried<Width>::holds) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] = held[step][i];
        }
    } else {
        rf_mma_load_a(a, rows, static_cast<int>(threadIdx.x) / 32 * 16, 16 * step);
    }
}

/* Products of the warp's rows with 16 entries: of `first` rows, and of `second` rows. */
template <int Width, int Owners, int Entries, rf_fast_rules Rules>
__device__ __forceinline__ void
find_products(const backward_memory<Width, Owners, Entries, Rules> &memory,
              const carried<Width> &own, int buffer, int first_entry, float (&products)[2][4],
              float (&gradients)[2][4])
{
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
        uint32_t a[4];
        uint32_t b[4];
        find_rows<Width>(own.first, memory.first, step, a);
        rf_mma_load_b(b, memory.met_first[buffer], first_entry, 16 * step);
        rf_mma(products[0], a, b[0], b[1]);
        rf_mma(products[1], a, b[2], b[3]);
        find_rows<Width>(own.second, memory.second, step, a);
        rf_mma_load_b(b, memory.met_second[buffer], first_entry, 16 * step);
        rf_mma(gradients[0], a, b[0], b[1]);
        rf_mma(gradients[1], a, b[2], b[3]);
    }
}

/* sums += weights [16, 16] x rows [16, Width] from row `first` on. */
template <int Width, int Stride>
__device__ __forceinline__ void add_rows(const float (&weights)[2][4],
                                         const __nv_bfloat16 (*rows)[Stride], int first,
                                         float (&sums)[Width / 8][4])
{
    const uint32_t a[4] = {
        rf_mma_pack(weights[0][0], weights[0][1]), rf_mma_pack(weights[0][2], weights[0][3]),
        rf_mma_pack(weights[1][0], weights[1][1]), rf_mma_pack(weights[1][2], weights[1][3])};
#pragma unroll
    for (int n = 0; n < Width / 16; n++) {
        uint32_t b[4];
        rf_mma_load_b_rows(b, rows, first, 16 * n);
        rf_mma(sums[2 * n], a, b[0], b[1]);
        rf_mma(sums[2 * n + 1], a, b[2], b[3]);
    }
}

/* A step of the list, 16 entries at a time. first: its first entry. */
template <int Width, int Owners, int Entries, bool OwnQueries, rf_fast_rules Rules>
__device__ __forceinline__ void
differentiate_step(const rf_attention_cut &cut, const rf_attention_place &at,
                   const backward_memory<Width, Owners, Entries, Rules> &memory, int step,
                   int32_t first, const rf_fast_window &window, uint32_t groups,
                   carried<Width> &own)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int index =
        static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll 1
    for (int entry = 0; entry < Entries; entry += 16) {
        const int32_t place = first + entry;
        if (place >= window.end || place + 16 <= window.begin ||
            (Rules == RF_FAST_PAPER && (groups >> entry / 16 & 1U) == 0)) {
            continue;
        }
        const bool checks = place < window.inner_begin || place + 16 > window.inner_end;
        float products[2][4] = {};
        float gradients[2][4] = {};
        __syncwarp(); /* warp instructions follow what lanes did apart */
        find_products(memory, own, step % 2, entry, products, gradients);
        float lowered[2][4] = {};
        if constexpr (Rules == RF_FAST_PAPER) {
            rf_fast_find_lowered<OwnQueries>(cut, memory.owners_at[index],
                                             memory.met_at[step % 2][entry + 2 * quarter], lowered);
        }
#pragma unroll
        for (int n = 0; n < 2; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int pair = entry / 2 + 4 * n + quarter;
                const pair_place of = {index + i / 2 * 8,        i / 2,  pair,         i % 2,
                                       first + 2 * pair + i % 2, checks, lowered[n][i]};
                products[n][i] = differentiate_pair<Width, Owners, Entries, OwnQueries, Rules>(
                    cut, at, memory, step, own, of, products[n][i], gradients[n][i]);
            }
        }
        __syncwarp();
        if constexpr (!OwnQueries) {
            add_rows<Width>(products, memory.met_second[step % 2], entry, own.second_sums);
        }
        add_rows<Width>(gradients, memory.met_first[step % 2], entry, own.first_sums);
    }
}

/* The gradient of key = query x factor, pushed through to the query: factor (g - (g . key) key).
 * Row `row` of the two, `index` of the tile. */
template <int Width, int Stride>
__device__ __forceinline__ void push_through_key(const __nv_bfloat16 (*queries)[Stride], int index,
                                                 int row, carried<Width> &own)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const float factor = own.factor[row];
    float along = 0.0F;
#pragma unroll
    for (int n = 0; n < Width / 8; n++) {
        along += own.first_sums[n][2 * row] * __bfloat162float(queries[index][8 * n + 2 * quarter]);
        along += own.first_sums[n][2 * row + 1] *
                 __bfloat162float(queries[index][8 * n + 2 * quarter + 1]);
    }
    along = rf_cuda_warp_sum<4>(along) * factor *
            factor; /* (g . key) x factor: key = query x factor twice */
#pragma unroll
    for (int n = 0; n < Width / 8; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float &sum = own.first_sums[n][2 * row + i];
            sum =
                factor * (sum - along * __bfloat162float(queries[index][8 * n + 2 * quarter + i]));
        }
    }
}

template <int Width, int Owners, int Entries, bool OwnQueries, rf_fast_rules Rules>
__device__ __forceinline__ void
write_gradients(const backward_call &call, const rf_attention_place &at,
                const backward_memory<Width, Owners, Entries, Rules> &memory, carried<Width> &own)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const bool through_key = !OwnQueries && call.through_key;
    const bool adds = call.part > 0;
    float *to_first = OwnQueries || through_key ? call.query_gradient : call.key_gradient;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        if (through_key) {
            push_through_key<Width>(memory.first, own.slot[row] - at.first_row, row, own);
        }
        if (own.token[row] < 0) {
            continue;
        }
        const int64_t start = rf_attention_row(call.cut, at, own.token[row]) + 2 * quarter;
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            if (8 * n < call.cut.width) { /* a multiple of 8 */
                rf_attention_put(to_first + start + 8 * n, own.first_sums[n][2 * row],
                                 own.first_sums[n][2 * row + 1], adds || through_key);
                if constexpr (!OwnQueries) {
                    rf_attention_put(call.value_gradient + start + 8 * n,
                                     own.second_sums[n][2 * row], own.second_sums[n][2 * row + 1],
                                     adds);
                }
            }
        }
    }
}

/* The tile of this thread block, its owners, and the first steps of its list on their way. Gives
 * the owners' last token if they are queries, the first if keys. */
template <int Width, int Owners, int Entries, bool OwnQueries, rf_fast_rules Rules>
__device__ __forceinline__ int32_t
begin_tile(const backward_call &call, rf_attention_place &at, rf_fast_share &share,
           backward_memory<Width, Owners, Entries, Rules> &memory)
{
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    const rf_attention_cut &cut = call.cut;
    const rf_fast_source &own = OwnQueries ? call.queries : call.keys;
    const rf_fast_source &met = OwnQueries ? call.keys : call.queries;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t index = blockIdx.x / cut.tiles; /* (batch, head) */
    at.part = call.part;
    at.head = index % cut.heads;
    at.batch = index / cut.heads;
    rf_attention_find_tile(cut, static_cast<int32_t>(blockIdx.x % cut.tiles), Owners, at);
    if (thread < Owners) {
        rf_fast_note(rf_fast_entry_of(cut, at, own, rf_attention_owner(cut, at, thread)), thread,
                     memory.owners);
    }
    share = rf_fast_share_of<Rules, OwnQueries>(cut, at);
    __syncthreads();
    const int32_t *tokens = rf_fast_tokens(memory.owners);
    int32_t bound = OwnQueries ? rf_attention_empty : rf_attention_unseen;
    for (int row = 0; row < Owners; row++) {
        bound = OwnQueries         ? max(bound, tokens[row])
                : tokens[row] >= 0 ? min(bound, tokens[row])
                                   : bound;
    }
    if (thread < Entries) {
        const int32_t entry = share.first + thread;
        rf_fast_note(rf_fast_look_up<OwnQueries>(cut, at, met, bound, entry), thread,
                     memory.entries[0]);
        rf_fast_note(rf_fast_look_up<OwnQueries>(cut, at, met, bound, Entries + entry), thread,
                     memory.entries[1]);
    }
    rf_fast_copy<threads, Owners, Width / 8>(cut, at, own.first, tokens, memory.first);
    rf_fast_copy<threads, Owners, Width / 8>(cut, at, own.second, tokens, memory.second);
    __syncthreads();
    rf_fast_copy<threads, Entries, Width / 8>(cut, at, met.first, rf_fast_tokens(memory.entries[0]),
                                              memory.met_first[0]);
    rf_fast_copy<threads, Entries, Width / 8>(
        cut, at, met.second, rf_fast_tokens(memory.entries[0]), memory.met_second[0]);
    if constexpr (Rules == RF_FAST_PAPER) {
        rf_fast_copy_places<threads, Owners>(cut, at, call.places, tokens, memory.owners_at);
        rf_fast_copy_places<threads, Entries>(cut, at, call.places,
                                              rf_fast_tokens(memory.entries[0]), memory.met_at[0]);
    }
    return bound;
}

/* This lane's rows, once the owners' rows are there. */
template <int Width, int Owners, int Entries, rf_fast_rules Rules>
__device__ __forceinline__ void
begin_rows(const rf_attention_cut &cut, const rf_attention_place &at,
           const backward_memory<Width, Owners, Entries, Rules> &memory, carried<Width> &own)
{
    const int first = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int index = first + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * row;
        own.slot[row] = at.first_row + index;
        own.begin[row] = own.slot[row] / cut.block * cut.block;
        own.token[row] = reinterpret_cast<const int32_t *>(memory.owners.tokens)[index];
        own.position[row] = reinterpret_cast<const int32_t *>(memory.owners.positions)[index];
        own.segment[row] = reinterpret_cast<const int32_t *>(memory.owners.segments)[index];
        own.factor[row] = reinterpret_cast<const float *>(memory.owners.factors)[index];
        own.norm[row] = reinterpret_cast<const float *>(memory.owners.norms)[index];
        own.delta[row] = reinterpret_cast<const float *>(memory.owners.deltas)[index];
    }
    if constexpr (carried<Width>::holds) {
#pragma unroll
        for (int step = 0; step < Width / 16; step++) {
            rf_mma_load_a(own.first[step], memory.first, first, 16 * step);
            rf_mma_load_a(own.second[step], memory.second, first, 16 * step);
        }
    }
#pragma unroll
    for (int n = 0; n < Width / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            own.first_sums[n][i] = 0.0F;
            own.second_sums[n][i] = 0.0F;
        }
    }
}

template <int Width, int Owners, int Entries, bool OwnQueries, rf_fast_rules Rules>
__global__ void __launch_bounds__(2 * Owners, Width > 64 ? 2 : 3)
    differentiate_fast(const backward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef backward_memory<Width, Owners, Entries, Rules> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    const rf_attention_cut &cut = call.cut;
    const rf_fast_source &met = OwnQueries ? call.keys : call.queries;
    const int thread = static_cast<int>(threadIdx.x);
    rf_attention_place at = {};
    carried<Width> own;
    rf_fast_share share;
    rf_fast_reach reach = {};
    const int32_t bound = begin_tile<Width, Owners, Entries, OwnQueries>(call, at, share, memory);
    const rf_fast_window window = rf_fast_window_of(cut, at, thread / 32 * 16);
    if (Rules == RF_FAST_PAPER && share.first >= share.end) {
        rf_copy_wait();
        return; /* no tokens */
    }
    for (int32_t first = share.first, step = 0; first < share.end; first += Entries, step++) {
        rf_copy_wait();
        __syncthreads(); /* this step is there, and the one before is read */
        if (step == 0) {
            begin_rows(cut, at, memory, own);
            if constexpr (Rules == RF_FAST_PAPER) {
                const int row = thread / 32 * 16;
                reach = rf_fast_find_reach<OwnQueries>(
                    cut, at.part, rf_fast_tokens(memory.owners) + row, memory.owners_at + row);
            }
        }
        rf_fast_entry ahead = {};
        if (first + Entries < share.end) {
            const int32_t *tokens = rf_fast_tokens(memory.entries[(step + 1) % 3]);
            rf_fast_copy<threads, Entries, Width / 8>(cut, at, met.first, tokens,
                                                      memory.met_first[(step + 1) % 2]);
            rf_fast_copy<threads, Entries, Width / 8>(cut, at, met.second, tokens,
                                                      memory.met_second[(step + 1) % 2]);
            if constexpr (Rules == RF_FAST_PAPER) {
                rf_fast_copy_places<threads, Entries>(cut, at, call.places, tokens,
                                                      memory.met_at[(step + 1) % 2]);
            }
            if (thread < Entries) {
                ahead =
                    rf_fast_look_up<OwnQueries>(cut, at, met, bound, first + 2 * Entries + thread);
            }
        }
        uint32_t groups = 0;
        if constexpr (Rules == RF_FAST_PAPER) {
            groups = rf_fast_find_groups<Entries, OwnQueries>(
                cut, at.part, reach, rf_fast_tokens(memory.entries[step % 3]),
                memory.met_at[step % 2]);
        }
        differentiate_step<Width, Owners, Entries, OwnQueries, Rules>(cut, at, memory, step, first,
                                                                      window, groups, own);
        if (thread < Entries) {
            rf_fast_note(ahead, thread, memory.entries[(step + 2) % 3]);
        }
    }
    write_gradients<Width, Owners, Entries, OwnQueries>(call, at, memory, own);
}

/* Where scratch is cut. */
struct scratch_cut {
    size_t factors, places, size;                           /* offsets; deltas come first */
    rf_tensor query_gradient, value_gradient, key_gradient; /* in f32 */
};

scratch_cut cut_scratch(const rf_block_attention_backward *backward, void *scratch)
{
    const rf_attention_plan *plan = &backward->plan;
    const size_t rows = static_cast<size_t>(plan->batch * plan->length * plan->heads);
    scratch_cut cut = {};
    cut.factors = rf_cuda_align(rows * sizeof(float));
    cut.places = cut.factors + (plan->normalise_keys ? rf_cuda_align(rows * sizeof(float)) : 0);
    cut.size =
        cut.places + (rf_fast_rules_of(plan) == RF_FAST_PAPER ? rf_fast_places_size(plan) : 0);
    cut.query_gradient = rf_attention_room(&backward->query_gradient, scratch, &cut.size);
    cut.value_gradient = rf_attention_room(&backward->value_gradient, scratch, &cut.size);
    if (!plan->normalise_keys) {
        cut.key_gradient = rf_attention_room(&backward->key_gradient, scratch, &cut.size);
    }
    return cut;
}

backward_call call_of(const rf_block_attention_backward *backward, void *scratch, int32_t tile)
{
    const scratch_cut parts = cut_scratch(backward, scratch);
    const bool through_key = backward->plan.normalise_keys;
    char *memory = static_cast<char *>(scratch);
    backward_call call = {};
    call.cut = rf_attention_cut_of(&backward->plan, backward->query.shape[3], tile);
    call.through_key = through_key;
    call.queries.first = static_cast<const __nv_bfloat16 *>(backward->query.data);
    call.queries.second = static_cast<const __nv_bfloat16 *>(backward->output_gradient.data);
    call.queries.norms = static_cast<const float *>(backward->norm.data);
    call.queries.deltas = reinterpret_cast<const float *>(memory);
    call.keys.first =
        through_key ? call.queries.first : static_cast<const __nv_bfloat16 *>(backward->key.data);
    call.keys.second = static_cast<const __nv_bfloat16 *>(backward->value.data);
    call.keys.factors =
        through_key ? reinterpret_cast<const float *>(memory + parts.factors) : nullptr;
    call.query_gradient = static_cast<float *>(parts.query_gradient.data);
    call.key_gradient = static_cast<float *>(parts.key_gradient.data);
    call.value_gradient = static_cast<float *>(parts.value_gradient.data);
    return call;
}

/* Numbers of each token and head, to scratch. */
rf_status prepare(rf_device *device, const rf_block_attention_backward *backward,
                  const backward_call &call, void *scratch, rf_error *error)
{
    const cudaStream_t stream = rf_cuda_stream(device);
    const int64_t rows = call.cut.batch * call.cut.length * call.cut.heads;
    rf_fast_find_deltas<<<rf_cuda_grid(device, rows * rf_cuda_warp, rf_cuda_threads),
                          rf_cuda_threads, 0, stream>>>(
        call.cut, static_cast<const __nv_bfloat16 *>(backward->output.data), call.queries.second,
        static_cast<float *>(scratch));
    if (call.through_key) {
        RF_TRY(rf_fast_find_factors(device, &call.cut, call.queries.first,
                                    const_cast<float *>(call.keys.factors), error));
    }
    return rf_cuda_launched(device, "block_attention_backward", error);
}

/* The sums in scratch become the caller's gradients. */
rf_status round_gradients(rf_device *device, const rf_block_attention_backward *backward,
                          void *scratch, rf_error *error)
{
    const scratch_cut sums = cut_scratch(backward, scratch);
    if (!backward->plan.normalise_keys) {
        RF_TRY(rf_attention_convert(device, &sums.key_gradient, &backward->key_gradient, error));
    }
    RF_TRY(rf_attention_convert(device, &sums.query_gradient, &backward->query_gradient, error));
    return rf_attention_convert(device, &sums.value_gradient, &backward->value_gradient, error);
}

template <int Width, int Owners, int Entries, rf_fast_rules Rules>
rf_status run(rf_device *device, const rf_block_attention_backward *backward, void *scratch,
              rf_error *error)
{
    const rf_attention_plan *plan = &backward->plan;
    RF_TRY(rf_attention_check_limits("block_attention_backward", plan, backward->query.shape[3],
                                     Owners, error));
    const rf_tensor *tensors[] = {&backward->query,           &backward->key,
                                  &backward->value,           &backward->output,
                                  &backward->output_gradient, &backward->query_gradient,
                                  &backward->key_gradient,    &backward->value_gradient};
    RF_TRY(rf_fast_check_aligned("block_attention_backward", tensors, 8, error));
    backward_call call = call_of(backward, scratch, Owners);
    const int64_t blocks = plan->batch * plan->heads * call.cut.tiles;
    if (blocks == 0) {
        return RF_OK;
    }
    RF_TRY(prepare(device, backward, call, scratch, error));
    if constexpr (Rules == RF_FAST_PAPER) {
        call.places = rf_fast_find_places(device, plan, &call.cut,
                                          static_cast<char *>(scratch) +
                                              cut_scratch(backward, scratch).places);
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    constexpr int threads = rf_fast_sizes<Width, Owners, Entries>::threads;
    constexpr size_t size = sizeof(backward_memory<Width, Owners, Entries, Rules>);
    constexpr cudaFuncAttribute most = cudaFuncAttributeMaxDynamicSharedMemorySize;
    const auto of_queries = differentiate_fast<Width, Owners, Entries, true, Rules>;
    const auto of_keys = differentiate_fast<Width, Owners, Entries, false, Rules>;
    RF_TRY(rf_cuda_status(device, cudaFuncSetAttribute(of_queries, most, size),
                          "block_attention_backward", error));
    RF_TRY(rf_cuda_status(device, cudaFuncSetAttribute(of_keys, most, size),
                          "block_attention_backward", error));
    for (int64_t part = 0; part < plan->parts; part++) {
        call.part = static_cast<int32_t>(part);
        of_queries<<<static_cast<unsigned>(blocks), threads, size, stream>>>(call);
        of_keys<<<static_cast<unsigned>(blocks), threads, size, stream>>>(call);
    }
    RF_TRY(rf_cuda_launched(device, "block_attention_backward", error));
    return round_gradients(device, backward, scratch, error);
}

} // namespace

size_t rf_fast_backward_scratch_size(const rf_block_attention_backward *backward)
{
    return cut_scratch(backward, nullptr).size;
}

template <rf_fast_rules Rules>
static rf_status run_for_width(rf_device *device, const rf_block_attention_backward *backward,
                               void *scratch, rf_error *error)
{
    const int64_t width = backward->query.shape[3];
    if (width <= 32) {
        return run<32, 64, 64, Rules>(device, backward, scratch, error);
    }
    return width <= 64 ? run<64, 64, 64, Rules>(device, backward, scratch, error)
                       : run<128, 64, 32, Rules>(device, backward, scratch, error);
}

rf_status rf_fast_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error)
{
    switch (rf_fast_rules_of(&backward->plan)) {
    case RF_FAST_PLAIN:
        return run_for_width<RF_FAST_PLAIN>(device, backward, scratch, error);
    case RF_FAST_SEGMENTS:
        return run_for_width<RF_FAST_SEGMENTS>(device, backward, scratch, error);
    default:
        return run_for_width<RF_FAST_PAPER>(device, backward, scratch, error);
    }
}
