/* What is kept of one head of one layer for one sequence. */
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

#endif
