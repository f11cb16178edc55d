/* Heads hashed again on the host against the buckets of a pass whose rotations have the same key,
 * and visits of every head against attentions that are asked for by place. */
#include "devices.h"

#include "base/memory.h"
#include "model/attention_weights.h"

#include <stdio.h>
#include <string.h>

enum { LAYERS = 3, HEADS = 2, WIDTH = 8, LENGTH = 61, ROUNDS = 3, MORE = 7, BUCKETS = 8 };
enum { SEED = 11 };

static const char config[] =
    "{\"attn_layers\": [\"lsh\", \"local\", \"lsh\"], \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"attention_head_size\": 8, \"feed_forward_size\": 24, "
    "\"vocab_size\": 31, \"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, "
    "\"num_hashes\": 3, \"num_buckets\": 8, \"axial_pos_shape\": [8, 8], \"axial_pos_embds_dim\": "
    "[4, 12], \"max_position_embeddings\": 64, \"initializer_range\": 0.4, \"axial_norm_std\": "
    "0.5, \"is_decoder\": true, \"reformer_c\": {\"lsh_hash\": \"%s\"}}";

static rf_model *create(const char *hash)
{
    rf_model *model = NULL;
    char text[1024];
    rf_model_options options = {.device = test_device(), .precision = "f32", .threads = 1};
    (void)snprintf(text, sizeof text, config, hash);
    assert_ok(rf_model_create(text, 5, "huggingface", &options, &model, error));
    return model;
}

static rf_batch batch_of(int32_t *ids)
{
    for (int i = 0; i < LENGTH; i++) {
        ids[i] = 3 + (i * i + 7 * i) % 28;
    }
    return (rf_batch){.batch = 1, .length = LENGTH, .ids = ids};
}

/* What a pass at another step hashes the first layer's queries to, which no rotation comes before.
 */
typedef struct pass_buckets {
    rf_device *device;
    int32_t values[HEADS * ROUNDS * LENGTH];
} pass_buckets;

static rf_status see_buckets(void *user, int64_t layer, int64_t first_head,
                             const rf_tensor *buckets, rf_error *error)
{
    pass_buckets *seen = user;
    if (layer != 0) {
        return RF_OK;
    }
    return rf_device_download(seen->device, seen->values + first_head * ROUNDS * LENGTH,
                              buckets->data, rf_tensor_size(buckets), error);
}

static void check_order(const rf_attention *a, int64_t rounds)
{
    for (int64_t r = 0; r < rounds; r++) {
        const int32_t *order = rf_attention_order(a, r);
        const int32_t *buckets = rf_attention_buckets(a, r);
        for (int64_t slot = 0; slot < a->plan.slots; slot++) {
            if (slot >= LENGTH) {
                assert_int_equal(order[slot], -1);
                continue;
            }
            assert_int_equal(a->slots[r * LENGTH + order[slot]], slot);
            assert_in_range(buckets[order[slot]], 0, BUCKETS - 1);
            if (slot > 0) {
                const int32_t before = order[slot - 1];
                const int32_t step = buckets[order[slot]] - buckets[before];
                assert_true(step > 0 || (step == 0 && order[slot] > before));
            }
        }
    }
}

