/* The model's definition, one line of the specification after the other. */
#include "oracle/model.h"

#include "oracle/attention.h"
#include "oracle/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double *oracle_fresh(int64_t count)
{
    double *values = calloc((size_t)count, sizeof(double));
    if (values == NULL) {
        abort();
    }
    return values;
}

const double *oracle_parameter(const oracle_model *m, rf_parameter_role role, int64_t layer,
                               int axis)
{
    return m->block + rf_parameters_find(m->parameters, role, layer, axis)->offset;
}

/* y [rows, out] = x [rows, in] W^T + bias */
void oracle_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *weight,
                   const double *bias, double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = bias != NULL ? bias[o] : 0.0;
            for (int64_t i = 0; i < in; i++) {
                sum += x[r * in + i] * weight[o * in + i];
            }
            y[r * out + o] = sum;
        }
    }
}

/* The paper's options; whole buckets are one block, of which other buckets' pairs are left out. */
static void apply_options(const oracle_model *m, bool hashed, rf_attention_plan *plan)
{
    const rf_lsh_options *options = &m->config->lsh_options;
    if (hashed) {
        plan->wrap = options->across_rounds ? RF_WRAP_ALL_PARTS : RF_WRAP_NONE;
        plan->same_bucket = options->same_bucket;
        plan->duplicates = options->corrected ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED;
    }
    if (hashed && options->whole_buckets) {
        plan->block = plan->slots;
        plan->before = 0;
        plan->after = 0;
    }
    if (options->paper && plan->wrap == RF_WRAP_NONE) {
        plan->empty_row = RF_EMPTY_ROW_ZERO;
        plan->rounding = RF_ROUNDING_EXACT;
    }
}

static rf_attention_plan plan_of(const oracle_model *m, int64_t layer)
{
    const rf_config *config = m->config;
    const rf_layer_kind kind = config->kinds[layer];
    bool lsh = kind == RF_LAYER_LSH;
    bool shared = lsh || kind == RF_LAYER_FULL_SHARED;
    bool cut = lsh || kind == RF_LAYER_LOCAL;
    const rf_window_config *window = lsh ? &config->lsh : &config->local;
    int64_t slots = cut ? rf_config_padded_length(config, m->length) : m->length;
    bool chunked = cut && slots > window->chunk_length;
    rf_attention_plan plan = {.batch = m->batch,
                              .heads = config->heads,
                              .parts = lsh && chunked ? m->rounds : 1,
                              .length = m->length,
                              .slots = slots,
                              .block = chunked ? window->chunk_length : slots,
                              .before = chunked ? window->chunks_before : 0,
                              .after = chunked ? window->chunks_after : 0,
                              .causal = config->causal,
                              .self = shared ? RF_SELF_LAST_RESORT : RF_SELF_ORDINARY,
                              .normalise_keys = shared,
                              .scale = shared ? 1.0F : 1.0F / sqrtf((float)config->head_width),
                              .all_heads = config->heads};
    plan.wrap = !chunked ? RF_WRAP_NONE : lsh ? RF_WRAP_ALL_PARTS : RF_WRAP_PART;
    if (lsh) {
        apply_options(m, chunked, &plan);
    }
    return plan;
}

/* Order of the tokens by (round, bucket, position): [batch, heads, rounds, slots]; and their
 * buckets [batch, heads, rounds, length], owned too. */
static double *order_of(const oracle_model *m, int64_t layer, const rf_attention_plan *plan,
                        const double *query, double **kept)
{
    const rf_config *config = m->config;
    int64_t count = m->batch * config->heads * m->rounds;
    double *own = oracle_fresh(count * m->length);
    const double *buckets = m->buckets != NULL ? m->buckets[layer] : NULL;
    if (buckets == NULL) {
        rf_bucket_hash hash = {.query = rf_tensor_4(NULL, RF_F32, m->batch, m->length,
                                                    config->heads, config->head_width),
                               .rounds = m->rounds,
                               .factor_count = config->bucket_factors};
        hash.buckets = rf_tensor_4(NULL, RF_I32, m->batch, config->heads, m->rounds, m->length);
        hash.rotations = rf_tensor_4(NULL, RF_F32, config->heads, config->head_width, m->rounds,
                                     rf_config_rotation_columns(config));
        memcpy(hash.factors, config->buckets, sizeof config->buckets);
        oracle_bucket_hash(&hash, query, m->rotations, m->mask, own);
        buckets = own;
    }
    if (m->hashed != NULL) {
        memcpy(m->hashed[layer], buckets, (size_t)(count * m->length) * sizeof(double));
    }
    rf_bucket_sort sort = {
        .buckets = rf_tensor_4(NULL, RF_I32, m->batch, config->heads, m->rounds, m->length),
        .bucket_count = rf_config_bucket_count(config) + (m->mask != NULL ? 1 : 0),
        .order = rf_tensor_4(NULL, RF_I32, m->batch, config->heads, m->rounds, plan->slots)};
    double *order = oracle_fresh(count * plan->slots);
    sort.segment_count = m->length;
    oracle_bucket_sort(&sort, buckets, m->segments, order, NULL);
    if (buckets != own) {
        memcpy(own, buckets, (size_t)(count * m->length) * sizeof(double));
    }
    *kept = own;
    return order;
}

