/* Sums, column sums and the checksum. */
#include "check_op.h"

#include "oracle/oracle.h"

enum { X, Y };

typedef struct reduce_shape {
    rf_reduce_kind kind;
    int64_t rows, width;
    double range;
    bool bf16;
} reduce_shape;

static void build(check_state *check)
{
    const reduce_shape *s = check->which->parameters;
    check_buffer x = check_matrix("x", CHECK_INPUT, s->rows, s->width, -s->range, 2 * s->range);
    x.dtype = s->bf16 ? RF_BF16 : RF_F32;
    bool columns = s->kind == RF_REDUCE_COLUMN_SUM;
    check_buffer y = columns ? check_vector("y", CHECK_UPDATED, s->width, -1, 1)
                             : check_vector("y", CHECK_OUTPUT, 1, 0, 0);
    y.dtype = columns ? RF_F32 : RF_F64;
    y.tolerance = columns ? 1e-6 : 1e-11; /* the oracle rounds too */
    check_add(check, &x);
    check_add(check, &y);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const reduce_shape *s = check->which->parameters;
    rf_reduce reduce = {.kind = s->kind, .x = check_tensor(check, X), .y = check_tensor(check, Y)};
    return rf_op_reduce(context, &reduce, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const reduce_shape *s = check->which->parameters;
    if (s->kind == RF_REDUCE_COLUMN_SUM) {
        oracle_column_sum(s->rows, s->width, values[X], values[Y]);
        return;
    }
    values[Y][0] = 0.0;
    for (int64_t i = 0; i < s->rows * s->width; i++) {
        double x = values[X][i];
        values[Y][0] += s->kind == RF_REDUCE_SUM ? x : x * x;
    }
}

static uint64_t checksum(uint32_t *words, int64_t count, int threads)
{
    uint64_t sum = 0;
    rf_reduce reduce = {.kind = RF_REDUCE_CHECKSUM,
                        .x = rf_tensor_1(words, RF_FIXED32, count),
                        .y = rf_tensor_1(&sum, RF_I64, 1)};
    check_run(RF_OP_REDUCE, &reduce, threads);
    return sum;
}

static void test_checksum(void **state)
{
    (void)state;
    enum { COUNT = 150000 };
    static uint32_t words[COUNT];
    uint64_t expected = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        words[i] = (uint32_t)(i * 2654435761U) ^ 0x80000001U;
        expected += words[i] * (2 * i + 1);
    }
    assert_true(checksum(words, COUNT, 1) == expected);
    assert_true(checksum(words, COUNT, 2) == expected);
    for (int bit = 0; bit < 32; bit++) {
        uint32_t flip = (uint32_t)1 << bit;
        words[COUNT - 1 - bit * 4000] ^= flip;
        assert_true(checksum(words, COUNT, 2) != expected);
        words[COUNT - 1 - bit * 4000] ^= flip;
    }
    uint32_t first = words[0]; /* order counts */
    words[0] = words[1];
    words[1] = first;
    assert_true(checksum(words, COUNT, 2) != expected);
    assert_true(checksum(words, 0, 1) == 0);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_reduce reduce = {.kind = RF_REDUCE_SUM,
                        .x = rf_tensor_2(NULL, RF_F32, 3, 4),
                        .y = rf_tensor_1(NULL, RF_F32, 1)};
    check_rejected(RF_OP_REDUCE, &reduce, RF_ERR_ARGUMENT,
                   "y is [1] f32, but x [3, 4] f32 needs [1] f64");
    reduce.kind = RF_REDUCE_COLUMN_SUM;
    check_rejected(RF_OP_REDUCE, &reduce, RF_ERR_ARGUMENT, "needs [4] f32");
    reduce.kind = RF_REDUCE_SUM;
    reduce.x.dtype = RF_BF16; /* columns only */
    check_rejected(RF_OP_REDUCE, &reduce, RF_ERR_ARGUMENT, "x is [3, 4] bf16");
    reduce.kind = RF_REDUCE_CHECKSUM;
    reduce.x.dtype = RF_F64;
    check_rejected(RF_OP_REDUCE, &reduce, RF_ERR_ARGUMENT, "x is [3, 4] f64");
}

static const reduce_shape shapes[] = {
    {RF_REDUCE_SUM, 3, 7, 1, false},
    {RF_REDUCE_SUM, 400, 501, 1, false},
    {RF_REDUCE_SUM, 0, 7, 1, false},
    {RF_REDUCE_SUM_SQUARES, 3, 7, 1, false},
    {RF_REDUCE_SUM_SQUARES, 400, 501, 1e15, false},
    {RF_REDUCE_SUM_SQUARES, 1, 1, 1e-25, false},
    {RF_REDUCE_COLUMN_SUM, 3, 7, 1, false},
    {RF_REDUCE_COLUMN_SUM, 300, 201, 1, false},
    {RF_REDUCE_COLUMN_SUM, 0, 7, 1, false},
    {RF_REDUCE_COLUMN_SUM, 1000, 1, 1, false},
    {RF_REDUCE_COLUMN_SUM, 3, 7, 1, true},
    {RF_REDUCE_COLUMN_SUM, 300, 201, 1, true},
    {RF_REDUCE_COLUMN_SUM, 0, 7, 1, true},
    {RF_REDUCE_COLUMN_SUM, 1000, 1, 1, true},
};
static const check_case cases[] = {
    {"sum", 1, build, run, oracle, &shapes[0]},
    {"sum of several blocks", 2, build, run, oracle, &shapes[1]},
    {"sum of nothing", 3, build, run, oracle, &shapes[2]},
    {"squares", 4, build, run, oracle, &shapes[3]},
    {"squares of several blocks, large", 5, build, run, oracle, &shapes[4]},
    {"square, tiny", 6, build, run, oracle, &shapes[5]},
    {"columns", 7, build, run, oracle, &shapes[6]},
    {"many columns", 8, build, run, oracle, &shapes[7]},
    {"columns of nothing", 9, build, run, oracle, &shapes[8]},
    {"one long column", 10, build, run, oracle, &shapes[9]},
    {"bf16 columns", 11, build, run, oracle, &shapes[10]},
    {"many bf16 columns", 12, build, run, oracle, &shapes[11]},
    {"bf16 columns of nothing", 13, build, run, oracle, &shapes[12]},
    {"one long bf16 column", 14, build, run, oracle, &shapes[13]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