static void check_buckets(const char *hash)
{
    int32_t ids[LENGTH];
    rf_model *model = create(hash);
    rf_device *cpu = NULL;
    rf_runner *runner = NULL;
    rf_outcome outcome;
    pass_buckets seen = {.device = model->device};
    const rf_batch batch = batch_of(ids);
    const rf_runner_options options = {
        .batch = 1, .length = LENGTH, .hooks = {.user = &seen, .buckets = see_buckets}};
    assert_ok(rf_runner_create(model, &options, &runner, error));
    assert_ok(rf_runner_forward(runner, &batch, SEED, 1, &outcome, error));
    assert_ok(rf_device_create("cpu", 2, &cpu, error));
    for (int64_t head = 0; head < HEADS; head++) {
        const rf_attention_place place = {.layer = 0, .head = head};
        rf_attention *a = NULL;
        assert_ok(rf_model_attention(model, ids, NULL, LENGTH, &place, 1, &a, error));
        assert_ok(rf_attention_rehash(a, &model->config, cpu, SEED, ROUNDS, error));
        assert_int_equal(rf_attention_describe(a).rounds, ROUNDS);
        assert_memory_equal(a->buckets, seen.values + head * ROUNDS * LENGTH,
                            ROUNDS * LENGTH * sizeof *a->buckets);
        check_order(a, ROUNDS);
        assert_ok(rf_attention_rehash(a, &model->config, cpu, SEED + 1, MORE, error));
        assert_int_equal(rf_attention_describe(a).rounds, MORE);
        assert_null(rf_attention_order(a, MORE));
        check_order(a, MORE);
        rf_attention_row row = {0};
        assert_ok(rf_attention_weights(a, LENGTH - 1, &row, error));
        assert_int_equal(row.rounds, MORE);
        rf_attention_row_clear(&row);
        rf_attention_destroy(a);
    }
    rf_device_destroy(cpu);
    rf_runner_destroy(runner);
    rf_model_destroy(model);
}

static void buckets_are_those_of_a_pass(void **state)
{
    (void)state;
    check_buckets("angular");
    check_buckets("hyperplane");
}

/* ---- visits ------------------------------------------------------------------------------ */

typedef struct visits {
    rf_attention *wanted[LAYERS * HEADS];
    int seen;
    rf_status fails; /* with this, at the third head */
} visits;

static rf_status see_head(void *user, rf_attention *a, rf_error *error)
{
    visits *v = user;
    const rf_attention_info info = rf_attention_describe(a);
    const rf_attention *other = v->wanted[info.place.layer * HEADS + info.place.head];
    const rf_attention_info wanted = rf_attention_describe(other);
    if (v->fails != RF_OK && v->seen == 2) {
        return rf_error_set(error, v->fails, "enough");
    }
    assert_int_equal(info.place.layer * HEADS + info.place.head, v->seen);
    v->seen++;
    assert_string_equal(info.kind, wanted.kind);
    assert_int_equal(info.rounds, wanted.rounds);
    assert_int_equal(info.buckets, wanted.buckets);
    assert_memory_equal(a->query, other->query, LENGTH * WIDTH * sizeof *a->query);
    assert_memory_equal(a->value, other->value, LENGTH * WIDTH * sizeof *a->value);
    assert_true((a->key == NULL) == (other->key == NULL));
    assert_true((a->order == NULL) == (other->order == NULL));
    if (a->order != NULL) {
        assert_memory_equal(a->order, other->order,
                            (size_t)(info.rounds * info.slots) * sizeof *a->order);
    }
    return RF_OK;
}

static void every_head_is_visited_once(void **state)
{
    (void)state;
    int32_t ids[LENGTH];
    rf_attention_place places[LAYERS * HEADS];
    visits v = {.seen = 0};
    rf_error said = {0};
    rf_model *model = create("angular");
    const rf_batch batch = batch_of(ids);
    const rf_attention_visitor visitor = {.head = see_head, .user = &v};
    for (int64_t i = 0; i < (int64_t)LAYERS * HEADS; i++) {
        places[i] = (rf_attention_place){.layer = i / HEADS, .head = i % HEADS};
    }
    assert_ok(
        rf_model_attention(model, ids, NULL, LENGTH, places, LAYERS * HEADS, v.wanted, error));
    assert_ok(rf_model_visit_attention(model, &batch, 0, &visitor, error));
    assert_int_equal(v.seen, LAYERS * HEADS);
    v.seen = 0;
    v.fails = RF_ERR_CANCELLED;
    assert_int_equal(rf_model_visit_attention(model, &batch, 0, &visitor, &said), RF_ERR_CANCELLED);
    assert_string_equal(said.message, "enough");
    for (int i = 0; i < LAYERS * HEADS; i++) {
        rf_attention_destroy(v.wanted[i]);
    }
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_those_of_a_pass),
        cmocka_unit_test(every_head_is_visited_once),
    };
    return run_on_devices("attention again", tests, sizeof tests / sizeof tests[0]);
}
