/* One row of scores (see the header). About 25 vector instructions per 8 or 16 pairs, most of them
 * the exponential. */
#include "ops/cpu/block_attention_rows.h"

#include <math.h>

static const float masked_score = -1e9F;
static const float self_score = -1e5F;
static const float least_bias = -1e30F; /* any below is minus infinity */

rf_attention_columns rf_cpu_attention_columns(const rf_attention_space *space,
                                              const rf_attention_tile *tile)
{
    return (rf_attention_columns){
        .positions = space->positions + tile->first,
        .tokens = space->tokens + tile->first,
        .segments = space->segments != NULL ? space->segments + tile->first : NULL,
        .count = tile->count};
}

rf_attention_rule rf_cpu_attention_rule(const rf_attention_plan *plan, int64_t batch,
                                        int32_t query_token)
{
    return (rf_attention_rule){.scale = plan->scale,
                               .limit = plan->causal ? query_token : INT32_MAX - 1,
                               .self = plan->self == RF_SELF_LAST_RESORT ? query_token : -2,
                               .segment = rf_cpu_attention_segment(plan, batch, query_token),
                               .hidden =
                                   plan->empty_row == RF_EMPTY_ROW_ZERO ? -INFINITY : masked_score};
}

float rf_cpu_attention_factor(const rf_attention_plan *plan, float maximum, float sum,
                              float log_norm)
{
    if (!(sum > 0.0F)) {
        return 0.0F;
    }
    return plan->rounding == RF_ROUNDING_EXACT ? 1.0F / sum : expf(maximum - log_norm);
}

/* e^x for x <= 88, exactly 0 below -87: no denormals, which some processors are slow at. */
RF_INLINE float weight_of(float x)
{
    const float weight = rf_cpu_exp(x < -87.0F ? -87.0F : x);
    return x < -87.0F ? 0.0F : weight;
}

RF_INLINE float score_of(float product, int32_t position, int32_t token, rf_attention_rule rule)
{
    const float score = position > rule.limit ? masked_score : product * rule.scale;
    return token == rule.self ? self_score : score;
}

/* Is column j of another segment than the query? has_segments is a constant where this is inlined.
 */
RF_INLINE bool is_other(const int32_t *segments, int64_t j, rf_attention_rule rule,
                        bool has_segments)
{
    return has_segments && segments[j] != rule.segment;
}

RF_INLINE float score_at(const float *products, const rf_attention_columns *columns, int64_t j,
                         rf_attention_rule rule, bool has_segments)
{
    const float score = score_of(products[j], columns->positions[j], columns->tokens[j], rule);
    return is_other(columns->segments, j, rule, has_segments) ? -INFINITY : score;
}

/* Products become scores; gives the largest. */
RF_INLINE float apply_rule_of(float *products, const rf_attention_columns *columns,
                              rf_attention_rule rule, bool has_segments)
{
    const int64_t count = columns->count;
    float lanes[RF_LANES];
    for (int i = 0; i < RF_LANES; i++) {
        lanes[i] = -INFINITY;
    }
    int64_t j = 0;
    for (; j + RF_LANES <= count; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            const float score = score_at(products, columns, j + i, rule, has_segments);
            products[j + i] = score;
            lanes[i] = score > lanes[i] ? score : lanes[i];
        }
    }
    for (int i = 0; j < count; i++, j++) {
        products[j] = score_at(products, columns, j, rule, has_segments);
        lanes[i] = products[j] > lanes[i] ? products[j] : lanes[i];
    }
    for (int i = 1; i < RF_LANES; i++) {
        lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    }
    return lanes[0];
}

RF_VECTOR_CLONES static float apply_rule(float *products, const rf_attention_columns *columns,
                                         rf_attention_rule rule)
{
    const rf_attention_columns own = *columns;
    return apply_rule_of(products, &own, rule, false);
}

RF_VECTOR_CLONES static float apply_segments(float *products, const rf_attention_columns *columns,
                                             rf_attention_rule rule)
{
    const rf_attention_columns own = *columns;
    return apply_rule_of(products, &own, rule, true);
}

