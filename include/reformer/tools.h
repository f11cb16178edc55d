/* The program's tools as functions: options in, a JSON report out.
 *
 * *report is released with rf_text_release (model.h); NULL after a failure unless stated otherwise.
 * device, precision, kernels, stream, num_hashes, attention and extend_positions are as in
 * rf_model_options. Errors: RF_ERR_ARGUMENT for wrong options, those of rf_model_load for a model,
 * RF_ERR_FILE for data and output, RF_ERR_MEMORY, RF_ERR_DEVICE. */
#ifndef REFORMER_TOOLS_H
#define REFORMER_TOOLS_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_verify_options {
    const char *model, *reference; /* directory; .safetensors with inputs and expected outputs */
    const char *labels;            /* "auto" (NULL), "input_ids", "labels", "none" */
    double tolerance;              /* 0 = the defaults, one per kind of tensor (docs/numerics.md) */
    const char *stream;            /* "fixed32" (NULL) or "float32" */
    bool own_buckets; /* continue with our own buckets after comparing, not the file's */
    bool generate;    /* also compare the greedy_* token sequences */
    const char *device, *kernels, *lm_head_bias;
    const char *precision; /* "f32" (NULL, "auto") or "bf16", which has wider limits */
    int threads;
    rf_log log;
} rf_verify_options;
/* Compare a model's numbers with a reference (docs/numerics.md, "What verify allows"):
 * {"model", "reference", "passed": bool, "tensors": [{"name", "kind", "count", "max_error",
 * "rms_error", "reference_rms", "limit", "passed", "note"}...]}. After RF_ERR_MISMATCH the report
 * exists, and some tensor exceeds its limit. */
RF_API RF_MUST_CHECK rf_status rf_verify(const rf_verify_options *options, char **report,
                                         rf_error *error);

typedef struct rf_plan_options {
    const char *model;        /* directory; NULL: model_config */
    const char *model_config; /* a recipe's "model" section as JSON text */
    int64_t batch, length;
    bool training; /* plan a training step; otherwise an evaluation */
    const char *stream;
    const char *optimizer;  /* "adamw" (NULL) or "adafactor" */
    double adafactor_beta1; /* above 0: Adafactor keeps a first moment */
    const char *device;     /* need not be present in the machine */
    const char *precision, *kernels;
    const char *gradient_stream; /* "f32" (NULL) or "bf16" */
    uint64_t memory_limit;       /* bytes: cut the work to stay within; 0 = none */
    uint64_t fit;         /* bytes: search for the largest `maximize` that fits; 0 = no search */
    const char *maximize; /* "length" (NULL) or "batch"; the other one is fixed */
    int64_t extend_positions; /* as in rf_model_options */
    bool estimate;            /* also estimate a step's time from a short one; needs the device */
    int threads;
} rf_plan_options;
/* Plan a step: device memory in bytes by purpose, from a dry run of the same code
 * (docs/numerics.md, "Memory"): {"batch", "length", "device", "parameters", "gradients",
 * "optimizer", "streams", "stream_gradients", "stored_activations" (of standard residuals),
 * "buckets", "workspace", "batch_data", "other", "peak_bytes", "full_attention_stored_bytes",
 * "parameter_count", "slices": {"rows", "heads", "head_rows"}, "flops", "bytes_moved",
 * "generation_cache", "alternatives": [{"change", "peak_bytes"}]}, and "estimated_seconds" if
 * requested. After a search also "fit_bytes" and "limited_by": "memory", "positions" or "batch"
 * (its maximum). "peak_bytes" is the sum of the entries before it; "flops" counts the matrix
 * products of a step; "bytes_moved" counts each operand of an operation once; "generation_cache" is
 * for one sequence; "full_attention_stored_bytes" is for the same layers with full attention and
 * every activation stored. RF_ERR_MEMORY if nothing fits. */
RF_API RF_MUST_CHECK rf_status rf_plan(const rf_plan_options *options, char **report,
                                       rf_error *error);

