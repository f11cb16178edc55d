/* Angular hashing: argmax over concat(p, -p) per factor; the first factor is the least significant
 * digit. */
#include "oracle/attention.h"

static double rotation(const rf_bucket_hash *hash, const double *rotations, int64_t index)
{
    return rotations != NULL ? rotations[index]
                             : (double)rf_random_normal(&hash->key, (uint64_t)index);
}

/* One factor's digit; `first` is the element of the rotations at component 0 and the factor's first
 * column, `step` from one component to the next. */
static int64_t digit(const rf_bucket_hash *hash, const double *rotations, const double *query,
                     int64_t first, int64_t step, int64_t factor)
{
    int64_t winner = 0;
    double highest = 0.0;
    for (int64_t candidate = 0; candidate < factor; candidate++) {
        double product = 0.0;
        for (int64_t i = 0; i < hash->query.shape[3]; i++) {
            product +=
                query[i] * rotation(hash, rotations, first + i * step + candidate % (factor / 2));
        }
        product = candidate < factor / 2 ? product : -product;
        if (candidate == 0 || product > highest) {
            highest = product;
            winner = candidate;
        }
    }
    return winner;
}

void oracle_bucket_hash(const rf_bucket_hash *hash, const double *query, const double *rotations,
                        const double *key_mask, double *buckets)
{
    const int64_t length = hash->query.shape[1];
    const int64_t heads = hash->query.shape[2];
    const int64_t width = hash->query.shape[3];
    int64_t columns = 0;
    for (int f = 0; f < hash->factor_count; f++) {
        columns += hash->factors[f] / 2;
    }
    const int64_t step = hash->rounds * columns;
    for (int64_t index = 0; index < hash->query.shape[0] * heads * hash->rounds * length; index++) {
        const int64_t token = index % length;
        const int64_t round = index / length % hash->rounds;
        const int64_t head = index / length / hash->rounds % heads;
        const int64_t batch = index / length / hash->rounds / heads;
        int64_t bucket = 0;
        int64_t scale = 1;
        int64_t first = (hash->first_head + head) * width * step + round * columns;
        for (int f = 0; f < hash->factor_count; f++) {
            const double *row = query + ((batch * length + token) * heads + head) * width;
            bucket += scale * digit(hash, rotations, row, first, step, hash->factors[f]);
            scale *= hash->factors[f];
            first += hash->factors[f] / 2;
        }
        const int masked = key_mask != NULL && key_mask[batch * length + token] == 0.0;
        buckets[index] = (double)(masked ? scale : bucket);
    }
}
