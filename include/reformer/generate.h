/* Generation: a session keeps caches so that one new token costs the same at any context length. */
#ifndef REFORMER_GENERATE_H
#define REFORMER_GENERATE_H

#include "reformer/model.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_session rf_session;

typedef struct rf_session_options {
    int64_t batch; /* sequences side by side, each with its own context; 0 = 1 */
    int64_t
        capacity;  /* tokens a sequence may reach, prompt included; at most rf_model_max_length */
    uint64_t seed; /* of the rotations, kept for the life of the session (not used where config.json
                      has a hash_seed) */
    rf_log log;
} rf_session_options;

/* The model is borrowed and must outlive the session. All memory of caches and steps is taken here;
 * a prompt takes that of one forward pass and gives it back. num_buckets null is resolved here, in
 * the model. Errors: RF_ERR_ARGUMENT, RF_ERR_CONFIG, RF_ERR_MEMORY. */
RF_API RF_MUST_CHECK rf_status rf_session_create(rf_model *model, const rf_session_options *options,
                                                 rf_session **session, rf_error *error);
RF_API void rf_session_destroy(rf_session *session); /* NULL allowed */
/* Append tokens to every sequence; on an empty session a prompt of any length runs through the
 * training kernels. ids   [batch, count] mask  [batch, count], 1 keep, 0 never attended to
 * (positions still count); NULL = all kept; only with the first append */
RF_API RF_MUST_CHECK rf_status rf_session_append(rf_session *session, const int32_t *ids,
                                                 const uint8_t *mask, int64_t count,
                                                 rf_error *error);
/* Begin one sequence, with a prompt of its own length; what it held before is forgotten and the
 * others stay as they are. Every sequence needs its prompt before a token can be appended to all.
 * ids   [count] */
RF_API RF_MUST_CHECK rf_status rf_session_start_row(rf_session *session, int64_t row,
                                                    const int32_t *ids, int64_t count,
                                                    rf_error *error);
/* Scores of the next token of sequence `row`: [vocabulary], valid until the next append. NULL:
 * nothing was appended, or no such row. */
RF_API const float *rf_session_logits(const rf_session *session, int64_t row);
RF_API int64_t rf_session_length(const rf_session *session); /* of the longest sequence */
/* Which tokens the last appended token attends to in one layer, head and round (local layers: round
 * 0): writes at most `limit` token positions in window order, returns how many there are (-1: not
 * after a one-token append). For tests and inspection. */
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
    /* Rules that need the text on the host (docs/generation.md, "Sampling") */
    double presence_penalty;   /* taken from the score of what is among the new tokens; 0 = off */
    double frequency_penalty;  /* taken from it for each time that it is; 0 = off */
    int64_t no_repeat_ngram;   /* no run of so many tokens comes twice in the context; 0 = off */
    const rf_logit_bias *bias; /* [bias_count] */
    size_t bias_count;
} rf_sampling;
RF_API void
rf_sampling_default(rf_sampling *sampling); /* temperature 1, everything else off, seed 0 */

typedef struct rf_prompt_text {
    const uint8_t *bytes; /* tokenised with the model's tokenizer */
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
    const uint8_t *bytes; /* [size] what it stands for */
    size_t size;
    double log_probability;           /* 0 where not asked for */
    const rf_likely_token *likeliest; /* [likeliest_count] of its place, best first */
    int64_t likeliest_count;
} rf_generated_token;

typedef enum rf_text_end {
    RF_TEXT_END_LENGTH, /* as many tokens as were asked for */
    RF_TEXT_END_TOKEN,  /* an end token, which is its last one */
    RF_TEXT_END_STOP    /* a stop string */
} rf_text_end;

typedef struct rf_generated_text {
    int64_t sample, prompt_tokens, new_tokens;
    rf_text_end end;
    double log_probability; /* the sum over its new tokens; 0 where not asked for */
    double score;           /* of a beam */
} rf_generated_text;

typedef enum rf_early_stopping { /* when a beam search is over, as Hugging Face's early_stopping */
                                 RF_EARLY_STOPPING_OFF,  /* false: what goes on is not likely to get
                                                            better than what is finished */
                                 RF_EARLY_STOPPING_ON,   /* true: as many as beams are finished */
                                 RF_EARLY_STOPPING_NEVER /* "never": it can not get better */
} rf_early_stopping;

