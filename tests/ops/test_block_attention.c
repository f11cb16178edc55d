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
    attention.output.shape[1] = 2;
    check_rejected(RF_OP_BLOCK_ATTENTION, &attention, RF_ERR_ARGUMENT, "output");
}

int main(int argc, char **argv)
{
    static attention_table table;
    attention_fill_table(&table, &(check_case){.build = build, .run = run, .oracle = oracle});
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_bucket_is_full_attention),
                                       cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, table.cases, ATTENTION_CASES, tests,
                      sizeof tests / sizeof tests[0]);
}