static void attend(const oracle_model *m, const oracle_attention *attention, double *merged)
{
    const rf_attention_plan *plan = attention->plan;
    int64_t rows = plan->batch * plan->heads * plan->length;
    double *norm = oracle_fresh(rows);
    if (m->exact) {
        oracle_merged_attention(attention, merged, norm);
    } else {
        double *output = oracle_fresh(rows * plan->parts * attention->width);
        double *norms = oracle_fresh(rows * plan->parts);
        rf_combine_rounds combine = {
            .output = rf_tensor_5(NULL, RF_F32, plan->batch, plan->parts, plan->length, plan->heads,
                                  attention->width),
            .log_norm =
                rf_tensor_4(NULL, RF_F32, plan->batch, plan->heads, plan->parts, plan->length),
            .rounding = plan->rounding};
        oracle_block_attention(attention, output, norms);
        oracle_combine_rounds(&combine, output, norms, merged, norm);
        free(output);
        free(norms);
    }
    free(norm);
}

void oracle_attention_half(const oracle_model *m, int64_t layer, const double *context,
                           double *accumulator)
{
    const rf_config *config = m->config;
    int64_t rows = m->batch * m->length;
    int64_t hidden = config->hidden;
    int64_t all = config->heads * config->head_width;
    bool lsh = config->kinds[layer] == RF_LAYER_LSH;
    bool shared = lsh || config->kinds[layer] == RF_LAYER_FULL_SHARED;
    double *x = oracle_fresh(rows * hidden);
    double *query = oracle_fresh(rows * all);
    double *key = oracle_fresh(rows * all);
    double *value = oracle_fresh(rows * all);
    double *merged = oracle_fresh(rows * all);
    double *order = NULL;
    double *bucket = NULL;
    oracle_layer_norm(rows, hidden, context, 0, NULL,
                      oracle_parameter(m, RF_PARAMETER_ATTENTION_NORM_GAIN, layer, 0),
                      oracle_parameter(m, RF_PARAMETER_ATTENTION_NORM_BIAS, layer, 0),
                      config->layer_norm_epsilon, x);
    oracle_linear(rows, hidden, all, x, oracle_parameter(m, RF_PARAMETER_QUERY, layer, 0), NULL,
                  query);
    oracle_linear(rows, hidden, all, x, oracle_parameter(m, RF_PARAMETER_VALUE, layer, 0), NULL,
                  value);
    if (!shared) {
        oracle_linear(rows, hidden, all, x, oracle_parameter(m, RF_PARAMETER_KEY, layer, 0), NULL,
                      key);
    }
    rf_attention_plan plan = plan_of(m, layer);
    if (lsh && plan.slots > config->lsh.chunk_length) {
        order = order_of(m, layer, &plan, query, &bucket);
    }
    attend(m,
           &(oracle_attention){.plan = &plan,
                               .width = config->head_width,
                               .order = order,
                               .bucket = bucket,
                               .key_mask = m->mask,
                               .segments = m->segments,
                               .query = query,
                               .key = shared ? NULL : key,
                               .value = value},
           merged);
    oracle_linear(rows, all, hidden, merged,
                  oracle_parameter(m, RF_PARAMETER_ATTENTION_OUTPUT, layer, 0), NULL, x);
    for (int64_t i = 0; i < rows * hidden; i++) {
        accumulator[i] += x[i];
    }
    double *const blocks[] = {x, query, key, value, merged, order, bucket};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        free(blocks[i]);
    }
}

