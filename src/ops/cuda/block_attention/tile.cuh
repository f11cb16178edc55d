/* What the kernels of block attention share: how a plan is cut into tiles, which slots a tile
 * meets, the rule of a pair, and tiles of rows in shared memory.
 *
 * A tile is a few consecutive slots of a part: several whole blocks where these are short, else
 * some rows of one block. Its slots own what the thread block computes: queries in the forward and
 * for query gradients, keys for key and value gradients. The slots that the owners meet stand side
 * by side in a list, in the order in which the first owner block, the second one, ... meets them:
 * entry g is slot g mod block of the block at shift g div block - lead, where lead = blocks before
 * (queries meet keys) or after (keys meet queries). Owner block i meets entries [i x block, (i +
 * window) x block), however the tokens are ordered and wherever the window wraps; a block that two
 * shifts reach has two places in the list.
 *
 * 256 threads stand 16 x 16 over a tile: thread (row, lane) has rows row x each + i, and of these
 * the columns lane + 16 j of scores, or columns 4 (lane + 16 j) ... + 3 of rows of a tensor. So
 * what a row's threads exchange stays in half a warp. */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_TILE_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_TILE_CUH

#include "ops/cuda/cuda.cuh"

constexpr int rf_attention_side = 16; /* threads of a row, and rows of threads */
constexpr int rf_attention_threads = rf_attention_side * rf_attention_side;
constexpr int32_t rf_attention_empty = -1;         /* a slot that holds no token */
constexpr int32_t rf_attention_absent = -2;        /* no slot */
constexpr int32_t rf_attention_unseen = INT32_MAX; /* position of a key that no query may see */

/* A plan as kernels need it, and how it is cut. */
struct rf_attention_cut {
    int64_t batch, heads, parts, length, slots;
    int32_t width, block, before, after, window; /* window = before + 1 + after blocks */
    int32_t part_blocks;                         /* blocks of a part */
    int32_t wrap_blocks; /* blocks that wrapping runs over; 0: no wrapping */
    int32_t run_blocks;  /* whole blocks of a tile, at most; 1 where tiles are rows of a block */
    int32_t block_tiles; /* tiles of a block; 1 where a tile has whole blocks */
    int32_t tiles;       /* of a part */
    bool wraps_all, causal, last_resort, normalise, drops;
    bool may_skip; /* every query has a score far above -1e9, so that pairs that are not allowed
                      weigh exactly 0 */
    bool by_quads; /* rows can be read 16 bytes at a time */
    float scale, keep_scale;
    uint32_t keep_from;
    rf_random_key dropout_key;
    int64_t first_sample, first_head, all_heads;
    const int32_t *order;    /* [batch, heads, parts, slots] or NULL */
    const uint8_t *key_mask; /* [batch, length] or NULL */
    const int32_t *segments; /* [batch, length] or NULL */
    /* Of the paper's own attention (paper.cuh). */
    bool same_bucket, whole_buckets, corrects, is_exact;
    bool has_zero_rows;              /* pairs that are not allowed do not exist */
    const int32_t *bucket, *inverse; /* [batch, heads, parts, length] or NULL */
};

/* Which slots a thread block owns. */
struct rf_attention_place {
    int64_t batch, head;
    int32_t part;
    int32_t first_block, blocks; /* of the part; a block of which some rows are owned counts */
    int32_t first_row, rows;     /* counted from the first slot of first_block */
};

/* What stands in a slot. */
struct rf_attention_slot {
    int32_t token;    /* or rf_attention_empty, rf_attention_absent */
    int32_t position; /* of the token as a key; rf_attention_unseen where it is masked or there is
                         none */
    int32_t part;
    int32_t segment; /* of the token, or -1; 0 where the plan has none */
};

/* ---- host
 * ------------------------------------------------------------------------------------------------------------------
 */

/* RF_OK, or RF_ERR_UNSUPPORTED where 32-bit indices within a tile's list, or of blocks, would not
 * do. */
