/* The streams: fixed point against integers, overflow, and that taking back restores every bit. */
#include "check_op.h"

#include "base/random.h"
#include "oracle/oracle.h"

#include <math.h>
#include <string.h>

enum { STREAM, VALUE, OVERFLOW_FLAG, MOST_ELEMENTS = 200 * 304 };

typedef struct residual_shape {
    rf_dtype dtype;
    rf_residual_mode mode;
    int fraction_bits;
    int64_t rows, width;
    double stream_range, value_range;
    int flag;  /* before */
    bool bf16; /* value */
    float probability;
    int64_t first_row;
} residual_shape;

static const rf_random_key key = {
    .seed = 7, .step = 3, .layer = 2, .purpose = RF_PURPOSE_ATTENTION_OUTPUT_DROPOUT};

static int sign_of(rf_residual_mode mode)
{
    return mode == RF_RESIDUAL_ADD ? 1 : mode == RF_RESIDUAL_SUBTRACT ? -1 : 0;
}

/* Ties of rounding first. */
static void fill_value(const check_state *check, double *values, int64_t count)
{
    const residual_shape *s = check->which->parameters;
    for (int64_t i = 0; i < 8 && i < count && s->value_range < 100.0; i++) {
        values[i] = ldexp((double)i - 3.5, -s->fraction_bits);
    }
}

