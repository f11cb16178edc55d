/* project against norm, product, relu, dropout and residual done one after the other. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <string.h>

enum {
    X,
    GAIN,
    SHIFT,
    Z,
    WEIGHTS,
    BIASES = WEIGHTS + 3,
    RESULTS = BIASES + 3,
    OVERFLOW_FLAG = RESULTS + 3
};

enum { FRACTION_BITS = 20, MOST = 1 << 17, FIRST_ROW = 5 };

typedef struct project_shape {
    int64_t rows, k;
    int64_t n[3]; /* 0: fewer products */
    rf_dtype weights;
    bool norm, keeps, fixed, bias, relu, residual;
    rf_residual_mode mode;
    float probability;
    int64_t spare; /* columns of the weights beyond k */
} project_shape;

static const rf_random_key key = {
    .seed = 11, .step = 4, .layer = 3, .purpose = RF_PURPOSE_FEED_FORWARD_INNER_DROPOUT};

static check_buffer stream(const project_shape *s, const char *name, check_role role, int64_t width)
{
    check_buffer buffer = check_matrix(name, role, s->rows, width, -2, 2);
    buffer.dtype = s->fixed ? RF_FIXED32 : RF_F32;
    buffer.fraction_bits = FRACTION_BITS;
    return buffer;
}

static check_buffer typed(check_buffer buffer, rf_dtype dtype, double tolerance)
{
    buffer.dtype = dtype;
    buffer.tolerance = tolerance;
    return buffer;
}

static void add_input(check_state *check, const project_shape *s)
{
    const check_buffer x =
        s->norm ? stream(s, "x", CHECK_INPUT, s->k)
                : typed(check_matrix("x", CHECK_INPUT, s->rows, s->k, -2, 2), s->weights, 0);
    const check_buffer gain = check_vector("gain", CHECK_INPUT, s->norm ? s->k : 0, 0.5, 1.5);
    const check_buffer shift = check_vector("shift", CHECK_INPUT, s->norm ? s->k : 0, -1, 1);
    const check_buffer z =
        typed(check_matrix("z", CHECK_OUTPUT, s->rows, s->keeps ? s->k : 0, 0, 0), s->weights,
              s->weights == RF_BF16 ? 8e-3 : 4e-6);
    check_add(check, &x);
    check_add(check, &gain);
    check_add(check, &shift);
    check_add(check, &z);
}

/* In bf16 a norm that lies near the middle of two numbers may be rounded either way, and the sum
 * that goes to a stream may be rounded or not. */
static double tolerance_of(const project_shape *s)
{
    const bool is_rounded = s->weights == RF_BF16;
    return is_rounded && s->residual ? 2e-2 : is_rounded && s->norm ? 4e-3 : 8e-6;
}

static void build(check_state *check)
{
    static const char *const weights[] = {"weight 0", "weight 1", "weight 2"};
    static const char *const biases[] = {"bias 0", "bias 1", "bias 2"};
    static const char *const results[] = {"y 0", "y 1", "y 2"};
    const project_shape *s = check->which->parameters;
    add_input(check, s);
    for (int i = 0; i < 3; i++) {
        const check_buffer weight =
            typed(check_matrix(weights[i], CHECK_INPUT, s->n[i], s->k + s->spare, -0.5, 0.5),
                  s->weights, 0);
        check_add(check, &weight);
    }
    for (int i = 0; i < 3; i++) {
        const check_buffer bias = typed(
            check_vector(biases[i], CHECK_INPUT, s->bias ? s->n[i] : 0, -1, 1), s->weights, 0);
        check_add(check, &bias);
    }
    for (int i = 0; i < 3; i++) {
        check_buffer y =
            typed(check_matrix(results[i], CHECK_OUTPUT, s->rows, s->n[i], 0, 0), s->weights, 0);
        if (s->residual && i == 0) {
            y = stream(s, results[i], CHECK_UPDATED, s->n[i]);
        }
        y.tolerance = tolerance_of(s);
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

/* The first k columns. */
static rf_matrix weight_of(const check_state *check, int index)
{
    const project_shape *s = check->which->parameters;
    const rf_tensor all = check_tensor(check, WEIGHTS + index);
    const rf_matrix matrix = rf_matrix_of(&all);
    return rf_matrix_columns(&matrix, 0, s->k);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const project_shape *s = check->which->parameters;
    rf_project project = {.relu = s->relu, .key = key, .first_row = FIRST_ROW};
    if (s->norm) {
        project.norm = (rf_layer_norm){.x = check_tensor(check, X),
                                       .fraction_bits = FRACTION_BITS,
                                       .gain = check_tensor(check, GAIN),
                                       .bias = check_tensor(check, SHIFT),
                                       .epsilon = 1e-12F,
                                       .y = optional(check, Z)};
    } else {
        project.x = check_tensor(check, X);
    }
    for (int i = 0; i < 3 && s->n[i] > 0; i++) {
        project.products[i] = (rf_product){weight_of(check, i), optional(check, BIASES + i),
                                           check_tensor(check, RESULTS + i)};
        project.count = i + 1;
    }
    if (s->residual) {
        project.products[0].y = (rf_tensor){0};
        project.residual = (rf_residual){.stream = check_tensor(check, RESULTS),
                                         .overflow = check_tensor(check, OVERFLOW_FLAG),
                                         .mode = s->mode,
                                         .fraction_bits = FRACTION_BITS,
                                         .probability = s->probability,
                                         .key = key,
                                         .first_row = FIRST_ROW};
    } else {
        project.probability = s->probability;
    }
    return rf_op_project(context, &project, error);
}

static void multiply(const project_shape *s, int i, const double *z, double *const *values,
                     double *y)
{
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t j = 0; j < s->n[i]; j++) {
            double sum = s->bias ? values[BIASES + i][j] : 0.0;
            for (int64_t c = 0; c < s->k; c++) {
                sum += z[r * s->k + c] * values[WEIGHTS + i][j * (s->k + s->spare) + c];
            }
            y[r * s->n[i] + j] = s->relu && sum < 0.0 ? 0.0 : sum;
        }
    }
    if (s->probability > 0.0F) {
        oracle_dropout(&key, (double)s->probability, FIRST_ROW, s->rows, s->n[i], y, y);
    }
}