RF_MUST_CHECK static inline rf_status rf_attention_check_limits(const char *operation,
                                                                const rf_attention_plan *plan,
                                                                int64_t width, int64_t tile,
                                                                rf_error *error)
{
    const int64_t blocks = plan->slots / plan->block;
    const int64_t reach =
        plan->before + 1 + plan->after + tile / plan->block; /* blocks of a list, at most */
    const int64_t tiles =
        blocks * rf_cuda_blocks(plan->block, tile) * plan->batch * plan->heads * plan->parts;
    if (width > 256) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "%s: heads of width %lld; this device takes up to 256", operation,
                            static_cast<long long>(width));
    }
    if (reach > (INT32_MAX - 4 * tile) / plan->block ||
        blocks > (INT32_MAX - reach) / plan->parts || tiles > INT32_MAX) {
        return rf_error_set(
            error, RF_ERR_UNSUPPORTED,
            "%s: %lld + 1 + %lld blocks of %lld slots, %lld slots a part and %lld parts are too "
            "many for this device",
            operation, static_cast<long long>(plan->before), static_cast<long long>(plan->after),
            static_cast<long long>(plan->block), static_cast<long long>(plan->slots),
            static_cast<long long>(plan->parts));
    }
    return RF_OK;
}

/* How a plan is cut into tiles of up to `tile` slots. */
static inline rf_attention_cut rf_attention_cut_of(const rf_attention_plan *plan, int64_t width,
                                                   int32_t tile)
{
    rf_attention_cut cut = {};
    cut.batch = plan->batch;
    cut.heads = plan->heads;
    cut.parts = plan->parts;
    cut.length = plan->length;
    cut.slots = plan->slots;
    cut.width = static_cast<int32_t>(width);
    cut.block = static_cast<int32_t>(plan->block);
    cut.before = static_cast<int32_t>(plan->before);
    cut.after = static_cast<int32_t>(plan->after);
    cut.window = cut.before + 1 + cut.after;
    cut.part_blocks = static_cast<int32_t>(plan->slots / plan->block);
    cut.wraps_all = plan->wrap == RF_WRAP_ALL_PARTS;
    if (plan->wrap != RF_WRAP_NONE) {
        cut.wrap_blocks = cut.part_blocks * (cut.wraps_all ? static_cast<int32_t>(plan->parts) : 1);
    }
    /* A shift of all blocks or more acts as none: then neighbours do not meet neighbouring blocks,
     * and nothing can be shared. */
    const int32_t reach = cut.before > cut.after ? cut.before : cut.after;
    const bool is_shared = cut.wrap_blocks == 0 || reach < cut.wrap_blocks;
    cut.run_blocks = is_shared && cut.block < tile ? tile / cut.block : 1;
    cut.block_tiles = (cut.block + tile - 1) / tile;
    cut.tiles = (cut.part_blocks + cut.run_blocks - 1) / cut.run_blocks * cut.block_tiles;
    cut.causal = plan->causal;
    cut.last_resort = plan->self == RF_SELF_LAST_RESORT;
    cut.normalise = plan->normalise_keys;
    cut.scale = plan->scale;
    cut.drops = plan->probability > 0.0F;
    cut.keep_scale = 1.0F / (1.0F - plan->probability);
    cut.keep_from = rf_core_keep_from(plan->probability);
    cut.dropout_key = plan->dropout_key;
    cut.first_sample = plan->first_sample;
    cut.first_head = plan->first_head;
    cut.all_heads = plan->all_heads;
    cut.order = rf_cuda_data<const int32_t>(&plan->order);
    cut.key_mask = rf_cuda_data<const uint8_t>(&plan->key_mask);
    cut.segments = rf_cuda_data<const int32_t>(&plan->segments);
    cut.same_bucket = plan->same_bucket;
    cut.whole_buckets = plan->whole_buckets;
    cut.corrects = plan->duplicates == RF_DUPLICATES_CORRECTED;
    cut.is_exact = plan->rounding == RF_ROUNDING_EXACT;
    cut.has_zero_rows = plan->empty_row == RF_EMPTY_ROW_ZERO;
    cut.bucket = rf_cuda_data<const int32_t>(&plan->bucket);
    cut.inverse = rf_cuda_data<const int32_t>(&plan->inverse);
    cut.may_skip = cut.last_resort || cut.key_mask == nullptr || cut.has_zero_rows;
    return cut;
}

