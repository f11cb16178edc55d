/* One row of scores: the rules of a plan and the softmax, in vectors; and which probabilities
 * dropout keeps. */
#ifndef RF_OPS_CPU_BLOCK_ATTENTION_ROWS_H
#define RF_OPS_CPU_BLOCK_ATTENTION_ROWS_H

#include "ops/cpu/block_attention_run.h"

/* What a query's pairs score: -1e9 where positions[j] > limit; then -1e5 where tokens[j] == self;
 * else scale x product. Where there are segments: minus infinity if segments[j] != segment. With
 * biases (the paper's options) these are added, segments are in them, and `hidden` is for -1e9. */
typedef struct rf_attention_rule {
    float scale;
    int32_t limit;
    int32_t self; /* a token, or a number that none has */
    int32_t segment;
    /* With biases only: what a hidden position scores, and the probability of the pair `self`. */
    float hidden, self_weight;
} rf_attention_rule;

/* The columns of a row: positions, tokens, segments [count] as gathered. */
typedef struct rf_attention_columns {
    const int32_t *positions, *tokens, *segments; /* the last may be NULL */
    const float *biases; /* NULL: the plan is plain; minus infinity: there is no such pair */
    int64_t count;
} rf_attention_columns;
rf_attention_columns rf_cpu_attention_columns(const rf_attention_space *space,
                                              const rf_attention_tile *tile);

/* The rule of the query at a token, by the plan: what it may see, and itself. */
rf_attention_rule rf_cpu_attention_rule(const rf_attention_plan *plan, int64_t batch,
                                        int32_t query_token);

/* The biases of the query's row, in space->biases, for a tile of a plan that is not plain: gives
 * the columns with them. rf_cpu_attention_find_logs must have been called for the space. */
rf_attention_columns rf_cpu_attention_biased(const rf_attention_cut *cut,
                                             const rf_attention_run *run,
                                             const rf_attention_space *space,
                                             const rf_attention_tile *tile, int32_t query_token);
void rf_cpu_attention_find_logs(const rf_attention_cut *cut, const rf_attention_space *space);

/* products [count] become scores; gives the largest. Scores become exp(score - maximum), 0 where
 * the maximum is -inf; gives the sum. */
float rf_cpu_attention_scores(float *products, const rf_attention_columns *columns,
                              const rf_attention_rule *rule);
float rf_cpu_attention_exponentials(float *scores, int64_t count, float maximum);

/* Weighted values x this are a part's output: 1 / sum, or exp(maximum - log_norm). */
float rf_cpu_attention_factor(const rf_attention_plan *plan, float maximum, float sum,
                              float log_norm);

/* products [count] become exp(score - maximum); gives the maximum and the sum. */
void rf_cpu_attention_softmax(float *products, const rf_attention_columns *columns,
                              const rf_attention_rule *rule, float *maximum, float *sum);

/* products [count] become the probabilities exp(score - norm); gradients [count], those of the
 * probabilities, become those of the products: scale x P x (gradient - delta), 0 where a rule set
 * the score. */
void rf_cpu_attention_softmax_backward(const rf_attention_plan *plan, float *products,
                                       float *gradients, const rf_attention_columns *columns,
                                       const rf_attention_rule *rule,
                                       const float norm_and_delta[2]);

/* keep [tile->count]: 1 / (1 - probability) where the pair of the query and the column is kept,
 * else 0. */
void rf_cpu_attention_keep(const rf_attention_cut *cut, const rf_attention_run *run,
                           const rf_attention_tile *tile, int32_t query_token, float *keep);

/* x [count] *= factors [count]. */
void rf_cpu_attention_multiply(float *x, const float *factors, int64_t count);

#endif
