/* Block attention in f32, backward, for any plan and heads of up to 256: all parts as one softmax,
 * P = exp(s - norm) recomputed from the merged norm (Kitaev, Kaiser, Levskaya 2020, appendix A; the
 * tiling is that of Dao et al. 2022; tile.cuh says how a plan is cut).
 *
 * Two kernels a part, one part after the other: the first owns queries and sums their gradients;
 * the second owns keys, meets the queries that see them (of the neighbouring parts too where the
 * window wraps) and sums the gradients of keys and values. A token stands once in a part, so each
 * sum has one owner and one order: plain reads, additions and writes, no atomics. Products are
 * found twice: seven a pair, 14 x width operations, instead of five. Tiles of the list whose pairs
 * all weigh exactly 0 are skipped.
 *
 * Scratch: output gradient . output, one number a token and head. */
#include "ops/cuda/block_attention/full.cuh"
#include "ops/cuda/block_attention/paper.cuh"

namespace
{

struct backward_call {
    rf_attention_cut cut;
    int32_t part; /* of the owners */
    const float *query, *key,
        *value;                   /* [batch, length, heads, width]; key NULL: made from the query */
    const float *output_gradient; /* like query */
    const float *norm;            /* [batch, heads, length] */
    const float *deltas;          /* [batch, heads, length] output gradient . output */
    float *query_gradient, *key_gradient, *value_gradient; /* like query */
};

/* Queries with their output gradients, or keys with their values. */
template <int Width, int Tile> struct side_memory {
    typename rf_attention_tile<Width, Tile>::rows first;  /* queries, or keys */
    typename rf_attention_tile<Width, Tile>::rows second; /* output gradients, or values */
    int32_t tokens[Tile], segments[Tile];
    int32_t positions[Tile];         /* of keys */
    int32_t parts[Tile];             /* of queries */
    int32_t buckets[Tile];           /* of the paper's attention: in the part of the queries */
    float norms[Tile], deltas[Tile]; /* of queries */
    float factors[Tile];             /* key = query x factor */
};

template <int Width, int Tile> struct backward_memory {
    side_memory<Width, Tile> owners, met;
    typename rf_attention_tile<Width, Tile>::scores weights;
};

/* deltas = output_gradient . output; one warp a row. */
__global__ void find_deltas(const rf_attention_cut cut, const float *__restrict__ output,
                            const float *__restrict__ output_gradient, float *__restrict__ deltas)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t rows = cut.batch * cut.length * cut.heads;
    for (int64_t row = rf_cuda_first() / rf_cuda_warp; row < rows;
         row += rf_cuda_stride() / rf_cuda_warp) {
        float sum = 0.0F;
        for (int column = lane; column < cut.width; column += rf_cuda_warp) {
            sum += output[row * cut.width + column] * output_gradient[row * cut.width + column];
        }
        sum = rf_cuda_warp_sum(sum);
        if (lane == 0) {
            const int64_t head = row % cut.heads;
            const int64_t batch = row / cut.heads / cut.length;
            deltas[(batch * cut.heads + head) * cut.length + row / cut.heads % cut.length] = sum;
        }
    }
}

/* One slot's numbers. */
template <int Width, int Tile, bool OwnQueries, bool Paper>
__device__ __forceinline__ void note_slot(const backward_call &call, const rf_attention_place &at,
                                          const rf_attention_slot &slot, int entry,
                                          side_memory<Width, Tile> &side)
{
    const int64_t row = (at.batch * call.cut.heads + at.head) * call.cut.length + slot.token;
    side.tokens[entry] = slot.token;
    side.segments[entry] = slot.segment;
    side.positions[entry] = slot.position;
    side.parts[entry] = slot.part;
    side.norms[entry] = slot.token >= 0 ? call.norm[row] : 0.0F;
    side.deltas[entry] = slot.token >= 0 ? call.deltas[row] : 0.0F;
    if constexpr (Paper) {
        const int32_t part = OwnQueries ? at.part : slot.part;
        side.buckets[entry] = rf_paper_bucket(call.cut, at, part, slot.token);
    }
}

