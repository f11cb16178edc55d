/* Loss, prediction and gradient of the softmax. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>
#include <string.h>

typedef struct loss_shape {
    int64_t rows, vocabulary;
    double range;
    double factor;
    bool equal;   /* all logits of a row are the same */
    bool ignored; /* every target, otherwise every third */
    bool bf16;    /* the gradient */
    double smoothing;
    bool weighted;
} loss_shape;

enum { LOGITS, TARGETS, WEIGHTS, NLL, PREDICTION, FACTOR, GRADIENT };

static void fill_logits(const check_state *check, double *values, int64_t count)
{
    const loss_shape *s = check->which->parameters;
    for (int64_t i = 0; i < count && s->equal; i++) {
        values[i] = values[i / s->vocabulary * s->vocabulary];
    }
}

static void fill_targets(const check_state *check, double *values, int64_t count)
{
    const loss_shape *s = check->which->parameters;
    for (int64_t i = 0; i < count; i++) {
        if (s->ignored || i % 3 == 1) {
            values[i] = -100.0;
        }
    }
}

static void build(check_state *check)
{
    const loss_shape *s = check->which->parameters;
    check_buffer logits =
        check_matrix("logits", CHECK_INPUT, s->rows, s->vocabulary, -s->range, s->range);
    logits.fill = fill_logits;
    check_buffer targets =
        check_vector("targets", CHECK_INPUT, s->rows, 0, (double)(s->vocabulary - 1));
    targets.dtype = RF_I32;
    targets.fill = fill_targets;
    check_buffer weights = check_vector("weights", CHECK_INPUT, s->vocabulary, 0, 3);
    check_buffer nll = check_vector("nll", CHECK_OUTPUT, s->rows, 0, 0);
    check_buffer prediction = check_vector("prediction", CHECK_OUTPUT, s->rows, 0, 0);
    prediction.dtype = RF_I32;
    check_add(check, &logits);
    check_add(check, &targets);
    check_add(check, &weights);
    check_add(check, &nll);
    check_add(check, &prediction);
}

/* The gradient is that of factor * the sum of nll: the factor is the weight of each nll. */
static void build_gradient(check_state *check)
{
    const loss_shape *s = check->which->parameters;
    build(check);
    check->buffers[NLL].weight = "factor";
    check_buffer factor = check_vector("factor", CHECK_INPUT, s->rows, s->factor, s->factor);
    check_buffer gradient =
        check_matrix("logits_gradient", CHECK_GRADIENT, s->rows, s->vocabulary, 0, 0);
    gradient.of = "logits";
    gradient.dtype = s->bf16 ? RF_BF16 : RF_F32;
    check_add(check, &factor);
    check_add(check, &gradient);
}

static rf_cross_entropy arguments(const check_state *check)
{
    const loss_shape *s = check->which->parameters;
    rf_cross_entropy loss = {.logits = check_tensor(check, LOGITS),
                             .targets = check_tensor(check, TARGETS),
                             .nll = check_tensor(check, NLL),
                             .prediction = check_tensor(check, PREDICTION),
                             .smoothing = s->smoothing};
    if (s->weighted) {
        loss.weights = check_tensor(check, WEIGHTS);
    }
    return loss;
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    rf_cross_entropy loss = arguments(check);
    return rf_op_cross_entropy(context, &loss, error);
}

static rf_status run_gradient(rf_context *context, const check_state *check, rf_error *error)
{
    const loss_shape *s = check->which->parameters;
    rf_cross_entropy loss = arguments(check);
    loss.logits_gradient = check_tensor(check, GRADIENT);
    loss.factor = (float)s->factor;
    return rf_op_cross_entropy(context, &loss, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const loss_shape *s = check->which->parameters;
    oracle_cross_entropy(s->rows, s->vocabulary, values[LOGITS], values[TARGETS], s->smoothing,
                         s->weighted ? values[WEIGHTS] : NULL, values[NLL], values[PREDICTION]);
}

/* ---- beside the cases ---- */

enum { ROWS = 4, WIDTH = 20 };

static rf_cross_entropy loss_of(float *logits, int32_t *targets, float *nll, float *gradient)
{
    return (rf_cross_entropy){.logits = rf_tensor_2(logits, RF_F32, ROWS, WIDTH),
                              .targets = rf_tensor_1(targets, RF_I32, ROWS),
                              .nll = rf_tensor_1(nll, RF_F32, ROWS),
                              .logits_gradient = rf_tensor_2(gradient, RF_F32, ROWS, WIDTH),
                              .factor = 0.5F};
}

static void test_in_place(void **state)
{
    (void)state;
    float logits[ROWS * WIDTH];
    float gradient[ROWS * WIDTH];
    float nll[ROWS];
    int32_t targets[ROWS] = {3, -100, 19, 0};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        logits[i] = 0.37F * (float)(i % 13) - 2.0F;
    }
    rf_cross_entropy loss = loss_of(logits, targets, nll, gradient);
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    loss.logits_gradient = loss.logits;
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    assert_memory_equal(logits, gradient, sizeof logits);
    float sum = 0.0F; /* a row's gradient sums to nothing */
    for (int i = 0; i < WIDTH; i++) {
        sum += gradient[i];
        assert_true(gradient[WIDTH + i] == 0.0F);
    }
    assert_true(fabsf(sum) < 1e-6F);
}

