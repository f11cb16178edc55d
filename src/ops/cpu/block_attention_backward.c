/* Block attention, backward: all parts as one softmax, P = exp(s - norm) recomputed tile by tile
 * from the merged norm (Kitaev, Kaiser, Levskaya 2020, appendix A; the tiling is that of Dao et al.
 * 2022).
 *
 * A key belongs to several windows, so gradients of keys and values are summed over a run in its
 * own scratch and then added to the output. Which runs may do so at once follows from the plan
 * alone: parts go one after the other; within a part neighbouring runs share key blocks, so runs
 * are coloured, and those of one colour share none; runs that wrap meet tokens of any run, so they
 * come last, one after the other per (batch, head). So every sum has one order, without atomics.
 * Five products per tile.
 *
 * Whole buckets: a tile of slots walks the slots of its buckets twice, once as queries and once as
 * keys, so that it owns all it adds to; seven products per pair of tiles. bf16 tensors are worked
 * on as f32 copies. */
#include "ops/cpu/block_attention_rows.h"
#include "ops/cpu/gemm_tile.h"

#include <omp.h>

/* One call. */
typedef struct call {
    const rf_block_attention_backward *given;
    rf_block_attention_backward wide; /* the same with output and gradients in f32: in scratch where
                                         they are given in bf16 */
    rf_attention_cut cut;
    rf_attention_source source;
    int64_t colours;
    float *deltas; /* [batch, heads, length] output_gradient . output; in scratch */
    size_t used;   /* bytes of scratch before the threads' spaces */
    void *scratch; /* those; NULL while only counting */
} call;

/* What is in f32 where the caller has bf16: two inputs, then the gradients. */
enum { WIDE_INPUTS = 2, WIDE_TENSORS = 5 };

static void list_tensors(rf_block_attention_backward *backward, rf_tensor *tensors[WIDE_TENSORS])
{
    tensors[0] = &backward->output;
    tensors[1] = &backward->output_gradient;
    tensors[2] = &backward->query_gradient;
    tensors[3] = &backward->value_gradient;
    tensors[4] = &backward->key_gradient;
}

/* Room in scratch for copies of what is bf16. */
static void place_copies(call *in, char *scratch)
{
    rf_tensor *tensors[WIDE_TENSORS];
    list_tensors(&in->wide, tensors);
    for (int i = 0; i < WIDE_TENSORS; i++) {
        if (tensors[i]->dtype == RF_BF16) {
            tensors[i]->dtype = RF_F32;
            tensors[i]->data = scratch != NULL ? scratch + in->used : NULL;
            in->used += (rf_tensor_size(tensors[i]) + 63) / 64 * 64;
        }
    }
}

static call call_of(const rf_block_attention_backward *backward, void *scratch)
{
    const rf_attention_plan *plan = &backward->plan;
    call in = {.given = backward,
               .wide = *backward,
               .cut = rf_cpu_attention_cut(plan, backward->query.shape[3]),
               .source = rf_cpu_attention_source(&backward->query, &backward->key, &backward->value,
                                                 scratch),
               .used = rf_cpu_attention_widened_size(&backward->query, &backward->key)};
    if (plan->normalise_keys) {
        in.wide.key_gradient = (rf_tensor){0};
    }
    place_copies(&in, scratch);
    in.deltas = scratch != NULL ? (float *)(void *)((char *)scratch + in.used) : NULL;
    in.used += ((size_t)(plan->batch * plan->heads * plan->length) * sizeof(float) + 63) / 64 * 64;
    in.scratch = scratch != NULL ? (char *)scratch + in.used : NULL;
    in.colours = 1 + rf_cpu_blocks(plan->before + plan->after, in.cut.run_blocks);
    return in;
}

/* Output and its gradient to their copies, or (`back`) the gradients from theirs. */
static void convert(call *in, bool back)
{
    rf_block_attention_backward given = *in->given;
    rf_tensor *narrow[WIDE_TENSORS];
    rf_tensor *wide[WIDE_TENSORS];
    list_tensors(&given, narrow);
    list_tensors(&in->wide, wide);
    for (int i = back ? WIDE_INPUTS : 0; i < (back ? WIDE_TENSORS : WIDE_INPUTS); i++) {
        if (narrow[i]->dtype != RF_BF16 || rf_tensor_is_absent(wide[i])) {
            continue;
        }
        const int64_t count = rf_tensor_count(wide[i]);
        uint16_t *halves = narrow[i]->data;
        float *floats = wide[i]->data;
        for (int64_t j = 0; j < count && !back; j++) {
            floats[j] = rf_bf16_to_f32(halves[j]);
        }
        for (int64_t j = 0; j < count && back; j++) {
            halves[j] = rf_f32_to_bf16(floats[j]);
        }
    }
}

