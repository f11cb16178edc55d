/* Angular locality-sensitive hashing (Kitaev et al. 2020, section 2) of bf16 queries on the tensor
 * cores: products of bf16 with f32 sums, then per factor the argmax of concat(p, -p).
 *
 * A first kernel draws or rounds the rotations to bf16 once a call, in the order in which they are
 * used. A warp holds 16 or 32 queries as operands in registers and walks the columns of all rounds,
 * which its block brings to shared memory a stage at a time, the next while this one is used. Each
 * lane keeps the best of its columns; at the end of a factor the four lanes of a row find the best
 * of all. Products never leave the registers.
 *
 * Columns stand in groups of 8, and a factor's last group is filled up with copies of its last
 * column: they lose every tie. The order of the width within a product is free, so lane 4 g + q has
 * elements [8 q, 8 q + 8) of each 32 of row, or column, g: one access of 16 bytes for two
 * instructions.
 *
 * Memory traffic per token and head: 2 x width bytes read, 4 x rounds written; the columns, 2 x
 * width bytes each, are read from the cache once a block. 2 x width operations a token, head and
 * column. Scratch: the rotations, 2 x heads x width x rounds x columns bytes with the width filled
 * up to 32, 64, 128 or 256 and each factor's columns to a multiple of 8. */
#include "ops/cuda/block_attention/mma.cuh"
#include "ops/cuda/bucket_hash.cuh"

namespace
{

constexpr int threads = 128;
constexpr int warps = threads / rf_cuda_warp;
constexpr int group = 8; /* columns of a product */

struct hashing {
    int64_t tiles; /* of a sequence */
    int64_t length, heads, rounds;
    int width;
    int32_t round_groups; /* of columns, of a round */
    int64_t groups;       /* of all rounds */
    int factor_count;
    int factors[RF_MAX_BUCKET_FACTORS];
    const __nv_bfloat16 *query; /* [batch, length, heads, width] */
    __nv_bfloat16 *rotations;   /* [heads, groups, Width / 32, 32 lanes, 8] */
    const uint8_t *key_mask;    /* [batch, length] or NULL */
    int32_t *buckets;           /* [batch, heads, rounds, length] */
};

/* Heads of up to Width. */
template <int Width> struct hash_sizes {
    static constexpr int tiles = Width > 128 ? 1 : 2; /* of 16 queries, of a warp */
    static constexpr int rows = 16 * tiles * warps;   /* of a block */
    static constexpr int pieces = Width / 32;
    static constexpr int stage = 1024 / Width; /* groups: 16 KiB */
    typedef uint4 group_columns[pieces][rf_cuda_warp];
};

/* ---- rotations
 * ----------------------------------------------------------------------------------------------------------
 */

/* The rotations as they are given or drawn. */
struct rotation_source {
    const float *given; /* [heads, width, rounds, columns], those of the group's heads; or NULL */
    rf_random_key key;
    int64_t first; /* of the key: number of the first of the group's heads */
    int64_t columns;
};

/* The column of a round that stands at `column` of group `round_group`. */
__device__ __forceinline__ int32_t column_at(const hashing &call, int32_t round_group, int column)
{
    int32_t first = 0; /* column of the factor */
    for (int factor = 0; factor < call.factor_count; factor++) {
        const int32_t half = call.factors[factor] / 2;
        const int32_t groups = (half + group - 1) / group;
        if (round_group < groups) {
            return first + min(round_group * group + column, half - 1);
        }
        round_group -= groups;
        first += half;
    }
    return first - 1;
}

template <int Width>
__global__ void order_rotations(const hashing call, const rotation_source source)
{
    const int64_t head_count = call.groups * group * Width;
    for (int64_t i = rf_cuda_first(); i < call.heads * head_count; i += rf_cuda_stride()) {
        const int64_t head = i / head_count;
        const int64_t number = i % head_count / (group * Width); /* of the group */
        const int within = static_cast<int>(i % (group * Width));
        const int lane = within / 8 % rf_cuda_warp;
        const int row = within / (8 * rf_cuda_warp) * 32 + lane % 4 * 8 + within % 8;
        const int64_t round = number / call.round_groups;
        const int32_t column =
            column_at(call, static_cast<int32_t>(number % call.round_groups), lane / 4);
        float value = 0.0F;
        if (row < call.width) {
            const int64_t at =
                ((head * call.width + row) * call.rounds + round) * source.columns + column;
            value = source.given != nullptr
                        ? source.given[at]
                        : rf_cuda_normal(source.key, static_cast<uint64_t>(source.first + at));
        }
        call.rotations[i] = __float2bfloat16_rn(value);
    }
}

/* ---- hashing
 * ------------------------------------------------------------------------------------------------------------
 */

/* The best of a factor so far, of one row and this lane's columns. */
struct best {
    float largest, smallest;
    int32_t largest_column, smallest_column;
};

/* A row of queries. */
struct hash_row {
    best found;
    int32_t bucket;
};

/* Where the walk stands in the columns. */
struct cursor {
    int64_t round;
    int factor;
    int32_t column; /* of the factor */
    int32_t scale;  /* of the factor's digit */
};

__device__ __forceinline__ void take_in(best &found, float product, int32_t column)
{
    const bool is_larger = product > found.largest;
    const bool is_smaller = product < found.smallest;
    found.largest = is_larger ? product : found.largest;
    found.largest_column = is_larger ? column : found.largest_column;
    found.smallest = is_smaller ? product : found.smallest;
    found.smallest_column = is_smaller ? column : found.smallest_column;
}

/* The digit of a row: the argmax of concat(p, -p) over its four lanes; the lowest wins a tie. */
__device__ __forceinline__ int32_t find_digit(const best &found, int32_t half)
{
    const bool is_positive = found.largest >= -found.smallest;
    float value = is_positive ? found.largest : -found.smallest;
    int32_t digit = is_positive ? found.largest_column : half + found.smallest_column;
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2) {
        const float other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        const int32_t other_digit = __shfl_xor_sync(0xFFFFFFFFU, digit, distance);
        const bool is_better = other > value || (other == value && other_digit < digit);
        value = is_better ? other : value;
        digit = is_better ? other_digit : digit;
    }
    return digit;
}

