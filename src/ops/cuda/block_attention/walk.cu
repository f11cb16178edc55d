/* Block attention with bf16 queries, keys and values, backward, for plans of one block before and
 * none after, in blocks of whole tiles of 64 slots: all parts as one softmax, P = exp(s - norm)
 * recomputed from the merged norm (Kitaev, Kaiser, Levskaya 2020, appendix A). walk.cuh says how
 * runs of blocks are walked, walk_tiles.cuh what a pair of tiles takes.
 *
 * All parts are one launch: a part's gradients go to scratch in bf16 and a second kernel adds the
 * parts in f32, in order; of one part they are the result. Where keys are made from queries, a
 * token's gradient as a query and that as a key, pushed through to the query, are added before they
 * are rounded. A first kernel finds the numbers of each token that pairs need.
 *
 * Memory traffic per part, in bytes a token and head: 8 x width read (6 x width with shared queries
 * and keys in blocks of 64), 4 x or 6 x width written, and read again by the last kernel. 10 x
 * width operations a pair. Where a block is several tiles, the gradient of queries is kept in
 * global memory in f32 from key tile to key tile, by the thread that uses it, so that it comes from
 * the cache: 8 x width bytes a query and key tile.
 *
 * Scratch: 16 bytes a token and head, the parts' gradients, the kept gradients of queries. */
#include "ops/cuda/block_attention/walk_tiles.cuh"

