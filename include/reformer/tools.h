/* Tools: options in, a JSON report out (released with rf_text_release). */
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
    const char *model, *reference; /* folder; .safetensors with inputs and expected outputs */
    const char *labels;            /* "auto" (NULL), "input_ids", "labels", "none" */
    double tolerance;              /* 0 = the defaults of docs/numerics.md, a kind of tensor each */
    const char *stream;            /* "fixed32" (NULL) or "float32" */
    bool own_buckets;              /* do not continue with the file's buckets after comparing */
    bool generate;                 /* compare greedy_* token sequences too */
    const char *device, *kernels, *lm_head_bias;
    const char *precision; /* "f32" (NULL, "auto") or "bf16", which has wider limits */
    int threads;
    rf_log log;
} rf_verify_options;
/* Report: {"model", "reference", "passed": bool, "tensors": [{"name", "kind", "count", "max_error",
 * "rms_error", "reference_rms", "limit", "passed", "note"}...]}. RF_ERR_MISMATCH: the report is
 * there and some tensor is beyond its limit. */
RF_API RF_MUST_CHECK rf_status rf_verify(const rf_verify_options *options, char **report,
                                         rf_error *error);

typedef struct rf_plan_options {
    const char *model; /* folder or a recipe's "model" section as JSON text in model_config */
    const char *model_config;
    int64_t batch, length;
    bool training; /* else evaluation */
    const char *stream;
    const char *optimizer;  /* "adamw" (NULL) or "adafactor" */
    double adafactor_beta1; /* above 0: Adafactor keeps a first moment */
    const char *device;     /* which need not be in the machine */
    const char *precision, *kernels;
    const char *gradient_stream; /* "f32" (NULL) or "bf16" */
    uint64_t memory_limit;       /* bytes: the work is cut so as to stay within; 0 = none */
    uint64_t fit;                /* bytes: search the largest `maximize` that fits; 0 = no search */
    const char *maximize;        /* "length" (NULL) or "batch"; the other is as given */
    int64_t extend_positions;    /* as in rf_model_options */
    bool estimate; /* also the time of a step, from a short one; the device must be there */
    int threads;
} rf_plan_options;
/* Bytes of the device by purpose, measured by a dry run of the same code: {"batch", "length",
 * "device", "parameters", "gradients", "optimizer", "streams", "stream_gradients",
 * "stored_activations" (of standard residuals), "buckets", "workspace", "batch_data", "other",
 * "peak_bytes", "full_attention_stored_bytes", "parameter_count", "slices": {"rows", "heads",
 * "head_rows"}, "flops", "bytes_moved", "generation_cache", "alternatives": [{"change",
 * "peak_bytes"}]}, "peak_bytes" being the sum of those before it, "flops" of the products of a
 * step, "bytes_moved" each operand of an operation once, "generation_cache" of one sequence;
 * "estimated_seconds" where asked for; after a search "fit_bytes" and "limited_by": "memory",
 * "positions" or "batch" (the most there may be). full_attention_stored_bytes: the same layers with
 * full attention and every activation stored, by the formula of docs/numerics.md. RF_ERR_MEMORY
 * where nothing fits. */
RF_API RF_MUST_CHECK rf_status rf_plan(const rf_plan_options *options, char **report,
                                       rf_error *error);

typedef struct rf_bench_options {
    const char *model, *model_config;
    int64_t batch, length;
    int64_t repeats; /* training steps timed, at least 1 */
    int64_t warmup;  /* steps before them */
    bool forward_only;
    const char *device, *precision, *kernels, *stream;
    const char *gradient_stream;             /* "f32" (NULL) or "bf16" */
    int64_t rows_at_a_time, heads_at_a_time; /* 0: the planner chooses */
    bool by_operation;      /* also one more step, with the time of each operation */
    const char *optimizer;  /* "adamw" (NULL) or "adafactor" */
    double adafactor_beta1; /* above 0: Adafactor keeps a first moment */
    uint64_t memory_limit;  /* bytes: the work is cut so as to stay within; 0 = none */
    int threads;
    rf_log log;
} rf_bench_options;
/* Real training steps (or forward passes) on random tokens: {"batch", "length", "seconds": [..],
 * "median_seconds", "tokens_per_second", "planned_bytes", "peak_bytes", "peak_rss_bytes",
 * "rss_before_bytes", "loss", "flops", "matrix_peak_flops_per_second", "share_of_matrix_peak",
 * "plan": {as rf_plan}}. "peak_bytes": the most that was taken of the device's memory at once;
 * "flops": of the products of a step, compared with a large product in the same precision. */
