/* Bucket lists (ops/bucket_lists.h) on the host: append, build, and the window of the last token.
 *
 *   append  O(log buckets)        window  O(entries + buckets in it x log buckets) */
#ifndef RF_OPS_CPU_BUCKET_LISTS_H
#define RF_OPS_CPU_BUCKET_LISTS_H

#include "ops/bucket_lists.h"

/* Views of the words of one row, head and round. */
typedef struct rf_cpu_lists {
    int64_t buckets, levels;
    int32_t *header, *tree, *sizes, *starts, *pool;
} rf_cpu_lists;

/* The views of words [layout->words]. */
rf_cpu_lists rf_cpu_lists_of(const rf_lists_layout *layout, int32_t *words);
/* Put a token at the end of its bucket; never more tokens than the capacity. */
void rf_cpu_lists_append(const rf_cpu_lists *lists, int64_t bucket, int32_t token);
/* Make the lists of tokens 0 ... length - 1 anew, without those whose bucket is the number of
 * buckets. buckets, order [length]: the bucket of each token, and the tokens sorted by bucket. */
void rf_cpu_lists_build(const rf_cpu_lists *lists, const int32_t *buckets, const int32_t *order,
                        int64_t length);

typedef struct rf_chunk_window {
    int64_t chunk, before, after; /* slots of a chunk; chunks before and after the token's own */
} rf_chunk_window;
/* The window of the token appended last, which stands in slot p: slots (p div chunk - before) *
 * chunk and the chunk * (before + 1 + after) - 1 that follow, modulo the number of tokens, as often
 * as they come. tokens  [chunk * (before + 1 + after)], written in that order */
void rf_cpu_lists_window(const rf_cpu_lists *lists, rf_chunk_window window, int32_t *tokens);

#endif
