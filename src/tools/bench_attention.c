/* `bench attention`: one attention layer without its output projection: projections, hashing,
 * sorting, attention, merging, and the backward of all of it, on random inputs. Passes are timed
 * whole; then again with the device waited for after each stage, so that the stages add up to more
 * than the whole. Everything that the passes touch stands in one workspace, whose size is the peak.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "model/model.h"
#include "reformer/tools.h"
#include "tools/bench_semantics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROJECTIONS = 3, MOST_REPEATS = 1 << 20, PIECE = 1 << 16 };

/* What is timed; the last three are the backward. */
typedef enum stage {
    STAGE_PROJECTIONS,
    STAGE_HASH,
    STAGE_SORT,
    STAGE_ATTENTION,
    STAGE_COMBINE,
    STAGE_ATTENTION_BACKWARD,
    STAGE_PROJECTIONS_BACKWARD,
    STAGE_COUNT
} stage;

static const char *const stage_names[STAGE_COUNT] = {
    "projections",         "hash", "sort", "attention", "combine", "attention_backward",
    "projections_backward"};

typedef struct bench {
    const rf_bench_attention_options *options;
    rf_model model; /* its configuration (one layer), device and type only */
    rf_device dry;
    rf_workspace workspace;
    size_t peak; /* bytes of the workspace that a pass needs */
    rf_context context;
    rf_layer_kind kind;
    rf_tensor x, x_gradient;   /* [batch * length, hidden] */
    rf_tensor merged_gradient; /* [batch, length, heads of a group, width], the same for each */
    rf_tensor weights[PROJECTIONS], weight_gradients[PROJECTIONS]; /* [heads * width, hidden] */
    double *stages; /* [STAGE_COUNT] seconds, or NULL: the pass is not cut */
    double last;
} bench;

/* A group of heads on its way through the layer. */
typedef struct group {
    int64_t first_head, heads;
    rf_tensor projected[PROJECTIONS]; /* query, value, key: [batch, length, heads, width] */
    rf_tensor merged, norm;
    rf_attention_plan plan;
} group;

/* Queries and values; keys only where they are not made from queries. */
static int projection_count(const bench *b)
{
    return rf_config_shares_query_key(&b->model.config, 0) ? 2 : 3;
}

/* The stage that began where the last one ended is over. */
static rf_status end_stage(bench *b, stage which, rf_error *error)
{
    if (b->stages == NULL || b->context.device->dry) {
        return RF_OK;
    }
    RF_TRY(rf_device_sync(b->context.device, error));
    const double now = rf_clock_seconds();
    b->stages[which] += now - b->last;
    b->last = now;
    return RF_OK;
}

/* ---- the layer --------------------------------------------------------------------------- */

static rf_status take_heads(bench *b, const char *what, int64_t heads, rf_tensor *tensor,
                            rf_error *error)
{
    const int64_t shape[4] = {b->options->batch, b->options->length, heads, b->options->head_width};
    return rf_workspace_take(&b->workspace, what, b->model.compute, 4, shape, tensor, error);
}

/* [batch, length, heads, width] as rows for a product. */
static rf_matrix rows_of(const bench *b, const rf_tensor *heads)
{
    const rf_tensor flat = rf_tensor_reshape_2(heads, b->options->batch * b->options->length,
                                               heads->shape[2] * heads->shape[3]);
    return rf_matrix_of(&flat);
}

static rf_matrix group_rows(const bench *b, const group *g, const rf_tensor *weight)
{
    const rf_tensor rows = rf_tensor_rows(weight, g->first_head * b->options->head_width,
                                          g->heads * b->options->head_width);
    return rf_matrix_of(&rows);
}

static rf_status project(bench *b, group *g, rf_error *error)
{
    static const char *const names[PROJECTIONS] = {"queries", "values", "keys"};
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        RF_TRY(take_heads(b, names[i], g->heads, &g->projected[i], error));
        RF_TRY(rf_op_gemm(&b->context,
                          &(rf_gemm){.a = rf_matrix_of(&b->x),
                                     .b = group_rows(b, g, &b->weights[i]),
                                     .c = rows_of(b, &g->projected[i]),
                                     .transpose_b = true},
                          error));
    }
    return end_stage(b, STAGE_PROJECTIONS, error);
}