enum { RF_MAX_END_TOKENS = 16 };

/* Texts are numbered prompt after prompt: text s of prompt p is sample p x samples + s. */
typedef struct rf_generate_options {
    const uint8_t *prompt; /* bytes; tokenised with the model's tokenizer */
    size_t prompt_size;
    const rf_prompt_text *prompts; /* [prompt_count] instead of that one, of any lengths */
    size_t prompt_count;
    int64_t max_new_tokens;
    int64_t max_length; /* tokens of a text and its prompt, at most; 0 = any */
    int64_t samples;    /* 0 = 1; of a beam search: the best so many beams */
    int64_t best_of;    /* write so many for each prompt, hand out those with the highest mean
                           log-probability; 0 = as many as samples */
    int64_t batch;      /* texts that are written side by side at most; 0 = 16 */
    int64_t window;     /* where a text outgrows the model's positions, go on from its last so many
                           tokens; 0 = refuse */
    rf_sampling sampling;
    int64_t beams;         /* above 1: beam search; of sampling the rules only, nothing is drawn */
    double length_penalty; /* a beam's score is its log-probability / new tokens ^ this */
    rf_early_stopping early_stopping;
    int32_t end_tokens[RF_MAX_END_TOKENS]; /* [end_token_count] what ends a text; none: the model's
                                              eos token */
    size_t end_token_count;
    bool log_probabilities;  /* of new tokens */
    int64_t likeliest;       /* so many likeliest tokens of each place too */
    const char *const *stop; /* stop strings; the text ends before one */
    size_t stop_count;
    rf_log log;
    /* New bytes of sample `sample`, in order; whole UTF-8 characters where whole_characters is set.
     * Non-zero stops generation. Texts of beams and of best_of come whole, at the end. */
    int (*write)(void *user, int64_t sample, const uint8_t *bytes, size_t size);
    bool whole_characters;
    /* A new token, before its bytes; the end of a text. Non-zero stops generation; may be NULL. */
    int (*token)(void *user, const rf_generated_token *token);
    int (*finished)(void *user, const rf_generated_text *text);
    int (*should_stop)(void *user);
    void *user;
} rf_generate_options;

/* The options of a call that asks for nothing: what the model's generation_config.json says
 * (docs/generation.md, "What a model says of itself"), and for the rest 256 new tokens of one
 * sample, drawn at temperature 1. RF_ERR_FORMAT for a value there that makes no sense. */
RF_API RF_MUST_CHECK rf_status rf_generate_defaults(const rf_model *model,
                                                    rf_generate_options *options, rf_error *error);

typedef struct rf_generate_result {
    int64_t prompt_tokens, new_tokens; /* over all prompts; over all texts that were written */
    double prefill_seconds, decode_seconds;
} rf_generate_result;

/* RF_ERR_CANCELLED if a callback stopped it. An empty prompt starts from the eos token (byte
 * models: a newline). */
RF_API RF_MUST_CHECK rf_status rf_generate(rf_model *model, const rf_generate_options *options,
                                           rf_generate_result *result, rf_error *error);

typedef struct rf_score_options {
    const uint8_t *text; /* tokenised with the model's tokenizer */
    size_t size;
    uint64_t seed;     /* of the rotations (not used where config.json has a hash_seed) */
    int64_t likeliest; /* so many likeliest tokens of each place too */
    rf_log log;
    /* Each token of the text; NAN as the first one's log-probability, before which there is
     * nothing. Non-zero stops; may be NULL. */
    int (*token)(void *user, const rf_generated_token *token);
    void *user;
} rf_score_options;

typedef struct rf_score_result {
    int64_t tokens;                       /* of the text */
    int64_t scored_tokens, scored_bytes;  /* behind the first token */
    double log_probability;               /* of them, in nats */
    double bits_per_token, bits_per_byte; /* NAN where there is none to score */
} rf_score_result;

/* How likely a causal model finds a text, in one forward pass, as in training: LSH layers are those
 * of a whole sequence, not of a step. RF_ERR_ARGUMENT for a text of no token, or longer than the
 * model's positions. */
RF_API RF_MUST_CHECK rf_status rf_score(rf_model *model, const rf_score_options *options,
                                        rf_score_result *result, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
