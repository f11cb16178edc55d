/* Addition in fixed point, with integers as wide as they need be. */
#include "oracle/oracle.h"

#include <math.h>

static const double low = -2147483648.0;
static const double high = 2147483647.0;

/* The number in [-2^31, 2^31) that equals x modulo 2^32; x is an integer. */
static double wrap(double x)
{
    double rest = fmod(x, 4294967296.0);
    return rest > high ? rest - 4294967296.0 : rest < low ? rest + 4294967296.0 : rest;
}

bool oracle_residual_fixed(int sign, int fraction_bits, int64_t count, const double *value,
                           double *stream)
{
    bool overflow = false;
    for (int64_t i = 0; i < count; i++) {
        double change = isfinite(value[i]) ? nearbyint(ldexp(value[i], fraction_bits)) : 0.0;
        overflow = overflow || !isfinite(value[i]) || change < low || change > high;
        change = wrap(change);
        double result = sign == 0 ? change : ldexp(stream[i], fraction_bits) + sign * change;
        overflow = overflow || result < low || result > high;
        stream[i] = ldexp(wrap(result), -fraction_bits);
    }
    return overflow;
}