RF_VECTOR_CLONES static float dot(const float *a, const float *b, int64_t count)
{
    float lanes[RF_LANES] = {0};
    int64_t j = 0;
    for (; j + RF_LANES <= count; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            lanes[i] += a[j + i] * b[j + i];
        }
    }
    for (int i = 0; j < count; i++, j++) {
        lanes[i] += a[j] * b[j];
    }
    return rf_cpu_sum_lanes(lanes);
}

RF_VECTOR_CLONES static void add_to(float *to, const float *from, int64_t count)
{
    for (int64_t j = 0; j < count; j++) {
        to[j] += from[j];
    }
}

/* query_gradient += the gradient of key = query x factor (factor = 1 / norm of the query, about)
 * pushed through to the query: factor (g - (g . key) key). All [width]. */
RF_VECTOR_CLONES static void add_through_key(float *query_gradient, const float *gradient,
                                             const float *key, int64_t width,
                                             const float factor_and_along[2])
{
    const float factor = factor_and_along[0];
    const float along = factor_and_along[1];
    for (int64_t j = 0; j < width; j++) {
        query_gradient[j] += factor * (gradient[j] - along * key[j]);
    }
}

/* All deltas, before anything is written: query_gradient may have the output's memory. */
static void find_deltas(const call *in, int threads)
{
    const rf_attention_plan *plan = in->cut.plan;
    const float *output = in->wide.output.data;
    const float *gradient = in->wide.output_gradient.data;
    const int64_t width = in->cut.width;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t token = 0; token < plan->batch * plan->length; token++) {
        const int64_t first = token / plan->length * plan->heads;
        for (int64_t head = 0; head < plan->heads; head++) {
            const int64_t row = (token * plan->heads + head) * width;
            in->deltas[(first + head) * plan->length + token % plan->length] =
                dot(output + row, gradient + row, width);
        }
    }
}

/* One query: products become (dropped-out) probabilities, gradients of those become gradients of
 * the products. */
static void differentiate_row(const call *in, const rf_attention_run *run,
                              const rf_attention_space *space, const rf_attention_tile *tile,
                              int64_t row)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int32_t token = tile->tokens[row];
    float *products = space->scores + row * tile->count;
    float *gradients = space->score_gradients + row * tile->count;
    if (token < 0) {
        memset(products, 0, (size_t)tile->count * sizeof(float));
        memset(gradients, 0, (size_t)tile->count * sizeof(float));
        return;
    }
    const rf_attention_rule rule = rf_cpu_attention_rule(plan, run->batch, token);
    const rf_attention_columns columns =
        in->cut.is_plain ? rf_cpu_attention_columns(space, tile)
                         : rf_cpu_attention_biased(&in->cut, run, space, tile, token);
    const int64_t at = (run->batch * plan->heads + run->head) * plan->length + token;
    const float norm = ((const float *)in->wide.norm.data)[at];
    if (plan->probability > 0.0F) {
        rf_cpu_attention_keep(&in->cut, run, tile, token, space->keep);
        rf_cpu_attention_multiply(gradients, space->keep, tile->count);
    }
    rf_cpu_attention_softmax_backward(plan, products, gradients, &columns, &rule,
                                      (const float[2]){norm, in->deltas[at]});
    if (plan->probability > 0.0F) {
        rf_cpu_attention_multiply(products, space->keep, tile->count);
    }
}

/* rows [rows, count] = a [rows, width] b^T, b [count, width]. */
static void multiply_rows(const rf_attention_tile *tile, int64_t width, const float *a,
                          const float *b, float *rows)
{
    rf_cpu_gemm_tile(&(rf_cpu_tile){.transpose_b = true,
                                    .m = tile->rows,
                                    .n = tile->count,
                                    .k = width,
                                    .a = a,
                                    .a_leading = width,
                                    .b = b,
                                    .b_leading = width,
                                    .c = rows,
                                    .c_leading = tile->count});
}

/* sums [count, width] += rows^T [count, rows] a [rows, width]. */
static void add_columns(const rf_attention_tile *tile, int64_t width, const float *rows,
                        const float *a, float *sums)
{
    rf_cpu_gemm_tile(&(rf_cpu_tile){.transpose_a = true,
                                    .accumulate = true,
                                    .m = tile->count,
                                    .n = width,
                                    .k = tile->rows,
                                    .a = rows,
                                    .a_leading = tile->count,
                                    .b = a,
                                    .b_leading = width,
                                    .c = sums,
                                    .c_leading = width});
}

