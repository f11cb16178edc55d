/* The tokens of one head and hash round, by bucket, in the order in which they came.
 *
 * Read bucket after bucket, the lists are the stable sort of the tokens by bucket
 * (docs/generation.md): the slot of a new token is a prefix count, and its neighbours in sorted
 * order are found by walking. Nothing is ever moved or sorted again.
 *
 *   append  O(log buckets)                 window  O(entries), one cache line or two for 30 entries
 *
 * Memory: int32 words, 32 per block of 30 tokens (at most min(capacity, capacity / 30 + buckets)
 * blocks) and 6 per bucket. */
#ifndef RF_GENERATE_BUCKET_LISTS_H
#define RF_GENERATE_BUCKET_LISTS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Views of one piece of memory that the owner provides. */
typedef struct rf_bucket_lists {
    int64_t buckets;
    int64_t count; /* tokens in all lists */
    int32_t blocks_used;
    int32_t *blocks; /* [block limit, 32]: 30 tokens, then the block before and after within the
                        bucket, or -1 */
    int32_t *
        prefix; /* [buckets + 1] binary indexed tree over sizes (Fenwick 1994); entry 0 is unused */
    int32_t *sizes;       /* [buckets] tokens of a bucket */
    int32_t *first_block; /* [buckets], meaningful where sizes > 0, as are the next three */
    int32_t *last_block;  /* [buckets] */
    int32_t
        *next; /* [buckets] the following bucket that holds a token; the last leads to the first */
    int32_t *previous; /* [buckets] */
} rf_bucket_lists;

/* Words of memory that lists of that size need; false if the number does not fit (buckets and
 * capacity below 2^31 each). */
bool rf_bucket_lists_words(int64_t buckets, int64_t capacity, size_t *words);
/* Cut `memory` (as many words as asked for, 128-byte aligned) into empty lists. */
void rf_bucket_lists_init(rf_bucket_lists *lists, int64_t buckets, int64_t capacity,
                          int32_t *memory);
/* Put a token at the end of its bucket; tokens come in rising order and never more of them than the
 * capacity. */
void rf_bucket_lists_append(rf_bucket_lists *lists, int64_t bucket, int32_t token);
/* Slot of the last token of a bucket in the sorted order; the bucket holds a token. */
int64_t rf_bucket_lists_last_slot(const rf_bucket_lists *lists, int64_t bucket);

typedef struct rf_chunk_window {
    int64_t chunk, before, after; /* slots of a chunk; chunks before and after the token's own */
} rf_chunk_window;
/* The window of the last token of `bucket`, which stands in slot p: slots (p div chunk - before) *
 * chunk and the chunk * (before + 1 + after) - 1 that follow, modulo the number of tokens, as often
 * as they come. tokens  [chunk * (before + 1 + after)], written in that order */
void rf_bucket_lists_window(const rf_bucket_lists *lists, int64_t bucket, rf_chunk_window window,
                            int32_t *tokens);

#endif
