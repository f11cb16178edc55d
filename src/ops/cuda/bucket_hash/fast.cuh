/* Hashing of bf16 queries on the tensor cores, which plain.cu hands on to, and the dropout on
 * queries that both draw. */
#ifndef RF_OPS_CUDA_BUCKET_HASH_FAST_CUH
#define RF_OPS_CUDA_BUCKET_HASH_FAST_CUH

#include "ops/cuda/cuda.cuh"

/* Dropout on queries, as attention.h numbers their components. */
struct rf_query_dropout {
    bool drops;
    uint32_t keep_from;
    rf_random_key key;
    int64_t first_sample, length, first_head, width;
    int64_t token_step; /* numbers from a token to the next: all heads x width */
};

static inline rf_query_dropout rf_query_dropout_of(const rf_bucket_hash *hash)
{
    const int64_t *shape = hash->query.shape; /* [batch, length, heads, width] */
    return {hash->probability > 0.0F,
            rf_core_keep_from(hash->probability),
            hash->dropout_key,
            hash->first_sample,
            shape[1],
            hash->first_head,
            shape[3],
            hash->all_heads * shape[3]};
}

/* The number of a query's first component; head: within the group. */
__device__ __forceinline__ uint64_t rf_query_number(const rf_query_dropout &dropout, int64_t batch,
                                                    int64_t token, int64_t head)
{
    const int64_t row = (dropout.first_sample + batch) * dropout.length + token;
    return static_cast<uint64_t>(row * dropout.token_step +
                                 (dropout.first_head + head) * dropout.width);
}

__device__ __forceinline__ bool rf_query_is_kept(const rf_query_dropout &dropout, uint64_t number)
{
    return !dropout.drops || rf_cuda_keeps(dropout.key, number, dropout.keep_from);
}

/* Can the fast kernel take this call? Its pointers start at multiples of 16 bytes. */
bool rf_fast_takes_hash(const rf_device *device, const rf_bucket_hash *hash);
size_t rf_fast_hash_scratch_size(const rf_bucket_hash *hash);
rf_status rf_fast_hash(rf_device *device, const rf_bucket_hash *hash, void *scratch,
                       rf_error *error);

#endif
