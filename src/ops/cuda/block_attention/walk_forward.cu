/* Block attention with bf16 queries, keys, values and outputs, forward, for plans of one block
 * before and none after, in blocks of whole tiles of 64 slots (Kitaev, Kaiser, Levskaya 2020,
 * section 2; the softmax on line is that of Dao et al. 2022). Products of bf16 with f32 sums on the
 * tensor cores, softmax in f32.
 *
 * A thread block walks a run of consecutive blocks of a part (walk.cuh), whose tokens, key
 * positions and key factors it lists beforehand. Query tiles, one or two of a block at a time, stay
 * in registers, a warp 16 queries, with their maximum, sum and weighted values, and meet the key
 * tiles of the block before and of their own, while the next key tile is on its way. Where a block
 * is one tile, three tiles stand in shared memory: each is copied once a run, and is the queries'
 * tile too where keys are made from them. A key that is made from a query is the query's own row:
 * its score is multiplied by its factor. Weights are rounded to bf16 for their product only, and
 * values are multiplied by exp(m - log_norm) at the end, never divided by the sum.
 *
 * Memory traffic, in bytes a token, head and part: 4 x width read where a block is one tile and
 * queries are keys, 2 x width more else; keys and values again from the cache for every further
 * query tiles of a block; 2 x width written. 4 x width operations a pair. */
#include "ops/cuda/block_attention/walk_tiles.cuh"

namespace
{

struct forward_call {
    rf_attention_cut cut;
    rf_walk_runs runs;
    bool shared;                              /* keys are made from queries */
    const __nv_bfloat16 *query, *key, *value; /* [batch, length, heads, width] */
    const float *factors;  /* [batch, heads, length]: key = query x factor; NULL: 1 */
    __nv_bfloat16 *output; /* [batch, parts, length, heads, width] */
    float *log_norm;       /* [batch, heads, parts, length] */
};

/* Groups of four warps have a query tile each. Carries: a block is one tile. */
template <int Width, int Groups, bool Carries> struct forward_memory {
    static constexpr int threads = rf_walk_threads * Groups;
    static constexpr int slots = Carries ? 3 : 2;      /* of key tiles */
    static constexpr int list = Carries ? 1024 : 1280; /* slots of a run, with the block before */
    typedef __nv_bfloat16 rows[rf_walk_tile][Width + 8];
    rows keys[slots], values[slots];
    rf_walk_run run;
    int2 tokens[list / 2], positions[list / 2]; /* in pairs, as a lane has them of a product */
    float2 factors[list / 2];                   /* score = query . key row x factor */
    int32_t first_tokens[list / rf_walk_tile], last_tokens[list / rf_walk_tile];
};

/* Rows g and g + 8 of a warp's 16: what their four lanes carry from key tile to key tile. */
template <int Width> struct carried {
    int32_t token[2];
    float maximum[2];
    float sum[2]; /* over this lane's columns only */
    uint32_t rows[Width / 16][4];
    float values[Width / 8][4];
};

/* A query tile and a key tile of the list that meet. */
struct met_tiles {
    int32_t query, key;
    bool has_rules;    /* a rule may set a score to another number than -infinity */
    int64_t first_row; /* of dropout: of the part */
    int32_t column;    /* of dropout: of the tile's first key, in the window of its queries */
};

__device__ __forceinline__ met_tiles meet(const rf_attention_cut &cut, const rf_walk_run &run,
                                          int32_t query, int32_t key)
{
    const int32_t block = key / cut.block_tiles;
    const bool may_be_same = query == key || rf_walk_part(run, block) != run.at.part;
    const int64_t head =
        (cut.first_sample + run.at.batch) * cut.all_heads + cut.first_head + run.at.head;
    met_tiles met;
    met.query = query;
    met.key = key;
    met.has_rules = cut.last_resort ? may_be_same : !cut.may_skip;
    met.first_row = (head * cut.parts + run.at.part) * cut.length;
    met.column =
        key % cut.block_tiles * rf_walk_tile + (block == query / cut.block_tiles ? cut.block : 0);
    return met;
}

/* The tokens of a run's list and what they are as keys, into shared memory; ends with a barrier. */
template <int Width, int Groups, bool Carries>
__device__ __forceinline__ void list_run(const forward_call &call, const rf_walk_run &run,
                                         int32_t before,
                                         forward_memory<Width, Groups, Carries> &memory)
{
    constexpr int threads = forward_memory<Width, Groups, Carries>::threads;
    const rf_attention_cut &cut = call.cut;
    const int32_t own = run.at.part * cut.part_blocks + run.at.first_block - 1;
    const int32_t *tokens = reinterpret_cast<const int32_t *>(memory.tokens);
#pragma unroll 4
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < (run.at.blocks + 1) * cut.block;
         i += threads) {
        const int32_t block = i / cut.block;
        const int32_t number = block == 0 ? before : own + block;
        rf_attention_slot slot = {rf_attention_empty, rf_attention_unseen, 0};
        if (number >= 0) {
            const int64_t first = static_cast<int64_t>(number % cut.part_blocks) * cut.block;
            slot =
                rf_attention_slot_of(cut, run.at, number / cut.part_blocks, first + i % cut.block);
        }
        const float factor = call.factors != nullptr && slot.token >= 0
                                 ? call.factors[run.first_number + slot.token]
                                 : 1.0F;
        reinterpret_cast<int32_t *>(memory.tokens)[i] = slot.token;
        reinterpret_cast<int32_t *>(memory.positions)[i] = slot.position;
        reinterpret_cast<float *>(memory.factors)[i] = factor * cut.scale;
    }
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int32_t tiles = (run.at.blocks + 1) * cut.block_tiles;
    for (int32_t tile = static_cast<int32_t>(threadIdx.x) / rf_cuda_warp; tile < tiles;
         tile += threads / rf_cuda_warp) {
        const int32_t one = tokens[tile * rf_walk_tile + lane];
        const int32_t other = tokens[tile * rf_walk_tile + rf_cuda_warp + lane];
        const int32_t first =
            min(one >= 0 ? one : rf_attention_unseen, other >= 0 ? other : rf_attention_unseen);
        memory.last_tokens[tile] = rf_cuda_warp_max(max(one, other));
        memory.first_tokens[tile] = -rf_cuda_warp_max(-first);
    }
    __syncthreads();
}

