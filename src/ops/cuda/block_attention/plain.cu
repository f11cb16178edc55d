/* Block attention in f32, forward, for any plan and heads of up to 256 (Kitaev, Kaiser, Levskaya
 * 2020, section 2; the tiling is that of Dao et al. 2022; tile.cuh says how a plan is cut).
 *
 * One block of threads a tile of queries of one (batch, head, part). It walks the tile's list of
 * keys, Tile at a time: gather keys and values into shared memory, products, the rules, the softmax
 * on line with maximum, sum and weighted values in registers. At the end values are multiplied by
 * exp(m - log_norm) and never divided by the sum, as the reference's rounding demands. Tiles of the
 * list whose pairs all weigh exactly 0 are skipped.
 *
 * Memory traffic per tile: its queries and outputs once, the keys and values of its list once:
 * n + window - 1 blocks for a tile of n whole blocks. 4 x width operations a pair on f32 units: by
 * arithmetic this kernel is bound by them (and by shared memory, which feeds 4 x 4 products a
 * thread with 8 reads of 16 bytes). */
#include "ops/cuda/block_attention/full.cuh"
#include "ops/cuda/block_attention/paper.cuh"

namespace
{

struct forward_call {
    rf_attention_cut cut;
    const float *query, *key,
        *value;      /* [batch, length, heads, width]; key NULL: made from the query */
    float *output;   /* [batch, parts, length, heads, width] */
    float *log_norm; /* [batch, heads, parts, length] */
};

template <int Width, int Tile> struct forward_memory {
    typename rf_attention_tile<Width, Tile>::rows queries, keys, values;
    typename rf_attention_tile<Width, Tile>::scores weights;
    int32_t query_tokens[Tile], query_segments[Tile];
    int32_t tokens[Tile], positions[Tile], segments[Tile]; /* of the list's entries */
    int32_t query_buckets[Tile], buckets[Tile];            /* of the paper's attention */
};

/* What a thread carries along the list, for its rows. */
template <int Width, int Tile> struct running {
    float maximum[rf_attention_tile<Width, Tile>::each];
    float sum[rf_attention_tile<Width, Tile>::each]; /* over this thread's columns only */
    float4 values[rf_attention_tile<Width, Tile>::each][rf_attention_tile<Width, Tile>::quads];
};

/* One row of products becomes scores in place; gives the largest of the whole row. column: where
 * the first staged entry stands in the row's window; negative before it. */
template <int Width, int Tile, bool Paper>
__device__ __forceinline__ float
score_row(const rf_attention_cut &cut, const rf_attention_place &at,
          const forward_memory<Width, Tile> &memory, int row, int32_t column,
          float (&scores)[rf_attention_tile<Width, Tile>::each])
{
    const int32_t query = memory.query_tokens[row];
    const int32_t segment = memory.query_segments[row];
    float highest = -INFINITY;
#pragma unroll
    for (int j = 0; j < rf_attention_tile<Width, Tile>::each; j++) {
        const int entry = rf_attention_lane() + j * rf_attention_side;
        const int32_t key = memory.tokens[entry];
        const bool is_met = key != rf_attention_absent && column + entry >= 0 &&
                            column + entry < cut.window * cut.block &&
                            (cut.segments == nullptr || memory.segments[entry] == segment);
        const int32_t position = memory.positions[entry];
        if constexpr (Paper) {
            const bool is_same =
                !cut.same_bucket || memory.buckets[entry] == memory.query_buckets[row];
            scores[j] = is_met && is_same && query >= 0
                            ? rf_paper_score(cut, at, scores[j], query, key, position)
                            : -INFINITY;
        } else {
            scores[j] =
                is_met ? rf_attention_score(cut, scores[j], query, key, position) : -INFINITY;
        }
        highest = fmaxf(highest, scores[j]);
    }
    return rf_cuda_warp_max<rf_attention_side>(highest);
}

/* Scores of the staged entries become weights in shared memory, relative to the largest score so
 * far, and are summed; what was summed before is brought to the new maximum. */
template <int Width, int Tile, bool Paper>
__device__ __forceinline__ void weigh_rows(
    const rf_attention_cut &cut, const rf_attention_place &at, int32_t first,
    forward_memory<Width, Tile> &memory,
    float (&scores)[rf_attention_tile<Width, Tile>::each][rf_attention_tile<Width, Tile>::each],
    running<Width, Tile> &sums)
{
    typedef rf_attention_tile<Width, Tile> tile;
    const int first_row = rf_attention_first_row<Width, Tile>();
#pragma unroll
    for (int i = 0; i < tile::each; i++) {
        const int row = first_row + i;
        const int32_t query = memory.query_tokens[row];
        const int32_t column =
            first - (at.first_row + row) / cut.block * cut.block; /* of the window, for entry 0 */
        const float highest =
            fmaxf(sums.maximum[i],
                  score_row<Width, Tile, Paper>(cut, at, memory, row, column, scores[i]));
        const float base = highest == -INFINITY ? 0.0F : highest; /* nothing met so far */
        const float factor = expf(sums.maximum[i] - base);
        sums.maximum[i] = highest;
        sums.sum[i] *= factor;
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            sums.values[i][q] = rf_attention_scaled(sums.values[i][q], factor);
        }
#pragma unroll
        for (int j = 0; j < tile::each; j++) {
            const int entry = rf_attention_lane() + j * rf_attention_side;
            float weight = expf(scores[i][j] - base);
            sums.sum[i] += weight;
            if (cut.drops && weight != 0.0F) {
                weight *= rf_attention_keep(cut, at, at.part, query, column + entry);
            }
            memory.weights[row][entry] = weight;
        }
    }
}

