/* How the backward of block attention walks a run of blocks (walk.cu), where a query block sees the
 * block before it and itself, and blocks are whole tiles of 64 slots.
 *
 * A thread block has a run of consecutive blocks of a part, and lists them with one more on either
 * side: 0 stands before the run, 1 to `blocks` are its own, blocks + 1 stands behind. It owns the
 * gradients of its own blocks' queries, keys and values. Tiles of the list meet in pairs, key tile
 * by key tile, and for each the query tiles that see it: those of its own block, then of the next.
 * So a key tile's gradients are complete when the next key tile comes, and a query tile's when the
 * last key tile of its own block has met it. Block 0 has keys only for queries of block 1, block
 * blocks + 1 queries only for the last own keys: of 2 n + 1 pairs of blocks one is found twice.
 *
 * Neither the cut into runs nor where they end has a say in any sum's order. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_WALK_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_WALK_CUH

#include "ops/cuda/block_attention/walk_paper.cuh"

constexpr int rf_walk_tile = 64;
constexpr int rf_walk_threads = 128; /* a warp 16 keys, or 16 queries */

/* What pairs need of a token: as a query, and as a key. Zeros where a slot is empty: then the rows
 * are zeros too, and so is all that the weights, 1, are multiplied with. */
struct alignas(16) rf_walk_numbers {
    float minus_norm; /* -norm x log2 e */
    float delta;      /* output gradient . output */
    float set_weight; /* of a pair whose score a rule sets */
    float factor;     /* key = query x factor; 1 where keys are given */
};

/* How parts are cut into runs. */
struct rf_walk_runs {
    int32_t blocks; /* of a run, at most */
    int32_t count;  /* of a part */
    int64_t all;    /* of all sequences and parts */
};

struct rf_walk_call {
    rf_attention_cut cut;
    rf_walk_runs runs;
    bool shared;                                                /* keys are made from queries */
    const __nv_bfloat16 *query, *key, *value, *output_gradient; /* [batch, length, heads, width] */
    const rf_walk_numbers *numbers;                             /* [batch, heads, length] */
    rf_walk_places places;
    /* [parts, batch, length, heads, width] */
    __nv_bfloat16 *query_gradient, *key_gradient, *value_gradient;
    float4 *sums; /* [thread blocks][2 blocks][tiles of a block][Width / 8][threads] */
};

/* Heads of up to Width. Carries: a block is one tile, and the gradient of a query tile stays in
 * registers between the two key tiles that it meets; else it stands in global memory. Paper: the
 * paper's rules. */
template <int Width, bool Carries, bool Paper> struct rf_walk_sizes {
    static constexpr int stride = Width + 8;
    static constexpr int slots = Width > 64 || (Paper && !Carries)
                                     ? 1
                                     : 2; /* of tiles: the next beside this one */
    static constexpr int list = Carries ? 1024 : Paper ? 768 : 2048; /* slots of a run's list */
    static constexpr int share = 16; /* queries of a tile at a time */
    typedef __nv_bfloat16 rows[rf_walk_tile][stride];
};

struct rf_walk_run {
    rf_attention_place at; /* first_block and blocks: its own */
    int32_t first_key;     /* block of the list: 0, or 1 where nothing stands before the run */
    int32_t last_query;    /* blocks + 1, or blocks where nothing stands behind */
    int32_t part_before, part_behind;
    int64_t first_element; /* of the head in a tensor [batch, length, heads, width] */
    int64_t first_number;  /* of the head's tokens [batch, heads, length] */
};

template <int Width, bool Carries, bool Paper>
struct rf_walk_memory : rf_walk_buckets<Paper, rf_walk_sizes<Width, Carries, Paper>::list> {
    typedef rf_walk_sizes<Width, Carries, Paper> sizes;
    rf_walk_run run; /* here, since the registers are full */
    rf_walk_numbers query_numbers[2][rf_walk_tile], key_numbers[2][rf_walk_tile];
    int32_t tokens[sizes::list];
    int32_t first_tokens[sizes::list / rf_walk_tile], last_tokens[sizes::list / rf_walk_tile];
    __nv_bfloat16 score_gradients[rf_walk_tile][rf_walk_tile + 8]; /* [keys][queries] */
    typename sizes::rows queries[sizes::slots], gradients[sizes::slots], values[sizes::slots];
    typename sizes::rows keys[sizes::slots]; /* not there where queries are keys and Carries */
};

