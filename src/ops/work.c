/* The work of a call: floating-point operations of its products, two a multiplication and addition
 * (elementwise work is not counted; what a kernel computes and masks away is), and the bytes of its
 * operands, each once, read or written. */
#include "ops/ops.h"

#include <stddef.h>

static double gemm_flops(const rf_gemm *gemm)
{
    const int64_t k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    return 2.0 * (double)gemm->c.rows * (double)gemm->c.columns * (double)k;
}

static double project_flops(const rf_project *project)
{
    double flops = 0.0;
    const bool is_normed = !rf_tensor_is_absent(&project->norm.gain);
    const double rows = (double)(is_normed ? &project->norm.x : &project->x)->shape[0];
    for (int i = 0; i < project->count; i++) {
        const rf_matrix *weight = &project->products[i].weight;
        flops += 2.0 * rows * (double)weight->rows * (double)weight->columns;
    }
    return flops;
}

/* Pairs of a query and a key of the window, in all parts. Of one block of all tokens a causal
 * attention needs the half, and the kernels skip the rest. How many pairs whole buckets make is in
 * the data: they are not counted. */
static double pairs_of(const rf_attention_plan *plan)
{
    if (plan->whole_buckets) {
        return 0.0;
    }
    const double window = (double)plan->block * (double)(plan->before + 1 + plan->after);
    const double queries = (double)plan->batch * (double)plan->heads * (double)plan->parts;
    const bool halved = plan->causal && plan->slots == plan->block;
    return queries * (double)plan->slots * window * (halved ? 0.5 : 1.0);
}

static double hash_flops(const rf_bucket_hash *hash)
{
    const int64_t columns = rf_hash_columns(hash->kind, hash->factors, hash->factor_count);
    return 2.0 * (double)rf_tensor_count(&hash->query) * (double)hash->rounds * (double)columns;
}

double rf_op_flops(rf_op op, const void *arguments)
{
    const rf_block_attention *attention = arguments;
    const rf_block_attention_backward *backward = arguments;
    switch (op) {
    case RF_OP_GEMM:
        return gemm_flops(arguments);
    case RF_OP_PROJECT:
        return project_flops(arguments);
    case RF_OP_BUCKET_HASH:
        return hash_flops(arguments);
    case RF_OP_BLOCK_ATTENTION: /* scores, weighted values */
        return 4.0 * (double)attention->query.shape[3] * pairs_of(&attention->plan);
    case RF_OP_BLOCK_ATTENTION_BACKWARD: /* scores, and four gradients */
        return 10.0 * (double)backward->query.shape[3] * pairs_of(&backward->plan);
    default:
        return 0.0;
    }
}

/* Operands of each operation as places in its arguments; one that is given twice is read and
 * written, or stands for as many bytes of something else. gemm, project and step_project have
 * theirs below.
 */