namespace
{

/* Where the walk stands: tiles of the list, and of the rings of tiles which slots are this step's.
 */
template <int Width, bool Carries> struct walk {
    rf_walk_step step;
    int query_slot, key_slot;
    int key_rows; /* Carries, shared: the slot of the queries that are the keys */
    rf_walk_key_lane<Width> own;
    float carried[Carries ? Width / 8 : 1][4]; /* gradients of the query tile */
};

/* The tokens of this lane's two rows of a tile of the list. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ void find_rows(const rf_walk_memory<Width, Carries, Paper> &memory,
                                          int32_t tile, int32_t (&rows)[2])
{
    rows[0] = memory.tokens[tile * rf_walk_tile + rf_walk_lane_row()];
    rows[1] = memory.tokens[tile * rf_walk_tile + rf_walk_lane_row() + 8];
}

/* A key tile begins: the lane's rows, and no gradients. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ void begin_keys(const rf_attention_cut &cut,
                                           const rf_walk_memory<Width, Carries, Paper> &memory,
                                           walk<Width, Carries> &now)
{
    int32_t tokens[2];
    find_rows(memory, now.step.key, tokens);
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const float factor = memory.key_numbers[now.key_slot][rf_walk_lane_row() + 8 * row].factor;
        const int32_t token = tokens[row];
        const bool is_key =
            token >= 0 && (cut.key_mask == nullptr ||
                           cut.key_mask[memory.run.at.batch * cut.length + token] != 0);
        now.own.position[row] = is_key ? token : rf_attention_unseen;
        now.own.factor[row] = factor;
        now.own.along[row] = 0.0F;
    }
    rf_walk_clear(now.own.keys);
    rf_walk_clear(now.own.values);
}

template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ rf_walk_step_view<Width>
view_of(const rf_walk_call &call, rf_walk_memory<Width, Carries, Paper> &memory,
        const walk<Width, Carries> &now)
{
    constexpr int slots = rf_walk_sizes<Width, Carries, Paper>::slots;
    const rf_attention_cut &cut = call.cut;
    const rf_attention_place &at = memory.run.at;
    const int32_t key_block = now.step.key / cut.block_tiles;
    const int32_t query_block = now.step.query / cut.block_tiles;
    const int32_t part = rf_walk_part(memory.run, query_block);
    const bool may_be_same =
        now.step.key == now.step.query || part != rf_walk_part(memory.run, key_block);
    const int64_t head = (cut.first_sample + at.batch) * cut.all_heads + cut.first_head + at.head;
    rf_walk_step_view<Width> view;
    view.keys =
        Carries && call.shared ? memory.queries[now.key_rows] : memory.keys[now.key_slot % slots];
    view.values = memory.values[now.key_slot % slots];
    view.queries = memory.queries[now.query_slot % slots];
    view.gradients = memory.gradients[now.query_slot % slots];
    view.numbers = memory.query_numbers[now.query_slot];
    view.tokens = memory.tokens + now.step.query * rf_walk_tile;
    view.key_tokens = memory.tokens + now.step.key * rf_walk_tile;
    view.score_gradients = memory.score_gradients;
    view.floor = cut.causal ? INT32_MIN : rf_attention_unseen - 1;
    view.has_rules = cut.last_resort ? may_be_same : !cut.may_skip;
    view.first_row = (head * cut.parts + part) * cut.length;
    view.column =
        now.step.key % cut.block_tiles * rf_walk_tile + (key_block == query_block ? cut.block : 0);
    return view;
}

/* What the paper's rules need beside it. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ rf_walk_paper_view
paper_view_of(const rf_walk_call &call, rf_walk_memory<Width, Carries, Paper> &memory,
              const walk<Width, Carries> &now)
{
    rf_walk_paper_view view = {};
    if constexpr (Paper) {
        const int32_t *buckets = reinterpret_cast<const int32_t *>(memory.buckets);
        view.query_spans = memory.spans + now.step.query * (rf_walk_tile / rf_walk_group);
        view.key_spans = memory.spans + now.step.key * (rf_walk_tile / rf_walk_group);
        view.query_buckets = buckets + now.step.query * rf_walk_tile;
        view.key_buckets = buckets + now.step.key * rf_walk_tile;
        view.query_places = rf_walk_tile_places(call.places, &memory, now.query_slot);
        view.key_places = rf_walk_tile_places(call.places, &memory, 2 + now.key_slot);
    }
    return view;
}

/* Has no pair of the step's tiles any weight? The same in all threads. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ bool is_idle(const rf_attention_cut &cut,
                                        const rf_walk_memory<Width, Carries, Paper> &memory,
                                        const rf_walk_paper_view &paper, const rf_walk_step &step)
{
    if constexpr (Paper) {
        return !rf_walk_tiles_meet(cut, paper.key_spans, paper.query_spans);
    }
    return cut.causal && cut.may_skip &&
           memory.first_tokens[step.key] > memory.last_tokens[step.query];
}

/* The gradients of the run's part. */
__device__ __forceinline__ __nv_bfloat16 *
of_part(const rf_attention_cut &cut, const rf_attention_place &at, __nv_bfloat16 *gradients)
{
    return gradients + at.part * (cut.batch * cut.length * cut.heads * cut.width);
}

/* Columns [8 first, 8 (first + Columns)) of a query tile's gradient: what was kept is added, and
 * the sums are kept for the next, or written where they are final. All: columns of a row. */
template <int Columns, int All>
__device__ __forceinline__ void settle(const rf_walk_call &call, const rf_attention_place &at,
                                       const int32_t (&rows)[2], int32_t tile, int first,
                                       bool is_first, bool is_final, float (&sums)[Columns][4])
{
    const int32_t ring = 2 * call.cut.block_tiles;
    float4 *kept =
        call.sums +
        ((static_cast<int64_t>(blockIdx.x) * ring + tile % ring) * All + first) * rf_walk_threads +
        threadIdx.x;
    if (!is_first) {
#pragma unroll
        for (int n = 0; n < Columns; n++) {
            const float4 before = kept[n * rf_walk_threads];
            sums[n][0] += before.x;
            sums[n][1] += before.y;
            sums[n][2] += before.z;
            sums[n][3] += before.w;
        }
    }
    if (is_final) {
        rf_walk_write<Columns>(call.cut, at, of_part(call.cut, at, call.query_gradient), 8 * first,
                               rows, sums);
        return;
    }
#pragma unroll
    for (int n = 0; n < Columns; n++) {
        kept[n * rf_walk_threads] = make_float4(sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
    }
}

/* The step's share of its queries' gradient, in registers; of a complete one, what becomes of it.
 */
template <int Width, bool Paper>
__device__ __forceinline__ void
carry_queries(const rf_walk_call &call, const rf_walk_memory<Width, true, Paper> &memory,
              const rf_walk_step_view<Width> &view, const rf_walk_paper_view &paper, bool is_idle,
              walk<Width, true> &now)
{
    if (now.step.query != now.step.key || memory.run.first_key == now.step.key) {
        rf_walk_clear(now.carried); /* the first key tile that it meets */
    }
    if (!is_idle) {
        rf_walk_add_keys<Width, Width, Paper>(call.cut, view, paper, 0, now.carried);
    }
    if (now.step.query != now.step.key) {
        return;
    }
    if (!call.shared) {
        int32_t rows[2];
        find_rows(memory, now.step.query, rows);
        rf_walk_write<Width / 8>(call.cut, memory.run.at,
                                 of_part(call.cut, memory.run.at, call.query_gradient), 0, rows,
                                 now.carried);
        return;
    }
    /* They are the key tile's rows too: its gradient takes them along. */
    rf_walk_find_along<Width>(view.keys, now.carried, now.own.along);
#pragma unroll
    for (int n = 0; n < Width / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            now.own.keys[n][i] += now.carried[n][i];
        }
    }
}

/* The same in global memory. */
template <int Width, bool Paper>
__device__ __forceinline__ void
keep_queries(const rf_walk_call &call, const rf_walk_memory<Width, false, Paper> &memory,
             const rf_walk_step_view<Width> &view, const rf_walk_paper_view &paper, bool is_idle,
             const walk<Width, false> &now)
{
    const int32_t tiles = call.cut.block_tiles;
    const int32_t block = now.step.query / tiles;
    const int32_t last = block * tiles + tiles - 1; /* the last key tile that it meets */
    const bool is_first = now.step.key == max(block - 1, memory.run.first_key) * tiles;
    /* Where queries are keys, the last tile of a block waits for its gradient as keys. */
    const bool is_final = now.step.key == last && !(call.shared && now.step.query == last);
    if (is_idle && !is_first && !is_final) {
        return;
    }
    int32_t rows[2];
    find_rows(memory, now.step.query, rows);
#pragma unroll
    for (int column = 0; column < Width; column += 64) {
        float sums[8][4];
        rf_walk_clear(sums);
        if (!is_idle) {
            rf_walk_add_keys<Width, 64, Paper>(call.cut, view, paper, column, sums);
        }
        settle<8, Width / 8>(call, memory.run.at, rows, now.step.query, column / 8, is_first,
                             is_final, sums);
    }
}

/* The gradients of a key tile are complete. keys: its rows. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ void
finish_keys(const rf_walk_call &call, const rf_walk_memory<Width, Carries, Paper> &memory,
            typename rf_walk_step_view<Width>::rows keys, walk<Width, Carries> &now)
{
    const rf_attention_cut &cut = call.cut;
    const rf_attention_place &at = memory.run.at;
    int32_t rows[2];
    find_rows(memory, now.step.key, rows);
    rf_walk_write<Width / 8>(cut, at, of_part(cut, at, call.value_gradient), 0, rows,
                             now.own.values);
    __nv_bfloat16 *to = call.key_gradient;
    if (call.shared) {
        rf_walk_push_through_key<Width>(keys, now.own);
        to = call.query_gradient;
        if constexpr (!Carries) {
            settle<Width / 8, Width / 8>(call, at, rows, now.step.key, 0, false,
                                         now.step.key % cut.block_tiles == cut.block_tiles - 1,
                                         now.own.keys);
            return;
        }
    }
    rf_walk_write<Width / 8>(cut, at, of_part(cut, at, to), 0, rows, now.own.keys);
}

/* The first tiles of a run, on their way. */
template <int Width, bool Carries, bool Paper>
__device__ __forceinline__ void begin_run(const rf_walk_call &call, int64_t index,
                                          rf_walk_memory<Width, Carries, Paper> &memory,
                                          walk<Width, Carries> &now)
{
    rf_walk_begin(call, index, memory);
    now.step = rf_walk_first(memory.run, call.cut.block_tiles);
    now.query_slot = 0;
    now.key_slot = 0;
    now.key_rows = now.step.key == now.step.query ? 0 : 1;
    rf_walk_copy_queries(call, now.step.query, 0, memory);
    rf_walk_copy_keys(call, now.step.key, 0, memory);
    if (Carries && call.shared && now.key_rows == 1) {
        rf_walk_copy_rows<Width>(call.cut, memory.run, memory.tokens + now.step.key * rf_walk_tile,
                                 call.query, nullptr, memory.queries[1], memory.queries[1]);
    }
}

/* One step, and what the next needs set on its way. next: the step after this, or this again where
 * there is none. */
template <int Width, bool Carries, bool Drops, bool Paper>
__device__ __forceinline__ void do_step(const rf_walk_call &call, rf_walk_step next,
                                        rf_walk_memory<Width, Carries, Paper> &memory,
                                        walk<Width, Carries> &now)
{
    typedef rf_walk_sizes<Width, Carries, Paper> sizes;
    const rf_attention_place &at = memory.run.at;
    const bool new_query = next.query != now.step.query;
    if (sizes::slots > 1 && new_query) {
        rf_walk_copy_queries(call, next.query, now.query_slot ^ 1, memory);
    }
    if (sizes::slots > 1 && next.key != now.step.key) {
        rf_walk_copy_keys(call, next.key, now.key_slot ^ 1, memory);
    }
    const rf_walk_step_view<Width> view = view_of(call, memory, now);
    const rf_walk_paper_view paper = paper_view_of(call, memory, now);
    const bool rests = is_idle(call.cut, memory, paper, now.step);
    if (!rests) {
#pragma unroll 1
        for (int first = 0; first < rf_walk_tile; first += sizes::share) {
            rf_walk_differentiate_share<Width, sizes::share, Drops, Paper>(call.cut, view, paper,
                                                                           first, now.own);
        }
        __syncthreads(); /* dS is there, and the queries' rows are read */
    }
    if (sizes::slots == 1 && new_query) {
        rf_walk_copy_queries(call, next.query, now.query_slot ^ 1, memory);
    }
    if (now.step.query < (at.blocks + 1) * call.cut.block_tiles) { /* the run's own */
        if constexpr (Carries) {
            carry_queries(call, memory, view, paper, rests, now);
        } else {
            keep_queries(call, memory, view, paper, rests, now);
        }
    }
}

template <int Width, bool Carries, bool Drops, bool Paper>
__global__ void __launch_bounds__(rf_walk_threads, Width > 64 || Drops || Paper ? 2 : 3)
    walk_runs(const rf_walk_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    typedef rf_walk_memory<Width, Carries, Paper> memory_type;
    memory_type &memory = *reinterpret_cast<memory_type *>(shared);
    constexpr int slots = rf_walk_sizes<Width, Carries, Paper>::slots;
    const int32_t tiles = call.cut.block_tiles;
    walk<Width, Carries> now;
    for (int64_t index = blockIdx.x; index < call.runs.all; index += gridDim.x) {
        begin_run(call, index, memory, now);
        bool starts_key = true;
        for (bool goes_on = true; goes_on;) {
            rf_copy_wait();
            __syncthreads(); /* this step's tiles are there, and those of the one before are read */
            if (starts_key) {
                begin_keys(call.cut, memory, now);
            }
            rf_walk_step next = now.step;
            goes_on = rf_walk_next(memory.run, tiles, next);
            next = goes_on ? next : now.step;
            starts_key = next.key != now.step.key;
            do_step<Width, Carries, Drops, Paper>(call, next, memory, now);
            if ((starts_key || !goes_on) && now.step.key >= tiles) { /* the run's own */
                finish_keys(call, memory, view_of(call, memory, now).keys, now);
            }
            now.query_slot ^= next.query != now.step.query ? 1 : 0;
            now.key_slot ^= starts_key ? 1 : 0;
            now.key_rows = starts_key ? now.query_slot : now.key_rows;
            now.step = next;
            if (slots == 1 && starts_key) {
                __syncthreads(); /* the keys' rows are read */
                rf_walk_copy_keys(call, next.key, now.key_slot, memory);
            }
        }
    }
}

/* sums [count] = the sum of parts [parts][count], in order; eight at a time. */
__global__ void add_parts(const __nv_bfloat16 *__restrict__ parts, int64_t part_count,
                          int64_t count, __nv_bfloat16 *__restrict__ sums)
{
    for (int64_t i = 8 * rf_cuda_first(); i < count; i += 8 * rf_cuda_stride()) {
        float found[8] = {};
#pragma unroll 4
        for (int64_t part = 0; part < part_count; part++) {
            const uint4 four = *reinterpret_cast<const uint4 *>(parts + part * count + i);
            const uint32_t words[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                found[2 * j] += __uint_as_float(words[j] << 16);
                found[2 * j + 1] += __uint_as_float(words[j] & 0xFFFF0000U);
            }
        }
        *reinterpret_cast<uint4 *>(sums + i) =
            make_uint4(rf_mma_pack(found[0], found[1]), rf_mma_pack(found[2], found[3]),
                       rf_mma_pack(found[4], found[5]), rf_mma_pack(found[6], found[7]));
    }
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

/* Is a block one tile, whose gradient stays in registers? */
bool carries(const rf_attention_plan *plan, int64_t width)
{
    return plan->block == rf_walk_tile && width <= 64;
}

/* Thread blocks that run at the same time. */
int64_t slots_of(const rf_device *device, const rf_attention_plan *plan, int64_t width)
{
    const bool is_small =
        width <= 64 && carries(plan, width) && plan->probability <= 0.0F && !rf_paper_takes(plan);
    return static_cast<int64_t>(rf_cuda_state_of(device)->multiprocessors) * (is_small ? 3 : 2);
}

/* Runs have their list in shared memory. */
rf_walk_runs cut_runs(const rf_device *device, const rf_attention_plan *plan, int64_t width)
{
    int64_t list = rf_walk_sizes<64, false, false>::list;
    if (carries(plan, width)) {
        list = rf_walk_sizes<64, true, false>::list;
    } else if (rf_paper_takes(plan)) {
        list = rf_walk_sizes<64, false, true>::list;
    }
    return rf_walk_cut_runs(plan, list / plan->block - 2, slots_of(device, plan, width));
}

/* Thread blocks of the launch. */
int64_t grid_of(const rf_device *device, const rf_attention_plan *plan, int64_t width,
                const rf_walk_call *call)
{
    const int64_t slots = slots_of(device, plan, width);
    const bool is_bounded = !carries(plan, width); /* each has room for gradients */
    return is_bounded && call->runs.all > slots ? slots : call->runs.all;
}

/* The call, its memory cut from scratch; gives the size of it. */
size_t make_call(const rf_device *device, const rf_block_attention_backward *backward,
                 void *scratch, rf_walk_call *call)
{
    const rf_attention_plan *plan = &backward->plan;
    const int64_t width = backward->query.shape[3];
    const int64_t rows = plan->batch * plan->length * plan->heads;
    const size_t part =
        rf_cuda_align(static_cast<size_t>(rows * width * plan->parts) * sizeof(__nv_bfloat16));
    char *memory = static_cast<char *>(scratch);
    size_t used = rf_cuda_align(static_cast<size_t>(rows) * sizeof(rf_walk_numbers));
    call->cut = rf_attention_cut_of(plan, width, rf_walk_tile);
    call->shared = plan->normalise_keys;
    call->query = static_cast<const __nv_bfloat16 *>(backward->query.data);
    call->key = call->shared ? call->query : static_cast<const __nv_bfloat16 *>(backward->key.data);
    call->value = static_cast<const __nv_bfloat16 *>(backward->value.data);
    call->output_gradient = static_cast<const __nv_bfloat16 *>(backward->output_gradient.data);
    call->numbers = reinterpret_cast<const rf_walk_numbers *>(memory);
    __nv_bfloat16 **places[] = {&call->query_gradient, &call->value_gradient, &call->key_gradient};
    const rf_tensor *tensors[] = {&backward->query_gradient, &backward->value_gradient,
                                  &backward->key_gradient};
    for (int i = 0; i < (call->shared ? 2 : 3); i++) {
        if (plan->parts == 1) {
            *places[i] = static_cast<__nv_bfloat16 *>(tensors[i]->data);
            continue;
        }
        *places[i] = memory != nullptr ? reinterpret_cast<__nv_bfloat16 *>(memory + used) : nullptr;
        used += part;
    }
    if (rows > 0) {
        call->runs = cut_runs(device, plan, width);
    }
    if (carries(plan, width)) {
        return used;
    }
    call->sums = memory != nullptr ? reinterpret_cast<float4 *>(memory + used) : nullptr;
    const int64_t tile = rf_walk_tile * (width <= 64 ? 64 : 128);
    return used + static_cast<size_t>(grid_of(device, plan, width, call) * 2 *
                                      call->cut.block_tiles * tile) *
                      sizeof(float);
}

template <int Width, bool Carries, bool Drops, bool Paper>
rf_status launch(rf_device *device, rf_walk_call *call, int64_t blocks, rf_error *error)
{
    typedef rf_walk_memory<Width, Carries, Paper> memory;
    const auto kernel = walk_runs<Width, Carries, Drops, Paper>;
    size_t size = sizeof(memory) - (Carries && call->shared ? sizeof(memory::keys) : 0);
    if constexpr (Paper) {
        size = rf_walk_size_with_places(size, rf_walk_place_tiles, &call->places);
    }
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(size)),
                          "block_attention_backward", error));
    kernel<<<static_cast<unsigned>(blocks), rf_walk_threads, size, rf_cuda_stream(device)>>>(*call);
    return RF_OK;
}

