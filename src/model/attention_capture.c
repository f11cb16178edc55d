/* What heads compute with, copied to the host while a pass goes by: queries, keys, values, order,
 * masks and buckets of the heads that are asked for, or of every head in turn, shown and forgotten.
 * Memory O(length x (width + rounds)) a head. */
#include "model/attention_weights.h"

#include "base/memory.h"

#include <string.h>

enum { COPIED_ROWS = 1024 }; /* positions at a time */

typedef struct capture {
    rf_model *model;
    const rf_attention_place *places; /* [count] */
    int64_t count;
    rf_attention **attentions;           /* [count] */
    const rf_attention_visitor *visitor; /* NULL: all are kept */
} capture;

static rf_status take(const char *what, int64_t count, size_t size, void **memory, rf_error *error)
{
    return rf_allocate((size_t)count * size, what, memory, error);
}

/* One head's rows of x [1, length, heads of the group, width], as f32. */
static rf_status copy_head(rf_device *device, const rf_tensor *x, int64_t head, float *to,
                           rf_error *error)
{
    int64_t length = x->shape[1];
    int64_t width = x->shape[3];
    size_t unit = rf_dtype_size(x->dtype);
    size_t row = (size_t)(x->shape[2] * width) * unit;
    void *scratch = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate(COPIED_ROWS * row, "rows of a head", &scratch, error));
    for (int64_t first = 0; first < length; first += COPIED_ROWS) {
        int64_t count = length - first < COPIED_ROWS ? length - first : COPIED_ROWS;
        const char *from = (const char *)x->data + (size_t)first * row;
        RF_TRY_DONE(rf_device_download(device, scratch, from, (size_t)count * row, error));
        for (int64_t i = 0; i < count * width; i++) {
            size_t at = (size_t)(i / width) * row + (size_t)(head * width + i % width) * unit;
            uint16_t half = 0;
            memcpy(x->dtype == RF_BF16 ? (void *)&half : (void *)&to[first * width + i],
                   (const char *)scratch + at, unit);
            if (x->dtype == RF_BF16) {
                to[first * width + i] = rf_bf16_to_f32(half);
            }
        }
    }
done:
    rf_release(scratch);
    return status;
}

static rf_status copy_vectors(rf_device *device, const rf_tensor *x, int64_t head, const char *what,
                              float **to, rf_error *error)
{
    void *memory = NULL;
    if (rf_tensor_is_absent(x)) {
        return RF_OK;
    }
    RF_TRY(take(what, x->shape[1] * x->shape[3], sizeof(float), &memory, error));
    *to = memory;
    return copy_head(device, x, head, *to, error);
}

/* One head's part of x [1, heads of the group, rounds, n]. */
static rf_status copy_rounds(rf_device *device, const rf_tensor *x, int64_t head, const char *what,
                             int32_t **to, rf_error *error)
{
    void *memory = NULL;
    if (rf_tensor_is_absent(x)) {
        return RF_OK;
    }
    int64_t count = x->shape[2] * x->shape[3];
    RF_TRY(take(what, count, sizeof(int32_t), &memory, error));
    *to = memory;
    return rf_device_download(device, *to, (const int32_t *)x->data + head * count,
                              (size_t)count * sizeof(int32_t), error);
}

/* Where every token stands in each round. */
static rf_status invert_order(rf_attention *a, rf_error *error)
{
    const rf_attention_plan *plan = &a->plan;
    void *memory = NULL;
    RF_TRY(take("slots of tokens", plan->parts * plan->length, sizeof(int32_t), &memory, error));
    a->slots = memory;
    for (int64_t i = 0; i < plan->parts * plan->slots; i++) {
        if (a->order[i] >= 0) {
            a->slots[i / plan->slots * plan->length + a->order[i]] = (int32_t)(i % plan->slots);
        }
    }
    return RF_OK;
}

static rf_status copy_plan(rf_device *device, rf_attention *a, const rf_attention_plan *plan,
                           rf_error *error)
{
    void *memory = NULL;
    a->plan = *plan;
    a->plan.order = (rf_tensor){0};
    a->plan.key_mask = (rf_tensor){0};
    a->plan.bucket = (rf_tensor){0};
    a->plan.inverse = (rf_tensor){0};
    if (!rf_tensor_is_absent(&plan->key_mask)) {
        RF_TRY(take("mask", plan->length, 1, &memory, error));
        a->mask = memory;
        RF_TRY(
            rf_device_download(device, a->mask, plan->key_mask.data, (size_t)plan->length, error));
    }
    if (rf_tensor_is_absent(&plan->order)) {
        return RF_OK;
    }
    RF_TRY(copy_rounds(device, &plan->order, a->place.head - plan->first_head, "sorted order",
                       &a->order, error));
    return invert_order(a, error);
}

/* Is this place in the group of heads that starts at first_head? */
static bool concerns(const capture *c, int64_t index, int64_t layer, int64_t first_head,
                     int64_t heads)
{
    const rf_attention_place *place = &c->places[index];
    return place->layer == layer && place->head >= first_head && place->head < first_head + heads;
}