/* Tiles of the list that meet. */
struct rf_walk_step {
    int32_t key, query;
};

/* Run `index` of all, and its list of tokens, into shared memory; ends with a barrier. */
template <int Width, bool Carries, bool Paper>
static __device__ __forceinline__ void rf_walk_begin(const rf_walk_call &call, int64_t index,
                                                     rf_walk_memory<Width, Carries, Paper> &memory)
{
    const rf_attention_cut &cut = call.cut;
    rf_walk_run run = {};
    rf_attention_place &at = run.at;
    at.first_block = static_cast<int32_t>(index % call.runs.count) * call.runs.blocks;
    at.blocks = min(call.runs.blocks, cut.part_blocks - at.first_block);
    const int64_t sequence = index / call.runs.count; /* (batch, head, part) */
    at.part = static_cast<int32_t>(sequence % cut.parts);
    at.head = sequence / cut.parts % cut.heads;
    at.batch = sequence / cut.parts / cut.heads;
    const int32_t before = rf_attention_block_at(cut, at.part, at.first_block, -1);
    const int32_t behind = rf_attention_block_at(cut, at.part, at.first_block + at.blocks - 1, 1);
    run.first_key = before >= 0 ? 0 : 1;
    run.last_query = behind >= 0 ? at.blocks + 1 : at.blocks;
    run.part_before = before / cut.part_blocks;
    run.part_behind = behind / cut.part_blocks;
    run.first_element = rf_attention_row(cut, at, 0);
    run.first_number = (at.batch * cut.heads + at.head) * cut.length;
    const int32_t own = at.part * cut.part_blocks + at.first_block - 1;
    __syncthreads(); /* the run before is over */
    if (threadIdx.x == 0) {
        memory.run = run;
    }
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < (at.blocks + 2) * cut.block;
         i += rf_walk_threads) {
        const int32_t block = i / cut.block;
        const int32_t number = block == 0 ? before : block > at.blocks ? behind : own + block;
        const int64_t first = static_cast<int64_t>(number % cut.part_blocks) * cut.block;
        memory.tokens[i] = number < 0 ? rf_attention_empty
                                      : rf_attention_slot_of(cut, at, number / cut.part_blocks,
                                                             first + i % cut.block)
                                            .token;
    }
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int32_t tiles = (at.blocks + 2) * cut.block_tiles;
    for (int32_t tile = static_cast<int32_t>(threadIdx.x) / rf_cuda_warp; tile < tiles;
         tile += rf_walk_threads / rf_cuda_warp) {
        const int32_t one = memory.tokens[tile * rf_walk_tile + lane];
        const int32_t other = memory.tokens[tile * rf_walk_tile + rf_cuda_warp + lane];
        const int32_t first =
            min(one >= 0 ? one : rf_attention_unseen, other >= 0 ? other : rf_attention_unseen);
        memory.last_tokens[tile] = rf_cuda_warp_max(max(one, other));
        memory.first_tokens[tile] = -rf_cuda_warp_max(-first);
    }
    if constexpr (Paper) {
        rf_walk_list_buckets<rf_walk_threads, rf_walk_sizes<Width, Carries, Paper>::list>(
            cut, at, memory.tokens, tiles * rf_walk_tile, memory);
    } else {
        __syncthreads();
    }
}

static __device__ __forceinline__ rf_walk_step rf_walk_first(const rf_walk_run &run, int32_t tiles)
{
    return {run.first_key * tiles, tiles};
}

/* The step after `step`; false behind the last. tiles: of a block. */
static __device__ __forceinline__ bool rf_walk_next(const rf_walk_run &run, int32_t tiles,
                                                    rf_walk_step &step)
{
    step.query++;
    if (step.query < (min(step.key / tiles + 1, run.last_query) + 1) * tiles) {
        return true;
    }
    step.key++;
    step.query = max(step.key / tiles, 1) * tiles;
    return step.key < (run.at.blocks + 1) * tiles;
}

