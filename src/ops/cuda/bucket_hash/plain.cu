/* Locality-sensitive hashing (Kitaev et al. 2020, section 2): products of the queries with random
 * rotations, then per factor the argmax of concat(p, -p), and from the digits of a round its
 * bucket; or, of hyperplanes, the signs of a round as the bits of its bucket.
 *
 * One block a tile of 64 tokens of one (batch, head). The columns of all rounds and factors stand
 * side by side, so the block walks them 64 at a time: a 64 x 64 tile of products (4 x 4 a thread,
 * 32 of the width staged in shared memory at a time), then four threads a token read its products
 * in order and carry the running best of a factor from tile to tile. Products never leave the
 * multiprocessor. Memory traffic per token: width floats per 64 columns, out of the cache but for
 * the first; rotations are read once a block. Rotations that come from the key are drawn into
 * scratch once a call. fast.cu has bf16 queries of the usual widths. */
#include "ops/cuda/bucket_hash/fast.cuh"

namespace
{

constexpr int threads = 256;
constexpr int tile = 64;  /* tokens, and columns */
constexpr int depth = 32; /* of the width, staged at a time */
constexpr int side = 16;  /* threads stand 16 x 16 over the tile */
constexpr int each = tile / side;
constexpr int walkers = threads / tile; /* threads that read one token's products */

/* A call, as the kernel needs it. */
template <typename T> struct hashing {
    int64_t tiles; /* of a sequence */
    int64_t length, heads, width, rounds;
    int64_t all_columns; /* rounds x columns */
    bool is_signs;       /* hyperplanes: one factor of all bits */
    int factor_count;
    int columns[RF_MAX_BUCKET_FACTORS]; /* of a factor */
    rf_query_dropout dropout;
    const T *query;          /* [batch, length, heads, width] */
    const float *rotations;  /* [heads, width, all_columns]: those of the group's heads */
    const uint8_t *key_mask; /* [batch, length] or NULL */
    int32_t *buckets;        /* [batch, heads, rounds, length] */
};

/* Rows are padded so that 16-byte reads of eight rows meet no bank twice, and a warp's reads of
 * products none. */
struct hash_memory {
    float queries[tile][depth + 4];
    float rotations[depth][tile];
    float products[tile][tile + 4];
};

/* The running best of one factor: the largest and the smallest product so far, and the first
 * columns where they stand. */
struct best {
    float largest, smallest;
    int32_t largest_column, smallest_column;
};

/* Where a thread's token stands in the columns of all rounds; the same in all threads but for
 * `found` and `bucket`. */
struct cursor {
    int64_t round;
    int factor;
    int32_t column; /* of the factor */
    int32_t scale;  /* of the factor's digit */
    int32_t bucket;
    best found;
};

__device__ __forceinline__ best nothing_found()
{
    return {-INFINITY, INFINITY, 0, 0};
}

__device__ __forceinline__ void take_in(best &found, float product, int32_t column)
{
    if (product > found.largest) {
        found.largest = product;
        found.largest_column = column;
    }
    if (product < found.smallest) {
        found.smallest = product;
        found.smallest_column = column;
    }
}

/* The best of a token's walkers; the lowest column wins a tie. */
__device__ __forceinline__ best merge_walkers(best found)
{
    for (int distance = walkers / 2; distance > 0; distance /= 2) {
        const float largest = __shfl_xor_sync(0xFFFFFFFFU, found.largest, distance);
        const float smallest = __shfl_xor_sync(0xFFFFFFFFU, found.smallest, distance);
        const int32_t largest_column = __shfl_xor_sync(0xFFFFFFFFU, found.largest_column, distance);
        const int32_t smallest_column =
            __shfl_xor_sync(0xFFFFFFFFU, found.smallest_column, distance);
        if (largest > found.largest ||
            (largest == found.largest && largest_column < found.largest_column)) {
            found.largest = largest;
            found.largest_column = largest_column;
        }
        if (smallest < found.smallest ||
            (smallest == found.smallest && smallest_column < found.smallest_column)) {
            found.smallest = smallest;
            found.smallest_column = smallest_column;
        }
    }
    return found;
}

/* Stage columns [k, k + depth) of the queries and rows [k, k + depth) of the rotations' columns
 * [column, column + tile); 0 beyond the ends. query: the first token's row, whose first component
 * has the dropout's `number`; rotations [width, all_columns]: those of the head. */
template <typename T>
__device__ void stage(const hashing<T> &call, const T *__restrict__ query, uint64_t number,
                      const float *__restrict__ rotations, int64_t tokens, int64_t column,
                      int64_t k, hash_memory &memory)
{
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = thread; i < tile * depth; i += threads) {
        const int token = i / depth;
        const int64_t at = k + i % depth;
        const bool is_there =
            token < tokens && at < call.width &&
            rf_query_is_kept(call.dropout,
                             number + static_cast<uint64_t>(token * call.dropout.token_step + at));
        memory.queries[token][i % depth] =
            is_there ? rf_cuda_load(query[token * call.heads * call.width + at], 1.0F) : 0.0F;
    }
    for (int i = thread; i < tile * depth; i += threads) {
        const int64_t at = k + i / tile;
        const int64_t from = column + i % tile;
        const bool is_there = at < call.width && from < call.all_columns;
        memory.rotations[i / tile][i % tile] =
            is_there ? rotations[at * call.all_columns + from] : 0.0F;
    }
}