typedef struct rf_bench_options {
    const char *model, *model_config;
    int64_t batch, length;
    int64_t repeats; /* timed training steps, at least 1 */
    int64_t warmup;  /* steps before them */
    bool forward_only;
    const char *device, *precision, *kernels, *stream;
    const char *gradient_stream;             /* "f32" (NULL) or "bf16" */
    int64_t rows_at_a_time, heads_at_a_time; /* 0: the planner chooses */
    bool by_operation;      /* also one more step with the time of each operation */
    const char *optimizer;  /* "adamw" (NULL) or "adafactor" */
    double adafactor_beta1; /* above 0: Adafactor keeps a first moment */
    uint64_t memory_limit;  /* bytes: cut the work to stay within; 0 = none */
    int threads;
    rf_log log;
} rf_bench_options;
/* Time real training steps (or forward passes) on random tokens: {"batch", "length", "seconds":
 * [..], "median_seconds", "tokens_per_second", "planned_bytes", "peak_bytes", "peak_rss_bytes",
 * "rss_before_bytes", "loss", "flops", "matrix_peak_flops_per_second", "share_of_matrix_peak",
 * "plan": {as rf_plan}}. "peak_bytes" is the most device memory
 * in use at once; "flops" counts the products of a step, whose speed is compared with that of a
 * large product in the same precision. */
RF_API RF_MUST_CHECK rf_status rf_bench_step(const rf_bench_options *options, char **report,
                                             rf_error *error);

typedef struct rf_bench_attention_options {
    const char *kind; /* "lsh" (NULL; automatic buckets), "local", "full", "full_shared" */
    int64_t length, batch;
    int64_t heads, head_width, hidden;
    int64_t chunk, rounds; /* rounds of LSH attention */
    int64_t before, after; /* chunks that a query sees besides its own */
    bool causal;
    const char *semantics; /* LSH attention; each adds to the one before: "hf" (NULL); "exact",
                              rounds apart and rows divided by their sum; "same-bucket"; "paper",
                              each pair once; "whole-buckets", no chunks */
    double dropout;        /* of attention probabilities, in [0, 1) */
    bool forward_only;
    int64_t heads_at_a_time; /* 0 = all */
    uint64_t memory_limit;   /* bytes; RF_ERR_MEMORY if a pass would take more; 0 = none */
    int64_t repeats;         /* timed passes, at least 1 */
    int64_t warmup;          /* passes before them */
    const char *device, *precision, *kernels;
    int threads;
} rf_bench_attention_options;
/* Time one attention layer, including the projections of queries, values and (where separate) keys,
 * on random inputs: the options, {"peak_bytes", "forward_ms": {"median", "min", "max"},
 * "forward_backward_ms" (unless forward_only), "stages_ms": {NAME: median}}. The stages are timed
 * one by one, so their sum exceeds the whole. */
RF_API RF_MUST_CHECK rf_status rf_bench_attention(const rf_bench_attention_options *options,
                                                  char **report, rf_error *error);

typedef struct rf_bench_generate_options {
    const char *model, *model_config;
    int64_t batch, prompt; /* number of sequences; tokens of each one's prompt */
    int64_t tokens;        /* timed tokens, decoded one by one, at least 1 */
    int64_t warmup;        /* tokens before them; on a GPU the first few are slower */
    const char *device, *precision, *kernels, *stream;
    int threads;
    rf_log log;
} rf_bench_generate_options;
/* Time greedy decoding after a prompt of random tokens: {"device", "batch", "prompt", "tokens",
 * "prefill_seconds", "token_ms": {"median", "min", "max", "first_decile", "ninth_decile"} for one
 * token of all sequences, "tokens_per_second"}. */
RF_API RF_MUST_CHECK rf_status rf_bench_generate(const rf_bench_generate_options *options,
                                                 char **report, rf_error *error);

typedef struct rf_bench_reversal_options {
    const char *model_config; /* its kinds of layers are repeated to each depth and its positions
                                 extended; weights are random */
    int64_t batch, length;
    int64_t deepest;    /* depths are 6, 12, 24, ... up to this */
    int64_t repeats;    /* timed repetitions, at least 1 */
    const char *output; /* folder for reversal.svg and, with cairo, reversal.png; NULL: none */
    const char *device, *precision, *kernels;
    int threads;
    rf_log log;
} rf_bench_reversal_options;
/* Measure the error and the cost of reversal by depth (docs/performance.md): {"device",
 * "precision", "batch", "length", "repeats", "depths": [{"layers", "streams": {"fixed32",
 * "float32", "bf16": {"largest", "rms", "gradient_error"}}, "step_seconds", "forward_seconds",
 * "stored_seconds", "ratio", "standard_seconds", "standard_ratio"}]}. largest and rms compare the
 * streams recovered at the bottom with those that went in. gradient_error is the norm of the
 * difference from the gradients of stored activations of the same pass, over the norm of those.
 * bf16 means float32 streams rounded to bf16 between layers. Times are for fixed32 streams:
 * stored_seconds is step minus forward of the layers, and ratio is step / stored; standard_seconds
 * is measured with standard residuals, which store the input of each half residual. */
