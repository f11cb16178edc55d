/* What the bf16 kernels of full attention share: plans of one block that holds the whole sequence,
 * tokens as written, without masks, segments and dropout (other plans of one block go to forward.cu
 * and backward.cu).
 *
 * Nothing is gathered and nothing is looked up: a tile of 64 tokens stands in memory as it is, and
 * only the tiles on the diagonal have pairs that a rule decides. So a warp can own 32 rows at heads
 * of up to 64, which halves what it reads from shared memory for each product. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_FULL_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_FULL_CUH

#include "ops/cuda/block_attention/walk_tiles.cuh"

constexpr int rf_full_warps = 4;
constexpr int rf_full_threads = rf_full_warps * rf_cuda_warp;
constexpr int rf_full_tile = 64; /* tokens that are met at a time */

/* Rows that a thread block owns where a warp has `Blocks` times 16. */
template <int Blocks> constexpr int rf_full_rows = rf_full_warps * 16 * Blocks;

/* A head of a sequence. */
struct rf_full_head {
    int64_t batch, head;
    int64_t element; /* of its first row in a tensor [batch, length, heads, width] */
    int64_t number;  /* of its first token [batch, heads, length] */
};

static __device__ __forceinline__ rf_full_head rf_full_head_of(const rf_attention_cut &cut,
                                                               int64_t index)
{
    rf_full_head head = {};
    head.batch = index / cut.heads;
    head.head = index % cut.heads;
    head.element = (head.batch * cut.length * cut.heads + head.head) * cut.width;
    head.number = index * cut.length;
    return head;
}

/* Begin to copy the rows of tokens first ... first + 63, zeros beyond the last. */
template <int Width>
static __device__ __forceinline__ void
rf_full_copy_rows(const rf_attention_cut &cut, const rf_full_head &head, int32_t first,
                  const __nv_bfloat16 *from, __nv_bfloat16 (*rows)[Width + 8])
{
    constexpr int chunks = Width / 8; /* of 16 bytes, of a row */
    const int column = static_cast<int>(threadIdx.x) % chunks * 8;
    const int64_t stride = cut.heads * cut.width;
    const bool is_inside = column < cut.width;
    const __nv_bfloat16 *start = from + head.element + (is_inside ? column : 0);
#pragma unroll
    for (int i = 0; i < rf_full_tile * chunks / rf_full_threads; i++) {
        const int row = static_cast<int>(threadIdx.x) / chunks + i * (rf_full_threads / chunks);
        const bool is_there = is_inside && first + row < cut.length;
        rf_copy_16(&rows[row][column], start + (is_there ? first + row : 0) * stride, is_there);
    }
}

/* Rows g and g + 8 of 16 from token `first` on, as operands of products over the width, straight
 * from memory. */
template <int Width>
static __device__ __forceinline__ void
rf_full_load_operands(const rf_attention_cut &cut, const rf_full_head &head, int32_t first,
                      const __nv_bfloat16 *from, uint32_t (&operands)[Width / 16][4])
{
    const int lane = static_cast<int>(threadIdx.x) % rf_cuda_warp;
    const int64_t stride = cut.heads * cut.width;
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int32_t token = first + lane / 4 + i % 2 * 8;
            const int column = 16 * step + i / 2 * 8 + lane % 4 * 2;
            const bool is_there = token < cut.length && column < cut.width;
            operands[step][i] = is_there ? __ldg(reinterpret_cast<const uint32_t *>(
                                               from + head.element + token * stride + column))
                                         : 0;
        }
    }
}

/* products [Blocks][Columns / 8][4] = a warp's rows, as operands, x rows [first, first + Columns)
 * of a tile. */
template <int Width, int Blocks, int Columns>
static __device__ __forceinline__ void
rf_full_find_products(const uint32_t (&operands)[Blocks][Width / 16][4],
                      const __nv_bfloat16 (*rows)[Width + 8], int first,
                      float (&products)[Blocks][Columns / 8][4])
{
#pragma unroll
    for (int block = 0; block < Blocks; block++) {
        rf_walk_clear(products[block]);
    }
#pragma unroll
    for (int step = 0; step < Width / 16; step++) {
#pragma unroll
        for (int pair = 0; pair < Columns / 16; pair++) {
            uint32_t b[4];
            rf_mma_load_b(b, rows, first + 16 * pair, 16 * step);
#pragma unroll
            for (int block = 0; block < Blocks; block++) {
                rf_mma(products[block][2 * pair], operands[block][step], b[0], b[1]);
                rf_mma(products[block][2 * pair + 1], operands[block][step], b[2], b[3]);
            }
        }
    }
}

/* sums [Blocks][Width / 8][4] += weights, as operands, x rows [first, first + Columns) of a tile.
 */
template <int Width, int Blocks, int Columns>
static __device__ __forceinline__ void
rf_full_add_rows(const float (&weights)[Blocks][Columns / 8][4],
                 const __nv_bfloat16 (*rows)[Width + 8], int first,
                 float (&sums)[Blocks][Width / 8][4])
{
#pragma unroll
    for (int pair = 0; pair < Columns / 16; pair++) {
        uint32_t a[Blocks][4];
#pragma unroll
        for (int block = 0; block < Blocks; block++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *two = &weights[block][2 * pair + i / 2][i % 2 * 2];
                a[block][i] = rf_mma_pack(two[0], two[1]);
            }
        }
#pragma unroll
        for (int n = 0; n < Width / 16; n++) {
            uint32_t b[4];
            rf_mma_load_b_rows(b, rows, first + 16 * pair, 16 * n);
#pragma unroll
            for (int block = 0; block < Blocks; block++) {
                rf_mma(sums[block][2 * n], a[block], b[0], b[1]);
                rf_mma(sums[block][2 * n + 1], a[block], b[2], b[3]);
            }
        }
    }
}

/* ---- host ---- */

/* Do the kernels of full_forward.cu and full_backward.cu take this plan? */
static inline bool rf_full_takes(const rf_attention_plan *plan)
{
    return plan->parts == 1 && plan->slots == plan->block && plan->before == 0 &&
           plan->after == 0 && plan->probability <= 0.0F && rf_tensor_is_absent(&plan->order) &&
           rf_tensor_is_absent(&plan->key_mask) && rf_tensor_is_absent(&plan->segments);
}

rf_status rf_full_forward(rf_device *device, const rf_block_attention *attention, void *scratch,
                          rf_error *error);
rf_status rf_full_backward(rf_device *device, const rf_block_attention_backward *backward,
                           void *scratch, rf_error *error);
size_t rf_full_backward_scratch_size(const rf_block_attention_backward *backward);

#endif