/* The rows of noted slots. */
template <int Width, int Tile, bool AreQueries>
__device__ __forceinline__ void stage_side(const backward_call &call, const rf_attention_place &at,
                                           side_memory<Width, Tile> &side)
{
    const bool has_key = call.key != nullptr;
    const float *first = AreQueries || !has_key ? call.query : call.key;
    rf_attention_stage<Width, Tile>(call.cut, at, first, side.tokens, side.first);
    rf_attention_stage<Width, Tile>(call.cut, at, AreQueries ? call.output_gradient : call.value,
                                    side.tokens, side.second);
    if (!AreQueries && !has_key) {
        rf_attention_normalise<Width, Tile>(call.cut, side.first, side.factors);
    }
}

/* The owner beyond which a met token makes no pair with any of them under causality: the last
 * query, or the first key. */
template <int Width, int Tile, bool OwnQueries>
__device__ __forceinline__ int32_t bound_of(const side_memory<Width, Tile> &owners)
{
    int32_t bound = OwnQueries ? rf_attention_empty : rf_attention_unseen;
    for (int row = 0; row < Tile; row++) {
        const int32_t token = owners.tokens[row];
        bound = OwnQueries ? max(bound, token) : token >= 0 ? min(bound, token) : bound;
    }
    return bound;
}

/* Entries [first, first + Tile) of the list; false, in all threads, where none of them counts. */
template <int Width, int Tile, bool OwnQueries, bool Paper>
__device__ __forceinline__ bool gather_met(const backward_call &call, const rf_attention_place &at,
                                           int32_t first, int32_t bound,
                                           backward_memory<Width, Tile> &memory)
{
    const rf_attention_cut &cut = call.cut;
    bool is_idle = true;
    if (threadIdx.x < Tile) {
        const int entry = static_cast<int>(threadIdx.x);
        const rf_attention_slot slot =
            rf_attention_met(cut, at, OwnQueries ? cut.before : cut.after, first + entry);
        note_slot<Width, Tile, OwnQueries, Paper>(call, at, slot, entry, memory.met);
        const bool is_future = cut.causal && (OwnQueries ? slot.token > bound : slot.token < bound);
        const bool is_nothing =
            slot.token < 0 && (!OwnQueries || slot.token == rf_attention_absent);
        is_idle = is_nothing || (cut.may_skip && (slot.token < 0 || is_future));
    }
    if (__syncthreads_and(is_idle ? 1 : 0) != 0) {
        return false;
    }
    stage_side<Width, Tile, !OwnQueries>(call, at, memory.met);
    __syncthreads();
    return true;
}

/* The window column of a pair: owner `row` and entry `entry` of the list. */
template <bool OwnQueries>
__device__ __forceinline__ int32_t column_of(const rf_attention_cut &cut, int32_t owner_slot,
                                             int32_t entry)
{
    const int32_t block = owner_slot / cut.block;
    return OwnQueries
               ? entry - block * cut.block
               : (block + cut.window - 1 - entry / cut.block) * cut.block + owner_slot % cut.block;
}

/* Are the query and the key of one bucket, in the query's part? */
template <int Width, int Tile, bool OwnQueries>
__device__ __forceinline__ bool share_bucket(const rf_attention_cut &cut,
                                             const rf_attention_place &at,
                                             const side_memory<Width, Tile> &queries,
                                             const side_memory<Width, Tile> &keys, int q, int k)
{
    if (!cut.same_bucket) {
        return true;
    }
    const bool is_other_part = !OwnQueries && queries.parts[q] != at.part;
    const int32_t bucket = is_other_part
                               ? rf_paper_bucket(cut, at, queries.parts[q], keys.tokens[k])
                               : keys.buckets[k];
    return bucket == queries.buckets[q];
}

/* One pair: product = query . key and gradient = output gradient . value become the gradient of the
 * product; gives the probability after dropout. */
