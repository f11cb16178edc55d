/* step_project against norm, product, activation and residual done one after the other. */
#include "check_op.h"

#include "oracle/attention.h"
#include "oracle/oracle.h"

#include <string.h>

enum {
    X,
    X2,
    GAIN,
    NORM_BIAS,
    WEIGHTS,
    BIASES = WEIGHTS + 3,
    RESULTS = BIASES + 3,
    OVERFLOW_FLAG = RESULTS + 3
};

enum { FRACTION_BITS = 20, MOST = 1 << 17 };

typedef struct project_shape {
    int64_t rows, width, width2; /* of x and x2; width2 0: one stream */
    int64_t n[3];                /* 0: fewer projections */
    bool norm, fixed, bias, residual;
    rf_activation activation;
    rf_dtype weights; /* 0: f32 */
} project_shape;

static check_buffer nothing(const char *name)
{
    return check_vector(name, CHECK_INPUT, 0, 0, 0);
}

static check_buffer stream(const project_shape *s, const char *name, check_role role, int64_t width)
{
    check_buffer buffer = check_matrix(name, role, s->rows, width, -2, 2);
    buffer.dtype = s->fixed ? RF_FIXED32 : RF_F32;
    buffer.fraction_bits = FRACTION_BITS;
    return buffer;
}

static void add_input(check_state *check, const project_shape *s)
{
    int64_t k = s->width + s->width2;
    check_buffer x = stream(s, "x", CHECK_INPUT, s->width);
    check_buffer x2 = stream(s, "x2", CHECK_INPUT, s->width2);
    check_buffer gain = s->norm ? check_vector("gain", CHECK_INPUT, k, 0.5, 1.5) : nothing("gain");
    check_buffer bias = s->norm ? check_vector("shift", CHECK_INPUT, k, -1, 1) : nothing("shift");
    if (!s->norm) {
        x.dtype = RF_F32;
    }
    check_add(check, &x);
    check_add(check, &x2);
    check_add(check, &gain);
    check_add(check, &bias);
}

static void build(check_state *check)
{
    static const char *const weights[] = {"weight 0", "weight 1", "weight 2"};
    static const char *const biases[] = {"bias 0", "bias 1", "bias 2"};
    static const char *const results[] = {"y 0", "y 1", "y 2"};
    const project_shape *s = check->which->parameters;
    add_input(check, s);
    for (int i = 0; i < 3; i++) {
        check_buffer weight =
            check_matrix(weights[i], CHECK_INPUT, s->n[i], s->width + s->width2, -0.5, 0.5);
        weight.dtype = s->weights != RF_NONE ? s->weights : RF_F32;
        check_add(check, &weight);
    }
    for (int i = 0; i < 3; i++) {
        check_buffer bias = check_vector(biases[i], CHECK_INPUT, s->bias ? s->n[i] : 0, -1, 1);
        check_add(check, &bias);
    }
    for (int i = 0; i < 3; i++) {
        check_buffer y = check_matrix(results[i], CHECK_OUTPUT, s->rows, s->n[i], 0, 0);
        if (s->residual && i == 0) {
            y = stream(s, results[i], CHECK_UPDATED, s->n[i]);
        }
        /* A norm that lies near the middle of two bf16 numbers may be rounded either way. */
        y.tolerance = s->weights == RF_BF16 && s->norm ? 1e-3 : 4e-6;
        check_add(check, &y);
    }
    check_buffer overflow = check_vector("overflow", CHECK_UPDATED, 1, 0, 0);
    overflow.dtype = RF_I32;
    check_add(check, &overflow);
}

static rf_tensor optional(const check_state *check, int index)
{
    return check_count(&check->buffers[index]) > 0 ? check_tensor(check, index) : (rf_tensor){0};
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const project_shape *s = check->which->parameters;
    rf_step_project project = {.norm = {.x = check_tensor(check, X),
                                        .x2 = optional(check, X2),
                                        .fraction_bits = FRACTION_BITS,
                                        .gain = optional(check, GAIN),
                                        .bias = optional(check, NORM_BIAS),
                                        .epsilon = 1e-12F},
                               .activation = s->activation};
    for (int i = 0; i < 3 && s->n[i] > 0; i++) {
        project.projections[i] =
            (rf_projection){check_tensor(check, WEIGHTS + i), optional(check, BIASES + i),
                            check_tensor(check, RESULTS + i)};
        project.count = i + 1;
    }
    if (s->residual) {
        project.projections[0].y = (rf_tensor){0};
        project.residual = (rf_residual){.stream = check_tensor(check, RESULTS),
                                         .overflow = check_tensor(check, OVERFLOW_FLAG),
                                         .mode = RF_RESIDUAL_ADD,
                                         .fraction_bits = FRACTION_BITS};
    }
    return rf_op_step_project(context, &project, error);
}

