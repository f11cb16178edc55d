/* Locality-sensitive hashing (Kitaev et al. 2020, section 2) of bf16 queries, with
 * rotations rounded to bf16 and f32 sums on the tensor cores.
 *
 * A first kernel draws or rounds the rotations once a call, to scratch [heads, columns, Width], the
 * columns of each factor padded with zeros to whole products. Then a warp keeps 32 queries of one
 * (batch, head) in registers and walks the columns of all rounds, of which a block brings 64 at a
 * time to shared memory while the 64 before are multiplied. A lane carries the best of its own
 * columns; the four lanes of a row agree when a factor is complete. Of hyperplanes it
 * carries the signs of its columns, whose round is one factor of all bits. Products never leave the
 * registers. Memory: queries once, buckets once, and the rotations of a head once a block of 256
 * tokens, from cache. */
#include "ops/cuda/bucket_hash/fast.cuh"

#include "ops/cuda/block_attention/mma.cuh"

namespace
{

constexpr int warps = 8;
constexpr int threads = warps * rf_cuda_warp;
constexpr int tiles = 2; /* of 16 queries, of a warp */
constexpr int block_tokens = warps * tiles * 16;
constexpr int unit = 16; /* columns of two products */
constexpr int step = 64; /* columns brought at a time */
constexpr int most_width = 128;

struct hash_call {
    int64_t blocks; /* of a sequence */
    int64_t length, heads;
    int width, rounds, factor_count;
    int padded;                        /* columns of a round, with padding */
    int halves[RF_MAX_BUCKET_FACTORS]; /* columns of a factor */
    rf_query_dropout dropout;
    const __nv_bfloat16 *query;     /* [batch, length, heads, width] */
    const __nv_bfloat16 *rotations; /* [heads, rounds x padded, Width] */
    const uint8_t *key_mask;        /* [batch, length] or NULL */
    int32_t *buckets;               /* [batch, heads, rounds, length] */
};

/* Where rotations come from: given, or drawn where that is NULL. */
struct rotation_source {
    const float *given; /* [all heads, width, rounds, columns] */
    rf_random_key key;
    int64_t first_head;
    int columns; /* of a round, without padding */
};

__host__ __device__ constexpr int padded_half(int half)
{
    return (half + unit - 1) / unit * unit;
}

/* Element (head, padded column, i) of `to` [heads, rounds x padded, full_width]. */
__global__ void lay_out_rotations(const hash_call call, const rotation_source source,
                                  int full_width, __nv_bfloat16 *__restrict__ to)
{
    const int64_t columns = static_cast<int64_t>(call.rounds) * call.padded;
    const int64_t count = call.heads * columns * full_width;
    for (int64_t index = rf_cuda_first(); index < count; index += rf_cuda_stride()) {
        const int i = static_cast<int>(index % full_width);
        const int64_t round = index / full_width % columns / call.padded;
        const int64_t head = source.first_head + index / full_width / columns;
        int place = static_cast<int>(index / full_width % columns % call.padded);
        int column = 0; /* of the round */
        int factor = 0;
        while (place >= padded_half(call.halves[factor])) {
            place -= padded_half(call.halves[factor]);
            column += call.halves[factor];
            factor++;
        }
        float value = 0.0F;
        if (i < call.width && place < call.halves[factor]) {
            const int64_t at =
                ((head * call.width + i) * call.rounds + round) * source.columns + column + place;
            value = source.given != nullptr ? source.given[at]
                                            : rf_cuda_normal(source.key, static_cast<uint64_t>(at));
        }
        to[index] = __float2bfloat16_rn(value);
    }
}

/* The best of a row so far: the greatest |product|, and the index of its bucket within the factor.
 */
struct best {
    float size;
    int32_t index;
};

__device__ __forceinline__ void take_in(best &found, float size, int32_t index)
{
    if (size > found.size || (size == found.size && index < found.index)) {
        found.size = size;
        found.index = index;
    }
}

/* Where the walk over the columns stands; the same in all threads. */
struct cursor {
    int round, factor, column;
    int32_t scale; /* of the factor's digit */
};

/* This lane's rows: two of each tile of queries. */
struct row_state {
    best found[tiles][2];
    int32_t bucket[tiles][2];
};

/* Two components side by side, behind dropout. */
__device__ __forceinline__ uint32_t drop_pair(const rf_query_dropout &dropout, uint64_t number,
                                              uint32_t pair)
{
    const uint32_t low = rf_query_is_kept(dropout, number) ? 0xFFFFU : 0U;
    const uint32_t high = rf_query_is_kept(dropout, number + 1) ? 0xFFFF0000U : 0U;
    return pair & (low | high);
}

template <int Width>
__device__ __forceinline__ void load_queries(const hash_call &call, int64_t batch, int64_t head,
                                             int64_t first, uint32_t (&a)[tiles][Width / 16][4])
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int t = 0; t < tiles; t++) {
#pragma unroll
        for (int part = 0; part < 4; part++) { /* rows g and g + 8, columns 2 q and 2 q + 8 */
            const int64_t token = first + 16 * t + lane / 4 + part % 2 * 8;
            const __nv_bfloat16 *row =
                call.query + ((batch * call.length + token) * call.heads + head) * call.width;
            const uint64_t number = rf_query_number(call.dropout, batch, token, head);
#pragma unroll
            for (int k = 0; k < Width / 16; k++) {
                const int column = 16 * k + lane % 4 * 2 + part / 2 * 8;
                const bool is_there = token < call.length && column < call.width;
                a[t][k][part] = is_there ? *reinterpret_cast<const uint32_t *>(row + column) : 0U;
                if (call.dropout.drops) {
                    a[t][k][part] = drop_pair(call.dropout, number + static_cast<uint64_t>(column),
                                              a[t][k][part]);
                }
            }
        }
    }
}