static void oracle(const check_state *check, double *const *values)
{
    static double z[MOST];
    static double y[MOST];
    const project_shape *s = check->which->parameters;
    memcpy(z, values[X], (size_t)(s->rows * s->k) * sizeof *z);
    if (s->norm) {
        oracle_layer_norm(s->rows, s->k, values[X], 0, NULL, values[GAIN], values[SHIFT], 1e-12, z);
    }
    for (int64_t j = 0; j < s->rows * s->k; j++) {
        z[j] = s->weights == RF_BF16 ? oracle_round(z[j], RF_BF16, 0) : z[j];
        if (s->keeps) {
            values[Z][j] = z[j];
        }
    }
    for (int i = 0; i < 3; i++) {
        double *to = s->residual ? y : values[RESULTS + i];
        multiply(s, i, z, values, to);
        for (int64_t j = 0; s->residual && j < s->rows * s->n[i]; j++) {
            values[RESULTS + i][j] += s->mode == RF_RESIDUAL_ADD ? y[j] : -y[j];
        }
    }
}

/* A sum that leaves the range of the stream raises the flag. */
static void test_overflow(void **state)
{
    (void)state;
    float x[2] = {2.0F, 4.0F};
    float weight[2] = {1.0F, 1.0F};
    int32_t stream_value[1] = {INT32_MAX - 6};
    int32_t overflow = 0;
    const rf_tensor matrix = rf_tensor_2(weight, RF_F32, 1, 2);
    rf_project project = {.x = rf_tensor_2(x, RF_F32, 1, 2),
                          .count = 1,
                          .products = {{.weight = rf_matrix_of(&matrix)}},
                          .residual = {.stream = rf_tensor_2(stream_value, RF_FIXED32, 1, 1),
                                       .overflow = rf_tensor_1(&overflow, RF_I32, 1)}};
    check_run(RF_OP_PROJECT, &project, 1);
    assert_int_equal(stream_value[0], INT32_MAX);
    assert_int_equal(overflow, 0);
    check_run(RF_OP_PROJECT, &project, 1);
    assert_int_equal(overflow, 1);
}

static void test_rejected(void **state)
{
    (void)state;
    const rf_tensor first = rf_tensor_2(NULL, RF_F32, 5, 8);
    const rf_tensor second = rf_tensor_2(NULL, RF_F32, 5, 7);
    rf_project project = {
        .x = rf_tensor_2(NULL, RF_F32, 2, 8),
        .count = 2,
        .products = {{.weight = rf_matrix_of(&first), .y = rf_tensor_2(NULL, RF_F32, 2, 5)},
                     {.weight = rf_matrix_of(&second), .y = rf_tensor_2(NULL, RF_F32, 2, 5)}}};
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT, "weight is [5, 7] f32");
    project.products[1].weight = rf_matrix_of(&first);
    project.probability = 0.5F;
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT,
                   "count of products with a dropout is 2");
    project.probability = 0.0F;
    project.residual.stream = rf_tensor_2(NULL, RF_F32, 2, 5);
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT, "count is 2, outside [1, 1]");
    project.count = 1;
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT, "overflow is missing");
    project.residual.overflow = rf_tensor_1(NULL, RF_I32, 1);
    project.relu = true;
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT,
                   "relu or a dropout of y does not go with a residual");
    project.norm.gain = rf_tensor_1(NULL, RF_F32, 7);
    project.norm.x = rf_tensor_2(NULL, RF_FIXED32, 2, 8);
    check_rejected(RF_OP_PROJECT, &project, RF_ERR_ARGUMENT, "gain is [7] f32");
}

