/* Small models for tests, made from a few numbers. */
#ifndef TESTS_MODEL_SMALL_MODEL_H
#define TESTS_MODEL_SMALL_MODEL_H

#include "model/model.h"

typedef struct small_model {
    const char *layers; /* JSON list: "\"local\", \"lsh\"" */
    int hidden, heads, head_width, feed_forward, vocabulary;
    int chunk; /* of both kinds */
    int rounds, buckets;
    int axis0, axis1;   /* positions = axis0 * axis1; the widths are hidden / 4 and the rest */
    double dropout;     /* everywhere */
    const char *stream; /* "fixed32" or "float32" */
    int threads;
} small_model;

extern const small_model small_model_default;
/* A model with random weights from `seed`; fails the test if it cannot be made. The caller destroys
 * it. */
rf_model *small_model_create(const small_model *small, uint64_t seed);
/* The same with `count` layers, local and lsh in turn. */
rf_model *small_model_of_depth(const small_model *small, int count, uint64_t seed);
/* batch x length random tokens, in memory that the caller releases with rf_release. */
int32_t *small_model_tokens(const rf_model *model, int64_t count, uint64_t seed);

#endif
