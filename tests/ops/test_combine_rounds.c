/* combine_rounds against the definition, with norms of ordinary size, far apart, and near -1e5,
 * where the one rounding shows. */
#include "check_op.h"

#include "oracle/attention.h"

#include <math.h>

enum { OUTPUT, LOG_NORM, MERGED, NORM };

typedef struct shape {
    int64_t batch, parts, length, heads, width;
    double centre, spread; /* of the norms */
    bool equal;            /* the same norm in all parts */
    rf_dtype dtype;        /* of outputs; norms are f32 */
    rf_rounding rounding;
    bool has_empty; /* rows of some parts are empty, some of all */
} shape;

static void make_equal(const check_state *check, double *values, int64_t count)
{
    const shape *s = check->which->parameters;
    for (int64_t i = 0; i < count && s->equal; i++) {
        values[i] = s->centre;
    }
    for (int64_t i = 0; i < count && s->has_empty; i++) {
        const int64_t token = i % s->length;
        const bool is_empty = token % 3 == 0 || (token % 3 == 1 && i / s->length % s->parts == 0);
        values[i] = is_empty ? -(double)INFINITY : values[i];
    }
}

static void build(check_state *check)
{
    const shape *s = check->which->parameters;
    check_add(check, &(check_buffer){.name = "output",
                                     .role = CHECK_INPUT,
                                     .dtype = s->dtype,
                                     .rank = 5,
                                     .shape = {s->batch, s->parts, s->length, s->heads, s->width},
                                     .low = -1,
                                     .high = 1});
    check_add(check, &(check_buffer){.name = "log_norm",
                                     .role = CHECK_INPUT,
                                     .dtype = RF_F32,
                                     .rank = 4,
                                     .shape = {s->batch, s->heads, s->parts, s->length},
                                     .low = s->centre - s->spread,
                                     .high = s->centre + s->spread,
                                     .fill = make_equal});
    check_add(check, &(check_buffer){.name = "merged",
                                     .role = CHECK_OUTPUT,
                                     .dtype = s->dtype,
                                     .rank = 4,
                                     .shape = {s->batch, s->length, s->heads, s->width},
                                     .tolerance = s->dtype == RF_BF16 ? 2e-2 : 2e-6});
    check_add(check, &(check_buffer){.name = "norm",
                                     .role = CHECK_OUTPUT,
                                     .dtype = RF_F32,
                                     .rank = 3,
                                     .shape = {s->batch, s->heads, s->length}});
}

static const shape *shape_of(const check_state *check)
{
    return check->which->parameters;
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    return rf_op_combine_rounds(context,
                                &(rf_combine_rounds){.output = check_tensor(check, OUTPUT),
                                                     .log_norm = check_tensor(check, LOG_NORM),
                                                     .merged = check_tensor(check, MERGED),
                                                     .norm = check_tensor(check, NORM),
                                                     .rounding = shape_of(check)->rounding},
                                error);
}

static void oracle(const check_state *check, double *const *values)
{
    const shape *s = check->which->parameters;
    const rf_combine_rounds combine = {
        .output = rf_tensor_5(NULL, RF_F32, s->batch, s->parts, s->length, s->heads, s->width),
        .rounding = s->rounding};
    oracle_combine_rounds(&combine, values[OUTPUT], values[LOG_NORM], values[MERGED], values[NORM]);
}

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 3.0, 1.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {2, 1, 9, 2, 5, 3.0, 1.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {2, 2, 40, 2, 16, 2.0, 2.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {1, 4, 33, 3, 7, -5.0, 60.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {2, 2, 5, 1, 4, -1e5, 0.0, true, RF_F32, RF_ROUNDING_REFERENCE, false},
    {1, 4, 5, 1, 4, -1e5, 0.0, true, RF_F32, RF_ROUNDING_REFERENCE, false},
    {1, 2, 5, 1, 4, -1e9, 0.0, true, RF_F32, RF_ROUNDING_REFERENCE, false},
    {0, 2, 5, 1, 4, 0.0, 1.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {2, 2, 300, 2, 64, 0.0, 3.0, false, RF_F32, RF_ROUNDING_REFERENCE, false},
    {2, 1, 9, 2, 5, 3.0, 1.0, false, RF_BF16, RF_ROUNDING_REFERENCE, false},
    {1, 4, 33, 3, 7, -5.0, 60.0, false, RF_BF16, RF_ROUNDING_REFERENCE, false},
    {1, 3, 20, 2, 100, 0.0, 2.0, false, RF_BF16, RF_ROUNDING_REFERENCE, false},
    {2, 4, 300, 2, 64, 0.0, 3.0, false, RF_BF16, RF_ROUNDING_REFERENCE, false},
    {2, 3, 40, 2, 16, 2.0, 2.0, false, RF_F32, RF_ROUNDING_EXACT, false},
    {1, 4, 5, 1, 4, -1e5, 0.0, true, RF_F32, RF_ROUNDING_EXACT, false},
    {2, 3, 40, 2, 16, 2.0, 2.0, false, RF_F32, RF_ROUNDING_EXACT, true},
    {1, 4, 33, 3, 7, -5.0, 60.0, false, RF_BF16, RF_ROUNDING_EXACT, true},
    {2, 3, 40, 2, 16, 2.0, 2.0, false, RF_F32, RF_ROUNDING_REFERENCE, true},
};
static const char *const names[] = {"one number",
                                    "one part",
                                    "two parts",
                                    "norms far apart",
                                    "self-only rows, two rounds",
                                    "self-only rows, four rounds",
                                    "rows masked entirely",
                                    "no batch",
                                    "large enough for threads",
                                    "bf16, one part",
                                    "bf16, odd heads",
                                    "bf16, wide heads",
                                    "bf16, large enough for threads",
                                    "exact",
                                    "exact, self-only rows",
                                    "exact, empty rows",
                                    "exact, bf16, empty rows",
                                    "empty rows"};
enum { CASES = sizeof shapes / sizeof shapes[0] };

/* Weights of rows that see only themselves do not sum to 1: 0.9978 in two rounds, 1.0035 in four,
 * as in the reference. */
static void test_rounding_of_self_only_rows(void **state)
{
    (void)state;
    float output[4] = {1.0F, 1.0F, 1.0F, 1.0F}, log_norm[4] = {-1e5F, -1e5F, -1e5F, -1e5F};
    float merged, norm;
    rf_combine_rounds combine = {.merged = rf_tensor_4(&merged, RF_F32, 1, 1, 1, 1),
                                 .norm = rf_tensor_3(&norm, RF_F32, 1, 1, 1)};
    const double expected[2] = {0.9978, 1.0035};
    for (int i = 0; i < 2; i++) {
        combine.output = rf_tensor_5(output, RF_F32, 1, 2 + 2 * i, 1, 1, 1);
        combine.log_norm = rf_tensor_4(log_norm, RF_F32, 1, 1, 2 + 2 * i, 1);
        check_run(RF_OP_COMBINE_ROUNDS, &combine, 1);
        assert_true(fabs((double)merged - expected[i]) < 1e-4);
    }
}

int main(int argc, char **argv)
{
    check_case cases[CASES];
    for (int i = 0; i < CASES; i++) {
        cases[i] = (check_case){names[i], (uint64_t)i + 1U, build, run, oracle, &shapes[i]};
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounding_of_self_only_rows)};
    return check_main(argc, argv, cases, CASES, tests, sizeof tests / sizeof tests[0]);
}
