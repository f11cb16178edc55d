/* Stable sort by bucket: bucket after bucket, tokens in order. */
#include "oracle/attention.h"

void oracle_bucket_sort(const rf_bucket_sort *sort, const double *buckets, double *order,
                        double *inverse)
{
    const int64_t *shape = sort->buckets.shape;
    const int64_t length = shape[3];
    const int64_t slots = sort->order.shape[3];
    for (int64_t row = 0; row < shape[0] * shape[1] * shape[2]; row++) {
        int64_t slot = 0;
        for (int64_t bucket = 0; bucket < sort->bucket_count; bucket++) {
            for (int64_t token = 0; token < length; token++) {
                if (buckets[row * length + token] != (double)bucket) {
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