/* The warp's queries as operands: rows[tile][step] of 16 queries and 16 of the width. from: the
 * first query; `left` of them are there. */
template <int Width>
__device__ __forceinline__ void load_rows(const hashing &call, const __nv_bfloat16 *from,
                                          int64_t left,
                                          uint32_t (&rows)[hash_sizes<Width>::tiles][Width / 16][4])
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int tile = 0; tile < hash_sizes<Width>::tiles; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int64_t row = 16 * tile + 8 * half + lane / 4;
#pragma unroll
            for (int piece = 0; piece < Width / 32; piece++) {
                const int column = 32 * piece + lane % 4 * 8;
                uint4 found = make_uint4(0, 0, 0, 0);
                if (row < left && column < call.width) {
                    found = *reinterpret_cast<const uint4 *>(from + row * call.heads * call.width +
                                                             column);
                }
                rows[tile][2 * piece][half] = found.x;
                rows[tile][2 * piece][2 + half] = found.y;
                rows[tile][2 * piece + 1][half] = found.z;
                rows[tile][2 * piece + 1][2 + half] = found.w;
            }
        }
    }
}

/* Products of the warp's queries and a group of columns, taken in. */
template <int Width>
__device__ __forceinline__ void
walk_group(const uint32_t (&rows)[hash_sizes<Width>::tiles][Width / 16][4],
           const typename hash_sizes<Width>::group_columns &columns, int32_t first,
           hash_row (&found)[hash_sizes<Width>::tiles][2])
{
    constexpr int tiles = hash_sizes<Width>::tiles;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    float products[tiles][4] = {};
#pragma unroll
    for (int piece = 0; piece < Width / 32; piece++) {
        const uint4 b = columns[piece][lane];
#pragma unroll
        for (int tile = 0; tile < tiles; tile++) {
            rf_mma(products[tile], rows[tile][2 * piece], b.x, b.y);
            rf_mma(products[tile], rows[tile][2 * piece + 1], b.z, b.w);
        }
    }
    const int32_t column = first + lane % 4 * 2;
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            take_in(found[tile][i / 2].found, products[tile][i], column + i % 2);
        }
    }
}

