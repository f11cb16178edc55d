/* What the two kernels of bucket_hash share, and when the one on tensor cores is taken. */
#ifndef RF_OPS_CUDA_BUCKET_HASH_CUH
#define RF_OPS_CUDA_BUCKET_HASH_CUH

#include "ops/cuda/cuda.cuh"

/* Columns of a round. */
static inline int64_t rf_hash_columns(const rf_bucket_hash *hash)
{
    int64_t columns = 0;
    for (int i = 0; i < hash->factor_count; i++) {
        columns += hash->factors[i] / 2;
    }
    return columns;
}

/* RF_OK, or RF_ERR_UNSUPPORTED where a launch cannot have so many blocks. */
RF_MUST_CHECK static inline rf_status rf_hash_check_blocks(const rf_bucket_hash *hash,
                                                           int64_t blocks, rf_error *error)
{
    if (blocks > INT32_MAX) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "bucket_hash: %lld sequences of %lld tokens are too many for one call "
                            "on this device; hash fewer at once",
                            static_cast<long long>(hash->query.shape[0] * hash->query.shape[2]),
                            static_cast<long long>(hash->query.shape[1]));
    }
    return RF_OK;
}

/* Does the call go to bucket_hash_bf16.cu? */
static inline bool rf_hash_is_fast(const rf_device *device, const rf_bucket_hash *hash)
{
    const int64_t width = hash->query.shape[3];
    return !device->plain_kernels && hash->query.dtype == RF_BF16 && width % 8 == 0 && width >= 8 &&
           width <= 256;
}

rf_status rf_hash_fast(rf_device *device, const rf_bucket_hash *hash, void *scratch,
                       rf_error *error);
size_t rf_hash_fast_scratch_size(const rf_bucket_hash *hash);

#endif
