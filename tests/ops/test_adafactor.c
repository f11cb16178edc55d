/* One update against its definition: matrices and vectors, both semantics, with and without a first
 * moment, clipped and not; and what the formula promises by hand. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>

typedef struct adafactor_shape {
    int64_t rows, columns; /* columns 0: a vector */
    rf_adafactor_kind kind;
    bool relative, momentum, rounded;
    int64_t update;
    double clip, weight_decay, gradient_factor, gradient_range, value_range;
} adafactor_shape;

enum { VALUE, GRADIENT, FIRST_OF_REST };

/* Where the buffers are that only some cases have; -1: not there. */
typedef struct places {
    int second, row, column, first, rounded, update;
} places;

static places places_of(const adafactor_shape *s)
{
    places p = {-1, -1, -1, -1, -1, -1};
    int next = FIRST_OF_REST;
    if (s->columns > 0) {
        p.row = next++;
        p.column = next++;
    } else {
        p.second = next++;
    }
    p.first = s->momentum ? next++ : -1;
    p.rounded = s->rounded ? next++ : -1;
    p.update = next;
    return p;
}

static rf_adafactor settings(const adafactor_shape *s)
{
    return (rf_adafactor){.kind = s->kind,
                          .relative = s->relative,
                          .rate = 1e-2,
                          .decay = 0.8,
                          .beta1 = s->momentum ? 0.9 : 0.0,
                          .epsilon = s->kind == RF_ADAFACTOR_TRAX ? 1e-16 : 1e-30,
                          .least_scale = 1e-3,
                          .clip = s->clip,
                          .weight_decay = s->weight_decay,
                          .gradient_factor = s->gradient_factor,
                          .update = s->update};
}

static check_buffer array(const adafactor_shape *s, const char *name, check_role role, double low,
                          double high)
{
    return s->columns > 0 ? check_matrix(name, role, s->rows, s->columns, low, high)
                          : check_vector(name, role, s->rows, low, high);
}

static void build(check_state *check)
{
    const adafactor_shape *s = check->which->parameters;
    double range = s->gradient_range;
    double square = range * range;
    check_buffer value = array(s, "value", CHECK_UPDATED, -s->value_range, s->value_range);
    check_buffer gradient = array(s, "gradient", CHECK_INPUT, -range, range);
    check_add(check, &value);
    check_add(check, &gradient);
    if (s->columns > 0) {
        check_buffer row = check_vector("row_moment", CHECK_UPDATED, s->rows, 0.1 * square, square);
        check_buffer column =
            check_vector("column_moment", CHECK_UPDATED, s->columns, 0.1 * square, square);
        check_add(check, &row);
        check_add(check, &column);
    } else {
        check_buffer second =
            check_vector("second_moment", CHECK_UPDATED, s->rows, 0.1 * square, square);
        check_add(check, &second);
    }
    if (s->momentum) {
        check_buffer first = array(s, "first_moment", CHECK_UPDATED, -1e-2, 1e-2);
        check_add(check, &first);
    }
    if (s->rounded) {
        check_buffer rounded = array(s, "rounded", CHECK_OUTPUT, 0, 0);
        rounded.dtype = RF_BF16;
        rounded.tolerance = 1e-2; /* a value at the edge may fall to the other side */
        check_add(check, &rounded);
    }
    check_buffer update = array(s, "update", CHECK_VIRTUAL, 0, 0);
    check_add(check, &update);
}

static rf_tensor tensor_or_none(const check_state *check, int index)
{
    return index < 0 ? (rf_tensor){0} : check_tensor(check, index);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const adafactor_shape *s = check->which->parameters;
    places p = places_of(s);
    rf_adafactor adafactor = settings(s);
    adafactor.value = check_tensor(check, VALUE);
    adafactor.gradient = check_tensor(check, GRADIENT);
    adafactor.row_moment = tensor_or_none(check, p.row);
    adafactor.column_moment = tensor_or_none(check, p.column);
    adafactor.second_moment = tensor_or_none(check, p.second);
    adafactor.first_moment = tensor_or_none(check, p.first);
    adafactor.rounded = tensor_or_none(check, p.rounded);
    return rf_op_adafactor(context, &adafactor, error);
}

static double *values_or_none(double *const *values, int index)
{
    return index < 0 ? NULL : values[index];
}

static void oracle(const check_state *check, double *const *values)
{
    const adafactor_shape *s = check->which->parameters;
    places p = places_of(s);
    rf_adafactor adafactor = settings(s);
    oracle_adafactor(&adafactor, s->rows, s->columns,
                     &(oracle_adafactor_arrays){
                         .value = values[VALUE],
                         .gradient = values[GRADIENT],
                         .row_moment = values_or_none(values, p.row),
                         .column_moment = values_or_none(values, p.column),
                         .second_moment = values_or_none(values, p.second),
                         .first_moment = values_or_none(values, p.first),
                         .update = values[p.update],
                     });
    for (int64_t i = 0; s->rounded && i < check_count(&check->buffers[VALUE]); i++) {
        values[p.rounded][i] = oracle_round(values[VALUE][i], RF_BF16, 0);
    }
}

/* From zero moments a rank-one gradient is factored exactly: the first update is its sign, so a
 * relative step moves each element by rate * rms(value). A row of zeros stays where it is. */