/* The same with biases. */
RF_INLINE float biased_score(float product, int32_t position, int32_t token, float bias,
                             rf_attention_rule rule)
{
    float score = position > rule.limit ? rule.hidden : product * rule.scale + bias;
    score = bias < least_bias ? -INFINITY : score;
    return token == rule.self ? self_score : score;
}

RF_VECTOR_CLONES static float apply_biases(float *products, const rf_attention_columns *columns,
                                           rf_attention_rule rule)
{
    const rf_attention_columns own = *columns;
    float lanes[RF_LANES];
    for (int i = 0; i < RF_LANES; i++) {
        lanes[i] = -INFINITY;
    }
    int64_t j = 0;
    for (; j + RF_LANES <= own.count; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            const float score = biased_score(products[j + i], own.positions[j + i],
                                             own.tokens[j + i], own.biases[j + i], rule);
            products[j + i] = score;
            lanes[i] = score > lanes[i] ? score : lanes[i];
        }
    }
    for (int i = 0; j < own.count; i++, j++) {
        products[j] =
            biased_score(products[j], own.positions[j], own.tokens[j], own.biases[j], rule);
        lanes[i] = products[j] > lanes[i] ? products[j] : lanes[i];
    }
    for (int i = 1; i < RF_LANES; i++) {
        lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    }
    return lanes[0];
}

float rf_cpu_attention_scores(float *products, const rf_attention_columns *columns,
                              const rf_attention_rule *rule)
{
    if (columns->biases != NULL) {
        return apply_biases(products, columns, *rule);
    }
    return columns->segments != NULL ? apply_segments(products, columns, *rule)
                                     : apply_rule(products, columns, *rule);
}

/* Scores become exp(score - maximum); gives the sum. */
RF_VECTOR_CLONES static float exponentiate(float *scores, int64_t count, float maximum)
{
    float lanes[RF_LANES] = {0};
    int64_t j = 0;
    for (; j + RF_LANES <= count; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            const float weight = weight_of(scores[j + i] - maximum);
            scores[j + i] = weight;
            lanes[i] += weight;
        }
    }
    for (int i = 0; j < count; i++, j++) {
        scores[j] = weight_of(scores[j] - maximum);
        lanes[i] += scores[j];
    }
    return rf_cpu_sum_lanes(lanes);
}

float rf_cpu_attention_exponentials(float *scores, int64_t count, float maximum)
{
    if (maximum < least_bias) {
        memset(scores, 0, (size_t)count * sizeof(float));
        return 0.0F;
    }
    return exponentiate(scores, count, maximum);
}

void rf_cpu_attention_softmax(float *products, const rf_attention_columns *columns,
                              const rf_attention_rule *rule, float *maximum, float *sum)
{
    *maximum = rf_cpu_attention_scores(products, columns, rule);
    *sum = rf_cpu_attention_exponentials(products, columns->count, *maximum);
}

RF_INLINE void differentiate_of(float *products, float *gradients, const rf_attention_columns *own,
                                rf_attention_rule rule, const float norm_and_delta[2],
                                bool has_segments)
{
    const float norm = norm_and_delta[0];
    const float delta = norm_and_delta[1];
    for (int64_t j = 0; j < own->count; j++) {
        const bool is_fixed = (own->positions[j] > rule.limit) | (own->tokens[j] == rule.self);
        const float weight = weight_of(score_at(products, own, j, rule, has_segments) - norm);
        const float gradient = rule.scale * (weight * (gradients[j] - delta));
        products[j] = weight;
        gradients[j] = is_fixed ? 0.0F : gradient;
    }
}

RF_VECTOR_CLONES static void differentiate(float *products, float *gradients,
                                           const rf_attention_columns *columns,
                                           rf_attention_rule rule, const float norm_and_delta[2])
{
    const rf_attention_columns own = *columns;
    const float numbers[2] = {norm_and_delta[0], norm_and_delta[1]};
    differentiate_of(products, gradients, &own, rule, numbers, false);
}

