/* Measurements of single parts of a model, in addition to the benchmarks in tools.h. Reports are
 * JSON text, released with rf_text_release; NULL after a failure. */
#ifndef REFORMER_BENCH_H
#define REFORMER_BENCH_H

#include "reformer/status.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_bench_collisions_options {
    int64_t draws;      /* random rotations per number of buckets; a multiple of 1,024 */
    int64_t width;      /* dimension of the hashed vectors */
    uint64_t seed;      /* for rotations and vectors */
    const char *output; /* folder for pictures and collisions.json; NULL: none */
    const char *device, *precision, *kernels; /* as in rf_model_options */
    int threads;
    rf_log log;
} rf_bench_collisions_options;
/* Measure how often two vectors at a given angle share a bucket, and compare with theory: for both
 * hashes (angular: Andoni et al. 2015; hyperplane: Charikar 2002), 2 to 256 buckets, and in at
 * least one of 1, 2, 4 and 8 rounds. Report: {"draws", "width", "seed", "device",
 * "numbers", "largest_sigmas", "hashes": [{"hash": "angular" or "hyperplane", "buckets", "points":
 * [{"degrees", "collisions": [{"rounds", "measured", "expected", "sigmas"}]}]}]}. "sigmas" is
 * measured minus expected, in standard deviations of the count. */
RF_API RF_MUST_CHECK rf_status rf_bench_collisions(const rf_bench_collisions_options *options,
                                                   char **report, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
