/* Layer norm of one and two streams, in both types, and its gradients. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <string.h>

typedef struct norm_shape {
    int64_t rows, width, width2; /* width2 0: one stream */
    rf_dtype dtype;
    double range, middle;
    double epsilon;
    bool write;
    bool constant; /* all values of a row are equal */
    bool bf16;     /* y and its gradient */
    bool bf16_x;   /* the gradients of the streams */
    float probability;
} norm_shape;

enum { FRACTION_BITS = 22, FIRST_ROW = 3 };

static const rf_random_key key = {.seed = 5, .step = 9, .purpose = RF_PURPOSE_FINAL_DROPOUT};

/* Buffers of the forward; x2 is there always, and empty where there is one stream. */
enum { X, X2, GAIN, BIAS, Y };

static void fill_constant(const check_state *check, double *values, int64_t count)
{
    const norm_shape *s = check->which->parameters;
    for (int64_t i = 0; i < count && s->constant; i++) {
        values[i] = s->middle;
    }
}

static void build(check_state *check)
{
    const norm_shape *s = check->which->parameters;
    const int64_t widths[2] = {s->width, s->width2};
    const char *const names[2] = {"x", "x2"};
    for (int i = 0; i < 2; i++) {
        check_buffer x = check_matrix(names[i], CHECK_INPUT, s->rows, widths[i],
                                      s->middle - s->range, s->middle + s->range);
        x.dtype = s->dtype;
        x.fraction_bits = FRACTION_BITS;
        x.fill = fill_constant;
        check_add(check, &x);
    }
    int64_t width = s->width + s->width2;
    check_buffer gain = check_vector("gain", CHECK_INPUT, width, 0.5, 1.5);
    check_buffer bias = check_vector("bias", CHECK_INPUT, width, -1, 1);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, width, 0, 0);
    /* Rounding the mean to f32 costs this where it is large against the deviation. */
    y.tolerance = 2e-6 + (s->constant ? 0.0 : 4e-7 * s->middle / s->range);
    y.dtype = s->bf16 ? RF_BF16 : RF_F32;
    check_add(check, &gain);
    check_add(check, &bias);
    check_add(check, &y);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const norm_shape *s = check->which->parameters;
    rf_layer_norm norm = {.x = check_tensor(check, X),
                          .fraction_bits = FRACTION_BITS,
                          .gain = check_tensor(check, GAIN),
                          .bias = check_tensor(check, BIAS),
                          .epsilon = (float)s->epsilon,
                          .y = check_tensor(check, Y),
                          .probability = s->probability,
                          .key = key,
                          .first_row = FIRST_ROW};
    if (s->width2 > 0) {
        norm.x2 = check_tensor(check, X2);
    }
    return rf_op_layer_norm(context, &norm, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const norm_shape *s = check->which->parameters;
    oracle_layer_norm(s->rows, s->width, values[X], s->width2, values[X2], values[GAIN],
                      values[BIAS], s->epsilon, values[Y]);
    if (s->probability > 0.0F) {
        oracle_dropout(&key, (double)s->probability, FIRST_ROW, s->rows, s->width + s->width2,
                       values[Y], values[Y]);
    }
}

/* ---- backward ---- */

enum { Y_GRADIENT = Y + 1, X_GRADIENT, X2_GRADIENT, GAIN_GRADIENT, BIAS_GRADIENT, Y_AGAIN };

static void add_gradient(check_state *check, const char *name, int of, bool write, bool bf16)
{
    check_buffer gradient = check->buffers[of];
    gradient.name = name;
    gradient.role = write ? CHECK_GRADIENT : CHECK_GRADIENT_ADDED;
    gradient.dtype = bf16 ? RF_BF16 : RF_F32;
    gradient.low = -1;
    gradient.high = 1;
    gradient.fill = NULL;
    gradient.of = check->buffers[of].name;
    check_add(check, &gradient);
}

