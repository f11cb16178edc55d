/* Attention of one new token a sequence over the windows of a cache (docs/generation.md), with the
 * arithmetic of block_attention and combine_rounds.
 *
 * First a block a (sequence, head, round) and 32 entries of the window: a thread finds the place of
 * an entry (for lists: down the tree, ops/bucket_lists.h), a warp takes eight keys at a time, a
 * thread a column of the values; maximum, sum and weighted values go to scratch. Then a block a
 * (sequence, head) puts pieces and rounds together. So a window is in flight on many
 * multiprocessors at once, and the time is that of a few dependent reads. Traffic: 2 x width floats
 * an entry. */
#include "ops/cuda/bucket_lists.cuh"

namespace
{

constexpr int threads = 128;
constexpr int warps = threads / rf_cuda_warp;
constexpr int entries = 32; /* of a piece */
constexpr int warp_entries = entries / warps;
static_assert(entries == rf_cuda_warp, "a warp has a lane an entry");
constexpr float self_score = -1e5F;

struct attending {
    rf_cuda_lists lists;
    const int32_t *state; /* [batch, RF_STEP_WORDS] */
    const uint8_t *kept;  /* [batch, capacity] */
    const float *query;   /* [batch, heads, width] */
    const float *rows;    /* [batch, heads, places, 2, width] */
    float *partial;       /* [batch, heads, rounds, pieces, 2 + width]: maximum, sum, values */
    float *output;        /* [batch, heads, width] */
    int64_t heads, rounds, places, width, capacity, pieces;
    int chunk, before, after;
    float scale;
    bool is_lsh, aligned;
};

/* A word of the state of the sequence that row_head, of [batch, heads], belongs to. */
__device__ __forceinline__ int state_word(const attending &call, int64_t row_head, int word)
{
    return call.state[row_head / call.heads * RF_STEP_WORDS + word];
}

__device__ __forceinline__ bool is_listed(const attending &call, int64_t row_head)
{
    return call.lists.all != nullptr && state_word(call, row_head, RF_STEP_LISTED) != 0;
}

/* The token of an entry of the window of list `index`, -1 if there is none. */
__device__ int token_of(const attending &call, int64_t index, int entry, int position)
{
    if (is_listed(call, index / call.rounds)) {
        const rf_cuda_list list = rf_cuda_list_at(call.lists, index);
        const int count = list.header[RF_LISTS_COUNT];
        const int chunk = list.header[RF_LISTS_LAST_SLOT] / call.chunk - call.before;
        const int64_t slot = static_cast<int64_t>(chunk) * call.chunk + entry;
        if (entry >= (call.before + 1 + call.after) * call.chunk) {
            return -1;
        }
        return rf_cuda_list_token(call.lists, list,
                                  static_cast<int>((slot % count + count) % count));
    }
    const int chunk = position / call.chunk - call.before;
    const int first = call.is_lsh || chunk < 0 ? 0 : chunk * call.chunk;
    const int token = first + entry;
    const int64_t row = index / call.rounds / call.heads;
    return token <= position && call.kept[row * call.capacity + token] != 0 ? token : -1;
}

/* Products of the query with the keys of this warp's entries; lane i gets that of entry i. */
__device__ float warp_products(const attending &call, const float *__restrict__ query,
                               const float *__restrict__ rows, const int *places)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int first = static_cast<int>(threadIdx.x) / rf_cuda_warp * warp_entries;
    float sums[warp_entries] = {};
    for (int64_t c = 4 * lane; c < call.width; c += 4 * rf_cuda_warp) {
        const rf_cuda_quad<float> q = rf_cuda_load_quad(query, c, call.width, call.aligned);
#pragma unroll
        for (int i = 0; i < warp_entries; i++) {
            const float *key = rows + static_cast<int64_t>(places[first + i]) * 2 * call.width;
            const rf_cuda_quad<float> k = rf_cuda_load_quad(key, c, call.width, call.aligned);
            sums[i] += (q.v[0] * k.v[0] + q.v[1] * k.v[1]) + (q.v[2] * k.v[2] + q.v[3] * k.v[3]);
        }
    }
    float own = 0.0F;
#pragma unroll
    for (int i = 0; i < warp_entries; i++) {
        const float sum = rf_cuda_warp_sum(sums[i]);
        own = lane == i ? sum : own;
    }
    return own;
}

