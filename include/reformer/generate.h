/* Generation and scoring of text. rf_generate writes whole texts from prompts; a session offers the
 * same step by step, with caches that make one new token cost the same at any context length
 * (docs/generation.md). */
#ifndef REFORMER_GENERATE_H
#define REFORMER_GENERATE_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_session rf_session;

typedef struct rf_session_options {
    int64_t batch;    /* sequences, each with its own context; 0 = 1 */
    int64_t capacity; /* largest length of a sequence in tokens, prompt included; at most
                             rf_model_max_length */
    uint64_t seed;    /* for the rotations, which stay the same for the session's life (not used
                         where config.json has a hash_seed) */
    rf_log log;
} rf_session_options;

/* Create a session. The model is borrowed and must outlive it. All memory of caches and steps is
 * allocated here; a prompt takes that of one forward pass and gives it back. If num_buckets is null
 * in the model's configuration, it is resolved here. Errors: RF_ERR_ARGUMENT, RF_ERR_CONFIG,
 * RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_session_create(rf_model *model, const rf_session_options *options,
                                                 rf_session **session, rf_error *error);
RF_API void rf_session_destroy(rf_session *session); /* NULL allowed */
/* Append tokens to every sequence. On an empty session a prompt of any length runs through the
 * training kernels.
 *   ids   [batch, count]
 *   mask  [batch, count], 1 keep, 0 never attended to (positions still count); NULL = all kept;
 *         only with the first append
 *
 * Errors: RF_ERR_ARGUMENT (also beyond the capacity); RF_ERR_RANGE if a
 * stream leaves its range. */
RF_API RF_MUST_CHECK rf_status rf_session_append(rf_session *session, const int32_t *ids,
                                                 const uint8_t *mask, int64_t count,
                                                 rf_error *error);
/* Start sequence `row` with its own prompt, ids [count]. What it held before is forgotten; the
 * others do not change. Every sequence needs a prompt before a token can be appended to all. Errors
 * as above. */
RF_API RF_MUST_CHECK rf_status rf_session_start_row(rf_session *session, int64_t row,
                                                    const int32_t *ids, int64_t count,
                                                    rf_error *error);
/* Scores of the next token of sequence `row`: [vocabulary], owned by the session, valid until the
 * next append. NULL if nothing was appended or there is no such row. */
RF_API const float *rf_session_logits(const rf_session *session, int64_t row);
RF_API int64_t rf_session_length(const rf_session *session); /* of the longest sequence */
/* Which tokens the last appended token attends to in one layer, head and round (local layers: round
 * 0). Writes at most `limit` positions to tokens [limit], in window order, and returns how many
 * there are; -1 if they are not known (only a one-token append records them). For tests
 * and inspection. */
RF_API int64_t rf_session_attended(const rf_session *session, int64_t row, int64_t layer,
                                   int64_t head, int64_t round, int64_t *tokens, int64_t limit);

typedef struct rf_logit_bias {
    int32_t token;
    float value; /* added to its score */
} rf_logit_bias;

typedef struct rf_sampling {
    double temperature;        /* 0, or less than 1e-20 = greedy */
    int64_t top_k;             /* 0 = off */
    double top_p;              /* 1 = off */
    double min_p;              /* 0 = off */
    double repetition_penalty; /* 1 = off; 1e-6 to 1e6 */
    uint64_t seed;
    /* Rules that need the text on the host (docs/generation.md, "Sampling"): */
    double presence_penalty;   /* subtracted from scores of generated tokens; 0 = off */
    double frequency_penalty;  /* subtracted for each time a token was generated; 0 = off */
    int64_t no_repeat_ngram;   /* no run of so many tokens occurs twice in the context; 0 = off */
    const rf_logit_bias *bias; /* [bias_count] */
    size_t bias_count;
} rf_sampling;
RF_API void
rf_sampling_default(rf_sampling *sampling); /* temperature 1, everything else off, seed 0 */

typedef struct rf_prompt_text {
    const uint8_t *bytes; /* [size], tokenised with the model's tokenizer */
    size_t size;
} rf_prompt_text;

typedef struct rf_likely_token {
    int32_t id;
    double log_probability;
} rf_likely_token;

/* A new token of a text. Log-probabilities are the model's own, before all rules and filters. */
typedef struct rf_generated_token {
    int64_t sample, number; /* number: 0 is the first new one */
    int32_t id;
    const uint8_t *bytes; /* [size] the bytes it stands for */
    size_t size;
    double log_probability;           /* 0 if not requested */
    const rf_likely_token *likeliest; /* [likeliest_count] at its place, best first */
    int64_t likeliest_count;
} rf_generated_token;

typedef enum rf_text_end {
    RF_TEXT_END_LENGTH, /* the requested number of tokens */
    RF_TEXT_END_TOKEN,  /* an end token, which is the text's last */
    RF_TEXT_END_STOP    /* a stop string */
} rf_text_end;

typedef struct rf_generated_text {
    int64_t sample, prompt_tokens, new_tokens;
    rf_text_end end;
    double log_probability; /* the sum over its new tokens; 0 if not requested */
    double score;           /* of a beam */
} rf_generated_text;

