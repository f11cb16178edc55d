/* Measurements of the parts that a model is made of, beside those in tools.h. Reports are JSON
 * text, released with rf_text_release. */
#ifndef REFORMER_BENCH_H
#define REFORMER_BENCH_H

#include "reformer/status.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_bench_collisions_options {
    int64_t draws; /* of rotations; a multiple of 1,024 */
    int64_t width; /* of the hashed vectors */
    uint64_t seed;
    const char *output; /* folder of the pictures and collisions.json; NULL: none */
    const char *device, *precision, *kernels;
    int threads;
    rf_log log;
} rf_bench_collisions_options;
/* How often two vectors at an angle get the same bucket, of both hashes, 2 to 256 buckets, and in
 * any of 1, 2, 4 and 8 rounds; and what theory says: {"draws", "width", "seed", "device",
 * "numbers", "largest_sigmas", "hashes": [{"hash": "angular" or "hyperplane", "buckets", "points":
 * [{"degrees", "collisions": [{"rounds", "measured", "expected", "sigmas"}]}]}]}. sigmas: measured
 * less expected, in standard deviations of the count. */
RF_API RF_MUST_CHECK rf_status rf_bench_collisions(const rf_bench_collisions_options *options,
                                                   char **report, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