/* ---- device: slots
 * -------------------------------------------------------------------------------------------------------
 */

/* Tile `index` of a part. */
static __device__ __forceinline__ void rf_attention_find_tile(const rf_attention_cut &cut,
                                                              int32_t index, int32_t tile,
                                                              rf_attention_place &at)
{
    if (cut.block_tiles > 1) {
        at.first_block = index / cut.block_tiles;
        at.blocks = 1;
        at.first_row = index % cut.block_tiles * tile;
        at.rows = min(tile, cut.block - at.first_row);
    } else {
        at.first_block = index * cut.run_blocks;
        at.blocks = min(cut.run_blocks, cut.part_blocks - at.first_block);
        at.first_row = 0;
        at.rows = at.blocks * cut.block;
    }
}

/* The block, counted over all parts, at `shift` blocks from block `own` of a part; -1 if there is
 * none. */
static __device__ __forceinline__ int32_t rf_attention_block_at(const rf_attention_cut &cut,
                                                                int32_t part, int32_t own,
                                                                int32_t shift)
{
    const int32_t first = part * cut.part_blocks;
    if (cut.wrap_blocks == 0) {
        const int32_t at = own + shift;
        return at >= 0 && at < cut.part_blocks ? first + at : -1;
    }
    if (cut.run_blocks == 1 && (shift >= cut.wrap_blocks || -shift >= cut.wrap_blocks)) {
        shift = 0;
    }
    const int32_t base = cut.wraps_all ? 0 : first;
    const int32_t at = (first - base + own + shift) % cut.wrap_blocks;
    return base + (at < 0 ? at + cut.wrap_blocks : at);
}

/* What stands in slot `slot` of a part. */
static __device__ __forceinline__ rf_attention_slot rf_attention_slot_of(
    const rf_attention_cut &cut, const rf_attention_place &at, int32_t part, int64_t slot)
{
    rf_attention_slot found = {rf_attention_empty, rf_attention_unseen, part,
                               cut.segments != nullptr ? -1 : 0};
    if (cut.order != nullptr) {
        found.token =
            cut.order[((at.batch * cut.heads + at.head) * cut.parts + part) * cut.slots + slot];
    } else if (slot < cut.length) {
        found.token = static_cast<int32_t>(slot);
    }
    if (found.token >= 0 &&
        (cut.key_mask == nullptr || cut.key_mask[at.batch * cut.length + found.token] != 0)) {
        found.position = found.token;
    }
    if (cut.segments != nullptr && found.token >= 0) {
        found.segment = cut.segments[at.batch * cut.length + found.token];
    }
    return found;
}

/* Owner `row` of a tile. */
static __device__ __forceinline__ rf_attention_slot rf_attention_owner(const rf_attention_cut &cut,
                                                                       const rf_attention_place &at,
                                                                       int32_t row)
{
    if (row >= at.rows) {
        return {rf_attention_empty, rf_attention_unseen, at.part, -1};
    }
    return rf_attention_slot_of(
        cut, at, at.part, static_cast<int64_t>(at.first_block) * cut.block + at.first_row + row);
}