/* Probabilities of the tile's pairs, in space->scores, and the gradients of their products, in
 * space->score_gradients. */
static void weigh_tile(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                       const rf_attention_tile *tile)
{
    const int64_t width = in->cut.width;
    const int64_t first = tile->first * width;
    multiply_rows(tile, width, space->queries, space->keys + first, space->scores);
    multiply_rows(tile, width, space->output_gradients, space->values + first,
                  space->score_gradients);
    for (int64_t row = 0; row < tile->rows; row++) {
        differentiate_row(in, run, space, tile, row);
    }
}

static void gather_queries(const call *in, const rf_attention_run *run,
                           const rf_attention_space *space, const rf_attention_tile *tile)
{
    rf_cpu_attention_gather_rows(&in->cut, run, tile, in->source.query, space->queries);
    rf_cpu_attention_gather_rows(&in->cut, run, tile, in->wide.output_gradient.data,
                                 space->output_gradients);
}

/* result (+)= the tile's gradients of products x its keys. */
static void find_query_gradients(const call *in, const rf_attention_space *space,
                                 const rf_attention_tile *tile, bool accumulate)
{
    const int64_t width = in->cut.width;
    rf_cpu_gemm_tile(&(rf_cpu_tile){.accumulate = accumulate,
                                    .m = tile->rows,
                                    .n = width,
                                    .k = tile->count,
                                    .a = space->score_gradients,
                                    .a_leading = tile->count,
                                    .b = space->keys + tile->first * width,
                                    .b_leading = width,
                                    .c = space->result,
                                    .c_leading = width});
}

static void add_query_gradients(const call *in, const rf_attention_run *run,
                                const rf_attention_space *space, const rf_attention_tile *tile)
{
    const int64_t width = in->cut.width;
    float *query_gradient = in->wide.query_gradient.data;
    for (int64_t row = 0; row < tile->rows; row++) {
        if (tile->tokens[row] >= 0) {
            add_to(query_gradient + rf_cpu_attention_row(&in->cut, run, tile->tokens[row]),
                   space->result + row * width, width);
        }
    }
}

static void differentiate_tile(const call *in, const rf_attention_run *run,
                               const rf_attention_space *space, const rf_attention_tile *tile)
{
    const int64_t width = in->cut.width;
    const int64_t first = tile->first * width;
    gather_queries(in, run, space, tile);
    weigh_tile(in, run, space, tile);
    add_columns(tile, width, space->scores, space->output_gradients,
                space->value_gradients + first);
    add_columns(tile, width, space->score_gradients, space->queries, space->key_gradients + first);
    find_query_gradients(in, space, tile, false);
    add_query_gradients(in, run, space, tile);
}

/* Add what was summed of gathered slots [first, end) to the outputs. */
static void scatter_keys(const call *in, const rf_attention_run *run,
                         const rf_attention_space *space, int64_t first, int64_t end)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t width = in->cut.width;
    float *query_gradient = in->wide.query_gradient.data;
    float *key_gradient = plan->normalise_keys ? NULL : in->wide.key_gradient.data;
    float *value_gradient = in->wide.value_gradient.data;
    for (int64_t slot = first; slot < end; slot++) {
        const int32_t later =
            space->tokens[slot + RF_ATTENTION_AHEAD < end ? slot + RF_ATTENTION_AHEAD : end - 1];
        rf_cpu_attention_prefetch(&in->cut, run, later, value_gradient);
        rf_cpu_attention_prefetch(&in->cut, run, later,
                                  key_gradient != NULL ? key_gradient : query_gradient);
        if (space->tokens[slot] < 0) {
            continue;
        }
        const int64_t row = rf_cpu_attention_row(&in->cut, run, space->tokens[slot]);
        const float *gradient = space->key_gradients + slot * width;
        add_to(value_gradient + row, space->value_gradients + slot * width, width);
        if (key_gradient != NULL) {
            add_to(key_gradient + row, gradient, width);
        } else {
            const float *key = space->keys + slot * width;
            const float along = dot(gradient, key, width);
            add_through_key(query_gradient + row, gradient, key, width,
                            (const float[2]){space->factors[slot], along});
        }
    }
}