/* The run of this thread block. */
template <int Width, int Groups, bool Carries>
__device__ __forceinline__ void begin_run(const forward_call &call,
                                          forward_memory<Width, Groups, Carries> &memory)
{
    const rf_attention_cut &cut = call.cut;
    rf_walk_run run = {};
    rf_attention_place &at = run.at;
    const int32_t index = static_cast<int32_t>(blockIdx.x);
    const int32_t sequence = index / call.runs.count; /* (batch, head, part) */
    at.first_block = index % call.runs.count * call.runs.blocks;
    at.blocks = min(call.runs.blocks, cut.part_blocks - at.first_block);
    at.part = static_cast<int32_t>(sequence % cut.parts);
    at.head = sequence / cut.parts % cut.heads;
    at.batch = sequence / cut.parts / cut.heads;
    const int32_t before = rf_attention_block_at(cut, at.part, at.first_block, -1);
    run.first_key = before >= 0 ? 0 : 1;
    run.part_before = before / cut.part_blocks;
    run.first_element = rf_attention_row(cut, at, 0);
    run.first_number = (at.batch * cut.heads + at.head) * cut.length;
    if (threadIdx.x == 0) {
        memory.run = run;
    }
    list_run(call, run, before, memory);
}

/* Begin to copy a key tile of the list to slot `slot`. */
template <int Width, int Groups, bool Carries>
__device__ __forceinline__ void copy_keys(const forward_call &call, int32_t tile, int slot,
                                          forward_memory<Width, Groups, Carries> &memory)
{
    constexpr int threads = forward_memory<Width, Groups, Carries>::threads;
    const int32_t *tokens = reinterpret_cast<const int32_t *>(memory.tokens) + tile * rf_walk_tile;
    rf_walk_copy_rows<Width, threads>(call.cut, memory.run, tokens, call.key, call.value,
                                      memory.keys[slot], memory.values[slot]);
}

/* The first of this lane's two rows of its group's tile; the other is 8 further. */
__device__ __forceinline__ int lane_row()
{
    return rf_walk_lane_row() % rf_walk_tile;
}

