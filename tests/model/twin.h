/* The double oracle of a model, with the model's own weights and rotations: for comparing loss and
 * gradients of the two. */
#ifndef TESTS_MODEL_TWIN_H
#define TESTS_MODEL_TWIN_H

#include "model/model.h"
#include "oracle/model.h"

enum { TWIN_LAYERS = 16 };

typedef struct twin {
    const rf_model *model;
    double *block;                /* the weights, in the layout of a block */
    double *rotations;            /* [heads, head width, rounds, columns] */
    double *logits;               /* of the last call of twin_forward */
    double *buckets[TWIN_LAYERS]; /* of that call: [batch, heads, rounds, length] */
    oracle_model oracle;          /* masks, targets and the like may be put in */
} twin;

/* ids [batch, length] are borrowed, as the model is. The twin must stay where it is. */
void twin_open(twin *t, const rf_model *model, int64_t batch, int64_t length, const int32_t *ids);
void twin_close(twin *t);
/* The loss; hashes anew. */
double twin_forward(twin *t);
/* A runner's hook, whose user is a twin: buckets as in the twin's last forward. */
rf_status twin_give_buckets(void *user, int64_t layer, int64_t first_head, const rf_tensor *buckets,
                            rf_error *error);
/* How far gradients [block] are from the slope of the twin's loss along a random direction, its
 * buckets held fixed, as a share of their norm. */
double twin_gradient_error(twin *t, const float *gradients, uint64_t seed);

#endif
