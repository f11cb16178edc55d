/* Squared and binary losses, and their gradients. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>

typedef struct loss_shape {
    int64_t rows, width;
    rf_value_loss_kind kind;
    double range, factor, smoothing;
} loss_shape;

enum { X, TARGETS, LOSS, FACTOR, GRADIENT };

static void build(check_state *check)
{
    const loss_shape *s = check->which->parameters;
    bool binary = s->kind == RF_VALUE_LOSS_BINARY;
    check_buffer x = check_matrix("x", CHECK_INPUT, s->rows, s->width, -s->range, s->range);
    check_buffer targets = check_matrix("targets", CHECK_INPUT, s->rows, s->width,
                                        binary ? 0.0 : -s->range, binary ? 1.0 : s->range);
    check_buffer loss = check_matrix("loss", CHECK_OUTPUT, s->rows, s->width, 0, 0);
    check_add(check, &x);
    check_add(check, &targets);
    check_add(check, &loss);
}

static void build_gradient(check_state *check)
{
    const loss_shape *s = check->which->parameters;
    build(check);
    check->buffers[LOSS].weight = "factor";
    check_buffer factor =
        check_matrix("factor", CHECK_INPUT, s->rows, s->width, s->factor, s->factor);
    check_buffer gradient = check_matrix("x_gradient", CHECK_GRADIENT, s->rows, s->width, 0, 0);
    gradient.of = "x";
    check_add(check, &factor);
    check_add(check, &gradient);
}

static rf_value_loss arguments(const check_state *check)
{
    const loss_shape *s = check->which->parameters;
    return (rf_value_loss){.kind = s->kind,
                           .x = check_tensor(check, X),
                           .targets = check_tensor(check, TARGETS),
                           .loss = check_tensor(check, LOSS),
                           .smoothing = s->smoothing};
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    rf_value_loss call = arguments(check);
    return rf_op_value_loss(context, &call, error);
}

static rf_status run_gradient(rf_context *context, const check_state *check, rf_error *error)
{
    const loss_shape *s = check->which->parameters;
    rf_value_loss call = arguments(check);
    call.x_gradient = check_tensor(check, GRADIENT);
    call.factor = (float)s->factor;
    return rf_op_value_loss(context, &call, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const loss_shape *s = check->which->parameters;
    int64_t count = s->rows * s->width;
    double *targets = test_calloc((size_t)count + 1, sizeof(double));
    for (int64_t i = 0; i < count; i++) {
        targets[i] = values[TARGETS][i] * (1.0 - s->smoothing) + 0.5 * s->smoothing;
    }
    oracle_value_loss(s->kind, count, values[X], targets, values[LOSS]);
    test_free(targets);
}

/* Far out on both sides the loss is the distance, and nothing overflows. */
static void test_far(void **state)
{
    (void)state;
    float x[4] = {1e4F, -1e4F, 1e4F, -1e4F};
    float targets[4] = {1.0F, 0.0F, 0.0F, 1.0F};
    float loss[4];
    float gradient[4];
    rf_value_loss call = {.kind = RF_VALUE_LOSS_BINARY,
                          .x = rf_tensor_1(x, RF_F32, 4),
                          .targets = rf_tensor_1(targets, RF_F32, 4),
                          .loss = rf_tensor_1(loss, RF_F32, 4),
                          .x_gradient = rf_tensor_1(gradient, RF_F32, 4),
                          .factor = 0.5F};
    check_run(RF_OP_VALUE_LOSS, &call, 1);
    assert_true(loss[0] == 0.0F && loss[1] == 0.0F && loss[2] == 1e4F && loss[3] == 1e4F);
    assert_true(gradient[0] == 0.0F && gradient[1] == 0.0F);
    assert_true(gradient[2] == 0.5F && gradient[3] == -0.5F);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_value_loss call = {.x = rf_tensor_2(NULL, RF_F32, 2, 3),
                          .targets = rf_tensor_2(NULL, RF_F32, 3, 2),
                          .loss = rf_tensor_2(NULL, RF_F32, 2, 3)};
    check_rejected(RF_OP_VALUE_LOSS, &call, RF_ERR_ARGUMENT, "targets is [3, 2] f32");
    call.targets = call.x;
    call.loss.dtype = RF_BF16;
    check_rejected(RF_OP_VALUE_LOSS, &call, RF_ERR_ARGUMENT, "loss is [2, 3] bf16");
    call.loss.dtype = RF_F32;
    call.smoothing = 0.1;
    check_rejected(RF_OP_VALUE_LOSS, &call, RF_ERR_ARGUMENT, "kind with smoothing is 0");
}

static const loss_shape shapes[] = {{5, 3, RF_VALUE_LOSS_SQUARED, 3, 0.25, 0},
                                    {5, 3, RF_VALUE_LOSS_BINARY, 3, 0.25, 0},
                                    {700, 9, RF_VALUE_LOSS_BINARY, 8, 0.01, 0},
                                    {0, 3, RF_VALUE_LOSS_BINARY, 3, 1, 0},
                                    {50, 3, RF_VALUE_LOSS_BINARY, 3, 0.25, 0.1}};
static const check_case cases[] = {
    {"squared", 1, build, run, oracle, &shapes[0]},
    {"binary", 2, build, run, oracle, &shapes[1]},
    {"large", 3, build, run, oracle, &shapes[2]},
    {"nothing", 4, build, run, oracle, &shapes[3]},
    {"squared, gradient", 5, build_gradient, run_gradient, oracle, &shapes[0]},
    {"binary, gradient", 6, build_gradient, run_gradient, oracle, &shapes[1]},
    {"large, gradient", 7, build_gradient, run_gradient, oracle, &shapes[2]},
    {"smoothed", 8, build, run, oracle, &shapes[4]},
    {"smoothed, gradient", 9, build_gradient, run_gradient, oracle, &shapes[4]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_far),
                                              cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests,
                      sizeof tests / sizeof tests[0]);
}