static void plan(const bench *b, group *g)
{
    const rf_bench_attention_options *options = b->options;
    const bool is_lsh = b->kind == RF_LAYER_LSH;
    const bool is_full = !is_lsh && b->kind != RF_LAYER_LOCAL;
    const bool shared = projection_count(b) == 2;
    g->plan = (rf_attention_plan){
        .batch = options->batch,
        .heads = g->heads,
        .parts = is_lsh ? options->rounds : 1,
        .length = options->length,
        .slots = rf_config_padded_length(&b->model.config, options->length),
        .block = is_full ? options->length : options->chunk,
        .before = is_full ? 0 : options->before,
        .after = is_full ? 0 : options->after,
        .wrap = is_lsh    ? RF_WRAP_ALL_PARTS
                : is_full ? RF_WRAP_NONE
                          : RF_WRAP_PART,
        .causal = options->causal,
        .self = shared ? RF_SELF_LAST_RESORT : RF_SELF_ORDINARY,
        .normalise_keys = shared,
        .scale = shared ? 1.0F : 1.0F / sqrtf((float)options->head_width),
        .probability = (float)options->dropout,
        .dropout_key = {.purpose = RF_PURPOSE_ATTENTION_DROPOUT},
        .first_head = g->first_head,
        .all_heads = options->heads,
    };
    if (is_lsh) {
        rf_bench_apply_semantics(options->semantics, &g->plan);
    }
}

/* The order of the slots of an LSH layer. */
static rf_status sort(bench *b, group *g, rf_error *error)
{
    const int64_t tokens[4] = {b->options->batch, g->heads, b->options->rounds, b->options->length};
    const int64_t slots[4] = {b->options->batch, g->heads, b->options->rounds, g->plan.slots};
    rf_tensor buckets;
    RF_TRY(
        rf_workspace_take(&b->workspace, "sorted order", RF_I32, 4, slots, &g->plan.order, error));
    if (g->plan.duplicates == RF_DUPLICATES_CORRECTED && !g->plan.whole_buckets) {
        RF_TRY(rf_workspace_take(&b->workspace, "slots of tokens", RF_I32, 4, tokens,
                                 &g->plan.inverse, error));
    }
    size_t mark = rf_workspace_mark(&b->workspace);
    RF_TRY(rf_workspace_take(&b->workspace, "buckets", RF_I32, 4, tokens, &buckets, error));
    if (g->plan.same_bucket) {
        g->plan.bucket = buckets;
        mark = rf_workspace_mark(&b->workspace);
    }
    rf_bucket_hash hash = {.query = g->projected[0],
                           .key = {.purpose = RF_PURPOSE_ROTATION},
                           .first_head = g->first_head,
                           .rounds = b->options->rounds,
                           .factor_count = b->model.config.bucket_factors,
                           .buckets = buckets};
    memcpy(hash.factors, b->model.config.buckets, sizeof hash.factors);
    RF_TRY(rf_op_bucket_hash(&b->context, &hash, error));
    RF_TRY(end_stage(b, STAGE_HASH, error));
    RF_TRY(rf_op_bucket_sort(
        &b->context,
        &(rf_bucket_sort){.buckets = buckets,
                          .bucket_count = rf_config_bucket_count(&b->model.config),
                          .order = g->plan.order,
                          .inverse = g->plan.inverse},
        error));
    rf_workspace_release(&b->workspace, mark);
    return end_stage(b, STAGE_SORT, error);
}

