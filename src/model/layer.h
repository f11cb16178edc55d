/* What a layer by itself consists of. */
#ifndef RF_MODEL_LAYER_H
#define RF_MODEL_LAYER_H

#include "model/model.h"
#include "reformer/layer.h"

struct rf_layer {
    rf_model *model;
    uint64_t seed;
    rf_workspace workspace;
    float *gradients; /* device, laid out like the parameters; NULL: none so far */
};

#endif