/* Complete factors go to the buckets, complete rounds to `to` [rounds, length], of the warp's first
 * query. */
template <int Width>
__device__ __forceinline__ void finish_factor(const hashing &call, int32_t *to, int64_t left,
                                              const bool (&masked)[hash_sizes<Width>::tiles][2],
                                              cursor &at,
                                              hash_row (&rows)[hash_sizes<Width>::tiles][2])
{
    const int32_t half = call.factors[at.factor] / 2;
    const bool ends_round = at.factor + 1 == call.factor_count;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int tile = 0; tile < hash_sizes<Width>::tiles; tile++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            hash_row &row = rows[tile][i];
            row.bucket += at.scale * find_digit(row.found, half);
            row.found = {-INFINITY, INFINITY, 0, 0};
            if (ends_round) {
                const int64_t token = 16 * tile + 8 * i + lane / 4;
                if (lane % 4 == 0 && token < left) {
                    to[at.round * call.length + token] =
                        masked[tile][i] ? at.scale * 2 * half : row.bucket;
                }
                row.bucket = 0;
            }
        }
    }
    at.column = 0;
    at.scale = ends_round ? 1 : at.scale * 2 * half;
    at.factor = ends_round ? 0 : at.factor + 1;
    at.round += ends_round ? 1 : 0;
}

/* Begin to copy groups [first, first + stage) of a head's columns. */
template <int Width>
__device__ __forceinline__ void copy_stage(const hashing &call, const __nv_bfloat16 *rotations,
                                           int64_t first,
                                           typename hash_sizes<Width>::group_columns *columns)
{
    constexpr int each = hash_sizes<Width>::pieces * rf_cuda_warp; /* of 16 bytes, of a group */
    const uint4 *from = reinterpret_cast<const uint4 *>(rotations) + first * each;
    const int64_t left = (call.groups - first) * each;
    uint4 *to = reinterpret_cast<uint4 *>(columns);
#pragma unroll
    for (int i = 0; i < hash_sizes<Width>::stage * each / threads; i++) {
        const int at = static_cast<int>(threadIdx.x) + i * threads;
        rf_copy_16(&to[at], at < left ? from + at : from, at < left);
    }
}

template <int Width> __global__ void __launch_bounds__(threads) hash_tokens(const hashing call)
{
    typedef hash_sizes<Width> sizes;
    __shared__ typename sizes::group_columns columns[2][sizes::stage];
    const int warp = static_cast<int>(threadIdx.x) / rf_cuda_warp;
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t first = blockIdx.x % call.tiles * sizes::rows + warp * 16 * sizes::tiles;
    const int64_t sequence = blockIdx.x / call.tiles; /* (batch, head) */
    const int64_t batch = sequence / call.heads;
    const int64_t head = sequence % call.heads;
    const __nv_bfloat16 *rotations = call.rotations + head * call.groups * group * Width;
    copy_stage<Width>(call, rotations, 0, columns[0]);
    uint32_t rows[sizes::tiles][Width / 16][4];
    load_rows<Width>(call,
                     call.query + ((batch * call.length + first) * call.heads + head) * call.width,
                     call.length - first, rows);
    hash_row found[sizes::tiles][2];
    bool masked[sizes::tiles][2];
    for (int i = 0; i < 2 * sizes::tiles; i++) {
        const int64_t token = first + 8 * i + lane / 4;
        found[i / 2][i % 2] = {{-INFINITY, INFINITY, 0, 0}, 0};
        masked[i / 2][i % 2] = call.key_mask != nullptr && token < call.length &&
                               call.key_mask[batch * call.length + token] == 0;
    }
    int32_t *to = call.buckets + sequence * call.rounds * call.length + first;
    cursor at = {0, 0, 0, 1};
    for (int64_t start = 0, number = 0; start < call.groups; start += sizes::stage, number++) {
        rf_copy_wait();
        __syncthreads(); /* this stage is there, and the one before is read */
        if (start + sizes::stage < call.groups) {
            copy_stage<Width>(call, rotations, start + sizes::stage, columns[(number + 1) % 2]);
        }
        const int count =
            static_cast<int>(min(call.groups - start, static_cast<int64_t>(sizes::stage)));
        for (int i = 0; i < count; i++) {
            walk_group<Width>(rows, columns[number % 2][i], at.column, found);
            at.column += group;
            if (at.column >= call.factors[at.factor] / 2) {
                finish_factor<Width>(call, to, call.length - first, masked, at, found);
            }
        }
    }
}