enum { MOST_OPERANDS = 14 };
#define OPERAND(type, member) (1 + offsetof(type, member))
static const size_t operands[RF_OP_COUNT][MOST_OPERANDS] = {
    [RF_OP_CAST] = {OPERAND(rf_cast, x), OPERAND(rf_cast, y)},
    [RF_OP_ACTIVATE] = {OPERAND(rf_activate, x), OPERAND(rf_activate, y)},
    [RF_OP_ACTIVATE_BACKWARD] = {OPERAND(rf_activate_backward, x),
                                 OPERAND(rf_activate_backward, y_gradient),
                                 OPERAND(rf_activate_backward, x_gradient),
                                 OPERAND(rf_activate_backward, bias_gradient)},
    [RF_OP_ADD] = {OPERAND(rf_add, a), OPERAND(rf_add, b), OPERAND(rf_add, y)},
    [RF_OP_DROPOUT] = {OPERAND(rf_dropout, x), OPERAND(rf_dropout, y),
                       OPERAND(rf_dropout, bias_gradient)},
    [RF_OP_RESIDUAL] = {OPERAND(rf_residual, stream), OPERAND(rf_residual, value)},
    [RF_OP_EMBEDDING] = {OPERAND(rf_embedding, ids), OPERAND(rf_embedding, y),
                         OPERAND(rf_embedding, y)},
    [RF_OP_EMBEDDING_BACKWARD] = {OPERAND(rf_embedding_backward, ids),
                                  OPERAND(rf_embedding_backward, y_gradient),
                                  OPERAND(rf_embedding_backward, y_gradient)},
    [RF_OP_POSITION] = {OPERAND(rf_position, y), OPERAND(rf_position, y)},
    [RF_OP_POSITION_BACKWARD] = {OPERAND(rf_position_backward, y_gradient),
                                 OPERAND(rf_position_backward, y_gradient)},
    [RF_OP_LAYER_NORM] = {OPERAND(rf_layer_norm, x), OPERAND(rf_layer_norm, x2),
                          OPERAND(rf_layer_norm, gain), OPERAND(rf_layer_norm, bias),
                          OPERAND(rf_layer_norm, y)},
    [RF_OP_LAYER_NORM_BACKWARD] =
        {OPERAND(rf_layer_norm_backward, x), OPERAND(rf_layer_norm_backward, x2),
         OPERAND(rf_layer_norm_backward, gain), OPERAND(rf_layer_norm_backward, y_gradient),
         OPERAND(rf_layer_norm_backward, x_gradient), OPERAND(rf_layer_norm_backward, x2_gradient),
         OPERAND(rf_layer_norm_backward, gain_gradient),
         OPERAND(rf_layer_norm_backward, bias_gradient), OPERAND(rf_layer_norm_backward, y)},
    [RF_OP_BUCKET_HASH] = {OPERAND(rf_bucket_hash, query), OPERAND(rf_bucket_hash, rotations),
                           OPERAND(rf_bucket_hash, key_mask), OPERAND(rf_bucket_hash, buckets)},
    [RF_OP_BUCKET_SORT] = {OPERAND(rf_bucket_sort, buckets), OPERAND(rf_bucket_sort, order),
                           OPERAND(rf_bucket_sort, inverse)},
    [RF_OP_BLOCK_ATTENTION] = {OPERAND(rf_block_attention, plan.order),
                               OPERAND(rf_block_attention, plan.key_mask),
                               OPERAND(rf_block_attention, plan.bucket),
                               OPERAND(rf_block_attention, plan.inverse),
                               OPERAND(rf_block_attention, query), OPERAND(rf_block_attention, key),
                               OPERAND(rf_block_attention, value),
                               OPERAND(rf_block_attention, output),
                               OPERAND(rf_block_attention, log_norm)},
    [RF_OP_BLOCK_ATTENTION_BACKWARD] = {OPERAND(rf_block_attention_backward, plan.order),
                                        OPERAND(rf_block_attention_backward, plan.key_mask),
                                        OPERAND(rf_block_attention_backward, plan.bucket),
                                        OPERAND(rf_block_attention_backward, plan.inverse),
                                        OPERAND(rf_block_attention_backward, query),
                                        OPERAND(rf_block_attention_backward, key),
                                        OPERAND(rf_block_attention_backward, value),
                                        OPERAND(rf_block_attention_backward, output),
                                        OPERAND(rf_block_attention_backward, norm),
                                        OPERAND(rf_block_attention_backward, output_gradient),
                                        OPERAND(rf_block_attention_backward, query_gradient),
                                        OPERAND(rf_block_attention_backward, key_gradient),
                                        OPERAND(rf_block_attention_backward, value_gradient)},
    [RF_OP_COMBINE_ROUNDS] = {OPERAND(rf_combine_rounds, output),
                              OPERAND(rf_combine_rounds, log_norm),
                              OPERAND(rf_combine_rounds, merged), OPERAND(rf_combine_rounds, norm)},
    [RF_OP_CROSS_ENTROPY] = {OPERAND(rf_cross_entropy, logits), OPERAND(rf_cross_entropy, targets),
                             OPERAND(rf_cross_entropy, nll), OPERAND(rf_cross_entropy, prediction),
                             OPERAND(rf_cross_entropy, logits_gradient)},
    [RF_OP_REDUCE] = {OPERAND(rf_reduce, x), OPERAND(rf_reduce, y)},
    [RF_OP_ADAMW] = {OPERAND(rf_adamw, value), OPERAND(rf_adamw, gradient),
                     OPERAND(rf_adamw, first_moment), OPERAND(rf_adamw, second_moment),
                     OPERAND(rf_adamw, rounded)},
    [RF_OP_ADAFACTOR] = {OPERAND(rf_adafactor, value), OPERAND(rf_adafactor, gradient),
                         OPERAND(rf_adafactor, row_moment), OPERAND(rf_adafactor, column_moment),
                         OPERAND(rf_adafactor, second_moment), OPERAND(rf_adafactor, first_moment),
                         OPERAND(rf_adafactor, rounded)},
    [RF_OP_VALUE_LOSS] = {OPERAND(rf_value_loss, x), OPERAND(rf_value_loss, targets),
                          OPERAND(rf_value_loss, loss), OPERAND(rf_value_loss, x_gradient)},
    [RF_OP_STEP_BEGIN] = {OPERAND(rf_step_begin, ids), OPERAND(rf_step_begin, y),
                          OPERAND(rf_step_begin, y)},
    [RF_OP_CACHE_FILL] = {OPERAND(rf_cache_fill, key), OPERAND(rf_cache_fill, value),
                          OPERAND(rf_cache_fill, key), OPERAND(rf_cache_fill, value)},
    [RF_OP_LISTS_FILL] = {OPERAND(rf_lists_fill, buckets), OPERAND(rf_lists_fill, order),
                          OPERAND(rf_lists_fill, order)},
    [RF_OP_CACHE_APPEND] = {OPERAND(rf_cache_append, query), OPERAND(rf_cache_append, key),
                            OPERAND(rf_cache_append, value)},
    [RF_OP_CACHE_ATTEND] = {OPERAND(rf_cache_attend, query), OPERAND(rf_cache_attend, output)},
    [RF_OP_SAMPLE] = {OPERAND(rf_sample, logits), OPERAND(rf_sample, seen),
                      OPERAND(rf_sample, tokens)},
};
#undef OPERAND

