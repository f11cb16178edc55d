/* A call of rf_generate, worked out: prompts as ids, how long each text may get, what ends it. */
#ifndef RF_GENERATE_REQUEST_H
#define RF_GENERATE_REQUEST_H

#include "model/model.h"
#include "reformer/generate.h"
#include "tokenizer/tokenizer.h"

enum { RF_MOST_LIKELIEST = 1000 }; /* tokens that are told of one place */

typedef struct rf_request_prompt {
    int32_t *ids; /* [count], owned */
    int64_t count;
    int64_t limit;    /* new tokens at most */
    bool starts_text; /* there was nothing in it: ids are what texts begin after */
} rf_request_prompt;

/* Start from {0}; rf_request_close after any outcome. */
typedef struct rf_request {
    rf_model *model;
    const rf_generate_options *options; /* borrowed */
    rf_tokenizer *tokenizer;
    rf_request_prompt *prompts; /* [prompt_count], owned */
    int64_t prompt_count;
    int64_t texts;    /* to hand out of each prompt */
    int64_t tries;    /* to write of each prompt: more where the best are wanted */
    int64_t beams;    /* 1: no beam search */
    int64_t capacity; /* tokens that a sequence of the session has to hold */
    int64_t longest;  /* tokens of a prompt and its new ones, at most */
    bool has_scores;  /* log-probabilities are wanted */
} rf_request;

/* Check the options and work out the prompts. RF_ERR_ARGUMENT by name for what can not be. */
RF_MUST_CHECK rf_status rf_request_open(rf_request *request, rf_model *model,
                                        const rf_generate_options *options, rf_error *error);
/* Release what open took. */
void rf_request_close(rf_request *request);
/* Whether a text ends with this token: one of those that were asked for, else the model's, which in
 * models of bytes would be an ordinary byte, and is none. */
bool rf_request_is_end(const rf_request *request, int32_t token);
/* The tokenizer of a model; a model that is being trained has its files, but no folder yet. */
RF_MUST_CHECK rf_status rf_request_tokenizer(const rf_model *model, rf_tokenizer **tokenizer,
                                             rf_error *error);

#endif
