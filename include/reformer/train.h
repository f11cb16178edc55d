/* Training and evaluation, as the commands train and eval do them. docs/training.md explains every
 * option.
 * Options of rf_train: call rf_train_options_default, then set what differs. Options of
 * rf_evaluate: start from zeros. Strings are borrowed for the call. */
#ifndef REFORMER_TRAIN_H
#define REFORMER_TRAIN_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The results of an evaluation, by name; docs/tasks.md, "Figures", lists those of each task. */
typedef struct rf_figure {
    const char *name; /* "loss", "accuracy", "macro_f1", ...; static */
    double value;     /* NaN where it is undefined: the correlation of a constant */
    bool is_share;    /* 0 to 1, to be displayed in per cent */
} rf_figure;
enum { RF_FIGURES = 8 };
typedef struct rf_figures {
    int64_t count;
    rf_figure items[RF_FIGURES];
} rf_figures;

typedef struct rf_train_progress {
    int64_t step, steps; /* step: updates done */
    double loss;         /* nats per token, mean over the last update; the training objective */
    double bits_per_token;
    double bits_per_byte; /* by the mean number of bytes per token of the training text; NaN if
                             the task has no such figure, and for synthetic data */
    double gradient_norm, rate; /* norm before clipping; learning rate of the last update */
    double tokens_per_second;
    double seconds,
        seconds_left; /* of this run; estimate until the end, or the time limit if that is nearer */
    double padding;   /* share of padding in the last update's tokens */
    bool has_validation;   /* this call follows an evaluation */
    rf_figures validation; /* all of the task's */
    bool is_best;
} rf_train_progress;

