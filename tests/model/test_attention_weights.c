/* Rows of attention weights against block attention on the same tensors, against the oracle in
 * double, and against the set of pairs that the plan's definition gives. */
#include "devices.h"

#include "base/memory.h"
#include "model/attention_weights.h"
#include "model/model.h"
#include "oracle/attention.h"
#include "reformer/inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEADS = 3, WIDTH = 8, HIDDEN = 12, VOCABULARY = 29, LONGEST = 128, MOST_SLOTS = 160 };
enum { MOST_ROUNDS = 4, LAYERS = 4 };

typedef struct shape {
    const char *name;
    bool causal;
    int64_t length;
    int chunk, before, after, rounds;
    int64_t kept;        /* tokens from here on are masked; 0: no mask */
    bool nothing;        /* the first half is masked instead: local rows without a key */
    const char *options; /* of lsh layers; NULL: none */
} shape;

static const shape shapes[] = {
    {"causal", true, 100, 16, 1, 0, 2, 0, false, NULL},
    {"both sides, four rounds", false, 93, 8, 1, 1, 4, 0, false, NULL},
    {"masked", false, 77, 16, 1, 1, 2, 60, false, NULL},
    {"causal and masked", true, 64, 8, 1, 0, 1, 50, false, NULL},
    {"nothing to see", false, 96, 8, 0, 0, 2, 0, true, NULL},
    {"no neighbours", true, 50, 8, 0, 0, 3, 0, false, NULL},
    {"two chunks that see each other twice", false, 32, 16, 1, 1, 2, 0, false, NULL},
    {"one chunk", true, 13, 16, 1, 0, 2, 0, false, NULL},
    {"wide", true, 120, 8, 3, 2, 2, 0, false, NULL},
    {"paper", true, 100, 16, 1, 0, 3, 0, false, "\"lsh_semantics\": \"paper\""},
    {"paper, both sides, masked", false, 93, 8, 1, 1, 2, 85, false, "\"lsh_semantics\": \"paper\""},
    {"paper, whole buckets", true, 100, 16, 1, 0, 2, 0, false,
     "\"lsh_semantics\": \"paper\", \"lsh_whole_buckets\": true"},
    {"corrected alone", true, 100, 16, 1, 0, 3, 0, false, "\"lsh_duplicates\": \"corrected\""},
    {"same bucket alone", true, 100, 16, 1, 0, 2, 0, false, "\"lsh_same_bucket\": true"},
};

static rf_model *create(const shape *s)
{
    char text[1200];
    (void)snprintf(
        text, sizeof text,
        "{\"attn_layers\": [\"local\", \"lsh\", \"full\", \"full_shared\"], \"hidden_size\": %d, "
        "\"num_attention_heads\": %d, \"attention_head_size\": %d, "
        "\"feed_forward_size\": 20, \"vocab_size\": %d, \"local_attn_chunk_length\": "
        "%d, \"lsh_attn_chunk_length\": %d, \"local_num_chunks_before\": %d, "
        "\"local_num_chunks_after\": %d, \"lsh_num_chunks_before\": %d, "
        "\"lsh_num_chunks_after\": %d, \"num_hashes\": %d, \"num_buckets\": 6, "
        "\"hash_seed\": 3, \"axial_pos_shape\": [8, 16], \"axial_pos_embds_dim\": [4, "
        "8], \"max_position_embeddings\": 128, \"initializer_range\": 0.4, "
        "\"axial_norm_std\": 0.5, \"is_decoder\": %s, \"reformer_c\": {%s}}",
        HIDDEN, HEADS, WIDTH, VOCABULARY, s->chunk, s->chunk, s->before, s->causal ? 0 : s->after,
        s->before, s->causal ? 0 : s->after, s->rounds, s->causal ? "true" : "false",
        s->options != NULL ? s->options : "");
    rf_model *model = NULL;
    rf_model_options options = {.device = test_device(),
                                .precision = "f32",
                                .threads = 1,
                                .task = s->causal ? "lm" : "embed"};
    assert_ok(rf_model_create(text, 5, "huggingface", &options, &model, error));
    return model;
}

/* What the model itself computes, of one layer. */
typedef struct witness {
    const shape *shape;
    rf_device *device;
    int64_t layer;
    const uint8_t *mask;
    rf_attention_plan plan; /* order is copied below */
    int32_t order[HEADS * MOST_ROUNDS * MOST_SLOTS];
    bool has_order;
    double buckets[HEADS * MOST_ROUNDS * LONGEST];
    float merged[LONGEST * HEADS * WIDTH];
    double exact[LONGEST * HEADS * WIDTH];
    int seen;
} witness;

