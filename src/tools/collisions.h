/* How often two vectors at an angle share a bucket, as theory has it: what hashes are measured
 * against. */
#ifndef RF_TOOLS_COLLISIONS_H
#define RF_TOOLS_COLLISIONS_H

#include <stddef.h>
#include <stdint.h>

/* Signs of random hyperplanes (Charikar 2002): (1 - angle / pi)^bits. buckets: 2^bits; angle in
 * radians, here and below. */
double rf_collision_hyperplane(double angle, int64_t buckets);
/* The nearest of random Gaussian directions and their opposites, n / 2 of them for n buckets: for
 * each of buckets [count], even, to probabilities [count]. To 1e-4, by quadrature. */
void rf_collision_angular(double angle, const int64_t *buckets, size_t count,
                          double *probabilities);
/* Of several independent rounds, in any: 1 - (1 - p)^rounds. */
double rf_collision_rounds(double probability, int64_t rounds);

#endif