template <int Width, int Tile, bool OwnQueries, bool Paper>
__device__ __forceinline__ float
differentiate_pair(const rf_attention_cut &cut, const rf_attention_place &at, int32_t first,
                   const backward_memory<Width, Tile> &memory, int row, int entry, float product,
                   float &gradient)
{
    const side_memory<Width, Tile> &queries = OwnQueries ? memory.owners : memory.met;
    const side_memory<Width, Tile> &keys = OwnQueries ? memory.met : memory.owners;
    const int q = OwnQueries ? row : entry;
    const int k = OwnQueries ? entry : row;
    const int32_t owner_slot = at.first_row + row;
    const int32_t column =
        first + entry - owner_slot / cut.block * cut.block; /* of the owner's share of the list */
    const int32_t query = queries.tokens[q];
    const int32_t key = keys.tokens[k];
    const int32_t position = keys.positions[k];
    bool is_other = cut.segments != nullptr && queries.segments[q] != keys.segments[k];
    if constexpr (Paper) {
        is_other = is_other || !share_bucket<Width, Tile, OwnQueries>(cut, at, queries, keys, q, k);
    }
    if (query < 0 || key == rf_attention_absent || column < 0 || column >= cut.window * cut.block ||
        is_other) {
        gradient = 0.0F;
        return 0.0F;
    }
    float weight;
    if constexpr (Paper) {
        const float score = rf_paper_score(cut, at, product, query, key, position);
        weight = rf_paper_weight(cut, score, queries.norms[q], key == query);
    } else {
        weight = expf(rf_attention_score(cut, product, query, key, position) - queries.norms[q]);
    }
    float keep = 1.0F;
    if (cut.drops && weight != 0.0F) {
        keep = rf_attention_keep(cut, at, queries.parts[q], query,
                                 column_of<OwnQueries>(cut, owner_slot, first + entry));
    }
    const float along = cut.scale * (weight * (gradient * keep - queries.deltas[q]));
    gradient = rf_attention_is_set(cut, query, key, position) ? 0.0F : along;
    return weight * keep;
}

/* What a thread sums for its owners. */
template <int Width, int Tile> struct gradients {
    float4 first[rf_attention_tile<Width, Tile>::each]
                [rf_attention_tile<Width, Tile>::quads]; /* of queries, or keys */
    float4 second[rf_attention_tile<Width, Tile>::each]
                 [rf_attention_tile<Width, Tile>::quads]; /* of values */
};

/* All pairs of the owners and the staged entries. */
template <int Width, int Tile, bool OwnQueries, bool Paper>
__device__ __forceinline__ void
differentiate_tile(const rf_attention_cut &cut, const rf_attention_place &at, int32_t first,
                   backward_memory<Width, Tile> &memory, gradients<Width, Tile> &sums)
{
    constexpr int each = rf_attention_tile<Width, Tile>::each;
    const int first_row = rf_attention_first_row<Width, Tile>();
    float products[each][each];
    float of_products[each][each];
    rf_attention_multiply<Width, Tile>(cut, memory.owners.first, memory.met.first, products);
    rf_attention_multiply<Width, Tile>(cut, memory.owners.second, memory.met.second, of_products);
#pragma unroll
    for (int i = 0; i < each; i++) {
#pragma unroll
        for (int j = 0; j < each; j++) {
            const int entry = rf_attention_lane() + j * rf_attention_side;
            const float weight = differentiate_pair<Width, Tile, OwnQueries, Paper>(
                cut, at, first, memory, first_row + i, entry, products[i][j], of_products[i][j]);
            memory.weights[first_row + i][entry] = OwnQueries ? of_products[i][j] : weight;
        }
    }
    __syncwarp(); /* half a warp wrote the weights that it reads */
    if constexpr (!OwnQueries) {
        rf_attention_weigh<Width, Tile>(memory.weights, memory.met.second, sums.second);
        __syncwarp();
#pragma unroll
        for (int i = 0; i < each; i++) {
#pragma unroll
            for (int j = 0; j < each; j++) {
                memory.weights[first_row + i][rf_attention_lane() + j * rf_attention_side] =
                    of_products[i][j];
            }
        }
        __syncwarp();
    }
    rf_attention_weigh<Width, Tile>(memory.weights, memory.met.first, sums.first);
}