static rf_status attend(bench *b, group *g, rf_error *error)
{
    const rf_attention_plan *plan = &g->plan;
    const int64_t width = b->options->head_width;
    const int64_t norm[3] = {plan->batch, plan->heads, plan->length};
    RF_TRY(take_heads(b, "attention output", g->heads, &g->merged, error));
    RF_TRY(rf_workspace_take(&b->workspace, "log-normalisers", RF_F32, 3, norm, &g->norm, error));
    const size_t mark = rf_workspace_mark(&b->workspace);
    rf_block_attention attention = {
        .plan = *plan, .query = g->projected[0], .value = g->projected[1], .key = g->projected[2]};
    const int64_t output[5] = {plan->batch, plan->parts, plan->length, plan->heads, width};
    const int64_t norms[4] = {plan->batch, plan->heads, plan->parts, plan->length};
    const bool merges = plan->parts > 1;
    attention.output = rf_tensor_5(g->merged.data, g->merged.dtype, plan->batch, 1, plan->length,
                                   plan->heads, width);
    attention.log_norm =
        rf_tensor_4(g->norm.data, RF_F32, plan->batch, plan->heads, 1, plan->length);
    if (merges) {
        RF_TRY(rf_workspace_take(&b->workspace, "outputs of the rounds", b->model.compute, 5,
                                 output, &attention.output, error));
        RF_TRY(rf_workspace_take(&b->workspace, "log-normalisers of the rounds", RF_F32, 4, norms,
                                 &attention.log_norm, error));
    }
    RF_TRY(rf_op_block_attention(&b->context, &attention, error));
    RF_TRY(end_stage(b, STAGE_ATTENTION, error));
    if (merges) {
        RF_TRY(rf_op_combine_rounds(&b->context,
                                    &(rf_combine_rounds){.output = attention.output,
                                                         .log_norm = attention.log_norm,
                                                         .merged = g->merged,
                                                         .norm = g->norm,
                                                         .rounding = plan->rounding},
                                    error));
    }
    rf_workspace_release(&b->workspace, mark);
    return end_stage(b, STAGE_COMBINE, error);
}

/* The weights' gradients, which add up, and the input's, which the first product of all writes. */
static rf_status project_backward(bench *b, const group *g, const rf_tensor *gradients,
                                  rf_error *error)
{
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        const rf_matrix gradient = rows_of(b, &gradients[i]);
        RF_TRY(rf_op_gemm(&b->context,
                          &(rf_gemm){.a = gradient,
                                     .b = rf_matrix_of(&b->x),
                                     .c = group_rows(b, g, &b->weight_gradients[i]),
                                     .transpose_a = true,
                                     .accumulate = true},
                          error));
        RF_TRY(rf_op_gemm(&b->context,
                          &(rf_gemm){.a = gradient,
                                     .b = group_rows(b, g, &b->weights[i]),
                                     .c = rf_matrix_of(&b->x_gradient),
                                     .accumulate = g->first_head > 0 || i > 0},
                          error));
    }
    return end_stage(b, STAGE_PROJECTIONS_BACKWARD, error);
}

static rf_status backward(bench *b, const group *g, rf_error *error)
{
    static const char *const names[PROJECTIONS] = {"query gradients", "value gradients",
                                                   "key gradients"};
    rf_tensor gradients[PROJECTIONS] = {{0}};
    rf_tensor merged_gradient = b->merged_gradient;
    merged_gradient.shape[2] = g->heads;
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        RF_TRY(take_heads(b, names[i], g->heads, &gradients[i], error));
    }
    RF_TRY(rf_op_block_attention_backward(
        &b->context,
        &(rf_block_attention_backward){.plan = g->plan,
                                       .query = g->projected[0],
                                       .value = g->projected[1],
                                       .key = g->projected[2],
                                       .output = g->merged,
                                       .norm = g->norm,
                                       .output_gradient = merged_gradient,
                                       .query_gradient = gradients[0],
                                       .value_gradient = gradients[1],
                                       .key_gradient = gradients[2]},
        error));
    RF_TRY(end_stage(b, STAGE_ATTENTION_BACKWARD, error));
    return project_backward(b, g, gradients, error);
}

static rf_status pass(bench *b, bool forward_only, rf_error *error)
{
    const int64_t most = b->options->heads_at_a_time;
    for (int64_t head = 0; head < b->options->heads; head += most) {
        const int64_t left = b->options->heads - head;
        const size_t mark = rf_workspace_mark(&b->workspace);
        group g = {.first_head = head, .heads = left < most ? left : most};
        RF_TRY(project(b, &g, error));
        plan(b, &g);
        if (b->kind == RF_LAYER_LSH) {
            RF_TRY(sort(b, &g, error));
        }
        RF_TRY(attend(b, &g, error));
        if (!forward_only) {
            RF_TRY(backward(b, &g, error));
        }
        rf_workspace_release(&b->workspace, mark);
    }
    return rf_device_sync(b->context.device, error);
}

