/* Compare a model's attention on a text with exact attention over the same queries, keys and
 * values. docs/api.md, "Probe", explains every figure. */
#ifndef REFORMER_PROBE_H
#define REFORMER_PROBE_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_probe_options {
    const char *model;   /* directory */
    const char *data;    /* file, folder or pattern: windows from its beginning are probed; or the
                            name of synthetic data: copy, reverse, addition, recall */
    int64_t last_bytes;  /* of a text: use only the last so many bytes; 0 = all */
    int64_t distance;    /* of copy and recall, as in training */
    int64_t pairs;       /* of recall, as in training */
    int64_t length;      /* tokens per window; 0: as in training, if recorded, else up to 4,096 */
    int64_t windows;     /* largest number of windows; 0 = 4 */
    int64_t queries;     /* tokens sampled per window, at most 1,024; 0 = 64 */
    int64_t most_rounds; /* hash rounds to try, at most 64; 0 = 16 */
    double recall;       /* share of exact attention that rounds_needed captures; 0 = 0.9 */
    bool no_loss;        /* do not measure losses, which takes one pass per layer */
    uint64_t seed;       /* for the sampled queries and all rotations */
    const char *output;  /* folder for pictures and probe.json; NULL: none */
    int64_t num_hashes, extend_positions;              /* as in rf_model_options */
    const char *attention;                             /* as in rf_model_options */
    const char *device, *precision, *kernels, *stream; /* as in rf_model_options */
    int threads;
    rf_log log;
} rf_probe_options;
/* Probe. Errors as in rf_model_load and tasks.h; RF_ERR_RANGE if a stream leaves its range.
 * *report, released with rf_text_release:
 *
 * {"model", "data", "length", "windows", "queries", "seed", "recall", "most_rounds", "loss",
 * "layers": [{"layer", "kind", "rounds", FIGURES, "loss_without", "heads": [{"head", FIGURES}]}],
 * "kinds": [{"kind", FIGURES}]}
 *
 * FIGURES: "captured", "keys", "overlap", "output_error", "nearest_32", "nearest_64",
 * "rounds_needed", "captured_by_rounds": [after 1, 2, ... rounds], "load": {"buckets", "largest",
 * "even", "empty", "entropy", "entropy_most", "rounds", "histogram": [{"from", "to", "buckets",
 * "tokens"}]}; null where a figure does not exist.
 *
 * "loss": {"tokens", "normal", "without": [{"what", "layers", "loss", "change"}]}, null for models
 * that do not predict tokens. The same options give the same bytes. */
RF_API RF_MUST_CHECK rf_status rf_probe(const rf_probe_options *options, char **report,
                                        rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
