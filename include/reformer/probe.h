/* What the attention of a model does on a text, against exact attention over the same queries, keys
 * and values; docs/api.md, "Probe", tells what every figure is. */
#ifndef REFORMER_PROBE_H
#define REFORMER_PROBE_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_probe_options {
    const char *model;
    const char *data;    /* file, folder or pattern: windows from its beginning are looked at;
                          * or copy, reverse, addition, recall: rows that are made */
    int64_t last_bytes;  /* of a text, only so much of its end; 0 = all */
    int64_t distance;    /* of copy and recall, as in training */
    int64_t length;      /* tokens of a window; 0: as trained, if recorded, else up to 4,096 */
    int64_t windows;     /* at most; 0 = 4 */
    int64_t queries;     /* sampled of each window, at most 1,024; 0 = 64 */
    int64_t most_rounds; /* that are tried, at most 64; 0 = 16 */
    double recall;       /* share of the exact attention that is to be captured; 0 = 0.9 */
    bool no_loss;        /* do not measure losses, which take a pass a layer */
    uint64_t seed;       /* of the queries and of all rotations */
    const char *output;  /* folder of the pictures and probe.json; NULL: none */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    const char *attention;                /* this too */
    const char *device, *precision, *kernels, *stream;
    int threads;
    rf_log log;
} rf_probe_options;
/* {"model", "data", "length", "windows", "queries", "seed", "recall", "most_rounds", "loss",
 * "layers": [{"layer", "kind", "rounds", FIGURES, "loss_without", "heads": [{"head", FIGURES}]}],
 * "kinds": [{"kind", FIGURES}]}
 *
 * FIGURES: "captured", "keys", "overlap", "output_error", "nearest_32", "nearest_64",
 * "rounds_needed", "captured_by_rounds": [after 1, 2, ... rounds], "load": {"buckets", "largest",
 * "even", "empty", "entropy", "entropy_most", "rounds", "histogram": [{"from", "to", "buckets",
 * "tokens"}]}; null where there is none.
 *
 * "loss": {"tokens", "normal", "without": [{"what", "layers", "loss", "change"}]}, null for models
 * that do not predict a text's tokens. The same options give the same bytes. */
RF_API RF_MUST_CHECK rf_status rf_probe(const rf_probe_options *options, char **report,
                                        rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
