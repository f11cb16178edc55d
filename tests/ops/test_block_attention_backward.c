/* block_attention_backward against differences of the exact softmax over all parts, on the plans of
 * attention_cases.c.
 *
 * The operation works with the norm as it is rounded to float, which differs visibly from the exact
 * one in rows that see only themselves or masked keys. The rounding is a constant factor on such a
 * row's probabilities: the oracle finds it once and keeps it while it is differentiated, since
 * differences of a rounded number are zero. */
#include "attention_cases.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum {
    OUTPUT = ATTENTION_INPUTS,
    NORM,
    OUTPUT_GRADIENT,
    ROUNDING,
    QUERY_GRADIENT,
    VALUE_GRADIENT,
    KEY_GRADIENT
};

static void build(check_state *check)
{
    const attention_case *plan = check->which->parameters;
    check_buffer like_query = {.dtype = attention_results(plan),
                               .rank = 4,
                               .shape = {plan->batch, plan->length, plan->heads, plan->width}};
    check_buffer like_norm = {
        .dtype = RF_F32, .rank = 3, .shape = {plan->batch, plan->heads, plan->length}};
    attention_add_inputs(check);
    check_buffer output = like_query;
    output.name = "output";
    output.role = CHECK_DERIVED;
    output.weight = "output_gradient";
    check_add(check, &output);
    like_norm.name = "norm";
    like_norm.role = CHECK_DERIVED;
    check_add(check, &like_norm);
    check_buffer gradient = like_query;
    gradient.name = "output_gradient";
    gradient.role = CHECK_INPUT;
    gradient.low = -1;
    gradient.high = 1;
    check_add(check, &gradient);
    like_norm.name = "rounding";
    like_norm.role = CHECK_VIRTUAL;
    like_norm.dtype = RF_F64;
    check_add(check, &like_norm);
    static const char *const names[] = {"query_gradient", "value_gradient", "key_gradient"};
    static const char *const of[] = {"query", "value", "key"};
    for (int i = 0; i < (plan->normalise ? 2 : 3); i++) {
        like_query.name = names[i];
        like_query.role = CHECK_GRADIENT;
        like_query.of = of[i];
        /* Where rules set most scores, most gradients of queries and keys are 0, but for what is
         * left where g . v and g . o cancel. */
        const bool is_mostly_masked = plan->mask == MASK_ALL_KEYS || plan->mask == MASK_FIRST_HALF;
        like_query.tolerance = is_mostly_masked && i != 1 ? 2e-4 : 2e-5;
        like_query.tolerance = plan->bf16 ? 4e-2 : like_query.tolerance;
        /* Where rules set every score, or no segment or bucket has two tokens, all gradients of
         * queries and keys are 0; what is left of products that cancel is less than a thousandth of
         * a usual gradient in bf16, and a few roundings in f32. */
        const double segment_noise = plan->segments > 0 ? 2e-7 : 0.0;
        const bool is_paper = plan->buckets != BUCKETS_NONE || plan->zero_rows;
        const double noise = is_paper ? 1e-6 : segment_noise;
        const double bf16_noise = is_paper && is_mostly_masked ? 1e-2 : 1e-5;
        like_query.noise = i == 1 ? 0.0 : plan->bf16 ? bf16_noise : noise;
        check_add(check, &like_query);
    }
}

/* query_gradient has the memory of output, as it may: a copy of it stands there. */
static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const rf_tensor output = check_tensor(check, OUTPUT);
    const rf_tensor shared = check_tensor(check, QUERY_GRADIENT);
    RF_TRY(
        rf_device_copy(context->device, shared.data, output.data, rf_tensor_size(&output), error));
    rf_block_attention_backward backward = {.plan = attention_plan(check, true),
                                            .query = check_tensor(check, ATTENTION_QUERY),
                                            .key = attention_key(check),
                                            .value = check_tensor(check, ATTENTION_VALUE),
                                            .output = shared,
                                            .norm = check_tensor(check, NORM),
                                            .output_gradient = check_tensor(check, OUTPUT_GRADIENT),
                                            .query_gradient = shared,
                                            .value_gradient = check_tensor(check, VALUE_GRADIENT)};
    if (!backward.plan.normalise_keys) {
        backward.key_gradient = check_tensor(check, KEY_GRADIENT);
    }
    return rf_op_block_attention_backward(context, &backward, error);
}

/* The norm as the forward gives it, from per-part norms that are rounded too. */
static void rounded_norm(const oracle_attention *attention, double *norm)
{
    const rf_attention_plan *plan = attention->plan;
    const int64_t rows = plan->batch * plan->heads * plan->length;
    double *memory = NULL;
    const size_t count = (size_t)(rows * (plan->parts + 1) * (attention->width + 1));
    assert_ok(rf_allocate(count * sizeof(double), "a test's rounds", (void **)&memory, error));
    double *output = memory;
    double *log_norm = output + rows * plan->parts * attention->width;
    double *merged = log_norm + rows * plan->parts;
    oracle_block_attention(attention, output, log_norm);
    const rf_combine_rounds combine = {.output =
                                           rf_tensor_5(NULL, RF_F32, plan->batch, plan->parts,
                                                       plan->length, plan->heads, attention->width),
                                       .rounding = plan->rounding};
    oracle_combine_rounds(&combine, output, log_norm, merged, norm);
    rf_release(memory);
}