template <int Width, int Tile, bool Paper>
__device__ __forceinline__ void write_rows(const forward_call &call, const rf_attention_place &at,
                                           const forward_memory<Width, Tile> &memory,
                                           const running<Width, Tile> &sums)
{
    typedef rf_attention_tile<Width, Tile> tile;
    const rf_attention_cut &cut = call.cut;
    const int first_row = rf_attention_first_row<Width, Tile>();
    const int64_t first_norm =
        ((at.batch * cut.heads + at.head) * cut.parts + at.part) * cut.length;
    const int64_t first_output = (at.batch * cut.parts + at.part) * cut.length;
#pragma unroll
    for (int i = 0; i < tile::each; i++) {
        const int32_t query = memory.query_tokens[first_row + i];
        const float sum = rf_cuda_warp_sum<rf_attention_side>(sums.sum[i]);
        const float log_norm = __fadd_rn(
            sums.maximum[i], logf(sum)); /* rounded once: not contracted with what logf ends with */
        const float factor = Paper ? rf_paper_factor(cut, sums.maximum[i], sum, log_norm)
                                   : expf(sums.maximum[i] - log_norm);
        if (query < 0) {
            continue;
        }
        if (rf_attention_lane() == 0) {
            call.log_norm[first_norm + query] = log_norm;
        }
        float *output = call.output + ((first_output + query) * cut.heads + at.head) * cut.width;
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            rf_attention_store(cut, output, 4 * (rf_attention_lane() + q * rf_attention_side),
                               rf_attention_scaled(sums.values[i][q], factor), false);
        }
    }
}

/* The last token of the tile's queries, -1 where there is none. */
template <int Tile> __device__ __forceinline__ int32_t last_of(const int32_t (&tokens)[Tile])
{
    int32_t last = rf_attention_empty;
    for (int row = 0; row < Tile; row++) {
        last = max(last, tokens[row]);
    }
    return last;
}

/* Entries [first, first + Tile) of the list: their tokens, then, unless none of them counts, their
 * keys and values. False, in all threads, where none counts. */
