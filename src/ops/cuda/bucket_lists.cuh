/* Bucket lists (ops/bucket_lists.h) in kernels: views, and the token in any slot. */
#ifndef RF_OPS_CUDA_BUCKET_LISTS_CUH
#define RF_OPS_CUDA_BUCKET_LISTS_CUH

#include "ops/bucket_lists.h"
#include "ops/cuda/cuda.cuh"

/* All lists of a layer, and where the parts of each begin, in words. */
struct rf_cuda_lists {
    int32_t *all; /* [batch, heads, rounds, words]; NULL: there are none */
    int64_t words;
    int buckets, levels;
    int tree, sizes, starts, pool;
    int top; /* the greatest power of two that is no more than the buckets */
};

/* The lists of one row, head and round. */
struct rf_cuda_list {
    int32_t *header, *tree, *sizes, *starts, *pool;
};

static inline rf_cuda_lists rf_cuda_lists_of(const rf_layer_cache *cache)
{
    rf_cuda_lists lists = {};
    rf_lists_layout layout;
    if (rf_tensor_is_absent(&cache->lists) ||
        !rf_lists_layout_of(cache->bucket_count, cache->capacity, &layout)) {
        return lists;
    }
    lists.all = static_cast<int32_t *>(cache->lists.data);
    lists.words = layout.words;
    lists.buckets = static_cast<int>(layout.buckets);
    lists.levels = static_cast<int>(layout.levels);
    lists.tree = static_cast<int>(layout.tree);
    lists.sizes = static_cast<int>(layout.sizes);
    lists.starts = static_cast<int>(layout.starts);
    lists.pool = static_cast<int>(layout.pool);
    lists.top = 1;
    while (lists.top <= lists.buckets / 2) {
        lists.top *= 2;
    }
    return lists;
}

__device__ __forceinline__ rf_cuda_list rf_cuda_list_at(const rf_cuda_lists &lists, int64_t index)
{
    int32_t *words = lists.all + index * lists.words;
    return {words, words + lists.tree, words + lists.sizes, words + lists.starts,
            words + lists.pool};
}

/* The level that a place of a bucket is on. */
__device__ __forceinline__ int rf_cuda_level_of(int place)
{
    return 31 - __clz(place / RF_LISTS_FIRST + 1);
}

/* The token in a place of a bucket: two reads. */
__device__ __forceinline__ int32_t rf_cuda_list_at_place(const rf_cuda_lists &lists,
                                                         const rf_cuda_list &list, int bucket,
                                                         int place)
{
    const int64_t level = static_cast<int64_t>(bucket) * lists.levels + rf_cuda_level_of(place);
    return list.pool[list.starts[level] + place];
}

/* The token in a slot of the sorted order, slot < the number of tokens, and its bucket: down the
 * tree, then two reads. */
__device__ __forceinline__ int32_t rf_cuda_list_token(const rf_cuda_lists &lists,
                                                      const rf_cuda_list &list, int slot,
                                                      int *in_bucket)
{
    int bucket = 0;
    for (int step = lists.top; step > 0; step /= 2) {
        if (bucket + step <= lists.buckets) {
            const int below = list.tree[bucket + step];
            if (below <= slot) {
                bucket += step;
                slot -= below;
            }
        }
    }
    *in_bucket = bucket;
    return rf_cuda_list_at_place(lists, list, bucket, slot);
}

#endif