static void multiply(const project_shape *s, int i, const double *z, double *const *values,
                     double *y)
{
    int64_t k = s->width + s->width2;
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t j = 0; j < s->n[i]; j++) {
            double sum = s->bias ? values[BIASES + i][j] : 0.0;
            for (int64_t c = 0; c < k; c++) {
                sum += z[r * k + c] * values[WEIGHTS + i][j * k + c];
            }
            y[r * s->n[i] + j] = sum;
        }
    }
    oracle_activate(s->activation, s->rows * s->n[i], y, y);
}

static void oracle(const check_state *check, double *const *values)
{
    static double z[MOST];
    static double y[MOST];
    const project_shape *s = check->which->parameters;
    if (s->norm) {
        oracle_layer_norm(s->rows, s->width, values[X], s->width2, values[X2], values[GAIN],
                          values[NORM_BIAS], 1e-12, z);
    } else {
        memcpy(z, values[X], (size_t)(s->rows * s->width) * sizeof *z);
    }
    for (int64_t j = 0; s->weights == RF_BF16 && j < s->rows * (s->width + s->width2); j++) {
        z[j] = oracle_round(z[j], RF_BF16, 0);
    }
    for (int i = 0; i < 3; i++) {
        double *to = s->residual ? y : values[RESULTS + i];
        multiply(s, i, z, values, to);
        for (int64_t j = 0; s->residual && j < s->rows * s->n[i]; j++) {
            values[RESULTS + i][j] += y[j];
        }
    }
}

/* A sum that leaves the range of the stream raises the flag. */
static void test_overflow(void **state)
{
    (void)state;
    float x[2] = {3.0F, 4.0F};
    float weight[2] = {1.0F, 1.0F};
    int32_t stream_value[1] = {INT32_MAX - 6};
    int32_t overflow = 0;
    rf_step_project project = {.norm = {.x = rf_tensor_2(x, RF_F32, 1, 2)},
                               .count = 1,
                               .projections = {{.weight = rf_tensor_2(weight, RF_F32, 1, 2)}},
                               .activation = RF_ACTIVATION_LINEAR,
                               .residual = {.stream = rf_tensor_2(stream_value, RF_FIXED32, 1, 1),
                                            .overflow = rf_tensor_1(&overflow, RF_I32, 1)}};
    x[0] = 2.0F;
    check_run(RF_OP_STEP_PROJECT, &project, 1);
    assert_int_equal(stream_value[0], INT32_MAX);
    assert_int_equal(overflow, 0);
    check_run(RF_OP_STEP_PROJECT, &project, 1);
    assert_int_equal(overflow, 1);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_step_project project = {.norm = {.x = rf_tensor_2(NULL, RF_F32, 2, 8)},
                               .count = 2,
                               .projections = {{.weight = rf_tensor_2(NULL, RF_F32, 5, 8),
                                                .y = rf_tensor_2(NULL, RF_F32, 2, 5)},
                                               {.weight = rf_tensor_2(NULL, RF_F32, 5, 7),
                                                .y = rf_tensor_2(NULL, RF_F32, 2, 5)}},
                               .activation = RF_ACTIVATION_RELU};
    check_rejected(RF_OP_STEP_PROJECT, &project, RF_ERR_ARGUMENT, "weight is [5, 7] f32");
    project.norm.gain = rf_tensor_1(NULL, RF_F32, 7);
    check_rejected(RF_OP_STEP_PROJECT, &project, RF_ERR_ARGUMENT, "gain is [7] f32");
    project.norm.gain = (rf_tensor){0};
    project.residual.stream = rf_tensor_2(NULL, RF_F32, 2, 5);
    check_rejected(RF_OP_STEP_PROJECT, &project, RF_ERR_ARGUMENT, "count is 2, outside [1, 1]");
    project.count = 1;
    check_rejected(RF_OP_STEP_PROJECT, &project, RF_ERR_ARGUMENT,
                   "an activation and a residual do not go together");
    project.activation = RF_ACTIVATION_LINEAR;
    check_rejected(RF_OP_STEP_PROJECT, &project, RF_ERR_ARGUMENT, "overflow is missing");
}