typedef struct rf_train_options {
    /* what */
    const char *model_config; /* JSON text of the model ("model" section of a recipe); with resume
                                 it may be NULL and is only compared */
    const char *data; /* file, folder or pattern; .xz .gz .zst are unpacked. classify: JSON lines or
                         tab-separated values with a header line; answer: JSON lines or SQuAD's JSON
                         (docs/tasks.md). "copy", "reverse", "addition", "recall":
                         synthetic data (docs/training.md); write "./copy" for a file */
    const char *valid;   /* held-out text; NULL: the last valid_bytes of data */
    int64_t valid_bytes; /* 0: 5 % of the data, at most 200,000 */
    const char *output;  /* the run's folder: a model directory (the best so far), checkpoints and
                            records */
    bool resume; /* continue from output's last checkpoint; otherwise an existing run is refused */
    const char *init_from;    /* start from the weights of this model directory; NULL: random */
    int64_t extend_positions; /* at least this many positions, by repeating the tables of init_from;
                                 0 = unchanged */
    const char *task;  /* "lm", "masked-lm", "next-sentence", "masked-lm,next-sentence" (both heads,
                          their losses added), "classify", "answer"; NULL: what the configuration
                          says. A model of another task gets a new head, and the log says so */
    const char *spans; /* next-sentence: the unit of spans, "sentence" (NULL), "line" or
                          "paragraph" */
    const char *direction; /* "causal", "bidirectional", "as-is" (NULL), as in rf_model_options */
    const char *text_field, *pair_field, *label_field; /* classify: field names; NULL: "text",
                                                          "text_pair", "label" */
    bool pack;                      /* lm, masked-lm: data are documents, packed into windows */
    const char *document_separator; /* pack: separates documents in a file (\n, \t and \\ as in C);
                                       NULL: a file is one document. Rows of .jsonl, .ndjson and
                                       .tsv files are documents, in text_field */
    double mask_rate;               /* masked-lm: share of the tokens to predict */
    bool mask_whole_words; /* masked-lm: predict all tokens of a word or none; masked, random or
                              kept (80, 10, 10 %) is decided once per word */
    int64_t mask_token; /* masked-lm: the mask token's id; -1: the model's or the tokenizer's, or 1
                           for bytes */
    /* Model directory, spiece.model or tokenizer.json; a new model's vocab_size, eos and pad follow
     * it. NULL: that of init_from, else bytes. */
    const char *tokenizer;
    /* how long */
    int64_t steps;      /* updates in total, over all calls */
    int64_t stop_after; /* end this call after so many updates, like an interruption; 0 = no */
    double time_limit_seconds; /* over all calls; 0 = none. The schedule then depends on the time
                                  used (docs/training.md, "Learning rate") */
    /* batches */
    int64_t batch, length, accumulate; /* windows per micro-batch; tokens per window (0: all
                                          positions, at most 4096); micro-batches per update */
    int64_t distance; /* synthetic data: copy: between the separators, 0 = half the length;
                         recall: from the list to the queries, 0 = as far as fits */
    int64_t shortest; /* synthetic data except recall: rows of shortest to length tokens; 0 = all
                         have length tokens */
    int64_t pairs;    /* recall: keys with values in a row's list, at most 63; 0 = 16 */
    bool sequential;  /* windows in order instead of uniformly random starts */
    bool batch_by_length;    /* classify, answer: examples of similar length share an update */
    int64_t overfit_batches; /* train only on the first so many batches, again and again; 0: no */
    uint64_t seed;           /* for windows, weights, dropout and rotations */
    /* optimizer */
    const char *freeze; /* comma-separated names of tensors that are not trained, with * and ? as in
                           a shell; NULL: none, or as in the resumed run */
    double label_smoothing;    /* share of the loss that is spread over all classes; not for
                                  regressions. Evaluations use neither this nor class_weights */
    const char *class_weights; /* classifiers with one label of many: "auto" (inverse frequency) or
                                  a comma-separated number per label; NULL: none */
    const char *optimizer;     /* "adamw" or "adafactor" */
    double rate, beta1, beta2, epsilon, weight_decay, clip; /* clip 0 = none; betas and epsilon are
                                                               AdamW's */
    bool adafactor_relative_step;    /* steps relative to a parameter's own size */
    const char *adafactor_semantics; /* "usual" (the paper's) or "trax" */
    double adafactor_clip;           /* limit of an update's root mean square; 0 = none */
    double adafactor_beta1;          /* 0 = no first moment */
    const char *schedule;  /* "constant", "linear", "cosine", "inverse-square-root", "wsd" */
    int64_t warmup;        /* updates */
    double final_rate;     /* as a fraction of rate, for linear, cosine and wsd */
    int64_t decay_steps;   /* wsd: number of last updates in which the rate falls; 0: use */
    double decay_fraction; /* wsd: the same as a fraction of the updates after the warm-up */
    double spike_guard; /* skip updates whose loss or gradient norm exceeds so many times its median
                           over the last 64; 0: none */
    const char *on_nan; /* "stop", "skip" or "rollback" (to the last checkpoint) */
    /* model */
    const char *initialisation;  /* "reformer" or "huggingface" */
    const char *num_buckets;     /* "auto", "N", "N,M"; NULL = as the model's config says */
    const char *lm_head_bias;    /* "auto", "on", "off" */
    const char *stream;          /* "fixed32", "float32"; NULL = config, else fixed32 */
    const char *gradient_stream; /* "f32" (NULL) or "bf16": the streams' gradients */
    bool verify_reversal; /* compare checksums of the streams per layer, forward and backward */
    /* evaluation and records */
    int64_t eval_every;      /* updates; 0 = only at the end */
    int64_t eval_tokens;     /* largest number of tokens per evaluation; 0 = all */
    int64_t eval_num_hashes; /* rounds of LSH attention in evaluations; 0 = as in training */
    const char *best_by;     /* figure that selects the best model; NULL: "loss" */
    int64_t patience;        /* evaluations without improvement before stopping; 0 = never */
    int64_t save_every;      /* updates; 0 = only at evaluations and at the end */
    int64_t keep;            /* number of checkpoints to keep */
    int64_t milestone_every; /* updates between checkpoints that are never deleted; 0: none */
    int64_t log_every;       /* updates between lines of metrics.jsonl */
    int64_t sample_every;    /* updates; 0 = none */
    int64_t sample_tokens;
    double sample_temperature;
    const char *sample_prompt; /* NULL: the first 64 bytes of the held-out text */
    bool tensorboard;          /* write event files */
    /* machine */
    const char *device, *precision, *kernels; /* as in rf_model_options */
    int threads;
    uint64_t memory_limit; /* bytes; 0 = what the machine has. A run whose finest plan exceeds it is
                              refused before it starts */
    /* callbacks */
    rf_log log;
    void (*progress)(
        void *user,
        const rf_train_progress *progress); /* after every update and every evaluation */
    void (*sample)(void *user, int64_t step, const char *bytes,
                   size_t size);    /* the prompt and the continuation */
    int (*should_stop)(void *user); /* asked after every micro-batch: 1 = finish the step, save,
                                       return RF_ERR_CANCELLED; 2 = stop now */
    void *user;
    const char *effective_config; /* JSON text to save as train.json; NULL: none */
} rf_train_options;

typedef struct rf_train_result {
    int64_t step;
    double loss;                                     /* of the last update, nats per token */
    double best_validation_loss, best_bits_per_byte; /* at best_step; the latter NaN as above */
    double best_value;                               /* value of best_by */
    int64_t best_step;
    uint64_t planned_bytes, peak_bytes; /* planned memory, and the allocator's high-water mark */
    double seconds;
    bool stopped_early; /* patience, time limit, stop_after */
} rf_train_result;