static void differentiate_run(const call *in, const rf_attention_run *run)
{
    const rf_attention_space space =
        rf_cpu_attention_space(&in->cut, true, in->scratch, omp_get_thread_num());
    const size_t size = (size_t)(in->cut.run_keys * in->cut.width) * sizeof(float);
    rf_attention_tile tile;
    rf_cpu_attention_gather(&in->cut, run, &in->source, &space);
    rf_cpu_attention_find_logs(&in->cut, &space);
    memset(space.key_gradients, 0, size);
    memset(space.value_gradients, 0, size);
    for (int64_t block = 0; block < run->blocks; block++) {
        for (int64_t row = 0; row < in->cut.plan->block; row += in->cut.tile_rows) {
            if (rf_cpu_attention_tile(&in->cut, run, &space, block, row, &tile)) {
                differentiate_tile(in, run, &space, &tile);
            }
        }
    }
    scatter_keys(in, run, &space, run->first_present * in->cut.plan->block,
                 (run->first_present + run->present) * in->cut.plan->block);
}

/* A tile of whole buckets: its slots, those of its buckets, its tokens. */
typedef struct own_tile {
    int64_t slot, first, last, end;
    int32_t tokens[RF_ATTENTION_ROWS];
} own_tile;

/* Its slots are gathered, at 0. False: it has no token. */
static bool find_own(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                     int64_t slot, own_tile *own)
{
    const int64_t left = in->cut.plan->slots - slot;
    const int64_t rows = left < in->cut.tile_rows ? left : in->cut.tile_rows;
    own->slot = slot;
    if (!rf_cpu_attention_bucket_range(&in->cut, run, slot, rows, &own->first, &own->last,
                                       &own->end)) {
        return false;
    }
    const int64_t count = own->last + 1 - slot;
    rf_cpu_attention_gather_slots(&in->cut, run, space, run->part, slot, count, 0);
    memcpy(own->tokens, space->tokens, (size_t)count * sizeof(int32_t));
    return true;
}

/* The tile as keys: all queries of its buckets. Its slots are gathered. */
static void walk_queries(const call *in, const rf_attention_run *run,
                         const rf_attention_space *space, const own_tile *own)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t width = in->cut.width;
    const int64_t count = own->last + 1 - own->slot;
    const int64_t row = (run->batch * plan->heads + run->head) * plan->parts + run->part;
    const int32_t *order = (const int32_t *)plan->order.data + row * plan->slots;
    const bool is_hidden = rf_cpu_attention_is_hidden(&in->cut, space, count);
    int64_t first = plan->causal ? own->slot : own->first;
    int64_t end = own->end;
    if (is_hidden) { /* each sees itself at most */
        first = own->slot;
        end = own->last + 1;
    }
    rf_cpu_attention_gather_keys(&in->cut, run, &in->source, space, 0, count);
    memset(space->key_gradients, 0, (size_t)(count * width) * sizeof(float));
    memset(space->value_gradients, 0, (size_t)(count * width) * sizeof(float));
    for (int64_t slot = first; slot < end; slot += RF_ATTENTION_ROWS) {
        const int64_t left = end - slot;
        const rf_attention_tile tile = {.tokens = order + slot,
                                        .rows = left < RF_ATTENTION_ROWS ? left : RF_ATTENTION_ROWS,
                                        .count = count,
                                        .first_column = own->slot};
        gather_queries(in, run, space, &tile);
        weigh_tile(in, run, space, &tile);
        add_columns(&tile, width, space->scores, space->output_gradients, space->value_gradients);
        add_columns(&tile, width, space->score_gradients, space->queries, space->key_gradients);
    }
    scatter_keys(in, run, space, 0, count);
}

/* The tile as queries: all keys of its buckets. */
static void walk_keys(const call *in, const rf_attention_run *run, const rf_attention_space *space,
                      const own_tile *own)
{
    const rf_attention_cut *cut = &in->cut;
    rf_attention_tile tile = {.tokens = own->tokens, .rows = own->last + 1 - own->slot};
    const int64_t end = cut->plan->causal ? own->last + 1 : own->end;
    gather_queries(in, run, space, &tile);
    memset(space->result, 0, (size_t)(tile.rows * cut->width) * sizeof(float));
    for (int64_t piece = own->first; piece < end; piece += cut->run_keys) {
        tile.count = end - piece < cut->run_keys ? end - piece : cut->run_keys;
        tile.first_column = piece;
        rf_cpu_attention_gather_slots(cut, run, space, run->part, piece, tile.count, 0);
        const bool is_apart = piece + tile.count <= own->slot || piece > own->last;
        if (!is_apart || !rf_cpu_attention_is_hidden(cut, space, tile.count)) {
            rf_cpu_attention_gather_keys(cut, run, &in->source, space, 0, tile.count);
            weigh_tile(in, run, space, &tile);
            find_query_gradients(in, space, &tile, true);
        }
    }
    add_query_gradients(in, run, space, &tile);
}