/* ---- inputs ------------------------------------------------------------------------------ */

static rf_status take_inputs(bench *b, rf_error *error)
{
    const rf_bench_attention_options *options = b->options;
    const int64_t rows = options->batch * options->length;
    const int64_t columns = options->heads * options->head_width;
    const rf_dtype dtype = b->model.compute;
    rf_workspace *workspace = &b->workspace;
    RF_TRY(rf_workspace_take_2(workspace, "input", dtype, rows, options->hidden, &b->x, error));
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        RF_TRY(rf_workspace_take_2(workspace, "weights", dtype, columns, options->hidden,
                                   &b->weights[i], error));
    }
    if (options->forward_only) {
        return RF_OK;
    }
    RF_TRY(rf_workspace_take_2(workspace, "input's gradient", dtype, rows, options->hidden,
                               &b->x_gradient, error));
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        RF_TRY(rf_workspace_take_2(workspace, "weights' gradients", RF_F32, columns,
                                   options->hidden, &b->weight_gradients[i], error));
    }
    return take_heads(b, "output's gradient", options->heads_at_a_time, &b->merged_gradient, error);
}

/* Normal numbers of this deviation. memory [2 * PIECE] floats. */
static rf_status fill(bench *b, const rf_tensor *tensor, uint32_t number, float deviation,
                      float *memory, rf_error *error)
{
    const rf_random_key key = {.layer = number, .purpose = RF_PURPOSE_TEST};
    const int64_t count = rf_tensor_is_absent(tensor) ? 0 : rf_tensor_count(tensor);
    uint16_t *halves = (uint16_t *)(void *)(memory + PIECE);
    const bool is_half = tensor->dtype == RF_BF16;
    const size_t size = rf_dtype_size(tensor->dtype);
    for (int64_t first = 0; first < count; first += PIECE) {
        const int64_t piece = count - first < PIECE ? count - first : PIECE;
        rf_random_normals(&key, (uint64_t)first, memory, (size_t)piece);
        for (int64_t i = 0; i < piece; i++) {
            memory[i] *= deviation;
            halves[i] = rf_f32_to_bf16(memory[i]);
        }
        RF_TRY(rf_device_upload(b->model.device, (char *)tensor->data + (size_t)first * size,
                                is_half ? (const void *)halves : (const void *)memory,
                                (size_t)piece * size, error));
    }
    return RF_OK;
}

static rf_status fill_inputs(bench *b, rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    const float deviation = 1.0F / sqrtf((float)b->options->hidden);
    RF_TRY(rf_allocate(2 * (size_t)PIECE * sizeof(float), "random numbers", &memory, error));
    RF_TRY_DONE(fill(b, &b->x, 1, 1.0F, memory, error));
    RF_TRY_DONE(fill(b, &b->merged_gradient, 2, 1.0F, memory, error));
    for (int i = 0; i < projection_count(b) && i < PROJECTIONS; i++) {
        RF_TRY_DONE(fill(b, &b->weights[i], 3 + (uint32_t)i, deviation, memory, error));
        if (!rf_tensor_is_absent(&b->weight_gradients[i])) {
            RF_TRY_DONE(rf_device_zero(b->model.device, b->weight_gradients[i].data,
                                       rf_tensor_size(&b->weight_gradients[i]), error));
        }
    }
done:
    rf_release(memory);
    return status;
}

/* ---- measuring --------------------------------------------------------------------------- */

static rf_status check_range(const char *name, int64_t value, int64_t low, int64_t high,
                             rf_error *error)
{
    if (value >= low && value <= high) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "%s is %lld, expected %lld to %lld", name,
                        (long long)value, (long long)low, (long long)high);
}

