/* All parameters of a model in one block, laid out from one table of name and shape, so that
 * saving, clipping, averaging and zeroing are loops over one block. Gradients and moments are
 * blocks of the same layout. Parameters with weight decay come first, frozen ones last. Names are
 * Hugging Face's (spec 2.1), with the prefix "reformer." except in the bare model. Each starts at a
 * multiple of 64 floats; the gap is zero.
 */
#ifndef RF_MODEL_PARAMETERS_H
#define RF_MODEL_PARAMETERS_H

#include "model/config.h"

typedef enum rf_parameter_role {
    RF_PARAMETER_WORD,
    RF_PARAMETER_POSITION,
    RF_PARAMETER_TOKEN_TYPE, /* only where the configuration has a table of them */
    RF_PARAMETER_ATTENTION_NORM_GAIN,
    RF_PARAMETER_ATTENTION_NORM_BIAS,
    RF_PARAMETER_QUERY, /* query_key in lsh layers */
    RF_PARAMETER_KEY,   /* local layers only */
    RF_PARAMETER_VALUE,
    RF_PARAMETER_ATTENTION_OUTPUT,
    RF_PARAMETER_FEED_FORWARD_NORM_GAIN,
    RF_PARAMETER_FEED_FORWARD_NORM_BIAS,
    RF_PARAMETER_INNER_WEIGHT,
    RF_PARAMETER_INNER_BIAS,
    RF_PARAMETER_OUTER_WEIGHT,
    RF_PARAMETER_OUTER_BIAS,
    RF_PARAMETER_FINAL_NORM_GAIN,
    RF_PARAMETER_FINAL_NORM_BIAS,
    RF_PARAMETER_HEAD_WEIGHT, /* of the two language models */
    RF_PARAMETER_HEAD_BIAS,
    RF_PARAMETER_CLASSIFIER_WEIGHT, /* classifiers: the dense layer, then the labels */
    RF_PARAMETER_CLASSIFIER_BIAS,
    RF_PARAMETER_LABEL_WEIGHT,
    RF_PARAMETER_LABEL_BIAS,
    RF_PARAMETER_SPAN_WEIGHT, /* question answering: start, end; every bias follows its weight */
    RF_PARAMETER_SPAN_BIAS
} rf_parameter_role;

typedef struct rf_parameter {
    char *name; /* "reformer.encoder.layers.0.attention.layer_norm.weight"; owned */
    rf_parameter_role role;
    int64_t layer; /* -1: not of a layer */
    int axis;      /* position tables: which axis, else 0 */
    int rank;
    int64_t shape[RF_MAX_RANK];
    int64_t count;  /* elements */
    int64_t offset; /* elements from the start of a block */
    bool decays;    /* weight decay applies: not for norms, biases and positions */
    bool frozen;    /* keeps its values in training */
} rf_parameter;

typedef struct rf_parameters {
    rf_parameter *items; /* in Hugging Face's order of names within a model, not of offset; owned */
    int64_t items_count;
    int64_t total;        /* parameters, without gaps */
    int64_t block_count;  /* floats in a block, with gaps */
    int64_t decay_count;  /* floats of a block that decay: [0, decay_count) */
    int64_t frozen_count; /* floats of a block that are frozen: the last so many */
} rf_parameters;

/* The table of the model that the configuration describes. On failure *parameters is zeroed. */
RF_MUST_CHECK rf_status rf_parameters_create(const rf_config *config, rf_parameters *parameters,
                                             rf_error *error);
void rf_parameters_clear(rf_parameters *parameters);
/* Freeze what one of `patterns` names, between which there are commas: the names of parameters,
 * with or without "reformer.", where * stands for any characters and ? for one. Moves parameters
 * within blocks, whose size stays: to be called before there are values. RF_ERR_ARGUMENT, with the
 * nearest names, for a pattern that names nothing, and where nothing would be left to train. */
RF_MUST_CHECK rf_status rf_parameters_freeze(rf_parameters *parameters, const char *patterns,
                                             rf_error *error);
/* Offsets and counts of a block from what decays and what is frozen. */
void rf_parameters_lay_out(rf_parameters *parameters);
/* The parameter of that role; layer -1 and axis 0 where they do not apply; NULL if the model has
 * none. */
const rf_parameter *rf_parameters_find(const rf_parameters *parameters, rf_parameter_role role,
                                       int64_t layer, int axis);
const rf_parameter *rf_parameters_named(const rf_parameters *parameters,
                                        const char *name); /* with or without "reformer." */
/* The role of what a model of another class may have or lack, by its name (with or without
 * "reformer."), whatever the table describes: a head's parameter, or the table of token types;
 * false: neither. */
bool rf_parameter_optional_role(const char *name, rf_parameter_role *role);
/* Its tensor within a block (device memory; block NULL gives a tensor without data): rank as
 * stored, 2-D weights as [out, in]. */
rf_tensor rf_parameter_tensor(const rf_parameter *parameter, float *block);
/* The same within a block of another type, laid out alike. */
rf_tensor rf_parameter_tensor_as(const rf_parameter *parameter, void *block, rf_dtype dtype);

/* Random values into a host block. "huggingface": spec 2.4. "reformer": our default, see
 * docs/numerics.md. */
RF_MUST_CHECK rf_status rf_parameters_initialise(const rf_parameters *parameters,
                                                 const rf_config *config, const char *scheme,
                                                 uint64_t seed, float *block, rf_error *error);

#endif
