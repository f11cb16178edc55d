/* Drawing pairs. Units are encoded one by one where tokens are pieces, so that a span begins as a
 * text of its own does. Cost of a pair: a look at each of its units. Memory: 16 bytes a unit, and
 * four a token where a byte is none. */
#include "data/pairs.h"

#include "base/memory.h"
#include "base/random.h"

#include <string.h>

enum { LEAST_UNITS = 4 };

/* ---- opening ----------------------------------------------------------------------------- */

static rf_status append(rf_tokens *tokens, int64_t *room, const int32_t *ids, int64_t count,
                        rf_error *error)
{
    int64_t needed = tokens->count + count;
    if (needed > *room) {
        int64_t larger = needed > 2 * *room ? needed + 4096 : 2 * *room;
        void *memory = tokens->pieces;
        RF_TRY(rf_reallocate(&memory, (size_t)*room * sizeof *ids, (size_t)larger * sizeof *ids,
                             "the text's tokens", error));
        tokens->pieces = memory;
        *room = larger;
    }
    if (count > 0) {
        memcpy(tokens->pieces + tokens->count, ids, (size_t)count * sizeof *ids);
        tokens->count = needed;
    }
    return RF_OK;
}

/* Units in tokens instead of bytes; those without a token are left out. */
static rf_status encode_units(rf_pairs *pairs, const rf_tokenizer *tokenizer, rf_error *error)
{
    rf_units *units = &pairs->units;
    int64_t room = 0;
    int64_t kept = 0;
    for (int64_t i = 0; i < units->count; i++) {
        int32_t *ids = NULL;
        int64_t count = 0;
        RF_TRY(rf_tokenizer_encode(tokenizer, pairs->tokens.bytes + units->begins[i],
                                   (size_t)(units->ends[i] - units->begins[i]), &ids, &count,
                                   error));
        int64_t start = pairs->tokens.count;
        rf_status status = append(&pairs->tokens, &room, ids, count, error);
        rf_release(ids);
        RF_TRY(status);
        units->begins[kept] = start;
        units->ends[kept] = start + count;
        kept += count > 0 ? 1 : 0;
    }
    units->count = kept;
    return RF_OK;
}

/* Units from `from` on, before `end` and at most `most`, that fit into `room` tokens; one at least.
 */
static int64_t count_fitting(const rf_pairs *pairs, int64_t from, int64_t end, int64_t most,
                             int64_t room)
{
    const rf_units *units = &pairs->units;
    int64_t count = 1;
    while (count < most && from + count < end &&
           units->ends[from + count] - units->begins[from] <= room) {
        count++;
    }
    return count;
}

static int64_t room_of(const rf_pairs *pairs)
{
    return pairs->length - (pairs->separator >= 0 ? 1 : 0);
}

/* How many units a first span at `from` has: another unit follows, and as many are left elsewhere.
 */
static int64_t first_units(const rf_pairs *pairs, int64_t from)
{
    int64_t all = pairs->units.count;
    return count_fitting(pairs, from, all - 1, (all - 2) / 2, room_of(pairs) / 2);
}

static int64_t limited(int64_t count, int64_t most)
{
    return count < most ? count : most;
}

static void set_first(const rf_pairs *pairs, int64_t from, int64_t count, rf_pair *pair)
{
    int64_t end = pairs->units.ends[from + count - 1];
    pair->first_count = limited(end - pairs->units.begins[from], room_of(pairs) / 2);
    pair->first = end - pair->first_count;
}

/* The second span, from a unit on, before unit `end`; returns its units. */
static int64_t set_second(const rf_pairs *pairs, int64_t from, int64_t end, rf_pair *pair)
{
    const rf_units *units = &pairs->units;
    int64_t room = room_of(pairs) - pair->first_count;
    int64_t count = count_fitting(pairs, from, end, units->count, room);
    pair->second = units->begins[from];
    pair->second_count = limited(units->ends[from + count - 1] - pair->second, room);
    return count;
}