static rf_status see_plan(void *user, int64_t layer, const rf_attention_plan *plan, rf_error *error)
{
    witness *w = user;
    if (layer == w->layer) {
        w->plan = *plan;
        w->has_order = !rf_tensor_is_absent(&plan->order);
        if (w->has_order) {
            return rf_device_download(w->device, w->order, plan->order.data,
                                      rf_tensor_size(&plan->order), error);
        }
    }
    return RF_OK;
}

static double *doubles_of(rf_device *device, const rf_tensor *from)
{
    int64_t count = rf_tensor_count(from);
    float *floats = test_calloc((size_t)count, sizeof *floats);
    double *to = test_calloc((size_t)count, sizeof *to);
    assert_ok(rf_device_download(device, floats, from->data, rf_tensor_size(from), error));
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)floats[i];
    }
    test_free(floats);
    return to;
}

/* The oracle's rounds, merged. */
static void attend_exactly(witness *w, const rf_tensor *query, const rf_tensor *key,
                           const rf_tensor *value)
{
    const rf_attention_plan *plan = &w->plan;
    int64_t count = rf_tensor_count(query);
    int64_t parts = plan->parts;
    double *order = test_calloc((size_t)(HEADS * parts * plan->slots), sizeof *order);
    double *mask = test_calloc((size_t)plan->length, sizeof *mask);
    double *output = test_calloc((size_t)(parts * count), sizeof *output);
    double *norms = test_calloc((size_t)(HEADS * parts * plan->length), sizeof *norms);
    double *norm = test_calloc((size_t)(HEADS * plan->length), sizeof *norm);
    double *q = doubles_of(w->device, query);
    double *k = doubles_of(w->device, rf_tensor_is_absent(key) ? query : key);
    double *v = doubles_of(w->device, value);
    for (int64_t i = 0; i < HEADS * parts * plan->slots; i++) {
        order[i] = (double)w->order[i];
    }
    for (int64_t i = 0; i < plan->length && w->mask != NULL; i++) {
        mask[i] = (double)w->mask[i];
    }
    oracle_attention in = {.plan = plan,
                           .width = WIDTH,
                           .order = w->has_order ? order : NULL,
                           .key_mask = w->mask != NULL ? mask : NULL,
                           .bucket = plan->same_bucket ? w->buckets : NULL,
                           .query = q,
                           .key = k,
                           .value = v};
    oracle_block_attention(&in, output, norms);
    rf_combine_rounds combine = {
        .output = rf_tensor_5(NULL, RF_F32, 1, parts, plan->length, HEADS, WIDTH),
        .rounding = plan->rounding};
    oracle_combine_rounds(&combine, output, norms, w->exact, norm);
    double *all[] = {order, mask, output, norms, norm, q, k, v};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        test_free(all[i]);
    }
}

static rf_status see_buckets(witness *w, const rf_tensor *buckets, rf_error *error)
{
    int32_t found[HEADS * MOST_ROUNDS * LONGEST];
    if (rf_tensor_is_absent(buckets)) {
        return RF_OK;
    }
    RF_TRY(rf_device_download(w->device, found, buckets->data, rf_tensor_size(buckets), error));
    for (int64_t i = 0; i < rf_tensor_count(buckets); i++) {
        w->buckets[i] = (double)found[i];
    }
    return RF_OK;
}

