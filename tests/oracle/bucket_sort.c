/* Stable sort by (segment, bucket): for each pair of these the tokens, in order. */
#include "oracle/attention.h"

void oracle_bucket_sort(const rf_bucket_sort *sort, const double *buckets, const double *segments,
                        double *order, double *inverse)
{
    const int64_t *shape = sort->buckets.shape;
    const int64_t length = shape[3];
    const int64_t slots = sort->order.shape[3];
    const int64_t both = sort->bucket_count * (segments != NULL ? sort->segment_count : 1);
    for (int64_t row = 0; row < shape[0] * shape[1] * shape[2]; row++) {
        const double *of = segments != NULL ? segments + row / shape[2] / shape[1] * length : NULL;
        int64_t slot = 0;
        for (int64_t i = 0; i < both; i++) {
            for (int64_t token = 0; token < length; token++) {
                if (buckets[row * length + token] != (double)(i % sort->bucket_count) ||
                    (of != NULL && of[token] != (double)(i / sort->bucket_count))) {
                    continue;
                }
                order[row * slots + slot] = (double)token;
                if (inverse != NULL) {
                    inverse[row * length + token] = (double)slot;
                }
                slot++;
            }
        }
        for (; slot < slots; slot++) {
            order[row * slots + slot] = -1.0;
        }
    }
}
