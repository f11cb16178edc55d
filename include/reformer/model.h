/* A model: a Hugging Face Reformer directory in memory.
 *
 *     rf_model *model = NULL;
 *     rf_error error = {0};
 *     if (rf_model_load("models/quickstart", NULL, &model, &error) == RF_OK) {
 *         ...
 *     }
 *     rf_model_destroy(model);
 */
#ifndef REFORMER_MODEL_H
#define REFORMER_MODEL_H

#include "reformer/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_model rf_model;

typedef struct rf_model_options {
    const char *device;       /* "cpu", "cuda", "cuda:N", or "auto": the first usable GPU, else the
                                 CPU; NULL = "cpu" */
    int threads;              /* CPU threads, 0 = one a core; results do not depend on it */
    const char *stream;       /* "fixed32" or "float32"; NULL = as config.json says, else fixed32 */
    const char *precision;    /* of activations and matrix products: "f32", or "bf16" with f32 sums,
                                 norms, softmax and weights; NULL or "auto" = bf16 on a GPU, f32 on
                                 the CPU */
    const char *kernels;      /* "fast" (NULL), or "plain": the simple ones that the fast are tested
                                 with,      on a GPU */
    const char *lm_head_bias; /* "auto", "on", "off"; NULL = auto (docs/differences.md, D1) */
    const char *num_buckets;  /* "auto", "N" or "N,M,..."; NULL = as config.json says */
    int64_t num_hashes;       /* rounds of LSH attention at use; 0 = as config.json says */
    const char *attention;    /* what layers that share queries and keys compute, with the same
                                 weights: "full", every token (full_shared), or "lsh"; NULL or
                                 "as-is" = as config.json says. Not saved */
    int64_t
        extend_positions; /* at least so many positions, by repeating the rows of the tables
                             (docs/numerics.md, "Longer than trained"); 0 = as config.json says */
    rf_log log;
    /* The head: "lm", "masked-lm", "next-sentence", "masked-lm,next-sentence" (two), "classify",
     * "answer", "embed" (none); NULL = as config.json says. Where the folder holds another class,
     * its head is left out and the new one starts from first values of `seed`; both are said in the
     * log. */
    const char *task;
    /* "causal": a token sees what is before it; "bidirectional": both sides, the windows of a model
     * that was causal reach as far ahead as back; "as-is" or NULL: as the task demands, else as
     * config.json says. What changes is said in the log. */
    const char *direction;
    int64_t labels;                 /* of "classify"; 0 = as config.json says */
    const char *const *label_names; /* [labels]; NULL: LABEL_0, ... */
    uint64_t seed;
} rf_model_options;

/* Load config.json and the weights of a folder: model.safetensors or pytorch_model.bin (single or
 * sharded), or Trax's model.pkl.gz. options may be NULL. The
 * caller destroys. Errors: RF_ERR_FILE, RF_ERR_FORMAT, RF_ERR_CONFIG, RF_ERR_UNSUPPORTED,
 * RF_ERR_MEMORY; *model is NULL then. */
RF_API RF_MUST_CHECK rf_status rf_model_load(const char *folder, const rf_model_options *options,
                                             rf_model **model, rf_error *error);

/* A new model with random weights from `seed`. config_text: the JSON of a config.json; unknown keys
 * are kept. initialisation: "reformer" (ours, docs/numerics.md) or "huggingface". */
RF_API RF_MUST_CHECK rf_status rf_model_create(const char *config_text, uint64_t seed,
                                               const char *initialisation,
                                               const rf_model_options *options, rf_model **model,
                                               rf_error *error);

typedef struct rf_save_options {
    const char *dtype;   /* "f32", "bf16", "f16"; NULL = f32 */
    uint64_t shard_size; /* bytes a file, 0 = one file */
    const char *format;  /* "safetensors" (NULL), or "bin": PyTorch's pytorch_model.bin */
} rf_save_options;
/* Write config.json, generation_config.json, the weights, and the tokenizer's files where the model
 * came with some, into the folder (created), each atomically. options may be NULL. */
RF_API RF_MUST_CHECK rf_status rf_model_save(const rf_model *model, const char *folder,
                                             const rf_save_options *options, rf_error *error);
RF_API void rf_model_destroy(rf_model *model); /* NULL allowed */

/* The two options `attention` and `num_hashes` of a loaded model, changed: as in rf_model_options,
 * but for num_hashes 0, which leaves the rounds as they are. Not while a session of it is open.
 * RF_ERR_ARGUMENT, RF_ERR_CONFIG: attention is then what it was, or as config.json says. */
RF_API RF_MUST_CHECK rf_status rf_model_use_attention(rf_model *model, const char *attention,
                                                      int64_t num_hashes, rf_error *error);

/* What a model is like: numbers it holds, token ids it knows, width of one stream. */
RF_API int64_t rf_model_parameter_count(const rf_model *model);
RF_API int64_t rf_model_vocabulary(const rf_model *model);
RF_API int64_t rf_model_hidden(const rf_model *model);
RF_API int64_t rf_model_max_length(const rf_model *model); /* positions there are */
/* Texts whose layouts agree may share a batch (each padded to the longest, behind a mask) without a
 * change to what any of them gives: chunks of attention lie as they would for each alone. With
 * others they lie differently, as in Hugging Face's. */
RF_API int64_t rf_model_layout(const rf_model *model, int64_t length);
/* Its task, as in rf_model_options; how many labels it has (classifiers) and what they are called:
 * the text is the model's. NULL for a number that is none of them. */
RF_API const char *rf_model_task(const rf_model *model);
RF_API int64_t rf_model_labels(const rf_model *model);
RF_API const char *rf_model_label_name(const rf_model *model, int64_t label);
/* config.json as text, released with rf_text_release. */
RF_API RF_MUST_CHECK rf_status rf_model_config_text(const rf_model *model, char **text,
                                                    rf_error *error);

/* Evaluate a batch with a language model, causal or masked (no dropout). Any length up to
 * rf_model_max_length.
 *   ids     [batch, length], each in [0, vocabulary)
 *   mask    [batch, length], 1 keep, 0 padding; NULL = all kept
 *   logits  [batch, count, vocabulary] of positions first ... first + count - 1, written; the
 * caller's */
RF_API RF_MUST_CHECK rf_status rf_model_logits(rf_model *model, const int32_t *ids,
                                               const uint8_t *mask, int64_t batch, int64_t length,
                                               int64_t first, int64_t count, float *logits,
                                               rf_error *error);
/* Negative log-likelihood in nats of every token but the first, by a causal language model: nll
 * [batch, length - 1], the caller's. */
RF_API RF_MUST_CHECK rf_status rf_model_nll(rf_model *model, const int32_t *ids,
                                            const uint8_t *mask, int64_t batch, int64_t length,
                                            float *nll, rf_error *error);

/* Release a text that the library handed out. NULL allowed. */
RF_API void rf_text_release(char *text);

#ifdef __cplusplus
}
#endif
#endif
