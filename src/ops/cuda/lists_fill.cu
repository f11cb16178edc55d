/* A prompt's bucket lists: one block a list. Sizes are counted (integers: the order of additions
 * does not matter), their sums and the places in the pool come from a scan over the buckets, every
 * token is put where its slot says, and at last the running sums become the tree. Per token: two
 * reads of its bucket, one of the order, one write. */
#include "ops/cuda/bucket_lists.cuh"

namespace
{

constexpr int threads = 1024;
constexpr int warps = threads / rf_cuda_warp;
static_assert(warps == rf_cuda_warp, "one warp scans the sums of all");

struct filling {
    rf_cuda_lists lists;
    const int32_t *buckets, *order; /* [rows, heads, rounds, length] */
    int32_t *kept;                  /* [batch, all_heads, capacity, rounds], or NULL */
    int64_t capacity;
    int64_t rows, heads, rounds, length, all_heads, first_head;
};

/* Two sums at once: tokens, and words of the pool. */
struct sums {
    int tokens, words;
};

__device__ __forceinline__ sums warp_scan(sums value, int lane)
{
    for (int distance = 1; distance < rf_cuda_warp; distance *= 2) {
        const int tokens = __shfl_up_sync(0xFFFFFFFFU, value.tokens, distance);
        const int words = __shfl_up_sync(0xFFFFFFFFU, value.words, distance);
        if (lane >= distance) {
            value.tokens += tokens;
            value.words += words;
        }
    }
    return value;
}

/* Inclusive sums over the threads of the block, and the sums of all. shared [warps] */
__device__ sums block_scan(sums value, sums *shared, sums *all)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    value = warp_scan(value, lane);
    __syncthreads();
    if (lane == rf_cuda_warp - 1) {
        shared[warp] = value;
    }
    __syncthreads();
    if (warp == 0) {
        shared[lane] = warp_scan(shared[lane], lane);
    }
    __syncthreads();
    if (warp > 0) {
        value.tokens += shared[warp - 1].tokens;
        value.words += shared[warp - 1].words;
    }
    *all = shared[warps - 1];
    return value;
}

/* Words of the levels that `size` tokens take. */
__device__ __forceinline__ int words_of(int size)
{
    return size > 0 ? (2 << rf_cuda_level_of(size - 1)) * RF_LISTS_FIRST - RF_LISTS_FIRST : 0;
}

/* tree[b + 1] becomes the number of tokens in buckets 0 ... b, for now; starts and header. */
__device__ void place_buckets(const rf_cuda_lists &lists, const rf_cuda_list &list, sums *shared)
{
    sums before = {0, 0};
    for (int first = 0; first < lists.buckets; first += threads) {
        const int bucket = first + static_cast<int>(threadIdx.x);
        const int size = bucket < lists.buckets ? list.sizes[bucket] : 0;
        sums all = {0, 0};
        const sums upto = block_scan({size, words_of(size)}, shared, &all);
        if (bucket < lists.buckets) {
            const int start = before.words + upto.words - words_of(size);
            const int last = size > 0 ? rf_cuda_level_of(size - 1) : -1;
            list.tree[bucket + 1] = before.tokens + upto.tokens;
            for (int level = 0; level <= last; level++) {
                list.starts[static_cast<int64_t>(bucket) * lists.levels + level] = start;
            }
        }
        before.tokens += all.tokens;
        before.words += all.words;
    }
    if (threadIdx.x == 0) {
        list.tree[0] = 0;
        list.header[RF_LISTS_COUNT] = before.tokens;
        list.header[RF_LISTS_USED] = before.words;
        list.header[RF_LISTS_LAST_BUCKET] = 0;
        list.header[RF_LISTS_LAST_SLOT] = 0;
    }
}

/* From running sums to the tree: entry i is their difference over the buckets that it covers. From
 * the end, because an entry reads lower ones. */
