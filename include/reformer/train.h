/* Training and evaluation on text, as the program does them.
 *
 * All option structs: zero-initialise, then rf_train_options_default, then set what differs.
 * Strings are borrowed for the call. */
#ifndef REFORMER_TRAIN_H
#define REFORMER_TRAIN_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an evaluation found, by name; docs/tasks.md, "Figures", says which figures a task has. */
typedef struct rf_figure {
    const char *name; /* "loss", "accuracy", "macro_f1", ...; static */
    double value;     /* NaN where it is not defined: the correlation of a constant */
    bool is_share;    /* 0 to 1, to be shown in percent */
} rf_figure;
enum { RF_FIGURES = 8 };
typedef struct rf_figures {
    int64_t count;
    rf_figure items[RF_FIGURES];
} rf_figures;

typedef struct rf_train_progress {
    int64_t step, steps; /* step: updates done */
    double loss;         /* nats a token, mean over the last update; as trained on */
    double bits_per_token;
    double bits_per_byte; /* by the mean number of bytes a token of the training text stands for;
                             NaN where that is no figure of the task, and of data that are made */
    double gradient_norm, rate; /* before clipping; learning rate of the last update */
    double tokens_per_second;
    double seconds,
        seconds_left; /* of this run; estimate to the end, or to the time limit if that is nearer */
    double padding;   /* share of the last update's tokens that only fill rows */
    bool has_validation; /* this call follows an evaluation */
    double validation_loss, validation_bits_per_byte, validation_accuracy;
    rf_figures validation; /* all of the task's, those above among them (accuracy NaN without) */
    bool is_best;
} rf_train_progress;