/* Entry `entry` of the list that the tile meets. */
static __device__ __forceinline__ rf_attention_slot rf_attention_met(const rf_attention_cut &cut,
                                                                     const rf_attention_place &at,
                                                                     int32_t lead, int32_t entry)
{
    if (entry >= (at.blocks + cut.window - 1) * cut.block) {
        return {rf_attention_absent, rf_attention_unseen, at.part, -1};
    }
    const int32_t number =
        rf_attention_block_at(cut, at.part, at.first_block, entry / cut.block - lead);
    if (number < 0) {
        return {rf_attention_absent, rf_attention_unseen, at.part, -1};
    }
    const int64_t first = static_cast<int64_t>(number % cut.part_blocks) * cut.block;
    return rf_attention_slot_of(cut, at, number / cut.part_blocks, first + entry % cut.block);
}

/* Row of a token in a tensor [batch, length, heads, width]: its first element. */
static __device__ __forceinline__ int64_t rf_attention_row(const rf_attention_cut &cut,
                                                           const rf_attention_place &at,
                                                           int64_t token)
{
    return ((at.batch * cut.length + token) * cut.heads + at.head) * cut.width;
}

/* ---- device: pairs
 * ---------------------------------------------------------------------------------------------------------
 */

/* Does a rule set the score of the pair? */
static __device__ __forceinline__ bool
rf_attention_is_set(const rf_attention_cut &cut, int32_t query, int32_t key, int32_t position)
{
    const int32_t limit = cut.causal ? query : rf_attention_unseen - 1;
    return position > limit || (cut.last_resort && key == query);
}

/* The score of a query token and the key `key` at `position`. */
static __device__ __forceinline__ float rf_attention_score(const rf_attention_cut &cut,
                                                           float product, int32_t query,
                                                           int32_t key, int32_t position)
{
    const int32_t limit = cut.causal ? query : rf_attention_unseen - 1;
    const float score = position > limit ? -1e9F : product * cut.scale;
    return cut.last_resort && key == query ? -1e5F : score;
}

/* What dropout makes of the probability of a query token of `part` and a column of its window. */
static __device__ __forceinline__ float rf_attention_keep(const rf_attention_cut &cut,
                                                          const rf_attention_place &at,
                                                          int32_t part, int32_t query,
                                                          int32_t column)
{
    const int64_t head = (cut.first_sample + at.batch) * cut.all_heads + cut.first_head + at.head;
    const int64_t row = (head * cut.parts + part) * cut.length + query;
    const int64_t index = row * (static_cast<int64_t>(cut.window) * cut.block) + column;
    return rf_cuda_keeps(cut.dropout_key, static_cast<uint64_t>(index), cut.keep_from)
               ? cut.keep_scale
               : 0.0F;
}

/* ---- device: rows
 * -----------------------------------------------------------------------------------------------------------
 */

/* Columns [column, column + 4) of a row; 0 beyond its end. */
static __device__ __forceinline__ float4 rf_attention_load(const rf_attention_cut &cut,
                                                           const float *__restrict__ row,
                                                           int column)
{
    float4 found = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    if (cut.by_quads) {
        return column < cut.width ? *reinterpret_cast<const float4 *>(row + column) : found;
    }
    found.x = column < cut.width ? row[column] : 0.0F;
    found.y = column + 1 < cut.width ? row[column + 1] : 0.0F;
    found.z = column + 2 < cut.width ? row[column + 2] : 0.0F;
    found.w = column + 3 < cut.width ? row[column + 3] : 0.0F;
    return found;
}

/* row = value there, or row += value. */
static __device__ __forceinline__ void rf_attention_store(const rf_attention_cut &cut,
                                                          float *__restrict__ row, int column,
                                                          float4 value, bool adds)
{
    if (adds) {
        const float4 before = rf_attention_load(cut, row, column);
        value = make_float4(before.x + value.x, before.y + value.y, before.z + value.z,
                            before.w + value.w);
    }
    if (cut.by_quads) {
        if (column < cut.width) {
            *reinterpret_cast<float4 *>(row + column) = value;
        }
        return;
    }
    const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (column + i < cut.width) {
            row[column + i] = values[i];
        }
    }
}