RF_VECTOR_CLONES static void differentiate_segments(float *products, float *gradients,
                                                    const rf_attention_columns *columns,
                                                    rf_attention_rule rule,
                                                    const float norm_and_delta[2])
{
    const rf_attention_columns own = *columns;
    const float numbers[2] = {norm_and_delta[0], norm_and_delta[1]};
    differentiate_of(products, gradients, &own, rule, numbers, true);
}

RF_VECTOR_CLONES static void differentiate_biased(float *products, float *gradients,
                                                  const rf_attention_columns *columns,
                                                  rf_attention_rule rule,
                                                  const float norm_and_delta[2])
{
    const rf_attention_columns own = *columns;
    const float norm = norm_and_delta[0];
    const float delta = norm_and_delta[1];
    for (int64_t j = 0; j < own.count; j++) {
        const bool is_fixed = (own.positions[j] > rule.limit) | (own.tokens[j] == rule.self);
        const float score =
            biased_score(products[j], own.positions[j], own.tokens[j], own.biases[j], rule);
        const float usual = weight_of(score - norm);
        const float weight = own.tokens[j] == rule.self ? rule.self_weight : usual;
        const float gradient = rule.scale * (weight * (gradients[j] - delta));
        products[j] = weight;
        gradients[j] = is_fixed ? 0.0F : gradient;
    }
}

/* The probability of the last resort: exp(-1e5 - norm), which exact rounding finds without the
 * difference, and so without the rounding of such a norm. */
static float self_weight_of(const rf_attention_plan *plan, float norm)
{
    if (plan->rounding == RF_ROUNDING_EXACT) {
        return norm < -5e4F ? 1.0F / (float)plan->parts : 0.0F;
    }
    return weight_of(self_score - norm);
}

void rf_cpu_attention_softmax_backward(const rf_attention_plan *plan, float *products,
                                       float *gradients, const rf_attention_columns *columns,
                                       const rf_attention_rule *rule, const float norm_and_delta[2])
{
    if (columns->biases != NULL && norm_and_delta[0] < least_bias) { /* no pair in any part */
        memset(products, 0, (size_t)columns->count * sizeof(float));
        memset(gradients, 0, (size_t)columns->count * sizeof(float));
    } else if (columns->biases != NULL) {
        rf_attention_rule biased = *rule;
        biased.self_weight = self_weight_of(plan, norm_and_delta[0]);
        differentiate_biased(products, gradients, columns, biased, norm_and_delta);
    } else if (columns->segments != NULL) {
        differentiate_segments(products, gradients, columns, *rule, norm_and_delta);
    } else {
        differentiate(products, gradients, columns, *rule, norm_and_delta);
    }
}

/* keep [count] from its random bits. */
RF_VECTOR_CLONES static void keep_from_bits(const uint32_t *bits, int64_t count, uint32_t from,
                                            float scale, float *keep)
{
    for (int64_t j = 0; j < count; j++) {
        keep[j] = (bits[j] >> 8) >= from ? scale : 0.0F;
    }
}

void rf_cpu_attention_keep(const rf_attention_cut *cut, const rf_attention_run *run,
                           const rf_attention_tile *tile, int32_t query_token, float *keep)
{
    const rf_attention_plan *plan = cut->plan;
    const int64_t sample_head =
        (plan->first_sample + run->batch) * plan->all_heads + plan->first_head + run->head;
    const int64_t row = (sample_head * plan->parts + run->part) * plan->length + query_token;
    const uint64_t first = (uint64_t)(row * cut->pairs + tile->first_column);
    uint32_t bits[256];
    for (int64_t j = 0; j < tile->count; j += 256) {
        const int64_t count = tile->count - j < 256 ? tile->count - j : 256;
        rf_cpu_random_bits(&plan->dropout_key, first + (uint64_t)j, count, bits);
        keep_from_bits(bits, count, rf_cpu_keep_from(plan->probability),
                       1.0F / (1.0F - plan->probability), keep + j);
    }
}

RF_VECTOR_CLONES void rf_cpu_attention_multiply(float *x, const float *factors, int64_t count)
{
    for (int64_t j = 0; j < count; j++) {
        x[j] *= factors[j];
    }
}