/* A query tile begins: the lane's rows, and nothing met. rows: the tile in shared memory, or NULL:
 * they come from global memory. is_there: false where a block has no such tile. */
template <int Width, int Groups, bool Carries>
__device__ __forceinline__ void
begin_queries(const forward_call &call, const forward_memory<Width, Groups, Carries> &memory,
              int32_t tile, bool is_there, const __nv_bfloat16 (*rows)[Width + 8],
              carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const int32_t *tokens = reinterpret_cast<const int32_t *>(memory.tokens) + tile * rf_walk_tile;
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const __nv_bfloat16 *from[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int32_t token = is_there ? tokens[lane_row() + 8 * row] : rf_attention_empty;
        own.token[row] = token;
        own.maximum[row] = -INFINITY;
        own.sum[row] = 0.0F;
        from[row] = call.query + memory.run.first_element +
                    static_cast<int64_t>(max(token, 0)) * cut.heads * cut.width + column;
    }
    __syncwarp(); /* warp instructions follow what lanes did apart */
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
        if (rows != nullptr) {
            rf_mma_load_a(own.rows[step], rows, static_cast<int>(threadIdx.x) / 32 % 4 * 16,
                          16 * step);
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int first = 16 * step + i / 2 * 8;
            own.rows[step][i] = first < cut.width && own.token[i % 2] >= 0
                                    ? __ldg(reinterpret_cast<const uint32_t *>(from[i % 2] + first))
                                    : 0;
        }
    }
    rf_walk_clear(own.values);
}

/* scores [8][4] = the warp's queries x a key tile. */
template <int Width>
__device__ __forceinline__ void find_products(const carried<Width> &own,
                                              const __nv_bfloat16 (*keys)[Width + 8],
                                              float (&products)[rf_walk_tile / 8][4])
{
    rf_walk_clear(products);
#pragma unroll
    for (int pair = 0; pair < rf_walk_tile / 16; pair++) {
#pragma unroll
        for (int step = 0; step < Width / 16; step++) {
            uint32_t b[4];
            rf_mma_load_b(b, keys, 16 * pair, 16 * step);
            rf_mma(products[2 * pair], own.rows[step], b[0], b[1]);
            rf_mma(products[2 * pair + 1], own.rows[step], b[2], b[3]);
        }
    }
}

