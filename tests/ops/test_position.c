/* Axial tables with channel dropout, their gradients, and sinusoids. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_AXES = 3 };

typedef struct position_shape {
    int axes; /* 0: sinusoids */
    int64_t sizes[MAX_AXES], widths[MAX_AXES];
    int64_t rows, length, offset, first_row, first_sample;
    float probability;
} position_shape;

static int64_t width_of(const position_shape *s)
{
    return s->widths[0] + s->widths[1] + s->widths[2];
}

/* Without data. */
static rf_position position_of(const position_shape *s)
{
    rf_position position = {
        .kind = s->axes == 0 ? RF_POSITION_SINUSOIDAL : RF_POSITION_TABLES,
        .axes = s->axes,
        .first_row = s->first_row,
        .first_sample = s->first_sample,
        .length = s->length,
        .offset = s->offset,
        .probability = s->probability,
        .key = {.seed = 11, .step = 5, .purpose = RF_PURPOSE_POSITION_DROPOUT},
    };
    for (int axis = 0; axis < s->axes; axis++) {
        position.tables[axis] = rf_tensor_2(NULL, RF_F32, s->sizes[axis], s->widths[axis]);
    }
    return position;
}

/* Buffers: the tables, y, and for the backward y_gradient and the tables' gradients. */
static void build(check_state *check)
{
    static const char *const names[MAX_AXES] = {"table 0", "table 1", "table 2"};
    const position_shape *s = check->which->parameters;
    for (int axis = 0; axis < s->axes; axis++) {
        check_buffer table =
            check_matrix(names[axis], CHECK_INPUT, s->sizes[axis], s->widths[axis], -1, 1);
        check_add(check, &table);
    }
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->rows, width_of(s), 0, 0);
    check_add(check, &y);
}

static void build_added(check_state *check)
{
    const position_shape *s = check->which->parameters;
    build(check);
    check_buffer *y = &check->buffers[s->axes];
    y->role = CHECK_UPDATED;
    y->low = -1;
    y->high = 1;
}

static void build_backward(check_state *check)
{
    static const char *const names[MAX_AXES] = {"gradient 0", "gradient 1", "gradient 2"};
    const position_shape *s = check->which->parameters;
    build(check);
    check->buffers[s->axes].role = CHECK_VIRTUAL;
    check->buffers[s->axes].weight = "y_gradient";
    check_buffer y_gradient = check_matrix("y_gradient", CHECK_INPUT, s->rows, width_of(s), -1, 1);
    check_add(check, &y_gradient);
    for (int axis = 0; axis < s->axes; axis++) {
        check_buffer gradient =
            check_matrix(names[axis], CHECK_GRADIENT_ADDED, s->sizes[axis], s->widths[axis], -1, 1);
        gradient.of = check->buffers[axis].name;
        check_add(check, &gradient);
    }
}

static rf_status embed(rf_context *context, const check_state *check, bool add, rf_error *error)
{
    const position_shape *s = check->which->parameters;
    rf_position position = position_of(s);
    for (int axis = 0; axis < s->axes; axis++) {
        position.tables[axis] = check_tensor(check, axis);
    }
    position.y = check_tensor(check, s->axes);
    position.add = add;
    return rf_op_position(context, &position, error);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    return embed(context, check, false, error);
}

static rf_status run_backward(rf_context *context, const check_state *check, rf_error *error)
{
    const position_shape *s = check->which->parameters;
    rf_position_backward backward = {.forward = position_of(s),
                                     .y_gradient = check_tensor(check, s->axes + 1)};
    for (int axis = 0; axis < s->axes; axis++) {
        backward.forward.tables[axis] = check_tensor(check, axis);
        backward.table_gradients[axis] = check_tensor(check, s->axes + 2 + axis);
    }
    return rf_op_position_backward(context, &backward, error);
}

