/* One more token into a cache. One block a (sequence, head, round): the block of round 0 stores key
 * and value; each block hashes for its round (products of the query with the rotations, 256 columns
 * at a time, a thread a column; then per factor the argmax of concat(p, -p) over the block; of
 * hyperplanes a bit a thread) and
 * puts the token into its bucket, the tree's entries a lane each. Traffic: the rotations of the
 * round, width x columns floats a block. Kitaev et al. 2020, section 2. */
#include "ops/cuda/bucket_lists.cuh"

namespace
{

constexpr int threads = 256;
constexpr int warps = threads / rf_cuda_warp;

struct appending {
    rf_cuda_lists lists;
    const int32_t *state;     /* [batch, RF_STEP_WORDS] */
    const float *key, *value; /* [batch, heads, width]; key: LSH: the query */
    float *rows;              /* [batch, heads, places, 2, width] */
    int32_t *buckets;         /* [batch, heads, capacity, rounds], or NULL */
    int64_t capacity;
    const float *rotations; /* [heads, width, rounds, columns] */
    int64_t heads, rounds, places, width, columns;
    bool is_lsh;
    bool is_signs; /* hyperplanes */
    int factor_count;
    int factors[RF_MAX_BUCKET_FACTORS];
};

/* The best of concat(p, -p) so far: the largest value, and the lowest digit that has it. */
struct best {
    float value;
    int digit;
};

__device__ __forceinline__ best better(best a, best b)
{
    const bool is_b = b.value > a.value || (b.value == a.value && b.digit < a.digit);
    return is_b ? b : a;
}

/* Of all threads; every thread gets it. shared [warps] */
__device__ best block_best(best own, best *shared)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    for (int distance = rf_cuda_warp / 2; distance > 0; distance /= 2) {
        const best other = {__shfl_xor_sync(0xFFFFFFFFU, own.value, distance),
                            __shfl_xor_sync(0xFFFFFFFFU, own.digit, distance)};
        own = better(own, other);
    }
    __syncthreads(); /* the call before may still be read */
    if (lane == 0) {
        shared[warp] = own;
    }
    __syncthreads();
    own = shared[0];
    for (int i = 1; i < warps; i++) {
        own = better(own, shared[i]);
    }
    return own;
}

/* p = query . a column of the rotations; query [width], in shared memory. */
__device__ __forceinline__ float product(const appending &call, const float *query,
                                         const float *__restrict__ column)
{
    const int64_t step = call.rounds * call.columns;
    float sums[4] = {};
    int64_t i = 0;
#pragma unroll 4
    for (; i + 4 <= call.width; i += 4) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sums[j] += query[i + j] * column[(i + j) * step];
        }
    }
    for (; i < call.width; i++) {
        sums[0] += query[i] * column[i * step];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* The bucket of hyperplanes, whose columns are at most the lanes of the first warp; every thread
 * gets it. */
__device__ int hash_signs(const appending &call, const float *query, const float *rotations)
{
    __shared__ int bits;
    const int thread = static_cast<int>(threadIdx.x);
    const bool is_below = thread < call.columns && product(call, query, rotations + thread) < 0.0F;
    const unsigned votes = __ballot_sync(0xFFFFFFFFU, is_below ? 1 : 0);
    if (thread == 0) {
        bits = static_cast<int>(votes);
    }
    __syncthreads();
    return bits;
}

/* The bucket of the query in one round; every thread gets it. */
__device__ int hash(const appending &call, const float *query, int64_t head, int64_t round,
                    best *shared)
{
    const float *rotations =
        call.rotations + (head * call.width * call.rounds + round) * call.columns;
    int bucket = 0;
    int scale = 1;
    if (call.is_signs) {
        return hash_signs(call, query, rotations);
    }
    for (int f = 0; f < call.factor_count; f++) {
        const int half = call.factors[f] / 2;
        best own = {-INFINITY, call.factors[f]};
        for (int j = static_cast<int>(threadIdx.x); j < half; j += threads) {
            const float p = product(call, query, rotations + j);
            own = better(own, {p, j});
            own = better(own, {-p, half + j});
        }
        own = block_best(own, shared);
        bucket += scale * (own.digit < call.factors[f] ? own.digit : 0); /* no number among them */
        scale *= call.factors[f];
        rotations += half;
    }
    return bucket;
}

/* Put the token at the end of its bucket. One warp. */
__device__ void put(const rf_cuda_lists &lists, const rf_cuda_list &list, int bucket, int token)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int place = list.sizes[bucket];
    const int level = rf_cuda_level_of(place);
    const int places = RF_LISTS_FIRST << level;
    int32_t *start = list.starts + static_cast<int64_t>(bucket) * lists.levels + level;
    const int used = list.header[RF_LISTS_USED];
    const bool is_new = place == places - RF_LISTS_FIRST; /* the first of its level */
    const int begin = is_new ? used - place : *start;
    /* Lane n has the n-th entry of the way up, and the n-th of the way down from the bucket. */
    int up = bucket + 1;
    int down = bucket;
    for (int i = 0; i < lane; i++) {
        up += up <= lists.buckets ? up & -up : 0;
        down -= down & -down;
    }
    const int before = rf_cuda_warp_sum(down > 0 ? list.tree[down] : 0);
    __syncwarp();
    if (up <= lists.buckets) {
        list.tree[up]++;
    }
    if (lane == 0) {
        list.pool[begin + place] = token;
        list.sizes[bucket] = place + 1;
        list.header[RF_LISTS_COUNT]++;
        list.header[RF_LISTS_LAST_BUCKET] = bucket;
        list.header[RF_LISTS_LAST_SLOT] = before + place;
        if (is_new) {
            *start = begin;
            list.header[RF_LISTS_USED] = used + places;
        }
    }
}

