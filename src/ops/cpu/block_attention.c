/* Block attention, forward: each query block over its list of key blocks, per head and part
 * (Kitaev, Kaiser, Levskaya 2020, section 2, and docs/design.md, "The attention plan"). Per tile of
 * up to 64 queries: one product for the scores, the rules and exponentials row by row, one product
 * with the values. The sum is multiplied by exp(m - log_norm) and never divided by l, as the
 * reference's rounding demands (the paper's options may). Time O(slots x window x width); scratch
 * per thread is one run's keys and values and one tile of scores.
 *
 * Whole buckets: a tile of queries walks the slots of its buckets a piece at a time, with a maximum
 * and a sum that grow (Milakov, Gimelshein 2018): time O(sum of squares of bucket lengths x width).
 * Tiles are handed out as threads come free, since a skewed bucket makes some long; what a tile
 * gives does not depend on who works it out. */
#include "ops/cpu/block_attention_rows.h"
#include "ops/cpu/gemm_tile.h"

#include <math.h>
#include <omp.h>

/* One call. */
typedef struct call {
    const rf_block_attention *attention;
    rf_attention_cut cut;
    rf_attention_source source;
} call;

/* bf16 tensors are copied to the start of `scratch`; NULL: nothing is read. */
static call call_of(const rf_block_attention *attention, void *scratch)
{
    return (call){.attention = attention,
                  .cut = rf_cpu_attention_cut(&attention->plan, attention->query.shape[3]),
                  .source = rf_cpu_attention_source(&attention->query, &attention->key,
                                                    &attention->value, scratch)};
}

/* One query: its row of products becomes probabilities times l (and dropout); gives exp(m -
 * log_norm) and writes log_norm. */
static float weigh_row(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                       const rf_attention_tile *tile, int64_t row)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int32_t token = tile->tokens[row];
    const rf_attention_rule rule = rf_cpu_attention_rule(plan, run->batch, token);
    const rf_attention_columns columns =
        in->cut.is_plain ? rf_cpu_attention_columns(space, tile)
                         : rf_cpu_attention_biased(&in->cut, run, space, tile, token);
    float *products = space->scores + row * tile->count;
    float maximum;
    float sum;
    rf_cpu_attention_softmax(products, &columns, &rule, &maximum, &sum);
    const float log_norm = maximum + logf(sum);
    const int64_t part = (run->batch * plan->heads + run->head) * plan->parts + run->part;
    ((float *)in->attention->log_norm.data)[part * plan->length + token] = log_norm;
    if (plan->probability > 0.0F) {
        rf_cpu_attention_keep(&in->cut, run, tile, token, space->keep);
        rf_cpu_attention_multiply(products, space->keep, tile->count);
    }
    return rf_cpu_attention_factor(plan, maximum, sum, log_norm);
}

/* to [count] = from x factor. */
RF_VECTOR_CLONES static void scale_row(float *to, const float *from, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = from[i] * factor;
    }
}

/* The same, rounded to bf16. */
static void round_row(uint16_t *to, const float *from, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_f32_to_bf16(from[i] * factor);
    }
}

/* Output's rows of the tile's tokens = the tile's sums x factors [rows]. */
static void write_rows(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                       const rf_attention_tile *tile, const float *factors)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t width = in->cut.width;
    const int64_t first = (run->batch * plan->parts + run->part) * plan->length;
    const rf_tensor *output = &in->attention->output;
    for (int64_t row = 0; row < tile->rows; row++) {
        if (tile->tokens[row] < 0) {
            continue;
        }
        const int64_t at = ((first + tile->tokens[row]) * plan->heads + run->head) * width;
        const float *from = space->result + row * width;
        if (output->dtype == RF_BF16) {
            round_row((uint16_t *)output->data + at, from, width, factors[row]);
        } else {
            scale_row((float *)output->data + at, from, width, factors[row]);
        }
    }
}

