/* Stable sort of the tokens of each (batch, head, round), here a list, by bucket: the order of
 * Hugging Face's argsort of bucket x length + position, without keys that could overflow. A radix
 * sort of token numbers from the least significant digit of the bucket on, at most 8 bits a pass,
 * so that any number of buckets costs the same counters; where tokens have segments, passes over
 * the digits of these follow. A pass is three kernels:
 *
 *     count    one block a tile of 4096 tokens: how many have each digit         counts [lists,
 * digits, tiles] scan     one block a list: exclusive sums over (digit, tile), so that each tile
 * knows where its tokens of a digit go scatter  one block a tile: each warp ranks its 512 tokens,
 * 32 at a time in order, among those of equal digit
 *
 * Counters are integers: the order of additions does not matter. Token numbers alone are moved;
 * buckets and segments are read again by number. Memory traffic per token and pass: read 8 bytes
 * twice, write 4 (and 4 for the inverse); scratch 4 bytes a token where there are several passes,
 * and 1/4 byte for the counters. */
#include "ops/cuda/cuda.cuh"

namespace
{

constexpr int threads = 256;
constexpr int warps = threads / rf_cuda_warp;
constexpr int steps = 16; /* tokens a thread */
constexpr int tile_tokens = threads * steps;
constexpr int warp_tokens = rf_cuda_warp * steps;
constexpr int most_digit_bits = 8;
constexpr int most_digits = 1 << most_digit_bits;
constexpr int scan_threads = 1024;
static_assert(most_digits <= threads, "scatter has one thread a digit");

/* One pass over all lists. */
struct sort_pass {
    int64_t lists, tiles; /* tiles of a list */
    int64_t length, slots;
    int shift, digits;
    const int32_t *values; /* buckets [lists, length], or segments [batch, length] */
    int64_t sharing;       /* lists that share a row of them */
    const int32_t *from;   /* [lists, from_stride] tokens; NULL: as written */
    int64_t from_stride;
    int32_t *to; /* [lists, to_stride] */
    int64_t to_stride;
    int32_t *counts;  /* [lists, digits, tiles] */
    int32_t *inverse; /* [lists, length], in the last pass; or NULL */
    bool last;
};

/* The token at place `index` of a list, and its digit. */
__device__ __forceinline__ int32_t token_at(const sort_pass &pass, int64_t list, int64_t index)
{
    return pass.from != nullptr ? pass.from[list * pass.from_stride + index]
                                : static_cast<int32_t>(index);
}

__device__ __forceinline__ int digit_of(const sort_pass &pass, int64_t list, int32_t token)
{
    return (pass.values[list / pass.sharing * pass.length + token] >> pass.shift) &
           (pass.digits - 1);
}

__global__ void __launch_bounds__(threads) count_digits(const sort_pass pass)
{
    __shared__ int32_t counts[most_digits];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t list = blockIdx.x / pass.tiles;
    const int64_t tile = blockIdx.x % pass.tiles;
    counts[thread] = 0;
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        const int64_t index = tile * tile_tokens + step * threads + thread;
        if (index < pass.length) {
            atomicAdd(&counts[digit_of(pass, list, token_at(pass, list, index))], 1);
        }
    }
    __syncthreads();
    if (thread < pass.digits) {
        pass.counts[(list * pass.digits + thread) * pass.tiles + tile] = counts[thread];
    }
}

/* Inclusive sum over the lanes of a warp. */
__device__ __forceinline__ int32_t warp_scan(int32_t value, int lane)
{
    for (int distance = 1; distance < rf_cuda_warp; distance *= 2) {
        const int32_t other = __shfl_up_sync(0xFFFFFFFFU, value, distance);
        value += lane >= distance ? other : 0;
    }
    return value;
}

/* counts of a list become their exclusive sums; these are places in the list, so they fit 32
 * bits. */
