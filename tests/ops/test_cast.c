/* Casts against rounding by the definition of each format, at the values where formats end. */
#include "check_op.h"

#include "oracle/oracle.h"

#include <math.h>

enum { X, Y };

typedef struct cast_shape {
    rf_dtype from, to;
    int64_t count;
    double range;
    int fraction_bits;
} cast_shape;

/* Ties, ends of ranges, denormals, and what is no number. */
static const double hard[] = {
    0.0,      -0.0,        1.0,      0x1.01p0,  0x1.03p0,  0x1.002p0, 0x1.006p0,      65504.0,
    65519.0,  65520.0,     -1e6,     0x1p-14,   0x1p-24,   0x1p-25,   0x1.8p-24,      0x1.8p-25,
    0x1p-126, 0x1.ffp-127, 0x1p-149, 3.38e38,   3.4e38,    -3.4e38,   0x1.fffffep127, 511.99999,
    512.0,    -512.0,      -512.1,   0x1.8p-23, 0x1.4p-22, 0x1p-23,   1e30,           -1e30,
};
enum { HARD = sizeof hard / sizeof hard[0] };

static void fill_hard(const check_state *check, double *values, int64_t count)
{
    const cast_shape *s = check->which->parameters;
    for (int64_t i = 0; i < HARD && i < count && s->from == RF_F32; i++) {
        values[i] = hard[i];
    }
    if (count > HARD + 3 && s->from == RF_F32) {
        values[HARD] = HUGE_VAL;
        values[HARD + 1] = -HUGE_VAL;
        values[HARD + 2] = (double)NAN;
    }
}

static void build(check_state *check)
{
    const cast_shape *s = check->which->parameters;
    check_buffer x = check_vector("x", CHECK_INPUT, s->count, -s->range, s->range);
    check_buffer y = check_matrix("y", CHECK_OUTPUT, 1, s->count, 0, 0);
    x.dtype = s->from;
    y.dtype = s->to;
    x.fraction_bits = s->fraction_bits;
    y.fraction_bits = s->fraction_bits;
    x.fill = fill_hard;
    y.tolerance = -1;
    check_add(check, &x);
    check_add(check, &y);
}

static rf_status run(rf_context *context, const check_state *check, rf_error *error)
{
    const cast_shape *s = check->which->parameters;
    return rf_op_cast(context,
                      &(rf_cast){.x = check_tensor(check, X),
                                 .y = check_tensor(check, Y),
                                 .fraction_bits = s->fraction_bits},
                      error);
}

static void oracle(const check_state *check, double *const *values)
{
    const cast_shape *s = check->which->parameters;
    for (int64_t i = 0; i < s->count; i++) {
        values[Y][i] = oracle_round(values[X][i], s->to, s->fraction_bits);
    }
}

static const cast_shape shapes[] = {
    {RF_F32, RF_F32, 77, 4, 0},           {RF_F32, RF_BF16, 40000, 4, 0},
    {RF_F32, RF_F16, 40000, 4, 0},        {RF_F32, RF_FIXED32, 40000, 600, 22},
    {RF_F32, RF_FIXED32, 77, 1, 0},       {RF_F32, RF_FIXED32, 77, 3, 30},
    {RF_BF16, RF_F32, 40000, 4, 0},       {RF_F16, RF_F32, 40000, 4, 0},
    {RF_FIXED32, RF_F32, 40000, 511, 22}, {RF_FIXED32, RF_F32, 33, 1e6, 0},
    {RF_F32, RF_BF16, 1, 4, 0},           {RF_F32, RF_FIXED32, 0, 4, 22},
};
static const check_case cases[] = {
    {"copy", 1, build, run, oracle, &shapes[0]},
    {"f32 to bf16", 2, build, run, oracle, &shapes[1]},
    {"f32 to f16", 3, build, run, oracle, &shapes[2]},
    {"f32 to fixed32", 4, build, run, oracle, &shapes[3]},
    {"f32 to integers", 5, build, run, oracle, &shapes[4]},
    {"f32 to fixed32 of 30 bits", 6, build, run, oracle, &shapes[5]},
    {"bf16 to f32", 7, build, run, oracle, &shapes[6]},
    {"f16 to f32", 8, build, run, oracle, &shapes[7]},
    {"fixed32 to f32", 9, build, run, oracle, &shapes[8]},
    {"integers to f32", 10, build, run, oracle, &shapes[9]},
    {"one element", 11, build, run, oracle, &shapes[10]},
    {"no element", 12, build, run, oracle, &shapes[11]},
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0], NULL, 0);
}