static void attend_tile(const call *in, const rf_attention_run *run,
                        const rf_attention_space *space, const rf_attention_tile *tile)
{
    const int64_t width = in->cut.width;
    float factors[RF_ATTENTION_ROWS] = {0};
    rf_cpu_attention_gather_rows(&in->cut, run, tile, in->source.query, space->queries);
    rf_cpu_gemm_tile(&(rf_cpu_tile){.transpose_b = true,
                                    .m = tile->rows,
                                    .n = tile->count,
                                    .k = width,
                                    .a = space->queries,
                                    .a_leading = width,
                                    .b = space->keys + tile->first * width,
                                    .b_leading = width,
                                    .c = space->scores,
                                    .c_leading = tile->count});
    for (int64_t row = 0; row < tile->rows; row++) {
        if (tile->tokens[row] >= 0) {
            factors[row] = weigh_row(in, run, space, tile, row);
        }
    }
    rf_cpu_gemm_tile(&(rf_cpu_tile){.m = tile->rows,
                                    .n = width,
                                    .k = tile->count,
                                    .a = space->scores,
                                    .a_leading = tile->count,
                                    .b = space->values + tile->first * width,
                                    .b_leading = width,
                                    .c = space->result,
                                    .c_leading = width});
    write_rows(in, run, space, tile, factors);
}

/* A walk's rows so far. */
typedef struct carried {
    float maximum[RF_ATTENTION_ROWS], sum[RF_ATTENTION_ROWS];
} carried;

/* One query and one piece: products become weights relative to the largest score so far, and what
 * was summed before is brought to it. */
static void carry_row(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                      const rf_attention_tile *tile, int64_t row, carried *so_far)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int32_t token = tile->tokens[row];
    const rf_attention_rule rule = rf_cpu_attention_rule(plan, run->batch, token);
    const rf_attention_columns columns = rf_cpu_attention_biased(&in->cut, run, space, tile, token);
    float *products = space->scores + row * tile->count;
    float *result = space->result + row * in->cut.width;
    const float before = so_far->maximum[row];
    const float here = rf_cpu_attention_scores(products, &columns, &rule);
    const float maximum = here > before ? here : before;
    if (maximum > before) {
        const float factor = expf(before - maximum);
        scale_row(result, result, in->cut.width, factor);
        so_far->sum[row] *= factor;
        so_far->maximum[row] = maximum;
    }
    so_far->sum[row] += rf_cpu_attention_exponentials(products, tile->count, maximum);
    if (plan->probability > 0.0F) {
        rf_cpu_attention_keep(&in->cut, run, tile, token, space->keep);
        rf_cpu_attention_multiply(products, space->keep, tile->count);
    }
}

/* The piece's keys and values are gathered at slot 0. */
static void attend_piece(const call *in, const rf_attention_run *run,
                         const rf_attention_space *space, const rf_attention_tile *tile,
                         carried *so_far)
{
    const int64_t width = in->cut.width;
    rf_cpu_gemm_tile(&(rf_cpu_tile){.transpose_b = true,
                                    .m = tile->rows,
                                    .n = tile->count,
                                    .k = width,
                                    .a = space->queries,
                                    .a_leading = width,
                                    .b = space->keys,
                                    .b_leading = width,
                                    .c = space->scores,
                                    .c_leading = tile->count});
    for (int64_t row = 0; row < tile->rows; row++) {
        carry_row(in, run, space, tile, row, so_far);
    }
    rf_cpu_gemm_tile(&(rf_cpu_tile){.accumulate = true,
                                    .m = tile->rows,
                                    .n = width,
                                    .k = tile->count,
                                    .a = space->scores,
                                    .a_leading = tile->count,
                                    .b = space->values,
                                    .b_leading = width,
                                    .c = space->result,
                                    .c_leading = width});
}

/* log_norm of the tile's rows, and their output. */
static void finish_walk(const call *in, const rf_attention_run *run,
                        const rf_attention_space *space, const rf_attention_tile *tile,
                        const carried *so_far)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t part = (run->batch * plan->heads + run->head) * plan->parts + run->part;
    float *log_norm = (float *)in->attention->log_norm.data + part * plan->length;
    float factors[RF_ATTENTION_ROWS];
    for (int64_t row = 0; row < tile->rows; row++) {
        const float norm = so_far->maximum[row] + logf(so_far->sum[row]);
        log_norm[tile->tokens[row]] = norm;
        factors[row] = rf_cpu_attention_factor(plan, so_far->maximum[row], so_far->sum[row], norm);
    }
    write_rows(in, run, space, tile, factors);
}