/* The operations of the model on the tensors that it is about to use. */
static rf_status see_vectors(void *user, int64_t layer, int64_t first_head, const rf_tensor *query,
                             const rf_tensor *key, const rf_tensor *value, const rf_tensor *buckets,
                             rf_error *error)
{
    witness *w = user;
    if (layer != w->layer) {
        return RF_OK;
    }
    assert_int_equal(first_head, 0);
    assert_int_equal(query->shape[2], HEADS);
    rf_workspace workspace;
    rf_workspace_init(&workspace, w->device);
    RF_TRY(rf_workspace_allocate(&workspace, (size_t)1 << 24, error));
    rf_context context = {.device = w->device, .workspace = &workspace};
    const rf_attention_plan *plan = &w->plan;
    int64_t of_output[5] = {1, plan->parts, plan->length, HEADS, WIDTH};
    int64_t of_norms[4] = {1, HEADS, plan->parts, plan->length};
    int64_t of_norm[3] = {1, HEADS, plan->length};
    rf_block_attention attention = {.plan = *plan, .query = *query, .key = *key, .value = *value};
    rf_combine_rounds combine = {.rounding = plan->rounding};
    RF_TRY(rf_workspace_take(&workspace, "o", RF_F32, 5, of_output, &attention.output, error));
    RF_TRY(rf_workspace_take(&workspace, "n", RF_F32, 4, of_norms, &attention.log_norm, error));
    RF_TRY(rf_workspace_take(&workspace, "m", RF_F32, 3, of_norm, &combine.norm, error));
    RF_TRY(rf_workspace_take(&workspace, "r", RF_F32, 4, query->shape, &combine.merged, error));
    RF_TRY(rf_op_block_attention(&context, &attention, error));
    combine.output = attention.output;
    combine.log_norm = attention.log_norm;
    RF_TRY(rf_op_combine_rounds(&context, &combine, error));
    RF_TRY(rf_device_download(w->device, w->merged, combine.merged.data,
                              rf_tensor_size(&combine.merged), error));
    RF_TRY(see_buckets(w, buckets, error));
    attend_exactly(w, query, key, value);
    w->seen++;
    rf_workspace_clear(&workspace);
    return RF_OK;
}

/* ---- the attended set, by the definition ---- */

static int64_t token_in(const witness *w, int64_t head, int64_t part, int64_t slot)
{
    const rf_attention_plan *plan = &w->plan;
    return w->has_order          ? w->order[(head * plan->parts + part) * plan->slots + slot]
           : slot < plan->length ? slot
                                 : -1;
}

/* Whether block b (of part p) is one of those that block c (of part r) sees: distance in the ring
 * of blocks. */
static bool sees(const rf_attention_plan *plan, int64_t r, int64_t c, int64_t p, int64_t b)
{
    int64_t blocks = plan->slots / plan->block;
    bool across = plan->wrap == RF_WRAP_ALL_PARTS;
    int64_t ring = across ? blocks * plan->parts : blocks;
    if (!across && p != r) {
        return false;
    }
    for (int64_t shift = -plan->before; shift <= plan->after; shift++) {
        int64_t from = across ? r * blocks + c : c;
        int64_t to = across ? p * blocks + b : b;
        bool turns = shift > -ring && shift < ring;
        if ((to - from - (turns ? shift : 0)) % ring == 0 &&
            (plan->wrap != RF_WRAP_NONE || to - from == shift)) {
            return true;
        }
    }
    return false;
}

static bool attends(const witness *w, int64_t head, int64_t query, int64_t key)
{
    const rf_attention_plan *plan = &w->plan;
    bool forbidden = (plan->causal && key > query) || (w->mask != NULL && w->mask[key] == 0);
    if (forbidden && !(key == query && plan->self == RF_SELF_LAST_RESORT)) {
        return false;
    }
    for (int64_t i = 0; i < plan->parts * plan->slots; i++) {
        const double *buckets = w->buckets + (head * plan->parts + i / plan->slots) * plan->length;
        if (token_in(w, head, i / plan->slots, i % plan->slots) != query ||
            (plan->same_bucket && buckets[query] != buckets[key])) {
            continue;
        }
        for (int64_t j = 0; j < plan->parts * plan->slots; j++) {
            if (token_in(w, head, j / plan->slots, j % plan->slots) == key &&
                sees(plan, i / plan->slots, i % plan->slots / plan->block, j / plan->slots,
                     j % plan->slots / plan->block)) {
                return true;
            }
        }
    }
    return false;
}

/* ---- rows ---- */

static void check_set(const witness *w, int64_t head, int64_t query, const rf_attention_row *row)
{
    int64_t at = 0;
    int64_t expected = 0;
    for (int64_t key = 0; key < w->plan.length; key++) {
        bool listed = at < row->count && row->positions[at] == key;
        bool attended = attends(w, head, query, key);
        at += listed;
        expected += attended;
        if (attended) {
            assert_true(listed);
        } else if (listed) {
            assert_true(w->shape->nothing); /* the uniform row */
        }
    }
    assert_int_equal(at, row->count);
    assert_true(expected == row->count || w->shape->nothing);
}

