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
    bool same_bucket, whole_buckets, is_clipped; /* as in rf_layer_cache */
} rf_chunk_window;
/* Most entries of a window of lists of that many tokens. */
int64_t rf_cpu_longest_window(rf_chunk_window window, int64_t capacity);
/* The window of the token appended last, which stands in slot p: slots (p div chunk - before) *
 * chunk and the chunk * (before + 1 + after) - 1 that follow, modulo the number of tokens, as often
 * as they come, or clipped to what there is; of them, with same_bucket, those of its bucket; with
 * whole_buckets all of its bucket. tokens [rf_cpu_longest_window], written in that order; returns
 * how many. */
int64_t rf_cpu_lists_window(const rf_cpu_lists *lists, rf_chunk_window window, int32_t *tokens);

/* The same window as a test of a token by its bucket: O(1) a token. */
typedef struct rf_window_test {
    int32_t only;        /* the bucket, or -1: of any */
    int32_t copies;      /* of every token */
    bool has_rest;       /* and one more of those from `first` to `last` in the sorted order, */
    int64_t first, last; /* bucket x 2^32 + token; first > last: over the end */
} rf_window_test;
rf_window_test rf_cpu_lists_test(const rf_cpu_lists *lists, rf_chunk_window window);
/* In how many entries of the window a token stands. */
static inline int32_t rf_cpu_window_copies(const rf_window_test *test, int32_t bucket,
                                           int32_t token)
{
    const int64_t key = ((int64_t)bucket << 32) + token;
    const bool is_behind = key >= test->first;
    const bool is_before = key <= test->last;
    const bool is_in = test->first <= test->last ? is_behind && is_before : is_behind || is_before;
    if (test->only >= 0 && bucket != test->only) {
        return 0;
    }
    return test->copies + (test->has_rest && is_in ? 1 : 0);
}

#endif
