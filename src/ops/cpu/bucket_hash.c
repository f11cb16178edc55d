/* Locality-sensitive hashing (Kitaev et al. 2020, section 2): products of the queries with random
 * rotations, then a signed argmax per factor (angular), or the signs (hyperplanes). The columns of
 * all rounds and factors stand side by side, so that a block of them is one matrix product, however
 * few columns a factor has; a running best carries a factor over several blocks. Time 2 x length x
 * width x rounds x columns; scratch the rotations (where they are drawn here) and one block of
 * products per thread, and of queries where these are bf16 or behind dropout. */
#include "ops/cpu/cpu.h"
#include "ops/cpu/gemm_tile.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BLOCK_ROWS = 64, BLOCK_COLUMNS = 256 };

/* The running best of one factor: the largest and the smallest product so far, and the first
 * columns where they stand. */
typedef struct best {
    float largest, smallest;
    int32_t largest_column, smallest_column;
} best;

/* What one thread works in. */
typedef struct workplace {
    float products[BLOCK_ROWS * BLOCK_COLUMNS];
    best bests[BLOCK_ROWS];
    int64_t buckets[BLOCK_ROWS];
} workplace;

/* A place in the columns of all rounds. */
typedef struct cursor {
    int64_t round, column; /* column of the factor */
    int factor;
    int64_t scale; /* of the factor's digit */
} cursor;

static int64_t columns_of(const rf_bucket_hash *hash)
{
    return rf_hash_columns(hash->kind, hash->factors, hash->factor_count);
}

/* The largest (sign 1) or the negated smallest (sign -1) of count products. */
RF_VECTOR_CLONES static float find_best(const float *products, int64_t count, float sign)
{
    float lanes[RF_LANES];
    for (int i = 0; i < RF_LANES; i++) {
        lanes[i] = -INFINITY;
    }
    int64_t j = 0;
    for (; j + RF_LANES <= count; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            const float x = products[j + i] * sign;
            lanes[i] = x > lanes[i] ? x : lanes[i];
        }
    }
    for (int i = 0; j < count; i++, j++) {
        const float x = products[j] * sign;
        lanes[i] = x > lanes[i] ? x : lanes[i];
    }
    for (int i = 1; i < RF_LANES; i++) {
        lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    }
    return lanes[0];
}

static int32_t first_column(const float *products, int64_t count, float value)
{
    for (int64_t j = 0; j < count; j++) {
        if (products[j] == value) {
            return (int32_t)j;
        }
    }
    return 0; /* no number among them */
}

/* The largest and the smallest of a few products, and the first columns where they stand. */
static best few_best(const float *products, int64_t count)
{
    best found = {.largest = -INFINITY, .smallest = INFINITY};
    for (int64_t j = 0; j < count; j++) {
        const bool is_larger = products[j] > found.largest;
        const bool is_smaller = products[j] < found.smallest;
        found.largest = is_larger ? products[j] : found.largest;
        found.largest_column = is_larger ? (int32_t)j : found.largest_column;
        found.smallest = is_smaller ? products[j] : found.smallest;
        found.smallest_column = is_smaller ? (int32_t)j : found.smallest_column;
    }
    return found;
}

/* The same of many. */
static best many_best(const float *products, int64_t count)
{
    best found = {.largest = find_best(products, count, 1.0F),
                  .smallest = -find_best(products, count, -1.0F)};
    found.largest_column = first_column(products, count, found.largest);
    found.smallest_column = first_column(products, count, found.smallest);
    return found;
}

/* Take in products [count], columns [first, first + count) of the factor. */
static void update_best(best *so_far, const float *products, int64_t first, int64_t count)
{
    const best found =
        count <= 2 * RF_LANES ? few_best(products, count) : many_best(products, count);
    if (first == 0 || found.largest > so_far->largest) {
        so_far->largest = found.largest;
        so_far->largest_column = (int32_t)first + found.largest_column;
    }
    if (first == 0 || found.smallest < so_far->smallest) {
        so_far->smallest = found.smallest;
        so_far->smallest_column = (int32_t)first + found.smallest_column;
    }
}

/* Position in concat(p, -p) of the largest element; the lowest wins a tie. */
static int64_t digit_of(const best *found, int64_t factor)
{
    return found->largest >= -found->smallest ? found->largest_column
                                              : factor / 2 + found->smallest_column;
}

/* The rows that one task hashes. */
typedef struct row_block {
    int64_t batch, head, row, rows;
} row_block;