__global__ void __launch_bounds__(scan_threads) scan_counts(const sort_pass pass)
{
    __shared__ int32_t warp_sums[scan_threads / rf_cuda_warp];
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % rf_cuda_warp;
    const int warp = thread / rf_cuda_warp;
    const int64_t count = pass.digits * pass.tiles;
    int32_t *__restrict__ counts = pass.counts + blockIdx.x * count;
    int32_t carry = 0;
    for (int64_t first = 0; first < count; first += scan_threads) {
        const int64_t index = first + thread;
        const int32_t own = index < count ? counts[index] : 0;
        const int32_t within = warp_scan(own, lane);
        if (lane == rf_cuda_warp - 1) {
            warp_sums[warp] = within;
        }
        __syncthreads();
        if (warp == 0) {
            warp_sums[lane] = warp_scan(warp_sums[lane], lane);
        }
        __syncthreads();
        const int32_t before = warp > 0 ? warp_sums[warp - 1] : 0;
        if (index < count) {
            counts[index] = carry + before + within - own;
        }
        carry += warp_sums[scan_threads / rf_cuda_warp - 1];
        __syncthreads();
    }
}
static_assert(scan_threads / rf_cuda_warp == rf_cuda_warp, "one warp scans the sums of all");

/* starts [warps][digits], in shared memory: counts of a warp's digits become the first place of
 * each. One thread a digit. */
__device__ void find_starts(const sort_pass &pass, int64_t list, int64_t tile, int digit,
                            int32_t (*starts)[most_digits])
{
    if (digit < pass.digits) {
        int32_t place = pass.counts[(list * pass.digits + digit) * pass.tiles + tile];
        for (int warp = 0; warp < warps; warp++) {
            const int32_t count = starts[warp][digit];
            starts[warp][digit] = place;
            place += count;
        }
    }
}

__device__ __forceinline__ void put(const sort_pass &pass, int64_t list, int32_t token,
                                    int32_t place)
{
    pass.to[list * pass.to_stride + place] = token;
    if (pass.inverse != nullptr) {
        pass.inverse[list * pass.length + token] = place;
    }
}

__global__ void __launch_bounds__(threads) scatter(const sort_pass pass)
{
    __shared__ int32_t starts[warps][most_digits];
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % rf_cuda_warp;
    const int warp = thread / rf_cuda_warp;
    const int64_t list = blockIdx.x / pass.tiles;
    const int64_t tile = blockIdx.x % pass.tiles;
    const int64_t first = tile * tile_tokens + warp * warp_tokens + lane;
    int32_t tokens[steps];
    int digits[steps];
    for (int i = 0; i < warps; i++) {
        starts[i][thread] = 0;
    }
    __syncthreads();
#pragma unroll
    for (int step = 0; step < steps; step++) {
        const int64_t index = first + step * rf_cuda_warp;
        const bool is_there = index < pass.length;
        tokens[step] = is_there ? token_at(pass, list, index) : -1;
        digits[step] = is_there ? digit_of(pass, list, tokens[step]) : 0;
        if (is_there) {
            atomicAdd(&starts[warp][digits[step]], 1);
        }
    }
    __syncthreads();
    find_starts(pass, list, tile, thread, starts);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < steps; step++) {
        const unsigned present = __ballot_sync(0xFFFFFFFFU, tokens[step] >= 0);
        if (tokens[step] >= 0) {
            const unsigned equals = __match_any_sync(present, digits[step]);
            const int rank = __popc(equals & ((1U << lane) - 1U));
            const int32_t start = starts[warp][digits[step]];
            __syncwarp(present);
            if (rank == 0) {
                starts[warp][digits[step]] = start + __popc(equals);
            }
            put(pass, list, tokens[step], start + rank);
        }
        __syncwarp();
    }
    for (int64_t slot = pass.length + thread; pass.last && tile == 0 && slot < pass.slots;
         slot += threads) {
        pass.to[list * pass.to_stride + slot] = -1;
    }
}

/* How the bits of a bucket or segment are cut. */
struct digits_cut {
    int passes, bits; /* bits of a digit */
};

digits_cut cut_digits(int64_t count)
{
    int bits = 1;
    while ((count - 1) >> bits != 0) {
        bits++;
    }
    const int passes = (bits + most_digit_bits - 1) / most_digit_bits;
    return {passes, (bits + passes - 1) / passes};
}

/* A tile at least, so that the empty slots of a list without tokens are written. */
int64_t tiles_of(int64_t length)
{
    return length > 0 ? rf_cuda_blocks(length, tile_tokens) : 1;
}

int64_t lists_of(const rf_bucket_sort *sort)
{
    return sort->buckets.shape[0] * sort->buckets.shape[1] * sort->buckets.shape[2];
}

bool has_segments(const rf_bucket_sort *sort)
{
    return !rf_tensor_is_absent(&sort->segments);
}