/* The gradient of key = query x factor (factor = 1 / norm of the query, about), pushed through to
 * the query: factor (g - (g . key) key). */
template <int Width, int Tile>
__device__ __forceinline__ void
push_through_key(const side_memory<Width, Tile> &owners, int row,
                 float4 (&gradient)[rf_attention_tile<Width, Tile>::quads])
{
    typedef rf_attention_tile<Width, Tile> tile;
    float along = 0.0F;
#pragma unroll
    for (int q = 0; q < tile::quads; q++) {
        const float4 key = *reinterpret_cast<const float4 *>(
            &owners.first[row][4 * (rf_attention_lane() + q * rf_attention_side)]);
        along += rf_attention_dot(gradient[q], key);
    }
    along = rf_cuda_warp_sum<rf_attention_side>(along);
#pragma unroll
    for (int q = 0; q < tile::quads; q++) {
        const float4 key = *reinterpret_cast<const float4 *>(
            &owners.first[row][4 * (rf_attention_lane() + q * rf_attention_side)]);
        rf_attention_add(gradient[q], -along, key);
        gradient[q] = rf_attention_scaled(gradient[q], owners.factors[row]);
    }
}

/* Add the sums to the outputs, or write them where nothing was added before. */
template <int Width, int Tile, bool OwnQueries>
__device__ __forceinline__ void
write_gradients(const backward_call &call, const rf_attention_place &at,
                const side_memory<Width, Tile> &owners, gradients<Width, Tile> &sums)
{
    typedef rf_attention_tile<Width, Tile> tile;
    const bool through_key = !OwnQueries && call.key == nullptr;
    const bool adds = call.part > 0;
    float *to_first = OwnQueries || through_key ? call.query_gradient : call.key_gradient;
#pragma unroll
    for (int i = 0; i < tile::each; i++) {
        const int row = rf_attention_first_row<Width, Tile>() + i;
        const int32_t token = owners.tokens[row];
        if (through_key) {
            push_through_key<Width, Tile>(owners, row, sums.first[i]);
        }
        if (token < 0) {
            continue;
        }
        const int64_t start = rf_attention_row(call.cut, at, token);
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            const int column = 4 * (rf_attention_lane() + q * rf_attention_side);
            rf_attention_store(call.cut, to_first + start, column, sums.first[i][q],
                               adds || through_key);
            if constexpr (!OwnQueries) {
                rf_attention_store(call.cut, call.value_gradient + start, column, sums.second[i][q],
                                   adds);
            }
        }
    }
}

template <int Width, int Tile, bool OwnQueries, bool Paper>
__global__ void __launch_bounds__(rf_attention_threads, 2) differentiate(const backward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    backward_memory<Width, Tile> &memory =
        *reinterpret_cast<backward_memory<Width, Tile> *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t index = blockIdx.x / cut.tiles; /* (batch, head) */
    rf_attention_place at = {};
    at.part = call.part;
    at.head = index % cut.heads;
    at.batch = index / cut.heads;
    rf_attention_find_tile(cut, static_cast<int32_t>(blockIdx.x % cut.tiles), Tile, at);
    if (threadIdx.x < Tile) {
        const int row = static_cast<int>(threadIdx.x);
        note_slot<Width, Tile, OwnQueries, Paper>(call, at, rf_attention_owner(cut, at, row), row,
                                                  memory.owners);
    }
    __syncthreads();
    stage_side<Width, Tile, OwnQueries>(call, at, memory.owners);
    const int32_t bound = bound_of<Width, Tile, OwnQueries>(memory.owners);
    gradients<Width, Tile> sums = {};
    int32_t first = 0;
    int32_t entries = (at.blocks + cut.window - 1) * cut.block;
    if constexpr (Paper) {
        if (cut.whole_buckets) {
            rf_paper_narrow<OwnQueries>(cut, at, first, entries);
        }
    }
    for (; first < entries; first += Tile) {
        if (gather_met<Width, Tile, OwnQueries, Paper>(call, at, first, bound, memory)) {
            differentiate_tile<Width, Tile, OwnQueries, Paper>(cut, at, first, memory, sums);
            __syncthreads(); /* before the next entries come */
        }
    }
    write_gradients<Width, Tile, OwnQueries>(call, at, memory.owners, sums);
}

