/* Hashing of bf16 queries on the tensor cores, which plain.cu hands on to. */
#ifndef RF_OPS_CUDA_BUCKET_HASH_FAST_CUH
#define RF_OPS_CUDA_BUCKET_HASH_FAST_CUH

#include "ops/cuda/cuda.cuh"

/* Can the fast kernel take this call? Its pointers start at multiples of 16 bytes. */
bool rf_fast_takes_hash(const rf_device *device, const rf_bucket_hash *hash);
size_t rf_fast_hash_scratch_size(const rf_bucket_hash *hash);
rf_status rf_fast_hash(rf_device *device, const rf_bucket_hash *hash, void *scratch,
                       rf_error *error);

#endif
