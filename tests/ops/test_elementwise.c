/* Activations, their derivatives and addition. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>
#include <stdio.h>

enum { KINDS = RF_ACTIVATION_COUNT };

typedef struct activation_shape {
    rf_activation kind;
    int64_t rows, width;
    bool in_place;
    rf_dtype dtype;
    float factor; /* of the backward */
} activation_shape;

/* Away from the kinks of relu (0) and relu6 (6), where a difference is no derivative; far enough
 * for a bf16 number to stay away. */
static void avoid_kinks(const check_state *check, double *values, int64_t count)
{
    (void)check;
    for (int64_t i = 0; i < count; i++) {
        if (fabs(values[i]) < 1e-3 || fabs(values[i] - 6.0) < 0.05) {
            values[i] += 0.1;
        }
    }
}

/* ---- forward ---- */

static void build_forward(check_state *check)
{
    const activation_shape *s = check->which->parameters;
    check_buffer x =
        check_matrix("x", s->in_place ? CHECK_UPDATED : CHECK_INPUT, s->rows, s->width, -8, 8);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, s->width, 0, 0);
    x.dtype = s->dtype;
    y.dtype = s->dtype;
    check_add(check, &x);
    if (!s->in_place) {
        check_add(check, &y);
    }
}

static rf_status run_forward(rf_context *context, const check_state *check, rf_error *error)
{
    const activation_shape *s = check->which->parameters;
    rf_activate activate = {.x = check_tensor(check, 0),
                            .y = check_tensor(check, s->in_place ? 0 : 1),
                            .kind = s->kind};
    return rf_op_activate(context, &activate, error);
}

static void oracle_forward(const check_state *check, double *const *values)
{
    const activation_shape *s = check->which->parameters;
    double *y = values[s->in_place ? 0 : 1];
    oracle_activate(s->kind, s->rows * s->width, values[0], y);
    for (int64_t i = 0; i < s->rows * s->width; i++) {
        y[i] *= (double)s->factor;
    }
}

/* ---- backward ---- */

enum { X, Y, Y_GRADIENT, X_GRADIENT, BIAS, BIAS_GRADIENT };

static void build_backward(check_state *check)
{
    const activation_shape *s = check->which->parameters;
    check_buffer x = check_matrix("x", CHECK_INPUT, s->rows, s->width, -8, 8);
    x.fill = avoid_kinks;
    check_buffer y = check_matrix("y", CHECK_VIRTUAL, s->rows, s->width, 0, 0);
    y.weight = "y_gradient";
    check_buffer y_gradient = check_matrix("y_gradient", CHECK_INPUT, s->rows, s->width, -1, 1);
    check_buffer x_gradient = check_matrix("x_gradient", CHECK_GRADIENT, s->rows, s->width, 0, 0);
    x_gradient.of = "x";
    x.dtype = s->dtype;
    y_gradient.dtype = s->dtype;
    x_gradient.dtype = s->dtype;
    check_add(check, &x);
    check_add(check, &y);
    check_add(check, &y_gradient);
    check_add(check, &x_gradient);
}

static rf_activate_backward backward_of(const check_state *check)
{
    const activation_shape *s = check->which->parameters;
    return (rf_activate_backward){.x = check_tensor(check, X),
                                  .y_gradient = check_tensor(check, Y_GRADIENT),
                                  .x_gradient = check_tensor(check, X_GRADIENT),
                                  .kind = s->kind,
                                  .factor = s->factor};
}

static rf_status run_backward(rf_context *context, const check_state *check, rf_error *error)
{
    const rf_activate_backward backward = backward_of(check);
    return rf_op_activate_backward(context, &backward, error);
}

/* The same with the gradient of a bias of 0 that was added to x. */
static void build_biased(check_state *check)
{
    const activation_shape *s = check->which->parameters;
    build_backward(check);
    check_buffer bias = check_vector("bias", CHECK_INPUT, s->width, 0, 0);
    check_buffer bias_gradient =
        check_vector("bias_gradient", CHECK_GRADIENT_ADDED, s->width, -1, 1);
    bias_gradient.of = "bias";
    bias_gradient.tolerance = s->dtype == RF_BF16 ? 1e-2 : 0.0; /* of rounded numbers */
    check_add(check, &bias);
    check_add(check, &bias_gradient);
}

