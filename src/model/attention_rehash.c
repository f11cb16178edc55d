/* The queries of one head hashed again, in any number of rounds: the same operations as in a pass
 * (plan_lsh.c), on the host, with rotations of their own. Time and memory are in proportion to
 * length and rounds. */
#include "model/attention_weights.h"

#include "base/memory.h"

enum { OTHER_STEP = 1 }; /* the model's own rotations at use are drawn at step 0 */

/* The new rounds: [rounds, length] and [rounds, slots]. */
typedef struct hashed {
    int32_t *buckets, *order, *slots;
} hashed;

static rf_status take(const char *what, int64_t count, int32_t **to, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof **to, what, &memory, error));
    *to = memory;
    return RF_OK;
}

static rf_status hash(const rf_attention *a, const rf_config *config, rf_device *device,
                      uint64_t seed, int64_t rounds, int32_t *buckets, rf_error *error)
{
    const int64_t length = a->plan.length;
    rf_bucket_hash arguments = {.query = rf_tensor_4(a->query, RF_F32, 1, length, 1, a->width),
                                .key = {.seed = seed,
                                        .step = OTHER_STEP,
                                        .layer = (uint32_t)(a->place.layer + 1),
                                        .purpose = RF_PURPOSE_ROTATION},
                                .first_head = a->place.head,
                                .rounds = rounds,
                                .buckets = rf_tensor_4(buckets, RF_I32, 1, 1, rounds, length)};
    if (a->mask != NULL) {
        arguments.key_mask = rf_tensor_2(a->mask, RF_U8, 1, length);
    }
    rf_config_fill_hash(config, &arguments);
    return rf_op_run_alone(device, RF_OP_BUCKET_HASH, &arguments, error);
}

static rf_status sort(const rf_attention *a, rf_device *device, int64_t rounds, const hashed *to,
                      rf_error *error)
{
    const int64_t length = a->plan.length;
    const int64_t slots = a->plan.slots;
    rf_bucket_sort arguments = {.buckets = rf_tensor_4(to->buckets, RF_I32, 1, 1, rounds, length),
                                .bucket_count = a->bucket_count,
                                .order = rf_tensor_4(to->order, RF_I32, 1, 1, rounds, slots),
                                .inverse = rf_tensor_4(to->slots, RF_I32, 1, 1, rounds, length)};
    return rf_op_run_alone(device, RF_OP_BUCKET_SORT, &arguments, error);
}

rf_status rf_attention_rehash(rf_attention *a, const rf_config *config, rf_device *device,
                              uint64_t seed, int64_t rounds, rf_error *error)
{
    hashed to = {0};
    rf_status status = RF_OK;
    RF_ASSERT(a->buckets != NULL);
    RF_TRY_DONE(take("buckets", rounds * a->plan.length, &to.buckets, error));
    RF_TRY_DONE(take("sorted order", rounds * a->plan.slots, &to.order, error));
    RF_TRY_DONE(take("slots of tokens", rounds * a->plan.length, &to.slots, error));
    RF_TRY_DONE(hash(a, config, device, seed, rounds, to.buckets, error));
    RF_TRY_DONE(sort(a, device, rounds, &to, error));
    hashed old = {a->buckets, a->order, a->slots};
    a->buckets = to.buckets;
    a->order = to.order;
    a->slots = to.slots;
    a->plan.parts = rounds;
    to = old;
done:
    rf_release(to.buckets);
    rf_release(to.order);
    rf_release(to.slots);
    return status;
}
