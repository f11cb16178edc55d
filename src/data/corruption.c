/* The 15 % / 80-10-10 rule with keyed randomness, so that a resumed run sees what an uninterrupted
 * one does. Cost: two uniforms a token that is told, one for the others. */
#include "data/corruption.h"

#include "base/random.h"

#include <stdbool.h>

static const float masked_share = 0.8F, random_share = 0.1F;

void rf_corrupt(const rf_corruption *corruption, int64_t number, int64_t length, int32_t *ids,
                int32_t *labels)
{
    rf_random_key key = {.seed = corruption->seed,
                         .step = (uint64_t)number,
                         .layer = 3 * corruption->stream,
                         .purpose = RF_PURPOSE_CORRUPTION};
    rf_random_key how = key;
    rf_random_key token = key;
    how.layer += 1;
    token.layer += 2;
    /* Where chance would take none. */
    int64_t surely = (int64_t)rf_random_below(&token, (uint64_t)length, (uint64_t)length);
    int64_t count = 0;
    for (int64_t i = 0; i < length; i++) {
        count += rf_random_uniform(&key, (uint64_t)i) < (float)corruption->rate ? 1 : 0;
    }
    for (int64_t i = 0; i < length; i++) {
        bool chosen = count > 0 ? rf_random_uniform(&key, (uint64_t)i) < (float)corruption->rate
                                : i == surely;
        labels[i] = chosen ? ids[i] : -100;
        if (!chosen) {
            continue;
        }
        float u = rf_random_uniform(&how, (uint64_t)i);
        if (u < masked_share) {
            ids[i] = corruption->mask_token;
        } else if (u < masked_share + random_share) {
            ids[i] =
                (int32_t)rf_random_below(&token, (uint64_t)i, (uint64_t)corruption->vocabulary);
        }
    }
}