static rf_status check_options(const rf_bench_attention_options *options, rf_error *error)
{
    const int64_t most = 1 << 20;
    RF_TRY(check_range("batch", options->batch, 1, most, error));
    RF_TRY(check_range("heads", options->heads, 1, most, error));
    RF_TRY(check_range("heads_at_a_time", options->heads_at_a_time, 1, options->heads, error));
    RF_TRY(check_range("head_width", options->head_width, 1, most, error));
    RF_TRY(check_range("hidden", options->hidden, 1, most, error));
    RF_TRY(check_range("chunk", options->chunk, 1, most, error));
    RF_TRY(check_range("length", options->length, options->chunk + 1, INT32_MAX / 2, error));
    RF_TRY(check_range("rounds", options->rounds, 1, 1024, error));
    RF_TRY(check_range("before", options->before, 0, 1024, error));
    RF_TRY(check_range("after", options->after, 0, 1024, error));
    RF_TRY(rf_bench_check_semantics(options->semantics, error));
    if (!(options->dropout >= 0.0 && options->dropout < 1.0)) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "dropout is %g, expected 0 to below 1",
                            options->dropout);
    }
    RF_TRY(check_range("repeats", options->repeats, 1, MOST_REPEATS, error));
    RF_TRY(check_range("warmup", options->warmup, 0, MOST_REPEATS, error));
    rf_layer_kind kind = RF_LAYER_LSH;
    if (options->kind != NULL && !rf_layer_kind_parse(options->kind, &kind)) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "kind is \"%s\", expected lsh, local, full or full_shared",
                            options->kind);
    }
    return RF_OK;
}

/* The device, a configuration of one layer that has the shapes and the buckets, the workspace by a
 * dry pass, and the inputs. */
static rf_status prepare(bench *b, rf_error *error)
{
    const rf_bench_attention_options *options = b->options;
    RF_TRY(rf_model_open_device(&b->model,
                                &(rf_model_options){.device = options->device,
                                                    .threads = options->threads,
                                                    .precision = options->precision,
                                                    .kernels = options->kernels},
                                error));
    b->kind = RF_LAYER_LSH;
    (void)(options->kind != NULL && rf_layer_kind_parse(options->kind, &b->kind));
    b->model.config.layers = 1;
    b->model.config.kinds = &b->kind;
    b->model.config.max_positions = options->length;
    b->model.config.lsh.chunk_length = options->chunk;
    b->model.config.local.chunk_length = options->chunk;
    RF_TRY(rf_config_resolve_buckets(&b->model.config, options->length, &(rf_log){0}, error));
    b->dry = *b->model.device;
    b->dry.dry = true;
    rf_workspace_init(&b->workspace, &b->dry);
    b->context = (rf_context){.device = &b->dry, .workspace = &b->workspace};
    RF_TRY(take_inputs(b, error));
    RF_TRY(pass(b, options->forward_only, error));
    b->peak = b->workspace.high;
    if (options->memory_limit > 0 && b->peak > options->memory_limit) {
        return rf_error_set(error, RF_ERR_MEMORY,
                            "%zu bytes are needed, but the limit is %llu; lower the length or the "
                            "batch, or take fewer heads at a time",
                            b->peak, (unsigned long long)options->memory_limit);
    }
    rf_workspace_init(&b->workspace, b->model.device);
    b->context.device = b->model.device;
    RF_TRY(rf_workspace_allocate(&b->workspace, b->peak, error));
    RF_TRY(take_inputs(b, error));
    return fill_inputs(b, error);
}

/* seconds [repeats] of whole passes; or, where stages is there, those of the stages: [repeats,
 * STAGE_COUNT]. */
static rf_status time_passes(bench *b, bool forward_only, double *seconds, double *stages,
                             rf_error *error)
{
    for (int64_t i = -b->options->warmup; i < b->options->repeats; i++) {
        b->stages = stages != NULL && i >= 0 ? stages + i * STAGE_COUNT : NULL;
        for (int which = 0; b->stages != NULL && which < STAGE_COUNT; which++) {
            b->stages[which] = 0.0;
        }
        b->last = rf_clock_seconds();
        const double start = b->last;
        RF_TRY(pass(b, forward_only, error));
        if (seconds != NULL && i >= 0) {
            seconds[i] = rf_clock_seconds() - start;
        }
    }
    b->stages = NULL;
    return RF_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *numbers, int64_t count)
{
    qsort(numbers, (size_t)count, sizeof numbers[0], compare_doubles);
    return count % 2 == 1 ? numbers[count / 2]
                          : 0.5 * (numbers[count / 2 - 1] + numbers[count / 2]);
}