/* limit: of the difference of the sum from 1; negative: every weight is 1 */
static void check_sums(const rf_attention_row *row, double limit)
{
    double sum = row->lost;
    double shares = 0.0;
    for (int64_t i = 0; i < row->count; i++) {
        double parts = 0.0;
        sum += row->weights[i];
        for (int64_t r = 0; r < row->rounds; r++) {
            parts += row->parts[i * row->rounds + r];
        }
        assert_true(fabs(parts - row->weights[i]) < 1e-12);
    }
    for (int64_t r = 0; r < row->rounds; r++) {
        shares += row->shares[r];
    }
    assert_true(fabs(shares - sum) < 1e-12);
    assert_true(limit >= 0.0 || sum == row->lost + (double)row->count);
    if (limit >= 0.0 && fabs(sum - 1.0) > limit) {
        fail_msg("a row's weights sum to %.9f, log-normaliser %.9g", sum, (double)row->log_norm);
    }
}

static void check_row(const witness *w, const rf_attention *a, int64_t query)
{
    rf_attention_row row;
    int64_t head = rf_attention_describe(a).place.head;
    const float *values = rf_attention_values(a);
    assert_ok(rf_attention_weights(a, query, &row, error));
    check_set(w, head, query, &row);
    bool hf_self = w->plan.self == RF_SELF_LAST_RESORT && row.log_norm < -9e4F;
    bool blind = row.log_norm < -9e8F;
    assert_true(!blind || w->shape->nothing);
    check_sums(&row, blind ? -1.0 : hf_self ? 5e-3 : 1e-6);
    for (int64_t c = 0; c < WIDTH; c++) {
        double sum = 0.0;
        int64_t at = (query * HEADS + head) * WIDTH + c;
        for (int64_t i = 0; i < row.count; i++) {
            sum += row.weights[i] * (double)values[row.positions[i] * WIDTH + c];
        }
        if (fabs(sum - (double)w->merged[at]) > 1e-5 || fabs(sum - w->exact[at]) > 1e-6) {
            fail_msg("%s, layer %lld, head %lld, query %lld: %.9g, the operation %.9g, the oracle "
                     "%.9g",
                     w->shape->name, (long long)w->layer, (long long)head, (long long)query, sum,
                     (double)w->merged[at], w->exact[at]);
        }
    }
    rf_attention_row_clear(&row);
}

static void check_info(const witness *w, const rf_attention *a)
{
    rf_attention_info info = rf_attention_describe(a);
    const rf_attention_plan *plan = &w->plan;
    static const char *const kinds[LAYERS] = {"local", "lsh", "full", "full_shared"};
    assert_string_equal(info.kind, kinds[w->layer]);
    assert_int_equal(info.length, plan->length);
    assert_int_equal(info.width, WIDTH);
    assert_int_equal(info.slots, plan->slots);
    assert_int_equal(info.chunk, plan->block);
    assert_int_equal(info.rounds, plan->parts);
    assert_true((info.buckets > 0) == w->has_order);
    assert_true((rf_attention_keys(a) == NULL) == (w->layer % 2 == 1));
    assert_non_null(rf_attention_queries(a));
    for (int64_t r = 0; r < info.rounds; r++) {
        const int32_t *order = rf_attention_order(a, r);
        const int32_t *buckets = rf_attention_buckets(a, r);
        assert_true((order != NULL) == w->has_order && (buckets != NULL) == w->has_order);
        for (int64_t s = 0; s < info.slots && w->has_order; s++) {
            assert_int_equal(order[s], token_in(w, info.place.head, r, s));
            bool more = s + 1 < info.length;
            assert_true(!more || buckets[order[s]] <= buckets[order[s + 1]]);
            assert_true(s >= info.length || buckets[order[s]] < info.buckets);
        }
    }
    assert_null(rf_attention_order(a, info.rounds));
}

