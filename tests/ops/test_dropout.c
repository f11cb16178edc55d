/* Dropout against the definition of its mask. */
#include "check_op.h"

#include "oracle/oracle.h"

enum { X, Y };

typedef struct dropout_shape {
    int64_t rows, width, first_row;
    float probability;
    bool in_place, bf16, bf16_y;
} dropout_shape;

static const rf_random_key key = {
    .seed = 7, .step = 3, .layer = 2, .purpose = RF_PURPOSE_EMBEDDING_DROPOUT};

static void build(check_state *check)
{
    const dropout_shape *s = check->which->parameters;
    check_buffer x =
        check_matrix("x", s->in_place ? CHECK_UPDATED : CHECK_INPUT, s->rows, s->width, -1, 1);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, s->width, 0, 0);
    x.dtype = s->bf16 ? RF_BF16 : RF_F32;
    y.dtype = s->bf16_y ? RF_BF16 : RF_F32;
    check_add(check, &x);
    if (!s->in_place) {
        check_add(check, &y);
    }
}

static rf_dropout dropout_of(const check_state *check)
{
    const dropout_shape *s = check->which->parameters;
    return (rf_dropout){.x = check_tensor(check, X),
                        .y = check_tensor(check, s->in_place ? X : Y),
                        .probability = s->probability,
                        .key = key,
                        .first_row = s->first_row};
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const rf_dropout dropout = dropout_of(check);
    return rf_op_dropout(context, &dropout, error);
}

/* The same with column sums of what is written, in the last buffer. */
static void build_summed(check_state *check)
{
    const dropout_shape *s = check->which->parameters;
    build(check);
    check_buffer sums = check_vector("bias_gradient", CHECK_UPDATED, s->width, -1, 1);
    sums.tolerance = s->bf16 || s->bf16_y ? 1e-2 : 1e-5; /* of rounded numbers */
    check_add(check, &sums);
}

static rf_status run_summed(rf_context *context, const check_state *check, rf_error *error)
{
    rf_dropout dropout = dropout_of(check);
    dropout.bias_gradient = check_tensor(check, check->count - 1);
    return rf_op_dropout(context, &dropout, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const dropout_shape *s = check->which->parameters;
    oracle_dropout(&key, (double)s->probability, s->first_row, s->rows, s->width, values[X],
                   values[s->in_place ? X : Y]);
}

static void oracle_summed(const check_state *check, double *const *values)
{
    const dropout_shape *s = check->which->parameters;
    const double *y = values[s->in_place ? X : Y];
    oracle(check, values);
    for (int64_t i = 0; i < s->rows * s->width; i++) {
        values[check->count - 1][i % s->width] += y[i];
    }
}

/* The share that is kept, and that a slice draws the mask of the whole. */
static void test_mask(void **state)
{
    (void)state;
    enum { ROWS = 100, WIDTH = 101, FIRST = 37 };
    static float ones[ROWS * WIDTH];
    static float whole[ROWS * WIDTH];
    static float slice[ROWS * WIDTH];
    for (int i = 0; i < ROWS * WIDTH; i++) {
        ones[i] = 1.0F;
    }
    rf_dropout dropout = {.x = rf_tensor_2(ones, RF_F32, ROWS, WIDTH),
                          .y = rf_tensor_2(whole, RF_F32, ROWS, WIDTH),
                          .probability = 0.25F,
                          .key = key};
    check_run(RF_OP_DROPOUT, &dropout, 1);
    int kept = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) {
        kept += whole[i] != 0.0F ? 1 : 0;
    }
    assert_in_range(kept, 7575 - 175, 7575 + 175); /* four deviations */
    dropout.x.shape[0] = ROWS - FIRST;
    dropout.y = rf_tensor_2(slice, RF_F32, ROWS - FIRST, WIDTH);
    dropout.first_row = FIRST;
    check_run(RF_OP_DROPOUT, &dropout, 1);
    assert_memory_equal(slice, whole + FIRST * WIDTH, (ROWS - FIRST) * WIDTH * sizeof(float));
}