RF_API RF_MUST_CHECK rf_status rf_bench_step(const rf_bench_options *options, char **report,
                                             rf_error *error);

typedef struct rf_bench_attention_options {
    const char
        *kind; /* "lsh" (NULL): buckets by the automatic rule; "local", "full", "full_shared" */
    int64_t length, batch;
    int64_t heads, head_width, hidden;
    int64_t chunk, rounds; /* rounds of LSH attention */
    int64_t before, after; /* chunks that a query sees beside its own */
    bool causal;
    bool forward_only;
    int64_t heads_at_a_time; /* 0 = all */
    uint64_t memory_limit;   /* bytes; RF_ERR_MEMORY where a pass would take more; 0 = none */
    int64_t repeats;         /* passes timed, at least 1 */
    int64_t warmup;          /* passes before them */
    const char *device, *precision, *kernels;
    int threads;
} rf_bench_attention_options;
/* One attention layer with the projections of queries, values and, where they have one, keys, on
 * random inputs: the options, {"peak_bytes", "forward_ms": {"median", "min", "max"},
 * "forward_backward_ms" (unless forward_only), "stages_ms": {NAME: median}}. The stages are timed
 * one by one, so their sum is more than the whole. */
RF_API RF_MUST_CHECK rf_status rf_bench_attention(const rf_bench_attention_options *options,
                                                  char **report, rf_error *error);

typedef struct rf_bench_generate_options {
    const char *model, *model_config;
    int64_t batch, prompt; /* sequences, and tokens of the prompt of each */
    int64_t tokens;        /* decoded one by one and timed, at least 1 */
    int64_t warmup;        /* tokens before them; on a GPU the first few are slower */
    const char *device, *precision, *kernels, *stream;
    int threads;
    rf_log log;
} rf_bench_generate_options;
/* Greedy decoding after a prompt of random tokens: {"device", "batch", "prompt", "tokens",
 * "prefill_seconds", "token_ms": {"median", "min", "max", "first_decile", "ninth_decile"} of a
 * token for all sequences, "tokens_per_second"}. */
RF_API RF_MUST_CHECK rf_status rf_bench_generate(const rf_bench_generate_options *options,
                                                 char **report, rf_error *error);

typedef struct rf_bench_reversal_options {
    const char *model_config; /* its kinds of layers are repeated to each depth, its positions
                                 extended; weights are random */
    int64_t batch, length;
    int64_t deepest;    /* depths are 6, 12, 24, ... up to this */
    int64_t repeats;    /* of what is timed, at least 1 */
    const char *output; /* folder of reversal.svg and, with cairo, reversal.png; NULL: none */
    const char *device, *precision, *kernels;
    int threads;
    rf_log log;
} rf_bench_reversal_options;
/* What reversal gives back, by depth: {"device", "precision", "batch", "length", "repeats",
 * "depths": [{"layers", "streams": {"fixed32", "float32", "bf16": {"largest", "rms",
 * "gradient_error"}}, "step_seconds", "forward_seconds", "stored_seconds", "ratio",
 * "standard_seconds", "standard_ratio"}]}. largest and
 * rms: of the streams that came back at the bottom, less those that went in. gradient_error: norm
 * of the difference to the gradients from stored activations of the same pass, over theirs. bf16:
 * float32 streams rounded to bf16 between layers. Times are of fixed32 streams: stored_seconds is
 * step less forward of the layers, the ratio that of step to it; standard_seconds is measured with
 * standard residuals, which store what each half residual reads. */
RF_API RF_MUST_CHECK rf_status rf_bench_reversal(const rf_bench_reversal_options *options,
                                                 char **report, rf_error *error);