/* The part of a block of the list. */
static __device__ __forceinline__ int32_t rf_walk_part(const rf_walk_run &run, int32_t block)
{
    return block == 0 ? run.part_before : block > run.at.blocks ? run.part_behind : run.at.part;
}

/* Begin to copy the rows of a tile's tokens [64] of two tensors (the second may be NULL). */
template <int Width, int Threads = rf_walk_threads>
static __device__ __forceinline__ void
rf_walk_copy_rows(const rf_attention_cut &cut, const rf_walk_run &run, const int32_t *tokens,
                  const __nv_bfloat16 *from, const __nv_bfloat16 *from_second,
                  __nv_bfloat16 (*rows)[Width + 8], __nv_bfloat16 (*second_rows)[Width + 8])
{
    constexpr int chunks = Width / 8; /* of 16 bytes, of a row */
    const int first = static_cast<int>(threadIdx.x) / chunks;
    const int column = static_cast<int>(threadIdx.x) % chunks * 8;
    const int32_t stride = static_cast<int32_t>(cut.heads) * cut.width;
    const bool is_inside = column < cut.width;
    const int64_t start = run.first_element + (is_inside ? column : 0);
#pragma unroll
    for (int row = first; row < first + rf_walk_tile; row += Threads / chunks) {
        const int32_t token = tokens[row];
        const bool is_there = is_inside && token >= 0;
        const int64_t at = start + static_cast<int64_t>(max(token, 0)) * stride;
        rf_copy_16(&rows[row][column], from + at, is_there);
        if (from_second != nullptr) {
            rf_copy_16(&second_rows[row][column], from_second + at, is_there);
        }
    }
}

/* Begin to copy the numbers of a tile's tokens [64]. */
static __device__ __forceinline__ void rf_walk_copy_numbers(const rf_walk_call &call,
                                                            const rf_walk_run &run,
                                                            const int32_t *tokens,
                                                            rf_walk_numbers *numbers)
{
    if (threadIdx.x < rf_walk_tile) {
        const int32_t token = tokens[threadIdx.x];
        rf_copy_16(&numbers[threadIdx.x], call.numbers + run.first_number + max(token, 0),
                   token >= 0);
    }
}

/* Tiles whose places stand in shared memory: two of queries, and two of keys behind them. */
constexpr int rf_walk_place_tiles = 4;

template <bool Paper>
static __device__ __forceinline__ void
rf_walk_copy_tile_places(const rf_walk_call &call, int64_t first_number, const int32_t *tokens,
                         void *shared, int slot)
{
    if constexpr (Paper) {
        rf_walk_copy_places<rf_walk_threads, rf_walk_tile>(
            call.places, static_cast<int>(threadIdx.x), first_number, 0, tokens,
            rf_walk_tile_places(call.places, shared, slot));
    }
}

/* Begin to copy a query tile of the list to slot `slot`. */
template <int Width, bool Carries, bool Paper>
static __device__ __forceinline__ void
rf_walk_copy_queries(const rf_walk_call &call, int32_t tile, int slot,
                     rf_walk_memory<Width, Carries, Paper> &memory)
{
    const int32_t *tokens = memory.tokens + tile * rf_walk_tile;
    const int ring = slot % rf_walk_sizes<Width, Carries, Paper>::slots;
    rf_walk_copy_rows<Width>(call.cut, memory.run, tokens, call.query, call.output_gradient,
                             memory.queries[ring], memory.gradients[ring]);
    rf_walk_copy_numbers(call, memory.run, tokens, memory.query_numbers[slot]);
    rf_walk_copy_tile_places<Paper>(call, memory.run.first_number, tokens, &memory, slot);
}

