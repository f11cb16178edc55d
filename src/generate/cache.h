/* What one layer keeps of the past: keys and values, and for LSH layers which tokens share a
 * bucket (ops/decode.h, rf_layer_cache).
 *
 * A local layer keeps its window only: (before + 1) x chunk places, token t in place t modulo that.
 * An LSH layer keeps every token (place = token) and bucket lists per row, head and round. Masked
 * tokens have a place and are in no window. */
#ifndef RF_GENERATE_CACHE_H
#define RF_GENERATE_CACHE_H

#include "model/config.h"
#include "ops/ops.h"

/* Whose window: of a row of the batch, a head, and a round (0 in local layers). */
typedef struct rf_cache_part {
    int64_t row, head, round;
} rf_cache_part;

/* Take the memory of a layer's cache for `capacity` tokens from the block. */
RF_MUST_CHECK rf_status rf_cache_take(rf_layer_cache *cache, const rf_config *config, int64_t layer,
                                      int64_t batch, int64_t capacity, rf_workspace *block,
                                      rf_error *error);
/* The cache of rows first ... first + count alone: a view. */
rf_layer_cache rf_cache_rows(const rf_layer_cache *cache, int64_t first, int64_t count);
/* Tokens before one, of which at least one is no prompt's, from which on its LSH windows come from
 * bucket lists; and whether those of the first token after a prompt do. Hugging Face's decoding has
 * a rule of its own; with the paper's options it is what the uncached forward pass does
 * (docs/generation.md). */
int64_t rf_cache_listed_from(const rf_config *config);
bool rf_cache_lists_prompt(const rf_config *config, int64_t tokens);
/* Most tokens in a window of this cache. */
int64_t rf_cache_longest_window(const rf_layer_cache *cache);
/* Words of the lists of one row, head and round; 0 without lists. */
int64_t rf_cache_list_words(const rf_layer_cache *cache);

/* What a window is read from, on the host. */
typedef struct rf_window_source {
    const rf_layer_cache *cache;
    int32_t *lists;      /* [rf_cache_list_words] of the part; NULL: not by buckets */
    const uint8_t *kept; /* [tokens], 1 where a token of this row may be attended to */
} rf_window_source;
/* Tokens that `token`, the last one stored, attends to, in window order; returns how many. tokens
 * [rf_cache_longest_window], written */
int64_t rf_cache_window(const rf_window_source *source, int64_t token, int32_t *tokens);

#endif