/* Two numbers written, or added. */
static __device__ __forceinline__ void rf_attention_put(float *__restrict__ to, float x, float y,
                                                        bool adds)
{
    float2 *two = reinterpret_cast<float2 *>(to);
    const float2 before = adds ? *two : make_float2(0.0F, 0.0F);
    *two = make_float2(before.x + x, before.y + y);
}

static __device__ __forceinline__ float rf_attention_dot(float4 a, float4 b)
{
    return a.x * b.x + a.y * b.y + (a.z * b.z + a.w * b.w);
}

static __device__ __forceinline__ float4 rf_attention_scaled(float4 a, float factor)
{
    return make_float4(a.x * factor, a.y * factor, a.z * factor, a.w * factor);
}

/* Sizes of a tile for heads of up to Width, with up to Tile owners and as many of the list at a
 * time. Rows are padded by one 16-byte access, so that reads of eight rows meet no bank twice. */
template <int Width, int Tile> struct rf_attention_tile {
    static constexpr int each =
        Tile / rf_attention_side; /* rows, and columns of scores, of a thread */
    static constexpr int quads = Width / (4 * rf_attention_side); /* of a row, of a thread */
    static constexpr int row_stride = Width + 4;
    static constexpr int score_stride = Tile + 4;
    typedef float rows[Tile][row_stride];
    typedef float scores[Tile][score_stride];
    static_assert(each >= 1 && quads >= 1 && Tile % rf_attention_side == 0 &&
                      Width % (4 * rf_attention_side) == 0,
                  "whole shares");
};

/* This thread's place in the 16 x 16. */
static __device__ __forceinline__ int rf_attention_lane()
{
    return static_cast<int>(threadIdx.x) % rf_attention_side;
}

template <int Width, int Tile> static __device__ __forceinline__ int rf_attention_first_row()
{
    return static_cast<int>(threadIdx.x) / rf_attention_side * rf_attention_tile<Width, Tile>::each;
}

/* rows [Tile][Width] = the rows of `from` [batch, length, heads, width] of tokens [Tile]; 0 where
 * there is no token. */
template <int Width, int Tile>
static __device__ __forceinline__ void
rf_attention_stage(const rf_attention_cut &cut, const rf_attention_place &at,
                   const float *__restrict__ from, const int32_t *__restrict__ tokens,
                   typename rf_attention_tile<Width, Tile>::rows &rows)
{
    typedef rf_attention_tile<Width, Tile> tile;
    const int first = rf_attention_first_row<Width, Tile>();
#pragma unroll
    for (int i = 0; i < tile::each; i++) {
        const int32_t token = tokens[first + i];
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            const int column = 4 * (rf_attention_lane() + q * rf_attention_side);
            const float4 found =
                token >= 0 ? rf_attention_load(cut, from + rf_attention_row(cut, at, token), column)
                           : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
            *reinterpret_cast<float4 *>(&rows[first + i][column]) = found;
        }
    }
}

/* rows become keys: row x factor, factor = 1 / root mean square / sqrt(width), with Hugging Face's
 * epsilon; by the threads that staged them. factors [Tile], or NULL. */
template <int Width, int Tile>
static __device__ __forceinline__ void
rf_attention_normalise(const rf_attention_cut &cut,
                       typename rf_attention_tile<Width, Tile>::rows &rows, float *factors)
{
    typedef rf_attention_tile<Width, Tile> tile;
    const int first = rf_attention_first_row<Width, Tile>();
#pragma unroll
    for (int i = 0; i < tile::each; i++) {
        float squares = 0.0F;
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            const float4 found = *reinterpret_cast<const float4 *>(
                &rows[first + i][4 * (rf_attention_lane() + q * rf_attention_side)]);
            squares += rf_attention_dot(found, found);
        }
        const float mean =
            rf_cuda_warp_sum<rf_attention_side>(squares) / static_cast<float>(cut.width);
        const float factor = 1.0F / sqrtf(mean + 1e-6F) / sqrtf(static_cast<float>(cut.width));
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            float4 *found = reinterpret_cast<float4 *>(
                &rows[first + i][4 * (rf_attention_lane() + q * rf_attention_side)]);
            *found = rf_attention_scaled(*found, factor);
        }
        if (factors != nullptr && rf_attention_lane() == 0) {
            factors[first + i] = factor;
        }
    }
}