static void check_shape(const shape *s)
{
    int32_t ids[LONGEST];
    uint8_t mask[LONGEST];
    rf_model *model = create(s);
    rf_attention_place places[LAYERS * HEADS];
    rf_attention *attentions[LAYERS * HEADS];
    for (int i = 0; i < LAYERS * HEADS; i++) { /* in no order */
        places[i] = (rf_attention_place){(i * 5 % (LAYERS * HEADS)) % LAYERS, i * 5 % HEADS};
    }
    fill_ids(ids, s->length, VOCABULARY, 0);
    for (int64_t i = 0; i < s->length; i++) {
        mask[i] = s->nothing ? i >= s->length / 2 : i < s->kept;
    }
    const uint8_t *given = s->kept > 0 || s->nothing ? mask : NULL;
    assert_ok(rf_model_attention(model, ids, given, s->length, places, LAYERS * HEADS, attentions,
                                 error));
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        static witness w;
        w = (witness){.shape = s, .device = model->device, .layer = layer, .mask = given};
        rf_hooks hooks = {.user = &w, .plan = see_plan, .attention = see_vectors};
        rf_batch batch = {.batch = 1, .length = s->length, .ids = ids, .mask = given};
        assert_ok(rf_model_evaluate(model, &batch, &hooks, error));
        assert_int_equal(w.seen, 1);
        for (int i = 0; i < LAYERS * HEADS; i++) {
            if (places[i].layer != layer) {
                continue;
            }
            check_info(&w, attentions[i]);
            for (int64_t query = 0; query < s->length; query++) {
                check_row(&w, attentions[i], query);
            }
        }
    }
    for (int i = 0; i < LAYERS * HEADS; i++) {
        rf_attention_destroy(attentions[i]);
    }
    rf_model_destroy(model);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        check_shape(&shapes[i]);
    }
}

/* Position 0 of a causal LSH layer sees itself alone, and says so with the sum that rounding
 * leaves. */
static void test_self_only(void **state)
{
    (void)state;
    const shape *s = &shapes[0];
    rf_model *model = create(s);
    int32_t ids[LONGEST] = {0};
    const rf_attention_place place = {1, 1};
    rf_attention *a = NULL;
    rf_attention_row row;
    assert_ok(rf_model_attention(model, ids, NULL, s->length, &place, 1, &a, error));
    assert_ok(rf_attention_weights(a, 0, &row, error));
    assert_int_equal(row.count, 1);
    assert_int_equal(row.positions[0], 0);
    assert_true(fabs(row.weights[0] - 0.9978) < 1e-4); /* two rounds */
    rf_attention_row_clear(&row);
    rf_attention_destroy(a);
    rf_model_destroy(model);
}

static void test_refusals(void **state)
{
    (void)state;
    const shape *s = &shapes[0];
    rf_model *model = create(s);
    int32_t ids[LONGEST] = {0};
    rf_attention_place places[2] = {{1, 1}, {4, 0}};
    rf_attention *attentions[2];
    rf_attention_row row;
    rf_error failure = {0};
    assert_int_equal(rf_model_attention(model, ids, NULL, 20, places, 2, attentions, &failure),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(failure.message, "layer 4, head 0"));
    assert_null(attentions[0]);
    places[1] = (rf_attention_place){0, HEADS};
    assert_int_equal(rf_model_attention(model, ids, NULL, 20, places, 2, attentions, &failure),
                     RF_ERR_ARGUMENT);
    assert_int_equal(rf_model_attention(model, ids, NULL, 4000, places, 1, attentions, &failure),
                     RF_ERR_CONFIG);
    assert_null(attentions[0]);
    assert_ok(rf_model_attention(model, ids, NULL, 20, places, 1, attentions, error));
    assert_int_equal(rf_attention_weights(attentions[0], 20, &row, &failure), RF_ERR_ARGUMENT);
    assert_non_null(strstr(failure.message, "position 20 is outside the 20 tokens"));
    rf_attention_destroy(attentions[0]);
    rf_model_destroy(model);
}

/* ---- the paper's semantics ---- */

typedef struct paper {
    const char *name;
    rf_wrap wrap;
    int64_t length, slots, block, before, after;
    int buckets; /* 0: nothing is hashed into the plan */
    bool causal, masked, whole, corrected, zero_rows, exact;
} paper;

enum { PARTS = 2, PAPER_LENGTH = 61, PAPER_SLOTS = 64 };