/* Whether `data` is the name of synthetic data, not of a text. */
RF_API bool rf_train_data_is_made(const char *data);
/* Set *options to the defaults of `reformer train`. */
RF_API void rf_train_options_default(rf_train_options *options);
/* Train. Errors: RF_ERR_ARGUMENT, RF_ERR_CONFIG, RF_ERR_FILE, RF_ERR_NO_SPACE, RF_ERR_FORMAT,
 * RF_ERR_UNSUPPORTED, RF_ERR_DEVICE; RF_ERR_MEMORY if the plan does not fit, before anything is
 * written; RF_ERR_NUMERIC and RF_ERR_RANGE for steps that cannot be used (docs/training.md);
 * RF_ERR_MISMATCH if reversal is not exact; RF_ERR_CANCELLED after an orderly stop on request
 * (everything is saved, and the message says how to resume). */
RF_API RF_MUST_CHECK rf_status rf_train(const rf_train_options *options, rf_train_result *result,
                                        rf_error *error);

typedef struct rf_evaluate_options {
    const char *model, *data; /* model directory; file, folder or pattern, or a name of synthetic
                                 data, as in training */
    int64_t length, batch;    /* 0 = the model's training length (reformer_c.training_length), else
                                 min(max length, 4096); batch 0 = 1 */
    int64_t last_bytes; /* evaluate only the last so many bytes, or the last documents with at least
                           that many; 0 = all */
    int64_t num_hashes; /* 0 = as config.json says */
    const char *attention;             /* as in rf_model_options */
    int64_t extend_positions;          /* as in rf_model_options */
    uint64_t seed;                     /* for the rotations, at step 0, and synthetic data */
    int64_t sequences;                 /* rows of synthetic data; 0 = as many as have 2^18 tokens */
    int64_t distance, shortest, pairs; /* of synthetic data, as in training */
    const int64_t *position_ends; /* [position_count], ascending, for causal language models: ends
                                     of bands of positions with their own loss; a last band goes to
                                     the end of the windows */
    int64_t position_count;       /* at most RF_POSITION_BANDS - 1; 0 = none */
    double mask_rate;             /* for masked language models; 0 = 0.15 */
    bool pack;                    /* for language models: documents, as in training */
    const char *document_separator;
    const char *text_field, *pair_field, *label_field; /* for classifiers, as in training */
    const char *device, *precision, *kernels, *stream, *lm_head_bias;
    int threads;
    rf_log log;
    int (*should_stop)(void *user);
    void (*progress)(void *user, int64_t tokens_done, int64_t tokens_total);
    void *user;
} rf_evaluate_options;

/* The loss at positions first to end - 1 of the windows. */
typedef struct rf_position_band {
    int64_t first, end, tokens;
    double loss; /* nats per token; NaN if nothing was scored */
} rf_position_band;
enum { RF_POSITION_BANDS = 17 };

typedef struct rf_evaluation {
    double loss; /* nats per scored token; with two heads the sum of both means */
    double perplexity, bits_per_token, accuracy; /* accuracy: of masked tokens for a masked
                                                  language model; of texts for a classifier (NaN
                                                  where labels are several or numbers); of starts
                                                  and ends for question answering */
    int64_t pairs;                   /* masked-lm,next-sentence: number of pairs evaluated */
    double pair_loss, pair_accuracy; /* of the pairs */
    double bits_per_byte;            /* by the mean number of bytes per token of this text */
    int64_t tokens, windows;         /* scored tokens; windows */
    const char *task;                /* of the model: "lm", "masked-lm", ... */
    rf_figures figures;              /* all figures of the task, including those above */
    rf_position_band bands[RF_POSITION_BANDS];
    int64_t band_count; /* 0 if not requested */
    int64_t length;
    double seconds;
} rf_evaluation;

/* Evaluate a model on a text (docs/training.md, "Evaluation"): non-overlapping windows of `length`,
 * a partial last one dropped, the first token of each not scored, mean over scored tokens,
 * rotations keyed by seed at step 0. A masked language model predicts 15 % of each window's tokens,
 * whole words if it was trained so, the same ones at every evaluation with this seed. Errors as in
 * rf_train; RF_ERR_NUMERIC if the loss is not a number, RF_ERR_CANCELLED if should_stop returned
 * non-zero. */
RF_API RF_MUST_CHECK rf_status rf_evaluate(const rf_evaluate_options *options,
                                           rf_evaluation *result, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
