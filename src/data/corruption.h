/* What a masked language model is trained with: some tokens of a window are to be told from the
 * others (Devlin et al. 2018, section 3.1). */
#ifndef RF_DATA_CORRUPTION_H
#define RF_DATA_CORRUPTION_H

#include "tokenizer/tokenizer.h"

typedef struct rf_corruption {
    uint64_t seed;
    uint32_t stream; /* texts that should be corrupted independently have different ones */
    double rate;     /* share of the tokens that are to be told, above 0, at most 1 */
    int32_t mask_token;
    int64_t vocabulary;
} rf_corruption;

/* ids [length] of window `number` are changed in place, labels [length] written: the token where it
 * is to be told, else -100. Of those that are, 80 % become the mask token, 10 % a token at random,
 * 10 % stay. At least one is. A pure function of seed, stream, number and position.
 * parts [length] (RF_PART_...), or NULL: each token for itself. A unit is a token that begins and
 * those that go on behind it: it is told as a whole or not at all, and what becomes of it is
 * decided once. A kept token is never told. */
void rf_corrupt(const rf_corruption *corruption, int64_t number, int64_t length,
                const uint8_t *parts, int32_t *ids, int32_t *labels);

#endif
