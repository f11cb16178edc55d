/* Small causal models with random weights for the tests of generation. */
#ifndef TESTS_GENERATE_SMALL_MODEL_H
#define TESTS_GENERATE_SMALL_MODEL_H

#include "devices.h"
#include "model/model.h"
#include "support.h"

typedef struct small_model {
    const char *layers;    /* JSON of attn_layers */
    int chunk, before;     /* of both kinds */
    const char *buckets;   /* JSON of num_buckets */
    const char *hash_seed; /* JSON of hash_seed */
    int rounds, vocabulary;
    const char *more;      /* further keys, each with a comma before it */
    const char *precision; /* NULL: "f32" */
} small_model;

/* 256 positions, hidden 32, 2 heads of 8; the caller destroys. stream: "fixed32" or "float32". */
rf_model *create_small_model(const small_model *shape, const char *stream, int threads);

#endif