/* An element whose uniform is the probability itself is kept. */
static void test_edge(void **state)
{
    (void)state;
    float x[8] = {1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    float y[8];
    for (uint64_t i = 0; i < 8; i++) {
        rf_dropout dropout = {.x = rf_tensor_2(x, RF_F32, 1, 8),
                              .y = rf_tensor_2(y, RF_F32, 1, 8),
                              .probability = rf_random_uniform(&key, i),
                              .key = key};
        check_run(RF_OP_DROPOUT, &dropout, 1);
        assert_true(y[i] > 0.0F);
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_dropout dropout = {.x = rf_tensor_2(NULL, RF_F32, 3, 4),
                          .y = rf_tensor_2(NULL, RF_F32, 3, 5)};
    check_rejected(RF_OP_DROPOUT, &dropout, RF_ERR_ARGUMENT,
                   "y is [3, 5] f32, but x [3, 4] f32 needs [3, 4] f32");
    dropout.y = dropout.x;
    dropout.probability = 1.0F;
    check_rejected(RF_OP_DROPOUT, &dropout, RF_ERR_ARGUMENT, "probability is 1");
    dropout.probability = 0.5F;
    dropout.bias_gradient = rf_tensor_1(NULL, RF_F32, 3);
    check_rejected(RF_OP_DROPOUT, &dropout, RF_ERR_ARGUMENT,
                   "bias_gradient is [3] f32, but x [3, 4] f32 needs [4] f32");
    dropout.x.dtype = RF_BF16;
    dropout.y.dtype = RF_F16;
    check_rejected(RF_OP_DROPOUT, &dropout, RF_ERR_ARGUMENT, "needs [3, 4] f32");
}

static const dropout_shape shapes[] = {
    {3, 5, 0, 0.5F, false, false, false},       {200, 301, 12345, 0.1F, false, false, false},
    {200, 301, 3, 0.9F, true, false, false},    {7, 33, 1, 0.0F, false, false, false},
    {7, 33, 1, 0.0F, true, false, false},       {1, 1, 99, 0.5F, false, false, false},
    {0, 7, 0, 0.5F, false, false, false},       {50, 1, 3000000001, 0.5F, false, false, false},
    {200, 301, 12345, 0.1F, false, true, true}, {41, 33, 3, 0.9F, true, true, true},
    {7, 33, 1, 0.0F, false, true, true},        {0, 7, 0, 0.5F, false, true, true},
    {41, 301, 3, 0.1F, false, false, true},     {40, 32, 3, 0.1F, false, false, true},
    {7, 33, 1, 0.0F, false, false, true},       {41, 33, 3, 0.5F, false, true, false},
    {700, 132, 3, 0.1F, false, false, true},    {70, 260, 1, 0.0F, true, false, false},
};
static const check_case cases[] = {
    {"small", 1, build, run, oracle, &shapes[0]},
    {"large", 2, build, run, oracle, &shapes[1]},
    {"large in place", 3, build, run, oracle, &shapes[2]},
    {"copy", 4, build, run, oracle, &shapes[3]},
    {"copy in place", 5, build, run, oracle, &shapes[4]},
    {"one element", 6, build, run, oracle, &shapes[5]},
    {"no rows", 7, build, run, oracle, &shapes[6]},
    {"one column, far rows", 8, build, run, oracle, &shapes[7]},
    {"bf16", 9, build, run, oracle, &shapes[8]},
    {"bf16 in place", 10, build, run, oracle, &shapes[9]},
    {"bf16 copy", 11, build, run, oracle, &shapes[10]},
    {"bf16, no rows", 12, build, run, oracle, &shapes[11]},
    {"f32 to bf16", 13, build, run, oracle, &shapes[12]},
    {"f32 to bf16, whole quads", 14, build, run, oracle, &shapes[13]},
    {"f32 to bf16, copy", 15, build, run, oracle, &shapes[14]},
    {"bf16 to f32", 16, build, run, oracle, &shapes[15]},
    {"summed, small", 17, build_summed, run_summed, oracle_summed, &shapes[0]},
    {"summed, large", 18, build_summed, run_summed, oracle_summed, &shapes[1]},
    {"summed, large in place", 19, build_summed, run_summed, oracle_summed, &shapes[2]},
    {"summed, copy", 20, build_summed, run_summed, oracle_summed, &shapes[3]},
    {"summed, copy in place", 21, build_summed, run_summed, oracle_summed, &shapes[17]},
    {"summed, no rows", 22, build_summed, run_summed, oracle_summed, &shapes[6]},
    {"summed, bf16 in place", 23, build_summed, run_summed, oracle_summed, &shapes[9]},
    {"summed, f32 to bf16, whole quads", 24, build_summed, run_summed, oracle_summed, &shapes[16]},
    {"summed, f32 to bf16, copy", 25, build_summed, run_summed, oracle_summed, &shapes[14]},
    {"summed, bf16 to f32", 26, build_summed, run_summed, oracle_summed, &shapes[15]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 3);
}
