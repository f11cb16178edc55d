/* block_attention against the definition, on the plans of attention_cases.c; and against plain full
 * attention. */
#include "attention_cases.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { OUTPUT = ATTENTION_INPUTS, LOG_NORM };

static void build(check_state *check)
{
    const attention_case *plan = check->which->parameters;
    attention_add_inputs(check);
    check_add(check, &(check_buffer){.name = "output",
                                     .role = CHECK_OUTPUT,
                                     .dtype = attention_results(plan),
                                     .rank = 5,
                                     .shape = {plan->batch, plan->parts, plan->length, plan->heads,
                                               plan->width},
                                     .tolerance = plan->bf16 ? 3e-2 : 1e-5});
    check_add(check, &(check_buffer){.name = "log_norm",
                                     .role = CHECK_OUTPUT,
                                     .dtype = RF_F32,
                                     .rank = 4,
                                     .shape = {plan->batch, plan->heads, plan->parts, plan->length},
                                     .tolerance = plan->bf16 ? 1e-5 : 1e-6});
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const rf_block_attention attention = {.plan = attention_plan(check, true),
                                          .query = check_tensor(check, ATTENTION_QUERY),
                                          .key = attention_key(check),
                                          .value = check_tensor(check, ATTENTION_VALUE),
                                          .output = check_tensor(check, OUTPUT),
                                          .log_norm = check_tensor(check, LOG_NORM)};
    return rf_op_block_attention(context, &attention, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const rf_attention_plan plan = attention_plan(check, false);
    const oracle_attention attention = attention_oracle(check, &plan, values);
    oracle_block_attention(&attention, values[OUTPUT], values[LOG_NORM]);
}

/* Causal attention of one head by the textbook: query i over keys 0 ... i - 1, over itself only
 * where it has no other. */
static void attend_fully(const float *query, const float *value, int length, int width,
                         double *output)
{
    for (int i = 0; i < length; i++) {
        double total = 0.0;
        double *sums = output + i * width;
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (int j = 0; j < (i > 0 ? i : 1); j++) {
            double product = 0.0;
            double squares = 1e-6 * (double)width;
            for (int c = 0; c < width; c++) {
                product += (double)query[i * width + c] * (double)query[j * width + c];
                squares += (double)query[j * width + c] * (double)query[j * width + c];
            }
            const double weight = exp(product / sqrt(squares));
            total += weight;
            for (int c = 0; c < width; c++) {
                sums[c] += weight * (double)value[j * width + c];
            }
        }
        for (int c = 0; c < width; c++) {
            sums[c] /= total;
        }
    }
}

/* One bucket and one chunk: attention by hashing is full attention with shared queries and keys,
 * through all four operations. */
static void test_one_bucket_is_full_attention(void **state)
{
    (void)state;
    enum { LENGTH = 90, WIDTH = 12 };
    float query[LENGTH * WIDTH], value[LENGTH * WIDTH], output[LENGTH * WIDTH],
        merged[LENGTH * WIDTH];
    float log_norm[LENGTH], norm[LENGTH];
    int32_t buckets[LENGTH], order[LENGTH];
    uint8_t masked[LENGTH] = {0};
    double expected[LENGTH * WIDTH];
    const rf_random_key key = {.seed = 17, .purpose = RF_PURPOSE_TEST};
    rf_random_normals(&key, 0, query, LENGTH * WIDTH);
    rf_random_normals(&key, 1U << 20, value, LENGTH * WIDTH);
    const rf_tensor q = rf_tensor_4(query, RF_F32, 1, LENGTH, 1, WIDTH);
    const rf_tensor b = rf_tensor_4(buckets, RF_I32, 1, 1, 1, LENGTH);
    const rf_tensor o = rf_tensor_4(order, RF_I32, 1, 1, 1, LENGTH);
    /* Masked for the hash only, every token is in the one extra bucket. */
    check_run(RF_OP_BUCKET_HASH,
              &(rf_bucket_hash){.query = q,
                                .key = key,
                                .rounds = 1,
                                .factor_count = 1,
                                .factors = {8},
                                .key_mask = rf_tensor_2(masked, RF_U8, 1, LENGTH),
                                .buckets = b},
              1);
    check_run(RF_OP_BUCKET_SORT, &(rf_bucket_sort){.buckets = b, .bucket_count = 9, .order = o}, 1);
    rf_block_attention attention = {.query = q,
                                    .value = rf_tensor_4(value, RF_F32, 1, LENGTH, 1, WIDTH)};
    attention.plan = (rf_attention_plan){.batch = 1,
                                         .heads = 1,
                                         .parts = 1,
                                         .length = LENGTH,
                                         .slots = LENGTH,
                                         .block = LENGTH,
                                         .wrap = RF_WRAP_ALL_PARTS,
                                         .order = o,
                                         .causal = true,
                                         .self = RF_SELF_LAST_RESORT,
                                         .normalise_keys = true,
                                         .scale = 1.0F};
    attention.output = rf_tensor_5(output, RF_F32, 1, 1, LENGTH, 1, WIDTH);
    attention.log_norm = rf_tensor_4(log_norm, RF_F32, 1, 1, 1, LENGTH);
    check_run(RF_OP_BLOCK_ATTENTION, &attention, 1);
    check_run(RF_OP_COMBINE_ROUNDS,
              &(rf_combine_rounds){.output = attention.output,
                                   .log_norm = attention.log_norm,
                                   .merged = rf_tensor_4(merged, RF_F32, 1, LENGTH, 1, WIDTH),
                                   .norm = rf_tensor_3(norm, RF_F32, 1, 1, LENGTH)},
              1);
    attend_fully(query, value, LENGTH, WIDTH, expected);
    for (int i = 0; i < LENGTH * WIDTH; i++) {
        assert_int_equal(buckets[i / WIDTH], 8);
        assert_true(fabs((double)merged[i] - expected[i]) < 1e-5);
    }
}

/* ---- the paper's claim: rounds without duplicates are the softmax over the union of their pairs
 */

enum { UNION_LENGTH = 45, UNION_WIDTH = 6, UNION_ROUNDS = 3, UNION_BLOCK = 8, UNION_SLOTS = 48 };

typedef struct union_case {
    bool causal, whole, any_bucket;
    uint64_t bucket_count; /* 1: all in one */
} union_case;

typedef struct union_data {
    float query[UNION_LENGTH * UNION_WIDTH], value[UNION_LENGTH * UNION_WIDTH];
    double wide_query[UNION_LENGTH * UNION_WIDTH], wide_value[UNION_LENGTH * UNION_WIDTH];
    int32_t buckets[UNION_ROUNDS * UNION_LENGTH], inverse[UNION_ROUNDS * UNION_LENGTH];
    int32_t order[UNION_ROUNDS * UNION_SLOTS];
    double wide_buckets[UNION_ROUNDS * UNION_LENGTH], wide_order[UNION_ROUNDS * UNION_SLOTS];
    bool pairs[UNION_LENGTH][UNION_LENGTH];
    double expected[UNION_LENGTH * UNION_WIDTH];
} union_data;

/* Which pairs some round has, from the buckets and slots themselves. */
static void find_union(const union_case *which, union_data *data)
{
    memset(data->pairs, 0, sizeof data->pairs);
    for (int i = 0; i < UNION_ROUNDS * UNION_LENGTH * UNION_LENGTH; i++) {
        const int round = i / UNION_LENGTH / UNION_LENGTH;
        const int query = i / UNION_LENGTH % UNION_LENGTH;
        const int key = i % UNION_LENGTH;
        const int32_t *bucket = data->buckets + round * UNION_LENGTH;
        const int32_t *slot = data->inverse + round * UNION_LENGTH;
        const int chunks = slot[query] / UNION_BLOCK - slot[key] / UNION_BLOCK; /* back */
        const bool is_near = which->whole || chunks == 0 || chunks == 1;
        const bool is_alike = which->any_bucket || bucket[query] == bucket[key];
        data->pairs[query][key] |= is_near && is_alike && (!which->causal || key <= query);
    }
}

/* Softmax over each query's pairs; over itself alone where there is no other. */
static void attend_union(union_data *data)
{
    memset(data->expected, 0, sizeof data->expected);
    for (int i = 0; i < UNION_LENGTH; i++) {
        double total = 0.0;
        double *sums = data->expected + i * UNION_WIDTH;
        bool is_alone = true;
        for (int j = 0; j < UNION_LENGTH; j++) {
            is_alone = is_alone && (j == i || !data->pairs[i][j]);
        }
        for (int j = 0; j < UNION_LENGTH; j++) {
            if (!data->pairs[i][j] || (j == i && !is_alone)) {
                continue;
            }
            double product = 0.0;
            double squares = 1e-6 * (double)UNION_WIDTH;
            for (int c = 0; c < UNION_WIDTH; c++) {
                const double key = data->wide_query[j * UNION_WIDTH + c];
                product += data->wide_query[i * UNION_WIDTH + c] * key;
                squares += key * key;
            }
            const double weight = exp(product / sqrt(squares));
            total += weight;
            for (int c = 0; c < UNION_WIDTH; c++) {
                sums[c] += weight * data->wide_value[j * UNION_WIDTH + c];
            }
        }
        for (int c = 0; c < UNION_WIDTH; c++) {
            sums[c] /= total;
        }
    }
}

static void draw_union(const union_case *which, union_data *data)
{
    const rf_random_key key = {.seed = 23, .purpose = RF_PURPOSE_TEST};
    rf_random_normals(&key, 0, data->query, UNION_LENGTH * UNION_WIDTH);
    rf_random_normals(&key, 1U << 20, data->value, UNION_LENGTH * UNION_WIDTH);
    for (int i = 0; i < UNION_LENGTH * UNION_WIDTH; i++) {
        data->wide_query[i] = (double)data->query[i];
        data->wide_value[i] = (double)data->value[i];
    }
    for (int i = 0; i < UNION_ROUNDS * UNION_LENGTH; i++) {
        data->buckets[i] =
            (int32_t)rf_random_below(&key, (2U << 20) + 2U * (unsigned)i, which->bucket_count);
        data->wide_buckets[i] = (double)data->buckets[i];
    }
    check_run(RF_OP_BUCKET_SORT,
              &(rf_bucket_sort){
                  .buckets = rf_tensor_4(data->buckets, RF_I32, 1, 1, UNION_ROUNDS, UNION_LENGTH),
                  .bucket_count = UNION_LENGTH,
                  .order = rf_tensor_4(data->order, RF_I32, 1, 1, UNION_ROUNDS, UNION_SLOTS),
                  .inverse = rf_tensor_4(data->inverse, RF_I32, 1, 1, UNION_ROUNDS, UNION_LENGTH)},
              1);
    for (int i = 0; i < UNION_ROUNDS * UNION_SLOTS; i++) {
        data->wide_order[i] = (double)data->order[i];
    }
    find_union(which, data);
    attend_union(data);
}

static rf_attention_plan union_plan(const union_case *which, union_data *data)
{
    rf_attention_plan plan = {.batch = 1,
                              .heads = 1,
                              .parts = UNION_ROUNDS,
                              .length = UNION_LENGTH,
                              .slots = UNION_SLOTS,
                              .block = which->whole ? UNION_SLOTS : UNION_BLOCK,
                              .before = which->whole ? 0 : 1,
                              .order =
                                  rf_tensor_4(data->order, RF_I32, 1, 1, UNION_ROUNDS, UNION_SLOTS),
                              .causal = which->causal,
                              .self = RF_SELF_LAST_RESORT,
                              .same_bucket = !which->any_bucket,
                              .whole_buckets = which->whole,
                              .duplicates = RF_DUPLICATES_CORRECTED,
                              .empty_row = RF_EMPTY_ROW_ZERO,
                              .rounding = RF_ROUNDING_EXACT,
                              .normalise_keys = true,
                              .scale = 1.0F};
    if (!which->any_bucket) {
        plan.bucket = rf_tensor_4(data->buckets, RF_I32, 1, 1, UNION_ROUNDS, UNION_LENGTH);
    }
    if (!which->whole) {
        plan.inverse = rf_tensor_4(data->inverse, RF_I32, 1, 1, UNION_ROUNDS, UNION_LENGTH);
    }
    return plan;
}

static void test_rounds_are_their_union(void **state)
{
    (void)state;
    static const union_case cases[] = {{true, false, false, 5},  {false, false, false, 5},
                                       {true, true, false, 5},   {false, true, false, 5},
                                       {true, false, true, 5},   {false, false, true, 5},
                                       {true, true, false, 1},   {false, false, false, 1},
                                       {false, true, false, 45}, {true, false, false, 45}};
    static union_data data;
    static float output[UNION_ROUNDS * UNION_LENGTH * UNION_WIDTH];
    float merged[UNION_LENGTH * UNION_WIDTH], log_norm[UNION_ROUNDS * UNION_LENGTH],
        norm[UNION_LENGTH];
    double wide[UNION_LENGTH * UNION_WIDTH], wide_norm[UNION_LENGTH];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        draw_union(&cases[i], &data);
        rf_block_attention attention = {
            .plan = union_plan(&cases[i], &data),
            .query = rf_tensor_4(data.query, RF_F32, 1, UNION_LENGTH, 1, UNION_WIDTH),
            .value = rf_tensor_4(data.value, RF_F32, 1, UNION_LENGTH, 1, UNION_WIDTH),
            .output = rf_tensor_5(output, RF_F32, 1, UNION_ROUNDS, UNION_LENGTH, 1, UNION_WIDTH),
            .log_norm = rf_tensor_4(log_norm, RF_F32, 1, 1, UNION_ROUNDS, UNION_LENGTH)};
        check_run(RF_OP_BLOCK_ATTENTION, &attention, 1);
        check_run(RF_OP_COMBINE_ROUNDS,
                  &(rf_combine_rounds){
                      .output = attention.output,
                      .log_norm = attention.log_norm,
                      .merged = rf_tensor_4(merged, RF_F32, 1, UNION_LENGTH, 1, UNION_WIDTH),
                      .norm = rf_tensor_3(norm, RF_F32, 1, 1, UNION_LENGTH),
                      .rounding = RF_ROUNDING_EXACT},
                  1);
        oracle_merged_attention(&(oracle_attention){.plan = &attention.plan,
                                                    .width = UNION_WIDTH,
                                                    .order = data.wide_order,
                                                    .bucket = data.wide_buckets,
                                                    .query = data.wide_query,
                                                    .value = data.wide_value},
                                wide, wide_norm);
        for (int j = 0; j < UNION_LENGTH * UNION_WIDTH; j++) {
            assert_true(fabs(wide[j] - data.expected[j]) < 1e-10);
            assert_true(fabs((double)merged[j] - data.expected[j]) < 1e-5);
        }
    }
}