static rf_status run_biased(rf_context *context, const check_state *check, rf_error *error)
{
    rf_activate_backward backward = backward_of(check);
    backward.bias_gradient = check_tensor(check, BIAS_GRADIENT);
    return rf_op_activate_backward(context, &backward, error);
}

static void oracle_biased(const check_state *check, double *const *values)
{
    const activation_shape *s = check->which->parameters;
    for (int64_t i = 0; i < s->rows * s->width; i++) {
        const double sum = values[X][i] + values[BIAS][i % s->width];
        oracle_activate(s->kind, 1, &sum, &values[Y][i]);
        values[Y][i] *= (double)s->factor;
    }
}

/* ---- addition ---- */

typedef struct add_shape {
    int64_t count;
    float factor;
    int y; /* the buffer: 2, or 0 or 1 in place */
} add_shape;

static void build_add(check_state *check)
{
    const add_shape *s = check->which->parameters;
    check_buffer a = check_vector("a", s->y == 0 ? CHECK_UPDATED : CHECK_INPUT, s->count, -1, 1);
    check_buffer b = check_vector("b", s->y == 1 ? CHECK_UPDATED : CHECK_INPUT, s->count, -1, 1);
    check_buffer y = check_vector("y", CHECK_OUTPUT, s->count, 0, 0);
    check_add(check, &a);
    check_add(check, &b);
    if (s->y == 2) {
        check_add(check, &y);
    }
}

static rf_status run_add(rf_context *context, const check_state *check, rf_error *error)
{
    const add_shape *s = check->which->parameters;
    rf_add add = {.a = check_tensor(check, 0),
                  .b = check_tensor(check, 1),
                  .y = check_tensor(check, s->y),
                  .factor = s->factor};
    return rf_op_add(context, &add, error);
}

static void oracle_add(const check_state *check, double *const *values)
{
    const add_shape *s = check->which->parameters;
    for (int64_t i = 0; i < s->count; i++) {
        values[s->y][i] = values[0][i] + (double)s->factor * values[1][i];
    }
}

/* ---- beside the cases ---- */

static void activate_one(rf_activation kind, float *x, float *y, int64_t count)
{
    rf_activate activate = {
        .x = rf_tensor_1(x, RF_F32, count), .y = rf_tensor_1(y, RF_F32, count), .kind = kind};
    check_run(RF_OP_ACTIVATE, &activate, 1);
}

static void differentiate_one(rf_activation kind, float *x, float *y_gradient, float *x_gradient,
                              int64_t count)
{
    rf_activate_backward backward = {.x = rf_tensor_1(x, RF_F32, count),
                                     .y_gradient = rf_tensor_1(y_gradient, RF_F32, count),
                                     .x_gradient = rf_tensor_1(x_gradient, RF_F32, count),
                                     .kind = kind,
                                     .factor = 1.0F};
    check_run(RF_OP_ACTIVATE_BACKWARD, &backward, 1);
}

/* Each value is right on its own, and slopes are finite and settle at 0 or 1. */
static void test_extremes(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    static float x[COUNT] = {0.0F,   1e-30F, -1e-30F, 1e-5F,  -1e-5F,  16.0F, -16.0F, 30.0F,
                             -30.0F, 88.0F,  -88.0F,  110.0F, -110.0F, 1e15F, -1e15F, -1e6F};
    for (int kind = 0; kind < KINDS; kind++) {
        float y[COUNT];
        float slope[COUNT];
        float ones[COUNT];
        for (int i = 0; i < COUNT; i++) {
            ones[i] = 1.0F;
        }
        activate_one((rf_activation)kind, x, y, COUNT);
        differentiate_one((rf_activation)kind, x, ones, slope, COUNT);
        for (int i = 0; i < COUNT; i++) {
            double value = (double)x[i];
            double expected;
            oracle_activate((rf_activation)kind, 1, &value, &expected);
            assert_true(fabs((double)y[i] - expected) <= 2e-6 * fabs(expected) + 1e-9);
            if (x[i] > 20.0F && kind != RF_ACTIVATION_RELU2) {
                assert_true(slope[i] == 0.0F || fabsf(slope[i] - 1.0F) < 1e-6F);
            }
            if (x[i] < -20.0F && kind != RF_ACTIVATION_LINEAR) {
                assert_true(fabsf(slope[i]) < 1e-6F);
            }
        }
    }
}

