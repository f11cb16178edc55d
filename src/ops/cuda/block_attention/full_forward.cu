/* Full attention with bf16 queries, keys, values and outputs, forward: one block that holds the
 * whole sequence (full.cuh says which plans), causal or not. Products of bf16 with f32 sums on the
 * tensor cores, the softmax on line in f32 (Dao et al. 2022; Milakov, Gimelshein 2018).
 *
 * A thread block owns 128 queries, 64 at heads wider than 64, and walks the keys in tiles of 64 up
 * to its own; the next tile is on its way while one is met. The latest queries, which have most to
 * do, start first. Keys that are made from queries are the queries' rows and a factor of the score.
 * Weights are rounded to bf16 for their product only, and values are multiplied by exp(m -
 * log_norm) at the end.
 *
 * Memory traffic, in bytes a token and head: 2 x width read and 2 x width written, and from the
 * cache 4 x width for each key tile. 4 x width operations a pair. */
#include "ops/cuda/block_attention/full.cuh"

namespace
{

struct forward_call {
    rf_attention_cut cut;
    int32_t tiles;                            /* of queries, of a head */
    const __nv_bfloat16 *query, *key, *value; /* [batch, length, heads, width] */
    const float *factors;  /* [batch, heads, length]: key = query x factor; NULL: 1 */
    __nv_bfloat16 *output; /* [batch, length, heads, width] */
    float *log_norm;       /* [batch, heads, length] */
};

template <int Width> struct forward_memory {
    typedef __nv_bfloat16 rows[rf_full_tile][Width + 8];
    rows keys[2], values[2];
    float2 factors[2][rf_full_tile / 2]; /* of scores */
};

/* Rows g and g + 8 of each 16 of a warp: what their four lanes carry from tile to tile. */
template <int Width, int Blocks> struct carried {
    int32_t token[Blocks][2];
    float maximum[Blocks][2];
    float sum[Blocks][2]; /* over this lane's columns only */
    uint32_t rows[Blocks][Width / 16][4];
    float values[Blocks][Width / 8][4];
};

/* Begin to copy a tile of keys and values. */
template <int Width>
__device__ __forceinline__ void copy_keys(const forward_call &call, const rf_full_head &head,
                                          int32_t first, int slot, forward_memory<Width> &memory)
{
    rf_full_copy_rows<Width>(call.cut, head, first, call.key, memory.keys[slot]);
    rf_full_copy_rows<Width>(call.cut, head, first, call.value, memory.values[slot]);
    const int32_t key = first + static_cast<int32_t>(threadIdx.x);
    if (threadIdx.x < rf_full_tile) {
        const bool has_factor = call.factors != nullptr && key < call.cut.length;
        const float factor = has_factor ? call.factors[head.number + key] : 1.0F;
        reinterpret_cast<float *>(memory.factors[slot])[threadIdx.x] = factor * call.cut.scale;
    }
}

/* Products become scores; highest [Blocks][2] of the rows, so far. first: the tile's first key.
 * HasRules: some of the pairs are not allowed, or are of a token with itself. */
template <int Width, int Blocks, bool HasRules>
__device__ __forceinline__ void find_scores(const rf_attention_cut &cut, const float2 *factors,
                                            int32_t first, const carried<Width, Blocks> &own,
                                            float (&scores)[Blocks][rf_full_tile / 8][4],
                                            float (&highest)[Blocks][2])
{
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    const int32_t last = static_cast<int32_t>(cut.length) - 1;
#pragma unroll
    for (int n = 0; n < rf_full_tile / 8; n++) {
        const float2 of = factors[4 * n + quarter];
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float score = scores[block][n][i] * rf_fast_of(of, i % 2);
                if constexpr (HasRules) {
                    const int32_t key = first + 8 * n + 2 * quarter + i % 2;
                    const int32_t query = own.token[block][i / 2];
                    score = key > (cut.causal ? min(query, last) : last) ? -INFINITY : score;
                    score = cut.last_resort && key == query ? -1e5F : score;
                }
                scores[block][n][i] = score;
                highest[block][i / 2] = fmaxf(highest[block][i / 2], score);
            }
        }
    }
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        highest[block][0] = rf_cuda_warp_max<4>(highest[block][0]);
        highest[block][1] = rf_cuda_warp_max<4>(highest[block][1]);
    }
}

