/* Use models of each task: embeddings of texts, masked tokens, labels, answers (docs/tasks.md).
 *
 *     float vector[256];
 *     rf_embed_options options = {.pooling = "mean", .normalise = true};
 *     rf_model_embed(model, ids, NULL, 1, length, &options, vector, &error);
 * Common to all functions: ids [batch, length], each in [0, vocabulary); mask [batch, length], 1
 * keep, 0 padding, NULL = all kept. Rows of different lengths are padded on the right; if their
 * layouts agree (rf_model_layout), each row gets the result that it would get alone. Any length up
 * to rf_model_max_length; there is no sliding window. Output arrays are the caller's. Errors:
 * RF_ERR_ARGUMENT (also for a model of another task, which the message names), RF_ERR_MEMORY,
 * RF_ERR_DEVICE. */
#ifndef REFORMER_TASKS_H
#define REFORMER_TASKS_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- embeddings: any model ---- */

typedef struct rf_embed_options {
    const char *pooling; /* over the kept tokens: "mean" (NULL), "first", "last"; "none": one vector
                            per token */
    int64_t layer;  /* 0: the output after the last norm, twice the hidden width (once with standard
                       residuals). K > 0: the stream after layer K, of the hidden width
                       (Hugging Face's hidden_states[K]); -1: the embeddings */
    bool normalise; /* scale to length 1; a zero vector stays zero */
} rf_embed_options;
/* Width of a vector with these options. */
RF_API int64_t rf_model_embedding_width(const rf_model *model, const rf_embed_options *options);
/* Embed texts: vectors [batch, width], written, or [batch, length, width] for pooling "none" (zeros
 * at padding). options may be NULL. */
RF_API RF_MUST_CHECK rf_status rf_model_embed(rf_model *model, const int32_t *ids,
                                              const uint8_t *mask, int64_t batch, int64_t length,
                                              const rf_embed_options *options, float *vectors,
                                              rf_error *error);

/* ---- masked tokens: "masked-lm" ---- */

typedef struct rf_candidate {
    int32_t id;
    float probability;
} rf_candidate;
/* The id of the mask token in training; -1: not recorded. */
RF_API int64_t rf_model_mask_token(const rf_model *model);
typedef struct rf_fill_options {
    const int64_t *places; /* [count], row * length + position */
    int64_t count;
    int64_t top; /* candidates per place */
} rf_fill_options;
/* Predict the tokens at the given places: candidates [count, top], written, most probable first
 * (lower id first on ties). */
RF_API RF_MUST_CHECK rf_status rf_model_fill(rf_model *model, const int32_t *ids,
                                             const uint8_t *mask, int64_t batch, int64_t length,
                                             const rf_fill_options *options,
                                             rf_candidate *candidates, rf_error *error);

/* ---- labels: "classify" ---- */

/* "single" (one label of many), "multiple" (independent labels) or "regression" (numbers). */
RF_API const char *rf_model_problem(const rf_model *model);
/* Classify texts. scores [batch, labels], written: the output of the head. probabilities [batch,
 * labels], written, or NULL: the softmax of the scores; for "multiple" the logistic function of
 * each; for a regression the scores again. */
RF_API RF_MUST_CHECK rf_status rf_model_classify(rf_model *model, const int32_t *ids,
                                                 const uint8_t *mask, int64_t batch, int64_t length,
                                                 float *scores, float *probabilities,
                                                 rf_error *error);

/* A batch with two texts per row (rf_tokenizer_tokenize_pair). */
typedef struct rf_pair_batch {
    const int32_t *ids;         /* [batch, length] */
    const int32_t *token_types; /* [batch, length]: 0 for the first text and the separator, 1 for
                                   the second; NULL: all 0. Not used by a model without a table of
                                   token types (type_vocab_size) */
    const uint8_t *mask;        /* [batch, length] or NULL */
    int64_t batch, length;
} rf_pair_batch;
/* Number of token types; 0: the model has no table of them. */
RF_API int64_t rf_model_token_types(const rf_model *model);
/* rf_model_classify for pairs of texts. */
RF_API RF_MUST_CHECK rf_status rf_model_classify_pairs(rf_model *model, const rf_pair_batch *pairs,
                                                       float *scores, float *probabilities,
                                                       rf_error *error);

/* ---- answers: "answer" ---- */

typedef struct rf_span {
    int64_t start, end; /* positions of the first and the last token; -1: fewer spans exist */
    float score;        /* score of the start + score of the end */
    float probability;  /* of start times that of end, each over the allowed positions */
} rf_span;
typedef struct rf_answer_options {
    const int64_t *first; /* [batch], or NULL: 0. Answers lie in positions [first, first + count);
                             tokens from first on have type 1 if the model has types */
    const int64_t *count; /* [batch], or NULL: all kept positions from first on */
    int64_t longest;      /* largest number of tokens of an answer; 0 = 30 */
} rf_answer_options;
/* Find the `top` best spans of each row: spans [batch, top], written, best first. options may be
 * NULL. */
RF_API RF_MUST_CHECK rf_status rf_model_answer(rf_model *model, const int32_t *ids,
                                               const uint8_t *mask, int64_t batch, int64_t length,
                                               const rf_answer_options *options, int64_t top,
                                               rf_span *spans, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