RF_API RF_MUST_CHECK rf_status rf_bench_reversal(const rf_bench_reversal_options *options,
                                                 char **report, rf_error *error);

typedef struct rf_bench_scaling_options {
    int64_t tokens;  /* per pass: the batch is tokens / length, at least 1; 0: a batch of 1 */
    int64_t longest; /* lengths are 1024, 2048, ... up to this */
    int64_t heads, head_width, hidden, chunk;
    bool causal;
    bool forward_only;
    int64_t repeats, warmup;
    uint64_t memory_limit;     /* bytes that a pass may take; 0 = what the device has */
    double time_limit_seconds; /* measurements expected to take longer are skipped; 0 = none */
    const char *output;        /* folder for pictures and scaling.json; NULL: none */
    const char *beside;        /* file with curves measured elsewhere, for the pictures: {"curves":
                                  [{"name", "points": [{"length", "milliseconds", "peak_bytes"}]}]},
                                  peak_bytes optional; NULL: none */
    const char *model_config;  /* also memory by layers and by length of this model's training step;
                                  NULL: no */
    const char *device, *precision, *kernels;
    int threads;
    rf_log log;
} rf_bench_scaling_options;
/* Measure one attention layer against length, as in Kitaev et al. 2020, figure 5: LSH with 1, 2, 4
 * and 8 rounds, local, full with shared keys, and full. {"tokens", "device", "kinds": [{"name",
 * "kind", "rounds", "points": [{"length", "batch", "milliseconds", "peak_bytes"}], "exponent",
 * "ended_by"}]}: the exponent is the slope of log(time of one sequence) against log(length)
 * by least squares, null with fewer than two points; ended_by is "length", "memory" or "time". With
 * `beside` the report also has its curves as "beside", with model_config also "by_layers":
 * [{"layers", "peak_bytes", "activation_bytes", "stored_bytes"}] at 2,048 tokens and "by_length":
 * [reports of rf_plan]. */
RF_API RF_MUST_CHECK rf_status rf_bench_scaling(const rf_bench_scaling_options *options,
                                                char **report, rf_error *error);

typedef struct rf_nearest_options {
    const char *model;
    const char *expression; /* words joined by + and -: "king - man + woman" */
    const char *data; /* file, folder or pattern: compare the words of this text. NULL: those of the
                         vocabulary, for models whose tokens are pieces */
    /* "table": mean of the word's rows in the input table; "context": mean over all its occurrences
     * in the text; NULL: context with data, else table. */
    const char *vectors;
    const char *pooling; /* for "context", over the tokens of a word: "mean" (NULL) or "last" */
    int64_t layer;       /* for "context": as in rf_embed_options */
    int64_t min_count;   /* compare words that occur at least so often; 0 = 5 */
    int64_t most_words;  /* compare at most so many, the most frequent; 0 = 20,000 */
    int64_t top;         /* words to list; 0 = 10 */
    int64_t length; /* tokens per window of the text; 0: as in training, if recorded, else up to
                       2,048 */
    uint64_t limit; /* read only the first bytes of the text; 0 = all */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    const char *attention;                /* as in rf_model_options */
    bool center;                          /* subtract the mean of all words' vectors first */
    const char *device, *precision, *kernels, *stream;
    int threads;
    rf_log log;
} rf_nearest_options;
/* Find the words whose vectors have the largest cosine with the expression: the signed sum of its
 * words' vectors, each scaled to length 1. Its own words are left out. {"expression": [{"word",
 * "sign", "count"}], "vectors", "layer", "words", "tokens", "nearest": [{"word", "cosine",
 * "count"}]}: "words" is the number compared, "tokens" the number run through the model. */
RF_API RF_MUST_CHECK rf_status rf_nearest(const rf_nearest_options *options, char **report,
                                          rf_error *error);