/* Begin to bring columns [first, first + step) of the head. */
template <int Width>
__device__ __forceinline__ void bring(const __nv_bfloat16 *__restrict__ rotations, int first,
                                      int columns, __nv_bfloat16 (*to)[Width + 8])
{
    for (int i = static_cast<int>(threadIdx.x); i < step * Width / 8; i += threads) {
        const int row = i / (Width / 8);
        const int column = i % (Width / 8) * 8;
        const bool is_there = first + row < columns;
        const __nv_bfloat16 *from =
            is_there ? rotations + static_cast<int64_t>(first + row) * Width + column : rotations;
        rf_copy_16(&to[row][column], from, is_there);
    }
}

/* A unit's products [32 queries, 16 columns] into the rows' best, or their signs into the rows'
 * buckets. rows: the unit's columns. */
template <int Width, bool Signs>
__device__ __forceinline__ void meet_unit(const uint32_t (&a)[tiles][Width / 16][4],
                                          const __nv_bfloat16 (*rows)[Width + 8], int first,
                                          const cursor &at, int half, row_state &state)
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    float c[tiles][2][4] = {};
#pragma unroll
    for (int k = 0; k < Width / 16; k++) {
        uint32_t b[4];
        rf_mma_load_b(b, rows, first, 16 * k);
#pragma unroll
        for (int t = 0; t < tiles; t++) {
            rf_mma(c[t][0], a[t][k], b[0], b[1]);
            rf_mma(c[t][1], a[t][k], b[2], b[3]);
        }
    }
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int column = at.column + 8 * n + 2 * quarter + i % 2;
#pragma unroll
            for (int t = 0; t < tiles; t++) {
                const float product = c[t][n][i];
                if (column < half && Signs) {
                    state.bucket[t][i / 2] |= product < 0.0F ? 1 << column : 0;
                } else if (column < half) {
                    take_in(state.found[t][i / 2], fabsf(product),
                            product < 0.0F ? half + column : column);
                }
            }
        }
    }
}

/* The factor is complete: the four lanes of a row agree, and its digit goes to the bucket. */
__device__ __forceinline__ void finish_factor(const cursor &at, row_state &state)
{
#pragma unroll
    for (int t = 0; t < tiles; t++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            best &found = state.found[t][row];
#pragma unroll
            for (int distance = 1; distance < 4; distance *= 2) {
                const float size = __shfl_xor_sync(0xFFFFFFFFU, found.size, distance);
                const int32_t index = __shfl_xor_sync(0xFFFFFFFFU, found.index, distance);
                take_in(found, size, index);
            }
            state.bucket[t][row] += at.scale * found.index;
            found = {-1.0F, 0};
        }
    }
}