/* A key tile; its keys not where they stand among the queries. */
template <int Width, bool Carries, bool Paper>
static __device__ __forceinline__ void
rf_walk_copy_keys(const rf_walk_call &call, int32_t tile, int slot,
                  rf_walk_memory<Width, Carries, Paper> &memory)
{
    const int32_t *tokens = memory.tokens + tile * rf_walk_tile;
    const int ring = slot % rf_walk_sizes<Width, Carries, Paper>::slots;
    rf_walk_copy_rows<Width>(call.cut, memory.run, tokens, call.value,
                             Carries && call.shared ? nullptr : call.key, memory.values[ring],
                             memory.keys[ring]);
    rf_walk_copy_numbers(call, memory.run, tokens, memory.key_numbers[slot]);
    rf_walk_copy_tile_places<Paper>(call, memory.run.first_number, tokens, &memory, 2 + slot);
}

/* Rows g and g + 8 of a warp's 16: columns [0, 8 Columns) of sums become bf16, 16 bytes at a time,
 * from column `first` on of the rows of tokens [2] in `to` [batch, length, heads, width]. The four
 * lanes of a row exchange their pairs of columns. */
template <int Columns>
static __device__ __forceinline__ void
rf_walk_write(const rf_attention_cut &cut, const rf_attention_place &at, __nv_bfloat16 *to,
              int first, const int32_t (&tokens)[2], const float (&sums)[Columns][4])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const bool is_odd = quarter % 2 != 0;
    const bool is_high = quarter >= 2;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        __nv_bfloat16 *start = to + rf_attention_row(cut, at, max(tokens[row], 0)) + first;
#pragma unroll
        for (int n = 0; n < Columns; n += 4) {
            uint32_t words[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                words[i] = rf_mma_pack(sums[n + i][2 * row], sums[n + i][2 * row + 1]);
            }
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                const uint32_t given = is_odd ? words[i] : words[i + 1];
                const uint32_t got = __shfl_xor_sync(0xFFFFFFFFU, given, 1);
                words[i] = is_odd ? got : words[i];
                words[i + 1] = is_odd ? words[i + 1] : got;
            }
            const uint32_t x = __shfl_xor_sync(0xFFFFFFFFU, is_high ? words[0] : words[2], 2);
            const uint32_t y = __shfl_xor_sync(0xFFFFFFFFU, is_high ? words[1] : words[3], 2);
            const uint4 whole = is_high ? make_uint4(x, y, words[2], words[3])
                                        : make_uint4(words[0], words[1], x, y);
            const int column = 8 * (n + quarter);
            if (tokens[row] >= 0 && first + column < cut.width) {
                *reinterpret_cast<uint4 *>(start + column) = whole;
            }
        }
    }
}

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

/* As few runs as fill the device evenly. most: blocks of a run; slots: thread blocks that run at
 * the same time. */
static inline rf_walk_runs rf_walk_cut_runs(const rf_attention_plan *plan, int64_t most,
                                            int64_t slots)
{
    const int64_t blocks = plan->slots / plan->block;
    const int64_t sequences = plan->batch * plan->heads * plan->parts;
    const int64_t fewest = rf_cuda_blocks(blocks, most);
    const int64_t waves = rf_cuda_blocks(sequences * fewest, slots);
    const int64_t even = waves * slots / sequences;
    const int64_t runs = even < fewest ? fewest : even > blocks ? blocks : even;
    rf_walk_runs cut = {};
    cut.blocks = static_cast<int32_t>(rf_cuda_blocks(blocks, runs));
    cut.count = static_cast<int32_t>(rf_cuda_blocks(blocks, cut.blocks));
    cut.all = sequences * cut.count;
    return cut;
}

/* The numbers of each token and head [batch, heads, length]. */
void rf_walk_find_numbers(rf_device *device, const rf_block_attention_backward *backward,
                          const rf_attention_cut *cut, rf_walk_numbers *numbers);
/* Do the kernels of walk.cu and walk_forward.cu take this plan, and heads of this width? */
bool rf_walk_takes(const rf_attention_plan *plan, int64_t width);
rf_status rf_walk_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error);
rf_status rf_walk_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error);
size_t rf_walk_backward_scratch_size(const rf_device *device,
                                     const rf_block_attention_backward *backward);

#endif