static const project_shape shapes[] = {
    {.rows = 5, .k = 64, .n = {70, 9, 0}, .weights = RF_F32, .norm = true, .fixed = true},
    {.rows = 7,
     .k = 33,
     .n = {50, 0, 0},
     .weights = RF_F32,
     .norm = true,
     .keeps = true,
     .bias = true,
     .relu = true,
     .probability = 0.25F},
    {.rows = 9,
     .k = 24,
     .n = {40, 0, 0},
     .weights = RF_F32,
     .fixed = true,
     .bias = true,
     .residual = true,
     .probability = 0.5F,
     .spare = 8},
    {.rows = 9,
     .k = 24,
     .n = {40, 0, 0},
     .weights = RF_F32,
     .residual = true,
     .mode = RF_RESIDUAL_SUBTRACT},
    {.rows = 6, .k = 20, .n = {12, 12, 12}, .weights = RF_BF16, .norm = true, .keeps = true},
    {.rows = 130, .k = 256, .n = {128, 256, 128}, .weights = RF_BF16, .norm = true, .fixed = true},
    {.rows = 129, .k = 256, .n = {128, 128, 0}, .weights = RF_BF16, .norm = true, .keeps = true},
    {.rows = 200,
     .k = 256,
     .n = {384, 0, 0},
     .weights = RF_BF16,
     .norm = true,
     .keeps = true,
     .fixed = true,
     .bias = true,
     .relu = true,
     .probability = 0.5F},
    {.rows = 3,
     .k = 256,
     .n = {128, 0, 0},
     .weights = RF_BF16,
     .norm = true,
     .bias = true,
     .relu = true,
     .probability = 0.5F},
    {.rows = 257,
     .k = 128,
     .n = {256, 0, 0},
     .weights = RF_BF16,
     .fixed = true,
     .residual = true,
     .probability = 0.5F,
     .spare = 64},
    {.rows = 140,
     .k = 256,
     .n = {128, 0, 0},
     .weights = RF_BF16,
     .bias = true,
     .residual = true,
     .mode = RF_RESIDUAL_SUBTRACT,
     .probability = 0.5F},
    {.rows = 128, .k = 128, .n = {128, 0, 0}, .weights = RF_BF16, .bias = true, .residual = true},
    {.rows = 60,
     .k = 256,
     .n = {256, 0, 0},
     .weights = RF_BF16,
     .fixed = true,
     .residual = true,
     .mode = RF_RESIDUAL_SUBTRACT},
    {.rows = 150,
     .k = 512,
     .n = {256, 0, 0},
     .weights = RF_BF16,
     .fixed = true,
     .bias = true,
     .residual = true,
     .probability = 0.5F},
    {.rows = 65,
     .k = 512,
     .n = {384, 0, 0},
     .weights = RF_BF16,
     .bias = true,
     .residual = true,
     .mode = RF_RESIDUAL_SUBTRACT,
     .probability = 0.25F,
     .spare = 8},
};
static const check_case cases[] = {
    {"two products of a fixed stream", 1, build, run, oracle, &shapes[0]},
    {"relu, dropout, kept norm", 2, build, run, oracle, &shapes[1]},
    {"into a fixed stream, some columns of a weight", 3, build, run, oracle, &shapes[2]},
    {"out of a float stream", 4, build, run, oracle, &shapes[3]},
    {"bf16: odd width", 5, build, run, oracle, &shapes[4]},
    {"bf16: query, value and key", 6, build, run, oracle, &shapes[5]},
    {"bf16: query and value of a float stream", 7, build, run, oracle, &shapes[6]},
    {"bf16: inner, kept norm", 8, build, run, oracle, &shapes[7]},
    {"bf16: inner of three rows", 9, build, run, oracle, &shapes[8]},
    {"bf16: share into a fixed stream", 10, build, run, oracle, &shapes[9]},
    {"bf16: out of a float stream", 11, build, run, oracle, &shapes[10]},
    {"bf16: into a float stream", 12, build, run, oracle, &shapes[11]},
    {"bf16: out of a fixed stream", 13, build, run, oracle, &shapes[12]},
    {"bf16: outer into a fixed stream", 14, build, run, oracle, &shapes[13]},
    {"bf16: outer out of a float stream", 15, build, run, oracle, &shapes[14]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