/* sums [each][each] += the staged queries x the staged rotations, tokens and columns of this
 * thread. */
__device__ __forceinline__ void multiply_staged(const hash_memory &memory, int row, int column,
                                                float (&sums)[each][each])
{
    for (int k = 0; k < depth; k += 4) {
        float4 a[each];
#pragma unroll
        for (int i = 0; i < each; i++) {
            a[i] = *reinterpret_cast<const float4 *>(&memory.queries[row + i][k]);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float4 b = *reinterpret_cast<const float4 *>(&memory.rotations[k + j][column]);
#pragma unroll
            for (int i = 0; i < each; i++) {
                const float factor = j == 0 ? a[i].x : j == 1 ? a[i].y : j == 2 ? a[i].z : a[i].w;
                sums[i][0] += factor * b.x;
                sums[i][1] += factor * b.y;
                sums[i][2] += factor * b.z;
                sums[i][3] += factor * b.w;
            }
        }
    }
}
static_assert(each == 4, "a thread's columns are one float4");

/* memory.products [tile][tile] = queries x rotations' columns [column, column + tile). All threads
 * call; ends with a barrier. */
template <typename T>
__device__ void find_products(const hashing<T> &call, const T *__restrict__ query, uint64_t number,
                              const float *__restrict__ rotations, int64_t tokens, int64_t column,
                              hash_memory &memory)
{
    const int row = static_cast<int>(threadIdx.x) / side * each;
    const int first = static_cast<int>(threadIdx.x) % side * each;
    float sums[each][each] = {};
    for (int64_t k = 0; k < call.width; k += depth) {
        __syncthreads(); /* what was staged before is read */
        stage(call, query, number, rotations, tokens, column, k, memory);
        __syncthreads();
        multiply_staged(memory, row, first, sums);
    }
    __syncthreads(); /* the products before are read, whatever the width */
#pragma unroll
    for (int i = 0; i < each; i++) {
        *reinterpret_cast<float4 *>(&memory.products[row + i][first]) =
            make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    }
    __syncthreads();
}

/* The bits of a token's walkers together. */
__device__ __forceinline__ int32_t merge_bits(int32_t bits)
{
    for (int distance = walkers / 2; distance > 0; distance /= 2) {
        bits |= __shfl_xor_sync(0xFFFFFFFFU, bits, distance);
    }
    return bits;
}

/* The factor of `columns` at the cursor is complete: its digit goes to the bucket, and the bucket
 * of a complete round to `to` [rounds, length] (of this token; NULL: not this thread's to write).
 */
template <typename T>
__device__ __forceinline__ void finish_factor(const hashing<T> &call, int32_t columns,
                                              bool is_masked, int32_t *__restrict__ to, cursor &at)
{
    if (call.is_signs) {
        at.bucket = merge_bits(at.bucket);
        at.scale <<= columns;
    } else {
        const best found = merge_walkers(at.found);
        const int32_t digit = found.largest >= -found.smallest ? found.largest_column
                                                               : columns + found.smallest_column;
        at.bucket += at.scale * digit;
        at.scale *= 2 * columns;
    }
    at.column = 0;
    at.factor++;
    at.found = nothing_found();
    if (at.factor == call.factor_count) {
        if (to != nullptr) {
            to[at.round * call.length] = is_masked ? at.scale : at.bucket;
        }
        at.round++;
        at.factor = 0;
        at.scale = 1;
        at.bucket = 0;
    }
}

/* Take in `count` products of this thread's token, every walkers-th of them. */
template <typename T>
__device__ __forceinline__ void read_products(const hashing<T> &call,
                                              const float *__restrict__ products, int count,
                                              bool is_masked, int32_t *__restrict__ to, cursor &at)
{
    const int walker = static_cast<int>(threadIdx.x) % walkers;
    for (int done = 0; done < count;) {
        const int32_t columns = call.columns[at.factor];
        const int take = min(columns - at.column, count - done);
        for (int i = walker; i < take; i += walkers) {
            if (call.is_signs) {
                at.bucket |= products[done + i] < 0.0F ? 1 << (at.column + i) : 0;
            } else {
                take_in(at.found, products[done + i], at.column + i);
            }
        }
        done += take;
        at.column += take;
        if (at.column == columns) {
            finish_factor(call, columns, is_masked, to, at);
        }
    }
}

