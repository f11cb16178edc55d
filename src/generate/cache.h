/* What one layer keeps of the past: keys and values, and for LSH layers which tokens share a
 * bucket.
 *
 * A local layer keeps its window only: (before + 1) x chunk places, token t in place t modulo that.
 * An LSH layer keeps every token (place = token) and bucket lists per row, head and round. Masked
 * tokens have a place and are in no window. */
#ifndef RF_GENERATE_CACHE_H
#define RF_GENERATE_CACHE_H

#include "base/status.h"
#include "generate/bucket_lists.h"

typedef struct rf_cache {
    bool hashes;                         /* an LSH layer */
    int64_t batch, heads, width, rounds; /* rounds: 1 for local layers */
    int64_t places;
    int64_t bucket_count; /* 0: no lists (a local layer, or one that can never get as long as a
                             chunk) */
    rf_chunk_window window;
    float *rows;            /* [batch, heads, places, 2, width]: key, value; owned */
    rf_bucket_lists *lists; /* [batch, heads, rounds], owned */
    int32_t *list_words;    /* memory of the lists, owned */
    int32_t *last_buckets;  /* [batch, heads, rounds] of the token appended last, owned */
} rf_cache;

/* Whose window: of a row of the batch, a head, and a round (0 in local layers). */
typedef struct rf_cache_part {
    int64_t row, head, round;
} rf_cache_part;

/* Take the memory for `capacity` tokens. Set in *cache: hashes, batch, heads, width, rounds,
 * bucket_count, window; all else 0. */
RF_MUST_CHECK rf_status rf_cache_create(rf_cache *cache, int64_t capacity, rf_error *error);
void rf_cache_destroy(rf_cache *cache);

/* The rows of one row and head: [places, 2, width]. */
float *rf_cache_rows(const rf_cache *cache, int64_t row, int64_t head);
/* The lists of one row, head and round. */
rf_bucket_lists *rf_cache_lists(const rf_cache *cache, rf_cache_part part);
/* Keep key (local; LSH: the query, which is normalised here) and value, each [width], of a token.
 */
void rf_cache_store(rf_cache *cache, int64_t row, int64_t head, int64_t token, const float *key,
                    const float *value);
/* Put a token that has been stored into the lists of its head and round. */
void rf_cache_hash(rf_cache *cache, rf_cache_part part, int64_t token, int32_t bucket);

/* Most tokens in a window of this cache. */
int64_t rf_cache_longest_window(const rf_cache *cache);
/* Tokens that `token`, the last one stored, attends to, in window order; returns how many.
 *   kept    [tokens], 1 where a token of this row may be attended to
 *   listed  LSH: by bucket lists (else all kept tokens: the context is still no longer than a
 * chunk) tokens  [rf_cache_longest_window], written */
int64_t rf_cache_window(const rf_cache *cache, rf_cache_part part, int64_t token,
                        const uint8_t *kept, bool listed, int32_t *tokens);

#endif