/* weights [entries] in shared memory; to [width] */
__device__ void add_values(const attending &call, const float *__restrict__ rows, const int *places,
                           const float *weights, float *__restrict__ to)
{
    for (int64_t c = threadIdx.x; c < call.width; c += threads) {
        float sum = 0.0F;
#pragma unroll 8
        for (int i = 0; i < entries; i++) {
            const int64_t value = 2 * static_cast<int64_t>(places[i]) + 1;
            sum += weights[i] * rows[value * call.width + c];
        }
        to[c] = sum;
    }
}

__global__ void __launch_bounds__(threads) attend_piece(const attending call)
{
    __shared__ int tokens[entries];
    __shared__ int places[entries];
    __shared__ float scores[entries];
    __shared__ float weights[entries];
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % rf_cuda_warp;
    const int64_t index = blockIdx.x;
    const int64_t row_head = index / call.rounds;
    const int position = state_word(call, row_head, RF_STEP_POSITION);
    if (index % call.rounds > 0 && !is_listed(call, row_head)) {
        return; /* one window for all rounds, which round 0 has */
    }
    if (thread < entries) {
        const int entry = static_cast<int>(blockIdx.y) * entries + thread;
        const int token = token_of(call, index, entry, position);
        tokens[thread] = token;
        /* An entry without a token reads the new one's place, where there are numbers. */
        places[thread] = static_cast<int>((token < 0 ? position : token) % call.places);
    }
    __syncthreads();
    const float *rows = call.rows + row_head * call.places * 2 * call.width;
    const float product = warp_products(call, call.query + row_head * call.width, rows, places);
    if (lane < warp_entries) {
        const int entry = thread / rf_cuda_warp * warp_entries + lane;
        const bool is_self = call.is_lsh && tokens[entry] == position;
        const float score = is_self ? self_score : product * call.scale;
        scores[entry] = tokens[entry] < 0 ? -INFINITY : score;
    }
    __syncthreads();
    const float maximum = rf_cuda_warp_max(scores[lane]); /* every warp finds the same */
    const float weight = tokens[lane] < 0 ? 0.0F : expf(scores[lane] - maximum);
    const float sum = rf_cuda_warp_sum(weight);
    float *to = call.partial + (index * call.pieces + blockIdx.y) * (2 + call.width);
    if (thread < entries) {
        weights[thread] = weight;
    }
    if (thread == 0) {
        to[0] = maximum;
        to[1] = sum;
    }
    __syncthreads();
    if (maximum > -INFINITY) {
        add_values(call, rows, places, weights, to + 2);
    }
}

/* The maximum of a round's pieces and its log-normaliser m + log l, rounded once. One warp. */
__device__ void join_pieces(const attending &call, const float *pieces, float *maximum,
                            float *log_norm)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t stride = 2 + call.width;
    float highest = -INFINITY;
    for (int64_t i = lane; i < call.pieces; i += rf_cuda_warp) {
        highest = fmaxf(highest, pieces[i * stride]);
    }
    highest = rf_cuda_warp_max(highest);
    float sum = 0.0F;
    for (int64_t i = lane; i < call.pieces; i += rf_cuda_warp) {
        sum += pieces[i * stride + 1] * expf(pieces[i * stride] - highest);
    }
    sum = rf_cuda_warp_sum(sum);
    if (lane == 0) {
        *maximum = highest;
        *log_norm = __fadd_rn(highest, logf(sum));
    }
}

/* max + log of the sum over rounds, rounded once. */
__device__ float merge_norms(const float *log_norms, int64_t rounds)
{
    float highest = log_norms[0];
    float sum = 0.0F;
    for (int64_t round = 1; round < rounds; round++) {
        highest = fmaxf(highest, log_norms[round]);
    }
    for (int64_t round = 0; round < rounds; round++) {
        sum += expf(log_norms[round] - highest);
    }
    return __fadd_rn(highest, logf(sum));
}

/* Column c of one round's output. */
__device__ float round_value(const attending &call, const float *pieces, float maximum,
                             float log_norm, int64_t c)
{
    const int64_t stride = 2 + call.width;
    float sum = 0.0F;
    for (int64_t i = 0; i < call.pieces; i++) {
        const float highest = pieces[i * stride];
        if (highest > -INFINITY) {
            sum += expf(highest - maximum) * pieces[i * stride + 2 + c];
        }
    }
    return sum * expf(maximum - log_norm);
}