/* A call that is right. */
static rf_block_attention shapes_only(void)
{
    rf_block_attention attention = {.query = rf_tensor_4(NULL, RF_F32, 1, 10, 2, 4)};
    attention.plan = (rf_attention_plan){
        .batch = 1, .heads = 2, .parts = 1, .length = 10, .slots = 12, .block = 4, .scale = 1.0F};
    attention.key = attention.query;
    attention.value = attention.query;
    attention.output = rf_tensor_5(NULL, RF_F32, 1, 1, 10, 2, 4);
    attention.log_norm = rf_tensor_4(NULL, RF_F32, 1, 2, 1, 10);
    return attention;
}

static void test_rejected(void **state)
{
    (void)state;
    rf_block_attention attention = shapes_only();
    attention.plan.block = 5;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "multiple of the block");
    attention = shapes_only();
    attention.plan.slots = 8;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "slots");
    attention = shapes_only();
    attention.plan.normalise_keys = true;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "key");
    attention = shapes_only();
    attention.plan.same_bucket = true;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "bucket");
    attention = shapes_only();
    attention.plan.rounding = RF_ROUNDING_EXACT;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "exact rounding");
    attention = shapes_only();
    attention.plan.whole_buckets = true;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "whole_buckets");
    attention = shapes_only();
    attention.plan.duplicates = RF_DUPLICATES_CORRECTED;
    attention.plan.order = rf_tensor_4(NULL, RF_I32, 1, 2, 1, 12);
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "inverse");
    attention = shapes_only();
    attention.output.shape[1] = 2;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "output");
}

int main(int argc, char **argv)
{
    static attention_table table;
    attention_fill_table(&table, &(check_case){.build = build, .run = run, .oracle = oracle});
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_bucket_is_full_attention),
                                       cmocka_unit_test(test_rounds_are_their_union),
                                       cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, table.cases, ATTENTION_CASES, tests,
                      sizeof tests / sizeof tests[0]);
}