template <typename T> __global__ void __launch_bounds__(threads) hash_tokens(const hashing<T> call)
{
    __shared__ hash_memory memory;
    const int64_t first = blockIdx.x % call.tiles * tile;
    const int64_t sequence = blockIdx.x / call.tiles; /* (batch, head) */
    const int64_t batch = sequence / call.heads;
    const int64_t head = sequence % call.heads;
    const T *query = call.query + ((batch * call.length + first) * call.heads + head) * call.width;
    const uint64_t number = rf_query_number(call.dropout, batch, first, head);
    const float *rotations = call.rotations + head * call.width * call.all_columns;
    const int64_t tokens = min(call.length - first, static_cast<int64_t>(tile));
    const int token = static_cast<int>(threadIdx.x) / walkers;
    const bool is_there = token < tokens;
    const bool is_masked = is_there && call.key_mask != nullptr &&
                           call.key_mask[batch * call.length + first + token] == 0;
    const bool writes = is_there && static_cast<int>(threadIdx.x) % walkers == 0;
    int32_t *to =
        writes ? call.buckets + sequence * call.rounds * call.length + first + token : nullptr;
    cursor at = {0, 0, 0, 1, 0, nothing_found()};
    for (int64_t column = 0; column < call.all_columns; column += tile) {
        const int count =
            static_cast<int>(min(call.all_columns - column, static_cast<int64_t>(tile)));
        find_products(call, query, number, rotations, tokens, column, memory);
        read_products(call, memory.products[token], count, is_masked, to, at);
    }
}

/* rotations [count] = normals first, first + 1, ... of the key. */
__global__ void draw_rotations(const rf_random_key key, int64_t first, int64_t count,
                               float *__restrict__ rotations)
{
    for (int64_t i = rf_cuda_first(); i < count; i += rf_cuda_stride()) {
        rotations[i] = rf_cuda_normal(key, static_cast<uint64_t>(first + i));
    }
}

int64_t columns_of(const rf_bucket_hash *hash)
{
    return rf_hash_columns(hash->kind, hash->factors, hash->factor_count);
}

/* Of the group's heads. */
int64_t rotations_count(const rf_bucket_hash *hash)
{
    return hash->query.shape[2] * hash->query.shape[3] * hash->rounds * columns_of(hash);
}

template <typename T> hashing<T> hashing_of(const rf_bucket_hash *hash)
{
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    hashing<T> call = {};
    call.tiles = rf_cuda_blocks(shape[1], tile);
    call.length = shape[1];
    call.heads = shape[2];
    call.width = shape[3];
    call.rounds = hash->rounds;
    call.all_columns = hash->rounds * columns_of(hash);
    call.is_signs = hash->kind == RF_HASH_HYPERPLANE;
    call.factor_count = call.is_signs ? 1 : hash->factor_count;
    for (int i = 0; i < hash->factor_count; i++) {
        call.columns[i] = static_cast<int>(hash->factors[i] / 2);
    }
    if (call.is_signs) {
        call.columns[0] = static_cast<int>(columns_of(hash));
    }
    call.dropout = rf_query_dropout_of(hash);
    call.query = static_cast<const T *>(hash->query.data);
    call.key_mask = rf_cuda_data<const uint8_t>(&hash->key_mask);
    call.buckets = static_cast<int32_t *>(hash->buckets.data);
    return call;
}

template <typename T>
rf_status run(rf_device *device, const rf_bucket_hash *hash, void *scratch, rf_error *error)
{
    hashing<T> call = hashing_of<T>(hash);
    const int64_t blocks = hash->query.shape[0] * call.heads * call.tiles;
    const int64_t before = hash->first_head * call.width *
                           call.all_columns; /* rotations of the heads before the group */
    if (blocks == 0) {
        return RF_OK;
    }
    if (blocks > INT32_MAX) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "bucket_hash: %lld sequences of %lld tokens are too many for one call "
                            "on this device; hash fewer at once",
                            static_cast<long long>(hash->query.shape[0] * call.heads),
                            static_cast<long long>(call.length));
    }
    if (rf_tensor_is_absent(&hash->rotations)) {
        const int64_t count = rotations_count(hash);
        call.rotations = static_cast<const float *>(scratch);
        draw_rotations<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0,
                         rf_cuda_stream(device)>>>(hash->key, before, count,
                                                   static_cast<float *>(scratch));
    } else {
        call.rotations = static_cast<const float *>(hash->rotations.data) + before;
    }
    hash_tokens<T><<<static_cast<unsigned>(blocks), threads, 0, rf_cuda_stream(device)>>>(call);
    return rf_cuda_launched(device, "bucket_hash", error);
}

} // namespace

size_t rf_cuda_bucket_hash_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_bucket_hash *hash = static_cast<const rf_bucket_hash *>(arguments);
    const size_t plain = rf_tensor_is_absent(&hash->rotations)
                             ? static_cast<size_t>(rotations_count(hash)) * sizeof(float)
                             : 0;
    if (!rf_fast_takes_hash(device, hash)) {
        return plain;
    }
    const size_t fast = rf_fast_hash_scratch_size(hash);
    return plain > fast ? plain : fast;
}

rf_status rf_cuda_bucket_hash(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_bucket_hash *hash = static_cast<const rf_bucket_hash *>(arguments);
    if (rf_fast_takes_hash(device, hash)) {
        return rf_fast_hash(device, hash, scratch, error);
    }
    return hash->query.dtype == RF_BF16 ? run<__nv_bfloat16>(device, hash, scratch, error)
                                        : run<float>(device, hash, scratch, error);
}