template <int Width, bool Carries, bool Paper>
rf_status launch_either(rf_device *device, rf_walk_call *call, int64_t blocks, rf_error *error)
{
    return call->cut.drops ? launch<Width, Carries, true, Paper>(device, call, blocks, error)
                           : launch<Width, Carries, false, Paper>(device, call, blocks, error);
}

template <bool Paper>
rf_status launch_for_plan(rf_device *device, const rf_attention_plan *plan, rf_walk_call *call,
                          rf_error *error)
{
    const int64_t width = call->cut.width;
    const int64_t blocks = grid_of(device, plan, width, call);
    if (width > 64) {
        return launch_either<128, false, Paper>(device, call, blocks, error);
    }
    return carries(plan, width) ? launch_either<64, true, Paper>(device, call, blocks, error)
                                : launch_either<64, false, Paper>(device, call, blocks, error);
}

/* The parts become the caller's gradients. */
void finish(rf_device *device, const rf_block_attention_backward *backward,
            const rf_walk_call *call)
{
    const int64_t parts = backward->plan.parts;
    const int64_t count = rf_tensor_count(&backward->query);
    const __nv_bfloat16 *from[] = {call->query_gradient, call->value_gradient, call->key_gradient};
    const rf_tensor *to[] = {&backward->query_gradient, &backward->value_gradient,
                             &backward->key_gradient};
    for (int i = 0; i < (call->shared ? 2 : 3) && parts > 1; i++) {
        add_parts<<<rf_cuda_grid(device, count / 8, rf_cuda_threads), rf_cuda_threads, 0,
                    rf_cuda_stream(device)>>>(from[i], parts, count,
                                              static_cast<__nv_bfloat16 *>(to[i]->data));
    }
}

} // namespace

