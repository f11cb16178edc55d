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
 * values are multiplied by exp(m - log_norm) at the end, never divided by the sum. The paper's
 * rules are a variant (walk_paper.cuh), which passes over 16 keys at a time.
 *
 * Memory traffic, in bytes a token, head and part: 4 x width read where a block is one tile and
 * queries are keys, 2 x width more else; keys and values again from the cache for every further
 * query tiles of a block; 2 x width written. 4 x width operations a pair. */
#include "ops/cuda/block_attention/walk_forward.cuh"

namespace
{

__device__ __forceinline__ rf_walk_met meet(const rf_attention_cut &cut, const rf_walk_run &run,
                                            int32_t query, int32_t key)
{
    const int32_t block = key / cut.block_tiles;
    const bool may_be_same = query == key || rf_walk_part(run, block) != run.at.part;
    const int64_t head =
        (cut.first_sample + run.at.batch) * cut.all_heads + cut.first_head + run.at.head;
    rf_walk_met met;
    met.query = query;
    met.key = key;
    met.has_rules = cut.last_resort ? may_be_same : !cut.may_skip;
    met.first_row = (head * cut.parts + run.at.part) * cut.length;
    met.column =
        key % cut.block_tiles * rf_walk_tile + (block == query / cut.block_tiles ? cut.block : 0);
    return met;
}

/* The tokens of a run's list and what they are as keys, into shared memory; ends with a barrier. */
template <int Width, int Groups, bool Carries, bool Paper>
__device__ __forceinline__ void
list_run(const rf_walk_forward_call &call, const rf_walk_run &run, int32_t before,
         rf_walk_forward_memory<Width, Groups, Carries, Paper> &memory)
{
    constexpr int threads = rf_walk_forward_memory<Width, Groups, Carries, Paper>::threads;
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
    if constexpr (Paper) {
        rf_walk_list_buckets<threads, rf_walk_forward_memory<Width, Groups, Carries, Paper>::list>(
            cut, run.at, tokens, tiles * rf_walk_tile, memory);
    } else {
        __syncthreads();
    }
}

/* The run of this thread block. */
template <int Width, int Groups, bool Carries, bool Paper>
__device__ __forceinline__ void
begin_run(const rf_walk_forward_call &call,
          rf_walk_forward_memory<Width, Groups, Carries, Paper> &memory)
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
template <int Width, int Groups, bool Carries, bool Paper>
__device__ __forceinline__ void
copy_keys(const rf_walk_forward_call &call, int32_t tile, int slot,
          rf_walk_forward_memory<Width, Groups, Carries, Paper> &memory)
{
    constexpr int threads = rf_walk_forward_memory<Width, Groups, Carries, Paper>::threads;
    const int32_t *tokens = reinterpret_cast<const int32_t *>(memory.tokens) + tile * rf_walk_tile;
    rf_walk_copy_rows<Width, threads>(call.cut, memory.run, tokens, call.key, call.value,
                                      memory.keys[slot], memory.values[slot]);
    if constexpr (Paper) {
        rf_walk_copy_places<threads, rf_walk_tile>(call.places, static_cast<int>(threadIdx.x),
                                                   memory.run.first_number, 0, tokens,
                                                   rf_walk_tile_places(call.places, &memory, slot));
    }
}

/* A query tile begins: the lane's rows, and nothing met. rows: the tile in shared memory, or NULL:
 * they come from global memory. is_there: false where a block has no such tile. */
template <int Width, int Groups, bool Carries, bool Paper>
__device__ __forceinline__ void
begin_queries(const rf_walk_forward_call &call,
              rf_walk_forward_memory<Width, Groups, Carries, Paper> &memory, int32_t tile,
              bool is_there, const __nv_bfloat16 (*rows)[Width + 8], rf_walk_carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const int32_t *tokens = reinterpret_cast<const int32_t *>(memory.tokens) + tile * rf_walk_tile;
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const __nv_bfloat16 *from[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int32_t token = is_there ? tokens[rf_walk_tile_row() + 8 * row] : rf_attention_empty;
        own.token[row] = token;
        own.maximum[row] = -INFINITY;
        own.sum[row] = 0.0F;
        from[row] = call.query + memory.run.first_element +
                    static_cast<int64_t>(max(token, 0)) * cut.heads * cut.width + column;
    }
    __syncwarp(); /* warp instructions follow what lanes did apart */
    if constexpr (Paper && !Carries) {
        if (is_there) {
            const int thread = static_cast<int>(threadIdx.x);
            rf_walk_copy_places<rf_cuda_warp, rf_walk_group>(
                call.places, thread % 32, memory.run.first_number, thread / 32 % 4 * 16, tokens,
                rf_walk_tile_places(call.places, &memory, memory.slots + thread / rf_walk_threads));
        }
    }
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

/* A query tile has met all that it meets. */
template <int Width, bool Paper>
__device__ __forceinline__ void write_queries(const rf_walk_forward_call &call,
                                              const rf_attention_place &at,
                                              rf_walk_carried<Width> &own)
{
    const rf_attention_cut &cut = call.cut;
    const int64_t first = ((at.batch * cut.heads + at.head) * cut.parts + at.part) * cut.length;
    const int64_t sample = cut.length * cut.heads * cut.width;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const float sum = rf_cuda_warp_sum<4>(own.sum[row]);
        const float log_norm = __fadd_rn(own.maximum[row], logf(sum)); /* rounded once */
        const float factor = Paper ? rf_paper_factor(cut, own.maximum[row], sum, log_norm)
                                   : expf(own.maximum[row] - log_norm);
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
template <int Width, bool Drops, bool Paper>
__device__ __forceinline__ void walk_blocks(const rf_walk_forward_call &call,
                                            rf_walk_forward_memory<Width, 1, true, Paper> &memory)
{
    constexpr int slots = rf_walk_forward_memory<Width, 1, true, Paper>::slots;
    const int32_t blocks = memory.run.at.blocks;
    const int32_t first_key = memory.run.first_key;
    rf_walk_carried<Width> own;
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
            rf_walk_attend<Width, 1, true, Drops>(
                call, memory, meet(call.cut, memory.run, query, key), key % slots, own);
        }
        write_queries<Width, Paper>(call, memory.run.at, own);
    }
}

/* A run of blocks of several tiles. */
template <int Width, int Groups, bool Drops, bool Paper>
__device__ __forceinline__ void
walk_tiles(const rf_walk_forward_call &call,
           rf_walk_forward_memory<Width, Groups, false, Paper> &memory)
{
    const int32_t tiles = call.cut.block_tiles;
    int slot = 0;
    rf_walk_carried<Width> own;
    copy_keys(call, memory.run.first_key * tiles, slot, memory);
#pragma unroll 1
    for (int32_t query = tiles, last = 2 * tiles - 1; query <= last;) { /* last: of a block */
        const int32_t own_tile = query + static_cast<int32_t>(threadIdx.x) / rf_walk_threads;
        begin_queries<Width, Groups, false, Paper>(call, memory, own_tile, own_tile <= last,
                                                   nullptr, own);
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
                rf_walk_attend<Width, Groups, false, Drops>(
                    call, memory, meet(call.cut, memory.run, own_tile, key), slot, own);
            }
            slot ^= 1;
        }
        write_queries<Width, Paper>(call, memory.run.at, own);
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

template <int Width, int Groups, bool Carries, bool Drops, bool Paper>
__global__ void __launch_bounds__(rf_walk_threads *Groups, (resident<Width, Groups, Carries>))
    walk_forward(const rf_walk_forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef rf_walk_forward_memory<Width, Groups, Carries, Paper> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    begin_run(call, memory);
    if constexpr (Carries) {
        walk_blocks<Width, Drops, Paper>(call, memory);
    } else {
        walk_tiles<Width, Groups, Drops, Paper>(call, memory);
    }
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

template <int Width, int Groups, bool Carries, bool Drops, bool Paper>
rf_status launch(rf_device *device, rf_walk_forward_call *call, rf_error *error)
{
    typedef rf_walk_forward_memory<Width, Groups, Carries, Paper> memory;
    const auto kernel = walk_forward<Width, Groups, Carries, Drops, Paper>;
    size_t size = sizeof(memory);
    if constexpr (Paper) {
        size = rf_walk_size_with_places(size, memory::place_tiles, &call->places);
    }
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(size)),
                          "block_attention", error));
    const unsigned blocks = static_cast<unsigned>(call->runs.all);
    kernel<<<blocks, memory::threads, size, rf_cuda_stream(device)>>>(*call);
    return rf_cuda_launched(device, "block_attention", error);
}