static void test_first_step(void **state)
{
    (void)state;
    float value[6] = {2.0F, -2.0F, 2.0F, -2.0F, 2.0F, -2.0F};
    float gradient[6] = {1.0F, -2.0F, 3.0F, 2.0F, -4.0F, 6.0F};
    float rows[2] = {0.0F};
    float columns[3] = {0.0F};
    rf_adafactor adafactor =
        settings(&(adafactor_shape){.relative = true, .update = 1, .gradient_factor = 1.0});
    adafactor.value = rf_tensor_2(value, RF_F32, 2, 3);
    adafactor.gradient = rf_tensor_2(gradient, RF_F32, 2, 3);
    adafactor.row_moment = rf_tensor_1(rows, RF_F32, 2);
    adafactor.column_moment = rf_tensor_1(columns, RF_F32, 3);
    check_run(RF_OP_ADAFACTOR, &adafactor, 1);
    const float expected[6] = {1.98F, -1.98F, 1.98F, -2.02F, 2.02F, -2.02F};
    for (int i = 0; i < 6; i++) {
        assert_true(fabsf(value[i] - expected[i]) < 1e-6F);
    }
    for (int i = 0; i < 6; i++) {
        gradient[i] = 0.0F;
    }
    check_run(RF_OP_ADAFACTOR, &adafactor, 1);
    for (int i = 0; i < 6; i++) {
        assert_true(fabsf(value[i] - expected[i]) < 1e-6F);
    }
}

static void test_rejected(void **state)
{
    (void)state;
    rf_adafactor adafactor = settings(&(adafactor_shape){.update = 0});
    adafactor.value = rf_tensor_2(NULL, RF_F32, 3, 5);
    adafactor.gradient = adafactor.value;
    adafactor.row_moment = rf_tensor_1(NULL, RF_F32, 5);
    adafactor.column_moment = rf_tensor_1(NULL, RF_F32, 5);
    check_rejected(RF_OP_ADAFACTOR, &adafactor, RF_ERR_ARGUMENT,
                   "row_moment is [5] f32, but value [3, 5] f32 needs [3] f32");
    adafactor.row_moment = rf_tensor_1(NULL, RF_F32, 3);
    check_rejected(RF_OP_ADAFACTOR, &adafactor, RF_ERR_ARGUMENT, "update is 0");
    adafactor.update = 1;
    adafactor.decay = 0.0;
    check_rejected(RF_OP_ADAFACTOR, &adafactor, RF_ERR_ARGUMENT, "decay 0");
    adafactor.value = rf_tensor_4(NULL, RF_F32, 1, 1, 3, 5);
    check_rejected(RF_OP_ADAFACTOR, &adafactor, RF_ERR_ARGUMENT, "dimensions is 4");
}

static const adafactor_shape shapes[] = {
    {5, 3, RF_ADAFACTOR_USUAL, true, false, false, 1, 1.0, 0.0, 1.0, 1.0, 1.0},
    {65, 130, RF_ADAFACTOR_USUAL, true, true, true, 10, 1.0, 0.1, 0.25, 1.0, 1.0},
    {65, 130, RF_ADAFACTOR_TRAX, true, false, false, 1, 1.0, 1e-5, 1.0, 1e-3, 1.0},
    {300, 517, RF_ADAFACTOR_TRAX, false, true, false, 1000, 0.5, 1e-5, 1.0, 1e3, 0.1},
    {200, 256, RF_ADAFACTOR_USUAL, false, false, true, 100, 0.0, 0.01, 1.0, 1.0, 1.0},
    {1, 4000, RF_ADAFACTOR_USUAL, true, false, false, 3, 1.0, 0.0, 1.0, 1.0, 1e-5},
    {4000, 1, RF_ADAFACTOR_USUAL, true, false, false, 3, 1.0, 0.0, 1.0, 1.0, 1.0},
    {7, 0, RF_ADAFACTOR_USUAL, true, false, false, 1, 1.0, 0.0, 1.0, 1.0, 1.0},
    {40001, 0, RF_ADAFACTOR_USUAL, true, true, true, 7, 1.0, 0.1, 0.25, 1.0, 1.0},
    {1500, 0, RF_ADAFACTOR_TRAX, true, false, false, 20, 1.0, 1e-5, 1.0, 1e-2, 1.0},
    {0, 0, RF_ADAFACTOR_USUAL, true, false, false, 1, 1.0, 0.0, 1.0, 1.0, 1.0},
};
static const check_case cases[] = {
    {"first update", 1, build, run, oracle, &shapes[0]},
    {"momentum, decayed, rounded", 2, build, run, oracle, &shapes[1]},
    {"trax, first update", 3, build, run, oracle, &shapes[2]},
    {"trax, absolute, clipped", 4, build, run, oracle, &shapes[3]},
    {"absolute, not clipped", 5, build, run, oracle, &shapes[4]},
    {"one row, smallest scale", 6, build, run, oracle, &shapes[5]},
    {"one column", 7, build, run, oracle, &shapes[6]},
    {"vector, first update", 8, build, run, oracle, &shapes[7]},
    {"long vector, momentum, rounded", 9, build, run, oracle, &shapes[8]},
    {"trax, vector", 10, build, run, oracle, &shapes[9]},
    {"nothing", 11, build, run, oracle, &shapes[10]},
};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_step),
        cmocka_unit_test(test_rejected),
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], tests, 2);
}