backward_call backward_call_of(const rf_block_attention_backward *backward, int32_t tile,
                               const float *deltas)
{
    const rf_attention_plan *plan = &backward->plan;
    const int64_t width = backward->query.shape[3];
    backward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, tile);
    call.query = static_cast<const float *>(backward->query.data);
    call.key = plan->normalise_keys ? nullptr : static_cast<const float *>(backward->key.data);
    call.value = static_cast<const float *>(backward->value.data);
    call.output_gradient = static_cast<const float *>(backward->output_gradient.data);
    call.norm = static_cast<const float *>(backward->norm.data);
    call.deltas = deltas;
    call.query_gradient = static_cast<float *>(backward->query_gradient.data);
    call.key_gradient =
        plan->normalise_keys ? nullptr : static_cast<float *>(backward->key_gradient.data);
    call.value_gradient = static_cast<float *>(backward->value_gradient.data);
    const float *tensors[] = {
        call.query,          call.key,          call.value,         call.output_gradient,
        call.query_gradient, call.key_gradient, call.value_gradient};
    call.cut.by_quads = true;
    for (const float *tensor : tensors) {
        call.cut.by_quads = call.cut.by_quads && rf_cuda_is_aligned(tensor, width);
    }
    return call;
}

template <int Width, int Tile, bool Paper>
rf_status run_backward(rf_device *device, const rf_block_attention_backward *backward,
                       float *deltas, rf_error *error)
{
    const rf_attention_plan *plan = &backward->plan;
    RF_TRY(rf_attention_check_limits("block_attention_backward", plan, backward->query.shape[3],
                                     Tile, error));
    backward_call call = backward_call_of(backward, Tile, deltas);
    const int64_t blocks = plan->batch * plan->heads * call.cut.tiles;
    if (blocks == 0) {
        return RF_OK;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    constexpr size_t size = sizeof(backward_memory<Width, Tile>);
    constexpr cudaFuncAttribute most = cudaFuncAttributeMaxDynamicSharedMemorySize;
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(differentiate<Width, Tile, true, Paper>, most, size),
                          "block_attention_backward", error));
    RF_TRY(rf_cuda_status(
        device, cudaFuncSetAttribute(differentiate<Width, Tile, false, Paper>, most, size),
        "block_attention_backward", error));
    const int64_t rows = plan->batch * plan->length * plan->heads;
    find_deltas<<<rf_cuda_grid(device, rows * rf_cuda_warp, rf_cuda_threads), rf_cuda_threads, 0,
                  stream>>>(call.cut, static_cast<const float *>(backward->output.data),
                            call.output_gradient, deltas);
    for (int64_t part = 0; part < plan->parts; part++) {
        call.part = static_cast<int32_t>(part);
        differentiate<Width, Tile, true, Paper>
            <<<static_cast<unsigned>(blocks), rf_attention_threads, size, stream>>>(call);
        differentiate<Width, Tile, false, Paper>
            <<<static_cast<unsigned>(blocks), rf_attention_threads, size, stream>>>(call);
    }
    return rf_cuda_launched(device, "block_attention_backward", error);
}

} // namespace

/* Does the call go to the kernels of walk.cu or backward.cu? */
static bool is_fast(const rf_device *device, const rf_block_attention_backward *backward)
{
    return !device->plain_kernels && backward->output.dtype == RF_BF16 &&
           rf_fast_takes(&backward->plan, backward->query.shape[3]);
}