/* ---- host
 * ---------------------------------------------------------------------------------------------------------------
 */

/* The width that the kernel for heads of `width` works with. */
int64_t filled_width(int64_t width)
{
    return width <= 32 ? 32 : width <= 64 ? 64 : width <= 128 ? 128 : 256;
}

hashing hashing_of(const rf_bucket_hash *hash, void *scratch)
{
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    hashing call = {};
    call.length = shape[1];
    call.heads = shape[2];
    call.width = static_cast<int>(shape[3]);
    call.rounds = hash->rounds;
    call.factor_count = hash->factor_count;
    for (int i = 0; i < hash->factor_count; i++) {
        call.factors[i] = static_cast<int>(hash->factors[i]);
        call.round_groups += static_cast<int32_t>(rf_cuda_blocks(hash->factors[i] / 2, group));
    }
    call.groups = hash->rounds * call.round_groups;
    call.query = static_cast<const __nv_bfloat16 *>(hash->query.data);
    call.rotations = static_cast<__nv_bfloat16 *>(scratch);
    call.key_mask = rf_cuda_data<const uint8_t>(&hash->key_mask);
    call.buckets = static_cast<int32_t *>(hash->buckets.data);
    return call;
}

template <int Width>
rf_status run(rf_device *device, const rf_bucket_hash *hash, void *scratch, rf_error *error)
{
    hashing call = hashing_of(hash, scratch);
    call.tiles = rf_cuda_blocks(call.length, hash_sizes<Width>::rows);
    const int64_t blocks = hash->query.shape[0] * call.heads * call.tiles;
    if (blocks == 0) {
        return RF_OK;
    }
    RF_TRY(rf_hash_check_blocks(hash, blocks, error));
    rotation_source source = {};
    source.key = hash->key;
    source.columns = rf_hash_columns(hash);
    source.first = hash->first_head * call.width * call.rounds * source.columns;
    if (!rf_tensor_is_absent(&hash->rotations)) {
        source.given = static_cast<const float *>(hash->rotations.data) + source.first;
    }
    const cudaStream_t stream = rf_cuda_stream(device);
    const int64_t count = call.heads * call.groups * group * Width;
    order_rotations<Width>
        <<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(call,
                                                                                       source);
    hash_tokens<Width><<<static_cast<unsigned>(blocks), threads, 0, stream>>>(call);
    return rf_cuda_launched(device, "bucket_hash", error);
}

} // namespace

size_t rf_hash_fast_scratch_size(const rf_bucket_hash *hash)
{
    const hashing call = hashing_of(hash, nullptr);
    return static_cast<size_t>(call.heads * call.groups * group * filled_width(call.width)) *
           sizeof(__nv_bfloat16);
}

rf_status rf_hash_fast(rf_device *device, const rf_bucket_hash *hash, void *scratch,
                       rf_error *error)
{
    if (reinterpret_cast<uintptr_t>(hash->query.data) % 16 != 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "bucket_hash: bf16 queries do not start at a multiple of 16 bytes, "
                            "which hashing them on this device needs");
    }
    switch (filled_width(hash->query.shape[3])) {
    case 32:
        return run<32>(device, hash, scratch, error);
    case 64:
        return run<64>(device, hash, scratch, error);
    case 128:
        return run<128>(device, hash, scratch, error);
    default:
        return run<256>(device, hash, scratch, error);
    }
}
