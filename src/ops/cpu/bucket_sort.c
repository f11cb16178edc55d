/* Stable counting sort of the tokens of each (batch, head, round) by bucket: the order of Hugging
 * Face's argsort of bucket x length + position, without keys that could overflow. Time O(length +
 * buckets); scratch one count per bucket and thread. */
#include "ops/cpu/cpu.h"
#include "ops/ops.h"

#include <omp.h>
#include <string.h>

/* buckets [length], order [slots], inverse [length] or NULL, starts [bucket_count]: scratch. */
static void sort_one(const rf_bucket_sort *sort, int64_t index, int64_t *starts)
{
    const int64_t length = sort->buckets.shape[3];
    const int64_t slots = sort->order.shape[3];
    const int32_t *buckets = (const int32_t *)sort->buckets.data + index * length;
    int32_t *order = (int32_t *)sort->order.data + index * slots;
    int32_t *inverse =
        rf_tensor_is_absent(&sort->inverse) ? NULL : (int32_t *)sort->inverse.data + index * length;
    memset(starts, 0, (size_t)sort->bucket_count * sizeof *starts);
    for (int64_t token = 0; token < length; token++) {
        RF_ASSERT(buckets[token] >= 0 && buckets[token] < sort->bucket_count);
        starts[buckets[token]]++;
    }
    int64_t start = 0;
    for (int64_t bucket = 0; bucket < sort->bucket_count; bucket++) {
        const int64_t count = starts[bucket];
        starts[bucket] = start;
        start += count;
    }
    for (int64_t token = 0; token < length; token++) {
        const int64_t slot = starts[buckets[token]]++;
        order[slot] = (int32_t)token;
        if (inverse != NULL) {
            inverse[token] = (int32_t)slot;
        }
    }
    for (int64_t slot = length; slot < slots; slot++) {
        order[slot] = -1;
    }
}

size_t rf_cpu_bucket_sort_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_bucket_sort *sort = arguments;
    return (size_t)device->threads * (size_t)sort->bucket_count * sizeof(int64_t);
}

rf_status rf_cpu_bucket_sort(rf_device *device, const void *arguments, void *scratch,
                             rf_error *error)
{
    (void)error;
    const rf_bucket_sort *sort = arguments;
    const int64_t *shape = sort->buckets.shape;
    int64_t *starts = scratch;
    const int64_t sorts = shape[0] * shape[1] * shape[2];
    const int threads = rf_cpu_threads(device, sorts, shape[3]);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < sorts; index++) {
        sort_one(sort, index, starts + omp_get_thread_num() * sort->bucket_count);
    }
    return RF_OK;
}