/* The call in f32: copies stand in scratch where tensors are bf16. */
static rf_block_attention_backward in_f32(const rf_block_attention_backward *backward,
                                          void *scratch, size_t *used)
{
    rf_block_attention_backward wide = *backward;
    wide.query = rf_attention_room(&backward->query, scratch, used);
    wide.value = rf_attention_room(&backward->value, scratch, used);
    wide.output = rf_attention_room(&backward->output, scratch, used);
    wide.output_gradient = rf_attention_room(&backward->output_gradient, scratch, used);
    wide.query_gradient = rf_attention_room(&backward->query_gradient, scratch, used);
    wide.value_gradient = rf_attention_room(&backward->value_gradient, scratch, used);
    if (!backward->plan.normalise_keys) {
        wide.key = rf_attention_room(&backward->key, scratch, used);
        wide.key_gradient = rf_attention_room(&backward->key_gradient, scratch, used);
    }
    return wide;
}

size_t rf_cuda_block_attention_backward_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_block_attention_backward *backward =
        static_cast<const rf_block_attention_backward *>(arguments);
    const rf_attention_plan *plan = &backward->plan;
    if (is_fast(device, backward)) {
        if (rf_full_takes(plan)) {
            return rf_full_backward_scratch_size(backward);
        }
        return rf_walk_takes(plan, backward->query.shape[3])
                   ? rf_walk_backward_scratch_size(device, backward)
                   : rf_fast_backward_scratch_size(backward);
    }
    size_t used = 0;
    (void)in_f32(backward, nullptr, &used);
    return used + static_cast<size_t>(plan->batch * plan->length * plan->heads) * sizeof(float);
}

template <bool Paper>
static rf_status run_wide(rf_device *device, const rf_block_attention_backward *wide, float *deltas,
                          rf_error *error)
{
    const int64_t width = wide->query.shape[3];
    if (width <= 64) {
        return run_backward<64, 64, Paper>(device, wide, deltas, error);
    }
    return width <= 128 ? run_backward<128, 32, Paper>(device, wide, deltas, error)
                        : run_backward<256, 16, Paper>(device, wide, deltas, error);
}

rf_status rf_cuda_block_attention_backward(rf_device *device, const void *arguments, void *scratch,
                                           rf_error *error)
{
    const rf_block_attention_backward *given =
        static_cast<const rf_block_attention_backward *>(arguments);
    const bool has_keys = !given->plan.normalise_keys;
    if (is_fast(device, given)) {
        if (rf_full_takes(&given->plan)) {
            return rf_full_backward(device, given, scratch, error);
        }
        return rf_walk_takes(&given->plan, given->query.shape[3])
                   ? rf_walk_backward(device, given, scratch, error)
                   : rf_fast_backward(device, given, scratch, error);
    }
    size_t used = 0;
    const rf_block_attention_backward wide = in_f32(given, scratch, &used);
    RF_TRY(rf_attention_convert(device, &given->query, &wide.query, error));
    RF_TRY(rf_attention_convert(device, &given->value, &wide.value, error));
    RF_TRY(rf_attention_convert(device, &given->output, &wide.output, error));
    RF_TRY(rf_attention_convert(device, &given->output_gradient, &wide.output_gradient, error));
    if (has_keys) {
        RF_TRY(rf_attention_convert(device, &given->key, &wide.key, error));
    }
    float *deltas = reinterpret_cast<float *>(static_cast<char *>(scratch) + used);
    RF_TRY(rf_paper_takes(&wide.plan) ? run_wide<true>(device, &wide, deltas, error)
                                      : run_wide<false>(device, &wide, deltas, error));
    if (has_keys) {
        RF_TRY(rf_attention_convert(device, &wide.key_gradient, &given->key_gradient, error));
    }
    RF_TRY(rf_attention_convert(device, &wide.query_gradient, &given->query_gradient, error));
    return rf_attention_convert(device, &wide.value_gradient, &given->value_gradient, error);
}