/* Products become scores; highest [2] of the two rows, so far. first: pair of the list. */
template <int Width, int Groups, bool Carries, bool HasRules>
__device__ __forceinline__ void
find_scores(const rf_attention_cut &cut, const forward_memory<Width, Groups, Carries> &memory,
            int first, const carried<Width> &own, float (&scores)[rf_walk_tile / 8][4],
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
 * Where a rule set scores, differences come first: multiples of -1e9 have no digits to lose. */
template <int Width, bool HasRules>
__device__ __forceinline__ void weigh_scores(const float (&highest)[2], carried<Width> &own,
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
__device__ __forceinline__ uint32_t draw_kept(const rf_attention_cut &cut, const met_tiles &met,
                                              const int32_t (&tokens)[2])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int64_t row = met.first_row + (quarter < 2 ? tokens[0] : tokens[1]);
    const int64_t index =
        row * (static_cast<int64_t>(cut.window) * cut.block) + met.column + quarter % 2 * 4;
    uint32_t all = 0;
#pragma unroll 1
    for (int n = 0; n < rf_walk_tile / 8; n++) {
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

/* The warp's queries meet the key tile that stands in slot `slot`. */
template <int Width, int Groups, bool Carries, bool Drops>
__device__ __forceinline__ void attend(const rf_attention_cut &cut,
                                       const forward_memory<Width, Groups, Carries> &memory,
                                       const met_tiles &met, int slot, carried<Width> &own)
{
    if (cut.causal && cut.may_skip &&
        memory.first_tokens[met.key] > memory.last_tokens[met.query]) {
        return; /* no pair weighs more than 0 */
    }
    const int first = met.key * (rf_walk_tile / 2) + static_cast<int>(threadIdx.x) % 4;
    const uint32_t kept = Drops ? draw_kept(cut, met, own.token) : 0;
    float scores[rf_walk_tile / 8][4];
    float highest[2];
    __syncwarp(); /* warp instructions follow what lanes did apart */
    find_products<Width>(own, memory.keys[slot], scores);
    if (met.has_rules) {
        find_scores<Width, Groups, Carries, true>(cut, memory, first, own, scores, highest);
        weigh_scores<Width, true>(highest, own, scores);
    } else {
        find_scores<Width, Groups, Carries, false>(cut, memory, first, own, scores, highest);
        weigh_scores<Width, false>(highest, own, scores);
    }
    if constexpr (Drops) {
#pragma unroll
        for (int i = 0; i < rf_walk_tile / 2; i++) {
            scores[i / 4][i % 4] *= (kept >> i & 1U) != 0 ? cut.keep_scale : 0.0F;
        }
    }
    uint32_t packed[rf_walk_tile / 16][4];
    rf_walk_pack<rf_walk_tile>(scores, packed);
    rf_walk_add_rows<Width, rf_walk_tile / 16>(packed, memory.values[slot], 0, own.values);
}

/* A query tile has met all that it meets. */
template <int Width>
__device__ __forceinline__ void write_queries(const forward_call &call,
                                              const rf_attention_place &at, carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const int64_t first = ((at.batch * cut.heads + at.head) * cut.parts + at.part) * cut.length;
    const int64_t sample = cut.length * cut.heads * cut.width;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const float sum = rf_cuda_warp_sum<4>(own.sum[row]);
        const float log_norm = __fadd_rn(own.maximum[row], logf(sum)); /* rounded once */
        const float factor = expf(own.maximum[row] - log_norm);
        if (own.token[row] >= 0 && threadIdx.x % 4 == 0) {
            call.log_norm[first + own.token[row]] = log_norm;
        }
#pragma unroll
        for (int n = 0; n < Width / 8; n++) {
            own.values[n][2 * row] *= factor;
            own.values[n][2 * row + 1] *= factor;
        }
    }
    rf_walk_write<Width / 8>(cut, at, call.output + (at.batch * (cut.parts - 1) + at.part) * sample,
                             0, own.token, own.values);
}

/* A run of blocks of one tile. */
template <int Width, bool Drops>
__device__ __forceinline__ void walk_blocks(const forward_call &call,
                                            forward_memory<Width, 1, true> &memory)
{
    constexpr int slots = forward_memory<Width, 1, true>::slots;
    const int32_t blocks = memory.run.at.blocks;
    const int32_t first_key = memory.run.first_key;
    carried<Width> own;
    for (int32_t key = first_key; key < 2; key++) {
        copy_keys(call, key, key, memory);
    }
#pragma unroll 1
    for (int32_t query = 1; query <= blocks; query++) {
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and that before the one before is read */
        if (query < blocks) {
            copy_keys(call, query + 1, (query + 1) % slots, memory);
        }
        begin_queries(call, memory, query, true, call.shared ? memory.keys[query % slots] : nullptr,
                      own);
#pragma unroll 1
        for (int32_t key = max(query - 1, first_key); key <= query; key++) {
            attend<Width, 1, true, Drops>(call.cut, memory, meet(call.cut, memory.run, query, key),
                                          key % slots, own);
        }
        write_queries(call, memory.run.at, own);
    }
}

/* A run of blocks of several tiles. */
template <int Width, int Groups, bool Drops>
__device__ __forceinline__ void walk_tiles(const forward_call &call,
                                           forward_memory<Width, Groups, false> &memory)
{
    const int32_t tiles = call.cut.block_tiles;
    int slot = 0;
    carried<Width> own;
    copy_keys(call, memory.run.first_key * tiles, slot, memory);
#pragma unroll 1
    for (int32_t query = tiles, last = 2 * tiles - 1; query <= last;) { /* last: of a block */
        const int32_t own_tile = query + static_cast<int32_t>(threadIdx.x) / rf_walk_threads;
        begin_queries<Width, Groups, false>(call, memory, own_tile, own_tile <= last, nullptr, own);
        const int32_t first = max(last + 1 - 2 * tiles, memory.run.first_key * tiles);
#pragma unroll 1
        for (int32_t key = first; key <= last; key++) {
            rf_copy_wait();
            __syncthreads(); /* this tile is there, and the one before is read */
            if (key < last) {
                copy_keys(call, key + 1, slot ^ 1, memory);
            } else if (query + Groups <= last) {
                copy_keys(call, first, slot ^ 1, memory);
            } else if (last + 1 < (memory.run.at.blocks + 1) * tiles) {
                copy_keys(call, last + 1 - tiles, slot ^ 1, memory);
            }
            if (own_tile <= last) {
                attend<Width, Groups, false, Drops>(
                    call.cut, memory, meet(call.cut, memory.run, own_tile, key), slot, own);
            }
            slot ^= 1;
        }
        write_queries(call, memory.run.at, own);
        query += Groups;
        if (query > last && last + 1 < (memory.run.at.blocks + 1) * tiles) {
            query = last + 1;
            last += tiles;
        }
    }
}

template <int Width, int Groups, bool Carries>
constexpr int resident = Carries      ? 3
                         : Width > 64 ? 1
                                      : 2; /* thread blocks of a multiprocessor */

template <int Width, int Groups, bool Carries, bool Drops>
__global__ void __launch_bounds__(rf_walk_threads *Groups, (resident<Width, Groups, Carries>))
    walk_forward(const forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef forward_memory<Width, Groups, Carries> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    begin_run(call, memory);
    if constexpr (Carries) {
        walk_blocks<Width, Drops>(call, memory);
    } else {
        walk_tiles<Width, Groups, Drops>(call, memory);
    }
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

template <int Width, int Groups, bool Carries, bool Drops>
rf_status launch(rf_device *device, const forward_call *call, rf_error *error)
{
    typedef forward_memory<Width, Groups, Carries> memory;
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(walk_forward<Width, Groups, Carries, Drops>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(sizeof(memory))),
                          "block_attention", error));
    const unsigned blocks = static_cast<unsigned>(call->runs.all);
    walk_forward<Width, Groups, Carries, Drops>
        <<<blocks, memory::threads, sizeof(memory), rf_cuda_stream(device)>>>(*call);
    return rf_cuda_launched(device, "block_attention", error);
}

template <int Width, int Groups, bool Carries>
rf_status run(rf_device *device, const rf_attention_plan *plan, forward_call *call, rf_error *error)
{
    typedef forward_memory<Width, Groups, Carries> memory;
    const int64_t slots = static_cast<int64_t>(rf_cuda_state_of(device)->multiprocessors) *
                          resident<Width, Groups, Carries>;
    call->runs = rf_walk_cut_runs(plan, memory::list / plan->block - 1, slots);
    return plan->probability > 0.0F ? launch<Width, Groups, Carries, true>(device, call, error)
                                    : launch<Width, Groups, Carries, false>(device, call, error);
}

} // namespace