static const project_shape shapes[] = {
    {1, 256, 0, {128, 128, 128}, true, true, false, false, RF_ACTIVATION_LINEAR, RF_NONE},
    {3, 64, 0, {70, 9, 0}, true, false, false, false, RF_ACTIVATION_LINEAR, RF_NONE},
    {2, 33, 0, {50, 0, 0}, true, true, true, false, RF_ACTIVATION_GELU, RF_NONE},
    {1, 128, 0, {300, 0, 0}, true, true, true, false, RF_ACTIVATION_RELU, RF_NONE},
    {1, 128, 128, {258, 0, 0}, true, true, true, false, RF_ACTIVATION_LINEAR, RF_NONE},
    {4, 20, 12, {31, 0, 0}, true, false, false, false, RF_ACTIVATION_LINEAR, RF_NONE},
    {1, 4096, 0, {64, 0, 0}, false, true, true, true, RF_ACTIVATION_LINEAR, RF_NONE},
    {5, 100, 0, {60, 0, 0}, false, false, false, true, RF_ACTIVATION_LINEAR, RF_NONE},
    {8, 72, 0, {48, 0, 0}, true, true, true, false, RF_ACTIVATION_RELU, RF_NONE},
    {9, 64, 0, {40, 24, 0}, true, true, true, false, RF_ACTIVATION_TANH, RF_NONE},
    {12, 64, 0, {40, 0, 0}, false, true, true, true, RF_ACTIVATION_LINEAR, RF_NONE},
    {1, 1, 0, {1, 0, 0}, false, false, false, false, RF_ACTIVATION_LINEAR, RF_NONE},
    {1, 256, 0, {128, 60, 99}, true, true, false, false, RF_ACTIVATION_LINEAR, RF_BF16},
    {3, 100, 28, {77, 0, 0}, true, true, true, false, RF_ACTIVATION_RELU, RF_BF16},
    {2, 1024, 0, {40, 0, 0}, false, true, true, true, RF_ACTIVATION_LINEAR, RF_BF16},
    {10, 72, 0, {40, 24, 0}, true, true, true, false, RF_ACTIVATION_GELU, RF_BF16},
    {9, 64, 0, {48, 0, 0}, false, false, false, true, RF_ACTIVATION_LINEAR, RF_BF16},
    {1, 33, 0, {50, 0, 0}, false, false, true, false, RF_ACTIVATION_RELU, RF_BF16},
};
static const check_case cases[] = {
    {"query, value and key", 1, build, run, oracle, &shapes[0]},
    {"three rows, float streams", 2, build, run, oracle, &shapes[1]},
    {"odd width, gelu", 3, build, run, oracle, &shapes[2]},
    {"relu", 4, build, run, oracle, &shapes[3]},
    {"two streams", 5, build, run, oracle, &shapes[4]},
    {"two streams of different widths", 6, build, run, oracle, &shapes[5]},
    {"into a fixed stream", 7, build, run, oracle, &shapes[6]},
    {"into a float stream", 8, build, run, oracle, &shapes[7]},
    {"eight rows", 9, build, run, oracle, &shapes[8]},
    {"nine rows", 10, build, run, oracle, &shapes[9]},
    {"twelve rows into a stream", 11, build, run, oracle, &shapes[10]},
    {"one number", 12, build, run, oracle, &shapes[11]},
    {"bf16: query, value and key", 13, build, run, oracle, &shapes[12]},
    {"bf16: two streams, relu", 14, build, run, oracle, &shapes[13]},
    {"bf16: into a fixed stream", 15, build, run, oracle, &shapes[14]},
    {"bf16: ten rows", 16, build, run, oracle, &shapes[15]},
    {"bf16: nine rows into a stream", 17, build, run, oracle, &shapes[16]},
    {"bf16: odd width", 18, build, run, oracle, &shapes[17]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
