/* Stable counting sort of the tokens of each (batch, head, round) by bucket: the order of Hugging
 * Face's argsort of bucket x length + position, without keys that could overflow. With segments a
 * second stable sort, by segment, follows. Time O(length + buckets + segments); scratch one count
 * per bucket or segment and thread, and four bytes a token with segments. */
#include "ops/cpu/cpu.h"
#include "ops/ops.h"

#include <omp.h>
#include <string.h>

static int64_t counters_of(const rf_bucket_sort *sort)
{
    const bool more =
        !rf_tensor_is_absent(&sort->segments) && sort->segment_count > sort->bucket_count;
    return more ? sort->segment_count : sort->bucket_count;
}

/* Of one thread's scratch, in counters. */
static int64_t space_of(const rf_bucket_sort *sort)
{
    const bool lists = !rf_tensor_is_absent(&sort->segments);
    return counters_of(sort) + (lists ? (sort->buckets.shape[3] + 1) / 2 : 0);
}

/* to [length] = the tokens of `from` [length] (NULL: as written) in the order of values [length] of
 * tokens, each below `count`; starts [count]: scratch. */
static void sort_by(const int32_t *values, int64_t count, int64_t length, const int32_t *from,
                    int32_t *to, int64_t *starts)
{
    memset(starts, 0, (size_t)count * sizeof *starts);
    for (int64_t token = 0; token < length; token++) {
        RF_ASSERT(values[token] >= 0 && values[token] < count);
        starts[values[token]]++;
    }
    int64_t start = 0;
    for (int64_t value = 0; value < count; value++) {
        const int64_t found = starts[value];
        starts[value] = start;
        start += found;
    }
    for (int64_t place = 0; place < length; place++) {
        const int32_t token = from != NULL ? from[place] : (int32_t)place;
        to[starts[values[token]]++] = token;
    }
}

/* Row `index` of (batch, head, round); starts: scratch, and behind it a list of tokens where there
 * are segments. */
static void sort_one(const rf_bucket_sort *sort, int64_t index, int64_t *starts)
{
    const int64_t *shape = sort->buckets.shape;
    const int64_t length = shape[3];
    const int64_t slots = sort->order.shape[3];
    const int32_t *buckets = (const int32_t *)sort->buckets.data + index * length;
    int32_t *order = (int32_t *)sort->order.data + index * slots;
    if (rf_tensor_is_absent(&sort->segments)) {
        sort_by(buckets, sort->bucket_count, length, NULL, order, starts);
    } else {
        const int32_t *segments =
            (const int32_t *)sort->segments.data + index / (shape[1] * shape[2]) * length;
        int32_t *by_bucket = (int32_t *)(void *)(starts + counters_of(sort));
        sort_by(buckets, sort->bucket_count, length, NULL, by_bucket, starts);
        sort_by(segments, sort->segment_count, length, by_bucket, order, starts);
    }
    for (int64_t slot = length; slot < slots; slot++) {
        order[slot] = -1;
    }
    if (!rf_tensor_is_absent(&sort->inverse)) {
        int32_t *inverse = (int32_t *)sort->inverse.data + index * length;
        for (int64_t slot = 0; slot < length; slot++) {
            inverse[order[slot]] = (int32_t)slot;
        }
    }
}

size_t rf_cpu_bucket_sort_scratch_size(const rf_device *device, const void *arguments)
{
    const rf_bucket_sort *sort = arguments;
    return (size_t)device->threads * (size_t)space_of(sort) * sizeof(int64_t);
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
        sort_one(sort, index, starts + omp_get_thread_num() * space_of(sort));
    }
    return RF_OK;
}
