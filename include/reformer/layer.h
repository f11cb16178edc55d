/* One attention layer by itself, for programs with arrays of their own: no model directory, no
 * tokens.
 *
 *     y = attend(norm(x)) W_output
 *
 * over x [batch, length, hidden], with norm a layer norm, queries, keys and values its products
 * with W_query, W_key and W_value, cut into heads, and attend LSH attention (Kitaev et al. 2020,
 * section 2; its keys are its queries, normalised) or local attention. It is the attention half of
 * a layer of a model, computed by the same code; to make a residual layer add x to y. Time and
 * memory grow with the length, not with its square.
 *
 *     rf_layer_options options = {.hidden = 64, .heads = 2, .chunk = 32, .before = 1, .rounds = 2};
 *     rf_layer *layer = NULL;
 *     rf_layer_create(&options, &layer, &error);
 *     rf_layer_forward(layer, x, NULL, batch, length, y, &error);
 *     rf_layer_backward(layer, x, NULL, batch, length, y_gradient, x_gradient, &error);
 *     rf_layer_gradient(layer, RF_LAYER_VALUE, gradient, &error);
 *     rf_layer_destroy(layer);
 *
 * examples/layer trains one. Not to be used by two threads at once. */
#ifndef REFORMER_LAYER_H
#define REFORMER_LAYER_H

#include "reformer/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_layer rf_layer;

typedef struct rf_layer_options {
    const char *kind; /* "lsh" (NULL), "local", or without chunks and in time of the length's square
                         "full", and "full_shared", which LSH approximates */
    int64_t hidden, heads;
    int64_t head_width;    /* 0: hidden / heads */
    int64_t chunk;         /* tokens of a chunk, at least 1 */
    int64_t before, after; /* chunks seen beside a token's own */
    bool causal;           /* no token sees a later one */
    int64_t rounds;        /* of hashing; 0: 1 */
    int64_t buckets;       /* even; 0: about twice the length by the chunk, by the first length */
    uint64_t seed;         /* of the first weights and of the hashing */
    const char *device, *precision, *kernels; /* as in rf_model_options */
    int threads;
} rf_layer_options;

/* The caller destroys. RF_ERR_ARGUMENT, RF_ERR_MEMORY, RF_ERR_DEVICE; *layer is NULL then. */
RF_API RF_MUST_CHECK rf_status rf_layer_create(const rf_layer_options *options, rf_layer **layer,
                                               rf_error *error);
RF_API void rf_layer_destroy(rf_layer *layer); /* NULL allowed */

/* Matrices are [outputs, inputs], heads one after the other, as Hugging Face's. */
typedef enum rf_layer_weight {
    RF_LAYER_NORM_GAIN, /* [hidden] */
    RF_LAYER_NORM_BIAS, /* [hidden] */
    RF_LAYER_QUERY,     /* [heads * head_width, hidden]; of queries and keys in LSH and full_shared
                           layers */
    RF_LAYER_KEY,       /* [heads * head_width, hidden]; none where keys are queries */
    RF_LAYER_VALUE,     /* [heads * head_width, hidden] */
    RF_LAYER_OUTPUT     /* [hidden, heads * head_width] */
} rf_layer_weight;
enum { RF_LAYER_WEIGHTS = 6 };
/* Numbers in a weight; 0: the layer has none. */
RF_API int64_t rf_layer_weight_size(const rf_layer *layer, rf_layer_weight weight);
/* values: as many as rf_layer_weight_size says, the caller's. */
RF_API RF_MUST_CHECK rf_status rf_layer_get_weight(const rf_layer *layer, rf_layer_weight weight,
                                                   float *values, rf_error *error);
RF_API RF_MUST_CHECK rf_status rf_layer_set_weight(rf_layer *layer, rf_layer_weight weight,
                                                   const float *values, rf_error *error);

/* y [batch, length, hidden] from x [batch, length, hidden]; mask [batch, length], 1 keep, 0: is
 * attended to by nobody, or NULL. Any length. Arrays lie on the host, whatever the device.
 * RF_ERR_NUMERIC where y is not finite. */
RF_API RF_MUST_CHECK rf_status rf_layer_forward(rf_layer *layer, const float *x,
                                                const uint8_t *mask, int64_t batch, int64_t length,
                                                float *y, rf_error *error);
/* x_gradient [batch, length, hidden], written, from y_gradient [batch, length, hidden]; the
 * gradients of the weights are added to what is there. The forward of x is computed again, so that
 * nothing is kept in between. */
RF_API RF_MUST_CHECK rf_status rf_layer_backward(rf_layer *layer, const float *x,
                                                 const uint8_t *mask, int64_t batch, int64_t length,
                                                 const float *y_gradient, float *x_gradient,
                                                 rf_error *error);
/* The sum of a weight's gradients since the layer was made or they were last forgotten. */
RF_API RF_MUST_CHECK rf_status rf_layer_gradient(const rf_layer *layer, rf_layer_weight weight,
                                                 float *values, rf_error *error);
RF_API RF_MUST_CHECK rf_status rf_layer_forget_gradients(rf_layer *layer, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
