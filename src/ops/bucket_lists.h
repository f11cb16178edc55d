/* The tokens of one row, head and hash round, by bucket, in the order in which they came: how the
 * words of such lists lie in memory, for both back ends.
 *
 * Read bucket after bucket, the lists are the stable sort of the tokens by bucket
 * (docs/generation.md): the slot of a new token is a prefix count, and the token in any slot is
 * found by going down a tree over the buckets. Nothing is ever moved or sorted again.
 *
 *   header  [RF_LISTS_HEADER]
 *   tree    [buckets + 1]       binary indexed tree over sizes (Fenwick 1994); entry 0 is 0
 *   sizes   [buckets]           tokens of a bucket
 *   starts  [buckets, levels]   place p of a bucket, which is on level k, stands in
 *                               pool[starts[bucket, k] + p]
 *   pool    [pool words]
 *
 * Level k of a bucket holds its places RF_LISTS_FIRST x (2^k - 1) and the RF_LISTS_FIRST x 2^k - 1
 * that follow; it is taken from the pool when its first token comes. So any place is found by two
 * reads, and a bucket of n tokens takes at most 2 n + RF_LISTS_FIRST - 2 words. */
#ifndef RF_OPS_BUCKET_LISTS_H
#define RF_OPS_BUCKET_LISTS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RF_LISTS_FIRST = 16, /* places of level 0 */
    RF_LISTS_ALIGN = 32  /* words: lists start at a multiple of 128 bytes */
};

enum {
    RF_LISTS_COUNT,       /* tokens in all lists */
    RF_LISTS_USED,        /* words of the pool that levels have taken */
    RF_LISTS_LAST_BUCKET, /* of the token appended last */
    RF_LISTS_LAST_SLOT,   /* where it stands in the sorted order */
    RF_LISTS_HEADER
};

/* Where the parts begin, in words. */
typedef struct rf_lists_layout {
    int64_t buckets, levels;
    int64_t tree, sizes, starts, pool;
    int64_t words; /* of all, a multiple of RF_LISTS_ALIGN */
} rf_lists_layout;

/* Lists for that many buckets and tokens; false if a number is below 1 or the words would not fit
 * an int32. */
bool rf_lists_layout_of(int64_t buckets, int64_t capacity, rf_lists_layout *layout);

#ifdef __cplusplus
}
#endif
#endif