/* Whole buckets: the tile of slots from `slot` on. */
static void attend_buckets(const call *in, const rf_attention_run *run,
                           const rf_attention_space *space, int64_t slot)
{
    const rf_attention_cut *cut = &in->cut;
    const int64_t left = cut->plan->slots - slot;
    int64_t first;
    int64_t last;
    int64_t end;
    if (!rf_cpu_attention_bucket_range(
            cut, run, slot, left < cut->tile_rows ? left : cut->tile_rows, &first, &last, &end)) {
        return;
    }
    end = cut->plan->causal ? last + 1 : end;
    int32_t tokens[RF_ATTENTION_ROWS];
    rf_attention_tile tile = {.tokens = tokens, .rows = last + 1 - slot};
    carried so_far;
    rf_cpu_attention_find_logs(cut, space);
    rf_cpu_attention_gather_slots(cut, run, space, run->part, slot, tile.rows, 0);
    for (int64_t row = 0; row < tile.rows; row++) {
        tokens[row] = space->tokens[row];
        so_far.maximum[row] = -INFINITY;
        so_far.sum[row] = 0.0F;
    }
    rf_cpu_attention_gather_rows(cut, run, &tile, in->source.query, space->queries);
    memset(space->result, 0, (size_t)(tile.rows * cut->width) * sizeof(float));
    for (int64_t piece = first; piece < end; piece += cut->run_keys) {
        tile.count = end - piece < cut->run_keys ? end - piece : cut->run_keys;
        tile.first_column = piece;
        rf_cpu_attention_gather_slots(cut, run, space, run->part, piece, tile.count, 0);
        const bool is_apart = piece + tile.count <= slot || piece > last;
        if (!is_apart || !rf_cpu_attention_is_hidden(cut, space, tile.count)) {
            rf_cpu_attention_gather_keys(cut, run, &in->source, space, 0, tile.count);
            attend_piece(in, run, space, &tile, &so_far);
        }
    }
    finish_walk(in, run, space, &tile, &so_far);
}

static void attend_all_buckets(const call *in, void *spaces, int threads)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t tiles = rf_cpu_blocks(plan->slots, in->cut.tile_rows);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t index = 0; index < plan->batch * plan->heads * plan->parts * tiles; index++) {
        const int64_t part = index / tiles;
        const int64_t head = part / plan->parts;
        const rf_attention_run run = {
            .batch = head / plan->heads, .head = head % plan->heads, .part = part % plan->parts};
        const rf_attention_space space =
            rf_cpu_attention_space(&in->cut, false, spaces, omp_get_thread_num());
        attend_buckets(in, &run, &space, index % tiles * in->cut.tile_rows);
    }
}

static void attend_run(const call *in, const rf_attention_run *run, const rf_attention_space *space)
{
    rf_attention_tile tile;
    rf_cpu_attention_gather(&in->cut, run, &in->source, space);
    rf_cpu_attention_find_logs(&in->cut, space);
    for (int64_t block = 0; block < run->blocks; block++) {
        for (int64_t row = 0; row < in->cut.plan->block; row += in->cut.tile_rows) {
            if (rf_cpu_attention_tile(&in->cut, run, space, block, row, &tile)) {
                attend_tile(in, run, space, &tile);
            }
        }
    }
}

size_t rf_cpu_block_attention_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_block_attention *attention = arguments;
    const call in = call_of(attention, NULL);
    return rf_cpu_attention_widened_size(&attention->query, &attention->key) +
           (size_t)device->threads * rf_cpu_attention_space_size(&in.cut, false);
}

rf_status rf_cpu_block_attention(rf_device *device, const void *arguments, void *scratch,
                                 rf_error *error)
{
    (void)error;
    const call in = call_of(arguments, scratch);
    const rf_attention_plan *plan = in.cut.plan;
    void *spaces =
        (char *)scratch + rf_cpu_attention_widened_size(&in.attention->query, &in.attention->key);
    const int64_t runs = plan->batch * plan->heads * plan->parts * in.cut.runs;
    const int threads =
        rf_cpu_threads(device, runs, in.cut.run_keys * in.cut.columns * in.cut.width);
    if (plan->whole_buckets) {
        attend_all_buckets(&in, spaces, device->threads < 1 ? 1 : device->threads);
        return RF_OK;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < runs; index++) {
        const int64_t part = index / in.cut.runs;
        const int64_t head = part / plan->parts;
        const rf_attention_run run =
            rf_cpu_attention_run(&in.cut, head / plan->heads, head % plan->heads,
                                 part % plan->parts, index % in.cut.runs);
        const rf_attention_space space =
            rf_cpu_attention_space(&in.cut, false, spaces, omp_get_thread_num());
        attend_run(&in, &run, &space);
    }
    return RF_OK;
}