static void test_kinks(void **state)
{
    (void)state;
    float x[3] = {0.0F, -0.0F, 6.0F};
    float ones[3] = {1.0F, 1.0F, 1.0F};
    float slope[3];
    differentiate_one(RF_ACTIVATION_RELU, x, ones, slope, 3);
    assert_true(slope[0] == 0.0F && slope[1] == 0.0F && slope[2] == 1.0F);
    differentiate_one(RF_ACTIVATION_RELU2, x, ones, slope, 3);
    assert_true(slope[0] == 0.0F && slope[1] == 0.0F && slope[2] == 12.0F);
    differentiate_one(RF_ACTIVATION_RELU6, x, ones, slope, 3);
    assert_true(slope[0] == 0.0F && slope[1] == 0.0F && slope[2] == 0.0F);
}

/* A value that is no number stays none, where a network would otherwise hide its divergence. */
static void test_not_a_number(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        float x[1] = {NAN};
        float y[1];
        activate_one((rf_activation)kind, x, y, 1);
        assert_true(isnan(y[0]));
    }
}

static void test_backward_in_place(void **state)
{
    (void)state;
    enum { COUNT = 37 };
    for (int kind = 0; kind < KINDS; kind++) {
        float x[COUNT];
        float gradient[COUNT];
        float separate[COUNT];
        for (int i = 0; i < COUNT; i++) {
            x[i] = 0.25F * (float)(i - 18);
            gradient[i] = 1.0F - 0.1F * (float)i;
        }
        differentiate_one((rf_activation)kind, x, gradient, separate, COUNT);
        differentiate_one((rf_activation)kind, x, gradient, gradient, COUNT);
        assert_memory_equal(gradient, separate, sizeof gradient);
    }
}

enum { BF16_COUNT = 7 };

/* bf16 from bits to bits: kinks, and what must not become finite or infinite. */
static void test_bf16_bits(void **state)
{
    (void)state;
    uint16_t x[BF16_COUNT] = {0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FFF, 0x0001, 0xC000};
    const uint16_t expected_relu[BF16_COUNT] = {0, 0x8000, 0x7F80, 0, 0x7FFF, 1, 0};
    const uint16_t expected_slope[BF16_COUNT] = {0, 0, 0x3F80, 0, 0, 0x3F80, 0};
    uint16_t y[BF16_COUNT];
    uint16_t ones[BF16_COUNT];
    uint16_t slope[BF16_COUNT];
    uint16_t slope_of_y[BF16_COUNT];
    for (int i = 0; i < BF16_COUNT; i++) {
        ones[i] = 0x3F80;
    }
    const rf_tensor tensor = rf_tensor_1(x, RF_BF16, BF16_COUNT);
    const rf_tensor output = rf_tensor_1(y, RF_BF16, BF16_COUNT);
    rf_activate activate = {.x = tensor, .y = output};
    check_run(RF_OP_ACTIVATE, &activate, 1);
    assert_memory_equal(y, expected_relu, sizeof y);
    rf_activate_backward backward = {.x = tensor,
                                     .y_gradient = rf_tensor_1(ones, RF_BF16, BF16_COUNT),
                                     .x_gradient = rf_tensor_1(slope, RF_BF16, BF16_COUNT),
                                     .factor = 1.0F};
    check_run(RF_OP_ACTIVATE_BACKWARD, &backward, 1);
    assert_memory_equal(slope, expected_slope, sizeof slope);
    /* relu's output stands in for its input */
    backward.x = output;
    backward.x_gradient = rf_tensor_1(slope_of_y, RF_BF16, BF16_COUNT);
    check_run(RF_OP_ACTIVATE_BACKWARD, &backward, 1);
    assert_memory_equal(slope_of_y, slope, sizeof slope);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_activate activate = {.x = rf_tensor_1(NULL, RF_BF16, 3), .y = rf_tensor_1(NULL, RF_F32, 3)};
    check_rejected(RF_OP_ACTIVATE, &activate, RF_ERR_ARGUMENT,
                   "y is [3] f32, but x [3] bf16 needs [3] bf16");
    activate.x.dtype = RF_F16;
    check_rejected(RF_OP_ACTIVATE, &activate, RF_ERR_ARGUMENT, "x is [3] f16");
    rf_activate_backward backward = {.x = rf_tensor_1(NULL, RF_F32, 3),
                                     .y_gradient = rf_tensor_1(NULL, RF_BF16, 3),
                                     .x_gradient = rf_tensor_1(NULL, RF_F32, 3)};
    check_rejected(RF_OP_ACTIVATE_BACKWARD, &backward, RF_ERR_ARGUMENT, "needs [3] f32");
    rf_add add = {.a = rf_tensor_1(NULL, RF_BF16, 3)};
    check_rejected(RF_OP_ADD, &add, RF_ERR_ARGUMENT, "a is [3] bf16");
}