template <int Width, int Tile, bool Paper>
__device__ __forceinline__ bool gather_keys(const forward_call &call, const rf_attention_place &at,
                                            int32_t first, int32_t last,
                                            forward_memory<Width, Tile> &memory)
{
    const rf_attention_cut &cut = call.cut;
    bool is_idle = true;
    if (threadIdx.x < Tile) {
        const int entry = static_cast<int>(threadIdx.x);
        const rf_attention_slot slot = rf_attention_met(cut, at, cut.before, first + entry);
        memory.tokens[entry] = slot.token;
        memory.positions[entry] = slot.position;
        memory.segments[entry] = slot.segment;
        if constexpr (Paper) {
            memory.buckets[entry] = rf_paper_bucket(cut, at, at.part, slot.token);
        }
        const bool is_masked = slot.token < 0 || (cut.causal && slot.token > last);
        is_idle = slot.token == rf_attention_absent || (cut.may_skip && is_masked);
    }
    if (__syncthreads_and(is_idle ? 1 : 0) != 0) {
        return false;
    }
    const bool has_key = call.key != nullptr;
    rf_attention_stage<Width, Tile>(cut, at, has_key ? call.key : call.query, memory.tokens,
                                    memory.keys);
    rf_attention_stage<Width, Tile>(cut, at, call.value, memory.tokens, memory.values);
    if (!has_key) {
        rf_attention_normalise<Width, Tile>(cut, memory.keys, nullptr);
    }
    __syncthreads();
    return true;
}

template <int Width, int Tile, bool Paper>
__global__ void __launch_bounds__(rf_attention_threads, 2) attend(const forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    forward_memory<Width, Tile> &memory = *reinterpret_cast<forward_memory<Width, Tile> *>(shared);
    typedef rf_attention_tile<Width, Tile> tile;
    const rf_attention_cut &cut = call.cut;
    const int64_t index = blockIdx.x / cut.tiles; /* (batch, head, part) */
    rf_attention_place at = {};
    at.part = static_cast<int32_t>(index % cut.parts);
    at.head = index / cut.parts % cut.heads;
    at.batch = index / cut.parts / cut.heads;
    rf_attention_find_tile(cut, static_cast<int32_t>(blockIdx.x % cut.tiles), Tile, at);
    if (threadIdx.x < Tile) {
        const rf_attention_slot slot =
            rf_attention_owner(cut, at, static_cast<int32_t>(threadIdx.x));
        memory.query_tokens[threadIdx.x] = slot.token;
        memory.query_segments[threadIdx.x] = slot.segment;
        if constexpr (Paper) {
            memory.query_buckets[threadIdx.x] = rf_paper_bucket(cut, at, at.part, slot.token);
        }
    }
    __syncthreads();
    const int32_t last = last_of(memory.query_tokens);
    if (last < 0) {
        return;
    }
    rf_attention_stage<Width, Tile>(cut, at, call.query, memory.query_tokens, memory.queries);
    running<Width, Tile> sums = {};
    for (int i = 0; i < tile::each; i++) {
        sums.maximum[i] = -INFINITY;
    }
    int32_t first = 0;
    int32_t entries = (at.blocks + cut.window - 1) * cut.block;
    if constexpr (Paper) {
        if (cut.whole_buckets) {
            rf_paper_narrow<true>(cut, at, first, entries);
        }
    }
    for (; first < entries; first += Tile) {
        if (gather_keys<Width, Tile, Paper>(call, at, first, last, memory)) {
            float scores[tile::each][tile::each];
            rf_attention_multiply<Width, Tile>(cut, memory.queries, memory.keys, scores);
            weigh_rows<Width, Tile, Paper>(cut, at, first, memory, scores, sums);
            __syncwarp(); /* half a warp wrote the weights that it reads */
            rf_attention_weigh<Width, Tile>(memory.weights, memory.values, sums.values);
            __syncthreads(); /* before the next entries come */
        }
    }
    write_rows<Width, Tile, Paper>(call, at, memory, sums);
}

