/* Append-only bucket lists with prefix counts; see the header. The tree is Fenwick, "A new data
 * structure for cumulative frequency tables", 1994; the lists are unrolled so that a walk of a
 * whole window touches a handful of cache lines and not one a token. */
#include "generate/bucket_lists.h"

#include <string.h>

enum { BLOCK_TOKENS = 30, BLOCK_BEFORE = 30, BLOCK_AFTER = 31, BLOCK_WORDS = 32 };

/* Where a walk stands: a token's bucket, block and place in the block. */
typedef struct cursor {
    int32_t bucket, block, place;
} cursor;

static int64_t block_limit(int64_t buckets, int64_t capacity)
{
    int64_t by_size = capacity / BLOCK_TOKENS + buckets;
    return by_size < capacity ? by_size : capacity;
}

bool rf_bucket_lists_words(int64_t buckets, int64_t capacity, size_t *words)
{
    if (buckets < 1 || capacity < 1 || buckets >= INT32_MAX || capacity >= INT32_MAX) {
        return false;
    }
    int64_t all = block_limit(buckets, capacity) * BLOCK_WORDS + 6 * buckets + 1;
    *words = (size_t)((all + BLOCK_WORDS - 1) / BLOCK_WORDS * BLOCK_WORDS);
    return true;
}

void rf_bucket_lists_init(rf_bucket_lists *lists, int64_t buckets, int64_t capacity,
                          int32_t *memory)
{
    lists->buckets = buckets;
    lists->count = 0;
    lists->blocks_used = 0;
    lists->blocks = memory;
    lists->prefix = memory + block_limit(buckets, capacity) * BLOCK_WORDS;
    lists->sizes = lists->prefix + buckets + 1;
    lists->first_block = lists->sizes + buckets;
    lists->last_block = lists->first_block + buckets;
    lists->next = lists->last_block + buckets;
    lists->previous = lists->next + buckets;
    memset(lists->prefix, 0, (size_t)(2 * buckets + 1) * sizeof *lists->prefix);
}

/* Tokens in buckets before `bucket`. */
static int64_t tokens_before(const rf_bucket_lists *lists, int64_t bucket)
{
    int64_t sum = 0;
    for (int64_t i = bucket; i > 0; i -= i & -i) {
        sum += lists->prefix[i];
    }
    return sum;
}

static void count_token(rf_bucket_lists *lists, int64_t bucket)
{
    for (int64_t i = bucket + 1; i <= lists->buckets; i += i & -i) {
        lists->prefix[i]++;
    }
    lists->sizes[bucket]++;
    lists->count++;
}

/* The bucket that holds a slot of the sorted order, slot < count. */
static int64_t bucket_of_slot(const rf_bucket_lists *lists, int64_t slot)
{
    int64_t step = 1;
    while (2 * step <= lists->buckets) {
        step *= 2;
    }
    int64_t bucket = 0;
    for (; step > 0; step /= 2) {
        if (bucket + step <= lists->buckets && lists->prefix[bucket + step] <= slot) {
            bucket += step;
            slot -= lists->prefix[bucket];
        }
    }
    return bucket;
}

/* Link a bucket that has no token yet between its neighbours in the circle. */
static void link_bucket(rf_bucket_lists *lists, int64_t bucket)
{
    if (lists->count == 0) {
        lists->next[bucket] = (int32_t)bucket;
        lists->previous[bucket] = (int32_t)bucket;
        return;
    }
    int64_t slot = tokens_before(lists, bucket);
    int64_t before = bucket_of_slot(lists, slot > 0 ? slot - 1 : lists->count - 1);
    int64_t after = lists->next[before];
    lists->next[bucket] = (int32_t)after;
    lists->previous[bucket] = (int32_t)before;
    lists->next[before] = (int32_t)bucket;
    lists->previous[after] = (int32_t)bucket;
}

static void append_block(rf_bucket_lists *lists, int64_t bucket)
{
    int32_t fresh = lists->blocks_used++;
    int32_t *block = lists->blocks + (int64_t)fresh * BLOCK_WORDS;
    block[BLOCK_BEFORE] = -1;
    block[BLOCK_AFTER] = -1;
    if (lists->sizes[bucket] == 0) {
        lists->first_block[bucket] = fresh;
    } else {
        int32_t last = lists->last_block[bucket];
        block[BLOCK_BEFORE] = last;
        lists->blocks[(int64_t)last * BLOCK_WORDS + BLOCK_AFTER] = fresh;
    }
    lists->last_block[bucket] = fresh;
}

void rf_bucket_lists_append(rf_bucket_lists *lists, int64_t bucket, int32_t token)
{
    RF_ASSERT(bucket >= 0 && bucket < lists->buckets);
    int32_t size = lists->sizes[bucket];
    if (size == 0) {
        link_bucket(lists, bucket);
    }
    if (size % BLOCK_TOKENS == 0) {
        append_block(lists, bucket);
    }
    lists->blocks[(int64_t)lists->last_block[bucket] * BLOCK_WORDS + size % BLOCK_TOKENS] = token;
    count_token(lists, bucket);
}

int64_t rf_bucket_lists_last_slot(const rf_bucket_lists *lists, int64_t bucket)
{
    return tokens_before(lists, bucket) + lists->sizes[bucket] - 1;
}

/* The last token of a bucket. */
static cursor last_of(const rf_bucket_lists *lists, int64_t bucket)
{
    return (cursor){(int32_t)bucket, lists->last_block[bucket],
                    (lists->sizes[bucket] - 1) % BLOCK_TOKENS};
}

static void step_back(const rf_bucket_lists *lists, cursor *at)
{
    if (at->place > 0) {
        at->place--;
        return;
    }
    int32_t before = lists->blocks[(int64_t)at->block * BLOCK_WORDS + BLOCK_BEFORE];
    if (before >= 0) {
        at->block = before;
        at->place = BLOCK_TOKENS - 1;
        return;
    }
    *at = last_of(lists, lists->previous[at->bucket]);
}

static void step_forward(const rf_bucket_lists *lists, cursor *at)
{
    bool is_last_block = at->block == lists->last_block[at->bucket];
    int32_t end = is_last_block ? (lists->sizes[at->bucket] - 1) % BLOCK_TOKENS : BLOCK_TOKENS - 1;
    if (at->place < end) {
        at->place++;
        return;
    }
    at->place = 0;
    if (is_last_block) {
        at->bucket = lists->next[at->bucket];
        at->block = lists->first_block[at->bucket];
    } else {
        at->block = lists->blocks[(int64_t)at->block * BLOCK_WORDS + BLOCK_AFTER];
    }
}

static int32_t token_at(const rf_bucket_lists *lists, const cursor *at)
{
    return lists->blocks[(int64_t)at->block * BLOCK_WORDS + at->place];
}

void rf_bucket_lists_window(const rf_bucket_lists *lists, int64_t bucket, rf_chunk_window window,
                            int32_t *tokens)
{
    RF_ASSERT(lists->sizes[bucket] > 0);
    int64_t slot = rf_bucket_lists_last_slot(lists, bucket);
    int64_t length = window.chunk * (window.before + 1 + window.after);
    int64_t own = window.before * window.chunk + slot % window.chunk; /* the token's own entry */
    cursor at = last_of(lists, bucket);
    for (int64_t i = own; i > 0; i--) {
        tokens[i] = token_at(lists, &at);
        step_back(lists, &at);
    }
    tokens[0] = token_at(lists, &at);
    at = last_of(lists, bucket);
    for (int64_t i = own + 1; i < length; i++) {
        step_forward(lists, &at);
        tokens[i] = token_at(lists, &at);
    }
}