static rf_status create_attention(const rf_attention_place *place, rf_layer_kind kind,
                                  rf_attention **attention, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof **attention, "attention", &memory, error));
    *attention = memory;
    (*attention)->place = *place;
    (*attention)->kind = kind;
    return RF_OK;
}

static rf_status capture_plan(void *user, int64_t layer, const rf_attention_plan *plan,
                              rf_error *error)
{
    capture *c = user;
    for (int64_t i = 0; i < c->count; i++) {
        if (concerns(c, i, layer, plan->first_head, plan->heads)) {
            RF_TRY(create_attention(&c->places[i], c->model->config.kinds[layer], &c->attentions[i],
                                    error));
            RF_TRY(copy_plan(c->model->device, c->attentions[i], plan, error));
        }
    }
    return RF_OK;
}

/* Show a head that is complete, and forget it. */
static rf_status visit(const capture *c, rf_attention **attention, rf_error *error)
{
    RF_TRY(c->visitor->head(c->visitor->user, *attention, error));
    rf_attention_destroy(*attention);
    *attention = NULL;
    return RF_OK;
}

static rf_status capture_vectors(void *user, int64_t layer, int64_t first_head,
                                 const rf_tensor *query, const rf_tensor *key,
                                 const rf_tensor *value, const rf_tensor *buckets, rf_error *error)
{
    capture *c = user;
    rf_device *device = c->model->device;
    for (int64_t i = 0; i < c->count; i++) {
        if (!concerns(c, i, layer, first_head, query->shape[2])) {
            continue;
        }
        rf_attention *a = c->attentions[i];
        int64_t head = a->place.head - first_head;
        a->width = query->shape[3];
        RF_TRY(copy_vectors(device, query, head, "queries", &a->query, error));
        RF_TRY(copy_vectors(device, key, head, "keys", &a->key, error));
        RF_TRY(copy_vectors(device, value, head, "values", &a->value, error));
        RF_TRY(copy_rounds(device, buckets, head, "buckets", &a->buckets, error));
        if (a->buckets != NULL) {
            a->bucket_count = rf_config_bucket_count(&c->model->config) + (a->mask != NULL ? 1 : 0);
        }
        if (c->visitor != NULL) {
            RF_TRY(visit(c, &c->attentions[i], error));
        }
    }
    return RF_OK;
}

static rf_status check_places(const rf_model *model, const rf_attention_place *places,
                              int64_t count, rf_error *error)
{
    const rf_config *config = &model->config;
    for (int64_t i = 0; i < count; i++) {
        if (places[i].layer < 0 || places[i].layer >= config->layers || places[i].head < 0 ||
            places[i].head >= config->heads) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "attention of layer %lld, head %lld was asked for, but there are "
                                "%lld layers of %lld heads, counted from 0",
                                (long long)places[i].layer, (long long)places[i].head,
                                (long long)config->layers, (long long)config->heads);
        }
    }
    return RF_OK;
}

/* What was taken by a pass that failed. */
static void forget(rf_attention **attentions, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        rf_attention_destroy(attentions[i]);
        attentions[i] = NULL;
    }
}

rf_status rf_model_attention(rf_model *model, const int32_t *ids, const uint8_t *mask,
                             int64_t length, const rf_attention_place *places, int64_t count,
                             rf_attention **attentions, rf_error *error)
{
    capture c = {model, places, count, attentions, NULL};
    for (int64_t i = 0; i < count; i++) {
        attentions[i] = NULL;
    }
    RF_TRY(check_places(model, places, count, error));
    rf_hooks hooks = {.user = &c, .plan = capture_plan, .attention = capture_vectors};
    rf_batch batch = {.batch = 1, .length = length, .ids = ids, .mask = mask};
    rf_status status = rf_model_evaluate(model, &batch, &hooks, error);
    if (status != RF_OK) {
        forget(attentions, count);
    }
    return status;
}

rf_status rf_model_visit_attention(rf_model *model, const rf_batch *batch, uint64_t seed,
                                   const rf_attention_visitor *visitor, rf_error *error)
{
    const int64_t heads = model->config.heads;
    const int64_t count = model->config.layers * heads;
    rf_attention_place *places = NULL;
    rf_runner *runner = NULL;
    void *memory = NULL;
    rf_outcome outcome;
    rf_status status = RF_OK;
    RF_TRY(take("places", count, sizeof *places, &memory, error));
    places = memory;
    capture c = {model, places, count, NULL, visitor};
    RF_TRY_DONE(rf_allocate_zeroed((size_t)count * sizeof *c.attentions, "list of attentions",
                                   &memory, error));
    c.attentions = memory;
    for (int64_t i = 0; i < count; i++) {
        places[i] = (rf_attention_place){.layer = i / heads, .head = i % heads};
    }
    rf_runner_options options = {
        .batch = 1,
        .length = batch->length,
        .hooks = {.user = &c, .plan = capture_plan, .attention = capture_vectors}};
    RF_TRY_DONE(rf_runner_create(model, &options, &runner, error));
    RF_TRY_DONE(rf_runner_forward(runner, batch, seed, 0, &outcome, error));
done:
    if (c.attentions != NULL) {
        forget(c.attentions, count);
    }
    rf_runner_destroy(runner);
    rf_release(c.attentions);
    rf_release(places);
    return status;
}