bool rf_walk_takes(const rf_attention_plan *plan, int64_t width)
{
    const int64_t blocks = plan->slots / plan->block;
    const bool wraps_around = plan->wrap != RF_WRAP_NONE &&
                              blocks * (plan->wrap == RF_WRAP_ALL_PARTS ? plan->parts : 1) < 2;
    return rf_tensor_is_absent(&plan->segments) &&
           (!rf_paper_takes(plan) || rf_walk_takes_paper(plan, width)) && plan->before == 1 &&
           plan->after == 0 && plan->block % rf_walk_tile == 0 &&
           plan->block <= rf_walk_sizes<64, false, false>::list / 3 && !wraps_around;
}

size_t rf_walk_backward_scratch_size(const rf_device *device,
                                     const rf_block_attention_backward *backward)
{
    rf_walk_call call = {};
    const size_t used = make_call(device, backward, nullptr, &call);
    return rf_cuda_align(used) + rf_fast_places_size(&backward->plan);
}

rf_status rf_walk_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error)
{
    const rf_attention_plan *plan = &backward->plan;
    const int64_t width = backward->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention_backward", plan, width, rf_walk_tile, error));
    const rf_tensor *tensors[] = {&backward->query,           &backward->key,
                                  &backward->value,           &backward->output,
                                  &backward->output_gradient, &backward->query_gradient,
                                  &backward->key_gradient,    &backward->value_gradient};
    RF_TRY(rf_fast_check_aligned("block_attention_backward", tensors, 8, error));
    if (rf_tensor_count(&backward->query) == 0) {
        return RF_OK;
    }
    rf_walk_call call = {};
    const size_t used = make_call(device, backward, scratch, &call);
    rf_walk_find_numbers(device, backward, &call.cut, static_cast<rf_walk_numbers *>(scratch));
    call.places = rf_walk_find_places(device, plan, &call.cut,
                                      static_cast<char *>(scratch) + rf_cuda_align(used));
    RF_TRY(rf_paper_takes(plan) ? launch_for_plan<true>(device, plan, &call, error)
                                : launch_for_plan<false>(device, plan, &call, error));
    finish(device, backward, &call);
    return rf_cuda_launched(device, "block_attention_backward", error);
}