template <int Width, int Tile, bool Paper>
rf_status run_forward(rf_device *device, const rf_block_attention *attention, rf_error *error)
{
    const rf_attention_plan *plan = &attention->plan;
    const int64_t width = attention->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention", plan, width, Tile, error));
    forward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, Tile);
    call.query = static_cast<const float *>(attention->query.data);
    call.key = plan->normalise_keys ? nullptr : static_cast<const float *>(attention->key.data);
    call.value = static_cast<const float *>(attention->value.data);
    call.output = static_cast<float *>(attention->output.data);
    call.log_norm = static_cast<float *>(attention->log_norm.data);
    call.cut.by_quads =
        rf_cuda_is_aligned(call.query, width) && rf_cuda_is_aligned(call.key, width) &&
        rf_cuda_is_aligned(call.value, width) && rf_cuda_is_aligned(call.output, width);
    const int64_t blocks = plan->batch * plan->heads * plan->parts * call.cut.tiles;
    if (blocks == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    constexpr size_t size = sizeof(forward_memory<Width, Tile>);
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(attend<Width, Tile, Paper>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize, size),
                          "block_attention", error));
    attend<Width, Tile, Paper>
        <<<static_cast<unsigned>(blocks), rf_attention_threads, size, stream>>>(call);
    return rf_cuda_launched(device, "block_attention", error);
}

} // namespace

/* Does the call go to the kernels of full_forward.cu, walk_forward.cu, or else forward.cu? */
static bool is_fast(const rf_device *device, const rf_block_attention *attention)
{
    return !device->plain_kernels && attention->output.dtype == RF_BF16 &&
           rf_fast_takes(&attention->plan, attention->query.shape[3]);
}

/* The call in f32: copies stand in scratch where tensors are bf16. */
static rf_block_attention in_f32(const rf_block_attention *attention, void *scratch, size_t *used)
{
    rf_block_attention wide = *attention;
    wide.query = rf_attention_room(&attention->query, scratch, used);
    wide.value = rf_attention_room(&attention->value, scratch, used);
    wide.key = rf_attention_room(&attention->key, scratch, used);
    wide.output = rf_attention_room(&attention->output, scratch, used);
    return wide;
}

size_t rf_cuda_block_attention_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_block_attention *attention = static_cast<const rf_block_attention *>(arguments);
    if (is_fast(device, attention)) {
        return rf_full_takes(&attention->plan) ? rf_full_forward_scratch_size(attention)
                                               : rf_fast_forward_scratch_size(attention);
    }
    size_t used = 0;
    (void)in_f32(attention, nullptr, &used);
    return used;
}

template <bool Paper>
static rf_status run_wide(rf_device *device, const rf_block_attention *wide, rf_error *error)
{
    const int64_t width = wide->query.shape[3];
    if (width <= 64) {
        return run_forward<64, 64, Paper>(device, wide, error);
    }
    return width <= 128 ? run_forward<128, 32, Paper>(device, wide, error)
                        : run_forward<256, 16, Paper>(device, wide, error);
}

rf_status rf_cuda_block_attention(rf_device *device, const void *arguments, void *scratch,
                                  rf_error *error)
{
    const rf_block_attention *given = static_cast<const rf_block_attention *>(arguments);
    if (is_fast(device, given)) {
        if (rf_full_takes(&given->plan)) {
            return rf_full_forward(device, given, scratch, error);
        }
        return rf_walk_takes(&given->plan, given->query.shape[3])
                   ? rf_walk_forward(device, given, scratch, error)
                   : rf_fast_forward(device, given, scratch, error);
    }
    size_t used = 0;
    const rf_block_attention wide = in_f32(given, scratch, &used);
    RF_TRY(rf_attention_convert(device, &given->query, &wide.query, error));
    RF_TRY(rf_attention_convert(device, &given->value, &wide.value, error));
    RF_TRY(rf_attention_convert(device, &given->key, &wide.key, error));
    RF_TRY(rf_paper_takes(&wide.plan) ? run_wide<true>(device, &wide, error)
                                      : run_wide<false>(device, &wide, error));
    return rf_attention_convert(device, &wide.output, &given->output, error);
}
