/* One update against its definition. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>

enum { VALUE, GRADIENT, FIRST, SECOND, ROUNDED };

typedef struct adamw_shape {
    int64_t count, update;
    double weight_decay, gradient_factor, gradient_range;
    bool rounded;
} adamw_shape;

static rf_adamw settings(const adamw_shape *s)
{
    return (rf_adamw){.rate = 1e-2,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .epsilon = 1e-8,
                      .weight_decay = s->weight_decay,
                      .gradient_factor = s->gradient_factor,
                      .update = s->update};
}

static void build(check_state *check)
{
    const adamw_shape *s = check->which->parameters;
    double range = s->gradient_range;
    check_buffer value = check_vector("value", CHECK_UPDATED, s->count, -1, 1);
    check_buffer gradient = check_vector("gradient", CHECK_INPUT, s->count, -range, range);
    check_buffer first = check_vector("first_moment", CHECK_UPDATED, s->count, -range, range);
    check_buffer second =
        check_vector("second_moment", CHECK_UPDATED, s->count, 0.1 * range * range, range * range);
    check_add(check, &value);
    check_add(check, &gradient);
    check_add(check, &first);
    check_add(check, &second);
    if (s->rounded) {
        check_buffer rounded = check_vector("rounded", CHECK_OUTPUT, s->count, 0, 0);
        rounded.dtype = RF_BF16;
        check_add(check, &rounded);
    }
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const adamw_shape *s = check->which->parameters;
    rf_adamw adamw = settings(s);
    adamw.value = check_tensor(check, VALUE);
    adamw.gradient = check_tensor(check, GRADIENT);
    adamw.first_moment = check_tensor(check, FIRST);
    adamw.second_moment = check_tensor(check, SECOND);
    if (s->rounded) {
        adamw.rounded = check_tensor(check, ROUNDED);
    }
    return rf_op_adamw(context, &adamw, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const adamw_shape *s = check->which->parameters;
    rf_adamw adamw = settings(s);
    oracle_adamw(&adamw, s->count, values[VALUE], values[GRADIENT], values[FIRST], values[SECOND]);
    for (int64_t i = 0; s->rounded && i < s->count; i++) {
        values[ROUNDED][i] = values[VALUE][i];
    }
}

/* From zero moments the first step is rate * sign(gradient), whatever its size; a zero gradient
 * moves nothing. */
static void test_first_step(void **state)
{
    (void)state;
    float value[3] = {1.0F, 1.0F, 1.0F};
    float gradient[3] = {1e-3F, -50.0F, 0.0F};
    float first[3] = {0.0F};
    float second[3] = {0.0F};
    rf_adamw adamw = settings(&(adamw_shape){.update = 1, .gradient_factor = 1.0});
    adamw.value = rf_tensor_1(value, RF_F32, 3);
    adamw.gradient = rf_tensor_1(gradient, RF_F32, 3);
    adamw.first_moment = rf_tensor_1(first, RF_F32, 3);
    adamw.second_moment = rf_tensor_1(second, RF_F32, 3);
    check_run(RF_OP_ADAMW, &adamw, 1);
    assert_true(fabsf(value[0] - 0.99F) < 1e-6F);
    assert_true(fabsf(value[1] - 1.01F) < 1e-6F);
    assert_true(value[2] == 1.0F);
}

/* The copy is the new value's rounding and nothing else; the value does not depend on it. */
static void test_rounded(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static float value[COUNT], alone[COUNT], gradient[COUNT], first[COUNT], second[COUNT];
    static uint16_t rounded[COUNT];
    for (int i = 0; i < COUNT; i++) {
        value[i] = alone[i] = 0.01F * (float)(i - 77);
        gradient[i] = 0.3F * (float)(i % 7) - 1.0F;
    }
    rf_adamw adamw = settings(&(adamw_shape){.update = 1, .gradient_factor = 1.0});
    adamw.value = rf_tensor_1(alone, RF_F32, COUNT);
    adamw.gradient = rf_tensor_1(gradient, RF_F32, COUNT);
    adamw.first_moment = rf_tensor_1(first, RF_F32, COUNT);
    adamw.second_moment = rf_tensor_1(second, RF_F32, COUNT);
    check_run(RF_OP_ADAMW, &adamw, 1);
    for (int i = 0; i < COUNT; i++) {
        first[i] = 0.0F;
        second[i] = 0.0F;
    }
    adamw.value = rf_tensor_1(value, RF_F32, COUNT);
    adamw.rounded = rf_tensor_1(rounded, RF_BF16, COUNT);
    check_run(RF_OP_ADAMW, &adamw, 1);
    assert_memory_equal(value, alone, sizeof value);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(rounded[i], rf_f32_to_bf16(value[i]));
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_tensor three = rf_tensor_1(NULL, RF_F32, 3);
    rf_adamw adamw = settings(&(adamw_shape){.update = 0});
    adamw.value = three;
    adamw.gradient = rf_tensor_1(NULL, RF_F32, 4);
    adamw.first_moment = three;
    adamw.second_moment = three;
    check_rejected(RF_OP_ADAMW, &adamw, RF_ERR_ARGUMENT,
                   "gradient is [4] f32, but value [3] f32 needs [3] f32");
    adamw.gradient = three;
    check_rejected(RF_OP_ADAMW, &adamw, RF_ERR_ARGUMENT, "update is 0");
    adamw.update = 1;
    adamw.rounded = three;
    check_rejected(RF_OP_ADAMW, &adamw, RF_ERR_ARGUMENT,
                   "rounded is [3] f32, but value [3] f32 needs [3] bf16");
    adamw.rounded = (rf_tensor){0};
    adamw.beta2 = 1.0;
    check_rejected(RF_OP_ADAMW, &adamw, RF_ERR_ARGUMENT, "beta2 1");
}

static const adamw_shape shapes[] = {
    {7, 1, 0.0, 1.0, 1.0, false},          {40001, 10, 0.1, 0.25, 1.0, false},
    {33, 1000000, 0.01, 1.0, 1e-3, false}, {33, 3, 0.01, 1.0, 1e6, false},
    {1, 2, 0.0, 1.0, 1e-6, false},         {0, 1, 0.0, 1.0, 1.0, false},
    {40001, 10, 0.1, 0.25, 1.0, true},     {0, 1, 0.0, 1.0, 1.0, true},
};
static const check_case cases[] = {
    {"first update", 1, build, run, oracle, &shapes[0]},
    {"large, decayed, clipped", 2, build, run, oracle, &shapes[1]},
    {"late update", 3, build, run, oracle, &shapes[2]},
    {"large gradients", 4, build, run, oracle, &shapes[3]},
    {"one tiny gradient", 5, build, run, oracle, &shapes[4]},
    {"nothing", 6, build, run, oracle, &shapes[5]},
    {"rounded copy", 7, build, run, oracle, &shapes[6]},
    {"rounded copy of nothing", 8, build, run, oracle, &shapes[7]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_step),
        cmocka_unit_test(test_rounded),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 3);
}