static const char *const kind_names[KINDS] = {"relu",      "gelu",       "gelu_new", "silu",
                                              "gelu_fast", "quick_gelu", "relu2",    "relu6",
                                              "tanh",      "sigmoid",    "linear",   "mish"};

static const add_shape add_shapes[] = {
    {1, 1.0F, 2}, {40001, -0.3F, 2}, {37, 2.0F, 0}, {40000, 0.5F, 1}, {0, 1.0F, 2}};

enum { PER_KIND = 4 };

/* Per kind and type: forward (odd width), forward in place (large), backward, backward with a bias;
 * then addition. */
static size_t list_cases(check_case *cases)
{
    static activation_shape shapes[2 * PER_KIND * KINDS];
    static char names[2 * PER_KIND * KINDS][40];
    size_t count = 0;
    for (int which = 0; which < 2 * KINDS; which++) {
        const int kind = which % KINDS;
        const rf_dtype dtype = which < KINDS ? RF_F32 : RF_BF16;
        const char *type = which < KINDS ? "" : "bf16 ";
        activation_shape *s = &shapes[count];
        s[0] = (activation_shape){(rf_activation)kind, kind % 3, 37, false, dtype, 1.0F};
        s[1] = (activation_shape){(rf_activation)kind, 41, 1000, true, dtype, 1.0F};
        s[2] = (activation_shape){(rf_activation)kind,         11, 1 + 6 * kind, false, dtype,
                                  kind % 2 == 0 ? 1.25F : 1.0F};
        s[3] = (activation_shape){
            (rf_activation)kind, 150, kind % 3 == 0 ? 132 : 1 + kind, false, dtype, 1.25F};
        (void)snprintf(names[count], sizeof names[0], "%s%s", type, kind_names[kind]);
        (void)snprintf(names[count + 1], sizeof names[0], "%s%s in place", type, kind_names[kind]);
        (void)snprintf(names[count + 2], sizeof names[0], "%s%s backward", type, kind_names[kind]);
        (void)snprintf(names[count + 3], sizeof names[0], "%s%s biased", type, kind_names[kind]);
        for (size_t i = 0; i < PER_KIND; i++) {
            cases[count + i] = (check_case){names[count + i], 10 + count,     build_forward,
                                            run_forward,      oracle_forward, &s[i]};
        }
        cases[count + 2].build = build_backward;
        cases[count + 2].run = run_backward;
        cases[count + 3].build = build_biased;
        cases[count + 3].run = run_biased;
        cases[count + 3].oracle = oracle_biased;
        count += PER_KIND;
    }
    static const char *const add_names[] = {"add one", "add many", "add into a", "add into b",
                                            "add nothing"};
    for (size_t i = 0; i < sizeof add_names / sizeof add_names[0]; i++) {
        cases[count++] =
            (check_case){add_names[i], 100 + i, build_add, run_add, oracle_add, &add_shapes[i]};
    }
    return count;
}

int main(int argc, char **argv)
{
    static check_case cases[2 * PER_KIND * KINDS + 8];
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extremes),     cmocka_unit_test(test_kinks),
        cmocka_unit_test(test_not_a_number), cmocka_unit_test(test_backward_in_place),
        cmocka_unit_test(test_bf16_bits),    cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, list_cases(cases), tests, sizeof tests / sizeof tests[0]);
}