typedef struct rf_train_options {
    /* what */
    const char *model_config; /* JSON text of the model ("model" section of a recipe); with resume
                                 it may be NULL, and is only compared */
    const char *data; /* file, folder or pattern; .xz .gz .zst are unpacked. classify: JSON lines or
                         tab-separated values with a header line; answer: JSON lines or SQuAD's JSON
                         (docs/tasks.md). "copy", "reverse", "addition", "recall": data that are
                         made (docs/training.md); a file of such a name is "./copy" */
    const char *valid;   /* NULL: the last valid_bytes of data are held out */
    int64_t valid_bytes; /* 0: 5 % of the data, at most 200,000 */
    const char
        *output; /* the run's folder: a model directory (best so far), checkpoints/ and records */
    bool resume; /* continue from output's last checkpoint; without it an existing run is refused */
    const char *init_from;    /* start from the weights of this model directory; NULL: random */
    int64_t extend_positions; /* at least so many positions, the tables of init_from repeated; 0 =
                                 as they are */
    const char *task;  /* "lm", "masked-lm", "next-sentence", "masked-lm,next-sentence" (both heads,
                          their losses added), "classify", "answer"; NULL: what the configuration
                          says. A model directory of another task loses its head and gets a new one,
                          which is said in the log */
    const char *spans; /* next-sentence: what spans of the text are made of, "sentence" (NULL),
                          "line" or "paragraph" */
    const char *direction; /* "causal", "bidirectional", "as-is" (NULL), as in rf_model_options */
    const char *text_field, *pair_field, *label_field; /* classify: names in the data; NULL: "text",
                                                          "text_pair", "label" */
    bool
        pack; /* lm, masked-lm: the data are documents, packed into windows, where none sees another
               */
    const char *document_separator; /* pack: stands between documents of a file (\n, \t and \\ are
                                       read as in C); NULL: a file is one. Rows of .jsonl, .ndjson
                                       and .tsv files are documents, under text_field */
    double mask_rate;               /* masked-lm: share of the tokens that are to be told */
    bool mask_whole_words; /* masked-lm: all tokens of a word or none; 80, 10 or 10 % decided once a
                              word */
    int64_t mask_token;    /* masked-lm: the id that stands for them; -1: the model's or the
                              tokenizer's, or 1 where tokens are bytes */
    const char
        *tokenizer; /* model directory, spiece.model or tokenizer.json; a new model's vocab_size,
                       eos and pad follow it. NULL: that of init_from, else bytes */
    /* how long */
    int64_t steps;
    int64_t
        stop_after; /* end after this many updates of this call as an interruption would; 0 = no */
    double time_limit_seconds; /* 0 = none; the schedule is then a function of the time used, see
                                  docs */
    /* batches */
    int64_t batch, length, accumulate; /* length 0: all positions, at most 4096 */
    int64_t distance; /* of data that are made, copy: from one separator to the other, 0 = half the
                         length; recall: from the list to the queries, 0 = as far as fits */
    int64_t shortest; /* of data that are made, all but recall: rows of shortest to length tokens; 0
                         = all of length */
    bool sequential;  /* windows in order instead of uniform random starts */
    bool batch_by_length;    /* classify, answer: examples of like length share an update */
    int64_t overfit_batches; /* train on the first so many batches alone, again and again; 0: no */
    uint64_t seed;
    /* optimizer */
    const char *freeze; /* names of tensors that are not trained, with commas between them and * and
                           ? as in a shell; NULL: none, or as the resumed run has it */
    double label_smoothing; /* share of the loss that goes to all classes alike; not of regressions;
                               evaluations are without, and without class_weights */
    const char *class_weights; /* classifiers with one label of many: "auto" (inverse frequency) or
                                  a number for each label, with commas; NULL: none */
    const char *optimizer;     /* "adamw" or "adafactor" */
    double rate, beta1, beta2, epsilon, weight_decay, clip; /* clip 0 = none; betas and epsilon are
                                                               AdamW's */
    bool adafactor_relative_step;    /* steps in proportion to a parameter's own size */
    const char *adafactor_semantics; /* "usual" (the paper's) or "trax" */
    double adafactor_clip;           /* of the root mean square of an update; 0 = none */
    double adafactor_beta1;          /* 0 = without a first moment */
    const char *schedule;  /* "constant", "linear", "cosine", "inverse-square-root", "wsd" */
    int64_t warmup;        /* updates */
    double final_rate;     /* as a fraction of rate, for linear, cosine and wsd */
    int64_t decay_steps;   /* wsd: the last updates, in which the rate falls; 0: */
    double decay_fraction; /* this part of those after the warm-up */
    double spike_guard; /* an update whose loss or gradient norm is above so many times its median
                           over the last 64 is skipped; 0: none is */
    const char *on_nan; /* "stop", "skip" or "rollback" (to the last checkpoint) */
    /* model */
    const char *initialisation;  /* "reformer" or "huggingface" */
    const char *num_buckets;     /* "auto", "N", "N,M"; NULL = as the model's config says */
    const char *lm_head_bias;    /* "auto", "on", "off" */
    const char *stream;          /* "fixed32", "float32"; NULL = config, else fixed32 */
    const char *gradient_stream; /* "f32" (NULL) or "bf16": the streams' gradients */
    bool verify_reversal;        /* per-layer checksums of the streams, forward against backward */
    /* evaluation and records */
    int64_t eval_every;      /* updates; 0 = only at the end */
    int64_t eval_tokens;     /* at most so many tokens an evaluation; 0 = all */
    int64_t eval_num_hashes; /* rounds of LSH attention in evaluations; 0 = as in training */
    const char *best_by;     /* the figure by which the best model is chosen; NULL: "loss" */
    int64_t patience;        /* evaluations without improvement before stopping; 0 = never */
    int64_t save_every;      /* updates; 0 = only at evaluations and at the end */
    int64_t keep;            /* last N checkpoints */
    int64_t milestone_every; /* updates between checkpoints that are kept for ever; 0: none */
    int64_t log_every;       /* updates */
    int64_t sample_every;    /* updates; 0 = none */
    int64_t sample_tokens;
    double sample_temperature;
    const char *sample_prompt; /* NULL: the first 64 bytes of the held-out text */
    bool tensorboard;
    /* machine */
    const char *device, *precision, *kernels; /* as in rf_model_options */
    int threads;
    uint64_t memory_limit; /* bytes; 0 = what the machine has; refused before the start if the plan
                              exceeds it */
    /* callbacks */
    rf_log log;
    void (*progress)(
        void *user,
        const rf_train_progress *progress); /* after every update and every evaluation */
    void (*sample)(void *user, int64_t step, const char *bytes,
                   size_t size);    /* the prompt and what follows it */
    int (*should_stop)(void *user); /* asked after every micro-batch: 1 = finish the step, save,
                                       return RF_ERR_CANCELLED; 2 = stop now */
    void *user;
    const char
        *effective_config; /* JSON text recorded as train.json in the run's folder; NULL: none */
} rf_train_options;