static void build_backward(check_state *check)
{
    const norm_shape *s = check->which->parameters;
    build(check);
    check->buffers[Y].role = CHECK_VIRTUAL;
    check->buffers[Y].weight = "y_gradient";
    check_buffer y_gradient =
        check_matrix("y_gradient", CHECK_INPUT, s->rows, s->width + s->width2, -1, 1);
    y_gradient.dtype = s->bf16 ? RF_BF16 : RF_F32;
    check_add(check, &y_gradient);
    add_gradient(check, "x_gradient", X, s->write, s->bf16_x);
    add_gradient(check, "x2_gradient", X2, s->write, s->bf16_x);
    add_gradient(check, "gain_gradient", GAIN, false, false);
    add_gradient(check, "bias_gradient", BIAS, false, false);
}

static rf_layer_norm_backward backward_of(const check_state *check)
{
    const norm_shape *s = check->which->parameters;
    rf_layer_norm_backward backward = {.x = check_tensor(check, X),
                                       .fraction_bits = FRACTION_BITS,
                                       .gain = check_tensor(check, GAIN),
                                       .epsilon = (float)s->epsilon,
                                       .y_gradient = check_tensor(check, Y_GRADIENT),
                                       .x_gradient = check_tensor(check, X_GRADIENT),
                                       .write = s->write,
                                       .gain_gradient = check_tensor(check, GAIN_GRADIENT),
                                       .bias_gradient = check_tensor(check, BIAS_GRADIENT),
                                       .probability = s->probability,
                                       .key = key,
                                       .first_row = FIRST_ROW};
    if (s->width2 > 0) {
        backward.x2 = check_tensor(check, X2);
        backward.x2_gradient = check_tensor(check, X2_GRADIENT);
    }
    return backward;
}

static rf_status run_backward(rf_context *context, const check_state *check, rf_error *error)
{
    const rf_layer_norm_backward backward = backward_of(check);
    return rf_op_layer_norm_backward(context, &backward, error);
}

/* The backward that gives y too. */
static void build_again(check_state *check)
{
    build_backward(check);
    check_buffer y = check->buffers[Y];
    y.name = "y again";
    y.role = CHECK_OUTPUT;
    y.weight = NULL;
    check_add(check, &y);
}

static rf_status run_again(rf_context *context, const check_state *check, rf_error *error)
{
    rf_layer_norm_backward backward = backward_of(check);
    backward.bias = check_tensor(check, BIAS);
    backward.y = check_tensor(check, Y_AGAIN);
    return rf_op_layer_norm_backward(context, &backward, error);
}

static void oracle_again(const check_state *check, double *const *values)
{
    oracle(check, values);
    memcpy(values[Y_AGAIN], values[Y],
           (size_t)check_count(&check->buffers[Y]) * sizeof values[Y][0]);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_layer_norm norm = {.x = rf_tensor_2(NULL, RF_F32, 3, 8),
                          .gain = rf_tensor_1(NULL, RF_F32, 4),
                          .bias = rf_tensor_1(NULL, RF_F32, 8),
                          .y = rf_tensor_2(NULL, RF_F32, 3, 8)};
    check_rejected(RF_OP_LAYER_NORM, &norm, RF_ERR_ARGUMENT,
                   "gain is [4] f32, but x [3, 8] f32 needs [8] f32");
    norm.gain = norm.bias;
    norm.probability = 1.0F;
    check_rejected(RF_OP_LAYER_NORM, &norm, RF_ERR_ARGUMENT, "probability is 1, outside [0, 1)");
    norm.probability = 0.0F;
    norm.x2 = rf_tensor_2(NULL, RF_FIXED32, 3, 8);
    check_rejected(RF_OP_LAYER_NORM, &norm, RF_ERR_ARGUMENT,
                   "x2 is [3, 8] fixed32, but x [3, 8] f32 needs [3, 8] f32");
    rf_layer_norm_backward backward = {.x = norm.x, .gain = norm.gain};
    check_rejected(RF_OP_LAYER_NORM_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "gain_gradient is missing; x [3, 8] f32 needs [8] f32");
    backward.gain_gradient = norm.gain;
    backward.bias_gradient = norm.gain;
    backward.y_gradient = rf_tensor_2(NULL, RF_F16, 3, 8);
    check_rejected(RF_OP_LAYER_NORM_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "y_gradient is [3, 8] f16");
}

