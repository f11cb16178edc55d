/* What the models of each task are used for: vectors of texts, missing tokens, labels, answers.
 *
 *     float vector[256];
 *     rf_embed_options options = {.pooling = "mean", .normalise = true};
 *     rf_model_embed(model, ids, NULL, 1, length, &options, vector, &error);
 *
 * Common to all: ids [batch, length], each in [0, vocabulary); mask [batch, length], 1 keep, 0
 * padding, NULL = all kept. Rows of different lengths are padded on the right; where
 * their layouts agree (rf_model_layout) each gives what it would give alone. Any length up to
 * rf_model_max_length; there is no sliding window. Outputs are the caller's. Errors:
 * RF_ERR_ARGUMENT (also for a model of another task, by name), RF_ERR_MEMORY, RF_ERR_DEVICE. */
#ifndef REFORMER_TASKS_H
#define REFORMER_TASKS_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- vectors: any model ---- */

typedef struct rf_embed_options {
    const char *pooling; /* over the kept tokens: "mean" (NULL), "first", "last"; "none": one vector
                            a token */
    int64_t layer;       /* 0: the output, behind the last norm, twice the hidden width
                            (once with standard residuals). K > 0: the
                            stream behind layer K, of the hidden width (Hugging Face's
                            hidden_states[K]); -1: the embeddings */
    bool normalise;      /* to length 1; a zero vector stays */
} rf_embed_options;
/* Numbers in a vector. */
RF_API int64_t rf_model_embedding_width(const rf_model *model, const rf_embed_options *options);
/* vectors [batch, width], or [batch, length, width] for "none" (zeros at padding). options may be
 * NULL. */
RF_API RF_MUST_CHECK rf_status rf_model_embed(rf_model *model, const int32_t *ids,
                                              const uint8_t *mask, int64_t batch, int64_t length,
                                              const rf_embed_options *options, float *vectors,
                                              rf_error *error);

/* ---- missing tokens: "masked-lm" ---- */

typedef struct rf_candidate {
    int32_t id;
    float probability;
} rf_candidate;
/* The token id that stood for what was missing in training; -1: not recorded. */
RF_API int64_t rf_model_mask_token(const rf_model *model);
typedef struct rf_fill_options {
    const int64_t *places; /* [count], row * length + position */
    int64_t count;
    int64_t top; /* candidates of each place */
} rf_fill_options;
/* The likeliest tokens at each place: candidates [count, top], likeliest first (lower id first
 * among equals). */
RF_API RF_MUST_CHECK rf_status rf_model_fill(rf_model *model, const int32_t *ids,
                                             const uint8_t *mask, int64_t batch, int64_t length,
                                             const rf_fill_options *options,
                                             rf_candidate *candidates, rf_error *error);

/* ---- labels: "classify" ---- */

/* "single" (one label of many), "multiple" (each for itself) or "regression" (numbers). */
RF_API const char *rf_model_problem(const rf_model *model);
/* scores [batch, labels]: what the head gives; probabilities [batch, labels], or NULL: their
 * softmax, for "multiple" each one's logistic function; for a regression the scores again. */
RF_API RF_MUST_CHECK rf_status rf_model_classify(rf_model *model, const int32_t *ids,
                                                 const uint8_t *mask, int64_t batch, int64_t length,
                                                 float *scores, float *probabilities,
                                                 rf_error *error);

/* Two texts a row (rf_tokenizer_tokenize_pair). */
typedef struct rf_pair_batch {
    const int32_t *ids;         /* [batch, length] */
    const int32_t *token_types; /* [batch, length]: 0 for the first text and the separator, 1 for
                                   the second; NULL: 0. Unused by a model without a table of them
                                   (type_vocab_size) */
    const uint8_t *mask;        /* [batch, length] or NULL */
    int64_t batch, length;
} rf_pair_batch;
/* How many token types the model knows; 0: it has no table of them. */
RF_API int64_t rf_model_token_types(const rf_model *model);
/* rf_model_classify for pairs. */
RF_API RF_MUST_CHECK rf_status rf_model_classify_pairs(rf_model *model, const rf_pair_batch *pairs,
                                                       float *scores, float *probabilities,
                                                       rf_error *error);

/* ---- answers: "answer" ---- */

typedef struct rf_span {
    int64_t start, end; /* positions of the first and the last token; -1: there are fewer spans */
    float score;        /* score of the start + score of the end */
    float probability;  /* of start and end, each among the positions that are allowed */
} rf_span;
typedef struct rf_answer_options {
    const int64_t *first; /* [batch], or NULL: 0. Answers lie in positions [first, first + count);
                             tokens from first on are of type 1 where the model knows types */
    const int64_t *count; /* [batch], or NULL: all kept ones from first on */
    int64_t longest;      /* tokens of an answer; 0 = 30 */
} rf_answer_options;
/* The `top` best spans of each row: spans [batch, top], best first. options may be NULL. */
RF_API RF_MUST_CHECK rf_status rf_model_answer(rf_model *model, const int32_t *ids,
                                               const uint8_t *mask, int64_t batch, int64_t length,
                                               const rf_answer_options *options, int64_t top,
                                               rf_span *spans, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
