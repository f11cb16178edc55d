/* Attention of one new token a sequence over the windows of a cache (docs/generation.md), with the
 * arithmetic of block_attention and combine_rounds.
 *
 * First a block a (sequence, head, round) and 32 entries of the window: a thread finds the place of
 * an entry (for lists: down the tree, ops/bucket_lists.h) and, where duplicates are corrected, in
 * how many windows it stands, a warp takes eight keys at a time, a thread a column of the values;
 * maximum, sum and weighted values go to scratch. Then a block a (sequence, head) puts pieces and
 * rounds together. So a window is in flight on many multiprocessors at once, and the time is that
 * of a few dependent reads. Traffic: 2 x width floats an entry. */
#include "ops/cuda/bucket_lists.cuh"

namespace
{

constexpr int threads = 128;
constexpr int warps = threads / rf_cuda_warp;
constexpr int entries = 32; /* of a piece */
constexpr int warp_entries = entries / warps;
constexpr int64_t most_blocks = 256; /* of a window: longer ones have several pieces a block */
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
    bool same_bucket, whole_buckets, is_clipped, is_exact;
    const int32_t *buckets; /* [batch, heads, list_capacity, rounds], or NULL: nothing is corrected
                             */
    int64_t list_capacity;
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

/* The first slot of the chunks of a list's window; may be negative. */
__device__ __forceinline__ int first_slot(const attending &call, const rf_cuda_list &list)
{
    return (list.header[RF_LISTS_LAST_SLOT] / call.chunk - call.before) * call.chunk;
}

/* The first token that a window without lists has. */
__device__ __forceinline__ int first_token(const attending &call, int position)
{
    const int chunk = position / call.chunk - call.before;
    return call.is_lsh || chunk < 0 ? 0 : chunk * call.chunk;
}

/* Entries of the window of list `index`, some of which may have no token. */
__device__ int window_entries(const attending &call, int64_t index, int position)
{
    if (!is_listed(call, index / call.rounds)) {
        return position - first_token(call, position) + 1;
    }
    const rf_cuda_list list = rf_cuda_list_at(call.lists, index);
    return call.whole_buckets ? list.sizes[list.header[RF_LISTS_LAST_BUCKET]]
                              : (call.before + 1 + call.after) * call.chunk;
}

__device__ __forceinline__ int pieces_used(const attending &call, int64_t index, int position)
{
    const int pieces = (window_entries(call, index, position) + entries - 1) / entries;
    return pieces < call.pieces ? pieces : static_cast<int>(call.pieces);
}

/* The token of an entry of a window from lists, -1 if there is none. */
__device__ int listed_token(const attending &call, const rf_cuda_list &list, int entry)
{
    const int count = list.header[RF_LISTS_COUNT];
    const int own = list.header[RF_LISTS_LAST_BUCKET];
    int bucket = 0;
    if (call.whole_buckets) {
        return rf_cuda_list_at_place(call.lists, list, own, entry);
    }
    int64_t slot = static_cast<int64_t>(first_slot(call, list)) + entry;
    if (call.is_clipped && (slot < 0 || slot >= count)) {
        return -1;
    }
    slot = (slot % count + count) % count;
    const int token = rf_cuda_list_token(call.lists, list, static_cast<int>(slot), &bucket);
    return call.same_bucket && bucket != own ? -1 : token;
}

/* The token of an entry of the window of list `index`, -1 if there is none. */
__device__ int token_of(const attending &call, int64_t index, int entry, int position)
{
    if (entry >= window_entries(call, index, position)) {
        return -1;
    }
    if (is_listed(call, index / call.rounds)) {
        return listed_token(call, rf_cuda_list_at(call.lists, index), entry);
    }
    const int token = first_token(call, position) + entry;
    const int64_t row = index / call.rounds / call.heads;
    return call.kept[row * call.capacity + token] != 0 ? token : -1;
}

/* A window as a test of a token by its bucket, as rf_window_test of the CPU's lists. */
struct window_test {
    int64_t first, last; /* bucket x 2^32 + token; first > last: over the end */
    int copies, only;
    bool has_rest;
};

__device__ int64_t key_of_slot(const attending &call, const rf_cuda_list &list, int slot)
{
    int bucket = 0;
    const int token = rf_cuda_list_token(call.lists, list, slot, &bucket);
    return (static_cast<int64_t>(bucket) << 32) + token;
}

__device__ window_test test_of(const attending &call, int64_t index)
{
    const rf_cuda_list list = rf_cuda_list_at(call.lists, index);
    const int count = list.header[RF_LISTS_COUNT];
    const int own = list.header[RF_LISTS_LAST_BUCKET];
    window_test test = {0, 0, 0, call.same_bucket ? own : -1, true};
    if (call.whole_buckets) {
        test.first = static_cast<int64_t>(own) << 32;
        test.last = test.first + INT32_MAX;
        return test;
    }
    const int length = (call.before + 1 + call.after) * call.chunk;
    const int first = first_slot(call, list);
    int begin = first > 0 ? first : 0;
    int rest = (first + length < count ? first + length : count) - begin;
    if (!call.is_clipped) {
        test.copies = length / count;
        begin = (first % count + count) % count;
        rest = length - test.copies * count;
    }
    test.has_rest = rest > 0;
    test.first = key_of_slot(call, list, begin);
    test.last = key_of_slot(call, list, (begin + (rest > 0 ? rest - 1 : 0)) % count);
    return test;
}

/* In how many entries of the windows of all rounds a token stands. tests [rounds] */
__device__ int copies_of(const attending &call, const window_test *tests, int64_t row_head,
                         int token)
{
    const int32_t *buckets = call.buckets + (row_head * call.list_capacity + token) * call.rounds;
    int copies = 0;
    for (int64_t round = 0; round < call.rounds; round++) {
        const window_test &test = tests[round];
        const int64_t key = (static_cast<int64_t>(buckets[round]) << 32) + token;
        const bool is_in = test.first <= test.last ? key >= test.first && key <= test.last
                                                   : key >= test.first || key <= test.last;
        if (test.only < 0 || test.only == buckets[round]) {
            copies += test.copies + (test.has_rest && is_in ? 1 : 0);
        }
    }
    return copies;
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

/* What a block works in. */
struct piece_memory {
    int tokens[entries], places[entries];
    float scores[entries], weights[entries], biases[entries];
};

/* Tokens and places of the piece's entries, and what corrects their scores. One warp. */
__device__ void find_entries(const attending &call, const window_test *tests, int64_t index,
                             int piece, int position, piece_memory &memory)
{
    const int thread = static_cast<int>(threadIdx.x);
    const int token = token_of(call, index, piece * entries + thread, position);
    const bool is_corrected = tests != nullptr && token >= 0;
    memory.tokens[thread] = token;
    /* An entry without a token reads the new one's place, where there are numbers. */
    memory.places[thread] = static_cast<int>((token < 0 ? position : token) % call.places);
    memory.biases[thread] =
        is_corrected ? -logf(static_cast<float>(copies_of(call, tests, index / call.rounds, token)))
                     : 0.0F;
}

__device__ void attend_one(const attending &call, int64_t index, int piece, int position,
                           piece_memory &memory)
{
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % rf_cuda_warp;
    const int64_t row_head = index / call.rounds;
    const float *rows = call.rows + row_head * call.places * 2 * call.width;
    const float product =
        warp_products(call, call.query + row_head * call.width, rows, memory.places);
    if (lane < warp_entries) {
        const int entry = thread / rf_cuda_warp * warp_entries + lane;
        const bool is_self = call.is_lsh && memory.tokens[entry] == position;
        const float score = is_self ? self_score : product * call.scale + memory.biases[entry];
        memory.scores[entry] = memory.tokens[entry] < 0 ? -INFINITY : score;
    }
    __syncthreads();
    const float maximum = rf_cuda_warp_max(memory.scores[lane]); /* every warp finds the same */
    const float weight = memory.tokens[lane] < 0 ? 0.0F : expf(memory.scores[lane] - maximum);
    const float sum = rf_cuda_warp_sum(weight);
    float *to = call.partial + (index * call.pieces + piece) * (2 + call.width);
    if (thread < entries) {
        memory.weights[thread] = weight;
    }
    if (thread == 0) {
        to[0] = maximum;
        to[1] = sum;
    }
    __syncthreads();
    if (maximum > -INFINITY) {
        add_values(call, rows, memory.places, memory.weights, to + 2);
    }
}

__global__ void __launch_bounds__(threads) attend_piece(const attending call)
{
    extern __shared__ window_test shared_tests[]; /* [rounds] where scores are corrected */
    __shared__ piece_memory memory;
    const int64_t index = blockIdx.x;
    const int64_t row_head = index / call.rounds;
    const int position = state_word(call, row_head, RF_STEP_POSITION);
    const bool has_lists = is_listed(call, row_head);
    const bool is_corrected = has_lists && call.buckets != nullptr;
    if (index % call.rounds > 0 && !has_lists) {
        return; /* one window for all rounds, which round 0 has */
    }
    const int first = static_cast<int>(blockIdx.y);
    const int used = pieces_used(call, index, position);
    for (int64_t round = threadIdx.x; is_corrected && first < used && round < call.rounds;
         round += threads) {
        shared_tests[round] = test_of(call, row_head * call.rounds + round);
    }
    for (int piece = first; piece < used; piece += static_cast<int>(gridDim.y)) {
        __syncthreads(); /* the tests are there, and the piece before is done */
        if (threadIdx.x < entries) {
            find_entries(call, is_corrected ? shared_tests : nullptr, index, piece, position,
                         memory);
        }
        __syncthreads();
        attend_one(call, index, piece, position, memory);
    }
}

/* Of a round's pieces: how many there are, the maximum, the log-normaliser m + log l, rounded once,
 * and what the weighted values are multiplied by. */
struct joined {
    int used;
    float maximum, log_norm, factor;
};

/* One warp; every lane gets it. */
__device__ joined join_pieces(const attending &call, const float *pieces, int used)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t stride = 2 + call.width;
    float highest = -INFINITY;
    for (int64_t i = lane; i < used; i += rf_cuda_warp) {
        highest = fmaxf(highest, pieces[i * stride]);
    }
    highest = rf_cuda_warp_max(highest);
    float sum = 0.0F;
    for (int64_t i = lane; i < used; i += rf_cuda_warp) {
        sum += pieces[i * stride + 1] * expf(pieces[i * stride] - highest);
    }
    sum = rf_cuda_warp_sum(sum);
    const float log_norm = __fadd_rn(highest, logf(sum));
    return {used, highest, log_norm, call.is_exact ? 1.0F / sum : expf(highest - log_norm)};
}

/* What the log-normalisers of rounds are taken from for their weights: max + log of the sum,
 * rounded once, so that weights sum to 1; or the maximum alone, where they are divided by their
 * sum. */
__device__ float merge_norms(const joined *all, int64_t rounds, bool is_exact)
{
    float highest = all[0].log_norm;
    float sum = 0.0F;
    for (int64_t round = 1; round < rounds; round++) {
        highest = fmaxf(highest, all[round].log_norm);
    }
    if (is_exact) {
        return highest;
    }
    for (int64_t round = 0; round < rounds; round++) {
        sum += expf(all[round].log_norm - highest);
    }
    return __fadd_rn(highest, logf(sum));
}

/* Column c of one round's output. */
__device__ float round_value(const attending &call, const float *pieces, const joined &round,
                             int64_t c)
{
    const int64_t stride = 2 + call.width;
    float sum = 0.0F;
    for (int64_t i = 0; i < round.used; i++) {
        const float highest = pieces[i * stride];
        if (highest > -INFINITY) {
            sum += expf(highest - round.maximum) * pieces[i * stride + 2 + c];
        }
    }
    return sum * round.factor;
}

__global__ void __launch_bounds__(threads) join(const attending call)
{
    extern __shared__ joined all[]; /* [rounds] */
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int64_t rounds = is_listed(call, blockIdx.x) ? call.rounds : 1;
    const int64_t size = call.pieces * (2 + call.width); /* of a round */
    const int64_t index = blockIdx.x * call.rounds;
    const int position = state_word(call, blockIdx.x, RF_STEP_POSITION);
    const float *partial = call.partial + index * size;
    for (int64_t round = warp; round < rounds; round += warps) {
        const int used = pieces_used(call, index + round, position);
        const joined own = join_pieces(call, partial + round * size, used);
        if (lane == 0) {
            all[round] = own;
        }
    }
    __syncthreads();
    const float norm = rounds > 1 ? merge_norms(all, rounds, call.is_exact) : all[0].log_norm;
    for (int64_t c = threadIdx.x; c < call.width; c += threads) {
        float sum = 0.0F;
        float weights = 0.0F;
        for (int64_t round = 0; round < rounds; round++) {
            const float weight = expf(all[round].log_norm - norm);
            sum += weight * round_value(call, partial + round * size, all[round], c);
            weights += weight;
        }
        call.output[blockIdx.x * call.width + c] = call.is_exact ? sum / weights : sum;
    }
}

/* Pieces of the longest window. */
int64_t pieces_of(const rf_layer_cache *cache)
{
    const int64_t chunks = (cache->before + 1 + cache->after) * cache->chunk;
    const int64_t window = cache->whole_buckets ? cache->capacity : chunks;
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
    call.same_bucket = cache->same_bucket;
    call.whole_buckets = cache->whole_buckets;
    call.is_clipped = cache->is_clipped;
    call.is_exact = cache->rounding == RF_ROUNDING_EXACT;
    call.buckets = static_cast<const int32_t *>(cache->buckets.data);
    call.list_capacity = cache->capacity;
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
    const size_t tests = static_cast<size_t>(call.rounds) * sizeof(window_test);
    const size_t norms = static_cast<size_t>(call.rounds) * sizeof(joined);
    if (row_heads * call.rounds > INT32_MAX || call.pieces > INT32_MAX / entries || tests > 40000) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "cache_attend: %lld sequences and heads of %lld rounds with windows of "
                            "%lld tokens are too many for this device",
                            static_cast<long long>(row_heads), static_cast<long long>(call.rounds),
                            static_cast<long long>(call.pieces * entries));
    }
    if (row_heads > 0) {
        const int64_t blocks = call.pieces < most_blocks ? call.pieces : most_blocks;
        const dim3 grid(static_cast<unsigned>(row_heads * call.rounds),
                        static_cast<unsigned>(blocks));
        const cudaStream_t stream = rf_cuda_stream(device);
        attend_piece<<<grid, threads, call.buckets != nullptr ? tests : 0, stream>>>(call);
        join<<<static_cast<unsigned>(row_heads), threads, norms, stream>>>(call);
    }
    return rf_cuda_launched(device, "cache_attend", error);
}