/* products [each][each] = this thread's rows of a x rows lane + 16 j of b. */
template <int Width, int Tile>
static __device__ __forceinline__ void rf_attention_multiply(
    const rf_attention_cut &cut, const typename rf_attention_tile<Width, Tile>::rows &a,
    const typename rf_attention_tile<Width, Tile>::rows &b,
    float (&products)[rf_attention_tile<Width, Tile>::each][rf_attention_tile<Width, Tile>::each])
{
    constexpr int each = rf_attention_tile<Width, Tile>::each;
    const int first = rf_attention_first_row<Width, Tile>();
#pragma unroll
    for (int i = 0; i < each; i++) {
#pragma unroll
        for (int j = 0; j < each; j++) {
            products[i][j] = 0.0F;
        }
    }
#pragma unroll 4
    for (int k = 0; k < cut.width; k += 4) {
        float4 of_b[each];
#pragma unroll
        for (int j = 0; j < each; j++) {
            of_b[j] = *reinterpret_cast<const float4 *>(
                &b[rf_attention_lane() + j * rf_attention_side][k]);
        }
#pragma unroll
        for (int i = 0; i < each; i++) {
            const float4 of_a = *reinterpret_cast<const float4 *>(&a[first + i][k]);
#pragma unroll
            for (int j = 0; j < each; j++) {
                products[i][j] += of_a.x * of_b[j].x;
                products[i][j] += of_a.y * of_b[j].y;
                products[i][j] += of_a.z * of_b[j].z;
                products[i][j] += of_a.w * of_b[j].w;
            }
        }
    }
}

static __device__ __forceinline__ void rf_attention_add(float4 &sum, float factor, float4 value)
{
    sum.x += factor * value.x;
    sum.y += factor * value.y;
    sum.z += factor * value.z;
    sum.w += factor * value.w;
}

/* sums [each][quads] += this thread's rows of weights [Tile][Tile] x its columns of rows
 * [Tile][Width]. */
template <int Width, int Tile>
static __device__ __forceinline__ void rf_attention_weigh(
    const typename rf_attention_tile<Width, Tile>::scores &weights,
    const typename rf_attention_tile<Width, Tile>::rows &rows,
    float4 (&sums)[rf_attention_tile<Width, Tile>::each][rf_attention_tile<Width, Tile>::quads])
{
    typedef rf_attention_tile<Width, Tile> tile;
    const int first = rf_attention_first_row<Width, Tile>();
#pragma unroll 2
    for (int k = 0; k < Tile; k += 4) {
        float4 factors[tile::each];
#pragma unroll
        for (int i = 0; i < tile::each; i++) {
            factors[i] = *reinterpret_cast<const float4 *>(&weights[first + i][k]);
        }
#pragma unroll
        for (int q = 0; q < tile::quads; q++) {
            const int column = 4 * (rf_attention_lane() + q * rf_attention_side);
#pragma unroll
            for (int kk = 0; kk < 4; kk++) {
                const float4 value = *reinterpret_cast<const float4 *>(&rows[k + kk][column]);
#pragma unroll
                for (int i = 0; i < tile::each; i++) {
                    const float factor = kk == 0   ? factors[i].x
                                         : kk == 1 ? factors[i].y
                                         : kk == 2 ? factors[i].z
                                                   : factors[i].w;
                    rf_attention_add(sums[i][q], factor, value);
                }
            }
        }
    }
}

#endif
