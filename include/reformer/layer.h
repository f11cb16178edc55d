/* One attention layer by itself, for programs with arrays of their own: no model directory, no
 * tokens.
 *
 *     y = attend(norm(x)) W_output
 * over x [batch, length, hidden]. norm is a layer norm; its products with W_query, W_key and
 * W_value, cut into heads, are the queries, keys and values; attend is LSH attention (Kitaev et al.
 * 2020, section 2; its keys are the normalised queries), local or full attention. This is the
 * attention half of a model's layer, computed by the same code; add x to y for a residual layer.
 * Time (except of full attention) and memory are linear in the length.
 *
 *     rf_layer_options options = {.hidden = 64, .heads = 2, .chunk = 32, .before = 1, .rounds = 2};
 *     rf_layer *layer = NULL;
 *     rf_layer_create(&options, &layer, &error);
 *     rf_layer_forward(layer, x, NULL, batch, length, y, &error);
 *     rf_layer_backward(layer, x, NULL, batch, length, y_gradient, x_gradient, &error);
 *     rf_layer_gradient(layer, RF_LAYER_VALUE, gradient, &error);
 *     rf_layer_destroy(layer);
 * examples/layer trains one. A layer must not be used by two threads at once. */
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
    const char *kind; /* "lsh" (NULL), "local", "full", or "full_shared" (keys are queries: what LSH
                         approximates). The full kinds have no chunks and take quadratic time */
    int64_t hidden, heads;
    int64_t head_width;    /* 0: hidden / heads */
    int64_t chunk;         /* tokens per chunk, at least 1 */
    int64_t before, after; /* chunks that a token sees besides its own */
    bool causal;           /* tokens do not see later ones */
    int64_t rounds;        /* hash rounds; 0: 1 */
    int64_t buckets;       /* even; 0: about twice the number of chunks of the first input */
    uint64_t seed;         /* for initial weights and hashing */
    const char *device, *precision, *kernels; /* as in rf_model_options */
    int threads;
} rf_layer_options;

/* Create a layer with random weights. The caller destroys *layer. Errors: RF_ERR_ARGUMENT,
 * RF_ERR_MEMORY, RF_ERR_DEVICE. */
RF_API RF_MUST_CHECK rf_status rf_layer_create(const rf_layer_options *options, rf_layer **layer,
                                               rf_error *error);
RF_API void rf_layer_destroy(rf_layer *layer); /* NULL allowed */

/* The weights. Matrices are [outputs, inputs], heads one after the other, as in Hugging Face's
 * files. */
typedef enum rf_layer_weight {
    RF_LAYER_NORM_GAIN, /* [hidden] */
    RF_LAYER_NORM_BIAS, /* [hidden] */
    RF_LAYER_QUERY,     /* [heads * head_width, hidden]; queries and keys in LSH and full_shared
                           layers */
    RF_LAYER_KEY,       /* [heads * head_width, hidden]; absent where keys are queries */
    RF_LAYER_VALUE,     /* [heads * head_width, hidden] */
    RF_LAYER_OUTPUT     /* [hidden, heads * head_width] */
} rf_layer_weight;
enum { RF_LAYER_WEIGHTS = 6 };
/* Number of elements of a weight; 0: the layer does not have it. */
RF_API int64_t rf_layer_weight_size(const rf_layer *layer, rf_layer_weight weight);
/* Copy a weight to or from values [rf_layer_weight_size]. RF_ERR_ARGUMENT for a weight that the
 * layer does not have. */
RF_API RF_MUST_CHECK rf_status rf_layer_get_weight(const rf_layer *layer, rf_layer_weight weight,
                                                   float *values, rf_error *error);
RF_API RF_MUST_CHECK rf_status rf_layer_set_weight(rf_layer *layer, rf_layer_weight weight,
                                                   const float *values, rf_error *error);

/* Forward pass: y [batch, length, hidden], written, from x [batch, length, hidden]. mask [batch,
 * length]: 1 keep, 0 never attended to; NULL = all kept. Any length. Arrays are in host memory,
 * whatever the device. Errors: RF_ERR_ARGUMENT, RF_ERR_MEMORY, RF_ERR_DEVICE; RF_ERR_NUMERIC if y
 * is not finite. */
RF_API RF_MUST_CHECK rf_status rf_layer_forward(rf_layer *layer, const float *x,
                                                const uint8_t *mask, int64_t batch, int64_t length,
                                                float *y, rf_error *error);
/* Backward pass: x_gradient [batch, length, hidden], written, from y_gradient [batch, length,
 * hidden]. Gradients of the weights are added to those already accumulated. The forward pass of x
 * is computed again, so nothing needs to be kept in between. Errors as in the forward pass. */
RF_API RF_MUST_CHECK rf_status rf_layer_backward(rf_layer *layer, const float *x,
                                                 const uint8_t *mask, int64_t batch, int64_t length,
                                                 const float *y_gradient, float *x_gradient,
                                                 rf_error *error);
/* Copy to values [rf_layer_weight_size] the gradient of a weight, summed since the layer was
 * created or rf_layer_forget_gradients was called, which sets all gradients to zero. */
RF_API RF_MUST_CHECK rf_status rf_layer_gradient(const rf_layer *layer, rf_layer_weight weight,
                                                 float *values, rf_error *error);
RF_API RF_MUST_CHECK rf_status rf_layer_forget_gradients(rf_layer *layer, rf_error *error);

#ifdef __cplusplus
}
#endif
#endif
