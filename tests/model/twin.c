/* The double oracle of a model: slopes are central differences of its loss. */
#include "twin.h"

#include "model/pass.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>

static double *weights_of(const rf_model *model)
{
    int64_t count = model->parameters.block_count;
    size_t size = (size_t)count * sizeof(float);
    float *values = malloc(size);
    double *block = oracle_fresh(count);
    assert_non_null(values);
    assert_ok(rf_device_download(model->device, values, model->values, size, error));
    for (int64_t i = 0; i < count; i++) {
        block[i] = (double)values[i];
    }
    free(values);
    return block;
}

static double *rotations_of(const rf_config *config)
{
    int64_t columns = config->bucket_factors > 0 ? rf_config_rotation_columns(config) : 0;
    int64_t count = config->heads * config->head_width * config->rounds * columns;
    double *rotations = oracle_fresh(count + 1);
    float *drawn = calloc((size_t)count + 1, sizeof *drawn);
    assert_non_null(drawn);
    if (count > 0) {
        rf_plan_lsh_seeded_rotations(config, config->rounds, drawn);
    }
    for (int64_t i = 0; i < count; i++) {
        rotations[i] = (double)drawn[i];
    }
    free(drawn);
    return rotations;
}

void twin_open(twin *t, const rf_model *model, int64_t batch, int64_t length, const int32_t *ids)
{
    const rf_config *config = &model->config;
    const int64_t widest =
        config->labels > config->vocabulary ? config->labels : config->vocabulary;
    assert_true(config->layers <= TWIN_LAYERS && widest >= 2);
    *t = (twin){.model = model,
                .block = weights_of(model),
                .rotations = rotations_of(config),
                .logits = oracle_fresh(batch * length * widest)};
    for (int64_t i = 0; i < config->layers; i++) {
        t->buckets[i] = oracle_fresh(config->heads * config->rounds * batch * length);
    }
    t->oracle = (oracle_model){.config = config,
                               .parameters = &model->parameters,
                               .block = t->block,
                               .batch = batch,
                               .length = length,
                               .rounds = config->rounds,
                               .ids = ids,
                               .rotations = t->rotations,
                               .hashed = t->buckets};
}

void twin_close(twin *t)
{
    for (int i = 0; i < TWIN_LAYERS; i++) {
        free(t->buckets[i]);
    }
    free(t->block);
    free(t->rotations);
    free(t->logits);
}

double twin_forward(twin *t)
{
    return oracle_model_forward(&t->oracle, t->logits);
}

rf_status twin_give_buckets(void *user, int64_t layer, int64_t first_head, const rf_tensor *buckets,
                            rf_error *error)
{
    const twin *t = user;
    const int64_t each = buckets->shape[2] * buckets->shape[3];
    int32_t *given = malloc(rf_tensor_size(buckets));
    assert_non_null(given);
    for (int64_t i = 0; i < rf_tensor_count(buckets); i++) {
        int64_t b = i / each / buckets->shape[1];
        int64_t h = i / each % buckets->shape[1];
        int64_t from = (b * t->model->config.heads + first_head + h) * each + i % each;
        given[i] = (int32_t)t->buckets[layer][from];
    }
    rf_status status =
        rf_device_upload(t->model->device, buckets->data, given, rf_tensor_size(buckets), error);
    free(given);
    return status;
}

static double slope(const twin *t, const double *direction)
{
    const double reach = 1e-6;
    const int64_t count = t->model->parameters.block_count;
    double losses[2];
    double *moved = oracle_fresh(count);
    oracle_model fixed = t->oracle;
    fixed.exact = true;
    fixed.buckets = (const double *const *)t->buckets;
    fixed.hashed = NULL;
    fixed.block = moved;
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < count; i++) {
            moved[i] = t->block[i] + (side == 0 ? reach : -reach) * direction[i];
        }
        losses[side] = oracle_model_forward(&fixed, t->logits);
    }
    free(moved);
    return (losses[0] - losses[1]) / (2.0 * reach);
}

double twin_gradient_error(twin *t, const float *gradients, uint64_t seed)
{
    const rf_random_key key = {.seed = seed, .purpose = RF_PURPOSE_TEST};
    const int64_t count = t->model->parameters.block_count;
    double *direction = oracle_fresh(count);
    double norm = 0.0;
    double along = 0.0;
    for (int64_t i = 0; i < count; i++) {
        norm += (double)gradients[i] * (double)gradients[i];
        direction[i] = (double)rf_random_normal(&key, (uint64_t)i);
        along += direction[i] * (double)gradients[i];
    }
    assert_true(norm > 0.0);
    double apart = fabs(along - slope(t, direction)) / sqrt(norm);
    free(direction);
    return apart;
}