/* A part of whole buckets: tiles in any order, since each adds to rows of its own tokens only. */
static void differentiate_buckets(const call *in, int64_t part, int threads)
{
    const rf_attention_plan *plan = in->cut.plan;
    const int64_t tiles = rf_cpu_blocks(plan->slots, in->cut.tile_rows);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t index = 0; index < plan->batch * plan->heads * tiles; index++) {
        const int64_t head = index / tiles;
        const rf_attention_run run = {
            .batch = head / plan->heads, .head = head % plan->heads, .part = part};
        const rf_attention_space space =
            rf_cpu_attention_space(&in->cut, true, in->scratch, omp_get_thread_num());
        own_tile own;
        rf_cpu_attention_find_logs(&in->cut, &space);
        if (find_own(in, &run, &space, index % tiles * in->cut.tile_rows, &own)) {
            walk_queries(in, &run, &space, &own);
            walk_keys(in, &run, &space, &own);
        }
    }
}

/* Runs of one colour of a part, for all (batch, head) at once. */
static void differentiate_colour(const call *in, int64_t part, int64_t colour, int threads)
{
    const int64_t heads = in->cut.plan->heads;
    const int64_t runs = rf_cpu_blocks(in->cut.runs - colour, in->colours);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < in->cut.plan->batch * heads * runs; index++) {
        const int64_t head = index / runs;
        const rf_attention_run run = rf_cpu_attention_run(
            &in->cut, head / heads, head % heads, part, colour + index % runs * in->colours);
        if (!rf_cpu_attention_run_wraps(&in->cut, &run)) {
            differentiate_run(in, &run);
        }
    }
}

/* The runs of a part that wrap, in order per (batch, head). */
static void differentiate_wrapping(const call *in, int64_t part, int threads)
{
    const int64_t heads = in->cut.plan->heads;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t head = 0; head < in->cut.plan->batch * heads; head++) {
        for (int64_t index = 0; index < in->cut.runs; index++) {
            const rf_attention_run run =
                rf_cpu_attention_run(&in->cut, head / heads, head % heads, part, index);
            if (rf_cpu_attention_run_wraps(&in->cut, &run)) {
                differentiate_run(in, &run);
            }
        }
    }
}

static void zero_outputs(const call *in, int threads)
{
    const rf_block_attention_backward *backward = &in->wide;
    const rf_tensor *outputs[] = {&backward->query_gradient, &backward->value_gradient,
                                  &backward->key_gradient};
    const int count = in->cut.plan->normalise_keys ? 2 : 3;
    const int64_t row = in->cut.plan->heads * in->cut.width;
    for (int i = 0; i < count; i++) {
        float *output = outputs[i]->data;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t token = 0; token < in->cut.plan->batch * in->cut.plan->length; token++) {
            memset(output + token * row, 0, (size_t)row * sizeof(float));
        }
    }
}

size_t rf_cpu_block_attention_backward_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_block_attention_backward *backward = arguments;
    const call in = call_of(backward, NULL);
    return in.used + (size_t)device->threads * rf_cpu_attention_space_size(&in.cut, true);
}

rf_status rf_cpu_block_attention_backward(rf_device *device, const void *arguments, void *scratch,
                                          rf_error *error)
{
    (void)error;
    call in = call_of(arguments, scratch);
    const rf_attention_plan *plan = in.cut.plan;
    const int64_t runs = plan->batch * plan->heads * in.cut.runs;
    const int threads =
        rf_cpu_threads(device, runs, in.cut.run_keys * in.cut.columns * in.cut.width);
    convert(&in, false);
    find_deltas(&in, threads);
    zero_outputs(&in, threads);
    for (int64_t part = 0; part < plan->parts && plan->whole_buckets; part++) {
        differentiate_buckets(&in, part, device->threads < 1 ? 1 : device->threads);
    }
    for (int64_t part = 0; part < plan->parts && !plan->whole_buckets; part++) {
        for (int64_t colour = 0; colour < in.colours && colour < in.cut.runs; colour++) {
            differentiate_colour(&in, part, colour, threads);
        }
        differentiate_wrapping(&in, part, threads);
    }
    convert(&in, true);
    return RF_OK;
}