/* Scores become weights relative to the largest so far; what was summed before is brought to it. */
template <int Width, int Blocks, bool HasRules>
__device__ __forceinline__ void weigh_scores(const float (&highest)[Blocks][2],
                                             carried<Width, Blocks> &own,
                                             float (&scores)[Blocks][rf_full_tile / 8][4])
{
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        float base[2];
        float scaled[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float most = highest[block][row];
            base[row] = most == -INFINITY ? 0.0F : most; /* nothing met so far */
            scaled[row] = -base[row] * rf_mma_log2_e;
            const float factor = rf_mma_exp2((own.maximum[block][row] - base[row]) * rf_mma_log2_e);
            own.maximum[block][row] = most;
            own.sum[block][row] *= factor;
#pragma unroll
            for (int n = 0; n < Width / 8; n++) {
                own.values[block][n][2 * row] *= factor;
                own.values[block][n][2 * row + 1] *= factor;
            }
        }
#pragma unroll
        for (int n = 0; n < rf_full_tile / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                /* the difference first where a rule's -1e5 has no digits to lose */
                const float power = HasRules
                                        ? (scores[block][n][i] - base[i / 2]) * rf_mma_log2_e
                                        : fmaf(scores[block][n][i], rf_mma_log2_e, scaled[i / 2]);
                scores[block][n][i] = rf_mma_exp2(power);
                own.sum[block][i / 2] += scores[block][n][i];
            }
        }
    }
}

template <int Width, int Blocks, bool HasRules>
__device__ __forceinline__ void meet(const forward_call &call, const forward_memory<Width> &memory,
                                     int slot, int32_t first, carried<Width, Blocks> &own)
{
    float scores[Blocks][rf_full_tile / 8][4];
    float highest[Blocks][2];
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        highest[block][0] = own.maximum[block][0];
        highest[block][1] = own.maximum[block][1];
    }
    rf_full_find_products<Width, Blocks, rf_full_tile>(own.rows, memory.keys[slot], 0, scores);
    find_scores<Width, Blocks, HasRules>(call.cut, memory.factors[slot], first, own, scores,
                                         highest);
    weigh_scores<Width, Blocks, HasRules>(highest, own, scores);
    rf_full_add_rows<Width, Blocks, rf_full_tile>(scores, memory.values[slot], 0, own.values);
}

template <int Width, int Blocks>
__device__ __forceinline__ void begin_rows(const forward_call &call, const rf_full_head &head,
                                           int32_t first, carried<Width, Blocks> &own)
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        rf_full_load_operands<Width>(call.cut, head, first + 16 * block, call.query,
                                     own.rows[block]);
#pragma unroll
        for (int row = 0; row < 2; row++) {
            own.token[block][row] = first + 16 * block + lane / 4 + 8 * row;
            own.maximum[block][row] = -INFINITY;
            own.sum[block][row] = 0.0F;
        }
        rf_walk_clear(own.values[block]);
    }
}

template <int Width, int Blocks>
__device__ __forceinline__ void write_rows(const forward_call &call, const rf_full_head &head,
                                           carried<Width, Blocks> &own)
{
    rf_attention_place at = {};
    at.batch = head.batch;
    at.head = head.head;
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        int32_t tokens[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float sum = rf_cuda_warp_sum<4>(own.sum[block][row]);
            const float log_norm = __fadd_rn(own.maximum[block][row], logf(sum)); /* rounded once */
            const float factor = expf(own.maximum[block][row] - log_norm);
            const int32_t token = own.token[block][row];
            tokens[row] = token < call.cut.length ? token : rf_attention_empty;
            if (tokens[row] >= 0 && threadIdx.x % 4 == 0) {
                call.log_norm[head.number + token] = log_norm;
            }
#pragma unroll
            for (int n = 0; n < Width / 8; n++) {
                own.values[block][n][2 * row] *= factor;
                own.values[block][n][2 * row + 1] *= factor;
            }
        }
        rf_walk_write(call.cut, at, call.output, 0, tokens, own.values[block]);
    }
}