/* The same of signs: the four lanes put their bits together. */
__device__ __forceinline__ void finish_signs(row_state &state)
{
#pragma unroll
    for (int t = 0; t < tiles; t++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
#pragma unroll
            for (int distance = 1; distance < 4; distance *= 2) {
                state.bucket[t][row] |=
                    __shfl_xor_sync(0xFFFFFFFFU, state.bucket[t][row], distance);
            }
        }
    }
}

/* buckets [rounds, length] of the sequence; is_masked: a bit for each of this lane's rows. */
__device__ __forceinline__ void finish_round(const hash_call &call, const cursor &at, int64_t first,
                                             unsigned is_masked, int32_t *__restrict__ buckets,
                                             row_state &state)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int t = 0; t < tiles; t++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const int64_t token = first + 16 * t + lane / 4 + 8 * row;
            if (lane % 4 == 0 && token < call.length) {
                const bool masked = (is_masked >> (2 * t + row) & 1U) != 0U;
                buckets[at.round * call.length + token] = masked ? at.scale : state.bucket[t][row];
            }
            state.bucket[t][row] = 0;
        }
    }
}

__device__ __forceinline__ unsigned find_masked(const hash_call &call, int64_t batch, int64_t first)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    unsigned is_masked = 0U;
    for (int r = 0; r < 2 * tiles && call.key_mask != nullptr; r++) {
        const int64_t token = first + 16 * (r / 2) + lane / 4 + 8 * (r % 2);
        if (token < call.length && call.key_mask[batch * call.length + token] == 0) {
            is_masked |= 1U << r;
        }
    }
    return is_masked;
}

template <int Width, bool Signs>
__global__ void __launch_bounds__(threads) hash_fast(const hash_call call)
{
    __shared__ __align__(16) __nv_bfloat16 rows[2][step][Width + 8];
    const int64_t sequence = blockIdx.x / call.blocks; /* (batch, head) */
    const int64_t batch = sequence / call.heads;
    const int64_t head = sequence % call.heads;
    const int64_t first = blockIdx.x % call.blocks * block_tokens +
                          static_cast<int64_t>(threadIdx.x) / rf_cuda_warp * (tiles * 16);
    const int columns = call.rounds * call.padded;
    const __nv_bfloat16 *rotations = call.rotations + head * columns * Width;
    int32_t *buckets = call.buckets + sequence * call.rounds * call.length;
    uint32_t a[tiles][Width / 16][4];
    row_state state;
    cursor at = {0, 0, 0, 1};
#pragma unroll
    for (int r = 0; r < 2 * tiles; r++) {
        state.found[r / 2][r % 2] = {-1.0F, 0};
        state.bucket[r / 2][r % 2] = 0;
    }
    bring<Width>(rotations, 0, columns, rows[0]);
    load_queries<Width>(call, batch, head, first, a);
    const unsigned is_masked = find_masked(call, batch, first);
    for (int done = 0; done < columns; done += step) {
        const int turn = done / step % 2;
        rf_copy_wait();
        __syncthreads(); /* this step is there, and the one before is read */
        if (done + step < columns) {
            bring<Width>(rotations, done + step, columns, rows[1 - turn]);
        }
        for (int u = 0; u < step && done + u < columns; u += unit) {
            const int half = call.halves[at.factor];
            meet_unit<Width, Signs>(a, rows[turn], u, at, half, state);
            at.column += unit;
            if (at.column < half) {
                continue;
            }
            if (Signs) {
                finish_signs(state);
            } else {
                finish_factor(at, state);
            }
            at.column = 0;
            at.scale = Signs ? 1 << half : at.scale * 2 * half;
            at.factor++;
            if (at.factor == call.factor_count) {
                finish_round(call, at, first, is_masked, buckets, state);
                at = {at.round + 1, 0, 0, 1};
            }
        }
    }
}