typedef struct rf_illustrate_options {
    const char *model; /* directory; NULL: a small model with random weights from `seed` */
    const char *text;  /* [text_size] bytes to tokenise and draw; NULL: a built-in text */
    size_t text_size;
    const char *scenes;                   /* comma-separated names; NULL: all */
    int64_t layer, head, round, position; /* counted from 0; -1: the scene chooses */
    uint64_t seed;
    bool timing;         /* also measure times, which differ from run to run */
    const char *output;  /* a page if it ends in .html, else a folder for pictures, NAME.svg */
    const char *command; /* shown on the page as its origin; NULL: nothing */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    int threads;
    rf_log log;
} rf_illustrate_options;
/* Draw what a Reformer does, from computations with the model on the CPU (docs/illustrated.md):
 * {"model", "tokens", "files": [..], "scenes": [{"name", "title", "numbers": {..}}]}. "numbers" has
 * every number drawn. Without timing the same options give the same bytes. */
RF_API RF_MUST_CHECK rf_status rf_illustrate(const rf_illustrate_options *options, char **report,
                                             rf_error *error);
/* Name of scene `index`; NULL after the last. */
RF_API const char *rf_illustrate_scene(size_t index);

typedef struct rf_attend_options {
    const char *model;
    const char *text; /* [text_size], any bytes */
    size_t text_size;
    int64_t layer, head;      /* counted from 0; layer -1: the first that hashes, else the first */
    const int64_t *positions; /* [position_count] tokens that look; negative counts from the end */
    size_t position_count;
    const char *token; /* also every token that covers part of this text, wherever it occurs; NULL:
                          none. Without positions and token: the last token */
    int64_t top;       /* list so many of the tokens attended to, heaviest first; 0 = all */
    bool tokens;       /* list buckets and orders even of more than 256 tokens */
    const char *csv;   /* file for everything that these tokens attend to; NULL: none */
    const char *picture;                  /* file that ends in .svg or .png; NULL: none */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    const char *device, *precision, *kernels, *stream, *attention;
    int threads;
    rf_log log;
} rf_attend_options;
/* Show what tokens attend to (inside.h; docs/api.md, "The attend command"): {"layer", "head",
 * "kind", "length", "rounds", "buckets", "slots", "chunk", "before", "after", "wrap", "causal",
 * "same_bucket", "whole_buckets", "queries":
 * [{"position", "id", "text", "count", "sum", "lost", "log_norm", "rounds": [{"bucket" (if hashed),
 * "slot", "chunk", "share"}], "attended": [{"position", "id", "text", "weight", "parts": [of each
 * round]}]}]}. "count" is the number of tokens attended to. For short texts, or if requested, also
 * "tokens": [{"position", "id", "text", "buckets": [of each round]}], "borders": [the slots at
 * which chunks begin] and, if hashed, "orders": [[position in each slot, -1 for none] of each
 * round]. The CSV has query, position, id, text, weight, and a part per round. The picture shows at
 * most 7 tokens. */
RF_API RF_MUST_CHECK rf_status rf_attend(const rf_attend_options *options, char **report,
                                         rf_error *error);

typedef struct rf_curves_options {
    const char *const *folders; /* [count] runs, 1 to 32 */
    const char *const *names;   /* [count] labels; NULL or a NULL entry: the folder's name */
    size_t count;
    const char *x;      /* "step" (NULL), "seconds", or "tokens" (computed from train.json) */
    const char *figure; /* key of the records: "loss" (NULL), "bits_per_token", ... */
    const char *part;   /* "both" (NULL), "training", "evaluation" */
    int64_t smooth;     /* training: each value becomes the mean of the last so many; 0 = off */
    bool x_log, y_log;
    const char *title;  /* NULL: the figure */
    const char *output; /* file that ends in .svg or .png; NULL: no picture */
} rf_curves_options;
/* Plot a figure of training runs, from their metrics.jsonl (docs/training.md, "Comparing runs"):
 * {"x", "figure", "runs": [{"name", "folder", "steps", "seconds", "training": {"last", "lowest",
 * "highest", "points": [[x, value]]}, "evaluation": the same}]}; "steps" and "seconds" are those of
 * the last line; a part without the figure is absent. RF_ERR_FORMAT for a run without it. */
RF_API RF_MUST_CHECK rf_status rf_curves(const rf_curves_options *options, char **report,
                                         rf_error *error);

/* Describe a model directory: {"config": {...}, "parameters": N, "tensors": [{"name", "shape",
 * "dtype"}], "notes": [...]}. */
RF_API RF_MUST_CHECK rf_status rf_inspect(const char *model, char **report, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
