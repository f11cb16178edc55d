/* Load, create, save and evaluate a model. On disk it is a Hugging Face Reformer directory.
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
    int threads;              /* CPU threads, 0 = one per core; results do not depend on it */
    const char *stream;       /* "fixed32" or "float32"; NULL = as config.json says, else fixed32 */
    const char *precision;    /* of activations and matrix products: "f32", or "bf16" with f32 sums,
                                 norms, softmax and weights; NULL or "auto" = bf16 on a GPU, f32 on
                                 the CPU */
    const char *kernels;      /* on a GPU: "fast" (NULL), or "plain", the simple ones that the fast
                                 ones are tested against */
    const char *lm_head_bias; /* "auto", "on", "off"; NULL = auto (docs/differences.md, D1) */
    const char *num_buckets;  /* "auto", "N" or "N,M,..."; NULL = as config.json says */
    int64_t num_hashes;       /* rounds of LSH attention; 0 = as config.json says */
    const char *attention;    /* what lsh and full_shared layers compute, with the same weights:
                                 "full" (every token) or "lsh"; NULL or "as-is" = as config.json
                                 says. Not saved */
    /* At least this many positions, by repeating the rows of the tables (docs/numerics.md, "Longer
     * than trained"); 0 = as config.json says. */
    int64_t extend_positions;
    rf_log log;
    /* The head: "lm", "masked-lm", "next-sentence", "masked-lm,next-sentence" (two), "classify",
     * "answer", "embed" (none); NULL = as config.json says. If the folder holds another class, its
     * head is dropped and a new one is initialised from `seed`; the log says so. */
    const char *task;
    /* "causal": a token sees only earlier ones; "bidirectional": both sides (the windows of a model
     * that was causal then reach as far ahead as back); "as-is" or NULL: as the task requires, else
     * as config.json says. The log reports changes. */
    const char *direction;
    int64_t labels;                 /* number, for "classify"; 0 = as config.json says */
    const char *const *label_names; /* [labels]; NULL: LABEL_0, ... */
    uint64_t seed;                  /* for a new head */
} rf_model_options;

/* Load config.json and the weights from a folder: model.safetensors or pytorch_model.bin (single or
 * sharded), or Trax's model.pkl.gz (docs/formats.md). options may be NULL. The caller destroys
 * *model. Errors: RF_ERR_ARGUMENT, RF_ERR_FILE, RF_ERR_FORMAT, RF_ERR_CONFIG, RF_ERR_UNSUPPORTED,
 * RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_model_load(const char *folder, const rf_model_options *options,
                                             rf_model **model, rf_error *error);

/* Create a model with random weights from `seed`. config_text is the JSON text of a config.json;
 * unknown keys are kept. initialisation: "reformer" or "huggingface" (docs/numerics.md,
 * "Initialisation"). options may be NULL. The caller destroys *model. Errors: RF_ERR_ARGUMENT,
 * RF_ERR_FORMAT, RF_ERR_CONFIG, RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_model_create(const char *config_text, uint64_t seed,
                                               const char *initialisation,
                                               const rf_model_options *options, rf_model **model,
                                               rf_error *error);

typedef struct rf_save_options {
    const char *dtype;   /* "f32", "bf16", "f16"; NULL = f32 */
    uint64_t shard_size; /* bytes per file, 0 = one file */
    const char *format;  /* "safetensors" (NULL), or "bin": PyTorch's pytorch_model.bin */
} rf_save_options;
/* Write config.json, generation_config.json, the weights, and the tokenizer's files if the model
 * was loaded with some. The folder is created; each file is replaced atomically. options may be
 * NULL. Errors: RF_ERR_ARGUMENT, RF_ERR_FILE, RF_ERR_NO_SPACE, RF_ERR_UNSUPPORTED. */
RF_API RF_MUST_CHECK rf_status rf_model_save(const rf_model *model, const char *folder,
                                             const rf_save_options *options, rf_error *error);
RF_API void rf_model_destroy(rf_model *model); /* NULL allowed */

/* Change the options `attention` and `num_hashes` of a loaded model. They mean the same as in
 * rf_model_options, except that num_hashes 0 leaves the rounds as they are. Not allowed while a
 * session of the model is open. After RF_ERR_ARGUMENT or RF_ERR_CONFIG the attention is unchanged,
 * or as config.json says. */
RF_API RF_MUST_CHECK rf_status rf_model_use_attention(rf_model *model, const char *attention,
                                                      int64_t num_hashes, rf_error *error);

/* Number of parameters, number of token ids, width of one stream, number of positions. */
RF_API int64_t rf_model_parameter_count(const rf_model *model);
RF_API int64_t rf_model_vocabulary(const rf_model *model);
RF_API int64_t rf_model_hidden(const rf_model *model);
RF_API int64_t rf_model_max_length(const rf_model *model);
/* A number for the chunk layout of a text of `length` tokens. Texts with the same layout may share
 * a batch (padded to the longest, with a mask) and each gets the result that it would get alone,
 * because its attention chunks stay the same. In a batch of different layouts they may move, as in
 * Hugging Face's implementation. */
RF_API int64_t rf_model_layout(const rf_model *model, int64_t length);
/* The task (as in rf_model_options), the number of labels of a classifier, and the name of a label
 * (NULL for a number out of range). The model owns the texts. */
RF_API const char *rf_model_task(const rf_model *model);
RF_API int64_t rf_model_labels(const rf_model *model);
RF_API const char *rf_model_label_name(const rf_model *model, int64_t label);
/* The model's config.json as text, to be released with rf_text_release. */
RF_API RF_MUST_CHECK rf_status rf_model_config_text(const rf_model *model, char **text,
                                                    rf_error *error);

/* Scores of a causal or masked language model, without dropout. Any length up to
 * rf_model_max_length.
 *   ids     [batch, length], each in [0, vocabulary)
 *   mask    [batch, length], 1 keep, 0 padding; NULL = all kept
 *   logits  [batch, count, vocabulary], written: of positions first ... first + count - 1
 *
 * Errors: RF_ERR_ARGUMENT, RF_ERR_MEMORY, RF_ERR_DEVICE. */
RF_API RF_MUST_CHECK rf_status rf_model_logits(rf_model *model, const int32_t *ids,
                                               const uint8_t *mask, int64_t batch, int64_t length,
                                               int64_t first, int64_t count, float *logits,
                                               rf_error *error);
/* Negative log-likelihood, in nats, of every token but the first under a causal language model.
 * ids and mask as above, length at least 2; nll [batch, length - 1], written. Errors as above. */
RF_API RF_MUST_CHECK rf_status rf_model_nll(rf_model *model, const int32_t *ids,
                                            const uint8_t *mask, int64_t batch, int64_t length,
                                            float *nll, rf_error *error);

/* Release a text that the library returned. NULL allowed. */
RF_API void rf_text_release(char *text);

#ifdef __cplusplus
}
#endif
#endif