static void test_smoothed_in_place(void **state)
{
    (void)state;
    float logits[ROWS * WIDTH];
    float gradient[ROWS * WIDTH];
    float weights[WIDTH];
    float nll[ROWS];
    int32_t targets[ROWS] = {3, -100, 19, 0};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        logits[i] = 0.37F * (float)(i % 13) - 2.0F;
        weights[i % WIDTH] = (float)(i % 3);
    }
    rf_cross_entropy loss = loss_of(logits, targets, nll, gradient);
    loss.smoothing = 0.1;
    loss.weights = rf_tensor_1(weights, RF_F32, WIDTH);
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    loss.logits_gradient = loss.logits;
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    assert_memory_equal(logits, gradient, sizeof logits);
}

/* A sure and right row: nll and the target's gradient keep their digits, 19 exp(-10). */
static void test_sure(void **state)
{
    (void)state;
    float logits[ROWS * WIDTH] = {0.0F};
    float gradient[ROWS * WIDTH];
    float nll[ROWS];
    int32_t targets[ROWS] = {2, 2, 2, 2};
    logits[2] = 10.0F;
    logits[WIDTH + 2] = 1e30F;
    logits[2 * WIDTH + 3] = 1e30F;
    rf_cross_entropy loss = loss_of(logits, targets, nll, gradient);
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    double exact = log1p(19.0 * exp(-10.0));
    assert_true(fabs((double)nll[0] / exact - 1.0) < 1e-4);
    assert_true(fabs((double)gradient[2] / (0.5 * expm1(-exact)) - 1.0) < 1e-4);
    assert_true(nll[1] == 0.0F && gradient[WIDTH + 2] == 0.0F);
    assert_true(nll[2] == 1e30F && gradient[2 * WIDTH + 3] == 0.5F);
    assert_true(gradient[2 * WIDTH + 2] == -0.5F);
}

static void test_not_a_number(void **state)
{
    (void)state;
    float logits[ROWS * WIDTH] = {0.0F};
    float gradient[ROWS * WIDTH];
    float nll[ROWS];
    int32_t targets[ROWS] = {2, 2, 2, 2};
    logits[5] = NAN;
    logits[2 * WIDTH] = NAN;
    logits[3 * WIDTH + 19] = NAN;
    rf_cross_entropy loss = loss_of(logits, targets, nll, gradient);
    check_run(RF_OP_CROSS_ENTROPY, &loss, 1);
    assert_true(isnan(nll[0]) && !isnan(nll[1]) && isnan(nll[2]) && isnan(nll[3]));
}

static void test_rejected(void **state)
{
    (void)state;
    rf_cross_entropy loss = loss_of(NULL, NULL, NULL, NULL);
    loss.nll = rf_tensor_1(NULL, RF_F32, 3);
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT,
                   "nll is [3] f32, but logits [4, 20] f32 needs [4] f32");
    loss = loss_of(NULL, NULL, NULL, NULL);
    loss.prediction = rf_tensor_1(NULL, RF_F32, ROWS);
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "needs [4] i32");
    loss = loss_of(NULL, NULL, NULL, NULL);
    loss.logits_gradient.dtype = RF_F16;
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "logits_gradient is [4, 20] f16");
    loss = loss_of(NULL, NULL, NULL, NULL);
    loss.logits.dtype = RF_BF16;
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "logits is [4, 20] bf16");
    loss = loss_of(NULL, NULL, NULL, NULL);
    loss.weights = rf_tensor_1(NULL, RF_F32, WIDTH - 1);
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "weights is [19] f32");
    loss = loss_of(NULL, NULL, NULL, NULL);
    loss.smoothing = 1.0;
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "is 1, outside [0, 1)");
    loss.logits = rf_tensor_2(NULL, RF_F32, ROWS, 0);
    check_rejected(RF_OP_CROSS_ENTROPY, &loss, RF_ERR_ARGUMENT, "vocabulary is 0");
}

