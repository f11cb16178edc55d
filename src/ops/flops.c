/* Floating-point operations of a call: those of its products, two a multiplication and addition.
 * Elementwise work is not counted; what a kernel computes and masks away is. */
#include "ops/ops.h"

static double gemm_flops(const rf_gemm *gemm)
{
    const int64_t k = gemm->transpose_a ? gemm->a.rows : gemm->a.columns;
    return 2.0 * (double)gemm->c.rows * (double)gemm->c.columns * (double)k;
}

/* Pairs of a query and a key of the window, in all parts. Of one block of all tokens a causal
 * attention needs the half, and the kernels skip the rest. */
static double pairs_of(const rf_attention_plan *plan)
{
    const double window = (double)plan->block * (double)(plan->before + 1 + plan->after);
    const double queries = (double)plan->batch * (double)plan->heads * (double)plan->parts;
    const bool halved = plan->causal && plan->slots == plan->block;
    return queries * (double)plan->slots * window * (halved ? 0.5 : 1.0);
}

static double hash_flops(const rf_bucket_hash *hash)
{
    double columns = 0.0;
    for (int i = 0; i < hash->factor_count; i++) {
        columns += 0.5 * (double)hash->factors[i];
    }
    return 2.0 * (double)rf_tensor_count(&hash->query) * (double)hash->rounds * columns;
}

double rf_op_flops(rf_op op, const void *arguments)
{
    const rf_block_attention *attention = arguments;
    const rf_block_attention_backward *backward = arguments;
    switch (op) {
    case RF_OP_GEMM:
        return gemm_flops(arguments);
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