static void write_buckets(const rf_bucket_hash *hash, const row_block *block, int64_t round,
                          int64_t product, const int64_t *buckets)
{
    const int64_t *shape = hash->buckets.shape;
    const uint8_t *mask = rf_tensor_is_absent(&hash->key_mask) ? NULL : hash->key_mask.data;
    int32_t *to = (int32_t *)hash->buckets.data +
                  ((block->batch * shape[1] + block->head) * shape[2] + round) * shape[3];
    for (int64_t i = block->row; i < block->row + block->rows; i++) {
        const bool is_masked = mask != NULL && mask[block->batch * shape[3] + i] == 0;
        to[i] = (int32_t)(is_masked ? product : buckets[i - block->row]);
    }
}

/* The factor at the cursor is complete: add its digit, go to the next factor or round. */
static void finish_factor(const rf_bucket_hash *hash, const row_block *block, workplace *place,
                          cursor *at)
{
    const int64_t factor = hash->factors[at->factor];
    for (int64_t i = 0; i < block->rows; i++) {
        const int64_t before = at->factor == 0 ? 0 : place->buckets[i];
        place->buckets[i] = before + at->scale * digit_of(&place->bests[i], factor);
    }
    at->scale *= factor;
    at->column = 0;
    at->factor++;
    if (at->factor == hash->factor_count) {
        write_buckets(hash, block, at->round, at->scale, place->buckets);
        *at = (cursor){.round = at->round + 1, .scale = 1};
    }
}

/* Take in place->products [rows, BLOCK_COLUMNS], of which `count` columns are there. */
static void read_products(const rf_bucket_hash *hash, const row_block *block, workplace *place,
                          int64_t count, cursor *at)
{
    int64_t done = 0;
    while (done < count) {
        const int64_t width = hash->factors[at->factor] / 2;
        const int64_t left = width - at->column;
        const int64_t take = left < count - done ? left : count - done;
        for (int64_t i = 0; i < block->rows; i++) {
            update_best(&place->bests[i], place->products + i * BLOCK_COLUMNS + done, at->column,
                        take);
        }
        done += take;
        at->column += take;
        if (at->column == width) {
            finish_factor(hash, block, place, at);
        }
    }
}

/* The same of hyperplanes: columns [first, first + count) of all rounds, a bit each. */
static void read_signs(const rf_bucket_hash *hash, const row_block *block, workplace *place,
                       int64_t first, int64_t count)
{
    const int64_t bits = columns_of(hash);
    for (int64_t j = 0; j < count; j++) {
        const int64_t bit = (first + j) % bits;
        for (int64_t i = 0; i < block->rows; i++) {
            const int64_t before = bit == 0 ? 0 : place->buckets[i];
            const bool is_below = place->products[i * BLOCK_COLUMNS + j] < 0.0F;
            place->buckets[i] = before | (is_below ? INT64_C(1) << bit : 0);
        }
        if (bit == bits - 1) {
            write_buckets(hash, block, (first + j) / bits, INT64_C(1) << bits, place->buckets);
        }
    }
}

/* Whether queries are read from a copy of our own. */
static bool copies_queries(const rf_bucket_hash *hash)
{
    return hash->query.dtype == RF_BF16 || hash->probability > 0.0F;
}

/* Dropout on a token's query [width]. */
static void drop_query(const rf_bucket_hash *hash, const row_block *block, int64_t row,
                       float *query)
{
    enum { RUN = 256 };
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    const uint32_t keep_from = rf_cpu_keep_from(hash->probability);
    const int64_t token = (hash->first_sample + block->batch) * shape[1] + block->row + row;
    const int64_t first = (token * hash->all_heads + hash->first_head + block->head) * shape[3];
    uint32_t bits[RUN];
    for (int64_t at = 0; at < shape[3]; at += RUN) {
        const int64_t run = shape[3] - at < RUN ? shape[3] - at : RUN;
        rf_cpu_random_bits(&hash->dropout_key, (uint64_t)(first + at), run, bits);
        for (int64_t i = 0; i < run; i++) {
            query[at + i] = (bits[i] >> 8) >= keep_from ? query[at + i] : 0.0F;
        }
    }
}