static const loss_shape shapes[] = {
    {.rows = 7, .vocabulary = 37, .range = 3, .factor = 0.25},
    {.rows = 120, .vocabulary = 320, .range = 4, .factor = 0.01},
    {.rows = 5, .vocabulary = 1, .range = 3, .factor = 1},
    {.rows = 0, .vocabulary = 9, .range = 3, .factor = 1},
    {4, 33, 3, 1, .equal = true},
    {.rows = 4, .vocabulary = 33, .range = 1e6, .factor = 1},
    {6, 16, 3, 1, .ignored = true},
    {.rows = 1, .vocabulary = 3, .range = 1e-6, .factor = 2},
    {.rows = 9, .vocabulary = 5, .range = 40, .factor = 1},
    {7, 37, 3, 0.25, .bf16 = true},
    {120, 320, 4, 0.01, .bf16 = true},
    {3, 2500, 4, 1, .bf16 = true},
    {6, 16, 3, 1, .ignored = true, .bf16 = true},
    {9, 5, 40, 1, .bf16 = true},
    {0, 9, 3, 1, .bf16 = true},
    {9, 37, 3, 0.25, .smoothing = 0.1},
    {9, 2500, 4, 0.25, .smoothing = 0.3},
    {9, 2500, 4, 0.25, .bf16 = true, .smoothing = 0.1},
    {9, 5, 40, 1, .smoothing = 0.1},
    {30, 4, 3, 0.25, .weighted = true},
    {9, 5, 40, 1, .weighted = true},
    {30, 4, 3, 0.25, .smoothing = 0.2, .weighted = true},
    {9, 1100, 3, 0.25, .bf16 = true, .smoothing = 0.2, .weighted = true},
};
static const check_case cases[] = {
    {"loss", 1, build, run, oracle, &shapes[0]},
    {"large", 2, build, run, oracle, &shapes[1]},
    {"one class", 3, build, run, oracle, &shapes[2]},
    {"no rows", 4, build, run, oracle, &shapes[3]},
    {"equal logits", 5, build, run, oracle, &shapes[4]},
    {"very large logits", 6, build, run, oracle, &shapes[5]},
    {"all ignored", 7, build, run, oracle, &shapes[6]},
    {"tiny logits", 8, build, run, oracle, &shapes[7]},
    {"gradient", 9, build_gradient, run_gradient, oracle, &shapes[0]},
    {"large, gradient", 10, build_gradient, run_gradient, oracle, &shapes[1]},
    {"one class, gradient", 11, build_gradient, run_gradient, oracle, &shapes[2]},
    {"no rows, gradient", 12, build_gradient, run_gradient, oracle, &shapes[3]},
    {"equal logits, gradient", 13, build_gradient, run_gradient, oracle, &shapes[4]},
    {"all ignored, gradient", 14, build_gradient, run_gradient, oracle, &shapes[6]},
    {"tiny logits, gradient", 15, build_gradient, run_gradient, oracle, &shapes[7]},
    {"sure rows, gradient", 16, build_gradient, run_gradient, oracle, &shapes[8]},
    {"bf16 gradient", 17, build_gradient, run_gradient, oracle, &shapes[9]},
    {"large, bf16 gradient", 18, build_gradient, run_gradient, oracle, &shapes[10]},
    {"long rows, bf16 gradient", 19, build_gradient, run_gradient, oracle, &shapes[11]},
    {"all ignored, bf16 gradient", 20, build_gradient, run_gradient, oracle, &shapes[12]},
    {"sure rows, bf16 gradient", 21, build_gradient, run_gradient, oracle, &shapes[13]},
    {"no rows, bf16 gradient", 22, build_gradient, run_gradient, oracle, &shapes[14]},
    {"smoothed", 23, build, run, oracle, &shapes[15]},
    {"smoothed, gradient", 24, build_gradient, run_gradient, oracle, &shapes[15]},
    {"long rows, smoothed, gradient", 25, build_gradient, run_gradient, oracle, &shapes[16]},
    {"smoothed, bf16 gradient", 26, build_gradient, run_gradient, oracle, &shapes[17]},
    {"sure rows, smoothed, gradient", 27, build_gradient, run_gradient, oracle, &shapes[18]},
    {"weighted", 28, build, run, oracle, &shapes[19]},
    {"weighted, gradient", 29, build_gradient, run_gradient, oracle, &shapes[19]},
    {"sure rows, weighted, gradient", 30, build_gradient, run_gradient, oracle, &shapes[20]},
    {"smoothed and weighted, gradient", 31, build_gradient, run_gradient, oracle, &shapes[21]},
    {"both, bf16 gradient", 32, build_gradient, run_gradient, oracle, &shapes[22]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_smoothed_in_place),
        cmocka_unit_test(test_sure),     cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests,
                      sizeof tests / sizeof tests[0]);
}
