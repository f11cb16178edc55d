/* Rounding to a type, from the definition of its format. */
#include "oracle/oracle.h"

#include <math.h>

/* `bits` of mantissa, the leading one included; exponents from `lowest` (of the smallest normal
 * number 2^lowest) on. */
static double round_binary(double x, int bits, int lowest, double greatest)
{
    if (isnan(x) || isinf(x) || x == 0.0) {
        return x;
    }
    int exponent = ilogb(x) < lowest ? lowest : ilogb(x);
    double unit = ldexp(1.0, exponent - bits + 1);
    double rounded = nearbyint(x / unit) * unit;
    return fabs(rounded) > greatest ? copysign(HUGE_VAL, x) : rounded;
}

double oracle_round(double x, rf_dtype dtype, int fraction_bits)
{
    double scaled;
    switch (dtype) {
    case RF_F32:
        return round_binary(x, 24, -126, 3.4028234663852886e38);
    case RF_BF16:
        return round_binary(x, 8, -126, 3.3895313892515355e38);
    case RF_F16:
        return round_binary(x, 11, -14, 65504.0);
    default: /* RF_FIXED32 */
        scaled = isnan(x) ? 0.0 : nearbyint(ldexp(x, fraction_bits));
        scaled = fmax(-2147483648.0, fmin(2147483647.0, scaled));
        return ldexp(scaled, -fraction_bits);
    }
}