/* When a beam search ends, as Hugging Face's early_stopping. */
typedef enum rf_early_stopping {
    RF_EARLY_STOPPING_OFF,  /* false: open beams are unlikely to beat finished ones */
    RF_EARLY_STOPPING_ON,   /* true: as many texts as beams are finished */
    RF_EARLY_STOPPING_NEVER /* "never": open beams cannot become better */
} rf_early_stopping;

enum { RF_MAX_END_TOKENS = 16 };

/* Texts are numbered prompt after prompt: text s of prompt p is sample p x samples + s. */
typedef struct rf_generate_options {
    const uint8_t *prompt; /* [prompt_size] bytes, tokenised with the model's tokenizer */
    size_t prompt_size;
    const rf_prompt_text *prompts; /* [prompt_count], of any lengths; used instead of `prompt` */
    size_t prompt_count;
    int64_t max_new_tokens;
    int64_t max_length; /* largest number of tokens of prompt and text together; 0 = any */
    int64_t samples;    /* texts per prompt; 0 = 1; of a beam search: the best beams to return */
    int64_t best_of;    /* generate so many per prompt and return those with the highest mean
                           log-probability; 0 = as many as samples */
    int64_t batch;      /* largest number of texts generated side by side; 0 = 16 */
    int64_t window; /* when a text outgrows the model's positions, continue from its last so many
                       tokens; 0 = refuse */
    rf_sampling sampling;
    int64_t beams;         /* above 1: beam search; of `sampling`, only the rules apply */
    double length_penalty; /* a beam's score is its log-probability / new tokens ^ this */
    rf_early_stopping early_stopping;
    int32_t end_tokens[RF_MAX_END_TOKENS]; /* [end_token_count] tokens that end a text; none: the
                                              model's eos token */
    size_t end_token_count;
    bool log_probabilities;  /* report those of new tokens */
    int64_t likeliest;       /* also report so many likeliest tokens at each place */
    const char *const *stop; /* stop strings; the text ends before one */
    size_t stop_count;
    rf_log log;
    /* Callbacks; all may be NULL, and a non-zero result stops generation.
     * write: new bytes [size] of sample `sample`, in order; only whole UTF-8 characters if
     * whole_characters is set. Texts of beams and of best_of come whole, at the end. */
    int (*write)(void *user, int64_t sample, const uint8_t *bytes, size_t size);
    bool whole_characters;
    /* token: a new token, before its bytes. finished: the end of a text. */
    int (*token)(void *user, const rf_generated_token *token);
    int (*finished)(void *user, const rf_generated_text *text);
    int (*should_stop)(void *user);
    void *user;
} rf_generate_options;

/* Set *options to the defaults: what the model's generation_config.json says (docs/generation.md,
 * "What a model says of itself"), and otherwise 256 new tokens of one sample, drawn at
 * temperature 1. RF_ERR_FORMAT for an invalid value in that file. */
RF_API RF_MUST_CHECK rf_status rf_generate_defaults(const rf_model *model,
                                                    rf_generate_options *options, rf_error *error);

typedef struct rf_generate_result {
    int64_t prompt_tokens, new_tokens; /* over all prompts; over all texts generated */
    double prefill_seconds, decode_seconds;
} rf_generate_result;

/* Generate texts. An empty prompt starts from the eos token (byte models: a newline). result may be
 * NULL. Errors: RF_ERR_ARGUMENT, RF_ERR_CONFIG, RF_ERR_MEMORY, RF_ERR_DEVICE; RF_ERR_NUMERIC if
 * scores are not finite; RF_ERR_RANGE if a stream leaves its range; RF_ERR_CANCELLED if a callback
 * stopped it. */
RF_API RF_MUST_CHECK rf_status rf_generate(rf_model *model, const rf_generate_options *options,
                                           rf_generate_result *result, rf_error *error);

typedef struct rf_score_options {
    const uint8_t *text; /* [size], tokenised with the model's tokenizer */
    size_t size;
    uint64_t seed;     /* for the rotations (not used where config.json has a hash_seed) */
    int64_t likeliest; /* also report so many likeliest tokens at each place */
    rf_log log;
    /* Called for each token of the text; the log-probability of the first, which nothing precedes,
     * is NAN. A non-zero result stops; may be NULL. */
    int (*token)(void *user, const rf_generated_token *token);
    void *user;
} rf_score_options;

typedef struct rf_score_result {
    int64_t tokens;                       /* of the text */
    int64_t scored_tokens, scored_bytes;  /* after the first token */
    double log_probability;               /* their sum, in nats */
    double bits_per_token, bits_per_byte; /* NAN where there is none to score */
} rf_score_result;

/* Score a text with a causal model in one forward pass, as in training: LSH layers attend as for a
 * whole sequence, not as in a generation step. RF_ERR_ARGUMENT for a text without tokens or longer
 * than the model's positions; other errors as in rf_generate. */
RF_API RF_MUST_CHECK rf_status rf_score(rf_model *model, const rf_score_options *options,
                                        rf_score_result *result, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