typedef struct rf_bench_scaling_options {
    int64_t tokens;  /* of each pass: the batch is tokens / length, at least 1; 0: always 1 */
    int64_t longest; /* lengths are 1024, 2048, ... up to this */
    int64_t heads, head_width, hidden, chunk;
    bool causal;
    bool forward_only;
    int64_t repeats, warmup;
    uint64_t memory_limit;     /* bytes a pass may take; 0 = what there is */
    double time_limit_seconds; /* a measurement that would take longer is not begun; 0 = none */
    const char *output;        /* folder of the pictures and scaling.json; NULL: none */
    const char *beside;        /* file of curves measured elsewhere, for the pictures: {"curves":
                                  [{"name", "points": [{"length", "milliseconds", "peak_bytes"}]}]},
                                  peak_bytes optional; NULL: none */
    const char *model_config; /* also memory by layers and by length, of this model's training step;
                                 NULL: not */
    const char *device, *precision, *kernels;
    int threads;
    rf_log log;
} rf_bench_scaling_options;
/* One attention layer against length, as in Kitaev et al. 2020, figure 5: LSH of 1, 2, 4 and 8
 * rounds, local, full with shared keys and full. {"tokens", "device", "kinds": [{"name", "kind",
 * "rounds", "points": [{"length", "batch", "milliseconds", "peak_bytes"}], "exponent",
 * "ended_by"}]}: the exponent is the slope of log(time of one sequence) against log(length) by
 * least squares, null with fewer than two points; ended_by "length", "memory" or "time". With
 * beside also its curves as "beside", with model_config also "by_layers": [{"layers", "peak_bytes",
 * "activation_bytes", "stored_bytes"}] at 2,048 tokens and "by_length": [reports of rf_plan]. */
RF_API RF_MUST_CHECK rf_status rf_bench_scaling(const rf_bench_scaling_options *options,
                                                char **report, rf_error *error);

typedef struct rf_nearest_options {
    const char *model;
    const char *expression; /* words with + and - between them: "king - man + woman" */
    const char *data;    /* file, folder or pattern: the words of this text are compared. NULL: the
                            vocabulary's own, of models whose tokens are pieces */
    const char *vectors; /* "table": of the tokens of a word, from the input table, their mean;
                            "context": of the tokens of all places where a word stands in the text,
                            their mean; NULL: context with data, table without */
    const char *pooling; /* of "context", over the tokens of a word: "mean" (NULL) or "last" */
    int64_t layer;       /* of "context": as in rf_embed_options */
    int64_t min_count;   /* words that stand in the text at least so often; 0 = 5 */
    int64_t most_words;  /* the most frequent of these; 0 = 20,000 */
    int64_t top;         /* 0 = 10 */
    int64_t length;      /* tokens of a window of the text; 0: as trained, if recorded, else up to
                            2,048 */
    uint64_t limit;      /* read only the first bytes of the text; 0 = all */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    const char *attention;                /* as in rf_model_options */
    bool center;                          /* take away the mean of all words' vectors first */
    const char *device, *precision, *kernels, *stream;
    int threads;
    rf_log log;
} rf_nearest_options;
/* The words whose vectors have the largest cosine with the expression: the sum, with its signs, of
 * its words' vectors, each of length 1. Its own words are left out. {"expression": [{"word",
 * "sign", "count"}], "vectors", "layer", "words", "tokens", "nearest": [{"word", "cosine",
 * "count"}]}: "words" were compared, "tokens" went through the model. */
RF_API RF_MUST_CHECK rf_status rf_nearest(const rf_nearest_options *options, char **report,
                                          rf_error *error);

typedef struct rf_illustrate_options {
    const char *model; /* folder; NULL: a small model with random weights of `seed` */
    const char
        *text; /* [text_size] bytes that the model's tokens are made of; NULL: some of ours */
    size_t text_size;
    const char *scenes;                   /* names with commas between them; NULL: all */
    int64_t layer, head, round, position; /* counted from 0; -1: the scene chooses */
    uint64_t seed;
    bool timing;         /* also measured times, which are not the same twice */
    const char *output;  /* a page, if it ends in .html; else a folder of pictures, NAME.svg */
    const char *command; /* what made it, said on the page; NULL: nothing is said */
    int64_t num_hashes, extend_positions; /* as in rf_model_options */
    int threads;
    rf_log log;
} rf_illustrate_options;
/* Pictures of what a Reformer does, from computations with the model, on the CPU: {"model",
 * "tokens", "files": [..], "scenes": [{"name", "title", "numbers": {..}}]}. Every number that is
 * drawn is in "numbers" too. Without timing the same options give the same bytes. */