__device__ void make_tree(const rf_cuda_lists &lists, const rf_cuda_list &list)
{
    const int tiles = (lists.buckets + threads - 1) / threads;
    for (int tile = tiles - 1; tile >= 0; tile--) {
        const int i = tile * threads + static_cast<int>(threadIdx.x) + 1;
        int value = 0;
        if (i <= lists.buckets) {
            value = list.tree[i] - list.tree[i - (i & -i)];
        }
        __syncthreads();
        if (i <= lists.buckets) {
            list.tree[i] = value;
        }
        __syncthreads();
    }
}

/* The buckets of number `index` of [batch, all_heads, rounds], where the cache keeps them. */
__device__ void keep_buckets(const filling &call, const int32_t *__restrict__ buckets,
                             int64_t index)
{
    if (call.kept == nullptr) {
        return;
    }
    int32_t *to = call.kept + index / call.rounds * call.capacity * call.rounds;
    for (int64_t token = threadIdx.x; token < call.length; token += threads) {
        to[token * call.rounds + index % call.rounds] = buckets[token];
    }
}

__global__ void __launch_bounds__(threads) fill(const filling call)
{
    __shared__ sums shared[warps];
    const int64_t round = blockIdx.x % call.rounds;
    const int64_t head = blockIdx.x / call.rounds % call.heads;
    const int64_t row = blockIdx.x / call.rounds / call.heads;
    const int64_t from_row = call.rows == 1 ? 0 : row;
    const int64_t from = ((from_row * call.heads + head) * call.rounds + round) * call.length;
    const int32_t *__restrict__ buckets = call.buckets + from;
    const int32_t *__restrict__ order = call.order + from;
    const int64_t index = (row * call.all_heads + call.first_head + head) * call.rounds + round;
    const rf_cuda_list list = rf_cuda_list_at(call.lists, index);
    keep_buckets(call, buckets, index);
    for (int i = static_cast<int>(threadIdx.x); i < call.lists.buckets; i += threads) {
        list.sizes[i] = 0;
    }
    __syncthreads();
    for (int64_t token = threadIdx.x; token < call.length; token += threads) {
        if (buckets[token] < call.lists.buckets) {
            atomicAdd(&list.sizes[buckets[token]], 1);
        }
    }
    __syncthreads();
    place_buckets(call.lists, list, shared);
    __syncthreads();
    const int listed = list.header[RF_LISTS_COUNT];
    for (int slot = static_cast<int>(threadIdx.x); slot < listed; slot += threads) {
        const int32_t token = order[slot];
        const int32_t bucket = buckets[token];
        const int start = list.starts[static_cast<int64_t>(bucket) * call.lists.levels];
        list.pool[start + slot - list.tree[bucket]] = token;
    }
    __syncthreads();
    make_tree(call.lists, list);
}

} // namespace

rf_status rf_cuda_lists_fill(rf_device *device, const void *arguments, void *, rf_error *error)
{
    const rf_lists_fill *lists = static_cast<const rf_lists_fill *>(arguments);
    const int64_t *shape = lists->buckets.shape; /* [rows, heads, rounds, length] */
    filling call = {};
    call.lists = rf_cuda_lists_of(&lists->cache);
    call.buckets = static_cast<const int32_t *>(lists->buckets.data);
    call.order = static_cast<const int32_t *>(lists->order.data);
    call.kept = static_cast<int32_t *>(lists->cache.buckets.data);
    call.capacity = lists->cache.capacity;
    call.rows = shape[0];
    call.heads = shape[1];
    call.rounds = shape[2];
    call.length = shape[3];
    call.all_heads = lists->cache.rows.shape[1];
    call.first_head = lists->first_head;
    const int64_t blocks = lists->cache.rows.shape[0] * call.heads * call.rounds;
    if (blocks > INT32_MAX) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "lists_fill: %lld lists are too many for one call on this device",
                            static_cast<long long>(blocks));
    }
    if (blocks > 0) {
        fill<<<static_cast<unsigned>(blocks), threads, 0, rf_cuda_stream(device)>>>(call);
    }
    return rf_cuda_launched(device, "lists_fill", error);
}