typedef struct rf_train_result {
    int64_t step;
    double loss;                                     /* of the last update, nats */
    double best_validation_loss, best_bits_per_byte; /* at best_step, the latter NaN as above */
    double best_value;                               /* of best_by */
    int64_t best_step;
    uint64_t planned_bytes, peak_bytes; /* planned memory, and the allocator's high-water mark */
    double seconds;
    bool stopped_early; /* patience, time limit, stop_after */
} rf_train_result;

/* Whether `data` is the name of data that are made, not of a text. */
RF_API bool rf_train_data_is_made(const char *data);
/* Fills in what `reformer train` does where nothing is said. */
RF_API void rf_train_options_default(rf_train_options *options);
/* Train. RF_ERR_CANCELLED after an orderly stop on request (everything saved; message says how to
 * resume). */
RF_API RF_MUST_CHECK rf_status rf_train(const rf_train_options *options, rf_train_result *result,
                                        rf_error *error);

typedef struct rf_evaluate_options {
    const char *model, *data; /* model directory; file, folder or pattern, or a name of data that
                                 are made, as in training */
    int64_t length, batch;    /* 0 = the model's training length (reformer_c.training_length), else
                                 min(max length, 4096); batch 0 = 1 */
    int64_t last_bytes;       /* evaluate only the last so many bytes, or the last documents with as
                                 many or more; 0 = all */
    int64_t num_hashes;       /* 0 = as config.json says */
    const char *attention;    /* as in rf_model_options */
    int64_t extend_positions; /* as in rf_model_options */
    uint64_t seed;            /* of the rotations, at step 0; and of data that are made */
    int64_t sequences;        /* of data that are made; 0 = as many as have 2^18 tokens */
    int64_t distance, shortest;   /* of data that are made, as in training */
    const int64_t *position_ends; /* [position_count]: causal language models: where bands of
                                     positions end that are told one by one, ascending; the last
                                     goes to the end of the windows */
    int64_t position_count;       /* at most RF_POSITION_BANDS - 1; 0 = none */
    double mask_rate;             /* masked language models; 0 = 0.15 */
    bool pack;                    /* language models: documents, as in training */
    const char *document_separator;
    const char *text_field, *pair_field, *label_field; /* classifiers, as in training */
    const char *device, *precision, *kernels, *stream, *lm_head_bias;
    int threads;
    rf_log log;
    int (*should_stop)(void *user);
    void (*progress)(void *user, int64_t tokens_done, int64_t tokens_total);
    void *user;
} rf_evaluate_options;

/* What was predicted at positions first to end - 1 of the windows. */
typedef struct rf_position_band {
    int64_t first, end, tokens;
    double loss; /* nats a token; NaN where nothing was scored */
} rf_position_band;
enum { RF_POSITION_BANDS = 17 };

typedef struct rf_evaluation {
    double loss; /* nats a scored token; of two heads the sum of both means */
    double perplexity, bits_per_token, accuracy; /* of a masked language model: of masked tokens;
                                                  of a classifier: of texts (NaN where labels
                                                  are several or numbers); of question answering:
                                                  of starts and ends */
    int64_t pairs; /* masked-lm,next-sentence: how many were judged beside the masked tokens */
    double pair_loss, pair_accuracy; /* of these */
    double bits_per_byte;    /* by the mean number of bytes a token of this text stands for */
    int64_t tokens, windows; /* scored tokens; windows */
    const char *task;        /* of the model: "lm", "masked-lm", ... */
    rf_figures figures;      /* all of the task's, those above among them */
    rf_position_band bands[RF_POSITION_BANDS];
    int64_t band_count; /* 0 where they were not asked for */
    int64_t length;
    double seconds;
} rf_evaluation;

/* A masked language model tells 15 % of each window's tokens, whole words of them if so it was
 * trained, the same ones at every evaluation with this seed. Protocol (docs/training.md,
 * "Evaluation"): non-overlapping windows of `length`, a last partial one dropped, the first token
 * of each not scored, mean over scored tokens, rotations keyed by seed at step 0. */
RF_API RF_MUST_CHECK rf_status rf_evaluate(const rf_evaluate_options *options,
                                           rf_evaluation *result, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