/* Both streams' gradients are of one type. */
static void test_mixed_gradients(void **state)
{
    (void)state;
    const rf_tensor x = rf_tensor_2(NULL, RF_F32, 3, 4);
    const rf_tensor columns = rf_tensor_1(NULL, RF_F32, 8);
    const rf_layer_norm_backward backward = {.x = x,
                                             .x2 = x,
                                             .gain = columns,
                                             .y_gradient = rf_tensor_2(NULL, RF_BF16, 3, 8),
                                             .x_gradient = rf_tensor_2(NULL, RF_BF16, 3, 4),
                                             .x2_gradient = x,
                                             .gain_gradient = columns,
                                             .bias_gradient = columns};
    check_rejected(RF_OP_LAYER_NORM_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "x2_gradient is [3, 4] f32, but x_gradient [3, 4] bf16 needs [3, 4] bf16");
}

static const norm_shape shapes[] = {
    {5, 33, 0, RF_F32, 2, 0, 1e-12, false, false, false, false, 0.0F},
    {5, 33, 0, RF_FIXED32, 2, 0, 1e-12, true, false, false, false, 0.0F},
    {7, 16, 16, RF_F32, 2, 1, 1e-12, true, false, false, false, 0.0F},
    {7, 19, 5, RF_FIXED32, 100, 0, 1e-5, false, false, false, false, 0.0F},
    {90, 200, 100, RF_FIXED32, 3, 0, 1e-12, false, false, false, false, 0.0F},
    {300, 70, 0, RF_F32, 2, 0, 1e-12, true, false, false, false, 0.0F},
    {1, 1, 0, RF_F32, 2, 0, 1e-12, false, false, false, false, 0.0F},
    {0, 9, 0, RF_F32, 2, 0, 1e-12, true, false, false, false, 0.0F},
    {1, 3, 2, RF_F32, 2, 0, 1e-12, true, false, false, false, 0.0F},
    {9, 40, 0, RF_F32, 1, 1000, 1e-12, false, false, false, false, 0.0F},
    {4, 40, 0, RF_F32, 0, 0.75, 1e-12, false, true, false, false, 0.0F},
    {4, 40, 0, RF_F32, 1e15, 0, 1e-12, false, false, false, false, 0.0F},
    {4, 40, 0, RF_F32, 1e-8, 0, 1e-12, false, false, false, false, 0.0F},
    {5000, 3, 0, RF_FIXED32, 2, 0, 1e-12, false, false, false, false, 0.0F},
    {5, 33, 0, RF_F32, 2, 0, 1e-12, false, false, true, true, 0.0F},
    {7, 19, 5, RF_FIXED32, 100, 0, 1e-5, true, false, true, true, 0.0F},
    {90, 200, 100, RF_FIXED32, 3, 0, 1e-12, false, false, true, true, 0.0F},
    {40, 1500, 1100, RF_F32, 3, 0, 1e-12, true, false, true, false, 0.0F},
    {7, 16, 16, RF_F32, 2, 1, 1e-12, false, false, false, true, 0.0F},
    {6, 33, 0, RF_FIXED32, 2, 0, 1e-12, true, false, true, false, 0.0F},
    {0, 9, 0, RF_F32, 2, 0, 1e-12, true, false, true, true, 0.0F},
    {75, 1024, 0, RF_FIXED32, 3, 0, 1e-12, false, false, true, false, 0.0F},
    {70, 512, 0, RF_F32, 3, 0, 1e-12, true, false, false, false, 0.0F},
    {600, 256, 0, RF_FIXED32, 3, 0, 1e-12, false, false, true, true, 0.0F},
    {67, 1000, 0, RF_FIXED32, 3, 0, 1e-12, true, false, false, false, 0.0F},
    {19, 1028, 0, RF_F32, 3, 0, 1e-12, false, false, true, false, 0.0F},
    {150, 256, 256, RF_FIXED32, 3, 0, 1e-12, true, false, true, false, 0.0F},
    {37, 300, 724, RF_F32, 3, 0, 1e-12, false, false, true, true, 0.0F},
    {41, 64, 32, RF_FIXED32, 3, 0, 1e-12, false, false, false, false, 0.0F},
    {5, 33, 0, RF_F32, 2, 0, 1e-12, false, false, false, false, 0.1F},
    {7, 19, 5, RF_FIXED32, 100, 0, 1e-5, true, false, true, true, 0.5F},
    {75, 1024, 0, RF_FIXED32, 3, 0, 1e-12, false, false, true, false, 0.5F},
    {150, 256, 256, RF_FIXED32, 3, 0, 1e-12, true, false, true, false, 0.5F},
    {37, 300, 724, RF_F32, 3, 0, 1e-12, false, false, false, false, 0.3F},
    {40, 1500, 1100, RF_F32, 3, 0, 1e-12, true, false, false, false, 0.2F},
    {0, 9, 0, RF_F32, 2, 0, 1e-12, true, false, true, true, 0.1F},
};
static const check_case cases[] = {
    {"floats", 1, build, run, oracle, &shapes[0]},
    {"fixed point", 2, build, run, oracle, &shapes[1]},
    {"two streams", 3, build, run, oracle, &shapes[2]},
    {"two streams in fixed point", 4, build, run, oracle, &shapes[3]},
    {"large", 5, build, run, oracle, &shapes[4]},
    {"one element", 6, build, run, oracle, &shapes[6]},
    {"no rows", 7, build, run, oracle, &shapes[7]},
    {"large mean", 8, build, run, oracle, &shapes[9]},
    {"constant rows", 9, build, run, oracle, &shapes[10]},
    {"very large values", 10, build, run, oracle, &shapes[11]},
    {"tiny values", 11, build, run, oracle, &shapes[12]},
    {"floats backward", 12, build_backward, run_backward, oracle, &shapes[0]},
    {"fixed point backward, written", 13, build_backward, run_backward, oracle, &shapes[1]},
    {"two streams backward, written", 14, build_backward, run_backward, oracle, &shapes[2]},
    {"two streams in fixed point backward", 15, build_backward, run_backward, oracle, &shapes[3]},
    {"large backward", 16, build_backward, run_backward, oracle, &shapes[4]},
    {"many rows backward, written", 17, build_backward, run_backward, oracle, &shapes[5]},
    {"one element backward", 18, build_backward, run_backward, oracle, &shapes[6]},
    {"no rows backward", 19, build_backward, run_backward, oracle, &shapes[7]},
    {"one row backward", 20, build_backward, run_backward, oracle, &shapes[8]},
    {"narrow, runs of rows backward", 21, build_backward, run_backward, oracle, &shapes[13]},
    {"bf16", 22, build, run, oracle, &shapes[14]},
    {"bf16 of two streams in fixed point", 23, build, run, oracle, &shapes[15]},
    {"bf16, large", 24, build, run, oracle, &shapes[16]},
    {"bf16, wide", 25, build, run, oracle, &shapes[17]},
    {"bf16, no rows", 26, build, run, oracle, &shapes[20]},
    {"bf16 backward", 27, build_backward, run_backward, oracle, &shapes[14]},
    {"bf16 of two streams backward, written", 28, build_backward, run_backward, oracle,
     &shapes[15]},
    {"bf16, large backward", 29, build_backward, run_backward, oracle, &shapes[16]},
    {"bf16 to floats, wide backward, written", 30, build_backward, run_backward, oracle,
     &shapes[17]},
    {"floats to bf16 backward", 31, build_backward, run_backward, oracle, &shapes[18]},
    {"bf16 to floats backward, written", 32, build_backward, run_backward, oracle, &shapes[19]},
    {"bf16, no rows backward", 33, build_backward, run_backward, oracle, &shapes[20]},
    {"bf16, 1024 columns", 34, build, run, oracle, &shapes[21]},
    {"512 columns", 35, build, run, oracle, &shapes[22]},
    {"bf16, 256 columns", 36, build, run, oracle, &shapes[23]},
    {"1000 columns", 37, build, run, oracle, &shapes[24]},
    {"bf16, 1028 columns", 38, build, run, oracle, &shapes[25]},
    {"bf16, 1024 columns backward", 39, build_backward, run_backward, oracle, &shapes[21]},
    {"512 columns backward, written", 40, build_backward, run_backward, oracle, &shapes[22]},
    {"bf16, 256 columns backward", 41, build_backward, run_backward, oracle, &shapes[23]},
    {"1000 columns backward, written", 42, build_backward, run_backward, oracle, &shapes[24]},
    {"bf16, 1028 columns backward", 43, build_backward, run_backward, oracle, &shapes[25]},
    {"bf16, two streams of 256", 44, build, run, oracle, &shapes[26]},
    {"bf16, streams of 300 and 724", 45, build, run, oracle, &shapes[27]},
    {"two streams of 64 and 32", 46, build, run, oracle, &shapes[28]},
    {"bf16, two streams of 256 backward, written", 47, build_backward, run_backward, oracle,
     &shapes[26]},
    {"bf16, streams of 300 and 724 backward", 48, build_backward, run_backward, oracle,
     &shapes[27]},
    {"two streams of 64 and 32 backward", 49, build_backward, run_backward, oracle, &shapes[28]},
    {"floats backward, y again", 50, build_again, run_again, oracle_again, &shapes[0]},
    {"two streams backward, y again", 51, build_again, run_again, oracle_again, &shapes[2]},
    {"bf16, 256 columns backward, y again", 52, build_again, run_again, oracle_again, &shapes[23]},
    {"bf16, 1024 columns backward, y again", 53, build_again, run_again, oracle_again, &shapes[21]},
    {"bf16, 1028 columns backward, y again", 54, build_again, run_again, oracle_again, &shapes[25]},
    {"bf16, streams of 300 and 724 backward, y again", 55, build_again, run_again, oracle_again,
     &shapes[27]},
    {"no rows backward, y again", 56, build_again, run_again, oracle_again, &shapes[7]},
    {"floats, dropout", 57, build, run, oracle, &shapes[29]},
    {"bf16 of two streams in fixed point, dropout", 58, build, run, oracle, &shapes[30]},
    {"bf16, 1024 columns, dropout", 59, build, run, oracle, &shapes[31]},
    {"bf16, two streams of 256, dropout", 60, build, run, oracle, &shapes[32]},
    {"streams of 300 and 724, dropout", 61, build, run, oracle, &shapes[33]},
    {"wide, dropout", 62, build, run, oracle, &shapes[34]},
    {"no rows, dropout", 63, build, run, oracle, &shapes[35]},
    {"floats backward, dropout", 64, build_backward, run_backward, oracle, &shapes[29]},
    {"bf16 of two streams in fixed point backward, dropout", 65, build_backward, run_backward,
     oracle, &shapes[30]},
    {"bf16, 1024 columns backward, dropout", 66, build_backward, run_backward, oracle, &shapes[31]},
    {"bf16, two streams of 256 backward, dropout", 67, build_backward, run_backward, oracle,
     &shapes[32]},
    {"streams of 300 and 724 backward, dropout", 68, build_backward, run_backward, oracle,
     &shapes[33]},
    {"wide backward, dropout", 69, build_backward, run_backward, oracle, &shapes[34]},
    {"no rows backward, dropout", 70, build_backward, run_backward, oracle, &shapes[35]},
    {"bf16 of two streams in fixed point backward, y again, dropout", 71, build_again, run_again,
     oracle_again, &shapes[30]},
    {"bf16, 1024 columns backward, y again, dropout", 72, build_again, run_again, oracle_again,
     &shapes[31]},
    {"bf16, two streams of 256 backward, y again, dropout", 73, build_again, run_again,
     oracle_again, &shapes[32]},
    {"streams of 300 and 724 backward, y again, dropout", 74, build_again, run_again, oracle_again,
     &shapes[33]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected),
                                              cmocka_unit_test(test_mixed_gradients)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