/* With segments room for the longest digits, so that it does not grow where there are fewer
 * segments than planned. */
size_t counts_size(const rf_bucket_sort *sort)
{
    const int bits = has_segments(sort) ? most_digit_bits : cut_digits(sort->bucket_count).bits;
    const int64_t counts = lists_of(sort) * tiles_of(sort->buckets.shape[3]) << bits;
    return rf_cuda_align(static_cast<size_t>(counts) * sizeof(int32_t));
}

rf_status run_pass(rf_device *device, const sort_pass &pass, rf_error *error)
{
    const cudaStream_t stream = rf_cuda_stream(device);
    const unsigned blocks = static_cast<unsigned>(pass.lists * pass.tiles);
    count_digits<<<blocks, threads, 0, stream>>>(pass);
    scan_counts<<<static_cast<unsigned>(pass.lists), scan_threads, 0, stream>>>(pass);
    scatter<<<blocks, threads, 0, stream>>>(pass);
    return rf_cuda_launched(device, "bucket_sort", error);
}

/* What all passes share. */
sort_pass pass_of(const rf_bucket_sort *sort, void *scratch)
{
    sort_pass pass = {};
    pass.lists = lists_of(sort);
    pass.length = sort->buckets.shape[3];
    pass.slots = sort->order.shape[3];
    pass.tiles = tiles_of(pass.length);
    pass.counts = static_cast<int32_t *>(scratch);
    return pass;
}

/* Pass `i` of buckets.passes + segments.passes: what it sorts by. */
void choose_digit(const rf_bucket_sort *sort, const digits_cut &buckets, const digits_cut &segments,
                  int i, sort_pass &pass)
{
    const bool by_segment = i >= buckets.passes;
    const digits_cut &cut = by_segment ? segments : buckets;
    pass.values =
        static_cast<const int32_t *>(by_segment ? sort->segments.data : sort->buckets.data);
    pass.sharing = by_segment ? sort->buckets.shape[1] * sort->buckets.shape[2] : 1;
    pass.digits = 1 << cut.bits;
    pass.shift = (by_segment ? i - buckets.passes : i) * cut.bits;
}

} // namespace

size_t rf_cuda_bucket_sort_scratch_size(const rf_device *, const void *arguments)
{
    const rf_bucket_sort *sort = static_cast<const rf_bucket_sort *>(arguments);
    const bool several = has_segments(sort) || cut_digits(sort->bucket_count).passes > 1;
    const int64_t tokens = several ? lists_of(sort) * sort->buckets.shape[3] : 0;
    return counts_size(sort) + static_cast<size_t>(tokens) * sizeof(int32_t);
}

rf_status rf_cuda_bucket_sort(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_bucket_sort *sort = static_cast<const rf_bucket_sort *>(arguments);
    const digits_cut buckets = cut_digits(sort->bucket_count);
    const digits_cut segments =
        has_segments(sort) ? cut_digits(sort->segment_count) : digits_cut{0, 1};
    const int passes = buckets.passes + segments.passes;
    sort_pass pass = pass_of(sort, scratch);
    if (pass.lists == 0 || pass.slots == 0) {
        return RF_OK;
    }
    if (pass.lists > INT32_MAX / pass.tiles) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "bucket_sort: %lld lists of %lld tokens are too many for one call on "
                            "this device; sort fewer heads at once",
                            static_cast<long long>(pass.lists),
                            static_cast<long long>(pass.length));
    }
    int32_t *order = static_cast<int32_t *>(sort->order.data);
    int32_t *other = reinterpret_cast<int32_t *>(static_cast<char *>(scratch) + counts_size(sort));
    for (int i = 0; i < passes; i++) {
        const bool to_order = (passes - 1 - i) % 2 == 0; /* so that the last pass writes it */
        choose_digit(sort, buckets, segments, i, pass);
        pass.last = i == passes - 1;
        pass.from = i == 0 ? nullptr : to_order ? other : order;
        pass.from_stride = to_order ? pass.length : pass.slots;
        pass.to = to_order ? order : other;
        pass.to_stride = to_order ? pass.slots : pass.length;
        pass.inverse = pass.last ? rf_cuda_data<int32_t>(&sort->inverse) : nullptr;
        RF_TRY(run_pass(device, pass, error));
    }
    return RF_OK;
}