__global__ void __launch_bounds__(threads) join(const attending call)
{
    extern __shared__ float norms[]; /* [2, rounds]: maxima, log-normalisers */
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int64_t rounds = is_listed(call, blockIdx.x) ? call.rounds : 1;
    const int64_t size = call.pieces * (2 + call.width); /* of a round */
    const float *partial = call.partial + blockIdx.x * call.rounds * size;
    float *log_norms = norms + call.rounds;
    for (int64_t round = warp; round < rounds; round += warps) {
        join_pieces(call, partial + round * size, norms + round, log_norms + round);
    }
    __syncthreads();
    const float norm = rounds > 1 ? merge_norms(log_norms, rounds) : log_norms[0];
    for (int64_t c = threadIdx.x; c < call.width; c += threads) {
        float sum = 0.0F;
        for (int64_t round = 0; round < rounds; round++) {
            const float value =
                round_value(call, partial + round * size, norms[round], log_norms[round], c);
            sum += expf(log_norms[round] - norm) * value;
        }
        call.output[blockIdx.x * call.width + c] = sum;
    }
}

/* Pieces of the longest window. */
int64_t pieces_of(const rf_layer_cache *cache)
{
    const int64_t window = (cache->before + 1 + cache->after) * cache->chunk;
    const int64_t longest = window > cache->chunk + 1 ? window : cache->chunk + 1;
    return rf_cuda_blocks(longest, entries);
}

attending call_of(const rf_cache_attend *attend, void *scratch)
{
    const rf_layer_cache *cache = &attend->cache;
    const int64_t *shape = cache->rows.shape; /* [batch, heads, places, 2, width] */
    attending call = {};
    call.lists = rf_cuda_lists_of(cache);
    call.state = static_cast<const int32_t *>(attend->state.data);
    call.kept = static_cast<const uint8_t *>(attend->kept.data);
    call.query = static_cast<const float *>(attend->query.data);
    call.rows = static_cast<const float *>(cache->rows.data);
    call.partial = static_cast<float *>(scratch);
    call.output = static_cast<float *>(attend->output.data);
    call.heads = shape[1];
    call.rounds = call.lists.all == nullptr ? 1 : cache->rounds;
    call.places = shape[2];
    call.width = shape[4];
    call.capacity = attend->kept.shape[1];
    call.pieces = pieces_of(cache);
    call.chunk = static_cast<int>(cache->chunk);
    call.before = static_cast<int>(cache->before);
    call.after = static_cast<int>(cache->after);
    call.scale = attend->scale;
    call.is_lsh = cache->is_lsh;
    call.aligned =
        rf_cuda_is_aligned(call.query, call.width) && rf_cuda_is_aligned(call.rows, call.width);
    return call;
}

} // namespace

size_t rf_cuda_cache_attend_scratch_size(const rf_device *, const void *arguments)
{
    const rf_layer_cache *cache = &static_cast<const rf_cache_attend *>(arguments)->cache;
    const int64_t *shape = cache->rows.shape;
    const int64_t items = shape[0] * shape[1] * cache->rounds * pieces_of(cache);
    return static_cast<size_t>(items * (2 + shape[4])) * sizeof(float);
}

rf_status rf_cuda_cache_attend(rf_device *device, const void *arguments, void *scratch,
                               rf_error *error)
{
    const rf_cache_attend *given = static_cast<const rf_cache_attend *>(arguments);
    const attending call = call_of(given, scratch);
    const int64_t row_heads = given->cache.rows.shape[0] * call.heads;
    const size_t shared = static_cast<size_t>(2 * call.rounds) * sizeof(float);
    if (row_heads * call.rounds > INT32_MAX || call.pieces > 65535 || shared > 40000) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "cache_attend: %lld sequences and heads of %lld rounds with windows of "
                            "%lld tokens are too many for this device",
                            static_cast<long long>(row_heads), static_cast<long long>(call.rounds),
                            static_cast<long long>(call.pieces * entries));
    }
    if (row_heads > 0) {
        const dim3 grid(static_cast<unsigned>(row_heads * call.rounds),
                        static_cast<unsigned>(call.pieces));
        const cudaStream_t stream = rf_cuda_stream(device);
        attend_piece<<<grid, threads, 0, stream>>>(call);
        join<<<static_cast<unsigned>(row_heads), threads, shared, stream>>>(call);
    }
    return rf_cuda_launched(device, "cache_attend", error);
}