static double matrix_bytes(const rf_matrix *matrix)
{
    return (double)matrix->rows * (double)matrix->columns * (double)rf_dtype_size(matrix->dtype);
}

static double project_bytes(const rf_project *project)
{
    const bool is_normed = !rf_tensor_is_absent(&project->norm.gain);
    double bytes = (double)rf_tensor_size(is_normed ? &project->norm.x : &project->x);
    bytes += (double)rf_tensor_size(&project->norm.y);
    bytes += 2.0 * (double)rf_tensor_size(&project->residual.stream);
    for (int i = 0; i < project->count; i++) {
        bytes += matrix_bytes(&project->products[i].weight);
        bytes += (double)rf_tensor_size(&project->products[i].y);
    }
    return bytes;
}

static double projection_bytes(const rf_step_project *project)
{
    double bytes = (double)rf_tensor_size(&project->norm.x);
    for (int i = 0; i < project->count; i++) {
        bytes += (double)rf_tensor_size(&project->projections[i].weight);
    }
    return bytes;
}

double rf_op_bytes(rf_op op, const void *arguments)
{
    if (op == RF_OP_GEMM) {
        const rf_gemm *gemm = arguments;
        return matrix_bytes(&gemm->a) + matrix_bytes(&gemm->b) +
               matrix_bytes(&gemm->c) * (gemm->accumulate ? 2.0 : 1.0);
    }
    if (op == RF_OP_PROJECT) {
        return project_bytes(arguments);
    }
    if (op == RF_OP_STEP_PROJECT) {
        return projection_bytes(arguments);
    }
    double bytes = 0.0;
    for (int i = 0; i < MOST_OPERANDS && operands[op][i] > 0; i++) {
        const void *place = (const char *)arguments + operands[op][i] - 1;
        bytes += (double)rf_tensor_size(place);
    }
    return bytes;
}