static const paper papers[] = {
    {"paper, causal", RF_WRAP_NONE, 61, 64, 8, 1, 0, 5, true, false, false, true, true, true},
    {"paper, both sides", RF_WRAP_NONE, 61, 64, 8, 1, 1, 5, false, false, false, true, true, true},
    {"paper, masked", RF_WRAP_NONE, 61, 64, 8, 1, 1, 5, false, true, false, true, true, true},
    {"buckets alone", RF_WRAP_ALL_PARTS, 61, 64, 8, 1, 0, 3, true, false, false, false, false,
     false},
    {"corrected alone", RF_WRAP_ALL_PARTS, 61, 64, 16, 1, 1, 0, false, true, false, true, false,
     false},
    {"a block twice", RF_WRAP_PART, 12, 16, 8, 1, 1, 0, false, false, false, true, false, false},
    {"zero rows", RF_WRAP_NONE, 61, 64, 4, 0, 0, 7, true, true, false, false, true, true},
    {"whole buckets", RF_WRAP_NONE, 61, 61, 61, 0, 0, 4, true, false, true, true, true, true},
    {"whole, masked", RF_WRAP_NONE, 61, 61, 61, 0, 0, 4, false, true, true, true, true, true},
    {"whole alone", RF_WRAP_NONE, 61, 61, 61, 0, 0, 4, false, false, true, false, false, false},
    {"each its own", RF_WRAP_NONE, 61, 61, 61, 0, 0, 61, true, false, true, true, true, true},
};

/* One head by itself, as a pass would leave it, and the same in doubles for the oracle. */
typedef struct one_head {
    rf_attention attention;
    float query[PAPER_LENGTH * WIDTH], value[PAPER_LENGTH * WIDTH];
    uint8_t mask[PAPER_LENGTH];
    int32_t order[PARTS * PAPER_SLOTS], slots[PARTS * PAPER_LENGTH], buckets[PARTS * PAPER_LENGTH];
    double queries[PAPER_LENGTH * WIDTH], values[PAPER_LENGTH * WIDTH], masks[PAPER_LENGTH];
    double orders[PARTS * PAPER_SLOTS], of[PARTS * PAPER_LENGTH];
} one_head;

/* Tokens by bucket, then by position; behind them slots without a token. */
static void sort_part(const paper *p, one_head *h, int64_t part)
{
    int64_t slot = 0;
    for (int32_t bucket = 0; bucket < (p->buckets > 0 ? p->buckets : PAPER_LENGTH); bucket++) {
        for (int64_t i = 0; i < p->length; i++) {
            if (h->buckets[part * p->length + i] == bucket) {
                h->slots[part * p->length + i] = (int32_t)slot;
                h->order[part * p->slots + slot++] = (int32_t)i;
            }
        }
    }
    for (; slot < p->slots; slot++) {
        h->order[part * p->slots + slot] = -1;
    }
}

static void make_head(const paper *p, one_head *h)
{
    const rf_random_key key = {.seed = 5, .purpose = RF_PURPOSE_TEST};
    rf_random_normals(&key, 0, h->query, (size_t)(p->length * WIDTH));
    rf_random_normals(&key, 4096, h->value, (size_t)(p->length * WIDTH));
    int buckets = p->buckets > 0 ? p->buckets : PAPER_LENGTH;
    for (int64_t i = 0; i < PARTS * p->length; i++) {
        bool each = buckets == PAPER_LENGTH && p->buckets > 0;
        h->buckets[i] = each ? (int32_t)(i % p->length)
                             : (int32_t)rf_random_below(&key, (uint64_t)i, (uint64_t)buckets);
        h->of[i] = (double)h->buckets[i];
    }
    for (int64_t part = 0; part < PARTS; part++) {
        sort_part(p, h, part);
    }
    for (int64_t i = 0; i < PARTS * p->slots; i++) {
        h->orders[i] = (double)h->order[i];
    }
    for (int64_t i = 0; i < p->length * WIDTH; i++) {
        h->queries[i] = (double)h->query[i];
        h->values[i] = (double)h->value[i];
        h->mask[i / WIDTH] = i / WIDTH % 3 != 0;
        h->masks[i / WIDTH] = (double)h->mask[i / WIDTH];
    }
    h->attention = (rf_attention){.width = WIDTH,
                                  .query = h->query,
                                  .value = h->value,
                                  .mask = p->masked ? h->mask : NULL,
                                  .order = h->order,
                                  .slots = h->slots,
                                  .buckets = p->buckets > 0 ? h->buckets : NULL};
    h->attention.plan = (rf_attention_plan){
        .batch = 1,
        .heads = 1,
        .parts = PARTS,
        .length = p->length,
        .slots = p->slots,
        .block = p->block,
        .before = p->before,
        .after = p->after,
        .wrap = p->wrap,
        .causal = p->causal,
        .self = RF_SELF_LAST_RESORT,
        .same_bucket = p->buckets > 0,
        .whole_buckets = p->whole,
        .duplicates = p->corrected ? RF_DUPLICATES_CORRECTED : RF_DUPLICATES_COUNTED,
        .empty_row = p->zero_rows ? RF_EMPTY_ROW_ZERO : RF_EMPTY_ROW_UNIFORM,
        .rounding = p->exact ? RF_ROUNDING_EXACT : RF_ROUNDING_REFERENCE,
        .normalise_keys = true,
        .scale = 1.0F};
}

