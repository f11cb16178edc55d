/* Pairs of spans of a text for next-sentence prediction (Devlin et al. 2018, section 3.1): the
 * second follows the first, or is from somewhere else; of rows 2 k and 2 k + 1 one of each. */
#ifndef RF_DATA_PAIRS_H
#define RF_DATA_PAIRS_H

#include "data/text.h"
#include "data/units.h"

typedef struct rf_pairs {
    uint64_t seed;
    uint32_t stream;   /* texts whose pairs should be drawn independently have different ones */
    bool sequential;   /* first spans in order, none of them over another pair's */
    int64_t length;    /* most tokens of a row, at least RF_PAIRS_LEAST */
    int32_t separator; /* between the spans; -1: none */
    rf_tokens tokens;  /* of all units */
    rf_units units;    /* in tokens */
    int64_t *firsts;   /* [count]: units that first spans begin with, in order */
    int64_t count;
} rf_pairs;
enum { RF_PAIRS_LEAST = 8 };

/* seed, stream, sequential, length and separator are set by then. The text is borrowed for as long
 * as the pairs. RF_ERR_ARGUMENT for one of fewer than four units. Clear after any outcome. */
RF_MUST_CHECK rf_status rf_pairs_open(rf_pairs *pairs, const rf_tokenizer *tokenizer,
                                      const rf_tokens *text, rf_unit unit, rf_error *error);
void rf_pairs_clear(rf_pairs *pairs);

typedef struct rf_pair {
    int64_t first, first_count; /* a range of tokens */
    int64_t second, second_count;
    bool is_next;
} rf_pair;
/* A pure function of the fields and the number of the row. Spans are whole units, the first as many
 * as fit into half of the row, the second as many as fit into the rest, one at least: of a longer
 * one the end or the beginning. */
rf_pair rf_pairs_pick(const rf_pairs *pairs, int64_t number);
/* Tokens of a row. */
int64_t rf_pair_length(const rf_pairs *pairs, const rf_pair *pair);
/* ids, token_types [rf_pair_length]: 0 for the first span and the separator, 1 for the second. */
void rf_pair_read(const rf_pairs *pairs, const rf_pair *pair, int32_t *ids, int32_t *token_types);

#endif
