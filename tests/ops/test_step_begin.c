/* step_begin: the state, the mask and the embedding of one more token. */
#include "check_op.h"

#include "oracle/oracle.h"

enum { STATE, KEPT, IDS, TABLE, Y, TABLES };

typedef struct begin_shape {
    int64_t batch, capacity, vocabulary, width;
    int64_t position, listed_from; /* position: before the step */
    int listed_next;
    int64_t axes[2][2]; /* rows and widths of the tables; none: sinusoidal */
    int64_t lag;        /* a row's position is so many before that of the row above it */
} begin_shape;

static void fill_state(const check_state *check, double *values, int64_t count)
{
    const begin_shape *s = check->which->parameters;
    for (int64_t row = 0; row < count / RF_STEP_WORDS; row++) {
        double *words = values + row * RF_STEP_WORDS;
        words[RF_STEP_POSITION] = (double)(s->position - row * s->lag);
        words[RF_STEP_LISTED] = 0.0;
        words[RF_STEP_LISTED_NEXT] = (double)s->listed_next;
    }
}

static void build(check_state *check)
{
    const begin_shape *s = check->which->parameters;
    check_buffer state = check_matrix("state", CHECK_UPDATED, s->batch, RF_STEP_WORDS, 0, 0);
    check_buffer kept = check_matrix("kept", CHECK_UPDATED, s->batch, s->capacity, 0, 1);
    check_buffer ids = check_vector("ids", CHECK_INPUT, s->batch, -1, (double)(s->vocabulary - 1));
    check_buffer table = check_matrix("table", CHECK_INPUT, s->vocabulary, s->width, -1, 1);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, s->batch, s->width, 0, 0);
    state.dtype = RF_I32;
    state.fill = fill_state;
    kept.dtype = RF_U8;
    ids.dtype = RF_I32;
    check_add(check, &state);
    check_add(check, &kept);
    check_add(check, &ids);
    check_add(check, &table);
    check_add(check, &y);
    for (int axis = 0; axis < 2 && s->axes[axis][0] > 0; axis++) {
        check_buffer one = check_matrix(axis == 0 ? "first axis" : "second axis", CHECK_INPUT,
                                        s->axes[axis][0], s->axes[axis][1], -1, 1);
        check_add(check, &one);
    }
}

static rf_position position_of(const check_state *check)
{
    const begin_shape *s = check->which->parameters;
    rf_position position = {.kind = RF_POSITION_SINUSOIDAL};
    for (int axis = 0; axis < 2 && s->axes[axis][0] > 0; axis++) {
        position.kind = RF_POSITION_TABLES;
        position.axes = axis + 1;
        position.tables[axis] = rf_tensor_2(check_tensor(check, TABLES + axis).data, RF_F32,
                                            s->axes[axis][0], s->axes[axis][1]);
    }
    return position;
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const begin_shape *s = check->which->parameters;
    rf_step_begin begin = {.state = check_tensor(check, STATE),
                           .kept = check_tensor(check, KEPT),
                           .listed_from = s->listed_from,
                           .ids = check_tensor(check, IDS),
                           .table = check_tensor(check, TABLE),
                           .position = position_of(check),
                           .y = check_tensor(check, Y)};
    return rf_op_step_begin(context, &begin, error);
}

static void oracle(const check_state *check, double *const *values)
{
    const begin_shape *s = check->which->parameters;
    double place[512];
    const double *tables[2] = {values[TABLES], values[TABLES + 1]};
    rf_position arguments = position_of(check);
    for (int64_t row = 0; row < s->batch; row++) {
        double *words = values[STATE] + row * RF_STEP_WORDS;
        int64_t position = s->position - row * s->lag + 1;
        words[RF_STEP_POSITION] = (double)position;
        words[RF_STEP_LISTED] = words[RF_STEP_LISTED_NEXT];
        if (position + 1 >= s->listed_from) {
            words[RF_STEP_LISTED_NEXT] = 1.0;
        }
        arguments.length = 1;
        arguments.offset = position;
        oracle_position(&arguments, 1, s->width, tables, place);
        double id = values[IDS][row] < 0.0 ? 0.0 : values[IDS][row];
        values[KEPT][row * s->capacity + position] = 1.0;
        for (int64_t i = 0; i < s->width; i++) {
            values[Y][row * s->width + i] = values[TABLE][(int64_t)id * s->width + i] + place[i];
        }
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_step_begin begin = {.state = rf_tensor_2(NULL, RF_I32, 2, RF_STEP_WORDS),
                           .kept = rf_tensor_2(NULL, RF_U8, 2, 9),
                           .listed_from = 1,
                           .ids = rf_tensor_1(NULL, RF_I32, 2),
                           .table = rf_tensor_2(NULL, RF_F32, 5, 8),
                           .position = {.kind = RF_POSITION_TABLES, .axes = 1},
                           .y = rf_tensor_2(NULL, RF_F32, 2, 8)};
    begin.position.tables[0] = rf_tensor_2(NULL, RF_F32, 9, 7);
    check_rejected(RF_OP_STEP_BEGIN, &begin, RF_ERR_ARGUMENT, "widths is 7, outside [8, 8]");
    begin.y.shape[1] = 7;
    check_rejected(RF_OP_STEP_BEGIN, &begin, RF_ERR_ARGUMENT, "y is [2, 7] f32");
    begin.kept.shape[0] = 3;
    check_rejected(RF_OP_STEP_BEGIN, &begin, RF_ERR_ARGUMENT, "kept is [3, 9] u8");
}

static const begin_shape shapes[] = {
    {1, 20, 258, 32, 9, 16, 0, {{4, 12}, {8, 20}}, 0},
    {3, 99, 30, 17, 14, 16, 0, {{40, 17}, {0}}, 0},
    {2, 64, 5, 257, 40, 16, 1, {{0}}, 0},
    {4, 64, 7, 512, 62, 1000, 1, {{8, 128}, {8, 384}}, 0},
    {2, 8, 9, 4, -1, 3, 0, {{8, 4}, {0}}, 0},
    {3, 64, 9, 24, 40, 16, 0, {{8, 8}, {8, 16}}, 15},
};
static const check_case cases[] = {
    {"two axes", 1, build, run, oracle, &shapes[0]},
    {"learned, the next step is listed", 2, build, run, oracle, &shapes[1]},
    {"sinusoidal, listed", 3, build, run, oracle, &shapes[2]},
    {"the last place", 4, build, run, oracle, &shapes[3]},
    {"the first token", 5, build, run, oracle, &shapes[4]},
    {"rows of different lengths", 6, build, run, oracle, &shapes[5]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rejected)};
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 1);
}