template <int Width, int Blocks>
__global__ void __launch_bounds__(rf_full_threads, 2) attend_full(const forward_call call)
{
    extern __shared__ __align__(16) unsigned char shared[];
    forward_memory<Width> &memory = *reinterpret_cast<forward_memory<Width> *>(shared);
    const rf_attention_cut &cut = call.cut;
    const int64_t heads = cut.batch * cut.heads;
    const int32_t tile = call.tiles - 1 - static_cast<int32_t>(blockIdx.x / heads);
    const rf_full_head head = rf_full_head_of(cut, blockIdx.x % heads);
    const int32_t first_query = tile * rf_full_rows<Blocks>;
    const int32_t length = static_cast<int32_t>(cut.length);
    const int32_t end = cut.causal ? min(first_query + rf_full_rows<Blocks>, length) : length;
    const int32_t own_first =
        first_query + static_cast<int32_t>(threadIdx.x) / rf_cuda_warp * 16 * Blocks;
    carried<Width, Blocks> own;
    copy_keys(call, head, 0, 0, memory);
    begin_rows(call, head, own_first, own);
    for (int32_t first = 0, slot = 0; first < end; first += rf_full_tile, slot ^= 1) {
        rf_copy_wait();
        __syncthreads(); /* this tile is there, and the one before is read */
        if (first + rf_full_tile < end) {
            copy_keys(call, head, first + rf_full_tile, slot ^ 1, memory);
        }
        const bool is_behind = cut.causal && first >= own_first + 16 * Blocks; /* of all rows */
        const bool is_before = first + rf_full_tile <= own_first;
        const bool is_beside =
            cut.causal ? !is_before
                       : cut.last_resort && !is_before && first < own_first + 16 * Blocks;
        __syncwarp();
        if (is_beside || first + rf_full_tile > length) {
            if (!is_behind) {
                meet<Width, Blocks, true>(call, memory, slot, first, own);
            }
        } else {
            meet<Width, Blocks, false>(call, memory, slot, first, own);
        }
    }
    write_rows(call, head, own);
}

template <int Width, int Blocks>
rf_status launch(rf_device *device, forward_call *call, rf_error *error)
{
    constexpr size_t size = sizeof(forward_memory<Width>);
    const rf_attention_cut &cut = call->cut;
    call->tiles = static_cast<int32_t>(rf_cuda_blocks(cut.length, rf_full_rows<Blocks>));
    RF_TRY(rf_cuda_status(device,
                          cudaFuncSetAttribute(attend_full<Width, Blocks>,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize, size),
                          "block_attention", error));
    attend_full<Width, Blocks><<<static_cast<unsigned>(cut.batch * cut.heads * call->tiles),
                                 rf_full_threads, size, rf_cuda_stream(device)>>>(*call);
    return rf_cuda_launched(device, "block_attention", error);
}

} // namespace

rf_status rf_full_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error)
{
    const rf_attention_plan *plan = &attention->plan;
    const int64_t width = attention->query.shape[3];
    RF_TRY(rf_attention_check_limits("block_attention", plan, width, rf_full_tile, error));
    const rf_tensor *tensors[] = {&attention->query, &attention->key, &attention->value,
                                  &attention->output};
    RF_TRY(rf_fast_check_aligned("block_attention", tensors, 4, error));
    if (rf_tensor_count(&attention->query) == 0) {
        return RF_OK;
    }
    forward_call call = {};
    call.cut = rf_attention_cut_of(plan, width, rf_full_tile);
    call.query = static_cast<const __nv_bfloat16 *>(attention->query.data);
    call.value = static_cast<const __nv_bfloat16 *>(attention->value.data);
    call.key =
        plan->normalise_keys ? call.query : static_cast<const __nv_bfloat16 *>(attention->key.data);
    call.output = static_cast<__nv_bfloat16 *>(attention->output.data);
    call.log_norm = static_cast<float *>(attention->log_norm.data);
    if (plan->normalise_keys) {
        RF_TRY(rf_fast_find_factors(device, &call.cut, call.query, static_cast<float *>(scratch),
                                    error));
        call.factors = static_cast<const float *>(scratch);
    }
    return width <= 64 ? launch<64, 2>(device, &call, error) : launch<128, 1>(device, &call, error);
}
