/* What is kept of one head of one layer for one sequence, and passes that show every head. */
#ifndef RF_MODEL_ATTENTION_WEIGHTS_H
#define RF_MODEL_ATTENTION_WEIGHTS_H

#include "model/model.h"
#include "reformer/inside.h"

struct rf_attention {
    rf_attention_place place;
    rf_layer_kind kind;
    rf_attention_plan plan; /* of a batch of one; its tensors are absent, see below */
    int64_t width, bucket_count;
    float *query, *key, *value; /* [length, width]; key NULL where it is made of the query */
    uint8_t *mask;              /* [length], NULL: nothing is masked */
    int32_t *order;             /* [parts, slots], NULL: as written */
    int32_t *slots;             /* [parts, length], the inverse of order */
    int32_t *buckets;           /* [parts, length], NULL: nothing is hashed */
};

/* Is shown each head of each layer in turn, as the pass goes by; the attention is the visitor's to
 * change and lasts for the call. */
typedef struct rf_attention_visitor {
    rf_status (*head)(void *user, rf_attention *attention, rf_error *error);
    void *user;
} rf_attention_visitor;
/* One pass over a batch of one sequence, rotations keyed by the seed at step 0. Memory of one head,
 * and of the orders of a group of heads. */
RF_MUST_CHECK rf_status rf_model_visit_attention(rf_model *model, const rf_batch *batch,
                                                 uint64_t seed, const rf_attention_visitor *visitor,
                                                 rf_error *error);

/* attention_rehash.c: forget the rounds of a hashing head, and hash and sort its queries again in
 * `rounds` rounds whose rotations are drawn by the seed, on a CPU device. */
RF_MUST_CHECK rf_status rf_attention_rehash(rf_attention *attention, const rf_config *config,
                                            rf_device *device, uint64_t seed, int64_t rounds,
                                            rf_error *error);

#endif