/* The width that the kernel is made for. */
int full_width_of(const rf_bucket_hash *hash)
{
    return hash->query.shape[3] <= 64 ? 64 : most_width;
}

template <bool Signs>
void launch(const hash_call &call, int full_width, unsigned blocks, cudaStream_t stream)
{
    if (full_width == 64) {
        hash_fast<64, Signs><<<blocks, threads, 0, stream>>>(call);
    } else {
        hash_fast<most_width, Signs><<<blocks, threads, 0, stream>>>(call);
    }
}

hash_call call_of(const rf_bucket_hash *hash, void *scratch)
{
    const int64_t *shape = hash->query.shape;
    hash_call call = {};
    call.blocks = rf_cuda_blocks(shape[1], block_tokens);
    call.length = shape[1];
    call.heads = shape[2];
    call.width = static_cast<int>(shape[3]);
    call.rounds = static_cast<int>(hash->rounds);
    const bool signs = hash->kind == RF_HASH_HYPERPLANE;
    call.factor_count = signs ? 1 : hash->factor_count;
    for (int i = 0; i < call.factor_count; i++) {
        call.halves[i] =
            static_cast<int>(signs ? rf_hash_columns(hash->kind, hash->factors, hash->factor_count)
                                   : hash->factors[i] / 2);
        call.padded += padded_half(call.halves[i]);
    }
    call.dropout = rf_query_dropout_of(hash);
    call.query = static_cast<const __nv_bfloat16 *>(hash->query.data);
    call.rotations = static_cast<const __nv_bfloat16 *>(scratch);
    call.key_mask = rf_cuda_data<const uint8_t>(&hash->key_mask);
    call.buckets = static_cast<int32_t *>(hash->buckets.data);
    return call;
}

} // namespace

bool rf_fast_takes_hash(const rf_device *device, const rf_bucket_hash *hash)
{
    const int64_t width = hash->query.shape[3];
    const int64_t blocks = hash->query.shape[0] * hash->query.shape[2] *
                           rf_cuda_blocks(hash->query.shape[1], block_tokens);
    int64_t columns = 0;
    for (int i = 0; i < hash->factor_count; i++) {
        columns += (hash->factors[i] / 2 + unit) * hash->rounds;
    }
    return !device->plain_kernels && hash->query.dtype == RF_BF16 && width % 8 == 0 &&
           width <= most_width && blocks <= INT32_MAX && columns <= INT32_MAX / most_width &&
           reinterpret_cast<uintptr_t>(hash->query.data) % 16 == 0;
}

size_t rf_fast_hash_scratch_size(const rf_bucket_hash *hash)
{
    const hash_call call = call_of(hash, nullptr);
    return static_cast<size_t>(call.heads * call.rounds * call.padded * full_width_of(hash)) *
           sizeof(__nv_bfloat16);
}

rf_status rf_fast_hash(rf_device *device, const rf_bucket_hash *hash, void *scratch,
                       rf_error *error)
{
    const hash_call call = call_of(hash, scratch);
    const int full_width = full_width_of(hash);
    const cudaStream_t stream = rf_cuda_stream(device);
    rotation_source source = {rf_cuda_data<const float>(&hash->rotations), hash->key,
                              hash->first_head, 0};
    for (int i = 0; i < call.factor_count; i++) {
        source.columns += call.halves[i];
    }
    const int64_t count = call.heads * call.rounds * call.padded * full_width;
    const unsigned blocks = static_cast<unsigned>(hash->query.shape[0] * call.heads * call.blocks);
    if (blocks == 0 || call.rounds == 0) {
        return RF_OK;
    }
    lay_out_rotations<<<rf_cuda_grid(device, count, rf_cuda_threads), rf_cuda_threads, 0, stream>>>(
        call, source, full_width, static_cast<__nv_bfloat16 *>(scratch));
    if (hash->kind == RF_HASH_HYPERPLANE) {
        launch<true>(call, full_width, blocks, stream);
    } else {
        launch<false>(call, full_width, blocks, stream);
    }
    return rf_cuda_launched(device, "bucket_hash", error);
}