RF_API RF_MUST_CHECK rf_status rf_illustrate(const rf_illustrate_options *options, char **report,
                                             rf_error *error);
/* Name of scene `index`, NULL behind the last. */
RF_API const char *rf_illustrate_scene(size_t index);

typedef struct rf_attend_options {
    const char *model;
    const char *text; /* [text_size] any bytes */
    size_t text_size;
    int64_t layer, head;      /* counted from 0; layer -1: the first that hashes, else the first */
    const int64_t *positions; /* [position_count] tokens that look, negative ones from the end */
    size_t position_count;
    const char *token;   /* also every token that stands for a part of this text wherever it occurs;
                            NULL: none. Without positions and token: the last token */
    int64_t top;         /* list so many of what a token attends to, the heaviest first; 0 = all */
    bool tokens;         /* list buckets and orders of more than 256 tokens too */
    const char *csv;     /* a file of everything that these tokens attend to; NULL: none */
    const char *picture; /* a file that ends in .svg or .png; NULL: none */
    int64_t num_hashes, extend_positions; /* as in rf_model_options, and so the next line */
    const char *device, *precision, *kernels, *stream, *attention;
    int threads;
    rf_log log;
} rf_attend_options;
/* What tokens look at (inside.h): {"layer", "head", "kind", "length", "rounds", "buckets", "slots",
 * "chunk", "before", "after", "wrap", "causal", "same_bucket", "whole_buckets", "queries":
 * [{"position", "id", "text", "count", "sum", "lost", "log_norm", "rounds": [{"bucket" (where
 * hashed), "slot", "chunk", "share"}], "attended": [{"position", "id", "text", "weight", "parts":
 * [of each round]}]}]}. "count" tokens are attended to in all. For short texts, or where asked for,
 * also "tokens": [{"position", "id", "text", "buckets": [of each round]}], "borders": [the slots at
 * which chunks begin] and, where hashed, "orders": [[position in each slot, -1 for none] of each
 * round]. CSV: query, position, id, text, weight, and a part a round. The picture has at most 7
 * tokens. */
RF_API RF_MUST_CHECK rf_status rf_attend(const rf_attend_options *options, char **report,
                                         rf_error *error);

typedef struct rf_curves_options {
    const char *const *folders; /* [count] of runs, 1 to 32 */
    const char *const *names;   /* [count]; NULL, or one that is NULL: the folder's */
    size_t count;
    const char *x;      /* "step" (NULL), "seconds", or "tokens", which train.json tells */
    const char *figure; /* of the records: "loss" (NULL), "bits_per_token", an evaluation's... */
    const char *part;   /* "both" (NULL), "training", "evaluation" */
    int64_t smooth;     /* training: each value as the mean of so many up to it; 0 = as it is */
    bool x_log, y_log;
    const char *title;  /* NULL: the figure */
    const char *output; /* a file that ends in .svg or .png; NULL: no picture */
} rf_curves_options;
/* A figure of training runs, from their metrics.jsonl. {"x", "figure", "runs": [{"name", "folder",
 * "steps", "seconds", "training": {"last", "lowest", "highest", "points": [[x, value]]},
 * "evaluation": the same}]}; "steps" and "seconds" are those of the last line, and a part that has
 * no such figure is absent. RF_ERR_FORMAT for a run that never has it. */
RF_API RF_MUST_CHECK rf_status rf_curves(const rf_curves_options *options, char **report,
                                         rf_error *error);

/* {"config": {...}, "parameters": N, "tensors": [{"name", "shape", "dtype"}], "notes": [...]} of a
 * model directory. */
RF_API RF_MUST_CHECK rf_status rf_inspect(const char *model, char **report, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