/* {"median", "min", "max"} in milliseconds of seconds [count], which are sorted. */
static json_t *spread(double *seconds, int64_t count)
{
    const double middle = median(seconds, count);
    return json_pack("{s:f, s:f, s:f}", "median", 1e3 * middle, "min", 1e3 * seconds[0], "max",
                     1e3 * seconds[count - 1]);
}

/* Medians in milliseconds of stages [repeats, STAGE_COUNT], those that took any time. column
 * [repeats]: to work in. */
static json_t *stage_medians(const double *stages, int64_t repeats, double *column)
{
    json_t *object = json_object();
    for (int which = 0; which < STAGE_COUNT; which++) {
        for (int64_t i = 0; i < repeats; i++) {
            column[i] = stages[i * STAGE_COUNT + which];
        }
        const double middle = median(column, repeats);
        if (middle > 0.0) {
            (void)json_object_set_new(object, stage_names[which], json_real(1e3 * middle));
        }
    }
    return object;
}

static json_t *describe(const bench *b)
{
    const rf_bench_attention_options *options = b->options;
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:s, s:s, s:I}", "kind",
                  rf_layer_kind_name(b->kind), "batch", (json_int_t)options->batch, "length",
                  (json_int_t)options->length, "heads", (json_int_t)options->heads, "head_width",
                  (json_int_t)options->head_width, "hidden", (json_int_t)options->hidden, "chunk",
                  (json_int_t)options->chunk, "before", (json_int_t)options->before, "after",
                  (json_int_t)options->after, "causal", options->causal ? 1 : 0, "heads_at_a_time",
                  (json_int_t)options->heads_at_a_time, "device", b->model.device->table->name,
                  "precision", rf_dtype_name(b->model.compute), "peak_bytes", (json_int_t)b->peak);
    if (b->kind == RF_LAYER_LSH) {
        (void)json_object_set_new(object, "rounds", json_integer(options->rounds));
        (void)json_object_set_new(
            object, "semantics",
            json_string(options->semantics != NULL ? options->semantics : "hf"));
        (void)json_object_set_new(object, "buckets",
                                  json_integer(rf_config_bucket_count(&b->model.config)));
    }
    return object;
}

/* seconds [repeats], stages [repeats, STAGE_COUNT]: to work in. */
static rf_status measure(bench *b, double *seconds, double *stages, json_t **report,
                         rf_error *error)
{
    const int64_t repeats = b->options->repeats;
    json_t *object = describe(b);
    rf_status status = RF_OK;
    RF_TRY_DONE(time_passes(b, true, seconds, NULL, error));
    RF_TRY_DONE(rf_json_set(object, "forward_ms", spread(seconds, repeats), error));
    if (!b->options->forward_only) {
        RF_TRY_DONE(time_passes(b, false, seconds, NULL, error));
        RF_TRY_DONE(rf_json_set(object, "forward_backward_ms", spread(seconds, repeats), error));
    }
    RF_TRY_DONE(time_passes(b, b->options->forward_only, NULL, stages, error));
    RF_TRY_DONE(rf_json_set(object, "stages_ms", stage_medians(stages, repeats, seconds), error));
done:
    if (status != RF_OK) {
        json_decref(object);
        return status;
    }
    *report = object;
    return RF_OK;
}

rf_status rf_bench_attention(const rf_bench_attention_options *options, char **report,
                             rf_error *error)
{
    rf_bench_attention_options complete = *options;
    bench b = {.options = &complete};
    void *memory = NULL;
    json_t *object = NULL;
    rf_status status = RF_OK;
    *report = NULL;
    if (complete.heads_at_a_time == 0) {
        complete.heads_at_a_time = complete.heads;
    }
    RF_TRY(check_options(&complete, error));
    const size_t repeats = (size_t)complete.repeats;
    RF_TRY(rf_allocate(repeats * (STAGE_COUNT + 1) * sizeof(double), "times", &memory, error));
    RF_TRY_DONE(prepare(&b, error));
    RF_TRY_DONE(measure(&b, memory, (double *)memory + repeats, &object, error));
    RF_TRY_DONE(rf_json_text(object, true, report, error));
done:
    json_decref(object);
    if (b.workspace.memory != NULL) {
        rf_workspace_clear(&b.workspace);
    }
    rf_device_destroy(b.model.device);
    rf_release(memory);
    return status;
}