template <int Width, int Groups, bool Carries, bool Paper>
rf_status run(rf_device *device, const rf_attention_plan *plan, rf_walk_forward_call *call,
              rf_error *error)
{
    const int64_t slots = static_cast<int64_t>(rf_cuda_state_of(device)->multiprocessors) *
                          resident<Width, Groups, Carries>;
    call->runs =
        rf_walk_cut_runs(plan, rf_walk_forward_list<Carries, Paper> / plan->block - 1, slots);
    return plan->probability > 0.0F
               ? launch<Width, Groups, Carries, true, Paper>(device, call, error)
               : launch<Width, Groups, Carries, false, Paper>(device, call, error);
}

template <bool Paper>
rf_status run_for_width(rf_device *device, const rf_attention_plan *plan,
                        rf_walk_forward_call *call, rf_error *error)
{
    if (call->cut.width > 64) {
        return run<128, 2, false, Paper>(device, plan, call, error);
    }
    return plan->block == rf_walk_tile ? run<64, 1, true, Paper>(device, plan, call, error)
                                       : run<64, 2, false, Paper>(device, plan, call, error);
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
    rf_walk_forward_call call = {};
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
    if (!rf_paper_takes(plan)) {
        return run_for_width<false>(device, plan, &call, error);
    }
    call.places = rf_walk_find_places(device, plan, &call.cut,
                                      static_cast<char *>(scratch) + rf_fast_factors_size(plan));
    return run_for_width<true>(device, plan, &call, error);
}