/* query [width] in shared memory */
__device__ void store(const appending &call, const float *query, int64_t row_head, int position,
                      float *shared)
{
    float *to = call.rows + (row_head * call.places + position % call.places) * 2 * call.width;
    const float *value = call.value + row_head * call.width;
    float factor = 1.0F;
    if (call.is_lsh) {
        float sum = 0.0F;
        for (int64_t i = threadIdx.x; i < call.width; i += threads) {
            sum += query[i] * query[i];
        }
        const float mean = rf_cuda_block_sum<threads>(sum, shared) / static_cast<float>(call.width);
        factor = 1.0F / sqrtf(mean + 1e-6F) / sqrtf(static_cast<float>(call.width));
    }
    for (int64_t i = threadIdx.x; i < call.width; i += threads) {
        to[i] = query[i] * factor;
        to[call.width + i] = value[i];
    }
}

__global__ void __launch_bounds__(threads) append(const appending call)
{
    extern __shared__ float query[]; /* [width] */
    __shared__ best bests[warps];
    __shared__ float sums[warps];
    const int64_t round = blockIdx.x % call.rounds;
    const int64_t row_head = blockIdx.x / call.rounds;
    const int position = call.state[row_head / call.heads * RF_STEP_WORDS + RF_STEP_POSITION];
    for (int64_t i = threadIdx.x; i < call.width; i += threads) {
        query[i] = call.key[row_head * call.width + i];
    }
    __syncthreads();
    if (round == 0) {
        store(call, query, row_head, position, sums);
    }
    if (call.lists.all == nullptr) {
        return;
    }
    const int bucket = hash(call, query, row_head % call.heads, round, bests);
    if (threadIdx.x < rf_cuda_warp) {
        put(call.lists, rf_cuda_list_at(call.lists, blockIdx.x), bucket, position);
    }
    if (threadIdx.x == 0 && call.buckets != nullptr) {
        call.buckets[(row_head * call.capacity + position) * call.rounds + round] = bucket;
    }
}

appending call_of(const rf_cache_append *append)
{
    const int64_t *shape = append->cache.rows.shape; /* [batch, heads, places, 2, width] */
    appending call = {};
    call.lists = rf_cuda_lists_of(&append->cache);
    call.state = static_cast<const int32_t *>(append->state.data);
    call.is_lsh = append->cache.is_lsh;
    call.key = static_cast<const float *>(call.is_lsh ? append->query.data : append->key.data);
    call.value = static_cast<const float *>(append->value.data);
    call.rows = static_cast<float *>(append->cache.rows.data);
    call.heads = shape[1];
    call.places = shape[2];
    call.width = shape[4];
    call.rounds = call.lists.all == nullptr ? 1 : append->cache.rounds;
    if (call.lists.all != nullptr) {
        call.buckets = static_cast<int32_t *>(append->cache.buckets.data);
        call.capacity = append->cache.capacity;
        call.rotations = static_cast<const float *>(append->hash.rotations.data);
        call.columns = append->hash.rotations.shape[3];
        call.is_signs = append->hash.kind == RF_HASH_HYPERPLANE;
        call.factor_count = append->hash.factor_count;
        for (int i = 0; i < call.factor_count; i++) {
            call.factors[i] = static_cast<int>(append->hash.factors[i]);
        }
    }
    return call;
}

} // namespace

rf_status rf_cuda_cache_append(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const appending call = call_of(static_cast<const rf_cache_append *>(arguments));
    const rf_cache_append *given = static_cast<const rf_cache_append *>(arguments);
    const int64_t blocks = given->cache.rows.shape[0] * call.heads * call.rounds;
    /* Whole vectors of 16 bytes: the compiler reads the last numbers of an odd width with one load.
     */
    const size_t shared = static_cast<size_t>((call.width + 3) / 4 * 4) * sizeof(float);
    if (blocks > INT32_MAX || shared > 40000) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "cache_append: %lld lists of width %lld are too many or too wide for "
                            "this device",
                            static_cast<long long>(blocks), static_cast<long long>(call.width));
    }
    if (blocks > 0) {
        append<<<static_cast<unsigned>(blocks), threads, shared, rf_cuda_stream(device)>>>(call);
    }
    return rf_cuda_launched(device, "cache_append", error);
}