/* Weights times values against the oracle's rounds, merged. */
static void check_paper_row(const paper *p, const one_head *h, int64_t query, const double *merged,
                            double norm)
{
    rf_attention_row row;
    double sum = 0.0;
    assert_ok(rf_attention_weights(&h->attention, query, &row, error));
    for (int64_t i = 0; i < row.count; i++) {
        sum += row.weights[i];
        assert_true(!(p->causal && row.positions[i] > query));
    }
    assert_true(row.count > 0); /* itself, at least */
    if (p->exact && fabs(sum - 1.0) > 1e-6) {
        fail_msg("%s, query %lld: weights sum to %.9f", p->name, (long long)query, sum);
    }
    for (int64_t c = 0; c < WIDTH; c++) {
        double result = 0.0;
        for (int64_t i = 0; i < row.count; i++) {
            result += row.weights[i] * h->values[row.positions[i] * WIDTH + c];
        }
        if (fabs(result - merged[query * WIDTH + c]) > 1e-6) {
            fail_msg("%s, query %lld: %.9g, the oracle %.9g", p->name, (long long)query, result,
                     merged[query * WIDTH + c]);
        }
    }
    assert_true(fabs((double)row.log_norm - norm) <= 1e-6 * fmax(1.0, fabs(norm)));
    rf_attention_row_clear(&row);
}

static void test_paper(void **state)
{
    (void)state;
    static one_head h;
    static double output[PARTS * PAPER_LENGTH * WIDTH];
    static double norms[PARTS * PAPER_LENGTH];
    static double merged[PAPER_LENGTH * WIDTH];
    static double norm[PAPER_LENGTH];
    for (size_t i = 0; i < sizeof papers / sizeof papers[0]; i++) {
        const paper *p = &papers[i];
        make_head(p, &h);
        const oracle_attention in = {.plan = &h.attention.plan,
                                     .width = WIDTH,
                                     .order = h.orders,
                                     .key_mask = p->masked ? h.masks : NULL,
                                     .bucket = p->buckets > 0 ? h.of : NULL,
                                     .query = h.queries,
                                     .value = h.values};
        rf_combine_rounds combine = {.output =
                                         rf_tensor_5(NULL, RF_F32, 1, PARTS, p->length, 1, WIDTH),
                                     .rounding = h.attention.plan.rounding};
        oracle_block_attention(&in, output, norms);
        oracle_combine_rounds(&combine, output, norms, merged, norm);
        for (int64_t query = 0; query < p->length; query++) {
            check_paper_row(p, &h, query, merged, norm[query]);
        }
    }
}

typedef struct countdown {
    int left;
} countdown;

static bool allow(void *user, size_t size)
{
    countdown *c = user;
    (void)size;
    return c->left-- != 0;
}

/* Whichever allocation fails, nothing is left behind. */
static void test_memory(void **state)
{
    (void)state;
    rf_model *model = create(&shapes[2]);
    int32_t ids[LONGEST] = {0};
    uint8_t mask[LONGEST] = {1, 1, 1};
    const rf_attention_place place = {1, 1};
    rf_attention *first = NULL; /* what the device keeps for its life is taken */
    assert_ok(rf_model_attention(model, ids, mask, 40, &place, 1, &first, error));
    rf_attention_destroy(first);
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    for (int n = 0; status != RF_OK; n++) {
        countdown c = {n};
        rf_attention *a = NULL;
        rf_attention_row row = {0};
        assert_true(n < 500);
        rf_memory_set_hook(allow, &c);
        status = rf_model_attention(model, ids, mask, 40, &place, 1, &a, NULL);
        if (status == RF_OK) {
            status = rf_attention_weights(a, 7, &row, NULL);
        }
        rf_memory_set_hook(NULL, NULL);
        rf_attention_row_clear(&row);
        rf_attention_destroy(a);
        assert_true(rf_memory_in_use() == before);
    }
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_self_only),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_paper),
        cmocka_unit_test(test_memory),
    };
    return run_on_devices("attention_weights", tests, sizeof tests / sizeof tests[0]);
}
