/* Hashing: argmax over concat(p, -p) per factor, or the signs of p; the first factor is the least
 * significant digit. */
#include "oracle/attention.h"

#include <math.h>

static double rotation(const rf_bucket_hash *hash, const double *rotations, int64_t index)
{
    return rotations != NULL ? rotations[index]
                             : (double)rf_random_normal(&hash->key, (uint64_t)index);
}

/* Where a token's query stands, and what of it is kept. */
typedef struct hashed {
    const double *query; /* [width] */
    int64_t origin;      /* of the dropout's numbers */
} hashed;

/* The product with the column whose component 0 is element `first` of the rotations; `step` from
 * one component to the next. */
static double product_of(const rf_bucket_hash *hash, const double *rotations, const hashed *token,
                         int64_t first, int64_t step)
{
    double product = 0.0;
    for (int64_t i = 0; i < hash->query.shape[3]; i++) {
        const int kept = hash->probability == 0.0F ||
                         rf_random_uniform(&hash->dropout_key, (uint64_t)(token->origin + i)) >=
                             hash->probability;
        product += kept ? token->query[i] * rotation(hash, rotations, first + i * step) : 0.0;
    }
    return product;
}

static int64_t angular_digit(const rf_bucket_hash *hash, const double *rotations,
                             const hashed *token, int64_t first, int64_t step, int64_t factor)
{
    int64_t winner = 0;
    double highest = 0.0;
    for (int64_t candidate = 0; candidate < factor; candidate++) {
        double product = product_of(hash, rotations, token, first + candidate % (factor / 2), step);
        product = candidate < factor / 2 ? product : -product;
        if (candidate == 0 || product > highest) {
            highest = product;
            winner = candidate;
        }
    }
    return winner;
}

/* A factor's digit; *column: its first, moved on to the next factor's. */
static int64_t digit(const rf_bucket_hash *hash, const double *rotations, const hashed *token,
                     int64_t *column, int64_t step, int64_t factor)
{
    int64_t sum = 0;
    if (hash->kind == RF_HASH_ANGULAR) {
        sum = angular_digit(hash, rotations, token, *column, step, factor);
        *column += factor / 2;
        return sum;
    }
    for (int64_t worth = 1; worth < factor; worth *= 2) {
        sum += product_of(hash, rotations, token, *column, step) < 0.0 ? worth : 0;
        *column += 1;
    }
    return sum;
}

void oracle_bucket_hash(const rf_bucket_hash *hash, const double *query, const double *rotations,
                        const double *key_mask, double *buckets)
{
    const int64_t length = hash->query.shape[1];
    const int64_t heads = hash->query.shape[2];
    const int64_t width = hash->query.shape[3];
    const int64_t all = hash->all_heads;
    int64_t columns = 0;
    for (int f = 0; f < hash->factor_count; f++) {
        const double bits = log2((double)hash->factors[f]);
        columns += hash->kind == RF_HASH_ANGULAR ? hash->factors[f] / 2 : (int64_t)lround(bits);
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
        const hashed at = {
            query + ((batch * length + token) * heads + head) * width,
            (((hash->first_sample + batch) * length + token) * all + hash->first_head + head) *
                width};
        for (int f = 0; f < hash->factor_count; f++) {
            bucket += scale * digit(hash, rotations, &at, &first, step, hash->factors[f]);
            scale *= hash->factors[f];
        }
        const int masked = key_mask != NULL && key_mask[batch * length + token] == 0.0;
        buckets[index] = (double)(masked ? scale : bucket);
    }
}