rf_status rf_walk_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error)
{
    const rf_attention_plan *plan = &attention->plan;
    const int64_t width = attention->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention", plan, width, rf_walk_tile, error));
    const rf_tensor *tensors[] = {&attention->query, &attention->key, &attention->value,
                                  &attention->output};
    RF_TRY(rf_fast_check_aligned("block_attention", tensors, 4, error));
    if (rf_tensor_count(&attention->query) == 0) {
        return RF_OK;
    }
    float *factors = static_cast<float *>(scratch);
    forward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, rf_walk_tile);
    call.shared = plan->normalise_keys;
    call.query = static_cast<const __nv_bfloat16 *>(attention->query.data);
    call.key = call.shared ? call.query : static_cast<const __nv_bfloat16 *>(attention->key.data);
    call.value = static_cast<const __nv_bfloat16 *>(attention->value.data);
    call.factors = call.shared ? factors : nullptr;
    call.output = static_cast<__nv_bfloat16 *>(attention->output.data);
    call.log_norm = static_cast<float *>(attention->log_norm.data);
    if (call.shared) {
        RF_TRY(rf_fast_find_factors(device, &call.cut, call.query, factors, error));
    }
    if (width > 64) {
        return run<128, 2, false>(device, plan, &call, error);
    }
    return plan->block == rf_walk_tile ? run<64, 1, true>(device, plan, &call, error)
                                       : run<64, 2, false>(device, plan, &call, error);
}