static void oracle(const check_state *check, double *const *values)
{
    const rf_attention_plan plan = attention_plan(check, false);
    const oracle_attention attention = attention_oracle(check, &plan, values);
    double *norm = values[NORM];
    double *rounding = values[ROUNDING];
    oracle_merged_attention(&attention, values[OUTPUT], norm);
    const int64_t rows = plan.batch * plan.heads * plan.length;
    if (!check->differentiating) {
        memcpy(rounding, norm, (size_t)rows * sizeof(double));
        rounded_norm(&attention, norm);
        const bool is_exact = plan.rounding == RF_ROUNDING_EXACT;
        for (int64_t i = 0; i < rows; i++) {
            const bool is_empty = isinf(norm[i]);
            rounding[i] = is_exact || is_empty ? 1.0 : exp(rounding[i] - norm[i]);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        const int64_t head = i / plan.length; /* and batch */
        const int64_t row =
            (head / plan.heads * plan.length + i % plan.length) * plan.heads + head % plan.heads;
        for (int64_t c = 0; c < attention.width; c++) {
            values[OUTPUT][row * attention.width + c] *= rounding[i];
        }
    }
}

/* Rows that see only themselves give their value 0.9978 of the gradient in two rounds, 1.0035 in
 * four, and their query none. */
static void test_self_only_rows(void **state)
{
    (void)state;
    const double expected[2] = {0.9978, 1.0035};
    float query[2] = {0.3F, -0.7F}, value[2] = {1.0F, 2.0F}, output[2],
          output_gradient[2] = {1.0F, 1.0F};
    float query_gradient[2], value_gradient[2], norm[1];
    int32_t order[4] = {0, 0, 0, 0};
    const rf_tensor q = rf_tensor_4(query, RF_F32, 1, 1, 1, 2);
    for (int i = 0; i < 2; i++) {
        const int64_t parts = 2 + 2 * i;
        norm[0] = (float)(-1e5 + log((double)parts));
        output[0] = (float)expected[i] * value[0];
        output[1] = (float)expected[i] * value[1];
        rf_block_attention_backward backward = {
            .query = q, .output = q, .output_gradient = q, .value = q};
        backward.plan = (rf_attention_plan){.batch = 1,
                                            .heads = 1,
                                            .parts = parts,
                                            .length = 1,
                                            .slots = 1,
                                            .block = 1,
                                            .wrap = RF_WRAP_ALL_PARTS,
                                            .order = rf_tensor_4(order, RF_I32, 1, 1, parts, 1),
                                            .self = RF_SELF_LAST_RESORT,
                                            .normalise_keys = true,
                                            .scale = 1.0F};
        backward.value.data = value;
        backward.output.data = output;
        backward.output_gradient.data = output_gradient;
        backward.norm = rf_tensor_3(norm, RF_F32, 1, 1, 1);
        backward.query_gradient = rf_tensor_4(query_gradient, RF_F32, 1, 1, 1, 2);
        backward.value_gradient = rf_tensor_4(value_gradient, RF_F32, 1, 1, 1, 2);
        check_run(RF_OP_BLOCK_ATTENTION_BACKWARD, &backward, 1);
        for (int c = 0; c < 2; c++) {
            assert_true(fabs((double)value_gradient[c] - expected[i]) < 1e-4);
            assert_true(query_gradient[c] == 0.0F);
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_block_attention_backward backward = {.query = rf_tensor_4(NULL, RF_F32, 1, 10, 2, 4),
                                            .norm = rf_tensor_3(NULL, RF_F32, 1, 2, 10)};
    backward.plan = (rf_attention_plan){
        .batch = 1, .heads = 2, .parts = 1, .length = 10, .slots = 12, .block = 4, .scale = 1.0F};
    rf_tensor *like_query[] = {&backward.key,
                               &backward.value,
                               &backward.output,
                               &backward.output_gradient,
                               &backward.query_gradient,
                               &backward.key_gradient,
                               &backward.value_gradient};
    for (size_t i = 0; i < sizeof like_query / sizeof like_query[0]; i++) {
        *like_query[i] = backward.query;
    }
    backward.key_gradient.shape[3] = 5;
    check_rejected(RF_OP_BLOCK_ATTENTION_BACKWARD, &backward, RF_ERR_ARGUMENT, "key_gradient");
    backward.key_gradient.shape[3] = 4;
    backward.norm.shape[2] = 11;
    check_rejected(RF_OP_BLOCK_ATTENTION_BACKWARD, &backward, RF_ERR_ARGUMENT, "norm");
}

int main(int argc, char **argv)
{
    static attention_table table;
    attention_fill_table(&table, &(check_case){.build = build, .run = run, .oracle = oracle});
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_self_only_rows),
                                       cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, table.cases, ATTENTION_CASES, tests,
                      sizeof tests / sizeof tests[0]);
}