static rf_status run_added(rf_context *context, const check_state *check, rf_error *error)
{
    return embed(context, check, true, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const position_shape *s = check->which->parameters;
    rf_position position = position_of(s);
    const double *const tables[MAX_AXES] = {values[0], values[1], values[2]};
    oracle_position(&position, s->rows, width_of(s), tables, values[s->axes]);
}

static void oracle_added(const check_state *check, double *const *values)
{
    const position_shape *s = check->which->parameters;
    const int64_t count = s->rows * width_of(s);
    double *y = values[s->axes];
    double *before = malloc((size_t)(count + 1) * sizeof *before);
    assert_non_null(before);
    memcpy(before, y, (size_t)count * sizeof *y);
    oracle(check, values);
    for (int64_t i = 0; i < count; i++) {
        y[i] += before[i];
    }
    free(before);
}

/* A position has the same bits whether it is asked for alone or among others: generation sees what
 * training saw. */
static void test_sinusoid_alone(void **state)
{
    (void)state;
    enum { ROWS = 150, WIDTH = 10 };
    static float together[ROWS][WIDTH];
    float alone[WIDTH];
    rf_position position = position_of(&(position_shape){.length = 1000, .offset = 999900});
    position.y = rf_tensor_2(together, RF_F32, ROWS, WIDTH);
    check_run(RF_OP_POSITION, &position, 1);
    for (int64_t row = 0; row < ROWS; row += 7) {
        position.first_row = row;
        position.y = rf_tensor_2(alone, RF_F32, 1, WIDTH);
        check_run(RF_OP_POSITION, &position, 1);
        assert_memory_equal(alone, together[row], sizeof alone);
    }
}

/* Whole positions that share a digit of axis 1 are dropped together, other samples draw anew. */
static void test_channels(void **state)
{
    (void)state;
    enum { SLOW = 6, FAST = 8, SAMPLES = 5 };
    static float tables[2][SLOW * FAST];
    static float y[SAMPLES * SLOW * FAST][2];
    for (int i = 0; i < SLOW * FAST; i++) {
        tables[0][i] = 1.0F;
        tables[1][i] = 1.0F;
    }
    rf_position position = position_of(&(position_shape){.axes = 2,
                                                         .sizes = {SLOW, FAST},
                                                         .widths = {1, 1},
                                                         .length = SLOW * FAST,
                                                         .probability = 0.5F});
    position.tables[0].data = tables[0];
    position.tables[1].data = tables[1];
    position.y = rf_tensor_2(y, RF_F32, SAMPLES * SLOW * FAST, 2);
    check_run(RF_OP_POSITION, &position, 1);
    int dropped = 0;
    for (int row = 0; row < SAMPLES * SLOW * FAST; row++) {
        int first = row / (SLOW * FAST) * (SLOW * FAST) + row % FAST;
        assert_true(y[row][0] == 0.0F || y[row][0] == 2.0F);
        assert_true(y[row][0] == y[row][1] && y[row][0] == y[first][0]);
        dropped += y[row][0] == 0.0F ? 1 : 0;
    }
    assert_in_range(dropped, 6 * 8, 6 * 32); /* of 40 channels of 6 positions */
}

static void test_rejected(void **state)
{
    (void)state;
    position_shape shape = {.axes = 2, .sizes = {4, 8}, .widths = {3, 5}, .rows = 33, .length = 33};
    rf_position position = position_of(&shape);
    position.y = rf_tensor_2(NULL, RF_F32, 33, 8);
    check_rejected(RF_OP_POSITION, &position, RF_ERR_ARGUMENT,
                   "cover 32 positions, but position 32");
    position.y = rf_tensor_2(NULL, RF_F32, 32, 9);
    check_rejected(RF_OP_POSITION, &position, RF_ERR_ARGUMENT, "widths sum to 8, but y is [32, 9]");
    position.length = 0;
    check_rejected(RF_OP_POSITION, &position, RF_ERR_ARGUMENT, "length is 0");
    rf_position_backward backward = {.forward = position_of(&shape),
                                     .y_gradient = rf_tensor_2(NULL, RF_F32, 32, 8)};
    backward.table_gradients[0] = rf_tensor_2(NULL, RF_F32, 4, 3);
    backward.table_gradients[1] = rf_tensor_2(NULL, RF_F32, 7, 5);
    check_rejected(RF_OP_POSITION_BACKWARD, &backward, RF_ERR_ARGUMENT,
                   "table_gradients is [7, 5] f32, but tables [8, 5] f32 needs [8, 5] f32");
}

static const position_shape shapes[] = {
    {2, {4, 8}, {3, 5}, 64, 32, 0, 0, 0, 0.0F},
    {2, {4, 8}, {3, 5}, 90, 30, 1, 17, 3, 0.4F},
    {3, {2, 3, 4}, {33, 1, 16}, 50, 24, 0, 5, 0, 0.3F},
    {1, {40}, {17}, 70, 35, 5, 0, 2, 0.5F},
    {2, {20, 30}, {40, 47}, 1200, 600, 0, 0, 0, 0.1F},
    {2, {4, 8}, {3, 5}, 0, 100, 0, 0, 0, 0.0F},
    {2, {4, 8}, {3, 5}, 1, 1000, 20, 11, 0, 0.0F},
    {0, {0}, {6}, 200, 90, 0, 30, 0, 0.0F},
    {0, {0}, {64}, 600, 1000, 999500, 0, 0, 0.0F},
    {0, {0}, {7}, 3, 1, 5, 0, 0, 0.0F},
    {0, {0}, {1}, 70, 70, 63, 0, 0, 0.0F},
};
static const check_case cases[] = {
    {"two axes", 1, build, run, oracle, &shapes[0]},
    {"two axes, dropout", 2, build, run, oracle, &shapes[1]},
    {"three axes, dropout", 3, build, run, oracle, &shapes[2]},
    {"learned table, dropout", 4, build, run, oracle, &shapes[3]},
    {"large", 5, build, run, oracle, &shapes[4]},
    {"no rows", 6, build, run, oracle, &shapes[5]},
    {"one row, far end", 7, build, run, oracle, &shapes[6]},
    {"sinusoids", 8, build, run, oracle, &shapes[7]},
    {"sinusoids up to a million", 9, build, run, oracle, &shapes[8]},
    {"sinusoids, odd width", 10, build, run, oracle, &shapes[9]},
    {"sinusoids, one column", 11, build, run, oracle, &shapes[10]},
    {"two axes backward", 12, build_backward, run_backward, oracle, &shapes[0]},
    {"two axes, dropout, backward", 13, build_backward, run_backward, oracle, &shapes[1]},
    {"three axes, dropout, backward", 14, build_backward, run_backward, oracle, &shapes[2]},
    {"learned table, dropout, backward", 15, build_backward, run_backward, oracle, &shapes[3]},
    {"large backward", 16, build_backward, run_backward, oracle, &shapes[4]},
    {"no rows backward", 17, build_backward, run_backward, oracle, &shapes[5]},
    {"two axes, dropout, added", 18, build_added, run_added, oracle_added, &shapes[1]},
    {"large, added", 19, build_added, run_added, oracle_added, &shapes[4]},
    {"sinusoids, odd width, added", 20, build_added, run_added, oracle_added, &shapes[9]},
    {"no rows, added", 21, build_added, run_added, oracle_added, &shapes[5]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sinusoid_alone),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 3);
}