/* First spans in order: the next one begins behind what would follow this one. */
static rf_status walk(rf_pairs *pairs, rf_error *error)
{
    void *memory = NULL;
    int64_t all = pairs->units.count;
    RF_TRY(rf_allocate((size_t)all * sizeof *pairs->firsts, "pairs", &memory, error));
    pairs->firsts = memory;
    for (int64_t at = 0; at < all - 1;) {
        rf_pair pair = {0};
        int64_t count = first_units(pairs, at);
        pairs->firsts[pairs->count++] = at;
        set_first(pairs, at, count, &pair);
        at += count + set_second(pairs, at + count, all, &pair);
    }
    return RF_OK;
}

rf_status rf_pairs_open(rf_pairs *pairs, const rf_tokenizer *tokenizer, const rf_tokens *text,
                        rf_unit unit, rf_error *error)
{
    pairs->tokens = *text;
    pairs->tokens.pieces = NULL;
    if (pairs->length < RF_PAIRS_LEAST) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a length of %lld has no room for a pair of spans; give %d at least",
                            (long long)pairs->length, (int)RF_PAIRS_LEAST);
    }
    RF_TRY(rf_units_find(text->bytes, text->size, unit, &pairs->units, error));
    if (!rf_tokenizer_is_bytes(tokenizer)) {
        pairs->tokens.count = 0;
        RF_TRY(encode_units(pairs, tokenizer, error));
    }
    if (pairs->units.count < LEAST_UNITS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "a text of %zu bytes has %lld %ss, but pairs need %d at least; give "
                            "more text, or cut it otherwise",
                            text->size, (long long)pairs->units.count, rf_unit_name(unit),
                            (int)LEAST_UNITS);
    }
    return walk(pairs, error);
}

void rf_pairs_clear(rf_pairs *pairs)
{
    rf_tokens_clear(&pairs->tokens);
    rf_units_clear(&pairs->units);
    rf_release(pairs->firsts);
    *pairs = (rf_pairs){0};
}

/* ---- drawing ----------------------------------------------------------------------------- */

/* One of each two rows is a pair that follows, by a coin. */
static bool is_next(const rf_pairs *pairs, int64_t number)
{
    rf_random_key coin = {.seed = pairs->seed,
                          .step = (uint64_t)(number / 2),
                          .layer = 4 + pairs->stream,
                          .purpose = RF_PURPOSE_DATA_ORDER};
    return (rf_random_below(&coin, 0, 2) == 0) == (number % 2 == 0);
}

rf_pair rf_pairs_pick(const rf_pairs *pairs, int64_t number)
{
    rf_pair pair = {.is_next = is_next(pairs, number)};
    rf_random_key key = {.seed = pairs->seed,
                         .step = (uint64_t)number,
                         .layer = 2 + pairs->stream,
                         .purpose = RF_PURPOSE_DATA_ORDER};
    int64_t all = pairs->units.count;
    int64_t from = pairs->sequential ? pairs->firsts[number % pairs->count]
                                     : (int64_t)rf_random_below(&key, 0, (uint64_t)(all - 1));
    int64_t count = first_units(pairs, from);
    set_first(pairs, from, count, &pair);
    if (pair.is_next) {
        (void)set_second(pairs, from + count, all, &pair);
        return pair;
    }
    /* anywhere but in the first span and what follows it, and not into the first span */
    int64_t other = (int64_t)rf_random_below(&key, 1, (uint64_t)(all - count - 1));
    other += other < from ? 0 : count + 1;
    (void)set_second(pairs, other, other < from ? from : all, &pair);
    return pair;
}

int64_t rf_pair_length(const rf_pairs *pairs, const rf_pair *pair)
{
    return pair->first_count + (pairs->separator >= 0 ? 1 : 0) + pair->second_count;
}

void rf_pair_read(const rf_pairs *pairs, const rf_pair *pair, int32_t *ids, int32_t *token_types)
{
    int64_t at = pair->first_count;
    rf_tokens_read(&pairs->tokens, pair->first, pair->first_count, ids);
    if (pairs->separator >= 0) {
        ids[at++] = pairs->separator;
    }
    rf_tokens_read(&pairs->tokens, pair->second, pair->second_count, ids + at);
    for (int64_t i = 0; i < at + pair->second_count; i++) {
        token_types[i] = i < at ? 0 : 1;
    }
}