static void build(check_state *check)
{
    const residual_shape *s = check->which->parameters;
    check_buffer stream =
        check_matrix("stream", s->mode == RF_RESIDUAL_SET ? CHECK_OUTPUT : CHECK_UPDATED, s->rows,
                     s->width, -s->stream_range, s->stream_range);
    stream.dtype = s->dtype;
    stream.fraction_bits = s->fraction_bits;
    check_buffer value =
        check_matrix("value", CHECK_INPUT, s->rows, s->width, -s->value_range, s->value_range);
    value.fill = fill_value;
    value.dtype = s->bf16 ? RF_BF16 : RF_F32;
    check_buffer overflow = check_vector("overflow", CHECK_UPDATED, 1, s->flag, s->flag);
    overflow.dtype = RF_I32;
    check_add(check, &stream);
    check_add(check, &value);
    check_add(check, &overflow);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const residual_shape *s = check->which->parameters;
    rf_residual residual = {.stream = check_tensor(check, STREAM),
                            .value = check_tensor(check, VALUE),
                            .overflow = check_tensor(check, OVERFLOW_FLAG),
                            .mode = s->mode,
                            .fraction_bits = s->fraction_bits,
                            .probability = s->probability,
                            .key = key,
                            .first_row = s->first_row};
    return rf_op_residual(context, &residual, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const residual_shape *s = check->which->parameters;
    int sign = sign_of(s->mode);
    int64_t count = s->rows * s->width;
    static double dropped[MOST_ELEMENTS];
    const double *value = values[VALUE];
    if (s->probability > 0.0F) {
        oracle_dropout(&key, (double)s->probability, s->first_row, s->rows, s->width, values[VALUE],
                       dropped);
        for (int64_t i = 0; i < count; i++) { /* fixed point is that of the f32 product */
            dropped[i] = (double)(float)dropped[i];
        }
        value = dropped;
    }
    if (s->dtype == RF_FIXED32) {
        if (oracle_residual_fixed(sign, s->fraction_bits, count, value, values[STREAM])) {
            values[OVERFLOW_FLAG][0] = 1.0;
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        values[STREAM][i] =
            (sign == 0 ? 0.0 : values[STREAM][i]) + (sign == 0 ? 1.0 : (double)sign) * value[i];
    }
}

enum { COUNT = 24 };

/* ADD or SUBTRACT `value`; gives the flag. */
static int32_t change(int32_t *stream, float *value, rf_residual_mode mode, int bits)
{
    int32_t overflow = 0;
    rf_residual residual = {.stream = rf_tensor_2(stream, RF_FIXED32, 1, COUNT),
                            .value = rf_tensor_2(value, RF_F32, 1, COUNT),
                            .overflow = rf_tensor_1(&overflow, RF_I32, 1),
                            .mode = mode,
                            .fraction_bits = bits};
    check_run(RF_OP_RESIDUAL, &residual, 1);
    return overflow;
}

/* Values beyond the range wrap modulo 2^32 exactly, and subtracting them restores the stream
 * whatever they are. */
static void test_restores(void **state)
{
    (void)state;
    float value[COUNT] = {1e30F,      -1e30F,    NAN,        INFINITY, -INFINITY, 512.0F,
                          -512.0F,    511.9999F, -600.25F,   3e5F,     -3e7F,     0x1.234566p31F,
                          0x1.8p41F,  -0x1p63F,  3.4e38F,    1e-40F,   0.0F,      -0.0F,
                          0x1.1p-23F, 0x1p-23F,  0x1.8p-22F, 100.0F,   -100.0F,   1.0F};
    int32_t start[COUNT];
    int32_t stream[COUNT];
    for (int i = 0; i < COUNT; i++) {
        start[i] = (int32_t)((uint32_t)i * 2654435761U);
    }
    for (int bits = 0; bits <= 30; bits++) {
        memcpy(stream, start, sizeof stream);
        assert_int_equal(change(stream, value, RF_RESIDUAL_ADD, bits), 1);
        for (int i = 0; i < COUNT; i++) {
            double expected = ldexp((double)start[i], -bits);
            double number = (double)value[i];
            (void)oracle_residual_fixed(1, bits, 1, &number, &expected);
            assert_true(ldexp((double)stream[i], -bits) == expected);
        }
        assert_int_equal(change(stream, value, RF_RESIDUAL_SUBTRACT, bits), 1);
        assert_memory_equal(stream, start, sizeof stream);
    }
}

/* One value alone at the edge of the range decides the flag. */
static void check_flag(int32_t before, float number, rf_residual_mode mode, int32_t expected)
{
    int32_t stream[COUNT] = {0};
    float value[COUNT] = {0.0F};
    stream[17] = before;
    value[17] = number;
    assert_int_equal(change(stream, value, mode, 0), expected);
}

static void test_flag(void **state)
{
    (void)state;
    check_flag(INT32_MAX - 1, 1.0F, RF_RESIDUAL_ADD, 0);
    check_flag(INT32_MAX, 1.0F, RF_RESIDUAL_ADD, 1);
    check_flag(INT32_MAX, -1.0F, RF_RESIDUAL_SUBTRACT, 1);
    check_flag(INT32_MIN + 1, 1.0F, RF_RESIDUAL_SUBTRACT, 0);
    check_flag(INT32_MIN, 1.0F, RF_RESIDUAL_SUBTRACT, 1);
    check_flag(0, -0x1p31F, RF_RESIDUAL_ADD, 0);
    check_flag(0, 0x1p31F, RF_RESIDUAL_ADD, 1);
    check_flag(-1, -0x1p31F, RF_RESIDUAL_SUBTRACT, 0);
    check_flag(0, -0x1p31F, RF_RESIDUAL_SUBTRACT, 1);
    check_flag(0, -0x1p31F, RF_RESIDUAL_SET, 0);
    check_flag(0, 0x1p31F, RF_RESIDUAL_SET, 1);
    check_flag(0, NAN, RF_RESIDUAL_SET, 1);
    check_flag(5, -INFINITY, RF_RESIDUAL_ADD, 1);
}

static void test_flag_of_floats(void **state)
{
    (void)state;
    const float numbers[] = {3e38F, NAN, INFINITY, -INFINITY};
    for (int mode = 0; mode <= (int)RF_RESIDUAL_SET; mode++) {
        for (int i = 0; i < 4; i++) {
            float stream[3] = {0.0F, 1.0F, 2.0F};
            float value[3] = {0.0F, 1.0F, numbers[i]};
            int32_t overflow = 0;
            rf_residual residual = {.stream = rf_tensor_2(stream, RF_F32, 3, 1),
                                    .value = rf_tensor_2(value, RF_F32, 3, 1),
                                    .overflow = rf_tensor_1(&overflow, RF_I32, 1),
                                    .mode = (rf_residual_mode)mode};
            check_run(RF_OP_RESIDUAL, &residual, 1);
            assert_int_equal(overflow, i > 0 ? 1 : 0);
        }
    }
}

/* Not a number, infinite, and the greatest bf16 number, which is finite. */
static void test_flag_of_bf16(void **state)
{
    (void)state;
    const uint16_t numbers[] = {0x7F7F, 0x7FC0, 0x7F80, 0xFF80};
    for (int i = 0; i < 4; i++) {
        float stream[3] = {0.0F, 1.0F, 2.0F};
        uint16_t value[3] = {0, 0x3F80, numbers[i]};
        int32_t overflow = 0;
        rf_residual residual = {.stream = rf_tensor_2(stream, RF_F32, 3, 1),
                                .value = rf_tensor_2(value, RF_BF16, 3, 1),
                                .overflow = rf_tensor_1(&overflow, RF_I32, 1)};
        check_run(RF_OP_RESIDUAL, &residual, 1);
        assert_int_equal(overflow, i > 0 ? 1 : 0);
        assert_true(stream[1] == 2.0F);
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_residual residual = {.stream = rf_tensor_2(NULL, RF_FIXED32, 3, 4),
                            .value = rf_tensor_2(NULL, RF_F32, 4, 3),
                            .overflow = rf_tensor_1(NULL, RF_I32, 1),
                            .fraction_bits = 22};
    check_rejected(RF_OP_RESIDUAL, &residual, RF_ERR_ARGUMENT,
                   "value is [4, 3] f32, but stream [3, 4] fixed32 needs [3, 4] f32");
    residual.value = rf_tensor_2(NULL, RF_F32, 3, 4);
    residual.fraction_bits = 31;
    check_rejected(RF_OP_RESIDUAL, &residual, RF_ERR_ARGUMENT, "fraction_bits is 31");
    residual.value.dtype = RF_F16;
    check_rejected(RF_OP_RESIDUAL, &residual, RF_ERR_ARGUMENT, "value is [3, 4] f16");
    residual.stream.dtype = RF_BF16;
    check_rejected(RF_OP_RESIDUAL, &residual, RF_ERR_ARGUMENT, "stream is [3, 4] bf16");
}

static const residual_shape shapes[] = {
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 5, 33, 400, 50, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_SUBTRACT, 22, 200, 301, 400, 50, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_SET, 22, 200, 301, 400, 500, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 200, 301, 511, 200, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_SET, 16, 5, 33, 400, 1e7, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 30, 5, 7, 0.5, 1, 1, false, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_ADD, 0, 200, 301, 4, 1, 0, false, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_SUBTRACT, 0, 5, 33, 4, 1, 1, false, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_SET, 0, 5, 33, 4, 1, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 0, 33, 400, 50, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 1, 1, 400, 50, 0, false, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 5, 33, 400, 50, 0, true, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_SUBTRACT, 22, 200, 301, 511, 200, 0, true, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_SET, 16, 5, 33, 400, 1e7, 0, true, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_ADD, 0, 200, 301, 4, 1, 0, true, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_SUBTRACT, 0, 5, 33, 4, 1, 1, true, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_SET, 0, 5, 33, 4, 1, 0, true, 0.0F, 0},
    {RF_F32, RF_RESIDUAL_ADD, 0, 0, 33, 4, 1, 0, true, 0.0F, 0},
    {RF_FIXED32, RF_RESIDUAL_ADD, 22, 200, 304, 400, 50, 0, false, 0.5F, 3},
    {RF_FIXED32, RF_RESIDUAL_SUBTRACT, 22, 200, 304, 400, 50, 0, true, 0.5F, 12345},
    {RF_F32, RF_RESIDUAL_ADD, 0, 200, 304, 4, 1, 0, true, 0.1F, 7},
    {RF_F32, RF_RESIDUAL_ADD, 0, 41, 33, 4, 1, 0, false, 0.1F, 7},
};
static const check_case cases[] = {
    {"add", 1, build, run, oracle, &shapes[0]},
    {"subtract", 2, build, run, oracle, &shapes[1]},
    {"set", 3, build, run, oracle, &shapes[2]},
    {"add beyond the range", 4, build, run, oracle, &shapes[3]},
    {"set beyond the range", 5, build, run, oracle, &shapes[4]},
    {"add, 30 bits, flag kept", 6, build, run, oracle, &shapes[5]},
    {"add floats", 7, build, run, oracle, &shapes[6]},
    {"subtract floats, flag kept", 8, build, run, oracle, &shapes[7]},
    {"set floats", 9, build, run, oracle, &shapes[8]},
    {"no rows", 10, build, run, oracle, &shapes[9]},
    {"one element", 11, build, run, oracle, &shapes[10]},
    {"add bf16", 12, build, run, oracle, &shapes[11]},
    {"subtract bf16 beyond the range", 13, build, run, oracle, &shapes[12]},
    {"set bf16 beyond the range", 14, build, run, oracle, &shapes[13]},
    {"add bf16 to floats", 15, build, run, oracle, &shapes[14]},
    {"subtract bf16 from floats, flag kept", 16, build, run, oracle, &shapes[15]},
    {"set floats to bf16", 17, build, run, oracle, &shapes[16]},
    {"bf16, no rows", 18, build, run, oracle, &shapes[17]},
    {"add behind dropout", 19, build, run, oracle, &shapes[18]},
    {"subtract bf16 behind dropout", 20, build, run, oracle, &shapes[19]},
    {"add bf16 to floats behind dropout", 21, build, run, oracle, &shapes[20]},
    {"add to floats behind dropout, odd width", 22, build, run, oracle, &shapes[21]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restores),       cmocka_unit_test(test_flag),
        cmocka_unit_test(test_flag_of_floats), cmocka_unit_test(test_flag_of_bf16),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests,
                      sizeof tests / sizeof tests[0]);
}
