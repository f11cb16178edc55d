/* The 15 % / 80-10-10 rule with keyed randomness, so that a resumed run sees what an uninterrupted
 * one does. Cost: two uniforms a unit that is told, one for the others. */
#include "data/corruption.h"

#include "base/random.h"

#include <stdbool.h>

static const float masked_share = 0.8F, random_share = 0.1F;

/* Whether a unit is told, by the place where it begins. */
static bool is_told(const rf_corruption *corruption, const rf_random_key *key, int64_t place)
{
    return rf_random_uniform(key, (uint64_t)place) < (float)corruption->rate;
}

static bool begins(const uint8_t *parts, int64_t i)
{
    return parts == NULL || parts[i] == RF_PART_BEGINS ||
           (parts[i] == RF_PART_GOES_ON && (i == 0 || parts[i - 1] == RF_PART_KEPT));
}

static int64_t count_units(const uint8_t *parts, int64_t length)
{
    int64_t units = 0;
    for (int64_t i = 0; i < length; i++) {
        units += begins(parts, i) ? 1 : 0;
    }
    return units;
}

/* The unit that is told where chance takes none: where it begins; -1 where chance takes some. */
static int64_t find_sure_one(const rf_corruption *corruption, const rf_random_key *told,
                             const rf_random_key *token, const uint8_t *parts, int64_t length)
{
    int64_t units = count_units(parts, length);
    if (units == 0) {
        return -1;
    }
    int64_t left = (int64_t)rf_random_below(token, (uint64_t)length, (uint64_t)units);
    int64_t place = -1;
    for (int64_t i = 0; i < length; i++) {
        if (begins(parts, i)) {
            if (is_told(corruption, told, i)) {
                return -1;
            }
            place = left == 0 ? i : place;
            left--;
        }
    }
    return place;
}

void rf_corrupt(const rf_corruption *corruption, int64_t number, int64_t length,
                const uint8_t *parts, int32_t *ids, int32_t *labels)
{
    rf_random_key key = {.seed = corruption->seed,
                         .step = (uint64_t)number,
                         .layer = 3 * corruption->stream,
                         .purpose = RF_PURPOSE_CORRUPTION};
    rf_random_key how = key;
    rf_random_key token = key;
    how.layer += 1;
    token.layer += 2;
    int64_t surely = find_sure_one(corruption, &key, &token, parts, length);
    bool told = false;
    float fate = 0.0F;
    for (int64_t i = 0; i < length; i++) {
        if (begins(parts, i)) {
            told = surely >= 0 ? i == surely : is_told(corruption, &key, i);
            fate = told ? rf_random_uniform(&how, (uint64_t)i) : 0.0F;
        }
        bool chosen = told && (parts == NULL || parts[i] != RF_PART_KEPT);
        labels[i] = chosen ? ids[i] : -100;
        if (chosen && fate < masked_share) {
            ids[i] = corruption->mask_token;
        } else if (chosen && fate < masked_share + random_share) {
            ids[i] =
                (int32_t)rf_random_below(&token, (uint64_t)i, (uint64_t)corruption->vocabulary);
        }
    }
}