static void feed_forward_branch(const oracle_model *m, int64_t layer, const double *context,
                                double *accumulator)
{
    const rf_config *config = m->config;
    int64_t rows = m->batch * m->length;
    double *x = oracle_fresh(rows * config->hidden);
    double *u = oracle_fresh(rows * config->feed_forward);
    oracle_layer_norm(rows, config->hidden, context, 0, NULL,
                      oracle_parameter(m, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer, 0),
                      oracle_parameter(m, RF_PARAMETER_FEED_FORWARD_NORM_BIAS, layer, 0),
                      config->layer_norm_epsilon, x);
    oracle_linear(rows, config->hidden, config->feed_forward, x,
                  oracle_parameter(m, RF_PARAMETER_INNER_WEIGHT, layer, 0),
                  oracle_parameter(m, RF_PARAMETER_INNER_BIAS, layer, 0), u);
    oracle_activate(config->activation, rows * config->feed_forward, u, u);
    oracle_linear(rows, config->feed_forward, config->hidden, u,
                  oracle_parameter(m, RF_PARAMETER_OUTER_WEIGHT, layer, 0),
                  oracle_parameter(m, RF_PARAMETER_OUTER_BIAS, layer, 0), x);
    for (int64_t i = 0; i < rows * config->hidden; i++) {
        accumulator[i] += x[i];
    }
    free(x);
    free(u);
}

static void embed(const oracle_model *m, double *x)
{
    const rf_config *config = m->config;
    int64_t rows = m->batch * m->length;
    double *ids = oracle_fresh(rows);
    double *positions = oracle_fresh(rows * config->hidden);
    const double *tables[RF_MAX_RANK] = {0};
    rf_position position = {.kind = config->positions == RF_POSITIONS_SINUSOIDAL
                                        ? RF_POSITION_SINUSOIDAL
                                        : RF_POSITION_TABLES,
                            .length = m->length};
    if (position.kind == RF_POSITION_TABLES) {
        position.axes = config->positions == RF_POSITIONS_AXIAL ? config->axes : 1;
    }
    for (int axis = 0; axis < position.axes; axis++) {
        const rf_parameter *p = rf_parameters_find(m->parameters, RF_PARAMETER_POSITION, -1, axis);
        int64_t width = p->shape[p->rank - 1];
        tables[axis] = m->block + p->offset;
        position.tables[axis] = rf_tensor_2(NULL, RF_F32, p->count / width, width);
    }
    for (int64_t i = 0; i < rows; i++) {
        ids[i] = m->ids[i];
    }
    oracle_embedding(rows, config->hidden, ids, oracle_parameter(m, RF_PARAMETER_WORD, -1, 0), x);
    for (int64_t i = 0; i < rows * config->hidden && config->type_vocabulary > 0; i++) {
        int64_t type = m->token_types != NULL ? m->token_types[i / config->hidden] : 0;
        x[i] += oracle_parameter(m, RF_PARAMETER_TOKEN_TYPE, -1,
                                 0)[type * config->hidden + i % config->hidden];
    }
    oracle_position(&position, rows, config->hidden, tables, positions);
    for (int64_t i = 0; i < rows * config->hidden; i++) {
        x[i] += positions[i];
    }
    free(ids);
    free(positions);
}

int64_t oracle_output_width(const oracle_model *m)
{
    return m->config->standard_residual ? m->config->hidden : 2 * m->config->hidden;
}

double oracle_model_forward(const oracle_model *m, double *logits)
{
    const rf_config *config = m->config;
    int64_t rows = m->batch * m->length;
    double *streams[2] = {oracle_fresh(rows * config->hidden), oracle_fresh(rows * config->hidden)};
    double *second = config->standard_residual ? streams[0] : streams[1];
    double *joined = oracle_fresh(rows * oracle_output_width(m));
    embed(m, streams[0]);
    memcpy(streams[1], streams[0], (size_t)(rows * config->hidden) * sizeof(double));
    for (int64_t layer = 0; layer < config->layers; layer++) {
        oracle_attention_half(m, layer, second, streams[0]);
        feed_forward_branch(m, layer, streams[0], second);
    }
    oracle_layer_norm(rows, config->hidden, streams[0], oracle_output_width(m) - config->hidden,
                      streams[1], oracle_parameter(m, RF_PARAMETER_FINAL_NORM_GAIN, -1, 0),
                      oracle_parameter(m, RF_PARAMETER_FINAL_NORM_BIAS, -1, 0),
                      config->layer_norm_epsilon, joined);
    double loss = oracle_head(m, joined, logits);
    free(streams[0]);
    free(streams[1]);
    free(joined);
    return loss;
}