/* A token's query, at `first` of the tensor, as f32: to [width]. */
static void copy_query(const rf_bucket_hash *hash, int64_t first, float *to)
{
    const int64_t width = hash->query.shape[3];
    if (hash->query.dtype == RF_F32) {
        memcpy(to, (const float *)hash->query.data + first, (size_t)width * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < width; i++) {
        to[i] = rf_bf16_to_f32(((const uint16_t *)hash->query.data)[first + i]);
    }
}

/* The block's queries as f32: where they stand, or copied to `queries` [rows, width]. */
static void find_queries(const rf_bucket_hash *hash, const row_block *block, float *queries,
                         rf_cpu_tile *tile)
{
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    const int64_t leading = shape[2] * shape[3];
    const int64_t first_row = block->batch * shape[1] + block->row;
    const int64_t first = first_row * leading + block->head * shape[3];
    if (!copies_queries(hash)) {
        tile->a = (const float *)hash->query.data + first;
        tile->a_leading = leading;
        return;
    }
    for (int64_t row = 0; row < block->rows; row++) {
        copy_query(hash, first + row * leading, queries + row * shape[3]);
        if (hash->probability > 0.0F) {
            drop_query(hash, block, row, queries + row * shape[3]);
        }
    }
    tile->a = queries;
    tile->a_leading = shape[3];
}

/* rotations [width, rounds x columns]: those of the block's head; queries: see find_queries. */
static void hash_rows(const rf_bucket_hash *hash, const row_block *block, const float *rotations,
                      float *queries, workplace *place)
{
    const int64_t all_columns = hash->rounds * columns_of(hash);
    rf_cpu_tile tile = {.m = block->rows,
                        .k = hash->query.shape[3],
                        .b_leading = all_columns,
                        .c = place->products,
                        .c_leading = BLOCK_COLUMNS};
    find_queries(hash, block, queries, &tile);
    cursor at = {.scale = 1};
    for (int64_t column = 0; column < all_columns; column += BLOCK_COLUMNS) {
        const int64_t left = all_columns - column;
        tile.n = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
        tile.b = rotations + column;
        rf_cpu_gemm_tile(&tile);
        if (hash->kind == RF_HASH_HYPERPLANE) {
            read_signs(hash, block, place, column, tile.n);
        } else {
            read_products(hash, block, place, tile.n, &at);
        }
    }
}

/* Rotations of the group's heads: [heads, width, rounds, columns]. */
static void draw_rotations(const rf_device *device, const rf_bucket_hash *hash, int64_t all_columns,
                           float *rotations)
{
    const int64_t rows = hash->query.shape[2] * hash->query.shape[3];
    const int64_t first = hash->first_head * hash->query.shape[3];
    const int threads = rf_cpu_threads(device, rows, all_columns * 8);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        rf_random_normals(&hash->key, (uint64_t)((first + row) * all_columns),
                          rotations + row * all_columns, (size_t)all_columns);
    }
}

static size_t rotations_size(const rf_bucket_hash *hash)
{
    const int64_t count =
        hash->query.shape[2] * hash->query.shape[3] * hash->rounds * columns_of(hash);
    return rf_tensor_is_absent(&hash->rotations) ? (size_t)count * sizeof(float) : 0;
}

/* Numbers of the queries that one thread copies at once. */
static int64_t copied_count(const rf_bucket_hash *hash)
{
    return copies_queries(hash) ? BLOCK_ROWS * hash->query.shape[3] : 0;
}

size_t rf_cpu_bucket_hash_scratch_size(const rf_device *device, const void *arguments)
{
    const size_t copied = (size_t)copied_count(arguments) * sizeof(float);
    return (size_t)device->threads * (sizeof(workplace) + copied) + rotations_size(arguments);
}

rf_status rf_cpu_bucket_hash(rf_device *device, const void *arguments, void *scratch,
                             rf_error *error)
{
    (void)error;
    const rf_bucket_hash *hash = arguments;
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    const int64_t all_columns = hash->rounds * columns_of(hash);
    workplace *places = scratch;
    float *queries = (float *)(void *)(places + device->threads);
    float *drawn = queries + device->threads * copied_count(hash);
    const float *rotations = drawn;
    if (rf_tensor_is_absent(&hash->rotations)) {
        draw_rotations(device, hash, all_columns, drawn);
    } else {
        rotations = (const float *)hash->rotations.data + hash->first_head * shape[3] * all_columns;
    }
    const int64_t row_blocks = rf_cpu_blocks(shape[1], BLOCK_ROWS);
    const int64_t blocks = shape[0] * shape[2] * row_blocks;
    const int threads = rf_cpu_threads(device, blocks, BLOCK_ROWS * shape[3] * all_columns);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < blocks; index++) {
        row_block block = {.batch = index / row_blocks / shape[2],
                           .head = index / row_blocks % shape[2]};
        block.row = index % row_blocks * BLOCK_ROWS;
        block.rows = rf_cpu_block_length(shape[1], BLOCK_ROWS, index % row_blocks);
        const int thread = omp_get_thread_num();
        hash_rows(hash, &block, rotations + block.head * shape[3] * all_columns,
                  queries + thread * copied_count(hash), places + thread);
    }
    return RF_OK;
}
